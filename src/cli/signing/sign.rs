//! `tensorseal sign`: list the digest of every file of a model, and sign the list.

use super::args::SignArgs;
use super::{keys, signed};
use crate::cli::{CommandResult, output, running};
use crate::stream::hashing::FileHashing;
use crate::verbs::{SignOptions, sign};

/// Runs the verb.
pub(crate) fn run(args: &SignArgs) -> CommandResult {
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
    let report = running::watched(&args.measuring, args.common.quiet, |progress| {
        options.progress = progress.clone();
        Ok(sign(&args.model, &options)?)
    })?;
    output::finish(&report, &args.common, &|out, palette| signed::summary(out, palette, &report))
}
