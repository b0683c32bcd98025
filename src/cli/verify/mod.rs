//! `tensorseal verify`: measure a model and compare it with its seal.

use super::args::VerifyArgs;
use super::pinpointing::{self, Compared};
use super::{Failure, Outcome, output, profiles, running, sealed};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use tensorseal::checkpoint::{Checkpoint, FileKind, LeftOut, NotCovered, Problem};
use tensorseal::engine::device::DeviceChoice;
use tensorseal::judge::integrity::{self, Options};
use tensorseal::judge::{Finding, Severity, change};
use tensorseal::pinpoint::fine;
use tensorseal::pinpoint::search::Limits;
use tensorseal::report::Report;
use tensorseal::report::human::Palette;
use tensorseal::report::profile::Profile;
use tensorseal::report::units::count;
use tensorseal::seal::build::FILE_DIGESTS;
use tensorseal::seal::{self, Seal, document, layout};
use tensorseal::stream::plan::Plan;
use tensorseal::stream::progress::Progress;

/// Changed tensors whose values are looked at again to say what the change looks like.
const LOOKED_AT: usize = 64;

pub fn run(args: &VerifyArgs) -> Outcome {
    let mut report = Report::new("verify", &args.model.display().to_string());
    let optional = args.expect_root.is_some() && args.seal.is_none();
    let sealed = sealed::read(&args.model, args.seal.as_deref(), optional, &mut report)?;
    if sealed.is_none() && !report.findings.is_empty() && args.expect_root.is_none() {
        // A seal that cannot be trusted says nothing of the model.
        report.judge(args.common.fail_on);
        return output::finish(&report, &args.common, &|_, _| Ok(()));
    }
    let seals = running::seals_inside(&args.model, args.seal.as_deref());
    let expected = sealed.as_ref().map(|s| s.files.iter().map(|file| file.path.clone()).collect());
    let mut model = running::open(&args.model, &args.opening, seals, expected)?;
    let damaged = layout::adopt(&mut model, sealed.as_ref());
    let file_digests =
        args.file_digests && sealed.iter().flat_map(|s| &s.files).any(|file| file.sha256.is_some());
    let trusted = sealed.as_ref().filter(|seal| {
        args.expect_root.is_none_or(|root| document::root_text(&root) == seal.model.root)
    });
    let mut findings = problems(&model, sealed.as_ref());
    let options = running::run_options(&args.measuring);
    let (found, run, explained) =
        running::watched(&args.measuring, args.common.quiet, |progress| {
            let hashing = if file_digests { &FILE_DIGESTS[..] } else { &[] };
            let plan = Plan::everything(&model, false).with_file_hashing(&model, hashing);
            let (found, run) = seal::build::measure_plan(&model, &plan, &options, progress)
                .map_err(running::failure)?;
            let mut explained = BTreeMap::new();
            if let Some(sealed) = trusted {
                let content_only = Options { content_only: args.content_only };
                let differences = integrity::compare(sealed, &found, &damaged, content_only);
                findings.extend(differences.findings);
                explained = differences.explained;
                let compared =
                    Compared { model: &model, sealed, found: &found, damaged: &damaged.headers };
                pinpoint(&compared, &mut findings, args, progress)?;
            }
            Ok((found, run, explained))
        })?;
    running::say_who_measured(&run, args.common.quiet);
    running::fill(&mut report, &model, &found.model, &run);
    if args.full {
        report.tensors = serde_json::to_value(&found.tensors).ok();
    }
    if sealed.is_none() {
        report.coverage.not_covered.extend(beside_the_root(&model));
    }
    if let Some(expected) = &args.expect_root {
        expect(expected, sealed.as_ref(), &found, &mut report);
    }
    if let Some(sealed) = trusted {
        report.profiles = look_again(&mut findings, sealed, &model, args)?;
    }
    // What damage explains is not said twice, and makes the damage no less bad.
    for problem in findings.iter_mut().filter(|finding| finding.rule.starts_with("format/")) {
        let worst = problem.file.as_ref().and_then(|path| explained.get(path));
        if problem.severity > Severity::Info && worst.is_some_and(|w| *w > problem.severity) {
            problem.severity = worst.copied().unwrap_or(problem.severity);
        }
    }
    report.findings.append(&mut findings);
    report.judge(args.common.fail_on);
    profiles::place(&mut report, &model);
    let intact = trusted.filter(|_| report.findings.iter().all(|f| f.severity <= Severity::Info));
    let source = report.seal.as_ref().map(|seal| seal.source.clone());
    let pinned = args.expect_root.is_some();
    output::finish(&report, &args.common, &|out, palette| {
        summary(out, palette, source.as_deref(), intact, pinned)
    })
}

