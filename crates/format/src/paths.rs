//! Paths in a model: components separated by `/`, whatever the system.

/// The directory of a path with its final `/`, empty at the top.
pub(crate) fn directory_of(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..=end])
}

/// The ending of a name, without the dot and in small letters; empty: it has none.
pub(crate) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default()
}
