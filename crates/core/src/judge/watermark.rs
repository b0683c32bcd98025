//! Judges whether the correlations of a model with a key are evidence of the mark of that key.
//!
//! Under the null hypothesis that the key was drawn fairly and independently of the model, the chips are fair
//! independent signs, and the bounds of [`bounds`](super::bounds) hold for every model, without any assumption about
//! its weights. Every additional test and word is corrected for: see [`DetectionTest::log10_words`] and
//! [`Detection::log10_p`].

use super::bounds::signs_tail_log10;
use crate::watermark::SCHEME;
use crate::watermark::payload::{self, Codeword, MIN_BLOCKS, Payload};
use crate::watermark::strength::STRONGEST_ALPHA;
use crate::watermark::unreadable::UnreadableWeights;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_engine::measure::slots::{CODED_BITS, SlotSum, SlotSums};

/// The `log10_p` at or below which a mark counts as present.
pub const PRESENT: f64 = -9.0;

/// The `log10_p` above which a mark counts as absent, if the test has enough power to detect it.
pub const ABSENT: f64 = -4.0;

/// The number of standard deviations by which the z of a mark may fall short of its expectation.
pub(super) const MARGIN: f64 = 3.0;

/// log2 of the number of words that a decoder chooses from, plus one (`docs/watermark.md`): all payloads with their
/// checksum, and all 96-bit words if the checksum is wrong.
const LOG2_CHECKED_WORDS: f64 = 65.0;
const LOG2_WORDS: f64 = 97.0;

/// Which values were correlated with the chips of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectionMode {
    /// The weights of the model.
    Blind,
    /// The difference of the weights from those of an original.
    Informed,
}

/// The measurement of one key.
#[derive(Debug, Clone)]
pub struct KeyMeasurement<'a> {
    /// Which values were correlated.
    pub mode: DetectionMode,
    /// The name and the sums of each group of carriers.
    pub groups: Vec<(&'a str, &'a SlotSums)>,
}

/// The facts that a judgement needs besides the measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct DetectionContext {
    /// The number of keys that were tried, at least 1.
    pub keys: usize,
    /// The mark of the claim that the key opens; `None` if there is no such claim.
    pub claim: Option<ClaimedMark>,
}

/// The mark that a claim commits to.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedMark {
    /// The payload; `None` for a mark without payload.
    pub payload: Option<Payload>,
    /// The strength.
    pub alpha: f64,
}

/// The verdict on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// The mark is present: a chance match is ruled out.
    Present,
    /// The mark is absent: nothing was detected, and the test has enough power to detect it.
    Absent,
    /// Neither can be concluded.
    Inconclusive,
}

impl Presence {
    /// Returns the verdict for a probability; `has_power` says whether a mark would have been detected.
    pub(super) fn of(log10_p: f64, has_power: bool) -> Self {
        match log10_p {
            p if p <= PRESENT => Self::Present,
            p if p > ABSENT && has_power => Self::Absent,
            _ => Self::Inconclusive,
        }
    }

    /// Returns the name in JSON reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Which carrier blocks a test adds up, and with which signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestedBlocks {
    /// The pilot blocks, which always carry +1.
    Pilot,
    /// All blocks, with the signs of a mark without payload.
    Plain,
    /// All blocks, with the signs of the likeliest word.
    Decoded,
    /// All blocks, with the signs of the claimed word.
    Claimed,
    /// All elements that the key of another scheme names.
    Stated,
}

/// A statistical test of one key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetectionTest {
    /// Which values were correlated.
    pub mode: DetectionMode,
    /// Which blocks were added up.
    pub word: TestedBlocks,
    /// The test statistic, which is standard normal or has a lighter tail under the null hypothesis; null for counts of
    /// bits.
    pub z: Option<f64>,
    /// The proven bound on the probability of such a z for one fixed word, as a decimal logarithm.
    pub log10_bound: f64,
    /// The number of words that were chosen from, as a decimal logarithm.
    pub log10_words: f64,
}

/// The z of one group of carriers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupZ {
    /// The name of the group.
    pub name: String,
    /// The number of finite non-zero elements.
    pub elements: u64,
    /// The z of all blocks under the accepted word; null if no word was accepted.
    pub z: Option<f64>,
    /// The z of the pilot blocks; null if the group has none.
    pub z_pilot: Option<f64>,
}

