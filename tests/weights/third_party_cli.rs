//! Marks of other schemes through the program: commitments and refusals. Golden keys, on every engine, are in
//! `tests/gpu`.

use crate::common::golden_marks::{detect, golden, parsed, write_key};
use crate::common::keys::{Model, Npy};
use crate::common::*;
use serde_json::Value;
use std::fs;

#[test]
fn a_published_id_commits_to_the_key() {
    let (scheme, model, key, ..) = golden().remove(0);
    let path = write_key(&key);
    let id = key.read().id().to_owned();
    let run = |extra: &[&str]| {
        let mut args = vec!["--key", path.as_str(), "--format", "json"];
        args.extend(extra);
        let ran = detect(&model.path(), scheme, &args);
        (ran.code, parsed(&ran))
    };
    let committed = |report: &Value| report["watermark"]["committed"].clone();
    let (code, report) = run(&["--key-id", &"0".repeat(64), "--key-id", &id]);
    assert_eq!((code, committed(&report)), (0, true.into()));
    assert!(report["findings"].as_array().unwrap().is_empty(), "{report:#}");
    let (_, report) = run(&["--key-id", &"0".repeat(64)]);
    assert_eq!(committed(&report), false);
    assert_eq!(report["findings"][0]["rule"], "watermark/uncommitted-key");
    assert_eq!(rules(&run(&["--expect", "absent"]).1)[0].0, "watermark/present");
}

#[test]
fn a_layer_without_the_mark_is_absent() {
    let (scheme, _, key, ..) = golden().remove(0);
    let path = write_key(&key);
    let mut weights = Npy::golden("third_party/uchida_W_hwio.npy");
    let other: Vec<u8> = noise(1, weights.bytes.len() / 4)
        .iter()
        .flat_map(|byte| (f32::from(*byte) - 127.5).to_le_bytes())
        .collect();
    weights.bytes = other;
    let model = Model::new(&[weights.tensor("conv2.weight")]);
    let ran = detect(&model.path(), scheme, &["--key", &path, "--format", "json"]);
    assert_eq!((ran.code, &parsed(&ran)["watermark"]["verdict"]), (1, &"absent".into()));
    assert_eq!(detect(&model.path(), scheme, &["--key", &path, "--expect", "absent"]).code, 0);
}

/// Codes that a key names, and whose scales nobody here knows, are no weights.
#[test]
fn a_layer_that_is_not_read_is_not_without_the_mark() {
    let (scheme, _, key, ..) = golden().remove(0);
    let path = write_key(&key);
    let weights = Npy::golden("third_party/uchida_W_hwio.npy");
    let codes: Vec<u8> = noise(1, weights.bytes.len() / 4).iter().map(|byte| byte & 0xBF).collect();
    let codes = ("conv2.weight", "F8_E4M3", &weights.shape[..], codes);
    let plain = Model::new(std::slice::from_ref(&codes));
    let verdict = |model: &Model, extra: &[&str]| {
        let mut args = vec!["--key", path.as_str(), "--format", "json"];
        args.extend(extra);
        let ran = detect(&model.path(), scheme, &args);
        (ran.code, parsed(&ran)["watermark"].clone())
    };
    assert_eq!(verdict(&plain, &[]).1["verdict"], "absent");
    let scaled = Model::new(&[codes, ("conv2.scales", "F32", &[2, 2, 2], noise(2, 32))]);
    for expected in [&[][..], &["--expect", "absent"]] {
        let (code, found) = verdict(&scaled, expected);
        assert_eq!((code, &found["verdict"]), (1, &"inconclusive".into()), "{found:#}");
        assert_eq!(found["reason"], "unread-scheme");
    }
}

