//! Audits of block-quantised tensors: what a quantiser writes is quiet, what was damaged is not.

use crate::common::*;
use tempfile::TempDir;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::severity::Severity;
use tensorseal_core::audit;
use tensorseal_core::judge;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, OpenOptions};

const BLOCKS: usize = 40_000;

/// Weights as Q8_0: near enough to normal, with one scale a block.
fn quantised(seed: u64) -> Vec<u8> {
    let random = noise(seed, 32 * 4 * BLOCKS);
    let weights: Vec<f32> = random
        .chunks_exact(4)
        .map(|r| r.iter().map(|byte| f32::from(*byte) - 127.5).sum::<f32>() * 1e-4)
        .collect();
    let mut bytes = Vec::with_capacity(34 * BLOCKS);
    for block in weights.chunks_exact(32) {
        let scale = block.iter().fold(0f32, |most, weight| most.max(weight.abs())) / 127.0;
        bytes.extend_from_slice(&half::f16::from_f32(scale).to_le_bytes());
        bytes.extend(block.iter().map(|weight| (weight / scale).round() as i8 as u8));
    }
    bytes
}

/// The rules that are found in a model of one tensor, with their severities.
fn found(bytes: Vec<u8>) -> Vec<(&'static str, Severity)> {
    let dir = TempDir::new().unwrap();
    let shape = [bytes.len() as u64];
    let path = write_model(&dir.path().join("model"), &[("h.0.weight", "U8", &shape, bytes)]);
    let mut model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
    model.tensors[0].dtype = Dtype::Q8_0;
    model.tensors[0].shape = vec![BLOCKS as u64 / 40, 40 * 32];
    let audited = audit::measure(&model, &RunOptions::default(), &Progress::default()).unwrap();
    let findings = judge::audit::judge(&model, &audited);
    findings.iter().map(|finding| (finding.rule, finding.severity)).collect()
}

#[test]
fn what_a_quantiser_writes_is_quiet() {
    assert_eq!(found(quantised(1)), []);
}

#[test]
fn one_scale_that_is_no_number_is_enough() {
    for scale in [0x7E00u16, 0xFC00] {
        let mut bytes = quantised(2);
        bytes[34 * 777..34 * 777 + 2].copy_from_slice(&scale.to_le_bytes());
        assert_eq!(found(bytes), [("weights/not-finite", Severity::High)]);
    }
}

#[test]
fn blanked_scales_are_seen() {
    let mut bytes = quantised(3);
    bytes[34 * 5..34 * 5 + 2].fill(0);
    assert_eq!(found(bytes.clone()), [("weights/lost-scales", Severity::Info)]);
    for block in bytes.chunks_exact_mut(34).take(100) {
        block[..2].fill(0);
    }
    assert_eq!(found(bytes), [("weights/lost-scales", Severity::Medium)]);
}

#[test]
fn codes_that_are_cut_off_are_seen() {
    let mut bytes = quantised(4);
    for block in bytes.chunks_exact_mut(34).step_by(40) {
        for code in &mut block[2..] {
            *code = if (*code as i8) < 0 { 0x81 } else { 0x7F };
        }
    }
    assert_eq!(found(bytes), [("weights/saturated-blocks", Severity::Medium)]);
}
