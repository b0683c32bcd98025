//! Element types: their canonical names, sizes and how their values are read from bits.

use std::fmt;
use std::str::FromStr;

/// An element type, under the name that safetensors or ggml gives it (the canonical names of this project).
#[allow(non_camel_case_types)] // the established names
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// One byte, 0 or 1 by convention; other values are kept and counted as they are.
    BOOL,
    /// OCP MX FP4 (E2M1), two elements per byte.
    F4,
    /// OCP MX FP6 with 2 exponent and 3 mantissa bits, four elements in three bytes.
    F6_E2M3,
    /// OCP MX FP6 with 3 exponent and 2 mantissa bits, four elements in three bytes.
    F6_E3M2,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// OCP FP8 E5M2: IEEE-like, with infinities.
    F8_E5M2,
    /// OCP FP8 E4M3 ("FN"): no infinities, NaN is S.1111.111.
    F8_E4M3,
    /// OCP MX scale: a power of two, 0xFF is NaN.
    F8_E8M0,
    /// FP8 E4M3 "FNUZ": bias 8, no negative zero, NaN is 0x80.
    F8_E4M3FNUZ,
    /// FP8 E5M2 "FNUZ": bias 16, no negative zero, NaN is 0x80.
    F8_E5M2FNUZ,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 16-bit integer.
    U16,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// IEEE 754 binary32.
    F32,
    /// Two binary32 parts, real then imaginary.
    C64,
    /// IEEE 754 binary64.
    F64,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 64-bit integer.
    U64,
    /// ggml: 32 codes of 4 bits, a scale.
    Q4_0,
    /// ggml: 32 codes of 4 bits, a scale and a minimum.
    Q4_1,
    /// ggml: 32 codes of 5 bits, a scale.
    Q5_0,
    /// ggml: 32 codes of 5 bits, a scale and a minimum.
    Q5_1,
    /// ggml: 32 codes of 8 bits, a scale.
    Q8_0,
    /// ggml: 32 codes of 8 bits, a scale and the scaled sum of the codes.
    Q8_1,
    /// ggml: 256 codes of 2 bits, 16 scales and minima of 4 bits, a scale for either.
    Q2_K,
    /// ggml: 256 codes of 3 bits, 16 scales of 6 bits, a scale for them.
    Q3_K,
    /// ggml: 256 codes of 4 bits, 8 scales and minima of 6 bits, a scale for either.
    Q4_K,
    /// ggml: 256 codes of 5 bits, 8 scales and minima of 6 bits, a scale for either.
    Q5_K,
    /// ggml: 256 codes of 6 bits, 16 scales of 8 bits, a scale for them.
    Q6_K,
    /// ggml: 256 codes of 8 bits, a binary32 scale, sums of 16 codes.
    Q8_K,
    /// ggml: 256 weights in groups of 8 of a grid of 256, signs, scales of 4 bits (2.06 bits a weight).
    IQ2_XXS,
    /// ggml: 256 weights in groups of 8 of a grid of 512, signs, scales of 4 bits (2.31 bits a weight).
    IQ2_XS,
    /// ggml: 256 weights in groups of 4 of a grid of 256, signs, scales of 4 bits (3.06 bits a weight).
    IQ3_XXS,
    /// ggml: 256 weights in groups of 8 of a ternary grid of 2048 (1.56 bits a weight).
    IQ1_S,
    /// ggml: 32 codes of 4 bits into a table of 16 values, a scale.
    IQ4_NL,
    /// ggml: 256 weights in groups of 4 of a grid of 512, signs, scales of 4 bits (3.44 bits a weight).
    IQ3_S,
    /// ggml: 256 weights in groups of 8 of a grid of 1024, signs, scales of 4 bits (2.56 bits a weight).
    IQ2_S,
    /// ggml: 256 codes of 4 bits into a table of 16 values, 8 scales of 6 bits, a scale for them.
    IQ4_XS,
    /// ggml: 256 weights in groups of 8 of a ternary grid of 2048 (1.75 bits a weight).
    IQ1_M,
    /// ggml: 256 ternary weights, five in a byte, a scale.
    TQ1_0,
    /// ggml: 256 ternary weights of 2 bits, a scale.
    TQ2_0,
    /// OCP MX FP4 as ggml stores it: 32 E2M1 codes, an E8M0 scale.
    MXFP4,
    /// NVIDIA FP4 as ggml stores it: 64 E2M1 codes, four unsigned E4M3 scales.
    NVFP4,
    /// ggml: 128 signs, a scale.
    Q1_0,
    /// ggml: 64 codes of 2 bits, a scale.
    Q2_0,
}

