//! Vectors of 32-bit words, which the compression function is generic over.
//!
//! One implementation serves all instruction sets. The vectors are explicit, because compilers do not vectorise loops
//! over arrays in builds without optimisation.

/// A vector of 32-bit words.
///
/// # Safety
/// The methods may be called only if the processor has the instruction set of the vector.
pub(super) trait Vector: Copy {
    /// The number of words in a vector, a divisor of [`MAX_LANES`].
    const LANES: usize;

    /// Returns a vector with the same word in every lane.
    unsafe fn splat(word: u32) -> Self;

    /// Loads the first [`Vector::LANES`] of these words.
    unsafe fn load(words: &[u32; MAX_LANES]) -> Self;

    /// Returns the wrapping sums of the lanes.
    unsafe fn add(self, other: Self) -> Self;

    /// Returns the exclusive or of the lanes.
    unsafe fn xor(self, other: Self) -> Self;

    /// Rotates each lane right by `RIGHT` bits; `RIGHT + LEFT` must be 32.
    unsafe fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self;

    /// Returns a bit mask of the lanes that are equal, with lane 0 in the lowest bit.
    unsafe fn equal(self, other: Self) -> u32;
}

/// The number of lanes of the widest vector.
pub(super) const MAX_LANES: usize = 16;

impl Vector for u32 {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        word
    }

    #[inline(always)]
    unsafe fn load(words: &[u32; MAX_LANES]) -> Self {
        words[0]
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    unsafe fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
        self.rotate_right(RIGHT as u32)
    }

    #[inline(always)]
    unsafe fn equal(self, other: Self) -> u32 {
        u32::from(self == other)
    }
}

/// Four words, which every 64-bit processor has vector registers for. Compilers vectorise these operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Four([u32; 4]);

impl Vector for Four {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Four([word; 4])
    }

    #[inline(always)]
    unsafe fn load(words: &[u32; MAX_LANES]) -> Self {
        Four([words[0], words[1], words[2], words[3]])
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Four([a.wrapping_add(e), b.wrapping_add(f), c.wrapping_add(g), d.wrapping_add(h)])
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Four([a ^ e, b ^ f, c ^ g, d ^ h])
    }

    #[inline(always)]
    unsafe fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
        Four(self.0.map(|word| word.rotate_right(RIGHT as u32)))
    }

    #[inline(always)]
    unsafe fn equal(self, other: Self) -> u32 {
        let lanes = self.0.iter().zip(other.0).enumerate();
        lanes.map(|(lane, (a, b))| u32::from(*a == b) << lane).sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{MAX_LANES, Vector};
    use std::arch::x86_64::*;

    // SAFETY of all blocks: the caller guarantees the instruction set, and loads read arrays that are at least
    // as long as the vector.

    impl Vector for __m256i {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(word: u32) -> Self {
            unsafe { _mm256_set1_epi32(word as i32) }
        }

        #[inline(always)]
        unsafe fn load(words: &[u32; MAX_LANES]) -> Self {
            unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm256_add_epi32(self, other) }
        }

        #[inline(always)]
        unsafe fn xor(self, other: Self) -> Self {
            unsafe { _mm256_xor_si256(self, other) }
        }

        #[inline(always)]
        unsafe fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
            // Whole bytes move in one instruction.
            unsafe {
                match RIGHT {
                    16 => {
                        let places = _mm256_broadcastsi128_si256(_mm_set_epi8(
                            13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2,
                        ));
                        _mm256_shuffle_epi8(self, places)
                    }
                    8 => {
                        let places = _mm256_broadcastsi128_si256(_mm_set_epi8(
                            12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1,
                        ));
                        _mm256_shuffle_epi8(self, places)
                    }
                    _ => _mm256_or_si256(
                        _mm256_srli_epi32::<RIGHT>(self),
                        _mm256_slli_epi32::<LEFT>(self),
                    ),
                }
            }
        }

        #[inline(always)]
        unsafe fn equal(self, other: Self) -> u32 {
            unsafe {
                let equal = _mm256_cmpeq_epi32(self, other);
                _mm256_movemask_ps(_mm256_castsi256_ps(equal)) as u32
            }
        }
    }

    impl Vector for __m512i {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(word: u32) -> Self {
            unsafe { _mm512_set1_epi32(word as i32) }
        }

        #[inline(always)]
        unsafe fn load(words: &[u32; MAX_LANES]) -> Self {
            unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm512_add_epi32(self, other) }
        }

        #[inline(always)]
        unsafe fn xor(self, other: Self) -> Self {
            unsafe { _mm512_xor_si512(self, other) }
        }

        #[inline(always)]
        unsafe fn rotate<const RIGHT: i32, const LEFT: i32>(self) -> Self {
            unsafe { _mm512_ror_epi32::<RIGHT>(self) }
        }

        #[inline(always)]
        unsafe fn equal(self, other: Self) -> u32 {
            unsafe { u32::from(_mm512_cmpeq_epi32_mask(self, other)) }
        }
    }
}
