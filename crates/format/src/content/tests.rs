use super::ContentClass::{self, *};
use super::*;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use std::io::Write;

fn class(path: &str, bytes: &[u8]) -> ContentClass {
    classify_bytes(path, bytes).class
}

/// A zip archive of members stored as they are, or compressed.
fn zipped(members: &[(&str, &[u8])], deflate: bool) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let stored = match deflate {
            true => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Default::default());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            false => data.to_vec(),
        };
        let mut fields = vec![20, 0, 0, 0, if deflate { 8 } else { 0 }, 0, 0, 0, 0, 0];
        fields.extend(crc32fast::hash(data).to_le_bytes());
        fields.extend((stored.len() as u32).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        let at = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&fields);
        bytes.extend(name.as_bytes());
        bytes.extend(stored);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (members.len() as u16, bytes.len() as u32);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn tarred(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlibbed(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Default::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn safetensors() -> Vec<u8> {
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[1, 2, 3, 4]].concat()
}

/// A field of protobuf with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// An ONNX model whose weights lie in another file.
fn onnx(location: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| {
        field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    };
    let tensor = [entry("location", location), entry("offset", "0")].concat();
    let graph = [field(2, b"main"), field(5, &tensor)].concat();
    [&[8, 9][..], &field(2, b"pytorch"), &field(7, &graph)].concat()
}

/// A pickle of a dictionary with another behind it, which no loader reads.
const TWO: &[u8] = b"\x80\x02}q\0.\x80\x02N.";
/// A pickle that calls a name, without a protocol.
const MAPPING: &[u8] = b"ccollections\nOrderedDict\n(tR.";

fn pe() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 64;
    bytes[64..68].copy_from_slice(b"PE\0\0");
    bytes
}

fn font() -> Vec<u8> {
    [&b"\0\x01\0\0\0\x0c\0\x80\0\x03\0\x40GSUB"[..], &[0; 64]].concat()
}

fn repeated(bytes: &[u8], times: usize) -> Vec<u8> {
    bytes.repeat(times)
}

