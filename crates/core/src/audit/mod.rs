//! Audits: what is measured about a model to judge its weights without a reference.
//!
//! One pass over every byte gives the [`facts`] of each tensor: its statistics, and the unusual parts of its structure.
//! The size of the facts does not grow with the tensor, except for one fingerprint per page. [`crate::judge`] interprets
//! them.

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
