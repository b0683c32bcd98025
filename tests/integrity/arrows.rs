//! Arrows between crates and between modules run one way.
//!
//! Cargo refuses circles of crates, but not an arrow that the design does not have; within a crate, nothing but
//! this refuses a module that imports its caller. Modules are compared with their siblings, folder by folder:
//! what one folder uses of another is an arrow between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tensorseal_testing::workspace;

/// What each crate may stand on, nearest first. `testing` is for tests alone.
const CRATES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("format", &["base"]),
    ("code", &["format", "base"]),
    ("engine", &["format", "base", "shaders"]),
    ("weights", &["engine", "format", "base"]),
    ("signing", &["base"]),
    ("core", &["weights", "engine", "code", "format", "signing", "base"]),
    ("registry", &["core", "engine", "code", "format", "signing", "base"]),
    ("report", &["core", "engine", "format", "signing", "base"]),
    ("testing", &[]),
];

/// A module: names from the root of its crate.
type Module = Vec<String>;

#[test]
fn crates_stand_on_what_the_design_says() {
    let folders: BTreeSet<String> = fs::read_dir(workspace().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, known, "each crate has a row");
    for (name, allowed) in CRATES {
        let manifest = workspace().join("crates").join(name).join("Cargo.toml");
        let manifest: toml::Table = toml::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
        let Some(dependencies) = manifest.get("dependencies").and_then(|table| table.as_table())
        else {
            panic!("{name} has no dependencies");
        };
        for other in dependencies.keys().filter_map(|key| key.strip_prefix("tensorseal-")) {
            assert!(allowed.contains(&other), "{name} may not stand on {other}");
        }
    }
}

#[test]
fn no_module_imports_its_caller() {
    let mut circles = Vec::new();
    for folder in sources() {
        let modules = modules(&folder);
        assert!(!modules.is_empty(), "{}", folder.display());
        let uses = uses(&modules);
        for circle in circles_of(&uses) {
            circles.push(format!("{}: {circle}", folder.display()));
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_seen() {
    let modules = BTreeMap::from([
        (module("a"), "use super::b::{self, c::X as Y};".to_owned()),
        (module("b"), "mod c;".to_owned()),
        (module("b::c"), "fn f() { crate::d::g(); } // crate::a".to_owned()),
        (module("d"), "use crate::{e::*, a};".to_owned()),
        (module("e"), "#[cfg(test)]\nmod tests {\n    use super::super::a;\n}\n".to_owned()),
    ]);
    let uses = uses(&modules);
    assert_eq!(circles_of(&uses), ["a -> b -> d -> a"]);
}

fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

/// The folders of sources of all packages.
fn sources() -> Vec<PathBuf> {
    let crates = CRATES.iter().map(|(name, _)| workspace().join("crates").join(name).join("src"));
    crates.chain([workspace().join("src")]).collect()
}

/// The text of every module of a package, without its tests.
fn modules(folder: &Path) -> BTreeMap<Module, String> {
    fn walk(folder: &Path, within: &Module, found: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name == "tests" {
                continue;
            }
            let mut module = within.clone();
            if path.is_dir() {
                module.push(name);
                walk(&path, &module, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                if !["lib", "main", "mod"].contains(&name.as_str()) {
                    module.push(name);
                }
                found.insert(module, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, &Module::new(), &mut found);
    found
}

/// For each module those whose names stand in its text.
fn uses(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of = |module: &Module, text: &str| {
        let mut used = BTreeSet::new();
        for path in paths(&without_tests(text)) {
            let Some(mut path) = absolute(module, path) else { continue };
            while !modules.contains_key(&path) && !path.is_empty() {
                path.pop();
            }
            used.insert(path);
        }
        used
    };
    modules.iter().map(|(module, text)| (module.clone(), of(module, text))).collect()
}

/// A path that begins at `crate` or `super`, from the root.
fn absolute(module: &Module, path: Vec<String>) -> Option<Module> {
    let ups = path.iter().take_while(|step| *step == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        _ => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
    }
}

/// Source text without comments and without its module of tests.
fn without_tests(text: &str) -> String {
    let is_tests = |(at, attribute): &(usize, &str)| {
        let next = text[at + attribute.len()..].lines().next();
        next.is_some_and(|line| line.ends_with("mod tests {"))
    };
    let end = text.match_indices("#[cfg(test)]\n").find(is_tests).map_or(text.len(), |(at, _)| at);
    let text = &text[..end];
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Every path that begins with `crate::` or `super::`, groups in braces taken apart.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate", "super"] {
        for (at, _) in text.match_indices(&format!("{start}::")) {
            let before = text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                tree(&text[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Reads one tree of a path and returns what follows it.
fn tree<'t>(text: &'t str, above: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let depth = above.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let before = rest.len();
                rest = tree(rest, above, found).trim_start_matches([',', ' ', '\n']);
                if rest.len() == before {
                    break;
                }
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
            break;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
        let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !["", "self", "*"].contains(&name) {
            above.push(name.to_owned());
        }
        match after.strip_prefix("::") {
            Some(after) => rest = after.trim_start(),
            None => {
                found.push(above.clone());
                rest = after.trim_start();
                if let Some(alias) = rest.strip_prefix("as ") {
                    rest = alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                }
                break;
            }
        }
    }
    above.truncate(depth);
    rest
}

/// One circle of each folder in which siblings use each other in a circle.
fn circles_of(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let folders: BTreeSet<&[String]> =
        uses.keys().flat_map(|module| (0..module.len()).map(|depth| &module[..depth])).collect();
    let mut found = Vec::new();
    for folder in folders {
        let depth = folder.len();
        let child = |module: &'_ Module| -> Option<String> {
            (module.len() > depth && module.starts_with(folder)).then(|| module[depth].clone())
        };
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, used) in uses {
            let Some(from) = child(module) else { continue };
            let to = used.iter().filter_map(child).filter(|to| *to != from);
            arrows.entry(from.clone()).or_default().extend(to);
        }
        found.extend(arrows.keys().find_map(|start| way_back(&arrows, start)).map(|way| {
            let way = way.join(" -> ");
            if depth == 0 { way } else { format!("{}: {way}", folder.join("::")) }
        }));
    }
    found
}

/// The shortest way from a module back to itself.
fn way_back(arrows: &BTreeMap<String, BTreeSet<String>>, start: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in arrows.get(way.last()?).into_iter().flatten() {
                let way = [way.as_slice(), std::slice::from_ref(next)].concat();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
