//! Watermarks of the scheme of this program.

use super::conclude;
use crate::cli::args::General;
use crate::cli::watermark::args::DetectArgs;
use crate::cli::watermark::{claim_failure, detect_failure, no_carriers, read_key};
use crate::cli::{CommandResult, Failure, running};
use anyhow::anyhow;
use tensorseal_core::judge::presence::{self, OriginalProvenance};
use tensorseal_core::judge::watermark::{
    self as judge, ClaimedMark, Detection, DetectionContext, DetectionMode,
};
use tensorseal_core::judge::{Finding, structure};
use tensorseal_core::seal::{build, document::root_text};
use tensorseal_core::verbs::gate::refuse_duplicate_keys;
use tensorseal_core::verbs::open;
use tensorseal_core::watermark::claim::{Claim, ClaimError};
use tensorseal_core::watermark::detect::{self, GroupSums, MAX_KEYS, WatermarkMeasurement};
use tensorseal_core::watermark::informed;
use tensorseal_core::watermark::key::WatermarkKey;
use tensorseal_core::watermark::unreadable::UnreadableWeights;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::Checkpoint;
use tensorseal_report::Report;
use tensorseal_weights::Weights;

pub(super) fn run(args: &DetectArgs, general: &General) -> CommandResult {
    if !args.key_id.is_empty() {
        return Err(Failure::usage(anyhow!(
            "--key-id is for other schemes; commit to a key of this scheme with --claim"
        )));
    }
    let keys = read_keys(args)?;
    let mut report = Report::new("watermark detect", &args.model.display().to_string());
    let claim = read_claim(args, &keys, &mut report.findings)?;
    let open = |path| open::open_weights(path, args.opening.options());
    let model = open(&args.model)?;
    let original = args.original.as_deref().map(open).transpose()?;
    let (measured, difference) = running::watched(general, |progress| {
        let options = running::run_options(&args.measuring);
        let measured =
            detect::measure(&model, &keys, &options, progress).map_err(detect_failure)?;
        if measured.carriers.has_no_candidates() {
            return Err(no_carriers(&args.model));
        }
        let difference = original
            .as_ref()
            .map(|original| difference(original, &model, &measured, &keys, args, progress))
            .transpose()?;
        Ok((measured, difference))
    })?;
    report.fill(&model, &measured.model, &measured.run);
    report.findings.extend(structure::weight_findings(&model));
    report
        .findings
        .extend(structure::unknown_quantisation(&model, &Weights::from_checkpoint(&model)));
    let difference = match difference.transpose() {
        Ok(difference) => difference,
        Err(why) => {
            report.findings.push(Finding::new("watermark/other-original", why));
            None
        }
    };
    report.findings.extend(
        difference
            .as_ref()
            .and_then(|difference| presence::unreadable_original(&difference.not_read)),
    );
    let informed = difference.as_ref().map(|difference| &difference.groups[..]);
    let detections: Vec<Detection> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let claimed = claim.as_ref().filter(|claim| claim.is_opened_by(key));
            let claimed = claimed.map(|c| ClaimedMark { payload: c.payload(), alpha: c.alpha });
            let context = DetectionContext { keys: keys.len(), claim: claimed };
            let ways = [
                (DetectionMode::Blind, Some(&measured.groups[..])),
                (DetectionMode::Informed, informed),
            ];
            let ways: Vec<judge::KeyMeasurement<'_>> = ways
                .into_iter()
                .filter_map(|(mode, groups)| {
                    let groups = groups?.iter().map(|g| (g.name.as_str(), &g.sums[at])).collect();
                    Some(judge::KeyMeasurement { mode, groups })
                })
                .collect();
            judge::judge(key.id(), &ways, &context).with_unreadable(&measured.carriers.unreadable)
        })
        .collect();
    for detection in &detections {
        let original = difference.as_ref().map(|difference| difference.original);
        let expected = args.expect.map(Into::into).unwrap_or_default();
        report.findings.extend(presence::findings(detection, expected, original));
    }
    let models: Vec<&Checkpoint> = [&model].into_iter().chain(&original).collect();
    conclude(&models, report, detections, (&args.common, general), args.expect)
}

fn read_keys(args: &DetectArgs) -> Result<Vec<WatermarkKey>, Failure> {
    if args.key.is_empty() {
        return Err(Failure::usage(anyhow!("no key to test; give one with --key")));
    }
    if args.key.len() > MAX_KEYS {
        return Err(Failure::usage(anyhow!("at most {MAX_KEYS} keys can be tested at once")));
    }
    let keys: Vec<WatermarkKey> =
        args.key.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?;
    refuse_duplicate_keys(keys.iter().map(WatermarkKey::id))?;
    Ok(keys)
}

/// Reads the claim. A claim that is invalid is a finding, one that does not exist is an error.
fn read_claim(
    args: &DetectArgs,
    keys: &[WatermarkKey],
    findings: &mut Vec<Finding>,
) -> Result<Option<Claim>, Failure> {
    let Some(path) = &args.claim else { return Ok(None) };
    let name = path.display().to_string();
    match Claim::read(path) {
        Ok(claim) if keys.iter().any(|key| claim.is_opened_by(key)) => Ok(Some(claim)),
        Ok(claim) => {
            let message = format!(
                "the claim belongs to key {}, which is not among the given keys; it is no evidence for them",
                claim.key_id
            );
            findings.push(Finding::new("watermark/claim-not-opened", message).in_file(&name));
            Ok(None)
        }
        Err(error @ ClaimError::Malformed { .. }) => {
            let message = format!("the claim cannot be used: {error}");
            findings.push(Finding::new("watermark/claim-invalid", message).in_file(&name));
            Ok(None)
        }
        Err(error) => Err(claim_failure(error)),
    }
}

/// The difference of a model from its original, correlated with the keys.
struct Difference {
    groups: Vec<GroupSums>,
    original: OriginalProvenance,
    /// The weights of the original that could not be read.
    not_read: UnreadableWeights,
}

/// Digests the original and correlates the difference from it. Returns the reason if the original is not the
/// published one or has nothing in common with the model; it is not used then.
fn difference(
    original: &Checkpoint,
    model: &Checkpoint,
    measured: &WatermarkMeasurement,
    keys: &[WatermarkKey],
    args: &DetectArgs,
    progress: &Progress,
) -> Result<Result<Difference, String>, Failure> {
    let options = running::run_options(&args.measuring);
    let (seal, _) =
        build::measure(original, false, &options, progress).map_err(running::failure)?;
    let found = seal.model.root;
    let published = args.original_root.map(|root| root_text(&root));
    if let Some(root) = published.as_ref().filter(|root| **root != found) {
        return Ok(Err(format!(
            "the original has root {found}, but the published root is {root}; the original was not used"
        )));
    }
    let informed =
        informed::measure(model, original, &measured.carriers, keys, &options.threads, progress)
            .map_err(running::failure)?;
    if informed.paired == 0 {
        let mut why =
            "the original has no carrier with the same name and shape; it was not used".to_owned();
        if !informed.unreadable.is_empty() {
            why += &format!("; {} in it", informed.unreadable.summary());
        }
        return Ok(Err(why));
    }
    let original =
        published.map_or(OriginalProvenance::Unpublished, |_| OriginalProvenance::Published);
    Ok(Ok(Difference { groups: informed.groups, original, not_read: informed.unreadable }))
}
