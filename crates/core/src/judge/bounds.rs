//! Tail probabilities as decimal logarithms: proven bounds for sums of random signs, and exact tails of the normal
//! and the binomial distribution.
//!
//! No result underflows: a probability of 10^-100000 is `-100000.0`. All functions use `libm`, so results are the
//! same on every platform.

/// The factor of the bound of Bentkus and Dzindzalieta, 1 / (4 P(N >= sqrt 2)), rounded up.
///
/// Source: V. K. Bentkus and D. Dzindzalieta, "A tight Gaussian bound for weighted sums of Rademacher
/// random variables", *Bernoulli* 21(2), 2015, Theorem 1.1.
pub const BENTKUS: f64 = 3.178_656;

const LN_10: f64 = std::f64::consts::LN_10;

/// From this z on, the normal tail is computed with its asymptotic series.
const ASYMPTOTIC_FROM: f64 = 10.0;

/// Returns log10 P(N >= z) for a standard normal variable N. From z = 10 on, the result is an upper bound that
/// exceeds the probability by less than 2e-5, relatively.
///
/// Source: M. Abramowitz and I. Stegun, *Handbook of Mathematical Functions*, 7.1.2 and 26.2.12. The
/// series alternates, so that a partial sum which ends with a positive term is an upper bound.
pub fn normal_tail_log10(z: f64) -> f64 {
    if z < ASYMPTOTIC_FROM {
        return libm::log10(0.5 * libm::erfc(z / std::f64::consts::SQRT_2));
    }
    let square = z * z;
    let series = 1.0 - 1.0 / square + 3.0 / (square * square);
    let density = -square / 2.0 - 0.5 * libm::log(2.0 * std::f64::consts::PI);
    (density + libm::log(series / z)) / LN_10
}

/// Returns log10 of the smaller of two proven bounds of P(T / ||a|| >= z), where T is the sum of a_i times
/// independent fair signs. The bounds hold for every number of terms and every a that does not depend on the signs.
///
/// - exp(-z^2 / 2): W. Hoeffding, "Probability inequalities for sums of bounded random variables",
///   *JASA* 58, 1963, Theorem 2.
/// - [`BENTKUS`] P(N >= z).
///
/// The plain normal tail is *not* a bound: two equal terms reach z = sqrt 2 with probability 1/4.
pub fn signs_tail_log10(z: f64) -> f64 {
    if z.is_nan() || z <= 0.0 {
        return 0.0;
    }
    let hoeffding = -z * z / 2.0 / LN_10;
    let bentkus = libm::log10(BENTKUS) + normal_tail_log10(z);
    hoeffding.min(bentkus).min(0.0)
}

