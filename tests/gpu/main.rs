//! Every test that opens a device, in this process or in the program: shaders against their CPU twins, engines
//! against one another. An adapter is needed; lavapipe (`mesa-vulkan-drivers`) will do. Without one they fail.
//!
//! One test of this process measures on a device at a time (`common::device::alone`), and those that need no device
//! of their own share one. `reports` only runs the program, and does so beside them.

#[path = "../common"]
mod common {
    pub(crate) mod archives;
    pub(crate) mod audited;
    pub(crate) mod device;
    mod findings;
    pub(crate) mod golden_marks;
    pub(crate) mod keys;
    pub(crate) mod marked;
    mod models;
    mod program;
    mod real_model;
    mod reports;
    mod schema;
    mod small_tensors;
    pub(crate) mod watched;
    mod watermark_key;
    pub(crate) mod weights;

    pub(crate) use findings::*;
    pub(crate) use models::*;
    pub(crate) use program::*;
    pub(crate) use real_model::*;
    pub(crate) use schema::*;
    pub(crate) use small_tensors::*;
}

mod engines;
mod engines_blocks;
mod examine;
mod reports;
mod twins;
mod twins_blocks;
mod twins_structure;
