//! One pass for everything finds what a pass for each finds; digests of files are those of other programs'
//! functions, however they come about.

use crate::common::archives;
use crate::common::device::alone;
use crate::common::keys::Npy;
use crate::common::watched::{Readers, others, watched};
use crate::common::*;
use sha2::Digest;
use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;
use tensorseal_core::audit::{self, AuditMeasurements, facts_storage};
use tensorseal_core::compare;
use tensorseal_core::examine::journal::{Journal, MeasuredObject};
use tensorseal_core::examine::{self, Examination, Request};
use tensorseal_core::judge;
use tensorseal_core::seal::build::{self, FILE_DIGESTS};
use tensorseal_core::seal::{Seal, canonical};
use tensorseal_core::watermark::detect::{self, WatermarkMeasurement};
use tensorseal_core::watermark::key::WatermarkKey;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::stream::files::FileError;
use tensorseal_engine::stream::hashing::{FileDigests, FileHashing, HashAlgorithm, HashingPlan};
use tensorseal_engine::stream::plan::{Object, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, FileMeasurement, RunError, RunOptions, Threads};
use tensorseal_format::{Checkpoint, OpenOptions, SkipReason};

/// A model with tied weights, values that are not finite, and files beside it.
fn generated(directory: &Path) -> PathBuf {
    let table = noise(1, 700 * 1000 * 2);
    let tensors: Vec<Tensor> = vec![
        ("model.embed_tokens.weight", "BF16", &[700, 1000], table.clone()),
        ("lm_head.weight", "BF16", &[700, 1000], table),
        ("model.layers.0.mlp.up_proj.weight", "F32", &[512, 1536], noise(2, 512 * 1536 * 4)),
        ("model.layers.1.mlp.up_proj.weight", "F16", &[512, 1000], noise(3, 512 * 1000 * 2)),
        ("model.layers.1.mlp.up_proj.bias", "F16", &[512], vec![0; 1024]),
        ("steps", "I64", &[], noise(4, 8)),
        ("empty", "F16", &[0, 4], Vec::new()),
    ];
    let path = write_model(directory, &tensors);
    fs::write(path.join("tensorseal.seal.json"), "{}").unwrap();
    fs::create_dir_all(path.join(".cache/huggingface")).unwrap();
    fs::write(path.join(".cache/huggingface/notes"), noise(5, 3000)).unwrap();
    path
}

/// With what is beside it.
fn open(path: &Path) -> Checkpoint {
    let seals = vec!["tensorseal.seal.json".to_owned()];
    let mut options = OpenOptions::default();
    options.seals = seals;
    options.list_signed_only = true;
    Checkpoint::open(path, &options).unwrap()
}

fn cut(algorithm: HashAlgorithm, bytes: u64) -> FileHashing {
    FileHashing { algorithm, shard: NonZeroU64::new(bytes) }
}

fn keys() -> Vec<WatermarkKey> {
    (1..3).map(|secret| WatermarkKey::from_secret(&[secret; 32])).collect()
}

