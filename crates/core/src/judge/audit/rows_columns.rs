//! Rows and columns that are far larger than their like: a neuron that was scaled.

use super::{AuditSubject, SPARSE_FROM, is_state};
use crate::audit::rows_columns::{Outlier, RowColumnStatistics};
use crate::judge::finding::Finding;
use serde_json::json;
use std::collections::HashMap;
use tensorseal_base::severity::Severity;

/// Robust standard deviations, and binades, above the median from which a row was scaled. Clean tensors
/// that are no tables have rows and columns up to 2.1 binades above it.
const Z_FROM: f64 = 6.0;
const BINADES_FROM: f64 = 2.6;

/// From here on it is remarkable.
const REMARKABLE_Z: f64 = 9.0;
const REMARKABLE_BINADES: f64 = 1.3;

/// Spread of rows, in binades, from which no row is too large.
const WIDE: f64 = 1.0;

/// Rows that a statistic needs.
const LEAST: u64 = 16;

/// Tensors that must share an outlying dimension for it to be one of the model: language models have
/// dimensions that are large throughout.
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
    let own = |sums: &RowColumnStatistics, outlier: &&Outlier| {
        shared.get(&(sums.count, outlier.index)).is_none_or(|tensors| *tensors < SHARED_FROM)
    };
    let mut findings = Vec::new();
    for subject in subjects.iter().filter(|s| !s.table && !is_state(&s.role.role)) {
        findings.extend(dead(subject));
        for (rule, what, sums) in [
            ("weights/row-outlier", "row", &subject.facts.rows),
            ("weights/column-outlier", "column", &subject.facts.columns),
        ] {
            let Some(sums) = sums.as_ref().filter(|sums| sums.count >= LEAST) else { continue };
            let outliers: Vec<&Outlier> = large(sums, Z_FROM, REMARKABLE_BINADES)
                .filter(|o| o.z >= REMARKABLE_Z || o.binades >= BINADES_FROM)
                .filter(|outlier| own(sums, outlier))
                .collect();
            findings.extend(outlier_finding(subject, rule, what, sums, &outliers));
        }
    }
    findings
}

/// Rows of zeros in a tensor that has no other zeros: a remark, since units die.
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

/// The outliers upwards.
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
