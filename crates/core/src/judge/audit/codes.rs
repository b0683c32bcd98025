//! Judges quantisation blocks: scales that are not finite, lost scales, and saturated codes.

use super::AuditSubject;
use crate::judge::finding::Finding;
use tensorseal_base::severity::Severity;

/// The share of blocks from which lost scales are more than the underflow of a few weights. (A quantisation block
/// whose weights are all below the smallest binary16 number has a scale of zero.)
const LOST_FROM: f64 = 0.001;

/// The share and the number of saturated blocks from which they are not an accident. Of the 708,832 blocks of
/// all-MiniLM-L6-v2, the quantisers of `gguf` saturated 8 (Q4_0), 5 (Q4_1), 1 (Q5_0), 2 (Q5_1) and none (Q8_0).
const SATURATED_FROM: f64 = 0.01;
const SATURATED_BLOCKS: u64 = 32;

/// Judges the quantisation blocks of a tensor.
pub(super) fn judge(subject: &AuditSubject<'_>, findings: &mut Vec<Finding>) {
    let Some(codes) = &subject.facts.distribution.codes else { return };
    let share = |blocks: u64| blocks as f64 / codes.blocks.max(1) as f64;
    if codes.nan + codes.infinite > 0 {
        let message = format!(
            "{} of its {} quantisation blocks have a scale that is not a number, and {} an infinite one",
            codes.nan, codes.blocks, codes.infinite
        );
        let finding = subject
            .finding("weights/not-finite", message)
            .with("nan_blocks", codes.nan)
            .with("infinite_blocks", codes.infinite)
            .with("threshold", 0);
        findings.push(subject.whole(finding));
    }
    if codes.lost > 0 {
        let message = format!(
            "{} of its {} quantisation blocks have a zero scale, but non-zero codes",
            codes.lost, codes.blocks
        );
        let mut finding = subject
            .finding("weights/lost-scales", message)
            .with("blocks", codes.lost)
            .with("share", share(codes.lost))
            .with("threshold", LOST_FROM);
        if share(codes.lost) < LOST_FROM {
            finding.severity = Severity::Info;
        }
        findings.push(subject.whole(finding));
    }
    if codes.saturated >= SATURATED_BLOCKS && share(codes.saturated) >= SATURATED_FROM {
        let message = format!(
            "{} of its {} quantisation blocks have at least half of their codes at an end of the range",
            codes.saturated, codes.blocks
        );
        let finding = subject
            .finding("weights/saturated-blocks", message)
            .with("blocks", codes.saturated)
            .with("share", share(codes.saturated))
            .with("threshold", SATURATED_FROM);
        findings.push(subject.whole(finding));
    }
}
