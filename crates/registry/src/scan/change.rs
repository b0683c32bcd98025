//! What became of a model: a pure judgement from what it was, what it is, and which marks moved.

use crate::source::ChangeToken;
use crate::state::FileChangeToken;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_base::display::display_name;
use tensorseal_core::judge::Finding;
use tensorseal_core::record::ModelState;
use tensorseal_core::seal::Seal;

/// Most files that are named.
const NAMED: usize = 8;

/// A model at one time.
#[derive(Debug, Clone, Copy)]
pub struct ModelSnapshot<'a> {
    /// Its version.
    pub version: Option<&'a str>,
    /// Its content.
    pub seal: &'a Seal,
    /// The marks of its files.
    pub change_tokens: &'a [FileChangeToken],
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelChange {
    /// In a word.
    pub state: ModelState,
    /// In a sentence.
    pub detail: String,
    /// The same as a finding, unless all is as it was.
    pub finding: Option<Finding>,
}

/// What the marks of a file with other content say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WriteEvidence {
    /// It was not there before, or is not any more.
    AddedOrRemoved,
    /// They moved.
    Written,
    /// Its modification time is as it was, and its change time is not: somebody set it back.
    TimestampReset,
    /// None moved.
    Untouched,
}

/// The versions of a model before and now, where its source has any and they differ.
pub(super) fn other_version<'a>(
    was: Option<&'a str>,
    is: Option<&'a str>,
) -> Option<(&'a str, &'a str)> {
    was.zip(is).filter(|(was, is)| was != is)
}

/// Whether two seals are of the same content, in the same files and layout.
pub fn same_content(a: &Seal, b: &Seal) -> bool {
    a.model.root == b.model.root && changed_files(a, b).is_empty()
}

/// Files whose content, or the layout of it, is not the same on both sides.
fn changed_files<'a>(before: &'a Seal, now: &'a Seal) -> BTreeSet<&'a str> {
    let (before, now) = (contents(before), contents(now));
    let paths: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    paths.into_iter().filter(|path| before.get(path) != now.get(path)).collect()
}

/// By file, a digest of all that a seal says of its bytes.
fn contents(seal: &Seal) -> BTreeMap<&str, [u8; 32]> {
    let mut hashers: BTreeMap<&str, blake3::Hasher> = BTreeMap::new();
    for file in &seal.files {
        let hasher = hashers.entry(&file.path).or_default();
        hasher.update(&file.bytes.to_le_bytes());
        hasher.update(file.blake3.as_ref().map_or(&[], |digest| digest));
        for outside in file.outside.iter().flatten() {
            hasher.update(&outside.range[0].to_le_bytes());
            hasher.update(&outside.range[1].to_le_bytes());
            hasher.update(&outside.blake3);
        }
    }
    for link in &seal.links {
        let hasher = hashers.entry(&link.path).or_default();
        hasher.update(b"link to ").update(link.target.as_bytes());
    }
    for tensor in &seal.tensors {
        let hasher = hashers.entry(&tensor.file).or_default();
        // The header says the rest; it lies outside tensors.
        for number in [tensor.name.len() as u64, tensor.offset, tensor.bytes] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(tensor.name.as_bytes());
        hasher.update(&tensor.blake3);
    }
    hashers.into_iter().map(|(path, hasher)| (path, *hasher.finalize().as_bytes())).collect()
}

