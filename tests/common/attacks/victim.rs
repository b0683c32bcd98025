//! A model held in memory, to be damaged tensor by tensor and put right again.

use half::{bf16, f16};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// The size of a page of memory or disk.
pub(crate) const PAGE: usize = 4096;

/// The element types that are attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
    BF16,
}

impl Float {
    /// Bytes of an element.
    pub(crate) fn width(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// Bits of the mantissa.
    pub(crate) fn mantissa(self) -> u32 {
        match self {
            Self::F32 => 23,
            Self::F16 => 10,
            Self::BF16 => 7,
        }
    }

    /// Bits of the exponent.
    pub(crate) fn exponent(self) -> u32 {
        8 * self.width() as u32 - 1 - self.mantissa()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// The bits of an element.
    pub(crate) fn bits(self, bytes: &[u8]) -> u32 {
        match *bytes {
            [a, b] => u32::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => panic!("{} bytes are no element", bytes.len()),
        }
    }

    pub(crate) fn value(self, bytes: &[u8]) -> f32 {
        let bits = self.bits(bytes);
        match self {
            Self::F32 => f32::from_bits(bits),
            Self::F16 => f16::from_bits(bits as u16).to_f32(),
            Self::BF16 => bf16::from_bits(bits as u16).to_f32(),
        }
    }

    /// A value in this type, rounded to the nearest.
    pub(crate) fn encode(self, value: f32) -> Vec<u8> {
        match self {
            Self::F32 => value.to_le_bytes().to_vec(),
            Self::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Self::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        }
    }
}

/// A tensor of floats: its type, shape, and where its data is in the file.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub float: Float,
    pub shape: Vec<usize>,
    pub range: Range<usize>,
}

impl Placed {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A safetensors file.
pub(crate) struct Victim {
    pub bytes: Vec<u8>,
    tensors: BTreeMap<String, Placed>,
}

impl Victim {
    /// From the bytes of a sound file.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let start = 8 + header;
        let parsed: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..start]).unwrap();
        let numbers = |value: &Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let mut tensors = BTreeMap::new();
        for (name, entry) in parsed {
            let float = match entry["dtype"].as_str() {
                Some("F32") => Float::F32,
                Some("F16") => Float::F16,
                Some("BF16") => Float::BF16,
                _ => continue,
            };
            let offsets = numbers(&entry["data_offsets"]);
            let range = start + offsets[0]..start + offsets[1];
            tensors.insert(name, Placed { float, shape: numbers(&entry["shape"]), range });
        }
        Self { bytes, tensors }
    }

    pub(crate) fn placed(&self, name: &str) -> &Placed {
        self.tensors.get(name).unwrap_or_else(|| panic!("{name} is not a tensor of floats"))
    }

    /// The bytes of a tensor.
    pub(crate) fn data(&self, name: &str) -> &[u8] {
        &self.bytes[self.placed(name).range.clone()]
    }
}

/// A tensor under attack.
pub(crate) struct Target<'a> {
    pub data: &'a mut [u8],
    pub placed: &'a Placed,
    /// The bytes of another tensor of the same type.
    pub sibling: &'a [u8],
    /// Where those begin in the file.
    pub sibling_start: usize,
}

impl Target<'_> {
    pub(crate) fn float(&self) -> Float {
        self.placed.float
    }

    pub(crate) fn elements(&self) -> usize {
        self.data.len() / self.float().width()
    }

    /// The bytes of an element.
    pub(crate) fn element(&self, index: usize) -> Range<usize> {
        let width = self.float().width();
        index * width..(index + 1) * width
    }

    pub(crate) fn bits(&self, index: usize) -> u32 {
        self.float().bits(&self.data[self.element(index)])
    }

    pub(crate) fn set_bits(&mut self, index: usize, bits: u32) {
        let (at, width) = (self.element(index), self.float().width());
        self.data[at].copy_from_slice(&bits.to_le_bytes()[..width]);
    }

    pub(crate) fn value(&self, index: usize) -> f32 {
        self.float().value(&self.data[self.element(index)])
    }

    pub(crate) fn set_value(&mut self, index: usize, value: f32) {
        let at = self.element(index);
        let bytes = self.float().encode(value);
        self.data[at].copy_from_slice(&bytes);
    }

    /// So many whole pages of the file, two fifths of the way in, as bytes of the tensor.
    pub(crate) fn pages(&self, count: usize) -> Range<usize> {
        let from = self.placed.range.start;
        let first = (from + self.data.len() * 2 / 5).next_multiple_of(PAGE) - from;
        assert!(first + count * PAGE <= self.data.len(), "room for {count} pages");
        first..first + count * PAGE
    }

    /// So many bytes from an element on, a third of the way in.
    pub(crate) fn stretch(&self, len: usize) -> Range<usize> {
        let at = self.element(self.elements() / 3).start;
        assert!(at + len <= self.data.len(), "room for {len} bytes");
        at..at + len
    }

    /// Rows and columns of a matrix.
    pub(crate) fn matrix(&self) -> (usize, usize) {
        let rows = self.placed.shape[0];
        (rows, self.elements() / rows)
    }

    /// The row whose square sum is the median.
    pub(crate) fn median_row(&self) -> usize {
        let (rows, columns) = self.matrix();
        self.median(rows, |row| row * columns, columns, 1)
    }

    /// The column whose square sum is the median.
    pub(crate) fn median_column(&self) -> usize {
        let (rows, columns) = self.matrix();
        self.median(columns, |column| column, rows, columns)
    }

    fn median(
        &self,
        lines: usize,
        start: impl Fn(usize) -> usize,
        len: usize,
        step: usize,
    ) -> usize {
        let energy = |line: usize| -> f64 {
            (0..len).map(|i| f64::from(self.value(start(line) + i * step)).powi(2)).sum()
        };
        let mut all: Vec<(f64, usize)> = (0..lines).map(|line| (energy(line), line)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all[lines / 2].1
    }
}
