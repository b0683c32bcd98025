//! HQQ: a matrix with groups as rows (or columns), whose rows are packed with the first part in the highest bits.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// Small tensors that describe how a weight was quantised.
const METADATA: &[&str] = &[
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

/// Recognises `W_q`, `scale`, `zero`, `shape` and `nbits`.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let named = ["scale", "zero", "shape", "nbits"].map(|name| module.sibling(name));
    let [Some(scales), Some(zeros), Some(shape), Some(bits)] = named else { return Ok(None) };
    let unit = match module.tensor(codes).dtype {
        Dtype::U8 => 1,
        Dtype::I32 => 4,
        other => return Err(format!("its codes have the unsupported type {other}")),
    };
    let Some([rows, columns]) = module.matrix(codes) else { return Ok(None) };
    if !module.has_dtype(scales, NUMBERS) || !module.has_dtype(zeros, NUMBERS) {
        return Err(
            "its scales have an unsupported type; quantised scales are not supported".to_owned()
        );
    }
    let shape = module.shape_from(shape).ok_or("its shape cannot be read")?;
    let bits = module.numbers(bits).and_then(|bits| bits.first().copied()).unwrap_or(0.0) as u64;
    let planes = match (bits, unit) {
        (8, 1) => 1,
        (4, 1) => 2,
        (2, 1) => 4,
        (1, 1) => 8,
        (3, 4) => 10,
        _ => return Err(format!("codes of {bits} bits are not supported")),
    };
    let elements =
        strides::element_count(&shape).filter(|elements| *elements > 0 && elements % columns == 0);
    let all =
        elements.ok_or_else(|| format!("its shape {shape:?} does not fit its codes"))? / columns;
    // Groups are rows or columns.
    let by_row = module.tensor(scales).shape == [all, 1];
    let (grid_rows, grid_columns, block) = match by_row {
        true => (all, 1, [1, columns]),
        false => (1, columns, [all, 1]),
    };
    let grid = |tensor| Grid::new(tensor, [grid_rows, grid_columns], GridEncoding::Numbers);
    let quantised = QuantisedWeight {
        scale: Some(grid(scales)),
        block,
        zero_point: ZeroPoint::Before(grid(zeros)),
        ..QuantisedWeight::new(
            format!("hqq {bits}-bit"),
            [all, columns],
            PackedCodes {
                tensor: codes,
                unit,
                row: columns,
                rows,
                packing: CodePacking::Planes { bits: bits as u32, planes, high_first: true },
            },
            CodeTable::with_zero_point(0),
        )
    };
    Ok(Some(RecognisedWeight::new(quantised, shape, module.siblings(METADATA))))
}
