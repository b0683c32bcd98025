//! What is in the weights: attacks and accidents that an audit finds, and marks, ours and those of other schemes.

#[path = "../common"]
mod common {
    #[allow(dead_code)] // a part of it
    pub mod archives;
    pub mod attacks;
    pub mod audited;
    mod findings;
    pub mod golden_marks;
    pub mod keys;
    pub mod marked;
    mod models;
    mod program;
    pub mod random;
    mod real_model;
    mod reports;
    mod schema;
    mod shards;
    pub mod third_party;
    pub mod transforms;
    mod watermark_key;
    pub mod weights;

    pub use findings::*;
    pub use models::*;
    pub use program::*;
    pub use real_model::*;
    pub use reports::*;
    pub use schema::*;
    pub use shards::*;
    pub use watermark_key::*;
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
