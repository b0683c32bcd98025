//! Configurations in JSON and YAML: what they make a loader import and call.

use super::error::CodeError;
use super::findings::FileFindings;
use super::json::{self, PathStep};
use super::lazy_file::LazyFile;
use super::{
    ModelPaths, file_name, json_members, keras, pipelines, sentence_transformers, templates, yaml,
};
use tensorseal_base::display::display_name;
use tensorseal_format::OpenError;

/// Documents that hold words and numbers, however long: no loader looks for classes in them.
fn is_vocabulary(path: &str) -> bool {
    let name = file_name(path);
    matches!(name, "tokenizer.json" | "vocab.json" | "added_tokens.json")
        || name.ends_with(".index.json")
}

/// Whether a file is a document in JSON that is looked into.
pub(super) fn is_json(path: &str) -> bool {
    path.ends_with(".json") && !is_vocabulary(path)
}

/// Whether a file is a document in YAML that is looked into.
pub(super) fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml") || file_name(path) == "MLmodel"
}

/// Names of members that make a loader call something, wherever they stand.
const CALLING: [&str; 6] = [
    "auto_map",
    "custom_pipelines",
    "_target_",
    "_instantiator",
    "_instantiator_",
    "chat_template",
];

/// Looks into a document in JSON.
pub(super) fn scan_json(
    source: &LazyFile<'_>,
    beside: &ModelPaths<'_>,
    found: &mut FileFindings,
) -> Result<(), OpenError> {
    let Some(bytes) = source.whole()? else {
        found.too_long(source.file.bytes);
        return Ok(());
    };
    let path = &source.file.path;
    let plain = json::without_python_numbers(bytes);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = plain.as_deref().unwrap_or(bytes);
    let read = json::each_string(bytes, &mut |way, text| {
        class_names(way, text, found);
        pipelines::scan_string(path, way, text, beside, found);
        sentence_transformers::scan_string(path, way, text, found);
        templates::scan_member(way, text, found);
        keras::layer(json::innermost(way).unwrap_or_default(), text, found);
    });
    if let Err(error) = read {
        let names: Vec<&'static str> =
            CALLING.iter().copied().filter(|name| json_members::has_name(bytes, name)).collect();
        if names.is_empty() {
            found.not_examined(error.to_string());
            return Ok(());
        }
        for name in &names {
            found.code.push(format!("names `{name}` in what is not plain JSON"));
        }
        // More lenient loaders read it all the same.
        found.other.push(CodeError::Unread { names, reason: error.to_string() });
    }
    Ok(())
}

