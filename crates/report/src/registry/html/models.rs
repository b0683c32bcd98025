//! The models, most urgent first.

use super::{PathOf, look};
use crate::html::{badge, escape};
use crate::registry::group::Group;
use crate::registry::{Overview, sentence};
use crate::units::{bytes, count, grouped};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{self, Write};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecord, RecordedFinding};

/// Largest number of models of a group that are listed. The rest is counted.
const LISTED: u64 = 10_000;

/// Largest number of findings of a model that are listed. Its report has all of them.
const SAID: usize = 5;

/// The characters of a path that are percent-encoded.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the anchor of a group.
pub fn id(group: Group) -> &'static str {
    match group {
        Group::Alarm => "alarm",
        Group::Look => "look",
        Group::Rest => "rest",
    }
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Alarm => "Do not use until reviewed",
        Group::Look => "Needs review",
        Group::Rest => "No action needed",
    }
}

/// Writes the models of a group, which has `number` of them.
pub fn write(
    overview: &Overview<'_>,
    group: Group,
    number: u64,
    report: Option<&PathOf<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if number == 0 {
        return Ok(());
    }
    let id = id(group);
    writeln!(
        out,
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{} ({})</h2>\n<table class=\"models\" \
         aria-labelledby=\"{id}\">\n<thead><tr><th scope=\"col\">State</th><th scope=\"col\">Model</th>\
         <th scope=\"col\">Last deep check</th><th scope=\"col\">Findings</th></tr></thead>",
        title(group),
        grouped(number)
    )?;
    let mut source: Option<String> = None;
    let mut listed = 0;
    overview.records.each(&mut |model| {
        if Group::of(model) != group || listed == LISTED {
            return Ok(());
        }
        listed += 1;
        if source.as_ref() != Some(&model.source) {
            let end = if source.is_some() { "</tbody>\n" } else { "" };
            let name = escape::name(&model.source);
            writeln!(
                out,
                "{end}<tbody>\n<tr class=\"in\"><th colspan=\"4\" scope=\"rowgroup\" class=\"source\">{name}</th></tr>"
            )?;
            source = Some(model.source.clone());
        }
        row(overview, model, group, report, out)
    })?;
    let end = if source.is_some() { "</tbody>\n" } else { "" };
    writeln!(out, "{end}</table>")?;
    if number > listed {
        let more = grouped(number - listed);
        writeln!(out, "<p class=\"more\">… and {more} more (see the CSV inventory)</p>")?;
    }
    writeln!(out, "</section>")
}

fn row(
    overview: &Overview<'_>,
    model: &ModelRecord,
    group: Group,
    report: Option<&PathOf<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (class, sign) = look(model.state);
    let name = escape::name(&model.name);
    let name = match report.and_then(|report| report(model)) {
        Some(path) => format!("<a href=\"./{}\">{name}</a>", utf8_percent_encode(&path, PATH)),
        None => name,
    };
    write!(
        out,
        "<tr><td><span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span></td>\
         <th scope=\"row\">{name}<p class=\"where\">{}</p>",
        model.state.name(),
        facts(model)
    )?;
    let checked = match model.last_deep_check {
        Some(time) => format!("{} ago", overview.age(time)),
        None => "never".to_owned(),
    };
    let findings = sentence::findings(model).unwrap_or_else(|| "–".to_owned());
    writeln!(out, "</th><td>{checked}</td><td>{findings}</td></tr>")?;
    if group == Group::Rest {
        return Ok(());
    }
    write!(out, "<tr class=\"said\"><td></td><td colspan=\"3\">")?;
    said(model, out)?;
    writeln!(out, "</td></tr>")
}

/// Returns the version of a model, whether it is signed and sealed, and its size.
fn facts(model: &ModelRecord) -> String {
    let mut facts = Vec::new();
    if let Some(version) = &model.version {
        let exact = escape::plain_name(version);
        let short = escape::name(&sentence::short(version));
        facts.push(format!("<code title=\"{exact}\">{short}</code>"));
    }
    facts.push(if model.signed { "signed" } else { "unsigned" }.to_owned());
    facts.push(if model.sealed { "sealed" } else { "unsealed" }.to_owned());
    facts.push(count(model.files, "file"));
    facts.push(bytes(model.bytes));
    facts.join(" · ")
}

/// Writes the detail of a model's state and its first findings.
fn said(model: &ModelRecord, out: &mut dyn Write) -> io::Result<()> {
    let said = || model.findings.iter().filter(|finding| finding.severity > Severity::Info);
    let number = said().count();
    // Skip the detail if a finding has the same text.
    if !said().take(SAID).any(|finding| finding.message.ends_with(&model.detail)) {
        write!(out, "<p>{}</p>", escape::text(&model.detail))?;
    }
    if number == 0 {
        return Ok(());
    }
    write!(out, "<ul>")?;
    for finding in said().take(SAID) {
        write!(out, "<li>{}</li>", finding_text(finding))?;
    }
    if number > SAID {
        write!(out, "<li>… and {} more</li>", grouped((number - SAID) as u64))?;
    }
    write!(out, "</ul>")
}

fn finding_text(finding: &RecordedFinding) -> String {
    let place = finding.tensor.as_deref().or(finding.file.as_deref());
    let place = place.map(|place| format!(" in <code>{}</code>", escape::name(place)));
    format!(
        "{} <code>{}</code>{}: {}",
        badge(finding.severity),
        escape::name(&finding.rule),
        place.unwrap_or_default(),
        escape::text(&finding.message)
    )
}
