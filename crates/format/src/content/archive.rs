//! Archives: zip, known by the record that closes it and told apart by the names of its members, and tar,
//! known by the header that it begins with.

use super::super::{torch, zip};
use super::ContentClass::{self, *};
use super::probe::FileProbe;
use std::io;

/// The zip archive that a file ends as, whatever it begins with. `commented`: behind the end of it a long
/// comment may stand.
pub(super) fn classify_tail(
    look: &FileProbe<'_>,
    commented: bool,
) -> io::Result<Option<ContentClass>> {
    let starts = zip::is_archive_start(&look.head);
    let ends = |tail: &[u8]| tail.windows(zip::END.len()).any(|bytes| bytes == zip::END);
    let closed = starts || ends(look.tail()) || commented && ends(&look.long_tail()?);
    if !closed {
        return Ok(None);
    }
    let listed = zip::list(look.opened)?;
    Ok(match listed {
        Some(names) if starts || !names.is_empty() => Some(class(look, &names)),
        // It was one: by the members that can be seen, else by what its name promises.
        None if starts => Some(match class(look, &first_names(&look.head)) {
            Zip if torch::is_torch_name(look.path) => TorchZip,
            class => class,
        }),
        _ => None,
    })
}

/// What kind of archive has members of these names. Case does not count, as readers have it.
fn class(look: &FileProbe<'_>, names: &[String]) -> ContentClass {
    let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let has = |is: &dyn Fn(&str) -> bool| lower.iter().any(|name| is(name));
    let is_called = |name: &str, known: &str| name == known || name.ends_with(&format!("/{known}"));
    let any_called = |known: &str| has(&|name| is_called(name, known));
    if any_called("data.pkl")
        || has(&|name| name.ends_with(".pkl"))
            && (any_called("version") || torch::is_torch_name(look.path))
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

/// The names in the headers of members that lie in the first bytes of an archive.
fn first_names(head: &[u8]) -> Vec<String> {
    let starts = head.windows(zip::START.len()).enumerate();
    let name = |at: usize| {
        let length = head.get(at + 26..at + 28)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        Some(String::from_utf8_lossy(head.get(at + 30..at + 30 + length)?).into_owned())
    };
    starts.filter(|(_, bytes)| *bytes == zip::START).filter_map(|(at, _)| name(at)).collect()
}

/// Bytes of a header of tar, and what all its lengths are multiples of.
pub(super) const BLOCK: usize = 512;

/// The tar archive that a file begins as.
pub(super) fn classify_head(head: &[u8]) -> Option<ContentClass> {
    if torch::is_tar(head) {
        return Some(TorchTar);
    }
    head.first_chunk().is_some_and(is_tar_header).then_some(Tar)
}

/// Whether the zip archive that a tar archive seems to end as lies within its members: it is then one of them,
/// and looked at as such.
pub(super) fn ends_in_member(look: &FileProbe<'_>) -> io::Result<bool> {
    let tail = look.long_tail()?;
    let end = tail.windows(zip::END.len()).rposition(|bytes| bytes == zip::END);
    let Some(end) = end else { return Ok(false) };
    let at = look.bytes - (tail.len() - end) as u64;
    Ok(at < members_end(look)?)
}

/// Where the last member of a tar archive ends.
fn members_end(look: &FileProbe<'_>) -> io::Result<u64> {
    /// Most members that are walked past.
    const MOST: usize = 100_000;
    let mut at = 0;
    for _ in 0..MOST {
        let header = look.read_at(at, BLOCK)?;
        let Some(header) = header.first_chunk::<BLOCK>().filter(|header| is_tar_header(header))
        else {
            break;
        };
        let data = octal(&header[124..136]).and_then(|bytes| at.checked_add(bytes));
        let end = data.and_then(|end| end.checked_add(BLOCK as u64));
        let Some(end) = end.filter(|end| *end <= look.bytes) else { break };
        at = end.next_multiple_of(BLOCK as u64);
    }
    Ok(at)
}

/// Whether the sum that a header states is that of its bytes.
pub(super) fn is_tar_header(header: &[u8; BLOCK]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let stated = octal(&header[SUM]);
    let sum = |(at, byte): (usize, &u8)| match SUM.contains(&at) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    header[0] != 0 && stated == Some(header.iter().enumerate().map(sum).sum())
}

/// A number in octal digits, with spaces and NUL around it; or, of a large one, in binary.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let (front, last) = rest.split_last_chunk::<8>()?;
        return front.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*last));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}
