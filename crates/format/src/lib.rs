//! Opens checkpoints: a model in any container format becomes a list of files and a list of tensors, each of
//! which is a byte range of a file.
//!
//! Nothing here reads tensor data. Everything that is wrong with the structure of a model is reported as a
//! [`Problem`] next to the parts that could be read, so that a verifier can continue and a producer can refuse.

pub mod canonical;
mod class;
pub mod content;
pub mod directory;
mod error;
mod file;
mod formats;
pub mod gguf;
pub mod hub_cache;
mod identity;
mod lfs;
mod links;
pub mod listing;
mod location;
mod model;
mod model_file;
mod naming;
pub mod numpy;
mod open;
mod open_record;
mod options;
mod parsed_file;
mod paths;
#[doc(hidden)]
pub mod pickle;
mod problem;
mod reader;
mod remote;
pub mod safetensors;
pub mod shard_index;
mod shard_name;
mod shards;
pub mod strides;
mod tensor;
mod torch;
mod unchanged;
#[doc(hidden)]
pub mod zip;

pub use class::{ContentClass, FileContent, FileRole, Format};
pub use directory::GIT_NAMES;
pub use error::OpenError;
pub use file::{OpenedFile, fill, open};
pub use hub_cache::CacheSnapshots;
pub use identity::FileIdentity;
pub use links::{DirectoryLink, LinkTarget};
pub use location::Location;
pub use model::Checkpoint;
pub use model::read_whole;
pub use model_file::read_range;
pub use model_file::{FileKind, ModelFile};
pub use options::OpenOptions;
pub use parsed_file::{ArchitectureMetadata, StoredTensor};
pub use problem::{BoundedErrors, StructureError};
pub use problem::{Problem, SkipReason, SkippedPath};
pub use reader::ReadMetadataTexts;
pub use remote::{RemoteError, RemoteFile, SequentialReader};
pub use safetensors::HeaderError;
pub use tensor::{BigEndianRange, ChecksummedRange, Tensor};
pub use tensorseal_base::display::display_name;
pub use tensorseal_base::json::{JsonError, TextPosition};
