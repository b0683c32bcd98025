//! What can be wrong with a file that `torch.save` is said to have written.

use crate::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use std::borrow::Cow;
use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::severity::Severity;

/// How to make a file that can be read out of one that cannot.
const CONVERT: &str =
    "load it where it is trusted and save it anew with torch.save, or as safetensors";

/// Most of the file that tensors which share bytes may add up to.
pub(super) const MAX_SHARED: u64 = 8;
/// Most of the file that elements which are at several places of their tensors may add up to.
pub(super) const MAX_REPEATED: u64 = 64;

faults! {
    /// A fault of a file of PyTorch. Ranges are bytes of the file, half-open.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub(super) enum TorchError {
        #[error("is a zip archive without a 'data.pkl': not one that torch.save wrote")]
        NoPickle => ("format/torch-no-pickle", High),
        #[error(
            "is a TorchScript archive: torch.jit.load runs the code in it, so that it is no file of \
             weights; {CONVERT} (the state_dict of the module)"
        )]
        TorchScript => ("format/torchscript", High),
        #[error("has a second pickle of tensors, member {}", quoted(member))]
        SecondPickle { member: String } => ("format/torch-second-pickle", High),
        #[error("states the byte order {}; 'little' and 'big' are known", quoted(found))]
        ByteOrder { found: String } => ("format/torch-byte-order", High),
        #[error("storage {} is not there, which holds {} of its tensors ({})", quoted(storage),
            tensors.len(), quoted_list(tensors.iter().map(String::as_str)))]
        StorageMissing { storage: String, tensors: Vec<String> }
            => ("format/torch-storage-missing", High),
        #[error("storage {} has {has} bytes, but {stated} are stated", quoted(storage))]
        StorageSize { storage: String, stated: u64, has: u64, range: [u64; 2], tensors: Vec<String> }
            => ("format/torch-storage-size", High),
        #[error("storage {} is described in two ways that contradict each other", quoted(storage))]
        StorageConflict { storage: String, tensors: Vec<String> }
            => ("format/torch-storage-conflict", High),
        #[error("storage {} has a size that no file has", quoted(storage))]
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
            "tensor {}: its elements are of the type {}, which is not read: a seal covers its bytes, its \
             values are not judged",
            quoted(tensor),
            quoted(what)
        )]
        Dtype { tensor: String, what: String } => ("format/torch-dtype", Low),
        #[error(
            "tensor {}: is {kind}, which is not read: a seal covers its bytes, its values are not judged",
            quoted(tensor)
        )]
        Kind { tensor: String, kind: Cow<'static, str> } => ("format/torch-tensor-kind", Low),
        #[error(
            "lists tensors that add up to many times the file, as they share bytes or repeat elements \
             ({} of them are left out)",
            tensors.len()
        )]
        SharedBytes { tensors: Vec<String> } => ("format/torch-shared-bytes", High),
        #[error("its content is nested too deeply, or too much of it is used again and again")]
        TooDeep => ("format/torch-too-deep", High),
        #[error("member {} of its zip archive belongs to no tensor", quoted(member))]
        Unreferenced { member: String, range: [u64; 2] } => ("format/torch-unreferenced", Low),
        #[error("member {} of its zip archive is none that torch.save writes", quoted(member))]
        UnknownMember { member: String, range: [u64; 2] } => ("format/torch-unknown-member", Low),
        #[error("is of the form before PyTorch 1.6, and broken: {what}")]
        Legacy { what: &'static str } => ("format/torch-legacy", High),
        #[error("bytes {} to {} of the file follow the last storage", range[0], range[1])]
        Trailing { range: [u64; 2] } => ("format/torch-trailing-bytes", High),
        #[error("is a tar archive, the form of PyTorch before 0.1.10, which is not read; {CONVERT}")]
        Tar => ("format/torch-tar", High),
    }
}

/// Whether there are tensors of types or kinds that are not read: the rest of the file is, to its end.
pub(super) fn has_unread(errors: &BoundedErrors<TorchError>) -> bool {
    errors.iter().any(|error| matches!(error, TorchError::Dtype { .. } | TorchError::Kind { .. }))
}

/// What is legal and worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TorchRemark {
    #[error(
        "{count} tensors are views with strides (the first is {}): their elements do not lie in the \
         order of their dimensions",
        quoted(first)
    )]
    Strided { count: usize, first: String },
    #[error("is a pickle of its own: it is examined for what it asks for, its content is not read")]
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