/// The result of the search for the mark of one key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// The scheme of the key.
    pub scheme: &'static str,
    /// The id of the key.
    pub key_id: String,
    /// The verdict.
    pub verdict: Presence,
    /// The z of all carriers under the accepted or claimed word; null if there is no such word.
    pub z: Option<f64>,
    /// The z of the pilot blocks; null if there are none.
    pub z_pilot: Option<f64>,
    /// The bound on the probability of this result or a stronger one without the mark, as a decimal logarithm: the
    /// smallest of all tests, multiplied by the number of tests and of keys; null if the scheme has no such bound.
    pub log10_p: Option<f64>,
    /// The payload as 16 hexadecimal digits.
    pub payload: Option<String>,
    /// Whether this payload was decoded from the blocks with a valid checksum.
    pub payload_ok: bool,
    /// The payload that was decoded from the blocks with a valid checksum, whatever the claim states.
    pub payload_read: Option<String>,
    /// The number of finite non-zero elements of the carriers.
    pub elements: u64,
    /// The number of carrier blocks with finite non-zero elements.
    pub blocks: u64,
    /// Which values the strongest test correlated.
    pub mode: DetectionMode,
    /// Whether the key opens a claim.
    pub committed: bool,
    /// The z by group of carriers: usually a layer.
    pub groups: Vec<GroupZ>,
    /// All tests that [`Detection::log10_p`] accounts for.
    pub tests: Vec<DetectionTest>,
    /// Further numbers of another scheme.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<&'static str, Value>,
    /// Why the result is inconclusive, if not because of the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<InconclusiveReason>,
    /// The weights that cannot be read, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<UnreadableWeights>,
}

/// Why a result is inconclusive whatever the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InconclusiveReason {
    /// Weights have an unsupported layout, so a mark in them would go undetected.
    UnreadScheme,
}

impl Detection {
    /// Accounts for weights that cannot be read. A detected mark stays present; an undetected one may be in the weights
    /// that cannot be read, so the verdict becomes inconclusive.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: &UnreadableWeights) -> Self {
        if unreadable.is_empty() {
            return self;
        }
        if self.verdict != Presence::Present {
            self.verdict = Presence::Inconclusive;
            self.reason = Some(InconclusiveReason::UnreadScheme);
        }
        self.not_read = Some(unreadable.clone());
        self
    }

    /// Returns why the search for the mark is incomplete, if it is: weights that may carry it cannot be read.
    pub fn not_looked_for(&self) -> Option<String> {
        let (InconclusiveReason::UnreadScheme, unreadable) =
            (self.reason?, self.not_read.as_ref()?);
        Some(format!("{}; a mark in them would go undetected", unreadable.summary()))
    }
}

/// Returns the z of a sum of correlations, reduced by the maximum rounding error; `None` for an empty sum.
pub fn z_of(sum: &SlotSum, error: f64) -> Option<f64> {
    let correlation = sum.correlation();
    // Besides the rounding of the terms, this includes that of the conversion, the square root and the division.
    let rounding = error + correlation.abs() * f64::EPSILON * 4.0;
    (sum.elements > 0).then(|| (correlation - rounding) / libm::sqrt(sum.elements as f64))
}

/// Returns the z of all blocks under a word.
pub fn z_under(sums: &SlotSums, word: &Codeword) -> Option<f64> {
    z_of(&under(sums, word), sums.error())
}

/// Adds up all blocks with the signs of a word.
fn under(sums: &SlotSums, word: &Codeword) -> SlotSum {
    let mut all = sums.pilot();
    for (bit, sign) in sums.bits().iter().zip(word) {
        if *sign > 0 { all.merge(bit) } else { all.merge_negative(bit) }
    }
    all
}

/// A measurement of a key with its tests.
struct ModeTests<'a> {
    measured: &'a KeyMeasurement<'a>,
    total: SlotSums,
    tests: Vec<DetectionTest>,
    payload: Option<Payload>,
    /// The payload that was decoded with a valid checksum.
    decoded: Option<Payload>,
    /// The word to report, if one is accepted.
    accepted: Option<Codeword>,
}

