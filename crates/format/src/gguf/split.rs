//! Checks models in several GGUF files (`NAME-00001-of-00003.gguf`): whether all parts exist and belong to the same
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

/// Reads `split.no`, `split.count` and `split.tensors.count`. Returns `None` if the file is not a part.
pub(super) fn part(
    metadata: &GgufMetadata,
    errors: &mut BoundedErrors<GgufError>,
) -> Option<SplitPart> {
    let mut number = |key, max| match metadata.kept.get(key) {
        Some(MetadataValue::Unsigned(number)) if *number <= max => Some(*number),
        Some(other) => {
            errors.push(GgufError::SplitMetadata { key, found: other.shown(), max });
            None
        }
        None => None,
    };
    let count = number("split.count", u16::MAX.into()).filter(|count| *count > 1)?;
    let tensors = number("split.tensors.count", i32::MAX as u64);
    let before = number("split.no", count - 1)?;
    Some(SplitPart { number: before + 1, count, tensors })
}

/// Parses the path of a part, whose numbers count from 1.
fn part_name(path: &str) -> Option<ShardName<'_>> {
    ShardName::parse(path).filter(|name| Split.is_part(name))
}

/// The split format of `llama-gguf-split`.
pub(super) struct Split;

impl SplitFormat for Split {
    fn is_part(&self, name: &ShardName<'_>) -> bool {
        name.extension == "gguf" && name.number > 0
    }

    fn check(&self, files: &[ModelFile], parsed_files: &mut [Option<ParsedFile>]) {
        check(files, parsed_files);
    }
}

faults! {
    /// An error in the parts of a split model.
    #[derive(Debug, thiserror::Error)]
    enum SplitError {
        #[error(
            "is part {} of {} of a model by its metadata, but {}",
            part.number, part.count,
            match name {
                Some((number, count)) => format!("part {number} of {count} by its name"),
                None => format!(
                    "the name does not match (expected …-{:05}-of-{:05}.gguf), so the other parts cannot be found",
                    part.number, part.count
                ),
            }
        )]
        Name { part: SplitPart, name: Option<(u64, u64)> } => ("format/gguf-split-name", High),
        #[error("is part {number} of {count} of a model by its name, but not by its metadata")]
        NoPart { number: u64, count: u64 } => ("format/gguf-split-name", High),
        #[error(
            "is one of {count} parts of a model; {} {} missing; complete the download",
            if numbers.len() == 1 { "part" } else { "parts" },
            format_args!("{} {}", list(numbers), if numbers.len() == 1 { "is" } else { "are" })
        )]
        Missing { count: u64, numbers: Vec<u64> } => ("format/gguf-split-missing", High),
        #[error("states {stated} tensors in all parts of the model, but the {count} parts have {actual}")]
        Tensors { stated: u64, count: u64, actual: u64 } => ("format/gguf-split-tensors", High),
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

/// Lists a few numbers, followed by the number of the others.
fn list(numbers: &[u64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    let more = numbers.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Checks all split models among these files, adds problems to the files concerned, and copies the architecture in
/// the first part to the others.
fn check(files: &[ModelFile], parsed_files: &mut [Option<ParsedFile>]) {
    let part = |at: usize, parsed_files: &[Option<ParsedFile>]| {
        parsed_files[at].as_ref().and_then(|parsed| parsed.part)
    };
    let mut sets: BTreeMap<(&str, u64), Vec<(u64, usize)>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        if file.format != Some(Format::Gguf) {
            continue;
        }
        if let Some(ShardName { stem, count, number, .. }) = part_name(&file.path) {
            sets.entry((stem, count)).or_default().push((number, at));
        } else if let Some(part) = part(at, parsed_files) {
            add_problem(parsed_files, at, &file.path, SplitError::Name { part, name: None });
        }
    }
    for ((_, count), mut set) in sets {
        // The names alone do not make a set: at least one file must be a part by its metadata.
        if set.iter().any(|&(_, at)| part(at, parsed_files).is_some()) {
            set.sort_unstable();
            check_set(count, &set, files, parsed_files);
        }
    }
}

fn add_problem(parsed_files: &mut [Option<ParsedFile>], at: usize, path: &str, error: SplitError) {
    if let Some(parsed) = &mut parsed_files[at] {
        parsed.problems.push(error.to_problem(path));
    }
}

/// Checks one set of parts, given by number and index of the file.
fn check_set(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    parsed_files: &mut [Option<ParsedFile>],
) {
    let mut consistent = true;
    for &(number, at) in set {
        let Some(parsed) = parsed_files[at].as_ref().filter(|parsed| parsed.readable) else {
            consistent = false;
            continue;
        };
        let error = match parsed.part {
            Some(part) if (part.number, part.count) == (number, count) => continue,
            Some(part) => SplitError::Name { part, name: Some((number, count)) },
            None => SplitError::NoPart { number, count },
        };
        consistent = false;
        add_problem(parsed_files, at, &files[at].path, error);
    }
    let first = set[0].1;
    let mut present = set.iter().map(|(number, _)| *number).peekable();
    let missing: Vec<u64> =
        (1..=count).filter(|number| present.next_if_eq(number).is_none()).collect();
    if !missing.is_empty() {
        consistent = false;
        add_problem(
            parsed_files,
            first,
            &files[first].path,
            SplitError::Missing { count, numbers: missing },
        );
    }
    if consistent {
        check_tensors(count, set, files, parsed_files);
    }
    if set[0].0 == 1
        && let Some(model) =
            parsed_files[first].as_ref().and_then(|parsed| parsed.architecture.clone())
    {
        for &(_, at) in &set[1..] {
            if let Some(parsed) = &mut parsed_files[at] {
                parsed.architecture.get_or_insert_with(|| model.clone());
            }
        }
    }
}

/// Checks that the parts of a complete set have the stated number of tensors, each once.
fn check_tensors(
    count: u64,
    set: &[(u64, usize)],
    files: &[ModelFile],
    parsed_files: &mut [Option<ParsedFile>],
) {
    let mut actual = 0;
    let mut duplicates = Vec::new();
    let mut holders: HashMap<&str, usize> = HashMap::new();
    for &(_, at) in set {
        let mut errors = BoundedErrors::default();
        for tensor in parsed_files[at].iter().flat_map(ParsedFile::names) {
            actual += 1;
            let holder = *holders.entry(tensor).or_insert(at);
            if holder != at {
                errors.push(SplitError::TensorInTwoParts {
                    tensor: tensor.to_owned(),
                    first: files[holder].path.clone(),
                    second: files[at].path.clone(),
                });
            }
        }
        duplicates.push((at, errors.problems(&files[at].path)));
    }
    drop(holders);
    let is_sound = duplicates.iter().all(|(_, problems)| problems.is_empty());
    for (at, problems) in duplicates {
        parsed_files[at].iter_mut().for_each(|parsed| parsed.problems.extend_from_slice(&problems));
    }
    let stated = |at: usize| parsed_files[at].as_ref()?.part?.tensors;
    let mismatch = set.iter().find_map(|&(_, at)| Some((at, stated(at).filter(|n| *n != actual)?)));
    if let Some((at, stated)) = mismatch.filter(|_| is_sound) {
        add_problem(
            parsed_files,
            at,
            &files[at].path,
            SplitError::Tensors { stated, count, actual },
        );
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
            "is one of 20 parts of a model; parts 2, 3, 4, 5, 6, 7, 8, 9 and 11 more are missing; \
             complete the download"
        );
    }
}
