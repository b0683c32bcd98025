//! The report that the terminal shows. It is coloured only when a person reads it there.

pub use super::safe_text::word as shown;
use super::units::{bytes, count, grouped};
use super::{ModelSummary, Report, policy, table};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::{RuleOutcome, RuleStatus};
use tensorseal_format::{SkipReason, SkippedPath};

/// Largest number of findings, and of files of one kind, that are listed. The rest is counted.
const LISTED: usize = 50;

/// Largest number of paths that are named together. The rest is counted.
const NAMED: usize = 6;

/// The rule of the findings that a comparison has for each weight that differs.
const WEIGHT_DIFFERS: &str = "lineage/tensor-differs";

/// Greatest width of the column that names the rules of a policy, in characters.
const WIDEST: usize = 40;

/// How much of a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The lowest severity of which findings are printed in full. Findings that fail the report always are.
    pub show: Severity,
}

impl Default for Options {
    /// Every finding but those of severity info.
    fn default() -> Self {
        Self { show: Severity::Low }
    }
}

/// How text is emphasised: with colours, or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Palette {
    colour: bool,
}

impl Palette {
    /// Creates a palette that colours text, or one that leaves it plain.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Emphasises the most important part of a line.
    pub fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// Dims secondary information.
    pub fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// Marks a problem.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// Returns the name of a severity in its colour, padded to the longest name.
    pub fn severity(self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Critical | Severity::High => AnsiColor::Red,
            Severity::Medium => AnsiColor::Yellow,
            Severity::Low | Severity::Info => AnsiColor::Cyan,
        };
        self.paint(colour.on_default().bold(), &format!("{:<8}", severity.name()))
    }

    /// Returns the outcome of a policy rule in its colour, padded to the longest.
    fn outcome(self, outcome: RuleStatus) -> String {
        let colour = match outcome {
            RuleStatus::Pass => AnsiColor::Green,
            RuleStatus::Allowed => AnsiColor::Cyan,
            RuleStatus::NotChecked | RuleStatus::Fail => AnsiColor::Red,
        };
        let words = policy::words(outcome);
        self.paint(colour.on_default().bold(), &format!("{words:<11}"))
    }

    pub(crate) fn verdict(self, verdict: Verdict) -> String {
        let (colour, text) = match verdict {
            Verdict::Pass => (AnsiColor::Green, "PASS"),
            Verdict::Fail => (AnsiColor::Red, "FAIL"),
            Verdict::Incomplete => (AnsiColor::Yellow, "INCOMPLETE"),
        };
        self.paint(colour.on_default().bold(), text)
    }
}

/// Returns the line that identifies a model: a label, its path and a summary of its content.
fn model_line(label: &str, model: &ModelSummary, palette: Palette) -> String {
    let path = palette.bold(&shown(&model.path));
    match model.files {
        0 => format!("{label:<9} {path}"),
        _ => format!("{label:<9} {path}: {}", model.content()),
    }
}

/// Writes the head of a report: the model or both models of a comparison, the root, the measurement, and the files
/// that were not recognised or were skipped.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn head(report: &Report, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    match &report.comparison {
        Some(compared) => {
            writeln!(out, "{}", model_line("first", &report.model, palette))?;
            writeln!(out, "{}", model_line("second", &compared.other, palette))?;
        }
        None => writeln!(out, "{}", model_line("model", &report.model, palette))?,
    }
    if let Some(root) = &report.model.root {
        writeln!(out, "root      {root}")?;
    }
    if let (Some(engine), Some(measured)) = (&report.engine, super::summary::measured(report)) {
        let line = format!("measured  {measured}");
        writeln!(out, "{}", palette.dim(&line))?;
        if let Some(fallback) = &engine.fallback {
            writeln!(out, "device    GPU failed, continued on the CPU: {fallback}")?;
        }
        if engine.cross_checked > 0 {
            let tiles = count(engine.cross_checked, "tile");
            writeln!(out, "checked   {tiles} measured on both engines, with equal results")?;
        }
    }
    coverage(report, palette, out)
}

