//! What all reports word alike: the verdict, the sentence that explains it, places and counts.

use super::units::{bytes, count, grouped};
use super::{Coverage, PolicyUsed, Report, safe_text};
use std::collections::HashSet;
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::{RuleOutcome, RuleStatus};
use tensorseal_format::SkippedPath;

/// Returns the verdict as one word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Incomplete => "INCOMPLETE",
    }
}

/// Returns the number of findings of each severity, most severe first.
pub fn counts(report: &Report) -> impl Iterator<Item = (Severity, usize)> + '_ {
    let of = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    Severity::ALL.into_iter().rev().map(move |severity| (severity, of(severity)))
}

/// Returns which weights were not audited, if the command audits weights and passed without them.
pub fn in_part(report: &Report) -> Option<String> {
    let looks = matches!(
        report.command,
        "audit" | "gate" | "inspect" | "compare" | "watermark detect" | "registry scan"
    );
    let not_audited = report.coverage.not_audited().filter(|_| looks);
    not_audited
        .or_else(|| report.coverage.not_verified())
        .filter(|_| report.verdict == Verdict::Pass)
}

/// Explains the verdict in one sentence, which also names the weights that were not audited.
pub fn sentence(report: &Report) -> String {
    let sentence = judged(report);
    match in_part(report) {
        Some(words) => format!("{} ({words}).", sentence.trim_end_matches('.')),
        None => sentence,
    }
}

fn judged(report: &Report) -> String {
    if let Some(error) = &report.error {
        return format!(
            "The run could not be completed: {}",
            safe_text::clipped(error, safe_text::MESSAGE)
        );
    }
    if let Some(policy) = &report.policy {
        return by_policy(policy);
    }
    let limit = report.fail_on.name();
    let said = report.findings.iter().filter(|f| f.severity > Severity::Info).count() as u64;
    let failing = report.findings.iter().filter(|f| report.fails(f)).count() as u64;
    let worst = report.findings.iter().max_by_key(|f| f.severity);
    match (report.verdict, worst) {
        (Verdict::Incomplete, _) => "The run could not be completed.".to_owned(),
        (Verdict::Fail, Some(worst)) => {
            let title = find_rule(worst.rule).map_or(worst.rule, |rule| rule.title);
            let first = if failing == 1 { ": " } else { "; most severe: " };
            let (all, severity) = (count(failing, "finding"), worst.severity.name());
            format!("{all} at or above {limit}{first}{} ({severity}).", lower_first(title))
        }
        (Verdict::Fail, None) => "The command failed without a finding.".to_owned(),
        (Verdict::Pass, _) if said > 0 => {
            let all = if said == 1 { "" } else { "all " };
            format!("{}, {all}below the failure threshold ({limit}).", count(said, "finding"))
        }
        (Verdict::Pass, _) if report.command == "verify" && report.seal.is_some() => {
            "The model matches its seal.".to_owned()
        }
        (Verdict::Pass, None) => "No findings.".to_owned(),
        (Verdict::Pass, Some(_)) => "No findings above info severity.".to_owned(),
    }
}

/// Returns how many findings fail the command, and how many above info do not.
pub fn tally(report: &Report) -> String {
    let limit = report.fail_on.name();
    let failing = report.findings.iter().filter(|f| report.fails(f)).count() as u64;
    let passing = |f: &&Finding| f.severity > Severity::Info && !report.fails(f);
    let below = report.findings.iter().filter(passing).count() as u64;
    match (failing, below) {
        (0, below) => format!("{} below {limit}", count(below, "finding")),
        (failing, 0) => format!("{} at or above {limit}", count(failing, "finding")),
        (failing, below) => {
            format!("{} at or above {limit}, {} below", count(failing, "finding"), grouped(below))
        }
    }
}

/// Summarises the outcome of a policy in one sentence, with the requirements that failed.
fn by_policy(policy: &PolicyUsed) -> String {
    const NAMED: usize = 5;
    if policy.passed {
        return format!("The policy is met: {}.", checked(policy));
    }
    let failing: Vec<String> = policy.failing().map(RuleOutcome::title).collect();
    let named: Vec<String> =
        failing.iter().take(NAMED).map(|title| safe_text::name(title)).collect();
    let more = match failing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("The policy is not met: {}: {}{more}.", unmet(policy), named.join(", "))
}

