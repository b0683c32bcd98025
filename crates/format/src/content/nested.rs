//! What is in archives and compressed streams: pickles, which are examined, and weights.
//!
//! Bounds: two levels, a number of members and of pickles, and bytes unpacked by the length of the file. What
//! lies behind a bound is not understood.

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

/// Archives in archives.
const MAX_DEPTH: usize = 2;
/// Members that are looked at.
const MAX_MEMBERS: usize = 4096;
/// Pickles that are read.
const MAX_PICKLES: usize = 64;
/// Bytes that are unpacked from a file: so many, and so many times its length, but some in any case.
const MAX_UNPACKED: u64 = 64 << 20;
const MAX_TIMES: u64 = 8;
const LEAST_UNPACKED: u64 = 1 << 20;
/// Times that a byte is looked at: on each level, and as a pickle. Members that share bytes come to more.
const MAX_READS: u64 = MAX_DEPTH as u64 + 2;

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct NestedFindings {
    /// What pickles in it ask for. Of the file, the member named.
    pub problems: Vec<Problem>,
    /// Weights are in it, or pickles that may be.
    pub weights: bool,
    /// Everything in it was looked at and is known.
    pub understood: bool,
}

/// Whether files of a class are looked into here: those that no reader of a format reads.
pub(super) fn is_container(class: ContentClass) -> bool {
    use ContentClass::*;
    matches!(class, Zip | Tar | Compressed | Keras | TorchExport | Bytecode | Document)
}

/// Looks into a file of this content.
pub(super) fn examine(
    path: &str,
    opened: &OpenedFile,
    content: FileContent,
) -> io::Result<NestedFindings> {
    let bytes = opened.identity.bytes;
    let unpacked = bytes.saturating_mul(MAX_TIMES).clamp(LEAST_UNPACKED, MAX_UNPACKED);
    let mut walk = ArchiveWalk {
        path,
        found: NestedFindings { understood: true, ..NestedFindings::default() },
        unpacked,
        read: bytes.saturating_add(unpacked).saturating_mul(MAX_READS),
        members: 0,
        pickles: 0,
    };
    for class in [Some(content.class), content.also].into_iter().flatten() {
        walk.container(path, "", opened, class, 0)?;
    }
    Ok(walk.found)
}

struct ArchiveWalk<'p> {
    path: &'p str,
    found: NestedFindings,
    /// Bytes that may still be unpacked.
    unpacked: u64,
    /// Bytes of members and of pickles that may still be looked at.
    read: u64,
    members: usize,
    pickles: usize,
}

