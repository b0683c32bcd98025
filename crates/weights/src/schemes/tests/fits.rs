//! Tests that layouts which pass the check can be read: layouts of every kind with tensors of the required sizes, and the
//! same with invalid numbers in them.

use super::super::codes::PackedCodes;
use super::super::config::QuantisationConfig;
use super::super::fit;
use super::super::grid::{Grid, GridEncoding};
use super::super::module::Module;
use super::super::quantised::{GlobalScale, GroupIndex, QuantisedWeight, ZeroPoint};
use super::super::table::CodeTable;
use super::layers::{Piece, write};
use super::{grids, open, packings, values};
use crate::reader::WeightReader;
use crate::schemes::QuantisedPart;
use crate::{Weight, WeightStorage};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashMap;
use std::sync::Arc;

/// The layout of a weight.
#[derive(Debug, Clone)]
struct Made {
    codes: packings::Layout,
    matrices: u64,
    transposed: bool,
    /// The rows and columns that share a scale.
    block: [u64; 2],
    /// The kind of encoding of scales.
    kind: usize,
    bits: u64,
    more: u64,
    /// Zero points: 0 for none, 1 before, 2 after.
    zero: u8,
    /// The global scale: whether there is one for each matrix, and whether it divides.
    global: Option<(bool, bool)>,
    across: bool,
    /// The group index: of rows or of columns, and the number of blocks.
    order: Option<(bool, Index)>,
}

fn made() -> impl Strategy<Value = Made> {
    let scales = (prop::array::uniform2(1u64..40), 0..grids::KINDS, 1u64..=8, 0u64..3);
    let more = (
        0u8..3,
        prop::option::of(any::<(bool, bool)>()),
        any::<bool>(),
        prop::option::weighted(0.3, any::<(bool, Index)>()),
    );
    let codes = (packings::layouts(), 1u64..3, any::<bool>());
    (codes, scales, more).prop_map(
        |((codes, matrices, transposed), (block, kind, bits, more), rest)| {
            let (zero, global, across, order) = rest;
            Made {
                codes,
                matrices,
                transposed,
                block,
                kind,
                bits,
                more,
                zero,
                global,
                across,
                order,
            }
        },
    )
}

/// The names of tensors, by their index in the layout.
const NAMES: [&str; 7] = ["codes", "table", "outer", "scales", "zeros", "global", "order"];

impl Made {
    /// Returns the layout, the shape of the weight and the tensors.
    fn whole(&self) -> (QuantisedWeight, Vec<u64>, Vec<Piece>) {
        let packings::Layout { unit, packing, rows, columns } = self.codes;
        let [high, wide] = self.codes.stored();
        let mut block = self.block;
        let mut grid = [0, 0];
        let order = self.order.filter(|_| self.kind != 11);
        if self.kind == 11 {
            // There is one nested scale for each row.
            block[1] = columns;
        }
        for (at, len) in [rows, columns].into_iter().enumerate() {
            grid[at] = len.div_ceil(block[at]);
            if let Some((of_rows, count)) = order
                && of_rows == (at == 0)
            {
                grid[at] = count.index(len as usize) as u64 + 1;
            }
        }
        let layout = grids::Layout {
            matrices: self.matrices,
            rows: grid[0],
            columns: grid[1],
            encoding: grids::encoding(self.kind, grid[1], self.bits, self.more),
        };
        let of = |tensor| Grid {
            tensor,
            rows: grid[0],
            columns: grid[1],
            encoding: layout.encoding.clone(),
            factor: 1.0,
        };
        let numbers = self.matrices * grid[0] * grid[1];
        let outer = match layout.encoding {
            GridEncoding::Nested { block, .. } => numbers.div_ceil(block),
            _ => 1,
        };
        let all = self.matrices * layout.each();
        let each = self.global.is_some_and(|(each, _)| each);
        let ordered = if order.is_some_and(|(of_rows, _)| of_rows) { rows } else { columns };
        let pieces = [
            (self.codes.dtype(), vec![self.matrices, high, wide]),
            ("F32", vec![256]),
            ("F32", vec![outer]),
            (layout.dtype(), vec![all]),
            (layout.dtype(), vec![all]),
            ("F32", vec![if each { self.matrices } else { 1 }]),
            ("I32", vec![ordered]),
            ("F32", vec![columns]),
        ];
        let names = NAMES.into_iter().chain(["width"]);
        let pieces = names.zip(pieces).map(|(name, (dtype, shape))| {
            let mut piece = Piece::new(name, dtype, &shape, Vec::new());
            piece.fill();
            piece
        });
        let quantised = QuantisedWeight {
            name: String::new(),
            rows,
            columns,
            transposed: self.transposed,
            codes: PackedCodes { tensor: 0, unit, row: wide, rows: high, packing },
            table: CodeTable::with_zero_point(3),
            scale: Some(of(3)),
            block,
            zero_point: match self.zero {
                0 => ZeroPoint::None,
                1 => ZeroPoint::Before(of(4)),
                _ => ZeroPoint::After(of(4)),
            },
            global_scale: self.global.map(|(each, divides)| GlobalScale {
                tensor: 5,
                divides,
                factor: 1.0,
                each,
            }),
            column_scale: self.across.then_some(7),
            group_index: order.map(|(of_rows, _)| GroupIndex { tensor: 6, by_row: of_rows }),
        };
        let shape = match self.transposed {
            false => vec![self.matrices, rows, columns],
            true => vec![self.matrices, columns, rows],
        };
        (quantised, shape, pieces.collect())
    }
}

