//! What a loader would execute is stated, wherever it stands, and never run.

use crate::common::archives::{Member, Zip};
use crate::common::malformed;
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A model of one small tensor with these files beside it, audited: the exit code and its findings of the
/// area `content`.
fn audited(files: &[(&str, &[u8])]) -> (i32, Vec<Value>) {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    fs::write(root.join("model.safetensors"), weights()).unwrap();
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    content(root)
}

fn weights() -> Vec<u8> {
    safetensors(&[(
        "weight",
        "F32",
        &[8, 8],
        noise(1, 256).iter().map(|byte| byte & 0x3f).collect(),
    )])
}

fn content(model: &Path) -> (i32, Vec<Value>) {
    let ran = run(&["audit", model.to_str().unwrap(), "--format", "json", "--device", "cpu"]);
    let report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let all = report["findings"].as_array().unwrap();
    let of_content = |finding: &&Value| finding["rule"].as_str().unwrap().starts_with("content/");
    (ran.code, all.iter().filter(of_content).cloned().collect())
}

/// Rule and file of each, in order.
fn told(findings: &[Value]) -> Vec<(&str, &str)> {
    findings
        .iter()
        .map(|finding| (finding["rule"].as_str().unwrap(), finding["file"].as_str().unwrap()))
        .collect()
}

/// The one finding that a file gives, which is a remark; the message is returned.
fn remark(path: &str, bytes: &[u8], rule: &str) -> String {
    let (code, findings) = audited(&[(path, bytes)]);
    assert_eq!((code, told(&findings)), (0, vec![(rule, path)]), "{findings:#?}");
    assert_eq!(findings[0]["severity"], "info");
    findings[0]["message"].as_str().unwrap().to_owned()
}

const CODE: &str = "content/code";

#[test]
fn a_model_without_code_is_quiet() {
    let config = json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}).to_string();
    let files: [(&str, &[u8]); 5] = [
        ("config.json", config.as_bytes()),
        ("generation_config.json", b"{\"do_sample\": true, \"temperature\": Infinity}"),
        ("README.md", b"---\n_target_: in a card\n---\nauto_map handler.py"),
        ("tokenizer.json", b"{\"added_tokens\": [{\"content\": \"auto_map\"}]}"),
        ("chat_template.jinja", b"{% for m in messages %}{{ m['content'] }}{% endfor %}"),
    ];
    assert_eq!(audited(&files), (0, Vec::new()));
}

#[test]
fn code_is_told_with_the_digest_of_its_file() {
    let text = b"import os\nx = nonexistent_module.call(1)\n";
    let (code, findings) = audited(&[("modeling_x.py", text)]);
    assert_eq!((code, told(&findings)), (0, vec![(CODE, "modeling_x.py")]));
    assert_eq!(findings[0]["evidence"]["blake3"], blake3::hash(text).to_hex().as_str());
    let message = findings[0]["message"].as_str().unwrap();
    assert!(message.contains("nonexistent_module.call in line 2"), "{message}");
}

