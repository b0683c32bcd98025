//! Watermarks: keyed marks in weights, and proof of their presence.
//!
//! - [`key`] is the secret, [`payload`] what a mark says, [`claim`] the commitment to both before a
//!   release.
//! - [`carriers`] says which tensors carry chips, under their [canonical](tensorseal_format::canonical) names.
//! - [`embed`] writes a marked copy, block by block with [`mark`], as strong as [`strength`] says;
//!   [`detect`] measures how the chips of keys correlate with a model, and [`informed`] how they
//!   correlate with its difference from an original.
//! - [`unreadable`] is what of a model nobody could look at.
//! - [`third_party`] measures the marks of other schemes, from keys of their own.
//! - Whether that is evidence is judged in [`judge::watermark`](crate::judge::watermark).

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

/// Name of the scheme: an additive spread-spectrum mark with one chip an element.
pub const SCHEME: &str = "ts-spread/1";
