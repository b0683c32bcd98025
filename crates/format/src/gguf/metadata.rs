//! Checks the metadata of a GGUF file and keeps the few values that are used.

use super::error::{GgufError, GgufRemark};
use super::reader::{Reader, Stop};
use super::{MAX_ALIGNMENT, MAX_NESTING};
use crate::problem::BoundedErrors;
use std::collections::{BTreeMap, HashSet};

/// The largest number of metadata entries.
pub(super) const MAX_ENTRIES: u64 = 1 << 20;
/// The largest number of array elements that are checked one by one: strings, Booleans and nested arrays.
const MAX_CHECKED: u64 = 1 << 26;
/// The longest key in bytes that the format allows.
const MAX_KEY: u64 = 65535;
/// The longest text in bytes that is kept.
const MAX_TEXT: u64 = 256;
/// The longest array that is checked for equal numbers.
const MAX_NUMBERS: u64 = 65536;
/// The largest number of keys whose values are kept because of their suffix.
const MAX_KEPT: usize = 64;

/// The type of a metadata value, or of the elements of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueType {
    Integer { width: u8, signed: bool },
    Float { width: u8 },
    Bool,
    String,
    Array,
}

impl ValueType {
    fn of(number: u32) -> Option<ValueType> {
        let integer = |width, signed| ValueType::Integer { width, signed };
        Some(match number {
            0 => integer(1, false),
            1 => integer(1, true),
            2 => integer(2, false),
            3 => integer(2, true),
            4 => integer(4, false),
            5 => integer(4, true),
            6 => ValueType::Float { width: 4 },
            7 => ValueType::Bool,
            8 => ValueType::String,
            9 => ValueType::Array,
            10 => integer(8, false),
            11 => integer(8, true),
            12 => ValueType::Float { width: 8 },
            _ => return None,
        })
    }

    /// The name of values of this type, for messages.
    fn name(self) -> &'static str {
        match self {
            ValueType::Integer { width: 1, .. } => "8-bit integers",
            ValueType::Integer { width: 2, .. } => "16-bit integers",
            ValueType::Integer { width: 4, .. } => "32-bit integers",
            ValueType::Integer { .. } => "64-bit integers",
            ValueType::Float { .. } => "floating-point numbers",
            ValueType::Bool => "Booleans",
            ValueType::String => "strings",
            ValueType::Array => "arrays",
        }
    }
}

/// A metadata value, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetadataValue {
    /// A non-negative integer.
    Unsigned(u64),
    /// A short text.
    Text(String),
    /// An array of integers that all equal this one.
    AllEqual(u64),
    /// Any other value, with its description.
    Other(&'static str),
}

impl MetadataValue {
    /// Describes the value for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            MetadataValue::Unsigned(number) => number.to_string(),
            MetadataValue::Text(_) => "text".to_owned(),
            MetadataValue::AllEqual(_) => "an array".to_owned(),
            MetadataValue::Other(what) => (*what).to_owned(),
        }
    }
}

/// The kept metadata.
#[derive(Debug, Default)]
pub(super) struct GgufMetadata {
    /// The alignment of tensor offsets in bytes, or `None` if it cannot be known.
    pub alignment: Option<u64>,
    /// The kept values by key.
    pub kept: BTreeMap<String, MetadataValue>,
}

impl GgufMetadata {
    /// The number of heads that the key `ARCHITECTURE.SUFFIX` states.
    pub(super) fn heads(&self, architecture: &str, suffix: &str) -> Option<u32> {
        match self.kept.get(&format!("{architecture}.{suffix}"))? {
            MetadataValue::Unsigned(heads) | MetadataValue::AllEqual(heads) => {
                u32::try_from(*heads).ok()
            }
            _ => None,
        }
    }
}

/// The suffix of the key for the number of attention heads.
pub(super) const HEADS: &str = "attention.head_count";
/// The suffix of the key for the number of key-value heads.
pub(super) const KEY_VALUE_HEADS: &str = "attention.head_count_kv";

/// Whether the value of a key is kept.
fn is_kept(key: &str) -> bool {
    match key {
        "general.architecture" | "split.no" | "split.count" | "split.tensors.count" => true,
        _ => key.ends_with(HEADS) || key.ends_with(KEY_VALUE_HEADS),
    }
}

