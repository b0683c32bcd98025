//! The Markdown summary, for pull requests and the job pages of CI systems.

use super::summary;
use super::units::{count, grouped};
use super::{Report, safe_text};
use std::io::{self, Write};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::{Severity, Verdict};
use tensorseal_core::policy::gate::RuleStatus;

/// Largest number of findings that are listed. The rest is counted.
const LISTED: usize = 50;

/// Writes the summary.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let sign = match report.verdict {
        Verdict::Pass => "✅",
        Verdict::Fail => "❌",
        Verdict::Incomplete => "⚠️",
    };
    let verdict = summary::verdict(report.verdict);
    writeln!(out, "## {sign} tensorseal {}: {verdict}\n", report.command)?;
    writeln!(out, "{}\n", text(&summary::sentence(report)))?;
    facts(report, out)?;
    rules(report, out)?;
    findings(report, out)
}

fn facts(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let model = &report.model;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| model | {} |", code(&model.path))?;
    if model.files > 0 {
        writeln!(out, "| content | {} |", model.content())?;
    }
    if let Some(root) = &model.root {
        writeln!(out, "| root | {} |", code(root))?;
    }
    if let Some(signature) = &report.signature {
        let signer = match &signature.signer {
            Some(signer) => format!("signed by {}", code(&signer.to_string())),
            None => "no trusted signer".to_owned(),
        };
        writeln!(out, "| signature | {}, {signer} |", code(&signature.source))?;
    }
    if let Some(seal) = &report.seal {
        let signed = match &seal.signed_by {
            Some(signer) => format!("signed by {}", code(signer)),
            None => "unsigned".to_owned(),
        };
        writeln!(out, "| seal | {}, {signed} |", code(&seal.source))?;
    }
    if let Some(words) = report.coverage.not_audited() {
        writeln!(out, "| weights | {} |", text(&words))?;
    }
    let unknown = report.coverage.not_understood.len() as u64;
    if unknown > 0 {
        writeln!(out, "| not understood | {} |", count(unknown, "file"))?;
    }
    let skipped = summary::skipped(&report.coverage).len() as u64;
    if skipped > 0 {
        writeln!(out, "| skipped | {} |", count(skipped, "path"))?;
    }
    Ok(())
}

/// Writes the outcome of each rule of the policy.
fn rules(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Some(policy) = &report.policy else { return Ok(()) };
    writeln!(out, "| policy | {} |", code(policy.title()))?;
    writeln!(out, "\n| outcome | requirement | evidence |\n|---|---|---|")?;
    for rule in &policy.rules {
        let sign = match rule.outcome {
            RuleStatus::Pass => "✅ pass",
            RuleStatus::Allowed => "☑️ allowed",
            RuleStatus::NotChecked => "❌ **not checked**",
            RuleStatus::Fail => "❌ **fail**",
        };
        let evidence = text(&safe_text::clipped(&rule.evidence, safe_text::MESSAGE));
        writeln!(out, "| {sign} | {} | {evidence} |", code(&rule.title()))?;
    }
    Ok(())
}

fn findings(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut listed: Vec<_> =
        report.findings.iter().filter(|f| f.severity > Severity::Info || report.fails(f)).collect();
    listed.sort_by_key(|finding| (!report.fails(finding), std::cmp::Reverse(finding.severity)));
    let infos = report.findings.len() - listed.len();
    if !listed.is_empty() {
        writeln!(out, "\n| severity | rule | location | finding |\n|---|---|---|---|")?;
    }
    for finding in listed.iter().take(LISTED) {
        let mut place = summary::place(finding).map_or_else(|| "model".to_owned(), code);
        if let Some(location) = summary::location(finding) {
            place += &format!(", {location}");
        }
        let severity = match finding.severity {
            severity if report.fails(finding) => format!("**{}**", severity.name()),
            severity => severity.name().to_owned(),
        };
        let mut what = text(&safe_text::clipped(&finding.message, safe_text::MESSAGE));
        if let Some(Disposition::Allowed { .. }) = &finding.standing {
            what += &text(&format!(" ({})", summary::standing(finding).unwrap_or_default()));
        }
        writeln!(out, "| {severity} | {} | {place} | {what} |", finding.rule)?;
    }
    if listed.len() > LISTED {
        writeln!(
            out,
            "\n… and {} more (see the JSON report).",
            grouped((listed.len() - LISTED) as u64)
        )?;
    }
    if infos > 0 {
        writeln!(out, "\n{} not listed.", count(infos as u64, "info finding"))?;
    }
    Ok(())
}

