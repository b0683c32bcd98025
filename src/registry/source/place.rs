//! From what a user names to a source.

use super::directory::DirectoryTree;
use super::huggingface::Cache;
use super::{Listed, OpenedModel, Source, SourceError, bucket, mlflow, oci};
use std::ops::ControlFlow;
use std::path::Path;

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
    let opened = match Cache::is_at(path) {
        true => Cache::new(path).map(|cache| Box::new(cache) as Box<dyn Source>),
        false => DirectoryTree::new(path).map(|tree| Box::new(tree) as Box<dyn Source>),
    };
    match opened {
        Err(SourceError::Open(error)) => {
            let name = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let name = name.to_string_lossy().into_owned();
            let text = error.to_string();
            let why = text.rsplit_once(": ").map_or(text.as_str(), |(_, why)| why).to_owned();
            Ok(Box::new(Unavailable { name, why }))
        }
        other => other,
    }
}

/// A source that is not there: nobody knows what became of its models.
struct Unavailable {
    name: String,
    why: String,
}

impl Source for Unavailable {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, _: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), SourceError> {
        Err(SourceError::Unreachable { place: self.name.clone(), why: self.why.clone() })
    }

    fn open(&self, _: &Listed) -> Result<OpenedModel, SourceError> {
        Err(SourceError::Unreachable { place: self.name.clone(), why: self.why.clone() })
    }
}
