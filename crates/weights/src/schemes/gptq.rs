//! GPTQ: words with codes of consecutive inputs, and scales and zero points for groups of inputs.

use super::codes::{CodePacking, PackedCodes, split_code};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::Module;
use super::quantised::{GroupIndex, QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use super::{RecognisedWeight, WORDS};

/// The supported values of `checkpoint_format`.
const KNOWN: &[&str] = &["gptq", "gptq_v2", "gptq_p"];

/// The maximum number of bytes of zero points that are read to determine how they are stored.
const SAMPLE: u64 = 12 << 10;

/// Recognises `qweight` [inputs · bits / 32, outputs], `scales` [groups, outputs].
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let (Some(scales), true) = (module.sibling("scales"), module.has_dtype(codes, WORDS)) else {
        return Ok(None);
    };
    let (Some([words, columns]), Some([groups, outputs])) =
        (module.matrix(codes), module.matrix(scales))
    else {
        return Ok(None);
    };
    if !module.has_dtype(scales, NUMBERS) || columns != outputs {
        return Ok(None);
    }
    let zeros = module.sibling("qzeros").filter(|zeros| module.has_dtype(*zeros, WORDS));
    let index = module.sibling("g_idx").filter(|index| module.has_dtype(*index, WORDS));
    let bits = bits(module, words, outputs, zeros, index)?;
    let inputs = match index {
        Some(index) => module.elements(index),
        None => words.saturating_mul(32) / bits,
    };
    let layout = GptqFormat::detect(module, zeros, bits)?;
    let middle = 1u8 << (bits - 1);
    let (table, zero) = match zeros {
        None => (CodeTable::with_zero_point(middle), ZeroPoint::None),
        Some(tensor) => {
            let row = module.matrix(tensor).map_or(0, |[_, row]| row);
            let encoding = match layout {
                GptqFormat::Planes => GridEncoding::Split { bits },
                GptqFormat::V1 => {
                    GridEncoding::PackedRows { bits, unit_bits: 32, add: 1.0, places: None, row }
                }
                GptqFormat::V2 => {
                    GridEncoding::PackedRows { bits, unit_bits: 32, add: 0.0, places: None, row }
                }
            };
            let grid = Grid::new(tensor, [groups, outputs], encoding);
            (CodeTable::with_zero_point(0), ZeroPoint::Before(grid))
        }
    };
    let quantised = QuantisedWeight {
        transposed: true,
        scale: Some(Grid::new(scales, [groups, outputs], GridEncoding::Numbers)),
        block: [module.config.block(module.name(), inputs, groups), 1],
        zero_point: zero,
        group_index: index.map(|tensor| GroupIndex { tensor, by_row: true }),
        ..QuantisedWeight::new(
            format!("gptq {bits}-bit"),
            [inputs, outputs],
            PackedCodes {
                tensor: codes,
                unit: 4,
                row: outputs,
                rows: words,
                packing: match layout {
                    GptqFormat::Planes => CodePacking::Split { bits: bits as u32 },
                    _ => CodePacking::ColumnStream { bits: bits as u32 },
                },
            },
            table,
        )
    };
    Ok(Some(RecognisedWeight::new(
        quantised,
        vec![outputs, inputs],
        module.siblings(&["bias_scale"]),
    )))
}

/// Returns the number of bits of a code, from the number of inputs, the zero points, or the configuration.
fn bits(
    module: &Module<'_>,
    words: u64,
    outputs: u64,
    zeros: Option<usize>,
    index: Option<usize>,
) -> Result<u64, String> {
    let all = words.saturating_mul(32);
    let by_shape = match (index, zeros.and_then(|zeros| module.matrix(zeros))) {
        (Some(index), _) => Some((all, module.elements(index))),
        (None, Some([_, row])) => Some((row.saturating_mul(32), outputs)),
        (None, None) => None,
    };
    let bits = match by_shape {
        Some((bits, codes)) if codes > 0 && bits % codes == 0 => bits / codes,
        Some(_) => 0,
        None => module.config.bits(module.name()).ok_or("the bit width of its codes is unknown")?,
    };
    if (1..=8).contains(&bits) {
        Ok(bits)
    } else {
        Err(format!("codes of {bits} bits are not supported"))
    }
}

