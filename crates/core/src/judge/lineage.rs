//! Judges a comparison with a baseline: which tensors differ, and whether a change looks like more than training.

use super::Severity;
use super::audit::listed;
use super::change::{self, changed_ranges};
use super::finding::Finding;
use crate::audit::TensorFacts;
use crate::lineage::codes::{BITS, CodeChanges};
use crate::lineage::pairs::ChangedTensor;
use crate::lineage::{Drift, TensorDifference, TensorPairs};
use crate::seal::sketch::SketchDistance;
use crate::seal::{Seal, TensorSeal};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use tensorseal_format::{Checkpoint, Tensor};

/// The population stability index from which a distribution counts as shifted, and as far shifted: the usual
/// thresholds.
const PSI_SOME: f64 = 0.1;
const PSI_FAR: f64 = 0.25;

/// The norm of a change, relative to that of the baseline, from which the change counts as large.
const LARGE: f64 = 0.5;

/// The share of changed elements, and the expected number of changed codes, from which unchanged codes are
/// remarkable: by chance their probability is less than e^-50.
const SAME_CODES_SHARE: f64 = 0.1;
const SAME_CODES_EXPECTED: f64 = 50.0;

/// The maximum number of changed tensors that the finding about the model lists.
const MAX_LISTED: usize = 16;

/// The facts about a model and its baseline that are judged.
#[derive(Debug, Clone, Copy)]
pub struct LineageEvidence<'a> {
    /// The model.
    pub model: &'a Checkpoint,
    /// The facts of its tensors.
    pub facts: &'a [TensorFacts],
    /// The seal of the baseline: one that was read, or that of the other model.
    pub baseline: &'a Seal,
    /// The pairs of tensors of the model and the baseline.
    pub pairs: &'a TensorPairs,
    /// The difference of each changed tensor, if the other model is available.
    pub differences: &'a [Option<TensorDifference>],
    /// The estimated distance by tensor of the model, if the seal has a sketch of the tensor.
    pub distances: &'a HashMap<usize, SketchDistance>,
    /// Tensors of the model with codes or parts of weights in an unsupported layout. Their numbers have no meaning, so
    /// neither has their distance from the baseline.
    pub unreadable: &'a BTreeSet<usize>,
}

/// A changed tensor under judgement.
struct LineageSubject<'a> {
    tensor: &'a Tensor,
    file: &'a str,
    sealed: &'a TensorSeal,
    pair: ChangedTensor,
    facts: Option<&'a TensorFacts>,
    drift: Option<Drift>,
    difference: Option<&'a TensorDifference>,
    moved: Option<SketchDistance>,
}

/// Returns all findings about a model and its baseline: one about the whole model, then those about tensors in order.
pub fn judge(comparison: &LineageEvidence<'_>) -> Vec<Finding> {
    if comparison.pairs.is_identical() {
        return Vec::new();
    }
    let facts: HashMap<usize, &TensorFacts> =
        comparison.facts.iter().map(|facts| (facts.tensor, facts)).collect();
    let subject = |(index, pair): (usize, &ChangedTensor)| {
        let tensor = &comparison.model.tensors[pair.tensor];
        let sealed = &comparison.baseline.tensors[pair.baseline];
        let facts = facts.get(&pair.tensor).copied();
        let drift =
            sealed.distribution.as_ref().zip(facts).and_then(|(before, facts)| {
                Drift::between(tensor.dtype, before, &facts.distribution)
            });
        let difference = comparison.differences.get(index).and_then(Option::as_ref);
        let file = &comparison.model.files[tensor.file].path;
        let moved = comparison.distances.get(&pair.tensor).copied();
        LineageSubject { tensor, file, sealed, pair: *pair, facts, drift, difference, moved }
    };
    let subjects: Vec<LineageSubject<'_>> =
        comparison.pairs.changed.iter().enumerate().map(|(i, pair)| subject((i, pair))).collect();
    let mut findings = vec![whole(comparison, &subjects)];
    let is_readable =
        |subject: &&LineageSubject<'_>| !comparison.unreadable.contains(&subject.pair.tensor);
    for subject in subjects.iter().filter(is_readable) {
        findings.extend(same_codes(subject));
        findings.extend(low_rank(subject));
        findings.extend(drifted(subject, comparison.baseline));
        findings.extend(large(subject));
    }
    findings
}

