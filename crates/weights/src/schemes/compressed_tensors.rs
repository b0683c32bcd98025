//! compressed-tensors, the format of llm-compressor: words with codes of consecutive inputs, stored as unsigned numbers
//! with an offset; or bytes of two FP4 codes.

use super::codes::{CodePacking, IN_ORDER, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{GlobalScale, GroupIndex, QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, WORDS};
use tensorseal_base::dtype::Dtype;

/// Recognises `weight_packed` and `weight_scale`.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scales) = module.sibling("weight_scale") else { return Ok(None) };
    if module.has_dtype(codes, &[Dtype::U8]) {
        return fp4(module, codes, scales);
    }
    let ([rows, words], [scaled, groups]) = match (module.matrix(codes), module.matrix(scales)) {
        (Some(codes), Some(scales)) => (codes, scales),
        _ => return Ok(None),
    };
    if !module.has_dtype(codes, WORDS) || !module.has_dtype(scales, NUMBERS) || scaled != rows {
        return Ok(None);
    }
    let shape_tensor = module.sibling("weight_shape");
    let (bits, inputs, packing) = layout(module, shape_tensor, rows, words)?;
    let index = module.sibling("weight_g_idx");
    let grid = |tensor, encoding| Grid::new(tensor, [rows, groups], encoding);
    let (table, zero) = match module.sibling("weight_zero_point") {
        None => (CodeTable::with_zero_point(1 << (bits - 1)), ZeroPoint::None),
        Some(zeros) if module.has_dtype(zeros, WORDS) => {
            let stream = matches!(packing, CodePacking::RowStream { .. });
            (
                CodeTable::with_zero_point(0),
                ZeroPoint::Before(grid(zeros, GridEncoding::PackedColumns { bits, stream })),
            )
        }
        Some(zeros) if module.has_dtype(zeros, &[Dtype::I8]) => (
            CodeTable::with_zero_point(1 << (bits - 1)),
            ZeroPoint::Before(grid(zeros, GridEncoding::Numbers)),
        ),
        Some(_) => return Err("its zero points have an unsupported type".to_owned()),
    };
    let quantised = QuantisedWeight {
        scale: Some(grid(scales, GridEncoding::Numbers)),
        block: [1, module.config.block(module.name(), inputs, groups)],
        zero_point: zero,
        group_index: index.map(|tensor| GroupIndex { tensor, by_row: false }),
        ..QuantisedWeight::new(
            format!("compressed-tensors {bits}-bit"),
            [rows, inputs],
            PackedCodes { tensor: codes, unit: 4, row: words, rows, packing },
            table,
        )
    };
    Ok(Some(RecognisedWeight::new(
        quantised,
        vec![rows, inputs],
        shape_tensor.into_iter().collect(),
    )))
}

/// Returns the packings of codes of this number of bits: one stream, or whole codes in each word (older versions).
fn packings(bits: u64) -> [CodePacking; 2] {
    let places = IN_ORDER.get(..(32 / bits) as usize).unwrap_or(IN_ORDER);
    [CodePacking::RowStream { bits: bits as u32 }, CodePacking::Words { bits: bits as u32, places }]
}

/// Returns the number of words in a row of inputs.
fn words_of(packing: CodePacking, inputs: u64) -> u64 {
    match packing {
        CodePacking::Words { places, .. } => inputs.div_ceil(places.len() as u64),
        CodePacking::RowStream { bits } => inputs.saturating_mul(bits.into()).div_ceil(32),
        _ => 0,
    }
}

/// Returns bits, inputs and packing, from the tensor that states the shape, otherwise from the configuration.
fn layout(
    module: &Module<'_>,
    shape_tensor: Option<usize>,
    rows: u64,
    words: u64,
) -> Result<(u64, u64, CodePacking), String> {
    let configured = module.config.bits(module.name());
    let Some(shape_tensor) = shape_tensor else {
        let bits = configured.ok_or("the bit width of its codes is unknown")?;
        if !matches!(bits, 1..=8) {
            return Err(format!("codes of {bits} bits are not supported"));
        }
        let inputs = words.saturating_mul(32) / bits;
        return Ok((bits, inputs, packings(bits)[0]));
    };
    let shape = module.shape_from(shape_tensor).ok_or("its weight_shape cannot be read")?;
    let &[outputs, inputs] = &shape[..] else {
        return Err(format!("its weight_shape has {} dimensions", shape.len()));
    };
    // The configuration has precedence if several fit: 7 and 8 bits may need the same number of words.
    let all = configured
        .into_iter()
        .chain([8, 4, 2, 1, 7, 6, 5, 3])
        .filter(|bits| (1..=8).contains(bits));
    let mut all = all.flat_map(|bits| packings(bits).map(|packing| (bits, inputs, packing)));
    all.find(|(_, _, packing)| outputs == rows && words_of(*packing, inputs) == words).ok_or_else(
        || format!("its weight_shape {shape:?} does not fit codes of {rows} rows of {words} words"),
    )
}

/// Recognises `nvfp4-pack-quantized` (an E4M3 scale for each 16 codes and one number that divides all) and
/// `mxfp4-pack-quantized` (an E8M0 scale for each 32 codes).
fn fp4(
    module: &Module<'_>,
    codes: usize,
    scales: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let (Some([rows, bytes]), Some([_, groups])) = (module.matrix(codes), module.matrix(scales))
    else {
        return Ok(None);
    };
    let columns = bytes.saturating_mul(2);
    let global = module.sibling("weight_global_scale");
    let (name, group, encoding) = match module.tensor(scales).dtype {
        Dtype::F8_E4M3 if global.is_some() => ("nvfp4", 16, GridEncoding::E4m3),
        Dtype::U8 | Dtype::F8_E8M0 => ("mxfp4", 32, GridEncoding::Exponents),
        _ => return Err("its scales have an unsupported type".to_owned()),
    };
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [rows, groups], encoding)),
        block: [1, group],
        global_scale: global.map(|tensor| GlobalScale {
            tensor,
            divides: true,
            factor: 1.0,
            each: false,
        }),
        ..QuantisedWeight::new(
            name,
            [rows, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: bytes,
                rows,
                packing: CodePacking::RowStream { bits: 4 },
            },
            CodeTable::e2m1(),
        )
    };
    let parts = module.siblings(&["input_global_scale"]);
    Ok(Some(RecognisedWeight::new(quantised, vec![rows, columns], parts)))
}
