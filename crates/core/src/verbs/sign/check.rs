//! What is looked at before anything is signed.

use super::{SigningError, SigningPlan};
use crate::judge::signature;
use crate::verbs::Error;
use crate::verbs::locations::directory_of;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, Problem};

/// How every bundle begins.
const START: &[u8] = b"{\"mediaType\":";

/// Refuses to write over anything but an older file of the same kind.
pub(super) fn output(path: &Path, what: &'static str) -> Result<(), SigningError> {
    let at = path.to_owned();
    match path.symlink_metadata() {
        Err(_) if directory_of(path).is_dir() => Ok(()),
        Err(_) => {
            Err(SigningError::NoDirectory { path: at, directory: directory_of(path).to_owned() })
        }
        Ok(metadata) if !metadata.is_file() => Err(SigningError::NoRegularFile(at)),
        Ok(_) if is_bundle(path) => Ok(()),
        Ok(_) => Err(SigningError::Overwrites { path: at, what }),
    }
}

fn is_bundle(path: &Path) -> bool {
    let mut found = Vec::new();
    let file = File::open(path);
    file.is_ok_and(|file| file.take(START.len() as u64).read_to_end(&mut found).is_ok())
        && found == START
}

/// Whether everything in the model can be signed. What a signature cannot say is not left out in silence.
pub(super) fn model(listing: &SigningPlan<'_>, model: &Checkpoint) -> Result<(), Error> {
    let SigningPlan { path, options, ignored, files, .. } = listing;
    if files.is_empty() {
        return Err(Error::NoFiles { model: path.to_path_buf(), verb: "sign" });
    }
    let uncovered = |problem: &&Problem| signature::limits_coverage(problem.rule);
    let mut problems = model.problems.iter();
    let first = match options.allow_malformed {
        true => problems.find(uncovered),
        false => problems.find(|problem| {
            problem.severity > Severity::Low && !problem.companion || uncovered(problem)
        }),
    };
    if let Some(first) = first {
        let why = first.message.clone();
        let refused = match uncovered(&first) {
            true => SigningError::Uncovered(why),
            false => SigningError::Malformed(why),
        };
        return Err(refused.into());
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
