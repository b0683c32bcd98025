//! Audits: what of a model is measured and kept to judge its weights by themselves.
//!
//! One pass over every byte gives the [`facts`] of each tensor: its statistics, and what is left of
//! the structure after everything usual was dropped, so that what is kept does not grow with a tensor
//! (but for one fingerprint a page). What it means is said by [`crate::judge`].

pub mod binade_edges;
pub mod extraction;
pub mod facts;
pub mod facts_storage;
pub mod file_search;
pub mod localization;
pub mod localize;
pub mod low_bit_stream;
pub mod magic;
pub mod pages;
pub mod roles;
pub mod rows_columns;
pub mod run;
pub mod streams;
pub mod windows;

pub use facts::TensorFacts;
pub use run::{AuditBuilder, AuditMeasurements, measure};
