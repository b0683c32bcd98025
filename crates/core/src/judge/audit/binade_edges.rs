//! Low bits of 16-bit weights that are random, as encrypted data are.

use super::AuditSubject;
use super::holm::HypothesisTest;
use crate::audit::binade_edges::BinadeEdges;
use crate::judge::bounds::normal_tail_log10;
use tensorseal_base::severity::Severity;

/// Normal values that a tensor must have to be judged, and to say what is usual in its file.
const JUDGED_FROM: u64 = 1_000_000;
const ASKED_FROM: u64 = 100_000;

/// Edges of binades, both signs counted, and distinct values that it must have: a norm and a grid of
/// integers have few.
const LEAST_EDGES: u32 = 8;
const LEAST_DISTINCT: u64 = 1024;

/// Share of values that were rounded twice up to which the rest can be judged.
const MOST_FROM_GRID: f64 = 0.5;

/// R of weights that were rounded to nearest, and from where on a file's usual one says that they were.
const ROUNDED: f64 = 1.0 / 7.0;
const ROUNDED_FROM: f64 = 0.1;

/// Standard deviations below the usual R. Clean tensors lie up to 2.8 below it.
const BELOW: f64 = 5.0;

/// Share of random bits from which a cast that truncates explains them.
const TRUNCATED_FROM: f64 = 0.85;

/// Other tensors that must say what is usual.
const LEAST_OTHERS: usize = 2;

/// Tests every tensor against the rest of its file.
///
/// Casts that truncate give R near zero throughout: in such a file nothing can be told.
pub(super) fn tests(subjects: &[AuditSubject<'_>]) -> Vec<HypothesisTest> {
    let of = |least: u64| {
        subjects.iter().filter_map(move |subject| {
            let edges = subject.facts.edges.filter(|edges| {
                edges.normal >= least
                    && edges.edges >= LEAST_EDGES
                    && edges.zeroth + edges.first > 0
            })?;
            let plain = edges.grid_share() < MOST_FROM_GRID;
            (plain && subject.facts.distinct >= LEAST_DISTINCT).then_some((subject, edges))
        })
    };
    let mut usual: Vec<f64> = of(ASKED_FROM).map(|(_, edges)| edges.ratio()).collect();
    usual.sort_unstable_by(f64::total_cmp);
    let Some(median) = usual.get(usual.len() / 2).copied() else { return Vec::new() };
    let asked = usual.len() > LEAST_OTHERS;
    if asked && median < ROUNDED_FROM {
        return Vec::new();
    }
    let expected = if asked { median.min(ROUNDED) } else { ROUNDED };
    of(JUDGED_FROM).map(|(subject, edges)| test(subject, &edges, expected, asked)).collect()
}

fn test(
    subject: &AuditSubject<'_>,
    edges: &BinadeEdges,
    expected: f64,
    asked: bool,
) -> HypothesisTest {
    let (ratio, deviation) = (edges.ratio(), edges.deviation());
    let expected = expected * (1.0 - edges.grid_share());
    let z = (ratio - expected) / deviation;
    // Of the binomial distribution the normal one is an approximation; it is good at 10^4 counts and
    // more, and the threshold was measured.
    let log10_p = normal_tail_log10(-z).min(0.0);
    let share = (1.0 - ratio / expected).clamp(0.0, 1.0);
    // Alone, a tensor without any trace of rounding is one that was truncated.
    let told = asked || share < TRUNCATED_FROM;
    let finding = (z <= -BELOW && told).then(|| {
        let message = format!(
            "the lowest bits of about {:.0} % of its values are random: rounding leaves R = {expected:.3} at the edges of binades, here it is {ratio:.3}; an encrypted payload does that, and so does a cast that truncates",
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
        if !asked {
            // No other tensor says how this file was rounded.
            finding.severity = Severity::Low;
        }
        subject.whole(finding)
    });
    HypothesisTest { log10_p, finding }
}
