//! Watermarks of published schemes.

use super::conclude;
use crate::cli::args::General;
use crate::cli::watermark::args::{DetectArgs, Expect};
use crate::cli::{CommandResult, Failure, exit, running};
use anyhow::anyhow;
use std::collections::HashSet;
use std::path::Path;
use tensorseal_core::judge::Finding;
use tensorseal_core::judge::presence;
use tensorseal_core::judge::structure;
use tensorseal_core::judge::third_party::{ThirdPartyContext, intervals, judge};
use tensorseal_core::judge::watermark::{Detection, Presence};
use tensorseal_core::seal::build;
use tensorseal_core::verbs::gate::refuse_duplicate_keys;
use tensorseal_core::verbs::open;
use tensorseal_core::watermark::SCHEME;
use tensorseal_core::watermark::third_party::{
    ThirdPartyError, ThirdPartyKey, ThirdPartyKeyError, ThirdPartyMeasurement, ThirdPartyScheme,
    interval, measure,
};
use tensorseal_core::watermark::unreadable::UnreadableWeights;
use tensorseal_format::Checkpoint;
use tensorseal_report::Report;
use tensorseal_weights::Weights;

/// Looks for the marks of keys of `scheme`.
pub(super) fn run(args: &DetectArgs, scheme: ThirdPartyScheme, general: &General) -> CommandResult {
    refuse_native_options(args, true)?;
    if args.key.is_empty() {
        return Err(Failure::usage(anyhow!("no key to test; give one with --key")));
    }
    let mut report = Report::new("watermark detect", &args.model.display().to_string());
    let model = open::open_weights(&args.model, args.opening.options())?;
    let options = running::run_options(&args.measuring);
    let (seal, run, detections) = running::watched(general, |progress| {
        let keys: Vec<ThirdPartyKey> = args
            .key
            .iter()
            .map(|path| {
                let key = ThirdPartyKey::read_watched(path, progress).map_err(key_failure)?;
                check_scheme(path, &key, scheme)?;
                Ok(key)
            })
            .collect::<Result<_, Failure>>()?;
        refuse_duplicate_keys(keys.iter().map(ThirdPartyKey::id))?;
        // All bytes are digested, so that the report identifies the model.
        let (seal, run) =
            build::measure(&model, false, &options, progress).map_err(running::failure)?;
        let mut detections: Vec<Detection> = Vec::with_capacity(keys.len());
        for key in &keys {
            let measured = measure(&model, key, &options.threads, progress).map_err(failure)?;
            let committed = args.key_id.iter().any(|id| id == key.id());
            let context = ThirdPartyContext { keys: keys.len(), committed };
            let found = judge(key.id(), &measured, &context);
            detections.push(found.with_unreadable(&not_read(&model, &measured)));
        }
        Ok((seal, run, detections))
    })?;
    report.fill(&model, &seal.model, &run);
    report.findings.extend(structure::weight_findings(&model));
    report
        .findings
        .extend(structure::unknown_quantisation(&model, &Weights::from_checkpoint(&model)));
    let expected = args.expect.map(Into::into).unwrap_or_default();
    for detection in &detections {
        report.findings.extend(presence::findings(detection, expected, None));
    }
    conclude(&[&model], report, detections, (&args.common, general), args.expect)
}

