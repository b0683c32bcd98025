//! `audit` through the program: the same report on every engine, the exit codes, what is written out.

mod common;
#[path = "common/malformed.rs"]
mod malformed;

use common::weights::{read, write_as};
use common::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const DENSE: &str = "encoder.layer.2.intermediate.dense.weight";

/// The real model with its vocabulary cut short, as BF16.
fn real(dir: &Path) -> std::path::PathBuf {
    let mut weights = read(&real_model().join("model.safetensors"));
    let words = weights.iter_mut().find(|w| w.name == "embeddings.word_embeddings.weight").unwrap();
    words.shape[0] = 4096;
    words.values.truncate(4096 * words.shape[1]);
    let path = dir.join("model.safetensors");
    write_as(&path, &weights, Dtype::BF16);
    path
}

/// Where a tensor's data begins in a file.
fn start_of(path: &Path, tensor: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    8 + len + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize
}

/// Damages a file in many ways at once.
fn damage(path: &Path) {
    let start = start_of(path, DENSE);
    let mut bytes = fs::read(path).unwrap();
    // The highest exponent bit of one value, a page of zeros, a page that occurs twice, a script.
    bytes[start + 100_001] ^= 0x40;
    let page = (start + 300_000).next_multiple_of(4096);
    bytes[page..page + 4096].fill(0);
    bytes.copy_within(page + 40_960..page + 45_056, page + 81_920);
    let query = start_of(path, "encoder.layer.3.attention.self.query.weight");
    for (at, bit) in script().iter().flat_map(|b| (0..8).map(move |i| b >> i & 1)).enumerate() {
        let element = &mut bytes[query + 2 * at];
        *element = *element & 0xFE | bit;
    }
    fs::write(path, bytes).unwrap();
}

fn script() -> Vec<u8> {
    b"#!/bin/sh\n# a payload of some length\necho this is not run by anyone, it is only found\n"
        .repeat(50)
}

/// A report without what depends on the machine.
fn judged(path: &Path, options: &[&str]) -> (i32, Value) {
    let args = [&["audit", arg(path), "--format", "json", "--full"], options].concat();
    let ran = run(&args);
    let mut report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    validate("tensorseal.report.2", &report);
    assert!(report.as_object_mut().unwrap().remove("engine").is_some());
    (ran.code, report)
}

#[test]
fn every_engine_gives_the_same_report() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    let clean = judged(&path, &["--device", "cpu"]);
    assert_eq!(clean.0, 0, "{:#}", clean.1["findings"]);
    damage(&path);
    let (code, report) = judged(&path, &["--device", "cpu", "--threads", "1"]);
    assert_eq!(code, 1);
    let found: Vec<String> = rules(&report).into_iter().map(|(rule, _)| rule).collect();
    for rule in [
        "weights/exponent-outlier",
        "weights/constant-run",
        "weights/page-duplicate",
        "payload/file-magic",
    ] {
        assert!(found.iter().any(|other| other == rule), "{rule}: {found:?}");
    }
    for device in ["gpu", "cpu+llvmpipe"] {
        let other = judged(&path, &["--device", device]);
        assert!(other == (code, report.clone()), "{device}");
    }
    let checked = judged(&path, &["--device", "cpu+llvmpipe", "--cross-check", "20"]);
    assert!(checked == (code, report));
}

#[test]
fn a_flipped_bit_is_located_to_the_value() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    damage(&path);
    let (_, report) = judged(&path, &["--device", "cpu"]);
    let all = findings(&report);
    let flip = all.iter().find(|f| f["rule"] == "weights/exponent-outlier").unwrap();
    assert_eq!(flip["tensor"], DENSE);
    assert_eq!(flip["element_range"], serde_json::json!([50_000, 50_001]));
    assert_eq!(flip["row_range"], serde_json::json!([130, 131]));
    for key in ["gap_binades", "threshold_binades", "largest_exponent"] {
        assert!(flip["evidence"][key].is_number(), "{key}");
    }
}

#[test]
fn a_flipped_bit_is_one_finding() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    let at = start_of(&path, DENSE) + 100_001;
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    let (code, report) = judged(&path, &["--device", "cpu"]);
    assert_eq!(code, 1);
    // The layer's spread is that of one value now: that is no news, and its neighbours are sound.
    let grave: Vec<&Value> = findings(&report)
        .iter()
        .filter(|f| f["severity"] != "info" && f["severity"] != "low")
        .map(|f| &f["rule"])
        .collect();
    assert_eq!(grave, ["weights/exponent-outlier"]);
}

#[test]
fn streams_are_written_out_for_responders() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    damage(&path);
    let out = dir.path().join("streams");
    let ran = run(&["audit", arg(&path), "--device", "cpu", "--extract", arg(&out)]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("hostile"), "{}", ran.stderr);
    let files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap()).collect();
    let carved: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file.path()).unwrap()).collect();
    assert!(carved.iter().any(|bytes| bytes.starts_with(&script())), "{files:?}");
    #[cfg(unix)]
    for file in &files {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o111, 0, "it can be run");
    }
    // What is there is not written over.
    let again = run(&["audit", arg(&path), "--device", "cpu", "--extract", arg(&out)]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
    // Nothing is extracted from a sound model.
    let (sound, none) = (dir.path().join("sound"), dir.path().join("none"));
    fs::create_dir(&sound).unwrap();
    let sound = real(&sound);
    assert_eq!(run(&["audit", arg(&sound), "--device", "cpu", "--extract", arg(&none)]).code, 0);
    assert!(!none.exists());
}

#[test]
fn people_read_what_was_looked_at() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    let page = dir.path().join("page.html");
    let target = format!("html={}", page.display());
    let ran = run(&["audit", arg(&path), "--device", "cpu", "--report", &target]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("audited") && ran.stdout.contains("PASS"), "{}", ran.stdout);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("attention.self.query"), "the map has its roles");
    let quiet = run(&["audit", arg(&path), "--device", "cpu", "--quiet"]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (0, ""));
}

#[test]
fn a_malformed_model_is_a_finding_and_an_unreadable_one_is_not() {
    let dir = TempDir::new().unwrap();
    let mut checked = 0;
    for case in malformed::cases() {
        let place = dir.path().join(case.name);
        fs::create_dir(&place).unwrap();
        let model = (case.build)(&place);
        let (code, report) = report(&["audit", arg(&model)]);
        let found = report["findings"].as_array().unwrap();
        assert!(found.iter().any(|f| f["rule"] == case.rule), "{}: {found:#?}", case.name);
        let grave = found.iter().any(|f| f["severity"] != "info" && f["severity"] != "low");
        assert_eq!(code, i32::from(grave), "{}: {found:#?}", case.name);
        checked += 1;
    }
    assert!(checked > 50);
    let nothing = run(&["audit", arg(&dir.path().join("nothing")), "--device", "cpu"]);
    assert_eq!(nothing.code, 3);
    let device = run(&["audit", arg(dir.path()), "--device", "no such adapter"]);
    assert_eq!(device.code, 2, "{}", device.stderr);
}
