//! The element types of GGUF files by their numbers (`enum ggml_type` in ggml).

use tensorseal_base::dtype::Dtype;

/// The numbers and names of the types that were removed from ggml and that no loader reads any more.
const REMOVED: [(i32, &str); 8] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// The type with this number.
pub(super) fn from_number(number: i32) -> Option<Dtype> {
    Some(match number {
        0 => Dtype::F32,
        1 => Dtype::F16,
        2 => Dtype::Q4_0,
        3 => Dtype::Q4_1,
        6 => Dtype::Q5_0,
        7 => Dtype::Q5_1,
        8 => Dtype::Q8_0,
        9 => Dtype::Q8_1,
        10 => Dtype::Q2_K,
        11 => Dtype::Q3_K,
        12 => Dtype::Q4_K,
        13 => Dtype::Q5_K,
        14 => Dtype::Q6_K,
        15 => Dtype::Q8_K,
        16 => Dtype::IQ2_XXS,
        17 => Dtype::IQ2_XS,
        18 => Dtype::IQ3_XXS,
        19 => Dtype::IQ1_S,
        20 => Dtype::IQ4_NL,
        21 => Dtype::IQ3_S,
        22 => Dtype::IQ2_S,
        23 => Dtype::IQ4_XS,
        24 => Dtype::I8,
        25 => Dtype::I16,
        26 => Dtype::I32,
        27 => Dtype::I64,
        28 => Dtype::F64,
        29 => Dtype::IQ1_M,
        30 => Dtype::BF16,
        34 => Dtype::TQ1_0,
        35 => Dtype::TQ2_0,
        39 => Dtype::MXFP4,
        40 => Dtype::NVFP4,
        41 => Dtype::Q1_0,
        42 => Dtype::Q2_0,
        _ => return None,
    })
}

/// The name of a removed type.
pub(super) fn removed(number: i32) -> Option<&'static str> {
    REMOVED.iter().find(|(removed, _)| *removed == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_number_is_a_type_a_removed_one_or_unknown() {
        let types: HashSet<Dtype> = (0..=42).filter_map(from_number).collect();
        assert_eq!(types.len(), 35);
        for number in 0..=42 {
            assert_ne!(from_number(number).is_some(), removed(number).is_some(), "{number}");
        }
        assert!(Dtype::block_quantised().all(|dtype| types.contains(&dtype)));
        for number in [-1, 43, 99, i32::MIN, i32::MAX] {
            assert!(from_number(number).is_none() && removed(number).is_none(), "{number}");
        }
    }
}
