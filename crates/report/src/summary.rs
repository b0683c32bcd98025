//! What every written report says in the same words: the verdict, one sentence, places, counts.

use super::PolicyUsed;
use super::Report;
use super::safe_text;
use super::units::{count, grouped};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::RuleOutcome;

/// The verdict in a word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Incomplete => "INCOMPLETE",
    }
}

/// Number of findings of each severity, worst first.
pub fn counts(report: &Report) -> impl Iterator<Item = (Severity, usize)> + '_ {
    let of = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    Severity::ALL.into_iter().rev().map(move |severity| (severity, of(severity)))
}

/// Of a pass of a command that looks into weights: those that it could not look into, in words.
pub fn in_part(report: &Report) -> Option<String> {
    let looks = matches!(
        report.command,
        "audit" | "gate" | "inspect" | "compare" | "watermark detect" | "registry scan"
    );
    report.coverage.not_audited().filter(|_| looks && report.verdict == Verdict::Pass)
}

/// The verdict in one sentence, and what it is not about.
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
            "It could not be completed: {}",
            safe_text::clipped(error, safe_text::MESSAGE)
        );
    }
    if let Some(policy) = &report.policy {
        return by_policy(policy);
    }
    let limit = report.fail_on.name();
    let said = report.findings.iter().filter(|f| f.severity > Severity::Info).count();
    let failing = report.findings.iter().filter(|f| report.fails(f)).count() as u64;
    let worst = report.findings.iter().max_by_key(|f| f.severity);
    match (report.verdict, worst) {
        (Verdict::Incomplete, _) => "It could not be completed.".to_owned(),
        (Verdict::Fail, Some(worst)) => {
            let title = find_rule(worst.rule).map_or(worst.rule, |rule| rule.title);
            let first = if failing == 1 { "" } else { "the worst " };
            let severity = worst.severity.name();
            format!(
                "{} at or above the limit ({limit}), {first}{severity}: {}.",
                count(failing, "finding"),
                lower_first(title)
            )
        }
        (Verdict::Fail, None) => "It failed.".to_owned(),
        (Verdict::Pass, _) if said > 0 => {
            format!("{}, all below the limit ({limit}).", count(said as u64, "finding"))
        }
        (Verdict::Pass, _) if report.command == "verify" && report.seal.is_some() => {
            "Nothing differs from the seal.".to_owned()
        }
        (Verdict::Pass, _) => "Nothing was found that is more than a remark.".to_owned(),
    }
}

/// What became of the policy, in one sentence.
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
    format!("The policy is not met, {} of {total}: {named}{more}.", failing.len())
}

/// A title inside a sentence: an abbreviation stays as it is.
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

/// What a finding is about: its tensor, else its file.
pub fn place(finding: &Finding) -> Option<&str> {
    finding.tensor.as_deref().or(finding.file.as_deref())
}

/// The directory of the model, without a slash at its end; empty: the one where the command was started, or
/// the root of the file system, by what the path begins with.
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

/// Where in it, in words: ranges and, of tensors, the file.
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

/// What a policy says of a finding, in words.
pub fn standing(finding: &Finding) -> Option<String> {
    Some(match finding.standing.as_ref()? {
        Disposition::Violates { rule } => format!("violates {rule}"),
        Disposition::Within { rule } => format!("let through by {rule}"),
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
        assert_eq!(said(&[]), "Nothing was found that is more than a remark.");
        assert_eq!(said(&["watermark/faint"]), "1 finding, all below the limit (medium).");
        assert_eq!(
            said(&["integrity/tensor-moved", "integrity/tensor-changed"]),
            "2 findings at or above the limit (medium), the worst critical: tensor bytes changed."
        );
        assert_eq!(
            said(&["weights/not-finite"]),
            "1 finding at or above the limit (medium), high: NaN or infinite values."
        );
        let mut broken = Report::new("seal", "model");
        broken.error = Some("model: no\nsuch file".to_owned());
        assert_eq!(sentence(&broken), "It could not be completed: model: no\\nsuch file");
        assert_eq!(broken.exit_code, 3);
    }
}
