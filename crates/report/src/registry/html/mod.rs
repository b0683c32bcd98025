//! The HTML page of a registry: a single self-contained file in the style of the HTML report. The models that need
//! attention come first.

mod ages;
mod counted;
mod models;
#[cfg(test)]
mod tests;

use super::Overview;
use super::group::Group;
use crate::html::{escape, page};
use crate::units::{count, grouped, span};
use crate::{summary, units};
use ages::Ages;
use askama::Template;
use askama::filters::Safe;
use counted::ModelCounts;
use jiff::Timestamp;
use models::Section;
use std::cell::RefCell;
use std::io::{self, Write};
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::record::{ModelRecord, ModelState, RunRecord};

/// Largest number of sources, and of errors, that are listed. The rest is counted.
const LISTED: usize = 100;

/// Returns the path of the report of a model relative to the page, if there is a report.
pub type PathOf<'a> = dyn Fn(&ModelRecord) -> Option<String> + 'a;

/// Writes the page. `report` returns the path of the report of a model.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
pub fn write(
    overview: &Overview<'_>,
    report: Option<&PathOf<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let counted = ModelCounts::of(overview)?;
    let ages = Ages::of(&counted);
    let page = Page { overview, counted, ages, report, failed: RefCell::new(None) };
    let written = page.write_into(out);
    // A template reports only that reading the models failed, not why.
    page.failed.into_inner().map_or(written, Err)
}

/// The page of a registry.
#[derive(Template)]
#[template(path = "registry.html")]
struct Page<'a> {
    overview: &'a Overview<'a>,
    counted: ModelCounts,
    ages: Option<Ages>,
    report: Option<&'a PathOf<'a>>,
    /// Why the models could not be read.
    failed: RefCell<Option<io::Error>>,
}

impl Page<'_> {
    /// Returns the models that must not be used.
    fn alarms(&self) -> Section<'_> {
        self.section(Group::Alarm)
    }

    /// Returns the models that need a review.
    fn reviews(&self) -> Section<'_> {
        self.section(Group::Review)
    }

    /// Returns all other models.
    fn others(&self) -> Section<'_> {
        self.section(Group::Rest)
    }

    /// Returns all states that a model can have.
    fn states(&self) -> impl Iterator<Item = ModelState> {
        ModelState::ALL.into_iter()
    }

    fn section(&self, group: Group) -> Section<'_> {
        let number = self.counted.of_group(group);
        Section {
            overview: self.overview,
            group,
            number,
            report: self.report,
            failed: &self.failed,
        }
    }

    /// Explains the verdict in a sentence, with links to the groups.
    fn sentence(&self) -> Safe<String> {
        let Self { overview, counted, .. } = self;
        let link = |group: Group, text: &str| match counted.of_group(group) {
            0 => None,
            number => {
                let id = models::id(group);
                Some(format!("<a href=\"#{id}\">{}</a> {text}", count(number, "model")))
            }
        };
        let one =
            |group, one: &'static str, many| if counted.of_group(group) == 1 { one } else { many };
        let parts: Vec<String> = [
            link(Group::Alarm, "must not be used until reviewed"),
            link(Group::Review, one(Group::Review, "needs a review", "need a review")),
            link(Group::Rest, one(Group::Rest, "needs no action", "need no action")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut text = match parts.is_empty() {
            true => "The registry has no models.".to_owned(),
            false => format!("{}.", parts.join("; ")),
        };
        let errors = overview.summary.last_run.as_ref().map_or(0, |run| run.errors.len() as u64);
        if errors > 0 {
            text += &format!(" {} could not be checked.", grouped(errors));
        }
        Safe(text)
    }
}

/// Returns the duration of a scan.
fn took(run: &RunRecord) -> String {
    match run.seconds() {
        Some(seconds) => format!("took {}", span(seconds.round() as i64)),
        None => "still running or interrupted".to_owned(),
    }
}

/// Returns a time to the minute.
fn moment(time: Timestamp) -> Safe<String> {
    let text = time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    Safe(format!("<time datetime=\"{time:.0}\">{text}</time>"))
}

/// Returns a single text as it is, and several as a list of the first ones.
fn list(texts: &[String]) -> Safe<String> {
    let mut items: Vec<String> = texts.iter().take(LISTED).map(|text| escape::text(text)).collect();
    if texts.len() > LISTED {
        items.push(format!("… and {} more", grouped((texts.len() - LISTED) as u64)));
    }
    Safe(match &items[..] {
        [one] => one.clone(),
        many => format!("<ul><li>{}</li></ul>", many.join("</li><li>")),
    })
}

/// Returns the title of a rule, or nothing if the rule is not known.
fn title(rule: &str) -> &'static str {
    find_rule(rule).map_or("", |rule| rule.title)
}

/// Returns the CSS class of a state and its sign.
fn look(state: ModelState) -> (&'static str, &'static str) {
    match state {
        ModelState::Ok => ("clean", "✔"),
        ModelState::New => ("info", "+"),
        ModelState::Modified => ("critical", "✖"),
        ModelState::BitRot => ("critical", "≠"),
        ModelState::Replaced => ("critical", "⇄"),
        ModelState::Missing => ("medium", "?"),
        ModelState::Incomplete => ("medium", "…"),
    }
}