/// Writes the files that were not recognised, and the paths that were skipped.
fn coverage(report: &Report, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let not_understood = report.coverage.not_understood.iter().map(|file| {
        format!("not understood  {} ({}, {})", shown(&file.path), file.class, bytes(file.bytes))
    });
    lines(not_understood, "not understood  ", "file", palette, out)?;
    let (usual, unusual): (Vec<&SkippedPath>, Vec<&SkippedPath>) =
        super::summary::skipped(&report.coverage)
            .into_iter()
            .partition(|skipped| is_usual(skipped));
    let several = if report.comparison.is_some() { " in one or both models" } else { "" };
    if let Some(usual) = usual_line(&usual, several) {
        writeln!(out, "{}", palette.dim(&usual))?;
    }
    let unusual =
        unusual.iter().map(|entry| format!("skipped   {} ({})", shown(&entry.path), entry.reason));
    lines(unusual, "skipped   ", "path", palette, out)
}

/// Whether almost every model has a path that is skipped for this reason.
fn is_usual(skipped: &SkippedPath) -> bool {
    matches!(
        skipped.kind,
        SkipReason::Excluded | SkipReason::Seal | SkipReason::Git | SkipReason::Downloader
    )
}

/// Returns one line for all paths that are skipped as usual, grouped by the reason.
fn usual_line(usual: &[&SkippedPath], where_: &str) -> Option<String> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for skipped in usual {
        let path = shown(&skipped.path);
        match groups.iter_mut().find(|(reason, _)| *reason == skipped.reason) {
            Some((_, paths)) => paths.push(path),
            None => groups.push((&skipped.reason, vec![path])),
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(reason, paths)| {
            let named = paths.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = match paths.len().saturating_sub(NAMED) as u64 {
                0 => String::new(),
                more => format!(" and {} more", grouped(more)),
            };
            format!("{named}{more} ({reason})")
        })
        .collect();
    let groups = groups.join("; ");
    match usual.len() {
        0 => None,
        1 => Some(format!("skipped   {groups}")),
        number => Some(format!("skipped   {}{where_}: {groups}", count(number as u64, "path"))),
    }
}

/// Writes the first lines of a list, and how many more there are.
fn lines(
    all: impl ExactSizeIterator<Item = String>,
    label: &str,
    noun: &str,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let more = all.len().saturating_sub(LISTED) as u64;
    for line in all.take(LISTED) {
        writeln!(out, "{}", palette.dim(&line))?;
    }
    if more > 0 {
        let line = format!("{label}… and {}", count(more, &format!("more {noun}")));
        writeln!(out, "{}", palette.dim(&line))?;
    }
    Ok(())
}

/// Writes the outcome of each rule of the policy, or with `failing` only the rules that failed.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn rules(
    report: &Report,
    failing: bool,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(policy) = &report.policy else { return Ok(()) };
    let listed: Vec<&RuleOutcome> =
        policy.rules.iter().filter(|rule| !failing || rule.outcome.fails()).collect();
    if !failing {
        writeln!(out, "policy    {}\n", shown(policy.title()))?;
    }
    let titles: Vec<String> = listed.iter().map(|rule| shown(&rule.title())).collect();
    let width = titles.iter().map(|title| table::width(title)).max().unwrap_or(0).min(WIDEST);
    for (rule, title) in listed.iter().zip(&titles) {
        let outcome = palette.outcome(rule.outcome);
        let mut evidence = super::safe_text::clipped(&rule.evidence, super::safe_text::MESSAGE);
        if let Some(finding) = report.findings.iter().find(|f| repeats(f, rule)) {
            evidence += &format!(" ({})", finding.rule);
        }
        writeln!(out, "{outcome}  {}  {}", table::padded(title, width), palette.dim(&evidence))?;
    }
    Ok(())
}

/// Whether a finding says no more than the line of a requirement of the policy that failed.
fn repeats(finding: &Finding, rule: &RuleOutcome) -> bool {
    let whole_model = finding.tensor.is_none() && finding.file.is_none();
    let failed = rule.outcome.fails() && finding.rule.starts_with("policy/");
    whole_model && failed && finding.message == rule.evidence
}