/// Searches what changed for flipped bits; what is wrong with the fine sidecar is a finding.
fn pinpoint(
    compared: &Compared<'_>,
    findings: &mut Vec<Finding>,
    args: &VerifyArgs,
    progress: &Progress,
) -> Result<(), Failure> {
    let path = sealed::place(&args.model, args.seal.as_deref());
    let mut of_fine = Vec::new();
    let fine = sealed::fine(&path, compared.sealed, &mut of_fine);
    if !args.no_pinpoint {
        let mut all: Vec<&mut Finding> = findings.iter_mut().collect();
        let limits = Limits { searches: args.pinpointing.pinpoint_limit };
        let threads = args.measuring.threads;
        let (search, _) =
            pinpointing::pinpoint(compared, &mut all, fine, limits, threads, progress)
                .map_err(running::failure)?;
        of_fine.extend(search.fine.map(|e| sealed::fine_finding(&fine::path_of(&path), &e)));
    }
    findings.append(&mut of_fine);
    Ok(())
}

/// Structural problems as findings, except an index that names a sealed shard which is gone: that
/// the shard is missing is said by the comparison.
fn problems(model: &Checkpoint, sealed: Option<&Seal>) -> Vec<Finding> {
    let here: BTreeSet<&str> = model.own_files().iter().map(|file| file.path.as_str()).collect();
    let gone: Vec<&str> = sealed
        .iter()
        .flat_map(|seal| &seal.files)
        .map(|file| file.path.as_str())
        .filter(|path| !here.contains(path))
        .collect();
    let said = |problem: &Problem| {
        problem.rule == "format/shard-missing"
            && gone.iter().any(|path| problem.message.contains(&format!("'{}'", shard_name(path))))
    };
    model.problems.iter().filter(|problem| !said(problem)).map(running::finding).collect()
}

/// A shard as its index names it: a file in the same directory.
fn shard_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Compares with the root that was given from elsewhere.
fn expect(expected: &[u8; 32], sealed: Option<&Seal>, found: &Seal, report: &mut Report) {
    let expected = document::root_text(expected);
    if found.model.root != expected {
        let message = format!("the model root is {}, expected {expected}", found.model.root);
        report.findings.push(Finding::new("integrity/other-model", message));
    } else if let Some(sealed) = sealed.filter(|sealed| sealed.model.root != expected) {
        let message = format!("the seal is of another model: its root is {}", sealed.model.root);
        report.findings.push(Finding::new("integrity/seal-invalid", message));
    }
}

/// What a model root alone does not vouch for: everything that is not a tensor.
fn beside_the_root(model: &Checkpoint) -> impl Iterator<Item = NotCovered> {
    model.own_files().iter().map(|file| {
        let what = match file.kind {
            FileKind::Other => "the file",
            _ => "its bytes outside tensors",
        };
        let reason = format!("{what}: not part of the model root, only a seal covers it");
        NotCovered { path: file.path.clone(), reason, kind: LeftOut::BesideRoot }
    })
}

/// Measures the values of changed tensors, to say what the change looks like, and to draw it.
fn look_again(
    findings: &mut [Finding],
    sealed: &Seal,
    model: &Checkpoint,
    args: &VerifyArgs,
) -> Result<Vec<Profile>, Failure> {
    let names: HashMap<&str, usize> =
        model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let mut wanted: HashMap<usize, &mut Finding> = HashMap::new();
    for finding in findings.iter_mut() {
        let changed = finding.rule == "integrity/tensor-changed" && finding.other_tensor.is_none();
        let index = finding.tensor.as_deref().and_then(|name| names.get(name));
        if let Some(index) = index
            && changed
            && wanted.len() < LOOKED_AT
        {
            wanted.insert(*index, finding);
        }
    }
    let before = |name: &str| {
        let index = sealed.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        sealed.tensors[index].distribution.as_ref()
    };
    wanted.retain(|index, _| before(&model.tensors[*index].name).is_some());
    let mut drawn = Vec::new();
    if wanted.is_empty() {
        return Ok(drawn);
    }
    let tensors: Vec<usize> = wanted.keys().copied().collect();
    // A few tensors, in the page cache: not worth a device.
    let mut options = running::run_options(&args.measuring);
    options.device = DeviceChoice::Cpu;
    options.cross_check = 0.0;
    let after = seal::build::distributions(model, &tensors, &options, &Progress::default())
        .map_err(running::failure)?;
    for (index, after) in after {
        if let (Some(finding), Some(before)) =
            (wanted.get_mut(&index), before(&model.tensors[index].name))
        {
            change::describe(finding, before, &after);
            drawn.push(profiles::compared(model, index, before, &after));
        }
    }
    Ok(drawn)
}

fn summary(
    out: &mut dyn Write,
    palette: Palette,
    source: Option<&str>,
    intact: Option<&Seal>,
    pinned: bool,
) -> io::Result<()> {
    if let Some(source) = source {
        writeln!(out, "seal      {source}")?;
        let words = if pinned {
            "unsigned seal: its tensors are held to the expected root, its other files only to the seal"
        } else {
            "unsigned seal: it proves nothing against someone who can write both; pin the root with --expect-root"
        };
        writeln!(out, "          {}", palette.dim(words))?;
    }
    if let Some(seal) = intact {
        let others = seal.files.iter().filter(|file| file.outside.is_none()).count() as u64;
        writeln!(
            out,
            "intact    {} and {}",
            count(seal.model.tensors, "tensor"),
            count(others, "other file")
        )?;
    }
    Ok(())
}
