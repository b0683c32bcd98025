//! Checks that the tensors of a quantised weight have the sizes that its layout requires. All schemes share this check,
//! which comes before anything of these tensors is read.

use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, column_words};
use super::module::Module;
use super::quantised::{QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use crate::values::Decoder;
use tensorseal_base::display::display_name;
use tensorseal_format::strides;

/// The maximum number of groups with a group index, because the numbers of all of them may be loaded for each row.
const MAX_INDEXED_GROUPS: u64 = 1 << 20;

/// Checks the tensors of a weight of this shape.
///
/// # Errors
/// Returns what does not fit, as text for people.
pub(super) fn check(
    module: &Module<'_>,
    quantised: &QuantisedWeight,
    shape: &[u64],
) -> Result<(), String> {
    let matrix = quantised.rows.checked_mul(quantised.columns).filter(|elements| *elements > 0);
    let elements = strides::element_count(shape).filter(|elements| *elements > 0);
    let (Some(matrix), Some(elements)) = (matrix, elements) else {
        return Err("it has no elements, or too many to count".to_owned());
    };
    // The last row may be cut off, unless there are several matrices.
    let matrices = elements.div_ceil(matrix);
    if elements % matrix != 0 && (matrices != 1 || elements <= matrix - quantised.columns) {
        return Err(format!("its shape {shape:?} does not fit its codes"));
    }
    codes(module, &quantised.codes, quantised, matrices, elements % matrix != 0)?;
    if let Some(global) = &quantised.global_scale {
        check_element_count(module, global.tensor, if global.each { matrices } else { 1 })?;
    }
    if let CodeTable::Tensor { tensor, len } = quantised.table {
        check_element_count(module, tensor, len as u64)?;
    }
    if let Some(column_scale) = quantised.column_scale {
        check_element_count(module, column_scale, quantised.columns)?;
    }
    let numbers = [
        quantised.global_scale.as_ref().map(|global| global.tensor),
        quantised.table.tensor(),
        quantised.column_scale,
    ];
    numbers.into_iter().flatten().try_for_each(|tensor| check_numbers(module, tensor))?;
    let Some(scale) = &quantised.scale else { return Ok(()) };
    let [block_rows, block_columns] = quantised.block;
    if block_rows == 0 || block_columns == 0 {
        return Err("its blocks are empty".to_owned());
    }
    let whole = [quantised.rows.div_ceil(block_rows), quantised.columns.div_ceil(block_columns)];
    let ordered = quantised.group_index.as_ref().map(|order| order.by_row);
    for (grid, what) in [Some((scale, "scales")), zero(&quantised.zero_point)].into_iter().flatten()
    {
        let fits = match ordered {
            None => [grid.rows, grid.columns] == whole,
            Some(true) => grid.columns == whole[1] && (1..=quantised.rows).contains(&grid.rows),
            Some(false) => grid.rows == whole[0] && (1..=quantised.columns).contains(&grid.columns),
        };
        if !fits || [grid.rows, grid.columns] != [scale.rows, scale.columns] {
            return Err(format!("the number of its {what} differs from the number of its blocks"));
        }
        check_grid(module, grid, matrices)?;
    }
    if let Some(order) = &quantised.group_index {
        let (expected, blocks) = match order.by_row {
            true => (quantised.rows, scale.rows),
            false => (quantised.columns, scale.columns),
        };
        if blocks > MAX_INDEXED_GROUPS {
            return Err("it has too many groups for a group index".to_owned());
        }
        check_element_count(module, order.tensor, expected)?;
        check_element_size(module, order.tensor, &[4, 8])?;
    }
    Ok(())
}

fn zero(zero: &ZeroPoint) -> Option<(&Grid, &'static str)> {
    match zero {
        ZeroPoint::None => None,
        ZeroPoint::Before(grid) | ZeroPoint::After(grid) => Some((grid, "zero points")),
    }
}

fn codes(
    module: &Module<'_>,
    codes: &PackedCodes,
    quantised: &QuantisedWeight,
    matrices: u64,
    cut: bool,
) -> Result<(), String> {
    let tensor = module.tensor(codes.tensor);
    let (bytes, per_unit) = tensor.dtype.granule();
    if bytes != codes.unit || per_unit != 1 && tensor.strides.is_some() {
        return Err(format!("its codes have the unsupported type {}", tensor.dtype));
    }
    let (rows, columns) = (quantised.rows, quantised.columns);
    let unit_bits = codes.unit * 8;
    // The required number of rows, and of units in a row.
    let (needs_rows, needs_units) = match codes.packing {
        CodePacking::RowStream { bits } => {
            (rows, columns.saturating_mul(bits.into()).div_ceil(unit_bits))
        }
        CodePacking::Words { bits, places } => {
            let last_place = places.iter().copied().max().unwrap_or(0);
            if (u64::from(last_place) + 1) * u64::from(bits) > unit_bits {
                return Err("its codes do not fit their words".to_owned());
            }
            (rows, columns.div_ceil(places.len() as u64))
        }
        CodePacking::Split { .. } | CodePacking::ColumnStream { .. } if codes.unit != 4 => {
            return Err(format!("its codes have the unsupported type {}", tensor.dtype));
        }
        CodePacking::Split { bits } => (rows.div_ceil(32).saturating_mul(bits.into()), columns),
        CodePacking::ColumnStream { bits } => {
            (rows.saturating_mul(bits.into()).div_ceil(unit_bits), columns)
        }
        CodePacking::Planes { bits, planes, .. } | CodePacking::Interleaved { bits, planes } => {
            if !matches!(codes.unit, 1 | 4) {
                return Err(format!("its codes have the unsupported type {}", tensor.dtype));
            }
            if planes == 0 || planes.saturating_mul(bits.into()) > unit_bits {
                return Err("its codes do not fit their words".to_owned());
            }
            (rows.div_ceil(planes), columns)
        }
    };
    let units = strides::element_count(&tensor.shape).map(|elements| elements.div_ceil(per_unit));
    let has = matrices.checked_mul(codes.rows).and_then(|all| all.checked_mul(codes.row));
    // The last row of one matrix may be cut off.
    let is_all = |units: u64, has: u64| {
        units == has || matrices == 1 && cut && units < has && units > has - codes.row
    };
    let fits = matches!((units, has), (Some(units), Some(has)) if is_all(units, has));
    if [codes.rows, codes.row] != [needs_rows, needs_units] || !fits {
        return Err(format!(
            "its codes of shape {:?} do not fit {matrices} matrices of {rows} rows and {columns} columns",
            tensor.shape
        ));
    }
    Ok(())
}

fn check_grid(module: &Module<'_>, grid: &Grid, matrices: u64) -> Result<(), String> {
    match &grid.encoding {
        GridEncoding::Numbers | GridEncoding::Padded { .. } | GridEncoding::Transposed => {
            check_numbers(module, grid.tensor)?
        }
        GridEncoding::Exponents | GridEncoding::E4m3 | GridEncoding::Swizzled { .. } => {
            check_element_size(module, grid.tensor, &[1])?
        }
        GridEncoding::PackedRows { unit_bits, .. } => {
            check_element_size(module, grid.tensor, &[unit_bits / 8])?
        }
        GridEncoding::Split { .. } | GridEncoding::PackedColumns { .. } => {
            check_element_size(module, grid.tensor, &[4])?
        }
        GridEncoding::Nested { table, scales, .. } => {
            check_element_size(module, grid.tensor, &[1])?;
            check_numbers(module, *table)?;
            check_numbers(module, *scales)?;
        }
    }
    let numbers = grid.rows.saturating_mul(grid.columns);
    let expected = match &grid.encoding {
        GridEncoding::Numbers
        | GridEncoding::Transposed
        | GridEncoding::Exponents
        | GridEncoding::E4m3 => numbers,
        GridEncoding::Padded { row } if *row >= grid.columns => grid.rows.saturating_mul(*row),
        GridEncoding::Padded { .. } => return Err("some of its scales are missing".to_owned()),
        GridEncoding::Swizzled { .. } => Grid::swizzled_len(grid.rows, grid.columns),
        GridEncoding::PackedRows { bits, unit_bits, places, row, .. } => {
            let min_units = match places {
                Some(places) => grid.columns.div_ceil(places.len() as u64),
                None => grid.columns.saturating_mul(*bits).div_ceil(*unit_bits),
            };
            if *row < min_units {
                return Err("some of its zero points are missing".to_owned());
            }
            grid.rows.saturating_mul(*row)
        }
        GridEncoding::Split { bits } => {
            grid.columns.div_ceil(32).saturating_mul(*bits).saturating_mul(grid.rows)
        }
        GridEncoding::PackedColumns { bits, stream } => {
            column_words(grid.rows, *bits, *stream).saturating_mul(grid.columns)
        }
        GridEncoding::Nested { table, scales, block, .. } => {
            check_element_count(module, *table, 256)?;
            check_element_count(
                module,
                *scales,
                numbers.saturating_mul(matrices).div_ceil(*block),
            )?;
            numbers
        }
    };
    check_element_count(module, grid.tensor, expected.saturating_mul(matrices))
}

/// Checks that the elements of a tensor are numbers that can be read.
fn check_numbers(module: &Module<'_>, tensor: usize) -> Result<(), String> {
    match Decoder::for_numbers(module.tensor(tensor).dtype) {
        Some(_) => Ok(()),
        None => Err(unsupported_type(module, tensor)),
    }
}

/// Checks that the elements of a tensor have one of these numbers of bytes.
fn check_element_size(module: &Module<'_>, tensor: usize, bytes: &[u64]) -> Result<(), String> {
    match module.tensor(tensor).dtype.granule() {
        (width, 1) if bytes.contains(&width) => Ok(()),
        _ => Err(unsupported_type(module, tensor)),
    }
}

fn unsupported_type(module: &Module<'_>, tensor: usize) -> String {
    let tensor = module.tensor(tensor);
    format!("{} has the unsupported type {}", display_name(&tensor.name), tensor.dtype)
}

/// Checks that a tensor has this number of elements.
fn check_element_count(module: &Module<'_>, tensor: usize, expected: u64) -> Result<(), String> {
    let has = module.elements(tensor);
    if has == expected {
        return Ok(());
    }
    let tensor = module.tensor(tensor);
    let name = display_name(&tensor.name);
    Err(format!("{name} has {has} elements, expected {expected}"))
}
