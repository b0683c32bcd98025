//! What can be wrong with arrays of NumPy.

use super::npy::NpyError;
use crate::problem::{ErrorLocation, StructureError};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::severity::Severity;

/// A fault of an `.npy` file, or of a member of an `.npz` archive (`tensor` is its name there).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NumpyError {
    #[error("{}{}", array(tensor), shown(error))]
    Array { tensor: Option<String>, error: NpyError, range: [u64; 2] },
    #[error("has two arrays that are both called {}", quoted(tensor))]
    SameName { tensor: String },
    #[error("member {} of its zip archive is no array", quoted(member))]
    NoArray { member: String, range: [u64; 2] },
}

fn array(tensor: &Option<String>) -> String {
    tensor.as_ref().map_or(String::new(), |tensor| format!("array {}: ", quoted(tensor)))
}

/// The message may hold the name of a type as the file has it.
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
                // Read here: never said.
                NpyError::Fortran => ("format/fortran-order", Info),
                NpyError::Dimensions => ("format/npy-too-many-dimensions", High),
                NpyError::Overflow => ("format/npy-size-overflow", High),
                NpyError::Length { .. } => ("format/npy-size-mismatch", High),
            },
            NumpyError::SameName { .. } => ("format/npz-same-name", Critical),
            NumpyError::NoArray { .. } => ("format/npz-no-array", Low),
        }
    }

    fn location(&self) -> ErrorLocation<'_> {
        let (tensor, bytes) = match self {
            NumpyError::Array { tensor, range, .. } => (tensor.as_deref(), Some(*range)),
            NumpyError::SameName { tensor } => (Some(tensor.as_str()), None),
            NumpyError::NoArray { range, .. } => (None, Some(*range)),
        };
        ErrorLocation { tensor, bytes, ..ErrorLocation::default() }
    }
}

/// What is legal and worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} arrays are in Fortran order (the first is {}): the first dimension varies fastest in the \
     file, which their strides say",
    quoted(first)
)]
pub(super) struct FortranOrder {
    /// How many.
    pub count: usize,
    /// The name of the first.
    pub first: String,
}

impl StructureError for FortranOrder {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/fortran-order", Severity::Info)
    }
}
