//! MXFP4 of gpt-oss: bytes of two FP4 codes, and an exponent for each block of 32 codes.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding};
use super::module::Module;
use super::quantised::QuantisedWeight;
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// Recognises `…_blocks` [experts, outputs, groups, 16] and `…_scales` [experts, outputs, groups]. The weight has the
/// shape of these models without quantisation: [experts, inputs, outputs].
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scales) = module.child("_scales") else { return Ok(None) };
    let (blocks, scaled) = (&module.tensor(codes).shape, &module.tensor(scales).shape);
    let [outer @ .., groups, 16] = &blocks[..] else { return Ok(None) };
    let are_bytes = module.has_dtype(codes, &[Dtype::U8])
        && module.has_dtype(scales, &[Dtype::U8, Dtype::F8_E8M0]);
    let (true, Some((rows, experts))) = (are_bytes, outer.split_last()) else { return Ok(None) };
    if scaled.split_last() != Some((groups, outer)) {
        return Err(format!(
            "its scales of shape {scaled:?} do not fit its codes of shape {blocks:?}"
        ));
    }
    let columns = groups.saturating_mul(32);
    if strides::element_count(experts).is_none_or(|experts| experts == 0) {
        return Err("it has no elements, or too many to count".to_owned());
    }
    let quantised = QuantisedWeight {
        transposed: true,
        scale: Some(Grid::new(scales, [*rows, *groups], GridEncoding::Exponents)),
        block: [1, 32],
        ..QuantisedWeight::new(
            "mxfp4",
            [*rows, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: groups.saturating_mul(16),
                rows: *rows,
                packing: CodePacking::RowStream { bits: 4 },
            },
            CodeTable::e2m1(),
        )
    };
    let shape = experts.iter().copied().chain([columns, *rows]).collect();
    Ok(Some(RecognisedWeight::new(quantised, shape, Vec::new())))
}
