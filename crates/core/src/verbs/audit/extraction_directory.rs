//! Writes suspicious streams to files, for incident responders.

use crate::audit::extraction::StreamExtraction;
use crate::audit::low_bit_stream::{BitOrder, LowBitStream};
use crate::judge::Finding;
use crate::verbs::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorseal_base::system::directory_of;
use tensorseal_base::units::count;
use tensorseal_format::Checkpoint;

/// Refuses an existing directory, so that streams of different cases are not mixed.
pub(super) fn require_new(directory: &Path) -> Result<(), Error> {
    match directory.symlink_metadata() {
        Ok(_) => Err(Error::OutputExists(directory.to_owned())),
        Err(_) => Ok(()),
    }
}

/// A temporary directory with the streams that findings are about, until they are kept.
pub(super) struct ExtractionDirectory {
    temporary: Option<TempDir>,
    streams: u64,
    directory: PathBuf,
}

impl ExtractionDirectory {
    /// Writes the streams that findings are about to a temporary directory next to `directory`.
    pub(super) fn write(
        model: &Checkpoint,
        findings: &[Finding],
        directory: &Path,
    ) -> Result<Self, Error> {
        let extractions = extractions(model, findings);
        let streams = extractions.len() as u64;
        if extractions.is_empty() {
            return Ok(Self { temporary: None, streams, directory: directory.to_owned() });
        }
        let parent = directory_of(directory);
        let temporary = tempfile::Builder::new()
            .prefix(".tensorseal-")
            .suffix(".tmp")
            .tempdir_in(parent)
            .map_err(|source| Error::WriteTo { path: parent.to_owned(), source })?;
        for extraction in &extractions {
            let path = temporary.path().join(extraction.file_name(model));
            let file = File::create_new(&path).map_err(Error::ExtractionFile)?;
            let mut out = BufWriter::new(file);
            extraction.write(model, &mut out)?;
            sync(out).map_err(Error::ExtractionFile)?;
        }
        Ok(Self { temporary: Some(temporary), streams, directory: directory.to_owned() })
    }

    /// Returns the temporary directory.
    pub(super) fn temporary(&self) -> Option<&Path> {
        self.temporary.as_ref().map(TempDir::path)
    }

    /// Renames the temporary directory to the final one, and returns a note for the report.
    pub(super) fn keep(self) -> Result<String, Error> {
        let Some(temporary) = self.temporary else {
            return Ok("there are no suspicious streams to extract".to_owned());
        };
        let (kept, directory) = (temporary.keep(), self.directory);
        if let Err(source) = fs::rename(&kept, &directory) {
            drop(fs::remove_dir_all(&kept));
            return Err(Error::Write { path: directory, source });
        }
        Ok(format!(
            "extracted {} to {}: treat the files as hostile, and do not open or run them on a production machine",
            count(self.streams, "stream"),
            directory.display()
        ))
    }
}

fn sync(mut out: BufWriter<File>) -> io::Result<()> {
    out.flush()?;
    out.get_ref().sync_all()
}

/// Returns the streams of findings. If the bit order of a stream is unknown, both orders are returned.
fn extractions(model: &Checkpoint, findings: &[Finding]) -> Vec<StreamExtraction> {
    let mut extractions: Vec<StreamExtraction> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.rule.starts_with("payload/")) {
        let tensor = model.tensors.iter().position(|t| Some(&t.name) == finding.tensor.as_ref());
        let number = |key| finding.evidence.get(key).and_then(|value| value.as_u64());
        let (Some(tensor), Some(bits)) = (tensor, number("bits")) else { continue };
        let element = number("element").unwrap_or(0);
        let order = finding.evidence.get("order").and_then(|order| order.as_str());
        for candidate in BitOrder::ALL {
            let is_reported = order.is_none_or(|order| order == candidate.name());
            let stream = LowBitStream { bits: bits as u32, order: candidate };
            // A stream is written once, from the first reported element.
            let is_duplicate = extractions.iter().any(|c| (c.tensor, c.stream) == (tensor, stream));
            if is_reported && !is_duplicate {
                extractions.push(StreamExtraction { tensor, stream, element });
            }
        }
    }
    extractions
}
