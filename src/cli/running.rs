//! What all measuring verbs share: engine options, the progress bar, and Ctrl-C.

use super::args::{General, MeasurementArgs};
use super::progress::ProgressLine;
use super::{Failure, exit, output};
use std::sync::Arc;
use tensorseal_core::verbs::Error;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::gpu::adapters;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions, RunReport};
use tensorseal_format::display_name;

/// Runs `work` with a progress bar, and stops it on Ctrl-C. A command does all its measuring in one call, because
/// signal handlers are installed once per process.
pub(super) fn watched<T>(
    general: &General,
    work: impl FnOnce(&Arc<Progress>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let progress = Arc::new(Progress::default());
    stop_on_signals(&progress)?;
    let drawn = ProgressLine::start(&progress, general);
    let done = work(&progress);
    drop(drawn);
    done
}

/// Prints on standard error which device `auto` chose, and that one failed: for verbs without a report.
pub(super) fn note_device(run: &RunReport, general: &General) {
    if let Some(choice) = &run.choice {
        let routine = output::is_routine(choice) && general.verbose == 0;
        output::note(general.quiet || routine, &format!("measured by {choice}"));
    }
    if let Some(fallback) = &run.engine.fallback {
        let text = format!("GPU failed, continued on the CPU: {fallback}");
        output::note(general.quiet, &text);
    }
}

/// Warns on standard error that `--device gpu` has only a software device to measure on.
pub(super) fn warn_of_software_device(device: &DeviceChoice, quiet: bool) {
    if quiet || *device != DeviceChoice::Gpu {
        return;
    }
    let found = adapters();
    if let Some(first) = found.first().filter(|_| found.iter().all(|a| a.is_software())) {
        let name = display_name(&first.name);
        output::note(false, &format!("warning: {name} is a software device; no GPU found"));
    }
}

/// The options of a run.
pub(super) fn run_options(measuring: &MeasurementArgs) -> RunOptions {
    let mut options = RunOptions::new(measuring.device.clone());
    options.threads = measuring.threads.clone();
    options.cross_check = measuring.cross_check;
    options
}

/// The first Ctrl-C ends the run in an orderly way, the second at once.
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

/// The failure of a run that did not complete.
pub(super) fn failure(error: RunError) -> Failure {
    Error::from(error).into()
}