/// What any configuration may have.
fn class_names(way: &[PathStep<'_>], text: &str, found: &mut FileFindings) {
    let Some(name) = json::innermost(way) else { return };
    let shown = display_name(text);
    if json::through(way, "auto_map") {
        found
            .code
            .push(format!("`auto_map` makes transformers load {shown} for {}", display_name(name)));
        found.remote_class(text);
    } else if json::through(way, "custom_pipelines") && name == "impl" {
        found.code.push(format!("`custom_pipelines` makes transformers load {shown}"));
        found.remote_class(text);
    } else if is_target(name) {
        found.code.push(format!("`{name}` calls {shown}"));
    } else if json::through(way, "auto_mapping") && name == "parent_library" {
        // PEFT imports this module; those of the libraries themselves are no news.
        if !["transformers", "diffusers", "sentence_transformers"].contains(&root(text)) {
            found.code.push(format!("`parent_library` makes PEFT import {shown}"));
        }
    } else if is_class_path(name, text) {
        found.code.push(format!("`{name}` names {shown}"));
    } else if names_kernels(way) && text.contains('/') {
        found.code.push(format!("`{name}` names the kernels {shown}"));
        found.remote.push(format!("the kernels {shown}"));
    }
}

/// Members that name a class by its path, in configurations of several frameworks.
const CLASS_PATHS: [&str; 3] = ["_component_", "class_path", "target"];

fn is_class_path(name: &str, text: &str) -> bool {
    let is_word = |part: &str| {
        part.starts_with(|c: char| c == '_' || c.is_alphabetic())
            && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    CLASS_PATHS.contains(&name) && text.contains('.') && text.split('.').all(is_word)
}

/// Whether a member is the implementation of attention: one, or one for each part of a model.
fn names_kernels(way: &[PathStep<'_>]) -> bool {
    way.iter().any(|step| step.name().is_some_and(|name| name.ends_with("attn_implementation")))
}

fn is_target(name: &str) -> bool {
    matches!(name, "_target_" | "_instantiator" | "_instantiator_")
}

/// The first part of a dotted name.
pub(super) fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Looks into a document in YAML.
pub(super) fn scan_yaml(source: &LazyFile<'_>, found: &mut FileFindings) -> Result<(), OpenError> {
    match source.whole()? {
        Some(bytes) => scan_yaml_text(&source.file.path, &String::from_utf8_lossy(bytes), found),
        None => found.too_long(source.file.bytes),
    }
    Ok(())
}

/// A document in YAML: settings of Hydra and NeMo anywhere, and what MLflow keeps beside its models.
pub(super) fn scan_yaml_text(path: &str, text: &str, found: &mut FileFindings) {
    yaml::each_member(text, &["_target_", "_instantiator_", "_instantiator"], |name, value| {
        found.code.push(format!("`{name}` calls {}", display_name(value)));
    });
    yaml::each_member(text, &CLASS_PATHS, |name, value| {
        if is_class_path(name, value) {
            found.code.push(format!("`{name}` names {}", display_name(value)));
        }
    });
    if yaml::has_indirection(text) {
        found
            .code
            .push("its names or tags are written by reference, and are not resolved".to_owned());
    }
    yaml::python_tags(text, |tag| {
        found.code.push(format!("a tag asks Python for {}", display_name(tag)));
    });
    if file_name(path) != "MLmodel" {
        return;
    }
    const MEMBERS: [&str; 4] = ["loader_module", "model_code_path", "python_model", "code"];
    yaml::each_member(text, &MEMBERS, |name, value| {
        let shown = display_name(value);
        let is_nothing = value.is_empty() || matches!(value, "null" | "~");
        let why = match name {
            // Flavours of MLflow itself load the weights and nothing else.
            "loader_module" if root(value) == "mlflow" && value != "mlflow.pyfunc.model" => return,
            _ if is_nothing => return,
            "loader_module" => format!("MLflow imports {shown}"),
            "python_model" => format!("MLflow unpickles {shown} and calls it"),
            "model_code_path" => format!("MLflow runs {shown}"),
            _ => format!("MLflow puts {shown} before all other modules"),
        };
        found.code.push(why);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_json(text: &str) -> (Vec<String>, Vec<String>) {
        let mut found = FileFindings::default();
        json::each_string(text.as_bytes(), &mut |way, text| class_names(way, text, &mut found))
            .unwrap();
        let all =
            |reasons: &super::super::findings::Reasons| reasons.iter().map(str::to_owned).collect();
        (all(&found.code), all(&found.remote))
    }

    #[test]
    fn classes_of_configurations_are_told() {
        let (code, remote) = of_json(
            r#"{"auto_map": {"AutoConfig": "configuration_x.XConfig",
                "AutoTokenizer": ["owner/name--tokenization_x.X", null]}}"#,
        );
        assert_eq!(code.len(), 2);
        assert!(code[0].contains("configuration_x.XConfig for AutoConfig"), "{code:?}");
        assert_eq!(remote, ["tokenization_x.X of owner/name"]);
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
            let mut found = FileFindings::default();
            scan_yaml_text("a/MLmodel", text, &mut found);
            found.code.iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let own =
            "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    code: null\n";
        assert!(of(own).is_empty());
        let told =
            of("  loader_module: my_loader\n  code: code\n  python_model: python_model.pkl\n");
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(of("loader_module: mlflow.pyfunc.model\n").len(), 1);
    }
}
