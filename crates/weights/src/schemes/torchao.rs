//! torchao: the parts of a tensor subclass as separate tensors; their types and shapes determine the subclass.

use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{GlobalScale, QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, scaled};
use tensorseal_base::dtype::Dtype;

/// Recognises `_weight_qdata`, `_weight_scale` and, for some subclasses, `_weight_zero_point`.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let Some(scales) = module.sibling("_weight_scale") else { return Ok(None) };
    let zeros = module.sibling("_weight_zero_point");
    let parts = module.siblings(&[
        "_weight_act_pre_scale",
        "_weight_act_per_tensor_scale",
        "_weight_act_quant_scale",
    ]);
    match (module.tensor(codes).dtype, module.tensor(scales).dtype) {
        (Dtype::I8, _) if zeros.is_some_and(|zeros| module.has_dtype(zeros, NUMBERS)) => {
            int4(module, codes, scales, zeros, parts).map(Some)
        }
        (Dtype::U8 | Dtype::F8_E4M3 | Dtype::F8_E5M2, Dtype::F8_E8M0 | Dtype::F8_E4M3) => {
            microscaled(module, codes, scales, parts).map(Some)
        }
        (dtype, _) if CodeTable::from_dtype(dtype).is_some() && dtype != Dtype::U8 => {
            let name = match dtype {
                Dtype::I8 => format!("torchao {}-bit", scaled::bits(module, codes)),
                _ => "torchao fp8".to_owned(),
            };
            scaled::eight_bit_weight(module, name, codes, scales, zeros, parts).map(Some)
        }
        _ => Ok(None),
    }
}

/// Recognises Int4Tensor: bytes of two signed codes, and scales and offsets [groups, outputs].
fn int4(
    module: &Module<'_>,
    codes: usize,
    scales: usize,
    zeros: Option<usize>,
    parts: Vec<usize>,
) -> Result<RecognisedWeight, String> {
    let (Some([rows, bytes]), Some([groups, _]), Some(zeros)) =
        (module.matrix(codes), module.matrix(scales), zeros)
    else {
        return Err("its codes or scales are not matrices".to_owned());
    };
    let columns = bytes.saturating_mul(2);
    let grid = |tensor| Grid::new(tensor, [rows, groups], GridEncoding::Transposed);
    if module.tensor(scales).shape != [groups, rows] || !module.has_dtype(scales, NUMBERS) {
        return Err("the shape of its scales does not fit".to_owned());
    }
    let quantised = QuantisedWeight {
        scale: Some(grid(scales)),
        block: [1, columns.div_ceil(groups)],
        zero_point: ZeroPoint::After(grid(zeros)),
        ..QuantisedWeight::new(
            "torchao 4-bit",
            [rows, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: bytes,
                rows,
                packing: CodePacking::RowStream { bits: 4 },
            },
            CodeTable::signed(4),
        )
    };
    Ok(RecognisedWeight::new(quantised, vec![rows, columns], parts))
}

/// Recognises NVFP4Tensor and MXTensor: FP4 or FP8 codes with a scale for each 16 or 32, perhaps in the order that tensor
/// cores need.
fn microscaled(
    module: &Module<'_>,
    codes: usize,
    scales: usize,
    parts: Vec<usize>,
) -> Result<RecognisedWeight, String> {
    let Some(dims) = module.dims(codes) else {
        return Err("its codes are not a matrix".to_owned());
    };
    let exponents = module.has_dtype(scales, &[Dtype::F8_E8M0]);
    let (name, group) = match (exponents, module.tensor(codes).dtype) {
        (true, Dtype::U8) => ("mxfp4", 32),
        (true, _) => ("mxfp8", 32),
        (false, Dtype::U8) => ("nvfp4", 16),
        (false, _) => return Err("its scales have an unsupported type".to_owned()),
    };
    let (bits, table) = match module.tensor(codes).dtype {
        Dtype::U8 => (4, Some(CodeTable::e2m1())),
        dtype => (8, CodeTable::from_dtype(dtype)),
    };
    let columns = dims.columns.saturating_mul(8 / bits);
    let groups = columns.div_ceil(group);
    let is_plain = module.tensor(scales).shape.last() == Some(&groups);
    let encoding = match (is_plain, exponents) {
        (false, exponents) => GridEncoding::Swizzled { exponents },
        (true, true) => GridEncoding::Exponents,
        (true, false) => GridEncoding::E4m3,
    };
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [dims.rows, groups], encoding)),
        block: [1, group],
        global_scale: module.sibling("_weight_per_tensor_scale").map(|tensor| GlobalScale {
            tensor,
            divides: false,
            factor: 1.0,
            each: dims.matrices > 1 && module.elements(tensor) == dims.matrices,
        }),
        ..QuantisedWeight::new(
            name,
            [dims.rows, columns],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: dims.columns,
                rows: dims.rows,
                packing: CodePacking::RowStream { bits: bits as u32 },
            },
            table.ok_or("the type of its codes is unknown")?,
        )
    };
    let mut shape = module.tensor(codes).shape.clone();
    if let Some(last) = shape.last_mut() {
        *last = columns;
    }
    Ok(RecognisedWeight::new(quantised, shape, parts))
}
