//! Small files of every kind that lies in directories of models, made by code: enough of each for whoever
//! knows the kind to recognise it.

use super::archives::{Member, Zip};
use std::io::Write;

/// Messages of Protocol Buffers, put together from fields.
pub(crate) mod proto {
    pub(crate) fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    pub(crate) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }

    pub(crate) fn text(field: u64, value: &str) -> Vec<u8> {
        bytes(field, value.as_bytes())
    }

    pub(crate) fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
        bytes(field, &parts.concat())
    }
}

/// An ONNX model with one node of this domain and one tensor: inside, or at this place outside.
pub(crate) fn onnx(domain: &str, location: Option<&str>) -> Vec<u8> {
    use proto::{bytes, message, number, text};
    let pair = |key, value| message(13, &[text(1, key), text(2, value)]);
    let mut tensor = vec![number(1, 2), number(2, 1), text(8, "w")];
    match location {
        None => tensor.push(bytes(9, &[1; 8])),
        Some(place) => tensor.extend([pair("location", place), number(14, 1)]),
    }
    let node = message(1, &[text(1, "x"), text(2, "y"), text(4, "Add"), text(7, domain)]);
    let graph = message(7, &[node, text(2, "graph"), message(5, &tensor)]);
    let opset = message(8, &[text(1, domain), number(2, 17)]);
    [number(1, 8), text(2, "pytorch"), text(3, "2.9"), graph, opset].concat()
}

/// The begin of an HDF5 file, with this text somewhere in it.
pub(crate) fn hdf5(text: &str) -> Vec<u8> {
    let mut file = b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00".to_vec();
    file.resize(256, 0);
    file.extend_from_slice(text.as_bytes());
    file.resize(file.len() + 64, 0);
    file
}

/// A model of Keras 3, whose configuration has this layer.
pub(crate) fn keras(class: &str) -> Vec<u8> {
    let config = format!(
        r#"{{"module": "keras", "class_name": "Sequential", "config": {{"name": "m", "layers": [{{"module": "keras.layers", "class_name": "{class}", "config": {{"name": "l"}}}}]}}}}"#
    );
    Zip::of(vec![
        Member::new(
            "metadata.json",
            r#"{"keras_version": "3.11.0", "date_saved": "2026-01-01@00:00:00"}"#,
        ),
        Member::new("config.json", config),
        Member::new("model.weights.h5", hdf5("")),
    ])
    .bytes()
}

pub(crate) fn tflite() -> Vec<u8> {
    [&b"\x1c\0\0\0TFL3"[..], &[0; 64]].concat()
}

/// A tree of parameters as Flax writes it: a map of a map of an array.
pub(crate) fn flax() -> Vec<u8> {
    let array = [&b"\x93\x91\x02\xa7float32\xc4\x08"[..], &[1; 8]].concat();
    let extension = [&[0xc7, array.len() as u8, 1][..], &array].concat();
    [&b"\x81\xa6params\x81\xa6kernel"[..], &extension].concat()
}

/// The index of a checkpoint of TensorFlow: a table, known by what it ends with.
pub(crate) fn bundle_index() -> Vec<u8> {
    let mut file = vec![0, 0, 0, 0, 1, 0, 0, 0, 0];
    file.resize(100, 0);
    file.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    file
}

/// A graph that TensorFlow saved, with one node.
pub(crate) fn saved_model(op: &str) -> Vec<u8> {
    use proto::{message, number, text};
    let node = message(1, &[text(1, "node"), text(2, op)]);
    let info = message(1, &[text(4, "serve"), text(5, "2.16.1")]);
    [number(1, 1), message(2, &[info, message(2, &[node])])].concat()
}

pub(crate) fn executorch() -> Vec<u8> {
    [&b"\x30\0\0\0ET12"[..], &[0; 64]].concat()
}

pub(crate) fn core_ml() -> Vec<u8> {
    use proto::{message, number, text};
    let input = message(1, &[text(1, "image")]);
    [number(1, 5), message(2, &[input]), message(500, &[message(1, &[text(1, "layer")])])].concat()
}

pub(crate) fn open_vino() -> Vec<u8> {
    b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\">\n<layers>\n</layers>\n</net>\n"
        .to_vec()
}

pub(crate) fn tar(name: &str, data: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, data).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn seven_zip() -> Vec<u8> {
    [&b"7z\xbc\xaf\x27\x1c\x00\x04"[..], &[0; 24]].concat()
}

pub(crate) fn elf() -> Vec<u8> {
    [&b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0\x03\x00\x3e\x00\x01\0\0\0"[..], &[0; 40]].concat()
}

pub(crate) fn portable_executable() -> Vec<u8> {
    let mut file = vec![0; 0x80];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x80;
    file.extend(b"PE\0\0\x64\x86");
    file.resize(0x180, 0);
    file
}

pub(crate) fn mach_o() -> Vec<u8> {
    [
        &b"\xcf\xfa\xed\xfe\x0c\0\0\x01\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        &[0; 32],
    ]
    .concat()
}

pub(crate) const SCRIPT: &[u8] = b"#!/bin/sh\ntrue\n";
pub(crate) const WASM: &[u8] = b"\0asm\x01\0\0\0\x00\x05\x04name";
pub(crate) const HTML: &[u8] =
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n";
pub(crate) const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

/// The wheel or jar of something: an archive of code.
pub(crate) fn wheel() -> Vec<u8> {
    Zip::of(vec![
        Member::new("thing/__init__.py", ""),
        Member::new("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n"),
    ])
    .bytes()
}

pub(crate) fn png() -> Vec<u8> {
    let header = b"IHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec();
    file.extend(header);
    file.extend(crc32fast::hash(header).to_be_bytes());
    file.extend(b"\0\0\0\0IEND\xae\x42\x60\x82");
    file
}

pub(crate) fn wav() -> Vec<u8> {
    [&b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x08\0\0\0"[..], &[0; 8]].concat()
}

pub(crate) fn parquet() -> Vec<u8> {
    [&b"PAR1"[..], &[0x15; 32], b"\x20\0\0\0PAR1"].concat()
}

/// A tokenizer of SentencePiece.
pub(crate) fn sentence_piece() -> Vec<u8> {
    use proto::{message, number, text};
    let piece = |name: &str, kind: u64| {
        message(1, &[text(1, name), [&b"\x15"[..], &0f32.to_le_bytes()].concat(), number(3, kind)])
    };
    let pieces = [piece("<unk>", 2), piece("<s>", 3), piece("</s>", 3), piece("\u{2581}the", 1)];
    let trainer = message(2, &[text(1, "corpus.txt"), text(2, "spiece"), number(4, 4)]);
    [pieces.concat(), trainer].concat()
}

/// Events of TensorBoard: one record.
pub(crate) fn events() -> Vec<u8> {
    let event = [&b"\x09"[..], &1.7e9f64.to_le_bytes(), &proto::text(3, "brain.Event:2")].concat();
    [&(event.len() as u64).to_le_bytes()[..], &[1; 4], &event, &[2; 4]].concat()
}

/// Bytes that are nothing: no magic, no text, no zeros.
pub(crate) fn unknown(len: usize) -> Vec<u8> {
    let mut bytes = super::models::noise(77, len);
    bytes[..4].copy_from_slice(b"\xff\x17\x99\x03");
    bytes
}
