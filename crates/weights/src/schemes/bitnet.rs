//! BitNet as packed by transformers: bytes with ternary codes of four rows, and one scale.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::NUMBERS;
use super::module::Module;
use super::quantised::{GlobalScale, QuantisedWeight};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;

/// The maximum number of bytes that are read to determine whether codes are ternary.
const SAMPLE: u64 = 64 << 10;

/// The number of rows in a byte.
const PLANES: u64 = 4;

/// Recognises `weight` U8 [outputs / 4, inputs] and `weight_scale` of one element.
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
    // Ternary codes use three of four values and have no zero point. Other bytes with one scale are another scheme.
    let sample = module.leading_bytes(codes, SAMPLE).unwrap_or_default();
    let is_ternary = sample.iter().all(|byte| byte & byte >> 1 & 0b0101_0101 == 0);
    if !is_ternary || module.sibling("weight_zero_point").is_some() {
        return Ok(None);
    }
    if module.elements(scale) != 1 || !module.has_dtype(scale, NUMBERS) {
        return Ok(None);
    }
    let outputs = rows.saturating_mul(PLANES);
    // `bitlinear`, the default of transformers, divides by the stored scale; `autobitlinear` multiplies. Without a
    // configuration, a large scale is the reciprocal of the mean magnitude of weights.
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
