//! `digest`: computes the BLAKE3 digest of an object from the chaining values of its 1 MiB blocks.
//!
//! BLAKE3 is a binary tree over 1 KiB chunks (BLAKE3 paper, section 2.1). A block of 1024 chunks at
//! a multiple of 1 MiB is a complete subtree, so its chaining value can be computed from its bytes and
//! position alone. [`root`] merges the chaining values to the digest that `b3sum` prints. Shader twin:
//! `shaders/digest.wgsl` (complete blocks only; the host computes the rest).

use super::BLOCK_LEN;
use blake3::hazmat::{self, HasherExt, Mode};

/// A BLAKE3 chaining value or digest, 32 bytes.
pub type ChainingValue = [u8; 32];

/// CPU kernel: appends the non-root chaining value of every block of `bytes`, the last of which may
/// be shorter. `offset` is the position of `bytes` in the object, a multiple of [`BLOCK_LEN`].
pub fn chaining_values(bytes: &[u8], offset: u64, out: &mut Vec<ChainingValue>) {
    debug_assert!(offset.is_multiple_of(BLOCK_LEN as u64));
    let mut position = offset;
    for block in bytes.chunks(BLOCK_LEN) {
        out.push(chaining_value(block, position));
        position += block.len() as u64;
    }
}

/// Returns the non-root chaining value of one block of 1 to [`BLOCK_LEN`] bytes at position `offset` of
/// its object.
pub fn chaining_value(block: &[u8], offset: u64) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(block);
    hasher.finalize_non_root()
}

/// Returns the number of blocks in an object of `len` bytes.
pub fn block_count(len: u64) -> u64 {
    len.div_ceil(BLOCK_LEN as u64)
}

/// Merges the chaining values of all blocks of an object of `len` bytes to its BLAKE3 digest.
///
/// Returns `None` if the number of blocks does not match `len`, or if the object has fewer than two
/// blocks: a single block is the root, and its digest cannot be computed from a chaining value.
pub fn root(blocks: &[ChainingValue], len: u64) -> Option<ChainingValue> {
    if blocks.len() < 2 || block_count(len) != blocks.len() as u64 {
        return None;
    }
    let left = hazmat::left_subtree_len(len);
    let (left_blocks, right_blocks) = split(blocks, left);
    let left_value = subtree(left_blocks, left);
    let right_value = subtree(right_blocks, len - left);
    Some(*hazmat::merge_subtrees_root(&left_value, &right_value, Mode::Hash).as_bytes())
}

fn subtree(blocks: &[ChainingValue], len: u64) -> ChainingValue {
    if let [only] = blocks {
        return *only;
    }
    let left = hazmat::left_subtree_len(len);
    let (left_blocks, right_blocks) = split(blocks, left);
    hazmat::merge_subtrees_non_root(
        &subtree(left_blocks, left),
        &subtree(right_blocks, len - left),
        Mode::Hash,
    )
}

/// Splits the blocks after a left subtree of `left` bytes, which is a power of two of whole blocks.
fn split(blocks: &[ChainingValue], left: u64) -> (&[ChainingValue], &[ChainingValue]) {
    blocks.split_at((left / BLOCK_LEN as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn blocks_merge_to_the_plain_digest() {
        for len in [
            BLOCK_LEN + 1,
            2 * BLOCK_LEN,
            2 * BLOCK_LEN + 1023,
            5 * BLOCK_LEN + 1024,
            7 * BLOCK_LEN,
            8 * BLOCK_LEN - 1,
        ] {
            let bytes = sample(len);
            let mut blocks = Vec::new();
            chaining_values(&bytes, 0, &mut blocks);
            assert_eq!(root(&blocks, len as u64), Some(*blake3::hash(&bytes).as_bytes()), "{len}");
        }
    }

    #[test]
    fn any_split_at_blocks_gives_the_same_values() {
        let bytes = sample(5 * BLOCK_LEN + 77);
        let mut whole = Vec::new();
        chaining_values(&bytes, 0, &mut whole);
        for cut in 1..=5 {
            let (left, right) = bytes.split_at(cut * BLOCK_LEN);
            let mut parts = Vec::new();
            chaining_values(left, 0, &mut parts);
            chaining_values(right, left.len() as u64, &mut parts);
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn a_wrong_number_of_blocks_is_no_digest() {
        let blocks = vec![[0; 32]; 3];
        assert_eq!(root(&blocks, BLOCK_LEN as u64 * 2), None);
        assert_eq!(root(&blocks, BLOCK_LEN as u64 * 3 + 1), None);
        assert_eq!(root(&blocks[..1], 5), None);
        assert_eq!(root(&[], 0), None);
    }
}
