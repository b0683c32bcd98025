//! The header of a safetensors file: every invariant a check of its own, with a name of its own.
//!
//! A file is eight bytes with the length N of the header (u64, little-endian), N bytes of JSON, and
//! the data. The data must be covered by the tensors without overlap or gap. After our own checks
//! the reference reader (the `safetensors` crate) is asked, too: what it refuses, no loader loads.

use super::json::Members;
use super::problem::{Problem, quoted};
use crate::dtype::Dtype;
use serde_json::value::RawValue;

/// Longest header, as in the reference reader.
pub const MAX_HEADER: u64 = 100_000_000;

/// Problems of single tensors that are listed before the rest is only counted.
const LISTED: usize = 8;

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name as in the header.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// First byte in the file and one past the last.
    pub range: [u64; 2],
}

/// What a header says, as far as it is sound.
#[derive(Debug, Default)]
pub struct Header {
    /// The layout, in order of offset; `None` when it cannot be relied on.
    pub tensors: Option<Vec<Entry>>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is legal but odd.
    pub remarks: Vec<Problem>,
}

/// The length of the header from the first bytes of a file of `file_len` bytes.
///
/// # Errors
/// When there is no header of that length in the file.
pub fn header_len(path: &str, start: &[u8], file_len: u64) -> Result<u64, Problem> {
    let Some(prefix) = start.first_chunk::<8>() else {
        let message = format!("the file has {file_len} bytes: not even the 8 of the header length");
        return Err(Problem::new("format/header-missing", path, message));
    };
    if start.starts_with(b"version https://git-lfs") {
        let message = "this is a git-lfs pointer, not the weights: run `git lfs pull`";
        return Err(Problem::new("format/lfs-pointer", path, message));
    }
    let len = u64::from_le_bytes(*prefix);
    let problem =
        |message: String| Err(Problem::new("format/header-length", path, message).range([0, 8]));
    if len > MAX_HEADER {
        return problem(format!("header length {len} is over the limit of {MAX_HEADER} bytes"));
    }
    if len > file_len - 8 {
        return problem(format!(
            "header length {len} is past the end of the file of {file_len} bytes"
        ));
    }
    if len < 2 {
        return problem(format!("header length {len} leaves no room for an object"));
    }
    Ok(len)
}

/// Checks the header text of a file of `file_len` bytes. `path` names it in problems.
pub fn parse(path: &str, header: &[u8], file_len: u64) -> Header {
    let mut found = Header::default();
    match layout(path, header, file_len, &mut found) {
        Ok(tensors) => found.tensors = Some(tensors),
        Err(mut problems) => found.problems.append(&mut problems),
    }
    found
}

