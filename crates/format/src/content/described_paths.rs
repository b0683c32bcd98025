//! Finds files of raw weights, which have no format of their own, by the files of the model that describe them.

use super::super::file::{self, OpenedFile};
use super::super::paths::directory_of;
use super::ContentClass;
use super::protobuf::number;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;

/// The longest index in bytes that is read.
const MAX_INDEX: u64 = 4 << 20;
/// The largest number of files that one file can describe.
const MAX_NAMES: usize = 100_000;

/// The paths and prefixes of paths that files of the model describe.
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

    /// Whether a file with this name and class may describe other files.
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

    /// Adds the paths that a file describes. Returns whether there are any.
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
        // A path that leads out of the model is ignored.
        let inside = names.into_iter().filter(|name| {
            !name.starts_with('/') && !name.split('/').any(|part| matches!(part, ".." | "" | "."))
        });
        self.paths.extend(inside.map(|name| format!("{directory}{name}")));
        Ok(any)
    }
}

/// The index of a TensorFlow.js model, or of a model that MLC compiled.
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

/// The external data files of an ONNX model.
fn locations(opened: &OpenedFile) -> io::Result<BTreeSet<String>> {
    let mut reader =
        OnnxReader { opened, window: Vec::new(), start: 0, left: MAX_READ, names: BTreeSet::new() };
    reader.message(&GRAPH, [0, opened.identity.bytes])?;
    Ok(reader.names)
}

/// The largest number of bytes of a model that are read.
const MAX_READ: u64 = 64 << 20;
/// The number of bytes that are read at once. It is small because long tensors are skipped.
const WINDOW: usize = 4 << 10;

/// The fields that lead from a model to the location of a tensor: the graph, its tensors, and their external data
/// entries, each with a key and a value.
const GRAPH: [u64; 3] = [7, 5, 13];

/// Walks through an ONNX model.
struct OnnxReader<'o> {
    opened: &'o OpenedFile,
    window: Vec<u8>,
    start: u64,
    left: u64,
    names: BTreeSet<String>,
}

impl OnnxReader<'_> {
    /// Returns bytes at any position, at most [`WINDOW`] of them, or `None` if the limit is exceeded.
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let end = offset.saturating_add(length as u64).min(self.opened.identity.bytes);
        if offset < self.start || end > self.start + self.window.len() as u64 {
            let count = self.opened.identity.bytes.saturating_sub(offset).min(WINDOW as u64);
            let Some(left) = self.left.checked_sub(count) else { return Ok(None) };
            self.left = left;
            self.window = file::read_at(&self.opened.file, offset, count as usize)?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let buffered = self.window.get(from..).unwrap_or_default();
        Ok(Some(buffered.get(..buffered.len().min(length)).unwrap_or_default().to_vec()))
    }

    /// Walks through the fields of a message; fields with the first number in `fields` are messages as well. Returns
    /// `false` if the limit is exceeded.
    fn message(&mut self, fields: &[u64], [mut at, end]: [u64; 2]) -> io::Result<bool> {
        /// The largest size of a key and a length.
        const MAX_FIELD_START: usize = 20;
        /// The longest text that is read.
        const MAX_TEXT: u64 = 2048;
        let mut key_value: [Option<Vec<u8>>; 2] = [None, None];
        while at < end && self.names.len() < MAX_NAMES {
            let Some(bytes) = self.at(at, MAX_FIELD_START)? else { return Ok(false) };
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
                (2, []) if matches!(key >> 3, 1 | 2) && value <= MAX_TEXT => {
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
