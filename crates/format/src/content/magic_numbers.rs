//! The table of magic numbers: bytes at a fixed position, and the content class that they identify.

use super::ContentClass::{self, *};
use super::probe::FileProbe;

/// A row of the table.
pub(super) struct MagicNumber {
    /// The position of the bytes.
    pub at: usize,
    /// The bytes.
    pub magic: &'static [u8],
    /// The content class.
    pub class: ContentClass,
    /// The extensions that are required in addition, if the bytes alone are weak evidence. Empty if any name will do.
    pub extensions: &'static [&'static str],
}

const fn row(at: usize, magic: &'static [u8], class: ContentClass) -> MagicNumber {
    MagicNumber { at, magic, class, extensions: &[] }
}

const fn named(
    magic: &'static [u8],
    class: ContentClass,
    extensions: &'static [&'static str],
) -> MagicNumber {
    MagicNumber { at: 0, magic, class, extensions }
}

/// The formats with fixed bytes at a fixed position. Formats that need more are in [`super::binary`],
/// [`super::archive`], [`super::text`] and [`super::protobuf`].
pub(super) const TABLE: &[MagicNumber] = &[
    row(0, b"GGUF", Gguf),
    row(0, b"lmgg", Ggml),
    row(0, b"fmgg", Ggml),
    row(0, b"tjgg", Ggml),
    row(0, b"algg", Ggml),
    row(0, b"\x93NUMPY", Npy),
    row(0, b"\x89HDF\r\n\x1a\n", Hdf5),
    row(4, b"TFL3", TfLite),
    row(4, b"ET12", Executorch),
    row(4, b"ET13", Executorch),
    row(64, b"\xef\xbe\xad\xde", CoreMl),
    row(0, b"7z\xbc\xaf\x27\x1c", SevenZip),
    row(0, b"Rar!\x1a\x07", SevenZip),
    row(0, b"\x1f\x8b\x08", Compressed),
    row(0, b"BZh11AY&SY", Compressed),
    row(0, b"BZh21AY&SY", Compressed),
    row(0, b"BZh31AY&SY", Compressed),
    row(0, b"BZh41AY&SY", Compressed),
    row(0, b"BZh51AY&SY", Compressed),
    row(0, b"BZh61AY&SY", Compressed),
    row(0, b"BZh71AY&SY", Compressed),
    row(0, b"BZh81AY&SY", Compressed),
    row(0, b"BZh91AY&SY", Compressed),
    row(0, b"\xfd7zXZ\0", Compressed),
    row(0, b"\x28\xb5\x2f\xfd", Compressed),
    row(0, b"\x04\x22\x4d\x18", Compressed),
    named(b"\x5d\0\0", Compressed, &["lzma"]),
    row(0, b"\x7fELF", Elf),
    row(0, b"\xfe\xed\xfa\xce", MachO),
    row(0, b"\xfe\xed\xfa\xcf", MachO),
    row(0, b"\xce\xfa\xed\xfe", MachO),
    row(0, b"\xcf\xfa\xed\xfe", MachO),
    row(0, b"\0asm\x01\0\0\0", Wasm),
    row(0, b"dex\n03", Bytecode),
    row(0, b"BC\xc0\xde", Bytecode),
    row(0, b"\x1bLua", Bytecode),
    row(0, b"\x50\xed\x55\xba", Bytecode),
    row(0, b"!<arch>\n", Elf),
    row(0, b"\x89PNG\r\n\x1a\n", Image),
    row(0, b"\xff\xd8\xff", Image),
    row(0, b"GIF87a", Image),
    row(0, b"GIF89a", Image),
    row(0, b"II*\0", Image),
    row(0, b"MM\0*", Image),
    row(0, b"8BPS", Image),
    row(0, b"\0\0\0\x0cjP  \r\n", Image),
    row(0, b"qoif", Image),
    named(b"\0\0\x01\0", Image, &["ico"]),
    named(b"BM", Image, &["bmp"]),
    row(0, b"ID3", Audio),
    row(0, b"fLaC", Audio),
    row(0, b"OggS", Audio),
    row(0, b"MThd\0\0\0\x06", Audio),
    named(b"\xff\xfb", Audio, &["mp3"]),
    named(b"\xff\xf3", Audio, &["mp3"]),
    named(b"\xff\xf1", Audio, &["aac"]),
    row(0, b"\x1a\x45\xdf\xa3", Video),
    row(0, b"FLV\x01", Video),
    row(0, b"\0\0\x01\xba", Video),
    row(0, b"%PDF-", Pdf),
    row(0, b"OTTO\0", Font),
    row(0, b"wOFF", Font),
    row(0, b"wOF2", Font),
    row(0, b"ttcf\0", Font),
    row(0, b"\0\x01\0\0\0", Font),
    row(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Document),
    row(0, b"PAR1", Table),
    row(0, b"ARROW1\0\0", Table),
    row(0, b"FEA1", Table),
    named(b"\xff\xff\xff\xff", Table, &["arrow"]),
    row(0, b"Obj\x01", Table),
    row(0, b"ORC", Table),
    row(0, b"SQLite format 3\0", Table),
];

/// Checks the additional conditions of magic numbers that are so short or so common that other files may begin with
/// them by chance.
fn is_sure(probe: &FileProbe<'_>, row: &MagicNumber) -> bool {
    match row.class {
        // A font has a few table entries of 16 bytes after a header of 12 bytes.
        Font if row.magic == b"\0\x01\0\0\0" => {
            let tables = probe.head.get(4..6).map(|b| u16::from_be_bytes([b[0], b[1]]));
            let tag = probe.head.get(12..16);
            tables.is_some_and(|count| (4..64).contains(&count))
                && tag.is_some_and(|tag| tag.iter().all(|b| b.is_ascii_graphic() || *b == b' '))
        }
        // A Parquet file ends as it begins.
        Table if row.magic == b"PAR1" => probe.tail().ends_with(b"PAR1"),
        Table if row.magic == b"ORC" => {
            let tail = probe.tail();
            tail.get(tail.len().saturating_sub(4)..).is_some_and(|end| end.starts_with(b"ORC"))
        }
        CoreMl => probe.u32(4) == Some(2) && probe.u32(0).is_some_and(|count| count > 0),
        Gguf | Ggml => probe.bytes >= 8,
        _ => true,
    }
}

/// Classifies a file with the table.
pub(super) fn classify(probe: &FileProbe<'_>) -> Option<ContentClass> {
    let extension = probe.extension();
    let fits = |row: &&MagicNumber| {
        probe.has(row.at, row.magic)
            && (row.extensions.is_empty() || row.extensions.contains(&extension.as_str()))
            && is_sure(probe, row)
    };
    TABLE.iter().find(fits).map(|row| row.class)
}
