//! Describes a change: where it is in a tensor, and what it did to the values.

use super::finding::Finding;
use crate::seal::TensorSeal;
use crate::seal::distribution::Distribution;
use serde_json::{Value, json};
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::ChainingValue;

/// The maximum number of changed ranges that a finding lists.
pub(super) const MAX_LISTED: usize = 16;

/// Returns the half-open byte ranges of the blocks that differ, with adjacent blocks joined. A tensor of one block
/// differs as a whole.
pub fn changed_ranges(
    sealed: &[ChainingValue],
    found: &[ChainingValue],
    bytes: u64,
) -> Vec<[u64; 2]> {
    if sealed.is_empty() || sealed.len() != found.len() {
        return vec![[0, bytes]];
    }
    let mut ranges: Vec<[u64; 2]> = Vec::new();
    for (index, _) in sealed.iter().zip(found).enumerate().filter(|(_, (a, b))| a != b) {
        let start = index as u64 * BLOCK_LEN as u64;
        let end = (start + BLOCK_LEN as u64).min(bytes);
        match ranges.last_mut() {
            Some(last) if last[1] == start => last[1] = end,
            _ => ranges.push([start, end]),
        }
    }
    ranges
}

/// Returns the range from the first to the last changed byte, or the whole tensor if the ranges are unknown.
pub fn extent(ranges: &[[u64; 2]], bytes: u64) -> [u64; 2] {
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) => [first[0], last[1]],
        _ => [0, bytes],
    }
}

/// Sets the place of a finding to a byte range of a tensor. In a tensor with strides, neighbours in the file are not
/// neighbours in the tensor, so elements and rows are left out.
pub fn placed(tensor: &TensorSeal, mut finding: Finding, range: [u64; 2]) -> Finding {
    if tensor.strides.is_none() {
        return finding.at(tensor.dtype, &tensor.shape, range);
    }
    finding.byte_range = Some(range);
    (finding.element_range, finding.row_range) = (None, None);
    finding
}

/// Returns the finding for a tensor whose bytes changed, with all changed ranges.
pub fn changed(sealed: &TensorSeal, found: &TensorSeal) -> Finding {
    let ranges = changed_ranges(&sealed.blocks, &found.blocks, sealed.bytes);
    let changed: u64 = ranges.iter().map(|range| range[1] - range[0]).sum();
    let blocks = changed.div_ceil(BLOCK_LEN as u64);
    let total = sealed.bytes.div_ceil(BLOCK_LEN as u64);
    let message = match total {
        1 => "its bytes differ from the seal".to_owned(),
        _ => {
            let differs = if blocks == 1 { "differs" } else { "differ" };
            format!("{blocks} of its {total} blocks (1 MiB each) {differs} from the seal")
        }
    };
    let listed: Vec<_> = ranges.iter().take(MAX_LISTED).collect();
    let finding = Finding::new("integrity/tensor-changed", message)
        .in_file(&found.file)
        .in_tensor(&sealed.name)
        .with("blocks", total)
        .with("blocks_changed", blocks)
        .with("ranges", json!(listed))
        .with("ranges_total", ranges.len());
    // A seal may not record the order of elements: see [`TensorSeal::is_outdated_for`].
    placed(found, finding, extent(&ranges, sealed.bytes))
}

/// Adds to a finding how the values changed, from the statistics before and after.
pub fn describe(finding: &mut Finding, before: &Distribution, after: &Distribution) {
    let number = |x: f64| if x.is_finite() { json!(x) } else { Value::Null };
    for (key, value) in [
        ("mean_sealed", number(before.mean.0)),
        ("mean_found", number(after.mean.0)),
        ("standard_deviation_sealed", number(before.standard_deviation.0)),
        ("standard_deviation_found", number(after.standard_deviation.0)),
        ("max_magnitude_sealed", number(magnitude(before))),
        ("max_magnitude_found", number(magnitude(after))),
        ("nan_found", json!(after.nan)),
        ("infinite_found", json!(after.infinite())),
        ("zero_sealed", json!(before.zero)),
        ("zero_found", json!(after.zero)),
    ] {
        finding.evidence.insert(key, value);
    }
    let located = finding.evidence.get("pinpointed").is_some_and(is_located);
    finding.message.push_str("; ");
    finding.message.push_str(&sentence(before, after, located));
}

fn magnitude(distribution: &Distribution) -> f64 {
    distribution.min.0.abs().max(distribution.max.0.abs())
}

/// Returns whether the search for bit flips located every change.
fn is_located(pinpointed: &Value) -> bool {
    ["unexplained_total", "not_searched_total"].iter().all(|total| pinpointed[total] == 0)
}

/// Describes the most telling difference in words. `located` says whether the changed bits are known.
fn sentence(before: &Distribution, after: &Distribution, located: bool) -> String {
    let (was, is) = (magnitude(before), magnitude(after));
    let zeros = after.zero.saturating_sub(before.zero);
    if after.nan > before.nan {
        format!("{} values became NaN", after.nan - before.nan)
    } else if after.infinite() > before.infinite() {
        format!("{} values became infinite", after.infinite() - before.infinite())
    } else if is > 4.0 * was {
        format!("the largest magnitude grew from {was:.4} to {is:.4e}")
    } else if zeros * 100 > after.count {
        format!("{zeros} more values are zero")
    } else if before.sign_exponent == after.sign_exponent && located {
        "the sign and exponent are unchanged".to_owned()
    } else if before.sign_exponent == after.sign_exponent {
        "no sign or exponent changed: either only low bits changed, or values were reordered"
            .to_owned()
    } else {
        format!(
            "the range of values is unchanged: mean {:.4e} -> {:.4e}, standard deviation {:.4e} -> {:.4e}",
            before.mean.0, after.mean.0, before.standard_deviation.0, after.standard_deviation.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_located_if_nothing_is_unexplained_or_unsearched() {
        let pinpointed = |unexplained: u64, not_searched: u64| {
            is_located(&json!({
                "unexplained_total": unexplained,
                "not_searched_total": not_searched,
            }))
        };
        assert!(pinpointed(0, 0));
        assert!(!pinpointed(1, 0) && !pinpointed(0, 1) && !is_located(&Value::Null));
    }

    #[test]
    fn adjacent_blocks_are_one_range() {
        let sealed = vec![[0; 32]; 5];
        let mut found = sealed.clone();
        for i in [1, 2, 4] {
            found[i] = [1; 32];
        }
        let m = BLOCK_LEN as u64;
        let ranges = changed_ranges(&sealed, &found, 4 * m + 10);
        assert_eq!(ranges, [[m, 3 * m], [4 * m, 4 * m + 10]]);
        assert_eq!(changed_ranges(&[], &[], 7), [[0, 7]]);
    }
}
