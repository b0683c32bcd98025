//! Informed detection: correlates the chips of keys with the difference of a model from its original.
//!
//! For each element, d = w' - w is computed as an f64: exactly unless the exponents differ by more than 29, and
//! correctly rounded otherwise, so that it is the same on every machine. Elements with a value that is zero, infinite
//! or not a number are skipped. The differences of a carrier block are then converted to integers on a common
//! exponent, like the weights in [`correlation`](tensorseal_engine::measure::correlation).
//!
//! The tensors of the model and of the original are needed together, so this runs only on the CPU.

use super::carriers::{CarrierTensor, Carriers};
use super::detect::{CarrierGroups, GroupSums};
use super::key::WatermarkKey;
use super::unreadable::UnreadableWeights;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::HashMap;
use tensorseal_engine::measure::chips::{self, CHIP_BYTES};
use tensorseal_engine::measure::correlation::{CARRIER_LEN, Energy};
use tensorseal_engine::measure::slots::SlotSums;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::reader::{self, WeightReader};
use tensorseal_weights::values::{Decoder, finite_or_zero};
use tensorseal_weights::{Weight, Weights};

/// The number of carrier blocks in one piece of work.
const PIECE_BLOCKS: u64 = 512;

/// The measurement of a model against its original.
#[derive(Debug)]
pub struct InformedMeasurement {
    /// The sums of each group of carriers.
    pub groups: Vec<GroupSums>,
    /// The number of carriers with a counterpart of the same shape in the original.
    pub paired: usize,
    /// The weights of the original that cannot be read.
    pub unreadable: UnreadableWeights,
}

/// Correlates the difference of the carriers of `model` from the weights of `original` with the same canonical name and
/// shape; element types may differ. Both models must have been measured before.
///
/// # Errors
/// Returns a [`RunError`] if a file cannot be read or changed since it was opened, or if the run is interrupted.
pub fn measure(
    model: &Checkpoint,
    original: &Checkpoint,
    carriers: &Carriers,
    keys: &[WatermarkKey],
    threads: &Threads,
    progress: &Progress,
) -> Result<InformedMeasurement, RunError> {
    let weights = Weights::from_checkpoint(original);
    let unreadable = UnreadableWeights::from_model(original, &weights);
    let pairs = pairs(original, weights, carriers);
    let models = [model, original];
    let weights =
        |pair: &CarrierPair| [carriers.tensors[pair.carrier].weight.clone(), pair.original.clone()];
    let both: Vec<[Weight; 2]> = pairs.iter().map(weights).collect();
    let plans =
        [0, 1].map(|side| reader::read_plan(models[side], both.iter().map(|pair| &pair[side])));
    progress.expect(plans.iter().map(Plan::bytes).sum());
    let files = [0, 1].map(|side| FileSet::new(&models[side].files, &plans[side]));
    let readers = [0, 1].map(|side| WeightReader::new(models[side], &files[side]));
    let groups = CarrierGroups::new(carriers, keys.len());
    let chip_keys: Vec<chips::ChipKey> = keys.iter().map(WatermarkKey::chips).collect();
    let pool = threads.pool()?;
    for (pair, both) in pairs.iter().zip(&both) {
        let carrier = &carriers.tensors[pair.carrier];
        let blocks = carrier.elements.div_ceil(CARRIER_LEN as u64);
        let offsets: Vec<u32> =
            keys.iter().map(|key| key.block_offset(&carrier.canonical)).collect();
        let starts: Vec<u64> = (0..blocks).step_by(PIECE_BLOCKS as usize).collect();
        let sums = pool.install(|| {
            starts
                .par_iter()
                .map(|first| {
                    if progress.stopped() {
                        return Err(RunError::Interrupted);
                    }
                    let elements = (PIECE_BLOCKS * CARRIER_LEN as u64)
                        .min(carrier.elements - first * CARRIER_LEN as u64);
                    let piece = BlockRange { first: *first, elements };
                    let ours = piece.read(&readers[0], &both[0])?;
                    let theirs = piece.read(&readers[1], &both[1])?;
                    let mut sums = vec![SlotSums::default(); keys.len()];
                    piece.correlate(
                        &ours,
                        &theirs,
                        &chip_keys,
                        &carrier.carrier.nonce,
                        &offsets,
                        &mut sums,
                    );
                    Ok(sums)
                })
                .try_reduce(
                    || vec![SlotSums::default(); keys.len()],
                    |mut whole, part| {
                        whole.iter_mut().zip(&part).for_each(|(whole, part)| whole.merge(part));
                        Ok(whole)
                    },
                )
        })?;
        groups.merge(pair.carrier, &sums);
        for side in [0, 1] {
            reader::finish_weight(models[side], &files[side], &both[side])?;
            let tensors = both[side].tensors().into_iter();
            progress.add(tensors.map(|index| models[side].tensors[index].bytes).sum());
        }
    }
    Ok(InformedMeasurement { groups: groups.finish(), paired: pairs.len(), unreadable })
}

/// A carrier and its counterpart.
struct CarrierPair {
    carrier: usize,
    original: Weight,
}

fn pairs(original: &Checkpoint, weights: Weights, carriers: &Carriers) -> Vec<CarrierPair> {
    let mut by_name: HashMap<String, Weight> = HashMap::new();
    for weight in weights.readable {
        match by_name.get(&weight.canonical) {
            Some(first) if first.name <= weight.name => {}
            _ => _ = by_name.insert(weight.canonical.clone(), weight),
        }
    }
    let pair = |(carrier, c): (usize, &CarrierTensor)| {
        let theirs = by_name.get(&c.canonical)?;
        let same = theirs.shape == c.weight.shape && is_real(original, theirs);
        same.then(|| CarrierPair { carrier, original: theirs.clone() })
    };
    carriers.tensors.iter().enumerate().filter_map(pair).collect()
}

