//! A model of llama's shape and the file that ggml's own quantiser made of it (`testdata/gguf/llama.gguf`,
//! each matrix another type): every weight is paired with the one it was made from.

use crate::common::*;
use shake::digest::{ExtendableOutput, Update, XofReader};
use tempfile::TempDir;

/// Tensors of `tests/python/llama.py`, `TINY`.
const TENSORS: [(&str, &[u64]); 12] = [
    ("model.embed_tokens.weight", &[32, 256]),
    ("model.norm.weight", &[256]),
    ("lm_head.weight", &[32, 256]),
    ("model.layers.0.self_attn.q_proj.weight", &[256, 256]),
    ("model.layers.0.self_attn.k_proj.weight", &[128, 256]),
    ("model.layers.0.self_attn.v_proj.weight", &[128, 256]),
    ("model.layers.0.self_attn.o_proj.weight", &[256, 256]),
    ("model.layers.0.mlp.gate_proj.weight", &[256, 256]),
    ("model.layers.0.mlp.up_proj.weight", &[256, 256]),
    ("model.layers.0.mlp.down_proj.weight", &[256, 256]),
    ("model.layers.0.input_layernorm.weight", &[256]),
    ("model.layers.0.post_attention_layernorm.weight", &[256]),
];

/// Four bytes of SHAKE128 of the name add up to a weight, less their mean, in units of 2^-13.
fn weight(name: &str, shape: &[u64]) -> Vec<u8> {
    let mut shake = shake::Shake128::default();
    shake.update(name.as_bytes());
    let mut drawn = vec![0; 4 * shape.iter().product::<u64>() as usize];
    shake.finalize_xof().read(&mut drawn);
    let value = |four: &[u8; 4]| {
        let sum: i32 = four.iter().map(|byte| i32::from(*byte)).sum();
        (sum - 510) as f32 / 8192.0 + if shape.len() == 1 { 1.0 } else { 0.0 }
    };
    drawn.as_chunks().0.iter().flat_map(|four| value(four).to_le_bytes()).collect()
}

#[test]
fn every_matrix_is_paired_with_the_one_it_was_made_from() {
    let dir = TempDir::new().unwrap();
    let tensors: Vec<Tensor> =
        TENSORS.iter().map(|(name, shape)| (*name, "F32", *shape, weight(name, shape))).collect();
    let original = write_model(&dir.path().join("original"), &tensors);
    let quantised = tensorseal_testing::testdata("gguf/llama.gguf");
    let (code, report) = report(&["compare", arg(&original), arg(&quantised)]);
    assert_eq!(code, 1, "{report:#}");
    let comparison = &report["comparison"];
    assert_eq!(comparison["relation"], "requantised", "{comparison:#}");
    // The norms are kept as they are.
    assert_eq!(comparison["classes"]["identical"], 3);
    assert_eq!(comparison["classes"]["requantised"], 9);
    for row in comparison["weights"].as_array().unwrap() {
        let stored = &row["stored_as"];
        let kind = stored[1].as_str().unwrap();
        // What ggml's quantisers leave of normal weights: a row in the wrong place has an error of 1.4.
        let most = match kind {
            "F32" => continue,
            "Q6_K" => 0.02,
            "Q5_K" => 0.04,
            "Q4_K" | "IQ4_XS" => 0.08,
            "Q3_K" | "IQ3_S" => 0.18,
            "Q2_K" | "IQ2_XS" => 0.35,
            "IQ1_M" => 0.5,
            other => panic!("{other}"),
        };
        let relative = row["relative"].as_f64().unwrap();
        assert!(relative > 0.005 && relative < most, "{row:#}");
    }
    let (code, audit) = crate::common::report(&["audit", arg(&quantised)]);
    assert_eq!(code, 0, "{audit:#}");
}

#[test]
fn weights_of_a_directory_in_two_formats_are_held_against_each_other() {
    let dir = TempDir::new().unwrap();
    let mut tensors: Vec<Tensor> =
        TENSORS.iter().map(|(name, shape)| (*name, "F32", *shape, weight(name, shape))).collect();
    let both = dir.path().join("both");
    write_model(&both, &tensors);
    let quantised = tensorseal_testing::testdata("gguf/llama.gguf");
    std::fs::copy(quantised, both.join("model-Q.gguf")).unwrap();
    let (code, sound) = report(&["audit", arg(&both)]);
    assert_eq!(code, 0, "{sound:#}");
    // The two forms of one matrix are no longer the same.
    tensors[3].3[..1 << 16].fill(0);
    write_model(&both, &tensors);
    let (_, report) = report(&["audit", arg(&both)]);
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|found| found["rule"] == "format/copies-differ");
    let found = found.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(
        (&found["evidence"]["differing"], &found["file"]),
        (&1.into(), &"model-Q.gguf".into())
    );
    assert!(found["message"].as_str().unwrap().contains("q_proj"), "{found:#}");
}
