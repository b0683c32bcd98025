//! Repair: a copy of a damaged model in which the pinpointed bits are restored.
//!
//! The copy gets its final name only after every byte of it was read back and equals the sealed model.

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

/// A byte that is restored to its sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patch {
    /// The index of the file in [`Checkpoint::files`].
    pub file: usize,
    /// The position of the byte in the file.
    pub position: u64,
    /// The sealed value of the byte.
    pub sealed: u8,
}

/// An error that prevents the repair of a model.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The copy could not be written.
    #[error(transparent)]
    Copy(CopyError),
    /// The model or its copy could not be measured.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The copy could not be read back, or the original changed during the repair.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy differs from the sealed model and was deleted.
    #[error("the repaired copy still differs from the seal; it was deleted")]
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

/// Returns the bytes that restore `model` to its sealed state, as far as the search pinpointed them, sorted by file and
/// position.
pub fn patches(model: &Checkpoint, pinpointed: &[PinpointedRange<'_>]) -> Vec<Patch> {
    let mut all: Vec<Patch> = Vec::new();
    for PinpointedRange { range, explanations, .. } in pinpointed {
        let Some(file) = model.model_files().iter().position(|file| file.path == range.file) else {
            continue;
        };
        let differences = explanations.iter().flat_map(|explanation| &explanation.differences);
        all.extend(differences.flat_map(ByteDifference::bytes).map(|(at, sealed, _)| Patch {
            file,
            position: range.object + at,
            sealed,
        }));
    }
    all.sort_unstable();
    // A changed byte that several tensors share was pinpointed in each of them.
    all.dedup();
    all
}

/// Writes a copy of `model` with these patches to `out`, which must not exist, and compares the copy with the seal.
///
/// `model` has the sealed layout, and `patches` are sorted. Just before the copy gets its final name, `check_unchanged`
/// is called to make sure that the original has not changed meanwhile. Returns what was measured of the copy.
///
/// # Errors
/// Returns a [`RepairError`] if the copy cannot be written, cannot be read back or differs from the seal, or if the
/// original changed. No copy is left behind then.
pub fn write(
    model: &Checkpoint,
    sealed: &Seal,
    patches: &[Patch],
    (out, check_unchanged): (&Path, &dyn Fn() -> Result<(), OpenError>),
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
            check_unchanged().map_err(RepairError::Open)
        },
    )?;
    measured.ok_or(RepairError::Run(RunError::Unmeasured))
}

/// Creates the sealed links to directories in a copy.
fn link(model: &Checkpoint, sealed: &Seal, copy: &Path) -> Result<(), CopyError> {
    let is_linked = |link: &&LinkSeal| model.links.iter().any(|current| current.path == link.path);
    for LinkSeal { path, target } in sealed.links.iter().filter(is_linked) {
        let up = "../".repeat(path.matches('/').count());
        let link_path = copy.join(path);
        link_path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| symlink_directory(&format!("{up}{target}"), &link_path))
            .map_err(|source| CopyError::Write { path: link_path, source })?;
    }
    Ok(())
}

/// Applies the patches that lie in a piece of a file. Patches go by position in the file and not by tensor: tensors that
/// share bytes are each written, and each must write the sealed bytes.
fn apply_patches(piece: &CopyPiece<'_>, bytes: &mut [u8], patches: &[Patch]) {
    let start = piece.object.offset + piece.start;
    let key = |position| (piece.object.file, position);
    let from = patches.partition_point(|p| (p.file, p.position) < key(start));
    let to = patches.partition_point(|p| (p.file, p.position) < key(start + piece.len as u64));
    for patch in &patches[from..to] {
        bytes[(patch.position - start) as usize] = patch.sealed;
    }
}

/// Measures `model` in as much detail as its seal has, including digests of whole files if the seal has them.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be measured.
pub fn measure_as_sealed(
    model: &Checkpoint,
    sealed: &Seal,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    let has_file_digests = sealed.files.iter().any(|file| file.sha256.is_some());
    let hashing = if has_file_digests { &build::FILE_DIGESTS[..] } else { &[] };
    let plan = Plan::everything(model, false).with_file_hashing(model, hashing.to_vec());
    build::measure_plan(model, &plan, options, progress)
}

/// Opens the copy as an independent model, measures it and compares it with the seal.
fn verify_copy(
    model: &Checkpoint,
    sealed: &Seal,
    copy: &Path,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RepairError> {
    let mut opening = OpenOptions::default();
    // Everything that was copied is part of the model.
    opening.include_git_paths = true;
    opening.expected_files = Some(sealed.naming_files());
    let mut copied = Checkpoint::open(copy, &opening)?;
    // A copy of a single file still has its temporary name.
    if let ([copied], [original], true) =
        (&mut copied.files[..], &model.files[..], model.is_single_file())
    {
        copied.path.clone_from(&original.path);
    }
    layout::treat_as_bytes(&mut copied, sealed);
    let (measured, run) = measure_as_sealed(&copied, sealed, options, progress)?;
    let mut remaining = integrity::compare(
        sealed,
        &measured,
        &DamagedFiles::default(),
        IntegrityOptions::default(),
    );
    let is_severe = |problem: &&Problem| problem.severity > Severity::Low && !problem.companion;
    let severe = copied.problems.iter().filter(is_severe);
    remaining.findings.extend(
        severe.map(|problem| {
            Finding::new(problem.rule, problem.message.clone()).in_file(&problem.file)
        }),
    );
    if measured.model.root == sealed.model.root && remaining.findings.is_empty() {
        return Ok((measured, run));
    }
    Err(RepairError::Remaining(remaining.findings))
}
