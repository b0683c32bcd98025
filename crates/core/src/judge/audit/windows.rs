//! Detects windows of values that occur nowhere else in a tensor, because other bytes overwrote weights.

use super::AuditSubject;
use crate::judge::finding::Finding;
use tensorseal_engine::measure::windows::WINDOW_LEN;

/// The share of foreign values that are not finite from which this is the reason why they are foreign.
const NOT_FINITE_SHARE: f64 = 0.9;

/// Judges the windows of a tensor, and returns the range of foreign elements, if there are any.
///
/// Clean checkpoints have none: weights below 2^-24 or from 16 on do not occur in patches.
pub(super) fn judge(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) -> Option<[u64; 2]> {
    let windows = subject.facts.windows.as_ref()?;
    let first = windows.kept.first()?;
    let window = WINDOW_LEN as u64;
    let range = [first.index * window, (windows.end * window).min(subject.count())];
    let elements: u64 = windows.kept.iter().map(|odd| u64::from(odd.foreign)).sum();
    let not_finite = subject.facts.distribution.not_finite();
    if not_finite as f64 >= NOT_FINITE_SHARE * elements as f64 {
        // The finding about non-finite values covers them.
        return None;
    }
    if subject
        .facts
        .localization
        .embedded_files
        .iter()
        .any(|h| (range[0]..range[1]).contains(&h.element))
    {
        // The finding about the file covers them.
        return Some(range);
    }
    let message = format!(
        "{} windows of {window} values contain magnitudes that occur nowhere else in the tensor (below 2^-24 or above 2^4): these bytes are not weights",
        windows.foreign
    );
    let finding = subject
        .finding("weights/foreign-window", message)
        .with("windows", windows.foreign)
        .with("windows_total", windows.count)
        .with("foreign_values", elements)
        .with("threshold_share", crate::audit::windows::FOREIGN_SHARE);
    findings.push(subject.at_elements(finding, range));
    Some(range)
}