/// Returns the finding about the whole model.
fn whole(comparison: &LineageEvidence<'_>, subjects: &[LineageSubject<'_>]) -> Finding {
    let TensorPairs { equal, changed, retyped, added, missing, renamed } = comparison.pairs;
    let paired = equal + changed.len();
    let mut message = match changed.len() {
        0 => format!("none of {paired} tensors differs in values from the baseline"),
        count => {
            let names = changed.iter().map(|pair| &comparison.model.tensors[pair.tensor].name[..]);
            format!("{count} of {paired} tensors differ from the baseline: {}", listed(names))
        }
    };
    for (count, what) in [
        (missing.len(), "of the baseline are missing"),
        (added.len(), "are not in the baseline"),
        (retyped.len(), "have a different type or shape"),
    ] {
        if count > 0 {
            message.push_str(&format!("; {count} {what}"));
        }
    }
    if *renamed > 0 {
        message.push_str(&format!("; {renamed} of the missing were renamed"));
    }
    let moved = changed.iter().filter(|pair| pair.content_of.is_some()).count();
    if moved > 0 {
        message.push_str(&format!("; {moved} have the content of another baseline tensor"));
    }
    let unreadable =
        changed.iter().filter(|pair| comparison.unreadable.contains(&pair.tensor)).count();
    if unreadable > 0 {
        message.push_str(&format!(
            "; {unreadable} of the differing tensors have an unsupported layout, so their distance is unknown"
        ));
    }
    let names = |indexes: &[usize], name: &dyn Fn(usize) -> String| -> Value {
        indexes.iter().take(MAX_LISTED).map(|index| name(*index)).collect()
    };
    let model_name = |index: usize| comparison.model.tensors[index].name.clone();
    let baseline_name = |index: usize| comparison.baseline.tensors[index].name.clone();
    let mut finding = Finding::new("lineage/changed", message)
        .with("baseline_root", comparison.baseline.model.root.clone())
        .with("tensors_equal", *equal)
        .with("tensors_changed", changed.len())
        .with("tensors_missing", missing.len())
        .with("tensors_added", added.len())
        .with("tensors_retyped", retyped.len())
        .with("tensors_renamed", *renamed)
        .with("tensors_moved", moved);
    if unreadable > 0 {
        finding = finding.with("tensors_not_read", unreadable);
    }
    for (key, indexes, name) in [
        ("missing", missing, &baseline_name as &dyn Fn(usize) -> String),
        ("added", added, &model_name),
        ("retyped", retyped, &model_name),
    ] {
        if !indexes.is_empty() {
            finding = finding.with(key, names(indexes, name));
        }
    }
    if !subjects.is_empty() {
        let first: Vec<Value> =
            subjects.iter().take(MAX_LISTED).map(LineageSubject::numbers).collect();
        finding = finding.with("changed", first);
    }
    let is_readable =
        |subject: &&LineageSubject<'_>| !comparison.unreadable.contains(&subject.pair.tensor);
    let numeric: Vec<&TensorDifference> = subjects
        .iter()
        .filter(is_readable)
        .filter_map(|s| s.difference)
        .filter(|d| d.numbers)
        .collect();
    if !numeric.is_empty() {
        let sum = |part: &dyn Fn(&TensorDifference) -> f64| -> f64 {
            numeric.iter().map(|difference| part(difference) * part(difference)).sum()
        };
        let relative = libm::sqrt(sum(&|d| d.norm)) / libm::sqrt(sum(&|d| d.norm_before));
        finding = finding.with("relative_norm", relative);
    }
    finding
}

impl LineageSubject<'_> {
    fn finding(&self, rule: &'static str, message: String) -> Finding {
        Finding::new(rule, message).in_file(self.file).in_tensor(&self.tensor.name)
    }

    /// Returns the main numbers of the change as JSON.
    fn numbers(&self) -> Value {
        let mut numbers = json!({ "tensor": self.tensor.name });
        if let Some(difference) = self.difference {
            numbers["changed_share"] = difference.share().into();
            if difference.numbers {
                numbers["relative_norm"] = difference.relative().into();
            }
        }
        if let Some(moved) = &self.moved {
            numbers["relative_norm_estimated"] = moved.relative.into();
            numbers["relative_norm_interval"] = json!(moved.interval);
        }
        if let Some(drift) = &self.drift {
            numbers["psi"] = drift.psi.into();
        }
        numbers
    }

    /// Sets the place of a finding to the changed elements or, if they are unknown, to the changed blocks.
    fn placed(&self, finding: Finding) -> Finding {
        let extent = match (self.difference, self.facts) {
            (Some(difference), _) => difference.extent,
            (None, Some(facts)) => {
                let ranges = changed_ranges(&self.sealed.blocks, &facts.blocks, self.sealed.bytes);
                change::extent(&ranges, self.sealed.bytes)
            }
            (None, None) => [0, self.sealed.bytes],
        };
        change::placed(self.sealed, finding, extent)
    }

    /// Adds the place and the numbers of the difference to a finding.
    fn with_difference(&self, finding: Finding, difference: &TensorDifference) -> Finding {
        self.placed(finding)
            .with("relative_norm", difference.relative())
            .with("norm_baseline", difference.norm_before)
            .with("changed_share", difference.share())
            .with("cosine", difference.cosine)
            .with("largest_change", difference.largest)
            .with("largest_change_at", difference.largest_at)
    }

    /// Returns the difference if its elements are numbers.
    fn numeric(&self) -> Option<&TensorDifference> {
        self.difference.filter(|difference| difference.numbers)
    }
}

