//! Watermarks.

use super::models::*;
use super::run::Sequence;
use crate::common::attacks::victim::Float;
use crate::common::keys::Npy;
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const PAYLOAD: &str = "00c0ffee00c0ffee";

/// The descriptor and the arrays of a key of another scheme.
fn write_third_party(dir: &Path, scheme: &str, parts: Value, arrays: &[(&str, &str)]) {
    for (name, golden) in arrays {
        fs::write(dir.join(name), Npy::golden(golden).file()).unwrap();
    }
    let mut key = json!({
        "schema": "tensorseal.watermark-key/1",
        "scheme": scheme,
        "note": "for the tests",
        "parts": parts,
    });
    if scheme == "gaussian" {
        key["sigma"] = json!(0.02);
    }
    fs::write(dir.join("key.json"), key.to_string()).unwrap();
}

/// Marks of our own and of other schemes.
pub(super) fn sequences() -> Vec<Sequence> {
    let build = |dir: &Path| {
        write_key(&dir.join("own.key"), "own");
        write_key(&dir.join("other.key"), "other");
        write_model(&dir.join("model"), &decoder(Float::F32))
    };
    let embed = format!("watermark embed {{m}} --key own.key --payload {PAYLOAD}");
    let detect = "watermark detect marked --key own.key";
    let own = Sequence::new("marks/own", build)
        .json("embed", &format!("{embed} --force --target-z 40 -o marked"))
        .writing(&["marked/model.safetensors"])
        .json("embed, too strong", &format!("{embed} --target-z 90 -o strong"))
        .json("detect", detect)
        .human("detect, for people", detect)
        .json("detect, none expected", &format!("{detect} --expect absent"))
        .json("detect, with the original", &format!("{detect} --original {{m}}"))
        .json("detect, two keys", &format!("{detect} --key other.key"))
        .json("detect, unmarked", "watermark detect {m} --key own.key")
        .json("detect, unmarked, none expected", "watermark detect {m} --key own.key --expect absent")
        .text("detect, no key", "watermark detect {m}")
        .human("detect, no such key", "watermark detect {m} --key none.key")
        .human("claim", &format!("watermark claim {{m}} --key own.key --payload {PAYLOAD} --target-z 20 -o claim.json"))
        .writing(&["claim.json"])
        .json("embed, claimed", "watermark embed {m} --key own.key --claim claim.json --force -o claimed")
        .writing(&["claimed/model.safetensors"])
        .json("detect, claimed", "watermark detect claimed --key own.key --claim claim.json")
        .json("detect, claimed by another", "watermark detect claimed --key other.key --claim claim.json")
        .json("embed, faint", "watermark embed {m} --key own.key --target-z 3 -o faint")
        .prepared(&format!("watermark claim {{m}} --key own.key --payload {} --target-z 20 -o else.json", "1".repeat(16)))
        .json("detect, claimed otherwise", "watermark detect claimed --key own.key --claim else.json")
        .change(|dir, _| fs::write(dir.join("else.json"), "{}").unwrap())
        .json("detect, no claim", "watermark detect claimed --key own.key --claim else.json")
        .json("detect, another original", &format!("{detect} --original {{m}} --original-root blake3:{}", "0".repeat(64)))
        .json("compare", "compare {m} marked")
        .json("audit", "audit marked --baseline {m}");
    let mut all = vec![own];
    let projected =
        || json!([{"tensor": "conv2.weight", "axis": 3, "projection": "X.npy", "bits": "b.npy"}]);
    let projection = [("X.npy", "third_party/uchida_X.npy"), ("b.npy", "third_party/uchida_b.npy")];
    let layer = "model.layers.0.mlp.weight";
    let told: Value = serde_json::from_str(
        &fs::read_to_string(testdata("watermark/neuralmark/golden.json")).unwrap(),
    )
    .unwrap();
    type Arrays = Vec<(&'static str, &'static str)>;
    let schemes: Vec<(&str, &str, &str, Value, Arrays)> = vec![
        (
            "uchida",
            "third_party/uchida_W_hwio.npy",
            "conv2.weight",
            projected(),
            projection.to_vec(),
        ),
        (
            "deepmarks",
            "third_party/uchida_W_hwio.npy",
            "conv2.weight",
            projected(),
            projection.to_vec(),
        ),
        (
            "emmark",
            "third_party/emmark_q4_wm.npy",
            "q",
            json!([{"tensor": "q", "original": "o.npy", "positions": "p.npy", "signs": "s.npy"}]),
            vec![
                ("o.npy", "third_party/emmark_q4_orig.npy"),
                ("p.npy", "third_party/emmark_pos.npy"),
                ("s.npy", "third_party/emmark_keys.npy"),
            ],
        ),
        (
            "neuralmark",
            "neuralmark/weight.npy",
            "layer.weight",
            json!([{"tensor": "layer.weight", "key": "K.npy", "rounds": told["rounds"]}]),
            vec![("K.npy", "neuralmark/key.npy")],
        ),
        (
            "gaussian",
            "correlations/weight_normal.npy",
            layer,
            json!([{"tensor": "layers.0.mlp.weight", "xi": "xi.npy"}]),
            vec![("xi.npy", "correlations/xi.npy")],
        ),
        (
            "signs",
            "correlations/weight_signs.npy",
            layer,
            json!([{"tensor": layer, "chips": "c.npy", "positions": "p.npy"}]),
            vec![
                ("c.npy", "correlations/chips_at_positions.npy"),
                ("p.npy", "correlations/positions.npy"),
            ],
        ),
    ];
    for (scheme, weights, tensor, parts, arrays) in schemes {
        let build = move |dir: &Path| {
            write_third_party(dir, scheme, parts.clone(), &arrays);
            let array = Npy::golden(weights);
            write_model(&dir.join("model"), &[array.tensor(tensor)])
        };
        let detect = format!("watermark detect {{m}} --scheme {scheme} --key key.json");
        all.push(
            Sequence::new(format!("marks/{scheme}"), build)
                .json("detect", &detect)
                .human("detect, for people", &detect)
                .json("detect, none expected", &format!("{detect} --expect absent"))
                .change(|_, model| {
                    let path = model.join("model.safetensors");
                    let mut bytes = fs::read(&path).unwrap();
                    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                    // Other weights, of whatever type.
                    bytes[start..].rotate_left(512);
                    fs::write(path, bytes).unwrap();
                })
                .json("detect, other weights", &detect)
                .human("another scheme", "watermark detect {m} --scheme deepsigns --key key.json"),
        );
    }
    all
}
