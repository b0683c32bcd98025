//! Instruction sets: which of them this processor has, found out once, and kernels compiled for each.
//!
//! One text of a kernel serves all of them: the default set of x86-64 has vectors of four words, and loops
//! over arrays of known length vectorise as wide as they may. Some kernels have a text of their own for
//! wider vectors. This is the only place that asks the processor, and the only one that compiles for more
//! than the default; other architectures have their default alone.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A kernel that is compiled once for each instruction set. Its methods must be `#[inline(always)]`, and so
/// must be what they call: a call is compiled for the default set. (Closures cannot be told to be inlined.)
pub trait VectorKernel: Sized {
    /// What it gives.
    type Output;

    /// Whether AVX-512 serves it better than AVX2 does, where there are both.
    const WIDE: bool = false;

    /// Runs it.
    fn run(self) -> Self::Output;

    /// Runs it where there is AVX2.
    ///
    /// # Safety
    /// The processor must have what [`Isa`] asks of AVX2.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) -> Self::Output {
        self.run()
    }

    /// Runs it where there is AVX-512, if it is [wide](Kernel::WIDE).
    ///
    /// # Safety
    /// The processor must have what [`Isa`] asks of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) -> Self::Output {
        self.run()
    }
}

/// An instruction set that this processor has: there are no others of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(IsaLevel);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum IsaLevel {
    /// What every processor of the architecture has.
    Portable = 1,
    /// AVX2, and what came to processors with it: POPCNT, BMI1, BMI2, LZCNT.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Besides, AVX-512 F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// What kernels run by, as a [`IsaLevel`]; 0: that is not known yet.
static IN_USE: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// What every processor has.
    pub const PORTABLE: Isa = Isa(IsaLevel::Portable);

    /// The best this processor has.
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

    /// All that this processor has, the best one last.
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
            // SAFETY: there is such a value only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            IsaLevel::Avx512 if K::WIDE => unsafe { avx512(kernel) },
            // SAFETY: as above; AVX-512 is there only with AVX2.
            #[cfg(target_arch = "x86_64")]
            IsaLevel::Avx2 | IsaLevel::Avx512 => unsafe { avx2(kernel) },
        }
    }

    /// Makes this the [best](Isa::best) one until what is returned is dropped: for tests, which hold all
    /// sets equal. Of the whole process, one at a time.
    #[doc(hidden)]
    pub fn force(self) -> Forced {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        IN_USE.store(self.0 as u8, Relaxed);
        Forced(alone)
    }
}

/// See [`Isa::force`].
#[doc(hidden)]
pub struct Forced(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Drop for Forced {
    fn drop(&mut self) {
        // Found out again when it is asked for.
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
    // SAFETY: the features of this function.
    unsafe { kernel.run_avx2() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512vl")]
fn avx512<K: VectorKernel>(kernel: K) -> K::Output {
    // SAFETY: the features of this function.
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

    /// Bytes that are measured; more lie behind them.
    const LEN: usize = BLOCK_LEN / 4;

    /// Bytes of noise, with constant pages, zeros and values of every class among them.
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

    /// Every kernel, by every set that the processor has.
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
            let wanted = KernelSet { carrier, layout: Some(layout), ..KernelSet::DIGEST };
            cases.push((plain.clone(), wanted));
        }
        for dtype in Dtype::block_quantised() {
            let mut bytes = plain.clone();
            let len = 400 * dtype.granule().0 as usize;
            edge_scales::fill_edge_scales(dtype, &mut bytes[..len]);
            let carrier = Carrier::from_dtype(dtype, [7; 12]);
            cases.push((bytes, KernelSet { codes: Some(dtype), carrier, ..KernelSet::DIGEST }));
        }
        for (bytes, wanted) in cases {
            let measured = |isa: Isa| {
                let _forced = isa.force();
                measure_part(&bytes, LEN, 3 * BLOCK_LEN as u64, wanted, &keys)
            };
            let expected = measured(Isa::PORTABLE);
            for isa in Isa::available() {
                assert!(measured(isa) == expected, "{isa:?} {wanted:?}");
            }
        }
    }
}
