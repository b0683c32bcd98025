//! Every file is known by its bytes: who reads it, what part it plays, and what is said of it. Through the
//! library, and through the program as a user runs it.

use crate::common::archives::{Member, Zip, torch_zip};
use crate::common::sound_files::{npy, sound_npy, sound_torch};
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, ContentClass, FileKind, FileRole, Format, OpenOptions};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4976698672\n";
/// A pickle that asks for what no module has.
const CALL: &[u8] = b"\x80\x02cnonexistent_module\ncall\n)R.";

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &OpenOptions::default()).unwrap()
}

/// Rules, severities and files of what is wrong.
fn problems(model: &Checkpoint) -> Vec<(&str, Severity, &str)> {
    model.problems.iter().map(|p| (p.rule, p.severity, &*p.file)).collect()
}

fn remarks(model: &Checkpoint) -> Vec<(&str, &str)> {
    model.remarks.iter().map(|remark| (remark.rule, &*remark.file)).collect()
}

/// A directory with these files.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn small() -> Vec<u8> {
    safetensors(&[("weight", "F32", &[2, 2], noise(1, 16))])
}

/// What a file of a directory is.
fn content(model: &Checkpoint, path: &str) -> (ContentClass, FileRole, FileKind) {
    let file = model.files.iter().find(|file| file.path == path).unwrap();
    (file.content.class, file.content.role, file.kind)
}

#[test]
fn files_are_read_whatever_they_are_called() {
    let torch = sound_torch().bytes();
    let upper = {
        let mut zip = sound_torch();
        for member in &mut zip.members {
            member.both(|header| header.name = header.name.to_ascii_uppercase());
        }
        zip.bytes()
    };
    let npz = Zip::of(vec![Member::new("a.npy", sound_npy())]).bytes();
    for (name, bytes, format, tensors) in [
        ("weights", small(), Format::Safetensors, 1),
        ("weights.json", small(), Format::Safetensors, 1),
        ("model.data", torch.clone(), Format::Torch, 2),
        ("model.safetensors", torch, Format::Torch, 2),
        ("model.zip", upper, Format::Torch, 2),
        ("array.dat", sound_npy(), Format::Numpy, 1),
        ("arrays.bin", npz, Format::Numpy, 1),
    ] {
        let dir = directory(&[(name, &bytes), ("README.md", b"# words\n")]);
        for path in [dir.path().to_owned(), dir.path().join(name)] {
            let model = open(&path);
            assert_eq!(problems(&model), [], "{name}");
            assert_eq!((model.format, model.tensors.len()), (Some(format), tensors), "{name}");
            let (class, role, kind) = content(&model, name);
            assert_eq!((class.format(), role), (Some(format), FileRole::Weights), "{name}");
            assert_eq!(kind, FileKind::Tensors, "{name}");
        }
    }
}

#[test]
fn something_else_under_the_name_of_weights_is_told_of() {
    let notes = Zip::of(vec![Member::new("notes.txt", "hello")]).bytes();
    let weights = Zip::of(vec![Member::new("a/model.safetensors", small())]).bytes();
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 60]].concat();
    for (name, bytes, rule) in [
        ("pytorch_model.bin", &b"<!doctype html><html></html>"[..], "format/misnamed-content"),
        ("model.safetensors", b"<html><body>503</body></html>", "format/misnamed-content"),
        ("model.gguf", b"{\"error\": \"Entry not found\"}", "format/misnamed-content"),
        ("model.onnx", b"../../blobs/4d7a214614ab", "format/misnamed-content"),
        ("model.h5", &[0; 6000], "format/misnamed-content"),
        ("model.pt", &elf, "format/misnamed-content"),
        ("model.ckpt", &notes, "format/misnamed-content"),
        ("model.keras", POINTER.as_bytes(), "format/git-lfs-pointer"),
        ("model.safetensors", POINTER.as_bytes(), "format/git-lfs-pointer"),
        // Nobody knows what these are, or they are no weights by their names, or text may be weights.
        ("model.bin", &[0xAB; 500], ""),
        ("notes.txt", b"<!doctype html><html></html>", ""),
        ("vectors.bin", b"2 2\na 0.1 0.2\nb 0.3 0.4\n", ""),
        ("data.zip", &notes, ""),
        ("model.pt2", &weights, ""),
    ] {
        let dir = directory(&[(name, bytes), ("config.json", b"{}")]);
        let model = open(dir.path());
        let expected: &[_] = &[(rule, Severity::High, name)];
        let expected = if rule.is_empty() { &[] } else { expected };
        assert_eq!(problems(&model), expected, "{name}");
        let (code, report) = report(&["audit", arg(dir.path())]);
        let found = rules(&report);
        assert_eq!(found.iter().any(|(found, _)| found == rule), !rule.is_empty(), "{report:#}");
        assert_eq!(code == 1, !rule.is_empty(), "{name}: {report:#}");
    }
}

