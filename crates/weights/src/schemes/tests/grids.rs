//! Tests how scales and zero points are loaded, against plain formulas for their positions.

use super::super::grid::{Grid, GridEncoding};
use super::layers::{Piece, write};
use super::open;
use super::packings::{plane, range};
use crate::element_reader::ElementReader;
use proptest::prelude::*;
use proptest::sample::Index;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;

/// The places of eight codes in a word, out of order.
const SHUFFLED: &[u8] = &[0, 4, 1, 5, 2, 6, 3, 7];

/// How the numbers of several matrices are stored.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub matrices: u64,
    pub rows: u64,
    pub columns: u64,
    pub encoding: GridEncoding,
}

/// Returns the number at a position: a counter for floats, bytes without a pattern otherwise.
fn float(at: u64) -> f32 {
    at as f32 - 100.5
}

fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as u8
}

/// Returns a bit of a tensor of words with these bytes.
fn bit(word: u64, at: u64) -> u64 {
    u64::from(byte(word * 4 + at / 8) >> (at % 8) & 1)
}

/// Returns a code of a few bits, bit by bit.
fn gather(bits: u64, bit: impl Fn(u64) -> u64) -> f64 {
    (0..bits).fold(0, |code, at| code | bit(at) << at) as f64
}

/// The value of an E8M0 code by its definition.
fn power(code: u8) -> f64 {
    if code == 255 { f64::NAN } else { 2f64.powi(i32::from(code) - 127) }
}

fn e4m3(code: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7) / 8.0);
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f64::NAN,
        (0, _) => mantissa * 2f64.powi(-6),
        _ => (1.0 + mantissa) * 2f64.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

impl Layout {
    /// Returns the number of elements of the tensor for one matrix.
    pub(super) fn each(&self) -> u64 {
        let (rows, columns) = (self.rows, self.columns);
        match &self.encoding {
            GridEncoding::Padded { row } | GridEncoding::PackedRows { row, .. } => rows * row,
            GridEncoding::Swizzled { .. } => rows.div_ceil(128) * columns.div_ceil(4) * 512,
            GridEncoding::Split { bits } => columns.div_ceil(32) * bits * rows,
            GridEncoding::PackedColumns { bits, stream: true } => {
                (rows * bits).div_ceil(32) * columns
            }
            GridEncoding::PackedColumns { bits, stream: false } => {
                rows.div_ceil(32 / bits) * columns
            }
            _ => rows * columns,
        }
    }

    /// Returns the type of the tensor.
    pub(super) fn dtype(&self) -> &'static str {
        match &self.encoding {
            GridEncoding::Numbers | GridEncoding::Padded { .. } | GridEncoding::Transposed => "F32",
            GridEncoding::PackedRows { .. }
            | GridEncoding::Split { .. }
            | GridEncoding::PackedColumns { .. } => "I32",
            GridEncoding::Exponents
            | GridEncoding::E4m3
            | GridEncoding::Swizzled { .. }
            | GridEncoding::Nested { .. } => "U8",
        }
    }

    /// Returns the number in a row and column of a matrix.
    fn number(&self, matrix: u64, row: u64, column: u64) -> f64 {
        let (rows, columns) = (self.rows, self.columns);
        let base = matrix * self.each();
        let by_row = base + row * columns + column;
        match &self.encoding {
            GridEncoding::Numbers => float(by_row).into(),
            GridEncoding::Padded { row: len } => float(base + row * len + column).into(),
            GridEncoding::Transposed => float(base + column * rows + row).into(),
            GridEncoding::Exponents => power(byte(by_row)),
            GridEncoding::E4m3 => e4m3(byte(by_row)),
            GridEncoding::Swizzled { exponents } => {
                // Tiles have 128 rows and 4 columns, stored as 32 rows of four times 4 columns.
                let tile = row / 128 * columns.div_ceil(4) + column / 4;
                let within = (row % 128 % 32) * 16 + (row % 128 / 32) * 4 + column % 4;
                let code = byte(base + tile * 512 + within);
                if *exponents { power(code) } else { e4m3(code) }
            }
            GridEncoding::PackedRows { bits, add, places: Some(places), row: len, .. } => {
                let each = places.len() as u64;
                let place = u64::from(places[(column % each) as usize]);
                let word = base + row * len + column / each;
                gather(*bits, |at| bit(word, place * bits + at)) + add
            }
            GridEncoding::PackedRows { bits, add, places: None, row: len, .. } => {
                let first = base + row * len;
                gather(*bits, |at| {
                    let at = column * bits + at;
                    bit(first + at / 32, at % 32)
                }) + add
            }
            GridEncoding::Split { bits } => gather(*bits, |at| {
                let (width, lowest, words) = plane(*bits as u32, at);
                let place = column % 32 * width + at - lowest;
                let block = (row * columns.div_ceil(32) + column / 32) * bits;
                bit(base + block + words + place / 32, place % 32)
            }),
            GridEncoding::PackedColumns { bits, stream: true } => gather(*bits, |at| {
                let at = row * bits + at;
                bit(base + at / 32 * columns + column, at % 32)
            }),
            GridEncoding::PackedColumns { bits, stream: false } => {
                let each = 32 / bits;
                let word = base + row / each * columns + column;
                gather(*bits, |at| bit(word, row % each * bits + at))
            }
            GridEncoding::Nested { block, offset, .. } => {
                f64::from(float(byte(by_row).into())) * f64::from(float(by_row / block)) + offset
            }
        }
    }
}

