//! Judges whether the measurements with the key of another scheme are evidence of its mark.
//!
//! Under the null the key was drawn independently of the model, and:
//!
//! - Bits and signs match like fair coins, or less often: the binomial tail is exact, or a bound. The reason depends
//!   on the scheme. Uchida and DeepMarks: the columns of X are independent and each as likely as its negative, or the
//!   bits are fair coins. EmMark: the signs are fair coins. NeuralMark: the columns of K are as those of X, and
//!   SHAKE-256 of K is independent of K. Bits that rounding leaves undecided count as mismatches.
//! - The sum over normal numbers is normal: its tail is exact.
//! - The sum over signs has the bounds of [`signs_tail_log10`], for every model.
//! - The interval scheme has no key and no bound: it only warns.
//!
//! None of these is evidence unless the key was committed to before the model was public.

use super::bounds::{fair_coins_tail_log10, normal_tail_log10, signs_tail_log10};
use super::finding::Finding;
use super::watermark::{
    Detection, DetectionMode, DetectionTest, GroupZ, MARGIN, PRESENT, Presence, TestedBlocks,
    empty_detection,
};
use crate::watermark::strength::STRONGEST_ALPHA;
use crate::watermark::third_party::interval::IntervalCounts;
use crate::watermark::third_party::{
    BitMatches, InnerProduct, Intervals, PartMeasurement, Statistic, ThirdPartyMeasurement,
    ThirdPartyScheme,
};
use serde_json::{Value, json};

/// The facts that a judgement needs besides the measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThirdPartyContext {
    /// The number of keys that were tried, at least 1.
    pub keys: usize,
    /// Whether this key was committed to before the model was public, as the caller has checked.
    pub committed: bool,
}

/// Judges a key of another scheme by its measurement.
pub fn judge(
    key_id: &str,
    measured: &ThirdPartyMeasurement,
    context: &ThirdPartyContext,
) -> Detection {
    let mode = match measured.scheme {
        ThirdPartyScheme::EmMark | ThirdPartyScheme::Interval => DetectionMode::Informed,
        _ => DetectionMode::Blind,
    };
    let log10_tries = libm::log10(context.keys.max(1) as f64);
    let mut detection = Detection {
        scheme: measured.scheme.name(),
        elements: measured.parts.iter().map(|part| part.elements).sum(),
        mode,
        committed: context.committed,
        ..empty_detection(key_id)
    };
    let (mut matches, mut inner) = (BitMatches::default(), InnerProduct::default());
    for part in &measured.parts {
        match &part.statistic {
            Statistic::Bits(part) => matches.merge(part),
            Statistic::InnerProduct(part) => inner.merge(part),
        }
    }
    let (test, has_power) = match measured.parts.first().map(|part| &part.statistic) {
        None => return detection,
        Some(Statistic::Bits(_)) => {
            bit_match_evidence(&mut detection, &matches, &measured.parts);
            let log10_bound = fair_coins_tail_log10(matches.trials, matches.hits);
            let all = fair_coins_tail_log10(matches.trials, matches.trials);
            ((None, log10_bound), all + log10_tries <= PRESENT)
        }
        Some(Statistic::InnerProduct(_)) => {
            let tail = match measured.scheme {
                ThirdPartyScheme::Gaussian => normal_tail_log10,
                _ => signs_tail_log10,
            };
            let z = inner.z(measured.sigma);
            evidence_of_sum(&mut detection, &inner, measured);
            // The strength that the native scheme assumes if it is unknown.
            let least = STRONGEST_ALPHA * libm::sqrt(inner.elements as f64) - MARGIN;
            ((z, z.map_or(0.0, tail)), z.is_some() && tail(least) + log10_tries <= PRESENT)
        }
    };
    let (z, log10_bound) = test;
    let log10_p = (log10_bound + log10_tries).min(0.0);
    detection.z = z;
    detection.log10_p = Some(log10_p);
    detection.tests =
        vec![DetectionTest { mode, word: TestedBlocks::Stated, z, log10_bound, log10_words: 0.0 }];
    detection.verdict = Presence::of(log10_p, has_power);
    detection
}

/// The maximum number of parts that the evidence lists.
const MAX_LISTED: usize = 256;

