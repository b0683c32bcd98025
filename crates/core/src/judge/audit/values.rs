//! Detects single values that are not finite or much too large.

use super::AuditSubject;
use crate::judge::finding::Finding;
use serde_json::json;
use tensorseal_base::severity::Severity;

/// The distance in binades between the largest and the usual values from which a value is not a weight. Clean tensors
/// have up to 4; large language models are known for single weights of 5 to 7; a flipped top bit of an exponent gives
/// 128 (F16: 16).
const EXCESS_HIGH: i32 = 9;

/// The distance from which a value is remarkable.
pub(super) const EXCESS_LOW: i32 = 5;

/// Judges the values of a tensor; `foreign` is the range of elements that are known not to be weights.
pub(super) fn judge(
    subject: &AuditSubject<'_>,
    foreign: Option<[u64; 2]>,
    findings: &mut Vec<Finding>,
) {
    let inside = |hull: Option<[u64; 2]>| match (hull, foreign) {
        (Some(hull), Some(foreign)) => foreign[0] <= hull[0] && hull[1] <= foreign[1],
        _ => false,
    };
    let seen = &subject.facts.localization;
    if !inside(seen.not_finite.hull()) {
        findings.extend(not_finite(subject));
    }
    if !inside(seen.outliers.hull()) {
        findings.extend(too_large(subject));
    }
}

fn not_finite(subject: &AuditSubject<'_>) -> Option<Finding> {
    let values = &subject.facts.distribution;
    let infinite = values.infinite();
    let finite = values.count - values.not_finite();
    if values.not_finite() == 0 {
        return None;
    }
    // An attention mask contains only zeros and negative infinity.
    if values.nan == 0 && values.positive_infinity == 0 && values.zero == finite {
        return None;
    }
    let message = match (values.nan, infinite) {
        (nan, 0) => format!("{nan} of its {} values are not a number", values.count),
        (0, infinite) => format!("{infinite} of its {} values are infinite", values.count),
        (nan, infinite) => format!(
            "{nan} of its {} values are not a number and {infinite} are infinite",
            values.count
        ),
    };
    let places = &subject.facts.localization.not_finite;
    let finding = subject
        .finding("weights/not-finite", message)
        .with("nan", values.nan)
        .with("infinite", infinite)
        .with("threshold", 0)
        .with("elements", json!(places.first));
    Some(match places.hull() {
        Some(hull) => subject.at_elements(finding, hull),
        None => subject.whole(finding),
    })
}

fn too_large(subject: &AuditSubject<'_>) -> Option<Finding> {
    let gap = subject.facts.exponent_excess()?;
    if gap.binades < EXCESS_LOW {
        return None;
    }
    let places = &subject.facts.localization.outliers;
    let values = &subject.facts.distribution;
    let largest = libm::fmax(libm::fabs(values.min.0), libm::fabs(values.max.0));
    let subject_text = match places.count {
        1 => "one of its values is".to_owned(),
        n => format!("{n} of its values are"),
    };
    let message = format!(
        "{subject_text} far above the others: the largest is {largest:.4e}, and 99.99 % are below 2^{}",
        gap.usual + 1
    );
    let mut finding = subject
        .finding("weights/exponent-outlier", message)
        .with("gap_binades", gap.binades)
        .with("threshold_binades", EXCESS_HIGH)
        .with("largest_exponent", gap.largest)
        .with("usual_exponent", gap.usual)
        .with("elements", json!(places.first));
    if gap.binades < EXCESS_HIGH {
        finding.severity = Severity::Low;
    }
    Some(match places.hull() {
        Some(hull) => subject.at_elements(finding, hull),
        None => finding,
    })
}