/// What became of a model that was deeply checked before and now.
///
/// A version that moved explains other content: *replaced*. Else content that moved with any mark is
/// *modified*, also where the modification time alone stayed: that is how it looks when somebody sets it back.
/// Only where no mark of any changed file moved it is *bit rot*.
pub fn classify_change(before: ModelSnapshot<'_>, now: ModelSnapshot<'_>) -> ModelChange {
    let changed = changed_files(before.seal, now.seal);
    if changed.is_empty() {
        return ModelChange {
            state: ModelState::Ok,
            detail: "as accepted".to_owned(),
            finding: None,
        };
    }
    let files = now.seal.files.len().max(before.seal.files.len());
    if let Some((was, is)) = other_version(before.version, now.version) {
        let detail = format!(
            "version {} took the place of {}; {}",
            display_name(is),
            display_name(was),
            count(changed.len(), files)
        );
        return found(ModelState::Replaced, "registry/replaced", detail, &changed);
    }
    let marks = |marks: &[FileChangeToken]| -> HashMap<String, ChangeToken> {
        marks.iter().map(|file| (file.path.clone(), file.mark.clone())).collect()
    };
    let (earlier, later) = (marks(before.change_tokens), marks(now.change_tokens));
    let traces: BTreeMap<&str, WriteEvidence> = changed
        .iter()
        .map(|path| (*path, write_evidence(earlier.get(*path), later.get(*path))))
        .collect();
    let untouched = traces.values().filter(|trace| **trace == WriteEvidence::Untouched).count();
    let reset: Vec<&str> = traces
        .iter()
        .filter(|(_, t)| **t == WriteEvidence::TimestampReset)
        .map(|(path, _)| *path)
        .collect();
    let mut detail = format!("{}: {}", count(changed.len(), files), named(&changed));
    if untouched == changed.len() {
        detail.push_str("; by all marks nothing was written");
        return found(ModelState::BitRot, "registry/bit-rot", detail, &changed);
    }
    if let Some(first) = reset.first() {
        detail.push_str(&format!(
            "; timestamp reset: the modification time of {} is as it was, its change time is not",
            display_name(first)
        ));
    }
    if untouched > 0 {
        detail.push_str(&format!("; of {untouched} of them no mark moved"));
    }
    found(ModelState::Modified, "registry/modified", detail, &changed)
}

fn found(
    state: ModelState,
    rule: &'static str,
    detail: String,
    changed: &BTreeSet<&str>,
) -> ModelChange {
    let finding = Finding::new(rule, detail.clone())
        .with("files_changed", changed.len())
        .with("files", changed.iter().take(NAMED).copied().collect::<Vec<_>>());
    ModelChange { state, detail, finding: Some(finding) }
}

fn count(changed: usize, files: usize) -> String {
    format!("{changed} of {files} files have other content")
}

fn named(changed: &BTreeSet<&str>) -> String {
    let mut names: Vec<String> =
        changed.iter().take(NAMED).map(|path| display_name(path)).collect();
    if changed.len() > NAMED {
        names.push(format!("{} more", changed.len() - NAMED));
    }
    names.join(", ")
}

