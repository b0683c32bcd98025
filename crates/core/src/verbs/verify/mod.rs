//! The `verify` command: compares a model with its seal, its signature, an expected root, or all of these.

mod files;
mod tensors;
mod value_changes;

use super::signature::{self, VerifiedSignature};
use super::{
    Error, ModelScope, RunInputs, SignatureOptions, locations, open, profiles, reference_seal,
};
use crate::document::Report;
use crate::pinpoint::search::SearchLimits;
use crate::seal::Seal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::severity::Severity;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::Checkpoint;

/// Options of [`verify`].
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The seal (default: where `seal` writes it). A given seal must exist. The default one must exist if there is
    /// neither a signature nor an expected root.
    pub seal: Option<PathBuf>,
    /// The signature to verify, if any.
    pub signature: Option<SignatureOptions>,
    /// The expected model root, known from elsewhere.
    pub expect_root: Option<[u8; 32]>,
    /// Whether the container layout (sharding, order, header text) is ignored.
    pub content_only: bool,
    /// Whether the SHA-256 of whole files is compared as well, if the seal has it.
    pub file_digests: bool,
    /// The limits of the search for bit flips; `None` for no search.
    pub pinpoint: Option<SearchLimits>,
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// Whether the report lists all tensors.
    pub list_tensors: bool,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for VerifyOptions {
    /// Returns the default options: a comparison with the default seal of the model.
    fn default() -> Self {
        Self {
            seal: None,
            signature: None,
            expect_root: None,
            content_only: false,
            file_digests: false,
            pinpoint: Some(SearchLimits::default()),
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            list_tensors: false,
            fail_on: Severity::Medium,
        }
    }
}

/// The options, and everything that is read before the model.
struct VerifyRequest<'a> {
    path: &'a Path,
    options: &'a VerifyOptions,
    sealed: Option<Seal>,
    /// The signature with its options, if there is one by a trusted signer.
    signature: Option<(VerifiedSignature, &'a SignatureOptions)>,
}

/// Compares the model at a path with its seal, its signature and an expected root. All differences are findings of the
/// report.
///
/// # Errors
/// Returns an error if there is nothing to verify against, or if the model or one of the references cannot be read or
/// changed during the run.
pub fn verify(path: &Path, options: &VerifyOptions) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    let mut report = Report::new("verify", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let signature = match &options.signature {
        Some(options) => {
            signature::read(options, &mut inputs, &mut report)?.map(|read| (read, options))
        }
        None => None,
    };
    // A given seal must exist; the default one is optional if there are other references.
    let others = options.expect_root.is_some() || options.signature.is_some();
    let optional = options.seal.is_none() && others;
    let named = options.seal.as_deref();
    let sealed = reference_seal::read(path, named, optional, &mut inputs, &mut report)?;
    if sealed.is_none() && signature.is_none() && options.expect_root.is_none() {
        // Without a trusted reference there is nothing to compare the model with.
        inputs.check_unchanged(&[])?;
        report.judge(options.fail_on);
        return Ok(report);
    }
    tracing::debug!(
        seal = sealed.is_some(),
        signature = signature.is_some(),
        expected_root = options.expect_root.is_some(),
        "comparing the model"
    );
    let request = VerifyRequest { path, options, sealed, signature };
    let model = request.open()?;
    let model = match &request.signature {
        Some((signature, signature_options)) if !request.needs_tensors() => {
            files::verify(&request, (signature, signature_options), &model, &mut report)?;
            model
        }
        _ => tensors::verify(&request, model, &mut report)?,
    };
    report.judge(options.fail_on);
    profiles::place(&mut report, &model);
    inputs.check_unchanged(&[&model])?;
    Ok(report)
}

impl VerifyRequest<'_> {
    /// Returns whether tensors must be measured.
    fn needs_tensors(&self) -> bool {
        let attested = self.signature.iter().any(|(signed, _)| !signed.attestations.is_empty());
        self.sealed.is_some() || self.options.expect_root.is_some() || attested
    }

    fn open(&self) -> Result<Checkpoint, Error> {
        let options = self.options;
        let lists_git_paths =
            self.signature.iter().any(|(signature, _)| signature.lists_git_paths());
        let signature_paths =
            options.signature.as_ref().map(|signature| signature.paths_in_model(self.path));
        let mut open_options = options.opening.options();
        open_options.include_git_paths |= lists_git_paths;
        open_options.exclude = signature_paths.unwrap_or_default();
        open_options.seals = locations::seals_inside(self.path, options.seal.as_deref());
        // Anything else in the model is held against the signature that was named.
        open_options.signatures = match options.signature {
            None => locations::signatures_inside(self.path, self.sealed.as_ref()),
            Some(_) => Vec::new(),
        };
        open_options.list_signed_only = self.signature.is_some();
        open_options.expected_files = self.sealed.as_ref().map(Seal::naming_files);
        Ok(Checkpoint::open(self.path, &open_options)?)
    }
}
