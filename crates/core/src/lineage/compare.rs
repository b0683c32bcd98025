//! Compares the values of two models tensor by tensor.

use super::difference::{DifferencePart, TensorComparer, TensorDifference};
use super::pairs::ChangedTensor;
use crate::seal::Seal;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::HashMap;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::values::{PIECE_LEN, TensorValues};

/// The number of pieces per thread that are in memory at once.
const PIECES_PER_THREAD: usize = 4;

/// Returns the differences between the changed tensors of `model` and their counterparts in `original`, in the order of
/// `changed`. `baseline` is the seal of `original`. Both models must have been measured before.
///
/// # Errors
/// Returns a [`RunError`] if a file cannot be read or changed since it was opened, or if the run was interrupted.
pub fn differences(
    model: &Checkpoint,
    original: &Checkpoint,
    baseline: &Seal,
    changed: &[ChangedTensor],
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<Option<TensorDifference>>, RunError> {
    let by_name: HashMap<&str, usize> =
        original.tensors.iter().zip(0..).map(|(tensor, index)| (&tensor.name[..], index)).collect();
    let counterpart = |pair: &ChangedTensor| {
        let index = *by_name.get(baseline.tensors[pair.baseline].name.as_str())?;
        let counterpart = &original.tensors[index];
        let comparison = TensorComparer::for_tensor(counterpart)?;
        (counterpart.bytes == model.tensors[pair.tensor].bytes).then_some((index, comparison))
    };
    let counterparts: Vec<Option<(usize, TensorComparer)>> =
        changed.iter().map(counterpart).collect();
    let pairs = || changed.iter().zip(&counterparts).filter_map(|(p, c)| Some((p.tensor, (*c)?)));
    let model_plan = Plan::from_tensors(pairs().map(|(index, _)| (index, &model.tensors[index])));
    let original_plan =
        Plan::from_tensors(pairs().map(|(_, (index, _))| (index, &original.tensors[index])));
    progress.expect(model_plan.bytes() + original_plan.bytes());
    let files =
        [FileSet::new(&original.files, &original_plan), FileSet::new(&model.files, &model_plan)];
    let pool = threads.pool()?;
    let mut differences = Vec::with_capacity(changed.len());
    for (pair, counterpart) in changed.iter().zip(&counterparts) {
        let Some((original_index, comparison)) = counterpart else {
            differences.push(None);
            continue;
        };
        let tensors = [&original.tensors[*original_index], &model.tensors[pair.tensor]];
        let found = pool.install(|| difference(&files, tensors, comparison, progress))?;
        for (files, tensor) in files.iter().zip(tensors) {
            files.object_done(tensor.file)?;
        }
        differences.push(Some(found));
    }
    Ok(differences)
}

/// Compares two tensors, given as before and after.
fn difference(
    files: &[FileSet<'_>; 2],
    tensors: [&Tensor; 2],
    comparison: &TensorComparer,
    progress: &Progress,
) -> Result<TensorDifference, RunError> {
    let values =
        [0, 1].map(|side| TensorValues::new(&files[side], tensors[side], comparison.decoder));
    let starts: Vec<u64> = values[0].starts().collect();
    let mut builder = comparison.builder();
    // Batches bound the number of results that wait to be added up in order.
    for batch in starts.chunks(PIECES_PER_THREAD * rayon::current_num_threads()) {
        let parts: Vec<DifferencePart> = batch
            .par_iter()
            .map(|first| {
                if progress.stopped() {
                    return Err(RunError::Interrupted);
                }
                let before = values[0].bytes(*first, PIECE_LEN)?;
                let after = values[1].bytes(*first, PIECE_LEN)?;
                progress.add((before.len() + after.len()) as u64);
                Ok(comparison.compare_piece(*first, &before, &after))
            })
            .collect::<Result<_, RunError>>()?;
        parts.into_iter().for_each(|part| builder.add(part));
    }
    Ok(builder.finish(tensors[0].bytes))
}

#[cfg(test)]
mod tests {
    use super::super::pairs::TensorPairs;
    use super::*;
    use crate::seal::build;
    use safetensors::tensor::{Dtype as TheirDtype, TensorView, serialize_to_file};
    use std::fs;
    use std::path::Path;
    use tensorseal_engine::RunOptions;
    use tensorseal_format::OpenOptions;

    fn write(path: &Path, tensors: &[(&str, TheirDtype, Vec<usize>, Vec<u8>)]) -> Checkpoint {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        serialize_to_file(views, None, path).unwrap();
        Checkpoint::open(path, &OpenOptions::default()).unwrap()
    }

    fn seal(model: &Checkpoint) -> Seal {
        build::measure(model, false, &RunOptions::default(), &Progress::default()).unwrap().0
    }

    fn compared(
        before: &Checkpoint,
        after: &Checkpoint,
    ) -> Result<Vec<TensorDifference>, RunError> {
        let baseline = seal(before);
        let ours = seal(after);
        let digests = after.tensors.iter().enumerate().map(|(index, tensor)| {
            let sealed = ours.tensors.iter().find(|sealed| sealed.name == tensor.name).unwrap();
            (index, sealed.blake3)
        });
        let pairs = TensorPairs::new(after, &digests.collect(), &baseline);
        let progress = Progress::default();
        let found =
            differences(after, before, &baseline, &pairs.changed, &Threads::new(2), &progress)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn differences_match_the_values() {
        let dir = tempfile::tempdir().unwrap();
        // More than one piece, with row lengths that do not divide the pieces.
        let len = 300 * 331;
        let before: Vec<f32> = (0..len).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        let mut after = before.clone();
        after[331] += 0.5;
        after[70_000] -= 2.0;
        after[90_000] = f32::NAN;
        let shape = vec![300, 331];
        let float = |name, values: &[f32]| (name, TheirDtype::F32, shape.clone(), floats(values));
        let int = |bytes: [u8; 4]| ("int", TheirDtype::I8, vec![4], bytes.to_vec());
        let four = |bytes: [u8; 4]| ("four", TheirDtype::F4, vec![8], bytes.to_vec());
        let was = write(
            &dir.path().join("a.safetensors"),
            &[float("x", &before), int([1, 0xFF, 3, 4]), four([1, 2, 3, 4])],
        );
        let is = write(
            &dir.path().join("b.safetensors"),
            &[float("x", &after), int([1, 0xFE, 3, 6]), four([1, 2, 7, 4])],
        );
        let found = compared(&was, &is).unwrap();
        let named = |name: &str| {
            let changed = is.tensors.iter().position(|tensor| tensor.name == name).unwrap();
            found[changed]
        };
        let x = named("x");
        assert_eq!((x.numbers, x.units, x.changed), (true, len as u64, 3));
        assert_eq!(x.extent, [331 * 4, 90_001 * 4]);
        assert_eq!((x.largest, x.largest_at), (-2.0, 70_000));
        let lost = f64::from(before[90_000]);
        assert!((x.norm * x.norm - (4.25 + lost * lost)).abs() < 1e-6, "{x:?}");
        let square: f64 = before.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((x.norm_before / square.sqrt() - 1.0).abs() < 1e-12);
        assert!(x.cosine > 0.999 && x.cosine < 1.0 && x.codes.is_none() && x.low_rank.is_none());
        let int = named("int");
        assert_eq!((int.changed, int.extent, int.largest), (2, [1, 4], 2.0));
        assert!((int.relative() - 5f64.sqrt() / 27f64.sqrt()).abs() < 1e-12, "{int:?}");
        let four = named("four");
        assert_eq!((four.numbers, four.units, four.changed), (false, 4, 1));
        assert_eq!(four.extent, [2, 3]);
    }

    #[test]
    fn a_file_that_changed_since_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let x = |value: f32| ("x", TheirDtype::F32, vec![64], floats(&[value; 64]));
        let path = dir.path().join("a.safetensors");
        let before = write(&path, &[x(1.0)]);
        let after = write(&dir.path().join("b.safetensors"), &[x(2.0)]);
        let (baseline, ours) = (seal(&before), seal(&after));
        let pairs = TensorPairs::new(&after, &[(0, ours.tensors[0].blake3)].into(), &baseline);
        fs::write(&path, fs::read(after.files[0].location.local().unwrap()).unwrap()).unwrap();
        let progress = Progress::default();
        let found =
            differences(&after, &before, &baseline, &pairs.changed, &Threads::new(1), &progress);
        assert!(matches!(found, Err(RunError::File(_))), "{found:?}");
        progress.stop();
        let found =
            differences(&after, &before, &baseline, &pairs.changed, &Threads::new(1), &progress);
        assert!(matches!(found, Err(RunError::Interrupted)), "{found:?}");
    }
}