/// How the bits of a type encode its values, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberFormat {
    /// Unsigned integer.
    Unsigned,
    /// Two's complement integer.
    Signed,
    /// Sign, exponent and mantissa.
    Float(FloatFormat),
    /// Elements that cross byte boundaries: only their bytes are counted (`docs/formats.md`).
    Packed,
    /// Blocks of elements that share scales, as ggml quantises them ([`crate::quantised`] decodes them).
    BlockQuantised,
}

/// The layout of a floating-point type: `sign | exponent | mantissa` from the top bit down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FloatFormat {
    /// Whether the highest bit is a sign.
    pub signed: bool,
    /// Width of the exponent field in bits.
    pub exponent_bits: u32,
    /// Width of the mantissa field in bits.
    pub mantissa_bits: u32,
    /// The exponent bias.
    pub bias: i32,
    /// The codes that are not finite numbers.
    pub special: SpecialValues,
}

/// Which bit patterns of a floating-point type are infinities or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialValues {
    /// All-ones exponent: mantissa 0 is infinity, anything else NaN (IEEE 754).
    Ieee,
    /// All-ones exponent *and* mantissa is NaN; no infinities (OCP E4M3).
    AllOnesNan,
    /// Only the pattern of negative zero is NaN; no infinities, no negative zero (FNUZ).
    NegativeZeroNan,
    /// Every code is a number (OCP FP4).
    None,
}

use Dtype::*;

