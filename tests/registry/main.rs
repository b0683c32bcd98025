//! Registries: what scans remember and say of changes, and models that are read from buckets and servers, also
//! those that misbehave.

#[path = "../common"]
mod common {
    mod models;
    pub(crate) mod oms;
    mod program;
    pub(crate) mod random;
    mod schema;
    pub(crate) mod server;
    mod shards;
    mod small_tensors;
    mod sources;
    pub(crate) mod store;

    pub(crate) use models::*;
    pub(crate) use program::*;
    pub(crate) use schema::*;
    pub(crate) use shards::*;
    pub(crate) use small_tensors::*;
    pub(crate) use sources::*;
}

mod bucket;
mod mlflow;
mod oci;
mod remote;
mod scan;