/// Reads `count` entries.
pub(super) fn read(
    reader: &mut Reader<'_>,
    count: u64,
    errors: &mut BoundedErrors<GgufError>,
    remarks: &mut Vec<GgufRemark>,
) -> Result<GgufMetadata, Stop> {
    let mut values = MetadataReader { reader, errors, checked: 0, nested: None };
    let mut metadata = GgufMetadata { alignment: Some(32), ..GgufMetadata::default() };
    // Only digests of the keys are stored, because the keys may be long and many.
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    let mut key = Vec::new();
    for _ in 0..count {
        let at = values.reader.position();
        let is_complete = values.key(&mut key)?;
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(&key).as_bytes()[..16]);
        let text = String::from_utf8_lossy(&key);
        if is_complete && !seen.insert(digest) {
            values.errors.push(GgufError::DuplicateKey { key: text.clone().into_owned() });
        }
        if key.is_empty() && is_complete {
            values.errors.push(GgufError::EmptyKey { at });
        } else if std::str::from_utf8(&key).is_err() {
            values.errors.push(GgufError::KeyNotUtf8 { key: text.clone().into_owned(), at });
        } else if key.contains(&0) {
            values.errors.push(GgufError::KeyNul { key: text.clone().into_owned(), at });
        }
        let kind = values.kind(&text)?;
        if &*text == "general.alignment" {
            metadata.alignment = values.alignment(kind)?;
            continue;
        }
        let keep = is_kept(&text) && metadata.kept.len() < MAX_KEPT && key.len() < 512;
        let value = values.value(kind, &text, 0, keep)?;
        if keep {
            metadata.kept.insert(text.into_owned(), value);
        }
    }
    remarks.extend(values.nested.map(|key| GgufRemark::NestedArray { key }));
    Ok(metadata)
}

struct MetadataReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    errors: &'r mut BoundedErrors<GgufError>,
    /// The number of array elements that were checked one by one.
    checked: u64,
    /// The first key with a nested array.
    nested: Option<String>,
}

impl MetadataReader<'_, '_> {
    /// Reads a key into `key`. Returns `false` if the key is too long, and keeps only its start.
    fn key(&mut self, key: &mut Vec<u8>) -> Result<bool, Stop> {
        key.clear();
        let at = self.reader.position();
        let length = self.string_length("a metadata key")?;
        if length > MAX_KEY {
            self.errors.push(GgufError::KeyTooLong { length, at });
            // Keep the start for messages.
            self.reader.each(64, |piece| key.extend_from_slice(piece))?;
            self.reader.skip(length - 64);
            key.retain(u8::is_ascii_graphic);
            return Ok(false);
        }
        self.reader.each(length, |piece| key.extend_from_slice(piece))?;
        Ok(true)
    }

    /// Reads the length of a string and checks that the string is in the file.
    fn string_length(&mut self, what: &'static str) -> Result<u64, Stop> {
        let at = self.reader.position();
        let length = self.reader.length()?;
        let left = self.reader.left();
        if length > left {
            return Err(GgufError::StringPastEnd { what, length, left, at }.into());
        }
        Ok(length)
    }

    fn kind(&mut self, key: &str) -> Result<ValueType, Stop> {
        let at = self.reader.position();
        let kind = self.reader.u32()?;
        let unknown = || GgufError::UnknownValueType { key: key.to_owned(), kind, at };
        ValueType::of(kind).ok_or_else(|| unknown().into())
    }

    /// Reads `general.alignment`. Returns `None` if it is invalid.
    fn alignment(&mut self, kind: ValueType) -> Result<Option<u64>, Stop> {
        const UINT32: ValueType = ValueType::Integer { width: 4, signed: false };
        let value = self.value(kind, "general.alignment", 0, true)?;
        let error = match value {
            MetadataValue::Unsigned(number) if kind == UINT32 => {
                let alignment = number as u32;
                if !alignment.is_power_of_two() || alignment < 8 {
                    GgufError::BadAlignment { alignment }
                } else if number > MAX_ALIGNMENT {
                    GgufError::HugeAlignment { alignment }
                } else {
                    return Ok(Some(number));
                }
            }
            MetadataValue::Unsigned(_) => {
                GgufError::AlignmentType { found: "an integer of another type" }
            }
            MetadataValue::Text(_) => GgufError::AlignmentType { found: "text" },
            MetadataValue::AllEqual(_) => GgufError::AlignmentType { found: "an array" },
            MetadataValue::Other(found) => GgufError::AlignmentType { found },
        };
        self.errors.push(error);
        Ok(None)
    }

