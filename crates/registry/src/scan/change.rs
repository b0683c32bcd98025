//! Classifies the change of a model from its content and change tokens before and now.

use crate::source::ChangeToken;
use crate::state::FileChangeToken;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_base::display::display_name;
use tensorseal_core::judge::Finding;
use tensorseal_core::record::ModelState;
use tensorseal_core::seal::Seal;

/// The largest number of files that a message names.
const MAX_NAMED: usize = 8;

/// A model at one scan.
#[derive(Debug, Clone, Copy)]
pub struct ModelSnapshot<'a> {
    /// The version.
    pub version: Option<&'a str>,
    /// The content.
    pub seal: &'a Seal,
    /// The change tokens of its files.
    pub change_tokens: &'a [FileChangeToken],
}

/// The change of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelChange {
    /// The state of the model.
    pub state: ModelState,
    /// The state in a sentence.
    pub detail: String,
    /// The finding about the change; `None` if nothing changed.
    pub finding: Option<Finding>,
}

/// The evidence that the change tokens give for the way in which a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WriteEvidence {
    /// The file was added or removed.
    AddedOrRemoved,
    /// The change token differs.
    Written,
    /// Only the change time differs: the modification time was reset.
    TimestampReset,
    /// The change token is the same.
    Untouched,
}

/// Returns the versions before and now, if the source has versions and they differ.
pub(super) fn other_version<'a>(
    was: Option<&'a str>,
    is: Option<&'a str>,
) -> Option<(&'a str, &'a str)> {
    was.zip(is).filter(|(was, is)| was != is)
}

/// Returns whether two seals describe the same content in the same files and layout.
pub fn same_content(a: &Seal, b: &Seal) -> bool {
    a.model.root == b.model.root && changed_files(a, b).is_empty()
}

/// Returns the paths of the files whose content or layout differs.
fn changed_files<'a>(before: &'a Seal, now: &'a Seal) -> BTreeSet<&'a str> {
    let (before, now) = (contents(before), contents(now));
    let paths: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    paths.into_iter().filter(|path| before.get(path) != now.get(path)).collect()
}

/// Returns, by file, a digest of everything that a seal states about its bytes.
fn contents(seal: &Seal) -> BTreeMap<&str, [u8; 32]> {
    let mut hashers: BTreeMap<&str, blake3::Hasher> = BTreeMap::new();
    for file in &seal.files {
        let hasher = hashers.entry(&file.path).or_default();
        hasher.update(&file.bytes.to_le_bytes());
        hasher.update(file.blake3.as_ref().map_or(&[], |digest| digest));
        for gap in file.outside.iter().flatten() {
            hasher.update(&gap.range[0].to_le_bytes());
            hasher.update(&gap.range[1].to_le_bytes());
            hasher.update(&gap.blake3);
        }
    }
    for link in &seal.links {
        let hasher = hashers.entry(&link.path).or_default();
        hasher.update(b"link to ").update(link.target.as_bytes());
    }
    for tensor in &seal.tensors {
        let hasher = hashers.entry(&tensor.file).or_default();
        // The rest is in the header, which is part of a gap.
        for number in [tensor.name.len() as u64, tensor.offset, tensor.bytes] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(tensor.name.as_bytes());
        hasher.update(&tensor.blake3);
    }
    hashers.into_iter().map(|(path, hasher)| (path, *hasher.finalize().as_bytes())).collect()
}

/// Classifies the change of a model between two deep checks.
///
/// - *replaced*: the version changed, which explains the new content.
/// - *modified*: the content and the change token of at least one file changed, even if the modification time was reset.
/// - *bit rot*: the content changed, but no change token of a changed file did.
pub fn classify_change(before: ModelSnapshot<'_>, now: ModelSnapshot<'_>) -> ModelChange {
    let changed = changed_files(before.seal, now.seal);
    if changed.is_empty() {
        return ModelChange {
            state: ModelState::Ok,
            detail: "matches the accepted baseline".to_owned(),
            finding: None,
        };
    }
    let files = now.seal.files.len().max(before.seal.files.len());
    if let Some((was, is)) = other_version(before.version, now.version) {
        let detail = format!(
            "version {} was replaced by {}; {}",
            display_name(was),
            display_name(is),
            count(changed.len(), files)
        );
        return change(ModelState::Replaced, "registry/replaced", detail, &changed);
    }
    let by_path = |tokens: &[FileChangeToken]| -> HashMap<String, ChangeToken> {
        tokens.iter().map(|file| (file.path.clone(), file.token.clone())).collect()
    };
    let (earlier, later) = (by_path(before.change_tokens), by_path(now.change_tokens));
    let evidence: BTreeMap<&str, WriteEvidence> = changed
        .iter()
        .map(|path| (*path, write_evidence(earlier.get(*path), later.get(*path))))
        .collect();
    let untouched = evidence.values().filter(|kind| **kind == WriteEvidence::Untouched).count();
    let reset: Vec<&str> = evidence
        .iter()
        .filter(|(_, kind)| **kind == WriteEvidence::TimestampReset)
        .map(|(path, _)| *path)
        .collect();
    let mut detail = format!("{}: {}", count(changed.len(), files), names(&changed));
    if untouched == changed.len() {
        detail.push_str("; the change tokens show no write");
        return change(ModelState::BitRot, "registry/bit-rot", detail, &changed);
    }
    if let Some(first) = reset.first() {
        detail.push_str(&format!(
            "; timestamp reset: the change time of {} differs, but not its modification time",
            display_name(first)
        ));
    }
    if untouched > 0 {
        detail.push_str(&format!("; the change tokens of {untouched} of them show no write"));
    }
    change(ModelState::Modified, "registry/modified", detail, &changed)
}

