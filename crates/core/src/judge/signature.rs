//! Whether the files of a model are the ones that were signed.
//!
//! Names are compared both ways, then digests (OpenSSF Model Signing 1.0, verification). What a
//! signature leaves out is told, whatever the verdict: nobody sees from a passed signature alone that
//! it ignores a file.

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

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct SignedFiles<'a> {
    /// The model, listed with what lies beside it.
    pub model: &'a Checkpoint,
    /// What was signed.
    pub manifest: &'a Manifest,
    /// By file of the model.
    pub digests: &'a [Option<FileDigests>],
    /// Whether whoever verifies allows symbolic links, too.
    pub allow_symlinks: bool,
    /// Whether files may lie in the model that were not signed.
    pub ignore_unsigned_files: bool,
    /// Paths that may be there unsigned, files or directories.
    pub ignore_paths: &'a [String],
}

/// What the comparison gives.
#[derive(Debug, Default)]
pub struct SignatureOutcome {
    /// What is not as it was signed.
    pub findings: Vec<Finding>,
    /// What exists and the signature does not vouch for.
    pub not_covered: Vec<SkippedPath>,
    /// Paths of the files that are as they were signed.
    pub intact: BTreeSet<String>,
}

/// The files of a model that a signature is to list: all but those that it ignores.
pub fn to_sign(model: &Checkpoint, ignore_paths: &[String]) -> Vec<usize> {
    let ignored = IgnoredPaths::new(ignore_paths);
    let concerned = |file: &ModelFile| ignored.covering(&file.path).is_none();
    (0..).zip(&model.files).filter(|(_, file)| concerned(file)).map(|(index, _)| index).collect()
}

/// The links to directories of a model that a signature which ignores these paths cannot pass over.
pub fn links_to_sign<'m>(
    model: &'m Checkpoint,
    ignore_paths: &[String],
) -> impl Iterator<Item = &'m DirectoryLink> {
    let ignored = IgnoredPaths::new(ignore_paths);
    model.links.iter().filter(move |link| ignored.covering(&link.path).is_none())
}

/// The files of a model whose digests a signature is compared with: those that it lists with as many
/// digests as they have. Shards of one byte would ask for as much memory as the file is long; a signature
/// must pay for that with its own length.
pub fn to_hash(model: &Checkpoint, manifest: &Manifest) -> Vec<usize> {
    let listed = by_file(model, manifest);
    let fits = |file: &ModelFile| {
        let resources = listed.get(file.path.as_str()).map_or(0, Vec::len) as u64;
        resources > 0 && manifest.hashing.digest_count(file.bytes) == resources
    };
    (0..).zip(&model.files).filter(|(_, file)| fits(file)).map(|(index, _)| index).collect()
}

/// Compares a model with what was signed.
pub fn judge(signed: &SignedFiles<'_>) -> SignatureOutcome {
    let SignedFiles { model, manifest, .. } = signed;
    let mut outcome = SignatureOutcome::default();
    let listed = by_file(model, manifest);
    let (ignored, allowed) = (manifest.ignored_paths(), IgnoredPaths::new(signed.ignore_paths));
    let mut here = BTreeSet::new();
    for (index, file) in model.files.iter().enumerate() {
        here.insert(file.path.as_str());
        if let Some(by) = ignored.covering(&file.path) {
            let reason = format!("ignored by the signature: {}", display_name(by));
            outcome.leave_out(file, SkipReason::Ignored, &reason);
        } else if let Some(resources) = listed.get(file.path.as_str()) {
            outcome.compare(signed, index, resources);
        } else {
            outcome.unsigned(signed, &allowed, file);
        }
    }
    for link in &model.links {
        if let Some(by) = ignored.covering(&link.path) {
            let reason = format!("ignored by the signature: {}", display_name(by));
            outcome.not_covered(&link.path, SkipReason::Ignored, &reason);
        } else if allowed.covering(&link.path).is_none() {
            outcome.directory_link(signed, link);
        }
    }
    for name in listed.keys().filter(|name| !here.contains(*name)) {
        let message = format!("{} was signed and is not there", display_name(name));
        outcome.findings.push(Finding::new("signature/file-missing", message).in_file(name));
    }
    outcome
}