fn run_tests<'a>(measured: &'a KeyMeasurement<'a>, context: &DetectionContext) -> ModeTests<'a> {
    let mut total = SlotSums::default();
    measured.groups.iter().for_each(|(_, sums)| total.merge(sums));
    let error = total.error();
    let test = |word: TestedBlocks, sum: &SlotSum, log2_words: f64| {
        let z = z_of(sum, error)?;
        let log10_words = log2_words * std::f64::consts::LOG10_2;
        let log10_bound = signs_tail_log10(z);
        Some(DetectionTest { mode: measured.mode, word, z: Some(z), log10_bound, log10_words })
    };
    let decoded = (total.blocks >= MIN_BLOCKS).then(|| {
        let correlations: [f64; CODED_BITS] =
            std::array::from_fn(|bit| total.bits()[bit].correlation());
        payload::decode(&correlations)
    });
    let decoded_payload = decoded.as_ref().and_then(|decoded| decoded.payload);
    let mut tests = Vec::new();
    let (payload, accepted);
    if let Some(claimed) = &context.claim {
        let word = claimed.payload.map_or(payload::UNMODULATED, Payload::word);
        tests.extend(test(TestedBlocks::Claimed, &under(&total, &word), 0.0));
        (payload, accepted) = (claimed.payload, Some(word));
    } else {
        tests.extend(test(TestedBlocks::Pilot, &total.pilot(), 0.0));
        tests.extend(test(TestedBlocks::Plain, &under(&total, &payload::UNMODULATED), 0.0));
        if let Some(decoded) = &decoded {
            let words = if decoded_payload.is_some() { LOG2_CHECKED_WORDS } else { LOG2_WORDS };
            tests.extend(test(TestedBlocks::Decoded, &under(&total, &decoded.word), words));
        }
        payload = decoded_payload;
        accepted = decoded_payload.and(decoded).map(|decoded| decoded.word);
    }
    ModeTests { measured, total, tests, payload, decoded: decoded_payload, accepted }
}

