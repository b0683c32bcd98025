//! Turns structural problems and remarks of a model into findings.

use super::Finding;
use crate::seal::Seal;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_base::units;
use tensorseal_format::{Checkpoint, Problem};
use tensorseal_weights::Weights;

/// The maximum number of reasons with a remark of their own; all further ones share a remark.
const MAX_REASONS: usize = 16;

/// The maximum number of names that a remark lists.
const MAX_LISTED: usize = 16;

/// Returns remarks about quantised weights whose layout is unsupported, one for each reason.
pub fn unknown_quantisation(model: &Checkpoint, weights: &Weights) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for weight in &weights.unreadable {
        let is_full = by_reason.len() >= MAX_REASONS;
        let reason = match is_full && !by_reason.contains_key(weight.reason.as_str()) {
            true => "their layouts are unsupported for various other reasons",
            false => weight.reason.as_str(),
        };
        by_reason.entry(reason).or_default().push(weight.tensor);
    }
    let remark = |(reason, tensors): (&str, Vec<usize>)| {
        let first = &model.tensors[tensors[0]];
        let names: Vec<&str> = tensors
            .iter()
            .take(MAX_LISTED)
            .map(|index| model.tensors[*index].name.as_str())
            .collect();
        let count = units::count(tensors.len() as u64, "quantised weight");
        let text =
            format!("{count} cannot be read: {reason} ({})", list_names(&names, tensors.len()));
        Finding::new("format/unknown-quantisation", text)
            .in_file(&model.files[first.file].path)
            .with("weights", tensors.len())
            .with("tensors", names)
    };
    by_reason.into_iter().map(remark).collect()
}

/// Lists the first names, and the number of further ones.
fn list_names(names: &[&str], all: usize) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| display_name(name)).collect();
    match all - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Turns a structural problem or remark into a finding.
pub fn finding(problem: &Problem) -> Finding {
    let mut finding = Finding::new(problem.rule, problem.message.clone()).in_file(&problem.file);
    finding.severity = problem.severity;
    finding.tensor = problem.tensor.clone();
    // The byte range of a problem counts from the start of the file, that of a finding with a tensor from the start
    // of the tensor, whose place is unknown here.
    if finding.tensor.is_none() {
        finding.byte_range = problem.byte_range;
    }
    if !problem.affected.is_empty() {
        finding = finding.with("tensors_unreadable", problem.affected.len());
    }
    finding
}

/// Returns the structural findings about the weights of a model, without those about companion files. Verbs that
/// only read or transform weights use it; audits judge companion files as well.
pub fn weight_findings(model: &Checkpoint) -> impl Iterator<Item = Finding> {
    model.problems.iter().filter(|problem| !problem.companion).map(finding)
}

/// Raises the severity of structural findings to that of the differences that they explain, which are not reported
/// separately.
pub fn raise_severity(findings: &mut [Finding], explained: &BTreeMap<String, Severity>) {
    for problem in findings.iter_mut().filter(|finding| finding.rule.starts_with("format/")) {
        let worst = problem.file.as_ref().and_then(|path| explained.get(path));
        if let Some(worst) = worst.filter(|_| problem.severity > Severity::Info) {
            problem.severity = problem.severity.max(*worst);
            problem.stands_for_others = true;
        }
    }
}

/// Returns structural problems as findings, except that an index names a missing shard that was sealed: the
/// comparison with the seal reports the missing shard.
pub fn problems(model: &Checkpoint, sealed: Option<&Seal>) -> Vec<Finding> {
    let present: BTreeSet<&str> =
        model.model_files().iter().map(|file| file.path.as_str()).collect();
    let missing: Vec<&str> = sealed
        .iter()
        .flat_map(|seal| &seal.files)
        .map(|file| file.path.as_str())
        .filter(|path| !present.contains(path))
        .collect();
    let is_reported = |problem: &Problem| {
        problem.rule == "format/shard-missing"
            && missing
                .iter()
                .any(|path| problem.message.contains(&format!("'{}'", shard_name(path))))
    };
    model.problems.iter().filter(|problem| !is_reported(problem)).map(finding).collect()
}

/// Returns the name of a shard as its index gives it: the file name in the same directory.
fn shard_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
