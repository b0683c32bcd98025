use super::super::statement::StatementError;
use tensorseal_base::display::quoted;
use tensorseal_base::hex::hex;

/// Why a signed statement is no manifest of a model that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not even a statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A statement about something else.
    #[error("the signed statement is not a manifest of a model (OMS v1): its predicate is of type {}", quoted(.0))]
    PredicateType(String),
    /// The model has no name.
    #[error("the signed manifest does not name the model")]
    NoSubjectName,
    /// Another way to cut files than whole or in shards.
    #[error("the signed manifest uses the unknown method {}", quoted(.0))]
    Method(String),
    /// A hash function that is not known.
    #[error("the signed manifest uses the unknown hash {}", quoted(.0))]
    HashType(String),
    /// A size of shards that is missing or not a positive whole number.
    #[error("the signed manifest is in shards, and their size is not a positive whole number")]
    ShardSize,
    /// It lists nothing.
    #[error("the signed manifest lists no files")]
    NoResources,
    /// A resource of another hash than the manifest.
    #[error(
        "the signed manifest says {} is hashed with {}, not with {expected}",
        quoted(name),
        quoted(algorithm)
    )]
    Algorithm {
        /// The resource.
        name: String,
        /// Its algorithm.
        algorithm: String,
        /// That of the manifest.
        expected: String,
    },
    /// A digest that is not hexadecimal.
    #[error("the digest of {} in the signed manifest is not hexadecimal", quoted(.0))]
    Digest(String),
    /// A digest that is too short or too long.
    #[error(
        "the digest of {} in the signed manifest has {found} bytes, not {expected}",
        quoted(name)
    )]
    DigestLength {
        /// The resource.
        name: String,
        /// Its bytes.
        found: usize,
        /// Those of the hash function.
        expected: usize,
    },
    /// A name that is no path inside the model.
    #[error("the signed manifest lists {}, which {reason}", quoted(name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A name that occurs twice.
    #[error("the signed manifest lists {} twice", quoted(.0))]
    Duplicate(String),
    /// A resource of a manifest in shards that is no shard, or the reverse.
    #[error("the signed manifest is in shards, and {} is not named path:start:end", quoted(.0))]
    ShardName(String),
    /// Shards that leave something out, or overlap.
    #[error(
        "the shards of {} in the signed manifest do not follow each other: byte {expected} should come next, not {found}",
        quoted(name)
    )]
    ShardGap {
        /// The file.
        name: String,
        /// Where the next shard should start.
        expected: u64,
        /// Where it does.
        found: u64,
    },
    /// A shard that is shorter or longer than it should be.
    #[error(
        "a shard of {} in the signed manifest has {found} bytes, and shards have {size}",
        quoted(name)
    )]
    ShardLength {
        /// The file.
        name: String,
        /// Its bytes.
        found: u64,
        /// Those of a whole shard.
        size: u64,
    },
    /// A file that is listed and ignored at the same time.
    #[error("the signed manifest lists {} and ignores {}", quoted(name), quoted(by))]
    ListedAndIgnored {
        /// The file.
        name: String,
        /// The ignored path.
        by: String,
    },
    /// The digest of the subject is not that of the resources.
    #[error(
        "the signed manifest contradicts itself: its root is {}, and its files have {}",
        hex(signed),
        hex(computed)
    )]
    Root {
        /// What the subject says.
        signed: [u8; 32],
        /// What the resources have.
        computed: [u8; 32],
    },
}

/// Why a name is no path inside a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// It starts at the root of the file system.
    #[error("is absolute")]
    Absolute,
    /// It leaves the model, or could.
    #[error("has a component ..")]
    Parent,
    /// A `.` that stands for nothing.
    #[error("has a component .")]
    Current,
    /// Two slashes, or one at the end.
    #[error("has an empty component")]
    EmptyComponent,
    /// A byte that no path has.
    #[error("holds a NUL")]
    Nul,
}
