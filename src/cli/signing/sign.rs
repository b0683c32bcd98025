//! `tensorseal sign`: list the digest of every file of a model, and sign the list.

use super::args::SignArgs;
use super::{keys, signed};
use crate::cli::args::General;
use crate::cli::{CommandResult, exit, output, running};
use std::path::Path;
use tensorseal_core::verbs::{SignOptions, sign};
use tensorseal_engine::stream::hashing::FileHashing;

/// Runs the verb.
pub(crate) fn run(args: &SignArgs, general: &General) -> CommandResult {
    let signer = keys::signer(&args.signer)?;
    let mut options = SignOptions::new(&signer);
    options.output = args.output.clone();
    options.hashing = FileHashing { algorithm: args.hash, shard: args.shard_size };
    options.ignore_paths = args.ignore_path.clone();
    options.attest = args.attest.iter().map(|facts| facts.kind()).collect();
    options.seal = args.seal.clone();
    options.claim = args.claim.clone();
    options.allow_malformed = args.allow_malformed;
    options.opening = args.opening.options();
    options.run = running::run_options(&args.measuring);
    options.fail_on = args.common.fail_on;
    let report = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(sign(&args.model, &options)?)
    })?;
    let summary: output::Body<'_> = &|out, palette| signed::summary(out, palette, &report);
    let code = output::finish(&report, (&args.common, general), summary)?;
    if let Some(signature) = report.signature.as_ref().filter(|_| code == exit::PASS) {
        output::next(&args.common, general, &next(args, Path::new(&signature.source)));
    }
    Ok(code)
}

/// How to verify what was signed.
fn next(args: &SignArgs, signature: &Path) -> String {
    let verify = format!(
        "`tensorseal verify {} --signature {}",
        crate::cli::shell::quoted(&args.model),
        crate::cli::shell::quoted(signature)
    );
    if args.signer.cert.is_some() {
        return format!("verify it with {verify} --ca ROOT.pem`");
    }
    let key = crate::cli::shell::quoted(&args.signer.key);
    format!(
        "write the public key with `openssl pkey -in {key} -pubout -out PUB.pem`, and verify the signature with {verify} --public-key PUB.pem`"
    )
}
