//! `tensorseal man`: a man page of every command, from the texts of `--help`.

use super::args::{General, ManArgs};
use super::command::Arguments;
use super::help::{self, VerbHelp};
use super::{CommandResult, Failure, exit, output};
use anyhow::{Context, anyhow};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// The program and its version, at the foot of each page.
const SOURCE: &str = concat!("tensorseal ", env!("CARGO_PKG_VERSION"));

/// Writes all pages into a directory, or that of the program to standard output.
pub(super) fn run(args: &ManArgs, general: &General) -> CommandResult {
    let pages = pages();
    let Some(directory) = &args.output else {
        let page = pages.last().map(|page| &page.text[..]).unwrap_or_default();
        return match io::stdout().lock().write_all(page) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to standard output").map_err(Failure::incomplete)
            }
            _ => {
                let quiet = general.quiet || !io::stdout().is_terminal();
                output::note(quiet, "next: read this page with `tensorseal man | man -l -`");
                Ok(exit::PASS)
            }
        };
    };
    write(&pages, directory).map_err(Failure::incomplete)?;
    let (count, directory) = (pages.len(), directory.display());
    output::note(general.quiet, &format!("wrote {count} man pages to {directory}"));
    Ok(exit::PASS)
}

fn write(pages: &[Page], directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .map_err(|e| anyhow!("cannot create {}: {}", directory.display(), output::reason(&e)))?;
    for page in pages {
        let path = directory.join(&page.file);
        output::write_file(&path, &|out| out.write_all(&page.text))?;
    }
    Ok(())
}

/// A page under the name of its file.
struct Page {
    file: String,
    text: Vec<u8>,
}

/// The pages of all commands; that of the program is the last.
fn pages() -> Vec<Page> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, "", &mut pages);
    pages
}

fn add(command: &Command, path: &str, pages: &mut Vec<Page>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(below, format!("{path} {}", below.get_name()).trim_start(), pages);
    }
    let man = Man::new(command.clone()).source(SOURCE).manual("tensorseal manual");
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = render(&man, command, help::of(path), &mut text);
    pages.push(Page { file: man.get_filename(), text });
}

fn render(
    man: &Man,
    command: &Command,
    help: Option<&VerbHelp>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    if let Some(help) = help {
        exit_status(help).to_writer(out)?;
        examples(help).to_writer(out)?;
    }
    Ok(())
}

fn exit_status(help: &VerbHelp) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in help.codes {
        roff.control("TP", []);
        roff.text([bold(code.to_string())]);
        roff.text([roman(*meaning)]);
    }
    roff
}

fn examples(help: &VerbHelp) -> Roff {
    let mut roff = Roff::default();
    if help.examples.is_empty() {
        return roff;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (purpose, line) in help.examples {
        roff.control("TP", []);
        roff.text([roman(format!("{purpose}:"))]);
        roff.text([bold(*line)]);
    }
    roff
}

#[cfg(all(test, feature = "registry"))]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_exit_codes() {
        let pages = pages();
        let named = |file: &str| {
            let page = pages.iter().find(|page| page.file == file);
            let page = page.unwrap_or_else(|| panic!("there is no {file}"));
            std::str::from_utf8(&page.text).unwrap()
        };
        for verb in help::VERBS {
            let name = match verb.path {
                "" => "tensorseal.1".to_owned(),
                path => format!("tensorseal-{}.1", path.replace(' ', "-")),
            };
            let page = named(&name);
            let codes = page.split(".SH \"EXIT STATUS\"").nth(1);
            let codes = codes.unwrap_or_else(|| panic!("{name} has no exit codes: {page}"));
            for (code, meaning) in verb.codes {
                let item = format!(".TP\n\\fB{code}\\fR\n");
                assert!(codes.contains(&item), "{name}: {code}: {codes}");
                let first = meaning.split([' ', '-', '.', '\'']).next().unwrap();
                assert!(codes.contains(first), "{name}: {meaning}");
            }
            assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{name}");
        }
        assert_eq!(pages.last().unwrap().file, "tensorseal.1");
    }
}