/// Files that are known by their bytes alone.
fn by_bytes() -> Vec<(ContentClass, Vec<u8>)> {
    let magic = |start: &[u8]| [start, &[0; 64]].concat();
    let mut events = vec![24, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    events.extend(b"\x1a\x0dbrain.Event:2\0\0\0\0");
    let mut mil = vec![0; 128];
    (mil[0], mil[4]) = (1, 2);
    mil[64..68].copy_from_slice(b"\xef\xbe\xad\xde");
    let stream = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    let framed =
        b"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
            .to_vec();
    let mut table = vec![7; 100];
    table.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    let mut late = vec![7; 1024];
    late.extend(b"\x89HDF\r\n\x1a\n\0");
    let piece =
        |text: &str| field(1, &[field(1, text.as_bytes()), b"\x15\0\0\0\0".to_vec()].concat());
    let node = field(1, &[field(1, b"x"), field(2, b"Placeholder")].concat());
    let saved = [&[8, 1][..], &field(2, &field(1, &field(4, b"serve")))].concat();
    vec![
        (Safetensors, safetensors()),
        (Gguf, magic(b"GGUF\x03\0\0\0")),
        (Ggml, magic(b"lmgg\x01\0\0\0")),
        (Ggml, magic(b"tjgg\x03\0\0\0")),
        (TorchZip, zipped(&[("archive/data.pkl", TWO), ("archive/version", b"3\n")], false)),
        (TorchZip, zipped(&[("M/DATA.PKL", TWO)], false)),
        (TorchStream, stream),
        (TorchStream, framed),
        (TorchTar, tarred(&[("pickle", b"N."), ("storages", b"")])),
        (Pickle, b"\x80\x04}\x94.".to_vec()),
        (Pickle, b"\x80\x01}.".to_vec()),
        (Pickle, TWO.to_vec()),
        (Pickle, MAPPING.to_vec()),
        (Pickle, [b"K\x010", MAPPING].concat()),
        (Npy, magic(b"\x93NUMPY\x01\0")),
        (Npz, zipped(&[("a.npy", b"\x93NUMPY")], false)),
        (Onnx, onnx("weights.bin")),
        (Hdf5, magic(b"\x89HDF\r\n\x1a\n")),
        (Hdf5, late),
        (Keras, zipped(&[("config.json", b"{}"), ("model.weights.h5", b"")], true)),
        (
            TorchExport,
            zipped(&[("m/archive_format", b"pt2"), ("m/models/model.json", b"{}")], true),
        ),
        (TorchExport, zipped(&[("m/serialized_exported_program.json", b"{}")], true)),
        (TfLite, magic(b"\x1c\0\0\0TFL3")),
        (TensorflowBundle, table),
        (TensorflowGraph, saved),
        (TensorflowGraph, repeated(&node, 3)),
        (Executorch, magic(b"\x20\0\0\0ET12")),
        (CoreMl, mil),
        (OpenVino, b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\"></net>".to_vec()),
        (Zip, zipped(&[("notes.txt", b"hello")], true)),
        (Tar, tarred(&[("notes.txt", b"hello")])),
        (SevenZip, magic(b"7z\xbc\xaf\x27\x1c")),
        (Compressed, gzipped(b"hello")),
        (Compressed, zlibbed(b"hello, hello")),
        (Compressed, magic(b"BZh91AY&SY")),
        (Compressed, magic(b"\xfd7zXZ\0")),
        (Compressed, magic(b"\x28\xb5\x2f\xfd")),
        (Compressed, magic(b"\x04\x22\x4d\x18")),
        (Elf, magic(b"\x7fELF\x02\x01\x01")),
        (Pe, pe()),
        (Pe, magic(b"MZqFpD='\n")),
        (MachO, magic(b"\xcf\xfa\xed\xfe")),
        (MachO, magic(b"\xca\xfe\xba\xbe\0\0\0\x02")),
        (Script, b"#!/usr/bin/env python3\nx = 1\n".to_vec()),
        (Wasm, magic(b"\0asm\x01\0\0\0")),
        (Bytecode, magic(b"\xca\xfe\xba\xbe\0\0\0\x34")),
        (Bytecode, magic(b"\xcb\x0d\x0d\x0a\0\0\0\0")),
        (Bytecode, magic(b"dex\n035\0")),
        (Bytecode, zipped(&[("META-INF/MANIFEST.MF", b""), ("A.class", b"")], true)),
        (Bytecode, zipped(&[("p/__init__.py", b""), ("p-1.dist-info/WHEEL", b"")], true)),
        (Json, b"{\"a\": [1, 2]}\n".to_vec()),
        (Json, b"\n[1]".to_vec()),
        (Json, b"{\"a\": 1}\n{\"a\": 2}\n".to_vec()),
        (Json, [&b"["[..], &repeated(b"12345,\n", 2000), b"1]"].concat()),
        (Html, b"<!DOCTYPE html>\n<html><title>404</title></html>".to_vec()),
        (Html, b"\n<!-- x --><HTML lang=\"en\">".to_vec()),
        (
            LfsPointer,
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n".to_vec(),
        ),
        (LinkText, b"../../blobs/0123456789abcdef".to_vec()),
        (Text, b"Some words.\n".to_vec()),
        (Text, "Straße, 中文\n".as_bytes().to_vec()),
        (Text, b"\xff\xfeh\0i\0\n\0".to_vec()),
        (Text, b"caf\xe9 and na\xefve words in a line of text\n".to_vec()),
        (Text, repeated("more words, ü\n".as_bytes(), 2000)),
        (Text, b"cat\ndog\nmouse\n".to_vec()),
        (Text, b"{not json}".to_vec()),
        (Image, magic(b"\x89PNG\r\n\x1a\n")),
        (Image, magic(b"\xff\xd8\xff\xe0")),
        (Image, magic(b"RIFF\0\0\0\0WEBP")),
        (Image, b"<svg xmlns=\"x\"></svg>".to_vec()),
        (Audio, magic(b"RIFF\0\0\0\0WAVE")),
        (Audio, magic(b"OggS")),
        (Video, magic(b"\0\0\0\x18ftypmp42")),
        (Pdf, magic(b"%PDF-1.7")),
        (Font, font()),
        (Font, magic(b"wOF2")),
        (Document, zipped(&[("[Content_Types].xml", b"<x/>")], true)),
        (Table, [&b"PAR1"[..], &[0; 32], b"PAR1"].concat()),
        (Table, magic(b"SQLite format 3\0")),
        (SentencePiece, ["<unk>", "a", "b", "c"].iter().flat_map(|text| piece(text)).collect()),
        (Events, events),
        (Empty, Vec::new()),
        (Zeros, vec![0; 9000]),
        (Unknown, vec![0xAB; 5000]),
        (Unknown, [&[0; 5000][..], &[1], &[0; 5000]].concat()),
    ]
}

#[test]
fn every_class_is_known_by_its_bytes_whatever_the_file_is_called() {
    let names = ["model", "a.safetensors", "a.bin", "a.pt", "a.json", "a.txt", "a.gguf", "d/a.npz"];
    for (expected, bytes) in by_bytes() {
        for name in names {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned();
            let found = classify_bytes(name, &bytes);
            assert_eq!((found.class, found.also), (expected, None), "{name}: {start:?}");
        }
    }
    let needs_a_name = [
        (Msgpack, "flax_model.msgpack", b"\x81\xa6params\x81\xa1w\xc7\x01\x01x".to_vec()),
        (CoreMl, "m.mlmodel", [&[8, 4][..], &field(2, b"\x0a\0"), b"\x92\x03\0"].concat()),
    ];
    for (expected, name, bytes) in needs_a_name {
        assert_eq!(class(name, &bytes), expected, "{name}");
    }
}

#[test]
fn every_class_is_in_the_tests() {
    let mut seen: Vec<ContentClass> = by_bytes().into_iter().map(|(class, _)| class).collect();
    // The first two have no form without a name, the last none at all.
    seen.extend([Msgpack, CoreMl, RawWeights]);
    for class in ContentClass::ALL {
        assert!(seen.contains(class), "{class:?}");
        assert!(!class.description().is_empty());
    }
}

#[test]
fn two_things_at_once_are_told_of() {
    let torch = zipped(&[("m/data.pkl", b"N.")], false);
    let notes = zipped(&[("notes.txt", b"hello")], false);
    let tar = tarred(&[("notes.txt", b"hello")]);
    let both = |first: &[u8], second: &[u8]| [first, second].concat();
    let png = b"\x89PNG\r\n\x1a\n";
    for (bytes, first, also, ambiguous) in [
        (both(&safetensors(), &torch), Safetensors, Some(TorchZip), true),
        (both(&safetensors(), &notes), Safetensors, Some(Zip), true),
        (both(TWO, &torch), TorchZip, Some(Pickle), true),
        (both(&tar, &notes), Zip, Some(Tar), true),
        (both(png, &notes), Zip, Some(Image), true),
        // The archive reader reports the bytes before an archive that no loader reads.
        (both(png, &torch), TorchZip, Some(Image), false),
        (both(&[0xAB; 100], &torch), TorchZip, None, false),
        (torch.clone(), TorchZip, None, false),
        (both(&torch, b"\0"), TorchZip, None, false),
    ] {
        let found = classify_bytes("x", &bytes);
        assert_eq!((found.class, found.also), (first, also));
        assert_eq!(found.is_ambiguous(), ambiguous);
    }
    // Programs may carry an archive.
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0";
    let weights = zipped(&[("model.gguf", b"GGUF")], false);
    for (archive, class) in [(&weights, Elf), (&notes, Elf), (&torch, TorchZip)] {
        let found = classify_bytes("x.llamafile", &both(elf, archive));
        assert_eq!((found.class, found.is_ambiguous()), (class, false));
    }
}

#[test]
fn pickles_are_found_in_archives_and_streams() {
    let gz = gzipped(TWO);
    let inner = zipped(&[("a.txt", b"hello"), ("d/labels", TWO)], true);
    for (name, bytes, member) in [
        ("x.zip", zipped(&[("d/labels", TWO)], false), "'d/labels'"),
        ("x.zip", zipped(&[("d/labels", TWO)], true), "'d/labels'"),
        ("x.tar", tarred(&[("notes", b"hello"), ("labels", TWO)]), "'labels'"),
        ("x.pkl.gz", gz.clone(), "'x.pkl'"),
        ("x.joblib", zlibbed(TWO), "'x'"),
        ("x.tar.gz", gzipped(&tarred(&[("labels", TWO)])), "'x.tar/labels'"),
        ("x.whl", zipped(&[("p-1.dist-info/WHEEL", b""), ("p/a", TWO)], true), "'p/a'"),
        ("x.zip", zipped(&[("inner.zip", &inner)], false), "'inner.zip/d/labels'"),
    ] {
        let (_, problems) = examine_bytes(name, &bytes);
        let [problem] = &problems[..] else { panic!("{name}: {problems:?}") };
        assert_eq!((problem.rule, &*problem.file), ("format/pickle-trailing", name));
        assert!(problem.companion && problem.message.contains(member), "{}", problem.message);
    }
    // One level more is not looked into, and not understood.
    let deep = zipped(&[("a.zip", &zipped(&[("b.zip", &inner)], false))], false);
    let (content, problems) = examine_bytes("x.zip", &deep);
    assert_eq!((content.role, problems.len()), (FileRole::Unknown, 0));
}

#[test]
fn what_unpacks_to_very_much_is_bounded() {
    let zeros = vec![0; 80 << 20];
    let (content, problems) = examine_bytes("x.gz", &gzipped(&zeros));
    assert_eq!((content.role, problems.len()), (FileRole::Unknown, 0));
    let (content, _) = examine_bytes("x.zip", &zipped(&[("a", &zeros)], true));
    assert_eq!(content.role, FileRole::Unknown);
}

#[test]
fn what_is_in_an_archive_says_what_part_it_plays() {
    for (bytes, role) in [
        (zipped(&[("notes.txt", b"hello")], true), FileRole::Companion),
        (zipped(&[("a/model.safetensors", &safetensors())], false), FileRole::Weights),
        (zipped(&[("a/weights.bin", &[0xAB; 50])], false), FileRole::Weights),
        (zipped(&[("a/other", &[0xAB; 50])], false), FileRole::Unknown),
        (tarred(&[("model.safetensors", &safetensors())]), FileRole::Weights),
        (gzipped(&safetensors()), FileRole::Weights),
        (gzipped(b"words"), FileRole::Companion),
    ] {
        assert_eq!(examine_bytes("x", &bytes).0.role, role);
    }
}

/// Beginnings of files, and what may stand behind.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = by_bytes().into_iter().map(|(_, bytes)| bytes).collect();
    for piece in &mut pieces {
        piece.truncate(600);
    }
    pieces.extend([b"PK\x05\x06".to_vec(), vec![0; 18], b"PK\x01\x02".to_vec(), vec![0xFF; 9]]);
    let piece = proptest::sample::select(pieces);
    let cut = (piece, any::<prop::sample::Index>(), any::<bool>());
    prop::collection::vec(cut, 0..6).prop_map(|pieces| {
        let part = |(piece, at, whole): (Vec<u8>, prop::sample::Index, bool)| match whole {
            true => piece,
            false => piece[..at.index(piece.len() + 1)].to_vec(),
        };
        pieces.into_iter().flat_map(part).collect()
    })
}

