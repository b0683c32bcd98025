//! `tensorseal explain`: what a rule means.

use super::args::{ExplainArgs, OutputFormat};
use super::{CommandResult, Failure, exit, output};
use anyhow::{Context, anyhow};
use serde_json::json;
use std::io::{self, Write};
use tensorseal_core::judge::rules::{self, Rule, catalogue_of, rules};
use tensorseal_report::human::Palette;
use tensorseal_report::table::{Align, Cell, Table};

/// Width of the text, in columns.
const WIDTH: usize = 96;

/// Ids that are suggested for one that does not exist.
const SUGGESTED: usize = 3;

/// Likeness, 0 to 1, from which an id is suggested.
const SIMILAR: f64 = 0.85;

pub(super) fn run(args: &ExplainArgs) -> CommandResult {
    let chosen = chosen(args.rule.as_deref())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match (args.format, &chosen) {
        (OutputFormat::Json, _) => machine(&chosen, &mut out),
        (OutputFormat::Human, Chosen::One(rule)) => {
            page(rule, Palette::new(output::colour()), &mut out)
        }
        (OutputFormat::Human, Chosen::Several(all)) => {
            list(all, Palette::new(output::colour()), &mut out)
        }
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::PASS),
        other => other
            .context("cannot write to standard output")
            .map(|()| exit::PASS)
            .map_err(Failure::incomplete),
    }
}

enum Chosen {
    One(&'static Rule),
    Several(Vec<&'static Rule>),
}

/// The rule of an id, the rules of an area, or all.
fn chosen(wanted: Option<&str>) -> Result<Chosen, Failure> {
    let Some(wanted) = wanted else { return Ok(Chosen::Several(rules().all.iter().collect())) };
    if let Some(rule) = rules::find_rule(wanted) {
        return Ok(Chosen::One(rule));
    }
    let beginning = wanted.trim_end_matches(['/', '-', '*']).to_lowercase();
    let of_area: Vec<_> =
        rules().all.iter().filter(|rule| begins_with(rule.id, &beginning)).collect();
    if of_area.is_empty() {
        return Err(Failure::usage(anyhow!("there is no rule {wanted:?}; {}", instead(wanted))));
    }
    Ok(Chosen::Several(of_area))
}

/// Whether an id begins with these words: an area, or an area and the first words of a name.
fn begins_with(id: &str, words: &str) -> bool {
    let rest = id.strip_prefix(words).filter(|_| !words.is_empty());
    rest.is_some_and(|rest| rest.starts_with(['/', '-']))
}

/// What to explain instead of a rule that does not exist.
fn instead(wanted: &str) -> String {
    let wanted = wanted.to_lowercase();
    let (area, name) = wanted.split_once('/').unwrap_or(("", &wanted));
    // Ids of an area have their beginning in common, so that it does not count.
    let is_similar = |id: &&str| {
        let other = id.split('/').nth(1).unwrap_or_default();
        strsim::jaro_winkler(name, other) >= SIMILAR
    };
    let nearest = rules::nearest(&wanted, SUGGESTED);
    match nearest.into_iter().filter(is_similar).collect::<Vec<_>>()[..] {
        [] if rules().all.iter().any(|rule| rule.area() == area) => {
            format!("run `tensorseal explain {area}` to list the rules of this area")
        }
        [] => "run `tensorseal explain` to list all rules".to_owned(),
        [only] => format!("did you mean {only}?"),
        ref several => format!("similar rules are {}", several.join(", ")),
    }
}

fn list(all: &[&Rule], palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let row = |rule: &Rule| {
        let severity = format!("{:<8}", rule.severity.name());
        let severity = Cell::styled(severity, palette.severity(rule.severity));
        let title = Cell::styled(rule.title, palette.dim(rule.title));
        [severity, rule.id.into(), title]
    };
    let columns = Table::new().column("", Align::Left).column("", Align::Left);
    let mut table = columns.column("", Align::Left);
    all.iter().for_each(|rule| table.measure(&row(rule)));
    let mut area = "";
    for rule in all {
        if !area.is_empty() && area != rule.area() {
            writeln!(out)?;
        }
        area = rule.area();
        table.write_row(&row(rule), out)?;
    }
    Ok(())
}

fn page(rule: &Rule, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}  {}", palette.bold(rule.id), rule.title)?;
    writeln!(out, "usually {}", palette.severity(rule.severity).trim_end())?;
    for (heading, text) in [
        ("What it means", rule.meaning),
        ("What it does not mean", rule.limits),
        ("How it is measured", rule.measured),
        ("False alarms", rule.false_alarms),
        ("What to do", rule.action),
    ] {
        writeln!(out, "\n{}", palette.bold(heading))?;
        for line in textwrap::wrap(text, WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
    }
    if !rule.references.is_empty() {
        writeln!(out, "\n{}", palette.bold("References"))?;
        for (title, ids) in by_catalogue(rule) {
            writeln!(out, "  {title}: {}", ids.join(", "))?;
        }
    }
    Ok(())
}

/// The public ids of a rule under the titles and versions of their catalogues.
fn by_catalogue(rule: &Rule) -> Vec<(String, Vec<&'static str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for reference in &rule.references {
        let title = catalogue_of(reference)
            .map(|(_, found)| format!("{} ({})", found.title, found.version))
            .unwrap_or_default();
        match groups.iter_mut().find(|group| group.0 == title) {
            Some(group) => group.1.push(reference),
            None => groups.push((title, vec![reference])),
        }
    }
    groups
}

fn machine(chosen: &Chosen, out: &mut dyn Write) -> io::Result<()> {
    let listed = match chosen {
        Chosen::One(rule) => vec![*rule],
        Chosen::Several(all) => all.clone(),
    };
    let document = json!({
        "schema": rules().schema,
        "version": rules().version,
        "catalogues": rules().catalogues,
        "rules": listed,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_rules_are_suggested() {
        let text =
            |wanted: &str| chosen(Some(wanted)).err().map(|failure| failure.error.to_string());
        let typo = text(&format!("integrity/{}", "tensor-chagned")).unwrap();
        assert!(typo.contains("integrity/tensor-changed"), "{typo}");
        for wanted in ["foo/bar", "", "12345"] {
            let other = text(wanted).unwrap();
            assert!(other.ends_with("; run `tensorseal explain` to list all rules"), "{other}");
        }
        let known_area = text(&format!("policy/{}", "key-used")).unwrap();
        assert!(known_area.contains("; run `tensorseal explain policy` to list"), "{known_area}");
    }

    #[test]
    fn rules_are_listed_by_how_they_begin() {
        let listed = |wanted| match chosen(Some(wanted)) {
            Ok(Chosen::Several(rules)) => rules.iter().map(|rule| rule.id).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let area = listed("Integrity/");
        assert!(area.len() > 5 && area.iter().all(|id| id.starts_with("integrity/")), "{area:?}");
        let prefix = ["integrity", "tensor"].join("/");
        let tensors = listed(&prefix);
        assert!(tensors.iter().all(|id| id.contains("/tensor-")), "{tensors:?}");
        assert!(!tensors.is_empty() && tensors.len() < area.len());
        assert_eq!(listed("integrit"), <Vec<&str>>::new());
    }
}
