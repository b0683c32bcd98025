//! From what a user names to a source.

use super::directory::DirectoryTree;
use super::huggingface::Cache;
use super::{Listed, OpenedModel, Source, SourceError, bucket, mlflow, oci};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Opens the source that `name` stands for: a directory (which may be a Hugging Face cache, or hold one), or
/// a URI. One that is not there, or may not be read, tells so when it is listed. `spool` is where archives are
/// unpacked.
///
/// # Errors
/// When the name cannot be understood.
pub fn open(name: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    let invalid =
        |why: &str| SourceError::Invalid { source_name: name.to_owned(), why: why.to_owned() };
    match name.split_once("://") {
        None => directory(name),
        Some(("file", path)) if path.starts_with('/') => directory(path),
        Some(("file", _)) => Err(invalid("a file URI has an absolute path: file:///models")),
        Some(("s3" | "gs" | "az", _)) => bucket::open(name),
        Some(("oci" | "oci+http" | "oci+https", _)) => oci::open(name, spool),
        Some(("mlflow" | "mlflow+http" | "mlflow+https", _)) => mlflow::open(name, spool),
        Some((scheme, _)) => Err(invalid(&format!("no source is called {scheme}"))),
    }
}

fn directory(name: &str) -> Result<Box<dyn Source>, SourceError> {
    let path = Path::new(name);
    match present(path) {
        Err(SourceError::Open(_)) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            Ok(Box::new(Absent { name: path.to_string_lossy().into_owned(), path }))
        }
        other => other,
    }
}

/// A directory that can be listed.
fn present(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(match Cache::is_at(path) {
        true => Box::new(Cache::new(path)?),
        false => Box::new(DirectoryTree::new(path)?),
    })
}

/// A directory that is not there, or may not be read: nobody knows what became of its models.
struct Absent {
    name: String,
    path: PathBuf,
}

impl Source for Absent {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), SourceError> {
        present(&self.path)?.list(each)
    }

    fn open(&self, listed: &Listed) -> Result<OpenedModel, SourceError> {
        present(&self.path)?.open(listed)
    }

    fn still_lists(&self, listed: &Listed) -> Result<(), SourceError> {
        present(&self.path)?.still_lists(listed)
    }
}
