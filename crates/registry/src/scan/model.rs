//! Checks, judges and records one model of a scan.

use super::change::{ModelChange, ModelSnapshot, classify_change, other_version};
use super::deep::{self, CheckContext, CheckError, CheckReferences, ContentFindings};
use super::due::ListingFingerprint;
use super::{ActiveScan, CheckedModel, listed_digests};
use crate::source::{ListedFile, ListedModel, Source, SourceError};
use crate::state::{
    AcceptedBaseline, CheckRecord, ContentStatus, DeepCheckRecord, FileChangeToken, ModelRow,
    StoredModel,
};
use std::cmp::Reverse;
use tensorseal_core::judge::Finding;
use tensorseal_core::record::{ModelState, RecordedFinding};
use tensorseal_core::seal::Seal;

/// A model that is being checked.
pub(super) struct CheckTarget<'a> {
    pub source: &'a dyn Source,
    pub listed: &'a ListedModel,
    pub fingerprint: &'a ListingFingerprint,
    /// The number of its row.
    pub id: i64,
    /// The recorded model; `None` if it was not seen before.
    pub stored: Option<&'a StoredModel>,
}

/// The row of a model that was listed.
pub(super) struct OwnedModelRow {
    pub id: i64,
    name: String,
    version: Option<String>,
    files: u64,
    bytes: u64,
    signed: bool,
    sealed: bool,
    listing_digest: [u8; 32],
}

impl OwnedModelRow {
    pub(super) fn new(
        id: i64,
        listed: &ListedModel,
        fingerprint: &ListingFingerprint,
    ) -> OwnedModelRow {
        OwnedModelRow {
            id,
            name: listed.name.clone(),
            version: listed.version.clone(),
            files: listed.files.len() as u64,
            bytes: listed.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            signed: listed.signed,
            sealed: listed.sealed,
            listing_digest: fingerprint.digest,
        }
    }

    pub(super) fn row<'a>(&'a self, source: &'a str) -> ModelRow<'a> {
        ModelRow {
            source,
            name: &self.name,
            version: self.version.as_deref(),
            files: self.files,
            bytes: self.bytes,
            signed: self.signed,
            sealed: self.sealed,
            listing_digest: self.listing_digest,
        }
    }
}

/// The verdict on a model.
struct ModelVerdict {
    state: ModelState,
    detail: String,
    /// The finding about the state.
    finding: Option<Finding>,
    content: ContentStatus,
}

impl ActiveScan<'_, '_> {
    /// Reads a model and records its state.
    pub(super) fn check(&mut self, model: &CheckTarget<'_>) -> Result<(), CheckError> {
        let CheckTarget { source, listed, fingerprint, id, stored } = *model;
        if let Some(reason) = &listed.unreadable {
            let (place, reason) = (listed.name.clone(), reason.clone());
            return Err(SourceError::Unreachable { place, reason }.into());
        }
        let database = self.scan.database;
        let baseline = database.baseline(id)?;
        let accepted = baseline.as_ref().map(|baseline| &baseline.seal);
        let was = baseline.as_ref().and_then(|baseline| baseline.version.as_deref());
        let replaced = other_version(was, listed.version.as_deref()).is_some();
        let unaccepted = database.unaccepted_content(id)?;
        let content = unaccepted.as_ref().or(accepted);
        let judged = content.zip(stored.and_then(judged_expectations));
        let expected = CheckReferences { model: id, judged, accepted, replaced };
        let (check_options, progress) = (&self.scan.check_options, self.scan.progress);
        let context = CheckContext { database, check_options, progress };
        let deep = deep::check(source, listed, fingerprint, expected, context)?;
        self.run.deep_checked += 1;
        self.run.bytes_read += deep.bytes_read;
        let change_tokens = file_change_tokens(&deep.files);
        let before = database.findings(id)?;
        let mismatches: Vec<(Option<&str>, &str)> = match &deep.content_findings {
            Some(found) => {
                let mismatches = found.findings.iter().take(found.digest_mismatches);
                mismatches.map(|f| (f.file.as_deref(), f.message.as_str())).collect()
            }
            None => {
                let mismatches = before.iter().filter(|found| found.contradicts_digest());
                mismatches.map(|f| (f.file.as_deref(), f.message.as_str())).collect()
            }
        };
        let mismatches = listed_digests::describe(mismatches.into_iter());
        let verdict = verdict(model, (&deep.seal, &change_tokens), mismatches, baseline.as_ref());
        let state = verdict.state.name();
        tracing::debug!(model = ?listed.name, state, bytes = deep.bytes_read, "checked");
        let (recorded, judged) = match &deep.content_findings {
            Some(found) => findings(found, &verdict),
            None => (carried_findings(before, &verdict), Vec::new()),
        };
        database.record(&CheckRecord {
            model: id,
            run: self.run.id,
            at: (self.scan.clock)(),
            version: listed.version.as_deref(),
            state: verdict.state,
            detail: &verdict.detail,
            findings: &recorded,
            deep: Some(DeepCheckRecord {
                listing_digest: fingerprint.digest,
                expectations_digest: deep.expectations_digest,
                seal: &deep.seal,
                change_tokens: &change_tokens,
                content: verdict.content,
            }),
        })?;
        (self.scan.on_checked)(&CheckedModel {
            source: source.name(),
            listed,
            state: verdict.state,
            detail: &verdict.detail,
            findings: &recorded,
            judged: &judged,
            deep: &deep,
        });
        Ok(())
    }
}

