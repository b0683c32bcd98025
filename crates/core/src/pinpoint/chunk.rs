//! Searches one chunk (1 KiB) for small changes: one or two bit flips, a changed byte or a changed aligned 16-bit word.
//!
//! A candidate costs the compressions from the first BLAKE3 block (64 bytes) that it changes on, because the states
//! before each block are kept. Of two bit flips the first is compressed only once for all candidates of the second.

use super::compress::{
    BlockWords, CHUNK_END, CHUNK_START, ChainingWords, Parent, ROOT, START, TreePath, Trial, Tweak,
    compress, words_of,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tensorseal_engine::measure::isa::Isa;

/// The length of a chunk in bytes.
pub const CHUNK_LEN: usize = 1024;

/// The length of a BLAKE3 block in bytes.
const BLOCK: usize = 64;

/// The index of a 32-bit word in a chunk, and a mask of its changed bits.
pub(super) type WordChange = (usize, u32);

/// A chunk of the model with its current bytes.
#[derive(Debug)]
pub(super) struct Chunk {
    blocks: Vec<(BlockWords, Tweak)>,
    /// The chaining value before each block.
    states: Vec<ChainingWords>,
    bytes: usize,
    isa: Isa,
}

/// Returns whether the search should end early.
pub(super) type StopCheck<'a> = &'a (dyn Fn() -> bool + Sync);

impl Chunk {
    /// Creates the chunk with the number `counter` in its object. `root` tells whether it is the whole object.
    pub(super) fn new(bytes: &[u8], counter: u64, root: bool) -> Chunk {
        let count = bytes.len().div_ceil(BLOCK).max(1);
        let mut blocks = Vec::with_capacity(count);
        for (index, block) in bytes.chunks(BLOCK).enumerate() {
            let mut flags = if index == 0 { CHUNK_START } else { 0 };
            if index + 1 == count {
                flags |= CHUNK_END | if root { ROOT } else { 0 };
            }
            blocks.push((words_of(block), Tweak { counter, len: block.len() as u32, flags }));
        }
        let mut states = Vec::with_capacity(count);
        let mut state = START;
        for (message, tweak) in &blocks {
            states.push(state);
            state = compress(&state, message, *tweak);
        }
        Chunk { blocks, states, bytes: bytes.len(), isa: Isa::best() }
    }

    #[cfg(test)]
    pub(super) fn with_isa(mut self, isa: Isa) -> Chunk {
        self.isa = isa;
        self
    }

    /// Returns the single bit flip with which the chunk leads to `target` through `parents`.
    pub(super) fn find_bit_flip(
        &self,
        parents: &[Parent],
        target: &ChainingWords,
    ) -> Option<Vec<WordChange>> {
        self.one_word(parents, target, &bits())
    }

    /// Returns the changed byte with which the chunk has the value `target`.
    pub(super) fn find_byte_change(&self, target: &ChainingWords) -> Option<Vec<WordChange>> {
        let mut masks = Vec::with_capacity(4 * 255);
        for byte in 0..4 {
            masks.extend((1..256).map(|mask| mask << (8 * byte)));
        }
        self.one_word(&[], target, &masks)
    }

    /// Returns the changed aligned 16-bit word with which the chunk has the value `target`. Changes of only one byte of the
    /// word are not tried.
    pub(super) fn find_half_word_change(
        &self,
        target: &ChainingWords,
        stop: StopCheck<'_>,
    ) -> Option<Vec<WordChange>> {
        let tried = |high: u32| -> Vec<u32> {
            (0..2u32)
                .flat_map(|half| (1..256).map(move |low| (high << 8 | low) << (16 * half)))
                .collect()
        };
        (1..256u32)
            .into_par_iter()
            .find_map_any(|high| (!stop()).then(|| self.one_word(&[], target, &tried(high)))?)
    }

    /// Returns the two bit flips with which the chunk has the value `target`.
    pub(super) fn find_two_bit_flips(
        &self,
        target: &ChainingWords,
        stop: StopCheck<'_>,
    ) -> Option<Vec<WordChange>> {
        let words = self.bytes.div_ceil(4);
        (0..32 * words).into_par_iter().find_map_any(|first| {
            let (word, bit) = (first / 32, first % 32);
            (!stop()).then(|| self.second_bit(word, bit, target))?
        })
    }

    fn second_bit(
        &self,
        word: usize,
        bit: usize,
        target: &ChainingWords,
    ) -> Option<Vec<WordChange>> {
        let bits = bits();
        let (block, place) = (word / 16, word % 16);
        if bit >= self.bits_in(word) {
            return None;
        }
        let (message, tweak) = self.blocks.get(block)?;
        let mut message = *message;
        message[place] ^= bits[bit];
        let mut state = self.states[block];
        let same = Trial { state: &state, message: &message, words: (0, 0), masks: &[] };
        let second = self
            .scan(
                block,
                &[],
                target,
                &Trial { words: (place, place + 1), masks: &bits[bit + 1..], ..same },
            )
            .or_else(|| {
                self.scan(
                    block,
                    &[],
                    target,
                    &Trial { words: (place + 1, 16), masks: &bits, ..same },
                )
            })
            .or_else(|| {
                state = compress(&state, &message, *tweak);
                for (block, (message, tweak)) in self.blocks.iter().enumerate().skip(block + 1) {
                    let trial = Trial { state: &state, message, words: (0, 16), masks: &bits };
                    let found = self.scan(block, &[], target, &trial);
                    if found.is_some() {
                        return found;
                    }
                    state = compress(&state, message, *tweak);
                }
                None
            })?;
        match second {
            (other, mask) if other == word => Some(vec![(word, mask | bits[bit])]),
            second => Some(vec![(word, bits[bit]), second]),
        }
    }

    /// Tries all words with all masks.
    fn one_word(
        &self,
        parents: &[Parent],
        target: &ChainingWords,
        masks: &[u32],
    ) -> Option<Vec<WordChange>> {
        let blocks = self.blocks.iter().zip(&self.states).enumerate();
        blocks.into_iter().find_map(|(index, ((message, _), state))| {
            let trial = Trial { state, message, words: (0, 16), masks };
            Some(vec![self.scan(index, parents, target, &trial)?])
        })
    }

    /// Runs a trial on the words of a block, within the length of the chunk. Returns the change with the word's index in the
    /// chunk.
    fn scan(
        &self,
        block: usize,
        parents: &[Parent],
        target: &ChainingWords,
        trial: &Trial<'_>,
    ) -> Option<WordChange> {
        let path = TreePath { blocks: &self.blocks[block..], parents, target };
        let (from, to) = trial.words;
        let whole = (self.bytes / 4).saturating_sub(16 * block).min(16);
        let all = Trial { words: (from, to.min(whole)), ..*trial };
        let found = path.scan(&all, self.isa).or_else(|| {
            // The last word may be incomplete.
            let bits_left = self.bits_in(16 * block + whole);
            if bits_left == 0 || !(from..to).contains(&whole) {
                return None;
            }
            let masks: Vec<u32> =
                trial.masks.iter().copied().filter(|mask| mask >> bits_left == 0).collect();
            let last = Trial { words: (whole, whole + 1), masks: &masks, ..*trial };
            path.scan(&last, self.isa)
        })?;
        Some((16 * block + found.0, found.1))
    }

    /// Returns the number of bits of a word that lie within the chunk.
    fn bits_in(&self, word: usize) -> usize {
        8 * self.bytes.saturating_sub(4 * word).min(4)
    }
}

fn bits() -> [u32; 32] {
    std::array::from_fn(|bit| 1 << bit)
}
