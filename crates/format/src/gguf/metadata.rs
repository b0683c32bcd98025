//! The metadata of a GGUF file: every value is checked and passed over, the few that matter are kept.

use super::error::{GgufError, GgufRemark};
use super::reader::{Reader, Stop};
use super::{MAX_ALIGNMENT, MAX_NESTING};
use crate::problem::BoundedErrors;
use std::collections::{BTreeMap, HashSet};

/// Most entries.
pub(super) const MAX_ENTRIES: u64 = 1 << 20;
/// Most values that are looked at one by one: strings and truth values of arrays, arrays in arrays.
const MAX_LOOKED_AT: u64 = 1 << 26;
/// Longest key, as the format has it.
const MAX_KEY: u64 = 65535;
/// Longest text that is kept.
const MAX_TEXT: u64 = 256;
/// Most numbers of an array that is looked at for being the same.
const MAX_NUMBERS: u64 = 65536;
/// Most keys whose values are kept because of how they end.
const MAX_KEPT: usize = 64;

/// How an array's values, and an entry's, are typed.
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

    /// For a message.
    fn name(self) -> &'static str {
        match self {
            ValueType::Integer { width: 1, .. } => "integers of 8 bits",
            ValueType::Integer { width: 2, .. } => "integers of 16 bits",
            ValueType::Integer { width: 4, .. } => "integers of 32 bits",
            ValueType::Integer { .. } => "integers of 64 bits",
            ValueType::Float { .. } => "floating-point numbers",
            ValueType::Bool => "truth values",
            ValueType::String => "strings",
            ValueType::Array => "arrays",
        }
    }
}

/// A value, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetadataValue {
    /// An integer from 0 on.
    Unsigned(u64),
    /// A short text.
    Text(String),
    /// An array of integers that are all this one.
    AllEqual(u64),
    /// Anything else, and what it is.
    Other(&'static str),
}

impl MetadataValue {
    /// For a message.
    pub(super) fn shown(&self) -> String {
        match self {
            MetadataValue::Unsigned(number) => number.to_string(),
            MetadataValue::Text(_) => "text".to_owned(),
            MetadataValue::AllEqual(_) => "an array".to_owned(),
            MetadataValue::Other(what) => (*what).to_owned(),
        }
    }
}

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct GgufMetadata {
    /// What tensor offsets are multiples of; `None`: it cannot be known.
    pub alignment: Option<u64>,
    /// Values by key.
    pub kept: BTreeMap<String, MetadataValue>,
}

impl GgufMetadata {
    /// The number of heads that a key with this ending states for the architecture.
    pub(super) fn heads(&self, architecture: &str, ending: &str) -> Option<u32> {
        match self.kept.get(&format!("{architecture}.{ending}"))? {
            MetadataValue::Unsigned(heads) | MetadataValue::AllEqual(heads) => {
                u32::try_from(*heads).ok()
            }
            _ => None,
        }
    }
}

/// Numbers of attention heads.
pub(super) const HEADS: &str = "attention.head_count";
/// Numbers of key and value heads.
pub(super) const KEY_VALUE_HEADS: &str = "attention.head_count_kv";

/// Whether the value of a key is kept.
fn matters(key: &str) -> bool {
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
    let mut reading = MetadataReader { reader, errors, looked_at: 0, nested: None };
    let mut metadata = GgufMetadata { alignment: Some(32), ..GgufMetadata::default() };
    // Keys by their digests: they may be long, and many.
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    let mut key = Vec::new();
    for _ in 0..count {
        let at = reading.reader.position();
        let known = reading.key(&mut key)?;
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(&key).as_bytes()[..16]);
        let text = String::from_utf8_lossy(&key);
        if known && !seen.insert(digest) {
            reading.errors.push(GgufError::DuplicateKey { key: text.clone().into_owned() });
        }
        if key.is_empty() && known {
            reading.errors.push(GgufError::EmptyKey { at });
        } else if std::str::from_utf8(&key).is_err() {
            reading.errors.push(GgufError::KeyNotUtf8 { key: text.clone().into_owned(), at });
        } else if key.contains(&0) {
            reading.errors.push(GgufError::KeyNul { key: text.clone().into_owned(), at });
        }
        let kind = reading.kind(&text)?;
        if &*text == "general.alignment" {
            metadata.alignment = reading.alignment(kind)?;
            continue;
        }
        let keep = matters(&text) && metadata.kept.len() < MAX_KEPT && key.len() < 512;
        let value = reading.value(kind, &text, 0, keep)?;
        if keep {
            metadata.kept.insert(text.into_owned(), value);
        }
    }
    remarks.extend(reading.nested.map(|key| GgufRemark::NestedArray { key }));
    Ok(metadata)
}

