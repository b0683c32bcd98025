//! Directories as real tools leave them: nothing is said of them, and the printed policy passes them or names
//! the one line that it lacks.

use super::table::*;
use crate::common::contents::*;
use crate::common::oms::Fixtures;
use crate::common::sound_files::sound_torch;
use crate::common::*;
use std::fs;

const LAYER: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
const PIPELINE: &str = r#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"], "safety_checker": [null, null]}"#;
const TEMPLATE: &str = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'].strip() }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Sound directories, and the files of each that the printed policy has to be told of.
fn directories() -> Vec<(&'static str, Files, Vec<&'static str>)> {
    let card = || file("README.md", "---\nlicense: apache-2.0\n---\n# Model\n");
    vec![
        (
            "transformers",
            beside(vec![
                card(),
                file("tokenizer.json", "{}"),
                file("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}"),
                file("special_tokens_map.json", "{}"),
                file("generation_config.json", "{}"),
                file("vocab.txt", "[PAD]\n[UNK]\nthe\n"),
                file("merges.txt", "#version: 0.2\nt h\n"),
                file("chat_template.jinja", TEMPLATE),
            ]),
            vec![],
        ),
        (
            "sentence-transformers",
            beside(vec![
                card(),
                file("modules.json", LAYER),
                file("1_Pooling/config.json", "{}"),
                file("sentence_bert_config.json", "{}"),
            ]),
            vec![],
        ),
        (
            "several formats",
            beside(vec![
                file("onnx/model.onnx", onnx("", None)),
                file("openvino/openvino_model.xml", open_vino()),
                file("openvino/openvino_model.bin", unknown(800)),
                file("tf_model.h5", hdf5("")),
                file("flax_model.msgpack", flax()),
            ]),
            vec!["onnx/*", "openvino/*", "tf_model.h5", "flax_model.msgpack"],
        ),
        (
            "torch beside",
            beside(vec![file("pytorch_model.bin", sound_torch().bytes())]),
            vec!["pytorch_model.bin"],
        ),
        (
            "diffusers",
            vec![
                card(),
                file("model_index.json", PIPELINE),
                file("unet/config.json", "{}"),
                file("unet/diffusion_pytorch_model.safetensors", weights()),
                file("text_encoder/model.safetensors", weights()),
                file("scheduler/scheduler_config.json", "{\"_class_name\": \"PNDMScheduler\"}"),
            ],
            vec![],
        ),
        (
            "labels",
            beside(vec![
                file("labels.txt", "cat\ndog\nIbex\n"),
                file("imagenet_classes.txt", "tench, Tinca tinca\ngoldfish\n"),
            ]),
            vec![],
        ),
        ("package", beside(vec![file("__init__.py", "")]), vec![]),
        (
            "SentencePiece",
            beside(vec![
                file("tokenizer.model", sentence_piece()),
                file("spiece.model", sentence_piece()),
            ]),
            vec![],
        ),
        (
            "data",
            beside(vec![
                file("data/train-00000-of-00001.parquet", parquet()),
                file("samples/a.wav", wav()),
                file("figures/loss.png", png()),
            ]),
            vec![],
        ),
        (
            "training logs",
            beside(vec![
                file("runs/events.out.tfevents.1700000000.host.1.0", events()),
                file("trainer_state.json", "{\"log_history\": []}"),
                file("all_results.json", "{}"),
            ]),
            vec![],
        ),
        (
            "an adapter",
            vec![
                file("adapter_config.json", "{\"peft_type\": \"LORA\"}"),
                file("adapter_model.safetensors", weights()),
            ],
            vec![],
        ),
        ("a data archive", beside(vec![file("corpus.7z", seven_zip())]), vec![]),
        ("an empty file", beside(vec![file(".gitkeep", ""), file("added.txt", "")]), vec![]),
        ("latin", beside(vec![file("names.txt", b"Se\xf1or\nCaf\xe9\n")]), vec![]),
        ("wide text", beside(vec![file("notes.txt", b"\xff\xfeh\0i\0\n\0")]), vec![]),
    ]
}

#[test]
fn nothing_is_said_of_what_real_tools_leave() {
    let rows = directories().into_iter().map(|(name, files, _)| Row {
        name,
        files,
        command: "audit {m}",
        code: 0,
        rule: "",
        says: "PASS",
    });
    hold(rows.collect());
}

#[test]
fn the_printed_policy_passes_them_or_names_one_line() {
    let fixtures = Fixtures::new();
    let key = fixtures.path("keys/p256.priv.pem");
    let public = fixtures.path("keys/p256.pub.pem");
    let printed = run(&["gate", "--print-policy"]).stdout;
    let printed = printed.replace("release.pub.pem", arg(&public));
    for (name, files, told) in directories() {
        let laid = Laid::new(&files);
        let (model, policy) = (laid.model(), laid.outer().join("policy.toml"));
        fs::write(&policy, &printed).unwrap();
        let signed = run(&["sign", arg(&model), "--key", arg(&key), "--device", "cpu"]);
        assert_eq!(signed.code, 0, "{name}: {}", signed.stderr);
        let gate = || run(&["gate", arg(&model), "--policy", arg(&policy), "--device", "cpu"]);
        let first = gate();
        if told.is_empty() {
            assert_eq!(first.code, 0, "{name}: {}{}", first.stdout, first.stderr);
            continue;
        }
        assert_eq!(first.code, 1, "{name}: {}", first.stdout);
        assert!(first.stdout.contains("coverage.allow"), "{name}: {}", first.stdout);
        // The one line: what is there besides the weights that the gate is about.
        let allowed: Vec<String> = told.iter().map(|path| format!("{path:?}")).collect();
        let line = format!("allow = [\".git\", {}]", allowed.join(", "));
        let lines = printed.lines().map(|old| match old.starts_with("allow = [") {
            true => line.as_str(),
            false => old,
        });
        fs::write(&policy, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let then = gate();
        assert_eq!(then.code, 0, "{name}: {}{}", then.stdout, then.stderr);
    }
}
