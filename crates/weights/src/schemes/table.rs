//! The values that codes stand for before they are scaled.

use crate::stored::Stored;
use tensorseal_base::dtype::{Decoded, Dtype, FloatFormat, Number};
use tensorseal_engine::stream::files::FileError;

/// The value of every code of up to eight bits.
#[derive(Debug, Clone)]
pub(super) struct Values {
    /// By code.
    pub of: [f32; 256],
    /// What codes themselves are less by, where that is all.
    pub less: Option<f32>,
}

/// The magnitudes of E2M1 (OCP Microscaling Formats 1.0, section 5.3.3).
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Where the values of codes come from.
#[derive(Debug, Clone)]
pub(super) enum Table {
    /// They follow from the scheme.
    Fixed(Box<Values>),
    /// They are in a tensor of this many elements.
    Tensor { tensor: usize, len: usize },
}

impl Table {
    fn of(value: impl Fn(u8) -> f32) -> Table {
        let mut of = [0.0; 256];
        (0..=255).zip(&mut of).for_each(|(code, slot)| *slot = value(code));
        Table::Fixed(Box::new(Values { of, less: None }))
    }

    /// Codes less a fixed zero point.
    pub(super) fn less(zero: u8) -> Table {
        let mut table = Table::of(|code| f32::from(code) - f32::from(zero));
        if let Table::Fixed(values) = &mut table {
            values.less = Some(f32::from(zero));
        }
        table
    }

    /// Two's complement of some bits.
    pub(super) fn signed(bits: u32) -> Table {
        let unused = 8 - bits.clamp(1, 8);
        Table::of(|code| f32::from((code << unused) as i8 >> unused))
    }

    /// FP4: a sign, two bits of exponent, one of mantissa.
    pub(super) fn e2m1() -> Table {
        Table::of(|code| {
            let magnitude = E2M1[usize::from(code & 7)];
            if code & 8 == 0 { magnitude } else { -magnitude }
        })
    }

    /// A floating-point type of eight bits, or integers of eight bits.
    pub(super) fn of_dtype(dtype: Dtype) -> Option<Table> {
        match dtype.number() {
            Number::Float(format) if dtype.bits() == 8 => {
                Some(Table::of(|code| decode(&format, code)))
            }
            Number::Signed if dtype.bits() == 8 => Some(Table::signed(8)),
            Number::Unsigned if dtype.bits() == 8 => Some(Table::less(0)),
            _ => None,
        }
    }

    /// The tensor they are in.
    pub(super) fn tensor(&self) -> Option<usize> {
        match self {
            Table::Fixed(_) => None,
            Table::Tensor { tensor, .. } => Some(*tensor),
        }
    }

    /// The values, read if need be.
    pub(super) fn values(&self, stored: &Stored<'_>) -> Result<Box<Values>, FileError> {
        match self {
            Table::Fixed(values) => Ok(values.clone()),
            Table::Tensor { tensor, len } => {
                let mut values = Box::new(Values { of: [0.0; 256], less: None });
                for (to, from) in values.of.iter_mut().zip(stored.values(*tensor, 0, *len)?) {
                    *to = from as f32;
                }
                Ok(values)
            }
        }
    }
}

fn decode(format: &FloatFormat, code: u8) -> f32 {
    match format.decode(u64::from(code)) {
        Decoded::Finite(value) => value as f32,
        Decoded::Infinity(true) => f32::NEG_INFINITY,
        Decoded::Infinity(false) => f32::INFINITY,
        Decoded::Nan => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(table: Table) -> [f32; 256] {
        match table {
            Table::Fixed(values) => values.of,
            Table::Tensor { .. } => panic!("not fixed"),
        }
    }

    #[test]
    fn codes_have_their_values() {
        assert_eq!(fixed(Table::less(8))[..3], [-8.0, -7.0, -6.0]);
        let signed = fixed(Table::signed(4));
        assert_eq!([signed[7], signed[8], signed[15]], [7.0, -8.0, -1.0]);
        assert_eq!(fixed(Table::signed(8))[0x80], -128.0);
        let e2m1 = fixed(Table::e2m1());
        assert_eq!([e2m1[1], e2m1[7], e2m1[15]], [0.5, 6.0, -6.0]);
        let e4m3 = fixed(Table::of_dtype(Dtype::F8_E4M3).unwrap());
        assert_eq!([e4m3[0x38], e4m3[0xB8], e4m3[0x7E]], [1.0, -1.0, 448.0]);
        assert!(e4m3[0x7F].is_nan());
        assert!(Table::of_dtype(Dtype::F16).is_none());
    }
}
