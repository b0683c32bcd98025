//! Detects random low bits in 16-bit weights, which encrypted data causes.

use super::AuditSubject;
use super::holm::HypothesisTest;
use crate::audit::binade_edges::BinadeEdges;
use crate::judge::bounds::normal_tail_log10;
use tensorseal_base::severity::Severity;

/// The number of normal values from which a tensor is judged, and from which it counts for what is usual in the model.
const MIN_NORMAL_TO_JUDGE: u64 = 1_000_000;
const MIN_NORMAL_FOR_USUAL: u64 = 100_000;

/// The number of binade edges, counting both signs, and of distinct values from which a tensor is judged: norms and
/// grids of integers have few.
const MIN_EDGES: u32 = 8;
const MIN_DISTINCT: u64 = 1024;

/// The share of values that were rounded twice up to which the rest can be judged.
const MAX_GRID_SHARE: f64 = 0.5;

/// The R of weights that were rounded to nearest, and the median R from which a model counts as rounded to nearest.
const ROUNDED: f64 = 1.0 / 7.0;
const ROUNDED_FROM: f64 = 0.1;

/// The number of standard deviations below the usual R from which a tensor is reported. Clean tensors are up to 2.8
/// below it.
const BELOW: f64 = 5.0;

/// The share of random bits from which a truncating cast explains them.
const TRUNCATED_FROM: f64 = 0.85;

/// The number of other tensors that are needed to know what is usual.
const MIN_OTHERS: usize = 2;

/// Tests every tensor against the others of the model.
///
/// Truncating casts give an R near zero in all tensors; such a model cannot be judged.
pub(super) fn tests(subjects: &[AuditSubject<'_>]) -> Vec<HypothesisTest> {
    let of = |least: u64| {
        subjects.iter().filter_map(move |subject| {
            let edges = subject.facts.edges.filter(|edges| {
                edges.normal >= least && edges.edges >= MIN_EDGES && edges.zeroth + edges.first > 0
            })?;
            let plain = edges.grid_share() < MAX_GRID_SHARE;
            (plain && subject.facts.distinct >= MIN_DISTINCT).then_some((subject, edges))
        })
    };
    let mut usual: Vec<f64> = of(MIN_NORMAL_FOR_USUAL).map(|(_, edges)| edges.ratio()).collect();
    usual.sort_unstable_by(f64::total_cmp);
    let Some(median) = usual.get(usual.len() / 2).copied() else { return Vec::new() };
    let is_usual_known = usual.len() > MIN_OTHERS;
    if is_usual_known && median < ROUNDED_FROM {
        return Vec::new();
    }
    let expected = if is_usual_known { median.min(ROUNDED) } else { ROUNDED };
    of(MIN_NORMAL_TO_JUDGE)
        .map(|(subject, edges)| test(subject, &edges, expected, is_usual_known))
        .collect()
}

fn test(
    subject: &AuditSubject<'_>,
    edges: &BinadeEdges,
    expected: f64,
    is_usual_known: bool,
) -> HypothesisTest {
    let (ratio, deviation) = (edges.ratio(), edges.deviation());
    let expected = expected * (1.0 - edges.grid_share());
    let z = (ratio - expected) / deviation;
    // The normal distribution approximates the binomial one well from 10^4 counts on, and the threshold was measured.
    let log10_p = normal_tail_log10(-z).min(0.0);
    let share = (1.0 - ratio / expected).clamp(0.0, 1.0);
    // Without other tensors, a tensor without any trace of rounding is explained by truncation.
    let is_conclusive = is_usual_known || share < TRUNCATED_FROM;
    let finding = (z <= -BELOW && is_conclusive).then(|| {
        let message = format!(
            "the lowest bits of about {:.0} % of its values are random: rounding gives R = {expected:.3} at binade edges, found {ratio:.3}; an encrypted payload causes this, and so does a truncating cast",
            100.0 * share
        );
        let mut finding = subject
            .finding("payload/random-low-bits", message)
            .with("ratio", ratio)
            .with("ratio_usual", expected)
            .with("standard_deviation", deviation)
            .with("z", z)
            .with("threshold_z", -BELOW)
            .with("share", share);
        if !is_usual_known {
            // No other tensors show how this model was rounded.
            finding.severity = Severity::Low;
        }
        subject.whole(finding)
    });
    HypothesisTest { log10_p, finding }
}
