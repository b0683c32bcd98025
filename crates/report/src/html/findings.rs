//! The findings, grouped by severity and rule. Each rule is explained once.

use super::{Flagged, anchor, badge, card, escape};
use crate::evidence::{Evidence, Table};
use crate::units::{count, grouped};
use crate::{Report, summary};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tensorseal_core::judge::rules::{catalogue_of, rule_of};
use tensorseal_core::judge::{Finding, Severity};

/// Largest number of findings of one rule that are listed. The rest is counted.
const OF_RULE: usize = 40;

/// Largest number of findings that the page lists.
const OF_PAGE: usize = 240;

/// The findings in the order in which the page lists them.
pub struct Chapters<'a> {
    chapters: Vec<(Severity, Vec<Part<'a>>)>,
}

/// The findings of one rule at one severity.
struct Part<'a> {
    rule: &'static str,
    total: usize,
    /// Number on the page, from 1, and finding.
    listed: Vec<(usize, &'a Finding)>,
}

impl<'a> Chapters<'a> {
    pub fn of(report: &'a Report) -> Self {
        let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
        for finding in &report.findings {
            let key = (std::cmp::Reverse(finding.severity), finding.rule);
            groups.entry(key).or_default().push(finding);
        }
        let mut number = 0;
        let mut chapters: Vec<(Severity, Vec<Part>)> = Vec::new();
        for ((severity, rule), findings) in groups {
            let room = OF_RULE.min(OF_PAGE - number);
            let listed = findings.iter().take(room).map(|finding| {
                number += 1;
                (number, *finding)
            });
            let part = Part { rule, listed: listed.collect(), total: findings.len() };
            match chapters.last_mut() {
                Some((last, parts)) if *last == severity.0 => parts.push(part),
                _ => chapters.push((severity.0, vec![part])),
            }
        }
        Self { chapters }
    }

    /// Returns the listed findings with their numbers.
    pub fn listed(&self) -> impl Iterator<Item = (usize, &'a Finding)> + '_ {
        let parts = self.chapters.iter().flat_map(|(_, parts)| parts);
        parts.flat_map(|part| part.listed.iter().copied())
    }
}

pub fn write(
    chapters: &Chapters<'_>,
    flagged: &Flagged<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Findings</h2>")?;
    if chapters.chapters.is_empty() {
        writeln!(out, "<p>None.</p>")?;
    }
    for (severity, parts) in &chapters.chapters {
        let total: usize = parts.iter().map(|part| part.total).sum();
        writeln!(
            out,
            "<section class=\"chapter\" aria-labelledby=\"{name}\">\n<h3 id=\"{name}\">{} {}</h3>",
            badge(*severity),
            count(total as u64, "finding"),
            name = severity.name(),
        )?;
        for part in parts {
            write_part(part, *severity, flagged, out)?;
        }
        writeln!(out, "</section>")?;
    }
    writeln!(out, "</section>")
}

fn write_part(
    part: &Part<'_>,
    severity: Severity,
    flagged: &Flagged<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "<section class=\"rule {}\">", severity.name())?;
    match rule_of(part.rule) {
        Some(rule) => {
            writeln!(
                out,
                "<h4>{} <code>{}</code></h4>\n<p>{} {}</p>\n<p><b>What to do.</b> {}</p>",
                escape::text(rule.title),
                rule.id,
                prose(rule.meaning),
                prose(rule.limits),
                prose(rule.action)
            )?;
            references(&rule.references, out)?;
        }
        None => writeln!(out, "<h4><code>{}</code></h4>", escape::text(part.rule))?,
    }
    for (number, finding) in &part.listed {
        write_finding(*number, finding, flagged, out)?;
    }
    if part.total > part.listed.len() {
        let more = grouped((part.total - part.listed.len()) as u64);
        writeln!(out, "<p class=\"more\">… and {more} more (see the JSON report)</p>")?;
    }
    writeln!(out, "</section>")
}

