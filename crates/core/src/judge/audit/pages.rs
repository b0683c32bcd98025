//! Pages of one word, and pages that occur twice: what storage does to a file.

use super::{AuditSubject, SPARSE_FROM};
use crate::audit::localization::ConstantRun;
use crate::audit::pages::DuplicatePages;
use crate::judge::finding::Finding;
use serde_json::json;
use std::collections::BTreeMap;
use tensorseal_engine::measure::pages::{PAGE_LEN, phase};

/// Distinct values below which a tensor is a table of constants, not weights.
const FEW_VALUES: u64 = 256;

/// Share of pages from which a tensor is a copy of another one, changed here and there.
const PARTLY_EQUAL_FROM: f64 = 0.25;

/// Stretches that a finding lists.
const LISTED: usize = 16;

/// Constant pages in a tensor that is full of weights.
///
/// Rows that are zero as a whole are usual (pruned or dead units, tokens that were never used): a stretch
/// that begins and ends with a row is left out. Storage pages do not know rows.
pub(super) fn constant_runs(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) {
    let facts = subject.facts;
    if facts.pages.constant == 0 || facts.distinct < FEW_VALUES.min(subject.count() / 64) {
        return;
    }
    let (bytes, granule) = subject.tensor.dtype.granule();
    let elements_a_page = PAGE_LEN * granule / bytes;
    let outside = facts.distribution.zero.saturating_sub(facts.pages.constant * elements_a_page);
    let sparse = outside as f64 > SPARSE_FROM * subject.count() as f64;
    let unusual: Vec<&ConstantRun> = facts
        .localization
        .constant_runs
        .iter()
        .filter(|stretch| {
            let of_zeros = stretch.word == 0 && (sparse || is_rows(subject, stretch));
            let of_table = subject.table && is_rows(subject, stretch);
            !(of_zeros || of_table)
        })
        .collect();
    let (Some(first), Some(last)) = (unusual.first(), unusual.last()) else { return };
    let bytes: u64 = unusual.iter().map(|stretch| stretch.end - stretch.start).sum();
    let what = match first.word {
        0 => "zeros".to_owned(),
        word => format!("the word {word:08x}"),
    };
    let places = unusual.len();
    let message = match places {
        1 => format!("{bytes} bytes in a row are {what}, where all around there are weights"),
        _ => {
            format!("{places} stretches of {what}, {bytes} bytes in all, lie among weights")
        }
    };
    let listed: Vec<_> = unusual.iter().take(LISTED).map(|s| [s.start, s.end]).collect();
    let finding = subject
        .finding("weights/constant-run", message)
        .with("stretches", json!(listed))
        .with("pages", facts.pages.constant)
        .with("pages_total", facts.pages.pages)
        .with("threshold_pages", 1);
    findings.push(subject.at(finding, [first.start, last.end]));
}

/// Whether a stretch begins and ends where rows do, within the four bytes of a word.
fn is_rows(subject: &AuditSubject<'_>, stretch: &ConstantRun) -> bool {
    let row = subject.row_bytes();
    let at_edge = |position: u64, row: u64| {
        let over = position % row;
        over < 4 || row - over < 4
    };
    match row {
        // A vector's unused end, or its beginning.
        0 => stretch.start < 4 || stretch.end + 4 > subject.tensor.bytes,
        row => at_edge(stretch.start, row) && at_edge(stretch.end, row),
    }
}

/// Pages that occur twice, in one tensor or in two.
pub(super) fn duplicate_pages(
    subjects: &[AuditSubject<'_>],
    doubled: &[DuplicatePages],
) -> Vec<Finding> {
    let mut pairs: BTreeMap<(usize, usize), Vec<&DuplicatePages>> = BTreeMap::new();
    for run in doubled {
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

/// Whether pages repeat because rows do: tokens that were never trained, and rows that are a page long.
fn is_repeated_row(subject: &AuditSubject<'_>, run: &DuplicatePages) -> bool {
    let row = subject.row_bytes();
    let distance = (run.there.1 - run.here.1) * PAGE_LEN;
    row > 0 && distance.is_multiple_of(row) && (subject.table || run.times > 2)
}

/// Whether one tensor is the other one, trained a little further: most pages are equal, in place.
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
    let own = std::ptr::eq(here, there);
    let whose = if own { "its own".to_owned() } else { format!("{:?}'s", here.tensor.name) };
    let message = format!(
        "{pages} of its pages of 4 KiB occur twice: bytes {}..{} are {whose} bytes {}..{}; one of the two places was written wrongly",
        second[0], second[1], first[0], first[1]
    );
    let mut finding = there
        .finding("weights/page-duplicate", message)
        .with("pages", pages)
        .with("threshold_pages", 1)
        .with("same_as", json!(first));
    if !own {
        finding.other_tensor = Some(here.tensor.name.clone());
    }
    // Both places, where they are in one tensor: it cannot be told which is the copy.
    let range = if own { [first[0].min(second[0]), first[1].max(second[1])] } else { second };
    Some(there.at(finding, range))
}
