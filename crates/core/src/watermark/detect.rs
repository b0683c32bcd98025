//! Measuring how the chips of keys correlate with a model: one pass over every byte, for any number
//! of keys.

use super::carriers::Carriers;
use super::key::WatermarkKey;
use crate::seal::ModelSeal;
use crate::seal::build;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::correlation::{CARRIER_LEN, Correlation};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::measure::slots::SlotSums;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::{Object, ObjectKind, Plan, PlannedCarrier};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::reader::{self, WeightReader};

/// The most keys of one detection.
pub const MAX_KEYS: usize = 256;

/// Sums of slots that are kept for the groups of all keys: what bounds the memory.
const MAX_SUMS: usize = 4096;

/// The group of what is left when a model has too many of them.
const OTHERS: &str = "(others)";

/// The sums of the carriers of one group: a layer, or a tensor that is in none.
#[derive(Debug, Clone, Default)]
pub struct GroupSums {
    /// The common part of its names.
    pub name: String,
    /// By key.
    pub sums: Vec<SlotSums>,
}

/// What was measured of a model.
#[derive(Debug)]
pub struct WatermarkMeasurement {
    /// The model and its root.
    pub model: ModelSeal,
    /// Who measured.
    pub run: RunReport,
    /// What carries.
    pub carriers: Carriers,
    /// By group, in the order of the tensors.
    pub groups: Vec<GroupSums>,
}

/// Why a model could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The run did not complete.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A tensor was not the same when it was read a second time.
    #[error(
        "{0} changed while it was being read: nothing can be said of it; try again when it is at rest"
    )]
    Changed(String),
}

/// Correlates every carrier of `model` with the chips of `keys` (at most [`MAX_KEYS`] are used), and
/// digests every byte.
///
/// # Errors
/// See [`DetectError`].
pub fn measure(
    model: &Checkpoint,
    keys: &[WatermarkKey],
    options: &RunOptions,
    progress: &Progress,
) -> Result<WatermarkMeasurement, DetectError> {
    let detecting = DetectionBuilder::new(model, keys, options, progress)?;
    let mut plan = Plan::everything(model, false);
    detecting.add_to(&mut plan);
    let keep =
        |finished: ObjectMeasurement<'_>| detecting.add(&plan.objects[finished.object], &finished);
    let run = engine::run(&model.files, &plan, options, progress, &keep)?;
    detecting.finish(&run, &options.threads, progress)
}

/// A detection while its model is being measured.
pub struct DetectionBuilder<'a> {
    model: &'a Checkpoint,
    keys: &'a [WatermarkKey],
    carriers: Carriers,
    groups: CarrierGroups,
    /// By tensor of the model.
    digests: Mutex<HashMap<usize, ChainingValue>>,
}

impl<'a> DetectionBuilder<'a> {
    /// Of `keys` (at most [`MAX_KEYS`] are used) in `model`: finds what carries.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn new(
        model: &'a Checkpoint,
        keys: &'a [WatermarkKey],
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let keys = &keys[..keys.len().min(MAX_KEYS)];
        let carriers = Carriers::find(model, options, progress)?;
        let groups = CarrierGroups::new(&carriers, keys.len());
        Ok(Self { model, keys, carriers, groups, digests: Mutex::default() })
    }

    /// Asks for the correlations of the carriers that engines read as they are.
    pub fn add_to(&self, plan: &mut Plan) {
        let carriers = &self.carriers.tensors;
        let places: HashMap<usize, usize> =
            (0..).zip(carriers).filter_map(|(place, c)| Some((c.tensor?, place))).collect();
        for object in &mut plan.objects {
            if let ObjectKind::Tensor(tensor) = object.kind {
                object.carrier = places.get(&tensor).copied();
            }
        }
        plan.keys = self.keys.iter().map(WatermarkKey::chips).collect();
        let planned = carriers.iter().map(|carrier| PlannedCarrier {
            carrier: carrier.carrier,
            offsets: self.keys.iter().map(|key| key.block_offset(&carrier.canonical)).collect(),
        });
        plan.carriers = planned.collect();
    }

    /// Adds the sums of an object, if it carries.
    pub fn add(&self, object: &Object, finished: &ObjectMeasurement<'_>) {
        let ObjectKind::Tensor(tensor) = object.kind else { return };
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(tensor, finished.digest);
        drop(digests);
        if let Some(carrier) = object.carrier {
            self.groups.merge(carrier, &finished.slots);
        }
    }

    /// Adds the carriers that are put together first, when all objects were measured by `run`. `threads`:
    /// as in [`RunOptions`].
    ///
    /// # Errors
    /// See [`DetectError`].
    pub fn finish(
        self,
        run: &RunReport,
        threads: &Threads,
        progress: &Progress,
    ) -> Result<WatermarkMeasurement, DetectError> {
        let Self { model, keys, carriers, groups, digests } = self;
        correlate_assembled(model, &carriers, keys, &groups, threads, progress)?;
        let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Which tensors are tied was decided on an earlier reading: it must have been of the same bytes.
        for (tensor, digest) in &carriers.compared {
            if digests.get(tensor) != Some(digest) {
                return Err(DetectError::Changed(model.tensors[*tensor].name.clone()));
            }
        }
        let model = build::model_seal(model, &digests);
        Ok(WatermarkMeasurement { model, run: run.clone(), carriers, groups: groups.finish() })
    }
}

