//! The verdict as statements for others, signed when a key is given.

use super::args::{StatementKind, Stating};
use crate::cli::Failure;
use crate::cli::signing::args::SignerArgs;
use crate::cli::signing::keys;
use crate::report::statement::Stated;
use crate::report::{Report, svr, vsa};
use crate::signing::{Method, PrivateKey, sign_statement};
use crate::verbs::gate::Subject;
use crate::verbs::output::write_whole;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// The key that signs the statements. Its passphrase is prompted for before the model is read, not after.
pub fn signer(args: &Stating) -> Result<Option<(PrivateKey, Method)>, Failure> {
    let Some(key) = &args.key else { return Ok(None) };
    keys::signer(&SignerArgs {
        key: key.clone(),
        passphrase_file: args.passphrase_file.clone(),
        cert: args.cert.clone(),
        chain: args.chain.clone(),
    })
    .map(Some)
}

/// A statement and the path to write it to.
pub type Made<'a> = (&'a Path, Vec<u8>);

/// Builds every statement that the options name.
pub fn make<'a>(
    args: &'a Stating,
    subject: Subject,
    key: Option<&(PrivateKey, Method)>,
    report: &Report,
) -> Result<Vec<Made<'a>>, Failure> {
    let stated = Stated {
        subject: subject.name,
        sha256: subject.sha256,
        resource_uri: args.resource_uri.clone(),
        policy_uri: args.policy_uri.clone(),
        verifier: args.verifier_id.clone(),
        inputs: subject.inputs,
    };
    let make = |(kind, path): &'a (StatementKind, PathBuf)| {
        let statement = match kind {
            StatementKind::Vsa => vsa::statement(report, &stated),
            StatementKind::Svr => svr::statement(report, &stated),
        };
        let mut text = statement.map_err(Failure::incomplete)?.to_json();
        if let Some((key, method)) = key {
            text = sign_statement(&text, key, method).map_err(Failure::usage)?;
        }
        text.push(b'\n');
        Ok((path.as_path(), text))
    };
    args.statement.iter().map(make).collect()
}

/// Writes them.
pub fn write(statements: &[Made<'_>]) -> Result<(), Failure> {
    statements.iter().try_for_each(|(path, text)| {
        write_whole(path, &|out| out.write_all(text))
            .with_context(|| format!("cannot write the statement to {}", path.display()))
            .map_err(Failure::incomplete)
    })
}
