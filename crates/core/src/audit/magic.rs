//! Recognises the start of a file by signatures that random bytes do not have by chance.
//!
//! A bare magic number of two to four bytes turns up in every gigabyte of noise. Each signature here therefore fixes at
//! least 40 bits of the header, 32 of them in non-zero bytes (streams of sparse weights are mostly zeros). Formats with
//! shorter signatures, such as pickles, cannot be recognised this way.

/// The number of bytes, from the start of a file, that the longest signature needs.
pub const MAX_SIGNATURE_LEN: usize = 1100;

/// Whether a known kind of file begins with a byte, by byte.
static IS_FIRST_BYTE: [bool; 256] = first_bytes();

const fn first_bytes() -> [bool; 256] {
    let bytes = [0x7F, b'M', 0xCE, 0xCF, 0xFE, b'P', 0x1F, 0xFD, b'7', b'B', b'R', b'%', b'#', 0];
    let mut first = [false; 256];
    let mut i = 0;
    while i < bytes.len() {
        first[bytes[i] as usize] = true;
        i += 1;
    }
    first
}

/// Returns the kind of file that begins at the start of `bytes`, or `None` if no known kind does.
pub fn at_start(bytes: &[u8]) -> Option<&'static str> {
    let (first, rest) = bytes.split_first()?;
    match first {
        0x7F => elf(rest),
        b'M' => pe(bytes),
        0xCE | 0xCF | 0xFE => mach_o(bytes),
        b'P' => zip(bytes),
        0x1F => gzip(bytes),
        0xFD => bytes.starts_with(b"\xFD7zXZ\0").then_some("xz archive"),
        b'7' => bytes.starts_with(b"7z\xBC\xAF\x27\x1C").then_some("7z archive"),
        b'B' => bzip2(bytes),
        b'R' => bytes.starts_with(b"Rar!\x1A\x07").then_some("RAR archive"),
        b'%' => bytes.starts_with(b"%PDF-1.").then_some("PDF document"),
        b'#' => script(bytes),
        0x00 => bytes.starts_with(b"\0asm\x01\0\0\0").then_some("WebAssembly module"),
        _ => None,
    }
}

/// Returns the first position in `bytes` where a known kind of file begins, and the kind.
pub fn find(bytes: &[u8]) -> Option<(usize, &'static str)> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| IS_FIRST_BYTE[usize::from(**byte)]);
    starts.map(|(at, _)| at).find_map(|at| {
        let end = (at + MAX_SIGNATURE_LEN).min(bytes.len());
        at_start(&bytes[at..end]).map(|kind| (at, kind))
    })
}

fn elf(rest: &[u8]) -> Option<&'static str> {
    // Class, byte order and version (System V ABI, ELF header).
    let is_valid = rest.starts_with(b"ELF")
        && matches!(rest.get(3), Some(1 | 2))
        && matches!(rest.get(4), Some(1 | 2))
        && rest.get(5) == Some(&1);
    is_valid.then_some("ELF executable")
}

fn pe(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    // The offset of the PE header is at 0x3C (Microsoft PE format, MS-DOS stub).
    let at = u32::from_le_bytes(*bytes.get(0x3C..)?.first_chunk()?) as usize;
    (at < 1024 && bytes.get(at..)?.starts_with(b"PE\0\0")).then_some("Windows executable")
}

fn mach_o(bytes: &[u8]) -> Option<&'static str> {
    let magic = u32::from_le_bytes(*bytes.first_chunk()?);
    let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
    let (kind, file_type) = match magic {
        0xFEED_FACE | 0xFEED_FACF => (u32::from_le_bytes(word(4)?), u32::from_le_bytes(word(12)?)),
        0xCEFA_EDFE | 0xCFFA_EDFE => (u32::from_be_bytes(word(4)?), u32::from_be_bytes(word(12)?)),
        _ => return None,
    };
    // x86, ARM and PowerPC, each in a 32-bit and a 64-bit variant.
    let is_valid = matches!(kind & 0x00FF_FFFF, 7 | 12 | 18) && (1..=12).contains(&file_type);
    is_valid.then_some("Mach-O executable")
}

fn zip(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"PK\x03\x04") {
        return None;
    }
    // Version needed and method (APPNOTE 4.4.3 and 4.4.5).
    let version = u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?) & 0xFF;
    let method = u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    let is_valid =
        (10..=63).contains(&version) && matches!(method, 0 | 8 | 9 | 12 | 14 | 93 | 95 | 98 | 99);
    is_valid.then_some("zip archive")
}

fn gzip(bytes: &[u8]) -> Option<&'static str> {
    // Method, flags, extra flags and system (RFC 1952, 2.3).
    let [0x1F, 0x8B, 8, flags, _, _, _, _, extra, system] = bytes.first_chunk::<10>()? else {
        return None;
    };
    let is_valid =
        matches!(flags, 0 | 8) && matches!(extra, 0 | 2 | 4) && matches!(system, 3 | 255);
    is_valid.then_some("gzip archive")
}

fn bzip2(bytes: &[u8]) -> Option<&'static str> {
    let is_valid = bytes.starts_with(b"BZh")
        && matches!(bytes.get(3), Some(b'1'..=b'9'))
        && bytes.get(4..)?.starts_with(b"\x31\x41\x59\x26\x53\x59");
    is_valid.then_some("bzip2 archive")
}

fn script(bytes: &[u8]) -> Option<&'static str> {
    [&b"#!/bin/"[..], b"#!/usr/", b"#! /bin/", b"#! /usr/"]
        .iter()
        .any(|start| bytes.starts_with(start))
        .then_some("script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_their_headers() {
        let mut pe = vec![0; 256];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3C] = 0x80;
        pe[0x80..0x84].copy_from_slice(b"PE\0\0");
        for (bytes, kind) in [
            (b"\x7FELF\x02\x01\x01\0".to_vec(), "ELF executable"),
            (pe, "Windows executable"),
            (b"\xCF\xFA\xED\xFE\x0C\0\0\x01\0\0\0\0\x02\0\0\0".to_vec(), "Mach-O executable"),
            (b"PK\x03\x04\x14\0\0\0\x08\0".to_vec(), "zip archive"),
            (b"\x1F\x8B\x08\0\0\0\0\0\0\x03".to_vec(), "gzip archive"),
            (b"BZh91AY&SY".to_vec(), "bzip2 archive"),
            (b"#!/bin/sh\n".to_vec(), "script"),
        ] {
            assert_eq!(at_start(&bytes), Some(kind));
            let hidden = [&[0x55; 100], &bytes[..]].concat();
            assert_eq!(find(&hidden), Some((100, kind)));
            // A bare magic number is not enough.
            assert_eq!(find(&hidden[..104]), None, "{kind}");
        }
    }

    #[test]
    fn noise_has_no_signature() {
        let mut noise = vec![0; 8 << 20];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
        assert_eq!(find(&noise), None);
        assert_eq!(find(&[]), None);
        for first in 0..=255 {
            assert_eq!(at_start(&[first]), None);
        }
    }
}
