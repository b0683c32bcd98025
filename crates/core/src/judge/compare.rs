//! Judges the comparison of two models: each weight, and the models as a whole.

mod usual;

use super::Finding;
use super::audit::listed;
use crate::compare::copies::DuplicateWeight;
use crate::compare::name_only::NameOnlyTensor;
use crate::compare::unreadable::UnreadablePair;
use crate::compare::{
    ComparedModel, ModelComparison, PairOutcome, value_comparison::ValueComparison,
};
use crate::watermark::carriers::is_essential;
use crate::watermark::unreadable::MIN_ELEMENTS;
use serde::Serialize;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;
use tensorseal_base::units;
use tensorseal_format::Checkpoint;
use tensorseal_format::canonical::canonical_name;
use tensorseal_weights::Weight;
use usual::usual;

/// The cosine over all weights from which two models are related, and below which they are unrelated. Independent
/// weights of mean zero have a cosine of about one over the square root of their number.
const RELATED: f64 = 0.5;
const UNRELATED: f64 = 0.05;

/// The magnitude from which different 64-bit integers may be rounded to equal values.
const ROUNDED: f64 = (1u64 << 53) as f64;

/// How a weight differs between the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The bytes and the type are identical.
    Identical,
    /// The bytes differ, the values are equal.
    SameValues,
    /// Only one model stores the weight under this name, with the same bytes as another weight that both models have.
    Tied,
    /// The types differ, and the values are as close as usual for these types.
    Requantised,
    /// The values differ.
    Changed,
    /// The dimensions differ.
    Reshaped,
    /// The weight is only in the first model.
    OnlyFirst,
    /// The weight is only in the second model.
    OnlySecond,
    /// The weight has an unsupported layout in at least one model, so it cannot be compared.
    NotRead,
}

impl Class {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Class::Identical => "identical",
            Class::SameValues => "same values",
            Class::Tied => "tied",
            Class::Requantised => "requantised",
            Class::Changed => "changed",
            Class::Reshaped => "reshaped",
            Class::OnlyFirst => "only in the first",
            Class::OnlySecond => "only in the second",
            Class::NotRead => "not read",
        }
    }
}

/// How the two models are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Both models have the same weights, byte for byte.
    Identical,
    /// Both models have the same weights with equal values.
    SameValues,
    /// All shared weights are equal except for their quantisation, and no large weight is in only one model.
    Requantised,
    /// The weights point in the same direction, or all shared weights are equal: one model was made from the other, or
    /// both from a third.
    Related,
    /// The weights have little in common.
    Unclear,
    /// The weights have nothing in common.
    Unrelated,
    /// Some weights have an unsupported layout, and the others do not decide.
    NotComparable,
}

impl Relation {
    /// Returns the relation in words.
    pub fn words(self) -> &'static str {
        match self {
            Relation::Identical => "the same weights, byte for byte",
            Relation::SameValues => "the same weights, stored in another way",
            Relation::Requantised => "the same weights except for their quantisation",
            Relation::Related => "related: their weights point in the same direction",
            Relation::Unclear => "unclear: their weights have little in common",
            Relation::Unrelated => "unrelated: their weights have nothing in common",
            Relation::NotComparable => "not comparable: weights have an unsupported layout",
        }
    }
}

/// A weight of one model or of both.
#[derive(Debug, Clone, Serialize)]
pub struct WeightRow {
    /// The canonical name.
    pub name: String,
    /// How the weight differs.
    pub class: Class,
    /// The tensor names in the first and in the second model.
    pub tensors: [Option<String>; 2],
    /// The stored type in each model.
    pub stored_as: [Option<String>; 2],
    /// The dimensions in each model.
    pub shapes: [Option<Vec<u64>>; 2],
    /// The Frobenius norm of the difference, divided by that of the first model's weight.
    pub relative: Option<f64>,
    /// The cosine of the angle between both weights.
    pub cosine: Option<f64>,
    /// The difference of largest magnitude, second minus first.
    pub largest: Option<f64>,
    /// The index of the element with the largest difference.
    pub largest_at: Option<u64>,
    /// The share of the elements whose values differ.
    pub changed_share: Option<f64>,
    /// The number of elements.
    pub elements: u64,
}

