//! Malformed models and legal oddities, made by code into an empty directory.

pub(crate) mod gguf;
pub(crate) mod torch;

use std::fs;
use std::path::{Path, PathBuf};

/// A malformed model.
pub(crate) struct Case {
    /// Unique, a file name.
    pub name: &'static str,
    /// Makes the model in an empty directory and gives its path.
    pub build: fn(&Path) -> PathBuf,
    /// The rule that must be reported.
    pub rule: &'static str,
    /// The file it must be reported of.
    pub file: &'static str,
}

/// A legal model that looks odd.
pub(crate) struct Legal {
    /// Unique, a file name.
    pub name: &'static str,
    /// Makes the model in an empty directory and gives its path.
    pub build: fn(&Path) -> PathBuf,
    /// How many tensors it has.
    pub tensors: usize,
}

/// The file most cases are about.
pub(crate) const MODEL: &str = "model.safetensors";
/// The index of the sharded cases.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The bytes of a safetensors file with this header text, padded to 8 bytes, and this data.
pub(crate) fn safetensors(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let mut header = header.as_ref().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    raw(header.len() as u64, &header, data)
}

/// The bytes of a safetensors file that states this header length.
pub(crate) fn raw(length: u64, header: &[u8], data: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), header, data].concat()
}

/// An entry of a header.
pub(crate) fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

/// A sound file with F32 tensors of two elements each.
pub(crate) fn sound(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| entry(name, "F32", "[2]", at as u64 * 8, at as u64 * 8 + 8))
        .collect();
    safetensors(format!("{{{}}}", entries.join(",")), &vec![7; names.len() * 8])
}

