//! Detects rows and columns that are much larger than the others, as after scaling a neuron.

use super::{AuditSubject, SPARSE_FROM, is_state};
use crate::audit::rows_columns::{Outlier, RowColumnStatistics};
use crate::judge::finding::Finding;
use serde_json::json;
use std::collections::HashMap;
use tensorseal_base::severity::Severity;

/// The distance above the median, in robust standard deviations and in binades, from which a row counts as scaled.
/// Rows and columns of clean tensors that are not tables are up to 2.1 binades above it.
const Z_FROM: f64 = 6.0;
const BINADES_FROM: f64 = 2.6;

/// The distance from which a row is remarkable.
const REMARKABLE_Z: f64 = 9.0;
const REMARKABLE_BINADES: f64 = 1.3;

/// The spread of rows, in binades, from which no row counts as an outlier.
const WIDE: f64 = 1.0;

/// The minimum number of rows for statistics.
const MIN_ROWS: u64 = 16;

/// The number of tensors that share an outlying dimension from which it belongs to the model: language models have
/// dimensions that are large in all layers.
const SHARED_FROM: usize = 3;

/// Judges the rows and columns of all tensors.
pub(super) fn judge(subjects: &[AuditSubject<'_>]) -> Vec<Finding> {
    let mut shared: HashMap<(u64, u64), usize> = HashMap::new();
    for subject in subjects {
        let both = subject.facts.rows.iter().chain(&subject.facts.columns);
        for sums in both {
            for outlier in large(sums, REMARKABLE_Z / 2.0, REMARKABLE_BINADES / 2.0) {
                *shared.entry((sums.count, outlier.index)).or_default() += 1;
            }
        }
    }
    let is_local = |sums: &RowColumnStatistics, outlier: &&Outlier| {
        shared.get(&(sums.count, outlier.index)).is_none_or(|tensors| *tensors < SHARED_FROM)
    };
    let mut findings = Vec::new();
    for subject in subjects.iter().filter(|s| !s.table && !is_state(&s.role.role)) {
        findings.extend(dead(subject));
        for (rule, what, sums) in [
            ("weights/row-outlier", "row", &subject.facts.rows),
            ("weights/column-outlier", "column", &subject.facts.columns),
        ] {
            let Some(sums) = sums.as_ref().filter(|sums| sums.count >= MIN_ROWS) else { continue };
            let outliers: Vec<&Outlier> = large(sums, Z_FROM, REMARKABLE_BINADES)
                .filter(|o| o.z >= REMARKABLE_Z || o.binades >= BINADES_FROM)
                .filter(|outlier| is_local(sums, outlier))
                .collect();
            findings.extend(outlier_finding(subject, rule, what, sums, &outliers));
        }
    }
    findings
}

/// Reports rows of zeros in a tensor without other zeros. This is a remark, because units can die in training.
fn dead(subject: &AuditSubject<'_>) -> Option<Finding> {
    let rows =
        subject.facts.rows.as_ref().filter(|rows| rows.dead > 0 && rows.dead < rows.count)?;
    let elements = subject.count() / rows.count.max(1);
    let elsewhere = subject.facts.distribution.zero.saturating_sub(rows.dead * elements);
    if elsewhere as f64 > SPARSE_FROM * subject.count() as f64 {
        return None;
    }
    let message = format!("{} of its {} rows are zero", rows.dead, rows.count);
    let mut finding = subject.finding("weights/row-outlier", message).with("rows_zero", rows.dead);
    finding.severity = Severity::Info;
    Some(match rows.dead_rows {
        Some(range) => subject.at(finding, range.map(|row| row * subject.row_bytes())),
        None => finding,
    })
}

/// Returns the outliers that are larger than the median.
fn large(sums: &RowColumnStatistics, z: f64, binades: f64) -> impl Iterator<Item = &Outlier> {
    let wide = sums.spread > WIDE;
    sums.outliers.iter().filter(move |o| !wide && o.z >= z && o.binades >= binades)
}

fn outlier_finding(
    subject: &AuditSubject<'_>,
    rule: &'static str,
    what: &str,
    sums: &RowColumnStatistics,
    outliers: &[&Outlier],
) -> Option<Finding> {
    let first = outliers.first()?;
    let grave = first.z >= Z_FROM && first.binades >= BINADES_FROM;
    let message = format!(
        "{what} {} is {:.1} times as large as the median {what} ({:.0} robust standard deviations){}",
        first.index,
        libm::exp2(first.binades),
        first.z,
        match outliers.len() {
            1 => String::new(),
            n => format!("; {} more stand out", n - 1),
        }
    );
    let listed: Vec<u64> = outliers.iter().map(|outlier| outlier.index).collect();
    let mut finding = subject
        .finding(rule, message)
        .with("index", first.index)
        .with("indices", json!(listed))
        .with("binades", first.binades)
        .with("z", first.z)
        .with("threshold_z", Z_FROM)
        .with("threshold_binades", BINADES_FROM)
        .with("spread_binades", sums.spread);
    if !grave {
        finding.severity = Severity::Low;
    }
    let row = subject.row_bytes();
    Some(match what {
        "row" => subject.at(finding, [first.index * row, (first.index + 1) * row]),
        _ => subject.whole(finding),
    })
}