/// Judges one key by its measurements: one, or a blind and an informed one.
pub fn judge(
    key_id: &str,
    measured: &[KeyMeasurement<'_>],
    context: &DetectionContext,
) -> Detection {
    let mut modes: Vec<ModeTests<'_>> =
        measured.iter().map(|one| run_tests(one, context)).collect();
    let tests: Vec<DetectionTest> =
        modes.iter().flat_map(|one| one.tests.iter().copied()).collect();
    let log10_tries = libm::log10((tests.len().max(1) * context.keys.max(1)) as f64);
    let corrected =
        |test: &DetectionTest| (test.log10_bound + test.log10_words + log10_tries).min(0.0);
    let best_of = |one: &ModeTests<'_>| one.tests.iter().map(corrected).fold(0.0, f64::min);
    // The measurement with the stronger result is reported; the blind one if they are equal.
    modes.sort_by(|a, b| best_of(a).total_cmp(&best_of(b)));
    let Some(mut best) = (!modes.is_empty()).then(|| modes.swap_remove(0)) else {
        return empty_detection(key_id);
    };
    let log10_p = best_of(&best);
    // A mark without payload must be shown by its own test, not by noise that resembles a word.
    let plain = best.tests.iter().find(|test| test.word == TestedBlocks::Plain);
    if best.accepted.is_none() && plain.is_some_and(|test| corrected(test) <= PRESENT) {
        best.accepted = Some(payload::UNMODULATED);
    }
    let total = &best.total;
    let under_accepted =
        |sums: &SlotSums| best.accepted.as_ref().and_then(|word| z_under(sums, word));
    let groups =
        best.measured.groups.iter().filter(|(_, sums)| sums.blocks > 0).map(|(name, sums)| {
            GroupZ {
                name: (*name).to_owned(),
                elements: sums.elements(),
                z: under_accepted(sums),
                z_pilot: z_of(&sums.pilot(), sums.error()),
            }
        });
    let verdict = Presence::of(log10_p, has_power(total, context, log10_tries));
    Detection {
        scheme: SCHEME,
        key_id: key_id.to_owned(),
        verdict,
        z: under_accepted(total),
        z_pilot: z_of(&total.pilot(), total.error()),
        log10_p: Some(log10_p),
        payload: best.payload.map(|payload| payload.to_string()),
        payload_ok: best.decoded.is_some() && best.decoded == best.payload,
        payload_read: best.decoded.map(|payload| payload.to_string()),
        elements: total.elements(),
        blocks: total.blocks,
        mode: best.measured.mode,
        committed: context.claim.is_some(),
        groups: groups.collect(),
        tests,
        evidence: BTreeMap::new(),
        reason: None,
        not_read: None,
    }
}

/// Returns whether a mark would have been detected: one of the claimed strength, else the strongest that `embed`
/// writes by default, whose pilot is a quarter of the blocks.
fn has_power(total: &SlotSums, context: &DetectionContext, log10_tries: f64) -> bool {
    let (alpha, elements) = match &context.claim {
        Some(claimed) => (claimed.alpha, total.elements()),
        None => (STRONGEST_ALPHA, total.pilot().elements),
    };
    let least = alpha * libm::sqrt(elements as f64) - MARGIN;
    signs_tail_log10(least) + log10_tries <= PRESENT
}

/// Returns the result for a key without measurements.
pub(super) fn empty_detection(key_id: &str) -> Detection {
    Detection {
        scheme: SCHEME,
        key_id: key_id.to_owned(),
        verdict: Presence::Inconclusive,
        z: None,
        z_pilot: None,
        log10_p: Some(0.0),
        payload: None,
        payload_ok: false,
        payload_read: None,
        elements: 0,
        blocks: 0,
        mode: DetectionMode::Blind,
        committed: false,
        groups: Vec::new(),
        tests: Vec::new(),
        evidence: BTreeMap::new(),
        reason: None,
        not_read: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_engine::measure::correlation::Energy;
    use tensorseal_engine::measure::slots::Slot;

    /// Blocks of 512 elements of energy 512, whose sums are noise of standard deviation sqrt(512) and
    /// a mark of strength `alpha` that carries `word`.
    fn sums(blocks: u64, alpha: f64, word: &Codeword, seed: u64) -> SlotSums {
        let mut random = vec![0; 16 * blocks as usize];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut random);
        let energies = vec![Energy { energy: 512, nonzero: 512 }; blocks as usize];
        let correlations: Vec<i32> = random
            .chunks(16)
            .zip(0..)
            .map(|(bytes, block)| {
                let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
                // 128 coins have a standard deviation of sqrt(32).
                let noise = (f64::from(ones) - 64.0) * 4.0;
                let sign = match Slot::for_block(block, 0) {
                    Slot::Pilot => 1,
                    Slot::Bit(bit) => word[bit],
                };
                (noise + alpha * 512.0 * f64::from(sign)).round() as i32
            })
            .collect();
        let mut sums = SlotSums::default();
        sums.add(0, 0, &energies, &correlations);
        sums
    }

    fn judged(sums: &SlotSums, context: &DetectionContext) -> Detection {
        let measured = KeyMeasurement { mode: DetectionMode::Blind, groups: vec![("all", sums)] };
        judge("id", &[measured], context)
    }

    const ONE_KEY: DetectionContext = DetectionContext { keys: 1, claim: None };

    #[test]
    fn a_mark_is_found_and_read() {
        let payload = Payload(0xFEED_0000_0000_BEEF);
        let marked = sums(20_000, 0.0125, &payload.word(), 1);
        let found = judged(&marked, &ONE_KEY);
        assert_eq!(found.verdict, Presence::Present);
        assert_eq!((found.payload.as_deref(), found.payload_ok), (Some("feed00000000beef"), true));
        // alpha * sqrt(n) = 40, and half of it in the pilot.
        assert!((found.z.unwrap() - 40.0).abs() < 5.0, "{:?}", found.z);
        assert!((found.z_pilot.unwrap() - 20.0).abs() < 5.0, "{:?}", found.z_pilot);
        assert_eq!(found.groups[0].z, found.z);
        assert_eq!(found.elements, 20_000 * 512);
        // The pilot's p, or that of the word times 2^65; three tests.
        let pilot = signs_tail_log10(found.z_pilot.unwrap());
        let word = signs_tail_log10(found.z.unwrap()) + 65.0 * std::f64::consts::LOG10_2;
        assert!((found.log10_p.unwrap() - (pilot.min(word) + 3f64.log10())).abs() < 1e-9);
        // More keys: more tries.
        let many = judged(&marked, &DetectionContext { keys: 100, claim: None });
        assert!((many.log10_p.unwrap() - found.log10_p.unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_claimed_word_costs_nothing_and_another_shows_nothing() {
        let claimed = |payload| DetectionContext {
            keys: 1,
            claim: Some(ClaimedMark { payload: Some(Payload(payload)), alpha: 0.0125 }),
        };
        let marked = sums(20_000, 0.0125, &Payload(7).word(), 2);
        let found = judged(&marked, &claimed(7));
        assert_eq!(found.verdict, Presence::Present);
        assert!(found.committed && found.tests.len() == 1);
        assert!((found.log10_p.unwrap() - signs_tail_log10(found.z.unwrap())).abs() < 1e-9);
        assert!(found.payload_ok);
        // Another payload differs in many bits of the code; the pilot still shows, and the blocks say
        // something else.
        let other = judged(&marked, &claimed(8));
        assert!(other.z.unwrap() < found.z.unwrap() - 10.0 && !other.payload_ok);
        assert_eq!(other.payload_read.as_deref(), Some("0000000000000007"));
    }

    #[test]
    fn a_mark_without_payload_is_found_by_the_plain_test() {
        let found = judged(&sums(20_000, 0.0125, &payload::UNMODULATED, 3), &ONE_KEY);
        assert_eq!((found.verdict, found.payload_ok), (Presence::Present, false));
        assert!((found.z.unwrap() - 40.0).abs() < 5.0);
    }

    #[test]
    fn noise_is_absent_and_too_little_of_it_inconclusive() {
        for seed in 10..60 {
            let found = judged(&sums(20_000, 0.0, &payload::UNMODULATED, seed), &ONE_KEY);
            assert_eq!(found.verdict, Presence::Absent, "seed {seed}: {found:?}");
            assert!(found.z.is_none() && found.payload.is_none() && found.log10_p.unwrap() > -3.0);
        }
        // 60 blocks: even the strongest mark would not have been seen.
        let few = judged(&sums(60, 0.0, &payload::UNMODULATED, 4), &ONE_KEY);
        assert_eq!(few.verdict, Presence::Inconclusive);
        // A claimed mark that is too weak to be seen.
        let claimed = ClaimedMark { payload: None, alpha: 0.001 };
        let weak = judged(
            &sums(20_000, 0.0, &payload::UNMODULATED, 5),
            &DetectionContext { keys: 1, claim: Some(claimed) },
        );
        assert_eq!(weak.verdict, Presence::Inconclusive);
        let nothing = judged(&SlotSums::default(), &ONE_KEY);
        assert_eq!((nothing.verdict, nothing.log10_p), (Presence::Inconclusive, Some(0.0)));
        assert_eq!(judge("id", &[], &ONE_KEY).verdict, Presence::Inconclusive);
    }

    #[test]
    fn what_was_not_read_decides_nothing_and_weakens_no_mark() {
        let unreadable = UnreadableWeights {
            weights: 1,
            certain: 1,
            bytes: 8,
            share: 0.5,
            tensors: vec!["a".to_owned()],
        };
        let clean = judged(&sums(20_000, 0.0, &Payload(5).word(), 3), &ONE_KEY);
        assert_eq!(clean.verdict, Presence::Absent);
        assert_eq!(clean.clone().with_unreadable(&UnreadableWeights::default()), clean);
        let unclear = clean.with_unreadable(&unreadable);
        assert_eq!(unclear.verdict, Presence::Inconclusive);
        assert_eq!(unclear.reason, Some(InconclusiveReason::UnreadScheme));
        assert!(unclear.not_looked_for().unwrap().contains("50.0 %"));
        let marked = judged(&sums(20_000, 0.0125, &Payload(7).word(), 1), &ONE_KEY);
        let partial = marked.clone().with_unreadable(&unreadable);
        assert_eq!((partial.verdict, partial.reason), (Presence::Present, None));
        assert_eq!((partial.log10_p, partial.not_looked_for()), (marked.log10_p, None));
        assert_eq!(partial.not_read, Some(unreadable));
    }

    #[test]
    fn two_ways_of_measuring_are_two_tries() {
        let marked = sums(20_000, 0.0125, &Payload(7).word(), 6);
        let stronger = sums(20_000, 0.025, &Payload(7).word(), 7);
        let measured = [
            KeyMeasurement { mode: DetectionMode::Blind, groups: vec![("all", &marked)] },
            KeyMeasurement { mode: DetectionMode::Informed, groups: vec![("all", &stronger)] },
        ];
        let both = judge("id", &measured, &ONE_KEY);
        let one = judge("id", &measured[1..], &ONE_KEY);
        assert_eq!((both.mode, both.z), (DetectionMode::Informed, one.z));
        assert!((both.log10_p.unwrap() - one.log10_p.unwrap() - 2f64.log10()).abs() < 1e-9);
    }

    #[test]
    fn the_place_of_a_mark_shows() {
        let word = Payload(9).word();
        let (marked, clean) = (sums(10_000, 0.02, &word, 8), sums(10_000, 0.0, &word, 9));
        let measured = KeyMeasurement {
            mode: DetectionMode::Blind,
            groups: vec![("layers.0", &marked), ("layers.1", &clean)],
        };
        let found = judge("id", &[measured], &ONE_KEY);
        assert!(found.groups[0].z.unwrap() > 35.0 && found.groups[1].z.unwrap().abs() < 5.0);
    }
}
