//! Examines the contents of archives and compressed streams for pickles and weights.
//!
//! The limits are two levels, a number of members and of pickles, and a number of unpacked bytes that depends on the
//! length of the file. Contents beyond a limit count as not understood.

use super::super::file::OpenedFile;
use super::super::pickle::MAX_PICKLE;
use super::super::problem::{Problem, message_prefix};
use super::super::remote::SequentialReader;
use super::super::zip::{self, CompressionMethod};
use super::super::{file, formats};
use super::archive::{BLOCK, is_tar_header, octal};
use super::file_slice::{memory, slice, whole};
use super::{ContentClass, FileContent, FileRole, classify, error};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{self, BufReader, Read};
use tensorseal_base::display::quoted;

/// The deepest nesting of archives.
const MAX_DEPTH: usize = 2;
/// The largest number of members that are examined.
const MAX_MEMBERS: usize = 4096;
/// The largest number of pickles that are read.
const MAX_PICKLES: usize = 64;
/// The largest number of bytes that are unpacked from a file.
const MAX_UNPACKED: u64 = 64 << 20;
/// The same limit as a multiple of the length of the file.
const MAX_RATIO: u64 = 8;
/// The number of bytes that may always be unpacked.
const MIN_UNPACKED: u64 = 1 << 20;
/// How often a byte may be read: on each level, and as a pickle. Members that share bytes exceed this limit.
const MAX_READS: u64 = MAX_DEPTH as u64 + 2;

/// The result of examining a container.
#[derive(Debug, Default)]
pub(crate) struct NestedFindings {
    /// The problems of pickles in the file. Their messages name the member.
    pub problems: Vec<Problem>,
    /// Whether it holds weights, or pickles that may hold weights.
    pub weights: bool,
    /// Whether all of its contents were examined and recognised.
    pub understood: bool,
}

/// Whether files of a class are containers that no format reader reads.
pub(super) fn is_container(class: ContentClass) -> bool {
    use ContentClass::*;
    matches!(class, Zip | Tar | Compressed | Keras | TorchExport | Bytecode | Document)
}

/// Examines the contents of a file.
pub(super) fn examine(
    path: &str,
    opened: &OpenedFile,
    content: FileContent,
) -> io::Result<NestedFindings> {
    let bytes = opened.identity.bytes;
    let unpacked = bytes.saturating_mul(MAX_RATIO).clamp(MIN_UNPACKED, MAX_UNPACKED);
    let mut walk = ArchiveWalk {
        path,
        findings: NestedFindings { understood: true, ..NestedFindings::default() },
        unpacked,
        read: bytes.saturating_add(unpacked).saturating_mul(MAX_READS),
        members: 0,
        pickles: 0,
    };
    for class in [Some(content.class), content.also].into_iter().flatten() {
        walk.container(path, "", opened, class, 0)?;
    }
    Ok(walk.findings)
}

struct ArchiveWalk<'p> {
    path: &'p str,
    findings: NestedFindings,
    /// The number of bytes that may still be unpacked.
    unpacked: u64,
    /// The number of bytes of members and pickles that may still be read.
    read: u64,
    members: usize,
    pickles: usize,
}

