//! The errors and remarks of NumPy files.

use super::npy::NpyError;
use crate::problem::{ErrorLocation, StructureError};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::severity::Severity;

/// An error in an `.npy` file, or in a member of an `.npz` archive, whose name is `tensor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NumpyError {
    #[error("{}{}", array_prefix(tensor), shown(error))]
    Array { tensor: Option<String>, error: NpyError, range: [u64; 2] },
    #[error("has two arrays with the name {}", quoted(tensor))]
    SameName { tensor: String },
    #[error("member {} of the zip archive is not an array", quoted(member))]
    NotAnArray { member: String, range: [u64; 2] },
}

fn array_prefix(tensor: &Option<String>) -> String {
    tensor.as_ref().map_or(String::new(), |tensor| format!("array {}: ", quoted(tensor)))
}

/// Escapes the message, which may contain the name of a type in the file.
fn shown(error: &NpyError) -> String {
    display_name(&error.to_string())
}

impl StructureError for NumpyError {
    fn rule(&self) -> (&'static str, Severity) {
        use Severity::*;
        match self {
            NumpyError::Array { error, .. } => match error {
                NpyError::Magic => ("format/npy-magic", High),
                NpyError::Version(..) => ("format/npy-version", High),
                NpyError::Short => ("format/npy-short", High),
                NpyError::LongHeader(_) => ("format/npy-header-too-large", High),
                NpyError::Syntax { .. } => ("format/npy-header", High),
                NpyError::Records => ("format/npy-records", Medium),
                NpyError::Object => ("format/npy-object", High),
                NpyError::Dtype(_) => ("format/npy-dtype", Medium),
                // Fortran order is supported here, so this is never reported.
                NpyError::Fortran => ("format/fortran-order", Info),
                NpyError::Dimensions => ("format/npy-too-many-dimensions", High),
                NpyError::Overflow => ("format/npy-size-overflow", High),
                NpyError::Length { .. } => ("format/npy-size-mismatch", High),
            },
            NumpyError::SameName { .. } => ("format/npz-same-name", Critical),
            NumpyError::NotAnArray { .. } => ("format/npz-no-array", Low),
        }
    }

    fn location(&self) -> ErrorLocation<'_> {
        let (tensor, bytes) = match self {
            NumpyError::Array { tensor, range, .. } => (tensor.as_deref(), Some(*range)),
            NumpyError::SameName { tensor } => (Some(tensor.as_str()), None),
            NumpyError::NotAnArray { range, .. } => (None, Some(*range)),
        };
        ErrorLocation { tensor, bytes, ..ErrorLocation::default() }
    }
}

/// The remark that some arrays are in Fortran order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} arrays are in Fortran order (the first is {}): their first dimension varies fastest, as recorded in \
     their strides",
    quoted(first)
)]
pub(super) struct FortranOrder {
    /// The number of these arrays.
    pub count: usize,
    /// The name of the first one.
    pub first: String,
}

impl StructureError for FortranOrder {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/fortran-order", Severity::Info)
    }
}
