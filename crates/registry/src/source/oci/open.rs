//! Opens the layers of a model: each becomes a file that is read by ranges, or one or more unpacked files.

use super::super::remote::stream::{HashingReader, ResponseBody, StreamSummary};
use super::super::remote::{WindowCache, WindowedFile};
use super::super::spool::Spool;
use super::super::{ListedFile, SourceError};
use super::archive::{UnpackError, UnpackedLayer, UnpackedMember, unpack};
use super::blob::{BlobAccess, BlobRanges, probe};
use super::client::RegistryClient;
use super::layers::{Layer, Layers};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use tensorseal_base::display::quoted;
use tensorseal_base::hex::hex;
use tensorseal_core::judge::Finding;
use tensorseal_format::{RemoteFile, SequentialReader};

/// The largest ratio of the unpacked to the packed length of a layer.
const MAX_UNPACK_RATIO: u64 = 4;
/// The unpacked length in bytes that is always allowed, whatever the ratio is.
const MIN_UNPACK_LIMIT: u64 = 256 << 20;

/// The opened files of a model, and the findings about its layers.
pub(super) struct LayerFiles<'s> {
    registry: &'s Arc<RegistryClient>,
    windows: &'s Arc<WindowCache>,
    directory: &'s Path,
    model: &'s str,
    pub files: Vec<(String, Arc<dyn RemoteFile>)>,
    pub listed: Vec<ListedFile>,
    pub findings: Vec<Finding>,
}

impl<'s> LayerFiles<'s> {
    /// Creates an empty list. `model` is the name of the model in messages. Layers that cannot be read by ranges are fetched
    /// to temporary files in `directory`.
    pub(super) fn new(
        registry: &'s Arc<RegistryClient>,
        windows: &'s Arc<WindowCache>,
        directory: &'s Path,
        model: &'s str,
    ) -> Self {
        let (files, listed, findings) = (Vec::new(), Vec::new(), Vec::new());
        Self { registry, windows, directory, model, files, listed, findings }
    }

    /// Opens all layers.
    ///
    /// # Errors
    /// Returns [`SourceError::Unreachable`] if a layer cannot be read.
    pub(super) fn add_all(&mut self, layers: &Layers) -> Result<(), SourceError> {
        layers.layers.iter().try_for_each(|layer| self.add(layer))
    }

    fn add(&mut self, layer: &Layer) -> Result<(), SourceError> {
        let place = format!("{} {}", self.model, quoted(&layer.path));
        if layer.bytes == 0 && layer.packing.is_raw() {
            let empty = self.spool(0, &place)?.into_bytes();
            return self.push(layer.listed(), empty.file(0, 0, place));
        }
        let access = probe(self.registry, layer).map_err(|e| SourceError::at(&place, e))?;
        match access {
            BlobAccess::Ranges(total) => {
                let mut listed = layer.listed();
                let bytes = total.unwrap_or(layer.bytes);
                if bytes != layer.bytes {
                    self.findings.push(wrong_length(layer, bytes));
                    // A layer of another length also has another digest, which is not reported again.
                    listed.digests.clear();
                }
                let bytes = bytes.min(layer.bytes);
                let ranges = BlobRanges::new(self.registry, layer, bytes, place.clone());
                let file = WindowedFile::new(ranges, self.windows);
                if layer.packing.is_raw() {
                    let listed = ListedFile { bytes, ..listed };
                    return self.push(listed, Some(Arc::new(file)));
                }
                self.unpack(
                    layer,
                    SequentialReader::with_read_ahead(&file),
                    bytes == layer.bytes,
                    &place,
                )
            }
            BlobAccess::Stream(body) if layer.packing.is_raw() => self.store(layer, body, &place),
            BlobAccess::Stream(body) => self.unpack(layer, body, true, &place),
        }
    }

    /// Fetches a layer that is a file to a temporary file.
    fn store(&mut self, layer: &Layer, body: ResponseBody, place: &str) -> Result<(), SourceError> {
        let mut spool = self.spool(layer.bytes, place)?;
        let mut reader = HashingReader::new(body, layer.bytes);
        let stored = io::copy(&mut reader, &mut spool).and_then(|_| spool.flush());
        let summary = reader.finish().map_err(|why| unreachable(place, &why))?;
        stored.map_err(|error| {
            unreachable(place, &format!("cannot write the temporary file: {error}"))
        })?;
        self.check(layer, summary);
        let file = spool.into_bytes().file(0, summary.bytes, place.to_owned());
        // The digest has been checked.
        let listed = ListedFile { bytes: summary.bytes, digests: Vec::new(), ..layer.listed() };
        self.push(listed, file)
    }

