//! The payload of a mark: 64 bits, a checksum, and the code that carries both through noise.
//!
//! The payload, most significant bit first, and the CRC-32/IEEE of its 8 big-endian bytes make 96
//! bits. With 8 zeros behind them they go through the convolutional code of rate 1/4 and constraint
//! length 9 with the generators 463, 535, 733 and 745 (octal), which has the largest free distance of
//! its kind (24; J. G. Proakis, *Digital Communications*, table 8.2-3). A coded bit 0 is carried as
//! +1, a 1 as -1. `testdata/watermark/codeword.json` holds codewords made by another implementation.

use tensorseal_engine::measure::slots::CODED_BITS;

/// The minimum number of carrier blocks for a payload: 832 of them carry data, two for each coded bit.
pub const MIN_BLOCKS: u64 = 1110;

/// The generators of the code; the newest bit meets the most significant one.
const GENERATORS: [u32; RATE] = [0o463, 0o535, 0o733, 0o745];
/// The number of coded bits for each bit.
const RATE: usize = 4;
/// The number of bits that a coded bit depends on.
const CONSTRAINT: u32 = 9;
/// The number of states of the encoder: all but the newest of those bits.
const STATES: usize = 1 << (CONSTRAINT - 1);
/// The number of bits of payload and checksum.
const DATA_BITS: usize = 64 + 32;
/// The same with the zeros that return the encoder to its initial state.
const INPUT_BITS: usize = DATA_BITS + CONSTRAINT as usize - 1;

const _: () = assert!(INPUT_BITS * RATE == CODED_BITS);

/// A codeword as signs: +1 or -1 for each coded bit.
pub type Codeword = [i8; CODED_BITS];

/// The signs of a mark without payload.
pub const UNMODULATED: Codeword = [1; CODED_BITS];

/// A 64-bit identifier, written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload(pub u64);

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The error for a text that is not a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payload is 16 hexadecimal digits")]
pub struct ParsePayloadError;

impl std::str::FromStr for Payload {
    type Err = ParsePayloadError;

    fn from_str(text: &str) -> Result<Self, ParsePayloadError> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParsePayloadError);
        }
        u64::from_str_radix(text, 16).map(Payload).map_err(|_| ParsePayloadError)
    }
}

impl Payload {
    /// Returns the codeword of the payload.
    pub fn word(self) -> Codeword {
        let crc = crc32fast::hash(&self.0.to_be_bytes());
        let data = u128::from(self.0) << 32 | u128::from(crc);
        let mut word = UNMODULATED;
        let mut state = 0;
        for (i, coded) in word.chunks_exact_mut(RATE).enumerate() {
            let bit = i < DATA_BITS && data >> (DATA_BITS - 1 - i) & 1 == 1;
            let (next, signs) = step(state, bit);
            coded.copy_from_slice(&signs);
            state = next;
        }
        word
    }
}

/// Encodes a bit in `state`: returns the next state and the coded signs.
fn step(state: usize, bit: bool) -> (usize, [i8; RATE]) {
    let register = (state | usize::from(bit) << (CONSTRAINT - 1)) as u32;
    let signs =
        GENERATORS.map(|g| if (register & g).count_ones().is_multiple_of(2) { 1 } else { -1 });
    ((register >> 1) as usize, signs)
}

/// The result of decoding correlations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedPayload {
    /// The likeliest payload, if its checksum is valid.
    pub payload: Option<Payload>,
    /// The codeword of the likeliest bits, whether their checksum is valid or not.
    pub word: Codeword,
}

