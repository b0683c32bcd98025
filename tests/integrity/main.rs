//! What was sealed or signed is what is there: every change is found and named, also one that happens during the
//! run; what a gate lets through; what people and other programs are told.

#[path = "../common"]
mod common {
    mod findings;
    mod models;
    pub mod oms;
    mod oms_copies;
    mod program;
    pub mod random;
    mod real_model;
    mod reports;
    mod schema;
    mod shards;
    mod small_tensors;
    mod watermark_key;

    pub use findings::*;
    pub use models::*;
    pub use program::*;
    pub use real_model::*;
    pub use reports::*;
    pub use schema::*;
    pub use shards::*;
    pub use small_tensors::*;
    pub use watermark_key::*;
}

mod arrows;
mod compare;
mod configuration;
mod gate;
mod golden;
mod llama;
mod packages;
mod pinpoint;
mod races;
mod reports;
mod robustness;
mod signatures;
mod verify;
