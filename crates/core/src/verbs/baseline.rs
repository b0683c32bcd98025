//! What the weights of an audit are compared with: a seal, or another model.

use super::{Error, ModelScope, RunInputs, locations, open, reference_seal};
use crate::audit::AuditMeasurements;
use crate::document::{Report, units};
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

/// A baseline that can be used.
pub enum Baseline {
    /// A seal.
    Seal(Box<Seal>),
    /// Another model, sound.
    Model(Box<Checkpoint>),
}

/// What was measured beside it.
pub struct BaselineComparison {
    seal: Seal,
    /// The other model, if it is one.
    original: Option<Checkpoint>,
    pairs: TensorPairs,
    differences: Vec<Option<TensorDifference>>,
    distances: HashMap<usize, SketchDistance>,
    /// Tensors of the model that are kept in a way that is not known here.
    unreadable: BTreeSet<usize>,
}

/// The baseline's path, if it is that of a seal.
pub fn seal_path(path: Option<&Path>) -> Option<&Path> {
    let path = path?;
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let is_seal = path.is_file() && (named || locations::may_hold_seal(path));
    is_seal.then_some(path)
}

/// Opens the baseline that was asked for. What is wrong with a seal is a finding, and nothing is
/// compared then.
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
    /// Compares an audited model with it.
    pub fn compare(
        self,
        model: &Checkpoint,
        audited: &AuditMeasurements,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<BaselineComparison, Error> {
        let digests: HashMap<_, _> = audited.facts.iter().map(|f| (f.tensor, f.digest)).collect();
        let pairs = |seal: &Seal| TensorPairs::new(model, &digests, seal);
        let not_read: BTreeSet<usize> = Weights::from_checkpoint(model)
            .unreadable
            .iter()
            .flat_map(UnreadableWeight::tensors)
            .collect();
        match self {
            Self::Seal(seal) => {
                let pairs = pairs(&seal);
                let moved = sketch_distances(model, &seal, &pairs, options, progress)?;
                let differences = Vec::new();
                Ok(BaselineComparison {
                    seal: *seal,
                    original: None,
                    pairs,
                    differences,
                    distances: moved,
                    unreadable: not_read,
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
                let (original, moved) = (Some(*original), HashMap::new());
                Ok(BaselineComparison {
                    seal,
                    original,
                    pairs,
                    differences,
                    distances: moved,
                    unreadable: not_read,
                })
            }
        }
    }
}

/// How far the changed tensors that the seal has a sketch of moved: these are read again.
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
    /// The other model, if it was one: at the end of the run it must be what it was.
    pub fn into_original(self) -> Option<Checkpoint> {
        self.original
    }

    /// What whoever waits is told of it, where nothing moved.
    pub fn note(&self) -> Option<String> {
        let equal = self.pairs.equal;
        self.pairs.is_identical().then(|| format!("all {equal} tensors are those of the baseline"))
    }

    /// What the comparison means.
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

    /// Why it is not known how far the weights are from the baseline, where that is so: of some that are not those
    /// of the baseline nobody here can say what they are.
    pub fn not_compared(&self, model: &Checkpoint) -> Option<String> {
        let TensorPairs { changed, retyped, added, .. } = &self.pairs;
        let others = changed.iter().map(|pair| pair.tensor).chain(retyped.iter().copied());
        let mut others =
            others.chain(added.iter().copied()).filter(|i| self.unreadable.contains(i));
        let first = others.next()?;
        let count = 1 + others.count();
        Some(format!(
            "{} {} not those of the baseline, and kept in a way that is not known here: the first is {}",
            units::count(count as u64, "tensor"),
            if count == 1 { "is" } else { "are" },
            display_name(&model.tensors[first].name)
        ))
    }
}
