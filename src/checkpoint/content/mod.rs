//! What every file of a model is, by its bytes: its class, and what part that class plays.
//!
//! Endings are other people's promises. A file is what its bytes say, whatever it is called, and what
//! nothing here knows is *not understood*: counted, listed, and for a policy to judge.

mod class;

pub use class::{ContentClass, Role};

use super::Format;

/// What a file was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// What its bytes are.
    pub class: ContentClass,
    /// What else they are, of a file that two kinds of readers take for theirs.
    pub also: Option<ContentClass>,
    /// What part it plays in the model. That of its class, unless what lies beside it says otherwise.
    pub role: Role,
}

impl Content {
    /// Of a file that is this and nothing else.
    pub fn new(class: ContentClass) -> Content {
        Content { class, also: None, role: class.role() }
    }
}

impl Default for Content {
    fn default() -> Self {
        Content::new(ContentClass::Unknown)
    }
}

impl From<Option<Format>> for Content {
    fn from(format: Option<Format>) -> Self {
        Content::new(match format {
            Some(Format::Safetensors) => ContentClass::Safetensors,
            Some(Format::Gguf) => ContentClass::Gguf,
            Some(Format::Torch) => ContentClass::TorchZip,
            Some(Format::Numpy) => ContentClass::Npy,
            None => ContentClass::Unknown,
        })
    }
}
