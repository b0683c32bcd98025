//! Blind detection: measures how the chips of keys correlate with a model, in one pass for all keys.

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

/// The maximum number of keys of one detection.
pub const MAX_KEYS: usize = 256;

/// The maximum number of slot sums over the groups of all keys, which limits the memory.
const MAX_SUMS: usize = 4096;

/// The name of the group for all further carriers if a model has too many groups.
const OTHERS: &str = "(others)";

/// The sums of a group of carriers: a layer, or a tensor outside layers.
#[derive(Debug, Clone, Default)]
pub struct GroupSums {
    /// The common part of the names of its carriers.
    pub name: String,
    /// The sums of each key.
    pub sums: Vec<SlotSums>,
}

/// The measurement of a model.
#[derive(Debug)]
pub struct WatermarkMeasurement {
    /// The measured model with its root.
    pub model: ModelSeal,
    /// How the model was measured.
    pub run: RunReport,
    /// The carriers of the model.
    pub carriers: Carriers,
    /// The sums of each group, in the order of the tensors.
    pub groups: Vec<GroupSums>,
}

/// An error while measuring a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The run was not completed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A tensor differed when it was read a second time.
    #[error("{0} changed while it was being read: try again when nothing writes to the model")]
    Changed(String),
}

/// Correlates every carrier of `model` with the chips of `keys` (at most [`MAX_KEYS`] are used), and hashes every byte.
///
/// # Errors
/// Returns a [`DetectError`] if the model cannot be read or changed, or if the run is interrupted.
pub fn measure(
    model: &Checkpoint,
    keys: &[WatermarkKey],
    options: &RunOptions,
    progress: &Progress,
) -> Result<WatermarkMeasurement, DetectError> {
    let detection = DetectionBuilder::new(model, keys, options, progress)?;
    let mut plan = Plan::everything(model, false);
    detection.add_to(&mut plan);
    let keep =
        |finished: ObjectMeasurement<'_>| detection.add(&plan.objects[finished.object], &finished);
    let run = engine::run(&model.files, &plan, options, progress, &keep)?;
    detection.finish(&run, &options.threads, progress)
}

/// Collects the correlations while a model is measured.
pub struct DetectionBuilder<'a> {
    model: &'a Checkpoint,
    keys: &'a [WatermarkKey],
    carriers: Carriers,
    groups: CarrierGroups,
    /// The digests by tensor of the model.
    digests: Mutex<HashMap<usize, ChainingValue>>,
}

impl<'a> DetectionBuilder<'a> {
    /// Finds the carriers of `model` for the detection of `keys` (at most [`MAX_KEYS`] are used).
    ///
    /// # Errors
    /// Returns a [`RunError`] if tensors that may be tied cannot be read, or if the run is interrupted.
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

    /// Adds the correlations of the carriers that engines can read directly to a plan.
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

    /// Adds the digest of an object and, if it is a carrier, its sums.
    pub fn add(&self, object: &Object, finished: &ObjectMeasurement<'_>) {
        let ObjectKind::Tensor(tensor) = object.kind else { return };
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(tensor, finished.digest);
        drop(digests);
        if let Some(carrier) = object.carrier {
            self.groups.merge(carrier, &finished.slots);
        }
    }

    /// Adds the carriers that must be assembled first, after `run` has measured all objects. `threads` is as in
    /// [`RunOptions`].
    ///
    /// # Errors
    /// Returns a [`DetectError`] if the model cannot be read or changed, or if the run is interrupted.
    pub fn finish(
        self,
        run: &RunReport,
        threads: &Threads,
        progress: &Progress,
    ) -> Result<WatermarkMeasurement, DetectError> {
        let Self { model, keys, carriers, groups, digests } = self;
        correlate_assembled(model, &carriers, keys, &groups, threads, progress)?;
        let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Tied tensors were determined in an earlier read, which must have seen the same bytes.
        for (tensor, digest) in &carriers.compared {
            if digests.get(tensor) != Some(digest) {
                return Err(DetectError::Changed(model.tensors[*tensor].name.clone()));
            }
        }
        let model = build::model_seal(model, &digests);
        Ok(WatermarkMeasurement { model, run: run.clone(), carriers, groups: groups.finish() })
    }
}

/// Correlates the carriers that engines cannot read directly: their values are assembled in order and correlated with
/// the CPU kernel. The files must have been measured before.
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
        // Whole blocks, as many as are best read together.
        let piece_len =
            WeightReader::piece_len(&carrier.weight).next_multiple_of(CARRIER_LEN as u64);
        let starts: Vec<u64> = (0..carrier.elements).step_by(piece_len as usize).collect();
        let piece = |values: &mut Vec<f32>, start: u64| {
            if progress.stopped() {
                return Err(RunError::Interrupted);
            }
            let first = start / CARRIER_LEN as u64;
            let count = piece_len.min(carrier.elements - start) as usize;
            // Every assembled value is a binary32 number, or is correlated as one. Values that are not finite are
            // skipped as in any tensor.
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

/// The groups of carriers during a measurement.
pub(super) struct CarrierGroups {
    /// The group of each carrier.
    group_of: Vec<usize>,
    groups: Vec<Mutex<GroupSums>>,
}

impl CarrierGroups {
    /// Creates the groups of these carriers, for this number of keys.
    pub(super) fn new(carriers: &Carriers, keys: usize) -> Self {
        let max_groups = (MAX_SUMS / keys.max(1)).max(1);
        let names: Vec<&str> = carriers.names().map(group_name).collect();
        // In natural order: layer 10 after layer 9.
        let mut order: Vec<&str> = names.clone();
        order.sort_by_key(|name| natural(name));
        order.dedup();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, name) in order.iter().enumerate() {
            places.insert(name, place.min(max_groups - 1));
        }
        let too_many = order.len() > max_groups;
        let named = order.iter().take(max_groups).enumerate().map(|(place, name)| {
            let name = if too_many && place == max_groups - 1 { OTHERS } else { name };
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

    /// Returns all groups.
    pub(super) fn finish(self) -> Vec<GroupSums> {
        self.groups
            .into_iter()
            .map(|group| group.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}

/// Returns the group of a tensor: its name up to the first number. A tensor outside layers is a separate group, named
/// without its parameter.
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

/// Returns a key that sorts numbers in names by value.
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
