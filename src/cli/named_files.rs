//! Files that options name: each must exist, and one that does not is an error that says how to create it.

use super::Failure;
use super::command::Command;
use super::help::CREATE_KEY;
use super::shell::quoted;
use super::watermark::args::WatermarkCommand;
use anyhow::anyhow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file that must exist: what it is, where, and how to create it.
struct NamedFile<'a> {
    role: &'static str,
    path: &'a Path,
    remedy: Option<String>,
}

/// Refuses a command that names a file that does not exist.
pub(super) fn require(command: &Command) -> Result<(), Failure> {
    let missing = named(command).into_iter().find(|file| {
        // Anything else that is wrong is reported by what reads it.
        file.path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    });
    let Some(NamedFile { role, path, remedy }) = missing else { return Ok(()) };
    let remedy = remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
    Err(Failure::usage(anyhow!("no {role} file {}{remedy}", path.display())))
}

fn named(command: &Command) -> Vec<NamedFile<'_>> {
    let mut all = Files(Vec::new());
    match command {
        Command::Verify(args) => {
            all.add("seal", &args.seal);
            all.add_signature(&args.signature.signature);
            let key = "write it with `openssl pkey -in KEY.pem -pubout -out PUB.pem`";
            all.add_or("public key", &args.signature.public_key, key);
            all.add("certificate", &args.signature.ca);
        }
        Command::Sign(args) => {
            let key = &args.signer.key;
            let create = format!("create one with `{CREATE_KEY} -out {}`", quoted(key));
            all.add_or("key", [key], &create);
            all.add("passphrase", &args.signer.passphrase_file);
            all.add("certificate", args.signer.cert.iter().chain(&args.signer.chain));
            all.add("seal", &args.seal);
            all.add_claim(&args.claim);
        }
        Command::Gate(args) => {
            if let Some(path) = &args.policy {
                let path_text = quoted(path);
                let write =
                    format!("write one with `tensorseal gate --print-policy > {path_text}`");
                all.add_or("policy", [path], &write);
            }
            all.add("key", &args.stating.key);
            all.add("passphrase", &args.stating.passphrase_file);
            all.add("certificate", args.stating.cert.iter().chain(&args.stating.chain));
        }
        Command::Repair(args) => all.add("seal", &args.seal),
        Command::Watermark(WatermarkCommand::Claim(args)) => all.add_mark_key([&args.marking.key]),
        Command::Watermark(WatermarkCommand::Embed(args)) => {
            all.add_mark_key([&args.marking.key]);
            all.add_claim(&args.claim);
        }
        Command::Watermark(WatermarkCommand::Detect(args)) => {
            all.add("watermark key", &args.key);
            all.add_claim(&args.claim);
        }
        _ => {}
    }
    all.0
}

struct Files<'a>(Vec<NamedFile<'a>>);

impl<'a> Files<'a> {
    fn add(&mut self, role: &'static str, paths: impl IntoIterator<Item = &'a PathBuf>) {
        self.0.extend(paths.into_iter().map(|path| NamedFile { role, path, remedy: None }));
    }

    fn add_or(
        &mut self,
        role: &'static str,
        paths: impl IntoIterator<Item = &'a PathBuf>,
        remedy: &str,
    ) {
        let remedy = Some(remedy.to_owned());
        let file = |path| NamedFile { role, path, remedy: remedy.clone() };
        self.0.extend(paths.into_iter().map(PathBuf::as_path).map(file));
    }

    fn add_signature(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        let sign = "create it with `tensorseal sign MODEL --key KEY.pem`";
        self.add_or("signature", paths, sign);
    }

    fn add_claim(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        let claim = "create it with `tensorseal watermark claim MODEL --key KEY -o CLAIM`";
        self.add_or("claim", paths, claim);
    }

    fn add_mark_key(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        for path in paths {
            let path_text = quoted(path);
            let create = format!("create one with `tensorseal watermark keygen -o {path_text}`");
            self.add_or("watermark key", [path], &create);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::{Arguments, command};
    use clap::FromArgMatches;

    #[test]
    fn a_file_that_does_not_exist_says_how_to_create_it() {
        for (line, words) in [
            ("verify m --seal /none.json", "no seal file /none.json"),
            ("sign m --key /none.pem", "no key file /none.pem: create one with `openssl genpkey"),
            ("gate m --policy /none.toml", "`tensorseal gate --print-policy > /none.toml`"),
            ("verify m --public-key /none.pem", "no public key file /none.pem: write it with"),
            ("watermark embed m --key /none -o out", "no watermark key file /none: create one"),
            ("watermark detect m --key /none", "no watermark key file /none"),
        ] {
            let args = ["tensorseal"].into_iter().chain(line.split(' '));
            let matches = command().try_get_matches_from(args).unwrap();
            let parsed = Arguments::from_arg_matches(&matches).unwrap();
            let failure = require(&parsed.command).unwrap_err();
            let text = failure.error.to_string();
            assert!(failure.code == 2 && text.contains(words), "{line}: {text}");
        }
    }
}
