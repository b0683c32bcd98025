//! Watermarks: keyed marks in weights, and the detection of them.
//!
//! - [`key`] is the secret, [`payload`] the bits that a mark carries, [`claim`] the commitment to both before a
//!   release.
//! - [`carriers`] finds the tensors that carry chips, under their [canonical](tensorseal_format::canonical) names.
//! - [`embed`] writes a marked copy, block by block with [`mark`], with a strength from [`strength`];
//!   [`detect`] measures how the chips of keys correlate with a model, and [`informed`] how they
//!   correlate with its difference from an original.
//! - [`unreadable`] describes weights that cannot be searched because of an unsupported layout.
//! - [`third_party`] measures the marks of other schemes with their keys.
//! - [`judge::watermark`](crate::judge::watermark) judges whether the measurements are evidence.

pub mod carriers;
pub mod claim;
pub mod detect;
pub mod embed;
mod files;
pub mod informed;
pub mod key;
mod key_file;
pub mod mark;
pub mod payload;
pub mod scheme;
pub mod strength;
mod tensor_index;
pub mod third_party;
pub mod unreadable;

/// The name of the scheme: an additive spread-spectrum mark with one chip for each element.
pub const SCHEME: &str = "ts-spread/1";
