//! Scans of registries, and what is remembered of them.

use super::models::*;
use super::run::Sequence;
use crate::common::*;
use std::fs;
use std::path::Path;

/// A directory of models, scanned again and again while things happen to it.
pub(super) fn sequences() -> Vec<Sequence> {
    let build = |dir: &Path| {
        let models = dir.join("models");
        for name in ["changed", "gone", "same"] {
            write_model(&models.join(name), &sound());
        }
        malformed::write(&models, "broken/model.safetensors", b"\x08");
        malformed::write(&models, "notes/readme.txt", "no model");
        copy(&models.join("gguf"), &["gguf/little.gguf".to_owned()]);
        copy(&models.join("torch"), &["torch/state_dict.pt".to_owned()]);
        models
    };
    let scan = "registry scan {m} --state state.db";
    let known = |verb: &str| format!("registry {verb} --state state.db");
    let status = known("status --format json");
    let sequence = Sequence::new("registry", build)
        .json("first", scan)
        .json("second", scan)
        .human("third, for people", scan)
        .change(|_, models| {
            flip(&models.join("changed"));
            fs::remove_dir_all(models.join("gone")).unwrap();
            write_model(&models.join("new"), &small_tensors(4));
        })
        .json("changed", &format!("{scan} --read-all"))
        .human("changed, for people", scan)
        .human("changed, inventory", &format!("{scan} --format csv"))
        .text("status", &status)
        .text("status, for people", &known("status"))
        .text("problems", &known("status --problems"))
        .text("history", &known("history changed --format json"))
        .text("accept", &known("accept changed --reason seen --by tester"))
        .text("accept what is gone", &known("accept gone --reason seen --by tester"))
        .text("accept nothing", &known("accept nothing --reason seen --by tester"))
        .json("accepted", scan)
        .json("without some", &format!("{scan} --exclude n*"))
        .json("graver alone", &format!("{scan} --fail-on critical"))
        .json("no such source", "registry scan none --state state.db")
        .text("history, accepted", &known("history changed"))
        .change(|_, models| {
            write_model(&models.join("same"), &small_tensors(8));
            // What no writing left a trace of.
            let path = models.join("new/model.safetensors");
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            flip(&models.join("new"));
            fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        })
        .json("other bytes", &format!("{scan} --read-all"));
    let record = Sequence::new("registry/record", |dir| {
        let policy =
            "schema = \"tensorseal.policy/1\"\ncode = \"pinned\"\n[registry]\nrequired = true\n";
        fs::write(dir.join("registry.toml"), policy).unwrap();
        write_model(&dir.join("models/a"), &sound());
        dir.join("models/a")
    })
    .prepared("registry scan models --state state.db")
    .json("gate", "gate {m} --policy registry.toml --state state.db")
    .change(|_, model| fs::write(model.join("new.py"), "x = 1\n").unwrap())
    .json("gate, changed", "gate {m} --policy registry.toml --state state.db");
    vec![sequence, record]
}
