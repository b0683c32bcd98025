//! The verdict as statements for others, signed when a key is given.

use super::args::{StatementArgs, StatementKind};
use crate::cli::Failure;
use crate::cli::signing::args::SignerArgs;
use crate::cli::signing::keys;
use anyhow::Context;
use std::path::{Path, PathBuf};
use tensorseal_core::verbs::gate::StatementSubject;
use tensorseal_core::verbs::output::write_whole;
use tensorseal_report::statement::StatementContext;
use tensorseal_report::{Report, svr, vsa};
use tensorseal_signing::{PrivateKey, SigningMethod, sign_statement};

/// The key that signs the statements. Its passphrase is prompted for before the model is read, not after.
pub(super) fn signer(args: &StatementArgs) -> Result<Option<(PrivateKey, SigningMethod)>, Failure> {
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
pub(super) type StatementFile<'a> = (&'a Path, Vec<u8>);

/// Builds every statement that the options name.
pub(super) fn make<'a>(
    args: &'a StatementArgs,
    subject: StatementSubject,
    key: Option<&(PrivateKey, SigningMethod)>,
    report: &Report,
) -> Result<Vec<StatementFile<'a>>, Failure> {
    let stated = StatementContext {
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
pub(super) fn write(statements: &[StatementFile<'_>]) -> Result<(), Failure> {
    statements.iter().try_for_each(|(path, text)| {
        write_whole(path, &|out| out.write_all(text))
            .with_context(|| format!("cannot write the statement to {}", path.display()))
            .map_err(Failure::incomplete)
    })
}
