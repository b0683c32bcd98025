//! `tensorseal watermark embed`: a marked copy of a model.

use super::args::EmbedArgs;
use super::{claim_failure, marking, read_key};
use crate::cli::args::General;
use crate::cli::{CommandResult, Failure, exit, output, running};
use anyhow::anyhow;
use std::io::{self, Write};
use std::path::Path;
use tensorseal_core::judge::embedding::{self, Embedding};
use tensorseal_core::judge::structure;
use tensorseal_core::verbs::open;
use tensorseal_core::verbs::output::check_copy;
use tensorseal_core::watermark::claim::Claim;
use tensorseal_core::watermark::embed::{self, EmbedError, MarkSettings};
use tensorseal_core::watermark::key::WatermarkKey;
use tensorseal_core::watermark::strength::Strength;
use tensorseal_engine::stream::copy::CopyError;
use tensorseal_format::{Checkpoint, Format, display_name};
use tensorseal_report::human::Palette;
use tensorseal_report::units::{count, grouped};
use tensorseal_report::{Report, WatermarkReport};

pub(super) fn run(args: &EmbedArgs, general: &General) -> CommandResult {
    if args.in_place {
        return Err(Failure::usage(anyhow!(
            "--in-place is not supported: the marked model is always written as a copy; give its path with -o"
        )));
    }
    let key = read_key(&args.marking.key)?;
    let claim = args.claim.as_deref().map(|path| read_claim(path, &key)).transpose()?;
    check_copy(&args.marking.model, &args.output)?;
    let model = open::open_weights(&args.marking.model, args.opening.options())?;
    marking::refuse_keys_inside(&model)?;
    refuse_archives(&model)?;
    let options = running::run_options(&args.measuring);
    let (unmarked, mark, embedded) = running::watched(general, |progress| {
        let unmarked = marking::measure(&model, &key, &args.measuring, progress)?;
        if !args.force {
            unmarked.refuse_marked()?;
        }
        let mark = mark(args, claim.as_ref(), &unmarked)?;
        let carriers = &unmarked.measured.carriers;
        let embedded =
            embed::write(&model, carriers, &key, &mark, &args.output, &options.threads, progress)
                .map_err(embed_failure)?;
        Ok((unmarked, mark, embedded))
    })?;
    let measured = &unmarked.measured;
    let carriers = measured.carriers.tensors.len() as u64;
    let (embedding, findings) = embedding::judge(key.id(), &mark, &embedded, carriers);
    let mut report = Report::new("watermark embed", &args.marking.model.display().to_string());
    report.fill(&model, &measured.model, &measured.run);
    report.findings.extend(structure::weight_findings(&model));
    report.findings.extend(findings);
    report.judge(args.common.fail_on);
    let body = lines(&embedding, &args.output, &model);
    report.watermark = Some(WatermarkReport::Embedded(embedding));
    let code = output::finish(&report, (&args.common, general), &|out, palette| {
        write_lines(out, palette, &body)
    })?;
    if code == exit::PASS {
        let copy = crate::cli::shell::quoted(&args.output);
        let text =
            format!("seal and sign the marked model, beginning with `tensorseal seal {copy}`");
        output::next(&args.common, general, &text);
    }
    Ok(code)
}

/// Refuses formats of which a marked copy would be inconsistent: they hold checksums, or tensors that share bytes.
fn refuse_archives(model: &Checkpoint) -> Result<(), Failure> {
    let is_kept = |format| matches!(format, Format::Torch | Format::Numpy);
    match model.model_files().iter().find(|file| file.format.is_some_and(is_kept)) {
        Some(file) => Err(Failure::usage(anyhow!(
            "{}: watermarks cannot be embedded in this format; convert the model to safetensors first",
            display_name(&file.path)
        ))),
        None => Ok(()),
    }
}

/// Reads the claim that sets payload and strength.
fn read_claim(path: &Path, key: &WatermarkKey) -> Result<Claim, Failure> {
    let claim = Claim::read(path).map_err(claim_failure)?;
    if !claim.is_opened_by(key) {
        return Err(Failure::usage(anyhow!(
            "{}: this claim belongs to key {}, not to key {}",
            path.display(),
            claim.key_id,
            key.id()
        )));
    }
    Ok(claim)
}

/// The watermark that the options or the claim describe.
fn mark(
    args: &EmbedArgs,
    claim: Option<&Claim>,
    unmarked: &marking::UnmarkedModel,
) -> Result<MarkSettings, Failure> {
    let (payload, strength) = match claim {
        None => (args.marking.payload, args.marking.strength.wanted()),
        Some(claim) => {
            let root = &unmarked.measured.model.root;
            if claim.unmarked_root != *root {
                return Err(Failure::usage(anyhow!(
                    "the claim names a model with root {}, but this model has root {root}",
                    claim.unmarked_root
                )));
            }
            (claim.payload(), Some(Strength::Alpha(claim.alpha)))
        }
    };
    unmarked.mark(payload, strength, args.force)
}

fn embed_failure(error: EmbedError) -> Failure {
    match error {
        EmbedError::Run(error) => running::failure(error),
        EmbedError::Copy(CopyError::Exists(_)) | EmbedError::Loud { .. } => Failure::usage(error),
        _ => Failure::incomplete(error),
    }
}

/// The summary of the watermark: labels and texts.
fn lines(mark: &Embedding, out: &Path, model: &Checkpoint) -> Vec<(&'static str, String)> {
    let z = |z: Option<f64>| z.map_or("n/a".to_owned(), |z| format!("{z:.1}"));
    let share = mark.changed as f64 / mark.elements.max(1) as f64 * 100.0;
    let what = if model.is_single_file() { "file" } else { "directory" };
    vec![
        ("marked", format!("{} (a new {what})", out.display())),
        ("key", mark.key_id.clone()),
        ("payload", mark.payload.clone().unwrap_or_else(|| "none: presence only".to_owned())),
        (
            "strength",
            format!(
                "alpha {:.6}, expected z {:.1}; written z {}, z of the pilot blocks {}",
                mark.alpha,
                mark.z_expected,
                z(mark.z),
                z(mark.z_pilot)
            ),
        ),
        (
            "change",
            format!(
                "signal-to-noise ratio {} dB; {share:.1} % of {} elements in {}",
                mark.snr_db.map_or("n/a".to_owned(), |snr| format!("{snr:.2}")),
                grouped(mark.elements),
                count(mark.carriers, "tensor")
            ),
        ),
    ]
}

fn write_lines(
    out: &mut dyn Write,
    palette: Palette,
    lines: &[(&'static str, String)],
) -> io::Result<()> {
    for (label, text) in lines {
        let text = if *label == "marked" { palette.bold(text) } else { text.clone() };
        writeln!(out, "{label:<9} {text}")?;
    }
    Ok(())
}