struct MetadataReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    errors: &'r mut BoundedErrors<GgufError>,
    /// Values that were looked at one by one.
    looked_at: u64,
    /// The first key with arrays in an array.
    nested: Option<String>,
}

impl MetadataReader<'_, '_> {
    /// Reads a key into `key`; `false`: it was too long for that.
    fn key(&mut self, key: &mut Vec<u8>) -> Result<bool, Stop> {
        key.clear();
        let at = self.reader.position();
        let length = self.string_length("a metadata key")?;
        if length > MAX_KEY {
            self.errors.push(GgufError::KeyTooLong { length, at });
            // Its beginning, for messages.
            self.reader.each(64, |piece| key.extend_from_slice(piece))?;
            self.reader.skip(length - 64);
            key.retain(u8::is_ascii_graphic);
            return Ok(false);
        }
        self.reader.each(length, |piece| key.extend_from_slice(piece))?;
        Ok(true)
    }

    /// Reads the length of a string, which is in the file.
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

    /// `general.alignment`, where it is one.
    fn alignment(&mut self, kind: ValueType) -> Result<Option<u64>, Stop> {
        const PLAIN: ValueType = ValueType::Integer { width: 4, signed: false };
        let value = self.value(kind, "general.alignment", 0, true)?;
        let error = match value {
            MetadataValue::Unsigned(number) if kind == PLAIN => {
                let alignment = number as u32;
                if !alignment.is_power_of_two() || alignment < 8 {
                    GgufError::BadAlignment { alignment }
                } else if number > MAX_ALIGNMENT {
                    GgufError::HugeAlignment { alignment }
                } else {
                    return Ok(Some(number));
                }
            }
            MetadataValue::Unsigned(_) => GgufError::AlignmentType { found: "another integer" },
            MetadataValue::Text(_) => GgufError::AlignmentType { found: "text" },
            MetadataValue::AllEqual(_) => GgufError::AlignmentType { found: "an array" },
            MetadataValue::Other(found) => GgufError::AlignmentType { found },
        };
        self.errors.push(error);
        Ok(None)
    }

    /// Checks a value and passes over it; what `keep` asks for is given.
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
                Ok(MetadataValue::Other("a truth value"))
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
        let least = match kind {
            ValueType::Integer { width, .. } | ValueType::Float { width } => width.into(),
            ValueType::Bool => 1,
            ValueType::String => self.reader.length_width(),
            ValueType::Array => 4 + self.reader.length_width(),
        };
        let Some(bytes) = count.checked_mul(least).filter(|bytes| *bytes <= left) else {
            let (key, kind) = (key.to_owned(), kind.name());
            return Err(GgufError::ArrayPastEnd { key, kind, count, left, at }.into());
        };
        match kind {
            ValueType::Integer { .. } if keep && count <= MAX_NUMBERS => {
                return self.numbers(kind, key, count);
            }
            ValueType::Integer { .. } | ValueType::Float { .. } => self.reader.skip(bytes),
            ValueType::Bool => {
                self.look_at(count)?;
                self.truth_values(key, count)?;
            }
            ValueType::String => {
                self.look_at(count)?;
                for _ in 0..count {
                    let length = self.string_length("a string")?;
                    self.reader.skip(length);
                }
            }
            ValueType::Array => {
                self.look_at(count)?;
                for _ in 0..count {
                    self.array(key, depth + 1, false)?;
                }
            }
        }
        Ok(MetadataValue::Other("an array"))
    }

    /// Numbers of an array, which are few.
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

    fn truth_values(&mut self, key: &str, count: u64) -> Result<(), Stop> {
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

    /// Counts values that are looked at one by one.
    fn look_at(&mut self, count: u64) -> Result<(), Stop> {
        self.looked_at = self.looked_at.saturating_add(count);
        if self.looked_at > MAX_LOOKED_AT {
            let (what, limit) = ("strings, truth values and arrays in arrays", MAX_LOOKED_AT);
            return Err(GgufError::TooMuchMetadata { what, limit }.into());
        }
        Ok(())
    }
}
