//! optimum-quanto: a matrix with groups as rows, the first half (or quarter) of them in the lowest bits of bytes; or one
//! code per byte with a scale for each row.

use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, scaled};
use tensorseal_base::dtype::Dtype;

/// Recognises `weight._data._data` U8 [groups / codes of a byte, codes of a group], `weight._scale` and `weight._shift`
/// [groups, 1]. No tensor states the dimensions of the weight.
pub(super) fn recognise_packed(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let (Some(scales), Some(shifts)) = (module.child("._scale"), module.child("._shift")) else {
        return Ok(None);
    };
    let (Some([rows, columns]), true) = (
        module.matrix(codes),
        module.has_dtype(codes, &[Dtype::U8]) && module.has_dtype(scales, NUMBERS),
    ) else {
        return Ok(None);
    };
    if !module.has_dtype(shifts, NUMBERS) {
        return Err("its shifts have an unsupported type".to_owned());
    }
    let groups = module.elements(scales);
    let planes = groups.div_ceil(rows);
    if !matches!(planes, 2 | 4) || module.tensor(scales).shape.first() != Some(&groups) {
        return Err("the number of its scales differs from the number of its groups".to_owned());
    }
    let grid = |tensor, factor| Grid {
        tensor,
        rows: groups,
        columns: 1,
        encoding: GridEncoding::Numbers,
        factor,
    };
    let quantised = QuantisedWeight {
        scale: Some(grid(scales, 1.0)),
        block: [1, columns],
        zero_point: ZeroPoint::After(grid(shifts, -1.0)),
        ..QuantisedWeight::new(
            format!("quanto {}-bit", 8 / planes),
            [groups, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: columns,
                rows,
                packing: CodePacking::Planes {
                    bits: (8 / planes) as u32,
                    planes,
                    high_first: false,
                },
            },
            CodeTable::with_zero_point(0),
        )
    };
    let shape = vec![groups, columns];
    let parts = module.siblings(&["input_scale", "output_scale"]);
    Ok(Some(RecognisedWeight { quantised, shape, flattened: true, parts }))
}

/// Recognises `weight._data` and `weight._scale`.
pub(super) fn recognise_per_row(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scales) = module.child("._scale") else { return Ok(None) };
    let parts = module.siblings(&["input_scale", "output_scale"]);
    scaled::eight_bit_weight(module, name_of(module, codes), codes, scales, None, parts).map(Some)
}

fn name_of(module: &Module<'_>, codes: usize) -> String {
    if module.has_dtype(codes, &[Dtype::I8]) { "quanto 8-bit" } else { "quanto fp8" }.to_owned()
}
