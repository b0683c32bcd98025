//! The progress line: rate and time left, on standard error, when that is a terminal.

use super::args::General;
use super::logging;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tensorseal_engine::stream::progress::Progress;

/// Draws until it is dropped.
pub(super) struct ProgressLine {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Starts to draw `progress`, or nothing.
    pub(super) fn start(progress: &Arc<Progress>, general: &General) -> ProgressLine {
        let end = Arc::new(AtomicBool::new(false));
        let unwanted = general.no_progress || general.quiet;
        // The lines of a log and a progress bar would overwrite each other.
        if unwanted || logging::is_on() || !stderr().is_terminal() {
            return ProgressLine { end, thread: None };
        }
        let (shared, flag) = (Arc::clone(progress), Arc::clone(&end));
        let thread = std::thread::spawn(move || draw(&shared, &flag));
        ProgressLine { end, thread: Some(thread) }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn draw(progress: &Progress, end: &AtomicBool) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    let template =
        "{bar:32} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    while !end.load(Relaxed) {
        let (done, total) = progress.position();
        // Before a run is planned there is nothing to draw.
        if total > 0 {
            bar.set_length(total);
            bar.set_position(done);
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}
