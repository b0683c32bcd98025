//! Measures a model for an audit, in one pass.

use super::facts::TensorFacts;
use super::localize;
use super::pages::{self, DuplicatePages, PageFingerprints};
use crate::seal::ModelSeal;
use crate::seal::build::model_seal;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::plan::{ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport, Threads};
use tensorseal_format::Checkpoint;

/// The measurements of an audit.
#[derive(Debug)]
pub struct AuditMeasurements {
    /// The facts of the tensors that fit their file, in the order of the model's tensors.
    pub facts: Vec<TensorFacts>,
    /// The totals and the root of the model.
    pub model: ModelSeal,
    /// Which engine measured, and the totals of the run.
    pub run: RunReport,
    /// Pages that occur more than once. Tensors are indices into `facts`; of equal tensors only the first is searched.
    pub duplicate_pages: Vec<DuplicatePages>,
    /// The share of duplicate pages that is found: 1 for models of up to [`pages::EXACT_BYTES`].
    pub page_share: f64,
}

/// The number of tensors up to which the byte counts of all streams are kept for plots.
const MAX_TENSORS_WITH_ALL_STREAMS: usize = 4096;

/// Measures every byte of `model` and the structure of its tensors.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, changed while it was read, or the run was interrupted.
pub fn measure(
    model: &Checkpoint,
    options: &RunOptions,
    progress: &Progress,
) -> Result<AuditMeasurements, RunError> {
    let plan = Plan::everything(model, true).with_structure(model);
    let auditing = AuditBuilder::new(model, &plan);
    let keep = |finished: ObjectMeasurement<'_>| auditing.add(finished);
    let run = engine::run(&model.files, &plan, options, progress, &keep)?;
    auditing.finish(&run, &options.threads, progress)
}

/// Collects the facts of tensors while a model is being measured.
pub struct AuditBuilder<'a> {
    model: &'a Checkpoint,
    plan: &'a Plan,
    /// The number of leading zero bits from [`pages::sampling`].
    zeros: u32,
    /// The facts of each tensor of the model, once it was measured.
    facts: Vec<Mutex<Option<TensorFacts>>>,
}

impl<'a> AuditBuilder<'a> {
    /// Creates a builder for `model`. `plan` must cover the whole model, with counts and
    /// [structure](Plan::with_structure).
    pub fn new(model: &'a Checkpoint, plan: &'a Plan) -> Self {
        let zeros = pages::sampling(plan.bytes() - plan.signed_only_bytes());
        let facts = model.tensors.iter().map(|_| Mutex::default()).collect();
        Self { model, plan, zeros, facts }
    }

    /// Adds the facts of a measured object if it is a tensor.
    pub fn add(&self, finished: ObjectMeasurement<'_>) {
        if let Some(facts) = self.facts_of(finished) {
            self.insert(facts);
        }
    }

    /// Returns the facts of a measured object if it is a tensor.
    pub fn facts_of(&self, finished: ObjectMeasurement<'_>) -> Option<TensorFacts> {
        let object = &self.plan.objects[finished.object];
        let ObjectKind::Tensor(index) = object.kind else { return None };
        let (tensors, layout) = (&self.model.tensors, object.layout.as_ref()?);
        let mut facts = TensorFacts::new(index, &tensors[index], layout, finished, self.zeros)?;
        if tensors.len() > MAX_TENSORS_WITH_ALL_STREAMS {
            facts.discard_unremarkable_streams();
        }
        Some(facts)
    }

    /// Adds the facts of an object of the plan that an earlier run stored.
    pub fn add_stored(&self, object: usize, facts: TensorFacts) {
        if let ObjectKind::Tensor(tensor) = self.plan.objects[object].kind {
            self.insert(TensorFacts { tensor, ..facts });
        }
    }

    /// Adds facts that [`facts_of`](Self::facts_of) returned.
    pub fn insert(&self, facts: TensorFacts) {
        let cell = &self.facts[facts.tensor];
        *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
    }

    /// Takes the second look after `run` measured all objects, and returns all measurements.
    ///
    /// # Errors
    /// Returns a [`RunError`] if a file cannot be read or changed, or if the run was interrupted.
    pub fn finish(
        self,
        run: &RunReport,
        threads: &Threads,
        progress: &Progress,
    ) -> Result<AuditMeasurements, RunError> {
        let (model, facts) = (self.model, self.facts.into_iter());
        let mut facts: Vec<TensorFacts> = facts
            .filter_map(|facts| facts.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        localize::localize(model, &mut facts, threads, progress)?;
        let digests: HashMap<usize, ChainingValue> =
            facts.iter().map(|facts| (facts.tensor, facts.digest)).collect();
        let candidates = find_duplicate_pages(&mut facts);
        let duplicate_pages = localize::confirm(model, &facts, candidates, progress)?;
        let page_share = libm::ldexp(1.0, -(self.zeros as i32));
        let run = run.clone();
        Ok(AuditMeasurements {
            model: model_seal(model, &digests),
            facts,
            run,
            duplicate_pages,
            page_share,
        })
    }
}

/// Finds pages with equal fingerprints, and drops the fingerprints.
fn find_duplicate_pages(facts: &mut [TensorFacts]) -> Vec<DuplicatePages> {
    let mut contents = HashSet::new();
    for facts in facts.iter_mut() {
        if !contents.insert(facts.digest) {
            facts.prints = PageFingerprints::default();
        }
    }
    let prints: Vec<&PageFingerprints> = facts.iter().map(|facts| &facts.prints).collect();
    let duplicate_pages = pages::find_duplicates(&prints);
    facts.iter_mut().for_each(|facts| facts.prints = PageFingerprints::default());
    duplicate_pages
}
