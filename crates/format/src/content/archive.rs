//! Recognises archives: zip archives by the end record and the names of the members, and tar archives by the first
//! header.

use super::super::{torch, zip};
use super::ContentClass::{self, *};
use super::probe::FileProbe;
use std::io;

/// The class of the zip archive at the end of a file, whatever the file begins with. With `commented`, a long comment
/// may follow the end record.
pub(super) fn classify_tail(
    probe: &FileProbe<'_>,
    commented: bool,
) -> io::Result<Option<ContentClass>> {
    let starts = zip::is_archive_start(&probe.head);
    let ends = |tail: &[u8]| tail.windows(zip::END.len()).any(|bytes| bytes == zip::END);
    let closed = starts || ends(probe.tail()) || commented && ends(&probe.long_tail()?);
    if !closed {
        return Ok(None);
    }
    let listed = zip::list(probe.opened)?;
    Ok(match listed {
        Some(names) if starts || !names.is_empty() => Some(class(probe, &names)),
        // A damaged archive: classify it by the members in its head, or else by its name.
        None if starts => Some(match class(probe, &first_names(&probe.head)) {
            Zip if torch::is_torch_name(probe.path) => TorchZip,
            class => class,
        }),
        _ => None,
    })
}

/// The class of an archive with these members. The case is ignored, as in readers.
fn class(probe: &FileProbe<'_>, names: &[String]) -> ContentClass {
    let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let has = |is: &dyn Fn(&str) -> bool| lower.iter().any(|name| is(name));
    let is_called = |name: &str, known: &str| name == known || name.ends_with(&format!("/{known}"));
    let any_called = |known: &str| has(&|name| is_called(name, known));
    if any_called("data.pkl")
        || has(&|name| name.ends_with(".pkl"))
            && (any_called("version") || torch::is_torch_name(probe.path))
    {
        TorchZip
    } else if any_called("serialized_exported_program.json")
        || any_called("archive_format")
            && has(&|name| name.contains("models/") && name.ends_with(".json"))
    {
        TorchExport
    } else if has(&|name| name == "config.json")
        && has(&|name| name == "metadata.json" || name.ends_with(".weights.h5"))
    {
        Keras
    } else if has(&|name| name == "[content_types].xml") || has(&|name| name == "mimetype") {
        Document
    } else if has(&|name| {
        name.starts_with("meta-inf/manifest.mf")
            || name.starts_with("egg-info/")
            || name == "androidmanifest.xml"
            || name.ends_with(".dist-info/wheel")
            || name.ends_with(".class")
    }) {
        Bytecode
    } else if has(&|name| name.ends_with(".npy")) {
        Npz
    } else {
        Zip
    }
}

/// The names in the local headers in the first bytes of an archive.
fn first_names(head: &[u8]) -> Vec<String> {
    let starts = head.windows(zip::START.len()).enumerate();
    let name = |at: usize| {
        let length = head.get(at + 26..at + 28)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        Some(String::from_utf8_lossy(head.get(at + 30..at + 30 + length)?).into_owned())
    };
    starts.filter(|(_, bytes)| *bytes == zip::START).filter_map(|(at, _)| name(at)).collect()
}

/// The size of a tar header in bytes. All lengths are rounded up to a multiple of it.
pub(super) const BLOCK: usize = 512;

/// The class of the tar archive at the start of a file.
pub(super) fn classify_head(head: &[u8]) -> Option<ContentClass> {
    if torch::is_tar(head) {
        return Some(TorchTar);
    }
    head.first_chunk().is_some_and(is_tar_header).then_some(Tar)
}

/// Whether the zip archive at the end of a tar archive is inside its members. It is then examined as a member.
pub(super) fn ends_in_member(probe: &FileProbe<'_>) -> io::Result<bool> {
    let tail = probe.long_tail()?;
    let end = tail.windows(zip::END.len()).rposition(|bytes| bytes == zip::END);
    let Some(end) = end else { return Ok(false) };
    let at = probe.bytes - (tail.len() - end) as u64;
    Ok(at < members_end(probe)?)
}

/// The end of the last member of a tar archive.
fn members_end(probe: &FileProbe<'_>) -> io::Result<u64> {
    /// The largest number of members that are skipped.
    const MAX_MEMBERS: usize = 100_000;
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let header = probe.read_at(at, BLOCK)?;
        let Some(header) = header.first_chunk::<BLOCK>().filter(|header| is_tar_header(header))
        else {
            break;
        };
        let data = octal(&header[124..136]).and_then(|bytes| at.checked_add(bytes));
        let end = data.and_then(|end| end.checked_add(BLOCK as u64));
        let Some(end) = end.filter(|end| *end <= probe.bytes) else { break };
        at = end.next_multiple_of(BLOCK as u64);
    }
    Ok(at)
}

/// Whether the checksum in a header is correct.
pub(super) fn is_tar_header(header: &[u8; BLOCK]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let stated = octal(&header[SUM]);
    let sum = |(at, byte): (usize, &u8)| match SUM.contains(&at) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    header[0] != 0 && stated == Some(header.iter().enumerate().map(sum).sum())
}

/// Parses a number in octal digits, with spaces and NUL around it, or a large number in binary.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let (front, last) = rest.split_last_chunk::<8>()?;
        return front.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*last));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}
