//! The report that the terminal shows. It is coloured only when a person reads it there.

pub use super::safe_text::word as shown;
use super::units::{bytes, count, grouped};
use super::{Coverage, ModelSummary, Report, policy, table};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::{RuleOutcome, RuleStatus};

/// Largest number of findings, and of files of one kind, that are listed. The rest is counted.
const LISTED: usize = 50;

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

/// Returns the line that identifies the model: its path and a summary of its content.
pub fn model_line(model: &ModelSummary, palette: Palette) -> String {
    format!("{}  {}", palette.bold(&shown(&model.path)), model.content())
}

/// Writes the head of a report: the model, its root, the measurement, and the files that were not recognised or
/// were skipped.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn head(report: &Report, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", model_line(&report.model, palette))?;
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
    coverage(&report.coverage, palette, out)
}

/// Writes the files that were not recognised, and the paths that were skipped.
fn coverage(coverage: &Coverage, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let not_understood = coverage.not_understood.iter().map(|file| {
        format!("not understood  {} ({}, {})", shown(&file.path), file.class, bytes(file.bytes))
    });
    let mut skipped: Vec<String> = coverage
        .not_covered
        .iter()
        .map(|entry| format!("skipped   {} ({})", shown(&entry.path), entry.reason))
        .collect();
    // A comparison has two models: the same path of both is one line.
    skipped.dedup();
    lines(not_understood, "not understood  ", "file", palette, out)?;
    lines(skipped.into_iter(), "skipped   ", "path", palette, out)
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
        let evidence = super::safe_text::clipped(&rule.evidence, super::safe_text::MESSAGE);
        writeln!(out, "{outcome}  {}  {}", table::padded(title, width), palette.dim(&evidence))?;
    }
    Ok(())
}

/// Writes the findings, most severe first, and the verdict.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn findings(
    report: &Report,
    options: Options,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (listed, hidden): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|f| f.severity >= options.show || report.fails(f));
    if !listed.is_empty() {
        writeln!(out)?;
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
    let counted = report.findings.iter().filter(|f| is_counted(f, report)).count();
    match (&report.error, counted) {
        (Some(error), _) => writeln!(out, "{verdict}  {error}"),
        (None, _) if report.policy.is_some() => {
            writeln!(out, "{verdict}  {}", super::summary::sentence(report))
        }
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
        (None, None) => String::new(),
    };
    let severity = palette.severity(finding.severity);
    writeln!(out, "{severity}  {}  {}", finding.rule, palette.bold(&place))?;
    writeln!(out, "          {}", finding.message)?;
    let mut range = String::new();
    for (name, part) in [
        ("bytes", finding.byte_range),
        ("elements", finding.element_range),
        ("rows", finding.row_range),
    ] {
        if let Some([start, end]) = part {
            let gap = if range.is_empty() { "" } else { ", " };
            range += &format!("{gap}{name} {}..{}", grouped(start), grouped(end));
        }
    }
    if let (Some(_), Some(file)) = (&finding.tensor, &finding.file) {
        let gap = if range.is_empty() { "" } else { ", " };
        range += &format!("{gap}file {}", shown(file));
    }
    if !range.is_empty() {
        writeln!(out, "          {}", palette.dim(&range))?;
    }
    match (&finding.standing, super::summary::standing(finding)) {
        (Some(Disposition::Allowed { .. }), Some(words)) => {
            writeln!(out, "          {}", palette.dim(&words))
        }
        _ => Ok(()),
    }
}
