//! Raw weights: files that have no form of their own and that another file of the model describes.

use super::super::file::{self, OpenedFile};
use super::super::paths::directory_of;
use super::ContentClass;
use super::protobuf::number;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;

/// Longest index that is read.
const MAX_INDEX: u64 = 4 << 20;
/// Most files that one file describes.
const MAX_NAMES: usize = 100_000;

/// What files describe: paths, and what paths begin with.
#[derive(Debug, Default)]
pub(crate) struct DescribedPaths {
    paths: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl DescribedPaths {
    /// Whether a file is described.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
            || path
                .rsplit_once(".data-")
                .is_some_and(|(stem, parts)| parts.contains("-of-") && self.prefixes.contains(stem))
    }

    /// Whether a file of this name and class may describe others: it is to be added.
    pub(super) fn may_describe(path: &str, class: ContentClass) -> bool {
        match class {
            ContentClass::OpenVino | ContentClass::Onnx | ContentClass::TensorflowBundle => true,
            ContentClass::Json => {
                let name = path.rsplit('/').next().unwrap_or(path);
                matches!(name, "model.json" | "ndarray-cache.json" | "tensor-cache.json")
            }
            _ => false,
        }
    }

    /// Adds what a file describes, and says whether that is anything.
    pub(super) fn add(
        &mut self,
        path: &str,
        class: ContentClass,
        opened: &OpenedFile,
    ) -> io::Result<bool> {
        let directory = directory_of(path);
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        let names = match class {
            ContentClass::OpenVino => {
                self.paths.insert(format!("{stem}.bin"));
                return Ok(true);
            }
            ContentClass::TensorflowBundle => {
                self.prefixes.insert(stem.to_owned());
                return Ok(true);
            }
            ContentClass::Onnx => locations(opened)?,
            _ => listed(opened)?,
        };
        let any = !names.is_empty();
        // A path that leads elsewhere describes nothing of this model.
        let inside = names.into_iter().filter(|name| {
            !name.starts_with('/') && !name.split('/').any(|part| matches!(part, ".." | "" | "."))
        });
        self.paths.extend(inside.map(|name| format!("{directory}{name}")));
        Ok(any)
    }
}

/// The index of a model for browsers, or of one compiled by MLC.
#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default, rename = "weightsManifest")]
    groups: Vec<Group>,
    #[serde(default)]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    paths: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "dataPath")]
    path: String,
}

fn listed(opened: &OpenedFile) -> io::Result<BTreeSet<String>> {
    let bytes = opened.identity.bytes;
    if bytes > MAX_INDEX {
        return Ok(BTreeSet::new());
    }
    let text = file::read_at(&opened.file, 0, bytes as usize)?;
    let Ok(index) = serde_json::from_slice::<Index>(&text) else { return Ok(BTreeSet::new()) };
    let paths = index.groups.into_iter().flat_map(|group| group.paths);
    Ok(paths.chain(index.records.into_iter().map(|record| record.path)).take(MAX_NAMES).collect())
}

/// The files that the tensors of an ONNX model lie in.
fn locations(opened: &OpenedFile) -> io::Result<BTreeSet<String>> {
    let mut reading =
        OnnxReader { opened, window: Vec::new(), start: 0, left: MAX_READ, names: BTreeSet::new() };
    reading.message(&GRAPH, [0, opened.identity.bytes])?;
    Ok(reading.names)
}

/// Bytes of a model that are read for it.
const MAX_READ: u64 = 64 << 20;
/// Bytes that are read at once: long tensors lie between what is looked for.
const WINDOW: usize = 4 << 10;

/// The fields that lead from a model to the notes on where a tensor lies: its graph, the tensors of that,
/// their notes, of which each has a key and a value.
const GRAPH: [u64; 3] = [7, 5, 13];

/// An ONNX model while it is walked through.
struct OnnxReader<'o> {
    opened: &'o OpenedFile,
    window: Vec<u8>,
    start: u64,
    left: u64,
    names: BTreeSet<String>,
}

impl OnnxReader<'_> {
    /// Bytes of anywhere: at most as many as are read at once.
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let end = offset.saturating_add(length as u64).min(self.opened.identity.bytes);
        if offset < self.start || end > self.start + self.window.len() as u64 {
            let most = self.opened.identity.bytes.saturating_sub(offset).min(WINDOW as u64);
            let Some(left) = self.left.checked_sub(most) else { return Ok(None) };
            self.left = left;
            self.window = file::read_at(&self.opened.file, offset, most as usize)?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let held = self.window.get(from..).unwrap_or_default();
        Ok(Some(held.get(..held.len().min(length)).unwrap_or_default().to_vec()))
    }

    /// Walks through the fields of a message; those of the first number are messages, too. `false`: no more
    /// may be read.
    fn message(&mut self, fields: &[u64], [mut at, end]: [u64; 2]) -> io::Result<bool> {
        /// A key and a length.
        const LONGEST: usize = 20;
        /// A note on a tensor.
        const NOTE: u64 = 2048;
        let mut key_value: [Option<Vec<u8>>; 2] = [None, None];
        while at < end && self.names.len() < MAX_NAMES {
            let Some(bytes) = self.at(at, LONGEST)? else { return Ok(false) };
            let Some((key, taken)) = number(&bytes) else { break };
            let rest = bytes.get(taken..).unwrap_or_default();
            let Some((value, width)) = number(rest) else { break };
            let start = at + (taken + width) as u64;
            let next = match key & 7 {
                0 => start,
                1 => at + taken as u64 + 8,
                5 => at + taken as u64 + 4,
                2 => match start.checked_add(value).filter(|next| *next <= end) {
                    Some(next) => next,
                    None => break,
                },
                _ => break,
            };
            let more = match (key & 7, fields) {
                (2, [first, deeper @ ..]) if key >> 3 == *first => {
                    self.message(deeper, [start, next])?
                }
                (2, []) if matches!(key >> 3, 1 | 2) && value <= NOTE => {
                    let text = self.at(start, value as usize)?;
                    let more = text.is_some();
                    if let Some(part) = key_value.get_mut((key >> 3) as usize - 1) {
                        *part = text;
                    }
                    more
                }
                _ => true,
            };
            if !more {
                return Ok(false);
            }
            at = next;
        }
        if let [Some(key), Some(value)] = key_value
            && key == b"location"
            && let Ok(name) = String::from_utf8(value)
        {
            self.names.insert(name);
        }
        Ok(true)
    }
}
