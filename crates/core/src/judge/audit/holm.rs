//! Decides which of many tests reject, with a bound on the probability of any false alarm.

use crate::judge::finding::Finding;

/// A test with the null hypothesis that the weights are sound.
pub(super) struct HypothesisTest {
    /// log10 of an upper bound of the p-value.
    pub log10_p: f64,
    /// The finding if the test rejects; `None` for a test that only counts towards the number of tests.
    pub finding: Option<Finding>,
}

/// Returns the findings of the tests that reject at the family-wise level 10^`alpha_log10`.
///
/// S. Holm, "A simple sequentially rejective multiple test procedure", *Scandinavian Journal of
/// Statistics* 6, 1979. It is valid for any dependence between the tests.
pub(super) fn rejected(mut tests: Vec<HypothesisTest>, alpha_log10: f64) -> Vec<Finding> {
    tests.sort_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
    let mut remaining = tests.len();
    let mut findings = Vec::new();
    for test in tests {
        let corrected = test.log10_p + libm::log10(remaining as f64);
        if corrected > alpha_log10 || test.log10_p.is_nan() {
            break;
        }
        remaining -= 1;
        if let Some(finding) = test.finding {
            let limit = |log: f64| if log.is_finite() { log } else { -999.0 };
            findings.push(finding.with("log10_p_corrected", limit(corrected)));
        }
    }
    findings
}

/// Returns log10 of a bound on the probability that a chi-square variable of `freedom` degrees reaches `value`.
///
/// B. Laurent and P. Massart, "Adaptive estimation of a quadratic functional by model selection",
/// *Annals of Statistics* 28, 2000, Lemma 1: X - f >= 2 sqrt(f t) + 2 t has probability at most e^-t.
pub(super) fn chi_square_tail_log10(value: f64, freedom: f64) -> f64 {
    let over = value - freedom;
    if over <= 0.0 || freedom <= 0.0 {
        return 0.0;
    }
    // 2 t + 2 sqrt(f) sqrt(t) - over = 0 for sqrt(t).
    let root = (libm::sqrt(freedom + 2.0 * over) - libm::sqrt(freedom)) / 2.0;
    -root * root * core::f64::consts::LOG10_E
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(log10_p: f64, has_finding: bool) -> HypothesisTest {
        HypothesisTest {
            log10_p,
            finding: has_finding.then(|| Finding::new("payload/low-bits", "")),
        }
    }

    #[test]
    fn the_smallest_are_rejected_until_one_is_not() {
        let of = |ps: &[f64]| rejected(ps.iter().map(|p| test(*p, true)).collect(), -2.0).len();
        assert_eq!(of(&[]), 0);
        // 10^-2.5 passes alone, and not as one of ten.
        assert_eq!(of(&[-2.5]), 1);
        assert_eq!(of(&[-2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 0);
        // Behind a rejected one it needs to pass as one of nine only.
        assert_eq!(of(&[-9.0, -2.96, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 2);
        assert_eq!(of(&[-9.0, -1.0, f64::NAN]), 1);
        assert_eq!(rejected(vec![test(-9.0, false), test(-8.0, true)], -2.0).len(), 1);
    }

    #[test]
    fn the_chi_square_bound_is_one() {
        // Compared with exact upper tails from tables: the bound must not be smaller.
        for (value, freedom, exact) in
            [(6.635, 1.0, 0.01), (15.137, 1.0, 1e-4), (135.807, 100.0, 0.01)]
        {
            let bound = chi_square_tail_log10(value, freedom);
            assert!(bound >= libm::log10(exact) && bound < 0.0, "{value} {bound}");
        }
        assert!(chi_square_tail_log10(1000.0, 100.0) < -100.0);
        assert_eq!(chi_square_tail_log10(90.0, 100.0), 0.0);
    }
}
