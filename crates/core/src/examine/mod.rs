//! Measures everything that a seal, an audit, a watermark detection and file digests need in one pass over the model.
//!
//! Each of them adds to the plan and takes its part of every measured object. Only the second look of an audit and the
//! weights that a detection joins first are read again.

pub mod expectations;
pub mod flips;
pub mod journal;
pub mod sidecar;
mod signature_files;
pub mod weights;

use crate::audit::{AuditBuilder, AuditMeasurements, TensorFacts};
use crate::seal::Seal;
use crate::seal::build::{SealBuilder, SealContents};
use crate::watermark::detect::{DetectError, DetectionBuilder, WatermarkMeasurement};
use crate::watermark::key::WatermarkKey;
use journal::{Journal, JournalEntries, MeasuredObject};
use tensorseal_base::hashing::HashingPlan;
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunObserver, RunOptions, RunReport};
use tensorseal_format::Checkpoint;

/// What to measure besides the digests of all tensors, gaps and files.
#[derive(Clone, Default)]
pub struct Request<'a> {
    /// Whether the seal gets the statistics of each tensor.
    pub distributions: bool,
    /// Whether the model is measured for an audit.
    pub audit: bool,
    /// The keys whose marks are searched for, at most [`MAX_KEYS`](crate::watermark::detect::MAX_KEYS).
    pub keys: &'a [WatermarkKey],
    /// The digests of each file to compute, also for [signed-only](tensorseal_format::ModelFile::signed_only) files.
    pub file_hashing: HashingPlan,
    /// The measurements of earlier runs for the same request, which are not repeated. A journal does not hold
    /// `distributions` and results for `keys`, so it is not used for requests with these.
    pub journal: Option<&'a dyn Journal>,
}

/// The measurements of a model.
#[derive(Debug)]
pub struct Examination {
    /// The measurement in the form of a seal. Files have their BLAKE3 and SHA-256 if these were requested.
    pub seal: Seal,
    /// The measurements for an audit, if they were requested.
    pub audited: Option<AuditMeasurements>,
    /// The correlations with the keys, if there are any.
    pub correlations: Option<WatermarkMeasurement>,
    /// Which engine measured, the totals of the run, and the digests of files.
    pub run: RunReport,
}

/// An error while a model is examined.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The run failed or was interrupted.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model could not be correlated with the keys.
    #[error(transparent)]
    Watermark(DetectError),
}

impl From<DetectError> for ExamineError {
    fn from(error: DetectError) -> Self {
        match error {
            DetectError::Run(error) => ExamineError::Run(error),
            error => ExamineError::Watermark(error),
        }
    }
}

/// Measures everything that is requested in one run.
///
/// # Errors
/// Returns an [`ExamineError`] if the model cannot be read, changed while it was read, cannot be correlated with the
/// keys, or if the run was interrupted.
pub fn measure(
    model: &Checkpoint,
    request: &Request<'_>,
    options: &RunOptions,
    progress: &Progress,
) -> Result<Examination, ExamineError> {
    let detecting = match request.keys {
        [] => None,
        keys => Some(DetectionBuilder::new(model, keys, options, progress)?),
    };
    let plan = plan(model, request, detecting.as_ref());
    let seal_contents = SealContents { distributions: request.distributions, sketches: false };
    let builders = PassBuilders {
        plan: &plan,
        sealing: SealBuilder::new(model, &plan, seal_contents),
        detecting,
        auditing: request.audit.then(|| AuditBuilder::new(model, &plan)),
        journal: journal::usable_journal(request),
    };
    let mut stored = JournalEntries::load(model, &plan, builders.journal);
    let (remaining_plan, indices) = stored.remaining(&plan);
    stored.take_objects().for_each(|(object, stored)| builders.add_stored(object, stored));
    let observer = RunObserver {
        object: &|finished| {
            builders.add(ObjectMeasurement { object: indices[finished.object], ..finished });
        },
        file: &|file, finished| {
            if let Some(journal) = builders.journal {
                journal.keep_file(file, &finished);
            }
        },
    };
    let mut run = engine::run_observed(&model.files, &remaining_plan, options, progress, observer)?;
    stored.complete(&mut run);
    let PassBuilders { sealing, detecting, auditing, .. } = builders;
    let audited =
        auditing.map(|auditing| auditing.finish(&run, &options.threads, progress)).transpose()?;
    let correlations =
        detecting.map(|detecting| detecting.finish(&run, &options.threads, progress));
    Ok(Examination {
        seal: sealing.finish(&run),
        audited,
        correlations: correlations.transpose()?,
        run,
    })
}

/// The builders that take their part of each measured object.
struct PassBuilders<'a> {
    plan: &'a Plan,
    sealing: SealBuilder<'a>,
    detecting: Option<DetectionBuilder<'a>>,
    auditing: Option<AuditBuilder<'a>>,
    journal: Option<&'a dyn Journal>,
}

impl PassBuilders<'_> {
    /// Adds an object that an earlier run measured.
    fn add_stored(&self, object: usize, stored: MeasuredObject) {
        let MeasuredObject { digest, blocks, facts } = stored;
        if let (Some(auditing), Some(facts)) = (&self.auditing, facts) {
            auditing.add_stored(object, TensorFacts { digest, blocks: blocks.clone(), ..facts });
        }
        self.sealing.add_stored(object, digest, blocks);
    }

    /// Adds an object that this run measured.
    fn add(&self, finished: ObjectMeasurement<'_>) {
        let object = &self.plan.objects[finished.object];
        self.sealing.add(&finished);
        if let Some(detecting) = &self.detecting {
            detecting.add(object, &finished);
        }
        let (digest, blocks) = (finished.digest, self.journal.map(|_| finished.blocks.clone()));
        let facts = self.auditing.as_ref().and_then(|auditing| auditing.facts_of(finished));
        let facts = match self.journal {
            Some(journal) => {
                let blocks = blocks.unwrap_or_default();
                let measured = MeasuredObject { digest, blocks, facts };
                journal.keep_object(object, &measured);
                measured.facts
            }
            None => facts,
        };
        if let (Some(auditing), Some(facts)) = (&self.auditing, facts) {
            auditing.insert(facts);
        }
    }
}

fn plan(
    model: &Checkpoint,
    request: &Request<'_>,
    detecting: Option<&DetectionBuilder<'_>>,
) -> Plan {
    let mut plan = Plan::everything(model, request.distributions || request.audit);
    if request.audit {
        plan = plan.with_structure(model);
    }
    if let Some(detecting) = detecting {
        detecting.add_to(&mut plan);
    }
    plan.with_file_hashing(model, request.file_hashing.clone())
}
