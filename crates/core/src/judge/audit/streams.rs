//! Detects files and other structured data in the low bits of weights.

use super::holm::{HypothesisTest, chi_square_tail_log10};
use super::{AuditSubject, SPARSE_FROM};
use crate::audit::streams::{ChiSquare, LowBitFacts, MOSTLY_ZERO_FROM};
use crate::judge::finding::Finding;
use serde_json::json;

/// The normalised asymmetry from which a stream contains bytes. Clean weights have up to 13, and up to 5 if they did
/// not decay to zero.
const ASYMMETRY_FROM: f64 = 20.0;

/// The effect from which the asymmetry of a table exceeds that of repeated rows, and that of a sparse tensor exceeds
/// that of its pattern. Clean tensors have up to 0.011 and 0.035.
const EFFECT_FROM: f64 = 0.05;

/// The effect from which the lowest bytes of 32-bit weights count as uneven. Clean tensors have up to 0.19.
const UNEVEN_FROM: f64 = 0.3;

/// Returns the tests of the streams of a tensor. Recognised files become findings immediately.
pub(super) fn tests(
    subject: &AuditSubject<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<HypothesisTest> {
    let hidden = files(subject, findings);
    let Some(low_bits) = &subject.facts.low_bits else { return Vec::new() };
    let mut tests: Vec<HypothesisTest> = Vec::new();
    // The streams of a tensor overlap, so only the strongest is reported.
    let mut strongest: Option<(usize, ChiSquare)> = None;
    for stream in &low_bits.streams {
        let Some(chi_square) = stream.asymmetry else { continue };
        let log10_p = chi_square_tail_log10(chi_square.value, chi_square.freedom);
        tests.push(HypothesisTest { log10_p, finding: None });
        if is_byte_like(subject, &chi_square)
            && strongest.is_none_or(|(_, other)| chi_square.z() > other.z())
        {
            strongest = Some((tests.len() - 1, chi_square));
        }
    }
    if let Some((index, chi_square)) = strongest.filter(|_| !hidden) {
        tests[index].finding = Some(structured(subject, low_bits, index, &chi_square));
    } else if !hidden && let Some(test) = uneven(subject, low_bits) {
        tests.push(test);
    }
    tests
}

fn is_byte_like(subject: &AuditSubject<'_>, chi_square: &ChiSquare) -> bool {
    let usual = !subject.table && subject.facts.zero_share() < SPARSE_FROM;
    chi_square.z() >= ASYMMETRY_FROM
        && (usual
            || subject.facts.zero_share() < MOSTLY_ZERO_FROM && chi_square.effect >= EFFECT_FROM)
}

fn structured(
    subject: &AuditSubject<'_>,
    low_bits: &LowBitFacts,
    index: usize,
    chi_square: &ChiSquare,
) -> Finding {
    let stream = &low_bits.streams[index];
    let bits = match stream.bits {
        1 => "the lowest bits".to_owned(),
        bits => format!("the lowest {bits} bits"),
    };
    let message = format!(
        "{bits} of its values form bytes as in programs, archives or text: neighbouring weights are exchangeable, these bits are not"
    );
    let finding = subject
        .finding("payload/low-bits", message)
        .with("bits", stream.bits)
        .with("asymmetry", chi_square.value)
        .with("degrees_of_freedom", chi_square.freedom)
        .with("effect", chi_square.effect)
        .with("z", chi_square.z())
        .with("threshold_z", ASYMMETRY_FROM)
        .with("ones", stream.ones)
        .with("agreement", json!(stream.agreement));
    match stream.odd {
        Some(range) => subject.at(finding, range),
        None => subject.whole(finding),
    }
}

/// Tests the lowest bytes of 32-bit weights, which are noise unless they contain data.
fn uneven(subject: &AuditSubject<'_>, low_bits: &LowBitFacts) -> Option<HypothesisTest> {
    let chi_square = low_bits.lowest_byte?;
    let log10_p = chi_square_tail_log10(chi_square.value, chi_square.freedom);
    // Values on a grid have few distinct lower halves; those of weights have as many as chance gives.
    const HALVES: f64 = 65_536.0;
    let full = HALVES * (1.0 - libm::exp(-(subject.count() as f64) / HALVES));
    let is_grid = (low_bits.distinct as f64) < 0.5 * full;
    let rejects =
        chi_square.effect >= UNEVEN_FROM && !is_grid && subject.facts.zero_share() < SPARSE_FROM;
    let finding = rejects.then(|| {
        let message = "the lowest bytes of its values are unevenly distributed, like the bytes of a file and unlike those of weights";
        let finding = subject
            .finding("payload/low-bits", message)
            .with("bits", 8)
            .with("chi_square", chi_square.value)
            .with("degrees_of_freedom", chi_square.freedom)
            .with("effect", chi_square.effect)
            .with("threshold_effect", UNEVEN_FROM);
        match low_bits.streams.last().and_then(|stream| stream.odd) {
            Some(range) => subject.at(finding, range),
            None => subject.whole(finding),
        }
    });
    Some(HypothesisTest { log10_p, finding })
}

/// Reports files that start in the low bits or in the bytes of values, and returns whether there are any.
fn files(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) -> bool {
    for hidden in &subject.facts.localization.embedded_files {
        let width = subject.tensor.dtype.bits();
        let stream = hidden.stream;
        let message = if stream.bits == width {
            format!("a file starts in its values: {}", hidden.kind)
        } else {
            format!(
                "a file starts in the lowest {} of its values ({}): {}",
                if stream.bits == 1 { "bit".to_owned() } else { format!("{} bits", stream.bits) },
                stream.order.name(),
                hidden.kind
            )
        };
        let finding = subject
            .finding("payload/file-magic", message)
            .with("kind", hidden.kind)
            .with("bits", stream.bits)
            .with("order", stream.order.name())
            .with("element", hidden.element);
        let end = subject.facts.windows.as_ref().map_or(0, |windows| windows.end * 4096);
        let end = if stream.bits == width && end > hidden.element { end } else { u64::MAX };
        findings.push(subject.at_elements(finding, [hidden.element, end.min(subject.count())]));
    }
    !subject.facts.localization.embedded_files.is_empty()
}
