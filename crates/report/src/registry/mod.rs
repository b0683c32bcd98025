//! Reports of registry scans: for people ([`human`], [`html`]), scripts ([`json`], [`inventory`]), monitoring
//! ([`prometheus`]) and security operations ([`ocsf`], [`syslog`]).
//!
//! All of them are written from one [`Overview`]. They read the models one at a time, so their memory use does not
//! depend on the number of models.

mod group;
pub mod html;
pub mod human;
mod identity;
pub mod inventory;
pub mod json;
pub mod ocsf;
pub mod prometheus;
#[cfg(test)]
mod sample_registry;
mod sentence;
pub mod syslog;

pub use identity::{finding_uid, model_uid};
pub use sentence::summary_line;

use jiff::Timestamp;
use tensorseal_core::judge::Verdict;
use tensorseal_core::record::{ModelRecords, RegistrySummary, SkippedItems};

/// The state of one or more registries at a point in time.
#[derive(Clone, Copy)]
pub struct Overview<'a> {
    /// The command that writes the report: `registry scan` or `registry status`.
    pub command: &'static str,
    /// The outcome of the command.
    pub verdict: Verdict,
    /// The time of the report. Ages are relative to it.
    pub now: Timestamp,
    /// Counts over all models, and the last scan.
    pub summary: &'a RegistrySummary,
    /// The models.
    pub records: &'a dyn ModelRecords,
    /// What the scan skipped, or `None` if the report does not list it.
    pub passed_over: Option<&'a SkippedItems>,
}

impl Overview<'_> {
    /// Returns how long ago a time was. A time in the future counts as now.
    fn age(&self, time: Timestamp) -> String {
        super::units::span(self.now.duration_since(time).as_secs())
    }
}
