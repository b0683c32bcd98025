//! Seals are byte-identical and structures equal whatever measured them: CPU, GPU, both on one queue,
//! any thread count, and a device that is lost in the middle.

use crate::common::device::alone;
use crate::common::watched::{Readers, others, watched};
use crate::common::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;
use tensorseal_base::dtype::Dtype;
use tensorseal_core::seal::build::{self, FILE_DIGESTS};
use tensorseal_core::seal::canonical;
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::structure::Structure;
use tensorseal_engine::stream::hashing::FileHashing;
use tensorseal_engine::stream::plan::{Object, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, EngineUse, RunOptions};
use tensorseal_format::{Checkpoint, OpenOptions};

/// A model with a tensor of every dtype: some blocks and a rest, or less than one.
fn every_dtype(directory: &Path) -> PathBuf {
    let names: Vec<(String, Dtype)> =
        Dtype::safetensors_types().map(|d| (format!("{d}.weight"), d)).collect();
    let shapes: Vec<[u64; 2]> = names
        .iter()
        .enumerate()
        .map(|(i, _)| [8, if i % 3 == 0 { 640 } else { 80_000 + 8 * i as u64 }])
        .collect();
    let mut tensors: Vec<Tensor> = Vec::new();
    for (i, (name, dtype)) in names.iter().enumerate() {
        let bytes = dtype.byte_len(shapes[i].iter().product()).unwrap();
        tensors.push((name, dtype.name(), &shapes[i], noise(i as u64, bytes as usize)));
    }
    tensors.push(("large", "BF16", &[1500, 3000], noise(77, 9_000_000)));
    tensors.push(("zeros", "F32", &[1 << 20], vec![0; 4 << 20]));
    write_model(directory, &tensors)
}

fn seal_bytes(model: &Path, seal: &Path, extra: &[&str]) -> Vec<u8> {
    let mut args = vec!["seal", arg(model), "-o", arg(seal)];
    args.extend(extra);
    let ran = run(&args);
    assert_eq!(
        ran.code, 0,
        "{extra:?}: {} (GPU tests need an adapter: install mesa-vulkan-drivers)",
        ran.stderr
    );
    fs::read(seal).unwrap()
}

