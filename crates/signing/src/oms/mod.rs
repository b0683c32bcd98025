//! The manifest of a model as OpenSSF Model Signing (OMS) v1.0 signs it: the paths of the files relative to the model,
//! and the digests of the files or of their shards.

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

/// The predicate type that is written. Other minor versions of v1 are read too.
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// The predicate type of v1 without its minor version.
const PREDICATE_TYPE_V1: &str = "https://model_signing/signature/v1.";

/// The predicate type of `model_signing` 0.2, which lists the files as subjects. It is read, but never written.
pub const LEGACY_PREDICATE_TYPE: &str = "https://model_signing/Digests/v0.1";

/// The name of a model that is one file: Python's path of a file relative to itself.
const ONE_FILE: &str = ".";

/// The manifest of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the model: that of its directory or file. It is empty in manifests of the type
    /// [`LEGACY_PREDICATE_TYPE`].
    pub subject: String,
    /// The root: the SHA-256 over the digests of the resources in order, whatever hash function these have.
    pub root: [u8; 32],
    /// How the files were hashed.
    pub hashing: FileHashing,
    /// Whether symbolic links were followed.
    pub allow_symlinks: bool,
    /// The ignored paths relative to the model, as written. An ignored directory covers everything below it; see
    /// [`Self::ignored_paths`].
    pub ignore_paths: Vec<String>,
    /// The type of the predicate.
    pub predicate_type: String,
    /// The files or shards of files, at least one. All names are relative paths without empty, `.` and `..` components,
    /// except for [`Self::is_one_file`].
    pub resources: Vec<Resource>,
    /// The members of the predicate that OMS v1.0 does not define. They are ignored.
    pub unknown_members: Vec<String>,
}

/// A file, or a shard of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The path of the file relative to the model, with components separated by `/`.
    pub name: String,
    /// The byte range of the shard as `[start, end]`, end exclusive; `None` for a whole file.
    pub range: Option<[u64; 2]>,
    /// The digest, in the length that the hash function gives.
    pub digest: Vec<u8>,
}

impl Manifest {
    /// Creates the manifest of a model called `subject`. The files or shards may be in any order; they are sorted by
    /// the code points of their names.
    ///
    /// # Errors
    /// Returns a [`ManifestError`] if [`Self::parse`] would refuse the manifest: it has no name or no files, or one of
    /// its resources is not valid.
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

    /// Returns whether the model is one file without a name: its only resource is called `.`, which stands for the file
    /// whatever its name is.
    pub fn is_one_file(&self) -> bool {
        self.resources.iter().all(|resource| resource.name == ONE_FILE)
    }

    /// Returns an index of [`Self::ignore_paths`] for lookups.
    pub fn ignored_paths(&self) -> IgnoredPaths<'_> {
        IgnoredPaths::new(&self.ignore_paths)
    }

    /// Checks the rules that every manifest must follow, parsed or created.
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

/// Returns the SHA-256 over the concatenated digests.
fn root(resources: &[Resource]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(&resource.digest);
    }
    hasher.finalize().into()
}