fn same_codes(subject: &LineageSubject<'_>) -> Option<Finding> {
    let difference = subject.numeric()?;
    let codes = difference.codes.as_ref()?;
    let stayed = |codes: &CodeChanges| {
        codes.moved == 0 && codes.scales_moved == 0 && codes.expected >= SAME_CODES_EXPECTED
    };
    let kept: Vec<(u32, &CodeChanges)> =
        BITS.into_iter().zip(codes).filter(|(_, codes)| stayed(codes)).collect();
    let (_, first) = kept.first()?;
    if difference.share() < SAME_CODES_SHARE {
        return None;
    }
    let bits: Vec<u32> = kept.iter().map(|(bits, _)| *bits).collect();
    let named: Vec<String> = bits.iter().map(|bits| format!("{bits}-bit")).collect();
    let message = format!(
        "{:.0} % of its values changed, but none of its {} codes did, where {:.0} are expected: once quantised it equals the baseline, in full precision it does not",
        100.0 * difference.share(),
        named.join(" and "),
        first.expected
    );
    let finding = subject
        .finding("lineage/same-codes", message)
        .with("bits", bits)
        .with("codes_moved", 0)
        .with("codes_expected_to_move", first.expected)
        .with("threshold_expected", SAME_CODES_EXPECTED)
        .with("threshold_share", SAME_CODES_SHARE);
    Some(subject.with_difference(finding, difference))
}

fn low_rank(subject: &LineageSubject<'_>) -> Option<Finding> {
    let difference = subject.numeric()?;
    let found = difference.low_rank?;
    let shape = subject.tensor.storage_shape();
    let rows = shape.first().copied().unwrap_or_default();
    let columns: u64 = shape.iter().skip(1).product();
    let max_rank = rows.min(columns);
    let message = format!(
        "the change has rank {} of {max_rank} possible, and {:.2} % of the norm of the baseline, as after an edit or with a merged adapter",
        found.rank,
        100.0 * difference.relative()
    );
    let finding = subject
        .finding("lineage/low-rank-change", message)
        .with("rank", found.rank)
        .with("rank_possible", max_rank)
        .with("share_of_change", found.share)
        .with("energy_drop", found.drop);
    Some(subject.with_difference(finding, difference))
}

fn drifted(subject: &LineageSubject<'_>, baseline: &Seal) -> Option<Finding> {
    let drift = subject.drift.as_ref()?;
    let (before, after) = (subject.sealed.distribution.as_ref()?, &subject.facts?.distribution);
    if drift.psi < PSI_SOME || drift.psi < drift.psi_by_chance {
        return None;
    }
    let far = drift.psi >= PSI_FAR;
    let mut message = format!(
        "values drifted {}: population stability index {:.2}, exponents shifted by {:.2} binades",
        if far { "far" } else { "somewhat" },
        drift.psi,
        drift.wasserstein_binades
    );
    if drift.spread_ratio.is_finite() {
        message.push_str(&format!(", {:.2} times the spread", drift.spread_ratio));
    }
    if let Some(other) = subject.pair.content_of {
        let name = &baseline.tensors[other].name;
        message.push_str(&format!("; the content is that of {name:?} in the baseline"));
    }
    let mut finding = subject
        .finding("lineage/drift", message)
        .with("psi", drift.psi)
        .with("psi_by_chance", drift.psi_by_chance)
        .with("threshold_psi", if far { PSI_FAR } else { PSI_SOME })
        .with("ks", drift.ks)
        .with("wasserstein_binades", drift.wasserstein_binades)
        .with("mean_shift", drift.mean_shift)
        .with("spread_ratio", drift.spread_ratio)
        .with("mean_baseline", before.mean.0)
        .with("mean_now", after.mean.0)
        .with("standard_deviation_baseline", before.standard_deviation.0)
        .with("standard_deviation_now", after.standard_deviation.0);
    // Vectors (biases, norms) have few values and change a lot in legitimate training.
    if !far || subject.tensor.shape.len() < 2 {
        finding.severity = Severity::Low;
    }
    if let Some(other) = subject.pair.content_of {
        finding.other_tensor = Some(baseline.tensors[other].name.clone());
    }
    Some(subject.placed(finding))
}

fn large(subject: &LineageSubject<'_>) -> Option<Finding> {
    if let Some(moved) = subject.moved.filter(|moved| moved.interval[0] > LARGE) {
        let message = format!(
            "the norm of the change is about {:.2} times that of the baseline, estimated from the sketch",
            moved.relative
        );
        let finding = subject
            .finding("lineage/large-change", message)
            .with("relative_norm_estimated", moved.relative)
            .with("relative_norm_interval", json!(moved.interval))
            .with("threshold", LARGE);
        return Some(subject.placed(finding));
    }
    let difference = subject.numeric()?;
    let relative = difference.relative();
    if relative <= LARGE || !relative.is_finite() && difference.norm_before > 0.0 {
        return None;
    }
    let message = match difference.norm_before {
        0.0 => "all values were zero in the baseline, and are not any more".to_owned(),
        _ => format!(
            "the norm of the change is {:.2} times that of the baseline (cosine {:.3})",
            relative, difference.cosine
        ),
    };
    let finding = subject.finding("lineage/large-change", message).with("threshold", LARGE);
    Some(subject.with_difference(finding, difference))
}
