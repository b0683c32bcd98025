//! Seal and verify, through the program: everything that changes is reported as what it is, once.

use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A sealed small model.
fn sealed() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let ran = run(&["seal", arg(&model), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (dir, model)
}

fn expect(model: &Path, extra: &[&str], code: i32, expected: &[(&str, &str)]) -> Value {
    let mut args = vec!["verify", arg(model)];
    args.extend(extra);
    let (got, report) = report(&args);
    let expected: Vec<_> =
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(rules(&report), expected, "{report:#}");
    assert_eq!(got, code, "{report:#}");
    report
}

fn flip(path: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

/// Where the data of a safetensors file begins.
fn data_start(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn an_untouched_model_passes_and_says_what_it_did_not_cover() {
    let (_dir, model) = sealed();
    fs::write(model.join(".gitattributes"), "x").unwrap();
    fs::create_dir_all(model.join(".cache/huggingface/download")).unwrap();
    let report = expect(&model, &[], 0, &[]);
    assert_eq!(report["verdict"], "pass");
    let left: Vec<_> = report["coverage"]["not_covered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(left, [".cache/huggingface", ".gitattributes", "tensorseal.seal.json"]);
    assert_eq!(report["coverage"]["bytes_total"], report["coverage"]["bytes_checked"]);
    let human = run(&["verify", arg(&model)]);
    assert!(human.stdout.contains("unsigned seal"), "{}", human.stdout);
    assert!(human.stdout.contains("PASS"));
}

#[test]
fn a_missing_seal_is_to_be_had_from_the_publisher() {
    let (dir, model) = sealed();
    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    let yourself = "seal the model yourself only if you trust this copy";
    let place = "tensorseal.seal.json: get it from the publisher and name it with --seal";
    let ran = run(&["verify", arg(&model)]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(place) && ran.stderr.contains(yourself), "{}", ran.stderr);
    let out = dir.path().join("out");
    let ran = run(&["repair", arg(&model), "-o", arg(&out)]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(place) && !ran.stderr.contains(yourself), "{}", ran.stderr);
    let ran = run(&["verify", arg(&model), "--seal", "none.json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no seal file none.json"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("publisher"), "{}", ran.stderr);

    let key = dir.path().join("release.pem");
    fs::write(&key, "-----BEGIN PUBLIC KEY-----").unwrap();
    let options = ["--seal", arg(&key)];
    let report = expect(&model, &options, 1, &[("integrity/seal-invalid", "release.pem")]);
    let message = findings(&report)[0]["message"].as_str().unwrap();
    assert!(message.starts_with("not a seal: "), "{message}");
}

/// The root of no tensors says nothing about files.
#[test]
fn a_root_alone_passes_no_model_without_tensors() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    let ran = run(&["seal", arg(&model), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("no weights found: the seal covers files only"), "{}", ran.stderr);
    let seal = fs::read(model.join("tensorseal.seal.json")).unwrap();
    let seal: Value = serde_json::from_slice(&seal).unwrap();
    let root = seal["model"]["root"].as_str().unwrap().to_owned();
    expect(&model, &["--expect-root", &root], 0, &[]);

    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    let report = expect(&model, &["--expect-root", &root], 4, &[]);
    let error = report["error"].as_str().unwrap();
    assert!(error.ends_with("no weights found, only 1 JSON file (config.json)"), "{error}");
    let other = format!("blake3:{}", "0".repeat(64));
    let (code, report) = report_of(&model, &["--expect-root", &other]);
    assert_eq!((code, rules(&report)[0].0.as_str()), (1, "integrity/other-model"));
}

fn report_of(model: &Path, extra: &[&str]) -> (i32, Value) {
    report(&[&["verify", arg(model)], extra].concat())
}

#[test]
fn the_seal_is_the_published_document_and_its_digests_are_those_of_b3sum() {
    let (_dir, model) = sealed();
    let seal: Value =
        serde_json::from_slice(&fs::read(model.join("tensorseal.seal.json")).unwrap()).unwrap();
    validate("tensorseal.seal.1", &seal);
    for (name, dtype, _, bytes) in small_tensors(1) {
        let tensors = seal["tensors"].as_array().unwrap();
        let tensor = tensors.iter().find(|t| t["name"] == name).unwrap();
        assert_eq!(tensor["blake3"], blake3::hash(&bytes).to_hex().as_str(), "{name}");
        assert_eq!(tensor["dtype"], dtype);
        let bits = if dtype == "I64" { 64 } else { 8 * bytes.len() as u64 };
        let count = &tensor["distribution"]["count"];
        assert!(count.as_u64().unwrap() <= bits, "{count}");
    }
    // Canonical: reading and writing it again gives the same bytes.
    let text = fs::read_to_string(model.join("tensorseal.seal.json")).unwrap();
    assert_eq!(text, format!("{}\n", serde_json::to_string(&seal).unwrap()));
}

#[test]
fn every_flipped_bit_of_a_tensor_is_reported_with_its_block() {
    let (_dir, model) = sealed();
    let file = model.join("model.safetensors");
    let start = data_start(&file);
    let mut offset = 0;
    for (name, _, shape, bytes) in small_tensors(1) {
        for place in [0, bytes.len() / 3, bytes.len().saturating_sub(1)] {
            if bytes.is_empty() {
                continue;
            }
            flip(&file, start + offset + place, (place % 8) as u8);
            let report = expect(&model, &[], 1, &[("integrity/tensor-changed", name)]);
            let finding = findings(&report)[0];
            let range = finding["byte_range"].as_array().unwrap();
            let (from, to) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
            assert!(from <= place as u64 && (place as u64) < to && to <= bytes.len() as u64);
            assert!(to - from <= 1 << 20, "one block");
            if shape.len() > 1 {
                assert!(finding["row_range"][1].as_u64().unwrap() <= shape[0]);
            }
            flip(&file, start + offset + place, (place % 8) as u8);
        }
        offset += bytes.len();
    }
    expect(&model, &[], 0, &[]);
}

#[test]
fn every_flipped_bit_of_a_header_is_one_finding_about_that_file() {
    let (_dir, model) = sealed();
    let file = model.join("model.safetensors");
    let start = data_start(&file);
    let seven = |at: usize| (at * 7 % 8) as u8;
    for at in (0..start).step_by(5).chain(start - 8..start) {
        flip(&file, at, seven(at));
        let (code, report) = report(&["verify", arg(&model)]);
        assert_eq!(code, 1, "byte {at}: {report:#}");
        let found = findings(&report);
        assert_eq!(found.len(), 1, "byte {at}: {report:#}");
        assert_eq!(found[0]["file"], "model.safetensors", "byte {at}");
        let rule = found[0]["rule"].as_str().unwrap();
        let expected = rule.starts_with("format/")
            || ["header-changed", "tensor-renamed", "dtype-changed", "shape-changed"]
                .iter()
                .any(|known| rule == format!("integrity/{known}"));
        assert!(expected, "byte {at}: {rule}");
        flip(&file, at, seven(at));
    }
}

#[test]
fn other_files_are_covered_too() {
    let (_dir, model) = sealed();
    flip(&model.join("config.json"), 3, 0);
    expect(&model, &[], 1, &[("integrity/file-changed", "config.json")]);
    flip(&model.join("config.json"), 3, 0);
    fs::write(model.join("empty.txt"), "x").unwrap();
    expect(&model, &[], 1, &[("integrity/file-changed", "empty.txt")]);
    fs::remove_file(model.join("empty.txt")).unwrap();
    expect(&model, &[], 1, &[("integrity/file-missing", "empty.txt")]);
    fs::write(model.join("empty.txt"), "").unwrap();
    fs::create_dir(model.join("code")).unwrap();
    fs::write(model.join("code/modeling.py"), "import os").unwrap();
    expect(&model, &[], 1, &[("integrity/file-added", "code/modeling.py")]);
    expect(&model, &["--content-only"], 1, &[("integrity/file-added", "code/modeling.py")]);
}

#[test]
fn structural_changes_are_reported_as_what_they_are() {
    let rewrite = |model: &Path, change: fn(&mut Vec<Tensor>)| {
        let mut tensors = small_tensors(1);
        change(&mut tensors);
        fs::write(model.join("model.safetensors"), safetensors(&tensors)).unwrap();
    };
    let (_dir, model) = sealed();
    rewrite(&model, |t| {
        let other = t[1].3.clone();
        t[1].3 = std::mem::replace(&mut t[3].3, other);
    });
    let report = expect(&model, &[], 1, &[("integrity/tensor-changed", "layers.0.weight")]);
    assert_eq!(findings(&report)[0]["other_tensor"], "layers.1.weight");
    assert!(findings(&report)[0]["message"].as_str().unwrap().contains("swapped"));

    rewrite(&model, |t| t[2].0 = "layers.0.offset");
    let report = expect(&model, &[], 1, &[("integrity/tensor-renamed", "layers.0.offset")]);
    assert_eq!(findings(&report)[0]["other_tensor"], "layers.0.bias");

    rewrite(&model, |t| t[1].2 = &[1000, 300]);
    expect(&model, &[], 1, &[("integrity/shape-changed", "layers.0.weight")]);
    rewrite(&model, |t| t[1].1 = "I32");
    expect(&model, &[], 1, &[("integrity/dtype-changed", "layers.0.weight")]);
    rewrite(&model, |t| t.push(("extra", "U8", &[3], vec![1, 2, 3])));
    expect(&model, &[], 1, &[("integrity/tensor-added", "extra")]);
    rewrite(&model, |t| drop(t.remove(6)));
    expect(&model, &[], 1, &[("integrity/tensor-missing", "empty")]);
    rewrite(&model, |t| t.swap(1, 3));
    let report = expect(&model, &[], 1, &[("integrity/tensor-moved", "layers.0.weight")]);
    assert_eq!(findings(&report)[0]["severity"], "medium");
    expect(&model, &["--content-only"], 0, &[("integrity/tensor-moved", "layers.0.weight")]);
}

#[test]
fn a_file_cut_short_or_grown_is_that_and_nothing_else() {
    let (_dir, model) = sealed();
    let file = model.join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(&file, &longer).unwrap();
    let report = expect(&model, &[], 1, &[("format/trailing-bytes", "model.safetensors")]);
    assert_eq!(findings(&report)[0]["byte_range"], json!([whole.len(), whole.len() + 1]));
    // The last page: the scalar, the last bias and nothing else.
    fs::write(&file, &whole[..whole.len() - 2000]).unwrap();
    let report = expect(&model, &[], 1, &[("format/truncated", "model.safetensors")]);
    let message = findings(&report)[0]["message"].as_str().unwrap();
    assert!(message.contains("layers.1.bias") && message.contains("steps"), "{message}");
    fs::write(&file, &whole[..data_start(&file)]).unwrap();
    expect(&model, &[], 1, &[("format/truncated", "model.safetensors")]);
    fs::write(&file, "").unwrap();
    expect(&model, &[], 1, &[("format/empty-file", "model.safetensors")]);
    fs::remove_file(&file).unwrap();
    expect(&model, &[], 1, &[("integrity/file-missing", "model.safetensors")]);
}

#[test]
fn behind_a_destroyed_header_the_tensors_are_still_compared() {
    let (_dir, model) = sealed();
    let file = model.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let start = data_start(&file);
    bytes[..start].fill(0xAA);
    fs::write(&file, &bytes).unwrap();
    let report =
        expect(&model, &["--full"], 1, &[("format/header-too-large", "model.safetensors")]);
    let names: Vec<_> = report["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tensor| tensor["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), small_tensors(1).len(), "all are confirmed from the sealed layout");
    flip(&file, start + 5, 2);
    expect(
        &model,
        &[],
        1,
        &[
            ("integrity/tensor-changed", "embed.weight"),
            ("format/header-too-large", "model.safetensors"),
        ],
    );
}

#[test]
fn a_model_split_anew_keeps_its_root_and_passes_by_content() {
    let (dir, model) = sealed();
    let before = report(&["verify", arg(&model)]).1["model"]["root"].clone();
    fs::remove_file(model.join("model.safetensors")).unwrap();
    write_shards(&model, &small_tensors(1), 3);
    let report_ = expect(&model, &[], 1, &[("integrity/tensor-moved", "embed.weight")]);
    assert_eq!(report_["model"]["root"], before);
    expect(&model, &["--content-only"], 0, &[("integrity/tensor-moved", "embed.weight")]);
    // And the other way round: sealed in shards, found in one file.
    let seal = dir.path().join("shards.json");
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    let whole = write_model(&dir.path().join("whole"), &small_tensors(1));
    expect(
        &whole,
        &["--seal", arg(&seal), "--content-only"],
        0,
        &[("integrity/tensor-moved", "embed.weight")],
    );
    flip(&whole.join("config.json"), 0, 0);
    let (code, _) = report(&["verify", arg(&whole), "--seal", arg(&seal), "--content-only"]);
    assert_eq!(code, 1, "config files count");
}

#[test]
fn a_seal_of_another_model_is_one_line() {
    let (dir, model) = sealed();
    let seal = model.join("tensorseal.seal.json");
    let many = |prefix: &str, seed: u64| -> Vec<(String, Vec<u8>)> {
        (0..40).map(|i| (format!("{prefix}.{i}"), noise(seed + i, 64))).collect()
    };
    let write = |name: &str, tensors: &[(String, Vec<u8>)]| {
        let tensors: Vec<Tensor> =
            tensors.iter().map(|(n, b)| (n.as_str(), "U8", &[64u64][..], b.clone())).collect();
        write_model(&dir.path().join(name), &tensors)
    };
    let other = write("other", &many("w", 100));
    expect(&other, &["--seal", arg(&seal)], 1, &[("integrity/other-model", "")]);
    // Same names, other weights.
    assert_eq!(run(&["seal", arg(&other), "--device", "cpu"]).code, 0);
    let tuned = write("tuned", &many("w", 900));
    expect(
        &tuned,
        &["--seal", arg(&other.join("tensorseal.seal.json"))],
        1,
        &[("integrity/other-model", "")],
    );
}

#[test]
fn an_expected_root_pins_model_and_seal() {
    let (_dir, model) = sealed();
    let root = report(&["verify", arg(&model)]).1["model"]["root"].as_str().unwrap().to_owned();
    expect(&model, &["--expect-root", &root], 0, &[]);
    // Whoever swaps the weights can seal again: the root tells.
    let mut tensors = small_tensors(1);
    tensors[2].3[0] ^= 1;
    fs::write(model.join("model.safetensors"), safetensors(&tensors)).unwrap();
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    expect(&model, &[], 0, &[]);
    expect(&model, &["--expect-root", &root], 1, &[("integrity/other-model", "")]);
    // The model is the expected one, the seal is not.
    fs::write(model.join("model.safetensors"), safetensors(&small_tensors(1))).unwrap();
    expect(&model, &["--expect-root", &root], 1, &[("integrity/seal-invalid", "")]);
    // No seal is needed for the root alone.
    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    let alone = expect(&model, &["--expect-root", &root], 0, &[]);
    let left = alone["coverage"]["not_covered"].to_string();
    assert!(
        left.contains("config.json"),
        "a root covers tensors only, and the report says so: {left}"
    );
    assert_eq!(run(&["verify", arg(&model), "--expect-root", "blake3:12"]).code, 2);
}

#[test]
fn a_file_put_beside_the_model_is_one_added_file() {
    let (_dir, model) = sealed();
    let same_names = safetensors(&[("embed.weight", "U8", &[2], vec![1, 2])]);
    fs::write(model.join("a.safetensors"), same_names).unwrap();
    expect(&model, &[], 1, &[("integrity/file-added", "a.safetensors")]);
}

#[test]
fn file_digests_are_those_of_the_whole_files() {
    use sha2::{Digest, Sha256};
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    write_shards(&model, &small_tensors(9), 2);
    fs::write(model.join("config.json"), "{}").unwrap();
    for threads in ["1", "2", "3"] {
        let ran =
            run(&["seal", arg(&model), "--file-digests", "--threads", threads, "--device", "cpu"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let seal: Value =
            serde_json::from_slice(&fs::read(model.join("tensorseal.seal.json")).unwrap()).unwrap();
        validate("tensorseal.seal.1", &seal);
        for file in seal["files"].as_array().unwrap() {
            let bytes = fs::read(model.join(file["path"].as_str().unwrap())).unwrap();
            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            assert_eq!(file["sha256"], tensorseal_core::seal::canonical::hex(&sha256));
            assert_eq!(file["blake3"], blake3::hash(&bytes).to_hex().as_str());
        }
    }
    expect(&model, &["--file-digests"], 0, &[]);
    // A seal that lies about a whole file is found when it is asked for.
    let seal = model.join("tensorseal.seal.json");
    let text = fs::read_to_string(&seal).unwrap();
    let at = text.find("\"sha256\":\"").unwrap() + 10;
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    fs::write(&seal, format!("{}{digit}{}", &text[..at], &text[at + 1..])).unwrap();
    expect(&model, &[], 0, &[]);
    expect(&model, &["--file-digests"], 1, &[("integrity/seal-invalid", "config.json")]);
}

#[test]
fn seals_do_not_depend_on_threads_or_place() {
    let dir = TempDir::new().unwrap();
    let mut seals = Vec::new();
    for (name, threads) in [("a", "1"), ("b", "2"), ("c", "5")] {
        let model = write_model(&dir.path().join(name), &small_tensors(3));
        let ran = run(&["seal", arg(&model), "--threads", threads, "--device", "cpu"]);
        assert_eq!(ran.code, 0);
        seals.push(fs::read(model.join("tensorseal.seal.json")).unwrap());
    }
    assert!(seals.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_is_missing_or_wrong_on_the_command_line_has_its_exit_code() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let code = |args: &[&str]| {
        let ran = run(args);
        assert!(!ran.stderr.is_empty(), "{args:?} says why");
        ran.code
    };
    assert_eq!(code(&["verify", arg(&model)]), 2, "no seal");
    assert_eq!(code(&["verify", arg(&model), "--seal", "/nonexistent"]), 2);
    assert_eq!(code(&["seal", "/nonexistent"]), 3);
    assert_eq!(code(&["verify", "/nonexistent"]), 3);
    assert_eq!(code(&["seal", arg(&model), "--threads", "x"]), 2);
    assert_eq!(code(&["seal", arg(&model), "--device", ""]), 2);
    assert_eq!(code(&["seal", arg(&model), "--cross-check", "101"]), 2);
    assert_eq!(code(&["seal", arg(&model), "--report", "pdf=x"]), 2);
    assert_eq!(code(&["seal", arg(&model), "-o", arg(&model.join("config.json"))]), 2);
    assert_eq!(code(&["seal", arg(&model), "-o", arg(&model)]), 2);
    assert_eq!(code(&["seal", arg(&model), "-o", "/nonexistent/x.json"]), 3);
    assert_eq!(
        code(&["seal", arg(&model), "-o", "/dev/null"]),
        2,
        "nothing is renamed over a device"
    );
    assert_eq!(
        fs::read_to_string(model.join("config.json")).unwrap(),
        "{\"model_type\": \"test\"}\n"
    );
}

#[test]
fn inspect_lists_headers_only() {
    let (_dir, model) = sealed();
    let (code, listed) = report(&["inspect", arg(&model)]);
    assert_eq!(code, 0);
    assert_eq!(listed["tensors"].as_array().unwrap().len(), 7);
    assert_eq!(listed["engine"], Value::Null);
    let human = run(&["inspect", arg(&model)]).stdout;
    assert!(human.contains("layers.*.weight") && human.contains("× 2"), "{human}");
    let empty = TempDir::new().unwrap();
    assert_eq!(run(&["inspect", arg(empty.path())]).code, 4, "no tensor");
    assert_eq!(run(&["seal", arg(empty.path())]).code, 4, "nothing to seal");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn reports_are_written_whole_and_quiet_is_quiet() {
    let (dir, model) = sealed();
    let path = dir.path().join("report.json");
    let target = format!("json={}", arg(&path));
    let ran = run(&["verify", arg(&model), "--quiet", "--report", &target, "--device", "cpu"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    validate("tensorseal.report.2", &report);
}

#[test]
fn damage_hides_nothing_that_is_worse() {
    // An index whose total is wrong is untidy and can be sealed; changed afterwards, it is tampering.
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    write_shards(&model, &small_tensors(1), 2);
    let index = model.join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap().replace("\"total_size\":", "\"total_size\":1");
    fs::write(&index, &text).unwrap();
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    expect(&model, &[], 0, &[("format/index-wrong-total-size", "model.safetensors.index.json")]);
    fs::write(&index, text.replace("\"total_size\":1", "\"total_size\":2")).unwrap();
    expect(&model, &[], 1, &[("format/index-wrong-total-size", "model.safetensors.index.json")]);
    // Cut short, a file has lost tensors: as bad as if they had been removed.
    let (_dir, model) = sealed();
    let file = model.join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 2000]).unwrap();
    let args = ["--fail-on", "critical"];
    let report = expect(&model, &args, 1, &[("format/truncated", "model.safetensors")]);
    assert_eq!(findings(&report)[0]["severity"], "critical");
}

#[test]
fn a_run_without_verdict_replaces_the_report_of_an_earlier_one() {
    let (dir, model) = sealed();
    let path = dir.path().join("report.json");
    let target = format!("json={}", arg(&path));
    let verdict = || -> Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    assert_eq!(run(&["verify", arg(&model), "--report", &target]).code, 0);
    assert_eq!(verdict()["verdict"], "pass");
    fs::remove_dir_all(&model).unwrap();
    let ran = run(&["verify", arg(&model), "--report", &target, "--format", "json"]);
    assert_eq!(ran.code, 3);
    validate("tensorseal.report.2", &verdict());
    assert_eq!(verdict()["verdict"], "incomplete");
    assert!(verdict()["error"].as_str().unwrap().contains("no such file"));
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), verdict());
}

/// What walks the model and follows links sees the files of the directory under other names, too.
#[test]
fn links_to_directories_are_sealed() {
    use std::os::unix::fs::symlink;
    let (dir, model) = sealed();
    let seal = model.join("tensorseal.seal.json");
    let plain = fs::read(&seal).unwrap();
    for sub in ["one", "two"] {
        fs::create_dir(model.join(sub)).unwrap();
    }
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    assert_eq!(fs::read(&seal).unwrap(), plain, "a seal without links is the one that it was");

    let link = model.join("one/latest");
    symlink("../two", &link).unwrap();
    let added = ("integrity/file-added", "one/latest");
    let report = expect(&model, &[], 1, &[added]);
    assert!(report["findings"][0]["message"].as_str().unwrap().contains("directory two"));
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    let document: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    validate("tensorseal.seal.1", &document);
    assert_eq!(document["links"], json!([{"path": "one/latest", "target": "two"}]));
    expect(&model, &[], 0, &[]);

    fs::remove_file(&link).unwrap();
    expect(&model, &[], 1, &[("integrity/file-missing", "one/latest")]);
    fs::create_dir(model.join("three")).unwrap();
    symlink("../three", &link).unwrap();
    expect(&model, &[], 1, &[("integrity/file-changed", "one/latest")]);

    // A repaired copy has the links that were sealed.
    fs::remove_file(&link).unwrap();
    symlink("../two", &link).unwrap();
    fs::write(model.join("two/notes.txt"), "notes").unwrap();
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    flip(&model.join("model.safetensors"), data_start(&model.join("model.safetensors")), 3);
    let copy = dir.path().join("copy");
    let ran = run(&["repair", arg(&model), "--seal", arg(&seal), "-o", arg(&copy)]);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    assert_eq!(fs::read(copy.join("one/latest/notes.txt")).unwrap(), b"notes");
    assert_eq!(run(&["verify", arg(&copy), "--seal", arg(&seal)]).code, 0);

    let ways_out = [
        json!([{"path": "../a", "target": "two"}]),
        json!([{"path": "a", "target": "/etc"}]),
        json!([{"path": "a", "target": ""}]),
        json!([{"path": "b", "target": "two"}, {"path": "a", "target": "two"}]),
        json!([{"path": "a", "target": "two", "more": 1}]),
    ];
    for links in ways_out {
        let mut document = document.clone();
        document["links"] = links.clone();
        fs::write(&seal, document.to_string()).unwrap();
        let (code, report) = crate::common::report(&["verify", arg(&model)]);
        assert_eq!((code, &rules(&report)[0].0[..]), (1, "integrity/seal-invalid"), "{links}");
    }
}
