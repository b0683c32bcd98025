//! Signing and verifying.

use super::models::*;
use super::run::Sequence;
use crate::common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bundles that others signed, and our own.
pub(super) fn sequences() -> Vec<Sequence> {
    let unpacked = |dir: &Path| {
        oms::unpack(dir);
        for name in fixtures("signing/old", &["sig"]) {
            copy(&dir.join("old"), &[format!("signing/old/{name}")]);
        }
        dir.join("models/basic")
    };
    let mut others = Sequence::new("signatures/others", unpacked);
    let text = fs::read_to_string(testdata("oms/expected.json")).unwrap();
    let expected: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    for (name, case) in expected {
        let word = |key: &str| case[key].as_str().unwrap();
        let option = if word("kind") == "key" { "--public-key" } else { "--ca" };
        let mut args = format!(
            "verify {} --signature {} {option} {}",
            word("model"),
            word("bundle"),
            word("trust")
        );
        if case["allow_symlinks"] == true {
            args.push_str(" --allow-symlinks");
        }
        if case["no_ignore_git_paths"] == true {
            args.push_str(" --no-ignore-git-paths");
        }
        if let Some(path) = case["ignore_path"].as_str() {
            args.push_str(&format!(" --ignore-path {}/{path}", word("model")));
        }
        others = others.json(&name, &args);
    }
    for name in fixtures("signing/old", &["sig"]) {
        let trust = match name.trim_end_matches(".sig").rsplit('-').next().unwrap() {
            "certificate" => "--ca pki/root.crt.pem".to_owned(),
            curve => format!("--public-key keys/{curve}.pub.pem"),
        };
        others = others.json(&name, &format!("verify {{m}} --signature old/{name} {trust}"));
    }
    let signed = "verify {m} --signature x.sig --public-key keys";
    let own = Sequence::new("signatures/own", unpacked)
        .json("sign", "sign {m} --key keys/p256.priv.pem -o x.sig")
        .writing(&["x.sig"])
        .human("verify, for people", &format!("{signed}/p256.pub.pem"))
        .json("another key", &format!("{signed}/p384.pub.pem"))
        .json("no key", "verify {m} --signature x.sig")
        .json("no bundle", "verify {m} --signature y.sig --public-key keys/p256.pub.pem")
        .json("facts asked for", &format!("{signed}/p256.pub.pem --require-attestation seal"))
        .json("a refused key", "sign {m} --key keys/rsa2048.priv.pem -o y.sig")
        .json("p-384, blake3", "sign {m} --key keys/p384.priv.pem --hash blake3 -o p384.sig")
        .writing(&["p384.sig"])
        .json("p-521, in shards", "sign {m} --key keys/p521.priv.pem --shard-size 1000 -o p521.sig")
        .writing(&["p521.sig"])
        .json(
            "by certificate",
            "sign {m} --key pki/leaf-p256.key.pem --cert pki/leaf-p256.crt.pem --chain pki/intermediate.crt.pem -o cert.sig",
        )
        .json("certificate", "verify {m} --signature cert.sig --ca pki/root.crt.pem")
        .json("another root", "verify {m} --signature cert.sig --ca pki/other-root.crt.pem")
        .change(|_, model| {
            flip(model);
            fs::write(model.join("loader.py"), "x = 1\n").unwrap();
        })
        .json("changed", &format!("{signed}/p256.pub.pem"))
        .json("changed, unsigned passes", &format!("{signed}/p256.pub.pem --ignore-unsigned-files"))
        .human("changed, for people", &format!("{signed}/p256.pub.pem"));
    vec![others, own]
}
