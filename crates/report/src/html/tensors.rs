//! What the cards of tensors with findings need besides the profiles.

use super::Flag;
use crate::units::count;

/// Largest number of tensors that are plotted. The rest is counted.
pub(super) const DRAWN: usize = 40;

/// Largest number of findings that are named with a tensor. The rest is counted.
pub(super) const NAMED: usize = 8;

/// Returns how many findings of a tensor its card does not name.
pub(super) fn unnamed(flag: &Flag) -> Option<String> {
    let unnamed = flag.findings.saturating_sub(flag.listed.len().min(NAMED) as u64);
    (unnamed > 0).then(|| count(unnamed, "more finding"))
}

/// Returns the shape of a tensor. A hostile file may state any number of dimensions, so the list is bounded.
pub(super) fn shape(shape: &[u64]) -> String {
    let listed: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    let more = if shape.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", listed.join(", "))
}