/// The result of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct ComparisonReport {
    /// How the models are related.
    pub relation: Relation,
    /// The number of weights of each class.
    pub classes: BTreeMap<Class, u64>,
    /// The norm of the difference over all weights whose values were compared, divided by that of the first model.
    pub relative: Option<f64>,
    /// The cosine over all weights whose values were compared.
    pub cosine: Option<f64>,
    /// All weights, in the order of the first model.
    pub weights: Vec<WeightRow>,
    /// The number of weights with an unsupported layout.
    #[serde(skip)]
    pub not_read: u64,
}

impl ComparisonReport {
    /// Returns whether nothing differs, not even the stored bytes.
    pub fn is_identical(&self) -> bool {
        self.relation == Relation::Identical
    }

    /// Returns the relation in words, with details if the models are not comparable or if weights are missing.
    pub fn words(&self) -> String {
        let count = |class: Class| self.classes.get(&class).copied().unwrap_or(0);
        if self.relation == Relation::Related
            && count(Class::Changed) + count(Class::Reshaped) + count(Class::NotRead) == 0
        {
            let alone = match count(Class::OnlyFirst) + count(Class::OnlySecond) {
                1 => "1 weight is".to_owned(),
                more => format!("{more} weights are"),
            };
            let except = match count(Class::Requantised) {
                0 => "",
                _ => " except for their quantisation",
            };
            return format!(
                "related: the shared weights are the same{except}, and {alone} in only one model"
            );
        }
        if self.relation != Relation::NotComparable {
            return self.relation.words().to_owned();
        }
        let weights = if self.not_read == 1 { "weight has" } else { "weights have" };
        let read = self.classes.iter().filter(|(class, _)| **class != Class::NotRead);
        let same = |class: &Class| *class < Class::Changed;
        let (same, all) = read.fold((0, 0), |(of_same, all), (class, count)| {
            (of_same + if same(class) { *count } else { 0 }, all + count)
        });
        let rest = match all {
            0 => "there are no others".to_owned(),
            1 if same == 1 => "the other is the same".to_owned(),
            1 => "the other differs".to_owned(),
            all if same == all => format!("all {all} others are the same"),
            all => format!("{same} of the {all} others are the same"),
        };
        format!("not comparable: {} {weights} an unsupported layout, and {rest}", self.not_read)
    }
}

/// Judges a comparison of two models.
pub fn judge(compared: &ModelComparison<'_>) -> (ComparisonReport, Vec<Finding>) {
    let weights = [0, 1].map(|side| &compared.sides[side].weights.readable);
    let mut total = ValueComparison::default();
    let mut rows = Vec::new();
    for (pair, outcome) in compared.pairing.pairs.iter().zip(&compared.outcomes) {
        let both = [&weights[0][pair.first], &weights[1][pair.second]];
        let mut row = row(compared, both.map(Some));
        row.class = match outcome {
            PairOutcome::Identical => Class::Identical,
            PairOutcome::Shapes => Class::Reshaped,
            PairOutcome::Values(sums) => {
                total.merge(sums);
                row.relative = Some(sums.relative());
                row.cosine = Some(sums.cosine());
                row.largest = Some(sums.largest);
                row.largest_at = Some(sums.largest_at);
                row.changed_share = Some(sums.changed_share());
                let stored = [0, 1].map(|side| row.stored_as[side].as_deref().unwrap_or_default());
                class(stored, sums)
            }
        };
        rows.push(row);
    }
    for (side, tied) in compared.tied.iter().enumerate() {
        for (index, pair) in tied {
            let pair = &compared.pairing.pairs[*pair];
            let mut both = [&weights[0][pair.first], &weights[1][pair.second]].map(Some);
            both[side] = Some(&weights[side][*index]);
            let name = weights[side][*index].canonical.clone();
            rows.push(WeightRow { class: Class::Tied, name, ..row(compared, both) });
        }
    }
    rows.extend(compared.unreadable.iter().map(|pair| unreadable_row(compared, pair)));
    rows.extend(compared.name_only.iter().map(|named| name_only_row(compared, named)));
    for (side, class) in [Class::OnlyFirst, Class::OnlySecond].into_iter().enumerate() {
        for index in &compared.pairing.unpaired[side] {
            let mut both = [None, None];
            both[side] = Some(&weights[side][*index]);
            rows.push(WeightRow { class, ..row(compared, both) });
        }
    }
    let mut classes: BTreeMap<Class, u64> = BTreeMap::new();
    for row in &rows {
        *classes.entry(row.class).or_default() += 1;
    }
    let measured = total.elements > 0;
    let unreadable = classes.get(&Class::NotRead).copied().unwrap_or(0);
    let unclassified = UnclassifiedCounts {
        integers: integers_in_doubt(compared),
        large_unpaired: large_unpaired(compared),
    };
    let comparison = ComparisonReport {
        relation: relation(&classes, &total, unclassified),
        not_read: unreadable + unclassified.integers,
        classes,
        relative: measured.then(|| total.relative()),
        cosine: measured.then(|| total.cosine()),
        weights: rows,
    };
    // If the other model has unreadable weights, a weight may exist there without being recognised.
    let unpaired = [0, 1].map(|side: usize| {
        let pairs = compared.unreadable.iter().filter(|pair| pair.unreadable[side].is_some());
        let pairs = pairs
            .filter(|pair| pair.unreadable[1 - side].or(pair.readable[1 - side]).is_none())
            .count();
        let named = compared.name_only.iter().filter(|named| named.names[side].is_some());
        let has_none = |named: &&NameOnlyTensor| {
            named.names[1 - side].is_none() && named.readable[1 - side].is_none()
        };
        pairs + named.filter(has_none).count()
    });
    let findings = findings(&comparison, unpaired);
    (comparison, findings)
}

