//! Rows and columns that are far larger than their like: a neuron that was scaled.

use super::Subject;
use crate::audit::sums::{Outlier, Sums};
use crate::judge::finding::Finding;
use crate::severity::Severity;
use serde_json::json;
use std::collections::HashMap;

/// Robust standard deviations, and binades, above the median from which a row was scaled. Clean tensors
/// that are no tables have rows of 11 deviations with 2.1 binades at most, columns of 18 with 0.7.
const Z_FROM: f64 = 12.0;
const BINADES_FROM: f64 = 2.5;

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
pub fn judge(subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut shared: HashMap<(u64, u64), usize> = HashMap::new();
    for subject in subjects {
        let both = subject.facts.rows.iter().chain(&subject.facts.columns);
        for sums in both {
            for outlier in large(sums, REMARKABLE_Z / 2.0, REMARKABLE_BINADES / 2.0) {
                *shared.entry((sums.count, outlier.index)).or_default() += 1;
            }
        }
    }
    let own = |sums: &Sums, outlier: &&Outlier| {
        shared.get(&(sums.count, outlier.index)).is_none_or(|tensors| *tensors < SHARED_FROM)
    };
    let mut findings = Vec::new();
    for subject in subjects.iter().filter(|subject| !subject.table) {
        for (rule, what, sums) in [
            ("weights/row-outlier", "row", &subject.facts.rows),
            ("weights/column-outlier", "column", &subject.facts.columns),
        ] {
            let Some(sums) = sums.as_ref().filter(|sums| sums.count >= LEAST) else { continue };
            let outliers: Vec<&Outlier> = large(sums, REMARKABLE_Z, REMARKABLE_BINADES)
                .filter(|outlier| own(sums, outlier))
                .collect();
            findings.extend(said(subject, rule, what, sums, &outliers));
        }
    }
    findings
}

/// The outliers upwards.
fn large(sums: &Sums, z: f64, binades: f64) -> impl Iterator<Item = &Outlier> {
    let wide = sums.spread > WIDE;
    sums.outliers.iter().filter(move |o| !wide && o.z >= z && o.binades >= binades)
}

fn said(
    subject: &Subject<'_>,
    rule: &'static str,
    what: &str,
    sums: &Sums,
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
