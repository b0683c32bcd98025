//! One model of a scan: checked, judged, recorded.

use super::change::{ModelChange, ModelSnapshot, classify_change, other_version};
use super::deep::{self, CheckContext, CheckError, CheckReferences, ContentFindings};
use super::due::ListingFingerprint;
use super::{ActiveScan, CheckedModel};
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
    /// Number of its row.
    pub id: i64,
    /// What was known of it; `None`: it was not seen before.
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
    pub(super) fn new(id: i64, listed: &ListedModel, marks: &ListingFingerprint) -> OwnedModelRow {
        OwnedModelRow {
            id,
            name: listed.name.clone(),
            version: listed.version.clone(),
            files: listed.files.len() as u64,
            bytes: listed.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            signed: listed.signed,
            sealed: listed.sealed,
            listing_digest: marks.digest,
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

/// What is judged of a model.
struct ModelVerdict {
    state: ModelState,
    detail: String,
    /// Of the state.
    finding: Option<Finding>,
    content: ContentStatus,
}

impl ActiveScan<'_, '_> {
    /// Reads a model, and records what became of it.
    pub(super) fn check(&mut self, model: &CheckTarget<'_>) -> Result<(), CheckError> {
        let CheckTarget { source, listed, fingerprint: marks, id, stored: known } = *model;
        if let Some(why) = &listed.unreadable {
            let (place, why) = (listed.name.clone(), why.clone());
            return Err(SourceError::Unreachable { place, why }.into());
        }
        let database = self.scan.database;
        let baseline = database.baseline(id)?;
        let accepted = baseline.as_ref().map(|baseline| &baseline.seal);
        let was = baseline.as_ref().and_then(|baseline| baseline.version.as_deref());
        let replaced = other_version(was, listed.version.as_deref()).is_some();
        let found = database.unaccepted_content(id)?;
        let content = found.as_ref().or(accepted);
        let judged = content.zip(known.and_then(judged_expectations));
        let expected = CheckReferences { model: id, judged, accepted, replaced };
        let (checking, progress) = (&self.scan.check_options, self.scan.progress);
        let with = CheckContext { database, check_options: checking, progress };
        let deep = deep::check(source, listed, marks, expected, with)?;
        self.run.deep_checked += 1;
        self.run.bytes_read += deep.bytes_read;
        let file_marks = file_change_tokens(&deep.files);
        let before = database.findings(id)?;
        let broken = match &deep.content_findings {
            Some(found) => found.digest_mismatches,
            None => before.iter().filter(|found| found.contradicts_digest()).count(),
        };
        let verdict = verdict(model, (&deep.seal, &file_marks), broken, baseline.as_ref());
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
                listing_digest: marks.digest,
                expectations_digest: deep.expectations_digest,
                seal: &deep.seal,
                change_tokens: &file_marks,
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

/// What a model was held to when this program judged its content, if it did.
fn judged_expectations(known: &StoredModel) -> Option<[u8; 32]> {
    let by_this = known.checked_tool.as_deref() == Some(env!("CARGO_PKG_VERSION"));
    known.checked_expectations.filter(|_| by_this)
}

fn file_change_tokens(files: &[ListedFile]) -> Vec<FileChangeToken> {
    let of = |file: &ListedFile| FileChangeToken {
        path: file.path.clone(),
        mark: file.change_token.clone(),
    };
    files.iter().map(of).collect()
}

/// What became of a model that was read: its content and its marks, and how many files are not what is claimed.
fn verdict(
    model: &CheckTarget<'_>,
    (seal, marks): (&Seal, &[FileChangeToken]),
    broken: usize,
    baseline: Option<&AcceptedBaseline>,
) -> ModelVerdict {
    let listed = model.listed;
    let change = baseline.map(|baseline| compare_with_baseline(baseline, seal, listed, marks));
    // Content that contradicts its own source is never the accepted one; that of a part is not, either.
    let content = match &change {
        _ if !listed.incomplete.is_empty() => ContentStatus::Partial,
        Some(change) if change.state == ModelState::Ok => ContentStatus::Accepted,
        Some(_) => ContentStatus::Other,
        None if broken > 0 => ContentStatus::Partial,
        None => ContentStatus::First,
    };
    let verdict = |state, detail: String, finding| ModelVerdict { state, detail, finding, content };
    if let Some(ModelChange { state, detail, finding }) =
        change.filter(|_| content == ContentStatus::Other)
    {
        return verdict(state, detail, finding);
    }
    if broken > 0 {
        let detail = match broken {
            1 => "a file is not what its source says it is".to_owned(),
            n => format!("{n} files are not what their source says they are"),
        };
        return verdict(ModelState::Modified, detail, None);
    }
    if !listed.incomplete.is_empty() {
        let detail = listed.incomplete.join("; ");
        let finding = Finding::new("registry/incomplete", detail.clone());
        return verdict(ModelState::Incomplete, detail, Some(finding));
    }
    if content == ContentStatus::First {
        let detail = "not seen before".to_owned();
        let finding = Finding::new("registry/new", format!("{}: {detail}", listed.name));
        return verdict(ModelState::New, detail, Some(finding));
    }
    verdict(ModelState::Ok, "as accepted".to_owned(), None)
}

fn compare_with_baseline(
    baseline: &AcceptedBaseline,
    seal: &Seal,
    listed: &ListedModel,
    marks: &[FileChangeToken],
) -> ModelChange {
    let before = ModelSnapshot {
        version: baseline.version.as_deref(),
        seal: &baseline.seal,
        change_tokens: &baseline.change_tokens,
    };
    classify_change(
        before,
        ModelSnapshot { version: listed.version.as_deref(), seal, change_tokens: marks },
    )
}

/// All that is said of content that was judged now, worst first, as it is kept and as it was judged. Where a
/// version took the place of another, the differences in detail are no news.
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

/// What was said of the same content before, with what is said of its state now.
fn carried_findings(before: Vec<RecordedFinding>, verdict: &ModelVerdict) -> Vec<RecordedFinding> {
    const OF_STATES: [&str; 6] = [
        "registry/new",
        "registry/missing",
        "registry/incomplete",
        "registry/modified",
        "registry/bit-rot",
        "registry/replaced",
    ];
    let mut all: Vec<RecordedFinding> = verdict.finding.iter().map(RecordedFinding::from).collect();
    all.extend(before.into_iter().filter(|f| !OF_STATES.contains(&f.rule.as_str())));
    all.sort_by_key(|finding| Reverse(finding.severity));
    all
}
