use super::super::statement::StatementError;
use tensorseal_base::display::quoted;
use tensorseal_base::hex::hex;

/// An error in the manifest of a signed statement.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is not a statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The predicate is not a manifest.
    #[error("the signed statement is not a model manifest (OMS v1): its predicate type is {}", quoted(.0))]
    PredicateType(String),
    /// The manifest does not name the model.
    #[error("the signed manifest does not name the model")]
    NoSubjectName,
    /// The serialisation method is neither `files` nor `shards`.
    #[error("the signed manifest uses the unsupported method {}", quoted(.0))]
    Method(String),
    /// The hash function is not supported.
    #[error("the signed manifest uses the unsupported hash {}", quoted(.0))]
    HashType(String),
    /// The shard size is missing or is not a positive integer.
    #[error("the shard size in the signed manifest is not a positive integer")]
    ShardSize,
    /// The manifest is empty.
    #[error("the signed manifest lists no files")]
    NoResources,
    /// A resource is hashed with another function than the manifest states.
    #[error(
        "the signed manifest hashes {} with {}, not with {expected}",
        quoted(name),
        quoted(algorithm)
    )]
    Algorithm {
        /// The name of the resource.
        name: String,
        /// The algorithm of the resource.
        algorithm: String,
        /// The algorithm of the manifest.
        expected: String,
    },
    /// A digest is not hexadecimal.
    #[error("the digest of {} in the signed manifest is not hexadecimal", quoted(.0))]
    Digest(String),
    /// A digest has the wrong length.
    #[error(
        "the digest of {} in the signed manifest has {found} bytes, not {expected}",
        quoted(name)
    )]
    DigestLength {
        /// The name of the resource.
        name: String,
        /// The length of the digest in bytes.
        found: usize,
        /// The length in bytes that the hash function gives.
        expected: usize,
    },
    /// A name is not a valid path inside the model.
    #[error("the signed manifest lists {}, which {reason}", quoted(name))]
    Name {
        /// The name of the resource.
        name: String,
        /// The reason why the name is not valid.
        reason: NameError,
    },
    /// A name occurs twice.
    #[error("the signed manifest lists {} twice", quoted(.0))]
    Duplicate(String),
    /// A resource is not a shard in a manifest of shards, or the reverse.
    #[error("the signed manifest lists shards, but {} is not named path:start:end", quoted(.0))]
    ShardName(String),
    /// The shards of a file have gaps or overlap.
    #[error(
        "the shards of {} in the signed manifest are not contiguous: the next shard should start at byte {expected}, not {found}",
        quoted(name)
    )]
    ShardGap {
        /// The path of the file.
        name: String,
        /// The byte offset at which the next shard should start.
        expected: u64,
        /// The byte offset at which it starts.
        found: u64,
    },
    /// A shard has the wrong length.
    #[error("a shard of {} in the signed manifest has {found} bytes, not {size}", quoted(name))]
    ShardLength {
        /// The path of the file.
        name: String,
        /// The length of the shard in bytes.
        found: u64,
        /// The length of a whole shard in bytes.
        size: u64,
    },
    /// A listed file is below an ignored path.
    #[error("the signed manifest lists {}, although it ignores {}", quoted(name), quoted(by))]
    ListedAndIgnored {
        /// The path of the file.
        name: String,
        /// The ignored path.
        by: String,
    },
    /// The digest of the subject does not match the resources.
    #[error(
        "the signed manifest contradicts itself: its root is {}, but its files have the root {}",
        hex(signed),
        hex(computed)
    )]
    Root {
        /// The digest of the subject.
        signed: [u8; 32],
        /// The root that is computed from the resources.
        computed: [u8; 32],
    },
}

/// The reason why a name is not a valid path inside a model.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("is empty")]
    Empty,
    /// The path is absolute.
    #[error("is absolute")]
    Absolute,
    /// A component is `..`, which could lead out of the model.
    #[error("has a '..' component")]
    Parent,
    /// A component is `.`.
    #[error("has a '.' component")]
    Current,
    /// A component is empty: there are two slashes, or one at the end.
    #[error("has an empty component")]
    EmptyComponent,
    /// The name contains a NUL byte.
    #[error("contains a NUL byte")]
    Nul,
}
