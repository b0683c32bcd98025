//! `tensorseal.toml`: defaults of options that say how something is measured and printed.
//!
//! The file is one of the user or of the system, or is named explicitly. The working directory and the model are
//! never searched, and what decides a verdict cannot be set: a gate must not depend on a file that came with a model.

use super::args::{self, General, OutputFormat};
use super::{Failure, command, output};
use anyhow::anyhow;
use clap::{Command, ValueEnum};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file::read_at_most;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_format::display_name;
use toml::de::{DeTable, DeValue};

/// The file of the system.
const OF_SYSTEM: &str = "/etc/tensorseal/tensorseal.toml";

/// The file of a user, in the directory of configurations.
const OF_USER: &str = "tensorseal/tensorseal.toml";

/// The longest file that is read.
const MAX_LEN: u64 = 64 << 10;

/// The table of the defaults.
const TABLE: &str = "defaults";

/// Checks a value and gives it as it would be written on the command line.
type Check = fn(&DeValue<'_>) -> Result<String, String>;

/// The keys, each named like its option, and their checks.
const KEYS: [(&str, Check); 8] = [
    ("device", |value| {
        text(value)?.parse::<DeviceChoice>().map_err(|e| e.to_string()).and(text(value))
    }),
    ("threads", |value| number(value).and_then(|n| args::threads(&n).map(|_| n))),
    ("cross-check", |value| number(value).and_then(|n| args::percent(&n).map(|_| n))),
    ("format", |value| {
        OutputFormat::from_str(&text(value)?, false)
            .map_err(|_| "expected human or json".to_owned())
            .and(text(value))
    }),
    ("show", |value| args::severity(&text(value)?).and(text(value))),
    ("quiet", flag),
    ("verbose", |value| {
        number(value).and_then(|n| {
            matches!(&*n, "0" | "1" | "2").then_some(n).ok_or("expected 0, 1 or 2".to_owned())
        })
    }),
    ("no-progress", flag),
];

/// Defaults from a file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    /// Names of options and their values.
    defaults: Vec<(&'static str, String)>,
}

impl ConfigFile {
    /// Reads the file that applies: the one that is named by `--config` or by the environment, else that of the user,
    /// else that of the system.
    pub(super) fn find(
        general: &General,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<ConfigFile>, Failure> {
        if general.no_config {
            return Ok(None);
        }
        let set =
            |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = general.config.clone().or_else(|| set("TENSORSEAL_CONFIG")) {
            return Self::read(&path, true);
        }
        // A relative path would lead into the working directory.
        let absolute = |path: &PathBuf| path.is_absolute();
        let home = || set("HOME").filter(absolute).map(|home| home.join(".config"));
        let user = set("XDG_CONFIG_HOME").filter(absolute).or_else(home);
        for path in user.map(|dir| dir.join(OF_USER)).into_iter().chain([OF_SYSTEM.into()]) {
            if let Some(file) = Self::read(&path, false)? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Reads a file. One that is not `required` may be missing, or in a directory that is closed to this user.
    fn read(path: &Path, required: bool) -> Result<Option<ConfigFile>, Failure> {
        let bytes = match read_at_most(path, MAX_LEN) {
            Ok(bytes) => bytes,
            Err(error) => {
                use ErrorKind::{NotADirectory, NotFound, PermissionDenied};
                let absent = matches!(error.kind(), NotFound | NotADirectory | PermissionDenied);
                if absent && !required {
                    return Ok(None);
                }
                let path = path.display();
                return Err(Failure::usage(match error.kind() {
                    NotFound => anyhow!("no configuration file {path}"),
                    _ => anyhow!(
                        "cannot read the configuration file {path}: {}",
                        output::reason(&error)
                    ),
                }));
            }
        };
        let usage = |text: String| Failure::usage(anyhow!("{}: {text}", path.display()));
        if bytes.len() as u64 > MAX_LEN {
            return Err(usage(format!("longer than {MAX_LEN} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| usage("not UTF-8".to_owned()))?;
        let defaults =
            parse(text).map_err(|(line, error)| usage(format!("line {line}: {error}")))?;
        Ok(Some(ConfigFile { path: path.to_owned(), defaults }))
    }

    /// Where it was read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the defaults in the place of the built-in ones. Options and the environment still come first.
    pub(super) fn apply(&self, mut command: Command) -> Command {
        for (name, value) in &self.defaults {
            let is_it = |arg: &&clap::Arg| arg.get_long() == Some(name);
            let id = command.get_arguments().find(is_it).map(|arg| arg.get_id().clone());
            if let Some(id) = id {
                command = command.mut_arg(id, |arg| arg.default_value(value.clone()));
            }
        }
        command.mut_subcommands(|command| self.apply(command))
    }
}

/// The defaults that a text sets, or the line and what is wrong there.
fn parse(text: &str) -> Result<Vec<(&'static str, String)>, (usize, String)> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        (line, error.message().replace('\n', " "))
    })?;
    let mut defaults = Vec::new();
    for (key, value) in document.get_ref() {
        let line = line_of(text, key.span().start);
        let name = display_name(key.get_ref());
        let DeValue::Table(table) = value.get_ref() else {
            return Err((line, misplaced(&name)));
        };
        if key.get_ref() != TABLE {
            return Err((line, format!("unknown table [{name}]: the only table is [{TABLE}]")));
        }
        for (key, value) in table {
            let line = line_of(text, key.span().start);
            let name = display_name(key.get_ref());
            let Some((known, check)) = KEYS.iter().find(|(known, _)| known == key.get_ref()) else {
                return Err((line, refused(&name)));
            };
            let value = check(value.get_ref()).map_err(|e| (line, format!("key `{name}`: {e}")))?;
            defaults.push((*known, value));
        }
    }
    Ok(defaults)
}

/// Why a key outside the table of the defaults is not read.
fn misplaced(name: &str) -> String {
    match KEYS.iter().any(|(known, _)| *known == name) {
        true => format!("key `{name}` belongs in [{TABLE}]: write that line above it"),
        false => format!("unknown key `{name}`; keys belong in [{TABLE}] and are {}", keys()),
    }
}

/// The keys that can be set, as a list.
fn keys() -> String {
    KEYS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Why a key cannot be set.
fn refused(name: &str) -> String {
    if is_option(&command::command(), name) {
        return format!(
            "key `{name}` cannot be set in a configuration file, since it can decide a verdict; use --{name} or a policy"
        );
    }
    format!("unknown key `{name}`; the keys are {}", keys())
}

/// Whether a command, or one below it, has an option of this name.
fn is_option(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(name))
        || command.get_subcommands().any(|command| is_option(command, name))
}

/// The line, from 1, of a byte of a text.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "expected a string".to_owned())
}

fn number(value: &DeValue<'_>) -> Result<String, String> {
    let integer = value.as_integer().filter(|n| n.radix() == 10).map(|n| n.as_str());
    let number = integer.or_else(|| value.as_float().map(|n| n.as_str()));
    number.map(str::to_owned).ok_or_else(|| "expected a number".to_owned())
}

fn flag(value: &DeValue<'_>) -> Result<String, String> {
    value.as_bool().map(|flag| flag.to_string()).ok_or_else(|| "expected true or false".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::MeasurementArgs;
    use crate::cli::command::Arguments;
    use clap::FromArgMatches;

    fn general(args: &[&str]) -> General {
        let args = ["tensorseal"].iter().chain(args).chain(&["explain"]);
        let matches = command::command().try_get_matches_from(args).unwrap();
        Arguments::from_arg_matches(&matches).unwrap().general
    }

    fn wrong(text: &str) -> (usize, String) {
        parse(text).unwrap_err()
    }

    #[test]
    fn every_key_is_an_option_and_has_a_check() {
        let text = "[defaults]\ndevice = \"cpu\"\nthreads = 4\ncross-check = 2.5\nformat = \"json\"\n\
                    show = \"info\"\nquiet = true\nverbose = 1\nno-progress = true\n";
        let mut found = parse(text).unwrap();
        found.sort();
        assert_eq!(found.len(), KEYS.len());
        assert!(found.contains(&("cross-check", "2.5".to_owned())));
        let command = command::command();
        assert!(KEYS.iter().all(|(name, _)| is_option(&command, name)));
    }

    #[test]
    fn what_decides_a_verdict_is_refused_by_name() {
        for name in [
            "fail-on",
            "expect-root",
            "allow-symlinks",
            "ignore-unsigned-files",
            "ignore-path",
            "content-only",
            "no-ignore-git-paths",
            "policy",
            "public-key",
            "require-all",
            "no-pinpoint",
        ] {
            let (line, error) = wrong(&format!("[defaults]\nthreads = 1\n{name} = true\n"));
            assert_eq!(line, 3);
            assert!(error.contains(name) && error.contains("cannot be set"), "{error}");
        }
    }

    #[test]
    fn mistakes_name_their_line_and_key() {
        for (text, line, words) in [
            ("[defaults]\n\ndevcie = \"cpu\"\n", 3, "unknown key `devcie`"),
            ("device = \"cpu\"\n", 1, "[defaults]"),
            ("[defaults]\n[more]\n", 2, "unknown table [more]"),
            ("[defaults]\nthreads = \"many\"\n", 2, "key `threads`: expected a number"),
            ("[defaults]\nthreads = 5000\n", 2, "key `threads`"),
            ("[defaults]\nformat = \"html\"\n", 2, "key `format`: expected human or json"),
            ("[defaults]\nshow = \"all\"\n", 2, "key `show`"),
            ("[defaults]\nquiet = 1\n", 2, "key `quiet`: expected true or false"),
            ("[defaults]\nverbose = 3\n", 2, "key `verbose`"),
            ("[defaults]\ndevice = \"\"\n", 2, "key `device`"),
            ("[defaults]\nthreads = = 1\n", 2, ""),
        ] {
            let (found, error) = wrong(text);
            assert!(found == line && error.contains(words), "{text:?}: {found}: {error}");
        }
    }

    /// Flag before environment before file before built-in. The environment is clap's, and left alone here.
    #[test]
    fn options_come_before_the_file() {
        let file = ConfigFile {
            path: PathBuf::new(),
            defaults: parse("[defaults]\nthreads = 3\nquiet = true\ndevice = \"cpu\"\n").unwrap(),
        };
        let parsed = |args: &[&str]| {
            let matches = file.apply(command::command()).try_get_matches_from(args).unwrap();
            let arguments = Arguments::from_arg_matches(&matches).unwrap();
            let command::Command::Seal(seal) = arguments.command else { panic!() };
            let MeasurementArgs { device, .. } = seal.measuring;
            (arguments.general.quiet, device)
        };
        assert_eq!(parsed(&["tensorseal", "seal", "m"]), (true, DeviceChoice::Cpu));
        let gpu = parsed(&["tensorseal", "seal", "m", "--device", "gpu"]);
        assert_eq!(gpu, (true, DeviceChoice::Gpu));
    }

    #[test]
    fn only_absolute_places_are_searched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OF_USER);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "[defaults]\nthreads = 2\n").unwrap();
        let home = dir.path().as_os_str().to_owned();
        let find = |general: &General, name: &'static str, value: OsString| {
            let environment = |asked: &str| (asked == name).then(|| value.clone());
            ConfigFile::find(general, &environment).map(|file| file.map(|file| file.path))
        };
        let plain = general(&[]);
        assert_eq!(find(&plain, "XDG_CONFIG_HOME", home.clone()).unwrap(), Some(path.clone()));
        assert_eq!(find(&plain, "TENSORSEAL_CONFIG", path.clone().into()).unwrap(), Some(path));
        assert_eq!(find(&general(&["--no-config"]), "XDG_CONFIG_HOME", home).unwrap(), None);
        // A relative directory, and the file of another name in the current one, are no places.
        assert_eq!(find(&plain, "XDG_CONFIG_HOME", ".".into()).unwrap(), None);
        let missing = find(&plain, "TENSORSEAL_CONFIG", "/nonexistent.toml".into());
        assert!(missing.unwrap_err().error.to_string().contains("/nonexistent.toml"));
    }
}
