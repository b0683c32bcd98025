//! The manifest of a model, as OpenSSF Model Signing (OMS) v1.0 signs it: names of files, relative to
//! the model, and their digests; for large files also of shards.

mod emit;
mod error;
mod ignored;
mod names;
mod parse;
mod shards;

pub use error::{ManifestError, NameError};
pub use ignored::IgnoredPaths;

use sha2::{Digest, Sha256};
use std::collections::HashSet;
use tensorseal_base::hashing::FileHashing;

/// Type of the predicate that is written. Those of other minor versions of v1 are read too.
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// What precedes the minor version.
const PREDICATE_TYPE_V1: &str = "https://model_signing/signature/v1.";

/// Type of the predicate of `model_signing` 0.2, which lists the files as subjects. It is read, and
/// never written.
pub const LEGACY_PREDICATE_TYPE: &str = "https://model_signing/Digests/v0.1";

/// Python's name for a model that is one file, relative to itself.
const ITSELF: &str = ".";

/// The manifest of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the model: of its directory, or of its file. Empty in manifests of
    /// [`LEGACY_PREDICATE_TYPE`].
    pub subject: String,
    /// The root: SHA-256 over the digests of the resources in their order, whatever hash function these
    /// are of.
    pub root: [u8; 32],
    /// How the files were hashed.
    pub hashing: FileHashing,
    /// Whether symbolic links were followed.
    pub allow_symlinks: bool,
    /// Paths relative to the model that were left out, as they were written; a directory stands for all
    /// below it. See [`Self::ignored_paths`].
    pub ignore_paths: Vec<String>,
    /// Type of the predicate.
    pub predicate_type: String,
    /// Files, or shards of files; at least one. All names are relative, without empty, `.` and `..`
    /// components, but for [`Self::is_one_file`].
    pub resources: Vec<Resource>,
    /// Members of the predicate that OMS v1.0 does not define; they are not looked at.
    pub unknown_members: Vec<String>,
}

/// A file or a shard of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Path of the file, relative to the model, with `/` between components.
    pub name: String,
    /// The bytes of the file that the digest is of, half-open; `None`: all.
    pub range: Option<[u64; 2]>,
    /// Its digest, as long as the hash function makes it.
    pub digest: Vec<u8>,
}

impl Manifest {
    /// The manifest of a model called `subject`, of these files or shards in any order: they are put in
    /// the order of the code points of their names.
    ///
    /// # Errors
    /// When [`Self::parse`] would refuse it.
    pub fn new(
        subject: &str,
        hashing: FileHashing,
        allow_symlinks: bool,
        ignore_paths: Vec<String>,
        mut resources: Vec<Resource>,
    ) -> Result<Self, ManifestError> {
        if subject.is_empty() {
            return Err(ManifestError::NoSubjectName);
        }
        resources.sort_by(|a, b| (&a.name, a.range).cmp(&(&b.name, b.range)));
        let manifest = Self {
            subject: subject.to_owned(),
            root: root(&resources),
            hashing,
            allow_symlinks,
            ignore_paths,
            predicate_type: PREDICATE_TYPE.to_owned(),
            resources,
            unknown_members: Vec::new(),
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether the model is one file that is not told by its name: the only name is then `.`, and it
    /// stands for whatever the file is called.
    pub fn is_one_file(&self) -> bool {
        self.resources.iter().all(|resource| resource.name == ITSELF)
    }

    /// [`Self::ignore_paths`], to ask which one leaves out a file.
    pub fn ignored_paths(&self) -> IgnoredPaths<'_> {
        IgnoredPaths::new(&self.ignore_paths)
    }

    /// What is true of every manifest, however it came about.
    fn check(&self) -> Result<(), ManifestError> {
        if self.resources.is_empty() {
            return Err(ManifestError::NoResources);
        }
        let mut seen = HashSet::with_capacity(self.resources.len());
        let length = self.hashing.algorithm.digest_len();
        let (one_file, ignored) = (self.is_one_file(), self.ignored_paths());
        for resource in &self.resources {
            let name = || resource.name.clone();
            if !one_file {
                names::check(&resource.name)
                    .map_err(|reason| ManifestError::Name { name: name(), reason })?;
            }
            if resource.range.is_some() != self.hashing.shard.is_some() {
                return Err(ManifestError::ShardName(name()));
            }
            if resource.digest.len() != length {
                let found = resource.digest.len();
                return Err(ManifestError::DigestLength { name: name(), found, expected: length });
            }
            if !seen.insert((&resource.name, resource.range)) {
                return Err(ManifestError::Duplicate(name()));
            }
            if let Some(by) = ignored.covering(&resource.name) {
                return Err(ManifestError::ListedAndIgnored { name: name(), by: by.to_owned() });
            }
        }
        match self.hashing.shard {
            Some(size) => shards::check(&self.resources, size.get()),
            None => Ok(()),
        }
    }
}

/// SHA-256 over the digests, one after the other.
fn root(resources: &[Resource]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(&resource.digest);
    }
    hasher.finalize().into()
}
