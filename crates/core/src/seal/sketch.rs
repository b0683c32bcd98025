//! Sketches: signed sums of a tensor's values, from which the distance to a later version is estimated without the values.
//!
//! Each carrier block of [`CARRIER_LEN`] elements is scaled to a root mean square of one. Its elements get signs from a
//! public key and are added up, and the carrier blocks are distributed over [`SUMS`] sums. The squares of the differences
//! between the sums of two tensors add up, on average over the signs, to the squared norm of the difference. Sources:
//! N. Alon, Y. Matias and M. Szegedy, "The space complexity of
//! approximating the frequency moments", *STOC* 1996; distribution over several sums: G. Cormode and
//! M. Garofalakis, "Sketching streams through the net", *VLDB* 2005.
//!
//! The measurement is the [`correlation`](tensorseal_engine::measure::correlation) that also detects watermarks. The key
//! is public, and weights can be changed so that no sum moves. A sketch therefore measures honest changes and proves
//! nothing. It does not detect a factor on whole carrier blocks; counts by exponent do.

use super::canonical::Real;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::measure::chips::{ChipKey, MAX_BLOCKS, Nonce};
use tensorseal_engine::measure::correlation::{CARRIER_LEN, Carrier, ElementFormat};
use tensorseal_engine::measure::slots::{SlotSum, SlotSums};
use tensorseal_engine::stream::plan::{ObjectKind, Plan, PlannedCarrier};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions};
use tensorseal_format::{Checkpoint, Tensor};

/// The number of sums in a sketch.
pub const SUMS: usize = 17;

/// The name of the public key of this version.
pub const KEY: &str = "ts-sketch/1";

/// The number of elements from which a tensor is sketched. Smaller tensors have too few carrier blocks for the sums.
const MIN_ELEMENTS: u64 = 1 << 15;

/// The degrees of freedom of an estimate. One sum has a quarter of the carrier blocks and the others share the rest, so
/// the sum of the squared shares is 1 / 10.2.
const FREEDOM: f64 = 10.0;

/// The 2.5 % and 97.5 % quantiles of the chi-square distribution with that many degrees of freedom.
const CHI_SQUARE: [f64; 2] = [3.247, 20.483];

/// The sketch of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSketch {
    /// The number of finite non-zero elements, which is the squared norm of the scaled tensor.
    pub elements: u64,
    /// The name of the public key.
    pub key: String,
    /// The signed sums.
    pub sums: [Real; SUMS],
}

/// The estimated distance that a tensor moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SketchDistance {
    /// The norm of the change relative to that of the tensor, with each carrier block in units of its root mean square.
    pub relative: f64,
    /// The bounds of the 95 % confidence interval, provided that the change is spread over the tensor.
    pub interval: [f64; 2],
}

impl WeightSketch {
    /// Creates the sketch from the sums of a tensor by slot.
    fn new(slots: &SlotSums) -> WeightSketch {
        let mut sums = [SlotSum::default(); SUMS];
        sums[SUMS - 1] = slots.pilot();
        for (bit, slot) in slots.bits().iter().enumerate() {
            sums[bit % (SUMS - 1)].merge(slot);
        }
        WeightSketch {
            elements: sums.iter().map(|sum| sum.elements).sum(),
            key: KEY.to_owned(),
            sums: sums.map(|sum| Real(sum.correlation())),
        }
    }

    /// Estimates the distance between the tensors of two sketches. Returns `None` if the keys differ or a sketch is empty.
    pub fn distance_to(&self, now: &WeightSketch) -> Option<SketchDistance> {
        if self.key != now.key || self.elements == 0 {
            return None;
        }
        let differences = self.sums.iter().zip(&now.sums).map(|(was, is)| is.0 - was.0);
        let squares = differences.map(|difference| difference * difference);
        let square = squares.sum::<f64>() / self.elements as f64;
        square.is_finite().then(|| SketchDistance {
            relative: libm::sqrt(square),
            interval: [1, 0].map(|bound| libm::sqrt(square * FREEDOM / CHI_SQUARE[bound])),
        })
    }
}

fn nonce(tensor: &Tensor) -> Nonce {
    let digest =
        blake3::derive_key("tensorseal 2026-11-25 sketch nonce v1", tensor.name.as_bytes());
    std::array::from_fn(|i| digest[i])
}

/// Adds the sketches of all tensors to `plan` that have enough elements of a supported type.
pub fn add_to(plan: &mut Plan, model: &Checkpoint) {
    plan.keys =
        vec![ChipKey(blake3::derive_key("tensorseal 2026-11-25 sketch key v1", KEY.as_bytes()))];
    for object in &mut plan.objects {
        let ObjectKind::Tensor(index) = object.kind else { continue };
        let tensor = &model.tensors[index];
        let Some(elements) = ElementFormat::from_dtype(tensor.dtype) else { continue };
        let count = tensor.bytes / elements.width as u64;
        if count < MIN_ELEMENTS || count.div_ceil(CARRIER_LEN as u64) > MAX_BLOCKS {
            continue;
        }
        object.carrier = Some(plan.carriers.len());
        let carrier = Carrier { elements, nonce: nonce(tensor), blocks: None };
        plan.carriers.push(PlannedCarrier { carrier, offsets: vec![0] });
    }
}

/// Returns the sketch of a measured object, if it was requested.
pub(super) fn from_slots(slots: &[SlotSums]) -> Option<WeightSketch> {
    slots.first().map(WeightSketch::new)
}

/// Measures the sketches of some tensors of a model, given and returned by index.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, changed while it was read, or the run was interrupted.
pub fn measure(
    model: &Checkpoint,
    tensors: &[usize],
    options: &RunOptions,
    progress: &Progress,
) -> Result<Vec<(usize, WeightSketch)>, RunError> {
    let mut plan = Plan::everything(model, false);
    plan.objects.retain(|o| matches!(o.kind, ObjectKind::Tensor(i) if tensors.contains(&i)));
    add_to(&mut plan, model);
    let sketches: Mutex<Vec<(usize, WeightSketch)>> = Mutex::default();
    engine::run(&model.files, &plan, options, progress, &|finished| {
        let kind = plan.objects[finished.object].kind;
        if let (ObjectKind::Tensor(index), Some(sketch)) = (kind, from_slots(&finished.slots)) {
            sketches.lock().unwrap_or_else(PoisonError::into_inner).push((index, sketch));
        }
    })?;
    let mut sketches = sketches.into_inner().unwrap_or_else(PoisonError::into_inner);
    sketches.sort_by_key(|(index, _)| *index);
    Ok(sketches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_the_root_of_the_squares() {
        let sketch = |sums: [f64; SUMS]| WeightSketch {
            elements: 10_000,
            key: KEY.to_owned(),
            sums: sums.map(Real),
        };
        let was = sketch([1.0; SUMS]);
        let mut sums = [1.0; SUMS];
        (sums[0], sums[16]) = (4.0, -3.0);
        let moved = was.distance_to(&sketch(sums)).unwrap();
        assert!((moved.relative - 0.05).abs() < 1e-12, "{moved:?}");
        assert!(moved.interval[0] < 0.05 && 0.05 < moved.interval[1], "{moved:?}");
        assert_eq!(was.distance_to(&was).map(|moved| moved.relative), Some(0.0));
        let other = WeightSketch { key: "another".to_owned(), ..was.clone() };
        assert_eq!(was.distance_to(&other), None);
        let nothing = WeightSketch { elements: 0, ..was.clone() };
        assert_eq!(nothing.distance_to(&was), None);
        assert_eq!(was.distance_to(&sketch([f64::NAN; SUMS])), None);
    }
}
