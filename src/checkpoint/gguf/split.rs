//! Models in several GGUF files, `NAME-00001-of-00003.gguf`: whether all parts are there and are parts of one
//! model.

use super::error::GgufError;
use super::metadata::{Metadata, Value};
use crate::checkpoint::contents::Contents;
use crate::checkpoint::display::quoted;
use crate::checkpoint::problem::{Gathered, Named};
use crate::checkpoint::shard_name::ShardName;
use crate::checkpoint::{Format, ModelFile};
use crate::severity::Severity;
use std::collections::{BTreeMap, HashMap};

/// Which part of a model a file says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its number, from 1 on.
    pub number: u64,
    /// How many parts there are, more than one.
    pub count: u64,
    /// Tensors of all parts together.
    pub tensors: Option<u64>,
}

impl Part {
    /// What `split.no`, `split.count` and `split.tensors.count` say; `None`: the file is no part.
    pub(super) fn of(metadata: &Metadata, errors: &mut Gathered<GgufError>) -> Option<Part> {
        let mut number = |key, most| match metadata.kept.get(key) {
            Some(Value::Unsigned(number)) if *number <= most => Some(*number),
            Some(other) => {
                errors.push(GgufError::SplitMetadata { key, found: other.shown(), most });
                None
            }
            None => None,
        };
        let count = number("split.count", u16::MAX.into()).filter(|count| *count > 1)?;
        let tensors = number("split.tensors.count", i32::MAX as u64);
        let before = number("split.no", count - 1)?;
        Some(Part { number: before + 1, count, tensors })
    }
}

/// What the name of a file says of the part that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName<'a> {
    /// What stands before the numbers, directories included.
    pub stem: &'a str,
    /// How many parts there are.
    pub count: u64,
    /// The number of the part, from 1 on.
    pub number: u64,
}

impl PartName<'_> {
    /// Of the path of a part.
    pub fn of(path: &str) -> Option<PartName<'_>> {
        let ShardName { stem, ending, count, number } = ShardName::of(path)?;
        (ending == "gguf" && number > 0).then_some(PartName { stem, count, number })
    }

    /// Whether a name is that of a part of the same model.
    pub fn is_beside(&self, name: &str) -> bool {
        PartName::of(name).is_some_and(|other| (other.stem, other.count) == (self.stem, self.count))
    }
}

/// What can be wrong with the parts of a model.
#[derive(Debug, thiserror::Error)]
enum SplitError {
    #[error(
        "is part {} of {} of a model by its metadata, and {}",
        part.number, part.count,
        match name {
            Some((number, count)) => format!("part {number} of {count} by its name"),
            None => format!(
                "its name does not say so (…-{:05}-of-{:05}.gguf): the other parts cannot be found",
                part.number, part.count
            ),
        }
    )]
    Name { part: Part, name: Option<(u64, u64)> },
    #[error("is part {number} of {count} of a model by its name, and none by its metadata")]
    NoPart { number: u64, count: u64 },
    #[error(
        "is one of {count} parts of a model, of which {} {} missing; complete the download",
        list(missing),
        if missing.len() == 1 { "is" } else { "are" }
    )]
    Missing { count: u64, missing: Vec<u64> },
    #[error("states {stated} tensors in all parts of the model; the {count} parts have {found}")]
    Tensors { stated: u64, count: u64, found: u64 },
    #[error(
        "tensor {} is in two parts of the model, {} and {}",
        quoted(tensor),
        quoted(first),
        quoted(second)
    )]
    TensorInTwoParts { tensor: String, first: String, second: String },
}

/// A few numbers, and how many more there are.
fn list(numbers: &[u64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    let more = numbers.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl Named for SplitError {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            SplitError::Name { .. } | SplitError::NoPart { .. } => {
                ("format/gguf-split-name", Severity::High)
            }
            SplitError::Missing { .. } => ("format/gguf-split-missing", Severity::High),
            SplitError::Tensors { .. } => ("format/gguf-split-tensors", Severity::High),
            SplitError::TensorInTwoParts { .. } => ("format/tensor-in-two-shards", Severity::High),
        }
    }

    fn tensor(&self) -> Option<&str> {
        match self {
            SplitError::TensorInTwoParts { tensor, .. } => Some(tensor),
            _ => None,
        }
    }
}

