//! Reads a seal from untrusted bytes. Every field is checked before it is used.

use super::document::{FileSeal, LinkSeal, Seal, TensorSeal, root_text};
use super::{SCHEMA, canonical::MAX_INTEGER};
use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;
use tensorseal_base::system::open_for_reading;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::{self, ChainingValue};
use tensorseal_format::{RemoteFile, SequentialReader, strides};

/// The maximum length of a seal in bytes, which is enough for half a million tensors, or for 10 TB in large tensors.
const MAX_LEN: u64 = 1 << 30;

/// An error in a seal that prevents its use.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The seal does not exist.
    #[error("{0}: no such file")]
    Missing(String),
    /// The seal could not be read.
    #[error("cannot read the seal: {0}")]
    Io(#[from] io::Error),
    /// The path is not a regular file.
    #[error("not a regular file")]
    NotAFile,
    /// The file is not JSON, or not the JSON of a seal.
    #[error("not a seal: {0}")]
    Json(String),
    /// The document has another schema or a later version.
    #[error(
        "the schema is {0:?} instead of {SCHEMA:?}: the file was written by another program or version"
    )]
    Schema(String),
    /// Parts of the seal contradict one another.
    #[error("{0}")]
    Inconsistent(String),
}

impl SealError {
    /// Returns whether the seal exists and could be read, so that the error is in its content.
    pub fn is_content(&self) -> bool {
        matches!(self, Self::NotAFile | Self::Json(_) | Self::Schema(_) | Self::Inconsistent(_))
    }
}

/// Reads and checks the seal at `path`. Also returns the BLAKE3 digest of its bytes.
///
/// # Errors
/// Returns [`SealError::Missing`] if nothing is at `path`, and another [`SealError`] if the seal cannot be read or is not
/// valid.
pub fn read(path: &Path) -> Result<(Seal, ChainingValue), SealError> {
    // The open is non-blocking, because opening a FIFO must not hang.
    let file = match open_for_reading(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SealError::Missing(path.display().to_string()));
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SealError::NotAFile);
    }
    check_length(metadata.len())?;
    parse_and_hash(file.take(MAX_LEN))
}

/// Reads and checks a seal on another machine. Also returns the BLAKE3 digest of its bytes.
///
/// # Errors
/// Returns a [`SealError`] if the seal is not valid, and [`SealError::Io`] with a [`RemoteError`] if it cannot be fetched
/// or changed.
///
/// [`RemoteError`]: tensorseal_format::RemoteError
pub fn read_remote(file: &dyn RemoteFile) -> Result<(Seal, ChainingValue), SealError> {
    check_length(file.bytes())?;
    parse_and_hash(SequentialReader::new(file))
}

fn parse_and_hash(reader: impl Read) -> Result<(Seal, ChainingValue), SealError> {
    let inner = BufReader::with_capacity(1 << 16, reader);
    let mut reader = SealReader { inner, hasher: blake3::Hasher::new() };
    let seal = parse(&mut reader)?;
    Ok((seal, *reader.hasher.finalize().as_bytes()))
}

fn check_length(bytes: u64) -> Result<(), SealError> {
    match bytes > MAX_LEN {
        true => inconsistent(format!("{bytes} bytes long; no seal is longer than {MAX_LEN} bytes")),
        false => Ok(()),
    }
}

/// Parses and checks a seal.
///
/// # Errors
/// Returns a [`SealError`] if `reader` fails, or if the seal is not valid.
pub fn parse(reader: impl Read) -> Result<Seal, SealError> {
    let seal: Seal = serde_json::from_reader(reader).map_err(|error| match error.is_io() {
        true => SealError::Io(error.into()),
        false => SealError::Json(error.to_string()),
    })?;
    check(&seal)?;
    Ok(seal)
}

struct SealReader<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}

fn inconsistent<T>(reason: impl Into<String>) -> Result<T, SealError> {
    Err(SealError::Inconsistent(reason.into()))
}

/// Returns a name for a message: quoted, escaped and clipped to the length of a line.
fn quoted(name: &str) -> String {
    let clipped: String = name.chars().take(120).collect();
    format!("{clipped:?}{}", if clipped.len() < name.len() { "…" } else { "" })
}

fn check(seal: &Seal) -> Result<(), SealError> {
    if seal.schema != SCHEMA {
        return Err(SealError::Schema(seal.schema.chars().take(80).collect()));
    }
    check_files(&seal.files)?;
    check_links(&seal.links)?;
    let mut by_file: HashMap<&str, Vec<&TensorSeal>> = HashMap::new();
    for pair in seal.tensors.windows(2) {
        if pair[0].name >= pair[1].name {
            return inconsistent(format!(
                "tensor {} is out of order or listed twice",
                quoted(&pair[1].name)
            ));
        }
    }
    for tensor in &seal.tensors {
        check_tensor(tensor)?;
        by_file.entry(&tensor.file).or_default().push(tensor);
    }
    for file in &seal.files {
        check_layout(file, by_file.remove(file.path.as_str()).unwrap_or_default())?;
    }
    if let Some(path) = by_file.keys().min() {
        return inconsistent(format!(
            "tensors lie in {}, which is not a sealed file",
            quoted(path)
        ));
    }
    check_totals(seal)
}

fn check_files(files: &[FileSeal]) -> Result<(), SealError> {
    for pair in files.windows(2) {
        if pair[0].path >= pair[1].path {
            return inconsistent(format!(
                "file {} is out of order or listed twice",
                quoted(&pair[1].path)
            ));
        }
    }
    for file in files {
        let path = quoted(&file.path);
        if !is_inside(&file.path) {
            return inconsistent(format!("path {path} does not stay inside the model"));
        }
        if file.bytes > MAX_INTEGER {
            return inconsistent(format!("file {path}: the length is over 2^53"));
        }
        if file.outside.is_none() && file.blake3.is_none() {
            return inconsistent(format!("file {path} has no digest"));
        }
    }
    Ok(())
}

