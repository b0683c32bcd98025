//! One text of a kernel for all instruction sets: the default one of x86-64 has vectors of four.

/// A kernel that is compiled once for each set. `run` must be `#[inline(always)]`, and so must be what
/// it calls: a call is compiled for the default set. (Closures cannot be told to be inlined.)
pub trait Kernel {
    /// What it gives.
    type Output;

    /// Runs it.
    fn run(self) -> Self::Output;
}

/// Runs `kernel` compiled for the widest vectors this processor has.
#[inline(always)]
pub fn vectorised<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
    {
        // SAFETY: the processor has the features.
        return unsafe { avx2(kernel) };
    }
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