fn row(compared: &ModelComparison<'_>, weights: [Option<&Weight>; 2]) -> WeightRow {
    let side = |side: usize| weights[side].map(|weight| (compared.sides[side].model, weight));
    let first = weights[0].or(weights[1]);
    WeightRow {
        name: first.map(|weight| weight.canonical.clone()).unwrap_or_default(),
        class: Class::Identical,
        tensors: [0, 1].map(|index| side(index).map(|(_, weight)| weight.name.clone())),
        stored_as: [0, 1]
            .map(|index| side(index).map(|(model, weight)| weight.stored_as(model).into_owned())),
        shapes: [0, 1].map(|index| side(index).map(|(_, weight)| weight.shape.clone())),
        relative: None,
        cosine: None,
        largest: None,
        largest_at: None,
        changed_share: None,
        elements: first.and_then(Weight::elements).unwrap_or(0),
    }
}

/// Returns the row of a weight that cannot be read in at least one model.
fn unreadable_row(compared: &ModelComparison<'_>, pair: &UnreadablePair) -> WeightRow {
    let read = [0, 1]
        .map(|side| pair.readable[side].map(|index| &compared.sides[side].weights.readable[index]));
    let mut row = row(compared, read);
    row.class = if pair.is_identical { Class::Identical } else { Class::NotRead };
    for (side, index) in pair.unreadable.iter().enumerate() {
        let Some(index) = index else { continue };
        let model = compared.sides[side].model;
        let weight = &compared.sides[side].weights.unreadable[*index];
        let codes = &model.tensors[weight.tensor];
        row.tensors[side] = Some(codes.name.clone());
        row.stored_as[side] = Some(codes.dtype.name().to_owned());
        row.shapes[side] = Some(codes.shape.clone());
        if row.name.is_empty() {
            row.name = weight.canonical_names(model).into_iter().next().unwrap_or_default();
            let count = |product: u64, len: &u64| product.checked_mul(*len);
            row.elements = codes.shape.iter().try_fold(1, count).unwrap_or(0);
        }
    }
    row
}

/// Returns the row of a tensor of which only the name is known in at least one model.
fn name_only_row(compared: &ModelComparison<'_>, named: &NameOnlyTensor) -> WeightRow {
    let read = [0, 1].map(|side| {
        named.readable[side].map(|index| &compared.sides[side].weights.readable[index])
    });
    let mut row = row(compared, read);
    row.class = if named.is_identical { Class::Identical } else { Class::NotRead };
    for (tensor, name) in row.tensors.iter_mut().zip(&named.names) {
        let Some(name) = name else { continue };
        if row.name.is_empty() {
            row.name = canonical_name(name).into_owned();
        }
        *tensor = Some(name.clone());
    }
    row
}