/// Decodes the likeliest codeword from the correlation of the blocks of each coded bit (positive for a coded 0), with
/// the Viterbi algorithm (G. D. Forney, *Proc. IEEE* 61(3), 1973). The correlation is the log-likelihood ratio up to a
/// common factor.
pub fn decode(correlations: &[f64; CODED_BITS]) -> DecodedPayload {
    // The best sum of correlations that leads to each state.
    let mut best = [f64::NEG_INFINITY; STATES];
    best[0] = 0.0;
    // For each step and state: whether the previous state ended in 1 (the bit that was shifted out).
    let mut came_from = vec![[false; STATES]; INPUT_BITS];
    for (i, seen) in correlations.chunks_exact(RATE).enumerate() {
        let mut next = [f64::NEG_INFINITY; STATES];
        for (state, sum) in best.iter().enumerate().filter(|(_, sum)| sum.is_finite()) {
            for bit in [false, true] {
                if bit && i >= DATA_BITS {
                    continue;
                }
                let (to, signs) = step(state, bit);
                let gain: f64 = signs.iter().zip(seen).map(|(sign, r)| f64::from(*sign) * r).sum();
                if sum + gain > next[to] {
                    next[to] = sum + gain;
                    came_from[i][to] = state & 1 == 1;
                }
            }
        }
        best = next;
    }
    // The tail of zeros leads to state 0, and from there back.
    let mut state = 0usize;
    let mut data = 0u128;
    let mut word = UNMODULATED;
    for i in (0..INPUT_BITS).rev() {
        let bit = state >> (CONSTRAINT - 2) & 1 == 1;
        let before = (state << 1 & (STATES - 1)) | usize::from(came_from[i][state]);
        word[RATE * i..][..RATE].copy_from_slice(&step(before, bit).1);
        if bit && i < DATA_BITS {
            data |= 1 << (DATA_BITS - 1 - i);
        }
        state = before;
    }
    let payload = Payload((data >> 32) as u64);
    let checked = crc32fast::hash(&payload.0.to_be_bytes()) == data as u32;
    DecodedPayload { payload: checked.then_some(payload), word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn soft(word: &Codeword) -> [f64; CODED_BITS] {
        word.map(f64::from)
    }

    /// `testdata/watermark/codeword.json`, made by `testdata/watermark/codeword.py`.
    #[test]
    fn codewords_are_the_golden_ones() {
        let golden: serde_json::Value = tensorseal_testing::json("watermark/codeword.json");
        let entries = golden["codewords"].as_array().unwrap();
        assert!(entries.len() >= 3);
        for entry in entries {
            let payload: Payload = entry["payload"].as_str().unwrap().parse().unwrap();
            let bits: String =
                payload.word().map(|sign| if sign > 0 { '0' } else { '1' }).iter().collect();
            assert_eq!(bits, entry["bits"], "{payload}");
        }
    }

    #[test]
    fn a_quarter_of_the_signs_may_be_wrong() {
        let payload = Payload(0x0123_4567_89AB_CDEF);
        let mut seen = soft(&payload.word());
        // 60 of 416, spread out, and some of the rest erased.
        for i in 0..60 {
            seen[i * 7 % CODED_BITS] *= -1.0;
        }
        (0..CODED_BITS).step_by(11).for_each(|i| seen[i] = 0.0);
        assert_eq!(decode(&seen), DecodedPayload { payload: Some(payload), word: payload.word() });
    }

    #[test]
    fn noise_is_no_payload_but_a_codeword() {
        let mut bytes = [0; 4 * CODED_BITS];
        for seed in 0..50u64 {
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let seen: [f64; CODED_BITS] =
                std::array::from_fn(|i| f64::from(bytes[i]) - f64::from(bytes[i + CODED_BITS]));
            let decoded = decode(&seen);
            assert_eq!(decoded.payload, None, "seed {seed}");
            // No neighbour of the word is better: it is the likeliest in its surroundings.
            let sum = |word: &Codeword| -> f64 {
                word.iter().zip(&seen).map(|(sign, r)| f64::from(*sign) * r).sum()
            };
            assert!(sum(&decoded.word) > 0.0);
            assert!(sum(&decoded.word) >= sum(&Payload(seed).word()));
        }
    }

    /// The table of `docs/watermark.md`: how often a payload is read back, by the z that its blocks show
    /// together.
    #[test]
    fn payloads_are_read_as_often_as_documented() {
        const TRIALS: u64 = 1000;
        for (z, documented) in [(14.0, 0.59), (16.0, 0.91), (18.0, 0.99), (20.0, 0.999)] {
            let read = |trial: u64| {
                let payload = Payload(trial.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let mut bytes = vec![0; 32 * CODED_BITS];
                blake3::Hasher::new().update(&trial.to_le_bytes()).finalize_xof().fill(&mut bytes);
                // 256 coins have a standard deviation of 8.
                let noise = |bytes: &[u8]| {
                    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
                    (f64::from(ones) - 128.0) / 8.0
                };
                let mut seen = soft(&payload.word());
                for (seen, bytes) in seen.iter_mut().zip(bytes.chunks(32)) {
                    *seen = *seen * z / (CODED_BITS as f64).sqrt() + noise(bytes);
                }
                decode(&seen).payload == Some(payload)
            };
            let share = (0..TRIALS).filter(|trial| read(*trial)).count() as f64 / TRIALS as f64;
            println!("data z {z}: {share} read");
            let deviation = (documented * (1.0 - documented) / TRIALS as f64).sqrt();
            assert!((share - documented).abs() <= 4.0 * deviation + 0.005, "{z}: {share}");
        }
    }

    #[test]
    fn payloads_are_16_digits() {
        assert_eq!("00000000000000ff".parse(), Ok(Payload(255)));
        assert_eq!(Payload(255).to_string(), "00000000000000ff");
        for bad in ["", "ff", "00000000000000fg", "+0000000000000ff", "00000000000000ff0"] {
            assert_eq!(bad.parse::<Payload>(), Err(ParsePayloadError), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_coded_is_decoded(payload: u64, scale in 1e-30f64..1e30) {
            let payload = Payload(payload);
            let seen = soft(&payload.word()).map(|r| r * scale);
            prop_assert_eq!(decode(&seen), DecodedPayload { payload: Some(payload), word: payload.word() });
        }

        #[test]
        fn any_correlations_decode(seen in prop::collection::vec(any::<f64>(), CODED_BITS)) {
            let seen: [f64; CODED_BITS] = seen.try_into().unwrap();
            decode(&seen);
        }
    }
}
