//! What scans of registries recorded of the model of a gate, and where it is not that.

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

/// What scans of registries remember of models.
pub trait RegistryLookup: Sync {
    /// What is known of the model at a path; none: no scan has seen it.
    ///
    /// # Errors
    /// Why that cannot be told, in words.
    fn lookup(&self, model: &Path) -> Result<Option<RegisteredModel>, String>;
}

/// A model that a scan has seen.
#[derive(Debug)]
pub struct RegisteredModel {
    /// What is recorded of it.
    pub record: ModelRecord,
    /// The content that was accepted, if any was.
    pub accepted: Option<Seal>,
}

/// No registries are there to be asked.
pub struct NoRegistryLookup;

impl RegistryLookup for NoRegistryLookup {
    fn lookup(&self, _: &Path) -> Result<Option<RegisteredModel>, String> {
        Err("no state of registries was given".to_owned())
    }
}

/// What is known of the model of a gate.
pub(super) struct RegistryEvidence {
    /// What scans recorded of it, where the policy asks.
    pub record: Observation<Option<ScanRecord>>,
    /// The content that was accepted, if any was.
    pub accepted: Option<Seal>,
}

/// What is known of the model that was measured. Whatever is wrong with the state of registries is a reason not to
/// know.
pub(super) fn registry_evidence(
    asked: &GateRequest<'_>,
    model: &Checkpoint,
    found: &Seal,
) -> RegistryEvidence {
    let policy = &asked.file.policy;
    let nothing = |why: &str| RegistryEvidence {
        record: Observation::NotObserved(why.to_owned()),
        accepted: None,
    };
    if !policy.registry.required && !policy.wants_pins() {
        return nothing("the policy asks for no scan of a registry");
    }
    let RegisteredModel { record: known, accepted } =
        match asked.options.registries.lookup(asked.path) {
            Ok(Some(known)) => known,
            Ok(None) => {
                return RegistryEvidence { record: Observation::Observed(None), accepted: None };
            }
            Err(why) => return nothing(&why),
        };
    let differences = match &accepted {
        Some(accepted) => Observation::Observed(differences(accepted, model, found)),
        None => {
            Observation::NotObserved("no scan has accepted any content of the model".to_owned())
        }
    };
    let record = ScanRecord {
        state: known.state,
        detail: known.detail,
        root: known.root,
        last_deep_check: known.last_deep_check,
        differences,
    };
    RegistryEvidence { record: Observation::Observed(Some(record)), accepted }
}

/// Everything in which a model is not what was accepted of it, in a few words each.
fn differences(accepted: &Seal, model: &Checkpoint, found: &Seal) -> Vec<String> {
    let found = as_scanned(accepted, model, found);
    let options = integrity::IntegrityOptions::default();
    let differences = integrity::compare(accepted, &found, &DamagedFiles::default(), options);
    let said = |finding: &Finding| {
        let place = finding.tensor.as_deref().or(finding.file.as_deref());
        format!("{}: {}", display_name(place.unwrap_or("the model")), finding.message)
    };
    differences.findings.iter().map(said).collect()
}

/// What was measured, as a scan would have: a gate leaves out the signature and the seals that it was given, of
/// which a scan may know, and measures git's own files where a signature lists them.
fn as_scanned(accepted: &Seal, model: &Checkpoint, found: &Seal) -> Seal {
    let mut found = found.clone();
    found.files.retain(|file| {
        let first = file.path.split('/').next().unwrap_or_default();
        !GIT_NAMES.contains(&first) || accepted.file(&file.path).is_some()
    });
    let own = |left: &&SkippedPath| matches!(left.kind, SkipReason::Excluded | SkipReason::Seal);
    let known = |left: &&SkippedPath| accepted.file(&left.path).is_some();
    let left = model.skipped.iter().filter(own).filter(known);
    found.files.extend(left.filter_map(|left| digested(&model.root, &left.path)));
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file that was left out; `None`: it cannot be read, and counts as not there.
fn digested(root: &Path, path: &str) -> Option<FileSeal> {
    let file = regular_file::open_regular(&root.join(path)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).ok()?;
    let blake3 = Some(*hasher.finalize().as_bytes());
    Some(FileSeal { blake3, bytes, outside: None, path: path.to_owned(), sha256: None })
}
