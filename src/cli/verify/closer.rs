//! A closer look at what changed: flipped bits are searched, and changed values described.

use crate::cli::args::VerifyArgs;

use crate::cli::{Failure, profiles, running, sealed};
use std::collections::HashMap;
use tensorseal::checkpoint::Checkpoint;
use tensorseal::engine::device::DeviceChoice;
use tensorseal::examine::flips::{self, Compared};
use tensorseal::judge::{Finding, change};
use tensorseal::pinpoint::fine;
use tensorseal::pinpoint::search::Limits;
use tensorseal::report::profile::Profile;
use tensorseal::seal::{self, Seal};
use tensorseal::stream::progress::Progress;

/// Changed tensors whose values are looked at again to say what the change looks like.
const LOOKED_AT: usize = 64;

/// Searches what changed for flipped bits; what is wrong with the fine sidecar is a finding.
pub fn pinpoint(
    compared: &Compared<'_>,
    findings: &mut Vec<Finding>,
    args: &VerifyArgs,
    progress: &Progress,
) -> Result<(), Failure> {
    let path = sealed::place(&args.model, args.seal.as_deref());
    let mut of_fine = Vec::new();
    let fine = sealed::fine(&path, compared.sealed, &mut of_fine);
    if !args.no_pinpoint {
        let mut all: Vec<&mut Finding> = findings.iter_mut().collect();
        let limits = Limits { searches: args.pinpointing.pinpoint_limit };
        let threads = &args.measuring.threads;
        let (search, _) = flips::pinpoint(compared, &mut all, fine, limits, threads, progress)
            .map_err(running::failure)?;
        of_fine.extend(search.fine.map(|e| sealed::fine_finding(&fine::path_of(&path), &e)));
    }
    findings.append(&mut of_fine);
    Ok(())
}

/// Measures the values of changed tensors, to say what the change looks like, and to draw it.
pub fn look_again(
    findings: &mut [Finding],
    sealed: &Seal,
    model: &Checkpoint,
    args: &VerifyArgs,
) -> Result<Vec<Profile>, Failure> {
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
    let mut options = running::run_options(&args.measuring);
    options.device = DeviceChoice::Cpu;
    options.cross_check = 0.0;
    let after = seal::build::distributions(model, &tensors, &options, &Progress::default())
        .map_err(running::failure)?;
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
