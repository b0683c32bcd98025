//! What the name of a file promises, and what it is to find something else there.

use super::super::class::Format;
use super::super::paths::extension;
use super::super::problem::StructureError;
use super::{ContentClass, FileContent, FileRole};
use tensorseal_base::severity::Severity;

/// Endings of files of weights besides those that promise a format that is read.
const WEIGHTS: &[&str] = &[
    "ggml", "pt", "pth", "pt2", "bin", "ckpt", "onnx", "ort", "h5", "hdf5", "keras", "tflite",
    "msgpack", "pb", "pte", "mlmodel",
];

/// Whether a name promises weights.
pub(crate) fn is_weights_name(path: &str) -> bool {
    let ending = extension(path);
    WEIGHTS.contains(&ending.as_str()) || Format::from_extension(&ending).is_some()
}

/// What is wrong with a file by what its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("is {} and {} at once: which of the two is loaded depends on the reader", first.description(), also.description())]
    Ambiguous { first: ContentClass, also: ContentClass },
    #[error("its name is that of weights, and it is {}{}", class.description(), why(*class))]
    Misnamed { class: ContentClass },
    #[error(
        "is a git-lfs pointer, not a model{}: run 'git lfs pull' to fetch the file itself{}",
        size.map(|bytes| format!(" (the file has {bytes} bytes)")).unwrap_or_default(),
        if *elsewhere { "; the weights are there in another file" } else { "" }
    )]
    Pointer { size: Option<u64>, elsewhere: bool },
}

/// What may have happened.
fn why(class: ContentClass) -> &'static str {
    match class {
        ContentClass::Html | ContentClass::Json => ": the answer of a server in place of the file",
        ContentClass::LinkText => ": the file that it leads to was not fetched",
        ContentClass::Zeros => ": space was reserved, and nothing was written",
        ContentClass::Empty => ": a download that was broken off, or a place that was never filled",
        ContentClass::Zip | ContentClass::Tar | ContentClass::Compressed => " without weights",
        _ => "",
    }
}

impl StructureError for ContentError {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            ContentError::Ambiguous { .. } => ("format/ambiguous-content", Severity::High),
            ContentError::Misnamed { .. } => ("format/misnamed-content", Severity::High),
            ContentError::Pointer { elsewhere: false, .. } => {
                ("format/git-lfs-pointer", Severity::High)
            }
            ContentError::Pointer { elsewhere: true, .. } => {
                let rule = "format/git-lfs-pointer";
                (rule, Severity::Low)
            }
        }
    }
}

/// What is worth knowing of a file by what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentRemark {
    #[error("is {what}, which is not read: its bytes are digested, its weights are not judged")]
    NotRead { what: String },
    #[error("is {what}: it holds no weights")]
    NoWeights { what: &'static str },
    #[error("is {what}: a machine can run it{}", if *weights { ", and weights are in it" } else { "" })]
    Executable { what: &'static str, weights: bool },
}

impl StructureError for ContentRemark {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            ContentRemark::NotRead { .. } | ContentRemark::NoWeights { .. } => {
                ("format/not-read", Severity::Info)
            }
            ContentRemark::Executable { .. } => ("content/executable", Severity::Low),
        }
    }
}

/// Whether content is recognised as something that no file of weights is. Text alone is not: there are
/// weights written as text. An archive counts if nothing of weights is in it.
pub(crate) fn is_non_weights(content: FileContent) -> bool {
    use ContentClass::*;
    match content.class {
        Empty | Html | Json | LinkText | Zeros | SevenZip | Image | Audio | Video | Pdf | Font
        | Document | Events | SentencePiece => true,
        Zip | Tar | Compressed => content.role != FileRole::Weights,
        class => class.role() == FileRole::Executable,
    }
}
