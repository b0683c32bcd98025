//! What all reports word alike: the verdict, the sentence that explains it, places and counts.

use super::PolicyUsed;
use super::Report;
use super::safe_text;
use super::units::{bytes, count, grouped};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::RuleOutcome;

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
    report.coverage.not_audited().filter(|_| looks && report.verdict == Verdict::Pass)
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

/// Summarises the outcome of a policy in one sentence.
fn by_policy(policy: &PolicyUsed) -> String {
    const NAMED: usize = 5;
    let failing: Vec<String> = policy.failing().map(RuleOutcome::title).collect();
    let total = count(policy.rules.len() as u64, "rule");
    if policy.passed {
        return format!("The policy is met: {total} checked.");
    }
    let named = failing
        .iter()
        .take(NAMED)
        .map(|title| safe_text::name(title))
        .collect::<Vec<_>>()
        .join(", ");
    let more = match failing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("The policy is not met: {} of {total} failed ({named}{more}).", failing.len())
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
    let rate = engine.bytes_read as f64 / 1e9 / engine.seconds.max(1e-9);
    let adapter = engine.adapter.as_deref().map(|a| format!(" ({})", safe_text::name(a)));
    Some(format!(
        "{} in {:.2} s, {rate:.2} GB/s, {}{}, {}",
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

/// Returns the ranges of a finding in words: bytes, elements and rows, half-open.
pub fn ranges(finding: &Finding) -> Vec<String> {
    let mut parts = Vec::new();
    for (name, part) in [
        ("bytes", finding.byte_range),
        ("elements", finding.element_range),
        ("rows", finding.row_range),
    ] {
        if let Some([start, end]) = part {
            parts.push(format!("{name} {}..{}", grouped(start), grouped(end)));
        }
    }
    parts
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
    fn findings_are_counted_on_both_sides_of_the_threshold() {
        let text = |rules: &[&'static str]| tally(&report(rules));
        let (critical, low) = ("integrity/tensor-changed", "watermark/faint");
        assert_eq!(text(&[critical]), "1 finding at or above medium");
        assert_eq!(text(&[critical, critical, low]), "2 findings at or above medium, 1 below");
        assert_eq!(text(&[low, low]), "2 findings below medium");
    }
}
