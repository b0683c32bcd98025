//! What was sealed or signed is what is there: every change is found and named, also one that happens during the
//! run; what a gate lets through; what people and other programs are told.

#[path = "../common"]
mod common {
    mod findings;
    mod models;
    pub(crate) mod oms;
    mod oms_copies;
    mod program;
    pub(crate) mod random;
    mod real_model;
    mod reports;
    mod schema;
    mod shards;
    mod small_tensors;
    mod watermark_key;

    pub(crate) use findings::*;
    pub(crate) use models::*;
    pub(crate) use program::*;
    pub(crate) use real_model::*;
    pub(crate) use reports::*;
    pub(crate) use schema::*;
    pub(crate) use shards::*;
    pub(crate) use small_tensors::*;
    pub(crate) use watermark_key::*;
}

mod arrows;
mod compare;
mod configuration;
mod gate;
mod golden;
mod hints;
mod llama;
mod packages;
mod pinpoint;
mod races;
mod reports;
mod robustness;
mod signatures;
mod verify;
mod words;
