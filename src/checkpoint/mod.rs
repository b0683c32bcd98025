//! Reading checkpoints: any format becomes a list of files and of tensors, each a byte range.
//!
//! Nothing here reads tensor data. Whatever is wrong with a model is a [`Problem`] beside the parts
//! that could be read, so that a verifier can go on and a producer can refuse.

pub(crate) mod cache;
mod class;
pub mod content;
mod contents;
pub(crate) mod directory;
mod display;
mod error;
mod file;
mod formats;
pub mod gguf;
mod identity;
pub(crate) mod json;
mod lfs;
mod links;
pub(crate) mod listing;
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
pub use display::display_name;
pub(crate) use display::{is_hidden, quoted, quoted_list};
pub use error::OpenError;
pub(crate) use file::{Opened, fill, open};
pub use identity::FileIdentity;
pub use json::{JsonError, Place};
pub use links::{DirectoryLink, LinkTarget};
pub use location::Location;
pub use model::Checkpoint;
pub(crate) use model::read_whole;
pub(crate) use model_file::read_range;
pub use model_file::{FileKind, ModelFile};
pub use options::OpenOptions;
pub(crate) use problem::{Gathered, Named};
pub use problem::{LeftOut, NotCovered, Problem};
pub(crate) use reader::Texts;
pub use remote::{InOrder, RemoteError, RemoteFile};
pub use safetensors::HeaderError;
pub use tensor::{BigEndian, Checksum, Tensor};
