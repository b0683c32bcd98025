//! The terminal output for registries: a table of models, the findings, and a summary line.

use super::group::Group;
use super::{Overview, sentence, summary_line};
use crate::human::{Options, Palette, not_shown};
use crate::safe_text::{MESSAGE, clipped, name as shown};
use crate::summary::byte_range;
use crate::table::{Align, Cell, Table};
use crate::units::grouped;
use std::io::{self, Write};
use tensorseal_core::record::{ModelRecord, ModelState, RecordedFinding, SkippedItems};

/// Largest number of findings, and of errors, that are listed. The rest is counted.
const LISTED: usize = 50;

/// Largest number of skipped paths that are listed. The rest is counted.
const SKIPPED: usize = 10;

/// Greatest width of the name column, in characters. A longer name shifts the rest of its line.
const WIDEST: usize = 56;

/// Which models are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Models {
    /// All of them.
    All,
    /// The models that need attention.
    Problems,
}

impl Models {
    fn has(self, model: &ModelRecord) -> bool {
        self == Models::All || Group::of(model) != Group::Rest
    }
}

/// Writes a line for each model with its state, name, last deep check and findings. Each source has a heading.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
pub fn table(
    overview: &Overview<'_>,
    models: Models,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new()
        .column("", Align::Left)
        .column_up_to("", Align::Left, WIDEST)
        .column("", Align::Left)
        .column("", Align::Left)
        .indented(2);
    overview.records.each(&mut |model| {
        if models.has(model) {
            table.measure(&row(overview, model, palette));
        }
        Ok(())
    })?;
    let mut source: Option<String> = None;
    overview.records.each(&mut |model| {
        if !models.has(model) {
            return Ok(());
        }
        if source.as_ref() != Some(&model.source) {
            let gap = if source.is_some() { "\n" } else { "" };
            writeln!(out, "{gap}{}", palette.bold(&shown(&model.source)))?;
            source = Some(model.source.clone());
        }
        table.write_row(&row(overview, model, palette), out)
    })?;
    if source.is_some() { writeln!(out) } else { Ok(()) }
}

fn row(overview: &Overview<'_>, model: &ModelRecord, palette: Palette) -> [Cell; 4] {
    let checked = match model.last_deep_check {
        Some(time) => format!("deep-checked {} ago", overview.age(time)),
        None => "never deep-checked".to_owned(),
    };
    let state = Cell::styled(model.state.name(), palette.state(model.state));
    let dim = palette.dim(&checked);
    let said = sentence::findings(model).unwrap_or_default();
    [state, title(model).into(), Cell::styled(checked, dim), said.into()]
}

/// Returns the name and the version of a model.
fn title(model: &ModelRecord) -> String {
    match &model.version {
        Some(version) => {
            format!("{} {}", shown(&model.name), shown(&sentence::short(version)))
        }
        None => shown(&model.name),
    }
}

/// The findings of the models, those above need attention first.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
pub fn findings(
    overview: &Overview<'_>,
    options: Options,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (mut listed, mut more) = (0, 0u64);
    for group in [Group::Alarm, Group::Review, Group::Rest] {
        overview.records.each(&mut |model| {
            if Group::of(model) != group {
                return Ok(());
            }
            let said = model.findings.iter().filter(|f| f.severity >= options.show);
            for finding in said {
                if listed < LISTED {
                    listed += 1;
                    finding_lines(model, finding, palette, out)?;
                } else {
                    more += 1;
                }
            }
            Ok(())
        })?;
    }
    if more > 0 {
        writeln!(out, "… and {} more (use --format json to list all)", grouped(more))?;
    }
    let hidden = overview.summary.findings.iter().map(|((severity, _), n)| (*severity, *n));
    let hidden = not_shown(hidden.filter(|(severity, _)| *severity < options.show));
    if let Some(line) = &hidden {
        writeln!(out, "{}", palette.dim(line))?;
    }
    if listed > 0 || hidden.is_some() { writeln!(out) } else { Ok(()) }
}

fn finding_lines(
    model: &ModelRecord,
    finding: &RecordedFinding,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let severity = palette.severity(finding.severity);
    let place = finding.tensor.as_deref().or(finding.file.as_deref()).map(shown);
    let rule = clipped(&finding.rule, WIDEST);
    let name = palette.bold(&shown(&model.name));
    let line = format!("{severity}  {rule}  {name}  {}", place.unwrap_or_default());
    writeln!(out, "{}", line.trim_end())?;
    writeln!(out, "          {}", clipped(&finding.message, MESSAGE))?;
    if let Some(range) = finding.byte_range {
        let line = byte_range(range, finding.tensor.is_some());
        writeln!(out, "          {}", palette.dim(&line))?;
    }
    Ok(())
}

