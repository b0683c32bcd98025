//! The values of codes before they are scaled.

use crate::element_reader::ElementReader;
use tensorseal_base::dtype::{Dtype, FloatFormat, FloatValue, NumberFormat};
use tensorseal_engine::stream::files::FileError;

/// The values of all codes of up to eight bits.
#[derive(Debug, Clone)]
pub(super) struct CodeLookup {
    /// The values by code.
    pub by_code: [f32; 256],
    /// The number that is subtracted from codes, if that gives all values.
    pub zero_point: Option<f32>,
}

/// The magnitudes of E2M1 (OCP Microscaling Formats 1.0, section 5.3.3).
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Where the values of codes come from.
#[derive(Debug, Clone)]
pub(super) enum CodeTable {
    /// The scheme determines the values.
    Fixed(Box<CodeLookup>),
    /// The values are in a tensor of `len` elements.
    Tensor { tensor: usize, len: usize },
}

impl CodeTable {
    fn from_fn(value: impl Fn(u8) -> f32) -> CodeTable {
        let mut by_code = [0.0; 256];
        (0..=255).zip(&mut by_code).for_each(|(code, entry)| *entry = value(code));
        CodeTable::Fixed(Box::new(CodeLookup { by_code, zero_point: None }))
    }

    /// Creates the table of codes minus a fixed zero point.
    pub(super) fn with_zero_point(zero: u8) -> CodeTable {
        let mut table = CodeTable::from_fn(|code| f32::from(code) - f32::from(zero));
        if let CodeTable::Fixed(values) = &mut table {
            values.zero_point = Some(f32::from(zero));
        }
        table
    }

    /// Creates the table of two's complement codes of this number of bits.
    pub(super) fn signed(bits: u32) -> CodeTable {
        let unused = 8 - bits.clamp(1, 8);
        CodeTable::from_fn(|code| f32::from((code << unused) as i8 >> unused))
    }

    /// Creates the table of FP4 codes: a sign, two exponent bits, one mantissa bit.
    pub(super) fn e2m1() -> CodeTable {
        CodeTable::from_fn(|code| {
            let magnitude = E2M1[usize::from(code & 7)];
            if code & 8 == 0 { magnitude } else { -magnitude }
        })
    }

    /// Creates the table of a floating-point or integer type of eight bits; `None` for other types.
    pub(super) fn from_dtype(dtype: Dtype) -> Option<CodeTable> {
        match dtype.number_format() {
            NumberFormat::Float(format) if dtype.bits() == 8 => {
                Some(CodeTable::from_fn(|code| decode(&format, code)))
            }
            NumberFormat::Signed if dtype.bits() == 8 => Some(CodeTable::signed(8)),
            NumberFormat::Unsigned if dtype.bits() == 8 => Some(CodeTable::with_zero_point(0)),
            _ => None,
        }
    }

    /// Returns the tensor with the values, if there is one.
    pub(super) fn tensor(&self) -> Option<usize> {
        match self {
            CodeTable::Fixed(_) => None,
            CodeTable::Tensor { tensor, .. } => Some(*tensor),
        }
    }

    /// Returns the values, and reads them if necessary.
    pub(super) fn values(&self, reader: &ElementReader<'_>) -> Result<Box<CodeLookup>, FileError> {
        match self {
            CodeTable::Fixed(values) => Ok(values.clone()),
            CodeTable::Tensor { tensor, len } => {
                let mut values = Box::new(CodeLookup { by_code: [0.0; 256], zero_point: None });
                for (to, from) in values.by_code.iter_mut().zip(reader.values(*tensor, 0, *len)?) {
                    *to = from as f32;
                }
                Ok(values)
            }
        }
    }
}

fn decode(format: &FloatFormat, code: u8) -> f32 {
    match format.decode(u64::from(code)) {
        FloatValue::Finite(value) => value as f32,
        FloatValue::Infinity(true) => f32::NEG_INFINITY,
        FloatValue::Infinity(false) => f32::INFINITY,
        FloatValue::Nan => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(table: CodeTable) -> [f32; 256] {
        match table {
            CodeTable::Fixed(values) => values.by_code,
            CodeTable::Tensor { .. } => panic!("not fixed"),
        }
    }

    #[test]
    fn codes_have_their_values() {
        assert_eq!(fixed(CodeTable::with_zero_point(8))[..3], [-8.0, -7.0, -6.0]);
        let signed = fixed(CodeTable::signed(4));
        assert_eq!([signed[7], signed[8], signed[15]], [7.0, -8.0, -1.0]);
        assert_eq!(fixed(CodeTable::signed(8))[0x80], -128.0);
        let e2m1 = fixed(CodeTable::e2m1());
        assert_eq!([e2m1[1], e2m1[7], e2m1[15]], [0.5, 6.0, -6.0]);
        let e4m3 = fixed(CodeTable::from_dtype(Dtype::F8_E4M3).unwrap());
        assert_eq!([e4m3[0x38], e4m3[0xB8], e4m3[0x7E]], [1.0, -1.0, 448.0]);
        assert!(e4m3[0x7F].is_nan());
        assert!(CodeTable::from_dtype(Dtype::F16).is_none());
    }
}
