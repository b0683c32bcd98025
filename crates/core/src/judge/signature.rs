//! Compares the files of a model with a signed manifest.
//!
//! File names are compared in both directions, then digests (OpenSSF Model Signing 1.0, verification). Files that
//! the signature does not cover are always reported, because a valid signature alone does not show them.

use super::Finding;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::FileDigests;
use tensorseal_base::hex::hex;
use tensorseal_base::severity::Severity;
use tensorseal_format::{
    Checkpoint, ContentClass, DirectoryLink, FileContent, FileKind, FileRole, ModelFile,
    SkipReason, SkippedPath,
};
use tensorseal_signing::oms::IgnoredPaths;
use tensorseal_signing::{Manifest, Resource};

/// A model and the signed manifest that it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct SignedFiles<'a> {
    /// The model, with its signed-only files listed.
    pub model: &'a Checkpoint,
    /// The signed manifest.
    pub manifest: &'a Manifest,
    /// The digests of each file of the model, by file index; `None` for a file that was not hashed.
    pub digests: &'a [Option<FileDigests>],
    /// Whether the verifier allows symbolic links. The manifest must allow them as well.
    pub allow_symlinks: bool,
    /// Whether files that were not signed are allowed in the model.
    pub ignore_unsigned_files: bool,
    /// Paths of files or directories that are allowed to be unsigned.
    pub ignore_paths: &'a [String],
}

/// The result of comparing a model with a signed manifest.
#[derive(Debug, Default)]
pub struct SignatureOutcome {
    /// The differences from the manifest.
    pub findings: Vec<Finding>,
    /// Existing paths that the signature does not cover.
    pub not_covered: Vec<SkippedPath>,
    /// The paths of the files that match the manifest.
    pub intact: BTreeSet<String>,
}

/// Returns the indices of the files that a signature lists: all files except the ignored ones.
pub fn to_sign(model: &Checkpoint, ignore_paths: &[String]) -> Vec<usize> {
    let ignored = IgnoredPaths::new(ignore_paths);
    let is_listed = |file: &ModelFile| ignored.covering(&file.path).is_none();
    (0..).zip(&model.files).filter(|(_, file)| is_listed(file)).map(|(index, _)| index).collect()
}

/// Returns the links to directories that a signature with these ignored paths does not ignore.
pub fn links_to_sign<'m>(
    model: &'m Checkpoint,
    ignore_paths: &[String],
) -> impl Iterator<Item = &'m DirectoryLink> {
    let ignored = IgnoredPaths::new(ignore_paths);
    model.links.iter().filter(move |link| ignored.covering(&link.path).is_none())
}

/// Returns the indices of the files to hash: those that the manifest lists with the right number of digests. This
/// bounds the memory for digests by the length of the manifest, even if a hostile manifest asks for tiny shards.
pub fn to_hash(model: &Checkpoint, manifest: &Manifest) -> Vec<usize> {
    let listed = by_file(model, manifest);
    let fits = |file: &ModelFile| {
        let resources = listed.get(file.path.as_str()).map_or(0, Vec::len) as u64;
        resources > 0 && manifest.hashing.digest_count(file.bytes) == resources
    };
    (0..).zip(&model.files).filter(|(_, file)| fits(file)).map(|(index, _)| index).collect()
}

/// Compares a model with a signed manifest.
pub fn judge(signed: &SignedFiles<'_>) -> SignatureOutcome {
    let SignedFiles { model, manifest, .. } = signed;
    let mut outcome = SignatureOutcome::default();
    let listed = by_file(model, manifest);
    let (ignored, allowed) = (manifest.ignored_paths(), IgnoredPaths::new(signed.ignore_paths));
    let mut present = BTreeSet::new();
    for (index, file) in model.files.iter().enumerate() {
        present.insert(file.path.as_str());
        if let Some(entry) = ignored.covering(&file.path) {
            let reason = format!("ignored by the signature: {}", display_name(entry));
            outcome.leave_out(file, SkipReason::Ignored, &reason);
        } else if let Some(resources) = listed.get(file.path.as_str()) {
            outcome.compare(signed, index, resources);
        } else {
            outcome.unsigned(signed, &allowed, file);
        }
    }
    for link in &model.links {
        if let Some(entry) = ignored.covering(&link.path) {
            let reason = format!("ignored by the signature: {}", display_name(entry));
            outcome.not_covered(&link.path, SkipReason::Ignored, &reason);
        } else if allowed.covering(&link.path).is_none() {
            outcome.directory_link(signed, link);
        }
    }
    for name in listed.keys().filter(|name| !present.contains(*name)) {
        let message = format!("{} is signed, but missing", display_name(name));
        outcome.findings.push(Finding::new("signature/file-missing", message).in_file(name));
    }
    outcome
}

