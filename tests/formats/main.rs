//! What lies in directories of models: files of every format are read as their writers meant them, every file is
//! known by its bytes and accounted for, and what is malformed or hostile has its named finding.

#[path = "../common"]
mod common {
    pub mod archives;
    #[allow(dead_code)] // a part of it
    pub mod attacks;
    pub mod contents;
    mod findings;
    #[allow(dead_code)] // a part of it
    pub mod keys;
    pub mod malformed;
    mod models;
    pub mod oms;
    mod program;
    pub mod random;
    mod reports;
    mod schema;
    mod shards;
    mod small_tensors;
    pub mod sound_files;
    mod watermark_key;

    pub use findings::*;
    pub use models::*;
    pub use program::*;
    pub use reports::*;
    pub use schema::*;
    pub use shards::*;
    pub use small_tensors::*;
    pub use watermark_key::*;
}

mod accounting;
mod code;
mod content;
mod gguf;
mod golden_behaviour;
mod malformed_cli;
mod malformed_models;
mod torch;
