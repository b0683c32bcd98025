//! Packages carry what they include, and what is to be quick to build stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use tensorseal_testing::workspace;

/// The folders of packages; of the package of the top folder, those with sources that it is published with.
fn packages() -> Vec<PathBuf> {
    let crates = fs::read_dir(workspace().join("crates")).unwrap();
    let mut all: Vec<PathBuf> = crates.map(|entry| entry.unwrap().path()).collect();
    all.extend(["examples", "shaders", "src"].map(|folder| workspace().join(folder)));
    all
}

/// Source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// What the macros of a text include: a path, or nothing where it is no literal.
fn included(text: &str) -> Vec<Option<&str>> {
    let calls = ["include!", "include_bytes!", "include_str!"].into_iter();
    let after =
        calls.flat_map(|call| text.match_indices(call).map(|(at, _)| &text[at + call.len()..]));
    let literal = |after: &'_ str| -> Option<(usize, usize)> {
        let start = after.find('(')? + 1;
        let start = start + after[start..].find(|c: char| !c.is_whitespace())?;
        let length = after[start..].strip_prefix('"')?.find('"')?;
        Some((start + 1, start + 1 + length))
    };
    after.map(|after| literal(after).map(|(start, end)| &after[start..end])).collect()
}

/// A path without `..`; nothing is asked of the file system.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => (),
            part => plain.push(part),
        }
        plain
    })
}

/// Whether a source file includes nothing but files of its package.
fn stays_within(package: &Path, source: &Path, text: &str) -> bool {
    let folder = source.parent().unwrap();
    let is_within = |path: &str| plain(&folder.join(path)).starts_with(package);
    included(text).into_iter().all(|path| path.is_some_and(is_within))
}

#[test]
fn packages_include_nothing_from_outside() {
    for package in packages() {
        for source in sources(&package) {
            let text = fs::read_to_string(&source).unwrap();
            assert!(stays_within(&package, &source, &text), "{}", source.display());
        }
    }
}

#[test]
fn a_path_out_is_seen() {
    let (package, source) = (Path::new("/w/crates/a"), Path::new("/w/crates/a/src/b/mod.rs"));
    let stays = |text: &str| stays_within(package, source, text);
    assert!(stays("include_str!(\"c.toml\"); include_bytes!(\n    \"../../d.bin\",\n)"));
    assert!(!stays("include_str!(\"../../../e/src/c.toml\")"));
    assert!(!stays("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../../c.toml\"))"));
}

/// The crate of tests alone knows where the repository lies: in a package, there is none.
#[test]
fn crates_do_not_ask_where_they_lie() {
    for package in packages().into_iter().filter(|package| !package.ends_with("testing")) {
        for source in sources(&package) {
            let text = fs::read_to_string(&source).unwrap();
            assert!(!text.contains("CARGO_MANIFEST_DIR"), "{}", source.display());
        }
    }
}

/// Crates, and packages that neither they nor their tests may be built over, whatever the features and the platform.
const WITHOUT: [(&[&str], &[&str]); 2] = [
    (
        &["base", "format", "code", "signing", "testing"],
        &["object_store", "reqwest", "rusqlite", "tokio", "wgpu"],
    ),
    (&["engine", "weights", "core", "report"], &["object_store", "reqwest", "rusqlite"]),
];

#[test]
fn small_crates_are_built_without_what_is_large() {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&lock).unwrap();
    // Versions aside: the name is what is refused. It includes what only tests need.
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let to = package.get("dependencies").and_then(toml::Value::as_array);
        let names = to.into_iter().flatten().filter_map(|to| to.as_str()?.split(' ').next());
        arrows.entry(package["name"].as_str().unwrap()).or_default().extend(names);
    }
    for (crates, refused) in WITHOUT {
        for name in crates {
            let name = format!("tensorseal-{name}");
            let mut reached = BTreeSet::new();
            let mut next = vec![name.as_str()];
            while let Some(package) = next.pop() {
                if reached.insert(package) {
                    next.extend(&arrows[package]);
                }
            }
            let found: Vec<_> =
                refused.iter().filter(|package| reached.contains(**package)).collect();
            assert!(found.is_empty(), "{name} is built over {found:?}");
        }
    }
}
