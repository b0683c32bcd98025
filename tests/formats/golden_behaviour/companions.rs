//! What lies beside weights.

use super::models::*;
use super::run::Sequence;
use crate::common::archives::{Member, Zip, pickled};
use crate::common::sound_files::sound_torch;
use crate::common::*;
use std::fs;
use std::path::Path;

/// Files of all kinds beside weights, and what a loader would execute.
pub(super) fn sequences() -> Vec<Sequence> {
    use contents::*;
    let call = || {
        let called = pickled::call("nonexistent_module", "call", &[pickled::text("x")]);
        pickled::whole(called)
    };
    let auto_map = |class: &str| format!("{{\"auto_map\": {{\"AutoModel\": \"{class}\"}}}}");
    let escape = "{{ ''.__class__.__mro__ }}{{ messages._private }}";
    let all: Vec<(&'static str, Files)> = vec![
        ("onnx", vec![("model.onnx", onnx("", None))]),
        ("onnx with an operator", vec![("model.onnx", onnx("com.example.ops", None))]),
        ("onnx with data outside", vec![("model.onnx", onnx("", Some("../../secret")))]),
        ("hdf5", vec![("tf_model.h5", hdf5(""))]),
        ("keras", vec![("model.keras", keras("Dense"))]),
        ("keras with a lambda", vec![("model.keras", keras("Lambda"))]),
        ("tflite", vec![("model.tflite", tflite())]),
        ("flax", vec![("flax_model.msgpack", flax())]),
        (
            "checkpoint of tensorflow",
            vec![
                ("tf/variables.index", bundle_index()),
                ("tf/variables.data-00000-of-00001", unknown(5000)),
            ],
        ),
        ("saved model", vec![("saved_model.pb", saved_model("MatMul"))]),
        ("saved model with python", vec![("saved_model.pb", saved_model("PyFunc"))]),
        ("executorch", vec![("model.pte", executorch())]),
        ("core ml", vec![("model.mlmodel", core_ml())]),
        ("open vino", vec![("m.xml", open_vino()), ("m.bin", unknown(800))]),
        (
            "archives",
            vec![
                ("x.7z", seven_zip()),
                ("bundle.tar", tar("inner", &call())),
                ("bundle.zip", Zip::of(vec![Member::new("inner.pkl", call())]).bytes()),
                ("packed.gz", gzip(&call())),
            ],
        ),
        (
            "programs",
            vec![
                ("lib/op.so", elf()),
                ("op.dll", portable_executable()),
                ("op.dylib", mach_o()),
                ("start.sh", SCRIPT.to_vec()),
                ("op.wasm", WASM.to_vec()),
                ("thing.whl", wheel()),
            ],
        ),
        (
            "pictures and texts",
            vec![
                ("image.png", png()),
                ("sound.wav", wav()),
                ("data.parquet", parquet()),
                ("spiece.model", sentence_piece()),
                ("events.out.tfevents.1", events()),
                ("labels.txt", b"cat\ndog\nIbex\nNewt\n".to_vec()),
                ("README.md", b"---\nlicense: apache-2.0\n---\n# Model\n".to_vec()),
            ],
        ),
        ("what nobody knows", vec![("blob.xyz", unknown(3000)), ("raw.bin", unknown(500))]),
        (
            "misnamed",
            vec![
                ("pytorch_model.bin", HTML.to_vec()),
                ("other.safetensors", elf()),
                ("pointer.gguf", LFS.to_vec()),
            ],
        ),
        ("a pickle", vec![("training_args.bin", call())]),
        (
            "two things at once",
            vec![("both.bin", [malformed::sound(&["z"]), sound_torch().bytes()].concat())],
        ),
        (
            "code beside",
            vec![
                ("config.json", auto_map("modeling_x.X").into_bytes()),
                ("modeling_x.py", b"class X:\n    pass\n".to_vec()),
                ("requirements.txt", b"torch==2.9.0\n".to_vec()),
            ],
        ),
        (
            "code from elsewhere",
            vec![("config.json", auto_map("some-org/some-model--modeling_x.X").into_bytes())],
        ),
        ("an escape of a template", vec![("chat_template.jinja", escape.as_bytes().to_vec())]),
        ("hydra", vec![("train.yaml", b"model:\n  _target_: my.module.Class\n".to_vec())]),
    ];
    all.into_iter()
        .map(|(name, files)| {
            let build = beside(files);
            let build = move |dir: &Path| {
                let policy = run(&["gate", "--print-policy"]).stdout;
                let policy =
                    policy.replace("required = true\n\n# Public", "required = false\n\n# Public");
                let policy = policy.replace("keys = [\"release.pub.pem\"]", "");
                fs::write(dir.join("default.toml"), policy).unwrap();
                fs::write(dir.join("no-code.toml"), format!("code = \"none\"\n{AUDITED}")).unwrap();
                build(dir)
            };
            Sequence::new(format!("companions/{name}"), build)
                .json("inspect", "inspect {m}")
                .json("audit", "audit {m}")
                .human("audit, for people", "audit {m}")
                .json("audit, all asked for", "audit {m} --require-all")
                .json("seal", "seal {m} -o seal.json")
                .writing(&["seal.json"])
                .json("gate", "gate {m} --policy default.toml")
                .json("gate, with a seal", "gate {m} --policy default.toml --seal seal.json")
                .json("gate, no code", "gate {m} --policy no-code.toml")
        })
        .collect()
}
