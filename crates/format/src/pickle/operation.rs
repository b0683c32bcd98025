//! Decodes the operations of pickles, protocols 0 to 5.
//!
//! Source: `pickletools` of Python, which documents the name, code and argument of each operation.

use super::error::Fault;

/// An operation with its argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation<'a> {
    /// An operation without effect, such as a frame.
    Nothing,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    /// A value without a node.
    Push(super::value::Value),
    Text(String),
    EmptyList,
    EmptyDict,
    EmptyTuple,
    EmptySet,
    /// Makes a tuple of the top values; the argument is their number.
    TupleOf(usize),
    /// Makes a tuple of the values from the mark on.
    Tuple,
    List,
    Dict,
    FrozenSet,
    Append,
    Appends,
    SetItem,
    SetItems,
    AddItems,
    Global {
        module: &'a str,
        name: &'a str,
    },
    StackGlobal,
    Instance {
        module: &'a str,
        name: &'a str,
    },
    Object,
    NewObject,
    NewObjectEx,
    Reduce,
    Build,
    PersistentText,
    Persistent,
    Extension(u32),
    Get(u32),
    Put(u32),
    Memoize,
}

/// Reads operations from bytes.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).ok_or(Fault::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from(self.u8()?) | u16::from(self.u8()?) << 8)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from(self.u32()?) | u64::from(self.u32()?) << 32)
    }

    /// Takes a stated number of bytes.
    fn counted(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        self.take(usize::try_from(count).map_err(|_| Fault::Truncated)?)
    }

    /// Takes a line without its newline.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Fault::Truncated)?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn text_line(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.line()?)
            .map_err(|_| Fault::Malformed { what: "a name is not UTF-8" })
    }

    /// Decodes the next operation.
    pub(super) fn next(&mut self) -> Result<Operation<'a>, Fault> {
        use super::value::Value::{Bool, Float, Int, None as Nothing, Opaque};
        use Operation::*;
        let code = self.u8()?;
        let malformed = |what| Fault::Malformed { what };
        Ok(match code {
            b'(' => Mark,
            b'.' => Stop,
            b'0' => Pop,
            b'1' => PopMark,
            b'2' => Dup,
            b'N' => Push(Nothing),
            0x88 => Push(Bool(true)),
            0x89 => Push(Bool(false)),
            b'I' => match self.line()? {
                b"00" => Push(Bool(false)),
                b"01" => Push(Bool(true)),
                digits => Push(integer(digits).ok_or(malformed("a number has no digits"))?),
            },
            b'L' => {
                let digits = self.line()?;
                let digits = digits.strip_suffix(b"L").unwrap_or(digits);
                Push(integer(digits).ok_or(malformed("a number has no digits"))?)
            }
            b'J' => Push(Int(i64::from(self.u32()? as i32))),
            b'K' => Push(Int(self.u8()?.into())),
            b'M' => Push(Int(self.u16()?.into())),
            0x8A => {
                let count = self.u8()?;
                Push(long(self.counted(count.into())?))
            }
            0x8B => {
                let count = self.u32()?;
                Push(long(self.counted(count.into())?))
            }
            b'F' => {
                let digits = std::str::from_utf8(self.line()?).ok();
                Push(digits.and_then(|text| text.trim().parse().ok()).map_or(Opaque, Float))
            }
            b'G' => {
                let bits = u64::from(self.u32()?) | u64::from(self.u32()?) << 32;
                Push(Float(f64::from_bits(bits.swap_bytes())))
            }
            // Strings of Python 2, which are bytes or names.
            b'S' => text(&unquoted(self.line()?).ok_or(malformed("a string has no quotes"))?),
            b'T' => {
                let count = self.u32()?;
                text(self.counted(count.into())?)
            }
            b'U' => {
                let count = self.u8()?;
                text(self.counted(count.into())?)
            }
            b'V' => escaped(self.line()?).map_or(Push(Opaque), Text),
            b'X' => {
                let count = self.u32()?;
                text(self.counted(count.into())?)
            }
            0x8C => {
                let count = self.u8()?;
                text(self.counted(count.into())?)
            }
            0x8D => {
                let count = self.u64()?;
                text(self.counted(count)?)
            }
            b'B' => {
                let count = self.u32()?;
                self.counted(count.into())?;
                Push(Opaque)
            }
            b'C' => {
                let count = self.u8()?;
                self.counted(count.into())?;
                Push(Opaque)
            }
            0x8E | 0x96 => {
                let count = self.u64()?;
                self.counted(count)?;
                Push(Opaque)
            }
            b']' => EmptyList,
            b'}' => EmptyDict,
            b')' => EmptyTuple,
            0x8F => EmptySet,
            0x85 => TupleOf(1),
            0x86 => TupleOf(2),
            0x87 => TupleOf(3),
            b't' => Tuple,
            b'l' => List,
            b'd' => Dict,
            0x91 => FrozenSet,
            b'a' => Append,
            b'e' => Appends,
            b's' => SetItem,
            b'u' => SetItems,
            0x90 => AddItems,
            b'c' => Global { module: self.text_line()?, name: self.text_line()? },
            0x93 => StackGlobal,
            b'i' => Instance { module: self.text_line()?, name: self.text_line()? },
            b'o' => Object,
            0x81 => NewObject,
            0x92 => NewObjectEx,
            b'R' => Reduce,
            b'b' => Build,
            b'P' => {
                self.line()?;
                PersistentText
            }
            b'Q' => Persistent,
            0x82 => Extension(self.u8()?.into()),
            0x83 => Extension(self.u16()?.into()),
            0x84 => Extension(self.u32()?),
            b'g' => Get(number(self.line()?).ok_or(malformed("a memo index is not a number"))?),
            b'h' => Get(self.u8()?.into()),
            b'j' => Get(self.u32()?),
            b'p' => Put(number(self.line()?).ok_or(malformed("a memo index is not a number"))?),
            b'q' => Put(self.u8()?.into()),
            b'r' => Put(self.u32()?),
            0x94 => Memoize,
            // An out-of-band buffer, and a buffer that becomes read-only.
            0x97 => Push(Opaque),
            0x98 => Operation::Nothing,
            0x80 => match self.u8()? {
                0..=5 => Operation::Nothing,
                protocol => return Err(Fault::Protocol { protocol }),
            },
            0x95 => {
                let count = self.u64()?;
                // Every reader refuses an incomplete frame.
                if count > (self.bytes.len() - self.at) as u64 {
                    return Err(Fault::Truncated);
                }
                Operation::Nothing
            }
            code => return Err(Fault::Operation { code }),
        })
    }
}

