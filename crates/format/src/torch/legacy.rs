//! Reads files from before PyTorch 1.6: a stream of pickles followed by the storages. Recognises the tar archives
//! from before PyTorch 0.1.10.

use super::error::{TorchError, has_unread};
use super::tensors::{self, CollectedTensors};
use super::views::{self, StoragePlacement};
use super::weightless;
use crate::file::{self, OpenedFile};
use crate::parsed_file::ParsedFile;
use crate::pickle::{
    self, Fault, MAX_PICKLE, Node, PickleError, PickleLocation, Unpickled, Value, unpickle,
};
use crate::problem::{BoundedErrors, StructureError};
use std::collections::HashMap;
use std::io;

/// The pickles of the magic number that every stream begins with, after the protocol and, from protocol 4 on, the
/// frame. Before protocol 2 the number is written in digits.
const MAGIC: [&[u8]; 3] = [
    b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    b"L119547037146038801333356L\n.",
    b"L119547037146038801333356\n.",
];
/// The only version of the stream.
const PROTOCOL: i64 = 1001;

/// The length of the pickle of the magic number, if the bytes begin with it.
pub(super) fn magic_len(start: &[u8]) -> Option<usize> {
    let stated = match start {
        [0x80, 0..=5, rest @ ..] => rest,
        start => start,
    };
    let inner = match stated {
        [0x95, frame @ ..] => frame.get(8..)?,
        rest => rest,
    };
    let magic = MAGIC.iter().find(|magic| inner.starts_with(magic))?;
    Some(start.len() - inner.len() + magic.len())
}

/// Parses a stream.
pub(super) fn parse(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let mut pickles = BoundedErrors::default();
    let mut torch = BoundedErrors::default();
    let mut parsed = ParsedFile::default();
    match read_prelude(opened, &mut pickles)? {
        Ok(prelude) => {
            place_tensors(path, opened, prelude, &mut pickles, &mut torch, &mut parsed)?;
        }
        // The errors of the pickles were reported.
        Err(_) if !pickles.is_empty() => {}
        Err(error) => torch.push(error),
    }
    parsed.problems = pickles.problems(path);
    parsed.problems.extend(torch.problems(path));
    Ok(parsed)
}

/// The pickles at the start of a stream.
struct StreamPrelude {
    object: Unpickled,
    is_big_endian: bool,
    /// The keys of the storages in order.
    keys: Vec<String>,
    /// The start of the first storage.
    end: u64,
}

fn read_prelude(
    opened: &OpenedFile,
    errors: &mut BoundedErrors<PickleError>,
) -> io::Result<Result<StreamPrelude, TorchError>> {
    let broken = |what| Ok(Err(TorchError::Legacy { what }));
    let bytes = opened.identity.bytes.min(MAX_PICKLE);
    let start = file::read_at(&opened.file, 0, bytes as usize)?;
    let mut at = 0;
    let mut next = || {
        let mut unpickled = unpickle(start.get(at..).unwrap_or_default());
        let faults = std::mem::take(&mut unpickled.faults);
        let place = PickleLocation { member: "", start: Some(at as u64) };
        pickle::gather(faults, place, errors);
        at += unpickled.end;
        unpickled
    };
    let magic = next();
    if magic.value.is_none() || magic_len(&start) != Some(magic.end) {
        return broken("it does not begin with the magic number");
    }
    if next().value != Some(Value::Int(PROTOCOL)) {
        return broken("its version is unknown");
    }
    let system = next();
    let is_big_endian = little_endian(&system) == Some(false);
    let object = next();
    if object.value.is_none() {
        return broken("its object is not a pickle");
    }
    let listed = next();
    let items = listed.value.and_then(|list| listed.nodes.items(list));
    let keys = items.and_then(|items| {
        items.iter().map(|item| listed.nodes.text(*item).map(str::to_owned)).collect()
    });
    let Some(keys) = keys else { return broken("it does not list its storages") };
    Ok(Ok(StreamPrelude { object, is_big_endian, keys, end: at as u64 }))
}

/// The byte order in the description of the system that wrote the stream.
fn little_endian(system: &Unpickled) -> Option<bool> {
    let Node::Mapping(entries) = system.nodes.get(system.value?)? else { return None };
    entries.iter().find_map(|(key, value)| match (system.nodes.text(*key), value) {
        (Some("little_endian"), Value::Bool(is)) => Some(*is),
        _ => None,
    })
}

