//! Checks Keras models for layers that are Python code, and for classes that Keras imports.

use super::file_name;
use super::findings::FileFindings;
use super::json;
use super::json_members;
use super::lazy_file::{LazyFile, MAX_BYTES};
use tensorseal_base::display::display_name;
use tensorseal_format::{ContentClass, ModelFile, OpenError, zip};

/// Where a file holds the configuration of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigContainer {
    /// In a member of a zip archive.
    Archive,
    /// As text among other bytes.
    Within,
}

/// Where a file holds a Keras configuration, if it may hold one.
pub(super) fn config_container(file: &ModelFile) -> Option<ConfigContainer> {
    let name = file_name(&file.path);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    match file.content.class {
        ContentClass::Keras => Some(ConfigContainer::Archive),
        ContentClass::Hdf5 => Some(ConfigContainer::Within),
        _ if ends(&[".keras"]) => Some(ConfigContainer::Archive),
        _ if ends(&[".h5", ".hdf5"]) => Some(ConfigContainer::Within),
        _ if matches!(name, "saved_model.pb" | "keras_metadata.pb") => {
            Some(ConfigContainer::Within)
        }
        _ => None,
    }
}

/// Checks the configuration of a model.
pub(super) fn scan(
    source: &LazyFile<'_>,
    container: ConfigContainer,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    match container {
        ConfigContainer::Archive => {
            let mut start = [0; 4];
            let is_archive = source.file.bytes >= 4 && {
                source.fill(0, &mut start)?;
                zip::is_archive_start(&start)
            };
            if is_archive {
                return archive(source, findings);
            }
        }
        ConfigContainer::Within => {}
    }
    source.whole()?;
    source.each(json_members::MAX_MEMBER, |piece, _| {
        json_members::each_string_member(piece, |name, value| member(name, value, findings));
    })
}

fn archive(source: &LazyFile<'_>, findings: &mut FileFindings) -> Result<(), OpenError> {
    let failed = |error| source.failed(error);
    let opened = source.opened()?;
    let archive = zip::read(opened).map_err(failed)?;
    let named = |name: &str| name.eq_ignore_ascii_case("config.json");
    let mut configs = archive.members.iter().filter(|member| named(&member.name)).peekable();
    if configs.peek().is_none() {
        findings.not_examined("it has no readable `config.json`");
    }
    for config in configs {
        match config.read(opened, MAX_BYTES).map_err(failed)? {
            Ok(bytes) => document(&bytes, findings),
            Err(error) => findings.not_examined(error.to_string()),
        }
    }
    Ok(())
}

fn document(bytes: &[u8], findings: &mut FileFindings) {
    let plain = json::without_python_numbers(bytes);
    let bytes = plain.as_deref().unwrap_or(bytes);
    let read = json::each_string(bytes, &mut |steps, text| {
        member(json::innermost(steps).unwrap_or_default(), text, findings);
    });
    if let Err(error) = read {
        findings.not_examined(error.to_string());
        json_members::each_string_member(bytes, |name, value| member(name, value, findings));
    }
}

/// Checks whether a member of a configuration is a layer that is code.
pub(super) fn layer(name: &str, value: &str, findings: &mut FileFindings) {
    if name == "class_name" && matches!(value, "Lambda" | "__lambda__") {
        findings.code.push("has a Lambda layer, whose Python code Keras runs".to_owned());
    }
}

/// Checks a member of the configuration of a model.
fn member(name: &str, value: &str, findings: &mut FileFindings) {
    layer(name, value, findings);
    let package = match name {
        "module" => value.split('.').next(),
        // Older formats have the package before the class.
        "registered_name" | "class_name" => value.split_once('>').map(|(package, _)| package),
        _ => None,
    };
    if let Some(package) = package.filter(|package| !is_builtin(package)) {
        let what = match name {
            "module" => format!("Keras imports {}", display_name(value)),
            _ => format!("needs {} registered by {}", display_name(value), display_name(package)),
        };
        findings.code.push(what);
    }
}

/// Whether a package is part of Keras or of its dependencies.
fn is_builtin(package: &str) -> bool {
    const BUILTIN: [&str; 9] = [
        "",
        "builtins",
        "keras",
        "keras_core",
        "keras_cv",
        "keras_hub",
        "keras_nlp",
        "tensorflow",
        "tf_keras",
    ];
    BUILTIN.contains(&package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let mut findings = FileFindings::default();
        document(text.as_bytes(), &mut findings);
        findings.code.iter().map(str::to_owned).collect()
    }

    #[test]
    fn code_of_a_model_is_told() {
        let lambda =
            r#"{"config": {"layers": [{"module": "keras.layers", "class_name": "Lambda"}]}}"#;
        assert_eq!(of(lambda).len(), 1);
        let custom =
            r#"{"module": "my_module.layers", "class_name": "L", "registered_name": "my_pkg>L"}"#;
        assert_eq!(of(custom).len(), 2);
        assert_eq!(of(r#"{"class_name": "my_pkg>L", "config": {}}"#).len(), 1);
        // What is cut off is looked through all the same.
        assert_eq!(of(&lambda[..lambda.len() - 4]).len(), 1);
    }

    #[test]
    fn models_of_keras_itself_are_quiet() {
        let own = r#"{"module": "keras_hub.src.models", "class_name": "B", "registered_name": "keras_hub>B",
            "config": {"name": "Lambda", "dtype": {"module": "keras", "class_name": "DTypePolicy"}},
            "build_config": {"module": "builtins", "registered_name": "function"}}"#;
        assert_eq!(of(own), [""; 0]);
    }
}
