//! Malformed GGUF files, and legal ones that look odd.

use super::{Case, Legal, write};
use std::fs;
use std::path::{Path, PathBuf};

/// The file most cases are about.
pub(crate) const GGUF: &str = "model.gguf";

pub(crate) const U8: u32 = 0;
pub(crate) const U16: u32 = 2;
pub(crate) const U32: u32 = 4;
pub(crate) const I32: u32 = 5;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;
pub(crate) const U64: u32 = 10;

/// A file to be written, in any version and byte order.
#[derive(Clone)]
pub(crate) struct File {
    pub version: u32,
    pub big_endian: bool,
    pub alignment: usize,
    pub entries: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub data: Vec<u8>,
    /// Stated in place of the true numbers of tensors and of entries.
    pub counts: [Option<u64>; 2],
}

/// A file of version 3 with an architecture.
pub(crate) fn file() -> File {
    empty(3, false).text("general.architecture", b"llama")
}

/// A file without anything.
pub(crate) fn empty(version: u32, big_endian: bool) -> File {
    let (entries, tensors, data) = (Vec::new(), Vec::new(), Vec::new());
    File { version, big_endian, alignment: 32, entries, tensors, data, counts: [None; 2] }
}

impl File {
    pub(crate) fn n32(&self, number: u32) -> Vec<u8> {
        match self.big_endian {
            true => number.to_be_bytes().to_vec(),
            false => number.to_le_bytes().to_vec(),
        }
    }

    pub(crate) fn n64(&self, number: u64) -> Vec<u8> {
        match self.big_endian {
            true => number.to_be_bytes().to_vec(),
            false => number.to_le_bytes().to_vec(),
        }
    }

    /// A count or a length.
    pub(crate) fn length(&self, number: u64) -> Vec<u8> {
        if self.version == 1 { self.n32(number as u32) } else { self.n64(number) }
    }

    pub(crate) fn string(&self, text: &[u8]) -> Vec<u8> {
        [self.length(text.len() as u64), text.to_vec()].concat()
    }

    /// A metadata entry with these bytes as value.
    pub(crate) fn entry(
        mut self,
        key: impl AsRef<[u8]>,
        kind: u32,
        value: impl AsRef<[u8]>,
    ) -> File {
        let entry = [self.string(key.as_ref()), self.n32(kind), value.as_ref().to_vec()].concat();
        self.entries.push(entry);
        self
    }

    pub(crate) fn text(self, key: &str, text: &[u8]) -> File {
        let value = self.string(text);
        self.entry(key, STRING, value)
    }

    pub(crate) fn number(self, key: &str, number: u32) -> File {
        let value = self.n32(number);
        self.entry(key, U32, value)
    }

    /// An array of `count` values of a type, and their bytes.
    pub(crate) fn array(self, key: &str, kind: u32, count: u64, values: impl AsRef<[u8]>) -> File {
        let value = [self.n32(kind), self.length(count), values.as_ref().to_vec()].concat();
        self.entry(key, ARRAY, value)
    }

    /// A tensor that is listed as this.
    pub(crate) fn listed(
        mut self,
        name: impl AsRef<[u8]>,
        dimensions: &[u64],
        kind: i32,
        offset: u64,
    ) -> File {
        let mut entry = self.string(name.as_ref());
        entry.extend(self.n32(dimensions.len() as u32));
        entry.extend(dimensions.iter().flat_map(|&n| self.length(n)));
        entry.extend(self.n32(kind as u32));
        entry.extend(self.n64(offset));
        self.tensors.push(entry);
        self
    }

    /// A tensor behind those before it, with this data.
    pub(crate) fn tensor(
        mut self,
        name: impl AsRef<[u8]>,
        dimensions: &[u64],
        kind: i32,
        data: &[u8],
    ) -> File {
        let offset = self.data.len().next_multiple_of(self.alignment);
        self.data.resize(offset, 0);
        self.data.extend_from_slice(data);
        self.listed(name, dimensions, kind, offset as u64)
    }

    pub(crate) fn data(mut self, data: impl AsRef<[u8]>) -> File {
        self.data.extend_from_slice(data.as_ref());
        self
    }

