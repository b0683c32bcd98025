//! Parses the header of an `.npy` file, formats 1.0, 2.0 and 3.0.
//!
//! Source: the documentation of `numpy.lib.format`. A file consists of the magic bytes, two bytes of version, the
//! length of the header (two bytes, or four from 2.0 on, little-endian), the text of a Python dictionary with
//! exactly the members `descr`, `fortran_order` and `shape`, padded with spaces and ended by a newline, and the data
//! up to the end of the file.
//!
//! The crate `npyz` (0.9) is not used because it is made for trusted files: it allocates the stated length of the
//! header, multiplies the dimensions unchecked, and its grammar takes time exponential in the nesting of the text.
//! This parser only accepts what NumPy writes for plain arrays.

use tensorseal_base::dtype::Dtype;

/// The start of every file.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header in bytes. `numpy.load` refuses longer headers as well.
pub const MAX_HEADER: usize = 10_000;

/// The number of bytes at the start of a file that are enough to parse any header.
pub const START_LEN: usize = 12 + MAX_HEADER;

/// The largest number of dimensions of a NumPy array.
const MAX_DIMENSIONS: usize = 64;

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyHeader {
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<u64>,
    /// The position of the first byte of the data in the file.
    pub offset: u64,
    /// The length of the data in bytes, up to the end of the file.
    pub bytes: u64,
    /// Whether the first dimension varies fastest instead of the last, if that makes a difference.
    pub fortran: bool,
    /// Whether the elements are big-endian.
    pub big_endian: bool,
}

/// The reason why a file is not a supported array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// The file has another format.
    #[error("is not an .npy file: it does not start with the magic bytes")]
    Magic,
    /// The format version is unsupported.
    #[error("has .npy format {0}.{1}; supported are 1.0, 2.0 and 3.0")]
    Version(u8, u8),
    /// The file ends within its header.
    #[error("ends within its header")]
    Short,
    /// The header is longer than any header of NumPy.
    #[error("has a header of {0} bytes; the limit is {MAX_HEADER} bytes")]
    LongHeader(u64),
    /// The header is not a dictionary as NumPy writes it.
    #[error("has an invalid header: {what} at byte {at} of its text")]
    Syntax {
        /// What is wrong or missing.
        what: &'static str,
        /// The offset in bytes from the start of the text.
        at: usize,
    },
    /// The elements are records.
    #[error("has records as elements; only plain numbers are supported")]
    Records,
    /// The elements are Python objects, stored as a pickle.
    #[error(
        "has Python objects as elements: a pickle, which numpy.load executes with allow_pickle=True"
    )]
    Object,
    /// The element type is unsupported.
    #[error(
        "has elements of type {0}; supported are little-endian integers and floats of 1, 2, 4 or 8 bytes (convert others with array.astype)"
    )]
    Dtype(String),
    /// The array is in Fortran order.
    #[error("is in Fortran order; save numpy.ascontiguousarray(array) instead")]
    Fortran,
    /// The array has more dimensions than NumPy allows.
    #[error("has more than {MAX_DIMENSIONS} dimensions")]
    Dimensions,
    /// The size of the array overflows.
    #[error("has dimensions whose product overflows 64 bits")]
    Overflow,
    /// The file is truncated, or other bytes follow the array.
    #[error("has {has} bytes of data, but its shape and type take {needed}")]
    Length {
        /// The number of bytes after the header.
        has: u64,
        /// The number of bytes of the array.
        needed: u64,
    },
}

/// Like [`parse_any_order`], but accepts only little-endian arrays whose last dimension varies fastest.
///
/// # Errors
/// Returns the errors of [`parse_any_order`], [`NpyError::Fortran`] for Fortran order and [`NpyError::Dtype`] for
/// big-endian elements.
pub fn parse(start: &[u8], file_bytes: u64) -> Result<NpyHeader, NpyError> {
    let header = parse_any_order(start, file_bytes)?;
    if header.fortran {
        return Err(NpyError::Fortran);
    }
    if header.big_endian {
        return Err(NpyError::Dtype(format!("{} (big-endian)", header.dtype)));
    }
    Ok(header)
}

