//! Detects layers whose weights differ from those of their neighbours.

use super::values::EXCESS_LOW;
use super::{AuditSubject, Siblings, is_state};
use crate::judge::finding::Finding;

/// The minimum number of layers of a cohort.
const MIN_LAYERS: usize = 5;

/// The number of layers on each side that a layer is compared with: models change slowly with depth.
const NEIGHBOURS: usize = 2;

/// The distance in binades between the standard deviation of a layer and that of its neighbours, and the same in
/// robust deviations, from which a layer is an outlier. Clean inner layers differ by at most 0.16 binades, the first
/// and the last by 0.48.
const BINADES_FROM: f64 = 1.3;
const Z_FROM: f64 = 5.0;

/// The threshold for the first and the last layer, which often differ from the others.
const BINADES_AT_END: f64 = 3.5;

/// The minimum spread of a cohort, in binades.
const MIN_SPREAD: f64 = 0.1;

/// The minimum number of elements of a tensor.
const MIN_ELEMENTS: u64 = 1024;

/// Judges all cohorts.
pub(super) fn judge(siblings: &Siblings<'_>) -> Vec<Finding> {
    siblings
        .iter()
        .filter(|(role, group)| group.len() >= MIN_LAYERS && !is_state(role))
        .flat_map(|(_, group)| cohort(group))
        .collect()
}

fn cohort(group: &[&AuditSubject<'_>]) -> Vec<Finding> {
    let members: Vec<(&AuditSubject<'_>, f64)> = group
        .iter()
        .filter(|subject| subject.count() >= MIN_ELEMENTS && subject.tensor.shape.len() > 1)
        .filter(|subject| !is_dominated(subject))
        .map(|subject| (*subject, subject.facts.distribution.standard_deviation.0))
        .filter(|(_, deviation)| *deviation > 0.0 && deviation.is_finite())
        .map(|(subject, deviation)| (subject, libm::log2(deviation)))
        .collect();
    if members.len() < MIN_LAYERS {
        return Vec::new();
    }
    let differences: Vec<f64> = (0..members.len()).map(|at| difference(&members, at)).collect();
    let spread =
        (1.4826 * median(differences.iter().map(|d| libm::fabs(*d)).collect())).max(MIN_SPREAD);
    let ends = [0, members.len() - 1];
    let stands_out = |at: &usize| {
        let size = libm::fabs(differences[*at]);
        let from = if ends.contains(at) { BINADES_AT_END } else { BINADES_FROM };
        size >= from && size >= Z_FROM * spread
    };
    (0..members.len())
        .filter(stands_out)
        .map(|at| outlier_finding(members[at].0, differences[at], spread, members.len()))
        .collect()
}

/// Returns whether a single value dominates the spread of a tensor. That is a finding of its own, and such a tensor
/// is not a reference for its neighbours.
fn is_dominated(subject: &AuditSubject<'_>) -> bool {
    subject.facts.exponent_excess().is_some_and(|gap| gap.binades >= EXCESS_LOW)
}

/// Returns log2 of the standard deviation, minus the median of the neighbours.
fn difference(members: &[(&AuditSubject<'_>, f64)], at: usize) -> f64 {
    let from = at.saturating_sub(NEIGHBOURS);
    let to = (at + NEIGHBOURS + 1).min(members.len());
    let neighbours =
        (from..to).filter(|other| *other != at).map(|other| members[other].1).collect();
    members[at].1 - median(neighbours)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn outlier_finding(
    subject: &AuditSubject<'_>,
    difference: f64,
    spread: f64,
    layers: usize,
) -> Finding {
    let factor = libm::exp2(libm::fabs(difference));
    let direction = if difference > 0.0 { "larger" } else { "smaller" };
    let message = format!(
        "standard deviation is {factor:.1} times {direction} than in the neighbouring layers, unlike in the other {} layers",
        layers - 1
    );
    let finding = subject
        .finding("weights/cohort-outlier", message)
        .with("binades", difference)
        .with("threshold_binades", BINADES_FROM)
        .with("spread_binades", spread)
        .with("layers", layers);
    subject.whole(finding)
}
