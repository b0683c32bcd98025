//! The usual quantisation error by stored type.

/// The maximum usual relative error by stored type: 1.1 to 5 times the largest error that was measured on a weight of
/// all-MiniLM-L6-v2 and of generated normal models (`docs/statistics.md`). Weights that are stored in two lossy types
/// may differ by the sum. All other types are exact, or unknown.
const USUAL: &[(&str, f64)] = &[
    ("BF16", 0.004),
    ("F16", 0.002),
    ("F8_E4M3", 0.06),
    ("F8_E5M2", 0.12),
    ("F8_E4M3FNUZ", 0.06),
    ("F8_E5M2FNUZ", 0.12),
    ("Q8_0", 0.02),
    ("Q8_1", 0.02),
    ("Q8_K", 0.02),
    ("Q6_K", 0.05),
    ("Q5_0", 0.15),
    ("Q5_1", 0.12),
    ("Q5_K", 0.1),
    ("Q4_0", 0.3),
    ("Q4_1", 0.25),
    ("Q4_K", 0.2),
    ("IQ4_NL", 0.2),
    ("IQ4_XS", 0.2),
    ("MXFP4", 0.3),
    ("NVFP4", 0.25),
    ("Q3_K", 0.4),
    ("IQ3_S", 0.4),
    ("IQ3_XXS", 0.45),
    ("Q2_K", 0.7),
    ("IQ2_S", 0.7),
    ("IQ2_XS", 0.7),
    ("IQ2_XXS", 0.75),
    ("IQ1_M", 0.9),
    ("IQ1_S", 0.9),
    ("TQ1_0", 0.95),
    ("TQ2_0", 0.95),
    ("Q1_0", 0.9),
    ("Q2_0", 0.9),
    ("bitsandbytes nf4", 0.2),
    ("bitsandbytes fp4", 0.3),
    ("bitsandbytes int8", 0.03),
    ("int8 with scales", 0.03),
    ("fp8 with scales", 0.06),
    ("bitnet", 0.9),
];

/// The same by the last word of the stored type, for any library: `gptq 4-bit`, `torchao fp8`. The values are 1.2 to
/// 4 times the largest error that was measured on files of the libraries.
const USUAL_OF_CODES: &[(&str, f64)] = &[
    ("2-bit", 0.95),
    ("3-bit", 0.6),
    ("4-bit", 0.35),
    ("5-bit", 0.15),
    ("6-bit", 0.08),
    ("7-bit", 0.05),
    ("8-bit", 0.06),
    ("fp8", 0.12),
    ("mxfp8", 0.06),
    ("mxfp4", 0.3),
    ("nvfp4", 0.25),
];

/// Returns the maximum usual relative error of a stored type; zero for exact and unknown types.
pub(super) fn usual(stored_as: &str) -> f64 {
    let last = stored_as.rsplit(' ').next().unwrap_or_default();
    let whole = USUAL.iter().find(|(name, _)| stored_as == *name);
    let found = whole.or_else(|| USUAL_OF_CODES.iter().find(|(name, _)| last == *name));
    found.map_or(0.0, |(_, error)| *error)
}
