//! Detects constant and duplicate pages, which storage faults cause.

use super::{AuditSubject, SPARSE_FROM};
use crate::audit::localization::ConstantRun;
use crate::audit::pages::DuplicatePages;
use crate::judge::finding::Finding;
use serde_json::json;
use std::collections::BTreeMap;
use tensorseal_engine::measure::pages::{PAGE_LEN, phase};

/// The number of distinct values below which a tensor is a table of constants.
const FEW_VALUES: u64 = 256;

/// The share of equal pages from which a tensor is a slightly changed copy of another one.
const PARTLY_EQUAL_FROM: f64 = 0.25;

/// The maximum number of runs that a finding lists.
const MAX_LISTED: usize = 16;

/// Reports constant pages in a tensor of weights.
///
/// Rows of zeros are usual (pruned or dead units, tokens that were never used), so runs that start and end at a row
/// boundary are ignored. Storage pages do not align with rows.
pub(super) fn constant_runs(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) {
    let facts = subject.facts;
    if facts.pages.constant == 0 || facts.distinct < FEW_VALUES.min(subject.count() / 64) {
        return;
    }
    let (bytes, granule) = subject.tensor.dtype.granule();
    let elements_per_page = PAGE_LEN * granule / bytes;
    let other_zeros =
        facts.distribution.zero.saturating_sub(facts.pages.constant * elements_per_page);
    let sparse = other_zeros as f64 > SPARSE_FROM * subject.count() as f64;
    let unusual: Vec<&ConstantRun> = facts
        .localization
        .constant_runs
        .iter()
        .filter(|run| {
            let is_usual_zeros = run.word == 0 && (sparse || is_rows(subject, run));
            let is_table_rows = subject.table && is_rows(subject, run);
            !(is_usual_zeros || is_table_rows)
        })
        .collect();
    let (Some(first), Some(last)) = (unusual.first(), unusual.last()) else { return };
    let bytes: u64 = unusual.iter().map(|run| run.end - run.start).sum();
    let what = match first.word {
        0 => "zeros".to_owned(),
        word => format!("the word {word:08x}"),
    };
    let message = match unusual.len() {
        1 => format!("a run of {bytes} bytes of {what} lies among weights"),
        runs => format!("{runs} runs of {what}, {bytes} bytes in total, lie among weights"),
    };
    let listed: Vec<_> = unusual.iter().take(MAX_LISTED).map(|s| [s.start, s.end]).collect();
    let finding = subject
        .finding("weights/constant-run", message)
        .with("stretches", json!(listed))
        .with("pages", facts.pages.constant)
        .with("pages_total", facts.pages.pages)
        .with("threshold_pages", 1);
    findings.push(subject.at(finding, [first.start, last.end]));
}

/// Returns whether a run starts and ends at row boundaries, within the four bytes of a word.
fn is_rows(subject: &AuditSubject<'_>, run: &ConstantRun) -> bool {
    let row = subject.row_bytes();
    let at_edge = |position: u64, row: u64| {
        let over = position % row;
        over < 4 || row - over < 4
    };
    match row {
        // The start or the end of a vector may be unused.
        0 => run.start < 4 || run.end + 4 > subject.tensor.bytes,
        row => at_edge(run.start, row) && at_edge(run.end, row),
    }
}

/// Reports pages that occur twice, in one tensor or in two.
pub(super) fn duplicate_pages(
    subjects: &[AuditSubject<'_>],
    duplicates: &[DuplicatePages],
) -> Vec<Finding> {
    let mut pairs: BTreeMap<(usize, usize), Vec<&DuplicatePages>> = BTreeMap::new();
    for run in duplicates {
        pairs.entry((run.here.0, run.there.0)).or_default().push(run);
    }
    let weights = |index: usize| {
        let subject = &subjects[index];
        subject.tensor.dtype.is_float() && subject.facts.distinct >= FEW_VALUES
    };
    pairs
        .into_iter()
        .filter(|((here, there), _)| weights(*here) && weights(*there))
        .filter_map(|((here, there), runs)| {
            let (here, there) = (&subjects[here], &subjects[there]);
            let unusual: Vec<&DuplicatePages> = if std::ptr::eq(here, there) {
                runs.into_iter().filter(|run| !is_repeated_row(here, run)).collect()
            } else if are_versions(here, there, &runs) {
                Vec::new()
            } else {
                runs
            };
            duplicate_finding(here, there, &unusual)
        })
        .collect()
}

/// Returns whether pages repeat because rows do: untrained tokens, and rows of the length of a page.
fn is_repeated_row(subject: &AuditSubject<'_>, run: &DuplicatePages) -> bool {
    let row = subject.row_bytes();
    let distance = (run.there.1 - run.here.1) * PAGE_LEN;
    row > 0 && distance.is_multiple_of(row) && (subject.table || run.times > 2)
}

/// Returns whether one tensor is a further trained version of the other: many pages are equal and in the same place.
fn are_versions(
    here: &AuditSubject<'_>,
    there: &AuditSubject<'_>,
    runs: &[&DuplicatePages],
) -> bool {
    let start = |subject: &AuditSubject<'_>, page: u64| {
        (page * PAGE_LEN).saturating_sub(u64::from(phase(subject.tensor.offset)))
    };
    let in_place = |run: &&&DuplicatePages| start(here, run.here.1) == start(there, run.there.1);
    let pages: u64 = runs.iter().filter(in_place).map(|run| run.pages).sum();
    let total = here.facts.pages.pages.min(there.facts.pages.pages).max(1);
    here.tensor.storage_shape() == there.tensor.storage_shape()
        && pages as f64 >= PARTLY_EQUAL_FROM * total as f64
}

fn duplicate_finding(
    here: &AuditSubject<'_>,
    there: &AuditSubject<'_>,
    runs: &[&DuplicatePages],
) -> Option<Finding> {
    let longest = runs.iter().max_by_key(|run| run.pages)?;
    let pages: u64 = runs.iter().map(|run| run.pages).sum();
    let place = |subject: &AuditSubject<'_>, page: u64, pages: u64| {
        let phase = u64::from(phase(subject.tensor.offset));
        let start = (page * PAGE_LEN).saturating_sub(phase);
        [start, (start + pages * PAGE_LEN).min(subject.tensor.bytes)]
    };
    let first = place(here, longest.here.1, longest.pages);
    let second = place(there, longest.there.1, longest.pages);
    let same_tensor = std::ptr::eq(here, there);
    let other = match same_tensor {
        true => String::new(),
        false => format!(" of {:?}", here.tensor.name),
    };
    let message = format!(
        "{pages} of its 4 KiB pages occur twice: bytes {}..{} equal bytes {}..{}{other}; one of the two places was written wrongly",
        second[0], second[1], first[0], first[1]
    );
    let mut finding = there
        .finding("weights/page-duplicate", message)
        .with("pages", pages)
        .with("threshold_pages", 1)
        .with("same_as", json!(first));
    if !same_tensor {
        finding.other_tensor = Some(here.tensor.name.clone());
    }
    // Both places if they are in one tensor, because it is unknown which one is the copy.
    let range =
        if same_tensor { [first[0].min(second[0]), first[1].max(second[1])] } else { second };
    Some(there.at(finding, range))
}
