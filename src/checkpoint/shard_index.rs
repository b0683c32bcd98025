//! The shard index of Hugging Face: `*.safetensors.index.json` says which shard holds which tensor.

use super::json::Members;
use super::problem::{Problem, quoted};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Longest index, like the longest header.
pub const MAX_LEN: u64 = 100_000_000;

/// How problems of the same kind are listed before the rest is only counted.
const LISTED: usize = 4;

/// What an index says.
#[derive(Debug, Default)]
pub struct ShardIndex {
    /// Shard by tensor, in byte order of the names.
    pub weight_map: BTreeMap<String, String>,
    /// `metadata.total_size`, when it is there.
    pub total_size: Option<u64>,
}

impl ShardIndex {
    /// The shards it names.
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Parses an index; `path` names it in problems.
///
/// # Errors
/// The problem that keeps it from being used.
pub fn parse(path: &str, bytes: &[u8]) -> Result<ShardIndex, Problem> {
    let json = |message: String| Problem::new("format/index-json", path, message);
    let duplicate = |key: &str| {
        let message = format!("{} stands twice: loaders disagree on which counts", quoted(key));
        Problem::new("format/duplicate-key", path, message)
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| json(format!("the index is not UTF-8 at byte {}", error.valid_up_to())))?;
    let members = Members::parse(text)
        .map_err(|error| json(format!("the index is not a JSON object: {error}")))?;
    if let Some(key) = members.duplicate() {
        return Err(duplicate(key));
    }
    let mut index = ShardIndex::default();
    let map =
        members.get("weight_map").ok_or_else(|| json("the index has no weight_map".into()))?;
    let map = Members::parse(map.get()).map_err(|_| json("weight_map is not an object".into()))?;
    if let Some(key) = map.duplicate() {
        return Err(duplicate(key));
    }
    let entries = map
        .strings()
        .map_err(|key| json(format!("the shard of {} is not a string", quoted(key))))?;
    for (tensor, shard) in entries {
        if !is_plain(&shard) {
            let message =
                format!("{} is not the name of a file in the same directory", quoted(&shard));
            return Err(Problem::new("format/index-path", path, message).tensor(tensor));
        }
        index.weight_map.insert(tensor.to_owned(), shard);
    }
    if let Some(metadata) = members.get("metadata") {
        let metadata = Members::parse(metadata.get())
            .map_err(|_| json("metadata is not an object".to_owned()))?;
        if let Some(key) = metadata.duplicate() {
            return Err(duplicate(key));
        }
        if let Some(size) = metadata.get("total_size") {
            index.total_size = Some(total_size(size.get()).ok_or_else(|| {
                let message =
                    format!("total_size is {}, not a number of bytes", quoted(size.get()));
                Problem::new("format/index-total-size", path, message)
            })?);
        }
    }
    Ok(index)
}

/// A shard is a file beside its index: one plain component.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// An integer, also when some writer spelled it as a float.
fn total_size(text: &str) -> Option<u64> {
    if let Ok(size) = serde_json::from_str(text) {
        return Some(size);
    }
    let size: f64 = serde_json::from_str(text).ok()?;
    (size >= 0.0 && size.fract() == 0.0 && size <= 2f64.powi(53)).then_some(size as u64)
}

/// Compares an index with the tensors its shards hold (name and bytes, by shard; shards that could
/// not be read are left out of `held`, and `present` has all that are there).
pub fn check(
    path: &str,
    index: &ShardIndex,
    held: &BTreeMap<&str, Vec<(&str, u64)>>,
    present: &BTreeSet<&str>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let prefix = path.rfind('/').map_or("", |at| &path[..=at]);
    for shard in index.shards() {
        if !present.contains(shard) {
            let message = format!("the index names {}, which is not there", quoted(shard));
            problems.push(Problem::new("format/index-missing-shard", path, message));
        }
    }
    let mut home: HashMap<&str, &str> = HashMap::new();
    let mut twice = Vec::new();
    let mut unlisted = Vec::new();
    for (shard, tensors) in held {
        for (tensor, _) in tensors {
            if let Some(other) = home.insert(tensor, shard) {
                twice.push((*tensor, format!("{} is in {other} and in {shard}", quoted(tensor))));
            }
            match index.weight_map.get(*tensor) {
                None => unlisted.push((
                    *tensor,
                    format!(
                        "{prefix}{shard} holds {}, which the index does not list",
                        quoted(tensor)
                    ),
                )),
                Some(_) => {}
            }
        }
    }
    let mut absent = Vec::new();
    for (tensor, shard) in &index.weight_map {
        let readable = held.contains_key(shard.as_str());
        if readable && home.get(tensor.as_str()) != Some(&shard.as_str()) {
            let message = format!("the index says {} is in {shard}, and it is not", quoted(tensor));
            absent.push((tensor.as_str(), message));
        }
    }
    // A tensor in two shards is in the wrong one, too: one cause, one problem.
    let doubled: BTreeSet<&str> = twice.iter().map(|(tensor, _)| *tensor).collect();
    absent.retain(|(tensor, _)| !doubled.contains(tensor));
    for (rule, list) in [
        ("format/duplicate-tensor", twice),
        ("format/index-unlisted-tensor", unlisted),
        ("format/index-absent-tensor", absent),
    ] {
        let more = list.len().saturating_sub(LISTED);
        for (place, (tensor, mut message)) in list.into_iter().take(LISTED).enumerate() {
            if place + 1 == LISTED && more > 0 {
                message += &format!(" (and {more} more tensors)");
            }
            problems.push(Problem::new(rule, path, message).tensor(tensor));
        }
    }
    let complete = problems.is_empty() && index.shards().iter().all(|s| held.contains_key(s));
    let total: u64 = held.values().flatten().map(|(_, bytes)| bytes).sum();
    if let Some(size) = index.total_size
        && complete
        && size != total
    {
        let message = format!("total_size is {size}, but the tensors have {total} bytes");
        problems.push(Problem::new("format/index-total-size", path, message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> &'static str {
        parse("i", text.as_bytes()).map_or_else(|problem| problem.rule, |_| "sound")
    }

    #[test]
    fn each_mistake_has_its_name() {
        for (text, expected) in [
            (r#"{"weight_map":{"a":"x.safetensors"}}"#, "sound"),
            (r#"{"metadata":{"total_size":8.0},"weight_map":{}}"#, "sound"),
            (r#"{"weight_map":{"a":"../x"}}"#, "format/index-path"),
            (r#"{"weight_map":{"a":"/x"}}"#, "format/index-path"),
            (r#"{"weight_map":{"a":"x","a":"y"}}"#, "format/duplicate-key"),
            (r#"{"weight_map":{},"weight_map":{}}"#, "format/duplicate-key"),
            (r#"{"weight_map":{"a":1}}"#, "format/index-json"),
            (r#"{"weight_map":[]}"#, "format/index-json"),
            (r#"{}"#, "format/index-json"),
            (r#"[]"#, "format/index-json"),
            (r#"{"weight_map":{},"metadata":{"total_size":-1}}"#, "format/index-total-size"),
        ] {
            assert_eq!(rule(text), expected, "{text}");
        }
    }

    #[test]
    fn an_index_is_held_to_what_the_shards_hold() {
        let index = parse("i", br#"{"metadata":{"total_size":12},"weight_map":{"a":"x","b":"y"}}"#)
            .unwrap();
        let check = |held: &[(&'static str, &[(&'static str, u64)])]| -> Vec<&'static str> {
            let held: BTreeMap<_, _> = held.iter().map(|(s, t)| (*s, t.to_vec())).collect();
            let present = held.keys().copied().collect();
            check("i", &index, &held, &present).iter().map(|p| p.rule).collect()
        };
        assert_eq!(check(&[("x", &[("a", 4)]), ("y", &[("b", 8)])]), [""; 0]);
        assert_eq!(check(&[("x", &[("a", 4)]), ("y", &[("b", 4)])]), ["format/index-total-size"]);
        assert_eq!(check(&[("x", &[("a", 4)])]), ["format/index-missing-shard"]);
        assert_eq!(check(&[("x", &[("a", 4)]), ("y", &[])]), ["format/index-absent-tensor"]);
        assert_eq!(
            check(&[("x", &[("a", 4)]), ("y", &[("a", 4), ("b", 8)])]),
            ["format/duplicate-tensor"]
        );
        assert_eq!(
            check(&[("x", &[("a", 4)]), ("y", &[("c", 4), ("b", 8)])]),
            ["format/index-unlisted-tensor"]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("i", &bytes);
        }
    }
}
