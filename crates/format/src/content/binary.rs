//! What is known by a few bytes and something that must hold besides: programs, media in common containers,
//! compiled Python, tables at the end of a file.

use super::super::safetensors;
use super::ContentClass::{self, *};
use super::probe::FileProbe;
use super::text::{is_json_begun, is_json_value};
use flate2::{Decompress, FlushDecompress};
use std::io;

/// What a file begins like, where the table does not say.
pub(super) fn classify(look: &FileProbe<'_>) -> io::Result<Option<ContentClass>> {
    Ok(if is_pe(look)? {
        Some(Pe)
    } else if let Some(class) = riff(look).or_else(|| iso(look)).or_else(|| cafe_babe(look)) {
        Some(class)
    } else if is_compiled_python(look) {
        Some(Bytecode)
    } else if is_events(look) {
        Some(Events)
    } else if is_zlib(look) {
        Some(Compressed)
    } else if is_msgpack(look) {
        Some(Msgpack)
    } else if look.tail().ends_with(TABLE_END) {
        // LevelDB, which the form comes from, has tables of anything.
        Some(if matches!(look.extension().as_str(), "ldb" | "sst") {
            Table
        } else {
            TensorflowBundle
        })
    } else {
        None
    })
}

/// What the table of tensors of a TensorFlow checkpoint ends with.
const TABLE_END: &[u8] = &0xdb47_7524_8b80_fb57_u64.to_le_bytes();

/// Whether a file begins with the header of a safetensors file: its length is one, and what can be seen of
/// its text is that of a JSON object.
pub(super) fn is_safetensors(look: &FileProbe<'_>) -> io::Result<bool> {
    let Some((length, rest)) = look.head.split_first_chunk::<8>() else { return Ok(false) };
    let length = u64::from_le_bytes(*length);
    if !safetensors::is_length(length, look.bytes) {
        return Ok(false);
    }
    let text = rest.get(..rest.len().min(length as usize)).unwrap_or_default();
    let Some(first) = text.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return Ok(false);
    };
    if text.get(first) != Some(&b'{') {
        return Ok(false);
    }
    if text.len() as u64 == length {
        return Ok(is_json_value(text));
    }
    let last = look.read_at(8 + length - 1, 1)?;
    Ok(is_json_begun(text) && matches!(last.first(), Some(b'}' | b' ' | b'\n')))
}

/// A program of Windows, or one that runs on all systems and begins like one.
fn is_pe(look: &FileProbe<'_>) -> io::Result<bool> {
    if look.has(0, b"MZqFpD=") || look.has(0, b"jartsr=") {
        return Ok(true);
    }
    let Some(at) = look.u32(0x3c).filter(|_| look.has(0, b"MZ")) else { return Ok(false) };
    Ok(look.read_at(at.into(), 4)? == b"PE\0\0")
}

fn riff(look: &FileProbe<'_>) -> Option<ContentClass> {
    if !look.has(0, b"RIFF") && !look.has(0, b"RF64") {
        return None;
    }
    match look.head.get(8..12)? {
        b"WAVE" => Some(Audio),
        b"WEBP" => Some(Image),
        b"AVI " => Some(Video),
        _ => None,
    }
}

/// The container of MPEG-4: its first box tells the brand.
fn iso(look: &FileProbe<'_>) -> Option<ContentClass> {
    if !look.has(4, b"ftyp") {
        return None;
    }
    match look.head.get(8..12)? {
        b"M4A " | b"M4B " => Some(Audio),
        b"avif" | b"avis" | b"heic" | b"heix" | b"mif1" => Some(Image),
        _ => Some(Video),
    }
}

/// Programs for several processors of macOS and classes of Java begin alike.
fn cafe_babe(look: &FileProbe<'_>) -> Option<ContentClass> {
    /// The first version of classes; there are fewer processors.
    const CLASSES: u32 = 45;
    if !look.has(0, b"\xca\xfe\xba\xbe") && !look.has(0, b"\xca\xfe\xba\xbf") {
        return None;
    }
    let version = u32::from_be_bytes(*look.head.get(4..)?.first_chunk()?);
    Some(if version & 0xFFFF < CLASSES { MachO } else { Bytecode })
}