fn write_evidence(before: Option<&ChangeToken>, now: Option<&ChangeToken>) -> WriteEvidence {
    match (before, now) {
        (Some(ChangeToken::Identity(before)), Some(ChangeToken::Identity(now)))
            if before != now =>
        {
            // Another file in its place has times of its own.
            let same_file = (before.device, before.inode) == (now.device, now.inode);
            match same_file && before.modified == now.modified {
                true => WriteEvidence::TimestampReset,
                false => WriteEvidence::Written,
            }
        }
        // Nothing would have moved.
        (Some(ChangeToken::None), _) | (_, Some(ChangeToken::None)) => WriteEvidence::Written,
        (Some(before), Some(now)) if before == now => WriteEvidence::Untouched,
        (Some(_), Some(_)) => WriteEvidence::Written,
        _ => WriteEvidence::AddedOrRemoved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_core::seal::{FileSeal, ModelSeal};
    use tensorseal_format::FileIdentity;

    fn seal(files: &[(&str, u8)]) -> Seal {
        let file = |(path, content): &(&str, u8)| FileSeal {
            blake3: Some([*content; 32]),
            bytes: 3,
            outside: None,
            path: (*path).to_owned(),
            sha256: None,
        };
        let model = ModelSeal {
            bytes: 3,
            elements: 0,
            files: files.len() as u64,
            format: "none".to_owned(),
            root: "blake3:".to_owned(),
            tensors: 0,
        };
        let files = files.iter().map(file).collect();
        Seal { files, links: Vec::new(), model, schema: String::new(), tensors: Vec::new() }
    }

    fn identity(inode: u64, modified: i64, changed: i64) -> ChangeToken {
        ChangeToken::Identity(FileIdentity {
            device: 1,
            inode,
            bytes: 3,
            modified: (modified, 0),
            changed: (changed, 0),
        })
    }

    fn marks(mark: &ChangeToken) -> Vec<FileChangeToken> {
        vec![FileChangeToken { path: "a".to_owned(), mark: mark.clone() }]
    }

    fn became(before: (&str, &ChangeToken), now: (&str, &ChangeToken, u8)) -> (ModelState, String) {
        let (was, is) = (seal(&[("a", 1)]), seal(&[("a", now.2)]));
        let (earlier, later) = (marks(before.1), marks(now.1));
        let before = ModelSnapshot {
            version: Some(before.0).filter(|version| !version.is_empty()),
            seal: &was,
            change_tokens: &earlier,
        };
        let now = ModelSnapshot {
            version: Some(now.0).filter(|version| !version.is_empty()),
            seal: &is,
            change_tokens: &later,
        };
        let change = classify_change(before, now);
        assert_eq!(change.finding.is_some(), change.state != ModelState::Ok);
        (change.state, change.detail)
    }

    #[test]
    fn files_of_a_file_system() {
        let mark = identity(7, 10, 10);
        assert_eq!(became(("", &mark), ("", &identity(8, 11, 11), 1)).0, ModelState::Ok, "touched");
        assert_eq!(became(("", &mark), ("", &mark, 2)).0, ModelState::BitRot);
        assert_eq!(became(("", &mark), ("", &identity(7, 11, 11), 2)).0, ModelState::Modified);
        let (state, detail) = became(("", &mark), ("", &identity(7, 10, 11), 2));
        assert_eq!(state, ModelState::Modified);
        assert!(detail.contains("timestamp reset"), "{detail}");
        let (state, detail) = became(("", &mark), ("", &identity(8, 10, 11), 2));
        assert_eq!(state, ModelState::Modified, "another file with the old time");
        assert!(!detail.contains("timestamp reset"), "{detail}");
    }

    #[test]
    fn versions_explain_other_content_and_nothing_else() {
        let mark = identity(7, 10, 10);
        assert_eq!(became(("v1", &mark), ("v2", &mark, 2)).0, ModelState::Replaced);
        assert_eq!(became(("v1", &mark), ("v1", &mark, 2)).0, ModelState::BitRot);
        assert_eq!(
            became(("v1", &mark), ("v2", &mark, 1)).0,
            ModelState::Ok,
            "the same under another tag"
        );
        assert_eq!(
            became(("", &ChangeToken::None), ("", &ChangeToken::None, 2)).0,
            ModelState::Modified
        );
    }

    #[test]
    fn objects_of_a_store() {
        let object = |etag: &str| ChangeToken::Object {
            etag: Some(etag.to_owned()),
            version: None,
            modified: String::new(),
        };
        assert_eq!(became(("", &object("a")), ("", &object("a"), 2)).0, ModelState::BitRot);
        assert_eq!(became(("", &object("a")), ("", &object("b"), 2)).0, ModelState::Modified);
    }

    #[test]
    fn files_that_came_or_went() {
        let (was, is) = (seal(&[("a", 1)]), seal(&[("a", 1), ("b", 2)]));
        let mark = marks(&identity(7, 10, 10));
        let moment = |seal| ModelSnapshot { version: None, seal, change_tokens: &mark };
        for (before, now) in [(&was, &is), (&is, &was)] {
            let change = classify_change(moment(before), moment(now));
            assert_eq!(change.state, ModelState::Modified);
            assert!(change.detail.starts_with("1 of 2 files have other content: b"), "{change:?}");
        }
        assert!(same_content(&was, &was) && !same_content(&was, &is));
    }
}