    fn push(
        &mut self,
        listed: ListedFile,
        file: Option<Arc<dyn RemoteFile>>,
    ) -> Result<(), SourceError> {
        if let Some(file) = file {
            self.files.push((listed.path.clone(), file));
            self.listed.push(listed);
        }
        Ok(())
    }

    /// Unpacks a packed layer while it is read. Its digest is checked unless its length is known to be wrong.
    fn unpack(
        &mut self,
        layer: &Layer,
        bytes: impl Read,
        has_length: bool,
        place: &str,
    ) -> Result<(), SourceError> {
        let limit = layer.bytes.saturating_mul(MAX_UNPACK_RATIO).max(MIN_UNPACK_LIMIT);
        let mut spool = self.spool(limit, place)?;
        let mut reader = HashingReader::new(bytes, layer.bytes);
        let mut contents = UnpackedLayer::default();
        let path = &layer.packed_path;
        let unpacked = unpack(&mut reader, layer.packing, path, &mut spool, &mut contents);
        let summary = reader.finish().map_err(|why| unreachable(place, &why))?;
        if let Err(UnpackError::Spool(_)) = unpacked {
            return unpacked.map_err(|error| unreachable(place, &error.to_string()));
        }
        let differs = !has_length || self.check(layer, summary);
        self.refuse(layer, &contents, unpacked.err().filter(|_| !differs));
        let spooled = spool.into_bytes();
        for member in contents.members {
            let place = format!("{place} {}", quoted(&member.path));
            let file = spooled.file(member.start, member.bytes, place);
            let UnpackedMember { path, bytes, .. } = member;
            let listed = ListedFile { path, bytes, digests: Vec::new(), ..layer.listed() };
            self.push(listed, file)?;
        }
        Ok(())
    }

    /// Adds a finding if a layer does not have its length or digest, and returns whether that is so.
    fn check(&mut self, layer: &Layer, summary: StreamSummary) -> bool {
        let found = match (summary.bytes == layer.bytes && !summary.longer, layer.sha256) {
            (false, _) => wrong_length(layer, summary.bytes + u64::from(summary.longer)),
            (true, Some(digest)) if digest != summary.sha256 => Finding::new(
                "registry/blob-differs",
                "the layer does not have the digest in its manifest",
            )
            .in_file(&layer.path)
            .with("digest", format!("sha256:{}", hex(&summary.sha256)))
            .with("expected", layer.digest.clone()),
            _ => return false,
        };
        self.findings.push(found);
        true
    }

    /// Adds findings about the parts of a layer that were not unpacked.
    fn refuse(&mut self, layer: &Layer, contents: &UnpackedLayer, error: Option<UnpackError>) {
        let refused = |message: String| {
            Finding::new("registry/archive-refused", message).in_file(&layer.path)
        };
        if let Some(error) = error {
            let unpacked = contents.members.len() as u64;
            self.findings.push(refused(error.to_string()).with("unpacked", unpacked));
        }
        if contents.refusals > 0 {
            let reported = contents.refused.join(", ");
            let more = match contents.refusals - contents.refused.len() as u64 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let message = format!("refused to unpack members of the archive: {reported}{more}");
            self.findings.push(refused(message).with("refused", contents.refusals));
        }
    }

    fn spool(&self, limit: u64, place: &str) -> Result<Spool, SourceError> {
        Spool::new(self.directory, limit).map_err(|error| {
            unreachable(
                place,
                &format!("cannot create a temporary file in {}: {error}", self.directory.display()),
            )
        })
    }
}

fn unreachable(place: &str, reason: &str) -> SourceError {
    SourceError::Unreachable { place: place.to_owned(), reason: reason.to_owned() }
}

/// Returns the finding that a layer has another length than its manifest states. `bytes` is a lower bound if it is longer.
fn wrong_length(layer: &Layer, bytes: u64) -> Finding {
    let message = match bytes > layer.bytes {
        true => "the layer is longer than its manifest states",
        false => "the layer is shorter than its manifest states",
    };
    Finding::new("registry/blob-differs", message)
        .in_file(&layer.path)
        .with("bytes", bytes)
        .with("expected_bytes", layer.bytes)
}
