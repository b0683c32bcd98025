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
    let mut options = SignOptions {
        output: args.output.clone(),
        hashing: FileHashing { algorithm: args.hash, shard: args.shard_size },
        ignore_paths: args.ignore_path.clone(),
        attest: args.attest.iter().map(|facts| facts.kind()).collect(),
        seal: args.seal.clone(),
        claim: args.claim.clone(),
        allow_malformed: args.allow_malformed,
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        fail_on: args.common.fail_on,
        ..SignOptions::new(&signer)
    };
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
        output::quoted(&args.model),
        output::quoted(signature)
    );
    if args.signer.cert.is_some() {
        return format!("verify it with {verify} --ca ROOT.pem`");
    }
    let key = output::quoted(&args.signer.key);
    format!(
        "write the public key with `openssl pkey -in {key} -pubout -out PUB.pem`, and verify the signature with {verify} --public-key PUB.pem`"
    )
}
