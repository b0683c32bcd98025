//! What scans of registries recorded of the model of a gate, and where it is not that.

use super::Asked;
use crate::cli::registry::place;
use std::path::Path;
use tensorseal::checkpoint::{Checkpoint, GIT_NAMES, LeftOut, NotCovered, display_name};
use tensorseal::judge::{Finding, integrity};
use tensorseal::policy::gate::{Looked, ScanRecord};
use tensorseal::registry::record::ModelRecord;
use tensorseal::registry::state::{Baseline, Database, StateError};
use tensorseal::seal::layout::Damaged;
use tensorseal::seal::{FileSeal, Seal};
use tensorseal::stream::small;

/// What is known of the model in a state.
pub struct Recorded {
    /// What the state says of it, where the policy asks.
    pub record: Looked<Option<ScanRecord>>,
    /// The content that was accepted, if any was.
    pub baseline: Option<Seal>,
}

/// What the state says of the model that was measured. Whatever is wrong with the state is a reason not to know.
pub fn recorded(asked: &Asked<'_>, model: &Checkpoint, found: &Seal) -> Recorded {
    let policy = &asked.file.policy;
    let nothing = |why: &str| Recorded { record: Looked::Not(why.to_owned()), baseline: None };
    if !policy.registry.required && !policy.wants_pins() {
        return nothing("the policy asks for no scan of a registry");
    }
    let read = match read(asked.model, asked.args.state.as_deref()) {
        Ok(read) => read,
        Err(why) => return nothing(&why),
    };
    let Some((known, baseline)) = read else {
        return Recorded { record: Looked::At(None), baseline: None };
    };
    let baseline = baseline.map(|baseline| baseline.seal);
    let differences = match &baseline {
        Some(baseline) => Looked::At(differences(baseline, model, found)),
        None => Looked::Not("no scan has accepted any content of the model".to_owned()),
    };
    let record = ScanRecord {
        state: known.state,
        detail: known.detail,
        root: known.root,
        last_deep_check: known.last_deep_check,
        differences,
    };
    Recorded { record: Looked::At(Some(record)), baseline }
}

type Known = (ModelRecord, Option<Baseline>);

fn read(path: &Path, state: Option<&Path>) -> Result<Option<Known>, String> {
    let place = place::of(state).map_err(|failure| failure.error.to_string())?;
    let told = |error: StateError| error.to_string();
    let database = Database::read_from(&place).map_err(told)?;
    let path = path.canonicalize().map_err(|error| error.to_string())?;
    let Some(record) = in_source(&database, &path).map_err(told)? else { return Ok(None) };
    let known = database.known(&record.source, &record.name).map_err(told)?;
    let baseline = known.map(|known| database.baseline(known.id)).transpose().map_err(told)?;
    Ok(Some((record, baseline.flatten())))
}

/// Everything in which a model is not what was accepted of it, in a few words each.
fn differences(accepted: &Seal, model: &Checkpoint, found: &Seal) -> Vec<String> {
    let found = as_scanned(accepted, model, found);
    let options = integrity::Options::default();
    let differences = integrity::compare(accepted, &found, &Damaged::default(), options);
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
    let own = |left: &&NotCovered| matches!(left.kind, LeftOut::Excluded | LeftOut::Seal);
    let known = |left: &&NotCovered| accepted.file(&left.path).is_some();
    let left = model.not_covered.iter().filter(own).filter(known);
    found.files.extend(left.filter_map(|left| digested(&model.root, &left.path)));
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file that was left out; `None`: it cannot be read, and counts as not there.
fn digested(root: &Path, path: &str) -> Option<FileSeal> {
    let file = small::open_regular(&root.join(path)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).ok()?;
    let blake3 = Some(*hasher.finalize().as_bytes());
    Some(FileSeal { blake3, bytes, outside: None, path: path.to_owned(), sha256: None })
}

/// The model at a path, by the directory that was scanned: any that it lies in.
fn in_source(database: &Database, path: &Path) -> Result<Option<ModelRecord>, StateError> {
    for source in path.ancestors() {
        let (Some(name), Ok(below)) = (source.to_str(), path.strip_prefix(source)) else {
            continue;
        };
        let Some(below) = below.to_str() else { continue };
        let model = if below.is_empty() { "." } else { below };
        if let Some(found) = database.model(name, model)? {
            return Ok(Some(found));
        }
        if let Some((repository, commit)) = snapshot(below)
            && let Some(found) = database.model_of_version(name, &repository, commit)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The repository and the commit of a snapshot in a Hugging Face cache.
fn snapshot(below: &str) -> Option<(String, &str)> {
    let (directory, commit) = below.split_once("/snapshots/")?;
    let id = directory.strip_prefix("models--").filter(|id| !id.contains('/'))?;
    (!commit.contains('/')).then(|| (id.replace("--", "/"), commit))
}
