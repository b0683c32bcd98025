//! Opens the source with the name that a user gives.

use super::directory::DirectoryTree;
use super::huggingface::HuggingFaceCache;
use super::{ListedModel, OpenedModel, Source, SourceError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Opens the source called `name`: a directory (which may be or contain a Hugging Face cache), or a URI. A source that
/// does not exist or may not be read gives an error when it is listed. Archives are unpacked to temporary files in the
/// directory `spool`.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the name is not valid, or if this build does not support the kind of source.
#[cfg_attr(not(any(feature = "mlflow", feature = "oci")), expect(unused_variables))]
pub fn open(name: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    let invalid =
        |why: &str| SourceError::Invalid { source_name: name.to_owned(), reason: why.to_owned() };
    match name.split_once("://") {
        None => directory(name),
        Some(("file", path)) if path.starts_with('/') => directory(path),
        Some(("file", _)) => {
            Err(invalid("a file URI needs an absolute path, such as file:///models"))
        }
        #[cfg(feature = "s3")]
        Some(("s3" | "gs" | "az", _)) => super::bucket::open(name),
        #[cfg(not(feature = "s3"))]
        Some((scheme @ ("s3" | "gs" | "az"), _)) => Err(not_built_in(scheme, "s3")),
        #[cfg(feature = "oci")]
        Some(("oci" | "oci+http" | "oci+https", _)) => super::oci::open(name, spool),
        #[cfg(not(feature = "oci"))]
        Some((scheme @ ("oci" | "oci+http" | "oci+https"), _)) => Err(not_built_in(scheme, "oci")),
        #[cfg(feature = "mlflow")]
        Some(("mlflow" | "mlflow+http" | "mlflow+https", _)) => super::mlflow::open(name, spool),
        #[cfg(not(feature = "mlflow"))]
        Some((scheme @ ("mlflow" | "mlflow+http" | "mlflow+https"), _)) => {
            Err(not_built_in(scheme, "mlflow"))
        }
        Some((scheme, _)) => Err(invalid(&format!("unsupported source type {scheme}://"))),
    }
}

/// Returns the error for a kind of source that this build lacks. The rest of the name may contain a password, so the
/// message does not repeat it.
#[cfg(not(all(feature = "mlflow", feature = "oci", feature = "s3")))]
fn not_built_in(scheme: &str, feature: &str) -> SourceError {
    SourceError::Invalid {
        source_name: format!("{scheme}://…"),
        reason: format!(
            "this build of tensorseal does not support {scheme}:// sources: build it with the feature {feature}"
        ),
    }
}

fn directory(name: &str) -> Result<Box<dyn Source>, SourceError> {
    let path = Path::new(name);
    match open_directory(path) {
        Err(SourceError::Open(_)) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            Ok(Box::new(UnavailableDirectory { name: path.to_string_lossy().into_owned(), path }))
        }
        other => other,
    }
}

/// Opens a directory that exists.
fn open_directory(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(match HuggingFaceCache::is_at(path) {
        true => Box::new(HuggingFaceCache::new(path)?),
        false => Box::new(DirectoryTree::new(path)?),
    })
}

/// A directory that does not exist or may not be read. Listing it tries again to open it.
struct UnavailableDirectory {
    name: String,
    path: PathBuf,
}

impl Source for UnavailableDirectory {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        open_directory(&self.path)?.list(each)
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        open_directory(&self.path)?.open(listed)
    }

    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        open_directory(&self.path)?.ensure_unchanged(listed)
    }
}
