//! One model of a scan: checked, judged, recorded.

use super::change::{Change, Moment, judge, other_version};
use super::deep::{self, CheckError, Expected, Found, With};
use super::due::Marks;
use super::{CheckedModel, Running};
use crate::source::{Listed, ListedFile, Source, SourceError};
use crate::state::{Baseline, Checked, Content, Deep, FileMark, Known, Seen};
use std::cmp::Reverse;
use tensorseal_core::judge::Finding;
use tensorseal_core::record::{RecordedFinding, State};
use tensorseal_core::seal::Seal;

/// A model that is being checked.
pub(super) struct InSource<'a> {
    pub source: &'a dyn Source,
    pub listed: &'a Listed,
    pub marks: &'a Marks,
    /// Number of its row.
    pub id: i64,
    /// What was known of it; `None`: it was not seen before.
    pub known: Option<&'a Known>,
}

/// The row of a model that was listed.
pub(super) struct SeenModel {
    pub id: i64,
    name: String,
    version: Option<String>,
    files: u64,
    bytes: u64,
    signed: bool,
    sealed: bool,
    mark: [u8; 32],
}

impl SeenModel {
    pub fn new(id: i64, listed: &Listed, marks: &Marks) -> SeenModel {
        SeenModel {
            id,
            name: listed.name.clone(),
            version: listed.version.clone(),
            files: listed.files.len() as u64,
            bytes: listed.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            signed: listed.signed,
            sealed: listed.sealed,
            mark: marks.mark,
        }
    }

    pub fn row<'a>(&'a self, source: &'a str) -> Seen<'a> {
        Seen {
            source,
            name: &self.name,
            version: self.version.as_deref(),
            files: self.files,
            bytes: self.bytes,
            signed: self.signed,
            sealed: self.sealed,
            mark: self.mark,
        }
    }
}

/// What is judged of a model.
struct Verdict {
    state: State,
    detail: String,
    /// Of the state.
    finding: Option<Finding>,
    content: Content,
}

impl Running<'_, '_> {
    /// Reads a model, and records what became of it.
    pub(super) fn check(&mut self, model: &InSource<'_>) -> Result<(), CheckError> {
        let InSource { source, listed, marks, id, known } = *model;
        if let Some(why) = &listed.unreadable {
            let (place, why) = (listed.name.clone(), why.clone());
            return Err(SourceError::Unreachable { place, why }.into());
        }
        let database = self.scan.database;
        let baseline = database.baseline(id)?;
        let accepted = baseline.as_ref().map(|baseline| &baseline.seal);
        let was = baseline.as_ref().and_then(|baseline| baseline.version.as_deref());
        let replaced = other_version(was, listed.version.as_deref()).is_some();
        let found = database.found(id)?;
        let content = found.as_ref().or(accepted);
        let judged = content.zip(known.and_then(claims_judged));
        let expected = Expected { model: id, judged, accepted, replaced };
        let (checking, progress) = (&self.scan.checking, self.scan.progress);
        let with = With { database, checking, progress };
        let deep = deep::check(source, listed, marks, expected, with)?;
        self.run.deep_checked += 1;
        self.run.bytes_read += deep.bytes_read;
        let file_marks = file_marks(&deep.files);
        let before = database.findings(id)?;
        let broken = match &deep.found {
            Some(found) => found.claims_broken,
            None => before.iter().filter(|found| found.breaks_claim()).count(),
        };
        let verdict = verdict(model, (&deep.seal, &file_marks), broken, baseline.as_ref());
        let state = verdict.state.name();
        tracing::debug!(model = ?listed.name, state, bytes = deep.bytes_read, "checked");
        let (recorded, judged) = match &deep.found {
            Some(found) => findings(found, &verdict),
            None => (standing(before, &verdict), Vec::new()),
        };
        database.record(&Checked {
            model: id,
            run: self.run.id,
            at: (self.scan.clock)(),
            version: listed.version.as_deref(),
            state: verdict.state,
            detail: &verdict.detail,
            findings: &recorded,
            deep: Some(Deep {
                mark: marks.mark,
                claims: deep.claims,
                seal: &deep.seal,
                marks: &file_marks,
                content: verdict.content,
            }),
        })?;
        (self.scan.each)(&CheckedModel {
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
fn claims_judged(known: &Known) -> Option<[u8; 32]> {
    let by_this = known.checked_tool.as_deref() == Some(env!("CARGO_PKG_VERSION"));
    known.checked_claims.filter(|_| by_this)
}

fn file_marks(files: &[ListedFile]) -> Vec<FileMark> {
    let of = |file: &ListedFile| FileMark { path: file.path.clone(), mark: file.mark.clone() };
    files.iter().map(of).collect()
}

/// What became of a model that was read: its content and its marks, and how many files are not what is claimed.
fn verdict(
    model: &InSource<'_>,
    (seal, marks): (&Seal, &[FileMark]),
    broken: usize,
    baseline: Option<&Baseline>,
) -> Verdict {
    let listed = model.listed;
    let change = baseline.map(|baseline| against(baseline, seal, listed, marks));
    // Content that contradicts its own source is never the accepted one; that of a part is not, either.
    let content = match &change {
        _ if !listed.incomplete.is_empty() => Content::Partial,
        Some(change) if change.state == State::Ok => Content::Accepted,
        Some(_) => Content::Other,
        None if broken > 0 => Content::Partial,
        None => Content::First,
    };
    let verdict = |state, detail: String, finding| Verdict { state, detail, finding, content };
    if let Some(Change { state, detail, finding }) = change.filter(|_| content == Content::Other) {
        return verdict(state, detail, finding);
    }
    if broken > 0 {
        let detail = match broken {
            1 => "a file is not what its source says it is".to_owned(),
            n => format!("{n} files are not what their source says they are"),
        };
        return verdict(State::Modified, detail, None);
    }
    if !listed.incomplete.is_empty() {
        let detail = listed.incomplete.join("; ");
        let finding = Finding::new("registry/incomplete", detail.clone());
        return verdict(State::Incomplete, detail, Some(finding));
    }
    if content == Content::First {
        let detail = "not seen before".to_owned();
        let finding = Finding::new("registry/new", format!("{}: {detail}", listed.name));
        return verdict(State::New, detail, Some(finding));
    }
    verdict(State::Ok, "as accepted".to_owned(), None)
}

fn against(baseline: &Baseline, seal: &Seal, listed: &Listed, marks: &[FileMark]) -> Change {
    let before = Moment {
        version: baseline.version.as_deref(),
        seal: &baseline.seal,
        marks: &baseline.marks,
    };
    judge(before, Moment { version: listed.version.as_deref(), seal, marks })
}

/// All that is said of content that was judged now, worst first, as it is kept and as it was judged. Where a
/// version took the place of another, the differences in detail are no news.
fn findings(found: &Found, verdict: &Verdict) -> (Vec<RecordedFinding>, Vec<Finding>) {
    let mut all: Vec<Finding> = verdict.finding.iter().cloned().collect();
    all.extend(found.findings.iter().cloned());
    if matches!(verdict.state, State::Modified | State::BitRot) {
        all.extend(found.changes.iter().cloned());
    }
    all.sort_by_key(|finding| Reverse(finding.severity));
    (all.iter().map(RecordedFinding::from).collect(), all)
}

/// What was said of the same content before, with what is said of its state now.
fn standing(before: Vec<RecordedFinding>, verdict: &Verdict) -> Vec<RecordedFinding> {
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
