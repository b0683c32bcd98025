//! The log of `--verbose`: what the program does, step by step, on standard error.

use super::{Failure, output};
use anyhow::Context;
use std::io;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable with a filter, such as `debug` or `tensorseal_core=trace`.
const VARIABLE: &str = "TENSORSEAL_LOG";

/// Only this program logs: what libraries log of their requests may contain credentials.
const OWN: &str = "tensorseal";

/// Starts the log, if it is asked for by the number of `-v` or by the environment.
pub(super) fn start(verbose: u8) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        Some(text) => text
            .parse::<Targets>()
            .with_context(|| format!("{VARIABLE}: {text:?} is not a log filter"))
            .map_err(Failure::usage)?,
        None => Targets::new().with_target(OWN, level(verbose)),
    };
    if filter.iter().all(|(_, level)| level == LevelFilter::OFF)
        && filter.default_level().is_none_or(|level| level == LevelFilter::OFF)
    {
        return Ok(());
    }
    let own = filter_fn(|metadata| metadata.target().starts_with(OWN));
    let layer = tracing_subscriber::fmt::layer()
        .compact()
        .without_time()
        .with_ansi(output::colour_on(&io::stderr()))
        .with_writer(io::stderr)
        .with_filter(filter.and(own));
    // It can only be started already by a program that embeds this one.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// Whether anything is logged.
pub(super) fn is_on() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}