/// The resources of each file.
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
    /// Whether every file is as it was signed, and none is there that was not.
    pub fn is_intact(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity <= Severity::Low)
    }

    fn compare(&mut self, signed: &SignedFiles<'_>, index: usize, resources: &[&Resource]) {
        let file = &signed.model.files[index];
        if file.link.is_some()
            && let Some(by) = signed.refuses_links()
        {
            let message = format!("{} is a link, and {by}", display_name(&file.path));
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

    /// A link to a directory is in no signature: what it leads to is listed under its own path, and what walks the
    /// model sees it under the link's path as well.
    fn directory_link(&mut self, signed: &SignedFiles<'_>, link: &DirectoryLink) {
        let (path, target) = (display_name(&link.path), display_name(&link.target));
        let (by, severity) = match signed.refuses_links() {
            Some(by) => (by, None),
            None => ("it is allowed, and nobody signed it", Some(Severity::Low)),
        };
        let message = format!("{path} is a link to the directory {target}, and {by}");
        let mut finding = Finding::new("signature/link", message).in_file(&link.path);
        finding.severity = severity.unwrap_or(finding.severity);
        self.findings.push(finding);
    }

    fn unsigned(&mut self, signed: &SignedFiles<'_>, allowed: &IgnoredPaths<'_>, file: &ModelFile) {
        if signed.ignore_unsigned_files || allowed.covering(&file.path).is_some() {
            self.leave_out(file, SkipReason::Unsigned, "not signed; ignored, as asked");
            return;
        }
        let hint = match file.signed_only {
            Some(_) => {
                ": was it written after the model was signed? Sign again, or keep it elsewhere"
            }
            // Cut into shards, an empty file has none. One that was always there cannot be told from one that came.
            None if file.bytes == 0 && signed.manifest.hashing.shard.is_some() => {
                ": it is empty, and a signature of shards cannot list it; ignore it by its path, or sign whole files"
            }
            None => "",
        };
        let message = format!("{} was not signed{hint}", display_name(&file.path));
        self.findings.push(Finding::new("signature/file-unsigned", message).in_file(&file.path));
    }

    /// Notes what nobody vouches for.
    fn not_covered(&mut self, path: &str, kind: SkipReason, reason: &str) {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        self.not_covered.push(SkippedPath { path, reason, kind });
    }

    /// Notes that a file is not covered. Weights that nobody vouches for are worth a finding.
    fn leave_out(&mut self, file: &ModelFile, kind: SkipReason, reason: &str) {
        self.not_covered(&file.path, kind, reason);
        let what = match file.content {
            _ if file.kind != FileKind::Other => Some("holds tensors"),
            FileContent { role: FileRole::Weights, .. } => Some("holds weights"),
            FileContent { class: ContentClass::Pickle, .. } => Some("is a pickle"),
            _ => None,
        };
        if let Some(what) = what {
            let message =
                format!("{} {what}, and nobody signed it: {reason}", display_name(&file.path));
            self.findings
                .push(Finding::new("signature/tensors-not-covered", message).in_file(&file.path));
        }
    }
}

impl SignedFiles<'_> {
    /// Why links are not allowed, if they are not: both sides must allow them.
    fn refuses_links(&self) -> Option<&'static str> {
        match (self.allow_symlinks, self.manifest.allow_symlinks) {
            (false, _) => Some("--allow-symlinks is not given"),
            (true, false) => Some("the signature allows none"),
            (true, true) => None,
        }
    }
}

/// What is different in a file, if anything is. One without digests has another length than was signed.
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
        let message = format!("{path} has {} bytes, and {signed} were signed", file.bytes);
        return Some(finding(message).with("signed_bytes", signed));
    }
    let found = found.and_then(|found| found.shard_digests(manifest.hashing));
    let found: Vec<&[u8]> = found.into_iter().flatten().collect();
    let Some(shard) = manifest.hashing.shard else {
        return match (shards.as_slice(), found.as_slice()) {
            ([signed], [found]) if signed.digest == *found => None,
            ([signed], [found]) => {
                let message = format!("{path} is not the file that was signed");
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
        "{path} is not the file that was signed: {} of {} shards differ",
        changed.len(),
        found.len()
    ));
    let end = (last + 1).saturating_mul(shard.get()).min(file.bytes);
    finding.byte_range = Some([first * shard.get(), end]);
    Some(finding.with("shards_changed", changed.len()))
}

/// Whether a problem with the structure of a model means that something in it could not be covered.
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

/// A problem with the structure of a model, beside a signature that is the only thing asked for: the
/// signer vouches for malformed files, too, so it is a remark. That something could not be covered is
/// not.
pub fn soften(finding: &mut Finding) {
    if !limits_coverage(finding.rule) {
        finding.severity = Severity::Info;
    }
}

/// What a signature that ignores these paths leaves out of a model.
pub fn left_out(model: &Checkpoint, ignore_paths: &[String]) -> Vec<SkippedPath> {
    let ignored = IgnoredPaths::new(ignore_paths);
    let of = |file: &ModelFile| {
        let by = display_name(ignored.covering(&file.path)?);
        let reason = format!("ignored by the signature: {by}");
        Some(SkippedPath { path: file.path.clone(), reason, kind: SkipReason::Ignored })
    };
    model.files.iter().filter_map(of).collect()
}
