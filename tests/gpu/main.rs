//! Every test that opens a device, in this process or in the program: shaders against their CPU twins, engines
//! against one another. An adapter is needed; lavapipe (`mesa-vulkan-drivers`) will do. Without one they fail.
//!
//! One test of this process measures on a device at a time (`common::device::alone`), and those that need no device
//! of their own share one. `reports` only runs the program, and does so beside them.

#[path = "../common"]
mod common {
    pub mod archives;
    pub mod audited;
    pub mod device;
    mod findings;
    pub mod golden_marks;
    pub mod keys;
    pub mod marked;
    mod models;
    mod program;
    mod real_model;
    mod reports;
    mod schema;
    mod small_tensors;
    pub mod watched;
    mod watermark_key;
    pub mod weights;

    pub use findings::*;
    pub use models::*;
    pub use program::*;
    pub use real_model::*;
    pub use schema::*;
    pub use small_tensors::*;
}

mod engines;
mod engines_blocks;
mod examine;
mod reports;
mod twins;
mod twins_blocks;
mod twins_structure;
