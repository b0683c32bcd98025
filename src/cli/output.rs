//! Where results, messages and reports go.

use super::Failure;
use super::args::{Common, PrintFormat, ReportFormat};
use crate::judge::Verdict;
use crate::report::human::Palette;
use crate::report::{Report, cyclonedx, github, html, human, json, junit, markdown, sarif};
use crate::verbs::output::write_whole;
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Writes the body of a command between the head of the report and its findings.
pub(super) type Body<'a> = &'a dyn Fn(&mut dyn Write, Palette) -> io::Result<()>;

/// Whether a person with a colour terminal reads standard output.
pub(super) fn colour() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Says on standard error why the command ends. The whole chain, in one line.
pub(super) fn error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "tensorseal: error: {}", one_line(error));
}

/// The whole chain, each cause once: many errors tell their cause themselves.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace(['\n', '\r'], " ")
}

/// A message for people on standard error.
pub(super) fn note(quiet: bool, text: &str) {
    if !quiet {
        let _ = writeln!(io::stderr(), "tensorseal: {text}");
    }
}

/// Tells the report everywhere it was asked for and gives the exit code of its verdict.
pub(super) fn finish(report: &Report, common: &Common, body: Body<'_>) -> Result<u8, Failure> {
    report.notes.iter().for_each(|text| note(common.quiet, text));
    for (format, path) in &common.report {
        write_whole(path, &|out| write_as(report, *format, body, out))
            .with_context(|| format!("cannot write the report to {}", path.display()))
            .map_err(Failure::incomplete)?;
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed =
        write(report, common.format, common.quiet, Palette::new(colour()), body, &mut out)
            .and_then(|()| out.flush());
    match printed {
        // Whoever closed the pipe has read enough; the verdict stands.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.context("cannot write to standard output").map_err(Failure::incomplete)?,
    }
    Ok(report.exit_code)
}

/// Reports, to whoever asked for JSON or for a file, that a command has no verdict: a report of an
/// earlier run must not stand in for this one.
pub(super) fn incomplete(command: &'static str, model: &Path, common: &Common, failure: &Failure) {
    let mut report = Report::new(command, &model.display().to_string());
    report.error = Some(one_line(&failure.error));
    report.exit_code = failure.code;
    for (format, path) in &common.report {
        let body: Body<'_> = &|_, _| Ok(());
        let written = write_whole(path, &|out| write_as(&report, *format, body, out));
        if let Err(failed) = written {
            error(
                &anyhow::Error::from(failed)
                    .context(format!("cannot write the report to {}", path.display())),
            );
        }
    }
    // The exit code says it all, should this fail.
    let _ = match common.format {
        PrintFormat::Human => Ok(()),
        PrintFormat::Json => json::write(&report, &mut io::stdout().lock()),
        PrintFormat::Github => github::write(&report, &mut io::stdout().lock()),
    };
}

fn write_as(
    report: &Report,
    format: ReportFormat,
    body: Body<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        ReportFormat::Json => json::write(report, out),
        ReportFormat::Human => {
            write(report, PrintFormat::Human, false, Palette::default(), body, out)
        }
        ReportFormat::Html => html::write(report, out),
        ReportFormat::Sarif => sarif::write(report, out),
        ReportFormat::Junit => junit::write(report, out),
        ReportFormat::Markdown => markdown::write(report, out),
        ReportFormat::Github => github::write(report, out),
        ReportFormat::Cyclonedx => cyclonedx::write(report, out),
    }
}

fn write(
    report: &Report,
    format: PrintFormat,
    quiet: bool,
    palette: Palette,
    body: Body<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        PrintFormat::Json => return json::write(report, out),
        PrintFormat::Github => return github::write(report, out),
        PrintFormat::Human => {}
    }
    if quiet {
        if report.verdict == Verdict::Pass {
            return Ok(());
        }
        human::rules(report, true, palette, out)?;
        return human::findings(report, palette, out);
    }
    human::head(report, palette, out)?;
    body(out, palette)?;
    human::rules(report, false, palette, out)?;
    human::findings(report, palette, out)
}

/// A plain table: columns as wide as they need to be, numbers to the right.
pub(super) fn table(
    header: &[&str],
    right: &[bool],
    rows: Vec<Vec<String>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(&rows).collect();
    let width =
        |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    writeln!(out)?;
    for row in all {
        let cells = row.iter().zip(&widths).zip(right).map(|((cell, width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_told_once_and_in_one_line() {
        let cause = io::Error::other("not a regular file");
        let told = anyhow!(cause).context("key: cannot be read: not a regular file");
        assert_eq!(one_line(&told), "key: cannot be read: not a regular file");
        let untold = anyhow!("no\nspace").context("cannot write");
        assert_eq!(one_line(&untold), "cannot write: no space");
    }
}
