//! Judges weights from the facts of an audit alone.
//!
//! Each kind of check has a module of its own. The thresholds are next to their check, with what was measured on clean
//! checkpoints (`docs/statistics.md`). Checks with a null distribution give bounds of p-values, and `holm` decides over
//! all tensors and checks of a model together.

mod binade_edges;
mod codes;
mod cohorts;
mod holm;
mod pages;
mod precision;
mod rows_columns;
pub mod scales;
mod streams;
mod tensors;
mod values;
mod windows;

use super::finding::Finding;
use crate::audit::roles::{self, TensorRole};
use crate::audit::{AuditMeasurements, TensorFacts};
use std::collections::BTreeMap;
use tensorseal_format::{Checkpoint, Tensor};

/// log10 of the family-wise probability of a false alarm, over all tensors and all checks with a p-value.
pub const FAMILY_ALPHA_LOG10: f64 = -4.0;

/// The share of zeros from which a tensor counts as sparse.
const SPARSE_FROM: f64 = 0.01;

/// A tensor that is judged.
struct AuditSubject<'a> {
    tensor: &'a Tensor,
    file: &'a str,
    facts: &'a TensorFacts,
    role: TensorRole,
    /// Whether the tensor is a table that is indexed by row.
    table: bool,
}

impl AuditSubject<'_> {
    fn finding(&self, rule: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(rule, message).in_file(self.file).in_tensor(&self.tensor.name)
    }

    /// Returns the number of elements.
    fn count(&self) -> u64 {
        self.facts.distribution.count
    }

    /// Returns the bytes of a row (a step of the first dimension); zero with fewer than two dimensions.
    fn row_bytes(&self) -> u64 {
        match self.tensor.storage_shape().split_first() {
            Some((rows, rest)) if !rest.is_empty() && *rows > 0 => self.tensor.bytes / rows,
            _ => 0,
        }
    }

    /// Sets the place of a finding to a byte range of the tensor.
    fn at(&self, finding: Finding, range: [u64; 2]) -> Finding {
        if self.tensor.strides.is_some() {
            // Neighbours in the file are not neighbours in the tensor.
            return Finding { byte_range: Some(range), ..finding };
        }
        finding.at(self.tensor.dtype, &self.tensor.shape, range)
    }

    /// Sets the place of a finding to a range of elements of the tensor.
    fn at_elements(&self, finding: Finding, elements: [u64; 2]) -> Finding {
        let (bytes, granule) = self.tensor.dtype.granule();
        let range = elements
            .map(|element| (u128::from(element) * u128::from(bytes) / u128::from(granule)) as u64);
        let finding = self.at(finding, range);
        let element_range = finding.element_range.map(|_| elements);
        Finding { element_range, ..finding }
    }

    /// Sets the place of a finding to the whole tensor.
    fn whole(&self, finding: Finding) -> Finding {
        self.at(finding, [0, self.tensor.bytes])
    }
}

/// The tensors of each role, in order of their depth.
type Siblings<'a> = BTreeMap<&'a str, Vec<&'a AuditSubject<'a>>>;

/// Returns all findings about the weights of a model, in order of the tensors.
pub fn judge(model: &Checkpoint, audited: &AuditMeasurements) -> Vec<Finding> {
    let subjects: Vec<AuditSubject<'_>> = audited
        .facts
        .iter()
        .map(|facts| {
            let tensor = &model.tensors[facts.tensor];
            AuditSubject {
                tensor,
                file: &model.files[tensor.file].path,
                facts,
                role: roles::role(&tensor.name),
                table: roles::is_table(&tensor.name),
            }
        })
        .collect();
    let mut siblings: Siblings<'_> = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| subject.role.depth.is_some()) {
        siblings.entry(&subject.role.role).or_default().push(subject);
    }
    for group in siblings.values_mut() {
        group.sort_by_key(|subject| subject.role.depth);
    }
    let mut findings = Vec::new();
    let mut tests = Vec::new();
    for subject in &subjects {
        if !subject.tensor.dtype.is_float() {
            continue;
        }
        let foreign = windows::judge(subject, &mut findings);
        values::judge(subject, foreign, &mut findings);
        codes::judge(subject, &mut findings);
        pages::constant_runs(subject, &mut findings);
        tests.extend(streams::tests(subject, &mut findings));
    }
    tests.extend(binade_edges::tests(&subjects));
    findings.extend(holm::rejected(tests, FAMILY_ALPHA_LOG10));
    findings.extend(pages::duplicate_pages(&subjects, &audited.duplicate_pages));
    findings.extend(rows_columns::judge(&subjects));
    findings.extend(cohorts::judge(&siblings));
    findings.extend(tensors::judge(&subjects, &siblings));
    findings.extend(precision::judge(&subjects, &siblings));
    let order: BTreeMap<&str, usize> =
        subjects.iter().enumerate().map(|(i, s)| (s.tensor.name.as_str(), i)).collect();
    findings.sort_by_key(|f| (order.get(f.tensor.as_deref().unwrap_or("")).copied(), f.rule));
    findings
}

/// Returns whether a role is optimiser state, whose values follow the gradients.
fn is_state(role: &str) -> bool {
    ["exp_avg", "momentum", "optimizer", "optim."].iter().any(|part| role.contains(part))
}

/// Lists the first names of tensors for a message, and the number of further ones.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MAX_LISTED: usize = 3;
    let total = names.len();
    let first: Vec<String> = names.take(MAX_LISTED).map(|name| format!("{name:?}")).collect();
    match total.saturating_sub(MAX_LISTED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