/// Returns whether a weight has real numbers.
fn is_real(model: &Checkpoint, weight: &Weight) -> bool {
    weight.row_major_tensor().is_none_or(|index| {
        let dtype = model.tensors[index].dtype;
        dtype.is_block_quantised() || Decoder::for_weights(dtype).is_some()
    })
}

/// Consecutive carrier blocks of one tensor.
struct BlockRange {
    first: u64,
    elements: u64,
}

impl BlockRange {
    /// Reads the values of a weight, with zero for values that are not finite.
    fn read(&self, reader: &WeightReader<'_>, weight: &Weight) -> Result<Vec<f64>, RunError> {
        let first = self.first * CARRIER_LEN as u64;
        let values = reader.read(weight, first, self.elements as usize)?;
        Ok(values.into_iter().map(finite_or_zero).collect())
    }

    fn correlate(
        &self,
        ours: &[f64],
        theirs: &[f64],
        keys: &[chips::ChipKey],
        nonce: &chips::Nonce,
        offsets: &[u32],
        sums: &mut [SlotSums],
    ) {
        let mut quantised = Vec::with_capacity(ours.len());
        let mut energies = Vec::new();
        for (ours, theirs) in ours.chunks(CARRIER_LEN).zip(theirs.chunks(CARRIER_LEN)) {
            energies.push(quantise(ours, theirs, &mut quantised));
        }
        let mut stream = vec![0; energies.len() * CHIP_BYTES];
        for ((key, offset), sums) in keys.iter().zip(offsets).zip(sums) {
            chips::fill(key, nonce, self.first, &mut stream);
            let correlations: Vec<i32> = quantised
                .chunks(CARRIER_LEN)
                .zip(stream.as_chunks::<CHIP_BYTES>().0)
                .map(|(block, chips)| {
                    let signed = |(i, q): (usize, &i32)| {
                        if chips[i / 8] >> (i % 8) & 1 == 0 { *q } else { -*q }
                    };
                    block.iter().enumerate().map(signed).sum()
                })
                .collect();
            sums.add(*offset, self.first, &energies, &correlations);
        }
    }
}

/// Converts the differences of a block to integers: q = sign * round_half_away(|d| * 2^(14 - e)) with the largest
/// exponent e, and |q| at most 32,767.
fn quantise(ours: &[f64], theirs: &[f64], quantised: &mut Vec<i32>) -> Energy {
    let difference = |(ours, theirs): (&f64, &f64)| {
        if *ours == 0.0 || *theirs == 0.0 { 0.0 } else { finite_or_zero(ours - theirs) }
    };
    let largest =
        ours.iter().zip(theirs).map(difference).fold(0.0, |most: f64, d| most.max(d.abs()));
    let mut energy = Energy::default();
    if largest == 0.0 {
        quantised.extend(ours.iter().map(|_| 0));
        return energy;
    }
    let (_, exponent) = libm::frexp(largest);
    for pair in ours.iter().zip(theirs) {
        let d = difference(pair);
        // The fraction of frexp is in [1/2, 1), so the exponent of the leading bit is one less.
        let q = libm::round(libm::ldexp(d, 15 - exponent)).clamp(-32_767.0, 32_767.0) as i32;
        energy.energy += u64::from(q.unsigned_abs()).pow(2);
        energy.nonzero += u32::from(d != 0.0);
        quantised.push(q);
    }
    energy
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::Dtype;
    use tensorseal_engine::measure::correlation::Correlation;

    proptest! {
        /// Differences from a tiny power of two are the weights themselves, up to a rounding error that 14 bits do
        /// not show.
        #[test]
        fn blocks_are_quantised_as_weights_are(
            values in prop::collection::vec(-1000i32..1000, 512),
            scale in -20i32..20,
        ) {
            let weights: Vec<f32> = values.iter().map(|v| (*v as f32) * (scale as f32).exp2()).collect();
            let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
            let mut by_kernel = Correlation::new(0);
            let carrier = tensorseal_engine::measure::correlation::Carrier::from_dtype(Dtype::F32, [0; 12]).unwrap();
            by_kernel.add(&carrier, &[], 0, &bytes);
            let ours: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
            let tiny = vec![libm::ldexp(1.0, -140); 512];
            let mut quantised = Vec::new();
            let energy = quantise(&ours, &tiny, &mut quantised);
            prop_assert_eq!(energy, by_kernel.energies[0]);
        }
    }

    #[test]
    fn zeros_and_what_is_not_finite_are_skipped() {
        let ours = [1.0, 0.0, finite_or_zero(f64::NAN), 3.0, finite_or_zero(f64::INFINITY), 2.0];
        let theirs = [0.5, 1.0, 1.0, 0.0, 1.0, 2.0];
        let mut quantised = Vec::new();
        let energy = quantise(&ours, &theirs, &mut quantised);
        assert_eq!(quantised, [16_384, 0, 0, 0, 0, 0]);
        assert_eq!((energy.nonzero, energy.energy), (1, 1 << 28));
        let none = quantise(&[1.0], &[1.0], &mut quantised);
        assert_eq!(none, Energy::default());
    }
}
