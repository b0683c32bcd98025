//! The facts of one tensor that judgements start from.

use super::edges::Edges;
use super::pages::{PageFacts, Prints};
use super::streams::LowBitFacts;
use super::sums::Sums;
use super::windows::WindowFacts;
use crate::checkpoint::Tensor;
use crate::dtype::{Dtype, Number};
use crate::engine::collect::Finished;
use crate::measure::correlation::Elements;
use crate::measure::digest::ChainingValue;
use crate::measure::structure::Layout;
use crate::seal::distribution::{Distribution, distribution};
use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct TensorFacts {
    /// Index into [`crate::checkpoint::Checkpoint::tensors`].
    #[serde(skip)]
    pub tensor: usize,
    /// Plain BLAKE3 of its bytes.
    #[serde(skip)]
    pub digest: ChainingValue,
    /// Chaining values of its blocks.
    #[serde(skip)]
    pub blocks: Vec<ChainingValue>,
    /// Statistics of its values.
    pub distribution: Distribution,
    /// Counts of finite non-zero values by exponent (base 2), ascending; floating-point types only.
    pub exponents: Vec<(i32, u64)>,
    /// The lower edges of its binades: 16-bit floating-point types only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Edges>,
    /// Distinct values (of wider types: distinct upper halves).
    pub distinct: u64,
    /// Its pages.
    pub pages: PageFacts,
    /// Fingerprints of its pages.
    #[serde(skip)]
    pub prints: Prints,
    /// Its windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowFacts>,
    /// Its low bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bits: Option<LowBitFacts>,
    /// Its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Sums>,
    /// Its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Sums>,
}

impl TensorFacts {
    /// From what was measured of a tensor with all its counts and its structure; `None` without those.
    /// `zeros`: see [`super::pages::sampling`].
    pub fn new(
        index: usize,
        tensor: &Tensor,
        layout: &Layout,
        finished: Finished<'_>,
        zeros: u32,
    ) -> Option<TensorFacts> {
        let Finished { digest, blocks, histogram, summary, structure, .. } = finished;
        let (histogram, structure) = (histogram?, structure?);
        let distribution = distribution(tensor.dtype, histogram, summary);
        let (pages, prints) = PageFacts::new(&structure.pages, layout.phase, tensor.bytes, zeros);
        let elements = layout.elements.as_ref();
        let low_bits = elements.zip(structure.low_bits.as_ref()).map(|(elements, low_bits)| {
            LowBitFacts::new(elements, low_bits, histogram, distribution.zero)
        });
        let magnitudes = structure.magnitudes.as_ref();
        let sums = |sums: &[u32], elements| Sums::new(sums, elements);
        Some(TensorFacts {
            tensor: index,
            digest,
            blocks,
            exponents: exponents(tensor.dtype, &distribution),
            edges: elements.and_then(|elements| Edges::of(elements, histogram)),
            distinct: histogram.high().iter().filter(|count| **count > 0).count() as u64,
            pages,
            prints,
            windows: structure.windows.as_ref().map(WindowFacts::new),
            low_bits,
            rows: magnitudes.map(|m| sums(&m.rows, layout.columns.into())),
            columns: magnitudes.map(|m| sums(&m.columns, m.rows.len() as u64)),
            distribution,
        })
    }

    /// How its elements are read, if they are floating-point numbers of 8, 16 or 32 bits.
    pub fn elements(dtype: Dtype) -> Option<Elements> {
        Elements::of(dtype)
    }
}

/// Counts by exponent of base 2, subnormals and zeros left out.
pub fn exponents(dtype: Dtype, distribution: &Distribution) -> Vec<(i32, u64)> {
    let Number::Float(format) = dtype.number() else { return Vec::new() };
    let mut counts: Vec<(i32, u64)> = Vec::new();
    for (index, count) in distribution.sign_exponent.decode() {
        let field = (index / 2) as i32;
        if field == 0 {
            continue;
        }
        let exponent = field - format.bias;
        match counts.last_mut() {
            Some(last) if last.0 == exponent => last.1 += count,
            _ => counts.push((exponent, count)),
        }
    }
    counts
}
