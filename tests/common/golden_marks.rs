//! Marks of other schemes whose values NumPy computed.

use super::keys::{KeyFiles, Model, Npy};
use super::program::{Ran, arg, run};
use super::schema::validate;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The golden keys: scheme, model, key, bits that match of how many.
pub(crate) fn golden() -> Vec<(&'static str, Model, KeyFiles, u64, u64)> {
    let weights = Npy::golden("third_party/uchida_W_hwio.npy");
    let (x, b) = ("third_party/uchida_X.npy", "third_party/uchida_b.npy");
    let uchida = |scheme| {
        let parts =
            json!([{"tensor": "conv2.weight", "axis": 3, "projection": "X.npy", "bits": "b.npy"}]);
        KeyFiles::new(scheme, parts, &[("X.npy", &Npy::golden(x)), ("b.npy", &Npy::golden(b))])
    };
    let emmark = KeyFiles::new(
        "emmark",
        json!([{"tensor": "q", "original": "o.npy", "positions": "p.npy", "signs": "s.npy"}]),
        &[
            ("o.npy", &Npy::golden("third_party/emmark_q4_orig.npy")),
            ("p.npy", &Npy::golden("third_party/emmark_pos.npy")),
            ("s.npy", &Npy::golden("third_party/emmark_keys.npy")),
        ],
    );
    let codes = Npy::golden("third_party/emmark_q4_wm.npy");
    let hashed = Npy::golden("neuralmark/weight.npy");
    let told: Value = tensorseal_testing::json("watermark/neuralmark/golden.json");
    let neuralmark = KeyFiles::new(
        "neuralmark",
        json!([{"tensor": "layer.weight", "key": "K.npy", "rounds": told["rounds"]}]),
        &[("K.npy", &Npy::golden("neuralmark/key.npy"))],
    );
    vec![
        ("uchida", Model::new(&[weights.tensor("conv2.weight")]), uchida("uchida"), 256, 256),
        ("deepmarks", Model::new(&[weights.tensor("conv2.weight")]), uchida("deepmarks"), 256, 256),
        ("emmark", Model::new(&[codes.tensor("q")]), emmark, 100, 100),
        ("neuralmark", Model::new(&[hashed.tensor("layer.weight")]), neuralmark, 61, 64),
    ]
}

/// Looks for the mark of a scheme.
pub(crate) fn detect(model: &Path, scheme: &str, extra: &[&str]) -> Ran {
    let mut args = vec!["watermark", "detect", arg(model), "--scheme", scheme];
    args.extend(extra);
    run(&args)
}

/// The report of a run.
pub(crate) fn parsed(ran: &Ran) -> Value {
    let report: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr));
    validate("tensorseal.report.2", &report);
    report
}

/// Writes the descriptor of a key.
pub(crate) fn write_key(key: &KeyFiles) -> String {
    fs::write(key.path(), key.descriptor.to_string()).unwrap();
    arg(&key.path()).to_owned()
}