impl ArchiveWalk<'_> {
    /// Examines a container with the path `place` in the file.
    fn container(
        &mut self,
        name: &str,
        place: &str,
        opened: &OpenedFile,
        class: ContentClass,
        depth: usize,
    ) -> io::Result<()> {
        if !is_container(class) {
            return Ok(());
        }
        if depth == MAX_DEPTH {
            self.findings.understood = false;
            return Ok(());
        }
        match class {
            ContentClass::Tar => self.tar(place, opened, depth),
            ContentClass::Compressed => self.compressed(name, place, opened, depth),
            _ => self.zip(place, opened, depth),
        }
    }

    /// Examines a file in a container.
    fn file(
        &mut self,
        name: &str,
        place: &str,
        opened: &OpenedFile,
        depth: usize,
    ) -> io::Result<()> {
        let content = classify(name, opened)?;
        for class in [Some(content.class), content.also].into_iter().flatten() {
            if class == ContentClass::Pickle || class.format().is_some() {
                self.formatted(place, opened, class)?;
            }
            self.container(name, place, opened, class, depth)?;
        }
        self.findings.weights |= content.class.role() == FileRole::Weights;
        let raw = content.class == ContentClass::Unknown && error::is_weights_name(name);
        self.findings.weights |= raw;
        let known = content.role != FileRole::Unknown || is_container(content.class);
        self.findings.understood &= known;
        Ok(())
    }

    /// Examines a member that a format reader reads.
    fn formatted(
        &mut self,
        place: &str,
        opened: &OpenedFile,
        class: ContentClass,
    ) -> io::Result<()> {
        let Some(format) = class.format() else { return Ok(()) };
        self.pickles += 1;
        if self.pickles > MAX_PICKLES || !self.may_read(opened.identity.bytes.min(MAX_PICKLE)) {
            self.findings.understood = false;
            return Ok(());
        }
        let parsed = formats::read(format, class, self.path, opened)?;
        self.findings.weights |= parsed.weightless.is_none();
        let prefix = message_prefix(self.path);
        for mut problem in parsed.problems {
            if !problem.rule.contains("/pickle-") {
                continue;
            }
            if let Some(message) = problem.message.strip_prefix(&prefix) {
                problem.message = format!("{prefix}member {}: {message}", quoted(place));
            }
            problem.byte_range = None;
            problem.tensor = None;
            problem.affected = Vec::new();
            problem.companion = true;
            self.findings.problems.push(problem);
        }
        Ok(())
    }

    /// Whether `bytes` more bytes may be read.
    fn may_read(&mut self, bytes: u64) -> bool {
        let left = self.read.checked_sub(bytes);
        self.read = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether another member of `bytes` stored bytes may be examined.
    fn next_member(&mut self, bytes: u64) -> bool {
        self.members += 1;
        let may = self.members <= MAX_MEMBERS && self.may_read(bytes);
        self.findings.understood &= may;
        may
    }

    fn zip(&mut self, place: &str, opened: &OpenedFile, depth: usize) -> io::Result<()> {
        let archive = zip::read(opened)?;
        // Unreadable members are not listed, but cause an error.
        self.findings.understood &= archive.readable && archive.errors.is_empty();
        for member in &archive.members {
            let [start, end] = member.range;
            if !self.next_member(end.saturating_sub(start)) {
                return Ok(());
            }
            let inner = join(place, &member.name);
            if member.method == CompressionMethod::Stored {
                let part = slice(opened, member.range)?;
                self.file(&member.name, &inner, &part, depth + 1)?;
                continue;
            }
            match member.read(opened, self.unpacked)? {
                Ok(bytes) => {
                    self.unpacked = self.unpacked.saturating_sub(bytes.len() as u64);
                    self.file(&member.name, &inner, &memory(bytes), depth + 1)?;
                }
                Err(_) => self.findings.understood = false,
            }
        }
        Ok(())
    }

    fn tar(&mut self, place: &str, opened: &OpenedFile, depth: usize) -> io::Result<()> {
        /// The longest name in a long-name record.
        const MAX_NAME: u64 = 4096;
        let length = opened.identity.bytes;
        let (mut at, mut long_name) = (0u64, None);
        while at.checked_add(BLOCK as u64).is_some_and(|end| end <= length) {
            let header = file::read_at(&opened.file, at, BLOCK)?;
            let Some(header) = header.first_chunk::<BLOCK>().filter(|h| is_tar_header(h)) else {
                // Zeros end an archive.
                self.findings.understood &= header.iter().all(|byte| *byte == 0);
                return Ok(());
            };
            let start = at + BLOCK as u64;
            let end = octal(&header[124..136]).and_then(|bytes| start.checked_add(bytes));
            let Some(end) = end.filter(|end| *end <= length) else {
                self.findings.understood = false;
                return Ok(());
            };
            match header[156] {
                b'L' => {
                    let length = (end - start).min(MAX_NAME) as usize;
                    long_name = Some(text(&file::read_at(&opened.file, start, length)?));
                }
                b'0' | b'7' | 0 => {
                    if !self.next_member(end - start) {
                        return Ok(());
                    }
                    let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
                    let part = slice(opened, [start, end])?;
                    self.file(&name, &join(place, &name), &part, depth + 1)?;
                }
                _ => {}
            }
            at = end.next_multiple_of(BLOCK as u64);
        }
        Ok(())
    }

    fn compressed(
        &mut self,
        name: &str,
        place: &str,
        opened: &OpenedFile,
        depth: usize,
    ) -> io::Result<()> {
        if !self.next_member(opened.identity.bytes) {
            return Ok(());
        }
        let Some(plain) = unpack(opened, self.unpacked)? else {
            self.findings.understood = false;
            return Ok(());
        };
        self.unpacked = self.unpacked.saturating_sub(plain.bytes.len() as u64);
        self.findings.understood &= plain.whole;
        let inner = name.rsplit_once('.').map_or(name, |(inner, _)| inner);
        let inner = inner.rsplit('/').next().unwrap_or(inner);
        self.file(inner, &join(place, inner), &memory(plain.bytes), depth + 1)
    }
}

/// The path of a member of a nested container.
fn join(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}/{name}"),
    }
}

/// The text of a field up to the first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// The unpacked bytes of a stream.
struct Unpacked {
    bytes: Vec<u8>,
    /// Whether the stream was unpacked completely and without errors.
    whole: bool,
}

/// Unpacks a stream up to `max` bytes, or returns `None` if the format is unsupported.
fn unpack(opened: &OpenedFile, max: u64) -> io::Result<Option<Unpacked>> {
    let head = file::read_at(&opened.file, 0, opened.identity.bytes.min(4) as usize)?;
    let file = whole(opened)?;
    let stream = BufReader::with_capacity(64 << 10, SequentialReader::new(&file));
    let mut plain: Box<dyn Read> = match head[..] {
        [0x1F, 0x8B, ..] => Box::new(MultiGzDecoder::new(stream)),
        [0x78, ..] => Box::new(ZlibDecoder::new(stream)),
        [0x28, 0xB5, 0x2F, 0xFD] => match zstd(stream) {
            Some(plain) => Box::new(plain),
            None => return Ok(Some(Unpacked { bytes: Vec::new(), whole: false })),
        },
        _ => return Ok(None),
    };
    let mut bytes = Vec::new();
    // An error ends the stream; the bytes before it are examined.
    let outcome = plain.by_ref().take(max).read_to_end(&mut bytes);
    let whole = outcome.is_ok() && matches!(plain.read(&mut [0]), Ok(0));
    Ok(Some(Unpacked { bytes, whole }))
}

/// Opens a Zstandard stream. The library refuses windows of more than 100 MiB in all frames except the first, so an
/// empty frame is decoded first.
fn zstd<R: Read>(stream: R) -> Option<impl Read> {
    const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
    let mut decoder = FrameDecoder::new();
    decoder.reset(EMPTY_FRAME.as_slice()).ok()?;
    StreamingDecoder::new_with_decoder(stream, decoder).ok()
}
