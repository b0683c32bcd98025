//! The `inspect` command: what is in a model, from its headers alone.

use super::{Error, ModelScope, RunInputs, open};
use crate::document::{Coverage, ModelSummary, Report};
use crate::judge::structure;
use serde_json::{Value, json};
use std::path::Path;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::Weights;

/// Options of [`inspect`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct InspectOptions {
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self { opening: ModelScope::default(), fail_on: Severity::Medium }
    }
}

/// The result of [`inspect`].
#[derive(Debug)]
pub struct Inspection {
    /// The report.
    pub report: Report,
    /// The opened model. No tensor was read.
    pub model: Checkpoint,
}

/// Lists the tensors of the model at a path.
///
/// # Errors
/// Returns an error if the model cannot be opened, is malformed, or changed during the run.
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

/// Replaces numeric components of a name by `*`, so that similar names form one group.
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
