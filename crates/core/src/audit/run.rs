//! One pass over a model for an audit.

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

/// What an audit measured.
#[derive(Debug)]
pub struct AuditMeasurements {
    /// By tensor of the model, those that fit their file.
    pub facts: Vec<TensorFacts>,
    /// The model as a whole.
    pub model: ModelSeal,
    /// Who measured.
    pub run: RunReport,
    /// Pages that occur twice, by index into `facts`; equal tensors are looked at once.
    pub duplicate_pages: Vec<DuplicatePages>,
    /// Share of the doubled pages that is looked for: 1 up to [`pages::EXACT_BYTES`].
    pub page_share: f64,
}

/// Tensors up to which the bytes of all streams are kept, to be drawn.
const DRAWN: usize = 4096;

/// Measures every byte of `model`, and the structure of its tensors.
///
/// # Errors
/// See [`RunError`].
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

/// An audit while its model is being measured: the facts of the tensors that are finished.
pub struct AuditBuilder<'a> {
    model: &'a Checkpoint,
    plan: &'a Plan,
    /// See [`pages::sampling`].
    zeros: u32,
    /// By tensor of the model.
    facts: Vec<Mutex<Option<TensorFacts>>>,
}

impl<'a> AuditBuilder<'a> {
    /// Of `model`, when the objects of `plan` are measured: all of it, with counts and
    /// [structure](Plan::with_structure).
    pub fn new(model: &'a Checkpoint, plan: &'a Plan) -> Self {
        let zeros = pages::sampling(plan.bytes() - plan.signed_only_bytes());
        let facts = model.tensors.iter().map(|_| Mutex::default()).collect();
        Self { model, plan, zeros, facts }
    }

    /// Keeps the facts of an object, if it is a tensor.
    pub fn add(&self, finished: ObjectMeasurement<'_>) {
        if let Some(found) = self.facts_of(finished) {
            self.insert(found);
        }
    }

    /// The facts of an object, if it is a tensor.
    pub fn facts_of(&self, finished: ObjectMeasurement<'_>) -> Option<TensorFacts> {
        let object = &self.plan.objects[finished.object];
        let ObjectKind::Tensor(index) = object.kind else { return None };
        let (tensors, layout) = (&self.model.tensors, object.layout.as_ref()?);
        let mut found = TensorFacts::new(index, &tensors[index], layout, finished, self.zeros)?;
        if tensors.len() > DRAWN {
            found.discard_unremarkable_streams();
        }
        Some(found)
    }

    /// Keeps facts that an earlier run had of an object of the plan.
    pub fn add_known(&self, object: usize, facts: TensorFacts) {
        if let ObjectKind::Tensor(tensor) = self.plan.objects[object].kind {
            self.insert(TensorFacts { tensor, ..facts });
        }
    }

    /// Keeps [facts](Auditing::facts_of).
    pub fn insert(&self, facts: TensorFacts) {
        let place = &self.facts[facts.tensor];
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
    }

    /// The second look, when all objects were measured by `run`, and what was found.
    ///
    /// # Errors
    /// See [`RunError`].
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
        let alike = doubled(&mut facts);
        let doubled = localize::confirm(model, &facts, alike, progress)?;
        let page_share = libm::ldexp(1.0, -(self.zeros as i32));
        let run = run.clone();
        Ok(AuditMeasurements {
            model: model_seal(model, &digests),
            facts,
            run,
            duplicate_pages: doubled,
            page_share,
        })
    }
}

/// Finds pages with equal fingerprints, and lets the fingerprints go.
fn doubled(facts: &mut [TensorFacts]) -> Vec<DuplicatePages> {
    let mut contents = HashSet::new();
    for facts in facts.iter_mut() {
        if !contents.insert(facts.digest) {
            facts.prints = PageFingerprints::default();
        }
    }
    let prints: Vec<&PageFingerprints> = facts.iter().map(|facts| &facts.prints).collect();
    let doubled = pages::find_duplicates(&prints);
    facts.iter_mut().for_each(|facts| facts.prints = PageFingerprints::default());
    doubled
}
