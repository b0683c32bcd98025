//! MXFP4 of gpt-oss: bytes of two FP4 codes in blocks of 32, an exponent for each.

use super::Recognised;
use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept};
use super::module::Module;
use super::quantised::Quantised;
use super::table::Table;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::order;

/// By `…_blocks` [experts, outputs, groups, 16] and `…_scales` [experts, outputs, groups]. The weight is what these
/// models are made of otherwise: [experts, inputs, outputs].
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let Some(scales) = module.under("_scales") else { return Ok(None) };
    let (blocks, scaled) = (&module.tensor(codes).shape, &module.tensor(scales).shape);
    let [outer @ .., groups, 16] = &blocks[..] else { return Ok(None) };
    let are_bytes =
        module.is(codes, &[Dtype::U8]) && module.is(scales, &[Dtype::U8, Dtype::F8_E8M0]);
    let (true, Some((rows, experts))) = (are_bytes, outer.split_last()) else { return Ok(None) };
    if scaled.split_last() != Some((groups, outer)) {
        return Err(format!("its scales {scaled:?} do not fit its codes {blocks:?}"));
    }
    let columns = groups.saturating_mul(32);
    if order::elements(experts).is_none_or(|experts| experts == 0) {
        return Err("it has no elements, or too many to count".to_owned());
    }
    let quantised = Quantised {
        transposed: true,
        scale: Some(Grid::new(scales, [*rows, *groups], Kept::Exponents)),
        block: [1, 32],
        ..Quantised::new(
            "mxfp4",
            [*rows, columns],
            Codes {
                tensor: codes,
                unit: 1,
                row: groups.saturating_mul(16),
                rows: *rows,
                packing: Packing::Stream { bits: 4 },
            },
            Table::e2m1(),
        )
    };
    let shape = experts.iter().copied().chain([columns, *rows]).collect();
    Ok(Some(Recognised::new(quantised, shape, Vec::new())))
}
