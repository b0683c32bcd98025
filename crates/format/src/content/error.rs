//! The errors and remarks about the content of files.

use super::super::class::Format;
use super::super::paths::extension;
use super::super::problem::StructureError;
use super::{ContentClass, FileContent, FileRole};
use tensorseal_base::severity::Severity;

/// The extensions of weights files besides those of supported formats.
const WEIGHTS: &[&str] = &[
    "ggml", "pt", "pth", "pt2", "bin", "ckpt", "onnx", "ort", "h5", "hdf5", "keras", "tflite",
    "msgpack", "pb", "pte", "mlmodel",
];

/// Whether a file has an extension of weights files.
pub(crate) fn is_weights_name(path: &str) -> bool {
    let extension = extension(path);
    WEIGHTS.contains(&extension.as_str()) || Format::from_extension(&extension).is_some()
}

/// An error about the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("is {} and {} at the same time; it depends on the reader which one is loaded", first.description(), also.description())]
    Ambiguous { first: ContentClass, also: ContentClass },
    #[error("has the name of a weights file, but is {}{}", class.description(), hint(*class))]
    Misnamed { class: ContentClass },
    #[error(
        "is a git-lfs pointer, not a model{}: run 'git lfs pull' to fetch the file itself{}",
        size.map(|bytes| format!(" (the file has {bytes} bytes)")).unwrap_or_default(),
        if *elsewhere { "; the weights are available in another file" } else { "" }
    )]
    Pointer { size: Option<u64>, elsewhere: bool },
}

/// The likely reason for unexpected content.
fn hint(class: ContentClass) -> &'static str {
    match class {
        ContentClass::Html | ContentClass::Json => {
            ": probably the response of a server instead of the file"
        }
        ContentClass::LinkText => ": the target of the link was not fetched",
        ContentClass::Zeros => ": probably space that was reserved but never written",
        ContentClass::Empty => ": probably an interrupted download",
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

/// A remark about the content of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentRemark {
    #[error(
        "is {what}, which is unsupported: a seal covers the bytes, but the weights are not judged"
    )]
    NotRead { what: String },
    #[error("is {what}, which holds no weights")]
    NoWeights { what: &'static str },
    #[error("is {what}, which is executable{}", if *weights { " and contains weights" } else { "" })]
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

/// Whether the content cannot be a weights file. Plain text does not count, because weights can be stored as text. An
/// archive counts if it holds no weights.
pub(crate) fn is_non_weights(content: FileContent) -> bool {
    use ContentClass::*;
    match content.class {
        Empty | Html | Json | LinkText | Zeros | SevenZip | Image | Audio | Video | Pdf | Font
        | Document | Events | SentencePiece => true,
        Zip | Tar | Compressed => content.role != FileRole::Weights,
        class => class.role() == FileRole::Executable,
    }
}
