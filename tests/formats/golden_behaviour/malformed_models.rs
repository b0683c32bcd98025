//! What is malformed, and what is malicious.

use super::models::*;
use super::run::Sequence;
use crate::common::archives::torch_zip;
use crate::common::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Models that are malformed, and what is malicious.
pub(super) fn sequences() -> Vec<Sequence> {
    fn refused(name: String, build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static) -> Sequence {
        let build = move |dir: &Path| {
            fs::write(dir.join("audited.toml"), AUDITED).unwrap();
            fs::create_dir(dir.join("x")).unwrap();
            build(&dir.join("x"))
        };
        Sequence::new(name, build)
            .json("audit", "audit {m}")
            .json("seal", "seal {m} -o seal.json")
            .writing(&["seal.json"])
            .json("gate", "gate {m} --policy audited.toml")
    }
    let mut all = Vec::new();
    for case in malformed::cases() {
        // Names may be those of two formats.
        let kind = if case.file.ends_with(".gguf") { "gguf" } else { "safetensors" };
        all.push(refused(format!("malformed/{kind}/{}", case.name), case.build));
    }
    for case in malformed::torch::cases() {
        let (name, is_large) =
            (format!("malformed/torch/{}", case.name), case.bytes.len() > 1 << 19);
        let mut sequence = refused(name, move |dir| {
            malformed::write(dir, case.file, &case.bytes);
            dir.to_owned()
        });
        if is_large {
            // Audited, it takes as long as all the others.
            sequence = sequence.only("seal");
        }
        all.push(sequence);
    }
    let text = fs::read_to_string(testdata("torch/malicious.json")).unwrap();
    let pickles: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    for (name, hex) in pickles {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let sequence = Sequence::new(format!("malicious/{name}"), move |dir| {
            malformed::write(dir, "model/data.pkl", &bytes);
            malformed::write(dir, "model/model.pt", torch_zip(bytes.clone(), &[]).bytes());
            dir.join("model")
        });
        all.push(sequence.json("audit", "audit {m}"));
    }
    all
}
