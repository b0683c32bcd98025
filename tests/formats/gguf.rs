//! GGUF: files of the Python package are read as it reads them, in either byte order, whole and in parts.

use crate::common::malformed::gguf::{empty, part};
use crate::common::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::{Checkpoint, Format, OpenOptions};

fn golden(name: &str) -> PathBuf {
    tensorseal_testing::testdata("gguf").join(name)
}

fn open(path: &Path) -> Checkpoint {
    let model = Checkpoint::open(path, &OpenOptions::default()).unwrap();
    assert_eq!(model.problems, [], "{}", path.display());
    assert_eq!(model.format, Some(Format::Gguf));
    model
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_are_read_as_the_python_package_reads_them() {
    let all: Value = serde_json::from_slice(&fs::read(golden("golden.json")).unwrap()).unwrap();
    let mut checked = 0;
    for (name, expected) in all.as_object().unwrap() {
        let model = open(&golden(name));
        let file = model.files.iter().position(|file| file.path == *name).unwrap();
        assert_eq!(expected["bytes"], model.files[file].bytes);
        let plan = Plan::everything(&model, false);
        let files = FileSet::new(&model.files, &plan);
        let theirs = expected["tensors"].as_array().unwrap();
        let mine = model.tensors_of(file);
        assert_eq!(theirs.len(), mine.len(), "{name}");
        for (theirs, mine) in theirs.iter().zip(mine) {
            assert_eq!(theirs["name"], *mine.name);
            assert_eq!(theirs["dtype"], mine.dtype.name(), "{name}: {}", mine.name);
            assert_eq!(theirs["shape"], serde_json::json!(mine.shape), "{name}: {}", mine.name);
            assert_eq!(theirs["offset"], mine.offset, "{name}: {}", mine.name);
            assert_eq!(theirs["bytes"], mine.bytes, "{name}: {}", mine.name);
            let mut bytes = Vec::new();
            files.copy_into(file, mine.offset, mine.bytes as usize, &mut bytes).unwrap();
            assert_eq!(theirs["sha256"], hex(&Sha256::digest(&bytes)), "{name}: {}", mine.name);
            checked += 1;
        }
        let facts = &model.architectures[&file];
        assert_eq!(
            (&*facts.name, facts.heads, facts.key_value_heads),
            ("llama", Some(32), Some(8))
        );
        let is_big = model.remarks.iter().any(|remark| remark.rule == "format/gguf-big-endian");
        assert_eq!(expected["big_endian"], is_big);
        assert_eq!(is_big, !model.files[file].big_endian.is_empty());
    }
    assert!(checked > 70, "{checked}");
}

/// Seals a model on the CPU and gives the seal.
fn seal(model: &Path, out: &Path) -> Value {
    let ran = run(&["seal", arg(model), "-o", arg(out), "--device", "cpu", "--file-digests"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_slice(&fs::read(out).unwrap()).unwrap()
}

#[test]
fn either_byte_order_has_one_root_and_files_have_their_own_digests() {
    let dir = TempDir::new().unwrap();
    let [little, big] = ["little.gguf", "big.gguf"].map(|name| {
        let sealed = seal(&golden(name), &dir.path().join(format!("{name}.json")));
        let bytes = fs::read(golden(name)).unwrap();
        assert_eq!(sealed["files"][0]["sha256"], hex(&Sha256::digest(&bytes)), "{name}");
        sealed
    });
    assert_eq!(little["model"]["root"], big["model"]["root"]);
    assert_eq!(little["model"]["format"], "gguf");
    assert_eq!(little["tensors"].as_array().unwrap().len(), 33);
}

#[test]
fn a_flipped_bit_of_a_big_endian_file_is_put_back() {
    let dir = TempDir::new().unwrap();
    // Long enough to be mapped; pieces and tiles end inside of its numbers.
    let data = noise(3, 34 * 80_000);
    let file = empty(3, true).text("general.architecture", b"llama");
    let file = file.tensor("b", &[3], 1, &noise(1, 6)).tensor("q", &[32, 80_000], 8, &data);
    let bytes = file.tensor("f", &[300_000], 0, &noise(2, 1_200_000)).bytes();
    let (model, out) = (dir.path().join("m.gguf"), dir.path().join("repaired.gguf"));
    let sealed = dir.path().join("m.gguf.seal.json");
    fs::write(&model, &bytes).unwrap();
    seal(&model, &sealed);
    let at = bytes.len() - 600_001;
    let mut flipped = bytes.clone();
    flipped[at] ^= 4;
    fs::write(&model, &flipped).unwrap();
    let (code, found) = report(&["verify", arg(&model)]);
    assert_eq!(code, 1, "{found:#}");
    assert_eq!(rules(&found), [("integrity/tensor-changed".into(), "f".into())]);
    let (code, found) = report(&["repair", arg(&model), "-o", arg(&out)]);
    assert_eq!(code, 0, "{found:#}");
    assert!(fs::read(&out).unwrap() == bytes);
}

#[test]
fn a_model_in_parts_is_sealed_by_any_of_them() {
    let dir = TempDir::new().unwrap();
    let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    for (at, name) in names.iter().enumerate() {
        let bytes = part(at as u16, 2, 2, &[["a"], ["b"]][at]).bytes();
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    fs::write(dir.path().join("other.gguf"), empty(3, false).bytes()).unwrap();
    let [first, second] = names.map(|name| dir.path().join(name));
    let seals = TempDir::new().unwrap();
    let sealed = seal(&first, &seals.path().join("1"));
    assert_eq!(sealed, seal(&second, &seals.path().join("2")));
    let paths: Vec<_> = sealed["files"].as_array().unwrap().iter().map(|f| &f["path"]).collect();
    assert_eq!(paths, names);
    let verify = |path: &Path| run(&["verify", arg(path), "--seal", arg(&seals.path().join("1"))]);
    assert_eq!(verify(&second).code, 0);
    let mut bytes = fs::read(&second).unwrap();
    let flipped = bytes.len() - 20;
    bytes[flipped] ^= 1;
    fs::write(&second, &bytes).unwrap();
    assert_eq!(verify(&first).code, 1);
    // A copy of it is a directory of all parts.
    let out = seals.path().join("repaired");
    let ran =
        run(&["repair", arg(&first), "--seal", arg(&seals.path().join("1")), "-o", arg(&out)]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    bytes[flipped] ^= 1;
    assert_eq!(fs::read(out.join(names[1])).unwrap(), bytes);
    assert_eq!(fs::read(out.join(names[0])).unwrap(), fs::read(&first).unwrap());
}
