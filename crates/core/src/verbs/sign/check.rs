//! Checks the output paths and the model before anything is signed.

use super::{SigningError, SigningPlan};
use crate::judge::signature;
use crate::verbs::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_base::system::directory_of;
use tensorseal_format::{Checkpoint, Problem};

/// The first bytes of every bundle.
const START: &[u8] = b"{\"mediaType\":";

/// Refuses to overwrite anything but an older file of the same kind.
pub(super) fn output(path: &Path, what: &'static str) -> Result<(), SigningError> {
    let output = path.to_owned();
    match path.symlink_metadata() {
        Err(_) if directory_of(path).is_dir() => Ok(()),
        Err(_) => Err(SigningError::NoDirectory {
            path: output,
            directory: directory_of(path).to_owned(),
        }),
        Ok(metadata) if !metadata.is_file() => Err(SigningError::NoRegularFile(output)),
        Ok(_) if is_bundle(path) => Ok(()),
        Ok(_) => Err(SigningError::Overwrites { path: output, what }),
    }
}

fn is_bundle(path: &Path) -> bool {
    let mut start = Vec::new();
    let file = File::open(path);
    file.is_ok_and(|file| file.take(START.len() as u64).read_to_end(&mut start).is_ok())
        && start == START
}

/// Checks that everything in the model can be signed, so that nothing is silently left out.
pub(super) fn model(plan: &SigningPlan<'_>, model: &Checkpoint) -> Result<(), Error> {
    let SigningPlan { path, options, ignored, files, .. } = plan;
    if files.is_empty() {
        return Err(Error::NoFiles { model: path.to_path_buf(), verb: "sign" });
    }
    let is_uncovered = |problem: &&Problem| signature::limits_coverage(problem.rule);
    let mut problems = model.problems.iter();
    let first = match options.allow_malformed {
        true => problems.find(is_uncovered),
        false => problems.find(|problem| {
            problem.severity > Severity::Low && !problem.companion || is_uncovered(problem)
        }),
    };
    if let Some(first) = first {
        let why = first.message.clone();
        let error = match is_uncovered(&first) {
            true => SigningError::Uncovered(why),
            false => SigningError::Malformed(why),
        };
        return Err(error.into());
    }
    let linked = files.iter().map(|at| &model.files[*at]).filter(|file| file.link.is_some());
    let directories = signature::links_to_sign(model, ignored).map(|link| &link.path);
    if let Some(link) = linked.map(|file| &file.path).chain(directories).next()
        && !options.opening.allow_symlinks
    {
        return Err(SigningError::Link(display_name(link)).into());
    }
    let empty = files.iter().map(|at| &model.files[*at]).find(|file| file.bytes == 0);
    if let (Some(empty), Some(_)) = (empty, options.hashing.shard) {
        return Err(SigningError::Empty(display_name(&empty.path)).into());
    }
    Ok(())
}
