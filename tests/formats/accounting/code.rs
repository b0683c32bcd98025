//! What a loader would execute is stated.

use super::table::*;
use crate::common::archives::{Member, Zip};
use crate::common::contents::*;
use crate::common::malformed::gguf;
use crate::common::*;

const CODE: &str = "content/code";
const REMOTE: &str = "content/remote-code";
const ESCAPE: &str = "content/template-escape";

/// A sound model with these files, audited.
fn audited(name: &'static str, files: Files, code: i32, rule: &'static str) -> Row {
    let says = if code == 0 { "PASS" } else { "FAIL" };
    Row { name, files: beside(files), command: "audit {m}", code, rule, says }
}

/// The same, of one file.
fn of(name: &'static str, path: &'static str, text: &str, code: i32, rule: &'static str) -> Row {
    audited(name, vec![file(path, text)], code, rule)
}

/// The file that `config.json` names, and a config.
fn auto_map(config: &'static str, value: &str) -> Files {
    vec![
        file(config, format!("{{\"auto_map\": {{\"AutoModel\": {value}}}}}")),
        file("modeling_x.py", "class X:\n    pass\n"),
    ]
}

#[test]
fn classes_that_configurations_name() {
    hold(vec![
        audited("model", auto_map("config.json", "\"modeling_x.X\""), 0, CODE),
        audited(
            "tokenizer",
            auto_map("tokenizer_config.json", "[\"modeling_x.X\", null]"),
            0,
            CODE,
        ),
        audited("processor", auto_map("processor_config.json", "\"modeling_x.X\""), 0, CODE),
        audited(
            "image processor",
            auto_map("preprocessor_config.json", "\"modeling_x.X\""),
            0,
            CODE,
        ),
        audited(
            "another repository",
            auto_map("config.json", "\"some-org/some-repo--modeling_x.X\""),
            1,
            REMOTE,
        ),
        audited("below", auto_map("text_encoder/config.json", "\"modeling_x.X\""), 0, CODE),
        of("no class", "tokenizer_config.json", "{\"auto_map\": {}}", 0, ""),
        of("a word in a text", "notes.md", "auto_map is a key of config.json\n", 0, ""),
    ]);
}

#[test]
fn pipelines_and_modules() {
    let pipeline = |class: &str| {
        format!("{{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": {class}}}")
    };
    let modules = |kind: &str| {
        format!("[{{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"{kind}\"}}]")
    };
    hold(vec![
        audited(
            "custom class of diffusers",
            vec![
                file("model_index.json", pipeline("[\"my_unet\", \"MyUnet\"]")),
                file("unet/my_unet.py", "class MyUnet:\n    pass\n"),
            ],
            0,
            CODE,
        ),
        audited(
            "custom pipeline",
            vec![
                file("model_index.json", "{\"_class_name\": [\"pipeline\", \"MyPipeline\"]}"),
                file("pipeline.py", "class MyPipeline:\n    pass\n"),
            ],
            0,
            CODE,
        ),
        of(
            "classes of the libraries",
            "model_index.json",
            &pipeline("[\"diffusers\", \"UNet2DConditionModel\"]"),
            0,
            "",
        ),
        audited(
            "custom module",
            vec![
                file("modules.json", modules("my_module.MyPooling")),
                file("my_module.py", "class MyPooling:\n    pass\n"),
            ],
            0,
            CODE,
        ),
        of(
            "modules of the library",
            "modules.json",
            &modules("sentence_transformers.models.Pooling"),
            0,
            "",
        ),
        of(
            "custom_generate",
            "custom_generate/generate.py",
            "def generate(model):\n    return 1\n",
            0,
            CODE,
        ),
        of("handler", "handler.py", "class EndpointHandler:\n    pass\n", 0, CODE),
        of("requirements", "requirements.txt", "torch==2.9.0\n", 0, CODE),
        of("Hydra", "config/train.yaml", "model:\n  _target_: my.module.Class\n", 0, CODE),
        of("Hydra, in flow style", "train.yaml", "model: {_target_: my.module.Class}\n", 0, CODE),
        of(
            "NeMo",
            "model_config.yaml",
            "decoder:\n  _target_: nemo.collections.asr.modules.RNNTDecoder\n",
            0,
            CODE,
        ),
        of("TorchTNT", "c.json", "{\"a\": {\"_instantiator\": \"my.module.make\"}}", 0, CODE),
        audited(
            "MLflow",
            vec![
                file(
                    "MLmodel",
                    "flavors:\n  python_function:\n    loader_module: my_loader\n    code: code\n",
                ),
                file("code/my_loader.py", "def _load_pyfunc(path):\n    return None\n"),
            ],
            0,
            CODE,
        ),
    ]);
}