/// Parses the header from the first [`START_LEN`] bytes, or all bytes, of a file of `file_bytes` bytes.
///
/// # Errors
/// Returns an [`NpyError`] if the header is invalid or unsupported, or does not match the length of the file.
pub fn parse_any_order(start: &[u8], file_bytes: u64) -> Result<NpyHeader, NpyError> {
    let (rest, length) = preamble(start)?;
    if length > MAX_HEADER as u64 {
        return Err(NpyError::LongHeader(length));
    }
    let before = start.len() - rest.len();
    let text = rest.get(..length as usize).ok_or(NpyError::Short)?;
    let dictionary = Scanner { text, at: 0 }.dictionary()?;
    let HeaderDictionary { dtype: (dtype, big_endian), fortran, shape } = dictionary;
    // For an array with one dimension both orders are the same.
    let fortran = fortran && shape.iter().filter(|size| **size != 1).count() > 1;
    let offset = before as u64 + length;
    let elements = shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one));
    let needed = elements.and_then(|elements| dtype.byte_len(elements));
    let needed = needed.ok_or(NpyError::Overflow)?;
    let has = file_bytes.saturating_sub(offset);
    if has != needed {
        return Err(NpyError::Length { has, needed });
    }
    Ok(NpyHeader { dtype, shape, offset, bytes: needed, fortran, big_endian })
}

/// Returns the bytes after the magic bytes, the version and the length of the text, and that length.
fn preamble(start: &[u8]) -> Result<(&[u8], u64), NpyError> {
    let (magic, rest) = start.split_first_chunk::<6>().ok_or(NpyError::Magic)?;
    if magic != MAGIC {
        return Err(NpyError::Magic);
    }
    let (&[major, minor], rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Short)?;
    let (length, rest) = match (major, minor) {
        (1, 0) => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Short)?;
            (u64::from(u16::from_le_bytes(*length)), rest)
        }
        (2 | 3, 0) => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(NpyError::Short)?;
            (u64::from(u32::from_le_bytes(*length)), rest)
        }
        _ => return Err(NpyError::Version(major, minor)),
    };
    Ok((rest, length))
}

/// The number of bytes before the data, or `None` if the file does not start with a header.
pub fn header_len(start: &[u8]) -> Option<u64> {
    let (rest, length) = preamble(start).ok()?;
    Some((start.len() - rest.len()) as u64 + length)
}

/// The members of the dictionary.
struct HeaderDictionary {
    /// The element type, and whether it is big-endian.
    dtype: (Dtype, bool),
    fortran: bool,
    shape: Vec<u64>,
}

/// Parses the name that NumPy gives to an element type. Returns the type and whether it is big-endian.
fn dtype_of(descr: &str) -> Option<(Dtype, bool)> {
    let dtype = match descr.get(1..)? {
        "b1" => Dtype::BOOL,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "u2" => Dtype::U16,
        "i2" => Dtype::I16,
        "u4" => Dtype::U32,
        "i4" => Dtype::I32,
        "u8" => Dtype::U64,
        "i8" => Dtype::I64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "c8" => Dtype::C64,
        _ => return None,
    };
    // A single byte has no byte order.
    match descr.bytes().next()? {
        b'|' | b'<' | b'>' if dtype.bits() == 8 => Some((dtype, false)),
        b'<' => Some((dtype, false)),
        b'>' => Some((dtype, true)),
        _ => None,
    }
}

