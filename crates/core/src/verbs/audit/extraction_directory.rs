//! Suspicious streams as files, for responders.

use crate::audit::extraction::StreamExtraction;
use crate::audit::low_bit_stream::{BitOrder, LowBitStream};
use crate::document::units::count;
use crate::judge::Finding;
use crate::verbs::{Error, locations};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorseal_format::Checkpoint;

/// Refuses a directory that is there: nothing of an earlier case may be mixed with this one.
pub(super) fn require_new(directory: &Path) -> Result<(), Error> {
    match directory.symlink_metadata() {
        Ok(_) => Err(Error::OutputExists(directory.to_owned())),
        Err(_) => Ok(()),
    }
}

/// The streams that findings are about, under a name of their own until they may be kept.
pub(super) struct ExtractionDirectory {
    place: Option<TempDir>,
    streams: u64,
    directory: PathBuf,
}

impl ExtractionDirectory {
    /// Writes the streams that findings are about, beside the new directory that they are to be in.
    pub(super) fn write(
        model: &Checkpoint,
        findings: &[Finding],
        directory: &Path,
    ) -> Result<Self, Error> {
        let carvings = extractions(model, findings);
        let streams = carvings.len() as u64;
        if carvings.is_empty() {
            return Ok(Self { place: None, streams, directory: directory.to_owned() });
        }
        let beside = locations::directory_of(directory);
        let new = tempfile::Builder::new()
            .prefix(".tensorseal-")
            .suffix(".tmp")
            .tempdir_in(beside)
            .map_err(|source| Error::WriteTo { path: beside.to_owned(), source })?;
        for carving in &carvings {
            let path = new.path().join(carving.file_name(model));
            let file = File::create_new(&path).map_err(Error::ExtractionFile)?;
            let mut out = BufWriter::new(file);
            carving.write(model, &mut out)?;
            sync(out).map_err(Error::ExtractionFile)?;
        }
        Ok(Self { place: Some(new), streams, directory: directory.to_owned() })
    }

    /// Where they are for now.
    pub(super) fn place(&self) -> Option<&Path> {
        self.place.as_ref().map(TempDir::path)
    }

    /// Makes them the new directory, all or none; says what was written.
    pub(super) fn keep(self) -> Result<String, Error> {
        let Some(place) = self.place else {
            return Ok("no stream is suspicious: nothing to extract".to_owned());
        };
        let (kept, directory) = (place.keep(), self.directory);
        if let Err(source) = fs::rename(&kept, &directory) {
            drop(fs::remove_dir_all(&kept));
            return Err(Error::Write { path: directory, source });
        }
        Ok(format!(
            "{} in {}: treat them as hostile, do not open or run them on a machine that matters",
            count(self.streams, "stream"),
            directory.display()
        ))
    }
}

fn sync(mut out: BufWriter<File>) -> io::Result<()> {
    out.flush()?;
    out.get_ref().sync_all()
}

/// The streams of findings; of a stream whose order is not known, both.
fn extractions(model: &Checkpoint, findings: &[Finding]) -> Vec<StreamExtraction> {
    let mut carvings: Vec<StreamExtraction> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.rule.starts_with("payload/")) {
        let tensor = model.tensors.iter().position(|t| Some(&t.name) == finding.tensor.as_ref());
        let number = |key| finding.evidence.get(key).and_then(|value| value.as_u64());
        let (Some(tensor), Some(bits)) = (tensor, number("bits")) else { continue };
        let element = number("element").unwrap_or(0);
        let order = finding.evidence.get("order").and_then(|order| order.as_str());
        for known in BitOrder::ALL {
            let wanted = order.is_none_or(|order| order == known.name());
            let stream = LowBitStream { bits: bits as u32, order: known };
            // A stream is written once, from the first element that was said.
            let known = carvings.iter().any(|c| (c.tensor, c.stream) == (tensor, stream));
            if wanted && !known {
                carvings.push(StreamExtraction { tensor, stream, element });
            }
        }
    }
    carvings
}
