//! Files are known by their bytes, whatever they are called.

use super::table::*;
use crate::common::archives::{Member, Zip, pickled};
use crate::common::contents::*;
use crate::common::malformed::gguf;
use crate::common::sound_files::{sound_npy, sound_torch};
use crate::common::*;

/// Weights that this version cannot read: the name of each file, what it is, its bytes.
fn not_read() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("model.onnx", "onnx", onnx("", None)),
        ("model.h5", "hdf5", hdf5("")),
        ("model.keras", "keras", keras("Dense")),
        ("model.tflite", "tflite", tflite()),
        ("flax_model.msgpack", "msgpack", flax()),
        ("saved_model.pb", "tensorflow-graph", saved_model("MatMul")),
        ("model.pte", "executorch", executorch()),
        ("model.mlmodel", "coreml", core_ml()),
    ]
}

#[test]
fn weights_that_cannot_be_read_are_named_and_never_pass_in_silence() {
    for (path, class, bytes) in not_read() {
        let alone = || vec![file(path, &bytes)];
        let with = || beside(vec![file(path, &bytes)]);
        // The same bytes under another name are the same.
        let renamed = || beside(vec![file("data.0", &bytes)]);
        let unnamed = matches!(class, "msgpack" | "coreml");
        let name = if unnamed { "" } else { "of weights not audited: data.0" };
        hold(vec![
            row(class, alone(), "audit {m}", 4, "format/not-read", class),
            row(class, alone(), "inspect {m}", 4, "format/not-read", class),
            row(class, alone(), "seal {m}", 0, "", "sealed"),
            row(class, with(), "audit {m}", 0, "", "of weights not audited: "),
            row(class, with(), "audit {m} --require-all", 3, "", "--require-all"),
            // Two have no magic number: they are known by their name as well.
            row(class, renamed(), "audit {m}", 0, "", name),
        ]);
    }
}

#[test]
fn weights_are_read_under_any_name() {
    let gguf = gguf::sound(&["blk.0.attn_q.weight"]).bytes();
    let mut upper = sound_torch();
    for member in &mut upper.members {
        member.both(|header| header.name.make_ascii_uppercase());
    }
    hold(vec![
        row("safetensors", vec![file("weights.dat", weights())], "inspect {m}", 0, "", "2 tensors"),
        row(
            "safetensors in capitals",
            vec![file("M.SAFETENSORS", weights())],
            "inspect {m}",
            0,
            "",
            "2 tensors",
        ),
        row("no ending", vec![file("weights", weights())], "audit {m}", 0, "", "2 weight tensors"),
        row("gguf", vec![file("ggml-model.old", gguf)], "inspect {m}", 0, "", "1 tensor,"),
        row(
            "torch",
            vec![file("state.tar", sound_torch().bytes())],
            "inspect {m}",
            0,
            "",
            "2 tensors",
        ),
        row(
            "torch in capitals",
            vec![file("state.bin", upper.bytes())],
            "inspect {m}",
            0,
            "",
            "2 tensors",
        ),
        row("npy", vec![file("embedding.raw", sound_npy())], "inspect {m}", 0, "", "1 tensor,"),
    ]);
}

/// A pickle that calls something that does not exist.
pub(super) fn calling() -> Vec<u8> {
    let callable = pickled::call("nonexistent_module", "call", &[pickled::text("x")]);
    pickled::whole(callable)
}

#[test]
fn pickles_are_found_wherever_they_are() {
    let zip = |name: &str, bytes: Vec<u8>| Zip::of(vec![Member::new(name, bytes)]).bytes();
    let call = calling;
    // Nothing announces these two: they are read as whoever loads them would.
    let plain = b"cnonexistent_module\ncall\n(S'x'\ntR.".to_vec();
    let framed =
        [&b"\x80\x04\x95\x1e\0\0\0\0\0\0\0"[..], b"\x8c\x12nonexistent_module\x8c\x04call\x93)R."]
            .concat();
    let places: Files = vec![
        ("tokenizer.dat", call()),
        ("vocab.model", call()),
        ("cache", call()),
        ("a/b/state.joblib", call()),
        ("plain.txt", plain.clone()),
        ("framed.x", framed),
        ("packed.gz", gzip(&call())),
        ("packed.pkl.z", zlib(&call())),
        ("bundle.zip", zip("inner.pkl", call())),
        ("bundle2.zip", zip("inner.dat", call())),
        ("bundle.tar", tar("inner", &call())),
        ("bundle.tgz", gzip(&tar("inner", &call()))),
        // Numbers as Python reads them, and a pickle behind another.
        ("numbers.bin", [b"I0x1f\n0".to_vec(), plain.clone()].concat()),
        ("second.x", [b"K\x01.".to_vec(), plain.clone()].concat()),
        ("nested.zip", zip("inner.zip", zip("deep", call()))),
    ];
    let rows = places.into_iter().map(|(path, bytes)| {
        let files = beside(vec![file(path, bytes)]);
        row(path, files, "audit {m}", 1, "format/pickle-global", "nonexistent_module")
    });
    hold(rows.collect());
    let also = |path| beside(vec![file(path, calling())]);
    hold(vec![
        // What goes along with weights never stops a verb that works on bytes.
        row("seal", also("extra.dat"), "seal {m}", 0, "", "sealed"),
        row("inspect", also("extra.dat"), "inspect {m}", 0, "", "2 tensors"),
        row(
            "given by itself",
            also("extra.dat"),
            "audit {m}/extra.dat",
            1,
            "format/pickle-global",
            "FAIL",
        ),
    ]);
}