fn layout(
    path: &str,
    header: &[u8],
    file_len: u64,
    found: &mut Header,
) -> Result<Vec<Entry>, Vec<Problem>> {
    let data_start = 8 + header.len() as u64;
    let whole = [8, data_start];
    let text = std::str::from_utf8(header).map_err(|error| {
        let at = error.valid_up_to();
        let message = format!("the header is not UTF-8 at byte {at} of it");
        vec![Problem::new("format/header-utf8", path, message).range([8 + at as u64, data_start])]
    })?;
    let json =
        |message: String| vec![Problem::new("format/header-json", path, message).range(whole)];
    if text.starts_with('\u{feff}') {
        return Err(json("the header begins with a byte-order mark".to_owned()));
    }
    let members = Members::parse(text)
        .map_err(|error| json(format!("the header is not a JSON object: {error}")))?;
    if let Some(key) = members.duplicate() {
        let message =
            format!("{} stands twice in the header: loaders disagree on which counts", quoted(key));
        return Err(vec![Problem::new("format/duplicate-key", path, message).range(whole)]);
    }
    let mut problems = Vec::new();
    let mut entries = Vec::with_capacity(members.0.len());
    for (name, value) in &members.0 {
        if name == "__metadata__" {
            found.problems.extend(metadata(path, value));
            continue;
        }
        match entry(name, value, found, path) {
            Ok((dtype, shape, [start, end])) => {
                // Relative to the data; both fit, or the sum of a range past the file is caught below.
                let range = [data_start.saturating_add(start), data_start.saturating_add(end)];
                entries.push(Entry { name: name.clone().into_owned(), dtype, shape, range });
            }
            Err((rule, message)) => problems.push(
                Problem::new(rule, path, format!("tensor {}: {message}", quoted(name)))
                    .tensor(name),
            ),
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(LISTED);
        problems.truncate(LISTED);
        if let (Some(last), true) = (problems.last_mut(), more > 0) {
            last.message += &format!(" (and {more} more tensors)");
        }
        return Err(problems);
    }
    entries.sort_by(|a, b| (a.range, &a.name).cmp(&(b.range, &b.name)));
    contiguous(path, &entries, data_start)?;
    let end = entries.last().map_or(data_start, |entry| entry.range[1]);
    if end > file_len {
        found.problems.push(truncated(path, &entries, file_len, end));
        entries.retain(|entry| entry.range[1] <= file_len);
        return Ok(entries);
    }
    if end < file_len {
        let message = format!("{} bytes follow the last tensor", file_len - end);
        found
            .problems
            .push(Problem::new("format/trailing-bytes", path, message).range([end, file_len]));
    }
    if found.problems.is_empty() {
        reference_reader(path, text, found);
    }
    let misaligned = |e: &&Entry| {
        let align = u64::from(e.dtype.bits() / 8).max(1);
        !e.range[0].is_multiple_of(align) && e.range[1] > e.range[0]
    };
    let mut odd = entries.iter().filter(misaligned);
    if let Some(first) = odd.next() {
        let more = odd.count();
        let message = format!(
            "tensor {} starts at byte {}, not a multiple of its element size ({more} more like it): legal, slower to load",
            quoted(&first.name),
            first.range[0]
        );
        found.remarks.push(Problem::remark("format/misaligned", path, message).tensor(&first.name));
    }
    Ok(entries)
}

fn metadata(path: &str, value: &RawValue) -> Option<Problem> {
    if value.get() == "null" {
        return None;
    }
    let message = match Members::parse(value.get()) {
        Err(_) => "__metadata__ is not an object".to_owned(),
        Ok(members) => match (members.duplicate(), members.strings()) {
            (Some(key), _) => format!("{} stands twice in __metadata__", quoted(key)),
            (None, Err(key)) => {
                format!("__metadata__: the value of {} is not a string", quoted(key))
            }
            (None, Ok(_)) => return None,
        },
    };
    Some(Problem::new("format/metadata", path, message))
}

type Checked = (Dtype, Vec<u64>, [u64; 2]);

fn entry(
    name: &str,
    value: &RawValue,
    found: &mut Header,
    path: &str,
) -> Result<Checked, (&'static str, String)> {
    let members = Members::parse(value.get())
        .map_err(|_| ("format/entry", "it is not an object".to_owned()))?;
    if let Some(key) = members.duplicate() {
        return Err(("format/duplicate-key", format!("{} stands twice", quoted(key))));
    }
    let member = |key: &str| members.get(key).ok_or(("format/entry", format!("it has no {key}")));
    let (dtype, shape, offsets) = (member("dtype")?, member("shape")?, member("data_offsets")?);
    if members.0.len() > 3 && found.remarks.is_empty() {
        let message = format!("tensor {} has members that loaders ignore", quoted(name));
        found.remarks.push(Problem::remark("format/unknown-member", path, message).tensor(name));
    }
    let dtype_name: String = serde_json::from_str(dtype.get())
        .map_err(|_| ("format/dtype", "its dtype is not a string".to_owned()))?;
    let dtype: Dtype = dtype_name
        .parse()
        .map_err(|_| ("format/dtype", format!("its dtype {} is unknown", quoted(&dtype_name))))?;
    let shape: Vec<u64> = serde_json::from_str(shape.get()).map_err(|error| {
        ("format/shape", format!("its shape is not a list of dimensions: {}", reason(&error)))
    })?;
    let offsets: Vec<u64> = serde_json::from_str(offsets.get()).map_err(|error| {
        ("format/offsets", format!("its data_offsets are not two offsets: {}", reason(&error)))
    })?;
    let &[start, end] = &offsets[..] else {
        return Err(("format/offsets", format!("it has {} data_offsets, not two", offsets.len())));
    };
    if end < start {
        return Err(("format/offsets", format!("its data_offsets are reversed: {start} to {end}")));
    }
    let elements = shape
        .iter()
        .try_fold(1u64, |product, dimension| product.checked_mul(*dimension))
        .filter(|elements| elements.checked_mul(u64::from(dtype.bits())).is_some())
        .ok_or(("format/shape", "the product of its dimensions overflows".to_owned()))?;
    let bytes = dtype.byte_len(elements).ok_or((
        "format/size-mismatch",
        format!("{elements} elements of {} bits do not fill whole bytes", dtype.bits()),
    ))?;
    if bytes != end - start {
        let message =
            format!("its shape needs {bytes} bytes, its data_offsets hold {}", end - start);
        return Err(("format/size-mismatch", message));
    }
    Ok((dtype, shape, [start, end]))
}

/// A parser's message without its line and column: those would be of a fragment.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn contiguous(path: &str, entries: &[Entry], data_start: u64) -> Result<(), Vec<Problem>> {
    let mut position = data_start;
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let [start, end] = entry.range;
        let name = quoted(&entry.name);
        if start > position {
            let message =
                format!("{} bytes before tensor {name} belong to no tensor", start - position);
            let problem = Problem::new("format/gap", path, message).range([position, start]);
            return Err(vec![problem.tensor(&entry.name)]);
        }
        if start < position {
            let other = before.map_or_else(|| "the header".to_owned(), |e| quoted(&e.name));
            let message = format!("tensor {name} overlaps {other}");
            let problem = Problem::new("format/overlap", path, message);
            return Err(vec![problem.range([start, position.min(end)]).tensor(&entry.name)]);
        }
        position = end;
        before = Some(entry);
    }
    Ok(())
}