#[test]
fn a_pointer_beside_the_weights_is_small_matter() {
    let dir = directory(&[("model.safetensors", &small()), ("m.bin", POINTER.as_bytes())]);
    let low = [("format/git-lfs-pointer", Severity::Low, "m.bin")];
    assert_eq!(problems(&open(dir.path())), low);
    let ran = run(&["seal", arg(dir.path()), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // Not where an index names what it stands for, nor where the other copy is damaged.
    let index = json!({"weight_map": {"weight": "m.bin"}}).to_string();
    fs::write(dir.path().join("pytorch_model.bin.index.json"), &index).unwrap();
    let model = open(dir.path());
    assert!(problems(&model).iter().any(|p| (p.0, p.1) == (low[0].0, Severity::High)));
    fs::remove_file(dir.path().join("pytorch_model.bin.index.json")).unwrap();
    fs::write(dir.path().join("model.safetensors"), &small()[..60]).unwrap();
    let model = open(dir.path());
    assert!(problems(&model).iter().any(|p| (p.0, p.1) == (low[0].0, Severity::High)));
}

#[test]
fn raw_weights_are_those_that_another_file_describes() {
    let raw: &[u8] = &[0xAB; 5000];
    let xml = b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\"></net>";
    let tfjs = br#"{"weightsManifest": [{"paths": ["group1-shard1of1.bin"], "weights": []}]}"#;
    let mlc = br#"{"records": [{"dataPath": "params_shard_0.bin", "records": []}]}"#;
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let entry = [field(1, b"location"), field(2, b"model.onnx_data")].concat();
    let graph = [field(2, b"main"), field(5, &field(13, &entry))].concat();
    let onnx = [&[8, 9][..], &field(2, b"pytorch"), &field(7, &graph)].concat();
    let table = [&[7; 90][..], &0xdb47_7524_8b80_fb57_u64.to_le_bytes()].concat();
    let files: &[(&str, &[u8])] = &[
        ("openvino/m.xml", xml),
        ("openvino/m.bin", raw),
        ("openvino/other.bin", raw),
        ("web/model.json", tfjs),
        ("web/group1-shard1of1.bin", raw),
        ("mlc/ndarray-cache.json", mlc),
        ("mlc/params_shard_0.bin", raw),
        ("onnx/model.onnx", &onnx),
        ("onnx/model.onnx_data", raw),
        ("tf/variables.index", &table),
        ("tf/variables.data-00000-of-00001", raw),
        ("tf/lonely.data-00000-of-00001", raw),
    ];
    let dir = directory(files);
    let model = open(dir.path());
    assert_eq!(problems(&model), []);
    for (path, bytes) in files {
        let (class, role, kind) = content(&model, path);
        let expected = match *path {
            _ if *bytes != raw => continue,
            "openvino/other.bin" | "tf/lonely.data-00000-of-00001" => {
                (ContentClass::Unknown, FileRole::Unknown)
            }
            _ => (ContentClass::RawWeights, FileRole::Weights),
        };
        assert_eq!(((class, role), kind), (expected, FileKind::Other), "{path}");
    }
    let weights = model.files.iter().filter(|file| file.content.role == FileRole::Weights);
    let weights: Vec<_> = weights.map(|file| ("format/not-read", &*file.path)).collect();
    assert_eq!(remarks(&model), weights);
    let said =
        model.remarks.iter().any(|remark| remark.message.contains("ONNX with external data"));
    assert!(said, "{:?}", model.remarks);
}

#[test]
fn a_file_that_is_two_things_is_told_of() {
    let both = [small(), sound_torch().bytes()].concat();
    let dir = directory(&[("model.safetensors", &both)]);
    let found = open(dir.path());
    let ambiguous = ("format/ambiguous-content", Severity::High, "model.safetensors");
    assert!(problems(&found).contains(&ambiguous), "{:?}", found.problems);
    assert_eq!(run(&["audit", arg(dir.path()), "--device", "cpu"]).code, 1);
}

#[test]
fn programs_are_told_of_and_do_not_fail() {
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 60]].concat();
    let wheel = Zip::of(vec![Member::new("p-1.dist-info/WHEEL", "x")]).bytes();
    let dir = directory(&[
        ("model.safetensors", &small()),
        ("lib/op.so", &elf),
        ("pkg.whl", &wheel),
        ("start.sh", b"#!/bin/sh\ntrue\n"),
    ]);
    let (code, report) = report(&["audit", arg(dir.path())]);
    assert_eq!(code, 0, "{report:#}");
    let low = ["lib/op.so", "pkg.whl", "start.sh"];
    let expected: Vec<_> =
        low.iter().map(|path| ("content/executable".to_owned(), (*path).to_owned())).collect();
    assert_eq!(rules(&report), expected, "{report:#}");
}

