//! Tests how codes are unpacked, against a reader that reads them bit by bit.

use super::super::codes::{CodePacking, HIGH_FIRST, IN_ORDER, PackedCodes};
use super::super::table::CodeLookup;
use super::layers::{Piece, write};
use super::open;
use crate::element_reader::ElementReader;
use proptest::prelude::*;
use proptest::sample::Index;
use std::ops::Range;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;

/// The places of eight codes in a word, out of order.
const SHUFFLED: &[u8] = &[0, 4, 1, 5, 2, 6, 3, 7];

/// The packing of codes, and the rows and columns of a matrix.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub unit: u64,
    pub packing: CodePacking,
    pub rows: u64,
    pub columns: u64,
}

/// Returns for codes in planes the width of the plane of a bit, its lowest bit, and the number of words before it.
pub(super) fn plane(bits: u32, bit: u64) -> (u64, u64, u64) {
    let widths: &[u64] = match bits {
        1 => &[1],
        2 => &[2],
        3 => &[2, 1],
        4 => &[4],
        5 => &[4, 1],
        6 => &[4, 2],
        7 => &[4, 2, 1],
        _ => &[8],
    };
    let mut lowest = 0;
    for width in widths {
        if bit < lowest + width {
            return (*width, lowest, lowest);
        }
        lowest += width;
    }
    unreachable!("a code of {bits} bits has no bit {bit}")
}

impl Layout {
    /// Returns the rows of the tensor for one matrix, and the units in a row.
    pub(super) fn stored(&self) -> [u64; 2] {
        let unit_bits = self.unit * 8;
        match self.packing {
            CodePacking::RowStream { bits } => {
                [self.rows, (self.columns * u64::from(bits)).div_ceil(unit_bits)]
            }
            CodePacking::Words { places, .. } => {
                [self.rows, self.columns.div_ceil(places.len() as u64)]
            }
            CodePacking::ColumnStream { bits } => {
                [(self.rows * u64::from(bits)).div_ceil(unit_bits), self.columns]
            }
            CodePacking::Split { bits } => [self.rows.div_ceil(32) * u64::from(bits), self.columns],
            CodePacking::Planes { planes, .. } | CodePacking::Interleaved { planes, .. } => {
                [self.rows.div_ceil(planes), self.columns]
            }
        }
    }

    /// Returns the type of the tensor.
    pub(super) fn dtype(&self) -> &'static str {
        match self.unit {
            1 => "U8",
            2 => "I16",
            _ => "I32",
        }
    }

    /// Returns the code in a row and column of a matrix, bit by bit.
    fn code(&self, bytes: &[u8], matrix: u64, row: u64, column: u64) -> u8 {
        let [rows, units] = self.stored();
        let unit_bits = self.unit * 8;
        let bit_of_unit = |row: u64, unit: u64, bit: u64| {
            let at = ((matrix * rows + row) * units + unit) * unit_bits + bit;
            bytes[(at / 8) as usize] >> (at % 8) & 1
        };
        let gather = |bits: u32, bit: &dyn Fn(u64) -> u8| {
            (0..u64::from(bits)).fold(0, |code, at| code | bit(at) << at)
        };
        match self.packing {
            CodePacking::RowStream { bits } => gather(bits, &|at| {
                let at = column * u64::from(bits) + at;
                bit_of_unit(row, at / unit_bits, at % unit_bits)
            }),
            CodePacking::Words { bits, places } => gather(bits, &|at| {
                let each = places.len() as u64;
                let place = u64::from(places[(column % each) as usize]);
                bit_of_unit(row, column / each, place * u64::from(bits) + at)
            }),
            CodePacking::ColumnStream { bits } => gather(bits, &|at| {
                let at = row * u64::from(bits) + at;
                bit_of_unit(at / unit_bits, column, at % unit_bits)
            }),
            CodePacking::Split { bits } => gather(bits, &|at| {
                let (width, lowest, words) = plane(bits, at);
                let bit = row % 32 * width + at - lowest;
                let word = row / 32 * u64::from(bits) + words + bit / 32;
                bit_of_unit(word, column, bit % 32)
            }),
            CodePacking::Planes { bits, planes, high_first } => gather(bits, &|at| {
                let plane = row / rows;
                let plane = if high_first { planes - 1 - plane } else { plane };
                bit_of_unit(row % rows, column, plane * u64::from(bits) + at)
            }),
            CodePacking::Interleaved { bits, planes } => gather(bits, &|at| {
                bit_of_unit(row / planes, column, row % planes * u64::from(bits) + at)
            }),
        }
    }
}

