use std::collections::HashMap;

/// The ignored paths of a manifest, indexed for lookup.
#[derive(Debug, Clone)]
pub struct IgnoredPaths<'a> {
    /// The paths as written, by their normalised form.
    paths: HashMap<String, &'a str>,
}

impl<'a> IgnoredPaths<'a> {
    /// Indexes these paths. They are normalised as Python does: empty and `.` components are dropped. Absolute paths and
    /// paths with `..`, which is not resolved, match no file.
    pub fn new(paths: &'a [String]) -> Self {
        let relative = paths.iter().filter(|path| !path.starts_with('/'));
        let paths =
            relative.map(|path| (components(path).collect::<Vec<_>>().join("/"), path.as_str()));
        Self { paths: paths.collect() }
    }

    /// Returns the ignored path that covers a file: the path of the file or of a directory above it. `name` is relative to
    /// the model.
    pub fn covering(&self, name: &str) -> Option<&'a str> {
        let name = if name == super::ONE_FILE { "" } else { name };
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        // An empty path is the model itself.
        std::iter::once(0).chain(ends).find_map(|end| self.paths.get(&name[..end]).copied())
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !matches!(*component, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(path: &str, name: &str) -> bool {
        let paths = [path.to_owned()];
        let covering = IgnoredPaths::new(&paths).covering(name).map(str::to_owned);
        assert!(covering.as_deref().is_none_or(|found| found == path));
        covering.is_some()
    }

    #[test]
    fn ignored_paths_cover_what_is_below_them() {
        for (path, name) in [
            ("a", "a"),
            ("a", "a/b"),
            ("a", "a/b/c"),
            ("a/", "a/b"),
            ("./a", "a/b"),
            ("a//b", "a/b"),
            (".", "a"),
            (".", "."),
            ("", "a"),
            (".git", ".git/HEAD"),
        ] {
            assert!(covers(path, name), "{path} {name}");
        }
        for (path, name) in [
            ("a", "ab"),
            ("a", "b/a"),
            ("a/b", "a"),
            ("/a", "a"),
            ("../a", "a"),
            ("b/../a", "a"),
            ("a", "."),
        ] {
            assert!(!covers(path, name), "{path} {name}");
        }
    }
}