/// The numbers of Python 3 and a line end, then flags.
fn is_compiled_python(look: &FileProbe<'_>) -> bool {
    let Some(number) = look.u32(0) else { return false };
    number >> 16 == 0x0A0D
        && (3000..4200).contains(&(number & 0xFFFF))
        && look.u32(4).is_some_and(|flags| flags <= 3)
        && look.bytes > 16
}

/// Records of TensorBoard: the first one states the version.
fn is_events(look: &FileProbe<'_>) -> bool {
    look.has(12, b"\x09") && look.has(21, b"\x1a") && look.has(23, b"brain.Event:")
}

/// Two bytes say little: it must unpack, too.
fn is_zlib(look: &FileProbe<'_>) -> bool {
    let [first @ 0x78, second, ..] = look.head[..] else { return false };
    if !(u16::from(first) << 8 | u16::from(second)).is_multiple_of(31) || second & 0x20 != 0 {
        return false;
    }
    let mut unpacking = Decompress::new(true);
    let mut plain = vec![0; 64 << 10];
    let done = unpacking.decompress(&look.head, &mut plain, FlushDecompress::None);
    done.is_ok() && unpacking.total_out() > 0
}

/// MessagePack as Flax writes it: a map whose first key is text and whose first value is a map or an
/// array of its own kind. It has no magic number: the name must promise it.
fn is_msgpack(look: &FileProbe<'_>) -> bool {
    if look.extension() != "msgpack" {
        return false;
    }
    let rest = match look.head[..] {
        [0x80] => return true,
        [0x81..=0x8F, ref rest @ ..] => rest,
        [0xDE, _, _, ref rest @ ..] => rest,
        [0xDF, _, _, _, _, ref rest @ ..] => rest,
        _ => return false,
    };
    let (length, rest) = match *rest {
        [byte @ 0xA0..=0xBF, ref rest @ ..] => (usize::from(byte & 0x1F), rest),
        [0xD9, length, ref rest @ ..] => (usize::from(length), rest),
        [0xDA, high, low, ref rest @ ..] => (usize::from(high) << 8 | usize::from(low), rest),
        _ => return false,
    };
    let key = rest.get(..length).and_then(|key| std::str::from_utf8(key).ok());
    let value = rest.get(length);
    key.is_some() && matches!(value, Some(0x80..=0x8F | 0xDE | 0xDF | 0xC7..=0xC9 | 0xD4..=0xD8))
}

/// Whether a file of HDF5 begins behind something else: it may at 512, 1024, 2048 … bytes.
pub(super) fn is_late_hdf5(look: &FileProbe<'_>, most: u64) -> io::Result<bool> {
    const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut at = 512;
    while at < look.bytes.min(most) {
        if look.read_at(at, MAGIC.len())? == MAGIC {
            return Ok(true);
        }
        at *= 2;
    }
    Ok(false)
}

/// Whether there is nothing but zeros in a file whose head is so. Of a long one, behind the first part a piece
/// is looked at here and there: a file can be said to be longer than anybody could read.
pub(super) fn is_zeros(look: &FileProbe<'_>) -> io::Result<bool> {
    const STEP: usize = 1 << 20;
    /// How much is looked at in order, and how many pieces of the rest.
    const FRONT: u64 = 64 << 20;
    const PIECES: u64 = 64;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !is_zero(&look.head) || !is_zero(look.tail()) {
        return Ok(false);
    }
    let mut at = look.head.len() as u64;
    while at < look.bytes {
        if !is_zero(&look.read_at(at, STEP)?) {
            return Ok(false);
        }
        let apart = if at < FRONT { 0 } else { look.bytes.saturating_sub(FRONT) / PIECES };
        at += apart.max(STEP as u64);
    }
    Ok(true)
}
