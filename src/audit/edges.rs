//! The edges of binades: what rounding to nearest does to the lowest mantissa of each binade, and what
//! replaced low bits undo.
//!
//! Rounding to nearest sends an interval of one step to each code. Just above a power of two that
//! interval is half a step on the lower side, of half the length: code 0 of a binade gets 3/4 of what
//! code 1 gets. So R = (n1 - n0) / (n1 + n0) is near 1/7. Low bits that are random make pairs of codes
//! alike, and R zero. So do casts that truncate, and grids of integers: R alone proves nothing.

use crate::measure::correlation::Elements;
use crate::measure::histogram::Histogram;
use serde::Serialize;

/// Codes of a binade whose counts give the slope: the first and the last of an even stretch.
const SLOPE_CODES: [usize; 2] = [1, 15];

/// Counts at the lower edges of the normal binades, signs and binades added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Edges {
    /// Values whose mantissa is zero.
    pub zeroth: u64,
    /// Values whose mantissa is one step.
    pub first: u64,
    /// Values whose mantissa is 15 steps.
    pub fifteenth: u64,
    /// Normal binades that have values.
    pub binades: u32,
    /// Values in them.
    pub normal: u64,
}

impl Edges {
    /// Of a type of 16 bits from its counts; `None` for other types.
    pub fn of(elements: &Elements, histogram: &Histogram) -> Option<Edges> {
        if elements.width != 2 {
            return None;
        }
        let step = 1usize << elements.mantissa_bits;
        let mut edges = Edges::default();
        let counts = histogram.high();
        for sign in [0, elements.sign() as usize] {
            for binade in (step..elements.limit as usize).step_by(step) {
                let codes = &counts[sign + binade..sign + binade + step];
                let values: u64 = codes.iter().sum();
                edges.zeroth += codes[0];
                edges.first += codes[SLOPE_CODES[0]];
                edges.fifteenth += codes[SLOPE_CODES[1]];
                edges.normal += values;
                edges.binades += u32::from(values > 0 && sign == 0);
            }
        }
        Some(edges)
    }

    /// R, with the slope of the density taken out: what it would be were the density level at the
    /// edges. NaN without values there.
    ///
    /// With a decline of s a step, n0 is 3/4 · n1 · (1 + s) and R falls by 0.49 · s; s is measured
    /// between the first and the fifteenth step.
    pub fn ratio(&self) -> f64 {
        let (n0, n1, n15) = (self.zeroth as f64, self.first as f64, self.fifteenth as f64);
        let slope = (n1 - n15) / (n1 + n15) / 7.0;
        (n1 - n0) / (n1 + n0) + 0.49 * slope
    }

    /// Standard deviation of [`Edges::ratio`] by counting alone: each value at the edge falls on one of
    /// two codes (binomial variance), and the slope adds a seventh of as much.
    pub fn deviation(&self) -> f64 {
        let at_edge = (self.zeroth + self.first) as f64;
        let slope = 0.49 / 7.0;
        libm::sqrt((1.0 + slope * slope) / at_edge)
    }
}
