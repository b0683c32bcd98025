//! Comparing two models, whatever containers, names and quantisations they are in.
//!
//! [`pairing`] says which weights are the same by their names; tensors of one type and shape are
//! digested, on any engine, and what is equal is not read again; of the rest [`value_comparison`] are formed of the
//! values of both, piece by piece, in constant memory. What it means is said by
//! [`crate::judge::compare`]. [`copies`] are two forms of one weight within a model, [`tied`] two names of one,
//! [`unreadable`] those that nobody here can read, and [`name_only`] those of which there is a name alone.

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

/// Pieces a thread that are in memory at once.
const PIECES_A_THREAD: usize = 2;

/// One of the two models.
#[derive(Debug)]
pub struct ComparedModel<'m> {
    /// The model.
    pub model: &'m Checkpoint,
    /// Its weights.
    pub weights: Weights,
    /// Digests of the tensors that were digested, by index.
    pub digests: HashMap<usize, ChainingValue>,
    /// Who digested.
    pub run: RunReport,
}

/// What became of a pair of weights.
#[derive(Debug, Clone, PartialEq)]
pub enum PairOutcome {
    /// The same bytes of the same type.
    Identical,
    /// Values, side by side.
    Values(ValueComparison),
    /// Other dimensions: there is nothing to put side by side.
    Shapes,
}

/// Two models, compared.
#[derive(Debug)]
pub struct ModelComparison<'m> {
    /// The first, and the second.
    pub sides: [ComparedModel<'m>; 2],
    /// Weights of both, by number.
    pub pairing: Pairing,
    /// What became of each pair.
    pub outcomes: Vec<PairOutcome>,
    /// Weights that cannot be read on a side at least.
    pub unreadable: Vec<unreadable::UnreadablePair>,
    /// Tensors that a file of a side at least names, and that are not read.
    pub name_only: Vec<name_only::NameOnlyTensor>,
    /// By side: weights that are alone and have the bytes of one that is paired, and the number of that pair.
    pub tied: [BTreeMap<usize, usize>; 2],
}

/// Compares two models.
///
/// # Errors
/// See [`RunError`].
pub fn measure<'m>(
    models: [&'m Checkpoint; 2],
    options: &RunOptions,
    progress: &Progress,
) -> Result<ModelComparison<'m>, RunError> {
    let weights = models.map(Weights::from_checkpoint);
    let mut pairing = Pairing::new(&weights);
    let mut not_read = unreadable::pair(models, &weights, &mut pairing);
    let named = name_only::pair(models, &weights, &mut pairing, options, progress)?;
    let of_unread: Vec<[usize; 2]> = not_read
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
    let alike = |pair: &WeightPair| {
        let tensors = pair.weights(&weights).map(Weight::whole_tensor);
        let [Some(one), Some(other)] = tensors else { return None };
        let [a, b] = [&models[0].tensors[one], &models[1].tensors[other]];
        (layout_key(a) == layout_key(b)).then_some([one, other])
    };
    let alike: Vec<Option<[usize; 2]>> = pairing.pairs.iter().map(alike).collect();
    let side = |at: usize| {
        let wanted: BTreeSet<usize> =
            alike.iter().flatten().chain(&of_unread).map(|tensors| tensors[at]).collect();
        digests(models[at], &wanted, options, progress)
    };
    let found = [side(0)?, side(1)?];
    let same = |tensors: &[usize; 2]| {
        let digest = |at: usize| found[at].0.get(&tensors[at]);
        digest(0).is_some() && digest(0) == digest(1)
    };
    let same: Vec<bool> = alike.iter().map(|t| t.as_ref().is_some_and(same)).collect();
    unreadable::set_identical(models, &weights, &mut not_read, [&found[0].0, &found[1].0]);
    let mut tied = |side: usize| {
        tied::find(models[side], &weights[side], &mut pairing, side, options, progress)
    };
    let tied = [tied(0)?, tied(1)?];
    let outcomes = values(models, &weights, &pairing, &same, &options.threads, progress)?;
    let mut weights = weights.into_iter();
    let mut found = found.into_iter();
    let sides = models.map(|model| {
        let (digests, run) = found.next().unwrap_or_default();
        ComparedModel { model, weights: weights.next().unwrap_or_default(), digests, run }
    });
    Ok(ModelComparison { sides, pairing, outcomes, unreadable: not_read, name_only: named, tied })
}

/// The outcome of each pair; `same`: those that are known to be equal.
fn values(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairing: &Pairing,
    same: &[bool],
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<PairOutcome>, RunError> {
    let read = |(pair, same): (&WeightPair, &bool)| !same && pair.same_shape;
    let to_read: Vec<&WeightPair> =
        pairing.pairs.iter().zip(same).filter(|both| read(*both)).map(|(pair, _)| pair).collect();
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
                let both = pair.weights(weights);
                let sums = pool.install(|| sums_of(&readers, both, progress))?;
                for at in [0, 1] {
                    reader::finish_weight(models[at], &files[at], both[at])?;
                    let read = both[at].tensors().into_iter();
                    progress.add(read.map(|index| models[at].tensors[index].bytes).sum());
                }
                PairOutcome::Values(sums)
            }
        });
    }
    Ok(outcomes)
}

/// Of two weights of one shape.
fn sums_of(
    readers: &[WeightReader<'_>; 2],
    weights: [&Weight; 2],
    progress: &Progress,
) -> Result<ValueComparison, RunError> {
    let elements = weights[0].elements().unwrap_or(0);
    let piece = weights.map(WeightReader::piece_len).into_iter().max().unwrap_or(1);
    let starts: Vec<u64> = (0..elements).step_by(piece as usize).collect();
    let mut whole = ValueComparison::default();
    // In batches, so that what waits to be added up in order is bounded.
    for batch in starts.chunks(PIECES_A_THREAD * rayon::current_num_threads()) {
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
        parts.iter().for_each(|part| whole.merge(part));
    }
    Ok(whole)
}
