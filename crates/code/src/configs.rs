//! Checks JSON and YAML configurations for classes and functions that a loader imports or calls.

use super::error::CodeError;
use super::findings::FileFindings;
use super::json::{self, PathStep};
use super::lazy_file::LazyFile;
use super::{
    ModelPaths, file_name, json_members, keras, pipelines, sentence_transformers, templates, yaml,
};
use tensorseal_base::display::display_name;
use tensorseal_format::OpenError;

/// Whether a document is a vocabulary or an index. These are long, and no loader looks for classes in them.
fn is_vocabulary(path: &str) -> bool {
    let name = file_name(path);
    matches!(name, "tokenizer.json" | "vocab.json" | "added_tokens.json")
        || name.ends_with(".index.json")
}

/// Whether a file is a JSON document that is checked.
pub(super) fn is_json(path: &str) -> bool {
    path.ends_with(".json") && !is_vocabulary(path)
}

/// Whether a file is a YAML document that is checked.
pub(super) fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml") || file_name(path) == "MLmodel"
}

/// The names of members that make a loader call something, wherever they are.
const CALLING: [&str; 6] = [
    "auto_map",
    "custom_pipelines",
    "_target_",
    "_instantiator",
    "_instantiator_",
    "chat_template",
];

/// Checks a JSON document.
pub(super) fn scan_json(
    source: &LazyFile<'_>,
    model_paths: &ModelPaths<'_>,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    let Some(bytes) = source.whole()? else {
        findings.too_long(source.file.bytes);
        return Ok(());
    };
    let path = &source.file.path;
    let plain = json::without_python_numbers(bytes);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = plain.as_deref().unwrap_or(bytes);
    let read = json::each_string(bytes, &mut |steps, text| {
        class_names(steps, text, findings);
        pipelines::scan_string(path, steps, text, model_paths, findings);
        sentence_transformers::scan_string(path, steps, text, findings);
        templates::scan_member(steps, text, findings);
        keras::layer(json::innermost(steps).unwrap_or_default(), text, findings);
    });
    if let Err(error) = read {
        let names: Vec<&'static str> =
            CALLING.iter().copied().filter(|name| json_members::has_name(bytes, name)).collect();
        if names.is_empty() {
            findings.not_examined(error.to_string());
            return Ok(());
        }
        for name in &names {
            findings.code.push(format!("has `{name}` in invalid JSON"));
        }
        // More lenient loaders may still read it.
        findings.other.push(CodeError::Unread { names, reason: error.to_string() });
    }
    Ok(())
}

