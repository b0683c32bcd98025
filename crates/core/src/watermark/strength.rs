//! The strength of a mark: its expected z, and its effect on the weights.
//!
//! A mark of strength alpha moves each element by alpha times the root mean square of its carrier block.
//! Over n finite non-zero elements its z is expected to be alpha * sqrt(n): the chips agree with
//! themselves n times, each time by alpha, against a noise of sqrt(n).

use super::mark::MarkChange;

/// The default target z of a mark.
pub const DEFAULT_TARGET_Z: f64 = 60.0;

/// The minimum signal-to-noise ratio in dB: marks below it are refused.
pub const MIN_SNR_DB: f64 = 30.0;

/// The signal-to-noise ratio in dB from which a mark gives no warning.
pub const QUIET_SNR_DB: f64 = 45.0;

/// The alpha of a mark of [`MIN_SNR_DB`] in a type so wide that rounding adds nothing: 10^(-30/20).
pub const STRONGEST_ALPHA: f64 = 0.031_622_776_601_683_79;

/// The z of the data blocks from which a payload is read back 999 times of 1000 (measured:
/// `docs/watermark.md`).
pub const READABLE_DATA_Z: f64 = 20.0;

/// The share of pilot blocks. Their z is that of all blocks times the square root of this share.
const PILOT_SHARE: f64 = 0.25;

/// The requested strength of a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strength {
    /// The expected z over all carriers.
    TargetZ(f64),
    /// The change of each element, as a share of the root mean square of its carrier block.
    Alpha(f64),
}

impl Strength {
    /// Returns alpha for a model with this number of finite non-zero carrier elements (at least one).
    pub fn alpha(self, elements: u64) -> f64 {
        match self {
            Self::TargetZ(z) => z / libm::sqrt(elements.max(1) as f64),
            Self::Alpha(alpha) => alpha,
        }
    }
}

/// The expected z of a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedZ {
    /// The z over all carrier blocks.
    pub all: f64,
    /// The z over the pilot blocks.
    pub pilot: f64,
    /// The z over the blocks that carry the payload.
    pub data: f64,
}

/// Returns the expected z of strength `alpha` over `elements` finite non-zero elements.
pub fn expected_z(alpha: f64, elements: u64) -> ExpectedZ {
    let all = alpha * libm::sqrt(elements as f64);
    ExpectedZ {
        all,
        pilot: all * libm::sqrt(PILOT_SHARE),
        data: all * libm::sqrt(1.0 - PILOT_SHARE),
    }
}

/// Returns the signal-to-noise ratio of strength `alpha` in dB if rounding adds nothing: -20 log10(alpha). Dithered
/// rounding in a narrow type reduces it.
pub fn snr_db(alpha: f64) -> f64 {
    -20.0 * libm::log10(alpha)
}

/// Returns the largest target z with a signal-to-noise ratio of `snr_db`, for a model on which `change` was measured at
/// strength `alpha`.
///
/// The noise of a mark is alpha^2 + b * alpha of the signal: the shift itself, and what dithered
/// rounding adds, which grows with the share of the elements that are moved to another step. b is estimated from the
/// measurement.
pub fn target_for_snr(change: &MarkChange, alpha: f64, snr_db: f64) -> f64 {
    let noise = change.noise / change.signal;
    let rounding = ((noise - alpha * alpha) / alpha).max(0.0);
    let target = libm::exp10(-snr_db / 10.0);
    let half = rounding / 2.0;
    let quieter = libm::sqrt(half * half + target) - half;
    expected_z(quieter, change.elements).all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_and_parted() {
        let alpha = Strength::TargetZ(60.0).alpha(22_484_736);
        let expected = expected_z(alpha, 22_484_736);
        assert!((expected.all - 60.0).abs() < 1e-9);
        assert!((expected.pilot - 30.0).abs() < 1e-9 && (expected.data - 51.962).abs() < 1e-3);
        assert_eq!(Strength::Alpha(0.001).alpha(7), 0.001);
        assert!((snr_db(STRONGEST_ALPHA) - MIN_SNR_DB).abs() < 1e-12);
    }

    #[test]
    fn a_quieter_target_is_as_quiet_as_it_says() {
        // Without rounding the noise is alpha^2, with it b alpha more.
        for b in [0.0, 0.004] {
            let noise = |alpha: f64| alpha * alpha + b * alpha;
            let (alpha, elements) = (0.0126, 22_484_736);
            let change =
                MarkChange { signal: 5.0, noise: 5.0 * noise(alpha), elements, changed: 1 };
            let target = target_for_snr(&change, alpha, QUIET_SNR_DB);
            let quieter = Strength::TargetZ(target).alpha(elements);
            let snr = -10.0 * libm::log10(noise(quieter));
            assert!((snr - QUIET_SNR_DB).abs() < 1e-9, "{snr}");
        }
    }
}
