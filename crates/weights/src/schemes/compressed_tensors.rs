//! compressed-tensors, as llm-compressor writes it: codes in words along the inputs of each output, offset to be
//! unsigned; or two FP4 codes a byte.

use super::codes::{CodePacking, IN_ORDER, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{GlobalScale, GroupIndex, QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, WORDS};
use tensorseal_base::dtype::Dtype;

/// By `weight_packed` and `weight_scale`.
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
    let note = module.sibling("weight_shape");
    let (bits, inputs, packing) = layout(module, note, rows, words)?;
    let index = module.sibling("weight_g_idx");
    let grid = |tensor, kept| Grid::new(tensor, [rows, groups], kept);
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
        Some(_) => return Err("its zero points are of another type".to_owned()),
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
    Ok(Some(RecognisedWeight::new(quantised, vec![rows, inputs], note.into_iter().collect())))
}

/// Codes of so many bits: as one stream, or whole ones in each word, as older versions pack them.
fn packings(bits: u64) -> [CodePacking; 2] {
    let places = IN_ORDER.get(..(32 / bits) as usize).unwrap_or(IN_ORDER);
    [CodePacking::RowStream { bits: bits as u32 }, CodePacking::Words { bits: bits as u32, places }]
}

/// Words of a row of inputs.
fn words_of(packing: CodePacking, inputs: u64) -> u64 {
    match packing {
        CodePacking::Words { places, .. } => inputs.div_ceil(places.len() as u64),
        CodePacking::RowStream { bits } => inputs.saturating_mul(bits.into()).div_ceil(32),
        _ => 0,
    }
}

/// Bits, inputs and packing: by the shape that is noted beside the codes, else by the configuration.
fn layout(
    module: &Module<'_>,
    note: Option<usize>,
    rows: u64,
    words: u64,
) -> Result<(u64, u64, CodePacking), String> {
    let told = module.config.bits(module.name());
    let Some(note) = note else {
        let bits = told.ok_or("nothing says how many bits its codes have")?;
        if !matches!(bits, 1..=8) {
            return Err(format!("codes of {bits} bits are not known"));
        }
        let inputs = words.saturating_mul(32) / bits;
        return Ok((bits, inputs, packings(bits)[0]));
    };
    let shape = module.shape_from(note).ok_or("its weight_shape cannot be read")?;
    let &[outputs, inputs] = &shape[..] else {
        return Err(format!("its weight_shape has {} dimensions", shape.len()));
    };
    // What the configuration says comes first where several fit: 7 and 8 bits are as many words.
    let all =
        told.into_iter().chain([8, 4, 2, 1, 7, 6, 5, 3]).filter(|bits| (1..=8).contains(bits));
    let mut all = all.flat_map(|bits| packings(bits).map(|packing| (bits, inputs, packing)));
    all.find(|(_, _, packing)| outputs == rows && words_of(*packing, inputs) == words).ok_or_else(|| {
        format!("its weight_shape says {shape:?}, which does not fit codes of {rows} rows of {words} words")
    })
}

/// `nvfp4-pack-quantized`: a scale of type E4M3 for each 16 codes, and one that divides all; `mxfp4-pack-quantized`: one
/// of type E8M0 for each 32.
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
    let (name, group, kept) = match module.tensor(scales).dtype {
        Dtype::F8_E4M3 if global.is_some() => ("nvfp4", 16, GridEncoding::E4m3),
        Dtype::U8 | Dtype::F8_E8M0 => ("mxfp4", 32, GridEncoding::Exponents),
        _ => return Err("its scales are of another type".to_owned()),
    };
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [rows, groups], kept)),
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
