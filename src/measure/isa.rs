//! One text of a kernel for all instruction sets: the default one of x86-64 has vectors of four.

/// Runs `kernel` compiled for the widest vectors this processor has.
///
/// The kernel is a closure over `#[inline(always)]` functions: it is compiled once for each set.
#[inline(always)]
pub fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("bmi2")
    {
        // SAFETY: the processor has the features.
        return unsafe { avx2(kernel) };
    }
    kernel()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
fn avx2<R>(kernel: impl FnOnce() -> R) -> R {
    kernel()
}