/// Returns the digest of the expectations with which this version of the program judged the model, if it did.
fn judged_expectations(stored: &StoredModel) -> Option<[u8; 32]> {
    let is_same_tool = stored.checked_tool.as_deref() == Some(env!("CARGO_PKG_VERSION"));
    stored.checked_expectations.filter(|_| is_same_tool)
}

fn file_change_tokens(files: &[ListedFile]) -> Vec<FileChangeToken> {
    let of = |file: &ListedFile| FileChangeToken {
        path: file.path.clone(),
        token: file.change_token.clone(),
    };
    files.iter().map(of).collect()
}

/// Judges a model from its content, its change tokens and the description of the files with other digests than stated.
fn verdict(
    model: &CheckTarget<'_>,
    (seal, change_tokens): (&Seal, &[FileChangeToken]),
    mismatches: Option<String>,
    baseline: Option<&AcceptedBaseline>,
) -> ModelVerdict {
    let listed = model.listed;
    let change =
        baseline.map(|baseline| compare_with_baseline(baseline, seal, listed, change_tokens));
    // Content that contradicts its source is never accepted, and neither is a part of a model.
    let content = match &change {
        _ if !listed.incomplete.is_empty() => ContentStatus::Partial,
        Some(change) if change.state == ModelState::Ok => ContentStatus::Accepted,
        Some(_) => ContentStatus::Other,
        None if mismatches.is_some() => ContentStatus::Partial,
        None => ContentStatus::First,
    };
    let verdict = |state, detail: String, finding| ModelVerdict { state, detail, finding, content };
    if let Some(ModelChange { state, detail, finding }) =
        change.filter(|_| content == ContentStatus::Other)
    {
        return verdict(state, detail, finding);
    }
    if let Some(mismatches) = mismatches {
        return verdict(ModelState::Modified, mismatches, None);
    }
    if !listed.incomplete.is_empty() {
        let detail = listed.incomplete.join("; ");
        let finding = Finding::new("registry/incomplete", detail.clone());
        return verdict(ModelState::Incomplete, detail, Some(finding));
    }
    if content == ContentStatus::First {
        let detail = "new model".to_owned();
        let finding = Finding::new("registry/new", detail.clone());
        return verdict(ModelState::New, detail, Some(finding));
    }
    verdict(ModelState::Ok, "matches the accepted baseline".to_owned(), None)
}

fn compare_with_baseline(
    baseline: &AcceptedBaseline,
    seal: &Seal,
    listed: &ListedModel,
    change_tokens: &[FileChangeToken],
) -> ModelChange {
    let before = ModelSnapshot {
        version: baseline.version.as_deref(),
        seal: &baseline.seal,
        change_tokens: &baseline.change_tokens,
    };
    classify_change(
        before,
        ModelSnapshot { version: listed.version.as_deref(), seal, change_tokens },
    )
}

/// Returns all findings about content that was judged now, the worst first, in their recorded form and with evidence. If a
/// version replaced another, the differences in detail are left out.
fn findings(
    found: &ContentFindings,
    verdict: &ModelVerdict,
) -> (Vec<RecordedFinding>, Vec<Finding>) {
    let mut all: Vec<Finding> = verdict.finding.iter().cloned().collect();
    all.extend(found.findings.iter().cloned());
    if matches!(verdict.state, ModelState::Modified | ModelState::BitRot) {
        all.extend(found.changes.iter().cloned());
    }
    all.sort_by_key(|finding| Reverse(finding.severity));
    (all.iter().map(RecordedFinding::from).collect(), all)
}

/// Returns the earlier findings about the same content, with the finding about its state now.
fn carried_findings(before: Vec<RecordedFinding>, verdict: &ModelVerdict) -> Vec<RecordedFinding> {
    const STATE_RULES: [&str; 6] = [
        "registry/new",
        "registry/missing",
        "registry/incomplete",
        "registry/modified",
        "registry/bit-rot",
        "registry/replaced",
    ];
    let mut all: Vec<RecordedFinding> = verdict.finding.iter().map(RecordedFinding::from).collect();
    all.extend(before.into_iter().filter(|f| !STATE_RULES.contains(&f.rule.as_str())));
    all.sort_by_key(|finding| Reverse(finding.severity));
    all
}
