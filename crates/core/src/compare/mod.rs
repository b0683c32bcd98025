//! Compares two models across containers, naming schemes and quantisations.
//!
//! [`pairing`] pairs weights by their names. Pairs of one type and shape are digested, on any engine, and equal ones are
//! not read again. [`value_comparison`] compares the values of the rest piece by piece, in constant memory.
//! [`crate::judge::compare`] interprets the results. [`copies`] handles two forms of one weight within a model, [`tied`]
//! two names of one weight, [`unreadable`] weights in an unknown layout, and [`name_only`] tensors of which only the name
//! is known.

pub mod copies;
pub mod duplicates;
pub mod name_only;
pub mod pairing;
pub mod tied;
pub mod unreadable;
pub mod value_comparison;

use duplicates::{digests, layout_key};
use pairing::{Pairing, WeightPair};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions, RunReport, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::reader::{self, WeightReader};
use tensorseal_weights::{Weight, Weights};
use value_comparison::ValueComparison;

/// The number of pieces per thread that are in memory at once.
const PIECES_PER_THREAD: usize = 2;

/// One of the two compared models.
#[derive(Debug)]
pub struct ComparedModel<'m> {
    /// The opened model.
    pub model: &'m Checkpoint,
    /// The weights of the model.
    pub weights: Weights,
    /// The digests of the tensors that were digested, by index.
    pub digests: HashMap<usize, ChainingValue>,
    /// Which engine digested, and the totals of the run.
    pub run: RunReport,
}

/// The result for a pair of weights.
#[derive(Debug, Clone, PartialEq)]
pub enum PairOutcome {
    /// The weights have the same type and the same bytes.
    Identical,
    /// The values of the weights were compared.
    Values(ValueComparison),
    /// The weights have different dimensions and cannot be compared.
    Shapes,
}

/// The comparison of two models.
#[derive(Debug)]
pub struct ModelComparison<'m> {
    /// The first and the second model.
    pub sides: [ComparedModel<'m>; 2],
    /// Which weights of the two models are paired, by index.
    pub pairing: Pairing,
    /// The result for each pair.
    pub outcomes: Vec<PairOutcome>,
    /// Weights that cannot be read in at least one model.
    pub unreadable: Vec<unreadable::UnreadablePair>,
    /// Tensors of which at least one model only has the name.
    pub name_only: Vec<name_only::NameOnlyTensor>,
    /// For each model, unpaired weights whose bytes equal those of a paired weight, with the index of that pair.
    pub tied: [BTreeMap<usize, usize>; 2],
}

/// Compares two models, weight by weight.
///
/// # Errors
/// Returns a [`RunError`] if a model cannot be read, or if the run was interrupted.
pub fn measure<'m>(
    models: [&'m Checkpoint; 2],
    options: &RunOptions,
    progress: &Progress,
) -> Result<ModelComparison<'m>, RunError> {
    let weights = models.map(Weights::from_checkpoint);
    let mut pairing = Pairing::new(&weights);
    let mut unreadable_pairs = unreadable::pair(models, &weights, &mut pairing);
    let name_only_tensors = name_only::pair(models, &weights, &mut pairing, options, progress)?;
    let unreadable_tensors: Vec<[usize; 2]> = unreadable_pairs
        .iter()
        .filter_map(|pair| Some([pair.unreadable[0]?, pair.unreadable[1]?]))
        .filter_map(|[first, second]| {
            unreadable::matching_tensors(
                models,
                [&weights[0].unreadable[first], &weights[1].unreadable[second]],
            )
        })
        .flatten()
        .collect();
    let same_layout = |pair: &WeightPair| {
        let tensors = pair.weights(&weights).map(Weight::whole_tensor);
        let [Some(one), Some(other)] = tensors else { return None };
        let [a, b] = [&models[0].tensors[one], &models[1].tensors[other]];
        (layout_key(a) == layout_key(b)).then_some([one, other])
    };
    let same_layout: Vec<Option<[usize; 2]>> = pairing.pairs.iter().map(same_layout).collect();
    let side = |at: usize| {
        let selected: BTreeSet<usize> = same_layout
            .iter()
            .flatten()
            .chain(&unreadable_tensors)
            .map(|tensors| tensors[at])
            .collect();
        digests(models[at], &selected, options, progress)
    };
    let digested = [side(0)?, side(1)?];
    let same = |tensors: &[usize; 2]| {
        let digest = |at: usize| digested[at].0.get(&tensors[at]);
        digest(0).is_some() && digest(0) == digest(1)
    };
    let same: Vec<bool> = same_layout.iter().map(|t| t.as_ref().is_some_and(same)).collect();
    unreadable::set_identical(
        models,
        &weights,
        &mut unreadable_pairs,
        [&digested[0].0, &digested[1].0],
    );
    let mut tied = |side: usize| {
        tied::find(models[side], &weights[side], &mut pairing, side, options, progress)
    };
    let tied = [tied(0)?, tied(1)?];
    let outcomes = compare_values(models, &weights, &pairing, &same, &options.threads, progress)?;
    let mut weights = weights.into_iter();
    let mut digested = digested.into_iter();
    let sides = models.map(|model| {
        let (digests, run) = digested.next().unwrap_or_default();
        ComparedModel { model, weights: weights.next().unwrap_or_default(), digests, run }
    });
    Ok(ModelComparison {
        sides,
        pairing,
        outcomes,
        unreadable: unreadable_pairs,
        name_only: name_only_tensors,
        tied,
    })
}