/// Counts the essential weights, or codes that may be such, that are in only one model. What conversions add and drop
/// (tables of frequencies, norms, biases, masks, small matrices) does not count.
fn large_unpaired(compared: &ModelComparison<'_>) -> u64 {
    let is_large = |side: usize, index: usize| {
        let ComparedModel { model, weights, .. } = &compared.sides[side];
        let weight = &weights.readable[index];
        let may_be_codes =
            weight.may_be_codes(model) && weight.elements().is_none_or(|len| len >= MIN_ELEMENTS);
        may_be_codes || is_essential(model, weight)
    };
    let alone = [0, 1].map(|side: usize| {
        compared.pairing.unpaired[side].iter().filter(|index| is_large(side, **index)).count()
    });
    (alone[0] + alone[1]) as u64
}

/// Counts the large matrices of integers in which the models differ and that may be codes.
fn integers_in_doubt(compared: &ModelComparison<'_>) -> u64 {
    let sides = &compared.sides;
    let in_doubt = |side: usize, index: usize| {
        let weight = &sides[side].weights.readable[index];
        weight.may_be_codes(sides[side].model)
            && weight.elements().is_none_or(|len| len >= MIN_ELEMENTS)
    };
    let pairs = compared.pairing.pairs.iter().zip(&compared.outcomes);
    let differ = pairs.filter(|(pair, outcome)| {
        let same = match outcome {
            PairOutcome::Identical => true,
            PairOutcome::Values(sums) => sums.changed == 0,
            PairOutcome::Shapes => false,
        };
        !same && (in_doubt(0, pair.first) || in_doubt(1, pair.second))
    });
    let alone = [0, 1].map(|side: usize| {
        compared.pairing.unpaired[side].iter().filter(|index| in_doubt(side, **index)).count()
    });
    (differ.count() + alone[0] + alone[1]) as u64
}

fn class(stored_as: [&str; 2], sums: &ValueComparison) -> Class {
    let requantised = stored_as[0] != stored_as[1];
    let allowed: f64 = stored_as.into_iter().map(usual).sum();
    // The square of a difference may underflow.
    if sums.changed == 0 {
        // The bytes differ, and the values may be equal only because of rounding.
        let rounded = sums.max_magnitude >= ROUNDED
            && stored_as.iter().any(|stored_as| matches!(*stored_as, "I64" | "U64"));
        return if rounded { Class::Changed } else { Class::SameValues };
    }
    if requantised && sums.non_finite_changes == 0 && sums.relative() <= allowed {
        Class::Requantised
    } else {
        Class::Changed
    }
}

/// Counts that the classes of weights do not contain.
#[derive(Debug, Clone, Copy, Default)]
struct UnclassifiedCounts {
    /// The number of large matrices of integers in which the models differ and that may be codes.
    integers: u64,
    /// The number of essential weights that are in only one model.
    large_unpaired: u64,
}

/// Returns how the models are related.
fn relation(
    classes: &BTreeMap<Class, u64>,
    total: &ValueComparison,
    unclassified: UnclassifiedCounts,
) -> Relation {
    let has = |class: Class| classes.contains_key(&class);
    if has(Class::NotRead) {
        // Changed weights that point in the same direction prove it. Equal weights do not: norms often are equal.
        let is_related = total.elements >= MIN_ELEMENTS && total.cosine() >= RELATED;
        return match has(Class::Changed) && is_related {
            true => Relation::Related,
            false => Relation::NotComparable,
        };
    }
    match relation_of_readable(classes, total) {
        Relation::Unclear | Relation::Unrelated if unclassified.integers > 0 => {
            Relation::NotComparable
        }
        Relation::Requantised if unclassified.large_unpaired > 0 => Relation::Related,
        relation => relation,
    }
}

