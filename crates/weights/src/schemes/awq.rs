//! AWQ: words with codes of eight outputs (GEMM) or eight inputs (GEMV), and scales and zero points for groups of inputs.

use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, WORDS};

/// The places in a word of the codes of eight neighbouring outputs (the GEMM layout of AutoAWQ, in the order that tensor
/// cores need).
const PLACES: &[u8] = &[0, 4, 1, 5, 2, 6, 3, 7];

/// Recognises `qweight` [inputs, outputs / 8], `scales` [groups, outputs], `qzeros` [groups, outputs / 8].
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let (Some(scales), true) = (module.sibling("scales"), module.has_dtype(codes, WORDS)) else {
        return Ok(None);
    };
    let (Some([inputs, words]), Some([groups, outputs])) =
        (module.matrix(codes), module.matrix(scales))
    else {
        return Ok(None);
    };
    if !module.has_dtype(scales, NUMBERS) {
        return Ok(None);
    }
    if words.checked_mul(8) != Some(outputs) {
        return recognise_gemv(module, codes, scales);
    }
    let zero = match module.sibling("qzeros").filter(|zeros| module.has_dtype(*zeros, WORDS)) {
        None => return Err("its zero points are missing".to_owned()),
        Some(tensor) => {
            let encoding = GridEncoding::PackedRows {
                bits: 4,
                unit_bits: 32,
                add: 0.0,
                places: Some(PLACES),
                row: words,
            };
            ZeroPoint::Before(Grid::new(tensor, [groups, outputs], encoding))
        }
    };
    let quantised = QuantisedWeight {
        transposed: true,
        scale: Some(Grid::new(scales, [groups, outputs], GridEncoding::Numbers)),
        block: [module.config.block(module.name(), inputs, groups), 1],
        zero_point: zero,
        ..QuantisedWeight::new(
            "awq 4-bit",
            [inputs, outputs],
            PackedCodes {
                tensor: codes,
                unit: 4,
                row: words,
                rows: inputs,
                packing: CodePacking::Words { bits: 4, places: PLACES },
            },
            CodeTable::with_zero_point(0),
        )
    };
    Ok(Some(RecognisedWeight::new(quantised, vec![outputs, inputs], Vec::new())))
}

/// Recognises `qweight` [outputs, inputs / 8], `scales` [outputs, groups] and `qzeros` [outputs, groups / 8], the last two
/// padded with zeros (the GEMV layout of AutoAWQ).
fn recognise_gemv(
    module: &Module<'_>,
    codes: usize,
    scales: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(zeros) = module.sibling("qzeros").filter(|zeros| module.has_dtype(*zeros, WORDS))
    else {
        return Ok(None);
    };
    let (Some([outputs, words]), Some([scaled, row]), Some([zeroed, zero_words])) =
        (module.matrix(codes), module.matrix(scales), module.matrix(zeros))
    else {
        return Ok(None);
    };
    // GPTQ has zero points by group instead.
    if scaled != outputs || zeroed != outputs || zero_words.checked_mul(8) != Some(row) {
        return Ok(None);
    }
    let inputs = words.saturating_mul(8);
    let groups = groups(module, scales, inputs, row)?;
    let grid = |tensor, encoding| Grid::new(tensor, [outputs, groups], encoding);
    let encoding = GridEncoding::PackedRows {
        bits: 4,
        unit_bits: 32,
        add: 0.0,
        places: None,
        row: zero_words,
    };
    let quantised = QuantisedWeight {
        scale: Some(grid(scales, GridEncoding::Padded { row })),
        block: [1, inputs.div_ceil(groups)],
        zero_point: ZeroPoint::Before(grid(zeros, encoding)),
        ..QuantisedWeight::new(
            "awq 4-bit",
            [outputs, inputs],
            PackedCodes {
                tensor: codes,
                unit: 4,
                row: words,
                rows: outputs,
                packing: CodePacking::RowStream { bits: 4 },
            },
            CodeTable::with_zero_point(0),
        )
    };
    Ok(Some(RecognisedWeight::new(quantised, vec![outputs, inputs], Vec::new())))
}

/// Returns the number of groups in a row, from its scales that are not padding.
fn groups(module: &Module<'_>, scales: usize, inputs: u64, row: u64) -> Result<u64, String> {
    let configured = module.config.group_size(module.name()).filter(|size| *size > 0);
    let configured = configured.map(|size| inputs.div_ceil(size));
    let first = module.first_numbers(scales, row).unwrap_or_default();
    let nonzero = first.iter().position(|scale| *scale == 0.0).unwrap_or(first.len()) as u64;
    [Some(nonzero), configured]
        .into_iter()
        .flatten()
        .find(|groups| *groups > 0 && *groups <= row && inputs.is_multiple_of(*groups))
        .ok_or_else(|| "its number of groups is unknown".to_owned())
}
