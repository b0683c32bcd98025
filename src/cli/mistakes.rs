//! What to write instead of a command line that cannot be parsed.

use super::args::{PrintFormat, ReportFormat};
use super::help::CREATE_KEY;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error, ValueEnum};
use std::ffi::{OsStr, OsString};

/// Adds what to do to an error of clap.
pub(super) fn with_hints(error: Error, command: &Command) -> Error {
    add_hints(error, command, &std::env::args_os().collect::<Vec<_>>(), &|name| {
        std::env::var_os(name)
    })
}

fn add_hints(
    mut error: Error,
    command: &Command,
    args: &[OsString],
    environment: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Error {
    let verb = verb_of(command, args);
    let hints: Vec<String> = match error.kind() {
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => {
                missing.iter().filter_map(|arg| missing_hint(arg, &verb)).collect()
            }
            _ => Vec::new(),
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let arg = context(&error, ContextKind::InvalidArg);
            let value = context(&error, ContextKind::InvalidValue);
            let format = format_hint(&arg, &value, &verb);
            let variable = variable_of(command, &arg)
                .filter(|name| environment(name).is_some_and(|set| set == *value))
                .filter(|_| !is_given(&arg, args))
                .map(|name| format!("the value is that of ${}", name.to_string_lossy()));
            format.into_iter().chain(variable).collect()
        }
        _ => Vec::new(),
    };
    if !hints.is_empty() {
        let hints = hints.into_iter().map(Into::into).collect();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
    }
    error
}

/// The words of the verb on a command line.
fn verb_of(mut command: &Command, args: &[OsString]) -> String {
    let mut words = Vec::new();
    for arg in args.iter().skip(1) {
        if let Some(below) = command.find_subcommand(arg) {
            words.push(below.get_name());
            command = below;
        }
    }
    words.join(" ")
}

/// A detail of an error, as text.
fn context(error: &Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}

/// Where the value of a missing argument comes from.
fn missing_hint(arg: &str, verb: &str) -> Option<String> {
    let text = match arg {
        "--policy <FILE>" => {
            "write a policy with `tensorseal gate --print-policy > policy.toml`".to_owned()
        }
        "--key <PEM>" => format!("create a private key with `{CREATE_KEY} -out release.pem`"),
        "--key <KEY>" if verb == "watermark detect" => {
            "name the key that the watermark was embedded with".to_owned()
        }
        "--key <KEY>" => {
            "create a watermark key with `tensorseal watermark keygen -o watermark.key`".to_owned()
        }
        "--output <OUT>" => {
            "name the copy to write with -o OUT; the model itself is never changed".to_owned()
        }
        "--reason <TEXT>" => {
            "say why the change is accepted, such as --reason \"release 2.1\"".to_owned()
        }
        "<SOURCE>..." => {
            "a source is a directory of models, or a URI such as s3://BUCKET/PREFIX".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

/// How a report is written in a format that is not printed.
fn format_hint(arg: &str, value: &str, verb: &str) -> Option<String> {
    let is_written = ReportFormat::from_str(value, true).is_ok();
    let is_printed = PrintFormat::from_str(value, false).is_ok();
    if !arg.starts_with("--format ") || !is_written || is_printed {
        return None;
    }
    let value = value.to_ascii_lowercase();
    if verb == "registry status" && value == "html" {
        return Some("write an HTML page with `--html FILE`".to_owned());
    }
    let without = ["registry", "devices", "explain"].iter().any(|name| verb.starts_with(name));
    (!without).then(|| format!("write a report in this format with `--report {value}=PATH`"))
}

/// The environment variable of an option, which is named as in errors of clap: `--threads <N>`.
fn variable_of<'a>(command: &'a Command, arg: &str) -> Option<&'a OsStr> {
    let name = arg.split(' ').next().and_then(|option| option.strip_prefix("--"))?;
    let own = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    own.and_then(|arg| arg.get_env())
        .or_else(|| command.get_subcommands().find_map(|below| variable_of(below, arg)))
}

/// Whether an option is on the command line.
fn is_given(arg: &str, args: &[OsString]) -> bool {
    let option = arg.split(' ').next().unwrap_or_default();
    args.iter().filter_map(|arg| arg.to_str()).any(|arg| {
        arg.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::command;

    fn text(line: &str, environment: &[(&str, &str)]) -> String {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let error = command().try_get_matches_from(&args).unwrap_err();
        let set = |name: &OsStr| {
            let found = environment.iter().find(|(known, _)| name == *known);
            found.map(|(_, value)| value.into())
        };
        add_hints(error, &command(), &args, &set).to_string()
    }

    #[test]
    fn missing_arguments_say_where_they_come_from() {
        for (line, hint) in [
            ("tensorseal gate m", "tip: write a policy with `tensorseal gate --print-policy"),
            ("tensorseal sign m", "tip: create a private key with `openssl genpkey"),
            ("tensorseal repair m", "tip: name the copy to write with -o OUT"),
            ("tensorseal watermark claim m", "`tensorseal watermark keygen -o watermark.key`"),
            ("tensorseal watermark detect m", "tip: name the key that the watermark"),
        ] {
            let text = text(line, &[]);
            assert!(text.contains(hint), "{line}: {text}");
        }
    }

    #[test]
    fn values_that_cannot_be_used_have_a_hint() {
        let html = text("tensorseal verify m --format html", &[]);
        assert!(html.contains("`--report html=PATH`"), "{html}");
        assert!(!text("tensorseal explain --format html", &[]).contains("--report"));
        let threads = "tensorseal seal m --threads 1000000";
        assert!(text(threads, &[]).contains("from 1 to 1024"));
        let variable = "tip: the value is that of $TENSORSEAL_THREADS";
        let set = [("TENSORSEAL_THREADS", "1000000")];
        // The option comes first.
        assert!(!text(threads, &set).contains(variable));
        // Tests share an environment, so that the value comes from a line here.
        let error = command().try_get_matches_from(threads.split(' ')).unwrap_err();
        let without: Vec<OsString> = ["tensorseal", "seal", "m"].map(Into::into).into();
        let found = add_hints(error, &command(), &without, &|name| {
            (name == "TENSORSEAL_THREADS").then(|| "1000000".into())
        });
        assert!(found.to_string().contains(variable), "{found}");
    }
}