/// Returns the text of a rule with the parts in backticks as code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => escape::text(part),
            _ => format!("<code>{}</code>", escape::text(part)),
        })
        .collect()
}

fn references(references: &[&'static str], out: &mut dyn Write) -> io::Result<()> {
    if references.is_empty() {
        return Ok(());
    }
    write!(out, "<p class=\"references\"><b>References.</b>")?;
    let mut last = "";
    for reference in references {
        let (name, title) = catalogue_of(reference).map_or(("", ""), |(n, c)| (n, &c.title));
        let gap = match last {
            "" => " ",
            _ if last == name => ", ",
            _ => " · ",
        };
        // The tooltip names the catalogue.
        write!(
            out,
            "{gap}<span title=\"{}\">{}</span>",
            escape::text(title),
            escape::text(reference)
        )?;
        last = name;
    }
    writeln!(out, "</p>")
}

fn write_finding(
    number: usize,
    finding: &Finding,
    flagged: &Flagged<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let place = summary::place(finding).map(escape::name);
    writeln!(
        out,
        "<article id=\"{}\">\n<h5><span class=\"number\">{number}</span> {}</h5>\n<p>{}</p>",
        anchor(number),
        place.as_deref().unwrap_or("Model"),
        escape::text(&finding.message)
    )?;
    let mut where_in: Vec<String> = summary::ranges(finding);
    if let (Some(_), Some(file)) = (&finding.tensor, &finding.file) {
        where_in.push(format!("file {}", escape::name(file)));
    }
    if let Some(other) = &finding.other_tensor {
        where_in.push(format!("other tensor {}", escape::name(other)));
    }
    where_in.extend(summary::standing(finding).map(|standing| escape::text(&standing)));
    let flag = finding.tensor.as_deref().and_then(|tensor| flagged.get(tensor));
    if let Some(number) = flag.and_then(|flag| flag.card) {
        where_in.push(format!("<a href=\"#{}\">plots</a>", card(number)));
    }
    if !where_in.is_empty() {
        writeln!(out, "<p class=\"where\">{}</p>", where_in.join(" · "))?;
    }
    let evidence = Evidence::of(&finding.evidence);
    if !evidence.tables.is_empty() {
        writeln!(out, "<div class=\"evidence\">")?;
        for table in &evidence.tables {
            write_table(number, table, out)?;
        }
        writeln!(out, "</div>")?;
    }
    if !evidence.single.is_empty() {
        write!(out, "<dl class=\"numbers\">")?;
        for (label, value) in &evidence.single {
            let (label, value) = (escape::text(label), escape::text(value));
            write!(out, "<div><dt>{label}</dt><dd>{value}</dd></div>")?;
        }
        writeln!(out, "</dl>")?;
    }
    writeln!(out, "</article>")
}

fn write_table(number: usize, table: &Table, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<div class=\"scroll\"><table aria-label=\"Evidence of finding {number}\">")?;
    if let Some(title) = &table.title {
        write!(out, "<caption>{}</caption>", escape::text(title))?;
    }
    write!(out, "<thead><tr>")?;
    for column in &table.columns {
        match column.as_str() {
            "" => write!(out, "<td></td>")?,
            column => write!(out, "<th scope=\"col\">{}</th>", escape::text(column))?,
        }
    }
    write!(out, "</tr></thead><tbody>")?;
    for row in &table.rows {
        write!(out, "<tr>")?;
        for (at, cell) in row.iter().enumerate() {
            let cell = escape::text(cell);
            match at {
                0 => write!(out, "<th scope=\"row\">{cell}</th>")?,
                _ => write!(out, "<td>{cell}</td>")?,
            }
        }
        write!(out, "</tr>")?;
    }
    write!(out, "</tbody></table>")?;
    if table.more > 0 {
        let more = grouped(table.more as u64);
        write!(out, "<p class=\"more\">… and {more} more (see the JSON report)</p>")?;
    }
    writeln!(out, "</div>")
}
