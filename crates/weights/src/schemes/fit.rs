//! Whether the tensors of a quantised weight have the sizes that its layout says. Nothing of a tensor is read before
//! it was held to this: it stands once, for every scheme.

use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept, down};
use super::module::Module;
use super::quantised::{Quantised, Zero};
use super::table::Table;
use crate::values::Decoder;
use tensorseal_base::display::display_name;
use tensorseal_format::order;

/// Most blocks of columns, or of rows, that do not follow one another: numbers of all of them are loaded for each row.
const MAX_UNORDERED: u64 = 1 << 20;

/// Checks a weight of this shape.
///
/// # Errors
/// What does not fit, in words that name the tensor.
pub(super) fn check(
    module: &Module<'_>,
    quantised: &Quantised,
    shape: &[u64],
) -> Result<(), String> {
    let it = quantised;
    let matrix = it.rows.checked_mul(it.columns).filter(|elements| *elements > 0);
    let elements = order::elements(shape).filter(|elements| *elements > 0);
    let (Some(matrix), Some(elements)) = (matrix, elements) else {
        return Err("it has no elements, or too many to count".to_owned());
    };
    // The last row may be cut off; several matrices are whole.
    let matrices = elements.div_ceil(matrix);
    if elements % matrix != 0 && (matrices != 1 || elements <= matrix - it.columns) {
        return Err(format!("its shape {shape:?} does not fit its codes"));
    }
    codes(module, &it.codes, it, matrices, elements % matrix != 0)?;
    if let Some(global) = &it.global {
        is_long(module, global.tensor, if global.each { matrices } else { 1 })?;
    }
    if let Table::Tensor { tensor, len } = it.table {
        is_long(module, tensor, len as u64)?;
    }
    if let Some(across) = it.across {
        is_long(module, across, it.columns)?;
    }
    let numbers = [it.global.as_ref().map(|global| global.tensor), it.table.tensor(), it.across];
    numbers.into_iter().flatten().try_for_each(|tensor| are_numbers(module, tensor))?;
    let Some(scale) = &it.scale else { return Ok(()) };
    let [high, wide] = it.block;
    if high == 0 || wide == 0 {
        return Err("a scale is of nothing".to_owned());
    }
    let whole = [it.rows.div_ceil(high), it.columns.div_ceil(wide)];
    let ordered = it.order.as_ref().map(|order| order.of_rows);
    for (grid, what) in [Some((scale, "scales")), zero(&it.zero)].into_iter().flatten() {
        let fits = match ordered {
            None => [grid.rows, grid.columns] == whole,
            Some(true) => grid.columns == whole[1] && (1..=it.rows).contains(&grid.rows),
            Some(false) => grid.rows == whole[0] && (1..=it.columns).contains(&grid.columns),
        };
        if !fits || [grid.rows, grid.columns] != [scale.rows, scale.columns] {
            return Err(format!("its {what} are not as many as its blocks"));
        }
        of_grid(module, grid, matrices)?;
    }
    if let Some(order) = &it.order {
        let (wanted, blocks) = match order.of_rows {
            true => (it.rows, scale.rows),
            false => (it.columns, scale.columns),
        };
        if blocks > MAX_UNORDERED {
            return Err("its blocks are too many to be in any order".to_owned());
        }
        is_long(module, order.tensor, wanted)?;
        is_wide(module, order.tensor, &[4, 8])?;
    }
    Ok(())
}

fn zero(zero: &Zero) -> Option<(&Grid, &'static str)> {
    match zero {
        Zero::None => None,
        Zero::Before(grid) | Zero::After(grid) => Some((grid, "zero points")),
    }
}

