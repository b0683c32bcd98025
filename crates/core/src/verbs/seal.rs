//! The `seal` command: measures a model and writes its seal.

use super::output::{temporary, write_whole};
use super::{Error, ModelScope, RunInputs, locations, open};
use crate::document::{Report, SealUsed};
use crate::judge::{checksums, structure};
use crate::pinpoint::chunk_digests::{self, ChunkDigests};
use crate::pinpoint::{self, ChunkDigestWriteError};
use crate::seal::{Seal, build, canonical, document, sketch};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tensorseal_base::severity::Severity;
use tensorseal_base::system::is_same_file;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunOptions, RunReport};
use tensorseal_format::{Checkpoint, ModelFile};

/// The name of the sidecar in error messages.
const SIDECAR: &str = "the chunk digests";

/// Options of [`seal`](fn@seal).
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// The output path of the seal (default: [next to or inside](locations::default_seal) the model).
    pub output: Option<PathBuf>,
    /// Whether the seal contains statistics of the values.
    pub distributions: bool,
    /// Whether the seal contains sketches of the weights, from which the size of later changes can be estimated.
    pub sketch: bool,
    /// Whether the seal contains BLAKE3 and SHA-256 digests of whole files.
    pub file_digests: bool,
    /// Whether chunk digests (one for each KiB of the tensors) are written to a sidecar.
    pub chunk_digests: bool,
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for SealOptions {
    /// Returns the default options: a seal with digests and statistics.
    fn default() -> Self {
        Self {
            output: None,
            distributions: true,
            sketch: false,
            file_digests: false,
            chunk_digests: false,
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            fail_on: Severity::Medium,
        }
    }
}

/// Seals the model at a path.
///
/// # Errors
/// Returns an error if the model cannot be read, is malformed or changed during the run, or if the seal cannot be
/// written.
pub fn seal(path: &Path, options: &SealOptions) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    let target = options.output.clone().unwrap_or_else(|| locations::default_seal(path));
    // Any other file there stays part of the model, and is refused below.
    let existing_seal = Some(target.as_path()).filter(|path| locations::may_hold_seal(path));
    let seals = locations::seals_inside(path, existing_seal);
    let signatures = locations::signatures_inside(path, None);
    let mut how = options.opening.options();
    how.seals = seals;
    how.signatures = signatures;
    let model = Checkpoint::open(path, &how)?;
    check_target(&target, &model)?;
    open::require_sound(&model)?;
    if model.model_files().is_empty() {
        return Err(Error::NoFiles { model: path.to_owned(), verb: "seal" });
    }
    let fine_path = chunk_digests::path_of(&target);
    if options.chunk_digests {
        check_sidecar_target(&fine_path, path, &model)?;
    }
    let (seal, run, sidecar) = measure(&model, options, &fine_path)?;
    let mut inputs = RunInputs::default();
    if let Some(sidecar) = &sidecar {
        inputs.record_output(sidecar.path());
    }
    inputs.check_unchanged(&[&model])?;
    let mut report = Report::new("seal", &path.display().to_string());
    report.fill(&model, &seal.model, &run);
    write_whole(&target, &|out| canonical::write(&seal, out)).map_err(|source| Error::WriteOf {
        what: "the seal",
        path: target.clone(),
        source,
    })?;
    if let Some(sidecar) = sidecar {
        sidecar
            .persist(&fine_path)
            .map_err(|error| write_error(SIDECAR, &fine_path, error.error))?;
    } else if chunk_digests::is_sidecar(&fine_path)
        && ChunkDigests::open(&fine_path, &seal).is_err()
    {
        let path = fine_path.display();
        report
            .notes
            .push(format!("{path} belongs to an older seal: remove it, or seal again with --fine"));
    }
    report.seal = Some(SealUsed {
        digest: Some(digest(&seal).map_err(|error| write_error("the seal", &target, error))?),
        source: target.display().to_string(),
        signed_by: None,
        compared: None,
    });
    report.findings.extend(structure::weight_findings(&model));
    report.judge(options.fail_on);
    Ok(report)
}

