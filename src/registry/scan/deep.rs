//! A deep check: every byte of one model.

use super::claims;
use super::due::Marks;
use crate::checkpoint::{Checkpoint, ModelFile};
use crate::engine::{RunError, RunOptions, RunReport};
use crate::examine::flips::{self, Compared};
use crate::examine::{self, ExamineError, Examined, Request, weights};
use crate::judge::integrity::{self, Options};
use crate::judge::{Finding, checksums, structure};
use crate::pinpoint::search::Limits;
use crate::registry::source::{Listed, ListedFile, Mark, Source, SourceError};
use crate::registry::state::{Database, StateError};
use crate::seal::build::measure_resumed;
use crate::seal::{self, Seal, layout};
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

/// Reads every byte of a model. Content that was judged before is only digested, and goes on where an earlier
/// check ended; other content is examined in one pass, which verifies what its source claims.
///
/// # Errors
/// See [`CheckError`].
pub fn check(
    source: &dyn Source,
    listed: &Listed,
    marks: &Marks,
    expected: Expected<'_>,
    (database, checking, progress): (&Database, &Checking, &Progress),
) -> Result<DeepCheck, CheckError> {
    let opened = source.open(listed)?;
    let mut model = opened.checkpoint;
    let packed = opened.files.map(|files| Listed { files, ..listed.clone() });
    let listed = packed.as_ref().unwrap_or(listed);
    hold_to_list(&model, listed)?;
    let mut bytes_read = 0;
    if let Some(judged) = expected.judged {
        let journal = database.journal(expected.model, marks.mark)?;
        let measured = measure_resumed(&model, &journal, &checking.run, progress);
        let (seal, run) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                // What was measured until now is not measured again.
                journal.finish()?;
                return Err(error.into());
            }
        };
        journal.finish()?;
        bytes_read += run.engine.bytes_read;
        // What was found on the way is of what the content does not show.
        if super::change::same_content(judged, &seal) && opened.findings.is_empty() {
            let files = packed.map(|listed| listed.files);
            return Ok(DeepCheck { checkpoint: model, files, seal, run, bytes_read, found: None });
        }
    }
    let damaged = layout::adopt(&mut model, expected.accepted);
    let request = Request {
        audit: !model.tensors.is_empty(),
        hashing_by_file: Some(claims::hashings(&model, listed)),
        ..Request::default()
    };
    let Examined { seal, audited, run, .. } =
        examine::measure(&model, &request, &checking.run, progress)?;
    bytes_read += run.engine.bytes_read;
    let mut found = Found { findings: opened.findings, ..Found::default() };
    let broken = claims::judge(&model, listed, &run);
    found.claims_broken = broken.len() + found.findings.len();
    found.findings.extend(broken);
    found.findings.extend(structure::problems(&model, expected.accepted));
    found.findings.extend(model.remarks.iter().map(structure::finding));
    found.findings.extend(checksums::findings(&model, &run));
    if let Some(audited) = &audited {
        let threads = checking.run.threads;
        found.findings.extend(weights::judge(&model, audited, threads, progress)?);
    }
    let seals = [sealed_beside(&model, listed, &mut found.findings).as_ref(), expected.accepted]
        .map(|seal| seal.cloned());
    for (index, sealed) in seals.iter().enumerate() {
        let Some(sealed) = sealed else { continue };
        let differences = integrity::compare(sealed, &seal, &damaged, Options::default());
        let mut changes = differences.findings;
        let compared = Compared { model: &model, sealed, found: &seal, damaged: &damaged.headers };
        let mut all: Vec<&mut Finding> = changes.iter_mut().collect();
        flips::pinpoint(
            &compared,
            &mut all,
            None,
            checking.limits,
            checking.run.threads,
            progress,
        )?;
        structure::worsen(&mut found.findings, &differences.explained);
        // What its own seal says stands whatever is accepted.
        if index == 0 {
            found.findings.extend(changes);
        } else {
            changes.retain(|change| !found.findings.contains(change));
            found.changes = changes;
        }
    }
    let files = packed.map(|listed| listed.files);
    Ok(DeepCheck { checkpoint: model, files, seal, run, bytes_read, found: Some(found) })
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
