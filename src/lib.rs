//! skeleton
pub mod dtype;
pub mod measure;
