//! Signed sums of a tensor's weights: what tells later how far they moved, without the weights.
//!
//! Each block of [`CARRIER_LEN`] elements is brought to a root mean square of one; its elements get
//! signs from a public key and are added up, and the blocks are dealt to [`SUMS`] sums. The squares of
//! the differences between the sums of two tensors add up, on average over the signs, to the squared
//! norm of the difference. Sources: N. Alon, Y. Matias and M. Szegedy, "The space complexity of
//! approximating the frequency moments", *STOC* 1996; dealing to several sums: G. Cormode and
//! M. Garofalakis, "Sketching streams through the net", *VLDB* 2005.
//!
//! The measurement is that of marks ([`correlation`](tensorseal_engine::measure::correlation)). The key is no
//! secret: whoever knows it can change weights so that no sum moves, so a sketch measures honest
//! changes and proves nothing. A factor on whole blocks is not seen; the counts see that.

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

/// Sums of a sketch.
pub const SUMS: usize = 17;

/// The public key of this version, by name.
pub const KEY: &str = "ts-sketch/1";

/// Elements from which a tensor is sketched: fewer blocks fill too few sums.
const LEAST: u64 = 1 << 15;

/// Degrees of freedom of an estimate. One sum has a quarter of the blocks and the others share the
/// rest: the sum of the squared shares is 1 / 10.2.
const FREEDOM: f64 = 10.0;

/// Quantiles of the chi-square distribution with that many degrees of freedom, at 2.5 and 97.5 %.
const CHI_SQUARE: [f64; 2] = [3.247, 20.483];

/// The sketch of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSketch {
    /// Finite non-zero elements: the squared norm of what was added up.
    pub elements: u64,
    /// Name of the public key.
    pub key: String,
    /// The sums.
    pub sums: [Real; SUMS],
}

/// How far a tensor moved, estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SketchDistance {
    /// Norm of the change relative to the tensor's, each block in units of its own root mean square.
    pub relative: f64,
    /// Bounds of its 95 % interval, where the change is spread over the tensor.
    pub interval: [f64; 2],
}

impl WeightSketch {
    /// From the sums by slot of a tensor.
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

    /// How far the tensor of this sketch is from that of another; `None` when they do not compare.
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

/// Asks for the sketches of all tensors of `plan` that have enough elements of a type that is added up.
pub fn add_to(plan: &mut Plan, model: &Checkpoint) {
    plan.keys =
        vec![ChipKey(blake3::derive_key("tensorseal 2026-11-25 sketch key v1", KEY.as_bytes()))];
    for object in &mut plan.objects {
        let ObjectKind::Tensor(index) = object.kind else { continue };
        let tensor = &model.tensors[index];
        let Some(elements) = ElementFormat::from_dtype(tensor.dtype) else { continue };
        let count = tensor.bytes / elements.width as u64;
        if count < LEAST || count.div_ceil(CARRIER_LEN as u64) > MAX_BLOCKS {
            continue;
        }
        object.carrier = Some(plan.carriers.len());
        let carrier = Carrier { elements, nonce: nonce(tensor), blocks: None };
        plan.carriers.push(PlannedCarrier { carrier, offsets: vec![0] });
    }
}

/// The sketch of a finished object, when it was asked for.
pub(super) fn from_slots(slots: &[SlotSums]) -> Option<WeightSketch> {
    slots.first().map(WeightSketch::new)
}

/// Sketches some tensors of a model, by their index.
///
/// # Errors
/// See [`RunError`].
pub fn measure(
    model: &Checkpoint,
    tensors: &[usize],
    options: &RunOptions,
    progress: &Progress,
) -> Result<Vec<(usize, WeightSketch)>, RunError> {
    let mut plan = Plan::everything(model, false);
    plan.objects.retain(|o| matches!(o.kind, ObjectKind::Tensor(i) if tensors.contains(&i)));
    add_to(&mut plan, model);
    let found: Mutex<Vec<(usize, WeightSketch)>> = Mutex::default();
    engine::run(&model.files, &plan, options, progress, &|finished| {
        let kind = plan.objects[finished.object].kind;
        if let (ObjectKind::Tensor(index), Some(sketch)) = (kind, from_slots(&finished.slots)) {
            found.lock().unwrap_or_else(PoisonError::into_inner).push((index, sketch));
        }
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    Ok(found)
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
