//! The facts about one tensor that judgements start from.

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

/// Everything that an audit keeps about one tensor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TensorFacts {
    /// The index of the tensor in [`tensorseal_format::Checkpoint::tensors`].
    #[serde(skip)]
    pub tensor: usize,
    /// The plain BLAKE3 digest of the tensor's bytes.
    #[serde(skip)]
    pub digest: ChainingValue,
    /// The chaining values of the tensor's blocks of 1 MiB.
    #[serde(skip)]
    pub blocks: Vec<ChainingValue>,
    /// Statistics of the values.
    pub distribution: Distribution,
    /// The counts of normal values by base-2 exponent, ascending; floating-point types only.
    pub exponents: Vec<(i32, u64)>,
    /// Counts at the lower edges of binades; 16-bit floating-point types only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<BinadeEdges>,
    /// The number of distinct values; of types wider than 16 bits, of distinct upper halves, and of block-quantised types,
    /// of distinct codes and scales.
    pub distinct: u64,
    /// Facts about the pages of 4,096 bytes.
    pub pages: PageFacts,
    /// The fingerprints of the pages.
    #[serde(skip)]
    pub prints: PageFingerprints,
    /// Facts about the windows of 4,096 elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowFacts>,
    /// Facts about the low bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bits: Option<LowBitFacts>,
    /// Statistics of the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowColumnStatistics>,
    /// Statistics of the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<RowColumnStatistics>,
    /// Where in the tensor the unusual parts are, from a second look.
    #[serde(skip)]
    pub localization: Localization,
}

/// How far the largest values of a tensor lie above its usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExponentExcess {
    /// The largest base-2 exponent.
    pub largest: i32,
    /// The largest base-2 exponent after the largest 1 in 10,000 values, but at least one value, is left out.
    pub usual: i32,
    /// The difference of the two exponents.
    pub binades: i32,
}

impl TensorFacts {
    /// Derives the facts from the measurement of a tensor, or returns `None` if the measurement lacks counts or structure.
    /// `zeros` is the number of leading zero bits from [`super::pages::sampling`].
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
        // Codes and scales of block-quantised types are counted in separate tables.
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
            localization: Localization::default(),
            distribution,
        })
    }

    /// Returns the share of elements that are zero, 0 to 1.
    pub fn zero_share(&self) -> f64 {
        self.distribution.zero as f64 / self.distribution.count.max(1) as f64
    }

    /// Drops the byte counts of streams unless they are suspicious. This frees 10 KiB per tensor.
    pub fn discard_unremarkable_streams(&mut self) {
        if let Some(low_bits) = self.low_bits.as_mut().filter(|low_bits| !low_bits.is_suspicious())
        {
            low_bits.streams.iter_mut().for_each(|stream| stream.bytes = Vec::new());
        }
    }

    /// Returns how far the largest values lie above the usual ones, or `None` if there are fewer than three values.
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

/// Returns the counts of values by base-2 exponent, ascending. Subnormal numbers and zeros are left out.
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