/// For every type: the name; the bytes and elements of the smallest part that has whole bytes (a block of the
/// block-quantised types); the number format.
const TABLE: &[(Dtype, &str, (u32, u32), NumberFormat)] = &[
    (BOOL, "BOOL", (1, 1), NumberFormat::Unsigned),
    (F4, "F4", (1, 2), float(2, 1, 1, SpecialValues::None)),
    (F6_E2M3, "F6_E2M3", (3, 4), NumberFormat::Packed),
    (F6_E3M2, "F6_E3M2", (3, 4), NumberFormat::Packed),
    (U8, "U8", (1, 1), NumberFormat::Unsigned),
    (I8, "I8", (1, 1), NumberFormat::Signed),
    (F8_E5M2, "F8_E5M2", (1, 1), float(5, 2, 15, SpecialValues::Ieee)),
    (F8_E4M3, "F8_E4M3", (1, 1), float(4, 3, 7, SpecialValues::AllOnesNan)),
    (
        F8_E8M0,
        "F8_E8M0",
        (1, 1),
        NumberFormat::Float(FloatFormat {
            signed: false,
            exponent_bits: 8,
            mantissa_bits: 0,
            bias: 127,
            special: SpecialValues::AllOnesNan,
        }),
    ),
    (F8_E4M3FNUZ, "F8_E4M3FNUZ", (1, 1), float(4, 3, 8, SpecialValues::NegativeZeroNan)),
    (F8_E5M2FNUZ, "F8_E5M2FNUZ", (1, 1), float(5, 2, 16, SpecialValues::NegativeZeroNan)),
    (I16, "I16", (2, 1), NumberFormat::Signed),
    (U16, "U16", (2, 1), NumberFormat::Unsigned),
    (F16, "F16", (2, 1), float(5, 10, 15, SpecialValues::Ieee)),
    (BF16, "BF16", (2, 1), float(8, 7, 127, SpecialValues::Ieee)),
    (I32, "I32", (4, 1), NumberFormat::Signed),
    (U32, "U32", (4, 1), NumberFormat::Unsigned),
    (F32, "F32", (4, 1), float(8, 23, 127, SpecialValues::Ieee)),
    (C64, "C64", (8, 1), float(8, 23, 127, SpecialValues::Ieee)),
    (F64, "F64", (8, 1), float(11, 52, 1023, SpecialValues::Ieee)),
    (I64, "I64", (8, 1), NumberFormat::Signed),
    (U64, "U64", (8, 1), NumberFormat::Unsigned),
    (Q4_0, "Q4_0", (18, 32), NumberFormat::BlockQuantised),
    (Q4_1, "Q4_1", (20, 32), NumberFormat::BlockQuantised),
    (Q5_0, "Q5_0", (22, 32), NumberFormat::BlockQuantised),
    (Q5_1, "Q5_1", (24, 32), NumberFormat::BlockQuantised),
    (Q8_0, "Q8_0", (34, 32), NumberFormat::BlockQuantised),
    (Q8_1, "Q8_1", (36, 32), NumberFormat::BlockQuantised),
    (Q2_K, "Q2_K", (84, 256), NumberFormat::BlockQuantised),
    (Q3_K, "Q3_K", (110, 256), NumberFormat::BlockQuantised),
    (Q4_K, "Q4_K", (144, 256), NumberFormat::BlockQuantised),
    (Q5_K, "Q5_K", (176, 256), NumberFormat::BlockQuantised),
    (Q6_K, "Q6_K", (210, 256), NumberFormat::BlockQuantised),
    (Q8_K, "Q8_K", (292, 256), NumberFormat::BlockQuantised),
    (IQ2_XXS, "IQ2_XXS", (66, 256), NumberFormat::BlockQuantised),
    (IQ2_XS, "IQ2_XS", (74, 256), NumberFormat::BlockQuantised),
    (IQ3_XXS, "IQ3_XXS", (98, 256), NumberFormat::BlockQuantised),
    (IQ1_S, "IQ1_S", (50, 256), NumberFormat::BlockQuantised),
    (IQ4_NL, "IQ4_NL", (18, 32), NumberFormat::BlockQuantised),
    (IQ3_S, "IQ3_S", (110, 256), NumberFormat::BlockQuantised),
    (IQ2_S, "IQ2_S", (82, 256), NumberFormat::BlockQuantised),
    (IQ4_XS, "IQ4_XS", (136, 256), NumberFormat::BlockQuantised),
    (IQ1_M, "IQ1_M", (56, 256), NumberFormat::BlockQuantised),
    (TQ1_0, "TQ1_0", (54, 256), NumberFormat::BlockQuantised),
    (TQ2_0, "TQ2_0", (66, 256), NumberFormat::BlockQuantised),
    (MXFP4, "MXFP4", (17, 32), NumberFormat::BlockQuantised),
    (NVFP4, "NVFP4", (36, 64), NumberFormat::BlockQuantised),
    (Q1_0, "Q1_0", (18, 128), NumberFormat::BlockQuantised),
    (Q2_0, "Q2_0", (18, 64), NumberFormat::BlockQuantised),
];

const fn float(
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    special: SpecialValues,
) -> NumberFormat {
    NumberFormat::Float(FloatFormat { signed: true, exponent_bits, mantissa_bits, bias, special })
}

impl Dtype {
    /// All types, in the order of the table in `docs/formats.md`.
    pub fn all() -> impl Iterator<Item = Dtype> {
        TABLE.iter().map(|row| row.0)
    }

    /// The types that a safetensors header can name.
    pub fn safetensors_types() -> impl Iterator<Item = Dtype> {
        Dtype::all().filter(|dtype| !dtype.is_block_quantised())
    }

    /// The block-quantised types.
    pub fn block_quantised() -> impl Iterator<Item = Dtype> {
        Dtype::all().filter(|dtype| dtype.is_block_quantised())
    }

