//! Whether the correlations of a model with a key are evidence of the key's mark.
//!
//! Under the null, that the key was drawn fairly and independently of the model, the chips are fair
//! independent signs, and the bounds of [`bounds`](super::bounds) hold for every model, without any
//! assumption on its weights. What is looked at besides one fixed word is paid for: see
//! [`DetectionTest::log10_words`] and [`Detection::log10_p`].

use super::bounds::signs_tail_log10;
use crate::watermark::SCHEME;
use crate::watermark::payload::{self, Codeword, MIN_BLOCKS, Payload};
use crate::watermark::strength::STRONGEST_ALPHA;
use crate::watermark::unreadable::UnreadableWeights;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_engine::measure::slots::{CODED_BITS, SlotSum, SlotSums};

/// `log10_p` at or below which a mark is present.
pub const PRESENT: f64 = -9.0;

/// `log10_p` above which a mark is absent, if the test would have shown it.
pub const ABSENT: f64 = -4.0;

/// By how many standard deviations a mark may fall short of what is expected of it.
pub(super) const MARGIN: f64 = 3.0;

/// Words that a decoder chooses from: all payloads with their checksum, and all 96 bits when the
/// checksum is wrong. One bit more than their number (`docs/watermark.md`).
const LOG2_CHECKED_WORDS: f64 = 65.0;
const LOG2_WORDS: f64 = 97.0;

/// What was correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectionMode {
    /// The weights of the model.
    Blind,
    /// Their difference from those of an original.
    Informed,
}

/// What was measured of one key.
#[derive(Debug, Clone)]
pub struct KeyMeasurement<'a> {
    /// What was correlated.
    pub mode: DetectionMode,
    /// By group: its name and its sums.
    pub groups: Vec<(&'a str, &'a SlotSums)>,
}

/// What is known besides the measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct DetectionContext {
    /// Number of keys that were tried, at least 1.
    pub keys: usize,
    /// The mark of a claim that the key opens.
    pub claim: Option<ClaimedMark>,
}

/// A mark that was committed to.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedMark {
    /// Its payload; `None`: it has none.
    pub payload: Option<Payload>,
    /// Its strength.
    pub alpha: f64,
}

/// The verdict on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Chance is ruled out.
    Present,
    /// Nothing was seen, and a mark would have been.
    Absent,
    /// Neither.
    Inconclusive,
}

impl Presence {
    /// The verdict on a probability, by whether a mark would have been seen.
    pub(super) fn of(log10_p: f64, has_power: bool) -> Self {
        match log10_p {
            p if p <= PRESENT => Self::Present,
            p if p > ABSENT && has_power => Self::Absent,
            _ => Self::Inconclusive,
        }
    }

    /// As in the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Which blocks were added up, and with which signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestedBlocks {
    /// The pilot blocks, which always carry +1.
    Pilot,
    /// All blocks as those of a mark without payload.
    Plain,
    /// All blocks under the likeliest word.
    Decoded,
    /// All blocks under the claimed word.
    Claimed,
    /// Everything that the key of another scheme names.
    Stated,
}

/// One test of one key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetectionTest {
    /// What was correlated.
    pub mode: DetectionMode,
    /// Which blocks.
    pub word: TestedBlocks,
    /// The statistic: standard normal or lighter in the tail under the null; null for counts of bits.
    pub z: Option<f64>,
    /// Proven bound on the probability of such a z for one fixed word, decimal logarithm.
    pub log10_bound: f64,
    /// Words that were chosen from, decimal logarithm.
    pub log10_words: f64,
}

/// The sums of one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupZ {
    /// Its name.
    pub name: String,
    /// Finite non-zero elements.
    pub elements: u64,
    /// Of all blocks under the accepted word; null when there is none.
    pub z: Option<f64>,
    /// Of the pilot blocks; null when it has none.
    pub z_pilot: Option<f64>,
}

/// The judgement on one key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// The scheme of the key.
    pub scheme: &'static str,
    /// The key.
    pub key_id: String,
    /// Outcome.
    pub verdict: Presence,
    /// Of all carriers under the accepted or claimed word; null when there is none.
    pub z: Option<f64>,
    /// Of the pilot blocks; null when there are none.
    pub z_pilot: Option<f64>,
    /// Bound on the probability of this outcome or a stronger one without the mark, decimal
    /// logarithm: the smallest of all tests, times their number and the number of keys; null where no
    /// such bound is claimed.
    pub log10_p: Option<f64>,
    /// 16 hexadecimal digits.
    pub payload: Option<String>,
    /// Whether the blocks themselves say this payload, with the right checksum.
    pub payload_ok: bool,
    /// What the blocks say with the right checksum, whatever is claimed.
    pub payload_read: Option<String>,
    /// Finite non-zero elements of the carriers.
    pub elements: u64,
    /// Carrier blocks that have such elements.
    pub blocks: u64,
    /// What was correlated in the strongest test.
    pub mode: DetectionMode,
    /// Whether the key opens a claim.
    pub committed: bool,
    /// By layer.
    pub groups: Vec<GroupZ>,
    /// Every test that [`Detection::log10_p`] counts.
    pub tests: Vec<DetectionTest>,
    /// The numbers of another scheme.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<&'static str, Value>,
    /// Why it is inconclusive, where it is not the numbers that do not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<InconclusiveReason>,
    /// The weights that could not be read, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<UnreadableWeights>,
}

/// Why nothing can be said of a mark, whatever the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InconclusiveReason {
    /// Weights are kept in a way that is not known here: a mark in them would not be seen.
    UnreadScheme,
}

