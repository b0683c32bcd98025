//! The errors and remarks of PyTorch files.

use crate::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use std::borrow::Cow;
use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::severity::Severity;

/// How to convert an unsupported file to a supported one.
const CONVERT: &str =
    "load it in an environment that trusts it, and save it again with torch.save or as safetensors";

/// The largest total size of tensors that share bytes, as a multiple of the size of the file.
pub(super) const MAX_SHARED: u64 = 8;
/// The largest total size of repeated elements, as a multiple of the size of the file.
pub(super) const MAX_REPEATED: u64 = 64;

faults! {
    /// An error in a PyTorch file. Ranges are bytes of the file, half-open.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub(super) enum TorchError {
        #[error("is a zip archive without 'data.pkl', so it was not written by torch.save")]
        NoPickle => ("format/torch-no-pickle", High),
        #[error(
            "is a TorchScript archive, whose code torch.jit.load runs; it is not a weights file; \
             {CONVERT} (the state_dict of the module)"
        )]
        TorchScript => ("format/torchscript", High),
        #[error("has a second pickle of tensors, member {}", quoted(member))]
        SecondPickle { member: String } => ("format/torch-second-pickle", High),
        #[error("states the byte order {}; expected 'little' or 'big'", quoted(found))]
        ByteOrder { found: String } => ("format/torch-byte-order", High),
        #[error("storage {} is missing, which holds {} of its tensors ({})", quoted(storage),
            tensors.len(), quoted_list(tensors.iter().map(String::as_str)))]
        StorageMissing { storage: String, tensors: Vec<String> }
            => ("format/torch-storage-missing", High),
        #[error("storage {} has {has} bytes, but the pickle states {stated}", quoted(storage))]
        StorageSize { storage: String, stated: u64, has: u64, range: [u64; 2], tensors: Vec<String> }
            => ("format/torch-storage-size", High),
        #[error("storage {} has two contradictory descriptions", quoted(storage))]
        StorageConflict { storage: String, tensors: Vec<String> }
            => ("format/torch-storage-conflict", High),
        #[error("storage {} states a size that overflows", quoted(storage))]
        StorageOverflow { storage: String, tensors: Vec<String> }
            => ("format/torch-storage-overflow", High),
        #[error("tensor {}: {what}", quoted(tensor))]
        BadView { tensor: String, what: &'static str } => ("format/torch-bad-view", High),
        #[error(
            "tensor {}: needs {needed} bytes of storage {}, which has only {has}",
            quoted(tensor),
            quoted(storage)
        )]
        ViewPastEnd { tensor: String, storage: String, needed: u64, has: u64 }
            => ("format/torch-view-past-end", High),
        #[error(
            "tensor {}: the element type {} is unsupported: a seal covers the bytes, but the values are \
             not judged",
            quoted(tensor),
            quoted(what)
        )]
        Dtype { tensor: String, what: String } => ("format/torch-dtype", Low),
        #[error(
            "tensor {}: is {kind}, which is unsupported: a seal covers the bytes, but the values are not judged",
            quoted(tensor)
        )]
        Kind { tensor: String, kind: Cow<'static, str> } => ("format/torch-tensor-kind", Low),
        #[error(
            "lists tensors that share bytes or repeat elements and together are many times larger than the file \
             ({} of them were skipped)",
            tensors.len()
        )]
        SharedBytes { tensors: Vec<String> } => ("format/torch-shared-bytes", High),
        #[error("its content is nested too deeply, or reuses its parts too often")]
        TooDeep => ("format/torch-too-deep", High),
        #[error("member {} of its zip archive belongs to no tensor", quoted(member))]
        Unreferenced { member: String, range: [u64; 2] } => ("format/torch-unreferenced", Low),
        #[error("member {} of its zip archive is not one that torch.save writes", quoted(member))]
        UnknownMember { member: String, range: [u64; 2] } => ("format/torch-unknown-member", Low),
        #[error("is in the format before PyTorch 1.6, and damaged: {what}")]
        Legacy { what: &'static str } => ("format/torch-legacy", High),
        #[error("bytes {} to {} of the file follow the last storage", range[0], range[1])]
        Trailing { range: [u64; 2] } => ("format/torch-trailing-bytes", High),
        #[error("is a tar archive, the format before PyTorch 0.1.10, which is unsupported; {CONVERT}")]
        Tar => ("format/torch-tar", High),
    }
}

/// Whether there are tensors of unsupported types or kinds. The rest of the file was still parsed completely.
pub(super) fn has_unread(errors: &BoundedErrors<TorchError>) -> bool {
    errors.iter().any(|error| matches!(error, TorchError::Dtype { .. } | TorchError::Kind { .. }))
}

/// A remark about a PyTorch file: legal, but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TorchRemark {
    #[error(
        "{count} tensors are strided views (the first is {}): their elements are not stored in the \
         order of their dimensions",
        quoted(first)
    )]
    Strided { count: usize, first: String },
    #[error("is a plain pickle: its imports and calls are checked, but its content is not read")]
    PlainPickle,
}

impl StructureError for TorchRemark {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            TorchRemark::Strided { .. } => ("format/strided-view", Severity::Info),
            TorchRemark::PlainPickle => ("format/plain-pickle", Severity::Info),
        }
    }
}
