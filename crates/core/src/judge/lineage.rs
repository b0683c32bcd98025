//! What a comparison with a baseline means: which tensors are others, and whether the change of one
//! looks like more than training.

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

/// Population stability index from which a distribution moved, and from which it moved far: the usual
/// bands.
const PSI_SOME: f64 = 0.1;
const PSI_FAR: f64 = 0.25;

/// Norm of a change, relative to the baseline's, from which it is large.
const LARGE: f64 = 0.5;

/// Share of the elements that must have changed, and codes that should have moved, for codes that did
/// not move to be remarkable: by chance that has a probability of less than e^-50.
const SAME_CODES_SHARE: f64 = 0.1;
const SAME_CODES_EXPECTED: f64 = 50.0;

/// Changed tensors whose numbers the finding about the model lists.
const LISTED: usize = 16;

/// What is known of a model beside its baseline.
#[derive(Debug, Clone, Copy)]
pub struct LineageEvidence<'a> {
    /// The model.
    pub model: &'a Checkpoint,
    /// The facts of its tensors.
    pub facts: &'a [TensorFacts],
    /// The baseline's seal: one that was read, or that of the other model.
    pub baseline: &'a Seal,
    /// Which tensors are the same.
    pub pairs: &'a TensorPairs,
    /// For each changed one, where the other model is at hand: the difference.
    pub differences: &'a [Option<TensorDifference>],
    /// By tensor of the model, where the seal has a sketch of it: how far it moved.
    pub distances: &'a HashMap<usize, SketchDistance>,
    /// Tensors of the model that are codes, or parts of weights, whose layout is not known here: their numbers stand
    /// for nothing, so how far these moved means nothing either.
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

/// All findings about a model and its baseline: one about the whole, those about tensors in their order.
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
    let is_read =
        |subject: &&LineageSubject<'_>| !comparison.unreadable.contains(&subject.pair.tensor);
    for subject in subjects.iter().filter(is_read) {
        findings.extend(same_codes(subject));
        findings.extend(low_rank(subject));
        findings.extend(drifted(subject, comparison.baseline));
        findings.extend(large(subject));
    }
    findings
}

/// The finding about the model.
fn whole(comparison: &LineageEvidence<'_>, subjects: &[LineageSubject<'_>]) -> Finding {
    let TensorPairs { equal, changed, retyped, added, missing, renamed } = comparison.pairs;
    let paired = equal + changed.len();
    let mut message = match changed.len() {
        0 => format!("none of {paired} tensors has other values than in the baseline"),
        count => {
            let names = changed.iter().map(|pair| &comparison.model.tensors[pair.tensor].name[..]);
            format!("{count} of {paired} tensors differ from the baseline: {}", listed(names))
        }
    };
    for (count, what) in [
        (missing.len(), "of the baseline are missing"),
        (added.len(), "are not in the baseline"),
        (retyped.len(), "have another type or shape"),
    ] {
        if count > 0 {
            message.push_str(&format!("; {count} {what}"));
        }
    }
    if *renamed > 0 {
        message.push_str(&format!("; {renamed} of the missing are there under another name"));
    }
    let moved = changed.iter().filter(|pair| pair.content_of.is_some()).count();
    if moved > 0 {
        message.push_str(&format!("; {moved} have the content of another tensor of the baseline"));
    }
    let not_read =
        changed.iter().filter(|pair| comparison.unreadable.contains(&pair.tensor)).count();
    if not_read > 0 {
        message.push_str(&format!(
            "; how far {not_read} of those that differ are from it is not known: they are kept in a way that is not \
             known here"
        ));
    }
    let names = |indexes: &[usize], name: &dyn Fn(usize) -> String| -> Value {
        indexes.iter().take(LISTED).map(|index| name(*index)).collect()
    };
    let ours = |index: usize| comparison.model.tensors[index].name.clone();
    let theirs = |index: usize| comparison.baseline.tensors[index].name.clone();
    let mut finding = Finding::new("lineage/changed", message)
        .with("baseline_root", comparison.baseline.model.root.clone())
        .with("tensors_equal", *equal)
        .with("tensors_changed", changed.len())
        .with("tensors_missing", missing.len())
        .with("tensors_added", added.len())
        .with("tensors_retyped", retyped.len())
        .with("tensors_renamed", *renamed)
        .with("tensors_moved", moved);
    if not_read > 0 {
        finding = finding.with("tensors_not_read", not_read);
    }
    for (key, indexes, name) in [
        ("missing", missing, &theirs as &dyn Fn(usize) -> String),
        ("added", added, &ours),
        ("retyped", retyped, &ours),
    ] {
        if !indexes.is_empty() {
            finding = finding.with(key, names(indexes, name));
        }
    }
    if !subjects.is_empty() {
        let first: Vec<Value> = subjects.iter().take(LISTED).map(LineageSubject::numbers).collect();
        finding = finding.with("changed", first);
    }
    let is_read =
        |subject: &&LineageSubject<'_>| !comparison.unreadable.contains(&subject.pair.tensor);
    let known: Vec<&TensorDifference> = subjects
        .iter()
        .filter(is_read)
        .filter_map(|s| s.difference)
        .filter(|d| d.numbers)
        .collect();
    if !known.is_empty() {
        let sum = |part: &dyn Fn(&TensorDifference) -> f64| -> f64 {
            known.iter().map(|difference| part(difference) * part(difference)).sum()
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

    /// What is known of its change, in short.
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

    /// Gives a finding the place of the change: of its elements, or of the blocks that changed.
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

    /// Adds what was measured of the difference.
    fn with_difference(&self, finding: Finding, difference: &TensorDifference) -> Finding {
        self.placed(finding)
            .with("relative_norm", difference.relative())
            .with("norm_baseline", difference.norm_before)
            .with("changed_share", difference.share())
            .with("cosine", difference.cosine)
            .with("largest_change", difference.largest)
            .with("largest_change_at", difference.largest_at)
    }

    /// The difference, where its units are numbers.
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
        "{:.0} % of its values changed and none of its {} codes did, where {:.0} should have: quantised it is the baseline's, in full precision it is not",
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
    let most = rows.min(columns);
    let message = format!(
        "its change has rank {} where {most} is possible, and {:.2} % of the baseline's norm: an edit or a merged adapter looks so",
        found.rank,
        100.0 * difference.relative()
    );
    let finding = subject
        .finding("lineage/low-rank-change", message)
        .with("rank", found.rank)
        .with("rank_possible", most)
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
        "its values drifted {}: stability index {:.2}, exponents moved by {:.2} binades",
        if far { "far" } else { "somewhat" },
        drift.psi,
        drift.wasserstein_binades
    );
    if drift.spread_ratio.is_finite() {
        message.push_str(&format!(", {:.2} times the spread", drift.spread_ratio));
    }
    if let Some(other) = subject.pair.content_of {
        let name = &baseline.tensors[other].name;
        message.push_str(&format!("; it has the content of the baseline's {name:?}"));
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
    // Vectors (biases, norms) have few values and move far in honest training.
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
            "its change is about {:.2} times as large as the baseline's values, by its sketch",
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
        0.0 => "it was all zero in the baseline and is not any more".to_owned(),
        _ => format!(
            "its change is {:.2} times as large as the baseline's values (cosine {:.3})",
            relative, difference.cosine
        ),
    };
    let finding = subject.finding("lineage/large-change", message).with("threshold", LARGE);
    Some(subject.with_difference(finding, difference))
}
