//! The page for people: one file that needs nothing else, has no script, and tells with words and
//! signs what it tells with colours.
//!
//! It is well-formed XML as well, so that a strict parser can hold it to its structure. Its policy
//! allows one style sheet, by its digest, and nothing else: should text of a model ever come through
//! as markup, it still loads and runs nothing.

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
/// Those of `out`.
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

/// The sign of a severity: what colour alone must not say.
fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::High => "▲",
        Severity::Medium => "◆",
        Severity::Low => "●",
        Severity::Info => "○",
    }
}

/// Sign and name of a severity, in its colours.
pub(super) fn badge(severity: Severity) -> String {
    let name = severity.name();
    format!(
        "<span class=\"badge {name}\"><span aria-hidden=\"true\">{}</span> {name}</span>",
        sign(severity)
    )
}

/// The tensors with findings that are more than remarks.
struct Flagged<'a> {
    tensors: HashMap<&'a str, Flag>,
    /// Those that are drawn, worst first.
    drawn: Vec<&'a Profile>,
    /// Those that could be and are not.
    not_drawn: usize,
}

/// What is wrong with one tensor.
struct Flag {
    worst: Severity,
    findings: u64,
    /// Number of its card, when it is drawn.
    card: Option<usize>,
    /// Numbers of its findings on the page, with their rules.
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

/// How many findings there are of each severity.
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

/// The place of a finding on the page.
fn anchor(number: usize) -> String {
    format!("f{number}")
}

/// The place of the plots of a tensor.
fn card(number: usize) -> String {
    format!("t{number}")
}

#[cfg(test)]
mod tests;