/// Measures the model, and writes the chunk digests, if requested, to a temporary file until the seal is written.
fn measure(
    model: &Checkpoint,
    options: &SealOptions,
    fine_path: &Path,
) -> Result<(Seal, RunReport, Option<NamedTempFile>), Error> {
    let plan = plan(model, options);
    let (seal, run) = build::measure_plan(model, &plan, &options.run, &options.progress)?;
    require_checksums(model, &run)?;
    let sidecar = options
        .chunk_digests
        .then(|| write_sidecar(model, &seal, fine_path, options))
        .transpose()?;
    Ok((seal, run, sidecar))
}

fn plan(model: &Checkpoint, options: &SealOptions) -> Plan {
    let mut plan = Plan::everything(model, options.distributions);
    if options.sketch {
        sketch::add_to(&mut plan, model);
    }
    let hashing = if options.file_digests { &build::FILE_DIGESTS[..] } else { &[] };
    plan.with_file_hashing(model, hashing.to_vec())
}

/// Refuses a model with bytes that do not match the checksums in its files.
///
/// # Errors
/// Returns [`Error::Checksum`] for the first mismatch.
pub fn require_checksums(model: &Checkpoint, run: &RunReport) -> Result<(), Error> {
    match checksums::findings(model, run).into_iter().next() {
        Some(first) => Err(Error::Checksum(first.message)),
        None => Ok(()),
    }
}

/// Checks that the seal does not overwrite a file of the model.
fn check_target(target: &Path, model: &Checkpoint) -> Result<(), Error> {
    if target.is_dir() {
        return Err(Error::SealIsDirectory(target.to_owned()));
    }
    let Ok(full) = target.canonicalize() else { return Ok(()) };
    if !full.is_file() {
        return Err(Error::SealIsNoFile(target.to_owned()));
    }
    let is_target = |file: &&ModelFile| {
        file.location.local().is_ok_and(|path| path == full || is_same_file(path, &full))
    };
    match model.model_files().iter().find(is_target) {
        Some(file) => Err(Error::SealIsPart { path: target.to_owned(), file: file.path.clone() }),
        None => Ok(()),
    }
}

/// Checks that the chunk digests overwrite only older chunk digests.
fn check_sidecar_target(path: &Path, given: &Path, model: &Checkpoint) -> Result<(), Error> {
    let inside = locations::relative(given, path);
    let part = model.model_files().iter().any(|file| Some(&file.path) == inside.as_ref());
    match part || path.symlink_metadata().is_ok() && !chunk_digests::is_sidecar(path) {
        true => Err(Error::NotChunkDigests(path.to_owned())),
        false => Ok(()),
    }
}

fn write_sidecar(
    model: &Checkpoint,
    seal: &Seal,
    path: &Path,
    options: &SealOptions,
) -> Result<NamedTempFile, Error> {
    let file = temporary(path).map_err(|error| write_error(SIDECAR, path, error))?;
    let (threads, progress) = (&options.run.threads, &*options.progress);
    pinpoint::write_chunk_digests(model, seal, file.as_file(), threads, progress).map_err(
        |error| match error {
            ChunkDigestWriteError::Run(error) => error.into(),
            ChunkDigestWriteError::Io(error) => write_error(SIDECAR, path, error),
        },
    )?;
    file.as_file().sync_all().map_err(|error| write_error(SIDECAR, path, error))?;
    Ok(file)
}

fn write_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::WriteOf { what, path: path.to_owned(), source }
}

/// Returns the digest of a seal, with the prefix `blake3:`.
fn digest(seal: &Seal) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    canonical::write(seal, &mut hasher)?;
    Ok(document::root_text(hasher.finalize().as_bytes()))
}
