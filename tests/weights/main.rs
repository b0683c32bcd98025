//! What is in the weights: attacks and accidents that an audit finds, and marks, ours and those of other schemes.

#[path = "../common"]
mod common {
    #[allow(dead_code)] // a part of it
    pub(crate) mod archives;
    pub(crate) mod attacks;
    pub(crate) mod audited;
    mod findings;
    pub(crate) mod golden_marks;
    pub(crate) mod keys;
    pub(crate) mod marked;
    mod models;
    mod program;
    pub(crate) mod random;
    mod real_model;
    mod reports;
    mod schema;
    mod shards;
    pub(crate) mod third_party;
    pub(crate) mod transforms;
    mod watermark_key;
    pub(crate) mod weights;

    pub(crate) use findings::*;
    pub(crate) use models::*;
    pub(crate) use program::*;
    pub(crate) use real_model::*;
    pub(crate) use reports::*;
    pub(crate) use schema::*;
    pub(crate) use shards::*;
    pub(crate) use watermark_key::*;
}

mod attack_generator;
mod audit;
mod audit_attacks;
mod audit_baseline;
mod audit_blocks;
mod forms;
mod named;
mod third_party;
mod third_party_cli;
mod unread;
mod watermark;
mod watermark_real;
