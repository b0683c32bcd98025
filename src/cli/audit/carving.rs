//! `--extract`: suspicious streams as files, for responders.

use crate::cli::{Failure, output};
use anyhow::{Context, anyhow};
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;
use tensorseal::audit::carve::Carving;
use tensorseal::audit::extract::{Order, Stream};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::Finding;
use tensorseal::report::units::count;

/// Refuses a directory that is there: nothing of an earlier case may be mixed with this one.
pub fn require_new(directory: &Path) -> Result<(), Failure> {
    if directory.symlink_metadata().is_ok() {
        let message = format!("{}: it exists; name a new directory", directory.display());
        return Err(Failure::usage(anyhow!(message)));
    }
    Ok(())
}

/// The streams that findings are about, under a name of their own until they may be kept.
pub struct Carved {
    place: Option<TempDir>,
    streams: u64,
}

/// Writes the streams that findings are about, beside the new directory that they are to be in.
pub fn carve(
    model: &Checkpoint,
    findings: &[Finding],
    directory: &Path,
) -> Result<Carved, Failure> {
    let carvings = carvings(model, findings);
    if carvings.is_empty() {
        return Ok(Carved { place: None, streams: 0 });
    }
    let beside = output::directory_of(directory);
    let new = tempfile::Builder::new()
        .prefix(".tensorseal-")
        .suffix(".tmp")
        .tempdir_in(beside)
        .with_context(|| format!("cannot write to {}", beside.display()))
        .map_err(Failure::incomplete)?;
    for carving in &carvings {
        let path = new.path().join(carving.file_name(model));
        let file = fs::File::create_new(&path).map_err(Failure::incomplete)?;
        let mut out = std::io::BufWriter::new(file);
        carving.write(model, &mut out).map_err(Failure::incomplete)?;
        out.flush().map_err(Failure::incomplete)?;
        out.get_ref().sync_all().map_err(Failure::incomplete)?;
    }
    Ok(Carved { place: Some(new), streams: carvings.len() as u64 })
}

impl Carved {
    /// Where they are for now.
    pub fn place(&self) -> Option<&Path> {
        self.place.as_ref().map(TempDir::path)
    }

    /// Makes them the new directory, all or none; says what was written.
    pub fn keep(self, directory: &Path) -> Result<String, Failure> {
        let Some(place) = self.place else {
            return Ok("no stream is suspicious: nothing to extract".to_owned());
        };
        let kept = place.keep();
        fs::rename(&kept, directory)
            .inspect_err(|_| drop(fs::remove_dir_all(&kept)))
            .with_context(|| format!("cannot write {}", directory.display()))
            .map_err(Failure::incomplete)?;
        Ok(format!(
            "{} in {}: treat them as hostile, do not open or run them on a machine that matters",
            count(self.streams, "stream"),
            directory.display()
        ))
    }
}

/// The streams of findings; of a stream whose order is not known, both.
fn carvings(model: &Checkpoint, findings: &[Finding]) -> Vec<Carving> {
    let mut carvings: Vec<Carving> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.rule.starts_with("payload/")) {
        let tensor = model.tensors.iter().position(|t| Some(&t.name) == finding.tensor.as_ref());
        let number = |key| finding.evidence.get(key).and_then(|value| value.as_u64());
        let (Some(tensor), Some(bits)) = (tensor, number("bits")) else { continue };
        let element = number("element").unwrap_or(0);
        let order = finding.evidence.get("order").and_then(|order| order.as_str());
        for known in Order::ALL {
            let wanted = order.is_none_or(|order| order == known.name());
            let stream = Stream { bits: bits as u32, order: known };
            // A stream is written once, from the first element that was said.
            let known = carvings.iter().any(|c| (c.tensor, c.stream) == (tensor, stream));
            if wanted && !known {
                carvings.push(Carving { tensor, stream, element });
            }
        }
    }
    carvings
}
