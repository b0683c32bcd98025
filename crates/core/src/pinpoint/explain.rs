//! What explains a changed block: pure functions from bytes and sealed values to the change.

use super::chunk::{CHUNK_LEN, StopCheck, WordChange};
use super::compress::state_of;
use super::subtree::{Subtree, chunk_values, merge};
use tensorseal_engine::measure::digest::ChainingValue;

/// Eight bytes of an object that differ from what was sealed, at a multiple of eight; fewer at its end.
/// No element of up to 64 bits lies across two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteDifference {
    /// Position of the first byte in the object.
    pub offset: u64,
    /// How many bytes there are.
    pub len: usize,
    /// As sealed; bytes that are not there are zero.
    pub sealed: [u8; 8],
    /// As found.
    pub found: [u8; 8],
}

impl ByteDifference {
    /// Flipped bits.
    pub fn bits(&self) -> u32 {
        (u64::from_le_bytes(self.sealed) ^ u64::from_le_bytes(self.found)).count_ones()
    }

    /// The bytes that differ: position in the object, sealed, found.
    pub fn bytes(&self) -> impl Iterator<Item = (u64, u8, u8)> + use<> {
        let all = (self.offset..).zip(self.sealed.into_iter().zip(self.found));
        all.map(|(at, (sealed, found))| (at, sealed, found)).filter(|(_, a, b)| a != b)
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchScope {
    /// Every flipped bit.
    Bits,
    /// In one chunk: every flipped bit, every two of them, every changed byte, every changed aligned
    /// word of 16 bits.
    Chunk,
}

/// What became of the bytes of a range, as narrowly as the place of the change is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Half-open, in bytes of the object.
    pub range: [u64; 2],
    /// What was tried.
    pub searched: SearchScope,
    /// The one change that gives the sealed value; empty: none that was tried does.
    pub differences: Vec<ByteDifference>,
}

/// Searches a block whose value is not the sealed one. A block of one chunk has its chunk searched.
pub fn block(subtree: &Subtree<'_>, stop: StopCheck<'_>) -> Explanation {
    if subtree.bytes.len() <= CHUNK_LEN {
        return chunk(subtree, 0, &subtree.sealed, stop);
    }
    let differences = match subtree.find_bit_flip(stop) {
        Some((index, changes)) => differences(subtree, index, &changes),
        None => Vec::new(),
    };
    let range = [subtree.offset, subtree.offset + subtree.bytes.len() as u64];
    Explanation { range, searched: SearchScope::Bits, differences }
}

/// The chunks of a block, by their number in it, whose values are not the sealed ones.
///
/// `None` when the values do not merge to what was sealed of the block.
pub fn changed_chunks(subtree: &Subtree<'_>, sealed: &[ChainingValue]) -> Option<Vec<usize>> {
    if merge(sealed, subtree.root) != Some(subtree.sealed) {
        return None;
    }
    let found = chunk_values(subtree.bytes, subtree.offset);
    if found.len() != sealed.len() {
        return None;
    }
    let differ = sealed.iter().zip(&found).enumerate().filter(|(_, (a, b))| a != b);
    Some(differ.map(|(index, _)| index).collect())
}

/// Searches one chunk of a block for all that is tried of a chunk.
pub fn chunk(
    subtree: &Subtree<'_>,
    index: usize,
    sealed: &ChainingValue,
    stop: StopCheck<'_>,
) -> Explanation {
    let target = state_of(sealed);
    let changes = subtree.chunk(index).and_then(|chunk| {
        // From the smallest change and the cheapest search on.
        (chunk.find_bit_flip(&[], &target))
            .or_else(|| chunk.find_byte_change(&target))
            .or_else(|| chunk.find_two_bit_flips(&target, stop))
            .or_else(|| chunk.find_half_word_change(&target, stop))
    });
    Explanation {
        range: chunk_range(subtree, index),
        searched: SearchScope::Chunk,
        differences: differences(subtree, index, &changes.unwrap_or_default()),
    }
}

/// The bytes of a chunk, in the object.
pub fn chunk_range(subtree: &Subtree<'_>, index: usize) -> [u64; 2] {
    let end = subtree.offset + subtree.bytes.len() as u64;
    let start = subtree.offset + (index * CHUNK_LEN) as u64;
    [start.min(end), (start + CHUNK_LEN as u64).min(end)]
}

/// Changed words of a chunk as differences, in order.
fn differences(subtree: &Subtree<'_>, chunk: usize, changes: &[WordChange]) -> Vec<ByteDifference> {
    let mut all: Vec<ByteDifference> = Vec::new();
    for (word, mask) in changes {
        let at = chunk * CHUNK_LEN + 4 * word;
        let start = at & !7;
        let offset = subtree.offset + start as u64;
        if all.iter().all(|known| known.offset != offset) {
            let bytes = subtree.bytes.get(start..).unwrap_or_default();
            let len = bytes.len().min(8);
            let mut found = [0; 8];
            found[..len].copy_from_slice(&bytes[..len]);
            all.push(ByteDifference { offset, len, sealed: found, found });
        }
        for known in all.iter_mut().filter(|known| known.offset == offset) {
            for (byte, mask) in known.sealed[at - start..].iter_mut().zip(mask.to_le_bytes()) {
                *byte ^= mask;
            }
        }
    }
    all.sort_by_key(|difference| difference.offset);
    all
}

#[cfg(test)]
mod tests;
