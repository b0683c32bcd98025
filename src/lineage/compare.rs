//! Reading two models side by side.

use super::difference::{Comparison, Difference, Part};
use super::pairs::Changed;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::{self, RunError};
use crate::seal::Seal;
use crate::stream::files::FileSet;
use crate::stream::progress::Progress;
use crate::watermark::values::{PIECE_LEN, Values, plan_of};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::HashMap;

/// Pieces a thread that are in memory at once.
const PIECES_A_THREAD: usize = 4;

/// The differences of the changed tensors of `model` from their counterparts in `original`, which
/// `baseline` is the seal of; in the order of `changed`. Both must have been measured by now: files that
/// changed since they were opened are an error.
///
/// # Errors
/// See [`RunError`].
pub fn differences(
    model: &Checkpoint,
    original: &Checkpoint,
    baseline: &Seal,
    changed: &[Changed],
    threads: usize,
    progress: &Progress,
) -> Result<Vec<Option<Difference>>, RunError> {
    let by_name: HashMap<&str, usize> =
        original.tensors.iter().zip(0..).map(|(tensor, index)| (&tensor.name[..], index)).collect();
    let counterpart = |pair: &Changed| {
        let index = *by_name.get(baseline.tensors[pair.baseline].name.as_str())?;
        let theirs = &original.tensors[index];
        let comparison = Comparison::of(theirs)?;
        (theirs.bytes == model.tensors[pair.tensor].bytes).then_some((index, comparison))
    };
    let counterparts: Vec<Option<(usize, Comparison)>> = changed.iter().map(counterpart).collect();
    let pairs = || changed.iter().zip(&counterparts).filter_map(|(p, c)| Some((p.tensor, (*c)?)));
    let ours = plan_of(pairs().map(|(ours, _)| (ours, &model.tensors[ours])));
    let theirs = plan_of(pairs().map(|(_, (theirs, _))| (theirs, &original.tensors[theirs])));
    progress.expect(ours.bytes() + theirs.bytes());
    let files = [FileSet::new(&original.files, &theirs), FileSet::new(&model.files, &ours)];
    let pool = engine::thread_pool(threads)?;
    let mut differences = Vec::with_capacity(changed.len());
    for (pair, counterpart) in changed.iter().zip(&counterparts) {
        let Some((theirs, comparison)) = counterpart else {
            differences.push(None);
            continue;
        };
        let tensors = [&original.tensors[*theirs], &model.tensors[pair.tensor]];
        let found = pool.install(|| difference(&files, tensors, comparison, progress))?;
        for (files, tensor) in files.iter().zip(tensors) {
            files.object_done(tensor.file)?;
        }
        differences.push(Some(found));
    }
    Ok(differences)
}

/// Of two tensors: before, after.
fn difference(
    files: &[FileSet<'_>; 2],
    tensors: [&Tensor; 2],
    comparison: &Comparison,
    progress: &Progress,
) -> Result<Difference, RunError> {
    let values = [0, 1].map(|side| Values::new(&files[side], tensors[side], comparison.decoder));
    let starts: Vec<u64> = values[0].starts().collect();
    let mut whole = comparison.whole();
    // In batches, so that what waits to be added up in order is bounded.
    for batch in starts.chunks(PIECES_A_THREAD * rayon::current_num_threads()) {
        let parts: Vec<Part> = batch
            .par_iter()
            .map(|first| {
                if progress.stopped() {
                    return Err(RunError::Interrupted);
                }
                let before = values[0].bytes(*first, PIECE_LEN)?;
                let after = values[1].bytes(*first, PIECE_LEN)?;
                progress.add((before.len() + after.len()) as u64);
                Ok(comparison.part(*first, &before, &after))
            })
            .collect::<Result<_, RunError>>()?;
        parts.into_iter().for_each(|part| whole.add(part));
    }
    Ok(whole.finish(tensors[0].bytes))
}
