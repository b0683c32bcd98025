//! Seals, right and wrong, and repairs by them.

use super::models::*;
use super::run::Sequence;
use crate::common::*;
use serde_json::{Value, json};
use std::fs;

/// Options of sealing and verifying, seals that are wrong, and bits put back.
pub(super) fn sequences() -> Vec<Sequence> {
    let sealed = |name: &str, options: &str| {
        Sequence::new(format!("seals/{name}"), sound_model)
            .json("seal", &format!("seal {{m}} -o seal.json {options}"))
            .writing(&["seal.json"])
    };
    let change = |sequence: Sequence| {
        sequence
            .change(|_, model| flip(model))
            .json("verify", "verify {m} --seal seal.json")
            .human("verify, for people", "verify {m} --seal seal.json")
            .json("verify, no search", "verify {m} --seal seal.json --no-pinpoint")
            .json("repair", "repair {m} --seal seal.json -o repaired")
            .writing(&["repaired/model.safetensors"])
            .json("verify, repaired", "verify repaired --seal seal.json")
            .human("repair again", "repair {m} --seal seal.json -o repaired")
    };
    let mut all = vec![
        change(sealed("plain", "")),
        change(sealed("fine", "--fine").writing(&["seal.json", "seal.json.fine"])),
        change(sealed("digests", "--digest-only")),
        change(sealed("sketch", "--sketch")),
        sealed("whole files", "--file-digests")
            .json("verify", "verify {m} --seal seal.json --file-digests")
            .change(|_, model| fs::write(model.join("config.json"), "{}").unwrap())
            .json("verify, changed", "verify {m} --seal seal.json --file-digests"),
        Sequence::new("seals/beside", small_model)
            .human("none yet", "verify {m}")
            .human("seal", "seal {m}")
            .writing(&["model/tensorseal.seal.json"])
            .human("verify", "verify {m}")
            .human("quiet", "verify {m} --quiet")
            .human("for github", "verify {m} --format github")
            .json(
                "expected root, another",
                &format!("verify {{m}} --expect-root blake3:{}", "0".repeat(64)),
            )
            .json("expected root, none", "verify {m} --expect-root 00")
            .human("sealed again", "seal {m}")
            .change(|_, model| {
                fs::remove_file(model.join("empty.txt")).unwrap();
                fs::write(model.join("new.txt"), "new").unwrap();
                fs::write(model.join("config.json"), "{}").unwrap();
            })
            .json("other files", "verify {m}")
            .json("other files, high alone", "verify {m} --fail-on critical")
            .change(|_, model| {
                fs::remove_file(model.join("model.safetensors")).unwrap();
                write_shards(model, &small_tensors(1), 2);
            })
            .json("in shards", "verify {m}")
            .json("in shards, contents alone", "verify {m} --content-only")
            .human("in shards, contents alone, for people", "verify {m} --content-only"),
    ];
    type Spoil = fn(&str) -> Vec<u8>;
    fn spoilt(text: &str, change: fn(&mut Value)) -> Vec<u8> {
        let mut seal: Value = serde_json::from_str(text).unwrap();
        change(&mut seal);
        seal.to_string().into_bytes()
    }
    let spoils: [(&str, Spoil); 11] = [
        ("empty", |_| Vec::new()),
        ("cut", |text| text.as_bytes()[..text.len() / 2].to_vec()),
        ("not utf-8", |text| [&text.as_bytes()[..20], b"\xff\xfe"].concat()),
        ("an array", |_| b"[]".to_vec()),
        ("twice", |text| text.replacen("{\"files\":", "{\"files\":[],\"files\":", 1).into_bytes()),
        ("another schema", |text| spoilt(text, |seal| seal["schema"] = json!("tensorseal.seal/2"))),
        ("unknown member", |text| spoilt(text, |seal| seal["extra"] = json!(1))),
        ("totals", |text| spoilt(text, |seal| seal["model"]["bytes"] = json!(1))),
        ("path out", |text| {
            spoilt(text, |seal| seal["files"][0]["path"] = json!("../config.json"))
        }),
        ("another digest", |text| {
            spoilt(text, |seal| seal["tensors"][0]["blake3"] = seal["tensors"][1]["blake3"].clone())
        }),
        ("another layout", |text| {
            spoilt(text, |seal| seal["tensors"][0]["offset"] = json!(1u64 << 40))
        }),
    ];
    for (name, spoil) in spoils {
        let sequence = Sequence::new(format!("seals/spoilt, {name}"), sound_model)
            .prepared("seal {m} -o seal.json")
            .change(move |dir, _| {
                let path = dir.join("seal.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, spoil(&text)).unwrap();
            })
            .json("verify", "verify {m} --seal seal.json");
        all.push(sequence);
    }
    all
}
