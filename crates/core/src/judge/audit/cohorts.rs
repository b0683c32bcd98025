//! One layer unlike its siblings.

use super::values::EXCESS_LOW;
use super::{AuditSubject, Siblings, is_state};
use crate::judge::finding::Finding;

/// Layers that a cohort needs.
const LEAST: usize = 5;

/// Layers on each side that a layer is compared with: models change with depth, slowly.
const BESIDE: usize = 2;

/// Binades between a layer's standard deviation and its neighbours', and robust deviations of that, from
/// which it is an outlier. Clean layers between others differ by 0.16 binades at most, the
/// first and the last by 0.48.
const BINADES_FROM: f64 = 1.3;
const Z_FROM: f64 = 5.0;

/// The first and the last layers are often unlike the rest.
const BINADES_AT_END: f64 = 3.5;

/// No spread of a cohort is taken to be smaller, in binades.
const LEAST_SPREAD: f64 = 0.1;

/// Elements that a tensor needs.
const LEAST_ELEMENTS: u64 = 1024;

/// Judges all cohorts.
pub(super) fn judge(siblings: &Siblings<'_>) -> Vec<Finding> {
    siblings
        .iter()
        .filter(|(role, group)| group.len() >= LEAST && !is_state(role))
        .flat_map(|(_, group)| cohort(group))
        .collect()
}

fn cohort(group: &[&AuditSubject<'_>]) -> Vec<Finding> {
    let members: Vec<(&AuditSubject<'_>, f64)> = group
        .iter()
        .filter(|subject| subject.count() >= LEAST_ELEMENTS && subject.tensor.shape.len() > 1)
        .filter(|subject| !is_spoilt(subject))
        .map(|subject| (*subject, subject.facts.distribution.standard_deviation.0))
        .filter(|(_, deviation)| *deviation > 0.0 && deviation.is_finite())
        .map(|(subject, deviation)| (subject, libm::log2(deviation)))
        .collect();
    if members.len() < LEAST {
        return Vec::new();
    }
    let differences: Vec<f64> = (0..members.len()).map(|at| difference(&members, at)).collect();
    let spread =
        (1.4826 * median(differences.iter().map(|d| libm::fabs(*d)).collect())).max(LEAST_SPREAD);
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

/// Whether its spread is that of one value: a finding already, and no measure for its neighbours.
fn is_spoilt(subject: &AuditSubject<'_>) -> bool {
    subject.facts.exponent_excess().is_some_and(|gap| gap.binades >= EXCESS_LOW)
}

/// log2 of the standard deviation, less the median of the neighbours'.
fn difference(members: &[(&AuditSubject<'_>, f64)], at: usize) -> f64 {
    let from = at.saturating_sub(BESIDE);
    let to = (at + BESIDE + 1).min(members.len());
    let beside = (from..to).filter(|other| *other != at).map(|other| members[other].1).collect();
    members[at].1 - median(beside)
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
    let way = if difference > 0.0 { "larger" } else { "smaller" };
    let message = format!(
        "its standard deviation is {factor:.1} times {way} than in the layers beside it, unlike in the other {} layers",
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
