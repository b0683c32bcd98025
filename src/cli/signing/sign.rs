//! `tensorseal sign`: list the digest of every file of a model, and sign the list.

use super::args::SignArgs;
use super::places::check_output;
use super::{attest, keys, signed};
use crate::cli::{Failure, Outcome, exit, output};
use anyhow::{Context, anyhow};
use std::fs;
use std::path::Path;
use tensorseal::checkpoint::{Checkpoint, GIT_NAMES, OpenOptions, Problem, display_name};
use tensorseal::judge::signature;
use tensorseal::report::signature::SignedModel;
use tensorseal::report::{Report, SignatureUsed};
use tensorseal::severity::Severity;
use tensorseal::signing::{
    self, Certificate, Manifest, Method, PrivateKey, Resource, Signer, Trust,
};
use tensorseal::stream::hashing::{FileDigests, FileHashing, HashAlgorithm};
use tensorseal::verbs::{Inputs, places};

/// How every bundle begins.
const START: &[u8] = b"{\"mediaType\":";

/// Runs the verb.
pub fn run(args: &SignArgs) -> Outcome {
    let target = args.output.clone().unwrap_or_else(|| places::default_bundle(&args.model));
    let beside = places::attestations_of(&target);
    let (key, method) = keys::signer(&args.signer)?;
    check_output(&target, START, "signature")?;
    check_output(&beside, START, "file of attestations")?;
    let own = places::inside(&args.model, &[&target, &beside]);
    let model = open(args, own.clone())?;
    let asked = places::ignored(&args.model, &args.ignore_path)?;
    let files = signature::to_sign(&model, &asked);
    check(args, &model, &files, &asked)?;
    let hashing = FileHashing { algorithm: args.hash, shard: args.shard_size };
    let measured = attest::measure(args, &model, &files, hashing)?;
    let listed = Listed { args, own, asked, hashing };
    let manifest = listed.manifest(&model, &files, &measured.digests)?;
    let bundle = sign(&manifest, &key, &method)?;
    let mut inputs = Inputs::default();
    let attested = attest::sign(args, &measured, &manifest, (&key, &method), &mut inputs)?;
    inputs.settle(&[&model])?;
    write(&target, &bundle)?;
    if !attested.lines.is_empty() {
        write(&beside, &attested.lines)?;
    } else if beside.is_file() {
        fs::remove_file(&beside)
            .with_context(|| format!("cannot remove {}, of an older signature", beside.display()))
            .map_err(Failure::incomplete)?;
    }
    let mut report = Report::new("sign", &args.model.display().to_string());
    measured.fill(&mut report, &model);
    report.notes.extend(who_reads_it(args));
    report.coverage.not_covered.retain(|entry| !entry.kind.is_beside());
    report.coverage.not_covered.extend(signature::left_out(&model, &listed.asked));
    report.signature = Some(SignatureUsed {
        source: target.display().to_string(),
        signer: Some(match &method {
            Method::Key => Signer::of_key(&key.public()),
            Method::Certificate { leaf, .. } => Signer::of_certificate(leaf),
        }),
        signed: Some(SignedModel::of(&manifest)),
        attestations: attested.used,
    });
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|out, palette| signed::summary(out, palette, &report))
}

fn open(args: &SignArgs, exclude: Vec<String>) -> Result<Checkpoint, Failure> {
    let options = OpenOptions {
        allow_symlinks: args.opening.allow_symlinks,
        include_git_paths: args.opening.no_ignore_git_paths,
        exclude,
        seals: places::seals_inside(&args.model, args.seal.as_deref()),
        list_beside: true,
        expected_files: None,
    };
    Ok(Checkpoint::open(&args.model, &options)?)
}