    /// Checks and skips a value. Returns its contents if `keep` is set.
    fn value(
        &mut self,
        kind: ValueType,
        key: &str,
        depth: u32,
        keep: bool,
    ) -> Result<MetadataValue, Stop> {
        let at = self.reader.position();
        match kind {
            ValueType::Integer { width, signed } => {
                let number = self.reader.number(width.into())?;
                let negative = signed && number >> (8 * u32::from(width) - 1) & 1 == 1;
                Ok(if negative {
                    MetadataValue::Other("negative")
                } else {
                    MetadataValue::Unsigned(number)
                })
            }
            ValueType::Float { width } => {
                self.reader.number(width.into())?;
                Ok(MetadataValue::Other("a floating-point number"))
            }
            ValueType::Bool => {
                let [value] = self.reader.array()?;
                if value > 1 {
                    self.errors.push(GgufError::BadBool { key: key.to_owned(), value, at });
                }
                Ok(MetadataValue::Other("a Boolean"))
            }
            ValueType::String => {
                let length = self.string_length("a string")?;
                if !keep || length > MAX_TEXT {
                    self.reader.skip(length);
                    return Ok(MetadataValue::Other("text"));
                }
                let mut text = Vec::with_capacity(length as usize);
                self.reader.each(length, |piece| text.extend_from_slice(piece))?;
                Ok(String::from_utf8(text)
                    .map_or(MetadataValue::Other("text"), MetadataValue::Text))
            }
            ValueType::Array => self.array(key, depth, keep),
        }
    }

    fn array(&mut self, key: &str, depth: u32, keep: bool) -> Result<MetadataValue, Stop> {
        let at = self.reader.position();
        if depth == MAX_NESTING {
            return Err(GgufError::NestedTooDeep { key: key.to_owned() }.into());
        }
        if depth == 1 && self.nested.is_none() {
            self.nested = Some(key.to_owned());
        }
        let kind = self.kind(key)?;
        let count = self.reader.length()?;
        let left = self.reader.left();
        let min_bytes = match kind {
            ValueType::Integer { width, .. } | ValueType::Float { width } => width.into(),
            ValueType::Bool => 1,
            ValueType::String => self.reader.length_width(),
            ValueType::Array => 4 + self.reader.length_width(),
        };
        let Some(bytes) = count.checked_mul(min_bytes).filter(|bytes| *bytes <= left) else {
            let (key, kind) = (key.to_owned(), kind.name());
            return Err(GgufError::ArrayPastEnd { key, kind, count, left, at }.into());
        };
        match kind {
            ValueType::Integer { .. } if keep && count <= MAX_NUMBERS => {
                return self.numbers(kind, key, count);
            }
            ValueType::Integer { .. } | ValueType::Float { .. } => self.reader.skip(bytes),
            ValueType::Bool => {
                self.count_checked(count)?;
                self.booleans(key, count)?;
            }
            ValueType::String => {
                self.count_checked(count)?;
                for _ in 0..count {
                    let length = self.string_length("a string")?;
                    self.reader.skip(length);
                }
            }
            ValueType::Array => {
                self.count_checked(count)?;
                for _ in 0..count {
                    self.array(key, depth + 1, false)?;
                }
            }
        }
        Ok(MetadataValue::Other("an array"))
    }

    /// Reads the numbers of a short array.
    fn numbers(&mut self, kind: ValueType, key: &str, count: u64) -> Result<MetadataValue, Stop> {
        let mut all: Option<MetadataValue> = None;
        let mut equal = true;
        for _ in 0..count {
            let value = self.value(kind, key, 0, false)?;
            equal &= all.as_ref().is_none_or(|first| *first == value);
            all.get_or_insert(value);
        }
        Ok(match all {
            Some(MetadataValue::Unsigned(number)) if equal => MetadataValue::AllEqual(number),
            _ => MetadataValue::Other("an array"),
        })
    }

    fn booleans(&mut self, key: &str, count: u64) -> Result<(), Stop> {
        let mut at = self.reader.position();
        let mut bad = None;
        self.reader.each(count, |piece| {
            if bad.is_none()
                && let Some(place) = piece.iter().position(|&value| value > 1)
            {
                bad = Some((piece[place], at + place as u64));
            }
            at += piece.len() as u64;
        })?;
        if let Some((value, at)) = bad {
            self.errors.push(GgufError::BadBool { key: key.to_owned(), value, at });
        }
        Ok(())
    }

    /// Counts array elements that are checked one by one.
    fn count_checked(&mut self, count: u64) -> Result<(), Stop> {
        self.checked = self.checked.saturating_add(count);
        if self.checked > MAX_CHECKED {
            let (what, limit) = ("strings, Booleans and nested arrays", MAX_CHECKED);
            return Err(GgufError::TooMuchMetadata { what, limit }.into());
        }
        Ok(())
    }
}
