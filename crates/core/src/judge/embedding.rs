//! What a mark that was just embedded will show, and what it did to the weights.

use super::Finding;
use super::bounds::signs_tail_log10;
use super::watermark::{PRESENT, z_of, z_under};
use crate::watermark::SCHEME;
use crate::watermark::embed::{EmbeddedMark, MarkSettings};
use crate::watermark::payload::{Payload, UNMODULATED};
use crate::watermark::strength::{QUIET_SNR_DB, READABLE_DATA_Z, expected_z, target_for_snr};
use serde::Serialize;

/// A mark that was embedded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// The scheme of the key.
    pub scheme: &'static str,
    /// The key.
    pub key_id: String,
    /// 16 hexadecimal digits; null for a mark without payload.
    pub payload: Option<String>,
    /// Strength, relative to the root mean square of a carrier block.
    pub alpha: f64,
    /// alpha * sqrt(elements).
    pub z_expected: f64,
    /// What was written, measured: over all carriers under the payload.
    pub z: Option<f64>,
    /// Of its pilot blocks.
    pub z_pilot: Option<f64>,
    /// Signal to noise in dB; null when nothing changed.
    pub snr_db: Option<f64>,
    /// Finite non-zero elements of the carriers.
    pub elements: u64,
    /// Elements whose bytes changed.
    pub changed: u64,
    /// Carrier blocks that have such elements.
    pub blocks: u64,
    /// Tensors that carry, tied duplicates counted once.
    pub carriers: u64,
}

/// Describes a mark of `key_id` and says what its owner should know before releasing it.
pub fn judge(
    key_id: &str,
    mark: &MarkSettings,
    embedded: &EmbeddedMark,
    carriers: u64,
) -> (Embedding, Vec<Finding>) {
    let EmbeddedMark { change, sums, .. } = embedded;
    let word = mark.payload.map_or(UNMODULATED, Payload::word);
    let expected = expected_z(mark.alpha, change.elements);
    let snr = change.snr_db();
    let embedding = Embedding {
        scheme: SCHEME,
        key_id: key_id.to_owned(),
        payload: mark.payload.map(|payload| payload.to_string()),
        alpha: mark.alpha,
        z_expected: expected.all,
        z: z_under(sums, &word),
        z_pilot: z_of(&sums.pilot(), sums.error()),
        snr_db: snr.is_finite().then_some(snr),
        elements: change.elements,
        changed: change.changed,
        blocks: sums.blocks,
        carriers,
    };
    let mut findings = Vec::new();
    if snr < QUIET_SNR_DB {
        let quieter = target_for_snr(change, mark.alpha, QUIET_SNR_DB);
        let pilot = expected_z(quieter, 1).pilot;
        let advice = if signs_tail_log10(pilot) <= PRESENT {
            format!("--target-z {} stays above {QUIET_SNR_DB} dB", libm::floor(quieter))
        } else {
            format!("it is too small for a mark that is found again above {QUIET_SNR_DB} dB")
        };
        let message = format!(
            "the mark changes the weights by {snr:.1} dB signal to noise: measure what the model does before a release ({advice})"
        );
        let finding = Finding::new("watermark/loud", message);
        findings.push(finding.with("snr_db", snr).with("target_z_of_45_db", quieter));
    }
    if mark.payload.is_some() && expected.data < READABLE_DATA_Z {
        let message = format!(
            "the payload may not be read back: its blocks are expected to show z {:.1}, {READABLE_DATA_Z} are needed for 999 of 1000",
            expected.data
        );
        findings
            .push(Finding::new("watermark/payload-weak", message).with("z_data", expected.data));
    }
    if signs_tail_log10(expected.pilot) > PRESENT {
        let message = format!(
            "the mark is too weak to be found without its claim: its pilot is expected to show z {:.1}",
            expected.pilot
        );
        findings.push(Finding::new("watermark/faint", message).with("z_pilot", expected.pilot));
    }
    (embedding, findings)
}