/// Checks the members that any configuration may have.
fn class_names(steps: &[PathStep<'_>], text: &str, findings: &mut FileFindings) {
    let Some(name) = json::innermost(steps) else { return };
    let shown = display_name(text);
    if json::through(steps, "auto_map") {
        findings
            .code
            .push(format!("`auto_map` makes transformers load {shown} for {}", display_name(name)));
        findings.remote_class(text);
    } else if json::through(steps, "custom_pipelines") && name == "impl" {
        findings.code.push(format!("`custom_pipelines` makes transformers load {shown}"));
        findings.remote_class(text);
    } else if is_target(name) {
        findings.code.push(format!("`{name}` calls {shown}"));
    } else if json::through(steps, "auto_mapping") && name == "parent_library" {
        // PEFT imports this module. The modules of the libraries themselves are not reported.
        if !["transformers", "diffusers", "sentence_transformers"].contains(&root(text)) {
            findings.code.push(format!("`parent_library` makes PEFT import {shown}"));
        }
    } else if is_class_path(name, text) {
        findings.code.push(format!("`{name}` names {shown}"));
    } else if names_kernels(steps) && text.contains('/') {
        findings.code.push(format!("`{name}` names the kernels {shown}"));
        findings.remote.push(format!("the kernels {shown}"));
    }
}

/// The members that name a class by its path in configurations of several frameworks.
const CLASS_PATHS: [&str; 3] = ["_component_", "class_path", "target"];

fn is_class_path(name: &str, text: &str) -> bool {
    let is_word = |part: &str| {
        part.starts_with(|c: char| c == '_' || c.is_alphabetic())
            && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    CLASS_PATHS.contains(&name) && text.contains('.') && text.split('.').all(is_word)
}

/// Whether a member names the attention implementation of the model or of a part of it.
fn names_kernels(steps: &[PathStep<'_>]) -> bool {
    steps.iter().any(|step| step.name().is_some_and(|name| name.ends_with("attn_implementation")))
}

fn is_target(name: &str) -> bool {
    matches!(name, "_target_" | "_instantiator" | "_instantiator_")
}

/// The first part of a dotted name.
pub(super) fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Checks a YAML file.
pub(super) fn scan_yaml(
    source: &LazyFile<'_>,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    match source.whole()? {
        Some(bytes) => scan_yaml_text(&source.file.path, &String::from_utf8_lossy(bytes), findings),
        None => findings.too_long(source.file.bytes),
    }
    Ok(())
}

/// Checks a YAML document: settings of Hydra and NeMo in any file, and the `MLmodel` file of MLflow.
pub(super) fn scan_yaml_text(path: &str, text: &str, findings: &mut FileFindings) {
    yaml::each_member(text, &["_target_", "_instantiator_", "_instantiator"], |name, value| {
        findings.code.push(format!("`{name}` calls {}", display_name(value)));
    });
    yaml::each_member(text, &CLASS_PATHS, |name, value| {
        if is_class_path(name, value) {
            findings.code.push(format!("`{name}` names {}", display_name(value)));
        }
    });
    if yaml::has_indirection(text) {
        findings
            .code
            .push("uses YAML aliases or tag handles for names, which are not resolved".to_owned());
    }
    yaml::python_tags(text, |tag| {
        findings.code.push(format!("a YAML tag creates the Python object {}", display_name(tag)));
    });
    if file_name(path) != "MLmodel" {
        return;
    }
    const MEMBERS: [&str; 4] = ["loader_module", "model_code_path", "python_model", "code"];
    yaml::each_member(text, &MEMBERS, |name, value| {
        let shown = display_name(value);
        let is_nothing = value.is_empty() || matches!(value, "null" | "~");
        let why = match name {
            // The built-in flavours of MLflow only load the weights.
            "loader_module" if root(value) == "mlflow" && value != "mlflow.pyfunc.model" => return,
            _ if is_nothing => return,
            "loader_module" => format!("MLflow imports {shown}"),
            "python_model" => format!("MLflow unpickles {shown} and calls it"),
            "model_code_path" => format!("MLflow runs {shown}"),
            _ => format!("MLflow adds {shown} to the front of the Python path"),
        };
        findings.code.push(why);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_json(text: &str) -> (Vec<String>, Vec<String>) {
        let mut findings = FileFindings::default();
        json::each_string(text.as_bytes(), &mut |steps, text| {
            class_names(steps, text, &mut findings)
        })
        .unwrap();
        let all =
            |reasons: &super::super::findings::Reasons| reasons.iter().map(str::to_owned).collect();
        (all(&findings.code), all(&findings.remote))
    }

    #[test]
    fn classes_of_configurations_are_told() {
        let (code, remote) = of_json(
            r#"{"auto_map": {"AutoConfig": "configuration_x.XConfig",
                "AutoTokenizer": ["owner/name--tokenization_x.X", null]}}"#,
        );
        assert_eq!(code.len(), 2);
        assert!(code[0].contains("configuration_x.XConfig for AutoConfig"), "{code:?}");
        assert_eq!(remote, ["tokenization_x.X from owner/name"]);
        for (text, word) in [
            (
                r#"{"a": {"b": [{"_target_": "nonexistent_module.call"}]}}"#,
                "nonexistent_module.call",
            ),
            (r#"{"x": {"_instantiator": "nonexistent_module.call"}}"#, "nonexistent_module.call"),
            (r#"{"custom_pipelines": {"t": {"impl": "p.P", "pt": ["AutoModel"]}}}"#, "p.P"),
            (r#"{"auto_mapping": {"parent_library": "my_module.m"}}"#, "my_module.m"),
            (r#"{"_attn_implementation": "owner/name"}"#, "owner/name"),
        ] {
            let (code, _) = of_json(text);
            assert!(code.len() == 1 && code[0].contains(word), "{text}: {code:?}");
        }
    }

    #[test]
    fn plain_settings_are_quiet() {
        let (code, remote) = of_json(
            r#"{"model_type": "x", "architectures": ["XForCausalLM"], "_attn_implementation": "sdpa",
                "auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.x"},
                "text": "_target_ auto_map a--b", "auto_map": null, "_name_or_path": "a--b/c"}"#,
        );
        assert!(code.is_empty() && remote.is_empty(), "{code:?} {remote:?}");
    }

    #[test]
    fn what_mlflow_loads_is_told() {
        let of = |text: &str| {
            let mut findings = FileFindings::default();
            scan_yaml_text("a/MLmodel", text, &mut findings);
            findings.code.iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let own =
            "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    code: null\n";
        assert!(of(own).is_empty());
        let reasons =
            of("  loader_module: my_loader\n  code: code\n  python_model: python_model.pkl\n");
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert_eq!(of("loader_module: mlflow.pyfunc.model\n").len(), 1);
    }
}
