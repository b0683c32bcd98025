//! `tensorseal completions`: completions for a shell.

use super::CommandResult;
use super::args::CompletionsArgs;
use super::command::Arguments;
use super::exit;
use clap::CommandFactory;

pub(super) fn run(args: &CompletionsArgs) -> CommandResult {
    let mut command = Arguments::command();
    clap_complete::generate(args.shell, &mut command, "tensorseal", &mut std::io::stdout());
    Ok(exit::PASS)
}
