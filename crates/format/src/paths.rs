//! Helpers for paths in a model, whose components are separated by `/` on every system.

/// The directory of a path with the final `/`; empty for a file at the top.
pub(crate) fn directory_of(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..=end])
}

/// The extension of a path without the dot, in lower case; empty if there is none.
pub(crate) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}