fn truncated(path: &str, entries: &[Entry], file_len: u64, end: u64) -> Problem {
    let lost: Vec<&Entry> = entries.iter().filter(|entry| entry.range[1] > file_len).collect();
    let names: Vec<String> = lost.iter().take(3).map(|entry| quoted(&entry.name)).collect();
    let more = if lost.len() > 3 { format!(" and {} more", lost.len() - 3) } else { String::new() };
    let message = format!(
        "the file ends {} bytes before its last tensor does: {}{more} cut off",
        end - file_len,
        names.join(", ")
    );
    let mut problem = Problem::new("format/truncated", path, message).range([file_len, end]);
    if let [only] = &lost[..] {
        problem = problem.tensor(&only.name);
    }
    problem
}

fn reference_reader(path: &str, text: &str, found: &mut Header) {
    if let Err(error) = serde_json::from_str::<::safetensors::tensor::Metadata>(text) {
        let message = format!("the reference reader refuses it: {error}");
        found.problems.push(Problem::new("format/reference-reader-refuses", path, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::tensor::TensorView;
    use proptest::prelude::*;

    fn rules(header: &str, data: u64) -> Vec<&'static str> {
        let found = parse("f", header.as_bytes(), 8 + header.len() as u64 + data);
        found.problems.iter().map(|problem| problem.rule).collect()
    }

    #[test]
    fn every_dtype_written_by_the_reference_reads_back() {
        for dtype in Dtype::all() {
            let theirs: ::safetensors::Dtype = serde_json::from_value(dtype.name().into()).unwrap();
            let bytes = vec![0; dtype.byte_len(8).unwrap() as usize];
            let view = TensorView::new(theirs, vec![2, 4], &bytes).unwrap();
            let file = ::safetensors::serialize([("a.b", view)], None).unwrap();
            let len = header_len("f", &file, file.len() as u64).unwrap();
            let found = parse("f", &file[8..8 + len as usize], file.len() as u64);
            assert_eq!(found.problems, []);
            let start = 8 + len;
            let range = [start, start + bytes.len() as u64];
            let expected = Entry { name: "a.b".into(), dtype, shape: vec![2, 4], range };
            assert_eq!(found.tensors.unwrap(), [expected]);
        }
    }

    #[test]
    fn each_invariant_has_its_name() {
        let one = |entry: &str| format!(r#"{{"a":{entry}}}"#);
        for (header, data, rule) in [
            (
                one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#),
                9,
                "format/trailing-bytes",
            ),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 7, "format/truncated"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#), 12, "format/gap"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#), 4, "format/size-mismatch"),
            (one(r#"{"dtype":"F4","shape":[3],"data_offsets":[0,2]}"#), 2, "format/size-mismatch"),
            (one(r#"{"dtype":"f32","shape":[1],"data_offsets":[0,4]}"#), 4, "format/dtype"),
            (one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#), 4, "format/shape"),
            (one(r#"{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}"#), 4, "format/shape"),
            (one(r#"{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}"#), 4, "format/shape"),
            (
                one(
                    r#"{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]}"#,
                ),
                0,
                "format/shape",
            ),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#), 4, "format/offsets"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}"#), 4, "format/offsets"),
            (
                one(r#"{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}"#),
                4,
                "format/duplicate-key",
            ),
            (one("[]"), 0, "format/entry"),
            ("[]".into(), 0, "format/header-json"),
            ("{}x".into(), 0, "format/header-json"),
            ("{}\0\0".into(), 0, "format/header-json"),
            (r#"{"__metadata__":{"a":1}}"#.into(), 0, "format/metadata"),
            (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "format/duplicate-key"),
        ] {
            assert_eq!(rules(&header, data), [rule], "{header}");
        }
        assert_eq!(rules(r#"  {"__metadata__":null}   "#, 0), [""; 0], "legal");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), len: u64) {
            let _ = header_len("f", &bytes, len.max(bytes.len() as u64));
            let _ = parse("f", &bytes, len);
        }

        #[test]
        fn a_damaged_header_is_refused_or_agreed_on(at in 0usize..1000, bit in 0u8..8) {
            let data = [0u8; 24];
            let view = |r: std::ops::Range<usize>, shape: &[usize]| {
                TensorView::new(::safetensors::Dtype::F16, shape.to_vec(), &data[r]).unwrap()
            };
            let tensors = [("w.one", view(0..16, &[2, 4])), ("b", view(16..24, &[4]))];
            let mut file = ::safetensors::serialize(tensors, None).unwrap();
            let at = at % (file.len() - 24);
            file[at] ^= 1 << bit;
            if let Ok(len) = header_len("f", &file, file.len() as u64) {
                let found = parse("f", &file[8..8 + len as usize], file.len() as u64);
                // Whatever we accept, the reference accepts.
                if found.problems.is_empty() {
                    prop_assert!(::safetensors::SafeTensors::deserialize(&file).is_ok());
                }
            }
        }
    }
}
