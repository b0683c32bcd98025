//! The program, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// The program with these arguments, not started.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tensorseal"));
    command.args(args).env("NO_COLOR", "1").env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// A finished run of the program.
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program.
pub(crate) fn run(args: &[&str]) -> Ran {
    finished(program(args).output().expect("the program starts"))
}

/// What a finished process said. A panic of the program is never an outcome.
pub(crate) fn finished(output: Output) -> Ran {
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(ran.code >= 0, "killed by a signal: {}", ran.stderr);
    ran
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
