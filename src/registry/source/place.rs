//! From what a user names to a source.

use super::bucket;
use super::directory::DirectoryTree;
use super::huggingface::Cache;
use super::{Source, SourceError};
use std::path::Path;

/// Opens the source that `name` stands for: a directory (which may be a Hugging Face cache, or hold one), or
/// a URI.
///
/// # Errors
/// When the name cannot be understood, or nothing is there.
pub fn open(name: &str) -> Result<Box<dyn Source>, SourceError> {
    let invalid =
        |why: &str| SourceError::Invalid { source_name: name.to_owned(), why: why.to_owned() };
    let path = match name.split_once("://") {
        None => Path::new(name),
        Some(("file", path)) if path.starts_with('/') => Path::new(path),
        Some(("file", _)) => {
            return Err(invalid("a file URI has an absolute path: file:///models"));
        }
        Some(("s3" | "gs" | "az", _)) => return bucket::open(name),
        Some((scheme, _)) => {
            return Err(invalid(&format!("no source is called {scheme}")));
        }
    };
    if Cache::is_at(path) {
        return Ok(Box::new(Cache::new(path)?));
    }
    Ok(Box::new(DirectoryTree::new(path)?))
}