    pub(crate) fn aligned(mut self, alignment: u32) -> File {
        self.alignment = alignment as usize;
        self.number("general.alignment", alignment)
    }

    pub(crate) fn counts(mut self, tensors: Option<u64>, entries: Option<u64>) -> File {
        self.counts = [tensors, entries];
        self
    }

    /// What stands before the data, not padded.
    pub(crate) fn header(&self) -> Vec<u8> {
        let [tensors, entries] = self.counts;
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.n32(self.version));
        bytes.extend(self.length(tensors.unwrap_or(self.tensors.len() as u64)));
        bytes.extend(self.length(entries.unwrap_or(self.entries.len() as u64)));
        bytes.extend(self.entries.concat());
        bytes.extend(self.tensors.concat());
        bytes
    }

    /// The whole file, padded at its end as writers do.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend_from_slice(&self.data);
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes
    }
}

/// Data that is no padding.
const SEVENS: [u8; 32] = [7; 32];

/// A file with tensors of these names, eight F32 each.
pub(crate) fn sound(names: &[&str]) -> File {
    names.iter().fold(file(), |file, name| file.tensor(name, &[8], 0, &SEVENS))
}

/// A part of a model in several files; its number counts from 0.
pub(crate) fn part(number: u16, count: u16, tensors: i32, names: &[&str]) -> File {
    let mut file = if number == 0 { file() } else { empty(3, false) };
    file = file.entry("split.no", U16, number.to_le_bytes());
    file = file.entry("split.count", U16, count.to_le_bytes());
    file = file.entry("split.tensors.count", I32, tensors.to_le_bytes());
    names.iter().fold(file, |file, name| file.tensor(name, &[8], 0, &SEVENS))
}

fn raw(dir: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    write(dir, GGUF, bytes);
    dir.to_owned()
}

fn model(dir: &Path, file: File) -> PathBuf {
    raw(dir, file.bytes())
}

/// A model in three parts, of which one is replaced (or left out, if empty).
fn parts(dir: &Path, number: usize, other: &[u8]) -> PathBuf {
    let all = [&["a", "b"][..], &["c"], &["d"]];
    for (at, names) in all.iter().enumerate() {
        let sound = part(at as u16, 3, 4, names).bytes();
        let bytes = if at == number { other } else { &sound };
        if !bytes.is_empty() {
            write(dir, &format!("m-{:05}-of-00003.gguf", at + 1), bytes);
        }
    }
    dir.to_owned()
}

const FIRST: &str = "m-00001-of-00003.gguf";
const SECOND: &str = "m-00002-of-00003.gguf";
const THIRD: &str = "m-00003-of-00003.gguf";

macro_rules! case {
    ($name:literal, $rule:literal, $build:expr) => {
        case!($name, $rule, GGUF, $build)
    };
    ($name:literal, $rule:literal, $file:expr, $build:expr) => {
        Case {
            name: concat!("gguf-", $name),
            build: $build,
            rule: concat!("format/", $rule),
            file: $file,
        }
    };
}

/// All malformed GGUF files.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = header_cases();
    cases.extend(metadata_cases());
    cases.extend(tensor_cases());
    cases.extend(layout_cases());
    cases.extend(split_cases());
    cases
}

