//! Judges scales of quantised weights that are stored as bytes, some codes of which are not numbers.

use crate::audit::AuditMeasurements;
use crate::judge::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::display::display_name;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{WeightStorage, Weights};

/// Returns findings about scales whose largest byte encodes NaN: E8M0 has one such code, E4M3 one for each sign.
pub fn judge(model: &Checkpoint, audited: &AuditMeasurements, weights: &Weights) -> Vec<Finding> {
    let facts: BTreeMap<usize, _> =
        audited.facts.iter().map(|facts| (facts.tensor, &facts.distribution)).collect();
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for weight in &weights.readable {
        let WeightStorage::Quantised(part) = &weight.storage else { continue };
        let Some((index, codes)) = part.quantised.scales() else { continue };
        let tensor = &model.tensors[index];
        // For numeric types, the values themselves are judged.
        if tensor.dtype != Dtype::U8 || !seen.insert(index) {
            continue;
        }
        let Some(distribution) = facts.get(&index) else { continue };
        let Some(code) = codes.iter().find(|code| f64::from(**code) == distribution.max.0) else {
            continue;
        };
        let message = format!(
            "the largest byte is {code}, which encodes no scale: weights of {} are not a number",
            display_name(&weight.name)
        );
        let finding = Finding::new("weights/not-finite", message)
            .in_file(&model.files[tensor.file].path)
            .in_tensor(&tensor.name)
            .with("largest", distribution.max.0);
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::verbs::audit::{AuditOptions, audit};
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    #[test]
    fn exponents_that_are_no_numbers_are_found() {
        let reported = |largest: u8| {
            let dir = tempfile::tempdir().unwrap();
            let (codes, mut exponents) = ([0x12u8; 2 * 64 * 16], [120u8; 2 * 64]);
            exponents[77] = largest;
            let tensors = [
                ("a_blocks", vec![2, 8, 8, 16], &codes[..]),
                ("a_scales", vec![2, 8, 8], &exponents[..]),
            ];
            let views = tensors.iter().map(|(name, shape, data)| {
                (*name, TensorView::new(Dtype::U8, shape.clone(), data).unwrap())
            });
            serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
            let report = audit(dir.path(), &AuditOptions::default()).unwrap();
            let found = report.findings.iter().filter(|found| found.rule == "weights/not-finite");
            found.map(|found| found.tensor.clone().unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(reported(0xFF), ["a_scales"]);
        assert!(reported(0xFE).is_empty());
    }
}