fn text(seal: &Seal) -> String {
    let mut text = Vec::new();
    canonical::write(seal, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn findings(model: &Checkpoint, audited: &AuditMeasurements) -> String {
    serde_json::to_string_pretty(&judge::audit::judge(model, audited)).unwrap()
}

fn assert_same_marks(found: &WatermarkMeasurement, expected: &WatermarkMeasurement) {
    assert_eq!(found.model, expected.model);
    let names: Vec<_> = found.carriers.names().collect();
    assert!(!names.is_empty());
    assert_eq!(names, expected.carriers.names().collect::<Vec<_>>());
    assert_eq!(found.carriers.tied, expected.carriers.tied);
    assert_eq!(found.groups.len(), expected.groups.len());
    for (found, expected) in found.groups.iter().zip(&expected.groups) {
        assert_eq!(found.name, expected.name);
        assert!(found.sums == expected.sums, "{}", found.name);
    }
}

/// Everything at once, with these devices, against each by itself on the CPU. Gives the sums of marks.
fn one_pass_is_as_good_as_four(
    model: &Checkpoint,
    devices: &[(&str, bool)],
) -> WatermarkMeasurement {
    let _alone = alone();
    let progress = Progress::default();
    let keys = keys();
    let cpu = RunOptions::new(DeviceChoice::Cpu);
    let file_hashing = [&FILE_DIGESTS[..], &[cut(HashAlgorithm::Sha256, 100_000)]].concat();
    let plan = |distributions| {
        Plan::everything(model, distributions).with_file_hashing(model, file_hashing.clone())
    };
    let seal = |plan: &Plan| build::measure_plan(model, plan, &cpu, &progress).unwrap().0;
    let seals = [false, true].map(|distributions| text(&seal(&plan(distributions))));
    let audited = audit::measure(model, &cpu, &progress).unwrap();
    let marks = detect::measure(model, &keys, &cpu, &progress).unwrap();
    let digests = engine::hash_files(&model.files, &file_hashing, &cpu, &progress).unwrap();
    for &(device, distributions) in devices {
        let device = device.parse().unwrap();
        let file_hashing = file_hashing.clone().into();
        let journal = None;
        let request = Request { distributions, audit: true, keys: &keys, file_hashing, journal };
        let options = RunOptions::new(device);
        let found = examine::measure(model, &request, &options, &Progress::default())
            .expect("GPU tests need an adapter: install mesa-vulkan-drivers");
        assert!(text(&found.seal) == seals[usize::from(distributions)], "{options:?}");
        let again = found.audited.unwrap();
        assert_eq!(again.model, audited.model);
        assert_eq!(findings(model, &again), findings(model, &audited));
        let facts = |audited: &AuditMeasurements| serde_json::to_string(&audited.facts).unwrap();
        assert!(facts(&again) == facts(&audited), "{options:?}");
        assert_same_marks(&found.correlations.unwrap(), &marks);
        assert_eq!(found.run.file_digests, digests.file_digests);
        let beside = model.files.iter().filter(|file| file.signed_only.is_some()).map(|f| f.bytes);
        assert_eq!(found.run.signed_only_bytes, beside.sum::<u64>());
    }
    marks
}

#[test]
fn everything_is_measured_in_one_pass() {
    let dir = TempDir::new().unwrap();
    let model = open(&generated(&dir.path().join("model")));
    assert_eq!(model.files.len(), model.model_files().len() + 2);
    let devices = [("cpu", false), ("cpu+llvmpipe", true)];
    let marks = one_pass_is_as_good_as_four(&model, &devices);
    assert_eq!(marks.carriers.tied.len(), 1);
}

/// Blocks, and rows in another order: a part of its marks is put together.
#[test]
fn blocks_are_measured_in_one_pass() {
    let path = tensorseal_testing::testdata("gguf/llama.gguf");
    let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let marks = one_pass_is_as_good_as_four(&model, &[("cpu", true)]);
    assert!(marks.carriers.tensors.iter().any(|carrier| carrier.tensor.is_none()));
}

#[test]
fn nothing_more_is_measured_than_was_asked_for() {
    let dir = TempDir::new().unwrap();
    let model = open(&generated(&dir.path().join("model")));
    let options = RunOptions::new(DeviceChoice::Cpu);
    let progress = Progress::default();
    let found = examine::measure(&model, &Request::default(), &options, &progress).unwrap();
    assert!(found.audited.is_none() && found.correlations.is_none());
    assert_eq!(found.run.file_digests, []);
    let own: u64 = model.model_files().iter().map(|file| file.bytes).sum();
    assert_eq!((found.run.signed_only_bytes, found.run.engine.bytes_read), (0, own));
    assert_eq!(found.seal.model.files, 3);
    let (alone, _) = build::measure(&model, false, &options, &progress).unwrap();
    assert_eq!(text(&found.seal), text(&alone));
}

/// By functions that this program has no part in.
fn expected(bytes: &[u8], hashing: FileHashing) -> Vec<Vec<u8>> {
    let digest = |bytes: &[u8]| match hashing.algorithm {
        HashAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
        HashAlgorithm::Blake2b => blake2::Blake2b512::digest(bytes).to_vec(),
        HashAlgorithm::Blake3 => blake3::hash(bytes).as_bytes().to_vec(),
        HashAlgorithm::GitBlob => sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()))
            .chain_update(bytes)
            .finalize()
            .to_vec(),
    };
    match hashing.shard {
        None => vec![digest(bytes)],
        Some(shard) => bytes.chunks(shard.get() as usize).map(digest).collect(),
    }
}