/// What is wrong before the metadata.
fn header_cases() -> Vec<Case> {
    vec![
        case!("empty", "empty-file", |d| raw(d, b"")),
        case!("three-bytes", "gguf-header-cut", |d| raw(d, b"GGU")),
        case!("magic-only", "gguf-header-cut", |d| raw(d, b"GGUF")),
        case!("without-counts", "gguf-header-cut", |d| raw(d, b"GGUF\x03\0\0\0\x01\0")),
        case!("magic", "gguf-magic", |d| raw(d, b"GGUX\x03\0\0\0")),
        case!("older-format", "gguf-magic", |d| raw(d, b"tjgg\x03\0\0\0\0\0\0\0\0\0\0\0")),
        case!("git-lfs-pointer", "git-lfs-pointer", |d| {
            raw(d, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000000000\n")
        }),
        case!("version-0", "gguf-version", |d| model(d, empty(0, false))),
        case!("version-4", "gguf-version", |d| model(d, empty(4, false))),
        case!("version-4-big-endian", "gguf-version", |d| model(d, empty(4, true))),
        case!("version-all-ones", "gguf-version", |d| model(d, empty(u32::MAX, false))),
        case!("minus-one-tensors", "gguf-count-past-end", |d| {
            model(d, sound(&["a"]).counts(Some(u64::MAX), None))
        }),
        case!("minus-one-entries", "gguf-count-past-end", |d| {
            model(d, sound(&["a"]).counts(None, Some(u64::MAX)))
        }),
        case!("more-tensors-than-bytes", "gguf-count-past-end", |d| {
            model(d, sound(&["a"]).counts(Some(1000), None))
        }),
        case!("two-million-tensors", "too-many-tensors", |d| {
            let path = model(d, sound(&["a"]).counts(Some(2_000_000), None));
            lengthened(d, 100_000_000);
            path
        }),
        case!("two-million-entries", "gguf-metadata-too-large", |d| {
            let path = model(d, sound(&["a"]).counts(None, Some(2_000_000)));
            lengthened(d, 100_000_000);
            path
        }),
        case!("cut-in-the-metadata", "gguf-header-cut", |d| {
            let bytes = file().number("x", 1).header();
            raw(d, &bytes[..bytes.len() - 2])
        }),
        case!("cut-in-the-tensors", "gguf-header-cut", |d| {
            let bytes = file().listed("abcdefghijkl", &[2, 2, 2], 0, 0).header();
            raw(d, &bytes[..bytes.len() - 7])
        }),
    ]
}

/// Makes the file as long as that, without taking the room.
fn lengthened(dir: &Path, bytes: u64) {
    fs::File::options().write(true).open(dir.join(GGUF)).unwrap().set_len(bytes).unwrap();
}

/// A file of one entry, of these bytes.
fn entry(dir: &Path, bytes: Vec<u8>) -> PathBuf {
    let mut file = sound(&["a"]);
    file.entries.push(bytes);
    model(dir, file)
}

/// An array of arrays, so deep.
fn nested(depth: usize) -> File {
    let file = file();
    let mut value = Vec::new();
    for _ in 1..depth {
        value.extend(file.n32(ARRAY));
        value.extend(file.n64(1));
    }
    value.extend(file.n32(U8));
    value.extend(file.n64(1));
    value.push(1);
    file.entry("nested", ARRAY, value).tensor("a", &[8], 0, &SEVENS)
}

/// What is wrong with the metadata.
fn metadata_cases() -> Vec<Case> {
    vec![
        case!("key-of-2-63-bytes", "gguf-string-past-end", |d| {
            entry(d, [&(1u64 << 63).to_le_bytes()[..], b"key"].concat())
        }),
        case!("key-past-end", "gguf-string-past-end", |d| {
            entry(d, [&1000u64.to_le_bytes()[..], b"key"].concat())
        }),
        case!("text-past-end", "gguf-string-past-end", |d| {
            model(
                d,
                sound(&["a"]).entry("k", STRING, [&2000u64.to_le_bytes()[..], b"text"].concat()),
            )
        }),
        case!("text-past-end-in-an-array", "gguf-string-past-end", |d| {
            model(d, sound(&["a"]).array("k", STRING, 2, [1, 0, 0, 0, 0, 0, 0, 0, 65, 0, 1]))
        }),
        case!("array-of-2-61", "gguf-array-past-end", |d| {
            model(d, sound(&["a"]).array("k", F32, 1 << 61, [0; 64]))
        }),
        case!("array-that-wraps", "gguf-array-past-end", |d| {
            model(d, sound(&["a"]).array("k", U64, (1 << 61) + 1, [0; 64]))
        }),
        case!("array-of-strings-past-end", "gguf-array-past-end", |d| {
            model(d, sound(&["a"]).array("k", STRING, 1 << 40, [0; 64]))
        }),
        case!("array-depth-64", "gguf-nested-too-deep", |d| model(d, nested(64))),
        case!("array-depth-5", "gguf-nested-too-deep", |d| model(d, nested(5))),
        case!("value-type-13", "gguf-value-type", |d| model(
            d,
            sound(&["a"]).entry("k", 13, [0; 8])
        )),
        case!("value-type-minus-one", "gguf-value-type", |d| {
            model(d, sound(&["a"]).entry("k", u32::MAX, [0; 8]))
        }),
        case!("array-of-type-13", "gguf-value-type", |d| {
            model(d, sound(&["a"]).array("k", 13, 1, [0; 8]))
        }),
        case!("duplicate-key", "gguf-duplicate-key", |d| {
            model(d, sound(&["a"]).number("x", 1).number("y", 2).number("x", 3))
        }),
        case!("empty-key", "gguf-empty-key", |d| model(d, sound(&["a"]).number("", 1))),
        case!("key-of-65536-bytes", "gguf-key-too-long", |d| {
            model(d, sound(&["a"]).number(&"k".repeat(65536), 1))
        }),
        case!("key-not-utf8", "gguf-key-not-utf8", |d| {
            model(d, sound(&["a"]).entry(b"k\xff\n", U8, [1]))
        }),
        case!("key-with-nul", "gguf-nul-in-name", |d| {
            model(d, sound(&["a"]).number("general.alignment\0x", 64))
        }),
        case!("bool-2", "gguf-bool", |d| model(d, sound(&["a"]).entry("k", BOOL, [2]))),
        case!("bool-2-in-an-array", "gguf-bool", |d| {
            model(d, sound(&["a"]).array("k", BOOL, 3, [1, 0, 2]))
        }),
        case!("alignment-0", "gguf-alignment", |d| {
            model(d, sound(&["a"]).number("general.alignment", 0))
        }),
        case!("alignment-13", "gguf-alignment", |d| {
            model(d, sound(&["a"]).number("general.alignment", 13))
        }),
        case!("alignment-4", "gguf-alignment", |d| {
            model(d, sound(&["a"]).number("general.alignment", 4))
        }),
        case!("alignment-2-31", "gguf-alignment-too-large", |d| {
            model(d, sound(&["a"]).number("general.alignment", 1 << 31))
        }),
        case!("alignment-of-64-bits", "gguf-alignment-type", |d| {
            model(d, sound(&["a"]).entry("general.alignment", U64, 32u64.to_le_bytes()))
        }),
        case!("alignment-text", "gguf-alignment-type", |d| {
            model(d, sound(&["a"]).text("general.alignment", b"32"))
        }),
        case!("two-million-empty-strings-and-more", "gguf-metadata-too-large", |d| {
            let path = model(d, sound(&["a"]).array("k", STRING, 1 << 27, [0; 64]));
            lengthened(d, 1 << 31);
            path
        }),
    ]
}

/// A file of one tensor that is listed as this, and data.
fn one(dir: &Path, dimensions: &[u64], kind: i32, offset: u64, data: usize) -> PathBuf {
    model(dir, file().listed("x", dimensions, kind, offset).data(vec![7; data]))
}

/// What is wrong with an entry of a tensor.
fn tensor_cases() -> Vec<Case> {
    vec![
        case!("name-past-end", "gguf-string-past-end", |d| {
            let mut file = sound(&["a"]);
            file.tensors[0][..8].fill(0xff);
            model(d, file)
        }),
        case!("name-of-70000-bytes", "gguf-huge-name", |d| model(d, sound(&[&"n".repeat(70_000)]))),
        case!("name-of-64-bytes", "gguf-long-name", |d| model(d, sound(&[&"n".repeat(64)]))),
        case!("name-not-utf8", "gguf-name-not-utf8", |d| {
            model(d, file().tensor(b"n\xc0\x80", &[8], 0, &SEVENS))
        }),
        case!("name-with-nul", "gguf-nul-in-name", |d| model(d, sound(&["a\0b", "a\0c"]))),
        case!("duplicate-name", "duplicate-tensor", |d| model(d, sound(&["a", "b", "a"]))),
        case!("five-dimensions", "gguf-too-many-dimensions", |d| one(
            d,
            &[2, 2, 2, 1, 1],
            0,
            0,
            32
        )),
        case!("minus-one-dimensions", "gguf-too-many-dimensions", |d| {
            let mut file = sound(&["a"]);
            file.tensors[0][9..13].fill(0xff);
            model(d, file)
        }),
        case!("negative-dimension", "bad-dimension", |d| one(d, &[u64::MAX], 0, 0, 32)),
        case!("dimension-2-63", "bad-dimension", |d| one(d, &[1, 1 << 63], 0, 0, 32)),
        case!("elements-that-wrap", "size-overflow", |d| one(d, &[1 << 32, 1 << 32], 0, 0, 32)),
        case!("elements-that-wrap-beside-0", "size-overflow", |d| {
            one(d, &[1 << 32, 1 << 32, 0], 0, 0, 0)
        }),
        case!("bytes-that-wrap", "size-overflow", |d| one(d, &[1 << 61, 1], 28, 0, 32)),
        case!("padding-that-wraps", "size-overflow", |d| one(d, &[(1 << 63) - 1], 24, 0, 32)),
        case!("type-99", "unknown-dtype", |d| one(d, &[8], 99, 0, 32)),
        case!("type-43", "unknown-dtype", |d| one(d, &[8], 43, 0, 32)),
        case!("type-minus-one", "unknown-dtype", |d| one(d, &[8], -1, 0, 32)),
        case!("removed-type-4", "gguf-removed-type", |d| one(d, &[32], 4, 0, 32)),
        case!("removed-type-33", "gguf-removed-type", |d| one(d, &[32], 33, 0, 32)),
        case!("removed-type-36", "gguf-removed-type", |d| one(d, &[32], 36, 0, 32)),
        case!("row-of-half-a-block", "gguf-partial-block", |d| one(d, &[16, 2], 2, 0, 32)),
        case!("scalar-of-blocks", "gguf-partial-block", |d| one(d, &[], 8, 0, 64)),
    ]
}

/// What is wrong with where things are.
fn layout_cases() -> Vec<Case> {
    vec![
        case!("misaligned", "gguf-misaligned-offset", |d| one(d, &[8], 0, 4, 64)),
        case!("aligned-otherwise", "gguf-misaligned-offset", |d| {
            model(d, file().aligned(64).listed("x", &[8], 0, 32).data([0; 64]))
        }),
        case!("overlap", "overlap", |d| {
            model(d, file().listed("a", &[16], 0, 0).listed("b", &[8], 0, 32).data([7; 64]))
        }),
        case!("same-place", "overlap", |d| {
            model(d, file().listed("a", &[8], 0, 0).listed("b", &[8], 0, 0).data([7; 64]))
        }),
        case!("past-end", "range-past-end", |d| one(d, &[8], 0, 1 << 40, 32)),
        case!("offset-that-wraps", "range-past-end", |d| one(
            d,
            &[8],
            0,
            0u64.wrapping_sub(32),
            32
        )),
        case!("not-in-the-order-of-the-data", "gguf-unordered", |d| {
            model(d, file().listed("a", &[8], 0, 32).listed("b", &[8], 0, 0).data([7; 64]))
        }),
        case!("gap", "gap", |d| {
            let file = file().listed("a", &[8], 0, 0).listed("b", &[8], 0, 96);
            model(d, file.data([7; 32]).data([0; 64]).data([7; 32]))
        }),
        case!("gap-before-the-first", "gap", |d| one(d, &[8], 0, 32, 64)),
        case!("padding-after-the-header", "gguf-padding", |d| {
            let file = sound(&["a"]);
            let mut bytes = file.bytes();
            bytes[file.header().len()] = b'#';
            raw(d, bytes)
        }),
        case!("padding-between-tensors", "gguf-padding", |d| {
            let file = file().tensor("a", &[3], 0, &[7; 12]).data([0, 0, 1]);
            model(d, file.tensor("b", &[8], 0, &SEVENS))
        }),
        case!("padding-at-the-end", "gguf-padding", |d| {
            model(d, file().tensor("a", &[3], 0, &[7; 12]).data(b"secret"))
        }),
        case!("trailing-bytes", "trailing-bytes", |d| {
            raw(d, [sound(&["a"]).bytes(), vec![0; 5]].concat())
        }),
        case!("trailing-executable", "trailing-bytes", |d| {
            raw(d, [&sound(&["a"]).bytes()[..], b"\x7fELF\x02\x01\x01", &[0x90; 4000]].concat())
        }),
        case!("trailing-bytes-without-tensors", "trailing-bytes", |d| {
            raw(d, [&file().bytes()[..], b"#!/bin/sh\n"].concat())
        }),
        case!("truncated", "truncated", |d| {
            let bytes = sound(&["a", "b", "c"]).bytes();
            raw(d, &bytes[..bytes.len() - 40])
        }),
        case!("truncated-after-the-header", "truncated", |d| raw(d, sound(&["a", "b"]).header())),
        case!("truncated-big-endian", "truncated", |d| {
            let bytes = empty(3, true).tensor("a", &[8], 0, &SEVENS).bytes();
            raw(d, &bytes[..bytes.len() - 1])
        }),
    ]
}

/// What is wrong with the parts of a model.
fn split_cases() -> Vec<Case> {
    vec![
        case!("split-missing-part", "gguf-split-missing", FIRST, |d| parts(d, 1, b"")),
        case!("split-missing-first", "gguf-split-missing", SECOND, |d| parts(d, 0, b"")),
        case!("split-missing-by-a-part", "gguf-split-missing", FIRST, |d| {
            parts(d, 1, b"").join(THIRD)
        }),
        case!("split-damaged-part", "gguf-header-cut", SECOND, |d| parts(d, 1, b"GGUF")),
        case!("split-other-number", "gguf-split-name", SECOND, |d| {
            parts(d, 1, &part(2, 3, 4, &["c"]).bytes())
        }),
        case!("split-other-count", "gguf-split-name", SECOND, |d| {
            parts(d, 1, &part(1, 2, 4, &["c"]).bytes())
        }),
        case!("split-no-part", "gguf-split-name", SECOND, |d| parts(d, 1, &sound(&["c"]).bytes())),
        case!("split-without-the-name", "gguf-split-name", |d| { model(d, part(0, 3, 4, &["a"])) }),
        case!("split-without-the-name-by-itself", "gguf-split-name", |d| {
            model(d, part(0, 3, 4, &["a"])).join(GGUF)
        }),
        case!("split-more-tensors", "gguf-split-tensors", FIRST, |d| {
            parts(d, 1, &part(1, 3, 4, &["c", "e"]).bytes())
        }),
        case!("split-tensor-twice", "tensor-in-two-shards", SECOND, |d| {
            parts(d, 1, &part(1, 3, 4, &["a"]).bytes())
        }),
        case!("split-number-beyond-count", "gguf-split-metadata", |d| {
            model(d, part(3, 3, 1, &["a"]))
        }),
        case!("split-count-text", "gguf-split-metadata", |d| {
            model(d, sound(&["a"]).text("split.count", b"3"))
        }),
    ]
}

macro_rules! legal {
    ($name:literal, $tensors:literal, $build:expr) => {
        Legal { name: concat!("gguf-", $name), build: $build, tensors: $tensors }
    };
}

/// Legal GGUF files that look odd.
pub(crate) fn legal() -> Vec<Legal> {
    let mut legal = vec![
        legal!("plain", 2, |d| model(d, sound(&["a", "b"]))),
        legal!("by-content", 1, |d| {
            write(d, "weights", sound(&["a"]).bytes());
            d.join("weights")
        }),
        legal!("version-2", 1, |d| model(d, empty(2, false).tensor("a", &[8], 0, &SEVENS))),
        legal!("version-1", 1, |d| {
            let file = empty(1, false).text("k", b"text").array("l", STRING, 1, [1, 0, 0, 0, 65]);
            model(d, file.tensor("a", &[4, 2], 0, &SEVENS))
        }),
        legal!("big-endian", 3, |d| big_endian(d, 3)),
        legal!("big-endian-version-1", 3, |d| big_endian(d, 1)),
        legal!("no-tensors", 0, |d| model(d, file())),
        legal!("no-tensors-not-padded", 0, |d| raw(d, file().header())),
        legal!("nothing-at-all", 0, |d| raw(d, empty(3, false).header())),
        legal!("last-one-not-padded", 1, |d| {
            let bytes = file().tensor("a", &[3], 0, &[7; 12]).bytes();
            raw(d, &bytes[..bytes.len() - 20])
        }),
        legal!("scalar-and-no-elements", 3, |d| {
            let file = file().tensor("a", &[], 0, &[7; 4]).tensor("b", &[0, 3], 0, b"");
            model(d, file.tensor("c", &[8, 0], 1, b""))
        }),
        legal!("alignment-8", 2, |d| {
            let file = file().aligned(8).tensor("a", &[3], 0, &[7; 12]);
            model(d, file.tensor("b", &[3], 0, &[7; 12]))
        }),
        legal!("alignment-64-kib", 1, |d| model(
            d,
            file().aligned(65536).tensor("a", &[8], 0, &SEVENS)
        )),
        legal!("many-values", 1, |d| {
            let file = sound(&["a"]).array("strings", STRING, 150_000, vec![0; 1_200_000]);
            let file = file.array("none", BOOL, 0, b"").array("numbers", F32, 25_000, [1; 100_000]);
            model(d, file.entry("yes", BOOL, [1]).text("long", &[b'x'; 100_000]))
        }),
        legal!("nested-array", 1, |d| model(d, nested(4))),
        legal!("text-not-utf8", 1, |d| model(d, sound(&["a"]).text("k", b"\xff\xfe"))),
        legal!("name-of-63-bytes", 1, |d| model(d, sound(&[&"n".repeat(63)]))),
        legal!("odd-names", 3, |d| model(d, sound(&["", "../../etc/passwd", "a\nb"]))),
        legal!("one-of-one", 1, |d| model(d, part(0, 1, 1, &["a"]))),
        legal!("split", 4, |d| parts(d, 9, b"")),
        legal!("split-by-a-part", 4, |d| parts(d, 9, b"").join(SECOND)),
        legal!("split-beside-others", 6, |d| {
            write(d, "x-00001-of-00002.gguf", sound(&["e"]).bytes());
            write(d, "y.gguf", sound(&["f"]).bytes());
            parts(d, 9, b"")
        }),
        legal!("split-alone-by-a-part", 4, |d| {
            write(d, "m-00001-of-00002.gguf", sound(&["a"]).bytes());
            write(d, "other.safetensors", super::sound(&["a"]));
            parts(d, 9, b"").join(FIRST)
        }),
    ];
    #[cfg(unix)]
    legal.extend([
        legal!("split-in-a-cache", 4, |d| {
            parts(&d.join("models--a--b/blobs"), 9, b"");
            for (at, name) in [FIRST, SECOND, THIRD].iter().enumerate() {
                let blobs = d.join("models--a--b/blobs");
                fs::rename(blobs.join(name), blobs.join(at.to_string())).unwrap();
                let snapshot = format!("models--a--b/snapshots/1/{name}");
                super::link(d, &snapshot, format!("../../blobs/{at}"));
            }
            d.join("models--a--b/snapshots/1").join(FIRST)
        }),
        legal!("split-by-a-link", 4, |d| {
            parts(&d.join("real"), 9, b"");
            super::link(d, "linked.gguf", Path::new("real").join(SECOND));
            d.join("linked.gguf")
        }),
    ]);
    legal
}

/// A file in big-endian byte order: numbers, halves of them, and blocks.
fn big_endian(dir: &Path, version: u32) -> PathBuf {
    let file = empty(version, true).text("general.architecture", b"llama").number("x", 1);
    let file = file.tensor("a", &[4, 2], 0, &SEVENS).tensor("b", &[3], 1, &[1, 2, 3, 4, 5, 6]);
    model(dir, file.tensor("c", &[32], 8, &[9; 34]))
}
