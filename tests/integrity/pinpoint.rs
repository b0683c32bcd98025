//! Flipped bits through the program: found exactly, named exactly, put back.

use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorseal_format::{Checkpoint, OpenOptions};

/// A sealed small model, with a fine sidecar or without.
fn sealed(extra: &[&str]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    seal(&model, extra);
    (dir, model)
}

fn seal(model: &Path, extra: &[&str]) {
    let mut args = vec!["seal", arg(model), "--device", "cpu"];
    args.extend(extra);
    let ran = run(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Where a tensor begins in `model.safetensors`.
fn start(model: &Path, tensor: &str) -> usize {
    let file = model.join("model.safetensors");
    let opened = Checkpoint::open(&file, &OpenOptions::default()).unwrap();
    opened.tensors.iter().find(|t| t.name == tensor).unwrap().offset as usize
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Exclusive or with bytes of a tensor.
fn change(model: &Path, tensor: &str, masks: &[(usize, u8)]) {
    let start = start(model, tensor);
    edit(&model.join("model.safetensors"), |bytes| {
        masks.iter().for_each(|(at, mask)| bytes[start + at] ^= mask);
    });
}

/// The one finding of a model with a changed tensor.
fn verified(model: &Path, tensor: &str) -> Value {
    let (code, report) = report(&["verify", arg(model)]);
    assert_eq!(code, 1, "{report:#}");
    let expected = [("integrity/tensor-changed".to_owned(), tensor.to_owned())];
    assert_eq!(rules(&report), expected, "{report:#}");
    findings(&report)[0].clone()
}

/// Repairs a model and holds the copy to what the model was.
fn repaired(model: &Path, intact: &Path) {
    let out = model.with_extension("repaired");
    let (code, report) = report(&["repair", arg(model), "-o", arg(&out)]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["verdict"], "pass");
    assert!(
        findings(&report).is_empty() && !report["findings"][0]["evidence"]["pinpointed"].is_null()
    );
    same_files(&out, intact);
    let seal = model.join("tensorseal.seal.json");
    let sealed: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    assert_eq!(report["model"]["root"], sealed["model"]["root"]);
    let ran = run(&["verify", arg(&out), "--seal", arg(&seal), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    fs::remove_dir_all(out).unwrap();
}

/// Every file of the copy is that of the original, seals aside.
fn same_files(copy: &Path, original: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(original).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.retain(|name| !name.to_str().unwrap().starts_with("tensorseal.seal"));
    assert_eq!(fs::read_dir(copy).unwrap().count(), names.len());
    for name in names {
        assert!(
            fs::read(copy.join(&name)).unwrap() == fs::read(original.join(&name)).unwrap(),
            "{name:?}"
        );
    }
}

/// Repairs nothing, says so, and leaves nothing behind.
fn not_repaired(model: &Path, code: i32) -> Value {
    let out = model.with_extension("repaired");
    let (got, report) = report(&["repair", arg(model), "-o", arg(&out)]);
    assert_eq!(got, code, "{report:#}");
    assert!(!out.exists());
    let beside: Vec<_> = fs::read_dir(model.parent().unwrap()).unwrap().collect();
    assert!(
        beside.iter().all(|e| !e.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'))
    );
    report
}

fn copy_model(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Numbers that look like nothing in particular.
fn random(seed: u64, below: u64) -> u64 {
    let bytes = noise(seed, 8);
    u64::from_le_bytes(bytes.try_into().unwrap()) % below
}

/// One bit anywhere in the tensors of the real model, twenty times.
#[test]
fn a_flipped_bit_of_a_real_model_is_found_and_put_back() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    let original = real_model().join("model.safetensors");
    let path = model.join("model.safetensors");
    fs::copy(&original, &path).unwrap();
    seal(&model, &["--digest-only"]);
    let opened = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let data: u64 = opened.tensors.iter().map(|tensor| tensor.bytes).sum();
    let intact = fs::read(&path).unwrap();
    for place in 0..20 {
        let mut at = random(place, data);
        let bit = random(100 + place, 8) as u32;
        let tensor = opened
            .tensors
            .iter()
            .find(|tensor| {
                let inside = at < tensor.bytes;
                at -= if inside { 0 } else { tensor.bytes };
                inside
            })
            .unwrap();
        let mut bytes = intact.clone();
        bytes[(tensor.offset + at) as usize] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();

        let finding = verified(&model, &tensor.name);
        let pinpointed = &finding["evidence"]["pinpointed"];
        let width = u64::from(tensor.dtype.bits() / 8);
        let element = at / width;
        let [ref found] = pinpointed["changes"].as_array().unwrap()[..] else {
            panic!("{finding:#}")
        };
        assert_eq!((&found["byte"], &found["element"]), (&json!(at), &json!(element)), "{place}");
        assert_eq!(found["bits"], json!([8 * (at % width) as u32 + bit]));
        assert_eq!(pinpointed["bits_flipped"], 1);
        assert_eq!(finding["byte_range"], json!([at, at + 1]));
        assert_eq!(finding["element_range"], json!([element, element + 1]));
        if tensor.dtype.name() == "F32" {
            let from = (tensor.offset + element * 4) as usize;
            let value = f32::from_le_bytes(intact[from..from + 4].try_into().unwrap());
            assert_eq!(found["sealed"].as_f64(), Some(f64::from(value)));
        }
        if place % 5 == 0 {
            let out = dir.path().join("out");
            let (code, report) = report(&["repair", arg(&model), "-o", arg(&out)]);
            assert_eq!(code, 0, "{report:#}");
            assert!(fs::read(out.join("model.safetensors")).unwrap() == intact);
            fs::remove_dir_all(out).unwrap();
        }
    }
}

#[test]
fn flips_of_every_kind_of_tensor_are_found_and_put_back() {
    let (dir, model) = sealed(&[]);
    let intact = dir.path().join("intact");
    copy_model(&model, &intact);
    for (tensor, at, element) in [
        ("steps", 7, 0),
        ("layers.0.bias", 3999, 999),
        ("layers.0.bias", 0, 0),
        // Of more than one block: the first byte, the last of a block, the first and last of the last.
        ("embed.weight", 0, 0),
        ("embed.weight", (1 << 20) - 1, 524_287),
        ("embed.weight", 1 << 20, 524_288),
        ("embed.weight", 1_399_999, 699_999),
        ("layers.1.weight", 1_199_999, 299_999),
    ] {
        change(&model, tensor, &[(at, 0x40)]);
        let finding = verified(&model, tensor);
        let pinpointed = &finding["evidence"]["pinpointed"];
        assert_eq!(pinpointed["changes"][0]["byte"], at, "{finding:#}");
        assert_eq!(pinpointed["changes"][0]["element"], element);
        assert!(finding["message"].as_str().unwrap().contains("; single bit flip: element "));
        repaired(&model, &intact);
        change(&model, tensor, &[(at, 0x40)]);
    }
    let human = run(&["repair", arg(&model), "-o", arg(&dir.path().join("out"))]);
    assert_eq!(human.code, 0);
    assert!(human.stdout.contains("nothing to repair"), "{}", human.stdout);
    assert!(!dir.path().join("out").exists());
}

#[test]
fn several_flips_in_several_places_are_put_back() {
    let (dir, model) = sealed(&[]);
    let intact = dir.path().join("intact");
    copy_model(&model, &intact);
    change(&model, "embed.weight", &[(5, 1), (1_300_000, 128)]);
    change(&model, "steps", &[(0, 2), (6, 4)]);
    edit(&model.join("config.json"), |bytes| bytes[3] ^= 0x20);
    let file = model.join("model.safetensors");
    // In the padding of the header, and in its first byte of text: it cannot be read then.
    let header = start(&model, "embed.weight") - 1;
    edit(&file, |bytes| bytes[header] ^= 1);
    edit(&file, |bytes| bytes[header] ^= 1);
    edit(&file, |bytes| bytes[8] ^= 4);
    let (code, report) = report(&["verify", arg(&model)]);
    assert_eq!(code, 1);
    let all: Vec<_> = findings(&report)
        .iter()
        .map(|finding| finding["evidence"]["pinpointed"]["bits_flipped"].as_u64())
        .collect();
    assert_eq!(all.len(), 4, "{report:#}");
    assert!(all.iter().all(|bits| matches!(bits, Some(1 | 2))), "{report:#}");
    repaired(&model, &intact);
}

#[test]
fn a_flip_in_the_length_of_the_header_is_put_back() {
    let (dir, model) = sealed(&[]);
    let intact = dir.path().join("intact");
    copy_model(&model, &intact);
    for at in [0, 6] {
        edit(&model.join("model.safetensors"), |bytes| bytes[at] ^= 2);
        repaired(&model, &intact);
        edit(&model.join("model.safetensors"), |bytes| bytes[at] ^= 2);
    }
}

#[test]
fn a_single_file_is_repaired_as_one() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model.safetensors");
    let intact = safetensors(&small_tensors(3));
    fs::write(&model, &intact).unwrap();
    seal(&model, &["--fine"]);
    assert!(dir.path().join("model.safetensors.seal.fine").is_file());
    edit(&model, |bytes| bytes[1_000_000] ^= 0x81);
    let out = dir.path().join("out.safetensors");
    let (code, report) = report(&["repair", arg(&model), "-o", arg(&out)]);
    assert_eq!(code, 0, "{report:#}");
    assert!(fs::read(&out).unwrap() == intact);
}

#[test]
fn with_the_sidecar_small_changes_of_a_kib_are_found() {
    let (dir, model) = sealed(&["--fine"]);
    let fine = model.join("tensorseal.seal.fine");
    let bytes =
        small_tensors(1).iter().map(|t| t.3.len().div_ceil(1024)).filter(|n| *n > 1).sum::<usize>();
    assert_eq!(fs::metadata(&fine).unwrap().len(), 72 + 32 * bytes as u64);
    let intact = dir.path().join("intact");
    copy_model(&model, &intact);
    assert_eq!(report(&["verify", arg(&model)]).0, 0);
    let late = 1_100_000;
    for (tensor, masks) in [
        // Two bits of one KiB, as far apart as may be.
        ("embed.weight", vec![(1_048_576, 1), (1_048_576 + 1023, 128)]),
        ("layers.0.weight", vec![(late, 0xB7)]),
        // In the last KiB of the tensor, which is short: so is the search.
        ("embed.weight", vec![(1_399_998, 0xFF), (1_399_999, 0x0F)]),
        // Two KiB of one block, one bit each.
        ("layers.1.weight", vec![(10, 1), (5000, 16)]),
    ] {
        change(&model, tensor, &masks);
        let finding = verified(&model, tensor);
        let pinpointed = &finding["evidence"]["pinpointed"];
        let flipped: u32 = masks.iter().map(|(_, mask): &(usize, u8)| mask.count_ones()).sum();
        assert_eq!(pinpointed["bits_flipped"], flipped, "{finding:#}");
        let (first, last) = (masks[0].0, masks.last().unwrap().0);
        assert_eq!(finding["byte_range"], json!([first, last + 1]));
        repaired(&model, &intact);
        change(&model, tensor, &masks);
    }
}

#[test]
fn what_no_small_change_explains_is_said_and_not_repaired() {
    let (_dir, model) = sealed(&["--fine"]);
    // The last KiB of the tensor is short, and so is the search.
    let masks = [(1_399_900, 0xA5), (1_399_901, 0x5A), (1_399_902, 0xFF)];
    change(&model, "embed.weight", &masks);
    let finding = verified(&model, "embed.weight");
    let kib = [1_399_900 / 1024 * 1024, 1_400_000];
    assert_eq!(finding["byte_range"], json!(kib));
    assert_eq!(finding["evidence"]["pinpointed"]["unexplained"], json!([kib]));
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("no one or two bit flips, no changed byte"), "{message}");
    let report = not_repaired(&model, 1);
    assert_eq!(findings(&report)[0]["tensor"], "embed.weight");

    // Without the sidecar two bits are not found, and it is said what was tried.
    fs::remove_file(model.join("tensorseal.seal.fine")).unwrap();
    let finding = verified(&model, "embed.weight");
    let message = finding["message"].as_str().unwrap();
    assert!(
        message.contains("no single bit flip explains bytes 1,048,576..1,400,000"),
        "{message}"
    );
    let (_, skipped) = crate::common::report(&["verify", arg(&model), "--no-pinpoint"]);
    assert!(findings(&skipped)[0]["evidence"]["pinpointed"].is_null());
}

#[test]
fn searching_has_bounds() {
    let (_dir, model) = sealed(&[]);
    let start = start(&model, "steps");
    // Everything before it is replaced; tensors of one chunk would take long.
    edit(&model.join("model.safetensors"), |bytes| {
        let end = start - 4000;
        bytes[start - 1_200_000..end].copy_from_slice(&noise(9, 1_196_000));
    });
    let (code, report) = report(&["verify", arg(&model), "--pinpoint-limit", "1"]);
    assert_eq!(code, 1);
    let sums = |key: &str| -> u64 {
        let of = |f: &&Value| f["evidence"]["pinpointed"][key].as_u64().unwrap_or(0);
        findings(&report).iter().map(of).sum()
    };
    assert_eq!((sums("unexplained_total"), sums("explained")), (1, 0), "{report:#}");
    assert!(sums("not_searched_total") >= 1, "{report:#}");
    assert!(report.to_string().contains("were not searched for bit flips"));
    let none = crate::common::report(&["verify", arg(&model), "--pinpoint-limit", "0"]).1;
    assert!(!none.to_string().contains("no single bit flip"));
}

#[test]
fn a_sidecar_that_is_not_the_right_one_is_said_and_not_believed() {
    let (dir, model) = sealed(&["--fine"]);
    let fine = model.join("tensorseal.seal.fine");
    let good = fs::read(&fine).unwrap();
    change(&model, "embed.weight", &[(77, 1)]);
    let rule = ("integrity/seal-invalid".to_owned(), "tensorseal.seal.fine".to_owned());
    let check = |bytes: &[u8], severity: &str, text: &str| {
        fs::write(&fine, bytes).unwrap();
        let (code, report) = report(&["verify", arg(&model)]);
        assert_eq!(code, 1);
        let index = rules(&report).iter().position(|found| *found == rule);
        let finding = findings(&report)[index.unwrap_or_else(|| panic!("{text}: {report:#}"))];
        assert_eq!(finding["severity"], severity, "{finding:#}");
        assert!(finding["message"].as_str().unwrap().contains(text), "{finding:#}");
        // The flipped bit is found without it.
        let changed = findings(&report).into_iter().find(|f| f["tensor"] == "embed.weight");
        assert_eq!(changed.unwrap()["evidence"]["pinpointed"]["bits_flipped"], 1);
    };
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    check(&good[..good.len() - 1], "medium", "the length in bytes");
    check(&good[..50], "medium", "not a chunk-digest file");
    check(&[], "medium", "not a chunk-digest file");
    check(&[good.clone(), vec![0]].concat(), "medium", "the length in bytes");
    check(&with(0, b'x'), "medium", "not a chunk-digest file");
    check(&with(16, 2), "medium", "version 2");
    check(&with(21, 0), "medium", "another version");
    check(&with(56, 99), "medium", "the number of tensors");
    check(&with(71, 255), "medium", "the number of values");
    check(&with(30, good[30] ^ 1), "low", "belongs to another seal");
    check(&with(72 + 40, good[72 + 40] ^ 1), "medium", "do not merge to the sealed block");

    // A valid one of another model.
    let other = write_model(&dir.path().join("other"), &small_tensors(50));
    seal(&other, &["--fine"]);
    check(&fs::read(other.join("tensorseal.seal.fine")).unwrap(), "low", "another seal");
    // Not a file at all.
    fs::remove_file(&fine).unwrap();
    fs::create_dir(&fine).unwrap();
    let (code, report) = report(&["verify", arg(&model)]);
    assert_eq!(code, 1);
    assert!(rules(&report).contains(&rule) || report.to_string().contains("tensorseal.seal.fine"));
}

#[test]
fn a_sidecar_takes_the_place_of_nothing_else() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let named = model.join("notes.json");
    fs::write(model.join("notes.fine"), "mine").unwrap();
    let ran = run(&["seal", arg(&model), "--fine", "-o", arg(&named), "--device", "cpu"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert_eq!(fs::read(model.join("notes.fine")).unwrap(), b"mine");
    assert!(!named.exists());
    fs::remove_file(model.join("notes.fine")).unwrap();
    // Beside a seal of another name inside the model, it is not part of the model either.
    seal(&model, &["--fine", "-o", arg(&named)]);
    assert_eq!(report(&["verify", arg(&model), "--seal", arg(&named)]).0, 0);
    seal(&model, &["--fine", "-o", arg(&named)]);
    assert_eq!(report(&["verify", arg(&model), "--seal", arg(&named)]).0, 0);
}

#[test]
fn repair_refuses_what_it_must_not_overwrite() {
    let (dir, model) = sealed(&[]);
    let taken = dir.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    for (out, code) in [
        (taken.clone(), 2),
        (model.clone(), 2),
        (model.join("inside"), 2),
        (dir.path().join("no/such"), 3),
    ] {
        let ran = run(&["repair", arg(&model), "-o", arg(&out), "--device", "cpu"]);
        assert_eq!(ran.code, code, "{out:?}: {}", ran.stderr);
    }
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    fs::remove_file(model.join("config.json")).unwrap();
    let report = not_repaired(&model, 1);
    assert_eq!(findings(&report)[0]["rule"], "integrity/file-missing");
    fs::write(model.join("tensorseal.seal.json"), "{}").unwrap();
    assert_eq!(findings(&not_repaired(&model, 1))[0]["rule"], "integrity/seal-invalid");
    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    not_repaired(&model, 2);
}
