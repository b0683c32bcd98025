//! The compression function of BLAKE3 on several candidates at once, and the scan over all values that a word may have
//! had.
//!
//! Source: J. O'Connor, J.-P. Aumasson, S. Neves, Z. Wilcox-O'Hearn, *BLAKE3: one function, fast
//! everywhere*, 2021, sections 2.1 to 2.4. The tests compare it with the `blake3` crate.

use super::vector::{Four, MAX_LANES, Vector};
use tensorseal_engine::measure::isa::{Isa, VectorKernel};

/// A chaining value as words.
pub(super) type ChainingWords = [u32; 8];

/// A block of 64 bytes as words.
pub(super) type BlockWords = [u32; 16];

const IV: ChainingWords = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

pub(super) const CHUNK_START: u32 = 1;
pub(super) const CHUNK_END: u32 = 2;
pub(super) const PARENT: u32 = 4;
pub(super) const ROOT: u32 = 8;

/// The message word that each step takes, by round: the permutation of section 2.2, applied repeatedly.
const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rounds = [[0; 16]; 7];
    let mut word = 0;
    while word < 16 {
        rounds[0][word] = word;
        word += 1;
    }
    let mut round = 1;
    while round < 7 {
        word = 0;
        while word < 16 {
            rounds[round][word] = rounds[round - 1][PERMUTATION[word]];
            word += 1;
        }
        round += 1;
    }
    rounds
};

/// The further inputs of a compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tweak {
    /// The number of the chunk in the object; 0 for a parent.
    pub counter: u64,
    /// The length of the block in bytes.
    pub len: u32,
    /// The flags of the block.
    pub flags: u32,
}

#[inline(always)]
unsafe fn mix<V: Vector>(v: &mut [V; 16], [a, b, c, d]: [usize; 4], x: V, y: V) {
    // SAFETY: the caller guarantees the instruction set.
    unsafe {
        v[a] = v[a].add(v[b]).add(x);
        v[d] = v[d].xor(v[a]).rotate::<16, 16>();
        v[c] = v[c].add(v[d]);
        v[b] = v[b].xor(v[c]).rotate::<12, 20>();
        v[a] = v[a].add(v[b]).add(y);
        v[d] = v[d].xor(v[a]).rotate::<8, 24>();
        v[c] = v[c].add(v[d]);
        v[b] = v[b].xor(v[c]).rotate::<7, 25>();
    }
}

/// Runs one compression in every lane.
#[inline(always)]
unsafe fn compress_lanes<V: Vector>(state: &[V; 8], m: &[V; 16], tweak: Tweak) -> [V; 8] {
    // SAFETY: the caller guarantees the instruction set.
    unsafe {
        let [a, b, c, d, e, f, g, h] = *state;
        let mut v = [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            V::splat(IV[0]),
            V::splat(IV[1]),
            V::splat(IV[2]),
            V::splat(IV[3]),
            V::splat(tweak.counter as u32),
            V::splat((tweak.counter >> 32) as u32),
            V::splat(tweak.len),
            V::splat(tweak.flags),
        ];
        macro_rules! round {
            ($($round:literal)*) => {$(
                const { assert!($round < 7) };
                let s = const { SCHEDULE[$round] };
                mix(&mut v, [0, 4, 8, 12], m[s[0]], m[s[1]]);
                mix(&mut v, [1, 5, 9, 13], m[s[2]], m[s[3]]);
                mix(&mut v, [2, 6, 10, 14], m[s[4]], m[s[5]]);
                mix(&mut v, [3, 7, 11, 15], m[s[6]], m[s[7]]);
                mix(&mut v, [0, 5, 10, 15], m[s[8]], m[s[9]]);
                mix(&mut v, [1, 6, 11, 12], m[s[10]], m[s[11]]);
                mix(&mut v, [2, 7, 8, 13], m[s[12]], m[s[13]]);
                mix(&mut v, [3, 4, 9, 14], m[s[14]], m[s[15]]);
            )*};
        }
        round!(0 1 2 3 4 5 6);
        [
            v[0].xor(v[8]),
            v[1].xor(v[9]),
            v[2].xor(v[10]),
            v[3].xor(v[11]),
            v[4].xor(v[12]),
            v[5].xor(v[13]),
            v[6].xor(v[14]),
            v[7].xor(v[15]),
        ]
    }
}

/// Runs a single compression.
pub(super) fn compress(state: &ChainingWords, message: &BlockWords, tweak: Tweak) -> ChainingWords {
    // SAFETY: plain words need no instruction set.
    unsafe { compress_lanes(state, message, tweak) }
}

/// The initial state of chunks and parents.
pub(super) const START: ChainingWords = IV;

/// A parent on the path from a chunk to the known value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    /// The chaining value of the other child.
    pub sibling: ChainingWords,
    /// Whether the other child is the left one.
    pub sibling_is_left: bool,
    /// [`PARENT`], with [`ROOT`] for the root of an object.
    pub flags: u32,
}

/// The compressions from a block of a chunk up to the known value.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreePath<'a> {
    /// The block and those after it in its chunk.
    pub blocks: &'a [(BlockWords, Tweak)],
    /// The parents, from the chunk upward.
    pub parents: &'a [Parent],
    /// The known value.
    pub target: &'a ChainingWords,
}