#[test]
fn a_magic_number_hides_no_pickle() {
    // Weights alone: a number, which is dropped, and an empty state dictionary.
    let gif = b"GIF89a\x01\0\x01";
    let state = b"0ccollections\nOrderedDict\n)R.";
    let found = classify_bytes("logo", &[&gif[..], state].concat());
    assert_eq!((found.class, found.also, found.is_ambiguous()), (Image, Some(Pickle), true));
    let sound = classify_bytes("logo", &[&gif[..], &[0; 80]].concat());
    assert_eq!((sound.class, sound.also), (Image, None));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        examine_bytes("x.bin", &bytes);
    }

    #[test]
    fn beginnings_of_files_do_not_panic(bytes in soup(), name in "[a-z]{1,3}(\\.[a-z]{2,7})?") {
        examine_bytes(&name, &bytes);
    }

    /// What has a magic number is what it is whatever it is called, and whatever follows.
    #[test]
    fn a_class_does_not_depend_on_the_ending(
        row in 0..magic_numbers::TABLE.len(),
        behind in prop::collection::vec(1u8..4, 80..200),
        ending in "[a-z]{2,7}",
    ) {
        let row = &magic_numbers::TABLE[row];
        let sure = !matches!(row.class, Font | Table | CoreMl) && row.extensions.is_empty();
        prop_assume!(sure);
        let mut bytes = vec![9; row.at];
        bytes.extend(row.magic);
        bytes.extend(behind);
        prop_assert_eq!(class("model", &bytes), row.class);
        prop_assert_eq!(class(&format!("a.{ending}"), &bytes), row.class);
    }
}
