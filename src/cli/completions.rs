//! `tensorseal completions`: completions for a shell.

use super::CommandResult;
use super::args::CompletionsArgs;
use super::command::command;
use super::exit;

pub(super) fn run(args: &CompletionsArgs) -> CommandResult {
    clap_complete::generate(args.shell, &mut command(), "tensorseal", &mut std::io::stdout());
    Ok(exit::PASS)
}
