//! Checks sets of shards that no index lists, by their names.

use super::model_file::ModelFile;
use super::parsed_file::ParsedFile;
use super::problem::{Problem, StructureError};
use super::shard_name::ShardName;
use std::collections::BTreeSet;
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// A set of shards without an index that is incomplete.
#[derive(Debug, thiserror::Error)]
#[error(
    "is one of {count} shards by its name, but only {present} exist; the first missing shard is {}",
    quoted(missing)
)]
struct IncompleteShardSet {
    count: u64,
    present: usize,
    missing: String,
}

impl StructureError for IncompleteShardSet {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/shard-missing", Severity::High)
    }
}

/// Reports incomplete sets of shards: one problem for each set, at its first shard. Shards that an index lists
/// (`listed`) are compared with the index instead, and the parts of split formats with their metadata.
pub(super) fn check(
    files: &[ModelFile],
    parsed_files: &[Option<ParsedFile>],
    listed: &BTreeSet<String>,
) -> Vec<Problem> {
    let mut shards: Vec<(ShardName<'_>, &str)> = Vec::new();
    for (file, parsed) in files.iter().zip(parsed_files) {
        let is_split = file.format.is_some_and(|format| format.reader().split_format().is_some());
        if parsed.is_some() && !is_split && !listed.contains(&file.path) {
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
        let present = numbers.len();
        Some(IncompleteShardSet { count: first.count, present, missing }.to_problem(path))
    };
    shards.chunk_by(|(a, _), (b, _)| a.set_key() == b.set_key()).filter_map(incomplete).collect()
}
