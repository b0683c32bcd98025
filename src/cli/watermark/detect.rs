//! `tensorseal watermark detect`: the marks of keys in a model.

use super::args::DetectArgs;
use super::{detect_failure, no_carriers, read_key};
use crate::cli::{Failure, Outcome, output, running};
use anyhow::anyhow;
use std::io::{self, Write};
use std::path::Path;
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::Finding;
use tensorseal::judge::presence::{self, Original};
use tensorseal::judge::watermark::{self as judge, Claimed, Context, Detection, Mode, Presence};
use tensorseal::report::human::{Palette, shown};
use tensorseal::report::units::grouped;
use tensorseal::report::{Report, Watermark};
use tensorseal::seal::{build, document::root_text};
use tensorseal::stream::progress::Progress;
use tensorseal::watermark::claim::{Claim, ClaimError};
use tensorseal::watermark::detect::{self, GroupSums, MAX_KEYS, Measured};
use tensorseal::watermark::informed;
use tensorseal::watermark::key::WatermarkKey;

/// Groups that are listed for people; the JSON report has all of them.
const LISTED_GROUPS: usize = 40;

pub fn run(args: &DetectArgs) -> Outcome {
    let keys = read_keys(args)?;
    let mut report = Report::new("watermark detect", &args.model.display().to_string());
    let claim = read_claim(args, &keys, &mut report.findings)?;
    let model = open(&args.model, args)?;
    let original = args.original.as_deref().map(|path| open(path, args)).transpose()?;
    let (measured, beside) = running::watched(&args.measuring, args.common.quiet, |progress| {
        let options = running::run_options(&args.measuring, false);
        let measured =
            detect::measure(&model, &keys, &options, progress).map_err(detect_failure)?;
        if measured.carriers.tensors.is_empty() {
            return Err(no_carriers(&args.model));
        }
        let beside = original
            .as_ref()
            .map(|original| beside(original, &model, &measured, &keys, args, progress))
            .transpose()?;
        Ok((measured, beside))
    })?;
    running::say_who_measured(&measured.run, args.common.quiet);
    running::fill(&mut report, &model, &measured.model, &measured.run);
    report.findings.extend(model.problems.iter().map(running::finding));
    let beside = beside.and_then(|beside| usable(beside, args, &mut report.findings));
    let informed = beside.as_ref().map(|beside| &beside.groups[..]);
    let detections: Vec<Detection> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let claimed = claim.as_ref().filter(|claim| claim.is_opened_by(key));
            let claimed = claimed.map(|c| Claimed { payload: c.payload(), alpha: c.alpha });
            let context = Context { keys: keys.len(), claimed };
            let ways = [(Mode::Blind, Some(&measured.groups[..])), (Mode::Informed, informed)];
            let ways: Vec<judge::Measured<'_>> = ways
                .into_iter()
                .filter_map(|(mode, groups)| {
                    let groups = groups?.iter().map(|g| (g.name.as_str(), &g.sums[at])).collect();
                    Some(judge::Measured { mode, groups })
                })
                .collect();
            judge::judge(key.id(), &ways, &context)
        })
        .collect();
    for detection in &detections {
        let original = beside.as_ref().map(|beside| beside.original);
        report.findings.extend(presence::findings(detection, args.expect.into(), original));
    }
    report.judge(args.common.fail_on);
    let shown = detections.clone();
    report.watermark = Some(Watermark::detected(detections));
    output::finish(&report, &args.common, &|out, palette| {
        shown.iter().try_for_each(|detection| describe(out, palette, detection))
    })
}

fn read_keys(args: &DetectArgs) -> Result<Vec<WatermarkKey>, Failure> {
    if args.key.len() > MAX_KEYS {
        return Err(Failure::usage(anyhow!("at most {MAX_KEYS} keys can be looked for at once")));
    }
    let keys: Vec<WatermarkKey> =
        args.key.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?;
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|earlier| earlier.id() == key.id()) {
            return Err(Failure::usage(anyhow!("key {} was given twice", key.id())));
        }
    }
    Ok(keys)
}

/// Reads the claim. What is wrong with it is a finding; that it is not there is not.
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
                "no key that was given opens this claim, which is of key {}: it says nothing for them",
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
        Err(error) => Err(super::claim_failure(error)),
    }
}

