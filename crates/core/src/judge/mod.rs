//! Judges measurements: pure functions that turn measurements and a baseline into findings, without I/O.

pub mod audit;
pub mod bounds;
pub mod change;
pub mod checksums;
pub mod code;
pub mod compare;
pub mod embedding;
pub mod finding;
pub mod flips;
pub mod intact;
pub mod integrity;
pub mod lineage;
pub mod links;
pub mod outdated;
pub mod presence;
pub mod rules;
pub mod signature;
pub mod structure;
pub mod third_party;
pub mod watermark;

pub use finding::{Finding, Verdict};
pub use tensorseal_base::severity::Severity;
