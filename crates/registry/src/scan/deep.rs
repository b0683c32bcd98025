//! A deep check: every byte of one model.

use super::change::same_content;
use super::due::ListingFingerprint;
use super::{listed_digests, sidecars};
use crate::source::{ChangeToken, ListedFile, ListedModel, OpenedModel, Source, SourceError};
use crate::state::{Database, Purpose, StateError};
use tensorseal_core::examine::expectations::{self, Expectations, FlipSearch, SealReference};
use tensorseal_core::examine::{self, Examination, ExamineError, Request};
use tensorseal_core::judge::{Finding, checksums, structure};
use tensorseal_core::pinpoint::search::SearchLimits;
use tensorseal_core::seal::Seal;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, ModelFile, OpenError};

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
            // A scan searches for no marks.
            _ => CheckError::Run(RunError::Unmeasured),
        }
    }
}

impl From<OpenError> for CheckError {
    fn from(error: OpenError) -> Self {
        CheckError::Source(error.into())
    }
}

/// What is compared with: what the model was.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckReferences<'a> {
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
pub struct CheckOptions {
    /// How they are read.
    pub run: RunOptions,
    /// How much is searched for flipped bits.
    pub limits: SearchLimits,
}

/// What a deep check gave.
#[derive(Debug)]
pub struct DeepCheck {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Its files, with all that is claimed of them.
    pub files: Vec<ListedFile>,
    /// A digest of what it was held to.
    pub expectations_digest: [u8; 32],
    /// Its content.
    pub seal: Seal,
    /// Who measured, of the last reading.
    pub run: RunReport,
    /// Bytes that were read in all.
    pub bytes_read: u64,
    /// `None`: the content is the one that was judged before; what was said of it stands.
    pub content_findings: Option<ContentFindings>,
}

/// What is said of content that was judged now.
#[derive(Debug, Default)]
pub struct ContentFindings {
    /// Of the content by itself.
    pub findings: Vec<Finding>,
    /// Where it is not what was accepted.
    pub changes: Vec<Finding>,
    /// How many files are not what their source claims.
    pub digest_mismatches: usize,
}

/// What a check is made with.
#[derive(Clone, Copy)]
pub(super) struct CheckContext<'a> {
    /// What is remembered.
    pub database: &'a Database,
    /// How it is read.
    pub check_options: &'a CheckOptions,
    /// What watches.
    pub progress: &'a Progress,
}

/// Reads every byte of a model, from where an earlier check ended. Content that was judged before is only
/// digested; other content is examined in one pass, which verifies what its source claims.
///
/// # Errors
/// See [`CheckError`].
pub(super) fn check(
    source: &dyn Source,
    listed: &ListedModel,
    marks: &ListingFingerprint,
    expected: CheckReferences<'_>,
    with: CheckContext<'_>,
) -> Result<DeepCheck, CheckError> {
    let OpenedModel { checkpoint: model, findings, files, seal } = source.open(listed)?;
    let mut files = files.unwrap_or_else(|| listed.files.clone());
    ensure_as_listed(&model, &listed.name, &files)?;
    let unusable = sidecars::add_signed_digests(&model, &mut files);
    let sealed = seal.map(|seal| sidecars::read_seal(&seal)).transpose()?;
    let claims =
        listed_digests::expectations_digest(&files, sealed.as_ref().map(|sealed| &sealed.digest));
    let done = |checkpoint, files, (seal, run), bytes_read, found| {
        Ok(DeepCheck {
            checkpoint,
            files,
            expectations_digest: claims,
            seal,
            run,
            bytes_read,
            content_findings: found,
        })
    };
    let mut bytes_read = 0;
    if let Some((judged, _)) = expected.judged.filter(|(_, with)| *with == claims) {
        let (seal, run) = digest(&model, expected.model, marks, with)?;
        bytes_read += run.engine.bytes_read;
        // What was found on the way is of what the content does not show.
        if same_content(judged, &seal) && findings.is_empty() {
            ensure_unchanged(source, listed, &model)?;
            return done(model, files, (seal, run), bytes_read, None);
        }
    }
    let own = sealed.as_ref().and_then(|sealed| sealed.seal.as_ref().ok());
    let CheckOptions { limits, run: options } = with.check_options;
    // No sidecar is looked for: of a registry, it is more to fetch than the search is worth.
    let search = FlipSearch { seal_path: None, limits: Some(*limits), explain_structure: false };
    let held_to = |seal| SealReference { seal, content_only: false, search: Some(search) };
    // What its own seal says stands whatever is accepted.
    let accepted = expected.accepted.filter(|_| !expected.replaced);
    let seals: Vec<SealReference<'_>> = own.into_iter().chain(accepted).map(held_to).collect();
    let holding = Expectations {
        layout: expected.accepted,
        bytes_reference: expected.accepted.or(own),
        seals: &seals,
        code: true,
        threads: options.threads.clone(),
    };
    let examine = |model: &Checkpoint| examine_on(model, &files, marks, expected, with);
    let held = expectations::check(model, &holding, examine, with.progress)?;
    let changed = accepted.is_some();
    let (model, examined, mut said) = (held.model, held.examined, held.findings);
    bytes_read += examined.run.engine.bytes_read;
    let changes = if changed { said.differences.pop() } else { None };
    let own_changes = said.differences.pop();
    let mut found = ContentFindings { findings, ..ContentFindings::default() };
    let broken = listed_digests::mismatches(&model, &files, &examined.run);
    found.digest_mismatches = broken.len() + found.findings.len();
    found.findings.extend(broken);
    found.findings.append(&mut said.structure);
    found.findings.extend(model.remarks.iter().map(structure::finding));
    found.findings.extend(checksums::findings(&model, &examined.run));
    found.findings.append(&mut said.code);
    found.findings.append(&mut said.weights);
    structure::raise_severity(&mut found.findings, &held.explained);
    found.findings.extend(own_changes.unwrap_or_default());
    found.findings.extend(sealed.and_then(|sealed| sealed.seal.err()).map(|invalid| *invalid));
    found.changes = changes.unwrap_or_default();
    found.changes.retain(|change| !found.findings.contains(change));
    found.findings.extend(unusable);
    found.findings.append(&mut said.outdated);
    ensure_unchanged(source, listed, &model)?;
    let Examination { seal, run, .. } = examined;
    done(model, files, (seal, run), bytes_read, Some(found))
}