impl ArchiveWalk<'_> {
    /// Looks into a container that is called `place` in the file.
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
            self.found.understood = false;
            return Ok(());
        }
        match class {
            ContentClass::Tar => self.tar(place, opened, depth),
            ContentClass::Compressed => self.compressed(name, place, opened, depth),
            _ => self.zip(place, opened, depth),
        }
    }

    /// Looks at a file in the file.
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
        self.found.weights |= content.class.role() == FileRole::Weights;
        let raw = content.class == ContentClass::Unknown && error::is_weights_name(name);
        self.found.weights |= raw;
        let known = content.role != FileRole::Unknown || is_container(content.class);
        self.found.understood &= known;
        Ok(())
    }

    /// A member whose reader knows pickles.
    fn formatted(
        &mut self,
        place: &str,
        opened: &OpenedFile,
        class: ContentClass,
    ) -> io::Result<()> {
        let Some(format) = class.format() else { return Ok(()) };
        self.pickles += 1;
        if self.pickles > MAX_PICKLES || !self.may_read(opened.identity.bytes.min(MAX_PICKLE)) {
            self.found.understood = false;
            return Ok(());
        }
        let contents = formats::read(format, class, self.path, opened)?;
        self.found.weights |= contents.weightless.is_none();
        let front = message_prefix(self.path);
        for mut problem in contents.problems {
            if !problem.rule.contains("/pickle-") {
                continue;
            }
            if let Some(said) = problem.message.strip_prefix(&front) {
                problem.message = format!("{front}member {}: {said}", quoted(place));
            }
            problem.byte_range = None;
            problem.tensor = None;
            problem.affected = Vec::new();
            problem.companion = true;
            self.found.problems.push(problem);
        }
        Ok(())
    }

    /// Whether so many bytes more may be looked at.
    fn may_read(&mut self, bytes: u64) -> bool {
        let left = self.read.checked_sub(bytes);
        self.read = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether another member, of so many bytes as they are stored, may be looked at.
    fn next_member(&mut self, bytes: u64) -> bool {
        self.members += 1;
        let may = self.members <= MAX_MEMBERS && self.may_read(bytes);
        self.found.understood &= may;
        may
    }

    fn zip(&mut self, place: &str, opened: &OpenedFile, depth: usize) -> io::Result<()> {
        let archive = zip::read(opened)?;
        // Members that cannot be read are in none of the lists.
        self.found.understood &= archive.readable && archive.errors.is_empty();
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
                Err(_) => self.found.understood = false,
            }
        }
        Ok(())
    }

    fn tar(&mut self, place: &str, opened: &OpenedFile, depth: usize) -> io::Result<()> {
        /// Longest name in a member of its own.
        const LONGEST: u64 = 4096;
        let length = opened.identity.bytes;
        let (mut at, mut long) = (0u64, None);
        while at.checked_add(BLOCK as u64).is_some_and(|end| end <= length) {
            let header = file::read_at(&opened.file, at, BLOCK)?;
            let Some(header) = header.first_chunk::<BLOCK>().filter(|h| is_tar_header(h)) else {
                // Zeros end an archive; what follows is nobody's.
                self.found.understood &= header.iter().all(|byte| *byte == 0);
                return Ok(());
            };
            let start = at + BLOCK as u64;
            let end = octal(&header[124..136]).and_then(|bytes| start.checked_add(bytes));
            let Some(end) = end.filter(|end| *end <= length) else {
                self.found.understood = false;
                return Ok(());
            };
            match header[156] {
                b'L' => {
                    let most = (end - start).min(LONGEST) as usize;
                    long = Some(text(&file::read_at(&opened.file, start, most)?));
                }
                b'0' | b'7' | 0 => {
                    if !self.next_member(end - start) {
                        return Ok(());
                    }
                    let name = long.take().unwrap_or_else(|| text(&header[..100]));
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
            self.found.understood = false;
            return Ok(());
        };
        self.unpacked = self.unpacked.saturating_sub(plain.bytes.len() as u64);
        self.found.understood &= plain.whole;
        let inner = name.rsplit_once('.').map_or(name, |(inner, _)| inner);
        let inner = inner.rsplit('/').next().unwrap_or(inner);
        self.file(inner, &join(place, inner), &memory(plain.bytes), depth + 1)
    }
}

/// The path of a member of a container that is a member, too.
fn join(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}/{name}"),
    }
}

/// Text up to the first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// What was unpacked.
struct Unpacked {
    bytes: Vec<u8>,
    /// All of it, and without a fault.
    whole: bool,
}

/// Unpacks a stream, up to `most` bytes; `None`: nothing here knows how.
fn unpack(opened: &OpenedFile, most: u64) -> io::Result<Option<Unpacked>> {
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
    // A fault in the stream ends it: what was unpacked before it is looked at.
    let done = plain.by_ref().take(most).read_to_end(&mut bytes);
    let whole = done.is_ok() && matches!(plain.read(&mut [0]), Ok(0));
    Ok(Some(Unpacked { bytes, whole }))
}

/// A frame of Zstandard. A window of more than 100 MiB is refused by the library, of every frame but the first
/// that a decoder sees: an empty one comes before.
fn zstd<R: Read>(stream: R) -> Option<impl Read> {
    const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
    let mut decoder = FrameDecoder::new();
    decoder.reset(EMPTY_FRAME.as_slice()).ok()?;
    StreamingDecoder::new_with_decoder(stream, decoder).ok()
}
