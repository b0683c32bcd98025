//! Symbolic links of a model, and errors of its directory tree.

use super::error::is_loop;
use super::problem::StructureError;
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::severity::Severity;

/// An error of a path in the tree of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The name is not UTF-8.
    #[error("the name is not UTF-8; rename the file")]
    NameNotUtf8,
    /// The path is neither a file nor a directory.
    #[error("is {what} and was not opened; a model consists of regular files")]
    SpecialFile {
        /// What the path is.
        what: &'static str,
    },
    /// The path is too deep or too long.
    #[error("was skipped: nested more than {0} directories deep, or the path is too long")]
    TooDeep(usize),
    /// A link leads out of the model.
    #[error("is a link to {} outside the model; use --allow-symlinks to follow it", quoted(target))]
    LinkOut {
        /// The target of the link.
        target: String,
    },
    /// A link leads to a skipped part of the directory.
    #[error("is a link to {}, which is not part of the model", quoted(target))]
    LinkToSkipped {
        /// The target of the link.
        target: String,
    },
    /// A link cannot be resolved.
    #[error("is a broken link ({reason})")]
    LinkDangling {
        /// The reason why it cannot be resolved.
        reason: String,
    },
    /// A link leads to itself or to a parent directory.
    #[error("is a link to itself or to a parent directory")]
    LinkCycle,
    /// A listed path is not the path of a file in a model.
    #[error("is not a safe relative path and was not opened")]
    UnsafePath,
    /// A path is listed more than once.
    #[error("is listed more than once; the first entry was used")]
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

/// A remark about a path in the tree of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TreeRemark {
    #[error("is a link to {} outside the model, followed as requested", quoted(target))]
    LinkFollowed { target: String },
    #[error("the file name holds control characters")]
    UnusualName,
    #[error(
        "is not listed by the index of its directory; its tensors are named {}:…",
        display_name(path)
    )]
    NotInIndex { path: String },
    #[error(
        "shares tensor names with another file of its directory, and there is no index; its tensors \
         are named {}:…",
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

/// Where a symbolic link leads, from nearest to farthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkTarget {
    /// The target is in the model.
    Inside,
    /// The target is a blob of the same Hugging Face cache repository.
    Blobs,
    /// The target is outside the model.
    Outside,
}

/// A link to a directory whose files are listed under another path. A program that follows links sees these files
/// a second time, under other names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryLink {
    /// The path of the link relative to the root.
    pub path: String,
    /// The path of the directory relative to the root; `.` for the root itself.
    pub target: String,
}

/// The directories that links of one model may lead to.
pub(crate) struct LinkBounds {
    /// The root with all links resolved.
    pub root: PathBuf,
    blobs: Option<PathBuf>,
}

impl LinkBounds {
    /// Creates the bounds for a root whose links are resolved.
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

    /// The path of a resolved path relative to the root.
    pub(crate) fn relative_path(&self, resolved: &Path) -> String {
        let relative = resolved.strip_prefix(&self.root).unwrap_or(resolved);
        relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    }

    /// Where a resolved path is.
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

/// The directory `…/models--NAME/blobs` for a root `…/models--NAME/snapshots/COMMIT[/…]`: the Hugging Face cache
/// keeps the files there that its snapshots link to.
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
