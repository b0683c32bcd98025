//! The HTML report: a single self-contained file without scripts. Words and signs repeat everything that colours
//! express.
//!
//! The page is also well-formed XML, so that tests can check its structure with a strict parser. Its content
//! security policy allows one style sheet, by digest, and nothing else. Even if text from a model were
//! interpreted as markup, the page would load and run nothing.

pub(super) mod escape;
mod facts;
mod findings;
mod map;
pub(super) mod page;
mod plots;
mod policy;
mod tensors;

use super::profile::Profile;
use super::{Report, summary};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, Write};
use tensorseal_core::judge::Severity;

/// Writes the page.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let chapters = findings::Chapters::of(report);
    let flagged = Flagged::of(report, &chapters);
    head(report, out)?;
    facts::write(report, out)?;
    policy::write(report, out)?;
    map::write(report, &flagged, out)?;
    findings::write(&chapters, &flagged, out)?;
    tensors::write(&flagged, out)?;
    page::close(out)
}

/// Returns the sign of a severity, for readers who do not see its colour.
fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::High => "▲",
        Severity::Medium => "◆",
        Severity::Low => "●",
        Severity::Info => "○",
    }
}

/// Returns a badge with the sign and the name of a severity, in its colours.
pub(super) fn badge(severity: Severity) -> String {
    let name = severity.name();
    format!(
        "<span class=\"badge {name}\"><span aria-hidden=\"true\">{}</span> {name}</span>",
        sign(severity)
    )
}

/// The tensors that have findings above info.
struct Flagged<'a> {
    tensors: HashMap<&'a str, Flag>,
    /// The tensors that are plotted, most severe first.
    drawn: Vec<&'a Profile>,
    /// Number of tensors that are not plotted because there are too many.
    not_drawn: usize,
}

/// The findings of one tensor.
struct Flag {
    worst: Severity,
    findings: u64,
    /// Number of its card, if it is plotted.
    card: Option<usize>,
    /// Number, rule and severity of its findings that are listed on the page.
    listed: Vec<(usize, &'static str, Severity)>,
}

impl<'a> Flagged<'a> {
    fn of(report: &'a Report, chapters: &findings::Chapters<'a>) -> Self {
        let mut tensors: HashMap<&str, Flag> = HashMap::new();
        for finding in report.findings.iter().filter(|f| f.severity > Severity::Info) {
            let Some(tensor) = &finding.tensor else { continue };
            let flag = tensors.entry(tensor).or_insert(Flag {
                worst: finding.severity,
                findings: 0,
                card: None,
                listed: Vec::new(),
            });
            flag.worst = flag.worst.max(finding.severity);
            flag.findings += 1;
        }
        for (number, finding) in chapters.listed() {
            if let Some(flag) = finding.tensor.as_deref().and_then(|t| tensors.get_mut(t)) {
                flag.listed.push((number, finding.rule, finding.severity));
            }
        }
        let mut drawn: Vec<(&Profile, Reverse<Severity>, usize)> = Vec::new();
        for profile in &report.profiles {
            if let Some(flag) = tensors.get(profile.tensor.as_str()) {
                let first = flag.listed.first().map_or(usize::MAX, |listed| listed.0);
                drawn.push((profile, Reverse(flag.worst), first));
            }
        }
        drawn.sort_by_key(|(_, worst, first)| (*worst, *first));
        let not_drawn = drawn.len().saturating_sub(tensors::DRAWN);
        let drawn: Vec<&Profile> =
            drawn.into_iter().take(tensors::DRAWN).map(|(profile, ..)| profile).collect();
        for (index, profile) in drawn.iter().enumerate() {
            if let Some(flag) = tensors.get_mut(profile.tensor.as_str()) {
                flag.card = Some(index + 1);
            }
        }
        Self { tensors, drawn, not_drawn }
    }

    fn get(&self, tensor: &str) -> Option<&Flag> {
        self.tensors.get(tensor)
    }
}

fn head(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let verdict = summary::verdict(report.verdict);
    let (class, mark) = page::verdict(report.verdict);
    let path = escape::plain_name(&report.model.path);
    page::open(&format!("{verdict}: {path} (tensorseal {})", report.command), out)?;
    writeln!(
        out,
        "<header class=\"{class}\">\n<p class=\"kicker\">tensorseal {}</p>\n<h1>{}</h1>\n\
         <p class=\"verdict\"><strong><span aria-hidden=\"true\">{mark}</span> {verdict}</strong> {}</p>",
        report.command,
        escape::name(&report.model.path),
        escape::text(&summary::sentence(report))
    )?;
    tally(report, out)?;
    writeln!(out, "</header>")
}

/// Writes the number of findings of each severity.
fn tally(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul class=\"tally\" aria-label=\"Findings by severity\">")?;
    for (severity, count) in summary::counts(report) {
        let name = severity.name();
        let inside = format!(
            "<span aria-hidden=\"true\">{}</span> <b>{}</b> {name}",
            sign(severity),
            super::units::grouped(count as u64)
        );
        match count {
            0 => writeln!(out, "<li class=\"none\">{inside}</li>")?,
            _ => writeln!(out, "<li class=\"{name}\"><a href=\"#{name}\">{inside}</a></li>")?,
        }
    }
    writeln!(out, "</ul>")
}

/// Returns the anchor of a finding.
fn anchor(number: usize) -> String {
    format!("f{number}")
}

/// Returns the anchor of a tensor's plots.
fn card(number: usize) -> String {
    format!("t{number}")
}

#[cfg(test)]
mod tests;