/// Returns a number that is no valid size.
fn sizes(len: u64, at: Index) -> u64 {
    let all = [
        0,
        1,
        len.wrapping_sub(1),
        len.wrapping_add(1),
        len.wrapping_mul(2),
        len / 2,
        1 << 32,
        1 << 62,
        1 << 63,
        u64::MAX,
    ];
    all[at.index(all.len())]
}

/// Replaces one number of a layout.
fn change(
    it: &mut QuantisedWeight,
    shape: &mut [u64],
    pieces: &mut [Piece],
    [which, size]: [Index; 2],
) {
    let mut places: Vec<&mut u64> =
        vec![&mut it.rows, &mut it.columns, &mut it.codes.row, &mut it.codes.rows];
    places.extend(&mut it.block);
    places.extend(shape);
    let zeros = match &mut it.zero_point {
        ZeroPoint::None => None,
        ZeroPoint::Before(grid) | ZeroPoint::After(grid) => Some(grid),
    };
    for grid in it.scale.iter_mut().chain(zeros) {
        places.extend([&mut grid.rows, &mut grid.columns]);
        if let GridEncoding::Padded { row } | GridEncoding::PackedRows { row, .. } =
            &mut grid.encoding
        {
            places.push(row);
        }
    }
    let at = which.index(places.len() + pieces.len());
    match places.get_mut(at) {
        Some(place) => **place = sizes(**place, size),
        None => {
            let piece = &mut pieces[at - places.len()];
            let last = piece.shape.len() - 1;
            piece.shape[last] = sizes(piece.shape[last], size).min(1000);
            piece.fill();
        }
    }
}

/// Returns whether all tensors have the sizes that plain formulas give.
fn has_expected_sizes(it: &QuantisedWeight, shape: &[u64], module: &Module<'_>) -> bool {
    let PackedCodes { tensor, unit, row, rows, packing } = it.codes;
    let layout = packings::Layout { unit, packing, rows: it.rows, columns: it.columns };
    let elements = shape.iter().product::<u64>();
    let matrices = elements.div_ceil(it.rows * it.columns);
    let (has, expected) = (module.elements(tensor), matrices * rows * row);
    // The last row of one matrix may be cut off.
    let is_cut = matrices == 1 && elements < it.rows * it.columns;
    let fits = has == expected || is_cut && has < expected && has > expected - row;
    let zeros = match &it.zero_point {
        ZeroPoint::None => None,
        ZeroPoint::Before(grid) | ZeroPoint::After(grid) => Some(grid),
    };
    let mut grids = it.scale.iter().chain(zeros);
    fits && layout.stored() == [rows, row]
        && grids.all(|grid| {
            let Grid { rows, columns, ref encoding, .. } = *grid;
            let layout = grids::Layout { matrices, rows, columns, encoding: encoding.clone() };
            module.elements(grid.tensor) == matrices * layout.each()
        })
}

proptest! {
    #[test]
    fn what_fits_can_be_read(
        made in made(),
        changes in prop::collection::vec(any::<[Index; 2]>(), 0..3),
        piece_len in 1usize..200,
    ) {
        let (mut quantised, mut shape, mut pieces) = made.whole();
        for change in &changes {
            self::change(&mut quantised, &mut shape, &mut pieces, *change);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        write(&path, &pieces, None);
        let mut model = open(&path);
        // In the order of their indices here.
        let place = |name: &str| pieces.iter().position(|piece| piece.name == name);
        model.tensors.sort_by_key(|tensor| place(&tensor.name));
        prop_assert_eq!(model.tensors.len(), 8);
        let by_name = HashMap::new();
        let config = QuantisationConfig::default();
        let weight = "weight".to_owned();
        let module = Module { model: &model, by_name: &by_name, file: 0, weight, config: &config };
        match fit::check(&module, &quantised, &shape) {
            Err(why) => {
                prop_assert!(!changes.is_empty(), "{}", why);
                prop_assert!(!why.is_empty());
            }
            Ok(()) => {
                prop_assert!(has_expected_sizes(&quantised, &shape, &module));
                let bytes: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
                let storage = WeightStorage::Quantised(QuantisedPart { quantised: Arc::new(quantised), first: 0 });
                let weight = Weight { canonical: String::new(), name: String::new(), shape, flattened: false, storage };
                prop_assert!(weight.elements().unwrap() <= bytes * 8);
                prop_assert!(WeightReader::piece_len(&weight).is_multiple_of(512));
                let whole = values(&model, &weight, 1 << 20);
                let pieces = values(&model, &weight, piece_len);
                let same = whole.iter().zip(&pieces).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same);
            }
        }
    }
}
