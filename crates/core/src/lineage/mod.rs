//! Lineage: how a model differs from the one it is said to come from.
//!
//! A baseline is a seal or another model (which is sealed in memory first). [`pairs`] says which tensors
//! are the same, [`drift`] compares the statistics of those that are not, and where both models are at
//! hand [`compare`] reads the two side by side, in constant memory: the [`difference`] of their values,
//! the rank of it ([`range_finder`], [`eigenvalues`]), and their quantisation [`codes`]. What it means is
//! said by [`crate::judge::lineage`].

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
