//! A closer look at what changed: changed values are described.

use crate::document::profile::Profile;
use crate::judge::{Finding, change};
use crate::seal::{self, Seal};
use crate::verbs::profiles;
use std::collections::HashMap;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions};
use tensorseal_format::Checkpoint;

/// Changed tensors whose values are looked at again to say what the change looks like.
const LOOKED_AT: usize = 64;

/// Measures the values of changed tensors, to say what the change looks like, and to draw it.
pub(super) fn describe_changes(
    findings: &mut [Finding],
    sealed: &Seal,
    model: &Checkpoint,
    run: &RunOptions,
) -> Result<Vec<Profile>, RunError> {
    let names: HashMap<&str, usize> =
        model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let mut wanted: HashMap<usize, &mut Finding> = HashMap::new();
    for finding in findings.iter_mut() {
        let changed = finding.rule == "integrity/tensor-changed" && finding.other_tensor.is_none();
        let index = finding.tensor.as_deref().and_then(|name| names.get(name));
        if let Some(index) = index
            && changed
            && wanted.len() < LOOKED_AT
        {
            wanted.insert(*index, finding);
        }
    }
    let before = |name: &str| {
        let index = sealed.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        sealed.tensors[index].distribution.as_ref()
    };
    wanted.retain(|index, _| before(&model.tensors[*index].name).is_some());
    let mut drawn = Vec::new();
    if wanted.is_empty() {
        return Ok(drawn);
    }
    let tensors: Vec<usize> = wanted.keys().copied().collect();
    // A few tensors, in the page cache: not worth a device.
    let options = RunOptions { device: DeviceChoice::Cpu, cross_check: 0.0, ..run.clone() };
    let after = seal::build::distributions(model, &tensors, &options, &Progress::default())?;
    for (index, after) in after {
        if let (Some(finding), Some(before)) =
            (wanted.get_mut(&index), before(&model.tensors[index].name))
        {
            change::describe(finding, before, &after);
            drawn.push(profiles::compared(model, index, before, &after));
        }
    }
    Ok(drawn)
}
