//! FP8 and INT8 of every library: one code per byte, and scales by block, row, column or tensor.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, encoding_of};
use super::module::{MatrixDims, Module};
use super::quantised::{QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;

const FP8: &[Dtype] = &[Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::F8_E4M3FNUZ, Dtype::F8_E5M2FNUZ];

/// The maximum number of codes that are read to determine how many bits they use.
const SAMPLE: u64 = 64 << 10;

/// The default rows and columns that share a scale (DeepSeek-V3).
const BLOCK: [u64; 2] = [128, 128];

/// Recognises the tensors of scales.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let fp8 = module.has_dtype(codes, FP8);
    if !fp8 && !module.has_dtype(codes, &[Dtype::I8]) {
        return Ok(None);
    }
    let absmax = module.sibling("SCB").filter(|_| !fp8);
    let scales = ["_scale_inv", "_scale"].into_iter().find_map(|ending| module.child(ending));
    let Some(scales) = absmax.or(scales) else { return Ok(None) };
    let zeros = module.child("_zero_point").filter(|_| !fp8);
    let name = match (absmax.is_some(), fp8) {
        (true, _) => "bitsandbytes int8".to_owned(),
        (false, true) => "fp8 with scales".to_owned(),
        (false, false) => match bits(module, codes) {
            8 => "int8 with scales".to_owned(),
            fewer => format!("int {fewer}-bit"),
        },
    };
    let parts =
        module.siblings(&["weight_format", "input_scale", "weight_shape", "weight_zero_point"]);
    let parts = parts.into_iter().filter(|part| Some(*part) != zeros).collect();
    let mut weight = eight_bit_weight(module, name, codes, scales, zeros, parts)?;
    if let (Some(_), Some(scale)) = (absmax, &mut weight.quantised.scale) {
        // The stored number is the largest magnitude of a row, which has the code 127.
        scale.factor = 1.0 / 127.0;
    }
    Ok(Some(weight))
}

/// Returns the number of bits that signed codes use, judged by the first ones: libraries store shorter codes in bytes, too.
pub(super) fn bits(module: &Module<'_>, codes: usize) -> u32 {
    let sample = module.leading_bytes(codes, SAMPLE).unwrap_or_default();
    let wide = |code: &u8| {
        let code = *code as i8;
        9 - if code < 0 { !code } else { code }.leading_zeros()
    };
    sample.iter().map(wide).max().unwrap_or(8).clamp(2, 8)
}

/// Creates a weight with codes of eight bits.
pub(super) fn eight_bit_weight(
    module: &Module<'_>,
    name: String,
    codes: usize,
    scales: usize,
    zeros: Option<usize>,
    parts: Vec<usize>,
) -> Result<RecognisedWeight, String> {
    let Some(dims) = module.dims(codes) else {
        return Err("its codes are not a matrix".to_owned());
    };
    let encoding = match (module.tensor(scales).dtype, module.has_dtype(codes, FP8)) {
        // E8M0 without its own type.
        (Dtype::U8, true) => Some(GridEncoding::Exponents),
        _ => encoding_of(module.tensor(scales)),
    };
    let encoding = encoding.ok_or("its scales have an unsupported type")?;
    let [rows, columns] = scale_dims(dims, &module.tensor(scales).shape).ok_or_else(|| {
        format!("the shape of its scales {:?} does not fit", module.tensor(scales).shape)
    })?;
    let block = block(module, dims, [rows, columns]).ok_or("its block size is unknown")?;
    let grid = |tensor, encoding| Grid::new(tensor, [rows, columns], encoding);
    let zero = match zeros {
        None => ZeroPoint::None,
        Some(zeros) if module.elements(zeros) == module.elements(scales) => {
            ZeroPoint::Before(grid(zeros, GridEncoding::Numbers))
        }
        Some(_) => {
            return Err(
                "the number of its zero points differs from the number of its scales".to_owned()
            );
        }
    };
    let quantised = QuantisedWeight {
        scale: Some(grid(scales, encoding)),
        block,
        zero_point: zero,
        ..QuantisedWeight::new(
            name,
            [dims.rows, dims.columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: dims.columns,
                rows: dims.rows,
                packing: CodePacking::RowStream { bits: 8 },
            },
            CodeTable::from_dtype(module.tensor(codes).dtype)
                .ok_or("the type of its codes is unknown")?,
        )
    };
    Ok(RecognisedWeight::new(quantised, module.tensor(codes).shape.clone(), parts))
}

/// Returns the rows and columns of the scales of each matrix.
fn scale_dims(dims: MatrixDims, shape: &[u64]) -> Option<[u64; 2]> {
    match (dims.matrices, shape) {
        (1, [] | [1]) => Some([1, 1]),
        (1, [rows]) if *rows == dims.rows => Some([dims.rows, 1]),
        (_, [.., matrices, rows, 1, columns, 1]) if *matrices == dims.matrices => {
            Some([*rows, *columns])
        }
        (1, [rows, 1, columns, 1]) => Some([*rows, *columns]),
        (1, [rows, columns]) => Some([*rows, *columns]),
        (1, [1, rows, columns]) => Some([*rows, *columns]),
        (matrices, [each]) if *each == matrices => Some([1, 1]),
        (matrices, [each, rows]) if *each == matrices && *rows == dims.rows => Some([dims.rows, 1]),
        (matrices, [outer @ .., rows, columns])
            if tensorseal_format::strides::element_count(outer) == Some(matrices) =>
        {
            Some([*rows, *columns])
        }
        _ => None,
    }
}

/// Returns the rows and columns that share a scale. Among those that fit the shapes, the configuration has precedence
/// over the default.
fn block(module: &Module<'_>, dims: MatrixDims, scales: [u64; 2]) -> Option<[u64; 2]> {
    let all = [dims.rows, dims.columns];
    // A single scale belongs to all, however large a block is.
    let fits = |block: &[u64; 2]| {
        [0, 1].iter().all(|axis| {
            let (block, count) = (block[*axis], scales[*axis]);
            count == 1 || block > 0 && all[*axis].div_ceil(block) == count
        })
    };
    let known = module.config.block.into_iter().chain([BLOCK]).find(fits);
    let even = |axis: usize| match (scales[axis].max(1), &known) {
        (1, _) => Some(all[axis]),
        (_, Some(block)) => Some(block[axis]),
        // Without a known block size, blocks must not be cut off.
        (count, None) => all[axis].is_multiple_of(count).then(|| all[axis] / count),
    };
    Some([even(0)?, even(1)?])
}
