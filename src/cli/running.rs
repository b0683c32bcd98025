//! What all measuring verbs do: open the model, run the engines, stop on Ctrl-C.

use super::args::{Measuring, Opening};
use super::progress::Drawn;
use super::{Failure, exit, output, sealed};
use anyhow::anyhow;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal::checkpoint::{Checkpoint, OpenOptions, Problem, Tensor, display_name};
use tensorseal::engine::{RunError, RunOptions, RunReport};
use tensorseal::examine::ExamineError;
use tensorseal::judge::{checksums, structure};
use tensorseal::pinpoint::fine;
use tensorseal::report::{Coverage, Model, Report, coverage, inventory};
use tensorseal::seal::{self, ModelSeal};
use tensorseal::severity::Severity;
use tensorseal::stream::copy::CopyError;
use tensorseal::stream::progress::Progress;

/// Where the seal of a model is, unless told otherwise.
pub fn default_seal(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.join(seal::FILE_NAME);
    }
    let mut name = model.as_os_str().to_owned();
    name.push(".seal.json");
    PathBuf::from(name)
}

/// Whether a seal may be written to `path`: nothing is there, or a file that begins like one.
pub fn may_hold_seal(path: &Path) -> bool {
    const START: &[u8] = b"{\"files\":[";
    let Ok(metadata) = path.metadata() else { return true };
    let mut start = [0; START.len()];
    // Only a regular file is opened: anything else could hang.
    metadata.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == START
}

/// Paths, relative to the model, of seals and their fine sidecars that are not part of it.
pub fn seals_inside(model: &Path, named: Option<&Path>) -> Vec<String> {
    let mut inside = vec![seal::FILE_NAME.to_owned(), fine::FILE_NAME.to_owned()];
    let sidecar = named.map(fine::path_of).filter(|path| sealed::is_fine(path));
    for path in named.into_iter().chain(sidecar.as_deref()) {
        inside.extend(relative(model, path).filter(|path| !inside.contains(path)));
    }
    inside
}

/// Refuses a place for a copy of a model: one that is taken, inside the model, or in no directory.
pub fn check_copy(model: &Path, output: &Path) -> Result<(), Failure> {
    if output.symlink_metadata().is_ok() {
        return Err(Failure::usage(CopyError::Exists(output.to_owned())));
    }
    if relative(model, output).is_some() {
        return Err(Failure::usage(anyhow!(
            "{} lies inside {}: write the copy beside it",
            output.display(),
            model.display()
        )));
    }
    // Before hours of reading, not after.
    let directory = output::directory_of(output);
    if directory.is_dir() {
        return Ok(());
    }
    Err(Failure::incomplete(anyhow!(
        "{}: cannot be written: there is no directory {}",
        output.display(),
        directory.display()
    )))
}

/// `path` relative to the directory `model`, with `/`, if it lies inside. It need not exist.
pub fn relative(model: &Path, path: &Path) -> Option<String> {
    let model = model.canonicalize().ok()?;
    let full = output::directory_of(path).canonicalize().ok()?.join(path.file_name()?);
    let parts: Option<Vec<_>> =
        full.strip_prefix(model).ok()?.components().map(|c| c.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// Opens a model, of which `seals` are no part; `expected_files` are those of the seal it is compared
/// with.
pub fn open(
    path: &Path,
    opening: &Opening,
    seals: Vec<String>,
    expected_files: Option<BTreeSet<String>>,
) -> Result<Checkpoint, Failure> {
    let options = OpenOptions {
        allow_symlinks: opening.allow_symlinks,
        include_git_paths: opening.no_ignore_git_paths,
        seals,
        expected_files,
        ..OpenOptions::default()
    };
    Checkpoint::open(path, &options).map_err(Failure::incomplete)
}

/// Opens a model that something is made from, or that a number is drawn from: it must be sound.
pub fn open_sound(path: &Path, opening: &Opening) -> Result<Checkpoint, Failure> {
    let model = open(path, opening, seals_inside(path, None), None)?;
    require_sound(&model)?;
    Ok(model)
}

/// Refuses a model that is not sound: for verbs that must produce something from it. What is only
/// untidy (an index whose total is wrong, as many are) is a finding, not a refusal; so is what a pickle beside
/// the weights asks for.
pub fn require_sound(model: &Checkpoint) -> Result<(), Failure> {
    let is_grave = |problem: &&Problem| problem.severity > Severity::Low && !problem.companion;
    let grave: Vec<&Problem> = model.problems.iter().filter(is_grave).collect();
    let Some(first) = grave.first() else { return Ok(()) };
    let more = match grave.len() {
        1 => String::new(),
        n => format!(" (and {} more problems)", n - 1),
    };
    Err(Failure::incomplete(anyhow!("{}{more}", first.message)))
}

/// As [`open_sound`], of a model with at least one tensor that can be read: for verbs that put weights side
/// by side, or look for something in them.
pub fn open_weights(path: &Path, opening: &Opening) -> Result<Checkpoint, Failure> {
    let model = open_sound(path, opening)?;
    match model.tensors.is_empty() {
        true => Err(Failure { code: exit::NOTHING, error: no_weights(&model) }),
        false => Ok(model),
    }
}

/// That nothing was judged is no pass.
pub fn withhold_without_weights(report: &mut Report, model: &Checkpoint) {
    if model.tensors.is_empty() {
        report.withhold(format!("{:#}", no_weights(model)), exit::NOTHING);
    }
}

fn no_weights(model: &Checkpoint) -> anyhow::Error {
    let shown = display_name(&model.path.to_string_lossy());
    anyhow!("{shown}: {}", coverage::no_weights(model))
}

/// Works while progress is drawn and Ctrl-C is heard. Everything a command measures happens in one
/// call: signals are handled once in a process.
pub fn watched<T>(
    measuring: &Measuring,
    quiet: bool,
    work: impl FnOnce(&Progress) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let progress = Arc::new(Progress::default());
    stop_on_signals(&progress)?;
    let drawn = Drawn::start(&progress, measuring, quiet);
    let done = work(&progress);
    drop(drawn);
    done
}

/// Says on standard error what `auto` chose, and that a device was left.
pub fn say_who_measured(run: &RunReport, quiet: bool) {
    if let Some(choice) = &run.choice {
        output::note(quiet, &format!("measured by {choice}"));
    }
    if let Some(fallback) = &run.engine.fallback {
        output::note(quiet, &format!("the device was left: {fallback}"));
    }
}

/// The options of a run.
pub fn run_options(measuring: &Measuring) -> RunOptions {
    RunOptions {
        device: measuring.device.clone(),
        threads: measuring.threads.clone(),
        cross_check: measuring.cross_check,
        ..RunOptions::default()
    }
}

/// The first Ctrl-C ends the run in order, the second at once.
fn stop_on_signals(progress: &Progress) -> Result<(), Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        let flag = progress.stop_flag();
        signal_hook::flag::register_conditional_shutdown(
            signal,
            exit::INTERRUPTED.into(),
            Arc::clone(&flag),
        )
        .and_then(|_| signal_hook::flag::register(signal, flag))
        .map_err(Failure::incomplete)?;
    }
    Ok(())
}