/// Groups the resources of the manifest by file.
fn by_file<'a>(
    model: &'a Checkpoint,
    manifest: &'a Manifest,
) -> BTreeMap<&'a str, Vec<&'a Resource>> {
    let mut listed: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in &manifest.resources {
        let name = match model.files.as_slice() {
            [only] if model.is_single_file() && manifest.is_one_file() => only.path.as_str(),
            _ => resource.name.as_str(),
        };
        listed.entry(name).or_default().push(resource);
    }
    listed
}

impl SignatureOutcome {
    /// Returns whether every signed file is unchanged, and no unsigned file was added.
    pub fn is_intact(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity <= Severity::Low)
    }

    fn compare(&mut self, signed: &SignedFiles<'_>, index: usize, resources: &[&Resource]) {
        let file = &signed.model.files[index];
        if file.link.is_some()
            && let Some(reason) = signed.refuses_links()
        {
            let message = format!("{} is a link: {reason}", display_name(&file.path));
            self.findings.push(Finding::new("signature/link", message).in_file(&file.path));
            return;
        }
        let found = signed.digests.get(index).and_then(Option::as_ref);
        match difference(signed.manifest, file, resources, found) {
            None => {
                self.intact.insert(file.path.clone());
            }
            Some(finding) => self.findings.push(finding),
        }
    }

    /// Reports a link to a directory. No signature lists such links: the target is listed under its own path, but a
    /// loader that follows links sees it under the path of the link as well.
    fn directory_link(&mut self, signed: &SignedFiles<'_>, link: &DirectoryLink) {
        let (path, target) = (display_name(&link.path), display_name(&link.target));
        let (reason, severity) = match signed.refuses_links() {
            Some(reason) => (reason, None),
            None => ("allowed, but not signed", Some(Severity::Low)),
        };
        let message = format!("{path} is a link to the directory {target}: {reason}");
        let mut finding = Finding::new("signature/link", message).in_file(&link.path);
        finding.severity = severity.unwrap_or(finding.severity);
        self.findings.push(finding);
    }

    fn unsigned(&mut self, signed: &SignedFiles<'_>, allowed: &IgnoredPaths<'_>, file: &ModelFile) {
        if signed.ignore_unsigned_files || allowed.covering(&file.path).is_some() {
            self.leave_out(file, SkipReason::Unsigned, "not signed; ignored as requested");
            return;
        }
        let hint = match file.signed_only {
            Some(_) => {
                "; it may have been written after signing: sign the model again, or store the file elsewhere"
            }
            // An empty file has no shards, so an added one cannot be distinguished from an original one.
            None if file.bytes == 0 && signed.manifest.hashing.shard.is_some() => {
                "; a signature over shards cannot list empty files: ignore the file by its path, or sign whole files"
            }
            None => "",
        };
        let message = format!("{} is not signed{hint}", display_name(&file.path));
        self.findings.push(Finding::new("signature/file-unsigned", message).in_file(&file.path));
    }

    /// Notes a path that the signature does not cover.
    fn not_covered(&mut self, path: &str, kind: SkipReason, reason: &str) {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        self.not_covered.push(SkippedPath { path, reason, kind });
    }

    /// Notes a file that the signature does not cover. For weights this is a finding.
    fn leave_out(&mut self, file: &ModelFile, kind: SkipReason, reason: &str) {
        self.not_covered(&file.path, kind, reason);
        let what = match file.content {
            _ if file.kind != FileKind::Other => Some("holds tensors"),
            FileContent { role: FileRole::Weights, .. } => Some("holds weights"),
            FileContent { class: ContentClass::Pickle, .. } => Some("is a pickle"),
            _ => None,
        };
        if let Some(what) = what {
            let message = format!(
                "{} {what}, but the signature does not cover it: {reason}",
                display_name(&file.path)
            );
            self.findings
                .push(Finding::new("signature/tensors-not-covered", message).in_file(&file.path));
        }
    }
}

