//! Models in several GGUF files, `NAME-00001-of-00003.gguf`: whether all parts are there and are parts of one
//! model.

use super::error::GgufError;
use super::metadata::{GgufMetadata, MetadataValue};
use crate::class::Format;
use crate::model_file::ModelFile;
use crate::parsed_file::{ParsedFile, SplitPart};
use crate::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use crate::reader::SplitFormat;
use crate::shard_name::ShardName;
use std::collections::{BTreeMap, HashMap};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// What `split.no`, `split.count` and `split.tensors.count` say; `None`: the file is no part.
pub(super) fn part(
    metadata: &GgufMetadata,
    errors: &mut BoundedErrors<GgufError>,
) -> Option<SplitPart> {
    let mut number = |key, most| match metadata.kept.get(key) {
        Some(MetadataValue::Unsigned(number)) if *number <= most => Some(*number),
        Some(other) => {
            errors.push(GgufError::SplitMetadata { key, found: other.shown(), most });
            None
        }
        None => None,
    };
    let count = number("split.count", u16::MAX.into()).filter(|count| *count > 1)?;
    let tensors = number("split.tensors.count", i32::MAX as u64);
    let before = number("split.no", count - 1)?;
    Some(SplitPart { number: before + 1, count, tensors })
}

/// What the path of a part says: its numbers count from 1 on.
fn part_name(path: &str) -> Option<ShardName<'_>> {
    ShardName::parse(path).filter(|name| Split.is_part(name))
}

/// Parts of models, as `llama-gguf-split` writes them.
pub(super) struct Split;

impl SplitFormat for Split {
    fn is_part(&self, name: &ShardName<'_>) -> bool {
        name.extension == "gguf" && name.number > 0
    }

    fn check(&self, files: &[ModelFile], contents: &mut [Option<ParsedFile>]) {
        check(files, contents);
    }
}

faults! {
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
        Name { part: SplitPart, name: Option<(u64, u64)> } => ("format/gguf-split-name", High),
        #[error("is part {number} of {count} of a model by its name, and none by its metadata")]
        NoPart { number: u64, count: u64 } => ("format/gguf-split-name", High),
        #[error(
            "is one of {count} parts of a model, of which {} {} missing; complete the download",
            list(numbers),
            if numbers.len() == 1 { "is" } else { "are" }
        )]
        Missing { count: u64, numbers: Vec<u64> } => ("format/gguf-split-missing", High),
        #[error("states {stated} tensors in all parts of the model; the {count} parts have {found}")]
        Tensors { stated: u64, count: u64, found: u64 } => ("format/gguf-split-tensors", High),
        #[error(
            "tensor {} is in two parts of the model, {} and {}",
            quoted(tensor),
            quoted(first),
            quoted(second)
        )]
        TensorInTwoParts { tensor: String, first: String, second: String }
            => ("format/tensor-in-two-shards", High),
    }
}

/// A few numbers, and how many more there are.
fn list(numbers: &[u64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    let more = numbers.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Checks all models in parts among these files, notes what is wrong with the files concerned, and gives
/// every part what the first one says of the model.
fn check(files: &[ModelFile], contents: &mut [Option<ParsedFile>]) {
    let parts = |at: usize, contents: &[Option<ParsedFile>]| {
        contents[at].as_ref().and_then(|held| held.part)
    };
    let mut sets: BTreeMap<(&str, u64), Vec<(u64, usize)>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        if file.format != Some(Format::Gguf) {
            continue;
        }
        if let Some(ShardName { stem, count, number, .. }) = part_name(&file.path) {
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

fn note(contents: &mut [Option<ParsedFile>], at: usize, path: &str, error: SplitError) {
    if let Some(held) = &mut contents[at] {
        held.problems.push(error.to_problem(path));
    }
}

/// Checks one set, its parts by number and index of the file.
fn check_set(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    contents: &mut [Option<ParsedFile>],
) {
    let mut agree = true;
    for &(number, at) in set {
        let Some(held) = contents[at].as_ref().filter(|held| held.readable) else {
            agree = false;
            continue;
        };
        let error = match held.part {
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
        note(contents, first, &files[first].path, SplitError::Missing { count, numbers: missing });
    }
    if agree {
        check_tensors(count, set, files, contents);
    }
    if set[0].0 == 1
        && let Some(model) = contents[first].as_ref().and_then(|held| held.architecture.clone())
    {
        for &(_, at) in &set[1..] {
            if let Some(held) = &mut contents[at] {
                held.architecture.get_or_insert_with(|| model.clone());
            }
        }
    }
}

/// Checks that the parts of a complete set have the tensors that they state, each once.
fn check_tensors(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    contents: &mut [Option<ParsedFile>],
) {
    let mut found = 0;
    let mut twice = Vec::new();
    let mut holders: HashMap<&str, usize> = HashMap::new();
    for &(_, at) in set {
        let mut errors = BoundedErrors::default();
        for tensor in contents[at].iter().flat_map(ParsedFile::names) {
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
    let states = |at: usize| contents[at].as_ref()?.part?.tensors;
    let wrong = set.iter().find_map(|&(_, at)| Some((at, states(at).filter(|n| *n != found)?)));
    if let Some((at, stated)) = wrong.filter(|_| is_sound) {
        note(contents, at, &files[at].path, SplitError::Tensors { stated, count, found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_listed_briefly() {
        let error = SplitError::Missing { count: 20, numbers: (2..=20).collect() };
        assert_eq!(
            error.to_string(),
            "is one of 20 parts of a model, of which 2, 3, 4, 5, 6, 7, 8, 9 and 11 more are missing; \
             complete the download"
        );
    }
}