fn codes(
    module: &Module<'_>,
    codes: &Codes,
    quantised: &Quantised,
    matrices: u64,
    cut: bool,
) -> Result<(), String> {
    let tensor = module.tensor(codes.tensor);
    let (bytes, per_unit) = tensor.dtype.granule();
    if bytes != codes.unit || per_unit != 1 && tensor.strides.is_some() {
        return Err(format!("its codes are {}", tensor.dtype));
    }
    let (rows, columns) = (quantised.rows, quantised.columns);
    let unit_bits = codes.unit * 8;
    // Rows and units of a row that are needed.
    let (needs_rows, needs_units) = match codes.packing {
        Packing::Stream { bits } => (rows, columns.saturating_mul(bits.into()).div_ceil(unit_bits)),
        Packing::Words { bits, places } => {
            let most = places.iter().copied().max().unwrap_or(0);
            if (u64::from(most) + 1) * u64::from(bits) > unit_bits {
                return Err("its codes have more bits than their words".to_owned());
            }
            (rows, columns.div_ceil(places.len() as u64))
        }
        Packing::Split { .. } | Packing::Down { .. } if codes.unit != 4 => {
            return Err(format!("its codes are {}", tensor.dtype));
        }
        Packing::Split { bits } => (rows.div_ceil(32).saturating_mul(bits.into()), columns),
        Packing::Down { bits } => (rows.saturating_mul(bits.into()).div_ceil(unit_bits), columns),
        Packing::Planes { bits, planes, .. } | Packing::Interleaved { bits, planes } => {
            if !matches!(codes.unit, 1 | 4) {
                return Err(format!("its codes are {}", tensor.dtype));
            }
            if planes == 0 || planes.saturating_mul(bits.into()) > unit_bits {
                return Err("its codes have more bits than their words".to_owned());
            }
            (rows.div_ceil(planes), columns)
        }
    };
    let units = order::elements(&tensor.shape).map(|elements| elements.div_ceil(per_unit));
    let has = matrices.checked_mul(codes.rows).and_then(|all| all.checked_mul(codes.row));
    // The last row of one matrix may be cut off.
    let is_all = |units: u64, has: u64| {
        units == has || matrices == 1 && cut && units < has && units > has - codes.row
    };
    let fits = matches!((units, has), (Some(units), Some(has)) if is_all(units, has));
    if [codes.rows, codes.row] != [needs_rows, needs_units] || !fits {
        return Err(format!(
            "its codes {:?} do not fit {matrices} times {rows} rows of {columns}",
            tensor.shape
        ));
    }
    Ok(())
}

fn of_grid(module: &Module<'_>, grid: &Grid, matrices: u64) -> Result<(), String> {
    match &grid.kept {
        Kept::Numbers | Kept::Padded { .. } | Kept::Transposed => are_numbers(module, grid.tensor)?,
        Kept::Exponents | Kept::E4m3 | Kept::Swizzled { .. } => is_wide(module, grid.tensor, &[1])?,
        Kept::Along { unit_bits, .. } => is_wide(module, grid.tensor, &[unit_bits / 8])?,
        Kept::Split { .. } | Kept::Down { .. } => is_wide(module, grid.tensor, &[4])?,
        Kept::Nested { table, scales, .. } => {
            is_wide(module, grid.tensor, &[1])?;
            are_numbers(module, *table)?;
            are_numbers(module, *scales)?;
        }
    }
    let numbers = grid.rows.saturating_mul(grid.columns);
    let wanted = match &grid.kept {
        Kept::Numbers | Kept::Transposed | Kept::Exponents | Kept::E4m3 => numbers,
        Kept::Padded { row } if *row >= grid.columns => grid.rows.saturating_mul(*row),
        Kept::Padded { .. } => return Err("its scales are too few".to_owned()),
        Kept::Swizzled { .. } => Grid::swizzled_len(grid.rows, grid.columns),
        Kept::Along { bits, unit_bits, places, row, .. } => {
            let least = match places {
                Some(places) => grid.columns.div_ceil(places.len() as u64),
                None => grid.columns.saturating_mul(*bits).div_ceil(*unit_bits),
            };
            if *row < least {
                return Err("its zero points are too few".to_owned());
            }
            grid.rows.saturating_mul(*row)
        }
        Kept::Split { bits } => {
            grid.columns.div_ceil(32).saturating_mul(*bits).saturating_mul(grid.rows)
        }
        Kept::Down { bits, stream } => down(grid.rows, *bits, *stream).saturating_mul(grid.columns),
        Kept::Nested { table, scales, block, .. } => {
            is_long(module, *table, 256)?;
            is_long(module, *scales, numbers.saturating_mul(matrices).div_ceil(*block))?;
            numbers
        }
    };
    is_long(module, grid.tensor, wanted.saturating_mul(matrices))
}

/// Whether the elements of a tensor are numbers that can be read.
fn are_numbers(module: &Module<'_>, tensor: usize) -> Result<(), String> {
    match Decoder::of_numbers(module.tensor(tensor).dtype) {
        Some(_) => Ok(()),
        None => Err(of_type(module, tensor)),
    }
}

/// Whether each element of a tensor has one of these numbers of bytes.
fn is_wide(module: &Module<'_>, tensor: usize, bytes: &[u64]) -> Result<(), String> {
    match module.tensor(tensor).dtype.granule() {
        (width, 1) if bytes.contains(&width) => Ok(()),
        _ => Err(of_type(module, tensor)),
    }
}

fn of_type(module: &Module<'_>, tensor: usize) -> String {
    let tensor = module.tensor(tensor);
    format!("{} is of type {}", display_name(&tensor.name), tensor.dtype)
}

/// Whether a tensor has this number of elements.
fn is_long(module: &Module<'_>, tensor: usize, wanted: u64) -> Result<(), String> {
    let has = module.elements(tensor);
    if has == wanted {
        return Ok(());
    }
    let tensor = module.tensor(tensor);
    let name = display_name(&tensor.name);
    Err(format!("{name} has {has} elements where {wanted} belong"))
}
