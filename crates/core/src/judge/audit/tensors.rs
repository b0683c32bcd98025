//! Detects tensors that are constant, and tensors that are equal to one another.

use super::{AuditSubject, Siblings, listed};
use crate::judge::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::severity::Severity;
use tensorseal_engine::measure::digest::ChainingValue;

/// The number of elements from which equal tensors are not a coincidence.
const MIN_ELEMENTS: u64 = 1024;

/// The number of distinct values below which a tensor is a mask or another constant of the architecture.
const FEW_VALUES: u64 = 16;

/// Judges whole tensors.
pub(super) fn judge(subjects: &[AuditSubject<'_>], siblings: &Siblings<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        subjects.iter().filter_map(|subject| constant(subject, siblings)).collect();
    findings.extend(equal(subjects, siblings));
    findings
}

fn is_constant(subject: &AuditSubject<'_>) -> bool {
    let values = &subject.facts.distribution;
    values.nan == 0 && values.count > 1 && values.min.0 == values.max.0
}

fn constant(subject: &AuditSubject<'_>, siblings: &Siblings<'_>) -> Option<Finding> {
    if !subject.tensor.dtype.is_float() || !is_constant(subject) {
        return None;
    }
    let others: Vec<_> = siblings
        .get(subject.role.role.as_str())
        .into_iter()
        .flatten()
        .filter(|other| other.role.depth != subject.role.depth)
        .collect();
    let alone = others.len() > 1 && others.iter().all(|other| other.facts.distinct >= FEW_VALUES);
    // Biases and norms are initialised as constants, and so are adapters and the last layer of each block.
    if !alone && (subject.tensor.shape.len() < 2 || !others.is_empty()) {
        return None;
    }
    let value = subject.facts.distribution.min.0;
    let message = match alone {
        true => format!("all of its values are {value}, unlike in every other layer"),
        false => format!("all of its values are {value}"),
    };
    let mut finding = subject
        .finding("weights/constant-tensor", message)
        .with("value", value)
        .with("layers", others.len());
    if alone {
        finding.severity = Severity::High;
    }
    Some(subject.whole(finding))
}

/// Reports groups of equal tensors. Tied weights and completely repeated layers are usual; a layer that shares a
/// single tensor with another layer is not.
fn equal(subjects: &[AuditSubject<'_>], siblings: &Siblings<'_>) -> Vec<Finding> {
    let mut groups: BTreeMap<ChainingValue, Vec<&AuditSubject<'_>>> = BTreeMap::new();
    for subject in subjects {
        if subject.count() >= MIN_ELEMENTS
            && !is_constant(subject)
            && !subject.tensor.shape.is_empty()
        {
            groups.entry(subject.facts.digest).or_default().push(subject);
        }
    }
    groups.retain(|_, group| group.len() > 1);
    let repeated = repeated_layers(subjects);
    let mut findings: Vec<Finding> = groups
        .values()
        .filter_map(|group| {
            let (first, second) = (group.first()?, group.get(1)?);
            let names = listed(group.iter().map(|subject| subject.tensor.name.as_str()));
            let message = format!("{} tensors have the same content: {names}", group.len());
            let mut finding =
                second.finding("weights/duplicate-tensor", message).with("tensors", group.len());
            finding.other_tensor = Some(first.tensor.name.clone());
            if is_stray_copy(group, siblings, &repeated) {
                finding.severity = Severity::Medium;
            }
            Some(second.whole(finding))
        })
        .collect();
    findings.sort_by(|a, b| a.tensor.cmp(&b.tensor));
    findings
}

/// Returns whether layers share one matrix, while the rest of these layers and the matrices of other layers differ.
fn is_stray_copy(
    group: &[&AuditSubject<'_>],
    siblings: &Siblings<'_>,
    repeated: &BTreeSet<(u64, u64)>,
) -> bool {
    let first = group[0];
    let one_role = group.iter().all(|subject| subject.role.role == first.role.role);
    let layers = siblings.get(first.role.role.as_str()).map_or(0, Vec::len);
    let depths: Vec<u64> = group.iter().filter_map(|subject| subject.role.depth).collect();
    let whole = depths.windows(2).all(|pair| repeated.contains(&(pair[0], pair[1])));
    one_role
        && first.tensor.dtype.is_float()
        && first.tensor.shape.len() > 1
        && first.facts.distinct >= FEW_VALUES
        && depths.len() == group.len()
        && group.len() < layers
        && !whole
}

/// Returns the pairs of layers whose matrices are all equal.
fn repeated_layers(subjects: &[AuditSubject<'_>]) -> BTreeSet<(u64, u64)> {
    let mut layers: BTreeMap<u64, BTreeMap<&str, ChainingValue>> = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| subject.tensor.shape.len() > 1) {
        if let Some(depth) = subject.role.depth {
            layers.entry(depth).or_default().insert(&subject.role.role, subject.facts.digest);
        }
    }
    let mut by_content: BTreeMap<Vec<(&str, ChainingValue)>, Vec<u64>> = BTreeMap::new();
    for (depth, tensors) in layers {
        // A layer with a single matrix does not count as completely repeated.
        if tensors.len() > 1 {
            by_content.entry(tensors.into_iter().collect()).or_default().push(depth);
        }
    }
    by_content
        .into_values()
        .flat_map(|depths| {
            let pairs: Vec<_> = depths.windows(2).map(|pair| (pair[0], pair[1])).collect();
            pairs
        })
        .collect()
}
