//! A pickle means to us what it means to the loader, or is refused by name.

use super::table::*;
use crate::common::archives::{Zip, pickled, torch_zip};
use crate::common::sound_files::npy;
use crate::common::*;
use pickled::{call, dict, global, int, storage, tensor, text, tuple, view, whole};
use std::fs;

/// A model of one torch archive with this object, and those storages that it names.
fn torch(object: Vec<u8>) -> Files {
    let second = object.windows(6).any(|part| part == text("1"));
    let storages = [("0", floats(6)), ("1", floats(6))];
    let storages = if second { &storages[..] } else { &storages[..1] };
    vec![file("m.pt", torch_zip(whole(object), storages).bytes())]
}

/// Numbers as weights are.
fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|at| (0.5 + at as f32 / 16.0).to_le_bytes()).collect()
}

fn read(name: &'static str, files: Files, says: &'static str) -> Row {
    Row { name, files, command: "inspect {m}", code: 0, rule: "", says }
}

fn refused(name: &'static str, object: Vec<u8>) -> Row {
    Row { name, files: torch(object), command: "audit {m}", code: 1, rule: "", says: "high " }
}

/// `_rebuild_tensor_v2` of six elements, with these arguments behind the strides.
fn rebuilt(name: &str, more: Vec<Vec<u8>>) -> Vec<u8> {
    let ints = |values: &[i64]| tuple(&values.iter().map(|v| int(*v)).collect::<Vec<_>>());
    let mut arguments = vec![storage("FloatStorage", "0", 6), int(0), ints(&[2, 3]), ints(&[3, 1])];
    arguments.extend(more);
    call("torch._utils", name, &arguments)
}

fn hooks() -> Vec<u8> {
    call("collections", "OrderedDict", &[])
}

fn parameter(name: &str, more: Vec<Vec<u8>>) -> Vec<u8> {
    let data = view(storage("FloatStorage", "0", 6), 0, &[2, 3], &[3, 1]);
    let arguments = [vec![data, b"\x88".to_vec(), hooks()], more].concat();
    call("torch._utils", name, &arguments)
}

fn of(value: Vec<u8>) -> Vec<u8> {
    dict(&[("w", value)])
}

/// A dictionary with these keys, whatever they are.
fn keyed(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [&key[..], value].concat()).collect();
    [b"}(".to_vec(), entries, b"u".to_vec()].concat()
}

#[test]
fn whatever_changes_what_is_loaded_is_refused_by_name() {
    let conjugated = dict(&[("conj", b"\x88".to_vec())]);
    let state = dict(&[("scale", int(2))]);
    let built =
        [view(storage("FloatStorage", "0", 6), 0, &[2, 3], &[3, 1]), state.clone(), b"b".to_vec()]
            .concat();
    let by_type = call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        &[
            global("torch._utils", "_rebuild_tensor_v2"),
            global("torch", "Tensor"),
            tuple(&[
                storage("FloatStorage", "0", 6),
                int(0),
                tuple(&[int(6)]),
                tuple(&[int(1)]),
                b"\x89".to_vec(),
                hooks(),
            ]),
            state.clone(),
        ],
    );
    hold(vec![
        refused(
            "metadata of a tensor",
            of(rebuilt("_rebuild_tensor_v2", vec![b"\x89".to_vec(), hooks(), conjugated])),
        ),
        refused("state of a tensor", of(built)),
        refused(
            "state of a parameter",
            of(parameter("_rebuild_parameter_with_state", vec![state])),
        ),
        refused("state by type", of(by_type)),
        refused(
            "names that join to one",
            dict(&[("a", dict(&[("b", tensor("0", 6))])), ("a.b", tensor("1", 6))]),
        ),
        refused(
            "a key that overrides one before",
            keyed(&[(text("w"), tensor("0", 6)), (text("w"), tensor("1", 6))]),
        ),
        refused("a key that is a tuple", keyed(&[(tuple(&[int(1)]), tensor("0", 6))])),
    ]);
}

#[test]
fn what_torch_save_writes_is_read() {
    let empty = || call("collections", "OrderedDict", &[]);
    hold(vec![
        read(
            "empty metadata",
            torch(of(rebuilt("_rebuild_tensor_v2", vec![b"\x89".to_vec(), hooks(), dict(&[])]))),
            "[2, 3]",
        ),
        read("a parameter", torch(of(parameter("_rebuild_parameter", vec![]))), "[2, 3]"),
        read(
            "numbers as keys",
            torch(keyed(&[(int(0), tensor("0", 6)), (int(1), tensor("1", 6))])),
            "2 tensors",
        ),
        read(
            "an ordered dictionary",
            torch([empty(), b"(".to_vec(), text("w"), tensor("0", 6), b"u".to_vec()].concat()),
            "1 tensor,",
        ),
    ]);
}

