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
mod tensors;

use super::profile::Profile;
use super::{Report, summary, units};
use askama::Template;
use askama::filters::Safe;
use findings::Chapters;
use map::Map;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, Write};
use tensorseal_core::judge::{Finding, Severity};

/// Writes the page.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let chapters = Chapters::of(report);
    let flagged = Flagged::of(report, &chapters);
    let map = Map::of(report, &flagged);
    Page { report, chapters, flagged, map }.write_into(out)
}

/// The page of a report.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    chapters: Chapters<'a>,
    flagged: Flagged<'a>,
    map: Option<Map>,
}

/// The tensors that have findings above info.
struct Flagged<'a> {
    tensors: HashMap<&'a str, Flag>,
    /// The tensors that are plotted, most severe first.
    drawn: Vec<&'a Profile>,
    /// Number of tensors that are not plotted because there are too many.
    not_drawn: u64,
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
    fn of(report: &'a Report, chapters: &Chapters<'a>) -> Self {
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
        let not_drawn = drawn.len().saturating_sub(tensors::DRAWN) as u64;
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

    /// Returns the tensors that are plotted, with their findings.
    fn cards(&self) -> impl Iterator<Item = (&'a Profile, &Flag)> {
        self.drawn.iter().filter_map(|profile| Some((*profile, self.get(&profile.tensor)?)))
    }

    /// Returns where a finding is: its location, its file, other tensor, what a policy says of it, and a link to the plots.
    fn places(&self, finding: &Finding) -> Vec<Safe<String>> {
        let text = |text: String| Safe(escape::text(&text));
        let mut places: Vec<_> = summary::location(finding).into_iter().map(text).collect();
        if let (Some(_), Some(file)) = (&finding.tensor, &finding.file) {
            places.push(Safe(format!("file {}", escape::name(file))));
        }
        if let Some(other) = &finding.other_tensor {
            places.push(Safe(format!("other tensor {}", escape::name(other))));
        }
        places.extend(summary::standing(finding).map(text));
        let flag = finding.tensor.as_deref().and_then(|tensor| self.get(tensor));
        if let Some(number) = flag.and_then(|flag| flag.card) {
            places.push(Safe(format!("<a href=\"#t{number}\">plots</a>")));
        }
        places
    }
}

#[cfg(test)]
mod tests;
