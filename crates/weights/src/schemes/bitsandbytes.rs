//! bitsandbytes: two codes of 4 bits a byte into a table of 16 values, a scale for each block of elements; or INT8 by row.

use super::RecognisedWeight;
use super::codes::{CodePacking, HIGH_FIRST, PackedCodes};
use super::grid::{Grid, GridEncoding};
use super::module::Module;
use super::quantised::QuantisedWeight;
use super::table::CodeTable;
use serde::Deserialize;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// The note on how a tensor was quantised: JSON, in a tensor of bytes.
#[derive(Debug, Deserialize)]
struct QuantState {
    blocksize: u64,
    shape: Vec<u64>,
    nested_blocksize: Option<u64>,
    nested_offset: Option<f64>,
}

/// By the tensors named after the weight.
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let kinds = [
        (".quant_state.bitsandbytes__nf4", "bitsandbytes nf4"),
        (".quant_state.bitsandbytes__fp4", "bitsandbytes fp4"),
    ];
    let found = kinds.iter().find_map(|(ending, name)| Some((module.child(ending)?, *name)));
    let Some((note, name)) = found.filter(|_| module.has_dtype(codes, &[Dtype::U8, Dtype::I8]))
    else {
        return Ok(None);
    };
    let state: Option<QuantState> =
        module.metadata_bytes(note).and_then(|note| serde_json::from_slice(&note).ok());
    let state = state.ok_or("the note on its quantisation cannot be read")?;
    let (Some(scales), Some(map)) = (module.child(".absmax"), module.child(".quant_map")) else {
        return Err("its scales or the map of its codes are missing".to_owned());
    };
    let block = state.blocksize;
    // A row of the matrix is a block; the last one may be cut off.
    let elements = strides::element_count(&state.shape).filter(|elements| *elements > 0);
    let (Some(elements), true) = (elements, block > 0 && block.is_multiple_of(2)) else {
        return Err("the note on its quantisation does not fit".to_owned());
    };
    if elements.div_ceil(2) != module.tensor(codes).bytes {
        return Err(format!("its shape {:?} does not fit its codes", state.shape));
    }
    let blocks = elements.div_ceil(block);
    let kept = match state.nested_blocksize.zip(state.nested_offset) {
        None => GridEncoding::Numbers,
        Some((block, offset)) if block > 0 => {
            let (Some(table), Some(scales)) =
                (module.child(".nested_quant_map"), module.child(".nested_absmax"))
            else {
                return Err("the scales of its scales are missing".to_owned());
            };
            GridEncoding::Nested { table, scales, block, offset }
        }
        Some(_) => return Err("the scales of its scales do not fit".to_owned()),
    };
    let wanted = if matches!(kept, GridEncoding::Numbers) { Dtype::F32 } else { Dtype::U8 };
    if !module.has_dtype(scales, &[wanted]) || !module.has_dtype(map, &[Dtype::F32]) {
        return Err("its scales are of another type".to_owned());
    }
    let quantised = QuantisedWeight {
        scale: Some(Grid::new(scales, [blocks, 1], kept)),
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
    Ok(Some(RecognisedWeight::new(quantised, state.shape, vec![note])))
}
