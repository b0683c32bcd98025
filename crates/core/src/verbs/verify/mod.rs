//! Comparing a model with its seal, its signature, a root that is known from elsewhere, or all of these.

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
use tensorseal_format::{Checkpoint, OpenOptions};

/// What a model is held to, and how.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The seal (default: where `seal` writes it). One that is named must be there; so must the default one, where
    /// there is neither a signature nor a root.
    pub seal: Option<PathBuf>,
    /// The signature, if there is one to check.
    pub signature: Option<SignatureOptions>,
    /// The model root that is expected, known from elsewhere.
    pub expect_root: Option<[u8; 32]>,
    /// Whether the container layout does not count: sharding, order, header text.
    pub content_only: bool,
    /// Whether the SHA-256 of whole files is compared, too, where the seal has it.
    pub file_digests: bool,
    /// How much is searched for flipped bits; none: nothing.
    pub pinpoint: Option<SearchLimits>,
    /// What belongs to the model.
    pub opening: ModelScope,
    /// How it is measured.
    pub run: RunOptions,
    /// What watches the run, and can stop it.
    pub progress: Arc<Progress>,
    /// Whether the report lists every tensor.
    pub list_tensors: bool,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for VerifyOptions {
    /// The seal beside the model.
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

/// What a model is held to.
struct VerifyRequest<'a> {
    path: &'a Path,
    options: &'a VerifyOptions,
    sealed: Option<Seal>,
    /// The signature, when there is one by who is trusted, and what is asked of it.
    signature: Option<(VerifiedSignature, &'a SignatureOptions)>,
}

/// Compares the model at a path with what it is held to. All that is wrong is a finding of the report.
///
/// # Errors
/// There is nothing to verify against; the model, or what it is held to, cannot be read, or changed under the run.
pub fn verify(path: &Path, options: &VerifyOptions) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    let mut report = Report::new("verify", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let signature = match &options.signature {
        Some(asked) => signature::read(asked, &mut inputs, &mut report)?.map(|read| (read, asked)),
        None => None,
    };
    // What was named must be there; what merely lies beside the model need not.
    let others = options.expect_root.is_some() || options.signature.is_some();
    let optional = options.seal.is_none() && others;
    let named = options.seal.as_deref();
    let sealed = reference_seal::read(path, named, optional, &mut inputs, &mut report)?;
    if sealed.is_none() && signature.is_none() && options.expect_root.is_none() {
        // A seal or a signature that cannot be trusted says nothing of the model.
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
    let asked = VerifyRequest { path, options, sealed, signature };
    let model = asked.open()?;
    let model = match &asked.signature {
        Some((signature, of_signature)) if !asked.needs_tensors() => {
            files::verify(&asked, (signature, of_signature), &model, &mut report)?;
            model
        }
        _ => tensors::verify(&asked, model, &mut report)?,
    };
    report.judge(options.fail_on);
    profiles::place(&mut report, &model);
    inputs.check_unchanged(&[&model])?;
    Ok(report)
}

impl VerifyRequest<'_> {
    /// Whether something is compared with what was measured of tensors.
    fn needs_tensors(&self) -> bool {
        let attested = self.signature.iter().any(|(signed, _)| !signed.attestations.is_empty());
        self.sealed.is_some() || self.options.expect_root.is_some() || attested
    }

    fn open(&self) -> Result<Checkpoint, Error> {
        let options = self.options;
        let git = self.signature.iter().any(|(signature, _)| signature.lists_git_paths());
        let of_signature =
            options.signature.as_ref().map(|signature| signature.paths_in_model(self.path));
        let opening = options.opening.options();
        let how = OpenOptions {
            include_git_paths: opening.include_git_paths || git,
            exclude: of_signature.unwrap_or_default(),
            seals: locations::seals_inside(self.path, options.seal.as_deref()),
            signatures: match options.signature {
                None => locations::signatures_inside(self.path, self.sealed.as_ref()),
                // Anything else in the model is held against the signature that was named.
                Some(_) => Vec::new(),
            },
            list_signed_only: self.signature.is_some(),
            expected_files: self.sealed.as_ref().map(Seal::naming_files),
            ..opening
        };
        Ok(Checkpoint::open(self.path, &how)?)
    }
}