/// A file in big-endian byte order and one of several parts among them.
#[test]
fn files_are_digested_as_they_are() {
    let dir = TempDir::new().unwrap();
    let path = generated(&dir.path().join("model"));
    let shape: &[u64] = &[300, 1000];
    let swapped = Npy::new(">f4", shape, noise(6, 1_200_000)).file();
    fs::write(path.join("array.npy"), swapped).unwrap();
    fs::write(path.join("large.bin"), noise(7, (65 << 20) + 17)).unwrap();
    let model = open(&path);
    assert!(model.files.iter().any(|file| !file.big_endian.is_empty()));
    assert!(model.files.iter().any(|file| file.signed_only == Some(SkipReason::Downloader)));
    let [sha256, blake2b, blake3] =
        [HashAlgorithm::Sha256, HashAlgorithm::Blake2b, HashAlgorithm::Blake3];
    let whole = FileHashing::whole;
    let bytes: Vec<Vec<u8>> =
        model.files.iter().map(|file| fs::read(file.location.local().unwrap()).unwrap()).collect();
    for (hashings, threads) in [
        (&[whole(sha256)][..], 1),
        (&[whole(blake3)], 2),
        (&[cut(sha256, 1_000_000)], 2),
        (&[cut(blake2b, 1_000_000), cut(blake3, 1_000_000)], 3),
        (&[whole(sha256), cut(sha256, 100_000_000), cut(blake3, 999_999)], 2),
    ] {
        let device = DeviceChoice::Cpu;
        let mut options = RunOptions::default();
        options.device = device;
        options.threads = threads.into();
        let progress = Progress::default();
        let report = engine::hash_files(&model.files, hashings, &options, &progress).unwrap();
        let total: u64 = model.files.iter().map(|file| file.bytes).sum();
        assert_eq!(report.engine.bytes_read, total);
        assert_eq!(report.signed_only_bytes, 3002);
        assert_eq!(progress.position(), (total, total));
        for ((file, digests), bytes) in model.files.iter().zip(&report.file_digests).zip(&bytes) {
            let digests: &FileDigests = digests.as_ref().unwrap();
            for hashing in hashings {
                let found: Vec<_> =
                    digests.shard_digests(*hashing).unwrap().map(<[u8]>::to_vec).collect();
                assert!(found == expected(bytes, *hashing), "{} {hashing:?}", file.path);
            }
        }
    }
}

#[test]
fn a_file_that_changed_ends_the_digesting_and_so_does_a_stop() {
    let dir = TempDir::new().unwrap();
    let path = generated(&dir.path().join("model"));
    let model = open(&path);
    let options = RunOptions::new(DeviceChoice::Cpu);
    let hash = |algorithm, progress: &Progress| {
        let hashing = [FileHashing::whole(algorithm)];
        engine::hash_files(&model.files, &hashing, &options, progress)
    };
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Blake3] {
        let stopped = Progress::default();
        stopped.stop();
        let error = hash(algorithm, &stopped).unwrap_err();
        assert!(matches!(error, RunError::Interrupted), "{error}");
    }
    fs::write(path.join("config.json"), "{}").unwrap();
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Blake3] {
        let error = hash(algorithm, &Progress::default()).unwrap_err();
        let changed = matches!(&error, RunError::File(FileError::Changed { path, .. }) if path == "config.json");
        assert!(changed, "{error}");
    }
}

type Stored = (MeasuredObject, Option<Vec<u8>>);

/// A journal in memory that loses some of what it is given.
#[derive(Default)]
struct Remembered {
    /// By file, offset and length; facts as they are kept.
    objects: Mutex<HashMap<(usize, u64, u64), Stored>>,
    files: Mutex<HashMap<usize, FileMeasurement>>,
}

impl Remembered {
    fn lose(&self, mut is_lost: impl FnMut() -> bool) {
        self.objects.lock().unwrap().retain(|_, _| !is_lost());
        self.files.lock().unwrap().retain(|_, _| !is_lost());
    }
}

impl Journal for Remembered {
    fn object(&self, object: &Object) -> Option<MeasuredObject> {
        let objects = self.objects.lock().unwrap();
        let (measured, facts) = objects.get(&(object.file, object.offset, object.bytes))?;
        let facts = facts.as_ref().map(|bytes| facts_storage::restore(bytes).unwrap());
        Some(MeasuredObject { facts, ..measured.clone() })
    }

    fn file(&self, file: usize) -> Option<FileMeasurement> {
        self.files.lock().unwrap().get(&file).cloned()
    }

    fn keep_object(&self, object: &Object, measured: &MeasuredObject) {
        let facts = measured.facts.as_ref().map(|facts| facts_storage::store(facts).unwrap());
        let measured = MeasuredObject { facts: None, ..measured.clone() };
        let at = (object.file, object.offset, object.bytes);
        self.objects.lock().unwrap().insert(at, (measured, facts));
    }

    fn keep_file(&self, file: usize, finished: &FileMeasurement) {
        self.files.lock().unwrap().insert(file, finished.clone());
    }
}

/// Also what a report leaves out, to the last bit.
fn everything(found: &Examination) -> String {
    let Examination { seal, audited, run, .. } = found;
    let audited = audited.as_ref().unwrap();
    let (facts, doubled) = (&audited.facts, &audited.duplicate_pages);
    let of_files = (&run.file_digests, &run.broken_checksums);
    format!("{}{facts:?}{doubled:?}{of_files:?}", text(seal))
}

