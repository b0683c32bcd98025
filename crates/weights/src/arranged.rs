//! Weights that are stored in one tensor, element by element, in some order.

use super::stored::Stored;
use super::{Form, Weight, unqualified};
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::canonical::gguf::from_gguf;
use tensorseal_format::canonical::layout::{Heads, Layout, Order};
use tensorseal_format::{Architecture, Checkpoint};

/// Where the elements of a weight are in its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arranged {
    /// Index of the tensor.
    pub tensor: usize,
    /// Its first element in the tensor: other weights may be stacked before it.
    first: u64,
    /// Rows and columns of the weight, of what is no matrix: everything but the last dimension.
    rows: u64,
    columns: u64,
    order: Order,
    /// Whether the tensor holds other weights, too.
    stacked: bool,
    /// Whether the elements of the tensor do not lie row-major: who reads them by their number is given them
    /// in order.
    strided: bool,
}

/// Adds the weights of a tensor: one, or those of the experts in it.
pub(super) fn weights_of(model: &Checkpoint, index: usize, weights: &mut Vec<Weight>) {
    let tensor = &model.tensors[index];
    let name = unqualified(model, index);
    let architecture = model.architectures.get(&tensor.file);
    let mapped = architecture.and_then(|it| Some((it, from_gguf(&it.name, name)?)));
    if let Some((architecture, mapped)) = mapped
        && let Ok(arrangement) = mapped.layout.arrange(&tensor.shape, heads(architecture))
    {
        let (rows, columns) = arrangement.source_shape();
        for expert in 0..arrangement.experts() {
            let shape = match mapped.layout {
                Layout::Plain | Layout::RotaryRows(_) => tensor.shape.clone(),
                Layout::Transposed | Layout::Experts => vec![rows, columns],
            };
            let arranged = Arranged {
                tensor: index,
                first: expert.saturating_mul(rows.saturating_mul(columns)),
                rows,
                columns,
                order: arrangement.order(),
                stacked: mapped.layout == Layout::Experts,
                strided: false,
            };
            weights.push(Weight {
                canonical: mapped.tensor_name(expert).into_owned(),
                name: tensor.name.clone(),
                shape,
                flattened: false,
                form: Form::Arranged(arranged),
            });
        }
        return;
    }
    let columns = tensor.shape.last().copied().unwrap_or(1);
    let outer = tensor.shape.split_last().map_or(&[][..], |(_, outer)| outer);
    let rows = outer.iter().fold(1u64, |product, len| product.saturating_mul(*len));
    let strided = tensor.strides.is_some();
    let order = Order::Same;
    let arranged =
        Arranged { tensor: index, first: 0, rows, columns, order, stacked: false, strided };
    weights.push(Weight {
        canonical: canonical_name(name).into_owned(),
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        flattened: false,
        form: Form::Arranged(arranged),
    });
}

/// The heads that a file tells of; without the second number there are as many of either.
fn heads(architecture: &Architecture) -> Heads {
    let attention = architecture.heads.unwrap_or(0);
    Heads { attention, key_value: architecture.key_value_heads.unwrap_or(attention) }
}

impl Arranged {
    /// Whether the tensor holds the weight's elements in their order, and nothing else.
    pub fn is_plain(&self) -> bool {
        self.is_whole() && !self.strided
    }

    /// Whether the tensor holds the weight's elements and nothing else, in the order of its own strides.
    pub fn is_whole(&self) -> bool {
        self.order == Order::Same && !self.stacked
    }

    /// Elements that are best read at once: those of a transposed matrix lie far apart.
    pub(super) fn piece(&self) -> u64 {
        match self.order {
            Order::Transposed => 1 << 19,
            Order::Same if self.strided => 1 << 19,
            Order::Same | Order::Rotary { .. } => 1 << 16,
        }
    }

    /// Elements `first..first + count` of the weight.
    pub(super) fn read(
        &self,
        stored: &Stored<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        match self.order {
            Order::Same => stored.values(self.tensor, self.first + first, count),
            Order::Rotary { half } => self.read_rows(stored, first, count, half),
            Order::Transposed => self.read_columns(stored, first, count),
        }
    }

    /// Rows that lie in another order.
    fn read_rows(
        &self,
        stored: &Stored<'_>,
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
        stored: &Stored<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        let mut values = vec![0.0; count];
        let end = first + count as u64;
        let (from, to) = (first / self.columns, end.div_ceil(self.columns));
        // A row of what is stored is a column of the weight.
        for column in 0..self.columns {
            let start = self.first + column * self.rows + from;
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
