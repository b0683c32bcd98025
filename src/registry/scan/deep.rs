//! A deep check: every byte of one model.

use super::change::same_content;
use super::due::Marks;
use super::{beside, claims};
use crate::checkpoint::{Checkpoint, ModelFile};
use crate::code;
use crate::engine::{RunError, RunOptions, RunReport};
use crate::examine::flips::{self, Compared};
use crate::examine::{self, ExamineError, Examined, Request, weights};
use crate::judge::integrity::{self, Options};
use crate::judge::{self, Finding, checksums, outdated, structure};
use crate::pinpoint::search::Limits;
use crate::registry::source::{Listed, ListedFile, Mark, OpenedModel, Source, SourceError};
use crate::registry::state::{Database, Purpose, StateError};
use crate::seal::Seal;
use crate::seal::layout::{self, Damaged};
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
    /// Its content at the last deep check, if that was judged by this program, and the
    /// [digest](claims::digest) of what it was held to then.
    pub judged: Option<(&'a Seal, [u8; 32])>,
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
    /// Its files, with all that is claimed of them.
    pub files: Vec<ListedFile>,
    /// A [digest](claims::digest) of what it was held to.
    pub claims: [u8; 32],
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
    let OpenedModel { checkpoint: mut model, findings, files, seal } = source.open(listed)?;
    let mut files = files.unwrap_or_else(|| listed.files.clone());
    hold_to_list(&model, &listed.name, &files)?;
    let unusable = beside::claim_signed(&model, &mut files);
    let sealed = seal.map(|seal| beside::sealed(&seal)).transpose()?;
    let claims = claims::digest(&files, sealed.as_ref().map(|sealed| &sealed.digest));
    let done = |checkpoint, files, (seal, run), bytes_read, found| {
        Ok(DeepCheck { checkpoint, files, claims, seal, run, bytes_read, found })
    };
    let mut bytes_read = 0;
    if let Some((judged, _)) = expected.judged.filter(|(_, with)| *with == claims) {
        let (seal, run) = digest(&model, expected.model, marks, with)?;
        bytes_read += run.engine.bytes_read;
        // What was found on the way is of what the content does not show.
        if same_content(judged, &seal) && findings.is_empty() {
            settle(source, listed, &model)?;
            return done(model, files, (seal, run), bytes_read, None);
        }
    }
    let own = sealed.as_ref().and_then(|sealed| sealed.seal.as_ref().ok());
    let known = expected.accepted.or(own);
    let outdated = known.map(|seal| layout::as_bytes(&mut model, seal)).unwrap_or_default();
    let damaged = layout::adopt(&mut model, expected.accepted);
    let file_hashing = claims::hashings(&model, &files);
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
    let mut found = Found { findings, ..Found::default() };
    let subject = Subject { model: &model, files: &files, examined: &examined, damaged: &damaged };
    subject.judge(&mut found, sealed.map(|sealed| sealed.seal), expected, with)?;
    found.findings.extend(unusable);
    found.findings.extend(outdated::not_looked_into(&outdated));
    settle(source, listed, &model)?;
    let Examined { seal, run, .. } = examined;
    done(model, files, (seal, run), bytes_read, Some(found))
}

/// Refuses a model that is no longer what was listed and opened, after the last byte of it was read.
fn settle(source: &dyn Source, listed: &Listed, model: &Checkpoint) -> Result<(), SourceError> {
    model.still_there(&[])?;
    source.still_lists(listed)
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
    files: &'a [ListedFile],
    examined: &'a Examined,
    damaged: &'a Damaged,
}

impl Subject<'_> {
    /// Adds to `found` all that is said of the model.
    fn judge(
        &self,
        found: &mut Found,
        sealed: Option<Result<Seal, Box<Finding>>>,
        expected: Expected<'_>,
        with: With<'_>,
    ) -> Result<(), CheckError> {
        let Subject { model, files, examined, .. } = *self;
        let broken = claims::judge(model, files, &examined.run);
        found.claims_broken = broken.len() + found.findings.len();
        found.findings.extend(broken);
        found.findings.extend(structure::problems(model, expected.accepted));
        found.findings.extend(model.remarks.iter().map(structure::finding));
        found.findings.extend(checksums::findings(model, &examined.run));
        let code = code::examine(model).map_err(SourceError::from)?;
        found.findings.extend(judge::code::findings(&code));
        if let Some(audited) = &examined.audited {
            let threads = &with.checking.run.threads;
            found.findings.extend(weights::judge(model, audited, threads, with.progress)?);
        }
        // What its own seal says stands whatever is accepted.
        match sealed {
            Some(Ok(sealed)) => {
                let changes = self.compare(&sealed, &mut found.findings, with)?;
                found.findings.extend(changes);
            }
            Some(Err(invalid)) => found.findings.push(*invalid),
            None => {}
        }
        if let Some(accepted) = expected.accepted.filter(|_| !expected.replaced) {
            let mut changes = self.compare(accepted, &mut found.findings, with)?;
            changes.retain(|change| !found.findings.contains(change));
            found.changes = changes;
        }
        Ok(())
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
        flips::pinpoint(&compared, &mut all, None, *limits, &run.threads, with.progress)?;
        Ok(changes)
    }
}

/// Refuses a model that is not the one that was listed a moment ago.
fn hold_to_list(model: &Checkpoint, name: &str, files: &[ListedFile]) -> Result<(), SourceError> {
    let changed = |path: &str, what: &str| SourceError::Changed {
        place: format!("{name}: {path}"),
        what: what.to_owned(),
    };
    let own = model.own_files();
    for (file, listed) in own.iter().zip(files) {
        if file.path != listed.path {
            return Err(changed(&file.path, "its files are others"));
        }
        if file.bytes != listed.bytes || moved(file, &listed.mark) {
            return Err(changed(&file.path, "it was written since it was listed"));
        }
    }
    match own.len() == files.len() {
        true => Ok(()),
        false => Err(changed("", "its files are others")),
    }
}

/// Whether a file of this machine was written since it was listed. Others are pinned by their sources.
fn moved(file: &ModelFile, mark: &Mark) -> bool {
    matches!(mark, Mark::Identity(identity) if *identity != file.identity)
}
