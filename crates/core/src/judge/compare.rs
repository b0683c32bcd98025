//! What the comparison of two models means: for each weight, and for the models as a whole.

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
use tensorseal_format::Checkpoint;
use tensorseal_format::canonical::canonical_name;
use tensorseal_weights::Weight;
use usual::usual;

/// Cosines of all weights together: from here on two models are related, below the other they are not.
/// Independent weights of mean zero have a cosine of about one over the square root of their number.
const RELATED: f64 = 0.5;
const UNRELATED: f64 = 0.05;

/// Integers of 64 bits from here on may be rounded as values, so that other ones look alike.
const ROUNDED: f64 = (1u64 << 53) as f64;

/// What became of one weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The same bytes of the same type.
    Identical,
    /// Other bytes, the same values.
    SameValues,
    /// In one model under this name as well, with the bytes of another of its weights, which both have.
    Tied,
    /// Stored in another way, and as close as that way usually comes.
    Requantised,
    /// Other values.
    Changed,
    /// Other dimensions.
    Reshaped,
    /// In the first model alone.
    OnlyFirst,
    /// In the second model alone.
    OnlySecond,
    /// Kept in a way that is not known here, in one model at least: nothing can be said of it.
    NotRead,
}

impl Class {
    /// Its name, as in reports.
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
    /// Every weight is there in both, bytes and all.
    Identical,
    /// Every weight is there in both, with the same values.
    SameValues,
    /// Every weight that both have is the same but for its quantisation, and nothing large is in one alone.
    Requantised,
    /// Their weights point the same way, or what both have is the same: one was made from the other, or both from a
    /// third.
    Related,
    /// Their weights have little in common.
    Unclear,
    /// Their weights have nothing in common.
    Unrelated,
    /// Some weights are kept in a way that is not known here, and the others do not decide.
    NotComparable,
}

impl Relation {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Relation::Identical => "the same weights, byte for byte",
            Relation::SameValues => "the same weights, stored in another way",
            Relation::Requantised => "the same weights but for their quantisation",
            Relation::Related => "related: their weights point the same way",
            Relation::Unclear => "unclear: their weights have little in common",
            Relation::Unrelated => "unrelated: their weights have nothing in common",
            Relation::NotComparable => {
                "not comparable: weights are kept in a way that is not known here"
            }
        }
    }
}

/// One weight of either model or of both.
#[derive(Debug, Clone, Serialize)]
pub struct WeightRow {
    /// Its canonical name.
    pub name: String,
    /// What became of it.
    pub class: Class,
    /// The names of its tensors, in the first and in the second model.
    pub tensors: [Option<String>; 2],
    /// What it is stored as.
    pub stored_as: [Option<String>; 2],
    /// Dimensions in each.
    pub shapes: [Option<Vec<u64>>; 2],
    /// Frobenius norm of the difference over that of the first.
    pub relative: Option<f64>,
    /// Cosine of the angle between both.
    pub cosine: Option<f64>,
    /// The difference of largest magnitude, second less first.
    pub largest: Option<f64>,
    /// The element it is in.
    pub largest_at: Option<u64>,
    /// Share of the elements that have another value.
    pub changed_share: Option<f64>,
    /// Number of its elements.
    pub elements: u64,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct ComparisonReport {
    /// How the models are related.
    pub relation: Relation,
    /// How many weights are of each class.
    pub classes: BTreeMap<Class, u64>,
    /// Of all weights whose values were compared: norm of the difference over that of the first.
    pub relative: Option<f64>,
    /// Cosine between them.
    pub cosine: Option<f64>,
    /// Every weight, in the order of the first model.
    pub weights: Vec<WeightRow>,
    /// Weights that are kept in a way that is not known here.
    #[serde(skip)]
    pub not_read: u64,
}

impl ComparisonReport {
    /// Whether nothing differs, not even how a value is stored.
    pub fn is_identical(&self) -> bool {
        self.relation == Relation::Identical
    }

