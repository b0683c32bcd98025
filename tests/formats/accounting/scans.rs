//! A scan names everything that it passes over.

use super::table::*;
use crate::common::contents::*;
use crate::common::sound_files::sound_npy;
use crate::common::*;
use serde_json::Value;

fn scan(files: Files, more: &[&str]) -> (i32, Value) {
    let laid = Laid::new(&files);
    let (root, state) = (laid.model(), laid.outer().join("state"));
    let base = [
        "registry",
        "scan",
        arg(&root),
        "--state",
        arg(&state),
        "--device",
        "cpu",
        "--format",
        "json",
    ];
    let ran = run(&[&base[..], more].concat());
    let report = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr));
    validate("tensorseal.registry.1", &report);
    (ran.code, report)
}

fn names(report: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = report["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["name"].as_str())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn models_that_cannot_be_audited_are_models() {
    let (code, report) = scan(
        vec![
            file("a/model.onnx", onnx("", None)),
            file("b/saved_model.pb", saved_model("MatMul")),
            file("c/model.h5", hdf5("")),
            file("d/weights.dat", weights()),
            file("e/w.safetensors.gz", gzip(&weights())),
            file("f/state.dat", super::files::calling()),
            file("notes/README.md", "# Notes\n"),
        ],
        &[],
    );
    // One of them calls something.
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(names(&report), ["a", "b", "c", "d", "e", "f"], "{report:#}");
}

#[test]
fn what_is_passed_over_is_named() {
    let (code, report) = scan(
        vec![
            file("a/model.safetensors", weights()),
            file("datasets--org--name/blobs/x", "x"),
            file("arrays/train.npy", sound_npy()),
        ],
        &[],
    );
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(names(&report), ["a"]);
    let passed: Vec<&str> = report["passed_over"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .collect();
    assert!(passed.iter().any(|path| path.contains("datasets--org--name")), "{report:#}");
    assert!(passed.iter().any(|path| path.contains("arrays")), "{report:#}");
}

#[test]
fn what_is_excluded_is_no_model() {
    let files = || vec![file("a/m.safetensors", weights()), file("tmp/b/m.safetensors", weights())];
    assert_eq!(names(&scan(files(), &[]).1), ["a", "tmp/b"]);
    assert_eq!(names(&scan(files(), &["--exclude", "tmp/*"]).1), ["a"]);
}

#[test]
fn a_cache_is_no_model() {
    let cache = || vec![file("models--org--name/snapshots/0123/model.safetensors", weights())];
    for command in ["audit {m}", "seal {m}", "inspect {m}", "verify {m} --seal {o}/none"] {
        let laid = Laid::new(&cache());
        let args = laid.command(command);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = run(&args);
        assert_eq!(ran.code, 2, "{command}: {}", ran.stderr);
        if !command.contains("--seal") {
            assert!(ran.stderr.contains("snapshots/0123"), "{command}: {}", ran.stderr);
        }
    }
}
