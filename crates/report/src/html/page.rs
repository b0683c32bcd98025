//! The parts that all pages share: the style sheet with its digest, and the signs and classes of outcomes.

use askama::filters::Safe;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tensorseal_core::judge::{Severity, Verdict};
use tensorseal_core::policy::gate::RuleStatus;

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the digest by which the content security policy allows the style sheet.
pub(crate) fn style_digest() -> Safe<String> {
    Safe(STANDARD.encode(Sha256::digest(STYLE.as_bytes())))
}

/// Returns a length with its thousands separated.
pub(crate) fn grouped(length: usize) -> String {
    crate::units::grouped(length as u64)
}

/// Returns the version of the rules.
pub(crate) fn rules_version() -> &'static str {
    tensorseal_core::judge::rules::rules().version
}

/// Returns the CSS class of a verdict and its sign.
pub(crate) fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "✔"),
        Verdict::Fail => ("fail", "✖"),
        Verdict::Incomplete => ("incomplete", "!"),
    }
}

/// Returns the CSS class of the outcome of a policy rule and its sign.
pub(crate) fn outcome(outcome: RuleStatus) -> (&'static str, &'static str) {
    match outcome {
        RuleStatus::Pass => ("clean", "✔"),
        RuleStatus::Allowed => ("low", "○"),
        RuleStatus::NotChecked => ("high", "?"),
        RuleStatus::Fail => ("critical", "✖"),
    }
}

/// Returns the sign of a severity, for readers who do not see its colour.
pub(crate) fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::High => "▲",
        Severity::Medium => "◆",
        Severity::Low => "●",
        Severity::Info => "○",
    }
}

/// Returns a badge with the sign and the name of a severity, in its colours.
pub(crate) fn badge(severity: Severity) -> Safe<String> {
    let (name, sign) = (severity.name(), sign(severity));
    Safe(format!(
        "<span class=\"badge {name}\"><span aria-hidden=\"true\">{sign}</span> {name}</span>"
    ))
}