fn relation_of_readable(classes: &BTreeMap<Class, u64>, total: &ValueComparison) -> Relation {
    let has = |class: Class| classes.contains_key(&class);
    let has_unpaired = has(Class::OnlyFirst) || has(Class::OnlySecond);
    let paired = classes.iter().any(|(class, _)| *class < Class::Reshaped);
    if !paired {
        return Relation::Unrelated;
    }
    if !has(Class::Changed) && !has(Class::Reshaped) {
        let differs_in_storage = has(Class::SameValues) || has(Class::Tied);
        return match (has_unpaired, has(Class::Requantised), differs_in_storage) {
            (false, false, false) => Relation::Identical,
            (_, true, _) => Relation::Requantised,
            (false, false, true) => Relation::SameValues,
            (true, false, _) => Relation::Related,
        };
    }
    // Identical weights were not measured: they are sufficient evidence.
    if has(Class::Identical) || has(Class::SameValues) {
        return Relation::Related;
    }
    match total.cosine() {
        cosine if cosine >= RELATED => Relation::Related,
        cosine if cosine >= UNRELATED => Relation::Unclear,
        _ => Relation::Unrelated,
    }
}

/// Returns the findings of a comparison. `unpaired` counts the weights of each model that cannot be read and have no
/// counterpart in the other model.
fn findings(comparison: &ComparisonReport, unpaired: [usize; 2]) -> Vec<Finding> {
    let alone = |only: &str, side: usize, other: &str| match unpaired[side] {
        0 => format!("only in the {only} model"),
        count => format!(
            "in the {only} model, and possibly in the {other}, where {count} of the weights cannot be read"
        ),
    };
    let mut findings = Vec::new();
    let mut tied: Vec<&str> = Vec::new();
    let mut requantised: BTreeMap<[String; 2], (u64, f64)> = BTreeMap::new();
    for row in &comparison.weights {
        let tensor = row.tensors[0].as_ref().or(row.tensors[1].as_ref());
        let stored = row.stored_as.clone().map(Option::unwrap_or_default);
        let relative = row.relative.unwrap_or(0.0);
        let found = match row.class {
            // A remark names the weights that cannot be read.
            Class::Identical | Class::NotRead => continue,
            Class::Tied => {
                tied.push(&row.name);
                continue;
            }
            Class::SameValues | Class::Requantised => {
                let group = requantised.entry(stored).or_default();
                *group = (group.0 + 1, group.1.max(relative));
                continue;
            }
            Class::Changed => Finding::new(
                "lineage/tensor-differs",
                format!(
                    "values differ by {} of their norm (cosine {:.6}, {:.2} % of the elements, the \
                     largest by {:.3e})",
                    units::percent(relative),
                    row.cosine.unwrap_or(f64::NAN),
                    row.changed_share.unwrap_or(0.0) * 100.0,
                    row.largest.unwrap_or(0.0),
                ),
            )
            .with("relative", relative)
            .with("cosine", row.cosine)
            .with("changed_share", row.changed_share),
            Class::Reshaped => {
                let shapes = row.shapes.clone().map(Option::unwrap_or_default);
                let text = format!(
                    "shape is {:?} in the first model and {:?} in the second",
                    shapes[0], shapes[1]
                );
                Finding::new("lineage/shape-differs", text)
            }
            Class::OnlyFirst => Finding::new("lineage/tensor-alone", alone("first", 1, "second")),
            Class::OnlySecond => Finding::new("lineage/tensor-alone", alone("second", 0, "first")),
        };
        findings.push(match tensor {
            Some(tensor) => found.in_tensor(tensor),
            None => found,
        });
    }
    if !tied.is_empty() {
        let count = match tied.len() {
            1 => "1 weight is".to_owned(),
            more => format!("{more} weights are"),
        };
        let text = format!(
            "{count} in only one model, but with the same bytes as another weight that both models have: {}",
            listed(tied.iter().copied())
        );
        findings.push(Finding::new("lineage/requantised", text).with("weights", tied.len()));
    }
    for ([one, other], (count, worst)) in requantised {
        let weights = units::count(count, "weight");
        let text = match (worst, one == other) {
            (0.0, true) => format!("{weights} ({one}) with the same values in different bytes"),
            (0.0, false) => {
                format!(
                    "{weights} with the same values, as {one} in the first model and {other} in the second"
                )
            }
            _ => format!(
                "{weights} as {one} in the first model and {other} in the second, which differ by at most \
                 {} of their norm, as usual for this conversion",
                units::percent(worst)
            ),
        };
        let found = Finding::new("lineage/requantised", text);
        findings.push(found.with("weights", count).with("relative", worst));
    }
    findings
}