#[test]
fn what_cannot_be_checked_is_said() {
    let (scheme, model, key, ..) = golden().remove(0);
    let path = write_key(&key);
    let says = |scheme: &str, extra: &[&str], code: i32, words: &str| {
        let ran = detect(&model.path(), scheme, extra);
        assert!(ran.code == code && ran.stderr.contains(words), "{} {}", ran.code, ran.stderr);
    };
    for refused in ["deepsigns", "seal", "fsw", "freemark", "gaussmark-text"] {
        says(refused, &["--key", &path], 2, "cannot be checked from weights alone");
    }
    says("watermarkz", &["--key", &path], 2, "supported schemes are uchida");
    says("emmark", &["--key", &path], 2, "--scheme uchida");
    says("ts-spread/1", &["--key", &path], 2, "--scheme uchida");
    says(scheme, &["--key", &path, "--key", &path], 2, "given twice");
    says(scheme, &["--key", "/nonexistent"], 2, "no watermark key file /nonexistent");
    says(scheme, &["--key", &path, "--claim", &path], 2, "--key-id");
    says(scheme, &["--key", &path, "--original", &path], 2, "--original is for ts-spread/1");
    says(scheme, &["--original", &path], 2, "--original is for ts-spread/1");
    // A key of ours.
    let native = key.dir.path().join("native");
    assert_eq!(run(&["watermark", "keygen", "-o", arg(&native)]).code, 0);
    says(scheme, &["--key", arg(&native)], 2, "ts-spread/1");
    says("ts-spread/1", &["--key", arg(&native), "--key-id", &"0".repeat(64)], 2, "--claim");
    // A key for a tensor that is not there, or is another.
    for tensor in [
        ("other", "F32", &[64u64][..], noise(1, 256)),
        ("conv2.weight", "F32", &[64][..], noise(1, 256)),
    ] {
        let model = Model::new(&[tensor]);
        assert_eq!(detect(&model.path(), scheme, &["--key", &path]).code, 4);
    }
    // Damaged arrays.
    fs::write(key.dir.path().join("b.npy"), "no array").unwrap();
    says(scheme, &["--key", &path], 2, "b.npy");
}

/// Weights that moved within the steps of eight bits, and others that moved as weights do.
#[test]
fn changes_inside_intervals_are_a_warning() {
    let base: Vec<f32> =
        noise(5, 1 << 16).iter().map(|byte| (f32::from(*byte) - 127.5) / 127.5).collect();
    let model = |values: &[f32]| {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Model::new(&[("w", "F32", &[256, 256], bytes)])
    };
    // Towards the middle of the interval each lies in: by a third of the way, and to a random place.
    let mut inside = base.clone();
    for row in inside.chunks_mut(256) {
        let step = row.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
        for value in row {
            let middle = (*value / step).round() * step;
            *value += (middle - *value) * 0.3;
        }
    }
    let outside: Vec<f32> = base
        .iter()
        .zip(noise(6, 1 << 16))
        .map(|(v, n)| v + (f32::from(n) - 127.5) * 5e-5)
        .collect();
    let (base, inside, outside) = (model(&base), model(&inside), model(&outside));
    let compare = |model: &Model, extra: &[&str]| {
        let original = base.path();
        let mut args = vec!["--original", arg(&original), "--format", "json"];
        args.extend(extra);
        detect(&model.path(), "interval", &args)
    };
    let ran = compare(&inside, &[]);
    let report = parsed(&ran);
    assert_eq!(
        (ran.code, rules(&report)),
        (1, vec![("watermark/inside-intervals".into(), "w".into())])
    );
    assert_eq!(report["watermark"]["verdict"], "inconclusive");
    assert_eq!(report["watermark"]["log10_p"], Value::Null);
    let ran = compare(&outside, &["--expect", "absent"]);
    assert_eq!((ran.code, &parsed(&ran)["watermark"]["verdict"]), (0, &"absent".into()));
    let ran = compare(&base, &[]);
    assert_eq!((ran.code, rules(&parsed(&ran))[0].0.as_str()), (1, "watermark/inconclusive"));
    let (path, key) = (base.path(), "--key");
    assert_eq!(detect(&path, "interval", &[]).code, 2);
    assert_eq!(detect(&path, "interval", &[key, arg(&path), "--original", arg(&path)]).code, 2);
    assert_eq!(compare(&inside, &["--expect", "present"]).code, 2);
    let strange = Model::new(&[("x", "F32", &[256, 256], noise(1, 1 << 18))]);
    assert_eq!(compare(&strange, &[]).code, 4);
}
