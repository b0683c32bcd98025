//! What a change looks like: where in a tensor, and what it did to its values.

use super::finding::Finding;
use crate::seal::TensorSeal;
use crate::seal::distribution::Distribution;
use serde_json::{Value, json};
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::ChainingValue;

/// Changed stretches that a finding lists one by one; the rest is in its byte range.
pub(super) const LISTED: usize = 16;

/// Half-open byte ranges of the blocks that differ, adjacent ones joined. A tensor of one block
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

/// From the first to the last of the bytes that changed; all of them where that is not known.
pub fn extent(ranges: &[[u64; 2]], bytes: u64) -> [u64; 2] {
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) => [first[0], last[1]],
        _ => [0, bytes],
    }
}

/// Gives a finding the place of bytes in a tensor; of one with strides neighbours in the file are no
/// neighbours in the tensor, and elements and rows are left out.
pub fn placed(tensor: &TensorSeal, mut finding: Finding, range: [u64; 2]) -> Finding {
    if tensor.strides.is_none() {
        return finding.at(tensor.dtype, &tensor.shape, range);
    }
    finding.byte_range = Some(range);
    (finding.element_range, finding.row_range) = (None, None);
    finding
}

/// The finding for a tensor whose bytes changed, with all places.
pub fn changed(sealed: &TensorSeal, found: &TensorSeal) -> Finding {
    let ranges = changed_ranges(&sealed.blocks, &found.blocks, sealed.bytes);
    let changed: u64 = ranges.iter().map(|range| range[1] - range[0]).sum();
    let blocks = changed.div_ceil(BLOCK_LEN as u64);
    let of = sealed.bytes.div_ceil(BLOCK_LEN as u64);
    let message = match of {
        1 => "its bytes are not the sealed ones".to_owned(),
        _ => format!("{blocks} of its {of} blocks of 1 MiB differ from the sealed ones"),
    };
    let listed: Vec<_> = ranges.iter().take(LISTED).collect();
    let finding = Finding::new("integrity/tensor-changed", message)
        .in_file(&found.file)
        .in_tensor(&sealed.name)
        .with("blocks", of)
        .with("blocks_changed", blocks)
        .with("ranges", json!(listed))
        .with("ranges_total", ranges.len());
    // A seal may not say how the elements lie: see [`TensorSeal::is_outdated_for`].
    placed(found, finding, extent(&ranges, sealed.bytes))
}

/// Adds to a finding what the change did to the values, from the statistics before and after.
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
    finding.message.push_str("; ");
    finding.message.push_str(&sentence(before, after));
}

fn magnitude(distribution: &Distribution) -> f64 {
    distribution.min.0.abs().max(distribution.max.0.abs())
}

/// The most telling difference, in words.
fn sentence(before: &Distribution, after: &Distribution) -> String {
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
    } else if before.sign_exponent == after.sign_exponent {
        "no value changed its sign or exponent: low bits only, or values changed places".to_owned()
    } else {
        format!(
            "the values keep their range: mean {:.4e} was {:.4e}, standard deviation {:.4e} was {:.4e}",
            after.mean.0, before.mean.0, after.standard_deviation.0, before.standard_deviation.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
