//! The models, most urgent first.

use super::PathOf;
use crate::html::{escape, page};
use crate::registry::group::Group;
use crate::registry::{Overview, sentence};
use crate::units;
use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::cell::RefCell;
use std::fmt;
use std::io;
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecord, RecordedFinding};

/// Largest number of models of a group that are listed. The rest is counted.
pub(super) const LISTED: u64 = 10_000;

/// Largest number of findings of a model that are listed. Its report has all of them.
const SAID: usize = 5;

/// The characters of a path that are percent-encoded.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the anchor of a group.
pub(super) fn id(group: Group) -> &'static str {
    match group {
        Group::Alarm => "alarm",
        Group::Review => "look",
        Group::Rest => "rest",
    }
}

/// Returns the heading of a group.
pub(super) fn title(group: Group) -> &'static str {
    match group {
        Group::Alarm => "Do not use until reviewed",
        Group::Review => "Needs review",
        Group::Rest => "No action needed",
    }
}

/// The models of a group.
#[derive(Template)]
#[template(path = "group.html")]
pub(super) struct Section<'a> {
    pub overview: &'a Overview<'a>,
    pub group: Group,
    /// Number of models of the group.
    pub number: u64,
    pub report: Option<&'a PathOf<'a>>,
    /// Set if the models cannot be read.
    pub failed: &'a RefCell<Option<io::Error>>,
}

impl<'a> Section<'a> {
    fn rows(&'a self) -> Rows<'a> {
        Rows(self)
    }
}

/// The rows of a group. They are written while the models are read.
struct Rows<'a>(&'a Section<'a>);

impl fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Section { overview, group, report, failed, .. } = *self.0;
        let mut source: Option<String> = None;
        let mut listed = 0;
        let read = overview.records.each(&mut |model| {
            if Group::of(model) != group || listed == LISTED {
                return Ok(());
            }
            listed += 1;
            if source.as_ref() != Some(&model.source) {
                let end = if source.is_some() { "</tbody>\n" } else { "" };
                let name = escape::name(&model.source);
                writeln!(f, "{end}<tbody>\n<tr class=\"in\"><th colspan=\"4\" scope=\"rowgroup\" class=\"source\">{name}</th></tr>").map_err(io::Error::other)?;
                source = Some(model.source.clone());
            }
            let link = report.and_then(|report| report(model));
            let link = link.map(|path| utf8_percent_encode(&path, PATH).to_string());
            let row = Row { overview, model, link, detailed: group != Group::Rest };
            row.render_into(f).map_err(io::Error::other)
        });
        if source.is_some() {
            f.write_str("</tbody>\n")?;
        }
        read.map_err(|error| {
            failed.replace(Some(error));
            fmt::Error
        })
    }
}

/// A model.
#[derive(Template)]
#[template(path = "model.html")]
struct Row<'a> {
    overview: &'a Overview<'a>,
    model: &'a ModelRecord,
    /// The path of its report, percent-encoded.
    link: Option<String>,
    /// Whether its findings are listed.
    detailed: bool,
}

impl Row<'_> {
    /// Returns the findings above info.
    fn findings(&self) -> Vec<&RecordedFinding> {
        self.model.findings.iter().filter(|finding| finding.severity > Severity::Info).collect()
    }

    /// Returns whether the detail of the state says more than the findings.
    fn has_detail(&self) -> bool {
        let detail = &self.model.detail;
        !self.findings().iter().take(SAID).any(|finding| finding.message.ends_with(detail))
    }
}

/// Returns what a finding is about: its tensor, or else its file.
fn place(finding: &RecordedFinding) -> Option<&str> {
    finding.tensor.as_deref().or(finding.file.as_deref())
}