/// Summarises the outcome of a policy without the names of requirements, for a report that lists them.
pub(crate) fn policy_tally(policy: &PolicyUsed) -> String {
    if policy.passed {
        return format!("policy met: {}", checked(policy));
    }
    format!("policy not met: {}", unmet(policy))
}

/// Returns how many requirements of a policy were checked.
fn checked(policy: &PolicyUsed) -> String {
    format!("{} checked", count(policy.rules.len() as u64, "requirement"))
}

/// Returns how many requirements of a policy failed, and how many of them because they were not checked.
fn unmet(policy: &PolicyUsed) -> String {
    let total = count(policy.rules.len() as u64, "requirement");
    let not_checked =
        policy.failing().filter(|rule| rule.outcome == RuleStatus::NotChecked).count();
    let failed = policy.failing().count();
    match not_checked {
        0 => format!("{failed} of {total} failed"),
        _ => format!("{failed} of {total} failed, of which {not_checked} could not be checked"),
    }
}

/// Returns a title for use inside a sentence. A leading abbreviation keeps its capitals.
fn lower_first(title: &str) -> String {
    let mut chars = title.chars();
    let first_word = title.split(' ').next().unwrap_or_default();
    match chars.next() {
        Some(first) if !first_word.chars().skip(1).any(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => title.to_owned(),
    }
}

/// Returns how much was measured, in which time, and on which device.
pub fn measured(report: &Report) -> Option<String> {
    let engine = report.engine.as_ref()?;
    let rate = bytes((engine.bytes_read as f64 / engine.seconds.max(1e-9)) as u64);
    let adapter = engine.adapter.as_deref().map(|a| format!(" ({})", safe_text::name(a)));
    Some(format!(
        "{} in {:.2} s, {rate}/s, {}{}, {}",
        bytes(engine.bytes_read),
        engine.seconds,
        safe_text::name(&engine.device),
        adapter.unwrap_or_default(),
        count(engine.threads as u64, "thread"),
    ))
}

/// Returns what a finding is about: its tensor, or else its file.
pub fn place(finding: &Finding) -> Option<&str> {
    finding.tensor.as_deref().or(finding.file.as_deref())
}

/// Returns the directory of the model without a trailing slash. The empty string is the working directory, or the
/// root of the file system if the path of the model starts with a slash.
pub fn directory_of_model(report: &Report) -> &str {
    let path = report.model.path.as_str();
    let path = path.strip_prefix("./").unwrap_or(path);
    // A model of one file is named by that file: its directory is what the file is relative to.
    let single = report
        .findings
        .iter()
        .filter_map(|f| f.file.as_deref())
        .chain(report.profiles.iter().map(|profile| profile.file.as_str()));
    let single = single.into_iter().find_map(|file| match path.strip_suffix(file)? {
        "" => Some(""),
        directory => directory.ends_with('/').then_some(directory),
    });
    single.unwrap_or(path).trim_end_matches('/')
}

/// Returns where a finding is within its tensor or file, in words:
/// `tensor byte 531,432, element 132,858, row 345`, or `file bytes 44 to 245`.
///
/// The last number of a range belongs to it. In the JSON report, ranges are half-open.
pub fn location(finding: &Finding) -> Option<String> {
    let bytes = finding.byte_range.map(|range| byte_range(range, finding.tensor.is_some()));
    let elements = finding.element_range.map(|range| span("element", range));
    let rows = finding.row_range.map(|range| span("row", range));
    let parts: Vec<String> = [bytes, elements, rows].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns a half-open byte range of a tensor or of a file in words.
pub(crate) fn byte_range(range: [u64; 2], in_tensor: bool) -> String {
    span(if in_tensor { "tensor byte" } else { "file byte" }, range)
}

/// Returns a half-open range in words, with the noun for its numbers.
fn span(noun: &str, range: [u64; 2]) -> String {
    let plural = if range[1].saturating_sub(range[0]) == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", inclusive(range))
}

/// Returns the first and the last number of a half-open range: `3 to 7`, or `3` if there is only one.
pub(crate) fn inclusive([start, end]: [u64; 2]) -> String {
    match end.saturating_sub(start) {
        0 => format!("{} (empty range)", grouped(start)),
        1 => grouped(start),
        _ => format!("{} to {}", grouped(start), grouped(end - 1)),
    }
}

/// Returns the paths that were skipped, each once: both models of a comparison may have the same path.
pub(crate) fn skipped(coverage: &Coverage) -> Vec<&SkippedPath> {
    let mut listed = HashSet::new();
    let all = coverage.not_covered.iter();
    all.filter(|skipped| listed.insert((&skipped.path, &skipped.reason))).collect()
}

/// Returns how a policy treats a finding, in words.
pub fn standing(finding: &Finding) -> Option<String> {
    Some(match finding.standing.as_ref()? {
        Disposition::Violates { rule } => format!("violates {rule}"),
        Disposition::Within { rule } => format!("permitted by {rule}"),
        Disposition::Allowed { reason, expires } => {
            format!("allowed until {expires}: {}", safe_text::clipped(reason, safe_text::MESSAGE))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rules: &[&'static str]) -> Report {
        let mut report = Report::new("verify", "model");
        report.findings = rules.iter().map(|rule| Finding::new(rule, "m")).collect();
        report.judge(Severity::Medium);
        report
    }

    #[test]
    fn one_sentence_says_it() {
        let said = |rules: &[&'static str]| sentence(&report(rules));
        let title = |rule| lower_first(find_rule(rule).unwrap().title);
        assert_eq!(said(&[]), "No findings.");
        assert_eq!(said(&["format/misaligned"]), "No findings above info severity.");
        assert_eq!(said(&["watermark/faint"]), "1 finding, below the failure threshold (medium).");
        assert_eq!(
            said(&["watermark/faint"; 2]),
            "2 findings, all below the failure threshold (medium)."
        );
        assert_eq!(
            said(&["integrity/tensor-moved", "integrity/tensor-changed"]),
            format!(
                "2 findings at or above medium; most severe: {} (critical).",
                title("integrity/tensor-changed")
            )
        );
        assert_eq!(
            said(&["weights/not-finite"]),
            format!("1 finding at or above medium: {} (high).", title("weights/not-finite"))
        );
        assert_eq!(lower_first("NaN or infinite values"), "NaN or infinite values");
        let mut broken = Report::new("seal", "model");
        broken.error = Some("model: no\nsuch file".to_owned());
        assert_eq!(sentence(&broken), "The run could not be completed: model: no\\nsuch file");
        assert_eq!(broken.exit_code, 3);
    }

    #[test]
    fn a_location_names_what_its_numbers_count() {
        let mut finding = Finding::new("integrity/tensor-changed", "m");
        assert_eq!(location(&finding), None);
        finding.byte_range = Some([531_432, 531_433]);
        assert_eq!(location(&finding).as_deref(), Some("file byte 531,432"));
        finding.tensor = Some("w".to_owned());
        finding.element_range = Some([132_858, 132_859]);
        finding.row_range = Some([0, 384]);
        assert_eq!(
            location(&finding).as_deref(),
            Some("tensor byte 531,432, element 132,858, rows 0 to 383")
        );
        finding.byte_range = Some([7, 7]);
        assert!(location(&finding).unwrap().starts_with("tensor bytes 7 (empty range), "));
        assert_eq!(inclusive([u64::MAX, 0]), "18,446,744,073,709,551,615 (empty range)");
    }

    #[test]
    fn findings_are_counted_on_both_sides_of_the_threshold() {
        let text = |rules: &[&'static str]| tally(&report(rules));
        let (critical, low) = ("integrity/tensor-changed", "watermark/faint");
        assert_eq!(text(&[critical]), "1 finding at or above medium");
        assert_eq!(text(&[critical, critical, low]), "2 findings at or above medium, 1 below");
        assert_eq!(text(&[low, low]), "2 findings below medium");
    }
}
