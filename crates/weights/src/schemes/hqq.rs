//! HQQ: groups as rows (or columns) of a matrix, the first of several parts of its rows in the highest bits.

use super::Recognised;
use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept, NUMBERS};
use super::module::Module;
use super::quantised::{Quantised, Zero};
use super::table::Table;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::order;

/// Small tensors that say how a weight was quantised.
const NOTES: &[&str] = &[
    "nbits",
    "group_size",
    "shape",
    "axis",
    "packing",
    "view_as_float",
    "unpack_view_dtype",
    "optimize",
    "round_zero",
    "channel_wise",
    "encoded_state_dict",
    "stores_quant_config",
    "compute_dtype",
    "offload_meta",
    "quant_scale",
    "quant_zero",
];

/// By `W_q`, `scale`, `zero`, `shape` and `nbits`.
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let named = ["scale", "zero", "shape", "nbits"].map(|name| module.beside(name));
    let [Some(scales), Some(zeros), Some(shape), Some(bits)] = named else { return Ok(None) };
    let unit = match module.tensor(codes).dtype {
        Dtype::U8 => 1,
        Dtype::I32 => 4,
        other => return Err(format!("its codes are {other}")),
    };
    let Some([rows, columns]) = module.matrix(codes) else { return Ok(None) };
    if !module.is(scales, NUMBERS) || !module.is(zeros, NUMBERS) {
        return Err(
            "its scales are of another type, as of scales that are quantised, too".to_owned()
        );
    }
    let shape = module.shape_in(shape).ok_or("its shape cannot be read")?;
    let bits = module.numbers(bits).and_then(|bits| bits.first().copied()).unwrap_or(0.0) as u64;
    let planes = match (bits, unit) {
        (8, 1) => 1,
        (4, 1) => 2,
        (2, 1) => 4,
        (1, 1) => 8,
        (3, 4) => 10,
        _ => return Err(format!("codes of {bits} bits are not known")),
    };
    let elements =
        order::elements(&shape).filter(|elements| *elements > 0 && elements % columns == 0);
    let all =
        elements.ok_or_else(|| format!("its shape {shape:?} does not fit its codes"))? / columns;
    // Groups are rows, or they are columns.
    let by_row = module.tensor(scales).shape == [all, 1];
    let (grid_rows, grid_columns, block) = match by_row {
        true => (all, 1, [1, columns]),
        false => (1, columns, [all, 1]),
    };
    let grid = |tensor| Grid::new(tensor, [grid_rows, grid_columns], Kept::Numbers);
    let quantised = Quantised {
        scale: Some(grid(scales)),
        block,
        zero: Zero::Before(grid(zeros)),
        ..Quantised::new(
            format!("hqq {bits}-bit"),
            [all, columns],
            Codes {
                tensor: codes,
                unit,
                row: columns,
                rows,
                packing: Packing::Planes { bits: bits as u32, planes, high_first: true },
            },
            Table::less(0),
        )
    };
    Ok(Some(Recognised::new(quantised, shape, module.all_beside(NOTES))))
}
