//! AWQ: codes of eight outputs in a word, scales and zero points by group of inputs.

use super::codes::{Codes, Packing};
use super::grid::{Grid, Kept, NUMBERS};
use super::module::Module;
use super::quantised::{Quantised, Zero};
use super::table::Table;
use super::{Recognised, WORDS};

/// Where in a word the codes of eight neighbouring outputs are (AutoAWQ's GEMM layout, made for the order in which
/// tensor cores take them).
const PLACES: &[u8] = &[0, 4, 1, 5, 2, 6, 3, 7];

/// By `qweight` [inputs, outputs / 8], `scales` [groups, outputs], `qzeros` [groups, outputs / 8].
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let (Some(scales), true) = (module.beside("scales"), module.is(codes, WORDS)) else {
        return Ok(None);
    };
    let (Some([inputs, words]), Some([groups, outputs])) =
        (module.matrix(codes), module.matrix(scales))
    else {
        return Ok(None);
    };
    if !module.is(scales, NUMBERS) || words.checked_mul(8) != Some(outputs) {
        return Ok(None);
    }
    let zero = match module.beside("qzeros").filter(|zeros| module.is(*zeros, WORDS)) {
        None => return Err("its zero points are missing".to_owned()),
        Some(tensor) => {
            let kept =
                Kept::Along { bits: 4, unit_bits: 32, add: 0.0, places: Some(PLACES), row: words };
            Zero::Before(Grid { tensor, rows: groups, columns: outputs, kept, factor: 1.0 })
        }
    };
    let quantised = Quantised {
        name: "awq 4-bit".to_owned(),
        rows: inputs,
        columns: outputs,
        transposed: true,
        codes: Codes {
            tensor: codes,
            unit: 4,
            row: words,
            rows: inputs,
            packing: Packing::Words { bits: 4, places: PLACES },
        },
        table: Table::less(0),
        scale: Some(Grid {
            tensor: scales,
            rows: groups,
            columns: outputs,
            kept: Kept::Numbers,
            factor: 1.0,
        }),
        block: [inputs.div_ceil(groups).max(1), 1],
        zero,
        global: None,
        order: None,
    };
    Ok(Some(Recognised::new(quantised, vec![outputs, inputs], Vec::new())))
}
