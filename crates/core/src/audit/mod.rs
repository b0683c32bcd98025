//! Audits: what of a model is measured and kept to judge its weights by themselves.
//!
//! One pass over every byte gives the [`facts`] of each tensor: its statistics, and what is left of
//! the structure after everything usual was dropped, so that what is kept does not grow with a tensor
//! (but for one fingerprint a page). What it means is said by [`crate::judge`].

pub mod carve;
pub mod edges;
pub mod extract;
pub mod facts;
pub mod look;
pub mod magic;
pub mod pages;
pub mod roles;
pub mod run;
pub mod search;
pub mod seen;
pub mod stored;
pub mod streams;
pub mod sums;
pub mod windows;

pub use facts::TensorFacts;
pub use run::{Audited, Auditing, measure};
