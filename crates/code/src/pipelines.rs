//! Finds the classes that diffusers pipelines load.

use super::findings::FileFindings;
use super::json::PathStep;
use super::{ModelPaths, file_name};
use tensorseal_base::display::display_name;

/// The modules that components of pipelines may come from without a file in the model: libraries, and the modules of
/// diffusers that published pipelines name.
const LIBRARIES: [&str; 24] = [
    "audioldm2",
    "deepfloyd_if",
    "diffusers",
    "flax",
    "kandinsky",
    "kolors",
    "latent_diffusion",
    "musicldm",
    "onnxruntime.training",
    "optimum",
    "paint_by_example",
    "peft",
    "pixart_alpha",
    "semantic_stable_diffusion",
    "shap_e",
    "stable_audio",
    "stable_cascade",
    "stable_diffusion",
    "stable_diffusion_safe",
    "stable_diffusion_xl",
    "transformers",
    "unidiffuser",
    "versatile_diffusion",
    "wuerstchen",
];

/// Checks a string of a document. The index of a pipeline names its class, and a module and a class for every
/// component. A list `["module", "Class"]` instead of a class names a class in a file or in another repository.
pub(super) fn scan_string(
    path: &str,
    steps: &[PathStep<'_>],
    text: &str,
    model_paths: &ModelPaths<'_>,
    findings: &mut FileFindings,
) {
    let shown = display_name(text);
    if let [PathStep::Member(name), PathStep::Element(at)] = steps
        && name == "_class_name"
    {
        if *at == 0 {
            findings.code.push(format!("`_class_name` makes diffusers load a class from {shown}"));
            if text.contains('/') {
                findings.remote.push(format!("a pipeline from {shown}"));
            }
            findings.remote_class(text);
        }
        return;
    }
    if !matches!(file_name(path), "model_index.json" | "modular_model_index.json") {
        return;
    }
    let [PathStep::Member(part), PathStep::Element(0)] = steps else { return };
    let folder = path.strip_suffix(file_name(path)).unwrap_or_default();
    let module = format!("{folder}{part}/{text}.py");
    if model_paths.contains(&module) {
        findings.code.push(format!(
            "diffusers loads {} from {}",
            display_name(part),
            display_name(&module)
        ));
    } else if !LIBRARIES.contains(&text) && !text.starts_with("diffusers.") {
        findings
            .code
            .push(format!("diffusers loads {} from the module {shown}", display_name(part)));
    }
    if text.contains('/') {
        findings.remote.push(format!("a pipeline component from {shown}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn of(path: &str, text: &str, files: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut findings = FileFindings::default();
        let whole = ModelPaths::new(files.iter().copied());
        json::each_string(text.as_bytes(), &mut |steps, text| {
            scan_string(path, steps, text, &whole, &mut findings)
        })
        .unwrap();
        let all =
            |reasons: &super::super::findings::Reasons| reasons.iter().map(str::to_owned).collect();
        (all(&findings.code), all(&findings.remote))
    }

    #[test]
    fn parts_of_libraries_are_quiet_and_others_are_told() {
        let text = r#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0",
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"]}"#;
        assert_eq!(of("model_index.json", text, &[]), Default::default());
        // A file of that name stands before the library.
        let (code, _) = of("model_index.json", text, &["unet/diffusers.py"]);
        assert!(code.len() == 1 && code[0].contains("unet/diffusers.py"), "{code:?}");
        let other = r#"{"unet": ["my_unet", "U"]}"#;
        assert_eq!(of("a/model_index.json", other, &["a/unet/my_unet.py"]).0.len(), 1);
        assert_eq!(of("a/model_index.json", other, &[]).0.len(), 1);
        assert_eq!(of("a/other.json", other, &[]).0.len(), 0);
    }

    #[test]
    fn classes_of_other_repositories_are_remote() {
        let (code, remote) = of("config.json", r#"{"_class_name": ["owner/name", "P"]}"#, &[]);
        assert_eq!((code.len(), remote.len()), (1, 1));
        let (code, remote) = of("model_index.json", r#"{"_class_name": ["pipeline_x", "P"]}"#, &[]);
        assert_eq!((code.len(), remote.len()), (1, 0));
    }
}