fn all_engines_agree(model: &Path, dir: &Path) {
    let _alone = alone();
    let seal = dir.join("seal.json");
    let expected = seal_bytes(model, &seal, &["--device", "cpu", "--threads", "1"]);
    for extra in [
        &["--device", "cpu", "--threads", "2"][..],
        &["--device", "gpu"],
        &["--device", "gpu", "--threads", "1"],
        &["--device", "cpu+llvmpipe", "--threads", "2"],
        &["--device", "auto"],
        &["--device", "gpu", "--cross-check", "100"],
        &["--device", "cpu", "--cross-check", "50"],
    ] {
        assert!(seal_bytes(model, &seal, extra) == expected, "{extra:?}");
    }
    let digests = seal_bytes(model, &seal, &["--device", "cpu", "--digest-only"]);
    assert!(seal_bytes(model, &seal, &["--device", "gpu", "--digest-only"]) == digests);
    let sketched = seal_bytes(model, &seal, &["--device", "cpu", "--sketch"]);
    for device in ["gpu", "cpu+llvmpipe"] {
        assert!(
            seal_bytes(model, &seal, &["--device", device, "--sketch"]) == sketched,
            "{device}"
        );
    }
    let files = seal_bytes(model, &seal, &["--device", "cpu", "--file-digests"]);
    assert!(seal_bytes(model, &seal, &["--device", "gpu", "--file-digests"]) == files);
    assert!(seal_bytes(model, &seal, &["--device", "cpu+llvmpipe", "--file-digests"]) == files);
    let ran = run(&["verify", arg(model), "--seal", arg(&seal), "--device", "gpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[test]
fn every_dtype_is_sealed_alike_by_every_engine() {
    let dir = TempDir::new().unwrap();
    let model = every_dtype(&dir.path().join("model"));
    all_engines_agree(&model, dir.path());
}

#[test]
fn the_real_model_is_sealed_alike_by_every_engine() {
    let model = real_model();
    let dir = TempDir::new().unwrap();
    let _alone = alone();
    let seal = dir.path().join("seal.json");
    // Every option is tried with the model above; this one is long for a device in software.
    let expected = seal_bytes(&model, &seal, &["--device", "cpu", "--threads", "1"]);
    for extra in [&["--device", "gpu"][..], &["--device", "cpu+llvmpipe", "--threads", "2"]] {
        assert!(seal_bytes(&model, &seal, extra) == expected, "{extra:?}");
    }
    // Extracted by the reference reader, tensors have the digests of the seal.
    let sealed: serde_json::Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    validate("tensorseal.seal.1", &sealed);
    let file = fs::read(model.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let listed = sealed["tensors"].as_array().unwrap();
    assert_eq!(listed.len(), tensors.len());
    for tensor in listed {
        let data = tensors.tensor(tensor["name"].as_str().unwrap()).unwrap();
        assert_eq!(tensor["blake3"], blake3::hash(data.data()).to_hex().as_str());
    }
    // At most 0.1 % of the model and 2 KiB a tensor.
    let size = fs::metadata(&seal).unwrap().len();
    assert!(size <= file.len() as u64 / 1000 + 2048 * tensors.len() as u64, "{size}");
}

#[test]
fn a_device_lost_in_the_middle_loses_no_measurement() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let tensors: Vec<Tensor> = vec![
        ("a", "BF16", &[50 << 20], noise(1, 100 << 20)),
        ("b", "F32", &[30 << 18], noise(2, 30 << 20)),
    ];
    let path = write_model(&dir.path().join("model"), &tensors);
    let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let seal = |options: &RunOptions, hashing: &[FileHashing]| {
        let plan = Plan::everything(&model, true).with_file_hashing(&model, hashing.to_vec());
        let progress = Progress::default();
        let (seal, report) = build::measure_plan(&model, &plan, options, &progress).unwrap();
        let mut text = Vec::new();
        canonical::write(&seal, &mut text).unwrap();
        (text, report)
    };
    let on_cpu = RunOptions::new(DeviceChoice::Cpu);
    let (plain, _) = seal(&on_cpu, &[]);
    let (whole, _) = seal(&on_cpu, &FILE_DIGESTS);
    for (device, hashing, expected) in [
        (DeviceChoice::Gpu, &[][..], &plain),
        (DeviceChoice::CpuAnd("llvmpipe".into()), &[], &plain),
        (DeviceChoice::Gpu, &FILE_DIGESTS, &whole),
    ] {
        let mut lost = RunOptions::default();
        lost.device = device;
        lost.lose_device_after = Some(1);
        let (text, report) = seal(&lost, hashing);
        assert!(report.engine.fallback.is_some(), "the device was lost: {report:?}");
        assert!(text == *expected, "{:?}", lost.device);
    }
}

/// The structure of every tensor, as a run finds it.
fn structures(model: &Checkpoint, options: &RunOptions) -> (Vec<Option<Structure>>, EngineUse) {
    let plan = Plan::everything(model, true).with_structure(model);
    let found: Mutex<Vec<Option<Structure>>> = Mutex::new(vec![None; plan.objects.len()]);
    let finish = |finished: ObjectMeasurement<'_>| {
        found.lock().unwrap()[finished.object] = finished.structure;
    };
    let report = engine::run(&model.files, &plan, options, &Progress::default(), &finish)
        .expect("GPU tests need an adapter: install mesa-vulkan-drivers");
    (found.into_inner().unwrap(), report.engine)
}

/// The same from the bytes of the files, without an engine.
fn expected_structures(path: &Path, model: &Checkpoint) -> Vec<Option<Structure>> {
    let plan = Plan::everything(model, true).with_structure(model);
    let files: Vec<Vec<u8>> =
        model.files.iter().map(|file| fs::read(path.join(&file.path)).unwrap()).collect();
    let of = |object: &Object| {
        object.layout.map(|layout| {
            let mut structure = Structure::for_range(&layout, 0, object.bytes);
            let start = object.offset as usize;
            let bytes = &files[object.file][start..start + object.bytes as usize];
            for (index, block) in bytes.chunks(BLOCK_LEN).enumerate() {
                structure.add(&layout, (index * BLOCK_LEN) as u64, block);
            }
            structure
        })
    };
    plan.objects.iter().map(of).collect()
}

#[test]
fn every_engine_finds_the_same_structure() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let path = every_dtype(&dir.path().join("model"));
    let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let expected = expected_structures(&path, &model);
    let measured = |of: fn(&Structure) -> bool| expected.iter().flatten().any(of);
    assert!(measured(|s| s.low_bits.is_some()) && measured(|s| s.magnitudes.is_some()));
    let shared = DeviceChoice::CpuAnd("llvmpipe".into());
    for (device, threads, cross_check) in [
        (DeviceChoice::Cpu, 1, 0.0),
        (DeviceChoice::Cpu, 2, 100.0),
        (DeviceChoice::Gpu, 1, 0.0),
        (DeviceChoice::Gpu, 2, 100.0),
        (shared, 2, 0.0),
    ] {
        let options = {
            let mut options = RunOptions::default();
            options.device = device;
            options.threads = threads.into();
            options.cross_check = cross_check;
            options
        };
        let (found, engine) = structures(&model, &options);
        assert!(found == expected, "{options:?}");
        assert_eq!(engine.cross_checked > 0, cross_check > 0.0, "{engine:?}");
        match options.device {
            DeviceChoice::Cpu => assert_eq!(engine.gpu_share, 0.0, "{engine:?}"),
            DeviceChoice::Gpu => assert!(engine.gpu_share > 0.5, "{engine:?}"),
            // Who is faster takes more.
            _ => assert_eq!(engine.fallback, None, "{engine:?}"),
        }
    }
}

#[test]
fn a_device_lost_in_the_middle_loses_no_structure() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let tensors: Vec<Tensor> = vec![
        ("a", "BF16", &[10_000, 4999], noise(3, 2 * 10_000 * 4999)),
        ("b", "F32", &[30 << 8, 1024], noise(4, 30 << 20)),
    ];
    let path = write_model(&dir.path().join("model"), &tensors);
    let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    let expected = expected_structures(&path, &model);
    for device in [DeviceChoice::Gpu, DeviceChoice::CpuAnd("llvmpipe".into())] {
        let mut lost = RunOptions::default();
        lost.device = device;
        lost.lose_device_after = Some(1);
        let (found, engine) = structures(&model, &lost);
        assert!(engine.fallback.is_some(), "the device was lost: {engine:?}");
        assert!(found == expected, "{:?}", lost.device);
    }
}

