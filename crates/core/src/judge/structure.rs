//! What is wrong with the structure of a model, or worth knowing of it, as findings.

use super::Finding;
use crate::seal::Seal;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, Problem};
use tensorseal_weights::Weights;

/// Reasons that have a remark of their own; the rest is told in one.
const REASONS: usize = 16;

/// Names that a remark lists.
const LISTED: usize = 16;

/// Remarks on quantised weights whose layout nobody here knows: one for each reason.
pub fn unknown_quantisation(model: &Checkpoint, weights: &Weights) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for unread in &weights.unreadable {
        let is_full = by_reason.len() >= REASONS;
        let reason = match is_full && !by_reason.contains_key(unread.reason.as_str()) {
            true => "they do not fit what is known here, each in its own way",
            false => unread.reason.as_str(),
        };
        by_reason.entry(reason).or_default().push(unread.tensor);
    }
    let remark = |(reason, tensors): (&str, Vec<usize>)| {
        let first = &model.tensors[tensors[0]];
        let names: Vec<&str> =
            tensors.iter().take(LISTED).map(|index| model.tensors[*index].name.as_str()).collect();
        let (count, are) = match tensors.len() {
            1 => ("1 quantised weight".to_owned(), "is"),
            more => (format!("{more} quantised weights"), "are"),
        };
        let text =
            format!("{count} {are} not read: {reason} ({})", list_names(&names, tensors.len()));
        Finding::new("format/unknown-quantisation", text)
            .in_file(&model.files[first.file].path)
            .with("weights", tensors.len())
            .with("tensors", names)
    };
    by_reason.into_iter().map(remark).collect()
}

/// The first of some names, and how many more there are.
fn list_names(names: &[&str], all: usize) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| display_name(name)).collect();
    match all - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A structural problem or remark as a finding.
pub fn finding(problem: &Problem) -> Finding {
    let mut finding = Finding::new(problem.rule, problem.message.clone()).in_file(&problem.file);
    finding.severity = problem.severity;
    finding.tensor = problem.tensor.clone();
    // The range of a problem counts from the start of the file, and with a tensor a finding's does
    // not: without knowing the tensor's place it is left to the message.
    if finding.tensor.is_none() {
        finding.byte_range = problem.byte_range;
    }
    if !problem.affected.is_empty() {
        finding = finding.with("tensors_unreadable", problem.affected.len());
    }
    finding
}

/// What is wrong with the weights of a model: for verbs that make something of them, or draw something from
/// them. What goes along with the weights is judged by verbs that judge.
pub fn weight_findings(model: &Checkpoint) -> impl Iterator<Item = Finding> {
    model.problems.iter().filter(|problem| !problem.companion).map(finding)
}

/// What damage explains is not said twice, and makes the damage no less bad.
pub fn raise_severity(findings: &mut [Finding], explained: &BTreeMap<String, Severity>) {
    for problem in findings.iter_mut().filter(|finding| finding.rule.starts_with("format/")) {
        let worst = problem.file.as_ref().and_then(|path| explained.get(path));
        if let Some(worst) = worst.filter(|_| problem.severity > Severity::Info) {
            problem.severity = problem.severity.max(*worst);
            problem.stands_for_others = true;
        }
    }
}

/// Structural problems as findings, except an index that names a sealed shard which is gone: that
/// the shard is missing is said by the comparison.
pub fn problems(model: &Checkpoint, sealed: Option<&Seal>) -> Vec<Finding> {
    let here: BTreeSet<&str> = model.model_files().iter().map(|file| file.path.as_str()).collect();
    let gone: Vec<&str> = sealed
        .iter()
        .flat_map(|seal| &seal.files)
        .map(|file| file.path.as_str())
        .filter(|path| !here.contains(path))
        .collect();
    let said = |problem: &Problem| {
        problem.rule == "format/shard-missing"
            && gone.iter().any(|path| problem.message.contains(&format!("'{}'", shard_name(path))))
    };
    model.problems.iter().filter(|problem| !said(problem)).map(finding).collect()
}

/// A shard as its index names it: a file in the same directory.
fn shard_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