/// How codes are packed and zero points stored.
#[derive(Clone, Copy, PartialEq)]
enum GptqFormat {
    /// Codes are one stream of bits; one less than the zero points is stored.
    V1,
    /// Codes are one stream of bits; the zero points are stored (`gptq_v2`).
    V2,
    /// Codes are split into planes of bits; the zero points are stored (`gptq_p`). Shapes are the same.
    Planes,
}

impl GptqFormat {
    /// Detects the format. The zero points of a symmetric quantisation are all in the middle, or all one less; otherwise
    /// the configuration decides. Returns an error if the format is unknown or ambiguous.
    fn detect(module: &Module<'_>, zeros: Option<usize>, bits: u64) -> Result<GptqFormat, String> {
        let stated = module.config.text("checkpoint_format");
        if let Some(other) = stated.filter(|stated| !KNOWN.contains(stated)) {
            let other = other.chars().take(40).collect::<String>();
            return Err(format!("the GPTQ format {other:?} is not supported"));
        }
        // Codes of five to seven bits are always split into planes.
        if matches!(bits, 5..=7) || bits == 3 && stated == Some("gptq_p") {
            return Ok(GptqFormat::Planes);
        }
        let middle = 1u64 << (bits - 1);
        let common = zeros.and_then(|zeros| common_zero_point(module, zeros, bits));
        let is_split = || zeros.is_some_and(|zeros| is_split(module, zeros, bits, middle));
        match (common, stated) {
            _ if bits == 3 && common.is_none() && is_split() => Ok(GptqFormat::Planes),
            (Some(zero), _) if zero == middle => Ok(GptqFormat::V2),
            (Some(zero), _) if zero == middle - 1 => Ok(GptqFormat::V1),
            (_, Some("gptq_v2" | "gptq_p")) => Ok(GptqFormat::V2),
            (_, None) if 32 % bits != 0 => Err("the packing of its codes is unknown".to_owned()),
            (_, None) if zeros.is_some() && !module.config.is_present() => {
                Err("the storage format of its zero points is unknown".to_owned())
            }
            _ => Ok(GptqFormat::V1),
        }
    }
}

/// Returns whether all sampled zero points, read as planes, are in the middle.
fn is_split(module: &Module<'_>, zeros: usize, bits: u64, middle: u64) -> bool {
    let sample = module.leading_bytes(zeros, SAMPLE).unwrap_or_default();
    let words: Vec<u64> =
        sample.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word).into()).collect();
    let mut blocks = words.chunks_exact(bits as usize).peekable();
    let all = |words: &[u64]| {
        (0..32).all(|at| split_code(bits, at, |word| words[word as usize]) == middle)
    };
    blocks.peek().is_some() && blocks.all(all)
}

/// Returns the value of the sampled zero points if all are the same.
fn common_zero_point(module: &Module<'_>, zeros: usize, bits: u64) -> Option<u64> {
    let sample = module.leading_bytes(zeros, SAMPLE)?;
    let row = module.matrix(zeros).map_or(0, |[_, row]| row.saturating_mul(4)).min(SAMPLE) as usize;
    let mut codes = sample.chunks_exact(row.max(1)).flat_map(|row| {
        let count = row.len() as u64 * 8 / bits;
        (0..count).map(move |at| {
            let (byte, shift) = ((at * bits / 8) as usize, at * bits % 8);
            let next = row.get(byte + 1).copied().unwrap_or(0);
            u64::from(u16::from_le_bytes([row[byte], next])) >> shift & ((1 << bits) - 1)
        })
    });
    let first = codes.next()?;
    codes.all(|code| code == first).then_some(first)
}