/// Writes what could not be checked, what was skipped, and the summary line.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn ending(overview: &Overview<'_>, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let errors = overview.summary.last_run.as_ref().map_or(&[][..], |run| &run.errors);
    for error in errors.iter().take(LISTED) {
        writeln!(out, "not checked  {}", clipped(error, MESSAGE))?;
    }
    if errors.len() > LISTED {
        writeln!(out, "not checked  … and {} more", grouped((errors.len() - LISTED) as u64))?;
    }
    if let Some(passed_over) = overview.passed_over {
        skipped(passed_over, out)?;
    }
    writeln!(out, "{}  {}", palette.verdict(overview.verdict), summary_line(overview))
}

/// Writes the paths that are not models or were excluded.
fn skipped(passed_over: &SkippedItems, out: &mut dyn Write) -> io::Result<()> {
    for passed in passed_over.first.iter().take(SKIPPED) {
        let (source, path) = (shown(&passed.source), shown(&passed.path));
        let line = format!("{source}: {path} ({})", passed.reason);
        writeln!(out, "skipped  {}", clipped(&line, MESSAGE))?;
    }
    let more = passed_over.count.saturating_sub(SKIPPED as u64);
    if more > 0 {
        writeln!(out, "skipped  … and {} more (use --format json to list all)", grouped(more))?;
    }
    Ok(())
}

impl Palette {
    /// Returns the name of a state in its colour, padded to the longest.
    fn state(self, state: ModelState) -> String {
        let name = state.name();
        match state {
            ModelState::Ok => self.dim(name),
            ModelState::New => name.to_owned(),
            ModelState::Modified | ModelState::BitRot | ModelState::Replaced => self.bad(name),
            ModelState::Missing | ModelState::Incomplete => self.bold(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use tensorseal_base::severity::Severity;
    use tensorseal_core::record::RegistrySummary;

    fn plain(name: &str, models: Models) -> String {
        sample_registry::written(name, |overview, out| {
            table(overview, models, Palette::default(), out)?;
            findings(overview, Options::default(), Palette::default(), out)?;
            ending(overview, Palette::default(), out)
        })
    }

    #[test]
    fn a_registry_reads_well() {
        let text = plain("c", Models::All);
        let expected = "\
/models
  ok          a    deep-checked 60 min ago
  bit-rot     b    deep-checked 60 min ago   1 critical
  modified    c c  deep-checked 60 min ago   1 critical

s3://bucket/models
  new         d    deep-checked 29 days ago
  missing     e    deep-checked 60 min ago
  incomplete  f    never deep-checked

critical  integrity/tensor-changed  b  layers.0.weight
          what integrity/tensor-changed says
          tensor bytes 16 to 17
critical  integrity/tensor-changed  c  c
          c
          tensor bytes 16 to 17
1 info finding not shown; show it with --show info

not checked  s3://bucket/models/f: timed out
FAIL  registry  6 models: ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.matches('\u{1b}').count(), 0);
    }

    #[test]
    fn only_what_somebody_must_look_at() {
        let text = plain("c", Models::Problems);
        assert!(!text.contains("  ok  ") && !text.contains("  new  "), "{text}");
        assert!(text.contains("  missing     e  "), "{text}");
    }

    #[test]
    fn nothing_is_one_line() {
        let (summary, models) = (RegistrySummary::empty(), Vec::new());
        let overview = sample_registry::overview(&summary, &models);
        let mut out = Vec::new();
        table(&overview, Models::All, Palette::default(), &mut out).unwrap();
        findings(&overview, Options::default(), Palette::default(), &mut out).unwrap();
        ending(&overview, Palette::default(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "FAIL  registry  0 models\n");
    }

    #[test]
    fn what_was_passed_over_is_named_and_counted() {
        let (summary, models) = (RegistrySummary::empty(), Vec::new());
        let mut passed_over = SkippedItems::default();
        for at in 0..SKIPPED + 3 {
            passed_over.add("/models", format!("link\u{1b} {at}"), "a link".to_owned());
        }
        let passed_over = Some(&passed_over);
        let overview = Overview { passed_over, ..sample_registry::overview(&summary, &models) };
        let mut out = Vec::new();
        ending(&overview, Palette::default(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("skipped  /models: link").count(), SKIPPED, "{text}");
        assert!(text.contains("… and 3 more"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_hostile_name_acts_on_no_screen() {
        let text = plain("\u{1b}[2J\n\u{202e}x", Models::All);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        let long = plain(&"n".repeat(5000), Models::All);
        assert!(long.len() < 3000, "{}", long.len());
    }

    #[test]
    fn many_findings_are_counted() {
        let mut model = sample_registry::model("/models", "a", ModelState::Ok);
        model.findings =
            vec![sample_registry::finding(Severity::Low, "format/overlap"); LISTED + 7];
        let models = vec![model];
        let summary = sample_registry::summary(&models);
        let mut out = Vec::new();
        findings(
            &sample_registry::overview(&summary, &models),
            Options::default(),
            Palette::default(),
            &mut out,
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("… and 7 more (use --format json to list all)"), "{text}");
    }
}