    fn row(self) -> &'static (Dtype, &'static str, (u32, u32), NumberFormat) {
        // The table is in the order of the enum; the test `the_table_is_in_enum_order` checks it.
        &TABLE[self as usize]
    }

    /// The canonical name, as in a safetensors header.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Whether the elements are real numbers: floating-point or block-quantised.
    pub fn is_float(self) -> bool {
        matches!(
            self.number_format(),
            NumberFormat::Float(_) | NumberFormat::Packed | NumberFormat::BlockQuantised
        )
    }

    /// Whether this is a block-quantised type, whose elements share scales.
    pub fn is_block_quantised(self) -> bool {
        self.number_format() == NumberFormat::BlockQuantised
    }

    /// The number of bits per element. For a block-quantised type: the bits of a block divided by its elements,
    /// rounded down.
    pub fn bits(self) -> u32 {
        let (bytes, elements) = self.row().2;
        8 * bytes / elements
    }

    /// How the bits of an element encode its value. For [`Dtype::C64`]: the format of each of its two parts.
    pub fn number_format(self) -> NumberFormat {
        self.row().3
    }

    /// The number of bytes that `elements` elements take, or `None` if it overflows or if the elements do not fill
    /// whole bytes or blocks.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        let (bytes, granule) = self.granule();
        if !elements.is_multiple_of(granule) {
            return None;
        }
        // The number of bits must not overflow, as in loaders.
        elements.checked_mul(u64::from(self.bits().max(1)))?;
        (elements / granule).checked_mul(bytes)
    }

    /// The smallest number of bytes that holds whole elements (a block), and the number of elements in it.
    pub fn granule(self) -> (u64, u64) {
        let (bytes, elements) = self.row().2;
        (bytes.into(), elements.into())
    }

    /// The elements that the bytes `range` of a tensor of this type belong to. Both ranges are half-open.
    pub fn elements_in(self, range: [u64; 2]) -> [u64; 2] {
        let (bytes, elements) = self.granule();
        if self.is_block_quantised() {
            return [range[0] / bytes * elements, range[1].div_ceil(bytes) * elements];
        }
        let bits = u64::from(self.bits());
        [range[0] * 8 / bits, (range[1] * 8).div_ceil(bits)]
    }
}

/// The value of a code of a floating-point type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FloatValue {
    /// Not a number.
    Nan,
    /// An infinity, and whether it is negative.
    Infinity(bool),
    /// A finite number. Every value of a type of up to 32 bits is exact in an `f64`.
    Finite(f64),
}

impl FloatFormat {
    /// Splits a code into sign bit, exponent field and mantissa field.
    pub fn fields(&self, code: u64) -> (bool, u64, u64) {
        let mantissa = code & ((1 << self.mantissa_bits) - 1);
        let exponent = code >> self.mantissa_bits & ((1 << self.exponent_bits) - 1);
        let sign = self.signed && code >> (self.mantissa_bits + self.exponent_bits) & 1 == 1;
        (sign, exponent, mantissa)
    }

    /// Decodes a code (IEEE 754-2019 section 3.4; the OCP specifications for the small types).
    pub fn decode(&self, code: u64) -> FloatValue {
        let (sign, exponent, mantissa) = self.fields(code);
        let top = exponent == (1 << self.exponent_bits) - 1;
        match self.special {
            SpecialValues::Ieee if top && mantissa == 0 => return FloatValue::Infinity(sign),
            SpecialValues::Ieee if top => return FloatValue::Nan,
            SpecialValues::AllOnesNan if top && mantissa == (1 << self.mantissa_bits) - 1 => {
                return FloatValue::Nan;
            }
            SpecialValues::NegativeZeroNan if sign && exponent == 0 && mantissa == 0 => {
                return FloatValue::Nan;
            }
            _ => {}
        }
        // Without a sign bit (E8M0) there is no zero and no subnormal: a code is a power of two.
        let implicit = u64::from(exponent != 0 || !self.signed) << self.mantissa_bits;
        let exponent = if self.signed { exponent.max(1) } else { exponent };
        let scale = exponent as i32 - self.bias - self.mantissa_bits as i32;
        let magnitude = libm::ldexp((mantissa | implicit) as f64, scale);
        FloatValue::Finite(if sign { -magnitude } else { magnitude })
    }

