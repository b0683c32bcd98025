//! What is done with a model that was read and measured: it is sealed, compared, judged.

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
