//! Describes how the values of changed tensors differ.

use crate::document::profile::Profile;
use crate::judge::{Finding, change};
use crate::seal::{self, Seal};
use crate::verbs::profiles;
use std::collections::HashMap;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions};
use tensorseal_format::Checkpoint;

/// The maximum number of changed tensors whose values are measured again.
const MAX_DESCRIBED: usize = 64;

/// Measures the values of changed tensors, describes the changes in their findings, and returns profiles to draw.
pub(super) fn describe_changes(
    findings: &mut [Finding],
    sealed: &Seal,
    model: &Checkpoint,
    run: &RunOptions,
) -> Result<Vec<Profile>, RunError> {
    let names: HashMap<&str, usize> =
        model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let mut described: HashMap<usize, &mut Finding> = HashMap::new();
    for finding in findings.iter_mut() {
        let changed = finding.rule == "integrity/tensor-changed" && finding.other_tensor.is_none();
        let index = finding.tensor.as_deref().and_then(|name| names.get(name));
        if let Some(index) = index
            && changed
            && described.len() < MAX_DESCRIBED
        {
            described.insert(*index, finding);
        }
    }
    let before = |name: &str| {
        let index = sealed.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        sealed.tensors[index].distribution.as_ref()
    };
    described.retain(|index, _| before(&model.tensors[*index].name).is_some());
    let mut profiles = Vec::new();
    if described.is_empty() {
        return Ok(profiles);
    }
    let tensors: Vec<usize> = described.keys().copied().collect();
    // The tensors are few and in the page cache, so a device is not worthwhile.
    let mut options = run.clone();
    options.device = DeviceChoice::Cpu;
    options.cross_check = 0.0;
    let after = seal::build::distributions(model, &tensors, &options, &Progress::default())?;
    for (index, after) in after {
        if let (Some(finding), Some(before)) =
            (described.get_mut(&index), before(&model.tensors[index].name))
        {
            change::describe(finding, before, &after);
            profiles.push(profiles::compared(model, index, before, &after));
        }
    }
    Ok(profiles)
}
