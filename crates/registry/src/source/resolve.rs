//! From what a user names to a source.

use super::directory::DirectoryTree;
use super::huggingface::HuggingFaceCache;
use super::{ListedModel, OpenedModel, Source, SourceError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Opens the source that `name` stands for: a directory (which may be a Hugging Face cache, or hold one), or
/// a URI. One that is not there, or may not be read, tells so when it is listed. `spool` is where archives are
/// unpacked.
///
/// # Errors
/// When the name cannot be understood, or is one of a source that this build does not have.
#[cfg_attr(not(any(feature = "mlflow", feature = "oci")), expect(unused_variables))]
pub fn open(name: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    let invalid =
        |why: &str| SourceError::Invalid { source_name: name.to_owned(), why: why.to_owned() };
    match name.split_once("://") {
        None => directory(name),
        Some(("file", path)) if path.starts_with('/') => directory(path),
        Some(("file", _)) => Err(invalid("a file URI has an absolute path: file:///models")),
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
        Some((scheme, _)) => Err(invalid(&format!("no source is called {scheme}"))),
    }
}

/// The rest of the name is not repeated: nobody looked whether it has a password.
#[cfg(not(all(feature = "mlflow", feature = "oci", feature = "s3")))]
fn not_built_in(scheme: &str, feature: &str) -> SourceError {
    SourceError::Invalid {
        source_name: format!("{scheme}://…"),
        why: format!(
            "this build of tensorseal has no such source; build it with the feature {feature}"
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

/// A directory that can be listed.
fn open_directory(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(match HuggingFaceCache::is_at(path) {
        true => Box::new(HuggingFaceCache::new(path)?),
        false => Box::new(DirectoryTree::new(path)?),
    })
}

/// A directory that is not there, or may not be read: nobody knows what became of its models.
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
