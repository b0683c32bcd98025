//! Reading checkpoints: any format becomes a list of files and of tensors, each a byte range.
//!
//! Nothing here reads tensor data. Whatever is wrong with a model is a [`Problem`] beside the parts
//! that could be read, so that a verifier can go on and a producer can refuse.

pub mod cache;
pub mod canonical;
mod class;
pub mod content;
mod contents;
pub mod directory;
mod error;
mod file;
mod formats;
pub mod gguf;
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
mod options;
pub mod order;
mod paths;
#[doc(hidden)]
pub mod pickle;
mod problem;
mod reader;
mod remote;
pub mod safetensors;
mod settled;
pub mod shard_index;
mod shard_name;
mod shards;
mod start;
mod tensor;
mod torch;
#[doc(hidden)]
pub mod zip;

pub use cache::Snapshots;
pub use class::{Content, ContentClass, Format, Role};
pub use contents::{Architecture, StoredTensor};
pub use directory::GIT_NAMES;
pub use error::OpenError;
pub use file::{Opened, fill, open};
pub use identity::FileIdentity;
pub use links::{DirectoryLink, LinkTarget};
pub use location::Location;
pub use model::Checkpoint;
pub use model::read_whole;
pub use model_file::read_range;
pub use model_file::{FileKind, ModelFile};
pub use options::OpenOptions;
pub use problem::{Gathered, Named};
pub use problem::{LeftOut, NotCovered, Problem};
pub use reader::Texts;
pub use remote::{InOrder, RemoteError, RemoteFile};
pub use safetensors::HeaderError;
pub use tensor::{BigEndian, Checksum, Tensor};
pub use tensorseal_base::display::display_name;
pub use tensorseal_base::json::{JsonError, Place};