/// Correlates the carriers that no engine reads as they are: their values are put in order, or together,
/// and go through the CPU kernel. The files must have been measured by now.
fn correlate_assembled(
    model: &Checkpoint,
    carriers: &Carriers,
    keys: &[WatermarkKey],
    groups: &CarrierGroups,
    threads: &Threads,
    progress: &Progress,
) -> Result<(), RunError> {
    let all =
        || carriers.tensors.iter().enumerate().filter(|(_, carrier)| carrier.tensor.is_none());
    let plan = reader::read_plan(model, all().map(|(_, carrier)| &carrier.weight));
    if plan.objects.is_empty() {
        return Ok(());
    }
    progress.expect(plan.bytes());
    let files = FileSet::new(&model.files, &plan);
    let reader = WeightReader::new(model, &files);
    let chips: Vec<ChipKey> = keys.iter().map(WatermarkKey::chips).collect();
    let pool = threads.pool()?;
    for (place, carrier) in all() {
        let offsets: Vec<u32> =
            keys.iter().map(|key| key.block_offset(&carrier.canonical)).collect();
        // Whole blocks, as many as are best read at once.
        let piece_len =
            WeightReader::piece_len(&carrier.weight).next_multiple_of(CARRIER_LEN as u64);
        let starts: Vec<u64> = (0..carrier.elements).step_by(piece_len as usize).collect();
        let piece = |values: &mut Vec<f32>, start: u64| {
            if progress.stopped() {
                return Err(RunError::Interrupted);
            }
            let first = start / CARRIER_LEN as u64;
            let count = piece_len.min(carrier.elements - start) as usize;
            // Every value that is put together is one of binary32, or is correlated as one; what is not finite is skipped
            // like that of any tensor.
            values.resize(count, 0.0);
            reader.read_into(&carrier.weight, start, values)?;
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
            let bytes: &[u8] = bytemuck::cast_slice(values);
            let mut correlation = Correlation::new(keys.len());
            correlation.add(&carrier.carrier, &chips, first, bytes);
            let mut sums = vec![SlotSums::default(); keys.len()];
            let by_key = sums.iter_mut().zip(&offsets).zip(&correlation.sums);
            for ((slots, offset), sums) in by_key {
                slots.add(*offset, first, &correlation.energies, sums);
            }
            Ok(sums)
        };
        let sums = pool.install(|| {
            let pieces =
                starts.par_iter().map_init(Vec::new, |values, first| piece(values, *first));
            pieces.try_reduce(
                || vec![SlotSums::default(); keys.len()],
                |mut whole, part| {
                    whole.iter_mut().zip(&part).for_each(|(whole, part)| whole.merge(part));
                    Ok(whole)
                },
            )
        })?;
        groups.merge(place, &sums);
        reader::finish_weight(model, &files, &carrier.weight)?;
        let tensors = carrier.weight.tensors().into_iter();
        progress.add(tensors.map(|index| model.tensors[index].bytes).sum());
    }
    Ok(())
}

/// The groups of carriers while they are being measured.
pub(super) struct CarrierGroups {
    /// By carrier.
    group_of: Vec<usize>,
    groups: Vec<Mutex<GroupSums>>,
}

impl CarrierGroups {
    /// Groups of these carriers, for this number of keys.
    pub(super) fn new(carriers: &Carriers, keys: usize) -> Self {
        let most = (MAX_SUMS / keys.max(1)).max(1);
        let names: Vec<&str> = carriers.names().map(group_name).collect();
        // In natural order: layer 10 after layer 9.
        let mut order: Vec<&str> = names.clone();
        order.sort_by_key(|name| natural(name));
        order.dedup();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, name) in order.iter().enumerate() {
            places.insert(name, place.min(most - 1));
        }
        let too_many = order.len() > most;
        let named = order.iter().take(most).enumerate().map(|(place, name)| {
            let name = if too_many && place == most - 1 { OTHERS } else { name };
            Mutex::new(GroupSums { name: name.to_owned(), sums: vec![SlotSums::default(); keys] })
        });
        let groups = named.collect();
        Self { group_of: names.iter().map(|name| places[name]).collect(), groups }
    }

    /// Adds the sums of a carrier.
    pub(super) fn merge(&self, carrier: usize, sums: &[SlotSums]) {
        let group = &self.groups[self.group_of[carrier]];
        let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
        for (whole, part) in group.sums.iter_mut().zip(sums) {
            whole.merge(part);
        }
    }

    /// All groups.
    pub(super) fn finish(self) -> Vec<GroupSums> {
        self.groups
            .into_iter()
            .map(|group| group.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}

/// The layer a tensor belongs to: its name up to the first number; a tensor in no layer is a group of
/// its own, without the name of its parameter.
fn group_name(canonical: &str) -> &str {
    let mut end = 0;
    for component in canonical.split('.') {
        end += component.len();
        if !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_digit()) {
            return &canonical[..end];
        }
        end += 1;
    }
    canonical.rsplit_once('.').map_or(canonical, |(stem, _)| stem)
}

/// A key that sorts numbers by value.
fn natural(name: &str) -> Vec<(u64, &str)> {
    name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_groups() {
        for (name, group) in [
            ("layers.10.self_attn.q_proj.weight", "layers.10"),
            ("encoder.layer.3.attention.self.query.weight", "encoder.layer.3"),
            ("embed_tokens.weight", "embed_tokens"),
            ("weight", "weight"),
            ("", ""),
            ("a..1.b", "a..1"),
            ("7", "7"),
        ] {
            assert_eq!(group_name(name), group);
        }
        let mut names = ["layers.10", "layers.9", "embed_tokens", "layers.2"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["embed_tokens", "layers.2", "layers.9", "layers.10"]);
    }
}