#[test]
fn every_place_is_looked_at() {
    let places: [(&str, &str, &str); 18] = [
        ("config.json", r#"{"auto_map": {"AutoModel": "modeling_x.X"}}"#, "modeling_x.X"),
        ("tokenizer_config.json", r#"{"auto_map": {"AutoTokenizer": ["t.T", null]}}"#, "t.T"),
        ("preprocessor_config.json", r#"{"auto_map": {"AutoImageProcessor": "i.I"}}"#, "i.I"),
        ("processor_config.json", r#"{"a": {"auto_map": {"AutoProcessor": "p.P"}}}"#, "p.P"),
        ("generation_config.json", r#"{"x": Infinity, "auto_map": {"G": "g.G"}}"#, "g.G"),
        ("config.json", r#"{"custom_pipelines": {"t": {"impl": "pipe.P"}}}"#, "pipe.P"),
        ("adapter_config.json", r#"{"auto_mapping": {"parent_library": "my_lib.x"}}"#, "my_lib.x"),
        ("model_index.json", r#"{"unet": ["my_unet", "U"]}"#, "my_unet"),
        ("modules.json", r#"[{"type": "my_module.Pooling"}]"#, "my_module.Pooling"),
        (
            "a/config.yaml",
            "model:\n  - {_target_: nonexistent_module.call}\n",
            "nonexistent_module.call",
        ),
        (
            "settings.json",
            r#"{"a": [{"_instantiator": "nonexistent_module.call"}]}"#,
            "nonexistent_module",
        ),
        ("m/MLmodel", "flavors:\n  python_function:\n    loader_module: my_loader\n", "my_loader"),
        ("handler.py", "class EndpointHandler:\n    pass\n", "endpoints"),
        ("custom_generate/generate.py", "def generate(model):\n    pass\n", "for generation"),
        ("requirements.txt", "a==1\nb\n", "packages to install: 2"),
        ("model.json", r#"{"config": [{"class_name": "Lambda"}]}"#, "Lambda"),
        ("keras_metadata.pb", "\x0a\x7f{\"class_name\": \"Lambda\"}", "Lambda"),
        ("w.h5", "\u{0}junk{\"class_name\": \"Lambda\", \"config\": {}}junk", "Lambda"),
    ];
    for (path, text, word) in places {
        let message = remark(path, text.as_bytes(), CODE);
        assert!(message.contains(word), "{path}: {message}");
    }
}

#[test]
fn code_of_other_repositories_is_medium() {
    let config = br#"{"auto_map": {"AutoModel": "owner/name--modeling_x.X"}}"#;
    let (code, findings) = audited(&[("config.json", config)]);
    assert_eq!(code, 1);
    assert_eq!(told(&findings), [("content/remote-code", "config.json"), (CODE, "config.json")]);
    assert_eq!(findings[0]["severity"], "medium");
    assert!(findings[0]["message"].as_str().unwrap().contains("modeling_x.X from owner/name"));
}

#[test]
fn a_layer_in_an_archive_of_keras_is_told() {
    let lambda =
        json!({"config": {"layers": [{"module": "keras.layers", "class_name": "Lambda"}]}});
    let archive = |config: &str| {
        Zip::of(vec![
            Member::new("metadata.json", b"{}"),
            Member::deflated("config.json", config.as_bytes()),
        ])
        .bytes()
    };
    let message = remark("model.keras", &archive(&lambda.to_string()), CODE);
    assert!(message.contains("Lambda"), "{message}");
    let dense = lambda.to_string().replace("Lambda", "Dense");
    assert_eq!(audited(&[("model.keras", &archive(&dense))]), (0, Vec::new()));
    remark("model.keras", &archive("{\"class_name\": "), "content/not-examined");
}

/// A field of protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

#[test]
fn graphs_are_told_by_their_operations() {
    let node = field(1, &[field(1, b"read"), field(2, b"ReadFile")].concat());
    let message = remark("frozen.pb", &node, CODE);
    assert!(message.contains("ReadFile"), "{message}");
    let node = field(1, &[field(4, b"Own"), field(7, b"my.domain")].concat());
    let message = remark("model.onnx", &field(7, &node), CODE);
    assert!(message.contains("Own of my.domain"), "{message}");
    let entry = field(13, &[field(1, b"location"), field(2, b"../weights.bin")].concat());
    let (code, findings) = audited(&[("model.onnx", &field(7, &field(5, &entry)))]);
    assert_eq!((code, told(&findings)), (1, vec![("content/external-path", "model.onnx")]));
    assert_eq!(findings[0]["severity"], "high");
}

const ESCAPE: &str = "{{ messages._private }}";

#[test]
fn a_template_that_reaches_for_internal_names_is_high_wherever_it_stands() {
    let text = json!({"chat_template": ESCAPE}).to_string();
    let several = json!({"chat_template": [
        {"name": "default", "template": "{{ a }}"}, {"template": ESCAPE, "name": "tool_use"},
    ]});
    let named = json!({"chat_template": {"default": ESCAPE}}).to_string();
    let extended = format!("{{% generation %}}{ESCAPE}{{% endgeneration %}}");
    let several = several.to_string();
    let gguf = |key: &str| {
        let file = malformed::gguf::sound(&["weight"]);
        file.text(key, ESCAPE.as_bytes()).bytes()
    };
    let (one, other) = (gguf("tokenizer.chat_template"), gguf("tokenizer.chat_template.tool_use"));
    let places: [(&str, &[u8], usize); 9] = [
        ("chat_template.jinja", ESCAPE.as_bytes(), 1),
        ("additional_chat_templates/x.jinja", ESCAPE.as_bytes(), 1),
        ("chat_template.jinja", extended.as_bytes(), 2),
        ("tokenizer_config.json", text.as_bytes(), 1),
        ("tokenizer_config.json", several.as_bytes(), 1),
        ("chat_template.json", text.as_bytes(), 1),
        ("processor_config.json", named.as_bytes(), 1),
        ("a.gguf", &one, 1),
        ("a.gguf", &other, 1),
    ];
    for (path, bytes, count) in places {
        let (code, findings) = audited(&[(path, bytes)]);
        assert_eq!((code, findings.len()), (1, count), "{path}: {findings:#?}");
        assert_eq!(told(&findings)[0], ("content/template-escape", path));
        assert_eq!(findings[0]["severity"], "high");
        assert!(findings[0]["message"].as_str().unwrap().contains("_private"));
    }
}

#[test]
fn a_template_with_extensions_is_a_remark() {
    let text = b"{% generation %}{{ messages }}{% endgeneration %}";
    remark("chat_template.jinja", text, "content/template-unparsed");
    let message =
        remark("chat_template.jinja", b"{{ own_function(1) }}", "content/template-unknown");
    assert!(message.contains("own_function"), "{message}");
}

#[test]
fn what_files_carry_along_is_told_and_never_printed() {
    let token = format!("hf_{}", "aB3".repeat(11) + "x");
    let arguments = format!("\u{2}X\u{5}tokenX\u{25}{token}\u{1}.");
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    fs::write(root.join("model.safetensors"), weights()).unwrap();
    fs::write(root.join("training_args.bin"), &arguments).unwrap();
    let (code, findings) = content(root);
    assert_eq!((code, told(&findings)), (0, vec![("content/private-data", "training_args.bin")]));
    for format in ["human", "json"] {
        let ran = run(&["audit", root.to_str().unwrap(), "--format", format, "--device", "cpu"]);
        assert!(!ran.stdout.contains(&token) && !ran.stderr.contains(&token));
    }
}

#[test]
fn inputs_and_paths_of_exported_programs_are_told() {
    let graph = br#"{"stack_trace": "File \"/home/somebody/x.py\", line 1"}"#;
    let archive = |members: Vec<Member>| Zip::of(members).bytes();
    let full = archive(vec![
        Member::new("m/models/model.json", graph),
        Member::new("m/data/sample_inputs/model.pt", b"PK"),
    ]);
    let (_, findings) = audited(&[("program.pt2", &full)]);
    let private = findings.iter().filter(|finding| finding["rule"] == "content/private-data");
    assert_eq!(private.count(), 2, "{findings:#?}");
    let plain = archive(vec![Member::new("m/models/model.json", b"{}")]);
    assert_eq!(audited(&[("program.pt2", &plain)]).1, Vec::<Value>::new());
}

#[test]
fn hostile_companions_are_told_and_take_no_time() {
    let deep = format!("{{\"auto_map\": {}", "[".repeat(1 << 20));
    let (code, findings) = audited(&[("config.json", deep.as_bytes())]);
    assert_eq!(code, 1, "it names what a loader calls, and who knows what: {findings:#?}");
    assert_eq!(
        told(&findings),
        [("content/not-examined", "config.json"), (CODE, "config.json")],
        "what is named in it is told"
    );
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(33 << 20));
    remark("config.json", long.as_bytes(), "content/not-examined");
    let templates: String = (0..2000).map(|at| format!("{{{{ a._x{at} }}}}")).collect();
    let (code, findings) = audited(&[("chat_template.jinja", templates.as_bytes())]);
    assert!(code == 1 && findings.len() < 40, "{}", findings.len());
    for text in ["{{ a[".repeat(100_000), "'\\'".repeat(100_000), "{% raw %}".repeat(100_000)] {
        assert_eq!(audited(&[("chat_template.jinja", text.as_bytes())]).0, 0);
    }
}

#[test]
fn a_scan_of_a_registry_says_the_same() {
    let directory = TempDir::new().unwrap();
    let model = directory.path().join("models/one");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("model.safetensors"), weights()).unwrap();
    fs::write(model.join("chat_template.jinja"), ESCAPE).unwrap();
    let state = directory.path().join("state.db");
    let models = directory.path().join("models");
    let ran = run(&[
        "registry",
        "scan",
        models.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "--format",
        "json",
        "--device",
        "cpu",
    ]);
    assert!(ran.stdout.contains("content/template-escape"), "{} {}", ran.stdout, ran.stderr);
}

#[test]
fn every_rule_of_code_is_explained() {
    for rule in [
        CODE,
        "content/external-path",
        "content/not-examined",
        "content/private-data",
        "content/remote-code",
        "content/template-escape",
        "content/template-unknown",
        "content/template-unparsed",
    ] {
        let ran = run(&["explain", rule]);
        assert!(ran.code == 0 && ran.stdout.contains(rule), "{rule}: {}", ran.stderr);
    }
}
