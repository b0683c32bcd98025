//! The facts of one tensor that judgements start from.

use super::binade_edges::BinadeEdges;
use super::localization::Localization;
use super::pages::{PageFacts, PageFingerprints};
use super::rows_columns::RowColumnStatistics;
use super::streams::LowBitFacts;
use super::windows::WindowFacts;
use crate::seal::distribution::{Distribution, distribution_of};
use serde::{Deserialize, Serialize};
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::measure::structure::StructureLayout;
use tensorseal_format::Tensor;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TensorFacts {
    /// Index into [`tensorseal_format::Checkpoint::tensors`].
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
    pub edges: Option<BinadeEdges>,
    /// Distinct values (of wider types: distinct upper halves; of blocks: distinct codes and scales).
    pub distinct: u64,
    /// Its pages.
    pub pages: PageFacts,
    /// Fingerprints of its pages.
    #[serde(skip)]
    pub prints: PageFingerprints,
    /// Its windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowFacts>,
    /// Its low bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bits: Option<LowBitFacts>,
    /// Its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowColumnStatistics>,
    /// Its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<RowColumnStatistics>,
    /// What a second look found.
    #[serde(skip)]
    pub seen: Localization,
}

/// How far the largest values lie above the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExponentExcess {
    /// The largest exponent (base 2).
    pub largest: i32,
    /// The largest exponent once the largest one of every 10,000 values, and at least one, is left out.
    pub usual: i32,
    /// Their difference.
    pub binades: i32,
}

impl TensorFacts {
    /// From what was measured of a tensor with all its counts and its structure; `None` without those.
    /// `zeros`: see [`super::pages::sampling`].
    pub fn new(
        index: usize,
        tensor: &Tensor,
        layout: &StructureLayout,
        finished: ObjectMeasurement<'_>,
        zeros: u32,
    ) -> Option<TensorFacts> {
        let distribution = distribution_of(tensor.dtype, &finished)?;
        let ObjectMeasurement { digest, blocks, histogram, structure, codes, .. } = finished;
        let structure = structure?;
        let used = |counts: &[u64]| counts.iter().filter(|count| **count > 0).count() as u64;
        // Blocks differ by their codes and by their scales.
        let distinct = histogram
            .map(|histogram| used(histogram.high()))
            .or_else(|| codes.map(|codes| used(&codes.elements) + used(codes.scales().high())));
        let (pages, prints) = PageFacts::new(&structure.pages, layout.phase, tensor.bytes, zeros);
        let elements = layout.elements.as_ref();
        let counted = elements.zip(histogram);
        let low_bits = counted.zip(structure.low_bits.as_ref()).map(|(counted, low_bits)| {
            LowBitFacts::new(counted.0, low_bits, counted.1, distribution.zero)
        });
        let magnitudes = structure.magnitudes.as_ref();
        Some(TensorFacts {
            tensor: index,
            digest,
            blocks,
            exponents: exponents(tensor.dtype, &distribution),
            edges: counted
                .and_then(|(elements, histogram)| BinadeEdges::from_histogram(elements, histogram)),
            distinct: distinct?,
            pages,
            prints,
            windows: structure.windows.as_ref().map(WindowFacts::new),
            low_bits,
            rows: magnitudes.map(|m| RowColumnStatistics::new(&m.rows, layout.columns.into())),
            columns: magnitudes.map(|m| RowColumnStatistics::new(&m.columns, m.rows.len() as u64)),
            seen: Localization::default(),
            distribution,
        })
    }

    /// Share of its elements that are zero.
    pub fn zero_share(&self) -> f64 {
        self.distribution.zero as f64 / self.distribution.count.max(1) as f64
    }

    /// Lets the counts go that nothing will be said about: 10 KiB a tensor.
    pub fn discard_unremarkable_streams(&mut self) {
        if let Some(low_bits) = self.low_bits.as_mut().filter(|low_bits| !low_bits.is_suspicious())
        {
            low_bits.streams.iter_mut().for_each(|stream| stream.bytes = Vec::new());
        }
    }

    /// How far its largest values lie above the usual ones; `None` with fewer than three values.
    pub fn exponent_excess(&self) -> Option<ExponentExcess> {
        let largest = self.exponents.last()?.0;
        let values: u64 = self.exponents.iter().map(|(_, count)| count).sum();
        let left_out = values.div_ceil(10_000);
        let mut passed = 0;
        let usual = self.exponents.iter().rev().find_map(|(exponent, count)| {
            passed += count;
            (passed > left_out).then_some(*exponent)
        })?;
        (values >= 3).then_some(ExponentExcess { largest, usual, binades: largest - usual })
    }
}

/// Counts by exponent of base 2, subnormals and zeros left out.
pub fn exponents(dtype: Dtype, distribution: &Distribution) -> Vec<(i32, u64)> {
    let NumberFormat::Float(format) = dtype.number_format() else { return Vec::new() };
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
