//! Explains a changed block: pure functions from bytes and sealed values to the smallest change.

use super::chunk::{CHUNK_LEN, StopCheck, WordChange};
use super::compress::state_of;
use super::subtree::{Subtree, chunk_values, merge};
use tensorseal_engine::measure::digest::ChainingValue;

/// Eight bytes of an object, at a multiple of eight, that differ from the sealed bytes. There can be fewer at the end of
/// the object. No element of up to 64 bits crosses two differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteDifference {
    /// The position of the first byte in the object.
    pub offset: u64,
    /// The number of bytes.
    pub len: usize,
    /// The sealed bytes, padded with zeros.
    pub sealed: [u8; 8],
    /// The bytes that were found, padded with zeros.
    pub found: [u8; 8],
}

impl ByteDifference {
    /// Returns the number of flipped bits.
    pub fn bits(&self) -> u32 {
        (u64::from_le_bytes(self.sealed) ^ u64::from_le_bytes(self.found)).count_ones()
    }

    /// Returns the bytes that differ: the position in the object, the sealed and the found byte.
    pub fn bytes(&self) -> impl Iterator<Item = (u64, u8, u8)> + use<> {
        let all = (self.offset..).zip(self.sealed.into_iter().zip(self.found));
        all.map(|(at, (sealed, found))| (at, sealed, found)).filter(|(_, a, b)| a != b)
    }
}

/// Which changes a search tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchScope {
    /// Every single bit flip.
    Bits,
    /// In one chunk, every one or two bit flips, every changed byte and every changed aligned 16-bit word.
    Chunk,
}

/// The result of the search in a byte range, which is as narrow as the place of the change is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The half-open byte range in the object.
    pub range: [u64; 2],
    /// Which changes were tried.
    pub searched: SearchScope,
    /// The change that gives the sealed value; empty if no change that was tried does.
    pub differences: Vec<ByteDifference>,
}

/// Searches a block whose value differs from the sealed one for a bit flip. A block of a single chunk is searched with
/// [`chunk`].
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

/// Returns the indices of the chunks of a block whose values differ from the sealed ones.
///
/// Returns `None` if the values do not merge to the sealed value of the block.
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

/// Searches one chunk of a block for all changes of [`SearchScope::Chunk`].
pub fn chunk(
    subtree: &Subtree<'_>,
    index: usize,
    sealed: &ChainingValue,
    stop: StopCheck<'_>,
) -> Explanation {
    let target = state_of(sealed);
    let changes = subtree.chunk(index).and_then(|chunk| {
        // Smaller changes and cheaper searches come first.
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

/// Returns the byte range of a chunk in the object.
pub fn chunk_range(subtree: &Subtree<'_>, index: usize) -> [u64; 2] {
    let end = subtree.offset + subtree.bytes.len() as u64;
    let start = subtree.offset + (index * CHUNK_LEN) as u64;
    [start.min(end), (start + CHUNK_LEN as u64).min(end)]
}

/// Converts changed words of a chunk to differences, in order.
fn differences(subtree: &Subtree<'_>, chunk: usize, changes: &[WordChange]) -> Vec<ByteDifference> {
    let mut all: Vec<ByteDifference> = Vec::new();
    for (word, mask) in changes {
        let at = chunk * CHUNK_LEN + 4 * word;
        let start = at & !7;
        let offset = subtree.offset + start as u64;
        if all.iter().all(|difference| difference.offset != offset) {
            let bytes = subtree.bytes.get(start..).unwrap_or_default();
            let len = bytes.len().min(8);
            let mut found = [0; 8];
            found[..len].copy_from_slice(&bytes[..len]);
            all.push(ByteDifference { offset, len, sealed: found, found });
        }
        for difference in all.iter_mut().filter(|difference| difference.offset == offset) {
            for (byte, mask) in difference.sealed[at - start..].iter_mut().zip(mask.to_le_bytes()) {
                *byte ^= mask;
            }
        }
    }
    all.sort_by_key(|difference| difference.offset);
    all
}

#[cfg(test)]
mod tests;