/// Checks all models in parts among these files, notes what is wrong with the files concerned, and gives
/// every part what the first one says of the model.
pub(crate) fn check(files: &[ModelFile], contents: &mut [Option<Contents>]) {
    let parts = |at: usize, contents: &[Option<Contents>]| {
        contents[at].as_ref().and_then(|held| held.gguf_part)
    };
    let mut sets: BTreeMap<(&str, u64), Vec<(u64, usize)>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        if file.format != Some(Format::Gguf) {
            continue;
        }
        let name = PartName::of(&file.path);
        if let Some(PartName { stem, count, number }) = name {
            sets.entry((stem, count)).or_default().push((number, at));
        } else if let Some(part) = parts(at, contents) {
            note(contents, at, &file.path, SplitError::Name { part, name: None });
        }
    }
    for ((_, count), mut set) in sets {
        // A name alone makes no set.
        if set.iter().any(|&(_, at)| parts(at, contents).is_some()) {
            set.sort_unstable();
            check_set(count, &set, files, contents);
        }
    }
}

fn note(contents: &mut [Option<Contents>], at: usize, path: &str, error: SplitError) {
    if let Some(held) = &mut contents[at] {
        held.problems.push(error.problem(path));
    }
}

/// Checks one set, its parts by number and index of the file.
fn check_set(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    contents: &mut [Option<Contents>],
) {
    let mut agree = true;
    for &(number, at) in set {
        let Some(held) = contents[at].as_ref().filter(|held| held.readable) else {
            agree = false;
            continue;
        };
        let error = match held.gguf_part {
            Some(part) if (part.number, part.count) == (number, count) => continue,
            Some(part) => SplitError::Name { part, name: Some((number, count)) },
            None => SplitError::NoPart { number, count },
        };
        agree = false;
        note(contents, at, &files[at].path, error);
    }
    let first = set[0].1;
    let mut present = set.iter().map(|(number, _)| *number).peekable();
    let missing: Vec<u64> =
        (1..=count).filter(|number| present.next_if_eq(number).is_none()).collect();
    if !missing.is_empty() {
        agree = false;
        note(contents, first, &files[first].path, SplitError::Missing { count, missing });
    }
    if agree {
        check_tensors(count, set, files, contents);
    }
    if set[0].0 == 1
        && let Some(model) = contents[first].as_ref().and_then(|held| held.gguf.clone())
    {
        for &(_, at) in &set[1..] {
            if let Some(held) = &mut contents[at] {
                held.gguf.get_or_insert_with(|| model.clone());
            }
        }
    }
}

/// Checks that the parts of a complete set have the tensors that they state, each once.
fn check_tensors(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    contents: &mut [Option<Contents>],
) {
    let mut found = 0;
    let mut twice = Vec::new();
    let mut holders: HashMap<&str, usize> = HashMap::new();
    for &(_, at) in set {
        let mut errors = Gathered::default();
        for tensor in contents[at].iter().flat_map(Contents::names) {
            found += 1;
            let holder = *holders.entry(tensor).or_insert(at);
            if holder != at {
                errors.push(SplitError::TensorInTwoParts {
                    tensor: tensor.to_owned(),
                    first: files[holder].path.clone(),
                    second: files[at].path.clone(),
                });
            }
        }
        twice.push((at, errors.problems(&files[at].path)));
    }
    drop(holders);
    let is_sound = twice.iter().all(|(_, problems)| problems.is_empty());
    for (at, problems) in twice {
        contents[at].iter_mut().for_each(|held| held.problems.extend_from_slice(&problems));
    }
    let states = |at: usize| contents[at].as_ref()?.gguf_part?.tensors;
    let wrong = set.iter().find_map(|&(_, at)| Some((at, states(at).filter(|n| *n != found)?)));
    if let Some((at, stated)) = wrong.filter(|_| is_sound) {
        note(contents, at, &files[at].path, SplitError::Tensors { stated, count, found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let name = |path| PartName::of(path).map(|name| (name.stem, name.number, name.count));
        assert_eq!(name("a/m-Q4_0-00002-of-00003.gguf"), Some(("a/m-Q4_0", 2, 3)));
        assert_eq!(name("-00001-of-00001.gguf"), Some(("", 1, 1)));
        for path in [
            "m.gguf",
            "m-00004-of-00003.gguf",
            "m-00000-of-00003.gguf",
            "m-1-of-3.gguf",
            "m-+0001-of-00003.gguf",
            "m-00001-of-00003.safetensors",
            "m-00001-of-00003.GGUF",
            "00001-of-00003.gguf",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn missing_parts_are_listed_briefly() {
        let missing: Vec<u64> = (2..=20).collect();
        let error = SplitError::Missing { count: 20, missing };
        assert_eq!(
            error.to_string(),
            "is one of 20 parts of a model, of which 2, 3, 4, 5, 6, 7, 8, 9 and 11 more are missing; \
             complete the download"
        );
    }
}
