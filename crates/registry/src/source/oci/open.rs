//! Opening a model: each layer becomes a file that is read by ranges, or files that were unpacked.

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

/// A layer may unpack to so many times its length, and to so many bytes in any case.
const MOST_UNPACKED_TIMES: u64 = 4;
const UNPACKED_ANYWAY: u64 = 256 << 20;

/// The files of a model, and what was found on the way.
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
    /// None yet, of the model that messages call `model`. What cannot be read by ranges goes to temporary
    /// files in `directory`.
    pub(super) fn new(
        registry: &'s Arc<RegistryClient>,
        windows: &'s Arc<WindowCache>,
        directory: &'s Path,
        model: &'s str,
    ) -> Self {
        let (files, listed, findings) = (Vec::new(), Vec::new(), Vec::new());
        Self { registry, windows, directory, model, files, listed, findings }
    }

    /// Adds the files of all layers.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn add_all(&mut self, layers: &Layers) -> Result<(), SourceError> {
        layers.layers.iter().try_for_each(|layer| self.add(layer))
    }

    fn add(&mut self, layer: &Layer) -> Result<(), SourceError> {
        let place = format!("{} {}", self.model, quoted(&layer.path));
        if layer.bytes == 0 && layer.packing.is_raw() {
            let nothing = self.spool(0, &place)?.into_bytes();
            return self.push(layer.listed(), nothing.file(0, 0, place));
        }
        let access = probe(self.registry, layer).map_err(|e| SourceError::at(&place, e))?;
        match access {
            BlobAccess::Ranges(total) => {
                let mut listed = layer.listed();
                let bytes = total.unwrap_or(layer.bytes);
                if bytes != layer.bytes {
                    self.findings.push(wrong_length(layer, bytes));
                    // That its digest is another one goes without saying.
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

    /// A layer that is a file, from an answer that comes once.
    fn store(&mut self, layer: &Layer, body: ResponseBody, place: &str) -> Result<(), SourceError> {
        let mut spool = self.spool(layer.bytes, place)?;
        let mut checked = HashingReader::new(body, layer.bytes);
        let stored = io::copy(&mut checked, &mut spool).and_then(|_| spool.flush());
        let flowed = checked.finish().map_err(|why| unreachable(place, &why))?;
        stored.map_err(|error| unreachable(place, &format!("its temporary file: {error}")))?;
        self.check(layer, flowed);
        let file = spool.into_bytes().file(0, flowed.bytes, place.to_owned());
        // The digest was looked at.
        let listed = ListedFile { bytes: flowed.bytes, digests: Vec::new(), ..layer.listed() };
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

    /// A layer that holds files, as it flows. Its digest is looked at unless its length is known to be
    /// wrong.
    fn unpack(
        &mut self,
        layer: &Layer,
        bytes: impl Read,
        has_length: bool,
        place: &str,
    ) -> Result<(), SourceError> {
        let most = layer.bytes.saturating_mul(MOST_UNPACKED_TIMES).max(UNPACKED_ANYWAY);
        let mut spool = self.spool(most, place)?;
        let mut checked = HashingReader::new(bytes, layer.bytes);
        let mut contents = UnpackedLayer::default();
        let path = &layer.packed_path;
        let unpacked = unpack(&mut checked, layer.packing, path, &mut spool, &mut contents);
        let flowed = checked.finish().map_err(|why| unreachable(place, &why))?;
        if let Err(UnpackError::Spool(_)) = unpacked {
            return unpacked.map_err(|error| unreachable(place, &error.to_string()));
        }
        let differs = !has_length || self.check(layer, flowed);
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

    /// Whether a layer that was read is another one than it is addressed as.
    fn check(&mut self, layer: &Layer, flowed: StreamSummary) -> bool {
        let found = match (flowed.bytes == layer.bytes && !flowed.longer, layer.sha256) {
            (false, _) => wrong_length(layer, flowed.bytes + u64::from(flowed.longer)),
            (true, Some(digest)) if digest != flowed.sha256 => Finding::new(
                "registry/blob-differs",
                "it does not have the digest of its layer in the manifest",
            )
            .in_file(&layer.path)
            .with("digest", format!("sha256:{}", hex(&flowed.sha256)))
            .with("expected", layer.digest.clone()),
            _ => return false,
        };
        self.findings.push(found);
        true
    }

    /// What of a layer was not unpacked.
    fn refuse(&mut self, layer: &Layer, contents: &UnpackedLayer, error: Option<UnpackError>) {
        let refused = |message: String| {
            Finding::new("registry/archive-refused", message).in_file(&layer.path)
        };
        if let Some(error) = error {
            let unpacked = contents.members.len() as u64;
            self.findings.push(refused(error.to_string()).with("unpacked", unpacked));
        }
        if contents.refusals > 0 {
            let told = contents.refused.join(", ");
            let more = match contents.refusals - contents.refused.len() as u64 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let message = format!("members of it were not unpacked: {told}{more}");
            self.findings.push(refused(message).with("refused", contents.refusals));
        }
    }

    fn spool(&self, most: u64, place: &str) -> Result<Spool, SourceError> {
        Spool::new(self.directory, most).map_err(|error| {
            unreachable(
                place,
                &format!("a temporary file in {}: {error}", self.directory.display()),
            )
        })
    }
}

fn unreachable(place: &str, why: &str) -> SourceError {
    SourceError::Unreachable { place: place.to_owned(), why: why.to_owned() }
}

/// That a layer has another length than the manifest says: at least `bytes`, where it is longer.
fn wrong_length(layer: &Layer, bytes: u64) -> Finding {
    let message = match bytes > layer.bytes {
        true => "it is longer than its layer in the manifest",
        false => "it is shorter than its layer in the manifest",
    };
    Finding::new("registry/blob-differs", message)
        .in_file(&layer.path)
        .with("bytes", bytes)
        .with("expected_bytes", layer.bytes)
}