pub(super) fn layouts() -> impl Strategy<Value = Layout> {
    let kinds = (1u32..=8, prop::sample::select(vec![1u64, 2, 4]), 0..7, any::<Index>());
    (kinds, 1u64..70, 1u64..70).prop_map(|((bits, unit, kind, index), rows, columns)| {
        // Some packings use words only, others bytes or words.
        let unit = match kind {
            2 | 6 => 4,
            3..=5 if unit == 2 => 1,
            _ => unit,
        };
        // As many codes as a unit can contain, or fewer.
        let max_codes = unit * 8 / u64::from(bits);
        let several = index.index(max_codes as usize) as u64 + 1;
        let packing = match kind {
            0 => CodePacking::RowStream { bits },
            1 => {
                let places = [&IN_ORDER[..several.min(16) as usize], HIGH_FIRST, SHUFFLED];
                let fits = |places: &&[u8]| places.len() as u64 <= max_codes;
                let all: Vec<&[u8]> = places.into_iter().filter(fits).collect();
                CodePacking::Words { bits, places: all[index.index(all.len())] }
            }
            2 => CodePacking::ColumnStream { bits },
            3 => CodePacking::Planes { bits, planes: several, high_first: false },
            4 => CodePacking::Planes { bits, planes: several, high_first: true },
            5 => CodePacking::Interleaved { bits, planes: several },
            _ => CodePacking::Split { bits },
        };
        Layout { unit, packing, rows, columns }
    })
}

/// Returns a range within `0..len`.
pub(super) fn range(ends: [Index; 2], len: u64) -> Range<u64> {
    let [a, b] = ends.map(|end| end.index(len as usize) as u64);
    a.min(b)..a.max(b) + 1
}

proptest! {
    #[test]
    fn codes_are_those_that_are_taken_bit_by_bit(
        layout in layouts(),
        matrices in 1u64..3,
        matrix in any::<Index>(),
        ends in any::<[[Index; 2]; 2]>(),
        seed in prop::collection::vec(any::<u8>(), 97),
        less in prop::option::of(0u8..9),
    ) {
        let [rows, units] = layout.stored();
        let len = matrices * rows * units * layout.unit;
        let bytes: Vec<u8> = (0..len as usize).map(|at| seed[at % 97].wrapping_add((at / 97) as u8)).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let shape = [matrices, rows, units];
        write(&path, &[Piece::new("x", layout.dtype(), &shape, bytes.clone())], None);
        let model = open(&path);
        let plan = Plan::from_tensors(model.tensors.iter().enumerate());
        let files = FileSet::new(&model.files, &plan);
        let stored = ElementReader::new(&model, &files);
        let Layout { unit, packing, .. } = layout;
        let codes = PackedCodes { tensor: 0, unit, row: units, rows, packing };
        let zero = f32::from(less.unwrap_or(0));
        let mut values = CodeLookup { by_code: [0.0; 256], zero_point: less.map(f32::from) };
        (0..=255u8).zip(&mut values.by_code).for_each(|(code, value)| *value = f32::from(code) - zero);
        let matrix = matrix.index(matrices as usize) as u64;
        let [rows, columns] = [range(ends[0], layout.rows), range(ends[1], layout.columns)];
        let mut out = vec![-1.0; ((rows.end - rows.start) * (columns.end - columns.start)) as usize];
        codes.unpack(&stored, matrix, rows.clone(), columns.clone(), &values, &mut out).unwrap();
        let places = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
        let expected: Vec<f32> = places
            .map(|(row, column)| f32::from(layout.code(&bytes, matrix, row, column)) - zero)
            .collect();
        prop_assert_eq!(out, expected);
    }
}