fn change(
    state: ModelState,
    rule: &'static str,
    detail: String,
    changed: &BTreeSet<&str>,
) -> ModelChange {
    let finding = Finding::new(rule, detail.clone())
        .with("files_changed", changed.len())
        .with("files", changed.iter().take(MAX_NAMED).copied().collect::<Vec<_>>());
    ModelChange { state, detail, finding: Some(finding) }
}

fn count(changed: usize, files: usize) -> String {
    format!("{changed} of {files} files changed")
}

fn names(changed: &BTreeSet<&str>) -> String {
    let mut names: Vec<String> =
        changed.iter().take(MAX_NAMED).map(|path| display_name(path)).collect();
    if changed.len() > MAX_NAMED {
        names.push(format!("{} more", changed.len() - MAX_NAMED));
    }
    names.join(", ")
}

fn write_evidence(before: Option<&ChangeToken>, now: Option<&ChangeToken>) -> WriteEvidence {
    match (before, now) {
        (Some(ChangeToken::Identity(before)), Some(ChangeToken::Identity(now)))
            if before != now =>
        {
            // A replaced file has its own times.
            let same_file = (before.device, before.inode) == (now.device, now.inode);
            match same_file && before.modified == now.modified {
                true => WriteEvidence::TimestampReset,
                false => WriteEvidence::Written,
            }
        }
        // Without a change token, a write cannot be excluded.
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

    fn tokens(token: &ChangeToken) -> Vec<FileChangeToken> {
        vec![FileChangeToken { path: "a".to_owned(), token: token.clone() }]
    }

    fn classify(
        before: (&str, &ChangeToken),
        now: (&str, &ChangeToken, u8),
    ) -> (ModelState, String) {
        let (was, is) = (seal(&[("a", 1)]), seal(&[("a", now.2)]));
        let (earlier, later) = (tokens(before.1), tokens(now.1));
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
        let token = identity(7, 10, 10);
        assert_eq!(
            classify(("", &token), ("", &identity(8, 11, 11), 1)).0,
            ModelState::Ok,
            "touched"
        );
        assert_eq!(classify(("", &token), ("", &token, 2)).0, ModelState::BitRot);
        assert_eq!(classify(("", &token), ("", &identity(7, 11, 11), 2)).0, ModelState::Modified);
        let (state, detail) = classify(("", &token), ("", &identity(7, 10, 11), 2));
        assert_eq!(state, ModelState::Modified);
        assert!(detail.contains("timestamp reset"), "{detail}");
        let (state, detail) = classify(("", &token), ("", &identity(8, 10, 11), 2));
        assert_eq!(state, ModelState::Modified, "another file with the old time");
        assert!(!detail.contains("timestamp reset"), "{detail}");
    }

    #[test]
    fn versions_explain_other_content_and_nothing_else() {
        let token = identity(7, 10, 10);
        assert_eq!(classify(("v1", &token), ("v2", &token, 2)).0, ModelState::Replaced);
        assert_eq!(classify(("v1", &token), ("v1", &token, 2)).0, ModelState::BitRot);
        assert_eq!(
            classify(("v1", &token), ("v2", &token, 1)).0,
            ModelState::Ok,
            "the same under another tag"
        );
        assert_eq!(
            classify(("", &ChangeToken::None), ("", &ChangeToken::None, 2)).0,
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
        assert_eq!(classify(("", &object("a")), ("", &object("a"), 2)).0, ModelState::BitRot);
        assert_eq!(classify(("", &object("a")), ("", &object("b"), 2)).0, ModelState::Modified);
    }

    #[test]
    fn files_that_came_or_went() {
        let (was, is) = (seal(&[("a", 1)]), seal(&[("a", 1), ("b", 2)]));
        let token = tokens(&identity(7, 10, 10));
        let snapshot = |seal| ModelSnapshot { version: None, seal, change_tokens: &token };
        for (before, now) in [(&was, &is), (&is, &was)] {
            let change = classify_change(snapshot(before), snapshot(now));
            assert_eq!(change.state, ModelState::Modified);
            assert!(change.detail.starts_with("1 of 2 files changed: b"), "{change:?}");
        }
        assert!(same_content(&was, &was) && !same_content(&was, &is));
    }
}