/// Whether everything in the model can be signed. What a signature cannot say is not left out in silence.
fn check(
    args: &SignArgs,
    model: &Checkpoint,
    files: &[usize],
    asked: &[String],
) -> Result<(), Failure> {
    if files.is_empty() {
        let error = anyhow!("{}: no file: nothing to sign", args.model.display());
        return Err(Failure { code: exit::NOTHING, error });
    }
    let uncovered = |problem: &&Problem| signature::is_of_coverage(problem.rule);
    let mut problems = model.problems.iter();
    let first = match args.allow_malformed {
        true => problems.find(uncovered),
        false => problems.find(|problem| {
            problem.severity > Severity::Low && !problem.companion || uncovered(problem)
        }),
    };
    if let Some(first) = first {
        let hint = match uncovered(&first) {
            true => "nobody could verify a signature of it",
            false => "--allow-malformed signs it all the same",
        };
        return Err(Failure::incomplete(anyhow!("{}; {hint}", first.message)));
    }
    let linked = files.iter().map(|at| &model.files[*at]).filter(|file| file.link.is_some());
    let directories = signature::links_to_sign(model, asked).map(|link| &link.path);
    if let Some(link) = linked.map(|file| &file.path).chain(directories).next()
        && !args.opening.allow_symlinks
    {
        return Err(Failure::usage(anyhow!(
            "{} is a link: sign a copy without links, or with --allow-symlinks, which whoever verifies must give, too",
            display_name(link)
        )));
    }
    let empty = files.iter().map(|at| &model.files[*at]).find(|file| file.bytes == 0);
    if let (Some(empty), Some(_)) = (empty, args.shard_size) {
        return Err(Failure::usage(anyhow!(
            "{} is empty, and a signature of shards cannot list it: ignore it with --ignore-path, or sign without --shard-size",
            display_name(&empty.path)
        )));
    }
    Ok(())
}

/// What a signature lists, and how.
struct Listed<'a> {
    args: &'a SignArgs,
    /// The bundle and its attestations, where they lie in the model.
    own: Vec<String>,
    /// What was asked to be ignored.
    asked: Vec<String>,
    hashing: FileHashing,
}

impl Listed<'_> {
    fn manifest(
        &self,
        model: &Checkpoint,
        files: &[usize],
        digests: &[Option<FileDigests>],
    ) -> Result<Manifest, Failure> {
        let mut resources = Vec::new();
        for index in files {
            let file = &model.files[*index];
            let found = digests.get(*index).and_then(Option::as_ref);
            let found = found.and_then(|found| found.of(self.hashing));
            if found.is_none() && self.hashing.digests(file.bytes) > 0 {
                return Err(Failure::incomplete(anyhow!(
                    "{} was not hashed",
                    display_name(&file.path)
                )));
            }
            let shard = self.hashing.shard.map(|shard| shard.get());
            for (number, digest) in (0..).zip(found.into_iter().flatten()) {
                let range = |shard: u64| [number * shard, ((number + 1) * shard).min(file.bytes)];
                resources.push(Resource {
                    name: file.path.clone(),
                    range: shard.map(range),
                    digest: digest.to_vec(),
                });
            }
        }
        let mut ignore_paths = [self.own.as_slice(), &self.asked].concat();
        if !self.args.opening.no_ignore_git_paths {
            ignore_paths.extend(GIT_NAMES.map(str::to_owned));
        }
        ignore_paths.sort();
        ignore_paths.dedup();
        let links = self.args.opening.allow_symlinks;
        let subject = places::subject(&self.args.model).map_err(Failure::incomplete)?;
        Manifest::new(&subject, self.hashing, links, ignore_paths, resources)
            .map_err(Failure::usage)
    }
}

/// The bundle, which was verified as everybody will.
fn sign(manifest: &Manifest, key: &PrivateKey, method: &Method) -> Result<Vec<u8>, Failure> {
    let bundle = signing::sign_statement(&manifest.to_statement_json(), key, method)
        .map_err(Failure::usage)?;
    let trust = match method {
        Method::Key => Trust::Key(key.public()),
        // Without its root a chain cannot be followed: that is with whoever verifies.
        Method::Certificate { chain, .. } if !chain.iter().any(Certificate::is_root) => {
            return Ok(bundle);
        }
        Method::Certificate { chain, .. } => Trust::Roots(chain.clone()),
    };
    let opened = signing::open(&bundle, &trust, jiff::Timestamp::now())
        .context("the signature that was made does not verify")
        .map_err(Failure::incomplete)?;
    let read = Manifest::parse(&opened.statement)
        .context("what was signed cannot be read")
        .map_err(Failure::incomplete)?;
    if read != *manifest {
        return Err(Failure::incomplete(anyhow!("what was signed is not what was measured")));
    }
    Ok(bundle)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    output::write_file(path, &|out| out.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::incomplete)
}

/// Not every client reads what this one writes.
fn who_reads_it(args: &SignArgs) -> Option<String> {
    let unusual = match (args.hash, args.shard_size) {
        (HashAlgorithm::Sha256, None) => return None,
        (hash, None) => hash.name().to_owned(),
        (hash, Some(_)) => format!("{} in shards", hash.name()),
    };
    Some(format!("{unusual}: read by this program and the Python library, not by every client"))
}
