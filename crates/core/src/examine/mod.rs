//! One pass for everything: what a seal, an audit and a detection of marks need, and digests of files, from
//! one reading of the model.
//!
//! Each of them adds to the plan and takes its part of every finished object; alone it does the same. What
//! an audit looks at again, and the weights that a detection puts together first, are read again as ever.

pub mod expectations;
pub mod flips;
pub mod journal;
pub mod sidecar;
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

/// What is wanted of a model, besides the digests of all that is in it.
#[derive(Clone, Default)]
pub struct Request<'a> {
    /// The statistics of each tensor, in the seal.
    pub distributions: bool,
    /// All that an audit judges.
    pub audit: bool,
    /// Keys whose marks are looked for, at most [`MAX_KEYS`](crate::watermark::detect::MAX_KEYS).
    pub keys: &'a [WatermarkKey],
    /// Digests of each file, also of those [beside](tensorseal_format::ModelFile::beside) the model.
    pub file_hashing: HashingPlan,
    /// What earlier runs for the same measured is not measured again. A request with `distributions` or `keys`
    /// begins anew: of those nothing is kept.
    pub journal: Option<&'a dyn Journal>,
}

/// What was found.
#[derive(Debug)]
pub struct Examination {
    /// What the model is. Whole files have their BLAKE3 and SHA-256 in it if those were asked for.
    pub seal: Seal,
    /// For an audit, when asked for.
    pub audited: Option<AuditMeasurements>,
    /// The sums of the keys, when there are any.
    pub correlations: Option<WatermarkMeasurement>,
    /// Who measured, and the digests of files.
    pub run: RunReport,
}

/// Why a model could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The run did not complete.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The sums of keys could not be had.
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

/// Measures all that is asked for in one run.
///
/// # Errors
/// See [`ExamineError`].
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
    let contents = SealContents { distributions: request.distributions, sketches: false };
    let parts = PassBuilders {
        plan: &plan,
        sealing: SealBuilder::new(model, &plan, contents),
        detecting,
        auditing: request.audit.then(|| AuditBuilder::new(model, &plan)),
        journal: journal::usable_journal(request),
    };
    let mut known = JournalEntries::load(model, &plan, parts.journal);
    let (rest, indices) = known.remaining(&plan);
    known.take_objects().for_each(|(object, known)| parts.add_known(object, known));
    let told = RunObserver {
        object: &|finished| {
            parts.add(ObjectMeasurement { object: indices[finished.object], ..finished });
        },
        file: &|file, finished| {
            if let Some(journal) = parts.journal {
                journal.keep_file(file, &finished);
            }
        },
    };
    let mut run = engine::run_observed(&model.files, &rest, options, progress, told)?;
    known.complete(&mut run);
    let PassBuilders { sealing, detecting, auditing, .. } = parts;
    let audited =
        auditing.map(|auditing| auditing.finish(&run, &options.threads, progress)).transpose()?;
    let marks = detecting.map(|detecting| detecting.finish(&run, &options.threads, progress));
    Ok(Examination { seal: sealing.finish(&run), audited, correlations: marks.transpose()?, run })
}

/// Those who take their part of each object.
struct PassBuilders<'a> {
    plan: &'a Plan,
    sealing: SealBuilder<'a>,
    detecting: Option<DetectionBuilder<'a>>,
    auditing: Option<AuditBuilder<'a>>,
    journal: Option<&'a dyn Journal>,
}

impl PassBuilders<'_> {
    /// What was measured of an object before.
    fn add_known(&self, object: usize, known: MeasuredObject) {
        let MeasuredObject { digest, blocks, facts } = known;
        if let (Some(auditing), Some(facts)) = (&self.auditing, facts) {
            auditing.add_stored(object, TensorFacts { digest, blocks: blocks.clone(), ..facts });
        }
        self.sealing.add_stored(object, digest, blocks);
    }

    /// What was measured of an object now.
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
