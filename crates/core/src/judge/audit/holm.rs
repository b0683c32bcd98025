//! Which of many tests reject, when a false alarm anywhere is to be rare.

use crate::judge::finding::Finding;

/// A test whose null hypothesis is that the weights are sound.
pub(super) struct HypothesisTest {
    /// log10 of an upper bound of its p-value.
    pub log10_p: f64,
    /// What is said when it rejects; `None`: it is counted, and never rejects by itself.
    pub finding: Option<Finding>,
}

/// The findings of the tests that reject at the family-wise level 10^`alpha_log10`.
///
/// S. Holm, "A simple sequentially rejective multiple test procedure", *Scandinavian Journal of
/// Statistics* 6, 1979: valid whatever the tests have to do with one another.
pub(super) fn rejected(mut tests: Vec<HypothesisTest>, alpha_log10: f64) -> Vec<Finding> {
    tests.sort_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
    let mut left = tests.len();
    let mut findings = Vec::new();
    for test in tests {
        let corrected = test.log10_p + libm::log10(left as f64);
        if corrected > alpha_log10 || test.log10_p.is_nan() {
            break;
        }
        left -= 1;
        if let Some(finding) = test.finding {
            let limit = |log: f64| if log.is_finite() { log } else { -999.0 };
            findings.push(finding.with("log10_p_corrected", limit(corrected)));
        }
    }
    findings
}

/// log10 of a bound of the probability that a chi-square variable of `freedom` degrees reaches `value`.
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

    fn test(log10_p: f64, said: bool) -> HypothesisTest {
        HypothesisTest { log10_p, finding: said.then(|| Finding::new("payload/low-bits", "")) }
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
        // Beside exact upper tails from tables: the bound may only lie above.
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