    /// Whether a code is a subnormal number: not zero, with an exponent field of zero.
    pub fn is_subnormal(&self, code: u64) -> bool {
        let (_, exponent, mantissa) = self.fields(code);
        self.signed && exponent == 0 && mantissa != 0
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error of parsing a name that is not an element type known to this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype")]
pub struct UnknownDtype;

impl FromStr for Dtype {
    type Err = UnknownDtype;

    /// Parses a canonical name. The case matters: loaders do not know `f32` either.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0).ok_or(UnknownDtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_enum_order() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i, "{}", row.1);
            assert_eq!(row.1.parse::<Dtype>(), Ok(row.0));
        }
    }

    #[test]
    fn sizes_agree_with_the_safetensors_crate() {
        for dtype in Dtype::safetensors_types() {
            let theirs: safetensors::Dtype =
                serde_json::from_value(serde_json::Value::String(dtype.name().into())).unwrap();
            assert_eq!(theirs.bitsize() as u32, dtype.bits(), "{dtype}");
        }
    }

    fn format(dtype: Dtype) -> FloatFormat {
        match dtype.number_format() {
            NumberFormat::Float(format) => format,
            _ => panic!("{dtype} is not a floating-point type"),
        }
    }

    #[test]
    fn sixteen_bit_floats_decode_like_the_half_crate() {
        for code in 0..=u16::MAX {
            for (dtype, theirs) in [
                (F16, half::f16::from_bits(code).to_f64()),
                (BF16, half::bf16::from_bits(code).to_f64()),
            ] {
                match format(dtype).decode(code.into()) {
                    FloatValue::Nan => assert!(theirs.is_nan()),
                    FloatValue::Infinity(negative) => {
                        assert!(theirs.is_infinite() && theirs.is_sign_negative() == negative);
                    }
                    FloatValue::Finite(value) => assert_eq!(value.to_bits(), theirs.to_bits()),
                }
            }
        }
    }

    #[test]
    fn small_floats_decode_as_specified() {
        for (dtype, code, value) in [
            (F8_E4M3, 0x7E, 448.0),
            (F8_E4M3, 0x01, 0.001953125),
            (F8_E5M2, 0x7B, 57344.0),
            (F8_E4M3FNUZ, 0x7F, 240.0),
            (F8_E5M2FNUZ, 0x7F, 57344.0),
            (F8_E8M0, 127, 1.0),
            (F8_E8M0, 0, libm::ldexp(1.0, -127)),
            (F4, 0x7, 6.0),
            (F4, 0x9, -0.5),
        ] {
            assert_eq!(format(dtype).decode(code), FloatValue::Finite(value), "{dtype} {code:#x}");
        }
        assert_eq!(format(F8_E4M3).decode(0x7F), FloatValue::Nan);
        assert_eq!(format(F8_E8M0).decode(0xFF), FloatValue::Nan);
        assert_eq!(format(F8_E4M3FNUZ).decode(0x80), FloatValue::Nan);
        assert_eq!(format(F8_E5M2).decode(0xFC), FloatValue::Infinity(true));
    }

    #[test]
    fn byte_lengths_are_checked() {
        assert_eq!(F4.byte_len(3), None);
        assert_eq!(F6_E2M3.byte_len(4), Some(3));
        assert_eq!(F64.byte_len(u64::MAX / 8), None);
        assert_eq!("f32".parse::<Dtype>(), Err(UnknownDtype));
        assert_eq!(Q4_K.byte_len(512), Some(288));
        assert_eq!(Q4_K.byte_len(128), None);
        assert_eq!(Q4_K.elements_in([143, 145]), [0, 512]);
        assert_eq!(F4.elements_in([1, 2]), [2, 4]);
    }
}
