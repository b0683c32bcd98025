//! Weights that are stored in one tensor as numbers, in some order.

use super::element_reader::ElementReader;
use super::{Weight, WeightStorage, unqualified};
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::canonical::gguf::from_gguf;
use tensorseal_format::canonical::layout::{ElementOrder, Heads, WeightLayout};
use tensorseal_format::{ArchitectureMetadata, Checkpoint};

/// Where the elements of a weight are in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorView {
    /// The index of the tensor.
    pub tensor: usize,
    /// The position of the first element in the tensor: other weights may be stacked before it.
    first: u64,
    /// The rows and columns of the weight. If it has more dimensions, all but the last one are rows.
    rows: u64,
    columns: u64,
    order: ElementOrder,
    /// For a transposed matrix, the number of elements from one stored row to the next.
    row_stride: u64,
    /// Whether the tensor stores other weights, too.
    stacked: bool,
    /// Whether the elements of the tensor are not stored row-major; [`ElementReader`] reads them in order.
    strided: bool,
}

/// The maximum number of experts of a layer; a larger dimension is not that of experts.
pub(super) const MAX_EXPERTS: u64 = 4096;

/// Adds the weights of a tensor: one weight, or one for each expert.
pub(super) fn add_weights(model: &Checkpoint, index: usize, weights: &mut Vec<Weight>) {
    let tensor = &model.tensors[index];
    let name = unqualified(model, index);
    let architecture = model.architectures.get(&tensor.file);
    let mapped = architecture
        .and_then(|architecture| Some((architecture, from_gguf(&architecture.name, name)?)));
    if let Some((architecture, mapped)) = mapped
        && let Ok(arrangement) = mapped.layout.arrange(&tensor.shape, heads(architecture))
        && arrangement.experts() <= MAX_EXPERTS
    {
        let (rows, columns) = arrangement.source_shape();
        for expert in 0..arrangement.experts() {
            let shape = match mapped.layout {
                WeightLayout::Plain | WeightLayout::RotaryRows(_) => tensor.shape.clone(),
                WeightLayout::Transposed | WeightLayout::Experts => vec![rows, columns],
            };
            let view = TensorView {
                tensor: index,
                first: expert.saturating_mul(rows.saturating_mul(columns)),
                rows,
                columns,
                order: arrangement.order(),
                row_stride: rows,
                stacked: mapped.layout == WeightLayout::Experts,
                strided: false,
            };
            weights.push(Weight {
                canonical: mapped.tensor_name(expert).into_owned(),
                name: tensor.name.clone(),
                shape,
                flattened: false,
                storage: WeightStorage::View(view),
            });
        }
        return;
    }
    let columns = tensor.shape.last().copied().unwrap_or(1);
    let outer = tensor.shape.split_last().map_or(&[][..], |(_, outer)| outer);
    let rows = outer.iter().fold(1u64, |product, len| product.saturating_mul(*len));
    let strided = tensor.strides.is_some();
    let order = ElementOrder::Same;
    let view = TensorView {
        tensor: index,
        first: 0,
        rows,
        columns,
        order,
        row_stride: rows,
        stacked: false,
        strided,
    };
    weights.push(Weight {
        canonical: canonical_name(name).into_owned(),
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        flattened: false,
        storage: WeightStorage::View(view),
    });
}

/// Returns the heads that the metadata of a file states. If it states no key-value heads, there are as many as
/// attention heads.
fn heads(architecture: &ArchitectureMetadata) -> Heads {
    let attention = architecture.heads.unwrap_or(0);
    Heads { attention, key_value: architecture.key_value_heads.unwrap_or(attention) }
}

impl TensorView {
    /// Returns the matrix in the tensor that begins with element `first`.
    pub(super) fn matrix(&self, first: u64, [rows, columns]: [u64; 2]) -> TensorView {
        TensorView {
            first,
            rows,
            columns,
            order: ElementOrder::Same,
            row_stride: rows,
            stacked: true,
            ..*self
        }
    }

    /// Returns the transposed matrix in the tensor that begins with element `first`. Stored rows are `row_stride`
    /// elements apart.
    pub(super) fn transposed(
        &self,
        first: u64,
        [rows, columns]: [u64; 2],
        row_stride: u64,
    ) -> TensorView {
        let order = ElementOrder::Transposed;
        TensorView { first, rows, columns, order, row_stride, stacked: true, ..*self }
    }

    /// Returns whether the tensor stores exactly the elements of the weight, row-major.
    pub fn is_row_major_tensor(&self) -> bool {
        self.is_whole_tensor() && !self.strided
    }

    /// Returns whether the tensor stores exactly the elements of the weight, row-major or with strides.
    pub fn is_whole_tensor(&self) -> bool {
        self.order == ElementOrder::Same && !self.stacked
    }

    /// Returns the position of the first element if the tensor stores the elements of the weight contiguously.
    pub(super) fn contiguous_start(&self) -> Option<u64> {
        (self.order == ElementOrder::Same && !self.strided).then_some(self.first)
    }

    /// Returns the number of elements that should be read at once: more if they are far apart in the tensor.
    pub(super) fn piece_len(&self) -> u64 {
        match self.order {
            ElementOrder::Transposed => 1 << 19,
            ElementOrder::Same if self.strided => 1 << 19,
            ElementOrder::Same | ElementOrder::Rotary { .. } => 1 << 16,
        }
    }

    /// Reads elements `first..first + count` of the weight.
    pub(super) fn read(
        &self,
        reader: &ElementReader<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        match self.order {
            ElementOrder::Same => reader.values(self.tensor, self.first + first, count),
            ElementOrder::Rotary { half } => self.read_rows(reader, first, count, half),
            ElementOrder::Transposed => self.read_columns(reader, first, count),
        }
    }

    /// Reads elements of a matrix whose rows are stored in rotary order.
    fn read_rows(
        &self,
        reader: &ElementReader<'_>,
        first: u64,
        count: usize,
        half: u64,
    ) -> Result<Vec<f64>, FileError> {
        let mut values = Vec::with_capacity(count);
        let mut at = first;
        let end = first + count as u64;
        while at < end {
            let (row, column) = (at / self.columns, at % self.columns);
            let take = (self.columns - column).min(end - at);
            let (head, within) = (row / (2 * half), row % (2 * half));
            let stored_row = head * 2 * half + within % half * 2 + within / half;
            let from = self.first + stored_row * self.columns + column;
            values.extend(reader.values(self.tensor, from, take as usize)?);
            at += take;
        }
        Ok(values)
    }

    /// Reads elements of a transposed matrix.
    fn read_columns(
        &self,
        reader: &ElementReader<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        let mut values = vec![0.0; count];
        let end = first + count as u64;
        let (from, to) = (first / self.columns, end.div_ceil(self.columns));
        // A stored row is a column of the weight.
        for column in 0..self.columns {
            let start = self.first + column * self.row_stride + from;
            let part = reader.values(self.tensor, start, (to - from) as usize)?;
            for (row, value) in (from..).zip(part) {
                let index = row * self.columns + column;
                if (first..end).contains(&index) {
                    values[(index - first) as usize] = value;
                }
            }
        }
        Ok(values)
    }
}
