//! Reports of registries: what is known of all their models, for people ([`human`], [`html`]), scripts
//! ([`json`], [`inventory`]), monitoring ([`prometheus`]) and security operations ([`ocsf`], [`syslog`]).
//!
//! All are written from one [`Overview`] and read the models one after the other: none of them grows with their
//! number.

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

/// What is told of registries, and when.
#[derive(Clone, Copy)]
pub struct Overview<'a> {
    /// The command that tells it: `registry scan`, `registry status`.
    pub command: &'static str,
    /// Its outcome.
    pub verdict: Verdict,
    /// The time that ages are counted to.
    pub now: Timestamp,
    /// What is known in sum.
    pub summary: &'a RegistrySummary,
    /// The models.
    pub records: &'a dyn ModelRecords,
    /// What the scan passed over; `None`: none is told of.
    pub passed_over: Option<&'a SkippedItems>,
}

impl Overview<'_> {
    /// How long ago this was; what lies ahead is now.
    fn age(&self, time: Timestamp) -> String {
        super::units::span(self.now.duration_since(time).as_secs())
    }
}
