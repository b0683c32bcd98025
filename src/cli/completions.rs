//! `tensorseal completions`: completions for a shell.

use super::Outcome;
use super::args::CompletionsArgs;
use super::command::command;
use super::exit;

pub fn run(args: &CompletionsArgs) -> Outcome {
    clap_complete::generate(args.shell, &mut command(), "tensorseal", &mut std::io::stdout());
    Ok(exit::PASS)
}