/// Whatever part of a run was done before another ended it.
#[test]
fn a_run_that_goes_on_finds_what_one_run_finds() {
    let dir = TempDir::new().unwrap();
    let path = generated(&dir.path().join("model"));
    let values = noise(8, 400_000);
    let tensors =
        ["0", "1"].map(|key| (key, archives::pickled::tensor(key, values.len() as i64 / 4)));
    let pickle = archives::pickled::whole(archives::pickled::dict(&tensors));
    let mut archive = archives::torch_zip(pickle, &[("0", values.clone()), ("1", values)]);
    archive.member("m/data/1").data[1000] ^= 1;
    fs::write(path.join("other.pt"), archive.bytes()).unwrap();
    // Pages that occur twice, in tensors that differ.
    let (once, mut again) = (noise(9, 64 << 10), noise(9, 64 << 10));
    again[0] ^= 1;
    let shape: &[u64] = &[16, 1024];
    let pages = [("once", "F32", shape, once), ("again", "F32", shape, again)];
    fs::write(path.join("pages.safetensors"), safetensors(&pages)).unwrap();
    let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let claimed = |path: &str| match path {
        "other.pt" => Vec::new(),
        "config.json" => vec![FileHashing::whole(HashAlgorithm::GitBlob)],
        _ => vec![FileHashing::whole(HashAlgorithm::Sha256), cut(HashAlgorithm::Blake3, 99_999)],
    };
    let by_file = model.files.iter().map(|file| claimed(&file.path)).collect();
    let file_hashing = HashingPlan::PerFile(by_file);
    let options = RunOptions::new(DeviceChoice::Cpu);
    let measure = |journal: Option<&dyn Journal>| {
        let file_hashing = file_hashing.clone();
        let request = Request { audit: true, file_hashing, journal, ..Request::default() };
        examine::measure(&model, &request, &options, &Progress::default()).unwrap()
    };
    let whole = measure(None);
    let expected = everything(&whole);
    assert_eq!(whole.run.broken_checksums.len(), 1);
    assert!(!whole.audited.unwrap().duplicate_pages.is_empty());
    let mut random = noise(11, 1000).into_iter().map(|byte| f64::from(byte) / 256.0);
    for share in [0.0, 0.1, 0.5, 0.9, 1.0] {
        let journal = Remembered::default();
        measure(Some(&journal));
        journal.lose(|| random.next().unwrap() < share);
        let found = measure(Some(&journal));
        assert!(everything(&found) == expected, "{share}");
        let read = found.run.engine.bytes_read;
        match share {
            0.0 => assert_eq!(read, 0),
            1.0 => assert_eq!(read, whole.run.engine.bytes_read),
            _ => assert!(read > 0 && read <= whole.run.engine.bytes_read),
        }
    }
}

/// As many threads as were asked for, the same ones in every phase.
#[test]
fn all_phases_share_the_threads_that_were_asked_for() {
    let dir = TempDir::new().unwrap();
    let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
    for layer in 0..24 {
        let name = format!("model.layers.{layer}.mlp.up_proj.weight");
        tensors.push((name, noise(layer, 128 * 256 * 4)));
    }
    let shape: &[u64] = &[128, 256];
    let tensors: Vec<Tensor> =
        tensors.iter().map(|(name, bytes)| (&name[..], "F32", shape, bytes.clone())).collect();
    let path = write_model(&dir.path().join("model"), &tensors);
    let progress = Progress::default();
    for (count, expected) in [(1, &["measure-0"][..]), (2, &["measure-0", "measure-1"])] {
        let threads = Threads::new(count);
        let mut options = RunOptions::default();
        options.device = DeviceChoice::Cpu;
        options.threads = threads;
        let readers = Readers::default();
        let model = watched(&path, &readers);
        let file_hashing = vec![cut(HashAlgorithm::Sha256, 10_000)];
        let request = Request {
            audit: true,
            file_hashing: file_hashing.clone().into(),
            ..Request::default()
        };
        let examined = examine::measure(&model, &request, &options, &progress).unwrap();
        let audited = examined.audited.unwrap();
        examine::weights::judge(&model, &audited, &options.threads, &progress).unwrap();
        engine::hash_files(&model.files, &file_hashing, &options, &progress).unwrap();
        compare::measure([&model, &model], &options, &progress).unwrap();
        let names = others(&readers);
        assert_eq!(names, expected.iter().map(|n| Some((*n).to_owned())).collect::<Vec<_>>());
    }
}
