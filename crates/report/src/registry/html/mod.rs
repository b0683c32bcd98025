//! The HTML page of a registry: a single self-contained file in the style of the HTML report. The models that need
//! attention come first.

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
use counted::Counted;
use jiff::Timestamp;
use std::io::{self, Write};
use tensorseal_core::judge::rules::rule_of;
use tensorseal_core::record::{ModelRecord, RunRecord, State};

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
    let counted = Counted::of(overview)?;
    head(overview, &counted, out)?;
    facts(overview, out)?;
    let group = |group, out: &mut dyn Write| {
        models::write(overview, group, counted.of_group(group), report, out)
    };
    group(Group::Alarm, out)?;
    group(Group::Look, out)?;
    rules(overview, out)?;
    ages::write(&counted, out)?;
    group(Group::Rest, out)?;
    page::close(out)
}

fn head(overview: &Overview<'_>, counted: &Counted, out: &mut dyn Write) -> io::Result<()> {
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
    for state in State::ALL {
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

/// Explains the verdict in a sentence, with links to the groups.
fn sentence(overview: &Overview<'_>, counted: &Counted) -> String {
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
        link(Group::Look, one(Group::Look, "needs a review", "need a review")),
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
        None => fact("Last scan", "none".to_owned())?,
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
    fact("Last complete scan", time(summary.last_complete))?;
    if summary.total() > 0 {
        if let Some(oldest) = summary.oldest_deep_check {
            fact("Oldest deep check", time(Some(oldest)))?;
        }
        let missing = format!(
            "{} never deep-checked, {} unsigned, {} unsealed",
            grouped(summary.never_deep_checked),
            grouped(summary.unsigned),
            grouped(summary.unsealed)
        );
        fact("Models", missing)?;
    }
    writeln!(out, "</dl>\n</section>")
}

fn last_scan(overview: &Overview<'_>, run: &RunRecord) -> String {
    let took = match run.seconds() {
        Some(seconds) => format!("took {}", span(seconds.round() as i64)),
        None => "still running or interrupted".to_owned(),
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

/// Returns a time to the minute.
fn moment(time: Timestamp) -> String {
    let text = time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    format!("<time datetime=\"{time:.0}\">{text}</time>")
}

/// Returns a single item as it is, and several as a list of the first ones.
fn list(items: impl Iterator<Item = String>, number: usize) -> String {
    let mut items: Vec<String> = items.take(LISTED).collect();
    if number > LISTED {
        items.push(format!("… and {} more", grouped((number - LISTED) as u64)));
    }
    match &items[..] {
        [one] => one.clone(),
        many => format!("<ul><li>{}</li></ul>", many.join("</li><li>")),
    }
}

/// Writes the number of findings of all models, by rule.
fn rules(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let findings = &overview.summary.findings;
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Findings</h2>\n<div class=\"scroll\" \
         role=\"region\" aria-labelledby=\"findings\" tabindex=\"0\">\n<table class=\"rules\">\n<thead><tr>\
         <th scope=\"col\">Severity</th><th scope=\"col\">Rule</th><th scope=\"col\">Title</th>\
         <th scope=\"col\">Number</th></tr></thead>\n<tbody>"
    )?;
    for ((severity, rule), number) in findings.iter().rev() {
        let title = rule_of(rule).map_or("", |rule| rule.title);
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

/// Returns the CSS class of a state and its sign.
fn look(state: State) -> (&'static str, &'static str) {
    match state {
        State::Ok => ("clean", "✔"),
        State::New => ("info", "+"),
        State::Modified => ("critical", "✖"),
        State::BitRot => ("critical", "≠"),
        State::Replaced => ("critical", "⇄"),
        State::Missing => ("medium", "?"),
        State::Incomplete => ("medium", "…"),
    }
}
