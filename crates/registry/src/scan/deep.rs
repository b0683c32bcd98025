//! The deep check, which reads every byte of one model.

use super::change::same_content;
use super::due::ListingFingerprint;
use super::{listed_digests, sidecars};
use crate::source::{ChangeToken, ListedFile, ListedModel, OpenedModel, Source, SourceError};
use crate::state::{Database, Purpose, StateError};
use serde_json::Value;
use tensorseal_core::examine::expectations::{self, Expectations, FlipSearch, SealReference};
use tensorseal_core::examine::{self, Examination, ExamineError, Request};
use tensorseal_core::judge::{Finding, checksums, structure};
use tensorseal_core::pinpoint::chunk_digests;
use tensorseal_core::pinpoint::search::SearchLimits;
use tensorseal_core::seal::Seal;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, ModelFile, OpenError};

/// An error while a model is checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The model could not be listed or opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The model could not be read completely.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The state database could not be read or written. This ends the scan.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<ExamineError> for CheckError {
    fn from(error: ExamineError) -> Self {
        match error {
            ExamineError::Run(error) => CheckError::Run(error),
            // A deep check measures no marks.
            _ => CheckError::Run(RunError::Unmeasured),
        }
    }
}

impl From<OpenError> for CheckError {
    fn from(error: OpenError) -> Self {
        CheckError::Source(error.into())
    }
}

/// The earlier contents context which a model is compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckReferences<'a> {
    /// The row of the model.
    pub model: i64,
    /// The content at the last deep check, if this version of the program judged it, and the
    /// [digest of its expectations](listed_digests::expectations_digest).
    pub judged: Option<(&'a Seal, [u8; 32])>,
    /// The accepted content.
    pub accepted: Option<&'a Seal>,
    /// Whether another version replaced the accepted one. The differences in detail are not reported then.
    pub replaced: bool,
}

/// The options of deep checks.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// How models are read.
    pub run: RunOptions,
    /// The limits of the search for bit flips.
    pub limits: SearchLimits,
}

/// The result of a deep check.
#[derive(Debug)]
pub struct DeepCheck {
    /// The model.
    pub checkpoint: Checkpoint,
    /// The files of the model, context all stated digests.
    pub files: Vec<ListedFile>,
    /// The digest of the expectations.
    pub expectations_digest: [u8; 32],
    /// The content.
    pub seal: Seal,
    /// The report of the last measurement.
    pub run: RunReport,
    /// The total number of bytes that were read.
    pub bytes_read: u64,
    /// The findings; `None` if the content is the one that was judged before, so that its findings still apply.
    pub content_findings: Option<ContentFindings>,
}

/// The findings about content that was judged now.
#[derive(Debug, Default)]
pub struct ContentFindings {
    /// The findings about the content alone.
    pub findings: Vec<Finding>,
    /// The differences from the accepted content.
    pub changes: Vec<Finding>,
    /// The number of findings, the first ones, about files that are not those that their source states.
    pub digest_mismatches: usize,
}

/// The context of a check.
#[derive(Clone, Copy)]
pub(super) struct CheckContext<'a> {
    /// The state database.
    pub database: &'a Database,
    /// The options of the check.
    pub check_options: &'a CheckOptions,
    /// The progress display.
    pub progress: &'a Progress,
}

/// Reads every byte of a model, except for those that the journal of an interrupted check has. Content that was judged
/// before is only digested. Other content is examined in one pass, which also verifies the digests that its source states.
///
/// # Errors
/// Returns a [`CheckError`] if the model cannot be opened or read, changes while it is read, or if the state database
/// cannot be used.
pub(super) fn check(
    source: &dyn Source,
    listed: &ListedModel,
    fingerprint: &ListingFingerprint,
    expected: CheckReferences<'_>,
    context: CheckContext<'_>,
) -> Result<DeepCheck, CheckError> {
    let OpenedModel { checkpoint: model, findings, files, seal } = source.open(listed)?;
    let mut files = files.unwrap_or_else(|| listed.files.clone());
    ensure_as_listed(&model, &listed.name, &files)?;
    let unusable = sidecars::add_signed_digests(&model, &mut files);
    let sealed = seal.map(|seal| sidecars::read_seal(&seal)).transpose()?;
    let seal_digest = sealed.as_ref().map(|sealed| &sealed.digest);
    let expectations_digest = listed_digests::expectations_digest(&files, seal_digest);
    let result = |checkpoint, files, (seal, run), bytes_read, content_findings| {
        Ok(DeepCheck {
            checkpoint,
            files,
            expectations_digest,
            seal,
            run,
            bytes_read,
            content_findings,
        })
    };
    let mut bytes_read = 0;
    if let Some((judged, _)) =
        expected.judged.filter(|(_, judged_with)| *judged_with == expectations_digest)
    {
        let (seal, run) = digest(&model, expected.model, fingerprint, context)?;
        bytes_read += run.engine.bytes_read;
        // Findings about archives are not visible in the content.
        if same_content(judged, &seal) && findings.is_empty() {
            ensure_unchanged(source, listed, &model)?;
            return result(model, files, (seal, run), bytes_read, None);
        }
    }
    let own_seal = sealed.as_ref().and_then(|sealed| sealed.seal.as_ref().ok());
    let CheckOptions { limits, run: options } = context.check_options;
    // Chunk digests are not used: fetching them costs more than the search is worth.
    let search = FlipSearch { seal_path: None, limits: Some(*limits), explain_structure: false };
    let reference = |seal| SealReference { seal, content_only: false, search: Some(search) };
    // The seal next to the model applies whatever is accepted.
    let accepted = expected.accepted.filter(|_| !expected.replaced);
    let seals: Vec<SealReference<'_>> =
        own_seal.into_iter().chain(accepted).map(reference).collect();
    let expectations = Expectations {
        layout: expected.accepted,
        bytes_reference: expected.accepted.or(own_seal),
        seals: &seals,
        code: true,
        threads: options.threads.clone(),
    };
    let examine = |model: &Checkpoint| examine_on(model, &files, fingerprint, expected, context);
    let checked = expectations::check(model, &expectations, examine, context.progress)?;
    let has_accepted = accepted.is_some();
    let (model, examined, mut judged) = (checked.model, checked.examined, checked.findings);
    bytes_read += examined.run.engine.bytes_read;
    let changes = if has_accepted { judged.differences.pop() } else { None };
    let own_changes = judged.differences.pop();
    let mut found = ContentFindings { findings, ..ContentFindings::default() };
    let mismatches = listed_digests::mismatches(&model, &files, &examined.run);
    found.digest_mismatches = mismatches.len() + found.findings.len();
    found.findings.extend(mismatches);
    found.findings.append(&mut judged.structure);
    found.findings.extend(model.remarks.iter().map(structure::finding));
    found.findings.extend(checksums::findings(&model, &examined.run));
    found.findings.append(&mut judged.code);
    found.findings.append(&mut judged.weights);
    structure::raise_severity(&mut found.findings, &checked.explained);
    found.findings.extend(own_changes.unwrap_or_default());
    found.findings.extend(sealed.and_then(|sealed| sealed.seal.err()).map(|invalid| *invalid));
    found.changes = changes.unwrap_or_default();
    found.changes.retain(|change| !found.findings.contains(change));
    if model.skipped.iter().any(|skipped| skipped.path == chunk_digests::FILE_NAME) {
        found.findings.iter_mut().for_each(recommend_search);
    }
    found.findings.extend(unusable);
    found.findings.append(&mut judged.outdated);
    ensure_unchanged(source, listed, &model)?;
    let Examination { seal, run, .. } = examined;
    result(model, files, (seal, run), bytes_read, Some(found))
}

