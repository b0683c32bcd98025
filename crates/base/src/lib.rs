//! Shared basics of all tensorseal crates. Nothing here knows about checkpoints.
//!
//! - [`dtype`] and [`quantised`] define the element types and decode their values.
//! - [`severity`] defines the severities of findings.
//! - [`hashing`] computes the digests of files; [`hex`] encodes them.
//! - [`json`] parses untrusted JSON; [`display`] escapes untrusted names.
//! - [`regular_file`] reads small files such as keys, policies and signatures.
//! - [`units`] formats numbers, sizes and durations.
//! - [`system`] wraps what differs between operating systems.

pub mod display;
pub mod dtype;
pub mod hashing;
pub mod hex;
pub mod json;
pub mod quantised;
pub mod regular_file;
pub mod severity;
pub mod system;
pub mod units;
