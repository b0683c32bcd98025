//! Repair: a copy of a damaged model with the pinpointed bits put back.
//!
//! The copy gets its name only when it is the sealed model again, every byte of it: that is measured
//! on the copy, not concluded.

use crate::judge::integrity::{self, IntegrityOptions};
use crate::judge::{Finding, Severity};
use crate::pinpoint::explain::ByteDifference;
use crate::pinpoint::search::PinpointedRange;
use crate::seal::layout::{self, DamagedFiles};
use crate::seal::{LinkSeal, Seal, build};
use std::fs;
use std::path::Path;
use tensorseal_base::system::symlink_directory;
use tensorseal_engine::stream::copy::{CopyError, CopyPiece, ModelCopy};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, OpenError, OpenOptions, Problem};

/// A byte that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patch {
    /// Index of its file.
    pub file: usize,
    /// Position in the file.
    pub position: u64,
    /// What it was sealed as.
    pub sealed: u8,
}

/// A model could not be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The copy could not be written.
    #[error(transparent)]
    Copy(CopyError),
    /// Something could not be measured.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The copy could not be read back, or what it was made from is no longer what it was.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy is not the sealed model; nothing was kept of it.
    #[error("the repaired copy is not the sealed model")]
    Remaining(Vec<Finding>),
}

impl From<CopyError> for RepairError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::File(error) => RepairError::Run(error.into()),
            CopyError::Interrupted => RepairError::Run(RunError::Interrupted),
            error => RepairError::Copy(error),
        }
    }
}

/// The bytes that make `model` as it was sealed, as far as they are known, in order.
pub fn patches(model: &Checkpoint, found: &[PinpointedRange<'_>]) -> Vec<Patch> {
    let mut all: Vec<Patch> = Vec::new();
    for PinpointedRange { range: place, explanations, .. } in found {
        let Some(file) = model.model_files().iter().position(|file| file.path == place.file) else {
            continue;
        };
        let differences = explanations.iter().flat_map(|explanation| &explanation.differences);
        all.extend(differences.flat_map(ByteDifference::bytes).map(|(at, sealed, _)| Patch {
            file,
            position: place.object + at,
            sealed,
        }));
    }
    all.sort_unstable();
    // Tensors that share bytes each tell of one that changed.
    all.dedup();
    all
}

/// Writes a copy of `model` to `out`, which must not exist, with these patches (in order), and holds it
/// to the seal. `model` has the layout it was sealed with. The copy gets its name when all that it was made
/// from is `settled`: is what it was. Gives what was measured of the copy.
///
/// # Errors
/// See [`RepairError`]; nothing is left behind.
pub fn write(
    model: &Checkpoint,
    sealed: &Seal,
    patches: &[Patch],
    (out, settled): (&Path, &dyn Fn() -> Result<(), OpenError>),
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RepairError> {
    let plan = Plan::everything(model, false);
    progress.expect(plan.bytes());
    let pool = options.threads.pool()?;
    let copying = ModelCopy { model, plan: &plan, pool, progress };
    let mut measured = None;
    copying.write(
        out,
        &|piece, bytes, ()| apply_patches(piece, bytes, patches),
        &mut |()| {},
        |copy| {
            link(model, sealed, copy)?;
            measured = Some(verify_copy(model, sealed, copy, options, progress)?);
            settled().map_err(RepairError::Open)
        },
    )?;
    measured.ok_or(RepairError::Run(RunError::Unmeasured))
}

/// Makes the sealed links to directories in a copy, as long as they stay inside.
fn link(model: &Checkpoint, sealed: &Seal, copy: &Path) -> Result<(), CopyError> {
    let is_there = |link: &&LinkSeal| model.links.iter().any(|here| here.path == link.path);
    for LinkSeal { path, target } in sealed.links.iter().filter(is_there) {
        let up = "../".repeat(path.matches('/').count());
        let place = copy.join(path);
        place
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| symlink_directory(&format!("{up}{target}"), &place))
            .map_err(|source| CopyError::Write { path: place, source })?;
    }
    Ok(())
}

/// Patches by their place in the file, not by their tensor: of tensors that share bytes, each is written,
/// and each of them writes the sealed ones.
fn apply_patches(piece: &CopyPiece<'_>, bytes: &mut [u8], patches: &[Patch]) {
    let start = piece.object.offset + piece.start;
    let key = |position| (piece.object.file, position);
    let from = patches.partition_point(|p| (p.file, p.position) < key(start));
    let to = patches.partition_point(|p| (p.file, p.position) < key(start + piece.len as u64));
    for patch in &patches[from..to] {
        bytes[(patch.position - start) as usize] = patch.sealed;
    }
}

/// Measures of a model what its seal has: whole files, too, where they are in it.
///
/// # Errors
/// See [`RunError`].
pub fn measure_as_sealed(
    model: &Checkpoint,
    sealed: &Seal,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    let whole = sealed.files.iter().any(|file| file.sha256.is_some());
    let hashing = if whole { &build::FILE_DIGESTS[..] } else { &[] };
    let plan = Plan::everything(model, false).with_file_hashing(model, hashing.to_vec());
    build::measure_plan(model, &plan, options, progress)
}

/// Opens the copy as anyone would, measures it and compares it with the seal.
fn verify_copy(
    model: &Checkpoint,
    sealed: &Seal,
    copy: &Path,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RepairError> {
    let opening = OpenOptions {
        // Everything that was copied is part of the model.
        include_git_paths: true,
        expected_files: Some(sealed.naming_files()),
        ..OpenOptions::default()
    };
    let mut copied = Checkpoint::open(copy, &opening)?;
    // A single file still has the name of a temporary one.
    if let ([copied], [original], true) =
        (&mut copied.files[..], &model.files[..], model.is_single_file())
    {
        copied.path.clone_from(&original.path);
    }
    layout::treat_as_bytes(&mut copied, sealed);
    let (found, run) = measure_as_sealed(&copied, sealed, options, progress)?;
    let mut remaining =
        integrity::compare(sealed, &found, &DamagedFiles::default(), IntegrityOptions::default());
    let is_grave = |problem: &&Problem| problem.severity > Severity::Low && !problem.companion;
    let grave = copied.problems.iter().filter(is_grave);
    remaining.findings.extend(
        grave.map(|problem| {
            Finding::new(problem.rule, problem.message.clone()).in_file(&problem.file)
        }),
    );
    if found.model.root == sealed.model.root && remaining.findings.is_empty() {
        return Ok((found, run));
    }
    Err(RepairError::Remaining(remaining.findings))
}