#[test]
fn a_device_that_is_not_there_is_exit_2_and_says_what_to_install() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let target = dir.path().join("seal.json");
    // No Vulkan driver: the loader is told to find none.
    let output = program(&["seal", arg(&model), "-o", arg(&target), "--device", "gpu"])
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .output()
        .unwrap();
    let ran = finished(output);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("mesa-vulkan-drivers"), "{}", ran.stderr);
    assert!(!target.exists());
    let ran = run(&["seal", arg(&model), "-o", arg(&target), "--device", "no such device"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no such device"), "{}", ran.stderr);
}

/// The buffers of a device are filled by as many threads as were asked for: of one, by the thread that
/// drives the device.
#[test]
fn a_device_is_fed_by_the_threads_that_were_asked_for() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let tensors: Vec<Tensor> = vec![("a", "BF16", &[8 << 20], noise(1, 16 << 20))];
    let path = write_model(&dir.path().join("model"), &tensors);
    for threads in [1, 2] {
        let readers = Readers::default();
        let model = watched(&path, &readers);
        let plan = Plan::everything(&model, false);
        let threads = threads.into();
        let mut options = RunOptions::default();
        options.device = DeviceChoice::Gpu;
        options.threads = threads;
        let run = engine::run(&model.files, &plan, &options, &Progress::default(), &|_| {});
        assert!(run.unwrap().engine.gpu_share > 0.9);
        let names = others(&readers);
        let named =
            |start: &str| names.iter().flatten().filter(|name| name.starts_with(start)).count();
        let count = options.threads.count();
        assert!(named("measure-") <= count, "{names:?}");
        let (fed, alone) = if count == 1 { (0, 1) } else { (count, 0) };
        assert_eq!(named("feed-"), fed, "{names:?}");
        assert_eq!(names.iter().filter(|name| name.is_none()).count(), alone, "{names:?}");
    }
}