fn open(path: &Path, args: &DetectArgs) -> Result<Checkpoint, Failure> {
    let model = running::open(path, &args.opening, running::seals_inside(path, None), None)?;
    running::require_sound(&model)?;
    Ok(model)
}

/// What was measured beside an original.
struct Beside {
    root: String,
    paired: usize,
    groups: Vec<GroupSums>,
    original: Original,
}

/// Digests the original, and correlates the difference from it.
fn beside(
    original: &Checkpoint,
    model: &Checkpoint,
    measured: &Measured,
    keys: &[WatermarkKey],
    args: &DetectArgs,
    progress: &Progress,
) -> Result<Beside, Failure> {
    let options = running::run_options(&args.measuring, false);
    let (seal, run) =
        build::measure(original, false, &options, progress).map_err(running::failure)?;
    let informed =
        informed::measure(model, original, &measured.carriers, keys, run.engine.threads, progress)
            .map_err(running::failure)?;
    let published = args.original_root.is_some();
    Ok(Beside {
        root: seal.model.root,
        paired: informed.paired,
        groups: informed.groups,
        original: if published { Original::Published } else { Original::Unpublished },
    })
}

/// An original that is another than the published one, or has nothing in common, is not used.
fn usable(beside: Beside, args: &DetectArgs, findings: &mut Vec<Finding>) -> Option<Beside> {
    let published = args.original_root.map(|root| root_text(&root));
    let message = match published {
        Some(root) if root != beside.root => {
            format!("the original has root {}, the published one {root}: not used", beside.root)
        }
        _ if beside.paired == 0 => {
            "the original has no carrier of the same name and shape: not used".to_owned()
        }
        _ => return Some(beside),
    };
    findings.push(Finding::new("watermark/other-original", message));
    None
}

/// A detection for people.
fn describe(out: &mut dyn Write, palette: Palette, found: &Detection) -> io::Result<()> {
    let z = |z: Option<f64>| z.map_or("-".to_owned(), |z| format!("{z:.2}"));
    writeln!(out)?;
    writeln!(out, "key       {}  {}", found.key_id, palette.dim(found.scheme))?;
    writeln!(
        out,
        "mark      {}  by chance at most {}, z {}, pilot z {}",
        palette.bold(&found.verdict.name().to_uppercase()),
        found.log10_p.map_or("-".to_owned(), |log10_p| format!("10^{log10_p:.1}")),
        z(found.z),
        z(found.z_pilot)
    )?;
    if let Some(payload) = &found.payload {
        let read = if found.payload_ok { "read, checksum right" } else { "claimed, not read" };
        writeln!(out, "payload   {}  {read}", palette.bold(payload))?;
    }
    let mode = match found.mode {
        Mode::Blind => "weights alone",
        Mode::Informed => "difference from the original",
    };
    writeln!(
        out,
        "carriers  {} elements in {} blocks, {mode}",
        grouped(found.elements),
        grouped(found.blocks)
    )?;
    let evidence = if found.committed {
        "the key opens the claim: what counts is that the claim is older than the publication of the model"
    } else {
        "uncommitted key: not evidence of ownership"
    };
    writeln!(out, "evidence  {evidence}")?;
    if found.verdict == Presence::Present { groups(out, palette, found) } else { Ok(()) }
}

/// Where the mark is.
fn groups(out: &mut dyn Write, palette: Palette, found: &Detection) -> io::Result<()> {
    let name = |name: &str| shown(name);
    let width = |names: &[String]| names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let names: Vec<String> =
        found.groups.iter().take(LISTED_GROUPS).map(|group| name(&group.name)).collect();
    let width = width(&names).max(5);
    writeln!(out)?;
    writeln!(out, "{:<width$}  {:>15}  {:>8}  {:>8}", "group", "elements", "z", "pilot z")?;
    for (name, group) in names.iter().zip(&found.groups) {
        let z = |z: Option<f64>| z.map_or("-".to_owned(), |z| format!("{z:.1}"));
        let (all, pilot) = (z(group.z), z(group.z_pilot));
        let elements = grouped(group.elements);
        writeln!(out, "{name:<width$}  {elements:>15}  {all:>8}  {pilot:>8}")?;
    }
    if found.groups.len() > LISTED_GROUPS {
        let more = grouped((found.groups.len() - LISTED_GROUPS) as u64);
        writeln!(out, "{}", palette.dim(&format!("… and {more} more (all with --format json)")))?;
    }
    Ok(())
}
