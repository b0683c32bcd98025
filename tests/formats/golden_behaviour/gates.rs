//! Policies, and models judged by them.

use super::models::*;
use super::run::Sequence;
use crate::common::*;
use std::fs;
use std::path::Path;

/// Asks for everything that needs no mark.
const RELEASE: &str = r#"schema = "tensorseal.policy/1"
name = "release"
code = "pinned"
[signature]
required = true
keys = ["keys/p384.pub.pem", "keys/p256.pub.pem"]
hash = ["sha256"]
[seal]
required = true
signed = true
[attestations]
required = ["seal", "audit"]
max_age = "1h"
[coverage]
allow = []
[formats]
allowed = ["safetensors"]
[dtypes]
allowed = ["F32"]
[audit]
required = true
[severity]
format = "low"
integrity = "info"
signature = "low"
weights = "low"
payload = "low"
"#;

/// A sealed and signed model, judged by many policies and after many changes.
pub(super) fn sequences() -> Vec<Sequence> {
    let zero = "0".repeat(64);
    let with = |from: &str, to: &str| {
        assert!(RELEASE.contains(from), "{from}");
        RELEASE.replace(from, to)
    };
    let only = |text: &str| format!("schema = \"tensorseal.policy/1\"\n{text}\n");
    let policies: Vec<(&str, String)> = vec![
        ("release", RELEASE.to_owned()),
        ("nothing", only("")),
        ("audited", AUDITED.to_owned()),
        ("sealed", SEALED.to_owned()),
        ("another hash", with("[\"sha256\"]", "[\"blake3\"]")),
        (
            "another signer",
            with("hash = [\"sha256\"]\n", &format!("identities = [\"sha256:{zero}\"]\n")),
        ),
        (
            "another root",
            with("signed = true", &format!("signed = true\nexpect_root = [\"blake3:{zero}\"]")),
        ),
        ("another seal", only(&format!("[seal]\nexpect_digest = [\"blake3:{zero}\"]"))),
        ("other facts", with("[\"seal\", \"audit\"]", "[\"watermark-claim\"]")),
        ("another format", with("[\"safetensors\"]", "[\"gguf\"]")),
        ("another type", with("[\"F32\"]", "[\"BF16\"]")),
        ("no code", only("code = \"none\"")),
        ("any code", only("code = \"any\"")),
        ("an unmeasured area", format!("{RELEASE}watermark = \"low\"\n")),
        (
            "an expired exception",
            format!(
                "{RELEASE}[[allow]]\nrule = \"weights/row-outlier\"\nreason = \"r\"\nexpires = 2026-01-31\n"
            ),
        ),
        (
            "an exception",
            only(
                "[audit]\nrequired = true\n[[allow]]\nrule = \"weights/row-outlier\"\ntensor = \"model.layers.0.*\"\nreason = \"r\"\nexpires = 2999-01-31",
            ),
        ),
        ("a mark", only("[[watermark]]\nkey = \"owner.key\"\nexpect = \"present\"")),
        ("no mark", only("[[watermark]]\nkey = \"owner.key\"\nexpect = \"absent\"")),
        ("a registry", only("[registry]\nrequired = true")),
        ("a word too many", only("requierd = true")),
        ("no such key", only("[signature]\nrequired = true\nkeys = [\"none.pem\"]")),
        ("not built in", only("[signature.keyless]\nidentity = \"a\"\nissuer = \"b\"")),
        ("no schema", "[audit]\nrequired = true\n".to_owned()),
    ];
    let build = {
        let policies = policies.clone();
        move |dir: &Path| {
            oms::unpack(dir);
            write_key(&dir.join("owner.key"), "owner");
            for (name, text) in &policies {
                fs::write(dir.join(format!("{}.toml", name.replace(' ', "-"))), text).unwrap();
            }
            write_model(&dir.join("release"), &sound())
        }
    };
    let signing = "sign {m} --key keys/p256.priv.pem --attest seal --attest audit";
    let made = |name: &str| {
        Sequence::new(format!("gates/{name}"), build.clone()).prepared("seal {m}").prepared(signing)
    };
    let mut judged = made("policies");
    for (name, _) in &policies {
        let gate = format!("gate {{m}} --policy {}.toml", name.replace(' ', "-"));
        judged = judged.json(name, &gate);
    }
    judged = judged
        .human("for people", "gate {m} --policy another-type.toml")
        .human("for github", "gate {m} --policy another-type.toml --format github")
        .text("no policy", "gate {m}")
        .json("no such policy", "gate {m} --policy none.toml")
        .json("no such model", "gate none --policy release.toml")
        .text("no state", "gate {m} --policy a-registry.toml --state none.db --device cpu")
        .json("a baseline", "gate {m} --policy audited.toml --baseline {m}")
        .json(
            "stated",
            "gate {m} --policy release.toml --statement vsa=out.vsa --statement svr=out.svr",
        )
        .dated();
    let mut all = vec![judged];
    type Damage = fn(&Path);
    let changes: Vec<(&str, Damage)> = vec![
        ("a changed weight", flip),
        ("an unsigned file", |model| fs::write(model.join("loader.py"), "x").unwrap()),
        ("another configuration", |model| fs::write(model.join("config.json"), "{}").unwrap()),
        ("a file gone", |model| fs::remove_file(model.join("empty.txt")).unwrap()),
        ("no signature", |model| fs::remove_file(model.join("model.sig")).unwrap()),
        ("no facts", |model| {
            fs::remove_file(model.join("model.sig.attestations.jsonl")).unwrap();
        }),
        ("no seal", |model| fs::remove_file(model.join("tensorseal.seal.json")).unwrap()),
        ("a seal of another", |model| {
            fs::write(model.join("tensorseal.seal.json"), "{}").unwrap();
        }),
        ("of git", |model| fs::create_dir(model.join(".git")).unwrap()),
        ("a cut model", |model| {
            let path = model.join("model.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
        }),
        ("no model", |model| fs::remove_dir_all(model).unwrap()),
    ];
    for (name, change) in changes {
        all.push(
            made(name)
                .change(move |_, model| change(model))
                .json("release", "gate {m} --policy release.toml")
                .json("audited", "gate {m} --policy audited.toml")
                .json(
                    "signature",
                    "verify {m} --signature {m}/model.sig --public-key keys/p256.pub.pem",
                ),
        );
    }
    all
}
