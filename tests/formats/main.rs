//! What lies in directories of models: files of every format are read as their writers meant them, every file is
//! known by its bytes and accounted for, and what is malformed or hostile has its named finding.

#[path = "../common"]
mod common {
    pub(crate) mod archives;
    #[allow(dead_code)] // a part of it
    pub(crate) mod attacks;
    pub(crate) mod contents;
    mod findings;
    #[allow(dead_code)] // a part of it
    pub(crate) mod keys;
    pub(crate) mod malformed;
    mod models;
    pub(crate) mod oms;
    mod program;
    pub(crate) mod random;
    mod reports;
    mod schema;
    mod shards;
    mod small_tensors;
    pub(crate) mod sound_files;
    mod watermark_key;

    pub(crate) use findings::*;
    pub(crate) use models::*;
    pub(crate) use program::*;
    pub(crate) use reports::*;
    pub(crate) use schema::*;
    pub(crate) use shards::*;
    pub(crate) use small_tensors::*;
    pub(crate) use watermark_key::*;
}

mod accounting;
mod code;
mod content;
mod gguf;
mod golden_behaviour;
mod malformed_cli;
mod malformed_models;
mod torch;
