//! Seals, compares, judges and repairs models that `tensorseal-format` reads and `tensorseal-engine` measures.

pub mod audit;
pub mod compare;
pub mod document;
pub mod examine;
pub mod judge;
pub mod lineage;
pub mod pinpoint;
pub mod policy;
pub mod record;
pub mod repair;
pub mod seal;
pub mod verbs;
pub mod watermark;
