//! NVIDIA ModelOpt: bytes of two FP4 codes with scales by group and a global scale, or bytes with INT4 codes of two rows.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::{MatrixDims, Module};
use super::quantised::{GlobalScale, QuantisedWeight};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;

/// Recognises `weight` U8 by the type of `weight_scale`.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scales) =
        module.sibling("weight_scale").filter(|_| module.has_dtype(codes, &[Dtype::U8]))
    else {
        return Ok(None);
    };
    let (Some(bytes), Some(groups)) = (module.dims(codes), module.dims(scales)) else {
        return Ok(None);
    };
    let MatrixDims { matrices, rows, columns } = bytes;
    let second = module.sibling("weight_scale_2");
    let fp4 = |name, group, encoding| {
        (
            name,
            rows,
            columns.saturating_mul(2),
            group,
            encoding,
            CodePacking::RowStream { bits: 4 },
            CodeTable::e2m1(),
        )
    };
    let (name, rows, columns, group, encoding, packing, table) = match module.tensor(scales).dtype {
        Dtype::F8_E4M3 => fp4("nvfp4", 16, GridEncoding::E4m3),
        Dtype::U8 | Dtype::F8_E8M0 => fp4("mxfp4", 32, GridEncoding::Exponents),
        dtype if NUMBERS.contains(&dtype) => {
            // Each byte has codes of two outputs.
            let group = columns.div_ceil(groups.columns);
            let packing = CodePacking::Interleaved { bits: 4, planes: 2 };
            let rows = rows.saturating_mul(2);
            (
                "modelopt 4-bit",
                rows,
                columns,
                group,
                GridEncoding::Numbers,
                packing,
                CodeTable::signed(4),
            )
        }
        _ => return Ok(None),
    };
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [rows, groups.columns], encoding)),
        block: [1, group],
        global_scale: second.map(|tensor| GlobalScale {
            tensor,
            divides: false,
            factor: 1.0,
            each: module.elements(tensor) == matrices,
        }),
        column_scale: module.sibling("pre_quant_scale"),
        ..QuantisedWeight::new(
            name,
            [rows, columns],
            PackedCodes { tensor: codes, unit: 1, row: bytes.columns, rows: bytes.rows, packing },
            table,
        )
    };
    let mut shape = module.tensor(codes).shape.clone();
    if let Some([high, wide]) = shape.last_chunk_mut() {
        (*high, *wide) = (rows, columns);
    }
    let parts = module.siblings(&["input_scale"]);
    Ok(Some(RecognisedWeight::new(quantised, shape, parts)))
}