/// Says in a finding about a change that no bit flip explained that `verify` searches further, in the changed chunks.
fn recommend_search(finding: &mut Finding) {
    let unexplained = |pinpointed: &Value| pinpointed["unexplained_total"].as_u64() > Some(0);
    if finding.evidence.get("pinpointed").is_some_and(unexplained) {
        finding.message.push_str("; not searched further: run `tensorseal verify`");
    }
}

/// Examines a model. Objects in the journal of an earlier check of the same content are not read again.
fn examine_on(
    model: &Checkpoint,
    files: &[ListedFile],
    fingerprint: &ListingFingerprint,
    expected: CheckReferences<'_>,
    context: CheckContext<'_>,
) -> Result<Examination, CheckError> {
    let file_hashing = listed_digests::hashings(model, files);
    let key = fingerprint.examination_key(model, &file_hashing, expected.accepted);
    let journal = context.database.journal(expected.model, Purpose::Examine, key)?;
    let request = Request {
        audit: !model.tensors.is_empty(),
        file_hashing,
        journal: Some(&journal),
        ..Request::default()
    };
    let examined = measure(model, &request, context);
    journal.finish(examined.is_ok())?;
    Ok(examined?)
}

/// Checks, after the last byte was read, that the model is still the one that was listed and opened.
fn ensure_unchanged(
    source: &dyn Source,
    listed: &ListedModel,
    model: &Checkpoint,
) -> Result<(), SourceError> {
    model.verify_unchanged(&[])?;
    source.ensure_unchanged(listed)
}

/// Digests a model. Objects in the journal are not read again.
fn digest(
    model: &Checkpoint,
    id: i64,
    fingerprint: &ListingFingerprint,
    context: CheckContext<'_>,
) -> Result<(Seal, RunReport), CheckError> {
    let journal = context.database.journal(id, Purpose::Digest, fingerprint.digest)?;
    let request = Request { journal: Some(&journal), ..Request::default() };
    let digested = measure(model, &request, context);
    journal.finish(digested.is_ok())?;
    let Examination { seal, run, .. } = digested?;
    Ok((seal, run))
}

fn measure(
    model: &Checkpoint,
    request: &Request<'_>,
    context: CheckContext<'_>,
) -> Result<Examination, ExamineError> {
    examine::measure(model, request, &context.check_options.run, context.progress)
}

/// Checks that an opened model is the one that was listed.
fn ensure_as_listed(
    model: &Checkpoint,
    name: &str,
    files: &[ListedFile],
) -> Result<(), SourceError> {
    let changed = |path: &str, what: &str| SourceError::Changed {
        place: format!("{name}: {path}"),
        what: what.to_owned(),
    };
    let model_files = model.model_files();
    for (file, listed) in model_files.iter().zip(files) {
        if file.path != listed.path {
            return Err(changed(&file.path, "its list of files changed"));
        }
        if file.bytes != listed.bytes || was_written(file, &listed.change_token) {
            return Err(changed(&file.path, "the file was written after it was listed"));
        }
    }
    match model_files.len() == files.len() {
        true => Ok(()),
        false => Err(changed("", "its list of files changed")),
    }
}

/// Returns whether a local file was written after it was listed. Remote files are pinned by their sources.
fn was_written(file: &ModelFile, listed: &ChangeToken) -> bool {
    matches!(listed, ChangeToken::Identity(identity) if *identity != file.identity)
}
