//! Reads the values of tensors and arrays, piece by piece.

use tensorseal_base::dtype::{Dtype, FloatValue, NumberFormat};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::Tensor;

/// The number of elements in a piece.
pub const PIECE_LEN: usize = 1 << 16;

/// Decodes the elements of a type with elements of whole bytes.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    dtype: Dtype,
    width: usize,
    decode: fn(Dtype, u64) -> f64,
}

impl Decoder {
    /// Creates a decoder for a floating-point type that gives zero for non-finite values; `None` for other types.
    pub fn for_weights(dtype: Dtype) -> Option<Self> {
        let whole = matches!(dtype.number_format(), NumberFormat::Float(format) if format.signed)
            && matches!(dtype.bits(), 8 | 16 | 32 | 64);
        let decode: fn(Dtype, u64) -> f64 = match dtype {
            Dtype::C64 => return None,
            Dtype::F32 => |_, code| finite_or_zero(f64::from(f32::from_bits(code as u32))),
            Dtype::BF16 => |_, code| finite_or_zero(f64::from(f32::from_bits((code as u32) << 16))),
            Dtype::F64 => |_, code| finite_or_zero(f64::from_bits(code)),
            _ => |dtype, code| finite_or_zero(float(dtype, code)),
        };
        whole.then_some(Self { dtype, width: dtype.bits() as usize / 8, decode })
    }

    /// Creates a decoder for a floating-point or integer type that gives all values, rounded to an f64; `None` for other
    /// types.
    pub fn for_numbers(dtype: Dtype) -> Option<Self> {
        match dtype.number_format() {
            NumberFormat::Signed | NumberFormat::Unsigned => {
                let decode = |dtype, code| integer(dtype, code) as f64;
                Some(Self { dtype, width: dtype.bits() as usize / 8, decode })
            }
            _ => Self::for_weights(dtype).map(|weights| Self { decode: float, ..weights }),
        }
    }

    /// Returns the number of bytes of an element: 1, 2, 4 or 8.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the value of an element of [`Decoder::width`] bytes, little-endian.
    pub fn value(&self, element: &[u8]) -> f64 {
        (self.decode)(self.dtype, code(element))
    }
}

/// Returns the bits of a little-endian element of at max_count 8 bytes.
pub fn code(element: &[u8]) -> u64 {
    let mut code = [0; 8];
    for (to, from) in code.iter_mut().zip(element) {
        *to = *from;
    }
    u64::from_le_bytes(code)
}

/// Returns the value of a code of an integer type; a boolean is unsigned.
pub fn integer(dtype: Dtype, code: u64) -> i128 {
    let unused = 64 - dtype.bits().clamp(1, 64);
    match dtype.number_format() {
        NumberFormat::Signed => i128::from((code << unused) as i64 >> unused),
        _ => i128::from(code << unused >> unused),
    }
}

/// Returns the value of a code of a floating-point type; NaN for other types.
pub(crate) fn float(dtype: Dtype, code: u64) -> f64 {
    match dtype.number_format() {
        NumberFormat::Float(format) => match format.decode(code) {
            FloatValue::Finite(value) => value,
            FloatValue::Infinity(true) => f64::NEG_INFINITY,
            FloatValue::Infinity(false) => f64::INFINITY,
            FloatValue::Nan => f64::NAN,
        },
        _ => f64::NAN,
    }
}

/// Returns `value`, or zero if it is not finite.
pub fn finite_or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// The values of one tensor.
pub struct TensorValues<'a> {
    files: &'a FileSet<'a>,
    tensor: &'a Tensor,
    decoder: Decoder,
}

impl<'a> TensorValues<'a> {
    /// Creates a reader for a tensor in one of the files, whose type is that of the decoder.
    pub fn new(files: &'a FileSet<'a>, tensor: &'a Tensor, decoder: Decoder) -> Self {
        Self { files, tensor, decoder }
    }

    /// Returns the number of values.
    pub fn len(&self) -> u64 {
        self.tensor.bytes / self.decoder.width as u64
    }

    /// Returns the type of the tensor.
    pub fn dtype(&self) -> Dtype {
        self.tensor.dtype
    }

