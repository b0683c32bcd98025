//! The data that reports draw about tensors, and the place of each tensor in its file.

use crate::audit::{AuditMeasurements, roles};
use crate::document::Report;
use crate::document::profile::{LowBitCounts, Profile};
use crate::judge::Severity;
use crate::seal::distribution::Distribution;
use std::collections::{HashMap, HashSet};
use tensorseal_format::Checkpoint;

/// Returns the profile of a tensor with only its place.
fn placed(model: &Checkpoint, index: usize) -> Profile {
    let tensor = &model.tensors[index];
    Profile {
        tensor: tensor.name.clone(),
        file: model.files[tensor.file].path.clone(),
        dtype: tensor.dtype.to_string(),
        shape: tensor.shape.clone(),
        offset: tensor.offset,
        bytes: tensor.bytes,
        ..Profile::default()
    }
}

/// Returns the profile of a tensor with its distribution before and after a change.
pub fn compared(
    model: &Checkpoint,
    index: usize,
    before: &Distribution,
    after: &Distribution,
) -> Profile {
    let dtype = model.tensors[index].dtype;
    Profile {
        exponents: after.exponents(dtype),
        exponents_before: before.exponents(dtype),
        ..placed(model, index)
    }
}

/// Adds the places of all further tensors that findings are about.
pub fn place(report: &mut Report, model: &Checkpoint) {
    let profiled: HashSet<&str> = report.profiles.iter().map(|p| p.tensor.as_str()).collect();
    let indexes: HashMap<&str, usize> =
        model.tensors.iter().enumerate().map(|(index, t)| (t.name.as_str(), index)).collect();
    let mut missing: Vec<usize> = report
        .findings
        .iter()
        .filter_map(|finding| finding.tensor.as_deref())
        .filter(|tensor| !profiled.contains(tensor))
        .filter_map(|tensor| indexes.get(tensor).copied())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    report.profiles.extend(missing.into_iter().map(|index| placed(model, index)));
    // The profiles come from maps: sort them, so that reports are reproducible.
    report.profiles.sort_by(|a, b| a.tensor.cmp(&b.tensor));
}

/// Returns the profiles of all tensors of an audited model. Those of tensors with findings contain the measurements.
pub fn audited(report: &Report, model: &Checkpoint, audited: &AuditMeasurements) -> Vec<Profile> {
    let flagged: HashSet<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Info)
        .filter_map(|finding| finding.tensor.as_deref())
        .collect();
    let mut profiles: Vec<Profile> = audited
        .facts
        .iter()
        .map(|facts| {
            let mut profile = placed(model, facts.tensor);
            let roles::TensorRole { role, depth } = roles::role(&profile.tensor);
            profile.role = roles::title(&role).to_owned();
            profile.depth = depth;
            if flagged.contains(profile.tensor.as_str()) {
                profile.exponents.clone_from(&facts.exponents);
                let streams = facts.low_bits.iter().flat_map(|low_bits| &low_bits.streams);
                profile.low_bits = streams
                    .map(|stream| LowBitCounts {
                        bits: stream.bits as u32,
                        bytes: stream.bytes.clone(),
                    })
                    .collect();
            }
            profile
        })
        .collect();
    profiles.sort_by(|a, b| a.tensor.cmp(&b.tensor));
    profiles
}
