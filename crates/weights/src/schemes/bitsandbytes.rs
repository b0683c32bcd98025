//! bitsandbytes: bytes of two 4-bit indices into a table of 16 values, and a scale for each block of elements.

use super::RecognisedWeight;
use super::codes::{CodePacking, HIGH_FIRST, PackedCodes};
use super::grid::{Grid, GridEncoding};
use super::module::Module;
use super::quantised::QuantisedWeight;
use super::table::CodeTable;
use serde::Deserialize;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// The description of how a tensor was quantised: JSON in a tensor of bytes.
#[derive(Debug, Deserialize)]
struct QuantState {
    blocksize: u64,
    shape: Vec<u64>,
    nested_blocksize: Option<u64>,
    nested_offset: Option<f64>,
}

/// Recognises the tensors that are named after the weight.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let kinds = [
        (".quant_state.bitsandbytes__nf4", "bitsandbytes nf4"),
        (".quant_state.bitsandbytes__fp4", "bitsandbytes fp4"),
    ];
    let quant_state_and_name =
        kinds.iter().find_map(|(ending, name)| Some((module.child(ending)?, *name)));
    let Some((quant_state, name)) =
        quant_state_and_name.filter(|_| module.has_dtype(codes, &[Dtype::U8, Dtype::I8]))
    else {
        return Ok(None);
    };
    let state: Option<QuantState> = module
        .metadata_bytes(quant_state)
        .and_then(|quant_state| serde_json::from_slice(&quant_state).ok());
    let state = state.ok_or("its quant_state cannot be read")?;
    let (Some(scales), Some(map)) = (module.child(".absmax"), module.child(".quant_map")) else {
        return Err("its absmax or quant_map is missing".to_owned());
    };
    let block = state.blocksize;
    // Each row of the matrix is a block; the last one may be cut off.
    let elements = strides::element_count(&state.shape).filter(|elements| *elements > 0);
    let (Some(elements), true) = (elements, block > 0 && block.is_multiple_of(2)) else {
        return Err("its quant_state has an invalid shape or blocksize".to_owned());
    };
    if elements.div_ceil(2) != module.tensor(codes).bytes {
        return Err(format!("its shape {:?} does not fit its codes", state.shape));
    }
    let blocks = elements.div_ceil(block);
    let encoding = match state.nested_blocksize.zip(state.nested_offset) {
        None => GridEncoding::Numbers,
        Some((block, offset)) if block > 0 => {
            let (Some(table), Some(scales)) =
                (module.child(".nested_quant_map"), module.child(".nested_absmax"))
            else {
                return Err("its nested_absmax or nested_quant_map is missing".to_owned());
            };
            GridEncoding::Nested { table, scales, block, offset }
        }
        Some(_) => return Err("its quant_state has an invalid nested_blocksize".to_owned()),
    };
    let expected = if matches!(encoding, GridEncoding::Numbers) { Dtype::F32 } else { Dtype::U8 };
    if !module.has_dtype(scales, &[expected]) || !module.has_dtype(map, &[Dtype::F32]) {
        return Err("its scales have an unsupported type".to_owned());
    }
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [blocks, 1], encoding)),
        block: [1, block],
        ..QuantisedWeight::new(
            name,
            [blocks, block.min(elements)],
            PackedCodes {
                tensor: codes,
                unit: 1,
                row: block.min(elements).div_ceil(2),
                rows: blocks,
                packing: CodePacking::Words { bits: 4, places: HIGH_FIRST },
            },
            CodeTable::Tensor { tensor: map, len: 16 },
        )
    };
    Ok(Some(RecognisedWeight::new(quantised, state.shape, vec![quant_state])))
}