/// Scans the text of a header from left to right, without recursion.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn dictionary(mut self) -> Result<HeaderDictionary, NpyError> {
        let (mut dtype, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{', "no dictionary")?;
        while !self.take(b'}') {
            let at = self.at;
            let twice = |again: bool| match again {
                true => Err(NpyError::Syntax { what: "a member twice", at }),
                false => Ok(()),
            };
            let member = self.string()?;
            self.expect(b':', "no colon")?;
            match member {
                b"descr" => twice(dtype.replace(self.dtype()?).is_some())?,
                b"fortran_order" => twice(fortran.replace(self.truth()?).is_some())?,
                b"shape" => twice(shape.replace(self.shape()?).is_some())?,
                _ => return Err(NpyError::Syntax { what: "an unknown member", at }),
            }
            if !self.take(b',') {
                self.expect(b'}', "no end of the dictionary")?;
                break;
            }
        }
        self.skip_space();
        // Some writers omit the newline.
        if !matches!(self.text.get(self.at..), Some(b"" | b"\n")) {
            return Err(self.error("something after the dictionary"));
        }
        match (dtype, fortran, shape) {
            (Some(dtype), Some(fortran), Some(shape)) => {
                Ok(HeaderDictionary { dtype, fortran, shape })
            }
            _ => Err(self.error("a member is missing")),
        }
    }

    fn error(&self, what: &'static str) -> NpyError {
        NpyError::Syntax { what, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Skips `byte` if it comes next, and returns whether it did.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), NpyError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(otherwise)) }
    }

    /// Parses a string in single or double quotes, without escapes.
    fn string(&mut self) -> Result<&'a [u8], NpyError> {
        self.skip_space();
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'));
        let quote = quote.ok_or_else(|| self.error("no string"))?;
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let plain = |byte: &u8| *byte != quote && *byte != b'\\' && (b' '..=b'~').contains(byte);
        let len = rest.iter().take_while(|byte| plain(byte)).count();
        if rest.get(len) != Some(&quote) {
            return Err(self.error("a string that is not plain"));
        }
        self.at += len + 2;
        Ok(&rest[..len])
    }

    fn dtype(&mut self) -> Result<(Dtype, bool), NpyError> {
        self.skip_space();
        if self.peek() == Some(b'[') {
            return Err(NpyError::Records);
        }
        // A string consists of printable ASCII characters.
        let name = String::from_utf8_lossy(self.string()?);
        if matches!(&*name, "|O" | "O" | "|O8" | "|O4" | "<O" | ">O") {
            return Err(NpyError::Object);
        }
        dtype_of(&name).ok_or_else(|| NpyError::Dtype(name.chars().take(64).collect()))
    }

    fn truth(&mut self) -> Result<bool, NpyError> {
        self.skip_space();
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("neither True nor False"))
    }

    fn shape(&mut self) -> Result<Vec<u64>, NpyError> {
        self.expect(b'(', "no shape")?;
        let mut shape = Vec::new();
        while !self.take(b')') {
            if shape.len() == MAX_DIMENSIONS {
                return Err(NpyError::Dimensions);
            }
            shape.push(self.dimension()?);
            if !self.take(b',') {
                // A single number in parentheses is not a tuple.
                if shape.len() < 2 {
                    return Err(self.error("no comma"));
                }
                self.expect(b')', "no end of the shape")?;
                break;
            }
        }
        Ok(shape)
    }

    fn dimension(&mut self) -> Result<u64, NpyError> {
        self.skip_space();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.error("no dimension"));
        }
        let value = rest[..digits].iter().try_fold(0u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        self.at += digits;
        // Python 2 wrote some numbers with the suffix L.
        self.at += usize::from(self.peek() == Some(b'L'));
        value.ok_or(NpyError::Overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of this version with this text, and data of this length.
    fn file(version: u8, text: &str, data: usize) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([version, 0]);
        match version {
            1 => file.extend((text.len() as u16).to_le_bytes()),
            _ => file.extend((text.len() as u32).to_le_bytes()),
        }
        file.extend(text.as_bytes());
        file.resize(file.len() + data, 0);
        file
    }

    fn read(file: &[u8]) -> Result<NpyHeader, NpyError> {
        parse(&file[..file.len().min(START_LEN)], file.len() as u64)
    }

    fn text(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}   \n")
    }

    #[test]
    fn every_version_type_and_shape_is_read() {
        for version in 1..=3 {
            let text = text("<f4", "False", "(3, 2)");
            let header = read(&file(version, &text, 24)).unwrap();
            let before = if version == 1 { 10 } else { 12 };
            assert_eq!((header.dtype, &header.shape[..]), (Dtype::F32, &[3, 2][..]));
            assert_eq!((header.offset, header.bytes), (before + text.len() as u64, 24));
        }
        for (descr, dtype) in [
            ("|b1", Dtype::BOOL),
            ("|u1", Dtype::U8),
            ("<i1", Dtype::I8),
            ("<u2", Dtype::U16),
            ("<i2", Dtype::I16),
            ("<u4", Dtype::U32),
            ("<i4", Dtype::I32),
            ("<u8", Dtype::U64),
            ("<i8", Dtype::I64),
            ("<f2", Dtype::F16),
            ("<f8", Dtype::F64),
        ] {
            let bytes = dtype.bits() as usize / 8;
            let header = read(&file(1, &text(descr, "False", "()"), bytes)).unwrap();
            assert_eq!((header.dtype, header.shape.len()), (dtype, 0));
        }
        for (shape, read_as) in [("(0,)", vec![0]), ("(2L, 3L)", vec![2, 3]), ("( 6 , )", vec![6])]
        {
            let elements: u64 = read_as.iter().product();
            let header = read(&file(1, &text("<u2", "False", shape), 2 * elements as usize));
            assert_eq!(header.unwrap().shape, read_as);
        }
        // Other orders of the members, double quotes, no newline, one dimension in both orders.
        let other = r#"{"shape": (1,), "fortran_order": True, "descr": "|u1"}"#;
        assert_eq!(read(&file(3, other, 1)).unwrap().shape, [1]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = " ".repeat(MAX_HEADER + 1);
        let many = format!("({})", "1,".repeat(65));
        let dict =
            |descr: &str, fortran: &str, shape: &str| file(1, &text(descr, fortran, shape), 8);
        for (file, expected) in [
            (b"PK\x03\x04 and so on".to_vec(), "not an .npy file"),
            (b"\x93NUM".to_vec(), "not an .npy file"),
            (MAGIC.to_vec(), "ends within"),
            (file(4, "{}", 0), "format 4.0"),
            (file(1, "{}", 0)[..9].to_vec(), "ends within"),
            (file(1, &text("<f8", "False", "(1,)"), 0)[..40].to_vec(), "ends within"),
            (file(2, &long, 0), "the limit is 10000"),
            (file(1, "{}", 0), "a member is missing"),
            (file(1, "[]", 0), "no dictionary"),
            (file(1, "{'descr'}", 0), "no colon"),
            (file(1, "{'descr': '<f8'", 0), "no end of the dictionary"),
            (file(1, "{'descr': '<f8', 'descr': '<f8'}", 0), "a member twice at byte 17"),
            (file(1, "{'other': 1}", 0), "an unknown member"),
            (file(1, &(text("<f8", "False", "(1,)") + "x"), 8), "something after"),
            (file(1, "{'descr': [('a', '<f8')]}", 0), "records as elements"),
            (file(1, "{'de\\x73cr': '<f8'}", 0), "not plain"),
            (dict(">f8", "False", "(1,)"), "type F64 (big-endian); supported are little-endian"),
            (dict("|O", "False", "(1,)"), "Python objects"),
            (dict("<U2", "False", "(1,)"), "type <U2"),
            (dict("|f8", "False", "(1,)"), "type |f8"),
            (dict("", "False", "(1,)"), "type ;"),
            (file(1, &text("<f8", "True", "(2, 2)"), 32), "Fortran order; save"),
            (dict("<f8", "0", "(1,)"), "neither True nor False"),
            (dict("<f8", "False", "(1)"), "no comma"),
            (dict("<f8", "False", "(-1,)"), "no dimension"),
            (dict("<f8", "False", "[1]"), "no shape"),
            (dict("<f8", "False", "(1, 2 3)"), "no end of the shape"),
            (dict("<f8", "False", &many), "more than 64 dimensions"),
            (dict("<f8", "False", "(18446744073709551616,)"), "overflows"),
            (dict("<f8", "False", "(4294967296, 4294967296)"), "overflows"),
            (dict("<f8", "False", "(2305843009213693952,)"), "overflows"),
            (dict("<f8", "False", "(2,)"), "has 8 bytes of data, but its shape and type take 16"),
            (dict("<f4", "False", "(1,)"), "has 8 bytes of data, but its shape and type take 4"),
        ] {
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} is not {expected}");
        }
    }

    /// The deepest text is no deeper than any other: nothing here recurses or tries again.
    #[test]
    fn nesting_costs_nothing() {
        for bracket in ["{", "(", "[", "{'descr': {", "'"] {
            let deep = bracket.repeat(MAX_HEADER / bracket.len());
            assert!(read(&file(2, &deep, 0)).is_err());
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            file_bytes: u64,
        ) {
            let _ = parse(&bytes, file_bytes);
            let mut near = MAGIC.to_vec();
            near.extend([1, 0]);
            near.extend(bytes);
            let _ = parse(&near, file_bytes);
        }

        /// A sound file with some bytes changed, put in or taken out: read or refused, and what is read
        /// lies in the file.
        #[test]
        fn mutations_are_refused_or_lie_in_the_file(
            at in any::<prop::sample::Index>(),
            cut in 0usize..4,
            put in prop::collection::vec(any::<u8>(), 0..4),
            version in 1u8..4,
        ) {
            let mut near = file(version, &text("<i4", "False", "(3, 2)"), 24);
            let at = at.index(near.len());
            near.splice(at..(at + cut).min(near.len()), put);
            if let Ok(header) = read(&near) {
                prop_assert_eq!(header.offset + header.bytes, near.len() as u64);
                let elements: u64 = header.shape.iter().product();
                prop_assert_eq!(header.dtype.byte_len(elements), Some(header.bytes));
            }
        }

        #[test]
        fn every_truncation_is_refused(len in 0usize..100) {
            let whole = file(1, &text("<i4", "False", "(3, 2)"), 24);
            if len < whole.len() {
                prop_assert!(read(&whole[..len]).is_err());
            }
        }
    }
}