fn place_tensors(
    path: &str,
    opened: &OpenedFile,
    prelude: StreamPrelude,
    pickles: &mut BoundedErrors<PickleError>,
    torch: &mut BoundedErrors<TorchError>,
    parsed: &mut ParsedFile,
) -> io::Result<()> {
    let file_bytes = opened.identity.bytes;
    // The number of elements comes before each storage. The object tells the size of the elements.
    let mut widths: HashMap<&str, u64> = HashMap::new();
    for node in &prelude.object.nodes.0 {
        if let Node::Storage(storage) = node
            && let Some(width) = storage.kind.width()
        {
            // A loader takes the first size, and a different one is reported.
            widths.entry(&storage.key).or_insert(width);
        }
    }
    let mut places: HashMap<String, [u64; 2]> = HashMap::new();
    let mut at = prelude.end;
    for key in &prelude.keys {
        let start = at + 8;
        if start > file_bytes {
            break;
        }
        let count = file::read_at(&opened.file, at, 8)?;
        let count = u64::from_le_bytes(count.try_into().unwrap_or_default());
        let count = if prelude.is_big_endian { count.swap_bytes() } else { count };
        let Some(width) = widths.get(key.as_str()) else {
            torch.push(TorchError::Legacy { what: "it has a storage of an unsupported type" });
            return Ok(());
        };
        let end = count.checked_mul(*width).and_then(|bytes| start.checked_add(bytes));
        let end = end.unwrap_or(u64::MAX).min(file_bytes);
        if places.insert(key.clone(), [start, end]).is_some() {
            torch.push(TorchError::Legacy { what: "it lists a storage twice" });
            return Ok(());
        }
        at = end;
    }
    if at < file_bytes {
        torch.push(TorchError::Trailing { range: [at, file_bytes] });
    }
    parsed.readable = true;
    if prelude.keys.is_empty() {
        parsed.weightless = weightless(false, file_bytes);
    }
    let CollectedTensors { views, unreadable, too_deep, faults, hidden: _ } =
        tensors::collect(&prelude.object, prelude.end);
    if too_deep {
        torch.push(TorchError::TooDeep);
    }
    for fault in faults {
        pickles.push(PickleError { member: String::new(), fault, range: None });
    }
    for (name, kind) in unreadable {
        torch.push(TorchError::Kind { tensor: name.clone(), kind });
        parsed.unreadable.push(name);
    }
    let find = |key: &str| match places.get(key) {
        Some(range) => StoragePlacement::Range(*range),
        None => StoragePlacement::Missing,
    };
    let placed = views::place_views(
        views,
        &prelude.object.conflicts,
        file_bytes,
        prelude.is_big_endian,
        find,
        torch,
    );
    parsed.tensors = placed.tensors;
    parsed.unreadable.extend(placed.unreadable);
    parsed.has_unread = has_unread(torch);
    parsed.big_endian = placed.big_endian;
    parsed.remarks = placed.remarks.iter().map(|remark| remark.to_problem(path)).collect();
    Ok(())
}

/// Whether these are the first bytes of a tar archive of PyTorch.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    let name = start.iter().position(|byte| *byte == 0).map(|end| &start[..end]);
    let known = matches!(name, Some(b"sys_info" | b"pickle" | b"storages" | b"tensors"));
    known && start.get(257..262) == Some(b"ustar")
}

/// Refuses a tar archive, but checks the imports of its pickles.
pub(super) fn parse_tar(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    /// The largest number of members that are examined; these archives have few.
    const MAX_MEMBERS: usize = 64;
    const BLOCK: u64 = 512;
    let mut pickles = BoundedErrors::default();
    let mut at = 0u64;
    for _ in 0..MAX_MEMBERS {
        if at + BLOCK > opened.identity.bytes {
            break;
        }
        let header = file::read_at(&opened.file, at, BLOCK as usize)?;
        let name: Vec<u8> = header[..100].iter().copied().take_while(|byte| *byte != 0).collect();
        let digits: String = header[124..136]
            .iter()
            .map(|byte| char::from(*byte))
            .filter(char::is_ascii_digit)
            .collect();
        let Ok(bytes) = u64::from_str_radix(&digits, 8) else { break };
        let start = at + BLOCK;
        if name == b"pickle" || name == b"sys_info" {
            let available = opened.identity.bytes - start;
            let bytes = bytes.min(available).min(MAX_PICKLE);
            let text = file::read_at(&opened.file, start, bytes as usize)?;
            let faults = unpickle(&text).faults;
            let names = faults
                .into_iter()
                .filter(|(fault, _)| matches!(fault, Fault::Global { .. } | Fault::ComputedGlobal));
            let member = String::from_utf8_lossy(&name).into_owned();
            let place = PickleLocation { member: &member, start: Some(start) };
            pickle::gather(names.collect(), place, &mut pickles);
        }
        let Some(next) = start.checked_add(bytes.next_multiple_of(BLOCK)) else { break };
        at = next;
    }
    let mut parsed = ParsedFile::from_problem(TorchError::Tar.to_problem(path));
    parsed.problems.extend(pickles.problems(path));
    Ok(parsed)
}
