//! Files of PyTorch and NumPy: what the real libraries wrote is read as they read it, what is malformed has
//! its finding, what is malicious is told of and never run, and a flipped bit is found without a seal.

use crate::common::archives::{Member, Zip, pickled, torch_zip};
use crate::common::malformed::torch::cases;
use crate::common::sound_files::{npy, sound_npy, sound_torch};
use crate::common::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, FileKind, Format, OpenOptions, Problem};

fn golden(name: &str) -> PathBuf {
    tensorseal_testing::testdata("torch").join(name)
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &OpenOptions::default()).unwrap()
}

fn rules_of(model: &Checkpoint) -> Vec<&'static str> {
    model.problems.iter().map(|problem| problem.rule).collect()
}

/// Golden files with the tensors that the library which wrote them sees.
fn golden_files() -> BTreeMap<String, BTreeMap<String, Value>> {
    serde_json::from_str(&fs::read_to_string(golden("golden.json")).unwrap()).unwrap()
}

#[test]
fn files_of_the_real_libraries_are_read_as_they_read_them() {
    let files = golden_files();
    assert!(files.len() >= 12, "{}", files.len());
    for (name, expected) in files {
        let path = golden(&name);
        let model = open(&path);
        let bytes = fs::read(&path).unwrap();
        // Tensors of kinds that are not read are the only problem.
        let kinds = ["format/torch-tensor-kind", "format/torch-dtype"];
        assert!(rules_of(&model).iter().all(|r| kinds.contains(r)), "{name}: {:?}", model.problems);
        let format = if name.contains(".np") { Format::Numpy } else { Format::Torch };
        assert_eq!(
            (model.format, model.files[0].kind),
            (Some(format), FileKind::Tensors),
            "{name}"
        );
        let found: BTreeMap<String, Value> = model
            .tensors
            .iter()
            .map(|tensor| {
                let (from, to) = (tensor.offset as usize, (tensor.offset + tensor.bytes) as usize);
                let sha256: String =
                    Sha256::digest(&bytes[from..to]).iter().map(|b| format!("{b:02x}")).collect();
                let dtype = tensor.dtype.name();
                let mut value = serde_json::json!({
                    "dtype": dtype, "shape": tensor.shape, "sha256": sha256
                });
                if let Some(strides) = &tensor.strides {
                    value["strides"] = serde_json::json!(strides);
                }
                (tensor.name.clone(), value)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
    let remarks = |name| open(&golden(name)).remarks.iter().map(|r| r.rule).collect::<Vec<_>>();
    assert_eq!(remarks("views.pt"), ["format/strided-view"]);
    assert_eq!(remarks("arrays.npz"), ["format/fortran-order"]);
    assert_eq!(rules_of(&open(&golden("script.pt"))), ["format/torchscript"]);
    assert_eq!(rules_of(&open(&golden("compressed.npz"))), ["format/zip-compressed"]);
    assert_eq!(rules_of(&open(&golden("sparse.pt"))), ["format/torch-tensor-kind"]);
    assert_eq!(rules_of(&open(&golden("quantised.pt"))), ["format/torch-tensor-kind"]);
    assert_eq!(rules_of(&open(&golden("torchao.pt"))), ["format/torch-tensor-kind"; 3]);
    assert_eq!(rules_of(&open(&golden("legacy_types.pt"))), ["format/torch-dtype"; 2]);
    // What is loaded is not what the bytes say, or more than that.
    for name in ["conjugate.pt", "noted.pt"] {
        let model = open(&golden(name));
        assert_eq!(rules_of(&model), ["format/torch-tensor-state"], "{name}");
        assert_eq!(model.problems[0].severity, Severity::High, "{name}");
    }
}

#[test]
fn what_is_not_read_is_named_and_sealed_as_bytes() {
    for (name, tensor, what) in [
        ("types.pt", "complex128", "the element type 'torch.complex128' is unsupported"),
        ("types.pt", "complex32", "torch.complex32"),
        ("types.pt", "bits1x8", "torch.bits1x8"),
        ("types.pt", "quint4x2", "torch.quint4x2"),
        ("types.pt", "columns", "pairs of elements"),
        ("legacy_types.pt", "quint8", "torch.quint8"),
        ("torchao.pt", "int8.0.weight", "torchao.quantization.Int8Tensor"),
        ("torchao.pt", "floa.0.weight", "torchao.quantization.Float8Tensor"),
        ("torchao.pt", "intx.0.weight", "torchao.quantization.IntxUnpackedToInt8Tensor"),
        ("quantised.pt", "q", "a quantised tensor"),
    ] {
        let model = open(&golden(name));
        let of = |problem: &&Problem| problem.tensor.as_deref() == Some(tensor);
        let problem = model.problems.iter().find(of).unwrap();
        assert_eq!(problem.severity, Severity::Low, "{name}: {tensor}");
        assert!(problem.message.starts_with(&format!("{name}: tensor '{tensor}': ")));
        assert!(problem.message.contains(what), "{}", problem.message);
        assert!(model.has_unread_weights(0) && model.unread_bytes(0) > 0, "{name}");
        assert!(!model.tensors.iter().any(|read| read.name == tensor));
    }
    assert!(!open(&golden("state_dict.pt")).has_unread_weights(0));
    // A bit of what is not read is a bit of the file to a seal, and to the report it is not audited.
    let dir = TempDir::new().unwrap();
    for name in ["torchao.pt", "types.pt", "legacy_types.pt"] {
        let path = dir.path().join(name);
        let mut bytes = fs::read(golden(name)).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(run(&["seal", arg(&path), "--device", "cpu"]).code, 0, "{name}");
        let (code, found) = report(&["audit", arg(&path)]);
        assert_eq!(code, 0, "{found:#}");
        let unread = found["coverage"]["weights_bytes_not_audited"].as_u64().unwrap();
        assert_eq!(unread, open(&path).unread_bytes(0), "{found:#}");
        assert_eq!(report(&["audit", arg(&path), "--require-all"]).0, 3, "{name}");
        let model = open(&path);
        let [from, to] = *model.gaps(0).iter().max_by_key(|[from, to]| to - from).unwrap();
        bytes[(from + to) as usize / 2] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (code, found) = report(&["verify", arg(&path)]);
        assert_eq!(code, 1, "{name}: {found:#}");
    }
}

#[test]
fn bytes_of_views_count_once() {
    let dir = TempDir::new().unwrap();
    let (path, _) = archive_of_noise(dir.path());
    let model = open(&path);
    let whole = model.tensors.iter().find(|tensor| tensor.name == "whole").unwrap();
    assert_eq!(model.tensors.len(), 4);
    assert_eq!(model.distinct_bytes(0..4), whole.bytes);
    // Those that overlap, and those that do not.
    let place = |name| model.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    assert_eq!(model.distinct_bytes([place("part"), place("other")]), 200_000 * 4);
    assert_eq!(model.distinct_bytes([]), 0);
    let total = fs::metadata(&path).unwrap().len();
    let seal = dir.path().join("seal.json");
    assert_eq!(run(&["seal", arg(&path), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    let written: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    assert_eq!(written["model"]["bytes"], total);
    for args in [
        &["audit", arg(&path)][..],
        &["verify", arg(&path), "--seal", arg(&seal)],
        &["inspect", arg(&path)],
        &["compare", arg(&path), arg(&path)],
    ] {
        let (_, found) = report(args);
        let of = |key: &str| found["coverage"][key].as_u64().unwrap();
        assert!(of("bytes_checked") <= of("bytes_total"), "{}: {found:#}", args[0]);
    }
    let shown = run(&["inspect", arg(&path)]).stdout;
    let types = shown.lines().find(|line| line.trim_start().starts_with("F32")).unwrap();
    assert!(types.ends_with(" 2.9 MiB"), "{shown}");
}

#[test]
fn real_files_are_sealed_verified_and_audited() {
    let dir = TempDir::new().unwrap();
    for name in golden_files().into_keys() {
        let (path, seal) = (golden(&name), dir.path().join("seal.json"));
        for digests in [&[][..], &["--file-digests"]] {
            let mut args = vec!["seal", arg(&path), "-o", arg(&seal), "--device", "cpu"];
            args.extend(digests);
            let sealed = run(&args);
            assert_eq!(sealed.code, 0, "{name}: {}", sealed.stderr);
            let written: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
            validate("tensorseal.seal.1", &written);
            if !digests.is_empty() {
                let whole = blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string();
                assert_eq!(written["files"][0]["blake3"], Value::from(whole), "{name}");
            }
            let mut args = vec!["verify", arg(&path), "--seal", arg(&seal)];
            args.extend(digests);
            let (code, found) = report(&args);
            // What is not read is named.
            let told = findings(&found).into_iter().filter(|f| f["severity"] != "low");
            assert_eq!((code, told.count()), (0, 0), "{name}: {found:#}");
        }
        let (code, found) = report(&["audit", arg(&path)]);
        let grave = findings(&found).into_iter().filter(|f| f["severity"] != "low").count();
        assert_eq!((code, grave), (0, 0), "{name}: {found:#}");
        assert_eq!(report(&["inspect", arg(&path)]).0, 0, "{name}");
    }
}

/// What holds for any model, however malformed.
fn check_invariants(name: &str, model: &Checkpoint) {
    let mut names = HashSet::new();
    for tensor in &model.tensors {
        assert!(names.insert(&tensor.name), "{name}: {} twice", tensor.name);
        let file = &model.files[tensor.file];
        assert!(tensor.offset + tensor.bytes <= file.bytes, "{name}: {tensor:?}");
        let elements = tensor.stored_element_count();
        assert_eq!(tensor.dtype.byte_len(elements), Some(tensor.bytes), "{name}: {tensor:?}");
        let listed: u64 = tensor.storage_shape().iter().product();
        assert_eq!(listed, elements, "{name}: {tensor:?}");
    }
    assert!(model.tensors.is_sorted_by_key(|t| (t.file, t.offset)), "{name}");
    for file in &model.files {
        let apart =
            |pair: &[tensorseal_format::ChecksummedRange]| pair[0].range[1] <= pair[1].range[0];
        assert!(file.checksums.windows(2).all(apart), "{name}");
        assert!(file.checksums.iter().all(|sum| sum.range[1] <= file.bytes), "{name}");
    }
    for problem in model.problems.iter().chain(&model.remarks) {
        assert!(!problem.message.chars().any(char::is_control), "{name}: {:?}", problem.message);
        assert!(problem.message.len() < 2000, "{name}: {}", problem.message);
        if let Some([from, to]) = problem.byte_range {
            assert!(from <= to && to <= model.files[0].bytes.max(to), "{name}: {problem:?}");
        }
    }
    assert!(model.problems.len() < 100, "{name}");
}

#[test]
fn every_malformed_file_gives_its_problem_and_only_that() {
    let cases = cases();
    assert!(cases.len() >= 90, "{}", cases.len());
    let mut seen = HashSet::new();
    let mut failures = Vec::new();
    for case in cases {
        assert!(seen.insert(case.name), "{} twice", case.name);
        // In a directory, and by itself.
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(case.file);
        fs::write(&path, &case.bytes).unwrap();
        for path in [dir.path(), &path] {
            let start = Instant::now();
            let model = open(path);
            let took = start.elapsed();
            check_invariants(case.name, &model);
            let rules: BTreeSet<_> = model.problems.iter().map(|problem| problem.rule).collect();
            if rules != BTreeSet::from([case.rule]) || took > Duration::from_secs(5) {
                let problems: Vec<_> =
                    model.problems.iter().map(|p| (p.rule, &p.message)).collect();
                failures.push(format!("{} ({took:?}): {problems:#?}", case.name));
            }
            if std::env::var_os("TENSORSEAL_SHOW").is_some() && path.is_file() {
                println!("{}: {}", case.name, model.problems[0].message);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn malformed_files_are_refused_by_seal_and_found_by_verify() {
    let dir = TempDir::new().unwrap();
    let seal = dir.path().join("seal.json");
    let sound = dir.path().join("sound");
    fs::create_dir(&sound).unwrap();
    fs::write(sound.join("model.pt"), sound_torch().bytes()).unwrap();
    assert_eq!(run(&["seal", arg(&sound), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    for case in cases() {
        let place = dir.path().join(case.name);
        fs::create_dir(&place).unwrap();
        fs::write(place.join(case.file), &case.bytes).unwrap();
        let model = open(&place);
        let is_grave = |p: &Problem| p.severity > Severity::Low && !p.companion;
        // A pickle that holds no weights is bytes to a seal.
        let expected = if model.problems.iter().any(is_grave) { 3 } else { 0 };
        let target = dir.path().join("new.json");
        let sealed = run(&["seal", arg(&place), "-o", arg(&target), "--device", "cpu"]);
        assert_eq!(sealed.code, expected, "{}: {}", case.name, sealed.stderr);
        if expected != 0 {
            assert_eq!(sealed.stderr.lines().count(), 1, "{}: {}", case.name, sealed.stderr);
            assert!(!target.exists(), "{}", case.name);
        }
        fs::remove_file(&target).ok();
        // No flipped bit made one of these of the sound file.
        let args = ["verify", arg(&place), "--seal", arg(&seal), "--no-pinpoint"];
        let (code, found) = report(&args);
        let rules = rules(&found);
        assert_eq!(code, 1, "{}: {rules:?}", case.name);
        assert!(rules.iter().any(|(rule, _)| rule == case.rule), "{}: {rules:?}", case.name);
    }
}

/// A model with one matrix of noise of F32 in an archive, and the place of its data.
fn archive_of_noise(dir: &Path) -> (PathBuf, usize) {
    archive_of_noise_in(dir, "little")
}

fn archive_of_noise_in(dir: &Path, byte_order: &str) -> (PathBuf, usize) {
    let data: Vec<u8> = noise(5, 3_000_000)
        .chunks_exact(4)
        .flat_map(|word| {
            let word = f32::from(i16::from_le_bytes([word[0], word[1]])) / 1e6;
            word.to_le_bytes()
        })
        .collect();
    let elements = data.len() as i64 / 4;
    let storage = || pickled::storage("FloatStorage", "0", elements);
    let views = [
        ("whole", pickled::view(storage(), 0, &[elements / 1000, 1000], &[1000, 1])),
        ("part", pickled::view(storage(), 500_000, &[100, 1000], &[1000, 1])),
        ("other", pickled::view(storage(), 499_000, &[200, 1000], &[1000, 1])),
        ("columns", pickled::view(storage(), 1, &[700, 10], &[1000, 1])),
    ];
    let mut zip = torch_zip(pickled::whole(pickled::dict(&views)), &[("0", data)]);
    let note = zip.members.iter().position(|m| m.local.name == b"m/byteorder").unwrap();
    zip.members[note] = Member::new("m/byteorder", byte_order);
    let bytes = zip.bytes();
    let path = dir.join("model.pt");
    fs::write(&path, &bytes).unwrap();
    let tensor = open(&path).tensors.into_iter().find(|t| t.name == "whole").unwrap();
    (path, tensor.offset as usize)
}

#[test]
fn a_flipped_bit_is_found_without_a_seal() {
    let dir = TempDir::new().unwrap();
    let (path, start) = archive_of_noise(dir.path());
    let seal = dir.path().join("seal.json");
    let sealed = run(&["seal", arg(&path), "-o", arg(&seal), "--device", "cpu", "--file-digests"]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    let written: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    let sound = fs::read(&path).unwrap();
    let digest: String = Sha256::digest(&sound).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(written["files"][0]["sha256"], Value::from(digest), "views are digested once");
    let crc = |report: &Value| {
        let found: Vec<Value> = findings(report)
            .into_iter()
            .filter(|finding| finding["rule"] == "format/zip-crc")
            .cloned()
            .collect();
        found
    };
    for threads in ["1", "4"] {
        let (code, found) = report(&["audit", arg(&path), "--threads", threads]);
        assert!(code < 2 && crc(&found).is_empty(), "{found:#}");
    }
    // The lowest bit of a value in the middle, that only one view holds.
    for at in [start + 4, start + 2_200_000, sound.len() / 2] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        for threads in ["1", "4"] {
            let (code, found) = report(&["audit", arg(&path), "--threads", threads]);
            let [finding] = &crc(&found)[..] else { panic!("{found:#}") };
            assert_eq!((code, finding["severity"].as_str()), (1, Some("high")));
            assert_eq!(finding["file"], "model.pt");
            assert_eq!(finding["evidence"]["member"], "m/data/0");
            assert_eq!(finding["byte_range"][0], start as u64);
            assert_eq!(finding["evidence"]["tensors_total"], 4);
        }
        let (code, found) = report(&["verify", arg(&path), "--seal", arg(&seal)]);
        assert_eq!((code, crc(&found).len()), (1, 1), "{found:#}");
        let args = ["verify", arg(&path), "--seal", arg(&seal), "--file-digests"];
        let (code, found) = report(&args);
        assert_eq!((code, crc(&found).len()), (1, 1), "{found:#}");
        let root = written["model"]["root"].as_str().unwrap();
        let (code, found) = report(&["verify", arg(&path), "--expect-root", root]);
        assert_eq!((code, crc(&found).len()), (1, 1), "{found:#}");
        let target = dir.path().join("new.json");
        let again = run(&["seal", arg(&path), "-o", arg(&target), "--device", "cpu"]);
        assert_eq!((again.code, target.exists()), (3, false), "{}", again.stderr);
        assert!(again.stderr.contains("checksum"), "{}", again.stderr);
    }
    // In the pickle, and in a member of nothing but notes.
    let mut zip = sound_torch();
    zip.member("m/version").data = b"4\n".to_vec();
    fs::write(&path, zip.bytes()).unwrap();
    let (code, found) = report(&["audit", arg(&path)]);
    assert_eq!((code, crc(&found).len()), (1, 1), "{found:#}");
    assert_eq!(crc(&found)[0]["evidence"]["tensors_total"], 0);
}

/// Seals a file, flips these bits of it, and holds the repaired copy to what it was.
fn flips_are_put_back(path: &Path, flips: &[(usize, u8)]) {
    let sound = fs::read(path).unwrap();
    let sealed = run(&["seal", arg(path), "--fine", "--device", "cpu"]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    let mut bytes = sound.clone();
    flips.iter().for_each(|(at, mask)| bytes[*at] ^= mask);
    fs::write(path, bytes).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let out = path.with_file_name(format!("repaired-{name}"));
    let ran = run(&["repair", arg(path), "-o", arg(&out), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}: {}{}", path.display(), ran.stdout, ran.stderr);
    let said =
        format!(": {} byte{} restored", flips.len(), if flips.len() == 1 { "" } else { "s" });
    assert!(ran.stdout.contains(&said), "{said}: {}", ran.stdout);
    assert!(fs::read(&out).unwrap() == sound, "{}", path.display());
    let left = fs::read_dir(path.parent().unwrap()).unwrap();
    assert!(left.flatten().all(|e| !e.file_name().to_string_lossy().starts_with(".tensorseal-")));
    // The checksums of an archive are those of the copy again.
    assert_eq!(rules_of(&open(&out)), [""; 0]);
    let (_, found) = report(&["audit", arg(&out)]);
    assert!(rules(&found).iter().all(|(rule, _)| !rule.starts_with("format/")), "{found:#}");
}

#[test]
fn views_of_one_storage_are_repaired() {
    for byte_order in ["little", "big"] {
        let dir = TempDir::new().unwrap();
        let (path, start) = archive_of_noise_in(dir.path(), byte_order);
        let swapped = open(&path).files[0].big_endian.len();
        assert_eq!(swapped, usize::from(byte_order == "big"));
        // Bytes of one view, of two, of three and of all; one at a boundary of blocks.
        let flips = [(2, 1), ((1 << 20) - 1, 128), (2_000_010, 4), (2_200_003, 64), (2_796_001, 2)];
        flips_are_put_back(&path, &flips.map(|(at, mask)| (start + at, mask)));
    }
}

#[test]
fn arrays_are_repaired_alone_and_in_archives() {
    let dir = TempDir::new().unwrap();
    let values = noise(8, 8000);
    let array = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2000,), }\n", &values);
    let path = dir.path().join("array.npy");
    fs::write(&path, &array).unwrap();
    flips_are_put_back(&path, &[(array.len() - 77, 8)]);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("arrays.npz");
    // Only the name of the file says what it is.
    let members = vec![Member::new("first", &array), Member::new("b.npy", sound_npy())];
    let bytes = Zip::of(members).bytes();
    fs::write(&path, &bytes).unwrap();
    flips_are_put_back(&path, &[(4000, 8), (bytes.len() / 2, 1)]);
}

#[test]
fn a_watermark_is_looked_for_in_sound_bytes_only_and_not_embedded() {
    let dir = TempDir::new().unwrap();
    let (path, start) = archive_of_noise(dir.path());
    let key = dir.path().join("key.json");
    write_key(&key, "archive");
    let out = dir.path().join("marked.pt");
    let embed = run(&[
        "watermark",
        "embed",
        arg(&path),
        "--key",
        arg(&key),
        "-o",
        arg(&out),
        "--device",
        "cpu",
    ]);
    assert_eq!((embed.code, out.exists()), (2, false), "{}", embed.stderr);
    assert!(embed.stderr.contains("safetensors"), "{}", embed.stderr);
    let mut bytes = fs::read(&path).unwrap();
    bytes[start + 99] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, found) = report(&["watermark", "detect", arg(&path), "--key", arg(&key)]);
    assert_eq!(code, 1, "{found:#}");
    assert!(rules(&found).iter().any(|(rule, _)| rule == "format/zip-crc"), "{found:#}");
}

/// Pickles that make a file when they are loaded; see the script that wrote them.
fn malicious() -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(golden("malicious.json")).unwrap();
    let texts: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let byte =
        |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    let bytes = |text: String| text.as_bytes().chunks_exact(2).map(byte).collect();
    texts.into_iter().map(|(name, text)| (name, bytes(text))).collect()
}

/// Runs a verb in an empty directory, which must be empty afterwards.
fn run_beside_canary(args: &[&str], context: &str) -> Ran {
    let place = TempDir::new().unwrap();
    let ran = finished(program(args).current_dir(place.path()).output().unwrap());
    let left = fs::read_dir(place.path()).unwrap().count();
    assert_eq!(left, 0, "{context}: something was executed");
    ran
}

#[test]
fn malicious_pickles_are_told_of_and_never_run() {
    let all = malicious();
    assert!(all.len() >= 40, "{}", all.len());
    let dir = TempDir::new().unwrap();
    for (name, pickle) in all {
        let in_state = [
            b"\x80\x04}(\x8c\x01a".to_vec(),
            pickle.strip_prefix(b"\x80\x04").unwrap_or(&pickle).to_vec(),
        ];
        let object = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", &pickle);
        let mut beside = sound_torch();
        beside.members.push(Member::new("m/.data/more.pkl", &pickle));
        for (file, bytes) in [
            ("model.pt", torch_zip(pickle.clone(), &[]).bytes()),
            ("renamed.npz", torch_zip(pickle.clone(), &[]).bytes()),
            ("state.pt", torch_zip(in_state.concat(), &[]).bytes()),
            ("beside.pt", beside.bytes()),
            ("plain.pkl", pickle.clone()),
            ("pytorch_model.bin", pickle.clone()),
            ("a.npy", object.clone()),
            ("a.npz", Zip::of(vec![Member::new("a.npy", object)]).bytes()),
            ("deflated.pt", Zip::of(vec![Member::deflated("m/data.pkl", &pickle)]).bytes()),
        ] {
            let context = format!("{name} in {file}");
            let path = dir.path().join(file);
            fs::write(&path, bytes).unwrap();
            let model = open(&path);
            let is_found = |rule: &str| {
                let mut problems = model.problems.iter();
                problems.any(|p| p.rule == rule && p.severity == Severity::Critical)
            };
            assert!(is_found("format/pickle-global"), "{context}: {:?}", model.problems);
            // Every verb once in a while: the reading is the same.
            if file == "model.pt" || name.contains("memo") {
                let audit = ["audit", arg(&path), "--device", "cpu"];
                let ran = run_beside_canary(&audit, &context);
                assert_eq!(ran.code, 1, "{context}: {}", ran.stderr);
                assert!(ran.stdout.contains("critical"), "{context}: {}", ran.stdout);
            }
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn no_verb_runs_a_pickle() {
    let dir = TempDir::new().unwrap();
    let (model, seal) = (dir.path().join("model"), dir.path().join("seal.json"));
    fs::create_dir(&model).unwrap();
    fs::write(model.join("pytorch_model.bin"), sound_torch().bytes()).unwrap();
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    fs::write(
        model.join("pytorch_model.bin"),
        torch_zip(malicious()["nested-2"].clone(), &[]).bytes(),
    )
    .unwrap();
    let key = dir.path().join("key.json");
    write_key(&key, "canary");
    for (args, code) in [
        (vec!["inspect", arg(&model)], 4),
        (vec!["seal", arg(&model), "-o", "/dev/null", "--device", "cpu"], 2),
        (vec!["verify", arg(&model), "--seal", arg(&seal), "--device", "cpu"], 1),
        (vec!["audit", arg(&model), "--device", "cpu"], 1),
        (vec!["watermark", "detect", arg(&model), "--key", arg(&key), "--device", "cpu"], 4),
    ] {
        let ran = run_beside_canary(&args, args[0]);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn other_files_of_these_names_stay_other() {
    let dir = TempDir::new().unwrap();
    let d = dir.path();
    for name in ["empty.pt", "empty.bin", "empty.pkl", "empty"] {
        fs::write(d.join(name), []).unwrap();
        let model = open(&d.join(name));
        assert_eq!(rules_of(&model), ["format/unknown"], "{name}");
        assert!(model.problems[0].message.contains("is empty"), "{:?}", model.problems);
    }
    for (name, bytes) in [
        ("noise.bin", noise(1, 5000)),
        ("text.bin", b"config of nothing\nand more\n".to_vec()),
        ("constants.bin", b"constants\nare here.".to_vec()),
        ("letter.pkl", b"Dear reader,\nthis is no pickle.\n".to_vec()),
        ("empty.bin", Vec::new()),
        ("zeros.bin", vec![0; 4096]),
        ("picture.bin", Zip::of(vec![Member::new("a.png", "x")]).bytes()),
    ] {
        fs::write(d.join(name), bytes).unwrap();
    }
    let model = open(d);
    // What is known to be something else is told of.
    let misnamed = |model: &Checkpoint| {
        assert!(rules_of(model).iter().all(|rule| *rule == "format/misnamed-content"));
        let files = model.problems.iter().map(|problem| problem.file.clone());
        assert_eq!(
            files.collect::<Vec<_>>(),
            ["empty.bin", "empty.pt", "picture.bin", "zeros.bin"]
        );
    };
    misnamed(&model);
    for file in &model.files {
        assert_eq!((file.kind, file.format), (FileKind::Other, None), "{}", file.path);
    }
    fs::write(d.join("plain.pkl"), b"\x80\x04}\x94.").unwrap();
    fs::write(d.join("model.pt"), sound_torch().bytes()).unwrap();
    fs::write(d.join("a.npy"), sound_npy()).unwrap();
    let model = open(d);
    misnamed(&model);
    assert_eq!(model.format_name(), "mixed");
    assert_eq!(model.tensors.len(), 3);
    assert!(model.remarks.iter().any(|remark| remark.rule == "format/plain-pickle"));
}

#[test]
fn ways_to_write_a_sound_archive_are_read_alike() {
    let described = |signed: bool, wide: bool| {
        let mut zip = sound_torch();
        for member in &mut zip.members {
            member.both(|h| h.flags = 8);
            let Member { central, behind, .. } = member;
            if signed {
                behind.extend(b"PK\x07\x08");
            }
            behind.extend(central.crc32.to_le_bytes());
            for size in [central.stored, central.bytes] {
                match wide {
                    true => behind.extend(u64::from(size).to_le_bytes()),
                    false => behind.extend(size.to_le_bytes()),
                }
            }
            (member.local.crc32, member.local.stored, member.local.bytes) = (0, 0, 0);
        }
        zip
    };
    let mut zip64 = sound_torch();
    zip64.zip64 = Some((0, 0));
    for member in &mut zip64.members {
        let size = u64::from(member.local.bytes).to_le_bytes();
        member.local.extra = [&[1, 0, 16, 0][..], &size, &size].concat();
        (member.local.stored, member.local.bytes) = (u32::MAX, u32::MAX);
    }
    let mut big = sound_torch();
    let at = big.members.iter().position(|m| m.local.name == b"m/byteorder").unwrap();
    big.members[at] = Member::new("m/byteorder", "big");
    // PyTorch looks members up without regard to case.
    let mut capitals = sound_torch();
    for member in &mut capitals.members {
        member.both(|h| h.name.make_ascii_uppercase());
    }
    let all = [described(true, true), described(true, false), described(false, true), capitals];
    let all = all.into_iter().chain([described(false, false), zip64, big.clone()]);
    let dir = TempDir::new().unwrap();
    for (n, zip) in all.enumerate() {
        let path = dir.path().join(format!("{n}.pt"));
        fs::write(&path, zip.bytes()).unwrap();
        let model = open(&path);
        assert_eq!(rules_of(&model), [""; 0], "{n}: {:?}", model.problems);
        let names: Vec<_> = model.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!((&names[..], model.files[0].checksums.len()), (&["a", "b"][..], 5), "{n}");
        let swapped = model.files[0].big_endian.len();
        assert_eq!(swapped, if zip.bytes() == big.bytes() { 2 } else { 0 }, "{n}");
    }
}

/// Rule and severity of each finding above a remark.
fn graded(report: &Value) -> Vec<[&str; 2]> {
    findings(report)
        .into_iter()
        .map(|found| ["rule", "severity"].map(|of| found[of].as_str().unwrap_or_default()))
        .collect()
}

/// An archive of one matrix of 40 by 30, by its strides, and its values.
fn matrix(strides: &[i64]) -> Vec<u8> {
    let data: Vec<u8> = (0..1200).flat_map(|n: i16| (f32::from(n) / 7.0).to_le_bytes()).collect();
    let storage = pickled::storage("FloatStorage", "0", 1200);
    let view = pickled::view(storage, 0, &[40, 30], strides);
    torch_zip(pickled::whole(pickled::dict(&[("w", view)])), &[("0", data)]).bytes()
}

#[test]
fn the_order_of_elements_is_part_of_a_model() {
    let dir = TempDir::new().unwrap();
    let (model, seal) = (dir.path().join("model.pt"), dir.path().join("seal.json"));
    let sealed = |strides: &[i64]| -> Value {
        fs::write(&model, matrix(strides)).unwrap();
        let ran = run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap()
    };
    let (plain, strided) = (sealed(&[30, 1]), sealed(&[1, 40]));
    validate("tensorseal.seal.1", &strided);
    assert_eq!(plain["tensors"][0]["blake3"], strided["tensors"][0]["blake3"]);
    assert_eq!(plain["tensors"][0].get("strides"), None);
    assert_eq!(strided["tensors"][0]["strides"], serde_json::json!([1, 40]));
    assert_eq!(strided["tensors"][0]["shape"], serde_json::json!([40, 30]));
    let roots = [&plain, &strided].map(|seal| seal["model"]["root"].as_str().unwrap().to_owned());
    assert_ne!(roots[0], roots[1]);
    // The same bytes, read in another order: told of, also where only content counts.
    fs::write(&model, matrix(&[30, 1])).unwrap();
    let (code, found) = report(&["verify", arg(&model), "--seal", arg(&seal), "--content-only"]);
    assert_eq!((code, &graded(&found)[..]), (1, &[["integrity/order-changed", "critical"]][..]));
    let (code, found) = report(&["verify", arg(&model), "--expect-root", &roots[1]]);
    assert_eq!((code, &graded(&found)[..]), (1, &[["integrity/other-model", "critical"]][..]));
    let (code, found) = report(&["verify", arg(&model), "--expect-root", &roots[0]]);
    assert_eq!((code, findings(&found).len()), (0, 0), "{found:#}");
    // What is compared are the elements, not where they lie.
    let other = dir.path().join("other.pt");
    fs::write(&other, matrix(&[1, 40])).unwrap();
    let (code, found) = report(&["compare", arg(&model), arg(&other)]);
    assert_eq!((code, &found["comparison"]["relation"]), (1, &Value::from("related")));
    let (code, found) = report(&["compare", arg(&other), arg(&other)]);
    assert_eq!((code, &found["comparison"]["relation"]), (0, &Value::from("identical")));
    let turned: Vec<u8> = (0..1200)
        .flat_map(|n: i16| (f32::from(n % 30 * 40 + n / 30) / 7.0).to_le_bytes())
        .collect();
    let storage = pickled::storage("FloatStorage", "0", 1200);
    let view = pickled::view(storage, 0, &[40, 30], &[30, 1]);
    let zip = torch_zip(pickled::whole(pickled::dict(&[("w", view)])), &[("0", turned)]);
    fs::write(&model, zip.bytes()).unwrap();
    let (_, found) = report(&["compare", arg(&model), arg(&other)]);
    assert_eq!(found["comparison"]["relation"], "same-values", "{found:#}");
    // A finding in such a tensor names bytes, and no rows.
    let mut bytes = fs::read(&other).unwrap();
    let at = open(&other).tensors[0].offset as usize + 400;
    bytes[at] ^= 1;
    fs::write(&other, bytes).unwrap();
    let (code, found) = report(&["verify", arg(&other), "--seal", arg(&seal)]);
    let changed: Vec<_> = findings(&found)
        .into_iter()
        .filter(|finding| finding["rule"] == "integrity/tensor-changed")
        .collect();
    assert_eq!((code, changed.len()), (1, 1), "{found:#}");
    assert!(changed[0]["byte_range"].is_array() && changed[0].get("row_range").is_none());
    assert_eq!(changed[0].get("element_range"), None);
}

#[test]
fn a_seal_that_says_nothing_of_the_order_is_outdated() {
    let dir = TempDir::new().unwrap();
    let (model, seal) = (dir.path().join("model.pt"), dir.path().join("seal.json"));
    fs::write(&model, matrix(&[1, 40])).unwrap();
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    // As it was sealed before: dimensions in the order of the file.
    let mut old: tensorseal_core::seal::Seal =
        serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    let expected = old.root_without_order().unwrap();
    old.tensors[0].strides = None;
    old.tensors[0].shape = vec![30, 40];
    assert_eq!(old.root(), expected);
    let root = tensorseal_core::seal::document::root_text(&expected);
    old.model.root = root.clone();
    fs::write(&seal, serde_json::to_vec(&old).unwrap()).unwrap();
    let (code, found) = report(&["verify", arg(&model), "--seal", arg(&seal)]);
    assert_eq!((code, &graded(&found)[..]), (1, &[["integrity/seal-outdated", "medium"]][..]));
    assert!(findings(&found)[0]["message"].as_str().unwrap().contains("older version"));
    let (code, found) = report(&["verify", arg(&model), "--expect-root", &root]);
    assert_eq!((code, &graded(&found)[..]), (1, &[["integrity/other-model", "critical"]][..]));
    assert!(findings(&found)[0]["message"].as_str().unwrap().contains("older version"));
    // Other bytes are a change, whatever the seal says.
    let mut bytes = fs::read(&model).unwrap();
    let at = open(&model).tensors[0].offset as usize + 400;
    bytes[at] ^= 1;
    fs::write(&model, bytes).unwrap();
    let (code, found) = report(&["verify", arg(&model), "--seal", arg(&seal)]);
    let found: BTreeSet<_> = rules(&found).into_iter().map(|(rule, _)| rule.to_owned()).collect();
    assert_eq!(code, 1);
    let expected = ["format/zip-crc", "integrity/tensor-changed"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn what_a_loader_obeys_beside_the_tensors_is_high() {
    let dir = TempDir::new().unwrap();
    let (model, seal) = (dir.path().join("model.pt"), dir.path().join("seal.json"));
    let with_epoch = |epoch: i64| {
        let value = [("w", pickled::tensor("0", 4)), ("epoch", pickled::int(epoch))];
        torch_zip(pickled::whole(pickled::dict(&value)), &[("0", vec![7; 16])]).bytes()
    };
    fs::write(&model, with_epoch(1)).unwrap();
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    fs::write(&model, with_epoch(2)).unwrap();
    let (code, found) = report(&["verify", arg(&model), "--seal", arg(&seal)]);
    assert_eq!((code, &graded(&found)[..]), (1, &[["integrity/header-changed", "high"]][..]));
}

#[test]
fn an_archive_without_checksums_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.pt");
    let mut zip = sound_torch();
    zip.members.iter_mut().for_each(|member| member.both(|h| h.crc32 = 0));
    fs::write(&path, zip.bytes()).unwrap();
    let model = open(&path);
    assert_eq!((rules_of(&model).len(), model.files[0].checksums.len()), (0, 0));
    let remarks: Vec<_> =
        model.remarks.iter().map(|remark| (remark.rule, remark.severity)).collect();
    assert_eq!(remarks, [("format/zip-no-checksums", Severity::Info)]);
    let (code, found) = report(&["audit", arg(&path), "--fail-on", "high"]);
    assert!(
        code == 0 && rules(&found).iter().all(|(rule, _)| rule != "format/zip-crc"),
        "{found:#}"
    );
    // One that is left out among others is one that does not hold.
    let mut zip = sound_torch();
    zip.member("m/data/0").both(|h| h.crc32 = 0);
    fs::write(&path, zip.bytes()).unwrap();
    let (_, found) = report(&["audit", arg(&path)]);
    assert!(rules(&found).iter().any(|(rule, _)| rule == "format/zip-crc"), "{found:#}");
}

#[test]
fn one_tensor_that_is_used_again_and_again_takes_little() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.pt");
    let again = b"h\x05".repeat(300_000);
    let tensor = pickled::tensor("0", 4);
    let value = [b"\x80\x02", &tensor[..], b"q\x050](", &again, b"e."].concat();
    let mut zip = torch_zip(value.clone(), &[("0", vec![7; 16])]);
    zip.members[0] = Member::deflated("m/data.pkl", &value);
    fs::write(&path, zip.bytes()).unwrap();
    let model = open(&path);
    assert_eq!(rules_of(&model), ["format/torch-too-deep"], "{:?}", model.problems);
}

/// Very many members that share one header as long as headers get.
#[test]
fn headers_that_overlap_are_not_read_again_and_again() {
    const MEMBERS: usize = 300_000;
    const NAME: &[u8] = b"m/data.pkl";
    // Fields of no length, as many as there can be.
    let extra = [0xFF, 0xFF, 0, 0].repeat(16_383);
    let mut local = [0u8; 30];
    local[..4].copy_from_slice(b"PK\x03\x04");
    local[26] = NAME.len() as u8;
    local[28..30].copy_from_slice(&(extra.len() as u16).to_le_bytes());
    let mut central = [0u8; 46];
    central[..4].copy_from_slice(b"PK\x01\x02");
    central[28] = NAME.len() as u8;
    let mut bytes = [&local[..], NAME, &extra].concat();
    let start = bytes.len() as u32;
    let directory = [&central[..], NAME].concat().repeat(MEMBERS);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0\xFF\xFF\xFF\xFF");
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    let dir = TempDir::new().unwrap();
    for name in ["model.pt", "model.npz"] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let start = Instant::now();
        let rules = rules_of(&open(&path));
        assert!(rules.contains(&"format/zip-overlap"), "{name}: {rules:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn a_hundred_thousand_tensors_are_listed_quickly() {
    let dir = TempDir::new().unwrap();
    let names: Vec<String> =
        (0..100_000).map(|n| format!("model.layers.{n}.self_attn.q_proj.weight")).collect();
    let entries: Vec<(&str, Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), pickled::tensor(&n.to_string(), 1)))
        .collect();
    let keys: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let storages: Vec<(&str, Vec<u8>)> =
        keys.iter().map(|key| (key.as_str(), vec![1; 4])).collect();
    // In 32 bits of an end without the 64-bit one.
    let mut zip = torch_zip(pickled::whole(pickled::dict(&entries)), &storages);
    zip.zip64 = Some((0, 0));
    let path = dir.path().join("model.pt");
    fs::write(&path, {
        // 16 bits cannot say 100,003 members.
        let mut bytes = zip.bytes();
        let end = bytes.len() - 22;
        bytes[end + 8..end + 12].fill(0xFF);
        bytes
    })
    .unwrap();
    let start = Instant::now();
    let model = open(&path);
    println!("100,000 tensors of PyTorch: {:?}", start.elapsed());
    assert_eq!((model.tensors.len(), rules_of(&model).len()), (100_000, 0), "{:?}", model.problems);
    assert!(start.elapsed() < Duration::from_secs(60));
}
