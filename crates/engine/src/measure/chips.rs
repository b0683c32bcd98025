//! Chips: the secret signs of a mark, one bit for each element, from a ChaCha20 key stream.
//!
//! Source: RFC 8439 section 2.3. One block of the stream (512 bits) belongs to one carrier block of
//! [`CARRIER_LEN`](super::correlation::CARRIER_LEN) elements: its number is the block counter. Bits
//! count from the least significant of each little-endian word; a chip is +1 for 0 and -1 for 1.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The length in bytes of a block of the key stream.
pub const CHIP_BYTES: usize = 64;

/// The largest number of carrier blocks of a tensor: the block counter has 32 bits.
pub const MAX_BLOCKS: u64 = u32::MAX as u64;

/// A ChaCha20 key. It is overwritten with zeros when it is dropped, and its `Debug` output hides it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChipKey(pub [u8; 32]);

impl std::fmt::Debug for ChipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChipKey(..)")
    }
}

impl ChipKey {
    /// Returns the key as the words that a shader receives.
    pub fn words(&self) -> [u32; 8] {
        words(&self.0)
    }
}

/// The 96-bit nonce of a tensor.
pub type Nonce = [u8; 12];

/// Returns the little-endian words of a key or a nonce.
pub fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| words.get(i).map_or(0, |word| u32::from_le_bytes(*word)))
}

/// Fills `stream` with whole blocks of the key stream, from block `first` on. Blocks past the end of the
/// 32-bit counter remain zero; the carriers of a checkpoint are chosen so that there are none.
pub fn fill(key: &ChipKey, nonce: &Nonce, first: u64, stream: &mut [u8]) {
    stream.fill(0);
    let mut cipher = ChaCha20::new(&key.0.into(), &(*nonce).into());
    let sought = cipher.try_seek(first.saturating_mul(CHIP_BYTES as u64));
    debug_assert!(sought.is_ok());
    if sought.is_ok() {
        let filled = cipher.try_apply_keystream(stream);
        debug_assert!(filled.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chips(stream: &[u8], range: std::ops::Range<usize>) -> String {
        let sign = |i: usize| if stream[i / 8] >> (i % 8) & 1 == 0 { '+' } else { '-' };
        range.map(sign).collect()
    }

    /// The test vector of RFC 8439 section 2.3.2.
    #[test]
    fn the_stream_is_that_of_the_rfc() {
        let key = ChipKey(std::array::from_fn(|i| i as u8));
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        let mut stream = [0; CHIP_BYTES];
        fill(&key, &nonce, 1, &mut stream);
        assert_eq!(stream[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(stream[56..], [0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e]);
    }

    /// `testdata/watermark/chacha_chips.json`, made with numpy.
    #[test]
    fn chips_are_the_golden_ones() {
        let golden: serde_json::Value = tensorseal_testing::json("watermark/chacha_chips.json");
        let bytes = |name: &str| -> Vec<u8> {
            let text = golden[name].as_str().unwrap();
            (0..text.len() / 2)
                .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
                .collect()
        };
        let key = ChipKey(bytes("key_hex").try_into().unwrap());
        let nonce: Nonce = bytes("nonce_hex").try_into().unwrap();
        let mut stream = [0; 2 * CHIP_BYTES];
        fill(&key, &nonce, 0, &mut stream);
        assert_eq!(chips(&stream, 0..64), golden["first64_chips"]);
        assert_eq!(chips(&stream, 512..576), golden["chips512_575"]);
        let mut second = [0; CHIP_BYTES];
        fill(&key, &nonce, 1, &mut second);
        assert_eq!(second, stream[CHIP_BYTES..]);
    }

    #[test]
    fn the_last_block_can_be_had() {
        let mut stream = [0; CHIP_BYTES];
        fill(&ChipKey([7; 32]), &[1; 12], MAX_BLOCKS - 1, &mut stream);
        assert_ne!(stream, [0; CHIP_BYTES]);
    }
}