#[test]
fn the_order_of_elements_is_part_of_the_root() {
    let root = |files: Files| {
        let laid = Laid::new(&files);
        let seal = laid.outer().join("seal");
        let (code, report) = report(&["seal", arg(&laid.model()), "-o", arg(&seal)]);
        assert_eq!(code, 0, "{report:#}");
        report["model"]["root"].as_str().unwrap().to_owned()
    };
    let square =
        |stride: &[i64]| torch(of(view(storage("FloatStorage", "0", 4), 0, &[2, 2], stride)));
    let square = |stride: &[i64]| {
        let mut files = square(stride);
        files[0].1 = torch_zip(
            whole(of(view(storage("FloatStorage", "0", 4), 0, &[2, 2], stride))),
            &[("0", noise(5, 16))],
        )
        .bytes();
        files
    };
    // The same bytes, one model and its transpose.
    assert_ne!(root(square(&[2, 1])), root(square(&[1, 2])));
    let array = |fortran: &str| {
        let header = format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': (2, 2), }}\n");
        vec![file("w.npy", npy(&header, &noise(5, 16)))]
    };
    assert_ne!(root(array("False")), root(array("True")));
    // What is row-major has the root that the same tensor of safetensors has.
    let plain = vec![file("m.safetensors", safetensors(&[("w", "F32", &[2, 2], noise(5, 16))]))];
    assert_eq!(root(square(&[2, 1])), root(plain));
}

#[test]
fn another_header_of_torch_and_numpy_is_grave() {
    let before = torch(of(tensor("0", 6)));
    let laid = Laid::new(&before);
    let (model, seal) = (laid.model(), laid.outer().join("seal"));
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    // The same tensor, and a number beside it.
    let object = dict(&[("w", tensor("0", 6)), ("version", int(9))]);
    fs::write(model.join("m.pt"), &torch(object)[0].1).unwrap();
    let (code, found) = report(&["verify", arg(&model), "--seal", arg(&seal)]);
    assert_eq!(code, 1, "{found:#}");
    let header = findings(&found).into_iter().find(|f| f["rule"] == "integrity/header-changed");
    assert_eq!(header.unwrap()["severity"], "high", "{found:#}");
}

#[test]
fn an_archive_without_checksums_is_not_damaged() {
    let mut zip: Zip = torch_zip(whole(of(tensor("0", 6))), &[("0", floats(6))]);
    for member in &mut zip.members {
        member.both(|header| header.crc32 = 0);
    }
    let files = || vec![file("m.pt", zip.bytes())];
    hold(vec![
        Row {
            name: "seal",
            files: files(),
            command: "seal {m}",
            code: 0,
            rule: "",
            says: "sealed",
        },
        Row {
            name: "audit",
            files: files(),
            command: "audit {m}",
            code: 0,
            rule: "",
            says: "PASS",
        },
    ]);
}

#[test]
fn a_name_stands_for_one_place() {
    let of = |path, name| file(path, safetensors(&[(name, "F32", &[6], floats(6))]));
    let index =
        |shard: &str| format!("{{\"metadata\": {{}}, \"weight_map\": {{\"w\": \"{shard}\"}}}}");
    let row = |name, files, code, rule| {
        let says = if code == 0 { "PASS" } else { "FAIL" };
        Row { name, files, command: "audit {m}", code, rule, says }
    };
    let ambiguous = "format/ambiguous-name";
    hold(vec![
        row("a name with a slash", vec![of("m.safetensors", "encoder/w")], 0, ""),
        row(
            "the directory is there",
            vec![of("m.safetensors", "encoder/w"), of("encoder/m.safetensors", "b")],
            1,
            ambiguous,
        ),
        row(
            "the file is there",
            vec![of("m.safetensors", "a.safetensors:w"), of("a.safetensors", "b")],
            1,
            ambiguous,
        ),
        row(
            "a shard that names say is there",
            vec![of("model-00001-of-00002.safetensors", "w")],
            1,
            "format/shard-missing",
        ),
        row(
            "all that names say are there",
            vec![
                of("model-00001-of-00002.safetensors", "w"),
                of("model-00002-of-00002.safetensors", "v"),
            ],
            0,
            "",
        ),
        // Loaders of variants look for this name.
        row(
            "a shard of a variant is missing",
            vec![
                of("m.safetensors", "w"),
                file(
                    "model.safetensors.index.fp16.json",
                    index("model.fp16-00001-of-00001.safetensors"),
                ),
            ],
            1,
            "format/shard-missing",
        ),
    ]);
}
