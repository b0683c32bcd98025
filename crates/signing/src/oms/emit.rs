//! Writes a manifest with only those members and values that every client reads.

use super::{Manifest, PREDICATE_TYPE, shards};
use crate::statement;
use serde::Serialize;
use tensorseal_base::hex::hex;

#[derive(Serialize)]
struct Predicate<'a> {
    serialization: Serialization<'a>,
    resources: Vec<WrittenResource<'a>>,
}

#[derive(Serialize)]
struct Serialization<'a> {
    method: &'static str,
    hash_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
    allow_symlinks: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ignore_paths: &'a [String],
}

#[derive(Serialize)]
struct WrittenResource<'a> {
    name: std::borrow::Cow<'a, str>,
    algorithm: &'a str,
    digest: String,
}

impl Manifest {
    /// Returns the JSON text of the statement with this manifest, on one line.
    pub fn to_statement_json(&self) -> Vec<u8> {
        let hash_type = self.hashing.algorithm.name();
        let shard_size = self.hashing.shard.map(|size| size.get());
        let algorithm = match shard_size {
            Some(size) => format!("{hash_type}-sharded-{size}"),
            None => hash_type.to_owned(),
        };
        let resources = self.resources.iter().map(|resource| WrittenResource {
            name: match resource.range {
                Some(range) => shards::write_name(&resource.name, range).into(),
                None => resource.name.as_str().into(),
            },
            algorithm: &algorithm,
            digest: hex(&resource.digest),
        });
        let predicate = Predicate {
            serialization: Serialization {
                method: if shard_size.is_some() { "shards" } else { "files" },
                hash_type,
                shard_size,
                allow_symlinks: self.allow_symlinks,
                ignore_paths: &self.ignore_paths,
            },
            resources: resources.collect(),
        };
        statement::write(&self.subject, &self.root, PREDICATE_TYPE, predicate)
    }
}
