//! A quantised weight, and how its values are computed from codes, zero points and scales.

use super::codes::PackedCodes;
use super::grid::Grid;
use super::kernels::{ScaleColumns, ScaleGroups, TransposeStrip};
use super::table::{CodeLookup, CodeTable};
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_engine::measure::isa::vectorised;
use tensorseal_engine::stream::files::FileError;

/// The number of elements that should be read at once.
const PIECE: u64 = 1 << 16;
/// The number of rows of a transposed weight that should be read at once, so that stored rows are read in long ranges.
const ROWS_TOGETHER: u64 = 128;
/// The number of elements of a transposed weight that are transposed at once.
const STRIP: u64 = 1 << 15;
/// The maximum number of elements of a transposed weight that are read at once.
const MAX_PIECE: u64 = 1 << 20;

/// A weight that is computed from codes and scales: one matrix, or several consecutive ones.
///
/// Its elements are those of the matrices row by row, or column by column if it is stored transposed.
#[derive(Debug)]
pub struct QuantisedWeight {
    /// The name of the quantisation.
    pub(super) name: String,
    /// The rows and columns of each matrix as stored.
    pub(super) rows: u64,
    pub(super) columns: u64,
    /// Whether the weight is stored transposed.
    pub(super) transposed: bool,
    /// Where the codes are, and their values.
    pub(super) codes: PackedCodes,
    pub(super) table: CodeTable,
    /// The scales, and the rows and columns that share one.
    pub(super) scale: Option<Grid>,
    pub(super) block: [u64; 2],
    /// The zero points, with the same blocks as the scales.
    pub(super) zero_point: ZeroPoint,
    /// An additional number that multiplies or divides a whole matrix.
    pub(super) global_scale: Option<GlobalScale>,
    /// The tensor with an additional factor for each column of every matrix.
    pub(super) column_scale: Option<usize>,
    /// The block of each row or column, if they are not in order.
    pub(super) group_index: Option<GroupIndex>,
}

/// How zero points are applied.
#[derive(Debug)]
pub(super) enum ZeroPoint {
    /// There are none.
    None,
    /// Subtracted before scaling: (code - zero) * scale.
    Before(Grid),
    /// Added after scaling: code * scale + zero.
    After(Grid),
}

/// A number that applies to a whole matrix.
#[derive(Debug)]
pub(super) struct GlobalScale {
    pub tensor: usize,
    /// Whether it divides; otherwise it multiplies.
    pub divides: bool,
    /// A factor for the number itself.
    pub factor: f64,
    /// Whether each matrix has its own number.
    pub each: bool,
}

/// The block of each row or column, in a tensor of integers.
#[derive(Debug)]
pub(super) struct GroupIndex {
    pub tensor: usize,
    /// Whether the tensor has the block of each row; otherwise it has that of each column.
    pub by_row: bool,
}

impl QuantisedWeight {
    /// Creates a weight of these rows and columns without scales, which the scheme adds.
    pub(super) fn new(
        name: impl Into<String>,
        [rows, columns]: [u64; 2],
        codes: PackedCodes,
        table: CodeTable,
    ) -> Self {
        Self {
            name: name.into(),
            rows,
            columns,
            transposed: false,
            codes,
            table,
            scale: None,
            block: [rows, columns],
            zero_point: ZeroPoint::None,
            global_scale: None,
            column_scale: None,
            group_index: None,
        }
    }

    /// Returns the name of the quantisation, such as `gptq 4-bit` or `bitsandbytes nf4`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the tensors that are read; the first one stores the codes.
    pub fn tensors(&self) -> Vec<usize> {
        let zero = match &self.zero_point {
            ZeroPoint::None => Vec::new(),
            ZeroPoint::Before(grid) | ZeroPoint::After(grid) => grid.tensors(),
        };
        [self.codes.tensor]
            .into_iter()
            .chain(self.table.tensor())
            .chain(self.scale.iter().flat_map(Grid::tensors))
            .chain(zero)
            .chain(self.global_scale.as_ref().map(|global| global.tensor))
            .chain(self.column_scale)
            .chain(self.group_index.as_ref().map(|order| order.tensor))
            .collect()
    }

    /// Returns the tensor of the scales, and which of its bytes are NaN if it stores scales as bytes.
    pub fn scales(&self) -> Option<(usize, &'static [u8])> {
        self.scale.as_ref().map(|grid| (grid.tensor, grid.nan_codes()))
    }

    /// Returns the number of elements that should be read at once, a multiple of 512.
    pub fn piece_len(&self) -> u64 {
        match self.transposed {
            false => PIECE,
            true => {
                let elements = ROWS_TOGETHER.saturating_mul(self.rows).next_multiple_of(512);
                elements.clamp(PIECE, MAX_PIECE)
            }
        }
    }

    /// Reads the values of elements from `first` on as binary32, finite or not.
    ///
    /// # Errors
    /// Returns a [`FileError`] if a file cannot be read, or changed.
    pub(crate) fn read(
        &self,
        reader: &ElementReader<'_>,
        first: u64,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        let values = self.table.values(reader)?;
        // The length of a row of the weight, and the number of rows in a matrix.
        let (wide, high) = match self.transposed {
            false => (self.columns, self.rows),
            true => (self.rows, self.columns),
        };
        let (mut at, mut rest) = (first, out);
        while !rest.is_empty() {
            let (row, column) = (at / wide, at % wide);
            let (matrix, row) = (row / high, row % high);
            let left = rest.len() as u64;
            let (rows, columns) = match column {
                0 if left >= wide => (row..row + (left / wide).min(high - row), 0..wide),
                _ => (row..row + 1, column..column + (wide - column).min(left)),
            };
            let count = (rows.end - rows.start) * (columns.end - columns.start);
            let (now, later) = rest.split_at_mut(count as usize);
            match self.transposed {
                false => self.read_submatrix(reader, matrix, rows, columns, &values, now)?,
                true => self.read_transposed(reader, matrix, rows, columns, &values, now)?,
            }
            (at, rest) = (at + count, later);
        }
        Ok(())
    }

