//! The page of a registry for people: one file that needs nothing else, like the page of a report, and in its
//! style. What somebody must look at comes first.

mod ages;
mod counted;
mod models;
#[cfg(test)]
mod tests;

use super::Overview;
use super::group::Group;
use crate::html::{badge, escape, page};
use crate::summary;
use crate::units::{bytes, count, grouped, span};
use counted::ModelCounts;
use jiff::Timestamp;
use std::io::{self, Write};
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::record::{ModelRecord, ModelState, RunRecord};

/// What could not be checked, and sources, that are listed; the rest is counted.
const LISTED: usize = 100;

/// Gives the path of the report of a model, relative to the page, where there is one.
pub type PathOf<'a> = dyn Fn(&ModelRecord) -> Option<String> + 'a;

/// Writes the page; `report` says where the page of a model is.
///
/// # Errors
/// Those of `out`, and of reading the models.
pub fn write(
    overview: &Overview<'_>,
    report: Option<&PathOf<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let counted = ModelCounts::of(overview)?;
    head(overview, &counted, out)?;
    facts(overview, out)?;
    let group = |group, out: &mut dyn Write| {
        models::write(overview, group, counted.of_group(group), report, out)
    };
    group(Group::Alarm, out)?;
    group(Group::Review, out)?;
    rules(overview, out)?;
    ages::write(&counted, out)?;
    group(Group::Rest, out)?;
    page::close(out)
}

fn head(overview: &Overview<'_>, counted: &ModelCounts, out: &mut dyn Write) -> io::Result<()> {
    let verdict = summary::verdict(overview.verdict);
    let (class, mark) = page::verdict(overview.verdict);
    let models = count(overview.summary.total(), "model");
    page::open(&format!("{verdict}: {models} (tensorseal {})", overview.command), out)?;
    writeln!(
        out,
        "<header class=\"{class}\">\n<p class=\"kicker\">tensorseal {}</p>\n<h1>Registry of {models}</h1>\n\
         <p class=\"verdict\"><strong><span aria-hidden=\"true\">{mark}</span> {verdict}</strong> {}</p>",
        overview.command,
        sentence(overview, counted)
    )?;
    writeln!(out, "<ul class=\"tally\" aria-label=\"Models by state\">")?;
    for state in ModelState::ALL {
        let number = overview.summary.in_state(state);
        let (class, sign) = look(state);
        let inside = format!(
            "<span aria-hidden=\"true\">{sign}</span> <b>{}</b> {}",
            grouped(number),
            state.name()
        );
        match number {
            0 => writeln!(out, "<li class=\"none\">{inside}</li>")?,
            _ => writeln!(out, "<li class=\"badge {class}\">{inside}</li>")?,
        }
    }
    writeln!(out, "</ul>\n</header>")
}

/// The verdict in a sentence.
fn sentence(overview: &Overview<'_>, counted: &ModelCounts) -> String {
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
        link(Group::Alarm, "must not be used until somebody has looked"),
        link(Group::Review, one(Group::Review, "needs a look", "need a look")),
        link(Group::Rest, one(Group::Rest, "has nothing against it", "have nothing against them")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut text = match parts.is_empty() {
        true => "There is no model.".to_owned(),
        false => format!("{}.", parts.join("; ")),
    };
    let errors = overview.summary.last_run.as_ref().map_or(0, |run| run.errors.len() as u64);
    if errors > 0 {
        text += &format!(" {} could not be checked.", grouped(errors));
    }
    text
}

fn facts(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section aria-labelledby=\"facts\">\n<h2 id=\"facts\">Scans</h2>\n<dl class=\"facts\">"
    )?;
    let mut fact =
        |name: &str, value: String| writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    let summary = overview.summary;
    match &summary.last_run {
        None => fact("Last scan", "there was none".to_owned())?,
        Some(run) => {
            let sources = run.sources.iter().map(|source| escape::name(source));
            fact("Sources", list(sources, run.sources.len()))?;
            fact("Last scan", last_scan(overview, run))?;
            if !run.errors.is_empty() {
                let errors = run.errors.iter().map(|error| escape::text(error));
                fact("Not checked", list(errors, run.errors.len()))?;
            }
        }
    }
    let time = |time: Option<Timestamp>| match time {
        Some(time) => format!("{} ({} ago)", moment(time), overview.age(time)),
        None => "never".to_owned(),
    };
    fact("All checked", time(summary.last_complete))?;
    if summary.total() > 0 {
        if let Some(oldest) = summary.oldest_deep_check {
            fact("Oldest check", format!("{}, of every byte of a model", time(Some(oldest))))?;
        }
        let without = format!(
            "{} never deep-checked, {} unsigned, {} unsealed",
            grouped(summary.never_deep_checked),
            grouped(summary.unsigned),
            grouped(summary.unsealed)
        );
        fact("Without", without)?;
    }
    writeln!(out, "</dl>\n</section>")
}

fn last_scan(overview: &Overview<'_>, run: &RunRecord) -> String {
    let took = match run.seconds() {
        Some(seconds) => format!("took {}", span(seconds.round() as i64)),
        None => "has not ended".to_owned(),
    };
    format!(
        "{} ({} ago), {took}: {}<br/>{} seen, {} deep-checked, {} read",
        moment(run.started),
        overview.age(run.started),
        run.outcome.name(),
        count(run.models, "model"),
        grouped(run.deep_checked),
        bytes(run.bytes_read)
    )
}

/// A time to the minute.
fn moment(time: Timestamp) -> String {
    let text = time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    format!("<time datetime=\"{time:.0}\">{text}</time>")
}

/// One, or a list of the first.
fn list(items: impl Iterator<Item = String>, number: usize) -> String {
    let mut items: Vec<String> = items.take(LISTED).collect();
    if number > LISTED {
        items.push(format!("and {} more", grouped((number - LISTED) as u64)));
    }
    match &items[..] {
        [one] => one.clone(),
        many => format!("<ul><li>{}</li></ul>", many.join("</li><li>")),
    }
}

/// The findings of all models, by rule.
fn rules(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let findings = &overview.summary.findings;
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Findings</h2>\n<div class=\"scroll\" \
         role=\"region\" aria-labelledby=\"findings\" tabindex=\"0\">\n<table class=\"rules\">\n<thead><tr>\
         <th scope=\"col\">Severity</th><th scope=\"col\">Rule</th><th scope=\"col\">What it is</th>\
         <th scope=\"col\">Number</th></tr></thead>\n<tbody>"
    )?;
    for ((severity, rule), number) in findings.iter().rev() {
        let title = find_rule(rule).map_or("", |rule| rule.title);
        writeln!(
            out,
            "<tr><td>{}</td><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td></tr>",
            badge(*severity),
            escape::name(rule),
            escape::text(title),
            grouped(*number)
        )?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>\n</section>")
}

/// The class of a state, and its sign.
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
