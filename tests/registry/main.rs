//! Registries: what scans remember and say of changes, and models that are read from buckets and servers, also
//! those that misbehave.

#[path = "../common"]
mod common {
    mod models;
    pub mod oms;
    mod program;
    pub mod random;
    mod schema;
    pub mod server;
    mod shards;
    mod small_tensors;
    mod sources;
    pub mod store;

    pub use models::*;
    pub use program::*;
    pub use schema::*;
    pub use shards::*;
    pub use small_tensors::*;
    pub use sources::*;
}

mod bucket;
mod mlflow;
mod oci;
mod remote;
mod scan;
