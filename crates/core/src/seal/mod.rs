//! The seal document, `tensorseal.seal/1`: what a model was when it was sealed.
//!
//! [`document`] is the document, [`build`] measures it, [`canonical`] its one way of being written, [`root`] the identity
//! of a model's content, [`distribution`] the statistics of a tensor, [`codes`] those of its blocks, [`sketch`] sums that tell how far it moved, [`read`] the way back from
//! bytes that nobody vouches for.

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

/// Schema name of the document.
pub const SCHEMA: &str = "tensorseal.seal/1";

/// Name of the seal inside a model directory.
pub const FILE_NAME: &str = "tensorseal.seal.json";