/// Returns log10 P(B >= hits) for a binomial variable B of `trials` fair coins, exact up to rounding.
pub fn fair_coins_tail_log10(trials: u64, hits: u64) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    if hits > trials {
        return f64::NEG_INFINITY;
    }
    if hits <= trials / 2 {
        // 1 minus the other, smaller tail.
        let other = libm::exp10(fair_coins_tail_log10(trials, trials - hits + 1));
        return libm::log10(1.0 - other);
    }
    let (n, k) = (trials as f64, hits as f64);
    let choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    // Terms are relative to the first; above the middle they fall, in the end geometrically.
    let (mut term, mut sum) = (1.0, 1.0);
    for next in hits..trials {
        term *= (trials - next) as f64 / (next + 1) as f64;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (choose - n * std::f64::consts::LN_2 + libm::log(sum)) / LN_10
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} is not {b}");
    }

    /// Values of mpmath, `log10(erfc(z / sqrt(2)) / 2)` with 30 digits.
    #[test]
    fn the_normal_tail_is_that_of_mpmath() {
        for (z, expected) in [
            (0.0, -std::f64::consts::LOG10_2),
            (1.0, -0.799_545_541_491_970_5),
            (5.0, -6.542_645_672_390_654),
            (9.99, -23.074_219_453_284_46),
            (10.0, -23.118_053_405_486_08),
            (38.0, -315.539_789_703_962_5),
            (60.0, -783.907_429_164_110_7),
        ] {
            close(normal_tail_log10(z), expected, 1e-5);
            assert!(normal_tail_log10(z) >= expected - 1e-12, "a bound, rounding aside");
        }
    }

    /// A sign-flip test of z = 15.865567 measured with numpy.
    #[test]
    fn the_bounds_are_the_golden_ones() {
        let z = 15.865_567_444_843_636;
        close(-z * z / 2.0 / LN_10, -54.659_484_922_569_405, 1e-9);
        close(signs_tail_log10(z), -55.758_585_098_059_136, 2e-4);
        assert_eq!(signs_tail_log10(-3.0), 0.0);
        assert_eq!(signs_tail_log10(f64::NAN), 0.0);
        // Below 0.67 Hoeffding is the smaller one.
        close(signs_tail_log10(0.5), -0.125 / LN_10, 1e-12);
        assert!(BENTKUS >= 1.0 / (2.0 * libm::erfc(1.0)));
    }

    /// Every assignment of signs counted: the tail of small sums never exceeds the bound.
    #[test]
    fn no_small_sum_exceeds_the_bound() {
        for weights in
            [&[1.0, 1.0][..], &[1.0], &[3.0, 1.0, 1.0], &[1.0; 12], &[5.0, 4.0, 3.0, 2.0, 1.0]]
        {
            let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
            let mut all: Vec<f64> = (0..1u32 << weights.len())
                .map(|signs| {
                    let sign = |i| if signs >> i & 1 == 0 { 1.0 } else { -1.0 };
                    weights.iter().enumerate().map(|(i, w)| w * sign(i)).sum::<f64>() / norm
                })
                .collect();
            all.sort_by(f64::total_cmp);
            for (at, z) in all.iter().enumerate().filter(|(_, z)| **z > 0.0) {
                let first = all[..at].iter().rposition(|other| other < z).map_or(0, |i| i + 1);
                let tail = (all.len() - first) as f64 / all.len() as f64;
                assert!(tail.log10() <= signs_tail_log10(*z) + 1e-9, "{weights:?} at {z}");
            }
        }
    }

    #[test]
    fn coins_are_counted_exactly() {
        close(fair_coins_tail_log10(256, 256), 8.636_168_555_094_445e-78_f64.log10(), 1e-9);
        close(fair_coins_tail_log10(100, 100), 7.888_609_052_210_118e-31_f64.log10(), 1e-9);
        close(fair_coins_tail_log10(40, 40), 9.094_947_017_729_282e-13_f64.log10(), 1e-9);
        // 256 bits, 88.29 % of them right.
        close(fair_coins_tail_log10(256, 227) / 2f64.log10(), -128.985_077_217_669_98, 1e-6);
        close(fair_coins_tail_log10(10, 5), (638.0f64 / 1024.0).log10(), 1e-12);
        assert_eq!(fair_coins_tail_log10(10, 0), 0.0);
        assert_eq!(fair_coins_tail_log10(10, 11), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn tails_fall(z in 0.0f64..200.0, step in 0.001f64..5.0) {
            prop_assert!(normal_tail_log10(z + step) < normal_tail_log10(z));
            prop_assert!(signs_tail_log10(z + step) < signs_tail_log10(z));
        }

        #[test]
        fn coins_sum_to_one(trials in 1u64..400, part in 0.0f64..1.0) {
            let hits = (trials as f64 * part) as u64;
            let above = fair_coins_tail_log10(trials, hits + 1);
            let at_least = fair_coins_tail_log10(trials, hits);
            prop_assert!(above <= at_least);
            let mirrored = fair_coins_tail_log10(trials, trials - hits);
            prop_assert!((10f64.powf(above) + 10f64.powf(mirrored) - 1.0).abs() < 1e-9);
        }
    }
}
