//! Where results, messages and reports go.

use super::args::{Common, General, PrintFormat, ReportFormat};
use super::{Failure, next_step};
use anyhow::{Context, anyhow};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use tensorseal_core::judge::Verdict;
use tensorseal_core::verbs::output::write_whole;
use tensorseal_report::human::Palette;
use tensorseal_report::table::{Cell, Table};
use tensorseal_report::{Report, cyclonedx, github, html, human, json, junit, markdown, sarif};

/// Writes the body of a command between the head of the report and its findings.
pub(super) type Body<'a> = &'a dyn Fn(&mut dyn Write, Palette) -> io::Result<()>;

/// Whether standard output is printed in colour.
pub(super) fn colour() -> bool {
    colour_on(&io::stdout())
}

/// Whether a stream is printed in colour: on a terminal, unless NO_COLOR or TERM says otherwise; with CLICOLOR_FORCE
/// anywhere.
pub(super) fn colour_on(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    let forced = set("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    forced || stream.is_terminal() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Prints on standard error why the command ends. The whole chain, in one line.
pub(super) fn error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "tensorseal: error: {}", one_line(error));
}

/// The whole chain, each cause once: many errors include their cause.
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

/// A hint on standard error what to do next, behind a report for people.
pub(super) fn next(common: &Common, general: &General, text: &str) {
    note(general.quiet || common.format != PrintFormat::Human, &format!("next: {text}"));
}

/// Whether a note repeats the line `measured` of the report: small models are always measured on the CPU.
pub(super) fn is_routine(note: &str) -> bool {
    note.contains("less than 1 GiB")
}

/// Writes a file as a whole or not at all.
pub(super) fn write_file(
    path: &Path,
    content: &dyn Fn(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    write_whole(path, content)
        .map_err(|error| anyhow!("cannot write {}: {}", path.display(), reason(&error)))
}

/// Why the system refused something: without the number of the error and the name of a temporary file.
pub(super) fn reason(error: &io::Error) -> String {
    use io::ErrorKind::*;
    match error.kind() {
        NotFound => "no such file or directory".to_owned(),
        StorageFull => "no space left on the device".to_owned(),
        kind @ (PermissionDenied | NotADirectory | IsADirectory | ReadOnlyFilesystem
        | QuotaExceeded | FileTooLarge) => kind.to_string(),
        _ => error.to_string(),
    }
}

/// Writes the report everywhere it is wanted and returns the exit code of its verdict.
pub(super) fn finish(
    report: &Report,
    (common, general): (&Common, &General),
    body: Body<'_>,
) -> Result<u8, Failure> {
    finish_with(report, (common, general), body, next_step::after(report))
}

/// As [`finish`], with this hint what to do next.
pub(super) fn finish_with(
    report: &Report,
    (common, general): (&Common, &General),
    body: Body<'_>,
    next_step: Option<String>,
) -> Result<u8, Failure> {
    let code = report.exit_code;
    tracing::debug!(code, findings = report.findings.len(), "writing the report");
    for text in &report.notes {
        note(general.quiet || is_routine(text) && general.verbose == 0, text);
    }
    for (format, path) in &common.report {
        write_file(path, &|out| write_as(report, *format, common, body, out))
            .map_err(Failure::incomplete)?;
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let palette = Palette::new(colour());
    let printed = write(report, (common, common.format), general.quiet, palette, body, &mut out)
        .and_then(|()| out.flush());
    match printed {
        // The reader closed the pipe; the verdict stands.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.context("cannot write to standard output").map_err(Failure::incomplete)?,
    }
    if let Some(text) = next_step {
        next(common, general, &text);
    }
    Ok(report.exit_code)
}

/// Writes to files and as JSON that a command has no verdict: the report of an earlier run must not be taken for
/// that of this one.
pub(super) fn incomplete(command: &'static str, model: &Path, common: &Common, failure: &Failure) {
    let mut report = Report::new(command, &model.display().to_string());
    report.error = Some(one_line(&failure.error));
    report.exit_code = failure.code;
    for (format, path) in &common.report {
        let body: Body<'_> = &|_, _| Ok(());
        let written = write_file(path, &|out| write_as(&report, *format, common, body, out));
        // What failed the command is not reported again.
        if let Err(failed) = written
            && one_line(&failed) != one_line(&failure.error)
        {
            error(&failed);
        }
    }
    // If this fails, the exit code still says so.
    let _ = match common.format {
        PrintFormat::Human => Ok(()),
        PrintFormat::Json => json::write(&report, &mut io::stdout().lock()),
        PrintFormat::Github => github::write(&report, &mut io::stdout().lock()),
    };
}

fn write_as(
    report: &Report,
    format: ReportFormat,
    common: &Common,
    body: Body<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        ReportFormat::Json => json::write(report, out),
        ReportFormat::Human => {
            write(report, (common, PrintFormat::Human), false, Palette::default(), body, out)
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
    (common, format): (&Common, PrintFormat),
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
        return human::findings(report, common.showing.options(), palette, out);
    }
    human::head(report, palette, out)?;
    body(out, palette)?;
    human::rules(report, false, palette, out)?;
    human::findings(report, common.showing.options(), palette, out)
}

/// Writes a table behind an empty line, or nothing where it has no rows.
pub(super) fn table(table: Table, rows: &[Vec<Cell>], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.write(rows, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_printed_once_and_in_one_line() {
        let cause = io::Error::other("not a regular file");
        let told = anyhow!(cause).context("key: cannot be read: not a regular file");
        assert_eq!(one_line(&told), "key: cannot be read: not a regular file");
        let untold = anyhow!("no\nspace").context("cannot write");
        assert_eq!(one_line(&untold), "cannot write: no space");
    }

    #[test]
    fn a_refused_file_is_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/report.html");
        let error = write_file(&path, &|_| Ok(())).unwrap_err();
        let text = format!("cannot write {}: no such file or directory", path.display());
        assert_eq!(one_line(&error), text);
    }
}
