//! Detects the instruction sets of the processor once, and compiles kernels for each of them.
//!
//! The same source of a kernel serves all sets: the default set of x86-64 has vectors of four words, and
//! loops over arrays of known length use the widest vectors available. Some kernels have separate code for
//! wider vectors. Only this module detects features of the processor and compiles for more than the
//! default set; other architectures use their default set only.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A kernel that is compiled once for each instruction set. Its methods, and the functions that they call,
/// must be `#[inline(always)]`, because other functions are compiled for the default set. (Closures cannot
/// have that attribute.)
pub trait VectorKernel: Sized {
    /// The result of the kernel.
    type Output;

    /// Whether the kernel is faster with AVX-512 than with AVX2.
    const WIDE: bool = false;

    /// Runs the kernel.
    fn run(self) -> Self::Output;

    /// Runs the kernel with AVX2.
    ///
    /// # Safety
    /// The processor must have the features of [`Isa`] for AVX2.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) -> Self::Output {
        self.run()
    }

    /// Runs the kernel with AVX-512, if it is [wide](VectorKernel::WIDE).
    ///
    /// # Safety
    /// The processor must have the features of [`Isa`] for AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) -> Self::Output {
        self.run()
    }
}

/// An instruction set that this processor has. Values for other sets cannot be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(IsaLevel);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum IsaLevel {
    /// The features that every processor of the architecture has.
    Portable = 1,
    /// AVX2, and the features of processors that have it: POPCNT, BMI1, BMI2, LZCNT.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW and VL in addition.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The set in use as an [`IsaLevel`]; 0 if it is not yet detected.
static IN_USE: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// The set that every processor has.
    pub const PORTABLE: Isa = Isa(IsaLevel::Portable);

    /// Returns the best set of this processor.
    #[inline(always)]
    pub fn best() -> Isa {
        match IN_USE.load(Relaxed) {
            #[cfg(target_arch = "x86_64")]
            3 => Isa(IsaLevel::Avx512),
            #[cfg(target_arch = "x86_64")]
            2 => Isa(IsaLevel::Avx2),
            1 => Isa::PORTABLE,
            _ => Isa::find_out(),
        }
    }

    #[cold]
    fn find_out() -> Isa {
        let best = Isa::available().last().copied().unwrap_or(Isa::PORTABLE);
        IN_USE.store(best.0 as u8, Relaxed);
        best
    }

    /// Returns all sets of this processor, the best one last.
    pub fn available() -> Vec<Isa> {
        let mut all = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
        {
            all.push(Isa(IsaLevel::Avx2));
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
            {
                all.push(Isa(IsaLevel::Avx512));
            }
        }
        all
    }

    /// Runs `kernel` compiled for this set.
    #[inline(always)]
    pub fn run<K: VectorKernel>(self, kernel: K) -> K::Output {
        match self.0 {
            IsaLevel::Portable => kernel.run(),
            // SAFETY: such a value exists only if the processor has the features.
            #[cfg(target_arch = "x86_64")]
            IsaLevel::Avx512 if K::WIDE => unsafe { avx512(kernel) },
            // SAFETY: as above; AVX-512 implies AVX2.
            #[cfg(target_arch = "x86_64")]
            IsaLevel::Avx2 | IsaLevel::Avx512 => unsafe { avx2(kernel) },
        }
    }

    /// Makes this the [best](Isa::best) set of the whole process until the returned guard is dropped, for
    /// tests that compare sets. Only one guard may exist at a time.
    #[doc(hidden)]
    pub fn force(self) -> Forced {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        IN_USE.store(self.0 as u8, Relaxed);
        Forced(alone)
    }
}

/// The guard that [`Isa::force`] returns.
#[doc(hidden)]
pub struct Forced(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Drop for Forced {
    fn drop(&mut self) {
        // The set is detected again when it is next used.
        IN_USE.store(0, Relaxed);
    }
}

/// Runs `kernel` compiled for the best set that this processor has.
#[inline(always)]
pub fn vectorised<K: VectorKernel>(kernel: K) -> K::Output {
    Isa::best().run(kernel)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
fn avx2<K: VectorKernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled with the features.
    unsafe { kernel.run_avx2() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512vl")]
fn avx512<K: VectorKernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled with the features.
    unsafe { kernel.run_avx512() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::chips::ChipKey;
    use crate::measure::correlation::{Carrier, ElementFormat};
    use crate::measure::structure::StructureLayout;
    use crate::measure::{BLOCK_LEN, KernelSet, WordFormat, measure_part};
    use tensorseal_base::dtype::Dtype;
    use tensorseal_base::quantised::{HALO_LEN, edge_scales};

    /// The number of bytes that are measured; a halo follows them.
    const LEN: usize = BLOCK_LEN / 4;

    /// Noise with some constant pages, zeros and values of every class.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; LEN + HALO_LEN];
        blake3::Hasher::new().update(b"instruction sets").finalize_xof().fill(&mut bytes);
        bytes[64 << 10..128 << 10].fill(0x3C);
        bytes[200 << 10..204 << 10].fill(0);
        for (word, class) in bytes.as_chunks_mut::<4>().0.iter_mut().step_by(61).zip((0..9).cycle())
        {
            let edges = [0, 1, 1 << 31, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x0080_0000, 7, 9];
            *word = u32::to_le_bytes(edges[class]);
        }
        bytes
    }

    #[test]
    fn the_best_is_one_of_those_that_are_there() {
        let available = Isa::available();
        assert_eq!(available[0], Isa::PORTABLE);
        assert!(available.is_sorted());
        for isa in available {
            let forced = isa.force();
            assert_eq!(Isa::best(), isa);
            drop(forced);
        }
    }

    /// Every kernel gives the same result with every set of the processor.
    #[test]
    fn every_set_measures_the_same() {
        let (plain, keys) = (sample(), [ChipKey([0x5A; 32]), ChipKey([0xC3; 32])]);
        let floats = [Dtype::F8_E4M3, Dtype::BF16, Dtype::F16, Dtype::F32];
        let mut cases: Vec<(Vec<u8>, KernelSet)> = Vec::new();
        for words in WordFormat::ALL {
            cases.push((plain.clone(), words.into()));
        }
        for (dtype, columns) in floats.into_iter().zip([33, 1000, 70_001, 100]) {
            let layout =
                StructureLayout { phase: 64, elements: ElementFormat::from_dtype(dtype), columns };
            let carrier = Carrier::from_dtype(dtype, [7; 12]);
            let kernels = KernelSet { carrier, layout: Some(layout), ..KernelSet::DIGEST };
            cases.push((plain.clone(), kernels));
        }
        for dtype in Dtype::block_quantised() {
            let mut bytes = plain.clone();
            let len = 400 * dtype.granule().0 as usize;
            edge_scales::fill_edge_scales(dtype, &mut bytes[..len]);
            let carrier = Carrier::from_dtype(dtype, [7; 12]);
            cases.push((bytes, KernelSet { codes: Some(dtype), carrier, ..KernelSet::DIGEST }));
        }
        for (bytes, kernels) in cases {
            let measured = |isa: Isa| {
                let _forced = isa.force();
                measure_part(&bytes, LEN, 3 * BLOCK_LEN as u64, kernels, &keys)
            };
            let expected = measured(Isa::PORTABLE);
            for isa in Isa::available() {
                assert!(measured(isa) == expected, "{isa:?} {kernels:?}");
            }
        }
    }
}
