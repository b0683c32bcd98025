//! `--extract`: suspicious streams as files, for responders.

use super::{cannot_write, number};
use crate::cli::{Failure, output};
use anyhow::{Context, anyhow};
use std::fs;
use std::io::Write;
use std::path::Path;
use tensorseal::audit::carve::Carving;
use tensorseal::audit::extract::{Order, Stream};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::Finding;

/// Refuses a directory that is there: nothing of an earlier case may be mixed with this one.
pub fn require_new(directory: &Path) -> Result<(), Failure> {
    if directory.symlink_metadata().is_ok() {
        let message = format!("{}: it exists; name a new directory", directory.display());
        return Err(Failure::usage(anyhow!(message)));
    }
    Ok(())
}

/// Writes the streams that findings are about into a new directory, all or none; says what was written.
pub fn write(
    model: &Checkpoint,
    findings: &[Finding],
    directory: &Path,
) -> Result<String, Failure> {
    let carvings = carvings(model, findings);
    if carvings.is_empty() {
        return Ok("no stream is suspicious: nothing to extract".to_owned());
    }
    let beside = output::directory_of(directory);
    let new = tempfile::Builder::new()
        .prefix(".tensorseal-")
        .suffix(".tmp")
        .tempdir_in(beside)
        .with_context(|| format!("cannot write to {}", beside.display()))
        .map_err(cannot_write)?;
    for carving in &carvings {
        let path = new.path().join(carving.file_name(model));
        let file = fs::File::create_new(&path).map_err(cannot_write)?;
        let mut out = std::io::BufWriter::new(file);
        carving.write(model, &mut out).map_err(cannot_write)?;
        out.flush().map_err(cannot_write)?;
        out.get_ref().sync_all().map_err(cannot_write)?;
    }
    let kept = new.keep();
    fs::rename(&kept, directory)
        .inspect_err(|_| drop(fs::remove_dir_all(&kept)))
        .with_context(|| format!("cannot write {}", directory.display()))
        .map_err(cannot_write)?;
    let streams = match carvings.len() {
        1 => "1 stream".to_owned(),
        n => format!("{n} streams"),
    };
    Ok(format!(
        "{streams} in {}: treat them as hostile, do not open or run them on a machine that matters",
        directory.display()
    ))
}

/// The streams of findings; of a stream whose order is not known, both.
fn carvings(model: &Checkpoint, findings: &[Finding]) -> Vec<Carving> {
    let mut carvings: Vec<Carving> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.rule.starts_with("payload/")) {
        let tensor = model.tensors.iter().position(|t| Some(&t.name) == finding.tensor.as_ref());
        let (Some(tensor), Some(bits)) = (tensor, number(finding, "bits")) else { continue };
        let element = number(finding, "element").unwrap_or(0);
        let order = finding.evidence.get("order").and_then(|order| order.as_str());
        for known in Order::ALL {
            let wanted = order.is_none_or(|order| order == known.name());
            let stream = Stream { bits: bits as u32, order: known };
            let carving = Carving { tensor, stream, element };
            let named = |other: &Carving| other.file_name(model) == carving.file_name(model);
            if wanted && !carvings.iter().any(named) {
                carvings.push(carving);
            }
        }
    }
    carvings
}
