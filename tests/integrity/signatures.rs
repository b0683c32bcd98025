//! Signatures, through the program: every bundle of the fixtures has its expected verdict, and whatever
//! is changed in a model is found.

use crate::common::oms::Fixtures;
use crate::common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Signing and checking with keys of the fixtures.
trait Signing {
    fn sign(&self, model: &Path, key: &str, extra: &[&str]) -> PathBuf;
    fn verify(&self, model: &Path, bundle: &Path, extra: &[&str]) -> (i32, Value);
}

impl Signing for Fixtures {
    fn sign(&self, model: &Path, key: &str, extra: &[&str]) -> PathBuf {
        let bundle = self.path("new.sig");
        let key = self.path(&format!("keys/{key}.priv.pem"));
        let mut args = vec!["sign", arg(model), "--key", arg(&key), "-o", arg(&bundle)];
        args.extend(extra);
        let ran = run(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        bundle
    }

    fn verify(&self, model: &Path, bundle: &Path, extra: &[&str]) -> (i32, Value) {
        let key = self.path("keys/p256.pub.pem");
        let mut args = vec!["verify", arg(model), "--signature", arg(bundle)];
        args.extend(["--public-key", arg(&key)]);
        args.extend(extra);
        report(&args)
    }
}

fn expected() -> BTreeMap<String, Value> {
    tensorseal_testing::json("oms/expected.json")
}

/// Prints a table: `cargo test --test integrity every_fixture -- --nocapture`.
#[test]
fn every_fixture_has_its_expected_verdict() {
    let fixtures = Fixtures::new();
    let mut wrong = Vec::new();
    for (name, case) in expected() {
        let text = |key: &str| case[key].as_str().unwrap();
        let (model, bundle) = (fixtures.path(text("model")), fixtures.path(text("bundle")));
        let trust = fixtures.path(text("trust"));
        let option = if text("kind") == "key" { "--public-key" } else { "--ca" };
        let mut args =
            vec!["verify", arg(&model), "--signature", arg(&bundle), option, arg(&trust)];
        for (key, option) in [
            ("allow_symlinks", "--allow-symlinks"),
            ("no_ignore_git_paths", "--no-ignore-git-paths"),
        ] {
            if case[key] == true {
                args.push(option);
            }
        }
        // An empty file, which a signature of shards cannot list.
        let ignored = case["ignore_path"].as_str().map(|path| model.join(path));
        if let Some(path) = &ignored {
            args.extend(["--ignore-path", arg(path)]);
        }
        let (code, report) = report(&args);
        let all = report["findings"].as_array().unwrap().iter();
        let found: Vec<_> = all.map(|finding| finding["rule"].as_str().unwrap()).collect();
        let found = found.join(" ");
        let left = report["coverage"]["not_covered"].as_array().unwrap().len();
        println!("{name:40} {:18} exit {code}  not covered {left}  {found}", text("verdict"));
        let right = match text("verdict") {
            "accept" => code == 0,
            "reject" => code == 1,
            "accept-and-report" => code == 0 && (left > 0 || !found.is_empty()),
            "either" => code == 0 || code == 1,
            other => panic!("{other}"),
        };
        if !right {
            wrong.push(format!("{name}: exit {code}: {report:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bundles_of_older_clients_verify() {
    let fixtures = Fixtures::new();
    let model = fixtures.path("models/basic");
    let old = tensorseal_testing::testdata("signing/old");
    let mut tried = 0;
    for entry in fs::read_dir(old).unwrap() {
        let bundle = entry.unwrap().path();
        let name = bundle.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(method) = name.strip_suffix(".sig").and_then(|name| name.splitn(3, '-').nth(2))
        else {
            continue;
        };
        let (option, trust) = match method.strip_prefix("key-") {
            Some(curve) => ("--public-key", fixtures.path(&format!("keys/{curve}.pub.pem"))),
            None => ("--ca", fixtures.path("pki/root.crt.pem")),
        };
        let args = ["verify", arg(&model), "--signature", arg(&bundle), option, arg(&trust)];
        let (code, report) = report(&args);
        assert_eq!((code, found(&report)), (0, vec![]), "{name}: {report:#}");
        tried += 1;
    }
    assert_eq!(tried, 8);
}

/// What is done to a model, and the one rule that must find it.
#[test]
fn what_changed_since_it_was_signed_is_found() {
    let fixtures = Fixtures::new();
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("signature/file-changed", |model| {
            let path = model.join("onnx/model.onnx");
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("signature/file-changed", |model| fs::write(model.join("config.json"), "").unwrap()),
        ("signature/file-missing", |model| fs::remove_file(model.join("a.b")).unwrap()),
        ("signature/file-unsigned", |model| fs::write(model.join("loader.py"), "x").unwrap()),
        ("signature/file-unsigned", |model| fs::write(model.join("new\nline"), "x").unwrap()),
        ("signature/file-unsigned", |model| {
            fs::create_dir_all(model.join(".cache/huggingface")).unwrap();
            fs::write(model.join(".cache/huggingface/x"), "x").unwrap();
        }),
        ("signature/link", |model| {
            fs::rename(model.join("a.b"), model.join("config/moved")).unwrap();
            symlink("config/a.json", model.join("a.b")).unwrap();
            fs::remove_file(model.join("config/moved")).unwrap();
        }),
        ("format/special-file", |model| {
            assert!(Command::new("mkfifo").arg(model.join("pipe")).status().unwrap().success());
        }),
    ];
    for (rule, change) in changes {
        let model = fixtures.copy("nested");
        let bundle = fixtures.sign(&model, "p256", &["--allow-malformed"]);
        assert_eq!(fixtures.verify(&model, &bundle, &[]).0, 0);
        change(&model);
        let (code, report) = fixtures.verify(&model, &bundle, &[]);
        let found: Vec<_> = rules(&report).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!((code, found), (1, vec![rule.to_owned()]), "{report:#}");
        fs::remove_dir_all(model).unwrap();
    }
}

/// A model of tensors, and its seal inside.
fn sealed(fixtures: &Fixtures) -> PathBuf {
    let model = write_model(&fixtures.path("sealed"), &small_tensors(1));
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    model
}

fn found(report: &Value) -> Vec<String> {
    rules(report).into_iter().map(|(rule, _)| rule).collect()
}

#[test]
fn a_signature_names_the_tensor_that_changed_when_it_covers_a_seal() {
    let fixtures = Fixtures::new();
    let model = sealed(&fixtures);
    let bundle = fixtures.sign(&model, "p256", &["--hash", "blake3"]);
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    assert_eq!((code, found(&report)), (0, vec![]), "{report:#}");
    let signer = report["seal"]["signed_by"].as_str().unwrap();
    assert!(signer.starts_with("P-256 key "), "{signer}");

    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 4;
    fs::write(&weights, bytes).unwrap();
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    let both = vec!["integrity/tensor-changed".to_owned(), "signature/file-changed".to_owned()];
    assert_eq!((code, found(&report)), (1, both), "{report:#}");
    assert_eq!(findings(&report)[0]["tensor"], "layers.1.bias");

    // Sealed again by whoever changed it: the seal fits, and nobody signed it.
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    let changed: Vec<_> = rules(&report).into_iter().map(|(_, place)| place).collect();
    assert_eq!(code, 1);
    assert_eq!(changed, ["model.safetensors", "tensorseal.seal.json"], "{report:#}");
    assert!(report["seal"]["signed_by"].is_null());
}

/// Seal, sign, verify, and all of it again next year: the signature is not part of what it signs.
#[test]
fn a_signature_is_not_part_of_the_model_unless_it_is_something_else() {
    let fixtures = Fixtures::new();
    let model = sealed(&fixtures);
    let key = fixtures.path("keys/p256.priv.pem");
    let sign = || run(&["sign", arg(&model), "--key", arg(&key), "--attest", "seal"]).code;
    let (bundle, attestations) = ("model.sig", "model.sig.attestations.jsonl");
    let verify = || report(&["verify", arg(&model)]);
    let skipped = |report: &Value, path: &str| {
        let entries = report["coverage"]["not_covered"].as_array().unwrap();
        entries.iter().any(|entry| entry["path"] == path)
    };
    for _ in 0..2 {
        assert_eq!(sign(), 0);
        let (code, report) = verify();
        assert_eq!((code, &report["findings"]), (0, &serde_json::json!([])), "{report:#}");
        assert!(skipped(&report, bundle) && skipped(&report, attestations), "{report:#}");
        let out = fixtures.path("repaired");
        assert_eq!(run(&["repair", arg(&model), "-o", arg(&out)]).code, 0);
        assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
        let seal = fs::read_to_string(model.join("tensorseal.seal.json")).unwrap();
        assert!(!seal.contains("model.sig"), "{seal}");
    }

    // The same names with other content, the same content under another name, and a link.
    let text = fs::read(model.join(bundle)).unwrap();
    let lines = fs::read(model.join(attestations)).unwrap();
    fs::write(model.join("other.sig"), &text).unwrap();
    fs::write(model.join(attestations), [&lines[..], b"import os\n"].concat()).unwrap();
    fs::write(model.join(bundle), [b"#!/bin/sh\n", &text[..]].concat()).unwrap();
    let (code, report) = verify();
    let mut files = rules(&report);
    files.retain(|(rule, _)| rule.starts_with("integrity/"));
    files.sort();
    let added = |file: &str| ("integrity/file-added".to_owned(), file.to_owned());
    assert_eq!((code, files), (1, [bundle, attestations, "other.sig"].map(added).to_vec()));
    for file in [attestations, "other.sig", bundle] {
        fs::remove_file(model.join(file)).unwrap();
    }
    let elsewhere = fixtures.path("elsewhere.sig");
    fs::write(&elsewhere, &text).unwrap();
    symlink(&elsewhere, model.join(bundle)).unwrap();
    assert_ne!(verify().0, 0, "a link is looked at like any other");

    // A seal that lists the signature, as seals of older versions do, is compared with it.
    fs::remove_file(model.join(bundle)).unwrap();
    fs::write(model.join(bundle), "{}").unwrap();
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    assert_eq!(verify().0, 0);
    fs::write(model.join(bundle), &text).unwrap();
    let (code, report) = verify();
    assert_eq!((code, rules(&report)[0].0.as_str()), (1, "integrity/file-changed"));
}

#[test]
fn attestations_are_held_to_the_model() {
    let fixtures = Fixtures::new();
    let model = sealed(&fixtures);
    let all = ["--attest", "seal", "--attest", "audit"];
    let bundle = fixtures.sign(&model, "p384", &all);
    let verify = |bundle: &Path, extra: &[&str]| {
        let key = fixtures.path("keys/p384.pub.pem");
        let mut args =
            vec!["verify", arg(&model), "--signature", arg(bundle), "--public-key", arg(&key)];
        args.extend(extra);
        report(&args)
    };
    let (code, report) = verify(&bundle, &["--require-attestation", "audit"]);
    assert_eq!((code, found(&report)), (0, vec![]), "{report:#}");
    let kinds = report["signature"]["attestations"].as_array().unwrap();
    assert_eq!(kinds.len(), 2, "{report:#}");
    assert_eq!(kinds[0]["model_root"], report["model"]["root"]);
    let (code, report) = verify(&bundle, &["--require-attestation", "watermark-claim"]);
    assert_eq!((code, found(&report)), (1, vec!["signature/attestation-missing".to_owned()]));

    // Lines of another signature, or by another, or damaged, are not taken for those of this one.
    let beside = PathBuf::from(format!("{}.attestations.jsonl", bundle.display()));
    let own = fs::read_to_string(&beside).unwrap();
    let mut others = vec![own.replace("\"sig\":\"M", "\"sig\":\"N"), own.replace('{', "[")];
    let again = fixtures.path("again.sig");
    let change = |text: &str| {
        fs::write(model.join("config.json"), text).unwrap();
        assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    };
    for key in ["p384", "p256"] {
        change(&format!("{{\"signed for\": \"{key}\"}}"));
        let key = fixtures.path(&format!("keys/{key}.priv.pem"));
        let args = ["sign", arg(&model), "--key", arg(&key), "-o", arg(&again)];
        assert_eq!(run(&[&args[..], &all].concat()).code, 0);
        others.push(fs::read_to_string(format!("{}.attestations.jsonl", again.display())).unwrap());
    }
    change("{}");
    fixtures.sign(&model, "p384", &[]);
    for other in others {
        fs::write(&beside, &other).unwrap();
        let (code, report) = verify(&bundle, &[]);
        assert_eq!(code, 1, "{other}");
        assert!(found(&report).iter().all(|rule| rule == "signature/attestation-invalid"));
        assert_eq!(report["signature"]["attestations"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn a_seal_that_is_not_of_the_model_is_not_attested() {
    let fixtures = Fixtures::new();
    let model = sealed(&fixtures);
    fs::write(model.join("config.json"), "{}").unwrap();
    let (key, out) = (fixtures.path("keys/p256.priv.pem"), fixtures.path("new.sig"));
    let sign = |extra: &[&str]| {
        let args = ["sign", arg(&model), "--key", arg(&key), "-o", arg(&out)];
        run(&[&args[..], extra].concat())
    };
    let ran = sign(&["--attest", "seal"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("config.json"), "{}", ran.stderr);
    assert!(!out.exists());
    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    assert_eq!(sign(&["--attest", "seal"]).code, 2);
    assert_eq!(sign(&["--attest", "watermark-claim"]).code, 2);
}

#[test]
fn keys_that_cannot_sign_or_check_are_refused_by_name() {
    let fixtures = Fixtures::new();
    let model = fixtures.path("models/basic");
    let out = fixtures.path("new.sig");
    let passphrase = fixtures.path("passphrase");
    fs::write(&passphrase, "not this one\n").unwrap();
    let cases: [(&str, &[&str], &str); 6] = [
        ("keys/ed25519.priv.pem", &[], "Ed25519"),
        ("keys/rsa2048.priv.pem", &[], "RSA"),
        ("keys/secp256k1.priv.pem", &[], "secp256k1"),
        ("keys/p256.pub.pem", &[], "public"),
        ("keys/p256-encrypted.priv.pem", &[], "--passphrase-file"),
        ("keys/p256-encrypted.priv.pem", &["--passphrase-file", arg(&passphrase)], "passphrase"),
    ];
    for (key, extra, says) in cases {
        let key = fixtures.path(key);
        let args = ["sign", arg(&model), "--key", arg(&key), "-o", arg(&out)];
        let ran = run(&[&args[..], extra].concat());
        assert_eq!(ran.code, 2, "{}: {}", key.display(), ran.stderr);
        assert!(ran.stderr.contains(says), "{}: {}", key.display(), ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!out.exists());
    }
    let bundle = fixtures.path("bundles/key-basic.sig");
    for (key, says) in [
        ("keys/ed25519.pub.pem", "Ed25519"),
        ("keys/rsa2048.pub.pem", "RSA"),
        ("keys/p256.priv.pem", "private"),
        ("models/basic/config.json", "PEM"),
        ("keys/none.pem", "no public key file"),
    ] {
        let key = fixtures.path(key);
        let ran =
            run(&["verify", arg(&model), "--signature", arg(&bundle), "--public-key", arg(&key)]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}: {}", key.display(), ran.stderr);
    }
    let key = fixtures.path("keys/p256.pub.pem");
    let ran = run(&["verify", arg(&model), "--signature", "none.sig", "--public-key", arg(&key)]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert_eq!(run(&["verify", arg(&model), "--signature", arg(&bundle)]).code, 2);
}

/// Made by openssl: `openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:…`.
#[test]
fn an_encrypted_key_signs_with_its_passphrase() {
    let fixtures = Fixtures::new();
    let (plain, locked) = (fixtures.path("keys/p521.priv.pem"), fixtures.path("locked.pem"));
    let args = ["pkcs8", "-topk8", "-in", arg(&plain), "-out", arg(&locked), "-passout"];
    let made = Command::new("openssl").args(args).arg("pass:ein Löwe").status();
    assert!(made.expect("openssl is there").success());
    let passphrase = fixtures.path("passphrase");
    fs::write(&passphrase, "ein Löwe\r\n").unwrap();
    let (model, bundle) = (fixtures.path("models/basic"), fixtures.path("new.sig"));
    let args = ["sign", arg(&model), "--key", arg(&locked), "-o", arg(&bundle)];
    let ran = run(&[&args[..], &["--passphrase-file", arg(&passphrase)]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let key = fixtures.path("keys/p521.pub.pem");
    let ran = run(&["verify", arg(&model), "--signature", arg(&bundle), "--public-key", arg(&key)]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[test]
fn what_a_signature_leaves_out_is_told() {
    let fixtures = Fixtures::new();
    let model = fixtures.copy("nested");
    let readme = model.join("config/a.json");
    let bundle = fixtures.sign(&model, "p256", &["--ignore-path", arg(&readme)]);
    fs::write(&readme, "changed").unwrap();
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    assert_eq!((code, found(&report)), (0, vec![]));
    assert_eq!(report["coverage"]["not_covered"][0]["path"], "config/a.json");

    let new = model.join("onnx/new.bin");
    fs::write(&new, "new").unwrap();
    for extra in [&["--ignore-unsigned-files"][..], &["--ignore-path", arg(&new)]] {
        let (code, report) = fixtures.verify(&model, &bundle, extra);
        assert_eq!((code, found(&report)), (0, vec![]), "{report:#}");
        let left: Vec<_> = report["coverage"]["not_covered"].as_array().unwrap().iter().collect();
        assert!(left.iter().any(|left| left["path"] == "onnx/new.bin"), "{report:#}");
    }
    let other = fixtures.path("models/basic");
    let (code, _) = (run(&["verify", arg(&model), "--ignore-path", arg(&other)]).code, ());
    assert_eq!(code, 2);
    // Being ignored on the side of whoever verifies excuses nothing that was signed.
    fs::write(model.join("a.b"), "changed").unwrap();
    let changed = model.join("a.b");
    let (code, _) = fixtures.verify(
        &model,
        &bundle,
        &["--ignore-path", arg(&changed), "--ignore-unsigned-files"],
    );
    assert_eq!(code, 1);
}

#[test]
fn outputs_are_not_written_over_anything_else() {
    let fixtures = Fixtures::new();
    let model = fixtures.copy("basic");
    let key = fixtures.path("keys/p256.priv.pem");
    for target in ["config.json", "."] {
        let out = model.join(target);
        let before = fs::read(model.join("config.json")).unwrap();
        let ran = run(&["sign", arg(&model), "--key", arg(&key), "-o", arg(&out)]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert_eq!(fs::read(model.join("config.json")).unwrap(), before);
    }
    for _ in 0..2 {
        assert_eq!(run(&["sign", arg(&model), "--key", arg(&key)]).code, 0);
    }
    let (code, report) = fixtures.verify(&model, &model.join("model.sig"), &[]);
    assert_eq!((code, found(&report)), (0, vec![]), "{report:#}");
}

#[test]
fn links_need_both_sides() {
    let fixtures = Fixtures::new();
    let model = fixtures.path("models/symlink-inside");
    let (key, out) = (fixtures.path("keys/p256.priv.pem"), fixtures.path("new.sig"));
    let args = ["sign", arg(&model), "--key", arg(&key), "-o", arg(&out)];
    let ran = run(&args);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("link.safetensors"), "{}", ran.stderr);
    assert_eq!(run(&[&args[..], &["--allow-symlinks"]].concat()).code, 0);
    assert_eq!(fixtures.verify(&model, &out, &["--allow-symlinks"]).0, 0);
    let (code, report) = fixtures.verify(&model, &out, &[]);
    assert_eq!((code, found(&report)), (1, vec!["signature/link".to_owned()]), "{report:#}");
}

/// What walks the model sees the files of the directory under other names, and no signature lists those.
#[test]
fn a_link_to_a_directory_is_told() {
    let fixtures = Fixtures::new();
    let model = fixtures.copy("nested");
    let bundle = fixtures.sign(&model, "p256", &[]);
    symlink("config", model.join("settings")).unwrap();
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    assert_eq!((code, found(&report)), (1, vec!["signature/link".to_owned()]), "{report:#}");
    assert_eq!(report["findings"][0]["file"], "settings");
    for extra in ["--allow-symlinks", "--ignore-unsigned-files"] {
        assert_eq!(fixtures.verify(&model, &bundle, &[extra]).0, 1, "{extra}");
    }
    let link = model.join("settings");
    let ignored = fixtures.verify(&model, &bundle, &["--ignore-path", arg(&link)]);
    assert_eq!((ignored.0, found(&ignored.1)), (0, vec![]));

    let (key, out) = (fixtures.path("keys/p256.priv.pem"), fixtures.path("linked.sig"));
    let ran = run(&["sign", arg(&model), "--key", arg(&key), "-o", arg(&out)]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("settings is a link"), "{}", ran.stderr);
    let bundle = fixtures.sign(&model, "p256", &["--allow-symlinks"]);
    assert_eq!(fixtures.verify(&model, &bundle, &[]).0, 1, "both sides must allow it");
    let (code, report) = fixtures.verify(&model, &bundle, &["--allow-symlinks"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["findings"][0]["rule"], "signature/link");
    assert_eq!(report["findings"][0]["severity"], "low");
    let bundle = fixtures.sign(&model, "p256", &["--ignore-path", arg(&link)]);
    assert_eq!(fixtures.verify(&model, &bundle, &[]).0, 0, "the signature itself says so");
}

#[test]
fn an_empty_file_is_in_no_signature_of_shards() {
    let fixtures = Fixtures::new();
    let model = fixtures.copy("basic");
    let bundle = fixtures.sign(&model, "p256", &["--shard-size", "1000"]);
    assert_eq!(fixtures.verify(&model, &bundle, &[]).0, 0);
    let empty = model.join("__init__.py");
    fs::write(&empty, "").unwrap();
    let (code, report) = fixtures.verify(&model, &bundle, &[]);
    assert_eq!((code, found(&report)), (1, vec!["signature/file-unsigned".to_owned()]));
    assert_eq!(report["findings"][0]["file"], "__init__.py");
    let (key, out) = (fixtures.path("keys/p256.priv.pem"), fixtures.path("shards.sig"));
    let args = ["sign", arg(&model), "--key", arg(&key), "-o", arg(&out), "--shard-size", "1000"];
    let ran = run(&args);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("__init__.py is empty"), "{}", ran.stderr);
    assert_eq!(run(&[&args[..], &["--ignore-path", arg(&empty)]].concat()).code, 0);
    assert_eq!(fixtures.verify(&model, &out, &[]).0, 0);
}

/// The two commands that a conformance suite drives.
#[test]
fn the_conformance_adapter_signs_and_verifies() {
    let fixtures = Fixtures::new();
    let adapter = tensorseal_testing::workspace().join("tests/oms-conformance-adapter");
    let adapt = |args: &[&str]| {
        let mut command = Command::new(&adapter);
        command.args(args).env("TENSORSEAL", env!("CARGO_BIN_EXE_tensorseal"));
        command.output().unwrap().status.code().unwrap()
    };
    let model = fixtures.copy("nested");
    let path = |relative: &str| arg(&fixtures.path(relative)).to_owned();
    let (key, public) = (path("keys/p256.priv.pem"), path("keys/p256.pub.pem"));
    let (leaf, cert, between, root) = (
        path("pki/leaf.key.pem"),
        path("pki/leaf.crt.pem"),
        path("pki/intermediate.crt.pem"),
        path("pki/root.crt.pem"),
    );
    let ignored = model.join("a.b");
    let (bundle, model) = (path("adapter.sig"), arg(&model).to_owned());
    let common =
        ["--model-path", &model, "--output-bundle", &bundle, "--ignore-paths", arg(&ignored)];
    let checked = ["--model-path", &model, "--bundle", &bundle];
    let sign = ["sign-model", "--method", "key", "--private-key", &key];
    assert_eq!(adapt(&[&sign[..], &common].concat()), 0);
    let verify = ["verify-model", "--method", "key", "--public-key", &public];
    assert_eq!(adapt(&[&verify[..], &checked].concat()), 0);
    let by_certificate =
        ["verify-model", "--method", "certificate", "--cert-chain", &between, &root];
    assert_ne!(adapt(&[&by_certificate[..], &checked].concat()), 0);

    let sign = ["sign-model", "--method", "certificate", "--private-key", &leaf];
    let chain = ["--signing-cert", &cert, "--cert-chain", &between];
    assert_eq!(adapt(&[&sign[..], &chain, &common].concat()), 0);
    assert_eq!(adapt(&[&by_certificate[..], &checked].concat()), 0);
    assert_ne!(adapt(&[&by_certificate[..4], &checked].concat()), 0, "no root");
    fs::write(Path::new(&model).join("new"), "").unwrap();
    assert_ne!(adapt(&[&by_certificate[..], &checked].concat()), 0);
    let lenient = [&by_certificate[..], &checked, &["--ignore-unsigned-files"]].concat();
    assert_eq!(adapt(&lenient), 0);
}
