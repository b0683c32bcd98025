//! Lineage: how a model differs from the baseline that it is derived from.
//!
//! A baseline is a seal, or another model that is sealed in memory first. [`pairs`] pairs tensors, and [`drift`] compares
//! the statistics of changed ones. If both models are available, [`compare`] compares their values in constant memory:
//! the [`difference`], its rank ([`range_finder`], [`eigenvalues`]), and the quantisation [`codes`].
//! [`crate::judge::lineage`] interprets the results.

pub mod codes;
pub mod compare;
pub mod difference;
pub mod drift;
pub mod eigenvalues;
pub mod pairs;
pub mod range_finder;

pub use compare::differences;
pub use difference::TensorDifference;
pub use drift::Drift;
pub use pairs::TensorPairs;