/// A model with a pickle of objects and a torch archive without tensors beside it.
fn with_companions() -> TempDir {
    let arguments = torch_zip(b"\x80\x02}q\0X\x01\0\0\0aK\x01s.".to_vec(), &[]).bytes();
    directory(&[
        ("model.safetensors", &small()),
        ("config.json", b"{}"),
        ("training_args.bin", CALL),
        ("scheduler.pt", &arguments),
    ])
}

#[test]
fn a_pickle_without_weights_stops_nothing_and_is_judged() {
    let dir = with_companions();
    let model = open(dir.path());
    let high = [("format/pickle-global", Severity::High, "training_args.bin")];
    assert_eq!(problems(&model), high);
    assert!(model.problems[0].companion);
    for path in ["training_args.bin", "scheduler.pt"] {
        let expected = (ContentClass::Pickle, FileRole::Companion, FileKind::Other);
        assert_eq!(content(&model, path), expected, "{path}");
    }
    assert_eq!(model.format, Some(Format::Safetensors));
    let d = arg(dir.path());
    let ran = run(&["seal", d, "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let seal: Value =
        serde_json::from_slice(&fs::read(dir.path().join("tensorseal.seal.json")).unwrap())
            .unwrap();
    let files = seal["files"].as_array().unwrap();
    let whole = |path: &str| files.iter().find(|file| file["path"] == path).unwrap();
    assert!(whole("training_args.bin")["blake3"].is_string(), "{seal:#}");
    let same = run(&["compare", d, d, "--device", "cpu"]);
    assert!(same.code != 3, "{}", same.stderr);
    assert!(run(&["inspect", d]).code != 3);
    // What judges does.
    for verb in ["audit", "verify"] {
        let (code, report) = report(&[verb, d]);
        assert_eq!(code, 1);
        let expected = ("format/pickle-global".to_owned(), "training_args.bin".to_owned());
        assert_eq!(rules(&report), [expected], "{report:#}");
    }
    // A change of it is told of, too.
    fs::write(dir.path().join("training_args.bin"), [CALL, b"\n"].concat()).unwrap();
    let (_, report) = report(&["verify", d]);
    let changed = ("integrity/file-changed".to_owned(), "training_args.bin".to_owned());
    assert!(rules(&report).contains(&changed), "{report:#}");
}

#[test]
fn a_pickle_given_as_the_model_is_examined() {
    let dir = directory(&[("a", CALL)]);
    let (code, report) = report(&["audit", arg(&dir.path().join("a"))]);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(rules(&report)[0].0, "format/pickle-global");
}

#[test]
fn what_is_no_model_is_named() {
    for (name, bytes, what) in [
        ("config.json", &b"{\"a\": 1}"[..], "JSON"),
        ("notes.md", b"# words\n", "text"),
        ("page", b"<html></html>", "an HTML page"),
    ] {
        let dir = directory(&[(name, bytes)]);
        let path = dir.path().join(name);
        let model = open(&path);
        assert_eq!(problems(&model), [], "{name}");
        assert_eq!(remarks(&model), [("format/not-read", name)]);
        assert!(model.remarks[0].message.contains(what), "{:?}", model.remarks);
        assert_eq!(run(&["inspect", arg(&path)]).code, 4, "{name}");
    }
    let dir = directory(&[("x", &noise(3, 5000))]);
    assert_eq!(problems(&open(&dir.path().join("x"))), [("format/unknown", Severity::High, "x")]);
}

#[test]
fn a_list_of_labels_is_text() {
    let labels: String = ["crane", "duck", "Robin", "(bird)", "tern", "auk."].join("\n");
    let dir = directory(&[("labels.txt", labels.as_bytes()), ("labels.bin", labels.as_bytes())]);
    let model = open(dir.path());
    assert_eq!(problems(&model), []);
    for path in ["labels.txt", "labels.bin"] {
        let expected = (ContentClass::Text, FileRole::Companion, FileKind::Other);
        assert_eq!(content(&model, path), expected);
    }
}

#[test]
fn arrays_of_objects_beside_a_model_are_still_examined() {
    let object = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", CALL);
    let dir = directory(&[("model.safetensors", &small()), ("a.data", &object)]);
    let model = open(dir.path());
    let rules: Vec<_> = problems(&model).into_iter().map(|problem| problem.0).collect();
    assert!(rules.contains(&"format/pickle-global"), "{rules:?}");
}

/// Changes a seal as if another version had written it.
fn reseal(dir: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    let path = dir.join("tensorseal.seal.json");
    let mut seal: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut seal);
    fs::write(&path, format!("{seal}\n")).unwrap();
    path
}

#[test]
fn an_older_seal_of_a_pickle_still_verifies() {
    let dir = directory(&[
        ("model.safetensors", &small()),
        ("scheduler.bin", b"\x80\x02}q\0X\x01\0\0\0aK\x01s."),
    ]);
    let d = arg(dir.path());
    assert_eq!(run(&["seal", d, "--device", "cpu"]).code, 0);
    // It was a file of tensors without tensors: all of it lay outside them.
    reseal(dir.path(), |seal| {
        let files = seal["files"].as_array_mut().unwrap();
        let file = files.iter_mut().find(|file| file["path"] == "scheduler.bin").unwrap();
        let outside = json!([{"blake3": file["blake3"], "range": [0, file["bytes"]]}]);
        *file = json!({"bytes": file["bytes"], "outside": outside, "path": "scheduler.bin"});
    });
    let (code, found) = report(&["verify", d]);
    assert_eq!((code, rules(&found)), (0, Vec::new()), "{found:#}");
    fs::write(dir.path().join("scheduler.bin"), b"\x80\x02}q\0X\x01\0\0\0aK\x02s.").unwrap();
    let (code, found) = report(&["verify", d]);
    assert_eq!((code, rules(&found).len()), (1, 1), "{found:#}");
}

#[test]
fn tensors_that_an_older_version_did_not_see_are_compared_as_bytes() {
    let dir = directory(&[("model.safetensors", &small())]);
    let d = arg(dir.path());
    assert_eq!(run(&["seal", d, "--device", "cpu"]).code, 0);
    let (_, report_before) = report(&["verify", d]);
    let root = report_before["model"]["root"].as_str().unwrap().to_owned();
    // The same names, so that they would be called otherwise had the file a say.
    let other = small();
    fs::write(dir.path().join("copy.data"), &other).unwrap();
    reseal(dir.path(), |seal| {
        let entry = json!({
            "blake3": blake3::hash(&other).to_hex().as_str(),
            "bytes": other.len(),
            "path": "copy.data",
        });
        seal["files"].as_array_mut().unwrap().insert(0, entry);
        let model = &mut seal["model"];
        model["files"] = json!(model["files"].as_u64().unwrap() + 1);
        model["bytes"] = json!(model["bytes"].as_u64().unwrap() + other.len() as u64);
    });
    let outdated = ("integrity/seal-outdated".to_owned(), "copy.data".to_owned());
    let (code, found) = report(&["verify", d]);
    assert_eq!((code, rules(&found)), (1, vec![outdated.clone()]), "{found:#}");
    assert_eq!(found["model"]["root"], root);
    // A root from elsewhere is that of every tensor that is read.
    let (code, found) = report(&["verify", d, "--expect-root", &root]);
    assert_eq!(code, 1);
    assert!(rules(&found).iter().any(|(rule, _)| rule == "integrity/other-model"), "{found:#}");
    // A byte more or less is seen.
    let mut changed = other;
    *changed.last_mut().unwrap() ^= 1;
    fs::write(dir.path().join("copy.data"), changed).unwrap();
    let (_, found) = report(&["verify", d]);
    let file = ("integrity/file-changed".to_owned(), "copy.data".to_owned());
    assert!(rules(&found).contains(&file) && rules(&found).contains(&outdated), "{found:#}");
}
