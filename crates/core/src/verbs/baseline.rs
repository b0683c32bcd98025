//! The baseline that an audit compares weights with: a seal, or another model.

use super::{Error, ModelScope, RunInputs, locations, open, reference_seal};
use crate::audit::AuditMeasurements;
use crate::document::Report;
use crate::judge::{self, Finding};
use crate::lineage::{self, TensorDifference, TensorPairs};
use crate::seal::sketch::{self, SketchDistance, WeightSketch};
use crate::seal::{self, Seal};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{UnreadableWeight, Weights};

/// A baseline to compare with.
pub enum Baseline {
    /// A seal.
    Seal(Box<Seal>),
    /// Another model.
    Model(Box<Checkpoint>),
}

/// The comparison of a model with a baseline.
pub struct BaselineComparison {
    seal: Seal,
    /// The baseline, if it is a model.
    original: Option<Checkpoint>,
    pairs: TensorPairs,
    differences: Vec<Option<TensorDifference>>,
    distances: HashMap<usize, SketchDistance>,
    /// The tensors of the model with an unsupported layout.
    unreadable: BTreeSet<usize>,
}

/// Returns the path of the baseline if it is a seal.
pub fn seal_path(path: Option<&Path>) -> Option<&Path> {
    let path = path?;
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let is_seal = path.is_file() && (named || locations::may_hold_seal(path));
    is_seal.then_some(path)
}

/// Opens a baseline. An invalid seal is a finding, and nothing is compared then.
///
/// # Errors
/// Returns an error if there is no baseline at `path`, if it cannot be read, or if it is a model that is malformed or
/// has no tensors.
pub fn open(
    path: Option<&Path>,
    model: &Path,
    opening: ModelScope,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Result<Option<Baseline>, Error> {
    let Some(path) = path else { return Ok(None) };
    if path.symlink_metadata().is_err() {
        return Err(Error::NoBaseline(path.to_owned()));
    }
    if seal_path(Some(path)).is_some() {
        let seal = reference_seal::read(model, Some(path), false, inputs, report)?;
        return Ok(seal.map(|seal| Baseline::Seal(Box::new(seal))));
    }
    let model = open::open_sound(path, opening)?;
    if model.tensors.is_empty() {
        return Err(Error::EmptyBaseline(path.to_owned()));
    }
    Ok(Some(Baseline::Model(Box::new(model))))
}

impl Baseline {
    /// Compares an audited model with the baseline.
    ///
    /// # Errors
    /// Returns an error if the model or the baseline cannot be read again.
    pub fn compare(
        self,
        model: &Checkpoint,
        audited: &AuditMeasurements,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<BaselineComparison, Error> {
        let digests: HashMap<_, _> = audited.facts.iter().map(|f| (f.tensor, f.digest)).collect();
        let pairs = |seal: &Seal| TensorPairs::new(model, &digests, seal);
        let unreadable: BTreeSet<usize> = Weights::from_checkpoint(model)
            .unreadable
            .iter()
            .flat_map(UnreadableWeight::tensors)
            .collect();
        match self {
            Self::Seal(seal) => {
                let pairs = pairs(&seal);
                let distances = sketch_distances(model, &seal, &pairs, options, progress)?;
                let differences = Vec::new();
                Ok(BaselineComparison {
                    seal: *seal,
                    original: None,
                    pairs,
                    differences,
                    distances,
                    unreadable,
                })
            }
            Self::Model(original) => {
                let (seal, _) = seal::build::measure(&original, true, options, progress)?;
                let pairs = pairs(&seal);
                let threads = &options.threads;
                let differences = lineage::differences(
                    model,
                    &original,
                    &seal,
                    &pairs.changed,
                    threads,
                    progress,
                )?;
                let (original, distances) = (Some(*original), HashMap::new());
                Ok(BaselineComparison { seal, original, pairs, differences, distances, unreadable })
            }
        }
    }
}

/// Estimates the distance of the changed tensors that the seal has a sketch of. These tensors are read again.
fn sketch_distances(
    model: &Checkpoint,
    seal: &Seal,
    pairs: &TensorPairs,
    options: &RunOptions,
    progress: &Progress,
) -> Result<HashMap<usize, SketchDistance>, Error> {
    let sketched: HashMap<usize, &WeightSketch> = pairs
        .changed
        .iter()
        .filter_map(|pair| Some((pair.tensor, seal.tensors[pair.baseline].sketch.as_ref()?)))
        .filter(|(_, sketch)| sketch.key == sketch::KEY)
        .collect();
    if sketched.is_empty() {
        return Ok(HashMap::new());
    }
    let mut tensors: Vec<usize> = sketched.keys().copied().collect();
    tensors.sort_unstable();
    let found = sketch::measure(model, &tensors, options, progress)?;
    Ok(found
        .into_iter()
        .filter_map(|(tensor, now)| Some((tensor, sketched[&tensor].distance_to(&now)?)))
        .collect())
}

impl BaselineComparison {
    /// Returns the baseline if it is a model, so that the caller can check that it is unchanged.
    pub fn into_original(self) -> Option<Checkpoint> {
        self.original
    }

    /// Returns a note for the report if no tensor differs.
    pub fn note(&self) -> Option<String> {
        let equal = self.pairs.equal;
        self.pairs.is_identical().then(|| format!("all {equal} tensors match the baseline"))
    }

    /// Returns the findings of the comparison.
    pub fn findings(&self, model: &Checkpoint, audited: &AuditMeasurements) -> Vec<Finding> {
        judge::lineage::judge(&judge::lineage::LineageEvidence {
            model,
            facts: &audited.facts,
            baseline: &self.seal,
            pairs: &self.pairs,
            differences: &self.differences,
            distances: &self.distances,
            unreadable: &self.unreadable,
        })
    }

    /// Returns why the comparison is incomplete, if it is: tensors that differ from the baseline have an unsupported
    /// layout.
    pub fn not_compared(&self, model: &Checkpoint) -> Option<String> {
        let TensorPairs { changed, retyped, added, .. } = &self.pairs;
        let others = changed.iter().map(|pair| pair.tensor).chain(retyped.iter().copied());
        let mut others =
            others.chain(added.iter().copied()).filter(|i| self.unreadable.contains(i));
        let first = others.next()?;
        let count = 1 + others.count();
        Some(format!(
            "{} from the baseline, and cannot be compared because of an unsupported layout (first: {})",
            match count {
                1 => "1 tensor differs".to_owned(),
                count => format!("{count} tensors differ"),
            },
            display_name(&model.tensors[first].name)
        ))
    }
}
