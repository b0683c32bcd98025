//! Registries on a schedule: what is in them, what was there before, and what became of it.
//!
//! - [`source`] lists the models of a place and opens them: a directory tree, a Hugging Face cache, a
//!   bucket, an OCI registry, an MLflow server.
//! - [`record`] is what is known of a model.
//! - [`state`] remembers it from run to run, in one SQLite database.
//! - [`scan`] checks what is due and records what it found.

pub mod scan;
pub mod source;
pub mod state;

pub use tensorseal_core::record;
