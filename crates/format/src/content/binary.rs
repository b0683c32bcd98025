//! Recognises binary formats that need more than a magic number: programs, media containers, compiled Python, and
//! formats with a trailer.

use super::super::safetensors;
use super::ContentClass::{self, *};
use super::probe::FileProbe;
use super::text::{is_json_begun, is_json_value};
use flate2::{Decompress, FlushDecompress};
use std::io;

/// Classifies a file that the table of magic numbers does not recognise.
pub(super) fn classify(probe: &FileProbe<'_>) -> io::Result<Option<ContentClass>> {
    Ok(if is_pe(probe)? {
        Some(Pe)
    } else if let Some(class) = riff(probe).or_else(|| iso(probe)).or_else(|| cafe_babe(probe)) {
        Some(class)
    } else if is_compiled_python(probe) {
        Some(Bytecode)
    } else if is_events(probe) {
        Some(Events)
    } else if is_zlib(probe) {
        Some(Compressed)
    } else if is_msgpack(probe) {
        Some(Msgpack)
    } else if probe.tail().ends_with(TABLE_END) {
        // LevelDB, from which the format comes, stores arbitrary tables.
        Some(if matches!(probe.extension().as_str(), "ldb" | "sst") {
            Table
        } else {
            TensorflowBundle
        })
    } else {
        None
    })
}

/// The end of the table of tensors in a TensorFlow checkpoint.
const TABLE_END: &[u8] = &0xdb47_7524_8b80_fb57_u64.to_le_bytes();

/// Whether a file begins with a safetensors header: the length is valid, and the visible text is that of a JSON
/// object.
pub(super) fn is_safetensors(probe: &FileProbe<'_>) -> io::Result<bool> {
    let Some((length, rest)) = probe.head.split_first_chunk::<8>() else { return Ok(false) };
    let length = u64::from_le_bytes(*length);
    if !safetensors::is_length(length, probe.bytes) {
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
    let last = probe.read_at(8 + length - 1, 1)?;
    Ok(is_json_begun(text) && matches!(last.first(), Some(b'}' | b' ' | b'\n')))
}

/// Whether a file is a Windows program, or a portable executable that begins like one.
fn is_pe(probe: &FileProbe<'_>) -> io::Result<bool> {
    if probe.has(0, b"MZqFpD=") || probe.has(0, b"jartsr=") {
        return Ok(true);
    }
    let Some(at) = probe.u32(0x3c).filter(|_| probe.has(0, b"MZ")) else { return Ok(false) };
    Ok(probe.read_at(at.into(), 4)? == b"PE\0\0")
}

fn riff(probe: &FileProbe<'_>) -> Option<ContentClass> {
    if !probe.has(0, b"RIFF") && !probe.has(0, b"RF64") {
        return None;
    }
    match probe.head.get(8..12)? {
        b"WAVE" => Some(Audio),
        b"WEBP" => Some(Image),
        b"AVI " => Some(Video),
        _ => None,
    }
}

/// Classifies an ISO media file (MPEG-4) by the brand in its first box.
fn iso(probe: &FileProbe<'_>) -> Option<ContentClass> {
    if !probe.has(4, b"ftyp") {
        return None;
    }
    match probe.head.get(8..12)? {
        b"M4A " | b"M4B " => Some(Audio),
        b"avif" | b"avis" | b"heic" | b"heix" | b"mif1" => Some(Image),
        _ => Some(Video),
    }
}

/// Distinguishes universal macOS programs from Java classes, which have the same magic number.
fn cafe_babe(probe: &FileProbe<'_>) -> Option<ContentClass> {
    /// The first version of Java classes. Universal programs have fewer architectures.
    const MIN_CLASS_VERSION: u32 = 45;
    if !probe.has(0, b"\xca\xfe\xba\xbe") && !probe.has(0, b"\xca\xfe\xba\xbf") {
        return None;
    }
    let version = u32::from_be_bytes(*probe.head.get(4..)?.first_chunk()?);
    Some(if version & 0xFFFF < MIN_CLASS_VERSION { MachO } else { Bytecode })
}

/// Whether a file begins like compiled Python: a magic number of Python 3, a line end, and flags.
fn is_compiled_python(probe: &FileProbe<'_>) -> bool {
    let Some(number) = probe.u32(0) else { return false };
    number >> 16 == 0x0A0D
        && (3000..4200).contains(&(number & 0xFFFF))
        && probe.u32(4).is_some_and(|flags| flags <= 3)
        && probe.bytes > 16
}

/// Whether a file begins like TensorBoard events: the first record states the version.
fn is_events(probe: &FileProbe<'_>) -> bool {
    probe.has(12, b"\x09") && probe.has(21, b"\x1a") && probe.has(23, b"brain.Event:")
}

/// Whether a file is a zlib stream. Two magic bytes are weak evidence, so it must also decompress.
fn is_zlib(probe: &FileProbe<'_>) -> bool {
    let [first @ 0x78, second, ..] = probe.head[..] else { return false };
    if !(u16::from(first) << 8 | u16::from(second)).is_multiple_of(31) || second & 0x20 != 0 {
        return false;
    }
    let mut decoder = Decompress::new(true);
    let mut plain = vec![0; 64 << 10];
    let outcome = decoder.decompress(&probe.head, &mut plain, FlushDecompress::None);
    outcome.is_ok() && decoder.total_out() > 0
}

/// Whether a file is MessagePack as Flax writes it: a map whose first key is text and whose first value is a map or
/// an extension type. There is no magic number, so the extension must match.
fn is_msgpack(probe: &FileProbe<'_>) -> bool {
    if probe.extension() != "msgpack" {
        return false;
    }
    let rest = match probe.head[..] {
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

/// Whether an HDF5 file begins after other bytes. This is allowed at 512, 1024, 2048 … bytes.
pub(super) fn is_late_hdf5(probe: &FileProbe<'_>, max: u64) -> io::Result<bool> {
    const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut at = 512;
    while at < probe.bytes.min(max) {
        if probe.read_at(at, MAGIC.len())? == MAGIC {
            return Ok(true);
        }
        at *= 2;
    }
    Ok(false)
}

/// Whether a file consists of zeros. Of a long file, only samples are read after the first part, because a sparse
/// file can be longer than anyone could read.
pub(super) fn is_zeros(probe: &FileProbe<'_>) -> io::Result<bool> {
    const STEP: usize = 1 << 20;
    /// The number of bytes that are read completely, and the number of samples of the rest.
    const FRONT: u64 = 64 << 20;
    const SAMPLES: u64 = 64;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !is_zero(&probe.head) || !is_zero(probe.tail()) {
        return Ok(false);
    }
    let mut at = probe.head.len() as u64;
    while at < probe.bytes {
        if !is_zero(&probe.read_at(at, STEP)?) {
            return Ok(false);
        }
        let stride = if at < FRONT { 0 } else { probe.bytes.saturating_sub(FRONT) / SAMPLES };
        at += stride.max(STEP as u64);
    }
    Ok(true)
}
