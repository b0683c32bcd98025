//! Weights that are stored in one tensor, element by element, in some order.

use super::element_reader::ElementReader;
use super::{Weight, WeightStorage, unqualified};
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::canonical::gguf::from_gguf;
use tensorseal_format::canonical::layout::{ElementOrder, Heads, WeightLayout};
use tensorseal_format::{ArchitectureMetadata, Checkpoint};

/// Where the elements of a weight are in its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorView {
    /// Index of the tensor.
    pub tensor: usize,
    /// Its first element in the tensor: other weights may be stacked before it.
    first: u64,
    /// Rows and columns of the weight, of what is no matrix: everything but the last dimension.
    rows: u64,
    columns: u64,
    order: ElementOrder,
    /// Of a matrix whose rows are columns of what is stored: elements from one stored row to the next.
    row_stride: u64,
    /// Whether the tensor holds other weights, too.
    stacked: bool,
    /// Whether the elements of the tensor do not lie row-major: who reads them by their number is given them
    /// in order.
    strided: bool,
}

/// Most experts of one layer: more are no experts.
pub(super) const MAX_EXPERTS: u64 = 4096;

/// Adds the weights of a tensor: one, or those of the experts in it.
pub(super) fn add_weights(model: &Checkpoint, index: usize, weights: &mut Vec<Weight>) {
    let tensor = &model.tensors[index];
    let name = unqualified(model, index);
    let architecture = model.architectures.get(&tensor.file);
    let mapped = architecture.and_then(|it| Some((it, from_gguf(&it.name, name)?)));
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
            let arranged = TensorView {
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
                storage: WeightStorage::View(arranged),
            });
        }
        return;
    }
    let columns = tensor.shape.last().copied().unwrap_or(1);
    let outer = tensor.shape.split_last().map_or(&[][..], |(_, outer)| outer);
    let rows = outer.iter().fold(1u64, |product, len| product.saturating_mul(*len));
    let strided = tensor.strides.is_some();
    let order = ElementOrder::Same;
    let apart = rows;
    let arranged = TensorView {
        tensor: index,
        first: 0,
        rows,
        columns,
        order,
        row_stride: apart,
        stacked: false,
        strided,
    };
    weights.push(Weight {
        canonical: canonical_name(name).into_owned(),
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        flattened: false,
        storage: WeightStorage::View(arranged),
    });
}

/// The heads that a file tells of; without the second number there are as many of either.
fn heads(architecture: &ArchitectureMetadata) -> Heads {
    let attention = architecture.heads.unwrap_or(0);
    Heads { attention, key_value: architecture.key_value_heads.unwrap_or(attention) }
}

impl TensorView {
    /// A matrix in the tensor, from that element on.
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

    /// A matrix whose rows are columns of what is stored, from that element on; one stored row begins so many
    /// elements behind the other.
    pub(super) fn transposed(
        &self,
        first: u64,
        [rows, columns]: [u64; 2],
        apart: u64,
    ) -> TensorView {
        let order = ElementOrder::Transposed;
        TensorView { first, rows, columns, order, row_stride: apart, stacked: true, ..*self }
    }

    /// Whether the tensor holds the weight's elements in their order, and nothing else.
    pub fn is_row_major_tensor(&self) -> bool {
        self.is_whole_tensor() && !self.strided
    }

    /// Whether the tensor holds the weight's elements and nothing else, in the order of its own strides.
    pub fn is_whole_tensor(&self) -> bool {
        self.order == ElementOrder::Same && !self.stacked
    }

    /// Where the tensor has the weight's elements in their order: its first.
    pub(super) fn contiguous_start(&self) -> Option<u64> {
        (self.order == ElementOrder::Same && !self.strided).then_some(self.first)
    }

    /// Elements that are best read at once: those of a transposed matrix lie far apart.
    pub(super) fn piece_len(&self) -> u64 {
        match self.order {
            ElementOrder::Transposed => 1 << 19,
            ElementOrder::Same if self.strided => 1 << 19,
            ElementOrder::Same | ElementOrder::Rotary { .. } => 1 << 16,
        }
    }

    /// Elements `first..first + count` of the weight.
    pub(super) fn read(
        &self,
        stored: &ElementReader<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        match self.order {
            ElementOrder::Same => stored.values(self.tensor, self.first + first, count),
            ElementOrder::Rotary { half } => self.read_rows(stored, first, count, half),
            ElementOrder::Transposed => self.read_columns(stored, first, count),
        }
    }

    /// Rows that lie in another order.
    fn read_rows(
        &self,
        stored: &ElementReader<'_>,
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
            let lies = head * 2 * half + within % half * 2 + within / half;
            let from = self.first + lies * self.columns + column;
            values.extend(stored.values(self.tensor, from, take as usize)?);
            at += take;
        }
        Ok(values)
    }

    /// Rows that are the columns of what is stored.
    fn read_columns(
        &self,
        stored: &ElementReader<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        let mut values = vec![0.0; count];
        let end = first + count as u64;
        let (from, to) = (first / self.columns, end.div_ceil(self.columns));
        // A row of what is stored is a column of the weight.
        for column in 0..self.columns {
            let start = self.first + column * self.row_stride + from;
            let part = stored.values(self.tensor, start, (to - from) as usize)?;
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