/// The number of weights that two files share, and the differing ones with their relative difference.
type FilePairs<'c> = (u64, Vec<(&'c DuplicateWeight, f64)>);

/// Returns one finding for each file whose weights differ from those of the same names in the format that loaders
/// prefer.
pub fn copies(model: &Checkpoint, copies: &[DuplicateWeight]) -> Vec<Finding> {
    let mut files: BTreeMap<[usize; 2], FilePairs<'_>> = BTreeMap::new();
    for copy in copies {
        let both = [&copy.first, &copy.second];
        let places = both.map(|weight| weight.tensors().first().map(|at| model.tensors[*at].file));
        let [Some(one), Some(other)] = places else { continue };
        let group = files.entry([one, other]).or_default();
        group.0 += 1;
        let stored = both.map(|weight| weight.stored_as(model));
        match &copy.outcome {
            PairOutcome::Identical => {}
            PairOutcome::Shapes => group.1.push((copy, f64::INFINITY)),
            PairOutcome::Values(sums) => {
                if class([&stored[0], &stored[1]], sums) == Class::Changed {
                    group.1.push((copy, sums.relative()));
                }
            }
        }
    }
    let differing = files.into_iter().filter(|(_, (_, differing))| !differing.is_empty());
    let finding = |([one, other], (all, differing)): ([usize; 2], FilePairs<'_>)| {
        let worst = differing.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let (copy, relative) = worst.copied().unwrap_or(differing[0]);
        let difference = match relative.is_finite() {
            true => format!("differs by {} of its norm", units::percent(relative)),
            false => "has a different shape".to_owned(),
        };
        let file = &model.files[other].path;
        let text = format!(
            "{} of {all} weights differ from those in {}: {} {difference}",
            differing.len(),
            display_name(&model.files[one].path),
            display_name(&copy.second.canonical),
        );
        Finding::new("format/copies-differ", text)
            .in_file(file)
            .with("weights", all)
            .with("differing", differing.len())
            .with("relative", relative.is_finite().then_some(relative))
    };
    differing.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(before: &[f64], after: &[f64]) -> ValueComparison {
        ValueComparison::from_values(0, before, after)
    }

    #[test]
    fn closeness_is_that_of_the_types() {
        let before = [1.0, -2.0, 3.0];
        let close = sums(&before, &[1.01, -2.01, 3.01]);
        assert_eq!(class(["F32", "Q8_0"], &close), Class::Requantised);
        assert_eq!(class(["F32", "F32"], &close), Class::Changed);
        assert_eq!(class(["F32", "BF16"], &close), Class::Changed);
        assert_eq!(class(["F32", "BF16"], &sums(&before, &before)), Class::SameValues);
        assert_eq!(class(["F32", "gptq 4-bit"], &close), Class::Requantised);
        assert_eq!(class(["F32", "torchao fp8"], &close), Class::Requantised);
        assert_eq!(class(["F32", "gptq 9-bit"], &close), Class::Changed);
        let coarse = sums(&before, &[1.2, -2.3, 3.3]);
        assert_eq!(class(["F32", "mlx 4-bit"], &coarse), Class::Requantised);
        assert_eq!(class(["F32", "mlx 8-bit"], &coarse), Class::Changed);
        let far = sums(&before, &[-3.0, 2.0, 1.0]);
        assert_eq!(class(["F32", "Q2_K"], &far), Class::Changed);
    }

    #[test]
    fn relations_are_drawn_from_all_weights() {
        let of = |found: &[Class], total: &ValueComparison| {
            relation(
                &found.iter().map(|class| (*class, 1)).collect(),
                total,
                UnclassifiedCounts::default(),
            )
        };
        let none = ValueComparison::default();
        assert_eq!(of(&[Class::Identical], &none), Relation::Identical);
        assert_eq!(of(&[Class::Identical, Class::SameValues], &none), Relation::SameValues);
        assert_eq!(of(&[Class::Identical, Class::Requantised], &none), Relation::Requantised);
        assert_eq!(of(&[Class::Identical, Class::OnlyFirst], &none), Relation::Related);
        assert_eq!(of(&[Class::OnlyFirst, Class::OnlySecond], &none), Relation::Unrelated);
        let near = sums(&[1.0, 2.0], &[1.0, 3.0]);
        assert_eq!(of(&[Class::Changed], &near), Relation::Related);
        let away = sums(&[1.0, 2.0], &[2.0, -1.0]);
        assert_eq!(of(&[Class::Changed], &away), Relation::Unrelated);
        assert_eq!(of(&[], &none), Relation::Unrelated);
        assert_eq!(of(&[Class::Identical, Class::Tied], &none), Relation::SameValues);
    }

    #[test]
    fn a_model_without_a_large_weight_is_another() {
        let classes =
            [(Class::Identical, 2), (Class::Requantised, 3), (Class::OnlyFirst, 1)].into();
        let of = |large_alone: u64| {
            relation(
                &classes,
                &ValueComparison::default(),
                UnclassifiedCounts { large_unpaired: large_alone, ..UnclassifiedCounts::default() },
            )
        };
        assert_eq!(of(0), Relation::Requantised);
        assert_eq!(of(1), Relation::Related);
    }

    #[test]
    fn integers_are_equal_while_values_hold_them() {
        let largest = (1u64 << 53) as f64 - 1.0;
        let below = sums(&[0.0, -largest, 5.0], &[0.0, -largest, 5.0]);
        let rounded = sums(&[5.0, -ROUNDED], &[5.0, -ROUNDED]);
        for name in ["I64", "U64"] {
            assert_eq!(class([name, name], &below), Class::SameValues);
            assert_eq!(class([name, name], &rounded), Class::Changed);
            // Whatever the other is stored as.
            assert_eq!(class(["F64", name], &below), Class::SameValues);
            assert_eq!(class([name, "F64"], &rounded), Class::Changed);
        }
        assert_eq!(class(["F64", "F64"], &rounded), Class::SameValues);
    }

    #[test]
    fn what_was_not_read_decides_nothing() {
        let of = |found: &[Class], total: &ValueComparison, integers: u64| {
            let classes = found.iter().chain(&[Class::NotRead]).map(|class| (*class, 1)).collect();
            relation(
                &classes,
                total,
                UnclassifiedCounts { integers, ..UnclassifiedCounts::default() },
            )
        };
        let none = ValueComparison::default();
        for read in [Class::Identical, Class::SameValues, Class::Requantised, Class::OnlySecond] {
            assert_eq!(of(&[read], &none, 0), Relation::NotComparable);
        }
        let values: Vec<f64> = (0..MIN_ELEMENTS).map(|at| (at % 7) as f64 - 3.0).collect();
        let moved: Vec<f64> = values.iter().map(|value| value * 1.1).collect();
        let away: Vec<f64> = values.iter().rev().map(|value| value + 0.5).collect();
        assert_eq!(of(&[Class::Changed], &sums(&values, &moved), 0), Relation::Related);
        assert_eq!(of(&[Class::Changed], &sums(&values, &away), 0), Relation::NotComparable);
        // Too few to prove anything.
        let few = sums(&[1.0, 2.0], &[1.0, 2.5]);
        assert_eq!(of(&[Class::Changed, Class::Identical], &few, 0), Relation::NotComparable);
        // Integers in which the models differ may be codes.
        let alone = [(Class::OnlyFirst, 1), (Class::OnlySecond, 1)].into();
        let one = UnclassifiedCounts { integers: 1, ..UnclassifiedCounts::default() };
        assert_eq!(relation(&alone, &none, one), Relation::NotComparable);
        assert_eq!(relation(&alone, &none, UnclassifiedCounts::default()), Relation::Unrelated);
        assert_eq!(relation(&[(Class::Identical, 1)].into(), &none, one), Relation::Identical);
    }
}