fn bit_match_evidence(detection: &mut Detection, matches: &BitMatches, parts: &[PartMeasurement]) {
    let evidence = &mut detection.evidence;
    evidence.insert("bits", matches.trials.into());
    evidence.insert("matching", matches.hits.into());
    evidence.insert("undecided", matches.undecided.into());
    if !matches.projections.is_empty() {
        evidence.insert("projections", matches.projections.clone().into());
    }
    if parts.len() > 1 {
        let of_part = |part: &PartMeasurement| match &part.statistic {
            Statistic::Bits(matches) => {
                let (matching, bits) = (matches.hits, matches.trials);
                Some(json!({ "tensor": part.tensor, "matching": matching, "bits": bits }))
            }
            Statistic::InnerProduct(_) => None,
        };
        let listed: Vec<Value> = parts.iter().take(MAX_LISTED).filter_map(of_part).collect();
        evidence.insert("parts", listed.into());
    }
}

fn evidence_of_sum(
    detection: &mut Detection,
    inner: &InnerProduct,
    measured: &ThirdPartyMeasurement,
) {
    detection.evidence.insert("sum", inner.sum.into());
    detection.evidence.insert("norm", libm::sqrt(inner.squares).into());
    if measured.scheme == ThirdPartyScheme::Gaussian {
        detection.evidence.insert("sigma", measured.sigma.into());
    }
    let group = |part: &PartMeasurement| match &part.statistic {
        Statistic::InnerProduct(inner) => Some(GroupZ {
            name: part.tensor.clone(),
            elements: part.elements,
            z: inner.z(measured.sigma),
            z_pilot: None,
        }),
        Statistic::Bits(_) => None,
    };
    detection.groups = measured.parts.iter().filter_map(group).collect();
}

/// The number of changed values from which a tensor is judged.
const MIN_CHANGED: u64 = 1000;

/// The expected number of changed codes from which a tensor is judged.
const MIN_EXPECTED: f64 = 50.0;

/// The largest share of the expected changes that counts as unchanged codes.
const MAX_CHANGED_SHARE: f64 = 0.02;

/// The share of changed values in the middle of their intervals from which a tensor counts as quantised and scaled
/// back.
const MIN_CENTRED_SHARE: f64 = 0.99;

/// The pattern of the changes in one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangePattern {
    /// There are too few changes to judge.
    TooFew,
    /// About as many codes changed as expected.
    Usual,
    /// Values changed, but stayed within their intervals.
    Inside,
    /// The values were quantised and scaled back.
    RoundTrip,
}

fn pattern(counts: &IntervalCounts) -> ChangePattern {
    let expected = counts.expected();
    if counts.changed < MIN_CHANGED || expected < MIN_EXPECTED {
        ChangePattern::TooFew
    } else if counts.codes_changed as f64 > MAX_CHANGED_SHARE * expected {
        ChangePattern::Usual
    } else if counts.centred as f64 >= MIN_CENTRED_SHARE * counts.changed as f64 {
        ChangePattern::RoundTrip
    } else {
        ChangePattern::Inside
    }
}

/// Judges a model against the base model with this root. Each tensor whose values changed while almost none of its
/// codes did gives a warning: a mark within the intervals causes this, and so does a model that was crafted to behave
/// differently once quantised. This is a pattern, not proof: there is no p-value, and the verdict is never that a
/// mark is present.
pub fn intervals(measured: &Intervals, base_root: &str) -> (Detection, Vec<Finding>) {
    let mut total = IntervalCounts::default();
    let (mut inside, mut usual, mut round_trips) = (0u64, 0u64, 0u64);
    let mut findings = Vec::new();
    for (tensor, counts) in &measured.tensors {
        total.merge(counts);
        match pattern(counts) {
            ChangePattern::TooFew => {}
            ChangePattern::Usual => usual += 1,
            ChangePattern::RoundTrip => round_trips += 1,
            ChangePattern::Inside => {
                inside += 1;
                findings.push(inside_intervals(tensor, counts));
            }
        }
    }
    let verdict = match (inside, usual + round_trips) {
        (0, 1..) => Presence::Absent,
        _ => Presence::Inconclusive,
    };
    if verdict == Presence::Inconclusive && findings.is_empty() {
        let message = format!(
            "inconclusive: {} values differ from the base model, too few in every tensor to judge",
            total.changed
        );
        findings.push(Finding::new("watermark/inconclusive", message));
    }
    let mut detection = Detection {
        scheme: ThirdPartyScheme::Interval.name(),
        verdict,
        log10_p: None,
        elements: total.elements,
        mode: DetectionMode::Informed,
        ..empty_detection(base_root)
    };
    for (name, value) in [
        ("tensors", measured.tensors.len() as u64),
        ("tensors_inside_intervals", inside),
        ("tensors_quantised_and_scaled_back", round_trips),
        ("values_changed", total.changed),
        ("codes_changed", total.codes_changed),
    ] {
        detection.evidence.insert(name, value.into());
    }
    detection.evidence.insert("codes_expected_to_change", total.expected().into());
    (detection, findings)
}

