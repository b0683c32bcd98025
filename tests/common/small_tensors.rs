//! A model that is small and has something of everything.

use super::models::{Tensor, noise};

/// A small model of several dtypes, with one tensor of more than two blocks.
pub(crate) fn small_tensors(seed: u64) -> Vec<Tensor<'static>> {
    vec![
        ("embed.weight", "BF16", &[700, 1000], noise(seed, 1_400_000)),
        ("layers.0.weight", "F32", &[300, 1000], noise(seed + 1, 1_200_000)),
        ("layers.0.bias", "F32", &[1000], noise(seed + 2, 4000)),
        ("layers.1.weight", "F32", &[300, 1000], noise(seed + 3, 1_200_000)),
        ("layers.1.bias", "F32", &[1000], noise(seed + 4, 4000)),
        ("steps", "I64", &[], noise(seed + 5, 8)),
        ("empty", "F16", &[0, 4], Vec::new()),
    ]
}