fn check_links(links: &[LinkSeal]) -> Result<(), SealError> {
    for pair in links.windows(2) {
        if pair[0].path >= pair[1].path {
            return inconsistent(format!(
                "link {} is out of order or listed twice",
                quoted(&pair[1].path)
            ));
        }
    }
    for link in links {
        if !is_inside(&link.path) || !(link.target == "." || is_inside(&link.target)) {
            return inconsistent(format!(
                "link {} does not stay inside the model",
                quoted(&link.path)
            ));
        }
    }
    Ok(())
}

/// Returns whether a path is relative and has only plain components.
fn is_inside(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn check_tensor(tensor: &TensorSeal) -> Result<(), SealError> {
    let name = quoted(&tensor.name);
    let strides = tensor.strides.as_deref();
    if strides.is_some_and(|strides| !are_strides(tensor, strides)) {
        return inconsistent(format!("tensor {name}: the strides do not fit the shape"));
    }
    let elements = match strides {
        Some(_) => strides::stored_element_count(&tensor.shape, strides),
        None => tensor.shape.iter().try_fold(1u64, |product, d| product.checked_mul(*d)),
    };
    let bytes = elements.and_then(|elements| tensor.dtype.byte_len(elements));
    if bytes != Some(tensor.bytes) {
        return inconsistent(format!(
            "tensor {name}: shape and dtype do not give {} bytes",
            tensor.bytes
        ));
    }
    if tensor
        .shape
        .iter()
        .chain(strides.into_iter().flatten())
        .chain([&tensor.offset, &tensor.bytes])
        .any(|n| *n > MAX_INTEGER)
    {
        return inconsistent(format!("tensor {name}: a number is over 2^53"));
    }
    let expected = digest::block_count(tensor.bytes);
    let expected = if expected > 1 { expected } else { 0 };
    if tensor.blocks.len() as u64 != expected {
        return inconsistent(format!(
            "tensor {name}: {} blocks, expected {expected} of {BLOCK_LEN} bytes",
            tensor.blocks.len()
        ));
    }
    if expected > 0 && digest::root(&tensor.blocks, tensor.bytes) != Some(tensor.blake3) {
        return inconsistent(format!("tensor {name}: the blocks do not merge to the digest"));
    }
    if tensor.sketch.as_ref().is_some_and(|s| s.key.len() > 64 || Some(s.elements) > elements) {
        return inconsistent(format!("tensor {name}: the sketch does not fit the tensor"));
    }
    Ok(())
}

/// Returns whether strides are canonical, for a type whose elements are whole bytes.
fn are_strides(tensor: &TensorSeal, strides: &[u64]) -> bool {
    strides.len() == tensor.shape.len()
        && !tensor.dtype.is_block_quantised()
        && strides::canonical_strides(&tensor.shape, strides).as_deref() == Some(strides)
}

/// Checks that tensors and gaps cover a tensor file completely and without overlap. Tensors may share bytes with one
/// another, as views of one storage do, but not in safetensors files.
fn check_layout(file: &FileSeal, mut tensors: Vec<&TensorSeal>) -> Result<(), SealError> {
    let path = quoted(&file.path);
    let Some(gaps) = &file.outside else {
        return match tensors.first() {
            None => Ok(()),
            Some(tensor) => inconsistent(format!(
                "tensor {} lies in {path}, which has no `outside`",
                quoted(&tensor.name)
            )),
        };
    };
    tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    let may_share = !file.path.ends_with(".safetensors");
    let mut ranges: Vec<[u64; 2]> = Vec::with_capacity(tensors.len() + gaps.len());
    for tensor in tensors {
        let (start, end) = (tensor.offset, tensor.offset + tensor.bytes);
        match ranges.last_mut() {
            Some(last) if may_share && start < last[1] => last[1] = last[1].max(end),
            _ => ranges.push([start, end]),
        }
    }
    for gap in gaps {
        if gap.range[1] <= gap.range[0] {
            return inconsistent(format!("file {path}: a range of `outside` is empty or reversed"));
        }
        ranges.push(gap.range);
    }
    ranges.sort_unstable();
    let mut position = 0;
    for [start, end] in ranges {
        if start != position {
            let what = if start < position { "overlap" } else { "leave a gap" };
            return inconsistent(format!("file {path}: sealed ranges {what} at byte {start}"));
        }
        position = end;
    }
    if position != file.bytes {
        return inconsistent(format!(
            "file {path}: sealed ranges end at {position}, not at {}",
            file.bytes
        ));
    }
    Ok(())
}

fn check_totals(seal: &Seal) -> Result<(), SealError> {
    let model = &seal.model;
    let sum = |mut numbers: Box<dyn Iterator<Item = u64> + '_>| {
        numbers.try_fold(0u64, |sum, n| sum.checked_add(n))
    };
    let elements = sum(Box::new(seal.tensors.iter().map(|t| t.root_entry().stored_elements())));
    let bytes = sum(Box::new(seal.files.iter().map(|f| f.bytes)));
    if model.files != seal.files.len() as u64
        || model.tensors != seal.tensors.len() as u64
        || Some(model.elements) != elements
        || Some(model.bytes) != bytes
    {
        return inconsistent("the totals of the model do not match its files and tensors");
    }
    if model.root != root_text(&seal.root()) {
        return inconsistent("the model root does not match the sealed tensors");
    }
    Ok(())
}