impl SignedFiles<'_> {
    /// Returns the reason why links are not allowed, if there is one. Both sides must allow them.
    fn refuses_links(&self) -> Option<&'static str> {
        match (self.allow_symlinks, self.manifest.allow_symlinks) {
            (false, _) => Some("--allow-symlinks was not given"),
            (true, false) => Some("the signature does not allow links"),
            (true, true) => None,
        }
    }
}

/// Returns a finding if a file differs from the manifest. A file without digests has another length than was signed.
fn difference(
    manifest: &Manifest,
    file: &ModelFile,
    resources: &[&Resource],
    found: Option<&FileDigests>,
) -> Option<Finding> {
    let path = display_name(&file.path);
    let finding = |message: String| {
        Finding::new("signature/file-changed", message)
            .in_file(&file.path)
            .with("hash", manifest.hashing.algorithm.name())
    };
    let mut shards = resources.to_vec();
    shards.sort_by_key(|resource| resource.range);
    let signed_bytes = shards.last().and_then(|last| last.range).map(|range| range[1]);
    if let Some(signed) = signed_bytes.filter(|signed| *signed != file.bytes) {
        let message = format!("{path} has {} bytes, signed with {signed} bytes", file.bytes);
        return Some(finding(message).with("signed_bytes", signed));
    }
    let found = found.and_then(|found| found.shard_digests(manifest.hashing));
    let found: Vec<&[u8]> = found.into_iter().flatten().collect();
    let Some(shard) = manifest.hashing.shard else {
        return match (shards.as_slice(), found.as_slice()) {
            ([signed], [found]) if signed.digest == *found => None,
            ([signed], [found]) => {
                let message = format!("{path} differs from the signed file");
                Some(finding(message).with("signed", hex(&signed.digest)).with("found", hex(found)))
            }
            _ => Some(finding(format!("{path} was not hashed"))),
        };
    };
    if found.len() != shards.len() {
        return Some(finding(format!("{path} was not hashed")));
    }
    let changed: Vec<u64> = (0..)
        .zip(shards.iter().zip(&found))
        .filter(|(_, (s, f))| s.digest != **f)
        .map(|(at, _)| at)
        .collect();
    let (first, last) = (changed.first()?, changed.last()?);
    let mut finding = finding(format!(
        "{path} differs from the signed file: {} of {} shards differ",
        changed.len(),
        found.len()
    ));
    let end = (last + 1).saturating_mul(shard.get()).min(file.bytes);
    finding.byte_range = Some([first * shard.get(), end]);
    Some(finding.with("shards_changed", changed.len()))
}

/// Returns whether a structural problem of this rule means that part of the model cannot be covered by a signature.
pub fn limits_coverage(rule: &str) -> bool {
    const RULES: [&str; 7] = [
        "format/directory-too-deep",
        "format/file-name",
        "format/link-cycle",
        "format/link-dangling",
        "format/link-out",
        "format/link-to-left-out",
        "format/special-file",
    ];
    RULES.contains(&rule)
}

/// Reduces a structural finding to a remark if only the signature is verified: the signer vouches for malformed
/// files as well. Findings about parts that the signature cannot cover keep their severity.
pub fn soften(finding: &mut Finding) {
    if !limits_coverage(finding.rule) {
        finding.severity = Severity::Info;
    }
}

/// Returns the files that a signature with these ignored paths does not cover.
pub fn left_out(model: &Checkpoint, ignore_paths: &[String]) -> Vec<SkippedPath> {
    let ignored = IgnoredPaths::new(ignore_paths);
    let skipped = |file: &ModelFile| {
        let entry = display_name(ignored.covering(&file.path)?);
        let reason = format!("ignored by the signature: {entry}");
        Some(SkippedPath { path: file.path.clone(), reason, kind: SkipReason::Ignored })
    };
    model.files.iter().filter_map(skipped).collect()
}