/// The changes that are tried in the first block of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    /// The state before the block.
    pub state: &'a ChainingWords,
    /// The words of the block, of which one is changed at a time.
    pub message: &'a BlockWords,
    /// The half-open range of words that are changed.
    pub words: (usize, usize),
    /// The masks that each word is combined with by exclusive or.
    pub masks: &'a [u32],
}

impl TreePath<'_> {
    /// Returns the value at the end of the path, from this state and this first block.
    fn end(&self, state: &ChainingWords, message: &BlockWords) -> ChainingWords {
        let mut blocks = self.blocks.iter();
        let Some((_, tweak)) = blocks.next() else { return *state };
        let mut state = compress(state, message, *tweak);
        for (message, tweak) in blocks {
            state = compress(&state, message, *tweak);
        }
        for parent in self.parents {
            state = compress(&START, &parent.message(&state), parent.tweak());
        }
        state
    }

    /// Tries all words with all masks, and returns the word and the mask that lead to the target.
    pub(super) fn scan(&self, trial: &Trial<'_>, isa: Isa) -> Option<(usize, u32)> {
        if self.blocks.is_empty() {
            return None;
        }
        isa.run(MaskScan { path: self, trial })
    }
}

impl Parent {
    fn tweak(&self) -> Tweak {
        Tweak { counter: 0, len: 64, flags: self.flags }
    }

    fn message(&self, child: &ChainingWords) -> BlockWords {
        let (left, right) =
            if self.sibling_is_left { (&self.sibling, child) } else { (child, &self.sibling) };
        std::array::from_fn(|word| if word < 8 { left[word] } else { right[word - 8] })
    }
}

/// The vectorised scan of a trial.
struct MaskScan<'a> {
    path: &'a TreePath<'a>,
    trial: &'a Trial<'a>,
}

impl VectorKernel for MaskScan<'_> {
    type Output = Option<(usize, u32)>;

    const WIDE: bool = true;

    #[inline(always)]
    fn run(self) -> Self::Output {
        // SAFETY: `Four` needs no instruction set beyond the baseline.
        unsafe { scan_lanes::<Four>(self.path, self.trial) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) -> Self::Output {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { scan_lanes::<std::arch::x86_64::__m256i>(self.path, self.trial) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) -> Self::Output {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { scan_lanes::<std::arch::x86_64::__m512i>(self.path, self.trial) }
    }
}

#[inline(always)]
unsafe fn splat_all<V: Vector, const N: usize>(words: &[u32; N]) -> [V; N] {
    // SAFETY: the caller guarantees the instruction set.
    unsafe {
        // A loop, because a closure would be a call per word in builds without optimisation.
        let mut lanes = [V::splat(0); N];
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = V::splat(*word);
        }
        lanes
    }
}

#[inline(always)]
unsafe fn scan_lanes<V: Vector>(path: &TreePath<'_>, trial: &Trial<'_>) -> Option<(usize, u32)> {
    let (_, first) = path.blocks.first()?;
    // SAFETY: the caller guarantees the instruction set.
    unsafe {
        let start = splat_all::<V, 8>(&START);
        let state = splat_all::<V, 8>(trial.state);
        let mut message = splat_all::<V, 16>(trial.message);
        let target = V::splat(path.target[0]);
        for word in trial.words.0..trial.words.1.min(16) {
            let same = V::splat(trial.message[word]);
            for masks in trial.masks.chunks(V::LANES) {
                // Lanes beyond the last mask try the unchanged word, which is never the target.
                let mut padded = [0; MAX_LANES];
                padded[..masks.len()].copy_from_slice(masks);
                message[word] = same.xor(V::load(&padded));
                let mut value = compress_lanes(&state, &message, *first);
                for (block, tweak) in &path.blocks[1..] {
                    value = compress_lanes(&value, &splat_all::<V, 16>(block), *tweak);
                }
                for parent in path.parents {
                    let [a, b, c, d, e, f, g, h] = value;
                    let [i, j, k, l, m, n, o, p] = splat_all::<V, 8>(&parent.sibling);
                    let message = if parent.sibling_is_left {
                        [i, j, k, l, m, n, o, p, a, b, c, d, e, f, g, h]
                    } else {
                        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
                    };
                    value = compress_lanes(&start, &message, parent.tweak());
                }
                let mut hits = value[0].equal(target);
                while hits != 0 {
                    let lane = hits.trailing_zeros() as usize;
                    hits &= hits - 1;
                    let mut tried = *trial.message;
                    tried[word] ^= padded[lane];
                    if padded[lane] != 0 && path.end(trial.state, &tried) == *path.target {
                        return Some((word, padded[lane]));
                    }
                }
            }
            message[word] = same;
        }
    }
    None
}

/// Returns the words of a block. Missing bytes are zero.
pub(super) fn words_of(bytes: &[u8]) -> BlockWords {
    let mut block = [0; 64];
    let len = bytes.len().min(64);
    block[..len].copy_from_slice(&bytes[..len]);
    let words = block.as_chunks::<4>().0;
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}

/// Returns a chaining value as words.
pub(super) fn state_of(value: &[u8; 32]) -> ChainingWords {
    let words = value.as_chunks::<4>().0;
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}