/// Looks for changes inside quantisation intervals.
pub(super) fn compare(args: &DetectArgs, general: &General) -> CommandResult {
    refuse_native_options(args, false)?;
    let usage = |text: &str| Err(Failure::usage(anyhow!("--scheme interval {text}")));
    if !args.key.is_empty() || !args.key_id.is_empty() {
        return usage("has no key: it compares with --original");
    }
    if args.expect == Some(Expect::Present) {
        return usage("warns of a pattern and never shows that a mark is present");
    }
    let Some(base) = &args.original else {
        return usage("compares with a base model: name it with --original");
    };
    let mut report = Report::new("watermark detect", &args.model.display().to_string());
    let model = open::open_weights(&args.model, args.opening.options())?;
    let base = open::open_weights(base, args.opening.options())?;
    let options = running::run_options(&args.measuring);
    let (seal, base_seal, run, measured) = running::watched(general, |progress| {
        let (seal, run) =
            build::measure(&model, false, &options, progress).map_err(running::failure)?;
        let (base_seal, _) =
            build::measure(&base, false, &options, progress).map_err(running::failure)?;
        let measured =
            interval::measure(&model, &base, &options.threads, progress).map_err(failure)?;
        Ok((seal, base_seal, run, measured))
    })?;
    report.fill(&model, &seal.model, &run);
    report.findings.extend(structure::weight_findings(&model));
    if measured.tensors.is_empty() {
        let error = anyhow!("the two models have no matrix of floats with the same name and shape");
        return Err(Failure { code: exit::NOTHING, error });
    }
    let (detection, findings) = intervals(&measured, &base_seal.model.root);
    report.findings.extend(findings);
    let weights = Weights::from_checkpoint(&model);
    report.findings.extend(structure::unknown_quantisation(&model, &weights));
    let was_absent = detection.verdict == Presence::Absent;
    let detection = detection.with_unreadable(&UnreadableWeights::from_model(&model, &weights));
    if was_absent && let Some(why) = detection.not_looked_for() {
        let message = format!("the result is inconclusive: {why}");
        report.findings.push(Finding::new("watermark/inconclusive", message));
    }
    conclude(&[&model, &base], report, vec![detection], (&args.common, general), args.expect)
}

/// The tensors of the key that could not be decoded, so that their codes were taken for numbers. A scheme that marks
/// codes reads the codes themselves.
fn not_read(model: &Checkpoint, measured: &ThirdPartyMeasurement) -> UnreadableWeights {
    if measured.scheme == ThirdPartyScheme::EmMark {
        return UnreadableWeights::default();
    }
    let Weights { unreadable: mut unread, .. } = Weights::from_checkpoint(model);
    let named: HashSet<&str> = measured.parts.iter().map(|part| part.tensor.as_str()).collect();
    unread.retain(|unread| {
        unread.tensors().any(|index| named.contains(model.tensors[index].name.as_str()))
    });
    UnreadableWeights::from_weights(model, &Weights { readable: Vec::new(), unreadable: unread })
}

/// Refuses options of the scheme of this program.
fn refuse_native_options(args: &DetectArgs, with_original: bool) -> Result<(), Failure> {
    for (given, name) in [
        (args.claim.is_some(), "--claim"),
        (args.original_root.is_some(), "--original-root"),
        (with_original && args.original.is_some(), "--original"),
    ] {
        if given {
            return Err(Failure::usage(anyhow!(
                "{name} is for {SCHEME}; commit to a key of another scheme with --key-id"
            )));
        }
    }
    Ok(())
}

fn check_scheme(path: &Path, key: &ThirdPartyKey, scheme: ThirdPartyScheme) -> Result<(), Failure> {
    if key.scheme() == scheme {
        return Ok(());
    }
    Err(Failure::usage(anyhow!(
        "{}: this is a key of scheme {}, not {scheme}; use --scheme {}",
        path.display(),
        key.scheme(),
        key.scheme()
    )))
}

fn key_failure(error: ThirdPartyKeyError) -> Failure {
    match error {
        ThirdPartyKeyError::Interrupted => Failure { code: exit::INTERRUPTED, error: error.into() },
        _ => Failure::usage(error),
    }
}

/// The exit code of a measurement that failed. A key that names no tensor of this model matched nothing.
fn failure(error: ThirdPartyError) -> Failure {
    match error {
        ThirdPartyError::Run(error) => running::failure(error),
        _ => Failure { code: exit::NOTHING, error: error.into() },
    }
}
