//! The BLAKE3 tree over the chunks of a block, and the path from each chunk up to the known value.

use super::chunk::{CHUNK_LEN, Chunk, StopCheck, WordChange};
use super::compress::{PARENT, Parent, ROOT, state_of};
use blake3::hazmat::{Mode, merge_subtrees_non_root};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use tensorseal_engine::measure::digest::{ChainingValue, chaining_value};

/// Bytes of a model whose value was sealed: a block (1 MiB) of an object, or a whole object of at most that size.
#[derive(Debug, Clone, Copy)]
pub struct Subtree<'a> {
    /// The current bytes.
    pub bytes: &'a [u8],
    /// The position of the bytes in the object, a multiple of [`BLOCK_LEN`](tensorseal_engine::measure::BLOCK_LEN).
    pub offset: u64,
    /// Whether the bytes are the whole object, so that `sealed` is its digest and not a chaining value.
    pub root: bool,
    /// The sealed value of the bytes.
    pub sealed: ChainingValue,
}

impl<'a> Subtree<'a> {
    /// Returns the chunks: their number in the object and their bytes.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        (self.offset / CHUNK_LEN as u64..).zip(self.bytes.chunks(CHUNK_LEN))
    }

    /// Returns the chunk with this index in the subtree.
    pub(super) fn chunk(&self, index: usize) -> Option<Chunk> {
        let (counter, bytes) = self.chunks().nth(index)?;
        Some(Chunk::new(bytes, counter, self.root && self.bytes.len() <= CHUNK_LEN))
    }

    /// Returns the single bit flip that explains the sealed value: the index of the chunk, and the change in it.
    pub(super) fn find_bit_flip(&self, stop: StopCheck<'_>) -> Option<(usize, Vec<WordChange>)> {
        let paths = paths(&chunk_values(self.bytes, self.offset), self.root);
        let target = state_of(&self.sealed);
        paths.par_iter().enumerate().with_max_len(1).find_map_any(|(index, path)| {
            if stop() {
                return None;
            }
            Some((index, self.chunk(index)?.find_bit_flip(path, &target)?))
        })
    }
}

/// Returns the non-root chaining values of the chunks of `bytes`, which begin `offset` bytes into their object.
pub fn chunk_values(bytes: &[u8], offset: u64) -> Vec<ChainingValue> {
    let value = |(index, chunk)| chaining_value(chunk, offset + (index * CHUNK_LEN) as u64);
    bytes.par_chunks(CHUNK_LEN).enumerate().with_min_len(128).map(value).collect()
}

/// Merges the values of all chunks of a subtree. Returns `None` without chunks, and for a root of a single chunk, whose
/// digest does not follow from its chaining value.
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

/// Returns the chaining value of a subtree of at least one chunk.
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

/// Returns the number of chunks in the left child: the largest power of two that leaves some for the right child
/// (BLAKE3 paper, section 2.1).
fn left_len(chunks: usize) -> usize {
    1 << (chunks - 1).ilog2()
}

/// Returns, for each chunk, the parents from it up to the root.
fn paths(values: &[ChainingValue], root: bool) -> Vec<Vec<Parent>> {
    let mut paths = Vec::with_capacity(values.len());
    let flags = PARENT | if root { ROOT } else { 0 };
    descend(values, flags, &mut Vec::new(), &mut paths);
    paths
}

fn descend(
    values: &[ChainingValue],
    flags: u32,
    above: &mut Vec<Parent>,
    paths: &mut Vec<Vec<Parent>>,
) {
    if values.len() < 2 {
        paths.extend((!values.is_empty()).then(|| above.iter().rev().copied().collect()));
        return;
    }
    let (left, right) = values.split_at(left_len(values.len()));
    for (child, sibling, sibling_is_left) in [(left, right, false), (right, left, true)] {
        let sibling = state_of(&subtree_value(sibling));
        above.push(Parent { sibling, sibling_is_left, flags });
        descend(child, PARENT, above, paths);
        above.pop();
    }
}