fn zlib(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn text_that_only_looks_like_a_pickle_is_nothing() {
    let labels = "cat\ndog\nIbex\nNewt\n(unknown)\nSeal\n";
    let names = "cnonexistent_module\ncall\nhello\n";
    let data = pickled::whole(pickled::dict(&[("steps", pickled::int(12))]));
    hold(vec![
        row("labels", beside(vec![file("labels.txt", labels)]), "audit {m}", 0, "", "PASS"),
        row(
            "labels of no ending",
            beside(vec![file("labels", labels)]),
            "audit {m}",
            0,
            "",
            "PASS",
        ),
        row(
            "a name that is only read",
            beside(vec![file("names.txt", names)]),
            "audit {m}",
            0,
            "",
            "PASS",
        ),
        row("plain data", beside(vec![file("state.bin", data)]), "audit {m}", 0, "", "PASS"),
    ]);
}

#[test]
fn what_nobody_knows_is_listed() {
    let files = || beside(vec![file("blob.xyz", unknown(3000)), file("raw.bin", unknown(500))]);
    let tensors = [("a", "F32", &[1u64][..], vec![0; 4])];
    hold(vec![
        row("audit", files(), "audit {m}", 0, "", "not understood  blob.xyz (unknown, "),
        row(
            "raw weights have no magic",
            files(),
            "audit {m}",
            0,
            "",
            "not understood  raw.bin (unknown, ",
        ),
        row("all is asked for", files(), "audit {m} --require-all", 3, "", "2 unrecognised files"),
        row("inspect", files(), "inspect {m}", 0, "", "not understood  blob.xyz"),
        row(
            "7z",
            beside(vec![file("x.7z", seven_zip())]),
            "audit {m}",
            0,
            "",
            "not understood  x.7z (7z, ",
        ),
        row(
            "zip",
            beside(vec![file("x.zip", Zip::of(vec![Member::new("a", unknown(900))]).bytes())]),
            "audit {m}",
            0,
            "",
            "not understood  x.zip (zip, ",
        ),
        row(
            "zeros",
            beside(vec![file("x.dat", vec![0; 5000])]),
            "audit {m}",
            0,
            "",
            "not understood  x.dat (zeros, ",
        ),
    ]);
    assert!(!safetensors(&tensors).is_empty());
    // In every report, with the digest of every file.
    let laid = Laid::new(&files());
    let model = laid.model();
    for verb in [&["audit"][..], &["seal"], &["verify"]] {
        let (code, report) = report(&[verb, &[arg(&model)]].concat());
        assert_eq!(code, 0, "{report:#}");
        let listed = report["coverage"]["not_understood"].as_array().unwrap();
        let paths: Vec<_> = listed.iter().map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["blob.xyz", "raw.bin"], "{verb:?}");
        let digest = format!("blake3:{}", blake3::hash(&unknown(3000)).to_hex());
        assert_eq!(listed[0]["digest"], digest, "{verb:?}");
        assert_eq!(listed[0]["bytes"], 3000);
    }
}

#[test]
fn programs_and_libraries_are_told() {
    let rule = "content/executable";
    let programs: Files = vec![
        ("libkernel.so", elf()),
        ("kernel.dll", portable_executable()),
        ("kernel.dylib", mach_o()),
        ("run.sh", SCRIPT.to_vec()),
        ("kernel.wasm", WASM.to_vec()),
        ("thing-1.0-py3-none-any.whl", wheel()),
        ("data.0", elf()),
    ];
    let rows = programs.into_iter().map(|(path, bytes)| {
        row(path, beside(vec![file(path, bytes)]), "audit {m}", 0, rule, "low ")
    });
    hold(rows.collect());
}