impl Detection {
    /// Takes into account that some weights could not be read. A mark that was seen is there, whatever else is;
    /// one that was not seen may be in what was not read.
    #[must_use]
    pub fn with_unreadable(mut self, not_read: &UnreadableWeights) -> Self {
        if not_read.is_empty() {
            return self;
        }
        if self.verdict != Presence::Present {
            self.verdict = Presence::Inconclusive;
            self.reason = Some(InconclusiveReason::UnreadScheme);
        }
        self.not_read = Some(not_read.clone());
        self
    }

    /// Why the mark was not looked for, where that is so: what it may be in was not read.
    pub fn not_looked_for(&self) -> Option<String> {
        let (InconclusiveReason::UnreadScheme, not_read) = (self.reason?, self.not_read.as_ref()?);
        Some(format!("{}, and a mark in what was not read would not be seen", not_read.summary()))
    }
}

/// z of a sum of correlations, less what its rounding can have added; `None` for a sum of nothing.
pub fn z_of(sum: &SlotSum, error: f64) -> Option<f64> {
    let correlation = sum.correlation();
    // Besides the rounding of the terms: that of the conversion, the square root and the division.
    let lost = error + correlation.abs() * f64::EPSILON * 4.0;
    (sum.elements > 0).then(|| (correlation - lost) / libm::sqrt(sum.elements as f64))
}

/// z of all blocks under a word.
pub fn z_under(sums: &SlotSums, word: &Codeword) -> Option<f64> {
    z_of(&under(sums, word), sums.error())
}

/// All blocks under a word.
fn under(sums: &SlotSums, word: &Codeword) -> SlotSum {
    let mut all = sums.pilot();
    for (bit, sign) in sums.bits().iter().zip(word) {
        if *sign > 0 { all.merge(bit) } else { all.merge_negative(bit) }
    }
    all
}

/// One way of measuring, with its tests.
struct ModeTests<'a> {
    measured: &'a KeyMeasurement<'a>,
    total: SlotSums,
    tests: Vec<DetectionTest>,
    payload: Option<Payload>,
    /// What the blocks themselves say, with its checksum.
    read: Option<Payload>,
    /// The word to report, when one is accepted.
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
    let read = decoded.as_ref().and_then(|decoded| decoded.payload);
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
            let words = if read.is_some() { LOG2_CHECKED_WORDS } else { LOG2_WORDS };
            tests.extend(test(TestedBlocks::Decoded, &under(&total, &decoded.word), words));
        }
        (payload, accepted) = (read, read.and(decoded).map(|decoded| decoded.word));
    }
    ModeTests { measured, total, tests, payload, read, accepted }
}

/// Judges one key by everything that was measured of it: one entry, or a blind and an informed one.
pub fn judge(
    key_id: &str,
    measured: &[KeyMeasurement<'_>],
    context: &DetectionContext,
) -> Detection {
    let mut looked: Vec<ModeTests<'_>> =
        measured.iter().map(|one| run_tests(one, context)).collect();
    let tests: Vec<DetectionTest> =
        looked.iter().flat_map(|one| one.tests.iter().copied()).collect();
    let log10_tries = libm::log10((tests.len().max(1) * context.keys.max(1)) as f64);
    let corrected =
        |test: &DetectionTest| (test.log10_bound + test.log10_words + log10_tries).min(0.0);
    let best_of = |one: &ModeTests<'_>| one.tests.iter().map(corrected).fold(0.0, f64::min);
    // The stronger way of measuring is the one reported; the blind one when they are equal.
    looked.sort_by(|a, b| best_of(a).total_cmp(&best_of(b)));
    let Some(mut best) = (!looked.is_empty()).then(|| looked.swap_remove(0)) else {
        return empty_detection(key_id);
    };
    let log10_p = best_of(&best);
    // A mark without payload: its own test, not chance that looks like a word, must show it.
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
        payload_ok: best.read.is_some() && best.read == best.payload,
        payload_read: best.read.map(|payload| payload.to_string()),
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

/// Whether the mark that was looked for would have been seen: by its claimed strength, or else the
/// strongest that `embed` makes without being forced, whose pilot is a quarter of the blocks.
fn has_power(total: &SlotSums, context: &DetectionContext, log10_tries: f64) -> bool {
    let (alpha, elements) = match &context.claim {
        Some(claimed) => (claimed.alpha, total.elements()),
        None => (STRONGEST_ALPHA, total.pilot().elements),
    };
    let least = alpha * libm::sqrt(elements as f64) - MARGIN;
    signs_tail_log10(least) + log10_tries <= PRESENT
}

/// The judgement on a key that nothing was measured of.
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
        let not_read = UnreadableWeights {
            weights: 1,
            told: 1,
            bytes: 8,
            share: 0.5,
            tensors: vec!["a".to_owned()],
        };
        let clean = judged(&sums(20_000, 0.0, &Payload(5).word(), 3), &ONE_KEY);
        assert_eq!(clean.verdict, Presence::Absent);
        assert_eq!(clean.clone().with_unreadable(&UnreadableWeights::default()), clean);
        let unclear = clean.with_unreadable(&not_read);
        assert_eq!(unclear.verdict, Presence::Inconclusive);
        assert_eq!(unclear.reason, Some(InconclusiveReason::UnreadScheme));
        assert!(unclear.not_looked_for().unwrap().contains("50.0 %"));
        let marked = judged(&sums(20_000, 0.0125, &Payload(7).word(), 1), &ONE_KEY);
        let beside = marked.clone().with_unreadable(&not_read);
        assert_eq!((beside.verdict, beside.reason), (Presence::Present, None));
        assert_eq!((beside.log10_p, beside.not_looked_for()), (marked.log10_p, None));
        assert_eq!(beside.not_read, Some(not_read));
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
