//! `audit` through the program: where damage is, what is written out. That every engine gives the same report is
//! held in `tests/gpu`.

use crate::common::audited::{DENSE, damage, judged, real, script, start_of};
use crate::common::*;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

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
