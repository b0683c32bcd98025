//! What every part of tensorseal stands on, and nothing about checkpoints.
//!
//! - [`dtype`] and [`quantised`] are the types of elements and of blocks, and what their bits stand for.
//! - [`severity`] is how bad something is.
//! - [`hashing`] and [`hex`] are the digests of files and how they are written.
//! - [`json`] reads JSON that nobody vouches for; [`display`] shows names that nobody vouches for.
//! - [`regular_file`] opens small files beside a model: keys, policies, signatures.
//! - [`system`] is what differs from one operating system to the next.

pub mod display;
pub mod dtype;
pub mod hashing;
pub mod hex;
pub mod json;
pub mod quantised;
pub mod regular_file;
pub mod severity;
pub mod system;