/// The exit code of a run that did not complete.
pub fn failure(error: RunError) -> Failure {
    let code = match &error {
        RunError::Interrupted => exit::INTERRUPTED,
        RunError::Device(_) => exit::USAGE,
        RunError::File(_)
        | RunError::Threads(..)
        | RunError::Disagree { .. }
        | RunError::Unmeasured => exit::INCOMPLETE,
    };
    Failure { code, error: error.into() }
}

/// The time to the second: nobody can check it any closer.
pub fn now() -> Result<Timestamp, Failure> {
    Timestamp::from_second(Timestamp::now().as_second()).map_err(Failure::incomplete)
}

/// The exit code of an examination that did not complete.
pub fn examine_failure(error: ExamineError) -> Failure {
    match error {
        ExamineError::Run(error) => failure(error),
        ExamineError::Marks(error) => Failure::incomplete(error),
    }
}

/// Fills in what every measuring verb reports.
pub fn fill(report: &mut Report, model: &Checkpoint, found: &ModelSeal, run: &RunReport) {
    report.model = Model {
        path: model.path.display().to_string(),
        format: found.format.clone(),
        files: found.files,
        tensors: found.tensors,
        elements: found.elements,
        bytes: found.bytes,
        root: Some(found.root.clone()),
    };
    report.engine = Some(run.engine.clone());
    let checked = run.engine.bytes_read.saturating_sub(run.bytes_beside);
    report.coverage = Coverage::of(model, Some(run), checked);
    report.inventory = inventory::of(model, run);
    report.findings.extend(model.remarks.iter().map(structure::finding));
    report.findings.extend(checksums::findings(model, run));
}

/// As [`fill`], where files were hashed and no tensor was measured.
pub fn fill_files(report: &mut Report, model: &Checkpoint, run: &RunReport) {
    report.model = listed(model);
    report.engine = Some(run.engine.clone());
    report.coverage = Coverage::of(model, Some(run), run.engine.bytes_read);
    report.inventory = inventory::of(model, run);
    report.findings.extend(model.remarks.iter().map(structure::finding));
}

/// A model of which nothing was measured.
pub fn listed(model: &Checkpoint) -> Model {
    let files = model.own_files();
    Model {
        path: model.path.display().to_string(),
        format: model.format_name().to_owned(),
        files: files.len() as u64,
        tensors: model.tensors.len() as u64,
        elements: model.tensors.iter().map(elements).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        root: None,
    }
}

/// How many elements a tensor has.
pub fn elements(tensor: &Tensor) -> u64 {
    tensor.stored_elements()
}

/// Refuses a model of which bytes are not those of the checksums that its files state.
pub fn require_checksums(model: &Checkpoint, run: &RunReport) -> Result<(), Failure> {
    match checksums::findings(model, run).into_iter().next() {
        Some(first) => Err(Failure::incomplete(anyhow!("{}", first.message))),
        None => Ok(()),
    }
}