/// Returns a name in a `<code>` element, which unlike a code span can hold any character as a numeric reference.
fn code(name: &str) -> String {
    format!("<code>{}</code>", escaped(&safe_text::name(name), "&#64;"))
}

/// Escapes text so that nothing in it is markup, a link or a mention.
fn text(text: &str) -> String {
    // An at sign in an element of its own mentions nobody.
    escaped(text, "<span>&#64;</span>")
}

/// Replaces every character with a meaning in Markdown or HTML by a numeric reference.
fn escaped(text: &str, at: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '@' => out.push_str(at),
            // Before a space it is a colon; else it may begin a link, or a picture by its name.
            ':' if chars.peek() == Some(&' ') => out.push(':'),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '!'
            | '#' | '$' | ':' | '"' | '\'' => out.push_str(&format!("&#{};", c as u32)),
            // A host name at the start of a word becomes a link without any scheme.
            '.' if out.to_ascii_lowercase().ends_with("www") => out.push_str("&#46;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_core::judge::Finding;

    pub(crate) fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_summary_reads_well() {
        let mut report = Report::new("verify", "model");
        report.findings.push(
            Finding::new("integrity/tensor-changed", "bytes differ from the seal")
                .in_tensor("layers.0.weight"),
        );
        report.findings.push(Finding::new("format/misaligned", "x"));
        report.judge(Severity::Medium);
        let sentence = summary::sentence(&report);
        let expected = format!(
            "## ❌ tensorseal verify: FAIL\n\n\
             {sentence}\n\n\
             | | |\n|---|---|\n| model | <code>model</code> |\n\n\
             | severity | rule | location | finding |\n|---|---|---|---|\n\
             | **critical** | integrity/tensor-changed | <code>layers.0.weight</code> | bytes differ from the seal |\n\n\
             1 info finding not listed.\n"
        );
        assert_eq!(written(&report), expected);
    }

    #[test]
    fn many_findings_are_counted() {
        let mut report = Report::new("verify", "model");
        report.findings = vec![Finding::new("integrity/file-changed", "m"); 60];
        report.judge(Severity::Medium);
        let text = written(&report);
        assert_eq!(text.matches("integrity/file-changed").count(), LISTED);
        assert!(text.contains("… and 10 more (see the JSON report)."), "{text}");
    }

    #[test]
    fn the_rules_of_a_policy_are_rows() {
        let text = written(&crate::policy::tests::report("a|b"));
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("evidence of")).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(
            rows[2],
            "| ❌ **not checked** | <code>watermark.expect (a&#124;b)</code> | evidence of a&#124;b |"
        );
        assert!(text.contains("| **info** | payload/low-bits |"), "{text}");
        assert!(
            text.contains("(allowed until 1970-01-31&#58; a&#124;b)")
                || text.contains("(allowed until 1970-01-31: a&#124;b)"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn a_hostile_name_is_text(name in any::<String>(), evil in "[<>|`*_~@\\[\\]()!&#\\n\\\\.w:/$\"a]{0,40}") {
            let name = format!("{evil}{name}{evil}");
            let mut report = Report::new("verify", &name);
            report.findings.push(Finding::new("format/overlap", name.clone()).in_tensor(&name));
            report.judge(Severity::Medium);
            let text = written(&report);
            let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| **high**")).collect();
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].matches('|').count(), 5);
            // What is left of markup is our own.
            let plain = text.replace("<code>", "").replace("</code>", "")
                .replace("<span>", "").replace("</span>", "").replace("&#", "");
            prop_assert!(!plain.contains(['<', '>', '`', '[', ']', '@', '&', '\\', '~']), "{}", plain);
        }
    }
}
