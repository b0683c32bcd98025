//! What the program says of itself and of mistakes.

use super::models::small_model;
use super::run::Sequence;
use crate::common::*;
use serde_json::Value;
use std::path::Path;

/// Texts: help, explanations, completions, and what is said of mistakes.
pub(super) fn sequences() -> Vec<Sequence> {
    const VERBS: [&str; 20] = [
        "",
        "seal",
        "verify",
        "sign",
        "gate",
        "audit",
        "repair",
        "inspect",
        "compare",
        "watermark",
        "watermark keygen",
        "watermark claim",
        "watermark embed",
        "watermark detect",
        "registry",
        "registry scan",
        "registry status",
        "registry history",
        "registry accept",
        "devices",
    ];
    let empty = |dir: &Path| dir.to_owned();
    let mut help = Sequence::new("help", empty).text("version", "--version");
    for verb in VERBS.into_iter().chain(["explain", "completions", "man"]) {
        help = help.text(&format!("{verb} --help"), &format!("{verb} --help"));
        help = help.text(&format!("{verb} -h"), &format!("{verb} -h"));
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        help = help.text(shell, &format!("completions {shell}"));
    }
    let mut explained = Sequence::new("explain", empty)
        .text("all", "explain")
        .text("all, for machines", "explain --format json")
        .text("no rule", "explain weights/row-outlie");
    let said = run(&["explain", "--format", "json"]).stdout;
    let document: Value = serde_json::from_str(&said).unwrap();
    let rules = document["rules"].as_array().unwrap();
    assert!(rules.len() > 200);
    let mut areas = std::collections::BTreeSet::new();
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        areas.insert(id.split_once('/').unwrap().0);
        explained = explained.text(id, &format!("explain {id}"));
    }
    for area in areas {
        explained = explained.text(area, &format!("explain {area}"));
    }
    let mistakes = Sequence::new("mistakes", small_model)
        .text("no verb", "")
        .text("no such verb", "frobnicate")
        .text("no model", "audit")
        .text("no such option", "audit {m} --frob")
        .text("no such severity", "audit {m} --fail-on grave")
        .text("no such format", "audit {m} --format xml")
        .text("no such report", "audit {m} --device cpu --report xml=out")
        .text("report nowhere", "audit {m} --device cpu --report json=no/such/directory/out")
        .text("seal nowhere", "seal {m} --device cpu -o no/such/directory/seal.json")
        .text("policy printed", "gate --print-policy")
        .text("policy printed and a model", "gate --print-policy {m}")
        .json("inspect nothing", "inspect none")
        .json("audit nothing", "audit none")
        .json("seal nothing", "seal none")
        .json("verify nothing", "verify none --seal none.json")
        .json("compare nothing", "compare {m} none")
        .json("no weights", "audit {m}/config.json")
        .human("no weights, for people", "seal {m}/config.json -o seal.json")
        .json("a seal that is a directory", "verify {m} --seal {m}");
    vec![help, explained, mistakes]
}
