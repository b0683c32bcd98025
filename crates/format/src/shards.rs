//! Sets of shards that no index lists: their names alone tell that one is missing.

use super::model_file::ModelFile;
use super::parsed_file::ParsedFile;
use super::problem::{Problem, StructureError};
use super::shard_name::ShardName;
use std::collections::BTreeSet;
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

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

impl StructureError for Incomplete {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/shard-missing", Severity::High)
    }
}

/// The sets of shards that are not there whole: one problem for each, at its first shard. `listed` are the files
/// that an index names, which is held to them by itself; parts are by their metadata.
pub(super) fn check(
    files: &[ModelFile],
    contents: &[Option<ParsedFile>],
    listed: &BTreeSet<String>,
) -> Vec<Problem> {
    let mut shards: Vec<(ShardName<'_>, &str)> = Vec::new();
    for (file, held) in files.iter().zip(contents) {
        let has_parts = file.format.is_some_and(|format| format.reader().split_format().is_some());
        if held.is_some() && !has_parts && !listed.contains(&file.path) {
            shards.extend(ShardName::parse(&file.path).map(|name| (name, file.path.as_str())));
        }
    }
    shards.sort_unstable_by_key(|(name, _)| (name.set_key(), name.number));
    let incomplete = |set: &[(ShardName<'_>, &str)]| {
        let numbers: BTreeSet<u64> = set.iter().map(|(name, _)| name.number).collect();
        let &(first, path) = set.first()?;
        let from = u64::from(!numbers.contains(&0));
        let missing = (from..from + first.count).find(|number| !numbers.contains(number))?;
        let missing = first.sibling(missing);
        Some(Incomplete { count: first.count, there: numbers.len(), missing }.to_problem(path))
    };
    shards.chunk_by(|(a, _), (b, _)| a.set_key() == b.set_key()).filter_map(incomplete).collect()
}
