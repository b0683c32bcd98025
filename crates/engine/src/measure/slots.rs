//! Exact sums of correlations by slot: the pilot, or one coded bit.
//!
//! The elements of a block are scaled to a = q * sqrt(j / E), so that the sum of their squares is j, the
//! number of finite non-zero elements, whatever the scale of the block. The correlation
//! T * sqrt(j / E) is kept in fixed point, so that sums do not depend on their order. The square root
//! and the division are correctly rounded on every machine; [`SlotSums::error`] bounds the rounding
//! errors.

use super::correlation::Energy;

/// The number of coded bits of a payload.
pub const CODED_BITS: usize = 416;

/// The first of every four blocks is a pilot, and the others carry coded bits.
const PERIOD: u64 = 4;

/// The number of fraction bits of the fixed point.
const FRACTION_BITS: i32 = 40;

/// What a carrier block carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The pilot, which is always +1.
    Pilot,
    /// The coded bit of this number, 0 to [`CODED_BITS`] - 1.
    Bit(usize),
}

impl Slot {
    /// Returns the slot of block number `block` of a tensor whose key-derived offset is `offset`.
    pub fn for_block(block: u64, offset: u32) -> Slot {
        let u = block + u64::from(offset);
        match u % PERIOD {
            0 => Slot::Pilot,
            _ => Slot::Bit(((u - u / PERIOD - 1) % CODED_BITS as u64) as usize),
        }
    }

    fn index(self) -> usize {
        match self {
            Slot::Pilot => CODED_BITS,
            Slot::Bit(bit) => bit,
        }
    }
}

/// The sums of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotSum {
    /// The correlation, in fixed point.
    fixed: i128,
    /// The number of finite non-zero elements, which is the squared norm of the scaled elements.
    pub elements: u64,
}

impl SlotSum {
    /// Returns the correlation.
    pub fn correlation(&self) -> f64 {
        libm::ldexp(self.fixed as f64, -FRACTION_BITS)
    }

    /// Adds the sums of blocks with the same sign.
    pub fn merge(&mut self, other: &SlotSum) {
        self.fixed += other.fixed;
        self.elements += other.elements;
    }

    /// Adds the sums of blocks with the opposite sign.
    pub fn merge_negative(&mut self, other: &SlotSum) {
        self.fixed -= other.fixed;
        self.elements += other.elements;
    }
}

/// The sums of all slots, for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSums {
    slots: Vec<SlotSum>,
    /// The number of carrier blocks with at least one finite non-zero element.
    pub blocks: u64,
}

impl Default for SlotSums {
    fn default() -> Self {
        Self { slots: vec![SlotSum::default(); CODED_BITS + 1], blocks: 0 }
    }
}

impl SlotSums {
    /// Adds consecutive blocks of a tensor, beginning with block `first`.
    pub fn add(&mut self, offset: u32, first: u64, energies: &[Energy], sums: &[i32]) {
        for (block, (energy, sum)) in (first..).zip(energies.iter().zip(sums)) {
            if energy.energy == 0 {
                continue;
            }
            let nonzero = f64::from(energy.nonzero);
            let correlation = f64::from(*sum) * libm::sqrt(nonzero / energy.energy as f64);
            let slot = &mut self.slots[Slot::for_block(block, offset).index()];
            slot.fixed += i128::from(libm::rint(libm::ldexp(correlation, FRACTION_BITS)) as i64);
            slot.elements += u64::from(energy.nonzero);
            self.blocks += 1;
        }
    }

    /// Adds the sums of another part of the same model, for the same key.
    pub fn merge(&mut self, other: &Self) {
        for (slot, more) in self.slots.iter_mut().zip(&other.slots) {
            slot.merge(more);
        }
        self.blocks += other.blocks;
    }

    /// Returns the sums of the pilot.
    pub fn pilot(&self) -> SlotSum {
        self.slots[CODED_BITS]
    }

    /// Returns the sums of the coded bits.
    pub fn bits(&self) -> &[SlotSum] {
        &self.slots[..CODED_BITS]
    }

    /// Returns the number of finite non-zero elements of all blocks.
    pub fn elements(&self) -> u64 {
        self.slots.iter().map(|slot| slot.elements).sum()
    }

    /// Returns a bound on the error of a sum of correlations over these blocks: for each block half a unit of
    /// the fixed point, and three roundings of 2^-53 of a value of at most 512, together less than one unit.
    pub fn error(&self) -> f64 {
        libm::ldexp(self.blocks as f64, -FRACTION_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quarter_is_pilot_and_bits_follow_one_another() {
        assert_eq!(Slot::for_block(0, 0), Slot::Pilot);
        assert_eq!(Slot::for_block(0, 1), Slot::Bit(0));
        assert_eq!(Slot::for_block(2, 1), Slot::Bit(2));
        assert_eq!(Slot::for_block(3, 2), Slot::Bit(3));
        let data: Vec<usize> = (0..1664u64)
            .filter_map(|block| match Slot::for_block(block, 7 + 4 * 416) {
                Slot::Bit(bit) => Some(bit),
                Slot::Pilot => None,
            })
            .collect();
        assert_eq!(data.len(), 1248);
        assert!(data.windows(2).all(|pair| pair[1] == (pair[0] + 1) % CODED_BITS));
        // Offsets are equivalent modulo the period of the code and the pilots.
        for block in 0..4000 {
            assert_eq!(Slot::for_block(block, 5), Slot::for_block(block, 5 + 1664));
        }
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            parts in prop::collection::vec((1u64..1 << 39, 1u32..513, any::<bool>()), 1..300),
            cut in 0usize..300,
        ) {
            let energies: Vec<Energy> = parts.iter().map(|(energy, nonzero, _)| Energy { energy: *energy, nonzero: *nonzero }).collect();
            let sums: Vec<i32> = parts
                .iter()
                .map(|(energy, _, negative)| {
                    let sum = (*energy as f64).sqrt() as i32;
                    if *negative { -sum } else { sum }
                })
                .collect();
            let mut whole = SlotSums::default();
            whole.add(3, 10, &energies, &sums);
            let cut = cut.min(parts.len());
            let mut rest = SlotSums::default();
            rest.add(3, 10 + cut as u64, &energies[cut..], &sums[cut..]);
            rest.add(3, 10, &energies[..cut], &sums[..cut]);
            prop_assert_eq!(&rest, &whole);
            let mut merged = SlotSums::default();
            merged.add(3, 10, &energies[..cut], &sums[..cut]);
            let mut other = SlotSums::default();
            other.add(3, 10 + cut as u64, &energies[cut..], &sums[cut..]);
            merged.merge(&other);
            prop_assert_eq!(&merged, &whole);
            // Compares with plain floating point.
            let mut all = whole.pilot();
            whole.bits().iter().for_each(|bit| all.merge(bit));
            let expected: f64 = energies
                .iter()
                .zip(&sums)
                .map(|(e, sum)| f64::from(*sum) * (f64::from(e.nonzero) / e.energy as f64).sqrt())
                .sum();
            prop_assert!((all.correlation() - expected).abs() <= whole.error() + 1e-9);
            prop_assert_eq!(all.elements, whole.elements());
        }
    }
}