    /// Returns the number of bytes of a value.
    pub fn width(&self) -> usize {
        self.decoder.width
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values from `first` on, at max_count `max_count` of them, which bounds the memory that is used.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the file cannot be read, or changed.
    pub fn read(&self, first: u64, max_count: usize) -> Result<Vec<f64>, FileError> {
        let bytes = self.bytes(first, max_count)?;
        Ok(bytes.chunks_exact(self.decoder.width).map(|one| self.decoder.value(one)).collect())
    }

    /// Returns the bytes of the values from `first` on, at max_count `max_count` of them, little-endian.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the file cannot be read, or changed.
    pub fn bytes(&self, first: u64, max_count: usize) -> Result<Vec<u8>, FileError> {
        let count = self.len().saturating_sub(first).min(max_count as u64) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let width = self.decoder.width;
        let start = self.tensor.offset + first * width as u64;
        let mut copy = Vec::new();
        self.files.copy_into(self.tensor.file, start, count * width, &mut copy)?;
        Ok(copy)
    }

    /// Returns the positions at which pieces of [`PIECE_LEN`] begin.
    pub fn starts(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.len()).step_by(PIECE_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype as TheirDtype, TensorView, serialize_to_file};
    use tensorseal_engine::stream::plan::Plan;
    use tensorseal_format::{Checkpoint, OpenOptions};

    #[test]
    fn every_float_type_of_whole_bytes_is_read() {
        for dtype in Dtype::safetensors_types() {
            let readable = Decoder::for_weights(dtype).is_some();
            let expected =
                ["F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F16", "BF16", "F32", "F64"];
            assert_eq!(readable, expected.contains(&dtype.name()), "{dtype}");
            let is_integer =
                matches!(dtype.number_format(), NumberFormat::Signed | NumberFormat::Unsigned);
            assert_eq!(Decoder::for_numbers(dtype).is_some(), readable || is_integer, "{dtype}");
        }
        let value = |decoder: Option<Decoder>, bytes: &[u8]| decoder.unwrap().value(bytes);
        let infinity = 0x7C00u16.to_le_bytes();
        assert_eq!(value(Decoder::for_weights(Dtype::F16), &[0, 0x3C]), 1.0);
        assert_eq!(value(Decoder::for_weights(Dtype::F16), &infinity), 0.0);
        assert_eq!(value(Decoder::for_numbers(Dtype::F16), &infinity), f64::INFINITY);
        for weights in [Dtype::F32, Dtype::F64, Dtype::BF16, Dtype::F8_E4M3] {
            let nan = &[0xFF; 8][..weights.bits() as usize / 8];
            assert_eq!(value(Decoder::for_weights(weights), nan), 0.0);
            assert!(value(Decoder::for_numbers(weights), nan).is_nan());
        }
    }

    #[test]
    fn integers_are_read_with_their_sign() {
        assert_eq!(integer(Dtype::I8, 0xFF), -1);
        assert_eq!(integer(Dtype::U8, 0xFF), 255);
        assert_eq!(integer(Dtype::I16, 0x8000), -32_768);
        assert_eq!(integer(Dtype::I64, u64::MAX), -1);
        assert_eq!(integer(Dtype::U64, u64::MAX), i128::from(u64::MAX));
        assert_eq!(integer(Dtype::BOOL, 1), 1);
        let one = Decoder::for_numbers(Dtype::I32).unwrap();
        assert_eq!(one.value(&(-7i32).to_le_bytes()), -7.0);
    }

    #[test]
    fn pieces_are_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let numbers: Vec<f32> = (0..200_003u32).map(|i| i as f32 - 7.5).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(TheirDtype::F32, vec![numbers.len()], &bytes).unwrap();
        serialize_to_file([("x", view)], None, &path).unwrap();
        let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        let tensor = &model.tensors[0];
        let plan = Plan::from_tensors([(0, tensor)].into_iter());
        let files = FileSet::new(&model.files, &plan);
        let values = TensorValues::new(&files, tensor, Decoder::for_weights(tensor.dtype).unwrap());
        assert_eq!(values.len(), 200_003);
        let pieces: Vec<Vec<f64>> =
            values.starts().map(|first| values.read(first, PIECE_LEN).unwrap()).collect();
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [65_536, 65_536, 65_536, 3395]);
        let all: Vec<f64> = pieces.concat();
        assert!(all.iter().zip(&numbers).all(|(read, wrote)| *read == f64::from(*wrote)));
        assert_eq!(values.read(200_000, 10).unwrap(), [199_992.5, 199_993.5, 199_994.5]);
        assert!(values.read(200_003, 10).unwrap().is_empty());
        assert!(values.read(u64::MAX, 10).unwrap().is_empty());
        files.object_done(tensor.file).unwrap();
    }
}
