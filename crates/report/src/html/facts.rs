//! What the facts of a run need besides the report itself: counts, shares and bounded lists.

use crate::units::{bytes, count, grouped};
use crate::{Coverage, Report, WatermarkReport};
use tensorseal_core::document::signature::SignedModel;
use tensorseal_core::judge::watermark::Detection;
use tensorseal_core::policy::gate::ExceptionUse;

/// Largest number of entries of one list. The rest is counted.
pub(super) const LISTED: usize = 100;

/// Returns how many entries of a list of this length are left out, if there are any.
pub(super) fn more(length: usize) -> Option<String> {
    let more = length.saturating_sub(LISTED);
    (more > 0).then(|| format!("… and {} more", grouped(more as u64)))
}

/// Returns how many bytes of the model, or of both models of a comparison, were covered.
pub(super) fn covered(report: &Report) -> String {
    let coverage = &report.coverage;
    let whole = match report.comparison {
        Some(_) => "both models",
        None => "what is part of the model",
    };
    // Some bytes are read a second time, to describe a change.
    let checked = coverage.bytes_checked.min(coverage.bytes_total);
    let percent = match coverage.bytes_total {
        0 => 100.0,
        total => checked as f64 / total as f64 * 100.0,
    };
    format!("{} of {} ({percent:.1} % of {whole})", bytes(checked), bytes(coverage.bytes_total))
}

/// Returns the paths that were skipped, with the reasons.
pub(super) fn skipped(coverage: &Coverage) -> Vec<(&str, &str)> {
    let all = crate::summary::skipped(coverage).into_iter();
    all.map(|skipped| (skipped.path.as_str(), skipped.reason.as_str())).collect()
}

/// Returns the number of files or shards that a signature lists.
pub(super) fn resources(signed: &SignedModel) -> String {
    count(signed.resources, if signed.shard_size.is_some() { "shard" } else { "file" })
}

/// Returns the outcome for each watermark key that was tested.
pub(super) fn detections(report: &Report) -> &[Detection] {
    match &report.watermark {
        Some(WatermarkReport::Detected(one)) => std::slice::from_ref(one),
        Some(WatermarkReport::AllDetected(all)) => all,
        Some(WatermarkReport::Embedded(_)) | None => &[],
    }
}

/// Returns the weights that could not be read. They are the same for every key.
pub(super) fn not_read(detections: &[Detection]) -> Option<String> {
    detections.iter().find_map(|one| one.not_read.as_ref()).map(|not_read| not_read.summary())
}

/// Returns the file and the tensor that an exception of a policy is limited to.
pub(super) fn places(exception: &ExceptionUse) -> impl Iterator<Item = &String> {
    exception.file.iter().chain(&exception.tensor)
}