    /// The relation in words, with what it rests on where nothing can be said, or where something is missing.
    pub fn words(&self) -> String {
        let count = |class: Class| self.classes.get(&class).copied().unwrap_or(0);
        if self.relation == Relation::Related
            && count(Class::Changed) + count(Class::Reshaped) + count(Class::NotRead) == 0
        {
            let alone = match count(Class::OnlyFirst) + count(Class::OnlySecond) {
                1 => "1 weight is".to_owned(),
                more => format!("{more} weights are"),
            };
            let but = match count(Class::Requantised) {
                0 => "",
                _ => " but for its quantisation",
            };
            return format!("related: what both have is the same{but}, and {alone} in one alone");
        }
        if self.relation != Relation::NotComparable {
            return self.relation.words().to_owned();
        }
        let weights = if self.not_read == 1 { "weight is" } else { "weights are" };
        let read = self.classes.iter().filter(|(class, _)| **class != Class::NotRead);
        let same = |class: &Class| *class < Class::Changed;
        let (same, all) = read.fold((0, 0), |(of_same, all), (class, count)| {
            (of_same + if same(class) { *count } else { 0 }, all + count)
        });
        let rest = match all {
            0 => "there are no others".to_owned(),
            1 if same == 1 => "the other is the same".to_owned(),
            1 => "the other is not the same".to_owned(),
            all if same == all => format!("all {all} others are the same"),
            all => format!("{same} of the {all} others are the same"),
        };
        format!(
            "not comparable: {} {weights} kept in a way that is not known here, and {rest}",
            self.not_read
        )
    }
}

/// Judges a comparison.
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
    let unread = classes.get(&Class::NotRead).copied().unwrap_or(0);
    let besides = UnclassifiedCounts {
        integers: integers_in_doubt(compared),
        large_unpaired: large_unpaired(compared),
    };
    let comparison = ComparisonReport {
        relation: relation(&classes, &total, besides),
        not_read: unread + besides.integers,
        classes,
        relative: measured.then(|| total.relative()),
        cosine: measured.then(|| total.cosine()),
        weights: rows,
    };
    // Whether a weight is missing is not known where some stand for nobody knows what.
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
    let of = |side: usize| weights[side].map(|weight| (compared.sides[side].model, weight));
    let first = weights[0].or(weights[1]);
    WeightRow {
        name: first.map(|weight| weight.canonical.clone()).unwrap_or_default(),
        class: Class::Identical,
        tensors: [0, 1].map(|side| of(side).map(|(_, weight)| weight.name.clone())),
        stored_as: [0, 1]
            .map(|side| of(side).map(|(model, weight)| weight.stored_as(model).into_owned())),
        shapes: [0, 1].map(|side| of(side).map(|(_, weight)| weight.shape.clone())),
        relative: None,
        cosine: None,
        largest: None,
        largest_at: None,
        changed_share: None,
        elements: first.and_then(Weight::elements).unwrap_or(0),
    }
}

/// Of a weight that cannot be read in one model at least.
fn unreadable_row(compared: &ModelComparison<'_>, pair: &UnreadablePair) -> WeightRow {
    let read = [0, 1]
        .map(|side| pair.readable[side].map(|index| &compared.sides[side].weights.readable[index]));
    let mut row = row(compared, read);
    row.class = if pair.is_identical { Class::Identical } else { Class::NotRead };
    for (side, index) in pair.unreadable.iter().enumerate() {
        let Some(index) = index else { continue };
        let model = compared.sides[side].model;
        let unread = &compared.sides[side].weights.unreadable[*index];
        let codes = &model.tensors[unread.tensor];
        row.tensors[side] = Some(codes.name.clone());
        row.stored_as[side] = Some(codes.dtype.name().to_owned());
        row.shapes[side] = Some(codes.shape.clone());
        if row.name.is_empty() {
            row.name = unread.canonical_names(model).into_iter().next().unwrap_or_default();
            let count = |product: u64, len: &u64| product.checked_mul(*len);
            row.elements = codes.shape.iter().try_fold(1, count).unwrap_or(0);
        }
    }
    row
}

/// Of a tensor of which one model at least knows the name alone.
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

/// Weights that one model alone has and without which it is another, or that may be codes of such. What conversions add
/// and drop (tables of frequencies, norms, biases, masks, small matrices) is none.
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