/// Writes a file, with the directories on the way to it.
pub(crate) fn write(dir: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

/// A directory with this one tensor file.
fn model(dir: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    write(dir, MODEL, bytes);
    dir.to_owned()
}

/// A directory with a tensor file of this header and this many bytes of data.
fn header(dir: &Path, header: impl AsRef<[u8]>, data: usize) -> PathBuf {
    model(dir, safetensors(header, &vec![7; data]))
}

/// A directory with a tensor file of one entry without data.
fn empty_one(dir: &Path, shape: &str) -> PathBuf {
    header(dir, format!("{{{}}}", entry("x", "F32", shape, 0, 0)), 0)
}

/// A directory with a tensor file of one entry, and 8 bytes of data.
fn one(dir: &Path, dtype: &str, shape: &str, offsets: &str) -> PathBuf {
    let text = format!(r#"{{"x":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}"#);
    header(dir, text, 8)
}

/// A directory with an index of this text and the sound shards `1.safetensors` (a, b) and
/// `2.safetensors` (c).
fn sharded(dir: &Path, index: impl AsRef<[u8]>) -> PathBuf {
    write(dir, "1.safetensors", sound(&["a", "b"]));
    write(dir, "2.safetensors", sound(&["c"]));
    write(dir, INDEX, index);
    dir.to_owned()
}

/// An index with this weight map.
fn map(weight_map: &str) -> String {
    format!(r#"{{"metadata":{{"total_size":24}},"weight_map":{{{weight_map}}}}}"#)
}

/// The weight map of `sharded`.
const MAP: &str = r#""a":"1.safetensors","b":"1.safetensors","c":"2.safetensors""#;

#[cfg(unix)]
fn link(dir: &Path, path: &str, target: impl AsRef<Path>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// A named pipe, made by the tool every Unix has.
#[cfg(unix)]
pub(crate) fn fifo(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
fn socket(path: &Path) {
    // The listener may go: the file stays.
    std::os::unix::net::UnixListener::bind(path).unwrap();
}

macro_rules! case {
    ($name:literal, $rule:literal, $build:expr) => {
        case!($name, $rule, MODEL, $build)
    };
    ($name:literal, $rule:literal, $file:expr, $build:expr) => {
        Case { name: $name, build: $build, rule: concat!("format/", $rule), file: $file }
    };
}

/// All malformed models.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = container_cases();
    cases.extend(header_cases());
    cases.extend(entry_cases());
    cases.extend(range_cases());
    cases.extend(index_cases());
    cases.extend(single_file_cases());
    cases.extend(gguf::cases());
    #[cfg(unix)]
    cases.extend(tree_cases());
    cases
}

/// What is wrong before the header text.
fn container_cases() -> Vec<Case> {
    vec![
        case!("zero-bytes", "empty-file", |d| model(d, b"")),
        case!("one-byte", "too-short", |d| model(d, b"\x08")),
        case!("seven-bytes", "too-short", |d| model(d, [0; 7])),
        case!("header-length-0", "header-length-zero", |d| model(d, raw(0, b"", b""))),
        case!("header-length-0-with-data", "header-length-zero", |d| {
            model(d, raw(0, b"{}      ", &[0; 64]))
        }),
        case!("header-length-2-63", "header-too-large", |d| model(d, raw(1 << 63, b"{}", b""))),
        case!("header-length-all-ones", "header-too-large", |d| {
            model(d, raw(u64::MAX, b"{}", b""))
        }),
        case!("header-over-100-mb", "header-too-large", |d| {
            // Sparse: the file is as long as its header says.
            write(d, MODEL, raw(100_000_001, b"{}", b""));
            let file = fs::File::options().write(true).open(d.join(MODEL)).unwrap();
            file.set_len(100_000_100).unwrap();
            d.to_owned()
        }),
        case!("header-past-end", "header-past-end", |d| model(d, raw(100, b"{}", b""))),
        case!("only-a-length", "header-past-end", |d| model(d, raw(2, b"", b""))),
        case!("git-lfs-pointer", "git-lfs-pointer", |d| {
            model(
                d,
                "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69\
                 d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4976698672\n",
            )
        }),
    ]
}

/// What is wrong with the text as JSON, and with `__metadata__`.
fn header_cases() -> Vec<Case> {
    vec![
        case!("not-utf8", "header-not-utf8", |d| header(d, b"{\"\xff\xfe\":1}", 0)),
        case!("utf-16", "header-not-utf8", |d| header(d, b"\xff\xfe{\0}\0", 0)),
        case!("byte-order-mark", "byte-order-mark", |d| header(d, b"\xef\xbb\xbf{}", 0)),
        case!("nul-padding", "header-junk", |d| model(d, raw(8, b"{}\0\0\0\0\0\0", b""))),
        case!("junk-after-json", "header-junk", |d| header(d, "{} {}", 0)),
        case!("junk-letter-after-json", "header-junk", |d| header(d, "{}x", 0)),
        case!("only-spaces", "header-not-json", |d| header(d, "        ", 0)),
        case!("cut-json", "header-not-json", |d| header(d, r#"{"a":{"dtype":"F3"#, 0)),
        case!("single-quotes", "header-not-json", |d| header(d, "{'a':1}", 0)),
        case!("trailing-comma", "header-not-json", |d| header(d, "{\"a\":1,}", 0)),
        case!("comment", "header-not-json", |d| header(d, "{/* x */}", 0)),
        case!("nan", "header-not-json", |d| header(d, "{\"a\":NaN}", 0)),
        case!("newline-in-string", "header-not-json", |d| header(d, "{\"a\nb\":1}", 0)),
        case!("lone-surrogate", "header-not-json", |d| header(d, r#"{"\ud800":1}"#, 0)),
        case!("number-out-of-range", "header-not-json", |d| {
            one(d, r#""F32""#, "[1e999]", "[0,8]")
        }),
        case!("deep-nesting", "header-too-deep", |d| header(d, "[".repeat(100_000), 0)),
        case!("deep-nesting-in-entry", "header-too-deep", |d| {
            header(d, format!("{{\"a\":{}{}}}", "{\"b\":[".repeat(50_000), "]}".repeat(50_000)), 0)
        }),
        case!("header-is-array", "header-not-object", |d| header(d, "[1,2]", 0)),
        case!("header-is-number", "header-not-object", |d| header(d, "7", 0)),
        case!("header-is-null", "header-not-object", |d| header(d, "null", 0)),
        case!("metadata-twice", "duplicate-metadata", |d| {
            header(d, r#"{"__metadata__":{},"__metadata__":{"a":"b"}}"#, 0)
        }),
        case!("metadata-twice-escaped", "duplicate-metadata", |d| {
            header(d, r#"{"__metadata__":{},"\u005f_metadata__":{"a":"b"}}"#, 0)
        }),
        case!("metadata-key-twice", "duplicate-metadata-key", |d| {
            header(d, r#"{"__metadata__":{"format":"pt","format":"tf"}}"#, 0)
        }),
        case!("metadata-number", "metadata-not-string", |d| {
            header(d, r#"{"__metadata__":{"a":1}}"#, 0)
        }),
        case!("metadata-nested", "metadata-not-string", |d| {
            header(d, r#"{"__metadata__":{"a":{"b":"c"}}}"#, 0)
        }),
        case!("metadata-array", "metadata-not-object", |d| {
            header(d, r#"{"__metadata__":["a"]}"#, 0)
        }),
        case!("metadata-string", "metadata-not-object", |d| {
            header(d, r#"{"__metadata__":"a"}"#, 0)
        }),
        case!("tensor-named-metadata", "metadata-not-string", |d| {
            header(d, format!("{{{}}}", entry("__metadata__", "F32", "[0]", 0, 0)), 0)
        }),
        case!("too-many-metadata", "metadata-too-large", |d| {
            let entries: Vec<_> = (0..100_001).map(|n| format!("\"{n}\":\"\"")).collect();
            header(d, format!(r#"{{"__metadata__":{{{}}}}}"#, entries.join(",")), 0)
        }),
    ]
}

/// What is wrong with an entry by itself.
fn entry_cases() -> Vec<Case> {
    vec![
        case!("tensor-twice", "duplicate-tensor", |d| {
            let (a, b) = (entry("x", "F32", "[2]", 0, 8), entry("x", "F32", "[2]", 0, 8));
            header(d, format!("{{{a},{b}}}"), 8)
        }),
        case!("tensor-twice-other-dtype", "duplicate-tensor", |d| {
            let (a, b) = (entry("x", "F32", "[2]", 0, 8), entry("x", "I32", "[2]", 0, 8));
            header(d, format!("{{{a},{b}}}"), 8)
        }),
        case!("tensor-twice-escaped", "duplicate-tensor", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("\\u0061", "F32", "[2]", 8, 16));
            header(d, format!("{{{a},{b}}}"), 16)
        }),
        case!("entry-is-array", "entry-not-object", |d| {
            header(d, r#"{"x":["F32",[2],[0,8]]}"#, 8)
        }),
        case!("entry-is-null", "entry-not-object", |d| header(d, r#"{"x":null}"#, 0)),
        case!("member-twice", "duplicate-member", |d| {
            let text = r#"{"x":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}"#;
            header(d, text, 8)
        }),
        case!("member-twice-escaped", "duplicate-member", |d| {
            header(
                d,
                r#"{"x":{"dtype":"F32","shape":[2],"sh\u0061pe":[2],"data_offsets":[0,8]}}"#,
                8,
            )
        }),
        case!("no-dtype", "missing-member", |d| {
            header(d, r#"{"x":{"shape":[2],"data_offsets":[0,8]}}"#, 8)
        }),
        case!("no-shape", "missing-member", |d| {
            header(d, r#"{"x":{"dtype":"F32","data_offsets":[0,8]}}"#, 8)
        }),
        case!("no-offsets", "missing-member", |d| {
            header(d, r#"{"x":{"dtype":"F32","shape":[2]}}"#, 8)
        }),
        case!("unknown-member", "unknown-member", |d| {
            header(d, r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"y":[{}]}}"#, 8)
        }),
        case!("unknown-dtype", "unknown-dtype", |d| one(d, r#""F33""#, "[2]", "[0,8]")),
        case!("lower-case-dtype", "unknown-dtype", |d| one(d, r#""f32""#, "[2]", "[0,8]")),
        case!("dtype-number", "dtype-not-string", |d| one(d, "32", "[2]", "[0,8]")),
        case!("dtype-null", "dtype-not-string", |d| one(d, "null", "[2]", "[0,8]")),
        case!("shape-number", "shape-not-array", |d| one(d, r#""F32""#, "2", "[0,8]")),
        case!("shape-null", "shape-not-array", |d| one(d, r#""F32""#, "null", "[0,8]")),
        case!("negative-dimension", "bad-dimension", |d| one(d, r#""F32""#, "[-2]", "[0,8]")),
        case!("float-dimension", "bad-dimension", |d| one(d, r#""F32""#, "[2.0]", "[0,8]")),
        case!("minus-zero-dimension", "bad-dimension", |d| empty_one(d, "[-0]")),
        case!("string-dimension", "bad-dimension", |d| one(d, r#""F32""#, "[\"2\"]", "[0,8]")),
        case!("dimension-2-63", "bad-dimension", |d| { empty_one(d, "[9223372036854775808,0]") }),
        case!("dimension-2-64", "bad-dimension", |d| {
            one(d, r#""F32""#, "[18446744073709551616]", "[0,8]")
        }),
        case!("257-dimensions", "too-many-dimensions", |d| {
            one(d, r#""F32""#, &format!("[2{}]", ",1".repeat(256)), "[0,8]")
        }),
        case!("product-overflow", "size-overflow", |d| {
            one(d, r#""U8""#, "[4294967296,4294967296]", "[0,8]")
        }),
        case!("product-wraps-to-fit", "size-overflow", |d| {
            // 2^62 * 4 bytes + 2 elements wrap around to 8 bytes.
            one(d, r#""F32""#, "[4611686018427387906]", "[0,8]")
        }),
        case!("product-overflow-beside-zero", "size-overflow", |d| {
            empty_one(d, "[9223372036854775807,9223372036854775807,0]")
        }),
        case!("f4-odd-count", "partial-byte", |d| one(d, r#""F4""#, "[15]", "[0,8]")),
        case!("f6-partial-byte", "partial-byte", |d| one(d, r#""F6_E2M3""#, "[3]", "[0,8]")),
        case!("offsets-number", "bad-offsets", |d| one(d, r#""F32""#, "[2]", "8")),
        case!("offsets-one", "bad-offsets", |d| one(d, r#""F32""#, "[2]", "[8]")),
        case!("offsets-three", "bad-offsets", |d| one(d, r#""F32""#, "[2]", "[0,8,8]")),
        case!("offsets-float", "bad-offsets", |d| one(d, r#""F32""#, "[2]", "[0.0,8.0]")),
        case!("offsets-negative", "bad-offsets", |d| one(d, r#""F32""#, "[2]", "[-8,0]")),
        case!("offsets-string", "bad-offsets", |d| one(d, r#""F32""#, "[2]", r#"["0","8"]"#)),
        case!("offsets-2-64", "bad-offsets", |d| {
            one(d, r#""F32""#, "[2]", "[18446744073709551616,18446744073709551624]")
        }),
        case!("offsets-reversed", "reversed-offsets", |d| one(d, r#""F32""#, "[2]", "[8,0]")),
        case!("shape-too-large", "size-mismatch", |d| one(d, r#""F32""#, "[3]", "[0,8]")),
        case!("shape-too-small", "size-mismatch", |d| one(d, r#""F32""#, "[1]", "[0,8]")),
        case!("scalar-of-8-bytes", "size-mismatch", |d| one(d, r#""F32""#, "[]", "[0,8]")),
        case!("million-tensors", "too-many-tensors", |d| {
            let mut text = String::from("{");
            for n in 0..=1_000_000 {
                text.push_str(&format!("\"{n}\":{{}},"));
            }
            text.pop();
            header(d, text + "}", 0)
        }),
    ]
}

/// What is wrong with the ranges of entries together, or against the length of the file.
fn range_cases() -> Vec<Case> {
    vec![
        case!("overlap", "overlap", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12));
            header(d, format!("{{{a},{b}}}"), 12)
        }),
        case!("same-range", "overlap", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "I32", "[2]", 0, 8));
            header(d, format!("{{{a},{b}}}"), 8)
        }),
        case!("many-on-one-range", "overlap", |d| {
            let entries: Vec<_> =
                (0..10_000).map(|n| entry(&n.to_string(), "F32", "[2]", 0, 8)).collect();
            header(d, format!("{{{}}}", entries.join(",")), 8)
        }),
        case!("empty-tensor-inside-another", "overlap", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[0]", 4, 4));
            header(d, format!("{{{a},{b}}}"), 8)
        }),
        case!("gap", "gap", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 16, 24));
            header(d, format!("{{{a},{b}}}"), 24)
        }),
        case!("gap-at-start", "gap", |d| {
            header(d, format!("{{{}}}", entry("a", "F32", "[2]", 8, 16)), 16)
        }),
        case!("trailing-byte", "trailing-bytes", |d| {
            header(d, format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)), 9)
        }),
        case!("trailing-without-tensors", "trailing-bytes", |d| header(d, "{}", 1000)),
        case!("truncated-by-a-byte", "truncated", |d| {
            header(d, format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)), 7)
        }),
        case!("truncated-after-header", "truncated", |d| {
            header(d, format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)), 0)
        }),
        case!("truncated-second-tensor", "truncated", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 8, 16));
            header(d, format!("{{{a},{b}}}"), 9)
        }),
        case!("range-past-end", "range-past-end", |d| {
            let (a, b) = (entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 800, 808));
            header(d, format!("{{{a},{b}}}"), 8)
        }),
        case!("range-end-overflows", "range-past-end", |d| {
            let (start, end) = (u64::MAX - 7, u64::MAX);
            header(d, format!("{{{}}}", entry("a", "U8", "[7]", start, end)), 0)
        }),
    ]
}

/// What is wrong with the index of a sharded model.
fn index_cases() -> Vec<Case> {
    vec![
        case!("index-empty", "index-not-json", INDEX, |d| sharded(d, "")),
        case!("index-not-json", "index-not-json", INDEX, |d| sharded(d, "{weight_map}")),
        case!("index-not-utf8", "index-not-utf8", INDEX, |d| sharded(d, b"{\"\xff\":1}")),
        case!("index-byte-order-mark", "index-byte-order-mark", INDEX, |d| {
            sharded(d, format!("\u{feff}{}", map(MAP)))
        }),
        case!("index-deep-nesting", "index-too-deep", INDEX, |d| {
            sharded(d, "[".repeat(100_000))
        }),
        case!("index-junk", "index-junk", INDEX, |d| sharded(d, map(MAP) + "}")),
        case!("index-array", "index-not-object", INDEX, |d| sharded(d, "[]")),
        case!("index-no-weight-map", "index-no-weight-map", INDEX, |d| sharded(d, "{}")),
        case!("index-weight-map-array", "index-weight-map-not-object", INDEX, |d| {
            sharded(d, r#"{"weight_map":["a"]}"#)
        }),
        case!("index-shard-number", "index-shard-not-string", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":1")))
        }),
        case!("index-duplicate-tensor", "index-duplicate-key", INDEX, |d| {
            sharded(d, map(&format!("\"a\":\"2.safetensors\",{MAP}")))
        }),
        case!("index-duplicate-escaped", "index-duplicate-key", INDEX, |d| {
            sharded(d, map(&format!("\"\\u0061\":\"1.safetensors\",{MAP}")))
        }),
        case!("index-duplicate-weight-map", "index-duplicate-key", INDEX, |d| {
            sharded(d, format!(r#"{{"weight_map":{{}},"weight_map":{{{MAP}}}}}"#))
        }),
        case!("index-duplicate-elsewhere", "index-duplicate-key", INDEX, |d| {
            sharded(d, format!(r#"{{"x":[{{"k":1,"k":2}}],"weight_map":{{{MAP}}}}}"#))
        }),
        case!("index-metadata-array", "index-metadata-not-object", INDEX, |d| {
            sharded(d, format!(r#"{{"metadata":[],"weight_map":{{{MAP}}}}}"#))
        }),
        case!("index-total-size-string", "index-bad-total-size", INDEX, |d| {
            sharded(d, map(MAP).replace("24", "\"24\""))
        }),
        case!("index-total-size-wrong", "index-wrong-total-size", INDEX, |d| {
            sharded(d, map(MAP).replace("24", "25"))
        }),
        case!("index-total-size-float-wrong", "index-wrong-total-size", INDEX, |d| {
            sharded(d, map(MAP).replace("24", "24.5"))
        }),
        case!("shard-missing", "shard-missing", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"3.safetensors\"")))
        }),
        case!("shard-dot-dot", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"../3.safetensors\"")))
        }),
        case!("shard-dot-dot-inside", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"y/../1.safetensors\"")))
        }),
        case!("shard-absolute", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"/etc/passwd\"")))
        }),
        case!("shard-backslash", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"..\\\\3.safetensors\"")))
        }),
        case!("shard-nul", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"1.safetensors\\u0000\"")))
        }),
        case!("shard-drive", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"C:1.safetensors\"")))
        }),
        case!("shard-empty-name", "shard-path", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"\"")))
        }),
        case!("shard-left-out", "shard-not-covered", INDEX, |d| {
            write(d, ".git/3.safetensors", sound(&["x"]));
            sharded(d, map(&format!("{MAP},\"x\":\".git/3.safetensors\"")))
        }),
        case!("shard-is-directory", "shard-is-directory", INDEX, |d| {
            fs::create_dir(d.join("3.safetensors")).unwrap();
            sharded(d, map(&format!("{MAP},\"x\":\"3.safetensors\"")))
        }),
        case!("swapped-map", "tensor-not-in-shard", INDEX, |d| {
            sharded(d, map(r#""a":"2.safetensors","b":"1.safetensors","c":"1.safetensors""#))
        }),
        case!("tensor-absent", "tensor-not-in-shard", INDEX, |d| {
            sharded(d, map(&format!("{MAP},\"x\":\"1.safetensors\"")))
        }),
        case!("tensor-in-two-shards", "tensor-in-two-shards", INDEX, |d| {
            let dir = sharded(d, map(MAP));
            write(d, "2.safetensors", sound(&["a", "c"]));
            dir
        }),
        case!("tensor-unlisted", "tensor-not-in-index", INDEX, |d| {
            sharded(d, map(r#""a":"1.safetensors","c":"2.safetensors""#))
        }),
        case!("shard-truncated", "truncated", "1.safetensors", |d| {
            let dir = sharded(d, map(MAP));
            let bytes = sound(&["a", "b"]);
            write(d, "1.safetensors", &bytes[..bytes.len() - 3]);
            dir
        }),
        case!("shard-is-config", "header-too-large", "config.json", |d| {
            write(d, "config.json", "{\"hidden_size\": 1}");
            sharded(d, map(&format!("{MAP},\"x\":\"config.json\"")))
        }),
        case!("index-in-subdirectory", "shard-missing", "unet/model.safetensors.index.json", |d| {
            write(d, "unet/model.safetensors.index.json", map("\"a\":\"1.safetensors\""));
            d.to_owned()
        }),
    ]
}

/// Files given by themselves.
fn single_file_cases() -> Vec<Case> {
    vec![
        case!("file-truncated", "truncated", |d| {
            let bytes = sound(&["a"]);
            model(d, &bytes[..bytes.len() - 1]).join(MODEL)
        }),
        case!("file-unknown", "unknown", "notes.txt", |d| {
            write(d, "notes.txt", [0xAB; 64]);
            d.join("notes.txt")
        }),
        case!("file-empty-other", "unknown", "empty", |d| {
            write(d, "empty", "");
            d.join("empty")
        }),
        case!("file-is-index", "is-index", INDEX, |d| sharded(d, map(MAP)).join(INDEX)),
    ]
}

/// What is wrong with the files of a directory.
#[cfg(unix)]
fn tree_cases() -> Vec<Case> {
    use std::os::unix::ffi::OsStrExt;

    /// A sound model in `model/`, so that there is an outside.
    fn inner(dir: &Path) -> PathBuf {
        write(dir, "model/model.safetensors", sound(&["a"]));
        dir.join("model")
    }

    vec![
        case!("fifo", "special-file", "pipe", |d| {
            fifo(&d.join("pipe"));
            model(d, sound(&["a"]))
        }),
        case!("tensor-fifo", "special-file", MODEL, |d| {
            fifo(&d.join(MODEL));
            d.to_owned()
        }),
        case!("shard-is-fifo", "special-file", "3.safetensors", |d| {
            fifo(&d.join("3.safetensors"));
            sharded(d, map(&format!("{MAP},\"x\":\"3.safetensors\"")))
        }),
        case!("socket", "special-file", "s", |d| {
            socket(&d.join("s"));
            model(d, sound(&["a"]))
        }),
        case!("shard-is-link-to-device", "link-out", "3.safetensors", |d| {
            link(d, "3.safetensors", "/dev/zero");
            sharded(d, map(&format!("{MAP},\"x\":\"3.safetensors\"")))
        }),
        case!("name-not-utf8", "file-name", "\u{fffd}.json", |d| {
            fs::write(d.join(std::ffi::OsStr::from_bytes(b"\xff.json")), "{}").unwrap();
            model(d, sound(&["a"]))
        }),
        case!("directory-name-not-utf8", "file-name", "\u{fffd}", |d| {
            fs::create_dir(d.join(std::ffi::OsStr::from_bytes(b"\xfe"))).unwrap();
            model(d, sound(&["a"]))
        }),
        case!("newline-in-name-of-damaged-file", "empty-file", "a\nb\u{1b}[31m.safetensors", |d| {
            write(d, "a\nb\u{1b}[31m.safetensors", "");
            model(d, sound(&["a"]))
        }),
        case!("link-out", "link-out", "config.json", |d| {
            write(d, "outside.json", "{}");
            link(d, "model/config.json", "../outside.json");
            inner(d)
        }),
        case!("link-out-absolute", "link-out", "config.json", |d| {
            link(d, "model/config.json", "/etc/passwd");
            inner(d)
        }),
        case!("link-out-through-link", "link-out", "a.json", |d| {
            write(d, "outside.json", "{}");
            link(d, "model/b/c.json", "../../outside.json");
            link(d, "model/a.json", "b/c.json");
            inner(d)
        }),
        case!("link-to-outside-directory", "link-out", "more", |d| {
            write(d, "outside/config.json", "{}");
            link(d, "model/more", "../outside");
            inner(d)
        }),
        case!("link-to-left-out-directory", "link-to-left-out", "more", |d| {
            write(d, ".git/x/model.safetensors", sound(&["b"]));
            link(d, "more", ".git/x");
            model(d, sound(&["a"]))
        }),
        case!("link-dangling", "link-dangling", "config.json", |d| {
            link(d, "config.json", "nothing.json");
            model(d, sound(&["a"]))
        }),
        case!("link-to-itself", "link-cycle", "loop", |d| {
            link(d, "loop", "loop");
            model(d, sound(&["a"]))
        }),
        case!("link-pair", "link-cycle", "x", |d| {
            link(d, "x", "y");
            link(d, "y", "x");
            model(d, sound(&["a"]))
        }),
        case!("link-to-own-directory", "link-cycle", "sub/up", |d| {
            link(d, "sub/up", "..");
            model(d, sound(&["a"]))
        }),
        case!("other-repository-of-the-cache", "link-out", MODEL, |d| {
            write(d, "models--a--b/blobs/0", sound(&["a"]));
            let snapshot = "models--c--d/snapshots/0/model.safetensors";
            link(d, snapshot, "../../../models--a--b/blobs/0");
            d.join("models--c--d/snapshots/0")
        }),
        case!("deep-directories", "directory-too-deep", DEEP, |d| {
            write(d, &format!("{}x.json", "d/".repeat(70)), "{}");
            model(d, sound(&["a"]))
        }),
    ]
}

/// The first directory that is too deep.
#[cfg(unix)]
const DEEP: &str = "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/\
                    d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d";

macro_rules! legal {
    ($name:literal, $tensors:literal, $build:expr) => {
        Legal { name: $name, build: $build, tensors: $tensors }
    };
}

/// Legal models that look odd.
pub(crate) fn legal() -> Vec<Legal> {
    let mut legal = vec![
        legal!("plain", 2, |d| model(d, sound(&["a", "b"]))),
        legal!("no-tensors", 0, |d| header(d, "{}", 0)),
        legal!("shortest-header", 0, |d| model(d, raw(2, b"{}", b""))),
        legal!("leading-white-space", 1, |d| {
            header(d, format!(" \n\t\r{{{}}}", entry("a", "F32", "[2]", 0, 8)), 8)
        }),
        legal!("trailing-white-space", 0, |d| header(d, "{}\n\t\r ", 0)),
        legal!("metadata-null", 0, |d| header(d, r#"{"__metadata__":null}"#, 0)),
        legal!("metadata-empty", 0, |d| header(d, r#"{"__metadata__":{}}"#, 0)),
        legal!("metadata-of-strings", 0, |d| {
            header(d, r#"{"__metadata__":{"format":"pt","":"\u0000"}}"#, 0)
        }),
        legal!("misaligned-f32", 2, |d| {
            let (a, b) = (entry("a", "U8", "[1]", 0, 1), entry("b", "F32", "[2]", 1, 9));
            header(d, format!("{{{a},{b}}}"), 9)
        }),
        legal!("misaligned-data", 1, |d| {
            let text = format!("{{{}}} ", entry("a", "F32", "[2]", 0, 8));
            model(d, raw(text.len() as u64, text.as_bytes(), &[0; 8]))
        }),
        legal!("scalar", 1, |d| one(d, r#""F64""#, "[]", "[0,8]")),
        legal!("no-elements", 3, |d| {
            let a = entry("a", "F32", "[0]", 0, 0);
            let b = entry("b", "F32", "[3,0,5]", 8, 8);
            let c = entry("c", "F32", "[2]", 0, 8);
            header(d, format!("{{{a},{b},{c}}}"), 8)
        }),
        legal!("bool-0xff", 1, |d| {
            model(d, safetensors(format!("{{{}}}", entry("a", "BOOL", "[8]", 0, 8)), &[0xff; 8]))
        }),
        legal!("sub-byte", 2, |d| {
            let (a, b) = (entry("a", "F4", "[2,1]", 0, 1), entry("b", "F6_E3M2", "[4]", 1, 4));
            header(d, format!("{{{a},{b}}}"), 4)
        }),
        legal!("not-in-offset-order", 2, |d| {
            let (a, b) = (entry("a", "F32", "[2]", 8, 16), entry("b", "F32", "[2]", 0, 8));
            header(d, format!("{{{a},{b}}}"), 16)
        }),
        legal!("members-in-other-order", 1, |d| {
            header(d, r#"{"x":{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}}"#, 8)
        }),
        legal!("odd-names", 4, |d| {
            model(d, sound(&["", "nul\\u0000", "../../etc/passwd", "C:\\\\a/b\\nc"]))
        }),
        legal!("name-of-64-kib", 1, |d| model(d, sound(&[&"x".repeat(65536)]))),
        legal!("empty-file-beside", 1, |d| {
            write(d, "empty.txt", "");
            write(d, "sub/empty", "");
            model(d, sound(&["a"]))
        }),
        legal!("shards", 3, |d| sharded(d, map(MAP))),
        legal!("shards-float-size", 3, |d| sharded(d, map(MAP).replace("24", "24.0"))),
        legal!("shards-without-metadata", 3, |d| {
            sharded(d, format!(r#"{{"weight_map":{{{MAP}}}}}"#))
        }),
        legal!("shards-metadata-null", 3, |d| {
            sharded(d, format!(r#"{{"metadata":null,"weight_map":{{{MAP}}},"x":{{"y":[]}}}}"#))
        }),
        legal!("shard-in-subdirectory", 4, |d| {
            write(d, "more/3.safetensors", sound(&["x"]));
            let text = map(&format!("{MAP},\"x\":\"more/3.safetensors\"")).replace("24", "32");
            sharded(d, text)
        }),
        legal!("unlisted-shard", 4, |d| {
            write(d, "3.safetensors", sound(&["a"]));
            sharded(d, map(MAP))
        }),
        legal!("shards-without-index", 2, |d| {
            write(d, "model-00001-of-00002.safetensors", sound(&["a"]));
            write(d, "model-00002-of-00002.safetensors", sound(&["b"]));
            d.to_owned()
        }),
        legal!("variants", 2, |d| {
            write(d, "model.fp16.safetensors", sound(&["a"]));
            model(d, sound(&["a"]))
        }),
        legal!("pipeline", 2, |d| {
            write(d, "unet/diffusion_pytorch_model.safetensors", sound(&["a"]));
            write(d, "vae/diffusion_pytorch_model.safetensors", sound(&["a"]));
            write(d, "model_index.json", "{}");
            d.to_owned()
        }),
        legal!("git-beside", 1, |d| {
            write(d, ".git/config", "");
            write(d, ".gitattributes", "");
            write(d, ".cache/huggingface/download/x.metadata", "");
            model(d, sound(&["a"]))
        }),
        legal!("file", 1, |d| model(d, sound(&["a"])).join(MODEL)),
        legal!("file-by-content", 1, |d| {
            write(d, "weights", sound(&["a"]));
            d.join("weights")
        }),
        legal!("empty-directory", 0, |d| d.to_owned()),
    ];
    legal.extend(gguf::legal());
    #[cfg(unix)]
    legal.extend(legal_links());
    legal
}

/// Legal links and file names.
#[cfg(unix)]
fn legal_links() -> Vec<Legal> {
    vec![
        legal!("link-inside", 1, |d| {
            write(d, "data/weights.bin", sound(&["a"]));
            link(d, MODEL, "data/weights.bin");
            d.to_owned()
        }),
        legal!("link-to-directory-inside", 1, |d| {
            write(d, "a/model.safetensors", sound(&["a"]));
            link(d, "b", "a");
            d.to_owned()
        }),
        legal!("hugging-face-cache", 1, |d| {
            write(d, "models--a--b/blobs/0123", sound(&["a"]));
            let snapshot = "models--a--b/snapshots/4567/model.safetensors";
            link(d, snapshot, "../../blobs/0123");
            d.join("models--a--b/snapshots/4567")
        }),
        legal!("hugging-face-cache-subdirectory", 1, |d| {
            write(d, "models--a--b/blobs/0123", sound(&["a"]));
            let snapshot = "models--a--b/snapshots/4567/unet/model.safetensors";
            link(d, snapshot, "../../../blobs/0123");
            d.join("models--a--b/snapshots/4567/unet")
        }),
        legal!("model-is-a-link", 1, |d| {
            write(d, "real/model.safetensors", sound(&["a"]));
            link(d, "model", "real");
            d.join("model")
        }),
        legal!("file-is-a-link", 1, |d| {
            write(d, "models--a--b/blobs/0123", sound(&["a"]));
            let snapshot = "models--a--b/snapshots/4567/model.safetensors";
            link(d, snapshot, "../../blobs/0123");
            d.join(snapshot)
        }),
        legal!("odd-file-names", 1, |d| {
            write(d, "new\nline\u{1b}[31m.json", "{}");
            write(d, &"n".repeat(255), "{}");
            model(d, sound(&["a"]))
        }),
    ]
}
