//! Watches model registries: lists their models, checks them on a schedule, and records what changed.
//!
//! - [`source`] lists and opens the models of a directory tree, a Hugging Face cache, a bucket, an OCI registry or an
//!   MLflow server.
//! - [`record`] holds the types of the records about models and scans.
//! - [`state`] keeps these records in one SQLite database.
//! - [`scan`] checks the models that are due and records the results.

pub mod scan;
pub mod source;
pub mod state;

pub use tensorseal_core::record;
