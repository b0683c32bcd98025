//! Windows of values that the rest of a tensor has none of: other bytes were written over weights.

use super::AuditSubject;
use crate::judge::finding::Finding;
use tensorseal_engine::measure::windows::WINDOW_LEN;

/// Share of foreign values from which they are foreign because they are not finite.
const NOT_FINITE_SHARE: f64 = 0.9;

/// Judges the windows of a tensor; returns the elements that are foreign, if any are.
///
/// Clean checkpoints have none: weights below 2^-24 or from 16 on do not come in patches.
pub(super) fn judge(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) -> Option<[u64; 2]> {
    let windows = subject.facts.windows.as_ref()?;
    let first = windows.kept.first()?;
    let window = WINDOW_LEN as u64;
    let range = [first.index * window, (windows.end * window).min(subject.count())];
    let elements: u64 = windows.kept.iter().map(|odd| u64::from(odd.foreign)).sum();
    let not_finite = subject.facts.distribution.not_finite();
    if not_finite as f64 >= NOT_FINITE_SHARE * elements as f64 {
        // That they are not finite is the finding.
        return None;
    }
    if subject
        .facts
        .localization
        .embedded_files
        .iter()
        .any(|h| (range[0]..range[1]).contains(&h.element))
    {
        // The file that lies there is the finding.
        return Some(range);
    }
    let message = format!(
        "{} of its windows of {window} values hold magnitudes that the rest of it has none of (below 2^-24 or above 2^4): bytes that are no weights",
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