/// Parses an integer as Python does: with a sign, a prefix for the base, and underscores between digits. An integer
/// of more than 64 bits is opaque.
fn integer(digits: &[u8]) -> Option<super::value::Value> {
    use super::value::Value::{Int, Opaque};
    let text = std::str::from_utf8(digits).ok()?.trim();
    let plain = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (base, plain) = match plain.get(..2) {
        Some("0x" | "0X") => (16, &plain[2..]),
        Some("0o" | "0O") => (8, &plain[2..]),
        Some("0b" | "0B") => (2, &plain[2..]),
        _ => (10, plain),
    };
    let plain = plain.replace('_', "");
    if plain.is_empty() || !plain.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    // One Python reader takes such numbers as octal, and another refuses them.
    if base == 10 && plain.len() > 1 && plain.starts_with('0') {
        return Some(Opaque);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    Some(i64::from_str_radix(&format!("{sign}{plain}"), base).map_or(Opaque, Int))
}

fn number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?.trim();
    text.strip_prefix('+').unwrap_or(text).replace('_', "").parse().ok()
}

/// Parses a little-endian integer in two's complement.
fn long(bytes: &[u8]) -> super::value::Value {
    use super::value::Value::{Int, Opaque};
    let Some(last) = bytes.last() else { return Int(0) };
    let fill = if last & 0x80 == 0 { 0 } else { 0xFF };
    let mut wide = [fill; 8];
    if bytes.iter().skip(8).any(|byte| *byte != fill) {
        return Opaque;
    }
    let kept = bytes.len().min(8);
    wide[..kept].copy_from_slice(&bytes[..kept]);
    let value = i64::from_le_bytes(wide);
    if bytes.len() > 8 && (value < 0) != (fill != 0) { Opaque } else { Int(value) }
}