#[test]
fn code_in_files_of_weights() {
    hold(vec![
        audited("Lambda layer", vec![file("model.keras", keras("Lambda"))], 0, CODE),
        audited("Dense layer", vec![file("model.keras", keras("Dense"))], 0, ""),
        audited(
            "Lambda layer in HDF5",
            vec![file(
                "model.h5",
                hdf5(
                    "{\"class_name\": \"Sequential\", \"config\": {\"layers\": [{\"class_name\": \"Lambda\", \"config\": {\"name\": \"l\"}}]}}",
                ),
            )],
            0,
            CODE,
        ),
        audited("file operation", vec![file("saved_model.pb", saved_model("ReadFile"))], 0, CODE),
        audited("function of Python", vec![file("saved_model.pb", saved_model("PyFunc"))], 0, CODE),
        audited("plain graph", vec![file("saved_model.pb", saved_model("MatMul"))], 0, ""),
        audited(
            "custom operator",
            vec![file("model.onnx", onnx("com.example.ops", None))],
            0,
            CODE,
        ),
        audited("operator of the standard", vec![file("model.onnx", onnx("", None))], 0, ""),
        audited(
            "data outside the model",
            vec![file("model.onnx", onnx("", Some("../../secret")))],
            1,
            "content/external-path",
        ),
        audited(
            "data beside",
            vec![file("model.onnx", onnx("", Some("model.data"))), file("model.data", unknown(99))],
            0,
            "",
        ),
    ]);
}

#[test]
fn calls_of_modules_are_info_findings() {
    let info = |name, text| Row { says: "info finding", ..of(name, "tool.py", text, 0, CODE) };
    hold(vec![
        info("a call", "import os\n\nprint(1)\n"),
        info("a call in a list", "X = [\n    make(1),\n]\n"),
        info("a definition", "def f():\n    return g()\n"),
        of("an empty package", "__init__.py", "", 0, ""),
    ]);
}

#[test]
fn an_escape_of_a_template_is_found_in_all_its_places() {
    let escape = "{{ messages._private }}";
    let quoted = "{{ messages['_private'] }}";
    let filter = "{{ messages|attr('_private') }}";
    let joined = "{{ messages['_pri' ~ 'vate'] }}";
    let generation = "{% generation %}{{ messages._private }}{% endgeneration %}";
    let config = |template: &str| serde_json::json!({ "chat_template": template }).to_string();
    let listed = serde_json::json!({"chat_template": [{"name": "tool_use", "template": escape}]});
    let gguf = |template: &str| {
        gguf::sound(&["blk.0.attn_q.weight"])
            .text("tokenizer.chat_template", template.as_bytes())
            .bytes()
    };
    hold(vec![
        of("attribute", "chat_template.jinja", escape, 1, ESCAPE),
        of("subscript", "chat_template.jinja", quoted, 1, ESCAPE),
        of("filter", "chat_template.jinja", filter, 1, ESCAPE),
        of("joined", "chat_template.jinja", joined, 1, ESCAPE),
        of("where the engine does not parse it", "chat_template.jinja", generation, 1, ESCAPE),
        of("additional", "additional_chat_templates/tool_use.jinja", escape, 1, ESCAPE),
        of("tokenizer", "tokenizer_config.json", &config(escape), 1, ESCAPE),
        of("list of the tokenizer", "tokenizer_config.json", &listed.to_string(), 1, ESCAPE),
        of("template in JSON", "chat_template.json", &config(escape), 1, ESCAPE),
        Row {
            name: "GGUF",
            files: vec![file("m.gguf", gguf(escape))],
            command: "audit {m}",
            code: 1,
            rule: ESCAPE,
            says: "FAIL",
        },
        Row {
            name: "quiet GGUF",
            files: vec![file("m.gguf", gguf("{{ messages[0]['content'].strip() }}"))],
            command: "audit {m}",
            code: 0,
            rule: "",
            says: "PASS",
        },
        of(
            "methods",
            "chat_template.jinja",
            "{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}{% for k, v in tools.items() %}{{ k }}{% endfor %}",
            0,
            "",
        ),
        of(
            "an underscore in a text",
            "chat_template.jinja",
            "{{ '<|_user_|>' ~ messages[0]['content'] }}",
            0,
            "",
        ),
        of(
            "generation",
            "chat_template.jinja",
            "{% generation %}{{ messages[0]['content'] }}{% endgeneration %}",
            0,
            "",
        ),
    ]);
}

#[test]
fn what_files_carry_along_is_told_and_never_printed() {
    let token = format!("hf_{}", "A1b2".repeat(9).split_at(34).0);
    let arguments = [
        &b"\x80\x02}X\x09\0\0\0hub_tokenX"[..],
        &(token.len() as u32).to_le_bytes(),
        token.as_bytes(),
        b"s.",
    ]
    .concat();
    let exported = Zip::of(vec![
        Member::new("m/archive_format", "pt2"),
        Member::new("m/models/model.json", "{\"path\": \"/home/somebody/train.py\"}"),
        Member::new("m/data/sample_inputs/model.pt", "x"),
    ]);
    hold(vec![
        audited("token", vec![file("training_args.bin", &arguments)], 0, "content/private-data"),
        audited(
            "example inputs",
            vec![file("model.pt2", exported.bytes())],
            0,
            "content/private-data",
        ),
    ]);
    let laid = Laid::new(&beside(vec![file("training_args.bin", &arguments)]));
    let read = run(&["audit", arg(&laid.model()), "--format", "json"]);
    assert!(!read.stdout.contains(&token), "{}", read.stdout);
}