/// Returns the encoding of this kind for a number of columns; rows are `more` units longer than necessary.
pub(super) fn encoding(kind: usize, columns: u64, bits: u64, more: u64) -> GridEncoding {
    let along = |bits, places: Option<&'static [u8]>, least| GridEncoding::PackedRows {
        bits,
        unit_bits: 32,
        add: 1.0,
        places,
        row: least + more,
    };
    match kind {
        0 => GridEncoding::Numbers,
        1 => GridEncoding::Padded { row: columns + more },
        2 => GridEncoding::Transposed,
        3 => GridEncoding::Exponents,
        4 => GridEncoding::E4m3,
        5 => GridEncoding::Swizzled { exponents: false },
        6 => GridEncoding::Swizzled { exponents: true },
        7 => along(bits, None, (columns * bits).div_ceil(32)),
        8 => along(bits.min(4), Some(SHUFFLED), columns.div_ceil(8)),
        9 => GridEncoding::PackedColumns { bits, stream: more > 0 },
        10 => GridEncoding::Split { bits },
        _ => GridEncoding::Nested { table: 1, scales: 2, block: bits * 3, offset: 0.25 },
    }
}

/// The number of kinds.
pub(super) const KINDS: usize = 12;

fn layouts() -> impl Strategy<Value = Layout> {
    (1u64..3, 1u64..300, 1u64..80, 0..KINDS, 1u64..=8, 0u64..3).prop_map(
        |(matrices, rows, columns, kind, bits, more)| {
            let columns = match kind {
                // There is one nested scale for each row.
                11 => 1,
                7..=10 => columns,
                _ => columns.div_ceil(6),
            };
            Layout { matrices, rows, columns, encoding: encoding(kind, columns, bits, more) }
        },
    )
}

proptest! {
    #[test]
    fn numbers_are_where_the_formula_says(
        layout in layouts(),
        matrix in any::<Index>(),
        ends in any::<[[Index; 2]; 2]>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let floats = |count: u64| (0..count).flat_map(|at| float(at).to_le_bytes()).collect();
        let count = layout.matrices * layout.each();
        let data = match layout.dtype() {
            "F32" => floats(count),
            "I32" => (0..count * 4).map(byte).collect(),
            _ => (0..count).map(byte).collect(),
        };
        let outer = match layout.encoding {
            GridEncoding::Nested { block, .. } => count.div_ceil(block),
            _ => 1,
        };
        let pieces = [
            Piece::new("a", layout.dtype(), &[count], data),
            Piece::new("b", "F32", &[256], floats(256)),
            Piece::new("c", "F32", &[outer], floats(outer)),
        ];
        write(&path, &pieces, None);
        let model = open(&path);
        prop_assert_eq!(&*model.tensors[0].name, "a");
        let plan = Plan::from_tensors(model.tensors.iter().enumerate());
        let files = FileSet::new(&model.files, &plan);
        let stored = ElementReader::new(&model, &files);
        let Layout { rows, columns, ref encoding, .. } = layout;
        let grid = Grid { tensor: 0, rows, columns, encoding: encoding.clone(), factor: 0.5 };
        let matrix = matrix.index(layout.matrices as usize) as u64;
        let [rows, columns] = [range(ends[0], rows), range(ends[1], columns)];
        let read = grid.load(&stored, matrix, rows.clone(), columns.clone()).unwrap();
        let places = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
        let expected: Vec<f64> =
            places.map(|(row, column)| layout.number(matrix, row, column) * 0.5).collect();
        prop_assert_eq!(read.len(), expected.len());
        for (at, (read, expected)) in read.iter().zip(&expected).enumerate() {
            prop_assert!(read == expected || read.is_nan() && expected.is_nan(), "{} {} {}", at, read, expected);
        }
    }
}
