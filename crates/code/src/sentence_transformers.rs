//! Finds the modules and functions that sentence-transformers imports.

use super::file_name;
use super::findings::FileFindings;
use super::json::{self, PathStep};
use tensorseal_base::display::display_name;

/// Checks a string of a document.
pub(super) fn scan_string(
    path: &str,
    steps: &[PathStep<'_>],
    text: &str,
    findings: &mut FileFindings,
) {
    let Some(name) = json::innermost(steps) else { return };
    let is_module = match file_name(path) {
        "modules.json" => {
            matches!(steps, [PathStep::Element(_), PathStep::Member(name)] if name == "type")
        }
        "router_config.json" => json::through(steps, "types"),
        _ => false,
    };
    let is_function = matches!(
        name,
        "activation_function" | "activation_fn" | "sbert_ce_default_activation_function"
    ) && text.contains('.');
    let known: &[&str] = match (is_module, is_function) {
        (true, _) => &["sentence_transformers."],
        (_, true) => &["sentence_transformers.", "torch.nn."],
        _ => return,
    };
    if !known.iter().any(|library| text.starts_with(library)) {
        findings.code.push(format!("sentence-transformers imports {}", display_name(text)));
        findings.remote_class(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> (usize, usize) {
        let mut findings = FileFindings::default();
        json::each_string(text.as_bytes(), &mut |steps, text| {
            scan_string(path, steps, text, &mut findings)
        })
        .unwrap();
        (findings.code.iter().count(), findings.remote.iter().count())
    }

    #[test]
    fn own_modules_are_quiet_and_others_are_told() {
        let own = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]"#;
        assert_eq!(of("modules.json", own), (0, 0));
        assert_eq!(of("modules.json", r#"[{"type": "my_module.Pooling"}]"#), (1, 0));
        assert_eq!(of("modules.json", r#"[{"type": "owner/name--my_module.Pooling"}]"#), (1, 1));
        assert_eq!(of("router_config.json", r#"{"types": {"query_0": "my_module.M"}}"#), (1, 0));
        let dense =
            |name: &str| format!(r#"{{"in_features": 2, "activation_function": "{name}"}}"#);
        assert_eq!(of("2_Dense/config.json", &dense("torch.nn.modules.activation.Tanh")), (0, 0));
        assert_eq!(of("2_Dense/config.json", &dense("nonexistent_module.call")), (1, 0));
        assert_eq!(of("config.json", &dense("gelu")), (0, 0));
    }
}