/// Writes the findings, most severe first, and the verdict. Findings that only repeat what a requirement of the
/// policy says are left out, and the weights of a comparison that differ are counted: the commands list both.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn findings(
    report: &Report,
    options: Options,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let requirements = report.policy.as_ref().map_or(&[][..], |policy| &policy.rules);
    let (listed, hidden): (Vec<&Finding>, Vec<&Finding>) = report
        .findings
        .iter()
        .filter(|f| !requirements.iter().any(|rule| repeats(f, rule)))
        .partition(|f| f.severity >= options.show || report.fails(f));
    let differs = |f: &&Finding| report.comparison.is_some() && f.rule == WEIGHT_DIFFERS;
    let (differing, listed): (Vec<&Finding>, Vec<&Finding>) = listed.into_iter().partition(differs);
    if !listed.is_empty() || !differing.is_empty() {
        writeln!(out)?;
    }
    if let Some(worst) = differing.iter().map(|finding| finding.severity).max() {
        let weights = match differing.len() as u64 {
            1 => "1 weight differs".to_owned(),
            number => format!("{} differ", count(number, "weight")),
        };
        let severity = palette.severity(worst);
        writeln!(out, "{severity}  {WEIGHT_DIFFERS}  {}", palette.bold(&weights))?;
    }
    for finding in listed.iter().take(LISTED) {
        finding_lines(finding, palette, out)?;
    }
    if listed.len() > LISTED {
        writeln!(
            out,
            "… and {} more (use --format json to list all)",
            grouped((listed.len() - LISTED) as u64)
        )?;
    }
    if let Some(line) = not_shown(hidden.iter().map(|f| (f.severity, 1))) {
        writeln!(out, "{}", palette.dim(&line))?;
    }
    writeln!(out)?;
    let verdict = palette.verdict(report.verdict);
    // A pass that leaves weights unchecked says so in the same line.
    let verdict = match super::summary::in_part(report) {
        Some(words) => format!("{verdict} ({words})"),
        None => verdict,
    };
    if let (None, Some(policy)) = (&report.error, &report.policy) {
        return writeln!(out, "{verdict}  {}", super::summary::policy_tally(policy));
    }
    let counted = report.findings.iter().filter(|f| is_counted(f, report)).count();
    match (&report.error, counted) {
        (Some(error), _) => writeln!(out, "{verdict}  {error}"),
        (None, 0) => writeln!(out, "{verdict}"),
        (None, _) => writeln!(out, "{verdict}  {}", super::summary::tally(report)),
    }
}

/// How many findings were left out, by severity, and how to see them.
pub(crate) fn not_shown(hidden: impl Iterator<Item = (Severity, u64)>) -> Option<String> {
    let mut by_severity = std::collections::BTreeMap::<Severity, u64>::new();
    hidden.for_each(|(severity, n)| *by_severity.entry(severity).or_default() += n);
    by_severity.retain(|_, n| *n > 0);
    let lowest = by_severity.keys().next()?.name();
    let total: u64 = by_severity.values().sum();
    let what: Vec<String> =
        by_severity.iter().rev().map(|(severity, n)| format!("{n} {}", severity.name())).collect();
    let (findings, them) = if total == 1 { ("finding", "it") } else { ("findings", "them") };
    Some(format!("{} {findings} not shown; show {them} with --show {lowest}", what.join(", ")))
}

/// Whether the verdict counts a finding: it is more than information, or fails all the same.
fn is_counted(finding: &Finding, report: &Report) -> bool {
    finding.severity > Severity::Info || report.fails(finding)
}