/// Returns the outcome of each pair. `same` tells which pairs have equal bytes.
fn compare_values(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairing: &Pairing,
    same: &[bool],
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<PairOutcome>, RunError> {
    let read = |(pair, same): (&WeightPair, &bool)| !same && pair.same_shape;
    let to_read: Vec<&WeightPair> =
        pairing.pairs.iter().zip(same).filter(|item| read(*item)).map(|(pair, _)| pair).collect();
    let plans = [0, 1].map(|at| {
        reader::read_plan(models[at], to_read.iter().map(|pair| pair.weights(weights)[at]))
    });
    progress.expect(plans.iter().map(Plan::bytes).sum());
    let files = [0, 1].map(|at| FileSet::new(&models[at].files, &plans[at]));
    let readers = [0, 1].map(|at| WeightReader::new(models[at], &files[at]));
    let pool = threads.pool()?;
    let mut outcomes = Vec::with_capacity(pairing.pairs.len());
    for (pair, same) in pairing.pairs.iter().zip(same) {
        outcomes.push(match (same, pair.same_shape) {
            (true, _) => PairOutcome::Identical,
            (false, false) => PairOutcome::Shapes,
            (false, true) => {
                let pair_weights = pair.weights(weights);
                let comparison =
                    pool.install(|| compare_weights(&readers, pair_weights, progress))?;
                for at in [0, 1] {
                    reader::finish_weight(models[at], &files[at], pair_weights[at])?;
                    let read = pair_weights[at].tensors().into_iter();
                    progress.add(read.map(|index| models[at].tensors[index].bytes).sum());
                }
                PairOutcome::Values(comparison)
            }
        });
    }
    Ok(outcomes)
}

/// Compares the values of two weights of one shape.
fn compare_weights(
    readers: &[WeightReader<'_>; 2],
    weights: [&Weight; 2],
    progress: &Progress,
) -> Result<ValueComparison, RunError> {
    let elements = weights[0].elements().unwrap_or(0);
    let piece = weights.map(WeightReader::piece_len).into_iter().max().unwrap_or(1);
    let starts: Vec<u64> = (0..elements).step_by(piece as usize).collect();
    let mut total = ValueComparison::default();
    // Batches bound the number of results that wait to be added up in order.
    for batch in starts.chunks(PIECES_PER_THREAD * rayon::current_num_threads()) {
        let parts: Vec<ValueComparison> = batch
            .par_iter()
            .map(|first| {
                if progress.stopped() {
                    return Err(RunError::Interrupted);
                }
                let count = piece.min(elements - first) as usize;
                let before = readers[0].read(weights[0], *first, count)?;
                let after = readers[1].read(weights[1], *first, count)?;
                Ok(ValueComparison::from_values(*first, &before, &after))
            })
            .collect::<Result<_, RunError>>()?;
        parts.iter().for_each(|part| total.merge(part));
    }
    Ok(total)
}
