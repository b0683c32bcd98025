//! BitNet, as transformers packs it: four rows of ternary codes in a byte, one scale.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::NUMBERS;
use super::module::Module;
use super::quantised::{GlobalScale, QuantisedWeight};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;

/// Most bytes that are looked at to tell whether their codes are ternary.
const SAMPLE: u64 = 64 << 10;

/// Rows in a byte.
const PLANES: u64 = 4;

/// By `weight` U8 [outputs / 4, inputs] and `weight_scale` of one element.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scale) =
        module.sibling("weight_scale").filter(|_| module.has_dtype(codes, &[Dtype::U8]))
    else {
        return Ok(None);
    };
    let Some([rows, columns]) = module.matrix(codes) else { return Ok(None) };
    // Ternary codes leave one of four out, and know no zero point: other bytes with one scale are something else.
    let sample = module.leading_bytes(codes, SAMPLE).unwrap_or_default();
    let is_ternary = sample.iter().all(|byte| byte & byte >> 1 & 0b0101_0101 == 0);
    if !is_ternary || module.sibling("weight_zero_point").is_some() {
        return Ok(None);
    }
    if module.elements(scale) != 1 || !module.has_dtype(scale, NUMBERS) {
        return Ok(None);
    }
    let outputs = rows.saturating_mul(PLANES);
    // `bitlinear`, the default of transformers, divides by what is stored, `autobitlinear` multiplies. Without a
    // configuration: one over the mean magnitude of weights is large.
    let is_large =
        || module.first_numbers(scale, 1).is_some_and(|scale| scale.iter().any(|one| *one > 1.0));
    let divides = match module.config.text("linear_class") {
        Some(class) => class != "autobitlinear",
        None => module.config.method.as_deref() == Some("bitnet") || is_large(),
    };
    let quantised = QuantisedWeight {
        global_scale: Some(GlobalScale { tensor: scale, divides, factor: 1.0, each: false }),
        ..QuantisedWeight::new(
            "bitnet",
            [outputs, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: columns,
                rows,
                packing: CodePacking::Planes { bits: 2, planes: PLANES, high_first: false },
            },
            CodeTable::with_zero_point(1),
        )
    };
    Ok(Some(RecognisedWeight::new(quantised, vec![outputs, columns], Vec::new())))
}
