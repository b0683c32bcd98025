//! The report for people: calm lines, colour only where a person looks.

pub use super::shown::word as shown;
use super::units::{bytes, count, grouped};
use super::{Model, Report, policy, table};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use tensorseal_core::judge::finding::Standing;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use tensorseal_core::policy::gate::{Outcome, RuleOutcome};

/// Findings that are listed one by one; the rest is counted.
const LISTED: usize = 50;

/// Widest column of the rules of a policy, in characters.
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

/// Colours, or none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Palette {
    colour: bool,
}

impl Palette {
    /// With colours or without.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// For what matters most in a line.
    pub fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// For what may be skipped.
    pub fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// For what is wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// The name of a severity, in its colour and padded to the longest.
    pub fn severity(self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Critical | Severity::High => AnsiColor::Red,
            Severity::Medium => AnsiColor::Yellow,
            Severity::Low | Severity::Info => AnsiColor::Cyan,
        };
        self.paint(colour.on_default().bold(), &format!("{:<8}", severity.name()))
    }

    /// What became of a rule, in its colour and padded to the longest.
    fn outcome(self, outcome: Outcome) -> String {
        let colour = match outcome {
            Outcome::Pass => AnsiColor::Green,
            Outcome::Allowed => AnsiColor::Cyan,
            Outcome::NotChecked | Outcome::Fail => AnsiColor::Red,
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

/// The line that says what model it is.
pub fn model_line(model: &Model, palette: Palette) -> String {
    format!("{}  {}", palette.bold(&shown(&model.path)), model.content())
}

/// Model, root, engine, what was not covered.
///
/// # Errors
/// Those of `out`.
pub fn head(report: &Report, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", model_line(&report.model, palette))?;
    if let Some(root) = &report.model.root {
        writeln!(out, "root      {root}")?;
    }
    if let Some(engine) = &report.engine {
        let rate = engine.bytes_read as f64 / 1e9 / engine.seconds.max(1e-9);
        let adapter = engine.adapter.as_deref().map(|a| format!(" ({a})")).unwrap_or_default();
        let line = format!(
            "measured  {} in {:.2} s, {rate:.2} GB/s, {}{adapter}, {}",
            bytes(engine.bytes_read),
            engine.seconds,
            engine.device,
            count(engine.threads as u64, "thread"),
        );
        writeln!(out, "{}", palette.dim(&line))?;
        if let Some(fallback) = &engine.fallback {
            writeln!(out, "device    left in the middle of the run: {fallback}")?;
        }
        if engine.cross_checked > 0 {
            let tiles = count(engine.cross_checked, "tile");
            writeln!(out, "checked   {tiles} on both engines: equal")?;
        }
    }
    for file in report.coverage.not_understood.iter().take(LISTED) {
        let line =
            format!("not understood  {}: {}, {}", shown(&file.path), file.class, bytes(file.bytes));
        writeln!(out, "{}", palette.dim(&line))?;
    }
    if report.coverage.not_understood.len() > LISTED {
        let more = (report.coverage.not_understood.len() - LISTED) as u64;
        writeln!(out, "{}", palette.dim(&format!("not understood  {} more", count(more, "file"))))?;
    }
    for entry in &report.coverage.not_covered {
        writeln!(
            out,
            "{}",
            palette.dim(&format!("not covered  {}: {}", shown(&entry.path), entry.reason))
        )?;
    }
    Ok(())
}

/// What became of each rule of the policy; with `failing`, of those that are not met.
///
/// # Errors
/// Those of `out`.
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
        let evidence = super::shown::clipped(&rule.evidence, super::shown::MESSAGE);
        writeln!(out, "{outcome}  {}  {}", table::padded(title, width), palette.dim(&evidence))?;
    }
    Ok(())
}

/// The findings, worst first, and the verdict.
///
/// # Errors
/// Those of `out`.
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
            "… and {} more (all with --format json)",
            grouped((listed.len() - LISTED) as u64)
        )?;
    }
    if let Some(line) = not_shown(hidden.iter().map(|f| (f.severity, 1))) {
        writeln!(out, "{}", palette.dim(&line))?;
    }
    writeln!(out)?;
    let verdict = palette.verdict(report.verdict);
    // A pass that is not of everything says so in the same line.
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
        (None, n) => writeln!(out, "{verdict}  {}", count(n as u64, "finding")),
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
        (Some(Standing::Allowed { .. }), Some(words)) => {
            writeln!(out, "          {}", palette.dim(&words))
        }
        _ => Ok(()),
    }
}