/// Examines a model from where an earlier check of the same content ended.
fn examine_on(
    model: &Checkpoint,
    files: &[ListedFile],
    marks: &ListingFingerprint,
    expected: CheckReferences<'_>,
    with: CheckContext<'_>,
) -> Result<Examination, CheckError> {
    let file_hashing = listed_digests::hashings(model, files);
    let mark = marks.examination_key(model, &file_hashing, expected.accepted);
    let journal = with.database.journal(expected.model, Purpose::Examine, mark)?;
    let request = Request {
        audit: !model.tensors.is_empty(),
        file_hashing,
        journal: Some(&journal),
        ..Request::default()
    };
    let examined = measure(model, &request, with);
    journal.finish(examined.is_ok())?;
    Ok(examined?)
}

/// Refuses a model that is no longer what was listed and opened, after the last byte of it was read.
fn ensure_unchanged(
    source: &dyn Source,
    listed: &ListedModel,
    model: &Checkpoint,
) -> Result<(), SourceError> {
    model.verify_unchanged(&[])?;
    source.ensure_unchanged(listed)
}

/// The digests of a model; what the journal has of it is not read again.
fn digest(
    model: &Checkpoint,
    id: i64,
    marks: &ListingFingerprint,
    with: CheckContext<'_>,
) -> Result<(Seal, RunReport), CheckError> {
    let journal = with.database.journal(id, Purpose::Digest, marks.digest)?;
    let request = Request { journal: Some(&journal), ..Request::default() };
    let digested = measure(model, &request, with);
    journal.finish(digested.is_ok())?;
    let Examination { seal, run, .. } = digested?;
    Ok((seal, run))
}

fn measure(
    model: &Checkpoint,
    request: &Request<'_>,
    with: CheckContext<'_>,
) -> Result<Examination, ExamineError> {
    examine::measure(model, request, &with.check_options.run, with.progress)
}

/// Refuses a model that is not the one that was listed a moment ago.
fn ensure_as_listed(
    model: &Checkpoint,
    name: &str,
    files: &[ListedFile],
) -> Result<(), SourceError> {
    let changed = |path: &str, what: &str| SourceError::Changed {
        place: format!("{name}: {path}"),
        what: what.to_owned(),
    };
    let own = model.model_files();
    for (file, listed) in own.iter().zip(files) {
        if file.path != listed.path {
            return Err(changed(&file.path, "its files are others"));
        }
        if file.bytes != listed.bytes || moved(file, &listed.change_token) {
            return Err(changed(&file.path, "it was written since it was listed"));
        }
    }
    match own.len() == files.len() {
        true => Ok(()),
        false => Err(changed("", "its files are others")),
    }
}

/// Whether a file of this machine was written since it was listed. Others are pinned by their sources.
fn moved(file: &ModelFile, mark: &ChangeToken) -> bool {
    matches!(mark, ChangeToken::Identity(identity) if *identity != file.identity)
}
