//! Looks up what registry scans recorded about a model, and compares the model with the accepted content.

use super::GateRequest;
use crate::judge::{Finding, integrity};
use crate::policy::gate::{Observation, ScanRecord};
use crate::record::ModelRecord;
use crate::seal::layout::DamagedFiles;
use crate::seal::{FileSeal, Seal};
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::regular_file;
use tensorseal_format::{Checkpoint, GIT_NAMES, SkipReason, SkippedPath};

/// Looks up what registry scans recorded about models.
pub trait RegistryLookup: Sync {
    /// Returns the record of the model at a path, or `None` if no scan has recorded it.
    ///
    /// # Errors
    /// Returns the reason, as text for people, if the lookup fails.
    fn lookup(&self, model: &Path) -> Result<Option<RegisteredModel>, String>;
}

/// A model that a scan has recorded.
#[derive(Debug)]
pub struct RegisteredModel {
    /// The record.
    pub record: ModelRecord,
    /// The accepted content, if any was accepted.
    pub accepted: Option<Seal>,
}

/// A lookup without a registry state: every lookup fails.
pub struct NoRegistryLookup;

impl RegistryLookup for NoRegistryLookup {
    fn lookup(&self, _: &Path) -> Result<Option<RegisteredModel>, String> {
        Err("no registry state was given".to_owned())
    }
}

/// The evidence from registries.
pub(super) struct RegistryEvidence {
    /// The record of the model, if the policy needs it.
    pub record: Observation<Option<ScanRecord>>,
    /// The accepted content, if any was accepted.
    pub accepted: Option<Seal>,
}

/// Returns the evidence about the measured model. A problem with the registry state makes it unknown.
pub(super) fn registry_evidence(
    request: &GateRequest<'_>,
    model: &Checkpoint,
    found: &Seal,
) -> RegistryEvidence {
    let policy = &request.file.policy;
    let nothing = |why: &str| RegistryEvidence {
        record: Observation::NotObserved(why.to_owned()),
        accepted: None,
    };
    if !policy.registry.required && !policy.wants_pins() {
        return nothing("the policy does not require a registry scan");
    }
    let RegisteredModel { record: recorded, accepted } =
        match request.options.registries.lookup(request.path) {
            Ok(Some(registered)) => registered,
            Ok(None) => {
                return RegistryEvidence { record: Observation::Observed(None), accepted: None };
            }
            Err(why) => return nothing(&why),
        };
    let differences = match &accepted {
        Some(accepted) => Observation::Observed(differences(accepted, model, found)),
        None => {
            Observation::NotObserved("no scan has accepted the content of the model".to_owned())
        }
    };
    let record = ScanRecord {
        state: recorded.state,
        detail: recorded.detail,
        root: recorded.root,
        last_deep_check: recorded.last_deep_check,
        differences,
    };
    RegistryEvidence { record: Observation::Observed(Some(record)), accepted }
}

/// Returns all differences of a model from its accepted content, in a few words each.
fn differences(accepted: &Seal, model: &Checkpoint, found: &Seal) -> Vec<String> {
    let found = as_scanned(accepted, model, found);
    let options = integrity::IntegrityOptions::default();
    let differences = integrity::compare(accepted, &found, &DamagedFiles::default(), options);
    let describe = |finding: &Finding| {
        let place = finding.tensor.as_deref().or(finding.file.as_deref());
        format!("{}: {}", display_name(place.unwrap_or("the model")), finding.message)
    };
    differences.findings.iter().map(describe).collect()
}

/// Converts what was measured to what a scan would have measured: a gate skips the signature and the seals that it was
/// given, which a scan may have recorded, and measures git metadata if a signature lists it.
fn as_scanned(accepted: &Seal, model: &Checkpoint, found: &Seal) -> Seal {
    let mut found = found.clone();
    found.files.retain(|file| {
        let first = file.path.split('/').next().unwrap_or_default();
        !GIT_NAMES.contains(&first) || accepted.file(&file.path).is_some()
    });
    let is_input =
        |skipped: &&SkippedPath| matches!(skipped.kind, SkipReason::Excluded | SkipReason::Seal);
    let is_recorded = |skipped: &&SkippedPath| accepted.file(&skipped.path).is_some();
    let skipped = model.skipped.iter().filter(is_input).filter(is_recorded);
    found.files.extend(skipped.filter_map(|skipped| hash_file(&model.root, &skipped.path)));
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Hashes a skipped file; `None` if it cannot be read, which counts as missing.
fn hash_file(root: &Path, path: &str) -> Option<FileSeal> {
    let file = regular_file::open_regular(&root.join(path)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).ok()?;
    let blake3 = Some(*hasher.finalize().as_bytes());
    Some(FileSeal { blake3, bytes, outside: None, path: path.to_owned(), sha256: None })
}
