//! Block-quantised tensors are measured alike by every engine, however their blocks and units lie to the
//! tiles.

use crate::common::device::alone;
use crate::common::*;
use std::sync::Mutex;
use tempfile::TempDir;
use tensorseal_base::dtype::Dtype;
use tensorseal_core::seal::build::{self, FILE_DIGESTS};
use tensorseal_core::seal::canonical;
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::codes::CodeCounts;
use tensorseal_engine::measure::correlation::Carrier;
use tensorseal_engine::measure::slots::SlotSums;
use tensorseal_engine::stream::hashing::FileHashing;
use tensorseal_engine::stream::plan::{ObjectKind, Plan, PlannedCarrier};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunOptions};
use tensorseal_format::{Checkpoint, OpenOptions};

/// A checkpoint with a tensor of every type, and one that is longer than a tile. The file says U8: what
/// reads blocks from files is not the subject here.
fn model(dir: &TempDir) -> Checkpoint {
    let mut tensors = Vec::new();
    for (i, dtype) in Dtype::block_quantised().enumerate() {
        let (size, elements) = dtype.granule();
        let bytes = if i % 6 == 0 { 1_300_000 } else { 300_000 + 1000 * i as u64 };
        tensors.push((dtype, dtype.name(), bytes / size * size, bytes / size * elements));
    }
    tensors.push((Dtype::Q8_0, "large", 34 * 1_100_000, 32 * 1_100_000));
    let files: Vec<Tensor> = tensors
        .iter()
        .enumerate()
        .map(|(i, (_, name, bytes, _))| {
            (*name, "U8", &[] as &[u64], noise(i as u64, *bytes as usize))
        })
        .collect();
    let shapes: Vec<[u64; 1]> = tensors.iter().map(|tensor| [tensor.2]).collect();
    let files: Vec<Tensor> = files
        .into_iter()
        .zip(&shapes)
        .map(|((name, dtype, _, bytes), shape)| (name, dtype, &shape[..], bytes))
        .collect();
    let path = write_model(&dir.path().join("model"), &files);
    let mut model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    for tensor in &mut model.tensors {
        let (dtype, .., elements) = tensors.iter().find(|t| t.1 == tensor.name).unwrap();
        (tensor.dtype, tensor.shape) = (*dtype, vec![*elements]);
    }
    model
}

type Engine = (&'static str, usize, f64, bool);

/// Device, threads, share that is checked, digests of files.
fn engines(all: &[Engine]) -> Vec<(String, RunOptions, &'static [FileHashing])> {
    all.iter()
        .map(|&(device, threads, cross_check, file_digests)| {
            let name = format!("{device} {threads} {cross_check} {file_digests}");
            let device = device.parse().unwrap();
            let options = {
                let mut options = RunOptions::default();
                options.device = device;
                options.threads = threads.into();
                options.cross_check = cross_check;
                options
            };
            (name, options, if file_digests { &FILE_DIGESTS[..] } else { &[] })
        })
        .collect()
}

#[test]
fn blocks_are_sealed_alike_by_every_engine() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let model = model(&dir);
    let mut expected = None;
    let all = [("cpu", 2, 0.0, false), ("gpu", 1, 0.0, false), ("cpu+llvmpipe", 2, 0.0, false)];
    for (name, options, _) in engines(&all) {
        let (seal, _) = build::measure(&model, true, &options, &Progress::default()).unwrap();
        let mut text = Vec::new();
        canonical::write(&seal, &mut text).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        validate("tensorseal.seal.1", &document);
        for tensor in document["tensors"].as_array().unwrap() {
            let codes = &tensor["distribution"]["codes"];
            assert!(codes["blocks"].as_u64().unwrap() > 0);
            assert!(serde_json::to_string(codes).unwrap().len() < 2048);
        }
        assert!(*expected.get_or_insert_with(|| text.clone()) == text, "{name}");
    }
}

#[test]
fn blocks_are_counted_and_correlated_alike_by_every_engine() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let model = model(&dir);
    let mut plan = Plan::everything(&model, true);
    plan.keys = vec![ChipKey([7; 32])];
    for object in &mut plan.objects {
        let ObjectKind::Tensor(index) = object.kind else { continue };
        // A software device takes its time.
        if object.bytes > 4 << 20 {
            continue;
        }
        let carrier = Carrier::from_dtype(model.tensors[index].dtype, [5; 12]).unwrap();
        object.carrier = Some(plan.carriers.len());
        plan.carriers.push(PlannedCarrier { carrier, offsets: vec![3] });
    }
    let mut expected: Option<Vec<(Option<CodeCounts>, Vec<SlotSums>)>> = None;
    let all = [("cpu", 1, 0.0, false), ("gpu", 2, 100.0, false), ("cpu", 2, 50.0, true)];
    for (name, options, hashing) in engines(&all) {
        plan.file_hashing = hashing.to_vec().into();
        let found: Vec<_> = plan.objects.iter().map(|_| Mutex::default()).collect();
        engine::run(&model.files, &plan, &options, &Progress::default(), &|finished| {
            *found[finished.object].lock().unwrap() = (finished.codes, finished.slots);
        })
        .unwrap();
        let found: Vec<_> = found.into_iter().map(|f| f.into_inner().unwrap()).collect();
        for (object, (codes, _)) in plan.objects.iter().zip(&found) {
            let ObjectKind::Tensor(index) = object.kind else { continue };
            let size = model.tensors[index].dtype.granule().0;
            assert_eq!(codes.as_ref().unwrap().special_blocks.blocks, object.bytes / size);
        }
        assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{name}");
    }
}