fn finding_lines(finding: &Finding, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let place = match (&finding.tensor, &finding.file) {
        (Some(tensor), _) => shown(tensor),
        (None, Some(file)) => shown(file),
        (None, None) => "model".to_owned(),
    };
    let severity = palette.severity(finding.severity);
    writeln!(out, "{severity}  {}  {}", finding.rule, palette.bold(&place))?;
    writeln!(out, "          {}", finding.message)?;
    let file = finding.file.as_ref().filter(|_| finding.tensor.is_some());
    let location = match (super::summary::location(finding), file.map(|file| shown(file))) {
        (Some(location), Some(file)) => Some(format!("{location} (file {file})")),
        (None, Some(file)) => Some(format!("file {file}")),
        (location, None) => location,
    };
    if let Some(location) = location {
        writeln!(out, "          {}", palette.dim(&location))?;
    }
    match (&finding.standing, super::summary::standing(finding)) {
        (Some(Disposition::Allowed { .. }), Some(words)) => {
            writeln!(out, "          {}", palette.dim(&words))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(report: &Report) -> String {
        let mut out = Vec::new();
        head(report, Palette::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn findings_of(report: &Report) -> String {
        let mut out = Vec::new();
        findings(report, Options::default(), Palette::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn skipped(path: &str, kind: SkipReason) -> SkippedPath {
        SkippedPath { path: path.to_owned(), reason: kind.description().to_owned(), kind }
    }

    #[test]
    fn the_model_has_a_label_and_usual_skipped_paths_share_a_line() {
        let mut report = Report::new("verify", "m");
        assert_eq!(head_of(&report), "model     m\n");
        (report.model.files, report.model.tensors) = (2, 3);
        report.coverage.not_covered = vec![skipped(".gitattributes", SkipReason::Git)];
        let model = "model     m: 2 files, 3 tensors, 0 elements, 0 B\n";
        assert_eq!(head_of(&report), format!("{model}skipped   .gitattributes (git metadata)\n"));
        report.coverage.not_covered = vec![
            skipped("a.json", SkipReason::Seal),
            skipped(".git", SkipReason::Git),
            skipped("link", SkipReason::DirectoryLink),
            skipped("b.sig", SkipReason::Excluded),
            skipped("a.json", SkipReason::Seal),
        ];
        let expected = format!(
            "{model}skipped   3 paths: a.json, b.sig ({}); .git (git metadata)\n\
             skipped   link ({})\n",
            SkipReason::Seal.description(),
            SkipReason::DirectoryLink.description()
        );
        assert_eq!(head_of(&report), expected);
    }

    #[test]
    fn many_usual_skipped_paths_are_counted() {
        let mut report = Report::new("verify", "m");
        let paths = (0..NAMED + 3).map(|n| skipped(&format!("{n}.sig"), SkipReason::Excluded));
        report.coverage.not_covered = paths.collect();
        let head = head_of(&report);
        assert!(head.contains("skipped   9 paths: 0.sig, 1.sig, "), "{head}");
        assert!(head.contains("5.sig and 3 more ("), "{head}");
    }

    #[test]
    fn a_finding_says_where_it_is() {
        let mut report = Report::new("verify", "m");
        let mut finding = Finding::new("integrity/tensor-changed", "what").in_tensor("w");
        finding.byte_range = Some([4, 8]);
        report.findings = vec![
            finding.in_file("model.safetensors"),
            Finding::new("integrity/tensor-changed", "which"),
        ];
        report.judge(Severity::Medium);
        assert_eq!(
            findings_of(&report),
            "
critical  integrity/tensor-changed  w
          what
          tensor bytes 4 to 7 (file model.safetensors)
critical  integrity/tensor-changed  model
          which

FAIL  2 findings at or above medium
"
        );
    }

    #[test]
    fn a_requirement_that_failed_is_not_repeated() {
        let mut report = policy::tests::report("n");
        let evidence = report.policy.as_ref().unwrap().rules[3].evidence.clone();
        let mut finding = Finding::new("policy/not-signed", evidence);
        finding.standing = Some(Disposition::Violates { rule: "severity.payload" });
        report.findings.push(finding.clone());
        assert!(!findings_of(&report).contains("policy/not-signed"));
        let mut rules_out = Vec::new();
        rules(&report, false, Palette::default(), &mut rules_out).unwrap();
        let text = String::from_utf8(rules_out).unwrap();
        assert!(text.ends_with("evidence of n (policy/not-signed)\n"), "{text}");
        let last = "policy not met: 2 of 4 requirements failed, of which 1 could not be checked\n";
        assert!(findings_of(&report).ends_with(last), "{}", findings_of(&report));
        // One with more to say than its requirement stays.
        report.findings.push(finding.in_file("f"));
        assert!(findings_of(&report).contains("policy/not-signed  f\n"));
    }
}