    /// Reads a range of rows and columns of a weight that is stored transposed.
    fn read_transposed(
        &self,
        reader: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        values: &CodeLookup,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        let (high, wide) = (rows.end - rows.start, columns.end - columns.start);
        // Strips stay in the cache and contain whole words of codes.
        let step = (STRIP / high.max(1)).max(1).next_multiple_of(32);
        let mut tile = Vec::new();
        for from in (0..wide).step_by(step as usize) {
            let strip = columns.start + from..(columns.start + from + step).min(columns.end);
            tile.resize(((strip.end - strip.start) * high) as usize, 0.0);
            self.read_submatrix(reader, matrix, strip, rows.clone(), values, &mut tile)?;
            let out = &mut out[from as usize..];
            vectorised(TransposeStrip {
                from: &tile,
                high: high as usize,
                stride: wide as usize,
                out,
            });
        }
        Ok(())
    }

    /// Reads a range of rows and columns of matrix `matrix` as stored.
    fn read_submatrix(
        &self,
        reader: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        values: &CodeLookup,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        self.codes.unpack(reader, matrix, rows.clone(), columns.clone(), values, out)?;
        let Some(scale) = &self.scale else {
            let global = self.global(reader, matrix)? as f32;
            out.iter_mut().for_each(|value| *value *= global);
            return Ok(());
        };
        let width = (columns.end - columns.start) as usize;
        let across = self.column_scale.map(|tensor| reader.values(tensor, columns.start, width));
        let across: Option<Vec<f32>> =
            across.transpose()?.map(|numbers| numbers.into_iter().map(|one| one as f32).collect());
        let [high, wide] = self.block;
        // The block of each row or column, if there is a group index.
        let order = self.group_index.as_ref().map(|order| {
            let span = if order.by_row { &rows } else { &columns };
            reader.codes(order.tensor, span.start, (span.end - span.start) as usize)
        });
        let mut order = order.transpose()?;
        // Blocks from the first to the last that are used; an index that is too large means the last block.
        let count = if self.group_index.as_ref().is_some_and(|order| order.by_row) {
            scale.rows
        } else {
            scale.columns
        };
        let used = order.as_mut().map_or(0..0, |order| {
            order.iter_mut().for_each(|block| *block = (*block).min(count - 1));
            let first = order.iter().min().copied().unwrap_or(0);
            let last = order.iter().max().copied().unwrap_or(0);
            order.iter_mut().for_each(|block| *block -= first);
            first..last + 1
        });
        let (by_row, by_column) = match (&self.group_index, order) {
            (Some(GroupIndex { by_row: true, .. }), order) => (order, None),
            (_, order) => (None, order),
        };
        let grid_rows = match by_row {
            None => rows.start / high..rows.end.div_ceil(high),
            Some(_) => used.clone(),
        };
        let grid_columns = match by_column {
            None => columns.start / wide..columns.end.div_ceil(wide),
            Some(_) => used,
        };
        let strip = (grid_columns.end - grid_columns.start) as usize;
        let load = |grid: &Grid| grid.load(reader, matrix, grid_rows.clone(), grid_columns.clone());
        let global = self.global(reader, matrix)?;
        let scales: Vec<f32> =
            load(scale)?.into_iter().map(|scale| (scale * global) as f32).collect();
        let (zeros, after) = match &self.zero_point {
            ZeroPoint::None => (Vec::new(), false),
            ZeroPoint::Before(grid) => (load(grid)?, false),
            ZeroPoint::After(grid) => (load(grid)?, true),
        };
        let zeros: Vec<f32> = zeros.into_iter().map(|zero| zero as f32).collect();
        for (at, out) in out.chunks_exact_mut(width).enumerate() {
            let row = rows.start + at as u64;
            let grid_row = match &by_row {
                None => row / high - grid_rows.start,
                Some(order) => order[at],
            };
            let from = grid_row as usize * strip;
            let scales = &scales[from..from + strip];
            let zeros = zeros.get(from..from + strip).unwrap_or_default();
            match &by_column {
                Some(order) => gather(order, scales, zeros, after, out),
                None if wide == 1 => vectorised(ScaleColumns { scales, zeros, after, out }),
                None => {
                    let (skip, wide) = ((columns.start % wide) as usize, wide as usize);
                    vectorised(ScaleGroups { scales, zeros, after, skip, wide, out });
                }
            }
            if let Some(across) = &across {
                out.iter_mut().zip(across).for_each(|(value, number)| *value *= number);
            }
        }
        Ok(())
    }

    fn global(&self, reader: &ElementReader<'_>, matrix: u64) -> Result<f64, FileError> {
        let Some(global) = &self.global_scale else { return Ok(1.0) };
        let at = if global.each { matrix } else { 0 };
        let number = reader.values(global.tensor, at, 1)?[0] * global.factor;
        Ok(match (global.divides, number) {
            (false, number) => number,
            (true, 0.0) => 0.0,
            (true, number) => 1.0 / number,
        })
    }
}

/// Scales a row with the number of the block of each column.
fn gather(order: &[u64], scales: &[f32], zeros: &[f32], after: bool, out: &mut [f32]) {
    for (value, group) in out.iter_mut().zip(order) {
        let group = *group as usize;
        let scale = scales[group];
        *value = match (zeros.get(group), after) {
            (None, _) => *value * scale,
            (Some(zero), false) => (*value - zero) * scale,
            (Some(zero), true) => *value * scale + zero,
        };
    }
}
