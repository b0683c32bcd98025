//! Where the symbolic links of a model may lead.

use super::error::is_loop;
use super::problem::StructureError;
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::severity::Severity;

/// What can be wrong with a path of the model's tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("the name is not UTF-8; rename the file")]
    NameNotUtf8,
    #[error("is {what}, which no model holds; it was not opened")]
    SpecialFile { what: &'static str },
    #[error("is nested more than {0} directories deep, or its path is too long; not looked into")]
    TooDeep(usize),
    #[error("is a link out of the model, to {}; --allow-symlinks follows it", quoted(target))]
    LinkOut { target: String },
    #[error(
        "is a link to {}, a part of the directory that is not part of the model",
        quoted(target)
    )]
    LinkToSkipped { target: String },
    #[error("is a link that leads nowhere ({reason})")]
    LinkDangling { reason: String },
    #[error("is a link that leads back to itself")]
    LinkCycle,
    #[error(
        "is no path of a file in a model: it could lead out of it, or nowhere; it was not opened"
    )]
    UnsafePath,
    #[error("is listed more than once; the first was taken")]
    ListedTwice,
}

impl StructureError for TreeError {
    fn rule(&self) -> (&'static str, Severity) {
        use Severity::*;
        match self {
            TreeError::NameNotUtf8 => ("format/file-name", Medium),
            TreeError::SpecialFile { .. } => ("format/special-file", High),
            TreeError::TooDeep(_) => ("format/directory-too-deep", Medium),
            TreeError::LinkOut { .. } => ("format/link-out", High),
            TreeError::LinkToSkipped { .. } => ("format/link-to-left-out", High),
            TreeError::LinkDangling { .. } => ("format/link-dangling", Medium),
            TreeError::LinkCycle => ("format/link-cycle", Medium),
            TreeError::UnsafePath => ("format/unsafe-path", High),
            TreeError::ListedTwice => ("format/listed-twice", Medium),
        }
    }
}

/// What is legal in the tree and still worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TreeRemark {
    #[error("is a link out of the model, to {}; followed, as allowed", quoted(target))]
    LinkFollowed { target: String },
    #[error("the file name holds control characters")]
    UnusualName,
    #[error(
        "is not listed by the index of its directory; its tensors are named {}:…",
        display_name(path)
    )]
    NotInIndex { path: String },
    #[error(
        "has tensors that another file of its directory has too, and there is no index; its \
         tensors are named {}:…",
        display_name(path)
    )]
    SharedNames { path: String },
}

impl StructureError for TreeRemark {
    fn rule(&self) -> (&'static str, Severity) {
        let rule = match self {
            TreeRemark::LinkFollowed { .. } => "format/link-followed",
            TreeRemark::UnusualName => "format/unusual-file-name",
            TreeRemark::NotInIndex { .. } => "format/not-in-index",
            TreeRemark::SharedNames { .. } => "format/shared-names",
        };
        (rule, Severity::Info)
    }
}

/// Where a symbolic link leads, from near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkTarget {
    /// Inside the model.
    Inside,
    /// To the blobs of the same Hugging Face cache repository.
    Blobs,
    /// Out of the model.
    Outside,
}

/// A path of a model that leads into a directory which is covered under another path: whatever walks the model
/// and follows links sees its files a second time, under other names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryLink {
    /// Path relative to the root.
    pub path: String,
    /// Path of the directory, relative to the root; `.` for the root itself.
    pub target: String,
}

/// The places that links of one model may lead to.
pub(crate) struct LinkBounds {
    /// The root, all links resolved.
    pub root: PathBuf,
    blobs: Option<PathBuf>,
}

impl LinkBounds {
    /// Of a root whose links are resolved.
    pub(crate) fn new(root: PathBuf) -> LinkBounds {
        let blobs = blobs_of(&root);
        LinkBounds { root, blobs }
    }

    /// Resolves a link completely.
    pub(crate) fn resolve(&self, link: &Path) -> Result<(PathBuf, LinkTarget), TreeError> {
        let target = std::fs::canonicalize(link).map_err(|error| unresolved(&error))?;
        let kind = self.target_kind(&target);
        Ok((target, kind))
    }

    /// A resolved path in the root, relative to it.
    pub(crate) fn relative_path(&self, resolved: &Path) -> String {
        let relative = resolved.strip_prefix(&self.root).unwrap_or(resolved);
        relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    }

    /// Where a resolved path lies.
    pub(crate) fn target_kind(&self, resolved: &Path) -> LinkTarget {
        if resolved.starts_with(&self.root) {
            LinkTarget::Inside
        } else if self.blobs.as_ref().is_some_and(|blobs| resolved.starts_with(blobs)) {
            LinkTarget::Blobs
        } else {
            LinkTarget::Outside
        }
    }
}

fn unresolved(error: &io::Error) -> TreeError {
    if is_loop(error) {
        return TreeError::LinkCycle;
    }
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "its target does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    TreeError::LinkDangling { reason }
}

/// Of `…/models--NAME/snapshots/COMMIT[/…]`: `…/models--NAME/blobs`, where the cache of Hugging
/// Face keeps the files that its snapshots link to.
fn blobs_of(root: &Path) -> Option<PathBuf> {
    root.ancestors().find_map(|snapshot| {
        let snapshots = snapshot.parent().filter(|dir| dir.ends_with("snapshots"))?;
        let repository = snapshots.parent()?;
        let name = repository.file_name()?.to_str()?;
        name.starts_with("models--").then(|| repository.join("blobs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blobs_of_a_snapshot() {
        let blobs = |root: &str| blobs_of(Path::new(root));
        let expected = Some(PathBuf::from("/c/models--a--b/blobs"));
        assert_eq!(blobs("/c/models--a--b/snapshots/0123"), expected);
        assert_eq!(blobs("/c/models--a--b/snapshots/0123/unet"), expected);
        assert_eq!(blobs("/c/models--a--b/snapshots"), None);
        assert_eq!(blobs("/c/b/snapshots/0123"), None);
    }
}
