//! Shards that say by their names how many there are: `model-00001-of-00002.safetensors`. Where no index lists
//! them, their names alone tell that one is missing.

use super::contents::Contents;
use super::display::quoted;
use super::problem::{Named, Problem};
use super::{Format, ModelFile};
use crate::severity::Severity;
use std::collections::BTreeSet;

/// What the name of a shard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardName<'a> {
    /// What stands before the numbers, directories included.
    pub stem: &'a str,
    /// The ending, without the dot.
    pub ending: &'a str,
    /// How many there are.
    pub count: u64,
    /// Which it is: from 1 on, or from 0 on.
    pub number: u64,
}

impl<'a> ShardName<'a> {
    /// Of the path of a shard.
    pub fn of(path: &'a str) -> Option<ShardName<'a>> {
        let numbers = |text: &str| match text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())
        {
            true => text.parse().ok(),
            false => None,
        };
        let (front, ending) = path.rsplit_once('.')?;
        let (front, count) = front.rsplit_once("-of-")?;
        let (stem, number) = front.rsplit_once('-')?;
        let (number, count) = (numbers(number)?, numbers(count)?);
        (number <= count).then_some(ShardName { stem, ending, count, number })
    }

    /// The name of another one.
    fn sibling(&self, number: u64) -> String {
        let ShardName { stem, ending, count, .. } = self;
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        format!("{stem}-{number:05}-of-{count:05}.{ending}")
    }
}

impl<'a> ShardName<'a> {
    /// What all of a set have in common.
    fn set(&self) -> (&'a str, &'a str, u64) {
        (self.stem, self.ending, self.count)
    }
}

/// A shard that is not there, of a set that no index lists.
#[derive(Debug, thiserror::Error)]
#[error(
    "is one of {count} shards by its name, and {} are there; the first that is missing is {}",
    there,
    quoted(missing)
)]
struct Incomplete {
    count: u64,
    there: usize,
    missing: String,
}

impl Named for Incomplete {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/shard-missing", Severity::High)
    }
}

/// The sets of shards that are not there whole: one problem for each, at its first shard. `listed` are the files
/// that an index names, which is held to them by itself; parts of GGUF models are by their metadata.
pub(super) fn check(
    files: &[ModelFile],
    contents: &[Option<Contents>],
    listed: &BTreeSet<String>,
) -> Vec<Problem> {
    let mut shards: Vec<(ShardName<'_>, &str)> = Vec::new();
    for (file, held) in files.iter().zip(contents) {
        let is_read = held.is_some() && file.format != Some(Format::Gguf);
        if is_read && !listed.contains(&file.path) {
            shards.extend(ShardName::of(&file.path).map(|name| (name, file.path.as_str())));
        }
    }
    shards.sort_unstable_by_key(|(name, _)| (name.set(), name.number));
    let incomplete = |set: &[(ShardName<'_>, &str)]| {
        let numbers: BTreeSet<u64> = set.iter().map(|(name, _)| name.number).collect();
        let &(first, path) = set.first()?;
        let from = u64::from(!numbers.contains(&0));
        let missing = (from..from + first.count).find(|number| !numbers.contains(number))?;
        let missing = first.sibling(missing);
        Some(Incomplete { count: first.count, there: numbers.len(), missing }.problem(path))
    };
    shards.chunk_by(|(a, _), (b, _)| a.set() == b.set()).filter_map(incomplete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_many_there_are() {
        let of = |path| ShardName::of(path).map(|name| (name.stem, name.number, name.count));
        assert_eq!(of("a/model-00001-of-00002.safetensors"), Some(("a/model", 1, 2)));
        assert_eq!(of("model-00000-of-00002.bin"), Some(("model", 0, 2)));
        for path in ["model.bin", "model-1-of-2.bin", "model-00003-of-00002.bin", "-of-.bin", "x"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
