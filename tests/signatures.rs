//! Signatures, through the program: every bundle of the fixtures has its expected verdict, and whatever
//! is changed in a model is found.

mod common;

use common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The fixtures: keys, certificates, models and the bundles of them.
struct Fixtures(TempDir);

impl Fixtures {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oms/fixtures.tar.gz");
        let unpacked = Command::new("tar")
            .args(["-xzf", arg(&archive), "-C", arg(dir.path()), "--warning=no-unknown-keyword"])
            .status();
        assert!(unpacked.unwrap().success());
        Self(dir)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// A copy of a model that may be changed.
    fn copy(&self, model: &str) -> PathBuf {
        let copy = self.path(&format!("copy-of-{model}"));
        let copied = Command::new("cp")
            .args(["-a", arg(&self.path("models").join(model)), arg(&copy)])
            .status();
        assert!(copied.unwrap().success());
        copy
    }

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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oms/expected.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Prints a table: `cargo test --test signatures -- --nocapture fixture`.
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
        let (code, report) = report(&args);
        validate("tensorseal.report.1", &report);
        let found = rules(&report).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>().join(" ");
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
