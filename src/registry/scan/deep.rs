//! A deep check: every byte of one model.

use super::change::same_content;
use super::claims;
use super::due::Marks;
use crate::checkpoint::{Checkpoint, ModelFile};
use crate::engine::{RunError, RunOptions, RunReport};
use crate::examine::flips::{self, Compared};
use crate::examine::{self, ExamineError, Examined, Request, weights};
use crate::judge::integrity::{self, Options};
use crate::judge::{Finding, checksums, structure};
use crate::pinpoint::search::Limits;
use crate::registry::source::{Listed, ListedFile, Mark, OpenedModel, Source, SourceError};
use crate::registry::state::{Database, Purpose, StateError};
use crate::seal::layout::{self, Damaged};
use crate::seal::{self, Seal};
use crate::stream::progress::Progress;

/// Why a model could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be listed or opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It could not be read to its end.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The state could not be read or written: the scan ends.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<ExamineError> for CheckError {
    fn from(error: ExamineError) -> Self {
        match error {
            ExamineError::Run(error) => CheckError::Run(error),
            // No keys are asked for.
            ExamineError::Marks(_) => CheckError::Run(RunError::Unmeasured),
        }
    }
}

/// What is compared with: what the model was.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Row of the model.
    pub model: i64,
    /// Its content at the last deep check, if that was judged by this program, with these claims.
    pub judged: Option<&'a Seal>,
    /// What was accepted.
    pub accepted: Option<&'a Seal>,
    /// Whether another version took the place of the accepted one: how it differs is no news.
    pub replaced: bool,
}

/// How models are checked.
#[derive(Debug, Clone, Default)]
pub struct Checking {
    /// How they are read.
    pub run: RunOptions,
    /// How much is searched for flipped bits.
    pub limits: Limits,
}

/// What a deep check gave.
#[derive(Debug)]
pub struct DeepCheck {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Its files, where they are others than those of the list.
    pub files: Option<Vec<ListedFile>>,
    /// Its content.
    pub seal: Seal,
    /// Who measured, of the last reading.
    pub run: RunReport,
    /// Bytes that were read in all.
    pub bytes_read: u64,
    /// `None`: the content is the one that was judged before; what was said of it stands.
    pub found: Option<Found>,
}

/// What is said of content that was judged now.
#[derive(Debug, Default)]
pub struct Found {
    /// Of the content by itself.
    pub findings: Vec<Finding>,
    /// Where it is not what was accepted.
    pub changes: Vec<Finding>,
    /// How many files are not what their source claims.
    pub claims_broken: usize,
}

/// What a check is made with.
#[derive(Clone, Copy)]
pub struct With<'a> {
    /// What is remembered.
    pub database: &'a Database,
    /// How it is read.
    pub checking: &'a Checking,
    /// What watches.
    pub progress: &'a Progress,
}

/// Reads every byte of a model, from where an earlier check ended. Content that was judged before is only
/// digested; other content is examined in one pass, which verifies what its source claims.
///
/// # Errors
/// See [`CheckError`].
pub fn check(
    source: &dyn Source,
    listed: &Listed,
    marks: &Marks,
    expected: Expected<'_>,
    with: With<'_>,
) -> Result<DeepCheck, CheckError> {
    let OpenedModel { checkpoint: mut model, findings, files } = source.open(listed)?;
    let packed = files.map(|files| Listed { files, ..listed.clone() });
    let listed = packed.as_ref().unwrap_or(listed);
    hold_to_list(&model, listed)?;
    let mut bytes_read = 0;
    if let Some(judged) = expected.judged {
        let (seal, run) = digest(&model, expected.model, marks, with)?;
        bytes_read += run.engine.bytes_read;
        // What was found on the way is of what the content does not show.
        if same_content(judged, &seal) && findings.is_empty() {
            let files = packed.map(|listed| listed.files);
            return Ok(DeepCheck { checkpoint: model, files, seal, run, bytes_read, found: None });
        }
    }
    let damaged = layout::adopt(&mut model, expected.accepted);
    let file_hashing = claims::hashings(&model, listed);
    let mark = marks.to_examine(&model, &file_hashing, expected.accepted);
    let journal = with.database.journal(expected.model, Purpose::Examine, mark)?;
    let request = Request {
        audit: !model.tensors.is_empty(),
        file_hashing,
        journal: Some(&journal),
        ..Request::default()
    };
    let examined = measure(&model, &request, with);
    journal.finish(examined.is_ok())?;
    let examined = examined?;
    bytes_read += examined.run.engine.bytes_read;
    let found = Found { findings, ..Found::default() };
    let subject = Subject { model: &model, listed, examined: &examined, damaged: &damaged };
    let found = Some(subject.judge(found, expected, with)?);
    let files = packed.map(|listed| listed.files);
    let Examined { seal, run, .. } = examined;
    Ok(DeepCheck { checkpoint: model, files, seal, run, bytes_read, found })
}

