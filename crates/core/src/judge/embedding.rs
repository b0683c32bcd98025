//! Judges a mark that was just embedded: how detectable it is, and how much it changed the weights.

use super::Finding;
use super::bounds::signs_tail_log10;
use super::watermark::{PRESENT, z_of, z_under};
use crate::watermark::SCHEME;
use crate::watermark::embed::{EmbeddedMark, MarkSettings};
use crate::watermark::payload::{Payload, UNMODULATED};
use crate::watermark::strength::{QUIET_SNR_DB, READABLE_DATA_Z, expected_z, target_for_snr};
use serde::Serialize;

/// An embedded mark, as reports show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// The scheme of the key.
    pub scheme: &'static str,
    /// The id of the key.
    pub key_id: String,
    /// The payload as 16 hexadecimal digits; null for a mark without payload.
    pub payload: Option<String>,
    /// The strength relative to the root mean square of a carrier block.
    pub alpha: f64,
    /// The expected z over all carriers: alpha * sqrt(elements).
    pub z_expected: f64,
    /// The z measured on the marked copy, over all carriers under the payload.
    pub z: Option<f64>,
    /// The z measured on the pilot blocks of the marked copy.
    pub z_pilot: Option<f64>,
    /// The signal-to-noise ratio in dB; null if nothing changed.
    pub snr_db: Option<f64>,
    /// The number of finite non-zero elements of the carriers.
    pub elements: u64,
    /// The number of elements whose bytes changed.
    pub changed: u64,
    /// The number of carrier blocks with finite non-zero elements.
    pub blocks: u64,
    /// The number of carriers; tied duplicates count once.
    pub carriers: u64,
}

/// Describes an embedded mark of `key_id`, and returns findings that its owner should know before a release.
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
            format!("--target-z {} keeps it above {QUIET_SNR_DB} dB", libm::floor(quieter))
        } else {
            format!("the model is too small for a detectable mark above {QUIET_SNR_DB} dB")
        };
        let message = format!(
            "the signal-to-noise ratio is {snr:.1} dB: evaluate the model before release ({advice})"
        );
        let finding = Finding::new("watermark/loud", message);
        findings.push(finding.with("snr_db", snr).with("target_z_of_45_db", quieter));
    }
    if mark.payload.is_some() && expected.data < READABLE_DATA_Z {
        let message = format!(
            "the payload may be unreadable: its blocks have an expected z of {:.1}, and {READABLE_DATA_Z} is needed to read 999 of 1000 payloads",
            expected.data
        );
        findings
            .push(Finding::new("watermark/payload-weak", message).with("z_data", expected.data));
    }
    if signs_tail_log10(expected.pilot) > PRESENT {
        let message = format!(
            "the mark is too weak to be detected without its claim: its pilot has an expected z of {:.1}",
            expected.pilot
        );
        findings.push(Finding::new("watermark/faint", message).with("z_pilot", expected.pilot));
    }
    (embedding, findings)
}
