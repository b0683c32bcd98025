//! The seal, `tensorseal.seal/1`: the document with the digests, layout and baseline statistics of a model.
//!
//! [`document`] defines the document, [`build`] measures a model for it, [`canonical`] writes it as canonical JSON, and
//! [`read`] reads it from untrusted bytes. [`root`] computes the model root, [`distribution`] the statistics of a tensor,
//! [`codes`] those of quantisation blocks, and [`sketch`] sums that estimate how far a tensor moved. [`layout`] recovers
//! and applies sealed layouts.

pub mod build;
pub mod canonical;
pub mod codes;
mod counts;
pub mod distribution;
pub mod document;
pub mod layout;
pub mod read;
pub mod root;
pub mod sketch;

pub use document::{FileSeal, GapSeal, LinkSeal, ModelSeal, Seal, TensorSeal};
pub use read::SealError;

/// The schema name of the document.
pub const SCHEMA: &str = "tensorseal.seal/1";

/// The name of the seal in a model directory.
pub const FILE_NAME: &str = "tensorseal.seal.json";