/// The digests of a model; what the journal has of it is not read again.
fn digest(
    model: &Checkpoint,
    id: i64,
    marks: &Marks,
    with: With<'_>,
) -> Result<(Seal, RunReport), CheckError> {
    let journal = with.database.journal(id, Purpose::Digest, marks.mark)?;
    let request = Request { journal: Some(&journal), ..Request::default() };
    let digested = measure(model, &request, with);
    journal.finish(digested.is_ok())?;
    let Examined { seal, run, .. } = digested?;
    Ok((seal, run))
}

fn measure(
    model: &Checkpoint,
    request: &Request<'_>,
    with: With<'_>,
) -> Result<Examined, ExamineError> {
    examine::measure(model, request, &with.checking.run, with.progress)
}

/// A model that was examined.
struct Subject<'a> {
    model: &'a Checkpoint,
    listed: &'a Listed,
    examined: &'a Examined,
    damaged: &'a Damaged,
}

impl Subject<'_> {
    /// Adds to `found` all that is said of the model.
    fn judge(
        &self,
        mut found: Found,
        expected: Expected<'_>,
        with: With<'_>,
    ) -> Result<Found, CheckError> {
        let Subject { model, listed, examined, .. } = *self;
        let broken = claims::judge(model, listed, &examined.run);
        found.claims_broken = broken.len() + found.findings.len();
        found.findings.extend(broken);
        found.findings.extend(structure::problems(model, expected.accepted));
        found.findings.extend(model.remarks.iter().map(structure::finding));
        found.findings.extend(checksums::findings(model, &examined.run));
        if let Some(audited) = &examined.audited {
            let threads = with.checking.run.threads;
            found.findings.extend(weights::judge(model, audited, threads, with.progress)?);
        }
        // What its own seal says stands whatever is accepted.
        if let Some(sealed) = sealed_beside(model, listed, &mut found.findings) {
            let changes = self.compare(&sealed, &mut found.findings, with)?;
            found.findings.extend(changes);
        }
        if let Some(accepted) = expected.accepted.filter(|_| !expected.replaced) {
            let mut changes = self.compare(accepted, &mut found.findings, with)?;
            changes.retain(|change| !found.findings.contains(change));
            found.changes = changes;
        }
        Ok(found)
    }

    /// The differences from a seal, down to flipped bits. What damage explains is no less bad for it.
    fn compare(
        &self,
        sealed: &Seal,
        damage: &mut [Finding],
        with: With<'_>,
    ) -> Result<Vec<Finding>, RunError> {
        let Subject { model, examined, damaged, .. } = *self;
        let found = &examined.seal;
        let differences = integrity::compare(sealed, found, damaged, Options::default());
        structure::worsen(damage, &differences.explained);
        let mut changes = differences.findings;
        let compared = Compared { model, sealed, found, damaged: &damaged.headers };
        let mut all: Vec<&mut Finding> = changes.iter_mut().collect();
        let Checking { limits, run } = with.checking;
        flips::pinpoint(&compared, &mut all, None, *limits, run.threads, with.progress)?;
        Ok(changes)
    }
}

/// Refuses a model that is not the one that was listed a moment ago.
fn hold_to_list(model: &Checkpoint, listed: &Listed) -> Result<(), SourceError> {
    let changed = |path: &str, what: &str| SourceError::Changed {
        place: format!("{}: {path}", listed.name),
        what: what.to_owned(),
    };
    let own = model.own_files();
    for (file, listed) in own.iter().zip(&listed.files) {
        if file.path != listed.path {
            return Err(changed(&file.path, "its files are others"));
        }
        if file.bytes != listed.bytes || moved(file, &listed.mark) {
            return Err(changed(&file.path, "it was written since it was listed"));
        }
    }
    match own.len() == listed.files.len() {
        true => Ok(()),
        false => Err(changed("", "its files are others")),
    }
}

/// Whether a file of this machine was written since it was listed. Others are pinned by their sources.
fn moved(file: &ModelFile, mark: &Mark) -> bool {
    matches!(mark, Mark::Identity(identity) if *identity != file.identity)
}

/// The seal that is kept with a model of this machine.
fn sealed_beside(model: &Checkpoint, listed: &Listed, findings: &mut Vec<Finding>) -> Option<Seal> {
    if !listed.sealed || !model.path.is_dir() {
        return None;
    }
    match seal::read::read(&model.path.join(seal::FILE_NAME)) {
        Ok((sealed, _)) => Some(sealed),
        Err(error) => {
            let text = format!("{}: {error}", seal::FILE_NAME);
            let finding = Finding::new("integrity/seal-invalid", text);
            findings.push(finding.in_file(seal::FILE_NAME));
            None
        }
    }
}
