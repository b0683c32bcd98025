//! Models that nothing is wrong with until a bit is flipped: every verb.

use super::models::*;
use super::run::Sequence;
use crate::common::archives::{Member, Zip};
use crate::common::attacks::victim::Float;
use crate::common::sound_files::{sound_npy, sound_torch};
use crate::common::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Everything that is done to a model of whatever kind: looked at, sealed, verified, judged, changed and
/// verified again.
fn examined(
    name: impl Into<String>,
    build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static,
) -> Sequence {
    let build = move |dir: &Path| {
        fs::write(dir.join("sealed.toml"), SEALED).unwrap();
        fs::write(dir.join("other.safetensors"), malformed::sound(&["a", "b"])).unwrap();
        build(dir)
    };
    Sequence::new(name, build)
        .json("inspect", "inspect {m} --full")
        .human("inspect, for people", "inspect {m}")
        .json("audit", "audit {m} --full")
        .human("audit, for people", "audit {m}")
        .json("seal", "seal {m} -o seal.json")
        .writing(&["seal.json"])
        .json("verify", "verify {m} --seal seal.json --full")
        .human("verify, for people", "verify {m} --seal seal.json")
        .json("gate", "gate {m} --seal seal.json --policy sealed.toml")
        .prepared("seal other.safetensors -o other.json")
        .json("verify, another's seal", "verify {m} --seal other.json")
        .change(|_, model| flip(model))
        .json("audit, changed", "audit {m}")
        .json("verify, changed", "verify {m} --seal seal.json")
        .human("verify, changed, for people", "verify {m} --seal seal.json")
        .json("gate, changed", "gate {m} --seal seal.json --policy sealed.toml")
}

/// Every fixture that is a model.
pub(super) fn of_fixtures() -> Vec<Sequence> {
    let mut all = Vec::new();
    for (directory, endings) in [
        ("gguf", &["gguf"][..]),
        ("torch", &["pt", "npy", "npz"]),
        ("watermark/third_party", &["npy"]),
        ("watermark/neuralmark", &["npy"]),
        ("watermark/correlations", &["npy"]),
    ] {
        for name in fixtures(directory, endings) {
            let file = format!("{directory}/{name}");
            all.push(examined(file.clone(), fixture(file)));
        }
    }
    all.push(examined("gguf/split", |dir| {
        let parts = [1, 2, 3].map(|part| format!("gguf/split-{part:05}-of-00003.gguf"));
        copy(&dir.join("model"), &parts)
    }));
    for name in fixtures("schemes", &[""]) {
        let file = |file: &str| format!("schemes/{name}/{file}");
        let stored = [file("config.json"), file("model.safetensors")];
        let values = [file("values.safetensors")];
        let build = move |dir: &Path| {
            copy(&dir.join("values"), &values);
            copy(&dir.join("model"), &stored)
        };
        let compared = "compare {m} values/values.safetensors";
        let sequence = examined(format!("schemes/{name}"), build)
            .json("compare, changed", &format!("{compared} --full"))
            .human("compare, changed, for people", compared);
        all.push(sequence);
    }
    let models = TempDir::new().unwrap();
    oms::unpack(models.path());
    for entry in fs::read_dir(models.path().join("models")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let build = {
            let name = name.clone();
            move |dir: &Path| {
                oms::unpack(dir);
                dir.join("models").join(&name)
            }
        };
        all.push(examined(format!("oms/{name}"), build));
    }
    all
}

/// Models made by code, that nothing is wrong with.
pub(super) fn of_made_models() -> Vec<Sequence> {
    let mut all = vec![
        examined("generated/small", small_model),
        examined("generated/file", |dir| sound_model(dir).join("model.safetensors")),
        examined("generated/shards", |dir| {
            let model = dir.join("model");
            fs::create_dir(&model).unwrap();
            write_shards(&model, &sound(), 2);
            model
        }),
        examined("generated/torch", |dir| {
            malformed::write(dir, "model/model.pt", sound_torch().bytes());
            dir.join("model")
        }),
        examined("generated/numpy", |dir| {
            malformed::write(dir, "model/a.npy", sound_npy());
            malformed::write(
                dir,
                "model/b.npz",
                Zip::of(vec![Member::new("b.npy", sound_npy())]).bytes(),
            );
            dir.join("model")
        }),
        examined("generated/legacy torch", |dir| {
            malformed::write(dir, "model/old.pth", malformed::torch::legacy(&[3; 16]));
            dir.join("model")
        }),
        examined("generated/several formats", |dir| {
            let model = sound_model(dir);
            fs::write(model.join("pytorch_model.bin"), sound_torch().bytes()).unwrap();
            fs::write(model.join("model.gguf"), malformed::gguf::sound(&["a", "b"]).bytes())
                .unwrap();
            model
        }),
    ];
    for float in [Float::F32, Float::F16, Float::BF16] {
        all.push(examined(format!("generated/decoder {}", float.name()), move |dir| {
            write_model(&dir.join("model"), &decoder(float))
        }));
    }
    for case in malformed::legal() {
        let sequence = Sequence::new(format!("legal/{}", case.name), move |dir| {
            fs::create_dir(dir.join("x")).unwrap();
            (case.build)(&dir.join("x"))
        });
        let sequence = sequence
            .json("inspect", "inspect {m}")
            .json("audit", "audit {m}")
            .json("seal", "seal {m} -o seal.json")
            .writing(&["seal.json"])
            .json("verify", "verify {m} --seal seal.json");
        all.push(sequence);
    }
    all
}
