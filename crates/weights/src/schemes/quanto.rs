//! optimum-quanto: groups as rows of a matrix, the first half (or quarter) of them in the lower bits of a byte; or a
//! code a byte with a scale for each row.

use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept, NUMBERS};
use super::module::Module;
use super::quantised::{Quantised, Zero};
use super::table::Table;
use super::{Recognised, scaled};
use tensorseal_base::dtype::Dtype;

/// By `weight._data._data` U8 [groups / codes of a byte, codes of a group], `weight._scale` and `weight._shift`
/// [groups, 1]. What the dimensions of the weight are is said by no tensor.
pub(super) fn of_groups(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let (Some(scales), Some(shifts)) = (module.under("._scale"), module.under("._shift")) else {
        return Ok(None);
    };
    let (Some([rows, columns]), true) =
        (module.matrix(codes), module.is(codes, &[Dtype::U8]) && module.is(scales, NUMBERS))
    else {
        return Ok(None);
    };
    if !module.is(shifts, NUMBERS) {
        return Err("its shifts are of another type".to_owned());
    }
    let groups = module.elements(scales);
    let planes = groups.div_ceil(rows);
    if !matches!(planes, 2 | 4) || module.tensor(scales).shape.first() != Some(&groups) {
        return Err("its scales are not as many as its groups".to_owned());
    }
    let grid =
        |tensor, factor| Grid { tensor, rows: groups, columns: 1, kept: Kept::Numbers, factor };
    let quantised = Quantised {
        scale: Some(grid(scales, 1.0)),
        block: [1, columns],
        zero: Zero::After(grid(shifts, -1.0)),
        ..Quantised::new(
            format!("quanto {}-bit", 8 / planes),
            [groups, columns],
            Codes {
                tensor: codes,
                unit: 1,
                row: columns,
                rows,
                packing: Packing::Planes { bits: (8 / planes) as u32, planes, high_first: false },
            },
            Table::less(0),
        )
    };
    let shape = vec![groups, columns];
    let parts = module.all_beside(&["input_scale", "output_scale"]);
    Ok(Some(Recognised { quantised, shape, flattened: true, parts }))
}

/// By `weight._data` and `weight._scale`.
pub(super) fn of_rows(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let Some(scales) = module.under("._scale") else { return Ok(None) };
    let parts = module.all_beside(&["input_scale", "output_scale"]);
    scaled::by(module, named(module, codes), codes, scales, None, parts).map(Some)
}

fn named(module: &Module<'_>, codes: usize) -> String {
    if module.is(codes, &[Dtype::I8]) { "quanto 8-bit" } else { "quanto fp8" }.to_owned()
}
