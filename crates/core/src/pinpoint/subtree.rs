//! The tree of BLAKE3 over the chunks of a block: the way from each chunk up to the value that is
//! known.

use super::chunk::{CHUNK_LEN, Chunk, StopCheck, WordChange};
use super::compress::{PARENT, Parent, ROOT, state_of};
use blake3::hazmat::{Mode, merge_subtrees_non_root};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use tensorseal_engine::measure::digest::{ChainingValue, chaining_value};

/// Bytes as they were found, whose value was sealed: a block (1 MiB) of an object, or a whole object
/// of at most that.
#[derive(Debug, Clone, Copy)]
pub struct Subtree<'a> {
    /// The bytes that are there now.
    pub bytes: &'a [u8],
    /// Their position in the object, a multiple of [`BLOCK_LEN`](tensorseal_engine::measure::BLOCK_LEN).
    pub offset: u64,
    /// Whether they are the whole object, so that its digest is known and not a chaining value.
    pub root: bool,
    /// What was sealed of them.
    pub sealed: ChainingValue,
}

impl<'a> Subtree<'a> {
    /// Its chunks: their number in the object and their bytes.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        (self.offset / CHUNK_LEN as u64..).zip(self.bytes.chunks(CHUNK_LEN))
    }

    /// The chunk of this number in the subtree, as it was found.
    pub(super) fn chunk(&self, index: usize) -> Option<Chunk> {
        let (counter, bytes) = self.chunks().nth(index)?;
        Some(Chunk::new(bytes, counter, self.root && self.bytes.len() <= CHUNK_LEN))
    }

    /// The one flipped bit that explains the sealed value: the chunk, and the word and bits in it.
    pub(super) fn find_bit_flip(&self, stop: StopCheck<'_>) -> Option<(usize, Vec<WordChange>)> {
        let ways = ways(&chunk_values(self.bytes, self.offset), self.root);
        let target = state_of(&self.sealed);
        ways.par_iter().enumerate().with_max_len(1).find_map_any(|(index, way)| {
            if stop() {
                return None;
            }
            Some((index, self.chunk(index)?.find_bit_flip(way, &target)?))
        })
    }
}

/// The non-root chaining values of the chunks of `bytes`, which lie `offset` into their object.
pub fn chunk_values(bytes: &[u8], offset: u64) -> Vec<ChainingValue> {
    let value = |(index, chunk)| chaining_value(chunk, offset + (index * CHUNK_LEN) as u64);
    bytes.par_chunks(CHUNK_LEN).enumerate().with_min_len(128).map(value).collect()
}

/// Merges the values of all chunks of a subtree; `None` of no chunks, and of a root that is one
/// chunk: its digest is not made from its chaining value.
pub fn merge(values: &[ChainingValue], root: bool) -> Option<ChainingValue> {
    match values {
        [] => None,
        [only] => (!root).then_some(*only),
        _ if root => {
            let (left, right) = values.split_at(left_len(values.len()));
            let (left, right) = (subtree_value(left), subtree_value(right));
            Some(*blake3::hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
        }
        _ => Some(subtree_value(values)),
    }
}

/// Of at least one chunk.
fn subtree_value(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let (left, right) = values.split_at(left_len(values.len()));
            merge_subtrees_non_root(&subtree_value(left), &subtree_value(right), Mode::Hash)
        }
    }
}

/// Chunks of the left child: the largest power of two that leaves some for the right one (BLAKE3
/// paper, section 2.1).
fn left_len(chunks: usize) -> usize {
    1 << (chunks - 1).ilog2()
}

/// By chunk, the parents from it to the top.
fn ways(values: &[ChainingValue], root: bool) -> Vec<Vec<Parent>> {
    let mut ways = Vec::with_capacity(values.len());
    let flags = PARENT | if root { ROOT } else { 0 };
    descend(values, flags, &mut Vec::new(), &mut ways);
    ways
}

fn descend(
    values: &[ChainingValue],
    flags: u32,
    above: &mut Vec<Parent>,
    ways: &mut Vec<Vec<Parent>>,
) {
    if values.len() < 2 {
        ways.extend((!values.is_empty()).then(|| above.iter().rev().copied().collect()));
        return;
    }
    let (left, right) = values.split_at(left_len(values.len()));
    for (child, sibling, sibling_is_left) in [(left, right, false), (right, left, true)] {
        let sibling = state_of(&subtree_value(sibling));
        above.push(Parent { sibling, sibling_is_left, flags });
        descend(child, PARENT, above, ways);
        above.pop();
    }
}
