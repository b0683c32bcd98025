//! MLX: rows of words that are one stream of codes, and scales and biases for groups of inputs.

use super::RecognisedWeight;
use super::codes::{CodePacking, PackedCodes};
use super::grid::{Grid, GridEncoding, NUMBERS};
use super::module::{MatrixDims, Module};
use super::quantised::{GlobalScale, QuantisedWeight, ZeroPoint};
use super::table::CodeTable;
use tensorseal_base::dtype::Dtype;

/// The bits of the affine modes.
const BITS: &[u64] = &[2, 3, 4, 5, 6, 8];
/// The group sizes of the affine modes.
const GROUPS: &[u64] = &[32, 64, 128];
/// The default group size (`mlx.nn.quantize`).
const GROUP: u64 = 64;

/// The modes without biases: name, bits and group size. Their products of bits and group size differ.
const MICROSCALED: &[(&str, u64, u64)] =
    &[("mlx mxfp4", 4, 32), ("mlx nvfp4", 4, 16), ("mlx mxfp8", 8, 32)];

/// Recognises `weight` U32 [outputs, inputs · bits / 32] and `scales` [outputs, groups].
pub(super) fn recognise(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<RecognisedWeight>, String> {
    let (Some(scales), true) = (module.sibling("scales"), module.has_dtype(codes, &[Dtype::U32]))
    else {
        return Ok(None);
    };
    let (Some(words), Some(groups)) = (module.dims(codes), module.dims(scales)) else {
        return Ok(None);
    };
    // The shapes determine the number of bits in a group.
    let Some(bits_of_group) = words.columns.checked_mul(32).filter(|all| all % groups.columns == 0)
    else {
        return Err("the shape of its scales does not fit".to_owned());
    };
    let bits_of_group = bits_of_group / groups.columns;
    let biases = module.sibling("biases");
    let (name, bits, group, encoding, table) = match biases {
        Some(_) if module.has_dtype(scales, NUMBERS) => {
            let (bits, group) = affine(module, bits_of_group)?;
            (
                format!("mlx {bits}-bit"),
                bits,
                group,
                GridEncoding::Numbers,
                CodeTable::with_zero_point(0),
            )
        }
        None if module.has_dtype(scales, &[Dtype::U8]) => {
            let mode = MICROSCALED.iter().find(|(_, bits, group)| bits * group == bits_of_group);
            let Some(&(name, bits, group)) = mode else {
                return Err("the shape of its scales does not fit".to_owned());
            };
            let encoding = if group == 16 { GridEncoding::E4m3 } else { GridEncoding::Exponents };
            let table = match bits {
                4 => CodeTable::e2m1(),
                _ => CodeTable::from_dtype(Dtype::F8_E4M3)
                    .ok_or("the type of its codes is unknown")?,
            };
            (name.to_owned(), bits, group, encoding, table)
        }
        _ => return Ok(None),
    };
    let MatrixDims { matrices, rows, .. } = words;
    let columns = groups.columns.saturating_mul(group);
    let grid = |tensor| Grid::new(tensor, [rows, groups.columns], encoding.clone());
    let quantised = QuantisedWeight {
        zero_point: biases.map_or(ZeroPoint::None, |biases| ZeroPoint::After(grid(biases))),
        scale: Some(grid(scales)),
        block: [1, group],
        global_scale: module.sibling("global_scale").map(|tensor| GlobalScale {
            tensor,
            // The stored number is the largest magnitude of the matrix: the largest code times the largest scale.
            divides: false,
            factor: 1.0 / (6.0 * 448.0),
            each: module.elements(tensor) == matrices,
        }),
        ..QuantisedWeight::new(
            name,
            [rows, columns],
            PackedCodes {
                tensor: codes,
                unit: 4,
                row: words.columns,
                rows,
                packing: CodePacking::RowStream { bits: bits as u32 },
            },
            table,
        )
    };
    let mut shape = module.tensor(codes).shape.clone();
    if let Some(last) = shape.last_mut() {
        *last = columns;
    }
    Ok(Some(RecognisedWeight::new(quantised, shape, Vec::new())))
}

/// Returns bits and group size, from their product; if several fit, the configuration decides.
fn affine(module: &Module<'_>, product: u64) -> Result<(u64, u64), String> {
    let all = GROUPS.iter().flat_map(|group| BITS.iter().map(move |bits| (*bits, *group)));
    let fitting: Vec<(u64, u64)> = all.filter(|(bits, group)| bits * group == product).collect();
    let name = module.name();
    // MLX states no method: a configuration with one belongs to another library.
    let config = Some(module.config).filter(|config| config.method.is_none());
    let configured = (
        config.and_then(|config| config.bits(name)),
        config.and_then(|config| config.group_size(name)).unwrap_or(GROUP),
    );
    let agrees = |(bits, group): &&(u64, u64)| (Some(*bits), *group) == configured;
    match (&fitting[..], fitting.iter().find(agrees)) {
        ([], _) => Err("the shape of its scales does not fit".to_owned()),
        (_, Some(one)) => Ok(*one),
        ([one], None) => Ok(*one),
        (_, None) => Err("the bit width of its codes is unknown".to_owned()),
    }
}
