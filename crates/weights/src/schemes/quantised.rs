//! A quantised weight, and its values: code by code, less a zero point, times a scale.

use super::codes::PackedCodes;
use super::grid::Grid;
use super::kernels::{ScaleColumns, ScaleGroups, TransposeStrip};
use super::table::{CodeLookup, CodeTable};
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_engine::measure::isa::vectorised;
use tensorseal_engine::stream::files::FileError;

/// Elements that are best read at once.
const PIECE: u64 = 1 << 16;
/// Where rows of the weight are columns of what is stored: as many rows are read at once, so that a stretch of what is
/// stored is worth reading.
const ROWS_TOGETHER: u64 = 128;
/// Elements of them that are turned at once.
const STRIP: u64 = 1 << 15;
/// Most elements that are read at once for that.
const LARGEST_PIECE: u64 = 1 << 20;

/// A weight that is put together from codes and what they are scaled by: one matrix, or several that follow one another.
///
/// Its elements are those of its matrices row by row, or column by column where it is stored transposed.
#[derive(Debug)]
pub struct QuantisedWeight {
    /// The name of the quantisation.
    pub(super) name: String,
    /// Rows and columns of each matrix, as it is stored.
    pub(super) rows: u64,
    pub(super) columns: u64,
    /// Whether the weight has them the other way round.
    pub(super) transposed: bool,
    /// Where the codes are, and what they stand for.
    pub(super) codes: PackedCodes,
    pub(super) table: CodeTable,
    /// What codes are multiplied by, and rows and columns that share a number of it.
    pub(super) scale: Option<Grid>,
    pub(super) block: [u64; 2],
    /// What is subtracted before, or added after; it has the blocks of the scales.
    pub(super) zero_point: ZeroPoint,
    /// One number more that a whole matrix is multiplied by, or divided.
    pub(super) global_scale: Option<GlobalScale>,
    /// A number more for each column, of every matrix.
    pub(super) column_scale: Option<usize>,
    /// Which block each row or column belongs to, where they do not follow one another.
    pub(super) group_index: Option<GroupIndex>,
}

/// What makes codes begin at another number than zero.
#[derive(Debug)]
pub(super) enum ZeroPoint {
    /// Nothing.
    None,
    /// (code - zero) * scale.
    Before(Grid),
    /// code * scale + zero.
    After(Grid),
}

/// One number for all of a matrix.
#[derive(Debug)]
pub(super) struct GlobalScale {
    pub tensor: usize,
    /// Whether it divides.
    pub divides: bool,
    /// What it is multiplied by itself.
    pub factor: f64,
    /// Whether each matrix has its own.
    pub each: bool,
}

/// The block of each row or column, in a tensor of integers.
#[derive(Debug)]
pub(super) struct GroupIndex {
    pub tensor: usize,
    /// Of each row; else of each column.
    pub by_row: bool,
}

impl QuantisedWeight {
    /// A weight of these rows and columns that is its codes: what it is scaled by is for the scheme to add.
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

    /// The name of the quantisation: `gptq 4-bit`, `bitsandbytes nf4`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tensors that are read; the first holds the codes.
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

    /// The tensor of its scales, and which bytes in it are no numbers: for those of types that say nothing of numbers.
    pub fn scales(&self) -> Option<(usize, &'static [u8])> {
        self.scale.as_ref().map(|grid| (grid.tensor, grid.nan_codes()))
    }

    /// Elements that are best read at once, a multiple of 512.
    pub fn piece_len(&self) -> u64 {
        match self.transposed {
            false => PIECE,
            true => {
                let wanted = ROWS_TOGETHER.saturating_mul(self.rows).next_multiple_of(512);
                wanted.clamp(PIECE, LARGEST_PIECE)
            }
        }
    }

    /// The values of elements from `first` on, as binary32, finite or not.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
    pub(crate) fn read(
        &self,
        stored: &ElementReader<'_>,
        first: u64,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        let values = self.table.values(stored)?;
        // Rows of the weight, and how many a matrix has.
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
                false => self.read_submatrix(stored, matrix, rows, columns, &values, now)?,
                true => self.read_transposed(stored, matrix, rows, columns, &values, now)?,
            }
            (at, rest) = (at + count, later);
        }
        Ok(())
    }

    /// Rows and columns of the weight that are columns and rows of what is stored.
    fn read_transposed(
        &self,
        stored: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        values: &CodeLookup,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        let (high, wide) = (rows.end - rows.start, columns.end - columns.start);
        // In strips that stay in the cache, of whole words of codes.
        let step = (STRIP / high.max(1)).max(1).next_multiple_of(32);
        let mut tile = Vec::new();
        for from in (0..wide).step_by(step as usize) {
            let strip = columns.start + from..(columns.start + from + step).min(columns.end);
            tile.resize(((strip.end - strip.start) * high) as usize, 0.0);
            self.read_submatrix(stored, matrix, strip, rows.clone(), values, &mut tile)?;
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

    /// Some rows and columns of matrix `matrix`, as they are stored.
    fn read_submatrix(
        &self,
        stored: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        values: &CodeLookup,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        self.codes.unpack(stored, matrix, rows.clone(), columns.clone(), values, out)?;
        let Some(scale) = &self.scale else {
            let global = self.global(stored, matrix)? as f32;
            out.iter_mut().for_each(|value| *value *= global);
            return Ok(());
        };
        let width = (columns.end - columns.start) as usize;
        let across = self.column_scale.map(|tensor| stored.values(tensor, columns.start, width));
        let across: Option<Vec<f32>> =
            across.transpose()?.map(|numbers| numbers.into_iter().map(|one| one as f32).collect());
        let [high, wide] = self.block;
        // Which of the numbers are wanted.
        let order = self.group_index.as_ref().map(|order| {
            let span = if order.by_row { &rows } else { &columns };
            stored.codes(order.tensor, span.start, (span.end - span.start) as usize)
        });
        let mut order = order.transpose()?;
        // Numbers from the first that is wanted to the last; a number that no block has is the last block's.
        let most = if self.group_index.as_ref().is_some_and(|order| order.by_row) {
            scale.rows
        } else {
            scale.columns
        };
        let wanted = order.as_mut().map_or(0..0, |order| {
            order.iter_mut().for_each(|block| *block = (*block).min(most - 1));
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
            Some(_) => wanted.clone(),
        };
        let grid_columns = match by_column {
            None => columns.start / wide..columns.end.div_ceil(wide),
            Some(_) => wanted,
        };
        let strip = (grid_columns.end - grid_columns.start) as usize;
        let load = |grid: &Grid| grid.load(stored, matrix, grid_rows.clone(), grid_columns.clone());
        let global = self.global(stored, matrix)?;
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

    fn global(&self, stored: &ElementReader<'_>, matrix: u64) -> Result<f64, FileError> {
        let Some(global) = &self.global_scale else { return Ok(1.0) };
        let at = if global.each { matrix } else { 0 };
        let number = stored.values(global.tensor, at, 1)?[0] * global.factor;
        Ok(match (global.divides, number) {
            (false, number) => number,
            (true, 0.0) => 0.0,
            (true, number) => 1.0 / number,
        })
    }
}

/// A row, the number that is named for each column.
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