#[test]
fn a_name_that_promises_weights_is_held_to_it() {
    let rule = "format/misnamed-content";
    let alone = |path, bytes: &[u8]| vec![file(path, bytes)];
    let zip = Zip::of(vec![Member::new("readme.txt", "hello")]).bytes();
    hold(vec![
        row("page", beside(alone("adapter.bin", HTML)), "audit {m}", 1, rule, "HTML"),
        row(
            "page as safetensors",
            beside(alone("adapter.safetensors", HTML)),
            "audit {m}",
            1,
            "",
            "FAIL",
        ),
        row(
            "error of an API",
            beside(alone("adapter.bin", b"{\"error\": \"Repository not found\"}")),
            "audit {m}",
            1,
            rule,
            "JSON",
        ),
        row("program", beside(alone("adapter.bin", &elf())), "audit {m}", 1, rule, "FAIL"),
        row("zeros", beside(alone("adapter.bin", &[0; 4096])), "audit {m}", 1, rule, "zeros"),
        row(
            "link as text",
            beside(alone("adapter.bin", b"../../blobs/0a1b2c3d")),
            "audit {m}",
            1,
            rule,
            "link",
        ),
        row(
            "archive without weights",
            beside(alone("adapter.pt", &zip)),
            "audit {m}",
            1,
            "",
            "FAIL",
        ),
        row(
            "pointer",
            alone("model.safetensors", LFS),
            "audit {m}",
            1,
            "format/git-lfs-pointer",
            "git lfs pull",
        ),
        row(
            "pointer of another format",
            beside(alone("pytorch_model.bin", LFS)),
            "audit {m}",
            0,
            "format/git-lfs-pointer",
            "low ",
        ),
        row(
            "pointer alone, onnx",
            alone("model.onnx", LFS),
            "audit {m}",
            1,
            "format/git-lfs-pointer",
            "git lfs pull",
        ),
    ]);
}

/// A pickle of one array of NumPy, of 80,000 bytes.
fn arrays() -> Vec<u8> {
    let (empty, dtype) = (pickled::tuple(&[pickled::int(0)]), b"C\x01b".to_vec());
    let class = pickled::global("numpy", "ndarray");
    let array = pickled::call("numpy._core.multiarray", "_reconstruct", &[class, empty, dtype]);
    let data = [&b"B"[..], &80_000u32.to_le_bytes(), &noise(9, 80_000)].concat();
    let dtype = pickled::call("numpy", "dtype", &[pickled::text("f4")]);
    let shape = pickled::tuple(&[pickled::int(20_000)]);
    let state = pickled::tuple(&[pickled::int(1), shape, dtype, b"\x89".to_vec(), data]);
    pickled::whole(pickled::dict(&[("w", [array, state, b"b".to_vec()].concat())]))
}

#[test]
fn raw_weights_are_known_by_who_names_them() {
    let external = || onnx("", Some("model.onnx_data"));
    let manifest = r#"{"format": "layers-model", "weightsManifest": [{"paths": ["group1-shard1of1.bin"], "weights": []}]}"#;
    let files = |files: Files| beside(files);
    hold(vec![
        row(
            "OpenVINO",
            files(vec![
                file("openvino_model.xml", open_vino()),
                file("openvino_model.bin", unknown(900)),
            ]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "openvino_model.bin",
        ),
        row(
            "ONNX",
            files(vec![file("model.onnx", external()), file("model.onnx_data", unknown(900))]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "model.onnx_data",
        ),
        row(
            "TensorFlow.js",
            files(vec![file("model.json", manifest), file("group1-shard1of1.bin", unknown(900))]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "group1-shard1of1.bin",
        ),
        row(
            "OpenVINO, empty weights",
            files(vec![file("m.xml", open_vino()), file("m.bin", vec![0; 900])]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "m.bin",
        ),
        row(
            "arrays in a pickle",
            files(vec![file("R-50.pkl", arrays())]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "R-50.pkl",
        ),
        row(
            "TensorFlow",
            files(vec![
                file("variables/variables.index", bundle_index()),
                file("variables/variables.data-00000-of-00001", unknown(900)),
            ]),
            "audit {m} --require-all",
            3,
            "format/not-read",
            "variables.data-00000-of-00001",
        ),
    ]);
}

#[test]
fn two_readers_of_one_file_are_told() {
    let rule = "format/ambiguous-content";
    let zip = |bytes: Vec<u8>| [bytes, sound_torch().bytes()].concat();
    let gguf = gguf::sound(&["blk.0.attn_q.weight"]).bytes();
    hold(vec![
        row(
            "safetensors and zip",
            vec![file("model.safetensors", zip(weights()))],
            "audit {m}",
            1,
            "",
            "FAIL",
        ),
        row(
            "gguf and zip",
            vec![file("model.gguf", zip(gguf))],
            "audit {m}",
            1,
            rule,
            "at the same time",
        ),
        // What a member of a tar archive ends as is that member's.
        row(
            "an archive in an archive",
            beside(vec![file("model.nemo", tar("weights.ckpt", &sound_torch().bytes()))]),
            "audit {m}",
            0,
            "format/not-read",
            "weights not audited: model.nemo",
        ),
        row("npy and zip", vec![file("a.npy", zip(sound_npy()))], "audit {m}", 1, "", "FAIL"),
        row(
            "picture and zip",
            beside(vec![file(
                "logo.png",
                [png(), Zip::of(vec![Member::new("a", "b")]).bytes()].concat(),
            )]),
            "audit {m}",
            1,
            rule,
            "at the same time",
        ),
    ]);
}