/// Matrices of integers in which the models differ, and that may be codes: as many as carry marks, and too many to
/// be anything else.
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
    // The square of a difference may be too small for a number.
    if sums.changed == 0 {
        // Other bytes, and the values may only be rounded alike.
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

/// What the classes of weights do not tell.
#[derive(Debug, Clone, Copy, Default)]
struct UnclassifiedCounts {
    /// Matrices of integers in which the models differ and that may be codes of anything.
    integers: u64,
    /// Weights of one model alone without which it is another.
    large_unpaired: u64,
}

/// What is known of all weights together.
fn relation(
    classes: &BTreeMap<Class, u64>,
    total: &ValueComparison,
    besides: UnclassifiedCounts,
) -> Relation {
    let has = |class: Class| classes.contains_key(&class);
    if has(Class::NotRead) {
        // What changed and still points the same way proves it. What is the same does not: norms are.
        let is_related = total.elements >= MIN_ELEMENTS && total.cosine() >= RELATED;
        return match has(Class::Changed) && is_related {
            true => Relation::Related,
            false => Relation::NotComparable,
        };
    }
    match relation_of_readable(classes, total) {
        Relation::Unclear | Relation::Unrelated if besides.integers > 0 => Relation::NotComparable,
        Relation::Requantised if besides.large_unpaired > 0 => Relation::Related,
        relation => relation,
    }
}

fn relation_of_readable(classes: &BTreeMap<Class, u64>, total: &ValueComparison) -> Relation {
    let has = |class: Class| classes.contains_key(&class);
    let alone = has(Class::OnlyFirst) || has(Class::OnlySecond);
    let paired = classes.iter().any(|(class, _)| *class < Class::Reshaped);
    if !paired {
        return Relation::Unrelated;
    }
    if !has(Class::Changed) && !has(Class::Reshaped) {
        let restored = has(Class::SameValues) || has(Class::Tied);
        return match (alone, has(Class::Requantised), restored) {
            (false, false, false) => Relation::Identical,
            (_, true, _) => Relation::Requantised,
            (false, false, true) => Relation::SameValues,
            (true, false, _) => Relation::Related,
        };
    }
    // What is identical was not measured: it says enough.
    if has(Class::Identical) || has(Class::SameValues) {
        return Relation::Related;
    }
    match total.cosine() {
        cosine if cosine >= RELATED => Relation::Related,
        cosine if cosine >= UNRELATED => Relation::Unclear,
        _ => Relation::Unrelated,
    }
}

/// `unpaired`: in each model, weights that cannot be read and that stand beside none of the other.
fn findings(comparison: &ComparisonReport, unpaired: [usize; 2]) -> Vec<Finding> {
    let has_not = |side: usize, other: &str| match unpaired[side] {
        0 => format!("the {other} does not"),
        1 => format!("the {other} may: 1 of its weights is not read"),
        more => format!("the {other} may: {more} of its weights are not read"),
    };
    let mut findings = Vec::new();
    let mut tied: Vec<&str> = Vec::new();
    let mut requantised: BTreeMap<[String; 2], (u64, f64)> = BTreeMap::new();
    for row in &comparison.weights {
        let tensor = row.tensors[0].as_ref().or(row.tensors[1].as_ref());
        let stored = row.stored_as.clone().map(Option::unwrap_or_default);
        let relative = row.relative.unwrap_or(0.0);
        let found = match row.class {
            // Of what is not read there is a remark, which names it.
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
                    "its values differ by {:.3} % of their norm (cosine {:.6}, {:.2} % of the \
                     elements, the largest by {:.3e})",
                    relative * 100.0,
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
                let text =
                    format!("its shape is {:?} in one and {:?} in the other", shapes[0], shapes[1]);
                Finding::new("lineage/shape-differs", text)
            }
            Class::OnlyFirst => Finding::new(
                "lineage/tensor-alone",
                format!("the first model has it, {}", has_not(1, "second")),
            ),
            Class::OnlySecond => Finding::new(
                "lineage/tensor-alone",
                format!("the second model has it, {}", has_not(0, "first")),
            ),
        };
        findings.push(match tensor {
            Some(tensor) => found.in_tensor(tensor),
            None => found,
        });
    }
    if !tied.is_empty() {
        let (count, have) = match tied.len() {
            1 => ("1 weight of one model has".to_owned(), "its name"),
            more => (format!("{more} weights of one model have"), "their names"),
        };
        let text = format!(
            "{count} the bytes of another that both have, and the other model leaves {have} out: {}",
            listed(tied.iter().copied())
        );
        findings.push(Finding::new("lineage/requantised", text).with("weights", tied.len()));
    }
    for ([one, other], (count, worst)) in requantised {
        let text = match (worst, one == other) {
            (0.0, true) => format!("{count} weights ({one}) have the same values in other bytes"),
            (0.0, false) => {
                format!("{count} weights have the same values as {one} and as {other}")
            }
            _ => format!(
                "{count} weights are {one} in one and {other} in the other, and differ by at most \
                 {:.3} % of their norm, as such a conversion does",
                worst * 100.0
            ),
        };
        let found = Finding::new("lineage/requantised", text);
        findings.push(found.with("weights", count).with("relative", worst));
    }
    findings
}

/// Pairs of two files: how many, and those that differ, by how much.
type FilePairs<'c> = (u64, Vec<(&'c DuplicateWeight, f64)>);

/// Files of a model that hold other weights than those under the same names in the format that loaders
/// prefer: one finding a file.
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
        let far = match relative.is_finite() {
            true => format!("differs by {:.3} % of its norm", relative * 100.0),
            false => "has another shape".to_owned(),
        };
        let file = &model.files[other].path;
        let text = format!(
            "{} of {all} weights are not those of {}: {} {far}",
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
