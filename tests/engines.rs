//! Seals are byte-identical whatever measured them: CPU, GPU, both on one queue, any thread count,
//! and a device that is lost in the middle. Needs an adapter; lavapipe will do.

mod common;

use common::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use tensorseal::checkpoint::{Checkpoint, OpenOptions};
use tensorseal::dtype::Dtype;
use tensorseal::engine::RunOptions;
use tensorseal::engine::device::DeviceChoice;
use tensorseal::seal::{build, canonical};
use tensorseal::stream::progress::Progress;

/// One device at a time in a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A model with a tensor of every dtype: some blocks and a rest, or less than one.
fn every_dtype(directory: &Path) -> PathBuf {
    let names: Vec<(String, Dtype)> = Dtype::all().map(|d| (format!("{d}.weight"), d)).collect();
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
    all_engines_agree(&model, dir.path());
    // Extracted by the reference reader, tensors have the digests of the seal.
    let seal = dir.path().join("seal.json");
    seal_bytes(&model, &seal, &["--device", "cpu"]);
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
    let seal = |options: &RunOptions| {
        let (seal, report) = build::measure(&model, true, options, &Progress::default()).unwrap();
        let mut text = Vec::new();
        canonical::write(&seal, &mut text).unwrap();
        (text, report)
    };
    let (expected, _) = seal(&RunOptions { device: DeviceChoice::Cpu, ..RunOptions::default() });
    for (device, file_digests) in [
        (DeviceChoice::Gpu, false),
        (DeviceChoice::CpuAnd("llvmpipe".into()), false),
        (DeviceChoice::Gpu, true),
    ] {
        let lost = RunOptions {
            device,
            file_digests,
            lose_device_after: Some(1),
            ..RunOptions::default()
        };
        let (text, report) = seal(&lost);
        assert!(report.engine.fallback.is_some(), "the device was lost: {report:?}");
        if file_digests {
            assert!(report.file_digests.iter().all(Option::is_some));
        } else {
            assert!(text == expected, "{:?}", lost.device);
        }
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
