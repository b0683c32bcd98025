//! What is in a model, from its headers alone.

use super::{Error, ModelScope, RunInputs, open};
use crate::document::{Coverage, ModelSummary, Report};
use crate::judge::structure;
use serde_json::{Value, json};
use std::path::Path;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::Weights;

/// What is inspected.
#[derive(Debug, Clone, Copy)]
pub struct InspectOptions {
    /// What belongs to the model.
    pub opening: ModelScope,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self { opening: ModelScope::default(), fail_on: Severity::Medium }
    }
}

/// What is in a model.
#[derive(Debug)]
pub struct Inspection {
    /// The report.
    pub report: Report,
    /// The model, of which no tensor was read.
    pub model: Checkpoint,
}

/// Lists what is in the model at a path. It must be sound.
///
/// # Errors
/// The model cannot be opened, is malformed, or changed meanwhile.
pub fn inspect(path: &Path, options: &InspectOptions) -> Result<Inspection, Error> {
    let model = open::open_sound(path, options.opening)?;
    let mut report = Report::new("inspect", &path.display().to_string());
    report.model = ModelSummary::from_headers(&model);
    report.coverage = Coverage::new(&model, None, 0);
    report.findings.extend(model.remarks.iter().map(structure::finding));
    report.tensors = Some(model.tensors.iter().map(|tensor| listed(&model, tensor)).collect());
    report.findings.extend(structure::weight_findings(&model));
    report
        .findings
        .extend(structure::unknown_quantisation(&model, &Weights::from_checkpoint(&model)));
    report.judge(options.fail_on);
    open::downgrade_without_weights(&mut report, &model);
    RunInputs::default().check_unchanged(&[&model])?;
    Ok(Inspection { report, model })
}

fn listed(model: &Checkpoint, tensor: &Tensor) -> Value {
    let mut listed = json!({
        "name": tensor.name,
        "dtype": tensor.dtype.name(),
        "shape": tensor.shape,
        "file": model.files[tensor.file].path,
        "offset": tensor.offset,
        "bytes": tensor.bytes,
        "group": pattern(&tensor.name),
    });
    if let Some(strides) = &tensor.strides {
        listed["strides"] = json!(strides);
    }
    listed
}

/// Replaces the numbers between the dots of a name by `*`: alike names are one group.
pub fn pattern(name: &str) -> String {
    let number = |part: &str| part.parse::<u64>().is_ok();
    let parts: Vec<&str> =
        name.split('.').map(|part| if number(part) { "*" } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_dots_are_one_pattern() {
        assert_eq!(pattern("h.12.attn.c_attn.weight"), "h.*.attn.c_attn.weight");
        assert_eq!(pattern("conv2d.w1"), "conv2d.w1");
    }
}
