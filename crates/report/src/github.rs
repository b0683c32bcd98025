//! Annotations for GitHub Actions: one workflow command per line.
//!
//! GitHub shows ten errors, ten warnings and ten notices of a step. The verdict comes first, then the most severe
//! findings. The rest is counted.

use super::units::count;
use super::{Report, safe_text, summary};
use std::io::{self, Write};
use tensorseal_base::display::is_hidden;
use tensorseal_core::judge::{Finding, Severity, Verdict};

/// Number of findings of each level: ten, less the verdict and the line that counts the rest.
const SHOWN: usize = 8;

/// Writes the commands.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let verdict = summary::verdict(report.verdict);
    let title = format!("tensorseal {}: {verdict}", report.command);
    let level = if report.verdict == Verdict::Pass { "notice" } else { "error" };
    let model = safe_text::name(&report.model.path);
    command(level, None, &title, &format!("{model}: {}", summary::sentence(report)), out)?;
    for level in ["error", "warning", "notice"] {
        let of_level: Vec<&Finding> = report
            .findings
            .iter()
            .filter(|finding| level_of(finding, report) == Some(level))
            .collect();
        for finding in of_level.iter().take(SHOWN) {
            let file = finding.file.as_deref().and_then(|file| path(report, file));
            let mut message = safe_text::clipped(&finding.message, safe_text::MESSAGE);
            if let Some(tensor) = &finding.tensor {
                message = format!("{}: {message}", safe_text::name(tensor));
            }
            if let Some(location) = summary::location(finding) {
                message += &format!(" ({location})");
            }
            command(level, file.as_deref(), finding.rule, &message, out)?;
        }
        let more = of_level.len().saturating_sub(SHOWN) as u64;
        if more > 0 {
            let message = format!("… and {}", count(more, "more finding"));
            command(level, None, "tensorseal", &message, out)?;
        }
    }
    Ok(())
}

/// Returns the level of a finding, or `None` for info findings. A finding that fails the run is always an error.
fn level_of(finding: &Finding, report: &Report) -> Option<&'static str> {
    match finding.severity {
        _ if report.fails(finding) => Some("error"),
        Severity::Critical | Severity::High | Severity::Medium => Some("warning"),
        Severity::Low => Some("notice"),
        Severity::Info => None,
    }
}

/// Returns the path of a model file relative to the working directory, or `None` if the file is outside of it or its
/// name has hidden characters.
fn path(report: &Report, file: &str) -> Option<String> {
    let directory = summary::directory_of_model(report);
    let outside = directory.starts_with('/') || directory.split('/').any(|part| part == "..");
    let odd = directory.chars().chain(file.chars()).any(is_hidden);
    let directory = directory.strip_prefix("./").unwrap_or(directory);
    match directory {
        _ if outside || odd => None,
        "" | "." => Some(file.to_owned()),
        directory => Some(format!("{directory}/{file}")),
    }
}

fn command(
    level: &str,
    file: Option<&str>,
    title: &str,
    message: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let file = file.map_or(String::new(), |file| format!("file={},", property(file)));
    writeln!(out, "::{level} {file}title={}::{}", property(title), data(message))
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn report(path: &str) -> Report {
        let mut report = Report::new("verify", path);
        let changed = Finding::new("integrity/tensor-changed", "100% other: bytes, really");
        report.findings.push(changed.in_file("a,b.safetensors").in_tensor("w"));
        report.findings.push(Finding::new("integrity/tensor-moved", "m"));
        report
            .findings
            .push(Finding::new("format/misaligned", "an info finding is not an annotation"));
        report.judge(Severity::High);
        report
    }

    #[test]
    fn what_fails_is_an_error_at_its_file() {
        let sentence = summary::sentence(&report("./models/m"));
        assert!(sentence.starts_with("1 finding at or above high: "), "{sentence}");
        assert_eq!(
            written(&report("./models/m")),
            format!(
                "::error title=tensorseal verify%3A FAIL::./models/m: {sentence}\n\
             ::error file=models/m/a%2Cb.safetensors,title=integrity/tensor-changed::w: 100%25 other: bytes, really\n\
             ::warning title=integrity/tensor-moved::m\n"
            )
        );
        for path in ["/models/m", "../m"] {
            assert!(!written(&report(path)).contains("file="), "{path}");
        }
        let single = written(&report("models/a,b.safetensors"));
        assert!(single.contains("file=models/a%2Cb.safetensors,"), "{single}");
        let mut clean = Report::new("verify", "m");
        clean.judge(Severity::Medium);
        assert!(written(&clean).starts_with("::notice title=tensorseal verify%3A PASS::m: "));
    }

    #[test]
    fn the_rest_is_counted() {
        let mut report = Report::new("verify", "m");
        report.findings = vec![Finding::new("integrity/file-changed", "m"); 60];
        report.judge(Severity::Medium);
        let text = written(&report);
        assert_eq!(text.lines().count(), 1 + SHOWN + 1);
        assert!(text.ends_with("::error title=tensorseal::… and 52 more findings\n"), "{text}");
    }

    /// What the runner makes of a line: level, properties, message.
    fn parsed(line: &str) -> (String, Vec<(String, String)>, String) {
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let back = |text: &str| {
            let text = text.replace("%2C", ",").replace("%3A", ":");
            text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
        };
        let (level, properties) = head.split_once(' ').unwrap();
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap();
            (key.to_owned(), back(value))
        };
        (level.to_owned(), properties.split(',').map(pair).collect(), back(message))
    }

    proptest! {
        #[test]
        fn a_hostile_name_is_text(name in any::<String>(), evil in "[\n\r:,%=a]{0,12}(::error )?") {
            let name = format!("{evil}{name}");
            let mut report = report(&name);
            report.findings[0].tensor = Some(name.clone());
            report.findings[0].message = name.clone();
            report.findings[0].file = Some(name.clone());
            let text = written(&report);
            prop_assert_eq!(text.lines().count(), 3);
            let (level, properties, message) = parsed(text.lines().nth(1).unwrap());
            prop_assert_eq!(level, "error");
            prop_assert_eq!(properties.last().unwrap(), &("title".to_owned(), "integrity/tensor-changed".to_owned()));
            prop_assert!(properties.len() <= 2);
            prop_assert_eq!(message, format!("{}: {}", safe_text::name(&name), safe_text::clipped(&name, safe_text::MESSAGE)));
        }
    }
}