fn inside_intervals(tensor: &str, counts: &IntervalCounts) -> Finding {
    let IntervalCounts { changed, codes_changed, centred, .. } = *counts;
    let expected = counts.expected();
    let message = format!(
        "{changed} values differ from the base model, but only {codes_changed} of their int8 codes do, where about {expected:.0} are expected: a mark within the quantisation intervals, or weights crafted to behave differently once quantised"
    );
    Finding::new("watermark/inside-intervals", message)
        .in_tensor(tensor)
        .with("values_changed", changed)
        .with("codes_changed", codes_changed)
        .with("codes_expected_to_change", expected)
        .with("values_in_the_middle", centred)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_KEY: ThirdPartyContext = ThirdPartyContext { keys: 1, committed: false };

    fn bits(scheme: ThirdPartyScheme, parts: &[(u64, u64)]) -> ThirdPartyMeasurement {
        let part = |(trials, hits): &(u64, u64)| PartMeasurement {
            tensor: "layer".to_owned(),
            elements: 100,
            statistic: Statistic::Bits(BitMatches {
                trials: *trials,
                hits: *hits,
                undecided: 0,
                projections: vec![0.5; 5],
            }),
        };
        ThirdPartyMeasurement { scheme, sigma: 1.0, parts: parts.iter().map(part).collect() }
    }

    /// A carrier of ones on weights of which `plus` are 1 and the others -1.
    fn sum(scheme: ThirdPartyScheme, plus: usize, elements: usize) -> ThirdPartyMeasurement {
        let weights: Vec<f64> = (0..elements).map(|i| if i < plus { 1.0 } else { -1.0 }).collect();
        let inner = InnerProduct::from_slices(&vec![1.0; elements], &weights, 0.0);
        let part = PartMeasurement {
            tensor: "layer".to_owned(),
            elements: inner.elements,
            statistic: Statistic::InnerProduct(inner),
        };
        ThirdPartyMeasurement { scheme, sigma: 1.0, parts: vec![part] }
    }

    #[test]
    fn bits_are_judged_by_the_binomial_tail() {
        let found = judge("k", &bits(ThirdPartyScheme::Uchida, &[(256, 256)]), &ONE_KEY);
        assert_eq!(
            (found.verdict, found.scheme, found.mode),
            (Presence::Present, "uchida", DetectionMode::Blind)
        );
        let exact = 8.636_168_555_094_445e-78_f64.log10();
        assert!((found.log10_p.unwrap() - exact).abs() < 1e-9);
        assert_eq!((found.z, found.z_pilot, found.blocks, found.elements), (None, None, 0, 100));
        assert_eq!(
            (found.evidence["bits"].as_u64(), found.evidence["matching"].as_u64()),
            (Some(256), Some(256))
        );
        assert_eq!(found.evidence["projections"].as_array().unwrap().len(), 5);
        assert!(!found.evidence.contains_key("parts") && found.groups.is_empty());
        assert_eq!(found.tests[0].log10_bound, found.log10_p.unwrap());
        assert!(!found.committed);
        let committed = ThirdPartyContext { keys: 1, committed: true };
        assert!(judge("k", &bits(ThirdPartyScheme::Uchida, &[(256, 256)]), &committed).committed);
        assert_eq!(
            judge("k", &bits(ThirdPartyScheme::EmMark, &[(100, 100)]), &ONE_KEY).mode,
            DetectionMode::Informed
        );
    }

    /// 256 bits of which 88.29 % are right: less than 2^-128.
    #[test]
    fn the_bound_of_neuralmark_is_the_golden_one() {
        let golden: Value = tensorseal_testing::json("watermark/third_party/golden.json");
        let log2_p = golden["neuralmark_bound_n256_rho0.8829"]["log2p"].as_f64().unwrap();
        let hits = (0.8829f64 * 256.0).ceil() as u64;
        let found = judge("k", &bits(ThirdPartyScheme::NeuralMark, &[(256, hits)]), &ONE_KEY);
        let measured = found.log10_p.unwrap() / std::f64::consts::LOG10_2;
        assert!((measured - log2_p).abs() < 1e-6 && measured < -128.0, "{measured}");
        assert_eq!(found.verdict, Presence::Present);
    }

    #[test]
    fn parts_add_up_and_keys_cost() {
        let one = judge("k", &bits(ThirdPartyScheme::EmMark, &[(200, 180)]), &ONE_KEY);
        let two = judge("k", &bits(ThirdPartyScheme::EmMark, &[(150, 140), (50, 40)]), &ONE_KEY);
        assert_eq!(two.log10_p, one.log10_p);
        assert_eq!(two.evidence["parts"][1]["matching"], 40);
        assert_eq!(two.evidence["projections"].as_array().unwrap().len(), 8);
        let many = judge(
            "k",
            &bits(ThirdPartyScheme::EmMark, &[(200, 180)]),
            &ThirdPartyContext { keys: 1000, committed: false },
        );
        assert!((many.log10_p.unwrap() - one.log10_p.unwrap() - 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_could_not_have_shown_is_inconclusive() {
        let verdict = |trials, hits, keys| {
            let context = ThirdPartyContext { keys, committed: false };
            judge("k", &bits(ThirdPartyScheme::Uchida, &[(trials, hits)]), &context).verdict
        };
        assert_eq!(verdict(256, 130, 1), Presence::Absent);
        assert_eq!(verdict(256, 0, 1), Presence::Absent);
        // 29 bits that all match have 2^-29, which is not 10^-9; 30 have.
        assert_eq!(verdict(29, 15, 1), Presence::Inconclusive);
        assert_eq!(verdict(29, 29, 1), Presence::Inconclusive);
        assert_eq!((verdict(30, 15, 1), verdict(30, 30, 1)), (Presence::Absent, Presence::Present));
        // With ten keys they have not.
        assert_eq!(
            (verdict(30, 15, 10), verdict(30, 30, 10)),
            (Presence::Inconclusive, Presence::Inconclusive)
        );
        // Between the two thresholds.
        assert_eq!(verdict(64, 54, 1), Presence::Inconclusive);
        assert_eq!(verdict(0, 0, 1), Presence::Inconclusive);
        let nothing = ThirdPartyMeasurement {
            scheme: ThirdPartyScheme::Uchida,
            sigma: 1.0,
            parts: Vec::new(),
        };
        assert_eq!(judge("k", &nothing, &ONE_KEY).verdict, Presence::Inconclusive);
    }

    #[test]
    fn sums_have_the_tail_of_their_scheme() {
        // 100,000 elements: z = (2 plus - n) / sqrt(n).
        let marked = 50_000 + 1_581;
        let (normal, signs) = (
            sum(ThirdPartyScheme::Gaussian, marked, 100_000),
            sum(ThirdPartyScheme::Signs, marked, 100_000),
        );
        let (normal, signs) = (judge("k", &normal, &ONE_KEY), judge("k", &signs, &ONE_KEY));
        assert_eq!((normal.verdict, signs.verdict), (Presence::Present, Presence::Present));
        let z = 3162.0 / 100_000f64.sqrt();
        assert!((normal.z.unwrap() - z).abs() < 1e-6 && normal.z.unwrap() < z);
        assert!((normal.log10_p.unwrap() - normal_tail_log10(z)).abs() < 1e-5);
        assert!((signs.log10_p.unwrap() - signs_tail_log10(z)).abs() < 1e-5);
        assert!(signs.log10_p > normal.log10_p, "the bound for signs is the weaker one");
        let group = &normal.groups[0];
        assert!((group.z.unwrap() - z).abs() < 1e-6 && group.elements == 100_000);
        assert_eq!(
            (normal.evidence["sum"].as_f64(), normal.evidence["sigma"].as_f64()),
            (Some(3162.0), Some(1.0))
        );
        assert!(!signs.evidence.contains_key("sigma"));
    }

    #[test]
    fn sums_of_nothing_and_of_little_say_nothing() {
        let verdict = |plus, elements| {
            judge("k", &sum(ThirdPartyScheme::Signs, plus, elements), &ONE_KEY).verdict
        };
        assert_eq!(verdict(100_000, 200_000), Presence::Absent);
        // The mark that is looked for has 0.0316 * sqrt(n) = 9.99 here, and less in fewer elements.
        assert_eq!(verdict(5_000, 10_000), Presence::Inconclusive);
        let zeros = InnerProduct::from_slices(&[1.0; 10], &[0.0; 10], 0.0);
        let part = PartMeasurement {
            tensor: String::new(),
            elements: 0,
            statistic: Statistic::InnerProduct(zeros),
        };
        let zeros = ThirdPartyMeasurement {
            scheme: ThirdPartyScheme::Gaussian,
            sigma: 1.0,
            parts: vec![part],
        };
        let found = judge("k", &zeros, &ONE_KEY);
        assert_eq!(
            (found.verdict, found.z, found.log10_p),
            (Presence::Inconclusive, None, Some(0.0))
        );
    }
}
