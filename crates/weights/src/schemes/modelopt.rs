//! NVIDIA ModelOpt: bytes of two FP4 codes with scales by group and one for all, or of two rows of INT4.

use super::Recognised;
use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept, NUMBERS};
use super::module::{Dims, Module};
use super::quantised::{Global, Quantised};
use super::table::Table;
use tensorseal_base::dtype::Dtype;

/// By `weight` U8 and the type of `weight_scale`.
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let Some(scales) = module.beside("weight_scale").filter(|_| module.is(codes, &[Dtype::U8]))
    else {
        return Ok(None);
    };
    let (Some(bytes), Some(groups)) = (module.dims(codes), module.dims(scales)) else {
        return Ok(None);
    };
    let Dims { matrices, rows, columns } = bytes;
    let second = module.beside("weight_scale_2");
    let fp4 = |name, group, kept| {
        (
            name,
            rows,
            columns.saturating_mul(2),
            group,
            kept,
            Packing::Stream { bits: 4 },
            Table::e2m1(),
        )
    };
    let (name, rows, columns, group, kept, packing, table) = match module.tensor(scales).dtype {
        Dtype::F8_E4M3 => fp4("nvfp4", 16, Kept::E4m3),
        Dtype::U8 | Dtype::F8_E8M0 => fp4("mxfp4", 32, Kept::Exponents),
        dtype if NUMBERS.contains(&dtype) => {
            // Two outputs a byte.
            let group = columns.div_ceil(groups.columns);
            let packing = Packing::Interleaved { bits: 4, planes: 2 };
            let rows = rows.saturating_mul(2);
            ("modelopt 4-bit", rows, columns, group, Kept::Numbers, packing, Table::signed(4))
        }
        _ => return Ok(None),
    };
    let quantised = Quantised {
        scale: Some(Grid::new(scales, [rows, groups.columns], kept)),
        block: [1, group],
        global: second.map(|tensor| Global {
            tensor,
            divides: false,
            factor: 1.0,
            each: module.elements(tensor) == matrices,
        }),
        across: module.beside("pre_quant_scale"),
        ..Quantised::new(
            name,
            [rows, columns],
            Codes { tensor: codes, unit: 1, row: bytes.columns, rows: bytes.rows, packing },
            table,
        )
    };
    let mut shape = module.tensor(codes).shape.clone();
    if let Some([high, wide]) = shape.last_chunk_mut() {
        (*high, *wide) = (rows, columns);
    }
    let parts = module.all_beside(&["input_scale"]);
    Ok(Some(Recognised::new(quantised, shape, parts)))
}
