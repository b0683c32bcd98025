//! What reports draw of tensors, and where in its file each lies.

use crate::audit::{AuditMeasurements, roles};
use crate::document::Report;
use crate::document::profile::{LowBitCounts, Profile};
use crate::judge::Severity;
use crate::seal::distribution::Distribution;
use std::collections::{HashMap, HashSet};
use tensorseal_format::Checkpoint;

/// The place of a tensor.
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

/// A tensor whose values were measured and are known from a seal.
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

/// Adds the places of all other tensors that findings are about.
pub fn place(report: &mut Report, model: &Checkpoint) {
    let known: HashSet<&str> = report.profiles.iter().map(|p| p.tensor.as_str()).collect();
    let indexes: HashMap<&str, usize> =
        model.tensors.iter().enumerate().map(|(index, t)| (t.name.as_str(), index)).collect();
    let mut wanted: Vec<usize> = report
        .findings
        .iter()
        .filter_map(|finding| finding.tensor.as_deref())
        .filter(|tensor| !known.contains(tensor))
        .filter_map(|tensor| indexes.get(tensor).copied())
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    report.profiles.extend(wanted.into_iter().map(|index| placed(model, index)));
    // They come from maps: in order, so that reports are the same each time.
    report.profiles.sort_by(|a, b| a.tensor.cmp(&b.tensor));
}

/// All tensors of an audited model, for the map; those with findings with what was measured of them.
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