/// Parses text. What is not UTF-8 is opaque, because Python accepts lone surrogates, which Rust cannot represent.
fn text(bytes: &[u8]) -> Operation<'static> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Operation::Text(text.to_owned()),
        Err(_) => Operation::Push(super::value::Value::Opaque),
    }
}

/// Parses a quoted Python string and resolves the escapes that names can have.
fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let quote = line.first().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let inner = line.get(1..)?.strip_suffix(&[*quote])?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match *bytes.next()? {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'x' => {
                let digits = [*bytes.next()?, *bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                text.push(u8::from_str_radix(digits, 16).ok()?);
            }
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    match bytes.as_slice().first() {
                        Some(digit @ b'0'..=b'7') => value = value * 8 + u32::from(digit - b'0'),
                        _ => break,
                    }
                    bytes.next();
                }
                text.push(value as u8);
            }
            other => text.push(other),
        }
    }
    Some(text)
}

/// Parses text in the raw-unicode-escape encoding of Python, with `\uXXXX` and `\UXXXXXXXX` for characters outside of
/// Latin-1. Returns `None` if it is invalid or contains surrogates.
fn escaped(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        let digits = match (byte, line.get(at + 1)) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            // The second of two backslashes does not start an escape.
            (b'\\', Some(next)) => {
                text.extend(['\\', char::from(*next)]);
                at += 2;
                continue;
            }
            _ => {
                text.push(char::from(*byte));
                at += 1;
                continue;
            }
        };
        let code = std::str::from_utf8(line.get(at + 2..at + 2 + digits)?).ok()?;
        let plain = code.bytes().all(|digit| digit.is_ascii_hexdigit());
        let code = u32::from_str_radix(code, 16).ok().filter(|_| plain)?;
        text.push(char::from_u32(code)?);
        at += 2 + digits;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::value::Value;

    #[test]
    fn integers_of_all_widths() {
        assert_eq!(long(b""), Value::Int(0));
        assert_eq!(long(b"\xff"), Value::Int(-1));
        assert_eq!(long(b"\xff\x00"), Value::Int(255));
        assert_eq!(long(b"\xff\xff\xff\xff\xff\xff\xff\xff\x00"), Value::Opaque);
        assert_eq!(long(b"\x01\0\0\0\0\0\0\0\0"), Value::Int(1));
        assert_eq!(long(&[0xFF; 12]), Value::Int(-1));
        assert_eq!(integer(b"-12"), Some(Value::Int(-12)));
        assert_eq!(integer(b"99999999999999999999"), Some(Value::Opaque));
        assert_eq!(integer(b"0x10"), Some(Value::Int(16)));
        assert_eq!(integer(b"-0b1_1 "), Some(Value::Int(-3)));
        assert_eq!(integer(b"1_000"), Some(Value::Int(1000)));
        assert_eq!((integer(b"010"), integer(b"0")), (Some(Value::Opaque), Some(Value::Int(0))));
        assert_eq!((integer(b"0x"), integer(b"x"), integer(b"12a")), (None, None, None));
        assert_eq!((number(b"1_0"), number(b" +7"), number(b"-1")), (Some(10), Some(7), None));
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(unquoted(br"'o\x73'").as_deref(), Some(&b"os"[..]));
        assert_eq!(unquoted(br"'o\163'").as_deref(), Some(&b"os"[..]));
        assert_eq!(unquoted(b"os"), None);
        assert_eq!(escaped(br"o\u0073").as_deref(), Some("os"));
        assert_eq!(escaped(br"\U0000006fs").as_deref(), Some("os"));
        assert_eq!(escaped(br"\\u0073").as_deref(), Some(r"\\u0073"));
        for none in [&br"\u00"[..], br"\u+073", br"\ud800"] {
            assert_eq!(escaped(none), None);
        }
    }
}
