use super::super::canonical_name;
use super::super::layout::Projection::{Key, Query};
use super::*;
use WeightLayout::{Experts, Plain, RotaryRows, Transposed};
use proptest::prelude::*;

/// A GGUF name, the name in the Hugging Face checkpoint as it is written there, the layout.
type Tensor = (&'static str, &'static str, WeightLayout);

/// Both ends of every architecture, written out; layer 11 stands for all.
fn check(architecture: &str, tensors: &[Tensor]) {
    for &(gguf, hugging_face, layout) in tensors {
        let mapped = from_gguf(architecture, gguf).unwrap_or_else(|| panic!("no {gguf}"));
        assert_eq!(mapped.name, canonical_name(hugging_face), "{architecture} {gguf}");
        assert_eq!(mapped.layout, layout, "{architecture} {gguf}");
    }
}

/// What is the same in all decoders with the names of llama, but for query and key.
const DECODER: &[Tensor] = &[
    ("token_embd.weight", "model.embed_tokens.weight", Plain),
    ("output_norm.weight", "model.norm.weight", Plain),
    ("output.weight", "lm_head.weight", Plain),
    ("blk.11.attn_norm.weight", "model.layers.11.input_layernorm.weight", Plain),
    ("blk.11.attn_output.weight", "model.layers.11.self_attn.o_proj.weight", Plain),
];

const VALUE: &[Tensor] =
    &[("blk.11.attn_v.weight", "model.layers.11.self_attn.v_proj.weight", Plain)];

const MLP: &[Tensor] = &[
    ("blk.11.ffn_down.weight", "model.layers.11.mlp.down_proj.weight", Plain),
    ("blk.11.ffn_gate.weight", "model.layers.11.mlp.gate_proj.weight", Plain),
    ("blk.11.ffn_up.weight", "model.layers.11.mlp.up_proj.weight", Plain),
];

const HALVES: &[Tensor] = &[
    ("blk.11.attn_q.weight", "model.layers.11.self_attn.q_proj.weight", Plain),
    ("blk.11.attn_k.weight", "model.layers.11.self_attn.k_proj.weight", Plain),
];

const TWO_NORMS: &[Tensor] =
    &[("blk.11.ffn_norm.weight", "model.layers.11.post_attention_layernorm.weight", Plain)];

const FOUR_NORMS: &[Tensor] = &[
    ("blk.11.post_attention_norm.weight", "model.layers.11.post_attention_layernorm.weight", Plain),
    ("blk.11.ffn_norm.weight", "model.layers.11.pre_feedforward_layernorm.weight", Plain),
    ("blk.11.post_ffw_norm.weight", "model.layers.11.post_feedforward_layernorm.weight", Plain),
];

const HEAD_NORMS: &[Tensor] = &[
    ("blk.11.attn_q_norm.weight", "model.layers.11.self_attn.q_norm.weight", Plain),
    ("blk.11.attn_k_norm.weight", "model.layers.11.self_attn.k_norm.weight", Plain),
];

const QWEN_EXPERTS: &[Tensor] = &[
    ("blk.11.ffn_gate_inp.weight", "model.layers.11.mlp.gate.weight", Plain),
    ("blk.11.ffn_gate_exps.weight", "model.layers.11.mlp.experts.*.gate_proj.weight", Experts),
    ("blk.11.ffn_up_exps.weight", "model.layers.11.mlp.experts.*.up_proj.weight", Experts),
    ("blk.11.ffn_down_exps.weight", "model.layers.11.mlp.experts.*.down_proj.weight", Experts),
];

#[test]
fn llama_and_mistral() {
    check("llama", DECODER);
    check("llama", VALUE);
    check("llama", MLP);
    check("llama", TWO_NORMS);
    check(
        "llama",
        &[
            ("blk.11.attn_q.weight", "model.layers.11.self_attn.q_proj.weight", RotaryRows(Query)),
            ("blk.11.attn_k.weight", "model.layers.11.self_attn.k_proj.weight", RotaryRows(Key)),
            ("blk.11.attn_q.bias", "model.layers.11.self_attn.q_proj.bias", RotaryRows(Query)),
            ("blk.11.attn_k.bias", "model.layers.11.self_attn.k_proj.bias", RotaryRows(Key)),
            ("blk.11.attn_v.bias", "model.layers.11.self_attn.v_proj.bias", Plain),
        ],
    );
}

#[test]
fn mixtral() {
    let expert = "model.layers.11.block_sparse_moe.experts";
    check(
        "llama",
        &[
            ("blk.11.ffn_gate_inp.weight", "model.layers.11.block_sparse_moe.gate.weight", Plain),
            (
                "blk.11.ffn_gate_exps.weight",
                "model.layers.11.block_sparse_moe.experts.*.w1.weight",
                Experts,
            ),
            (
                "blk.11.ffn_down_exps.weight",
                "model.layers.11.block_sparse_moe.experts.*.w2.weight",
                Experts,
            ),
            (
                "blk.11.ffn_up_exps.weight",
                "model.layers.11.block_sparse_moe.experts.*.w3.weight",
                Experts,
            ),
            // Older files.
            (
                "blk.11.ffn_gate.7.weight",
                "model.layers.11.block_sparse_moe.experts.7.w1.weight",
                Plain,
            ),
            (
                "blk.11.ffn_down.0.weight",
                "model.layers.11.block_sparse_moe.experts.0.w2.weight",
                Plain,
            ),
            (
                "blk.11.ffn_up.10.weight",
                "model.layers.11.block_sparse_moe.experts.10.w3.weight",
                Plain,
            ),
        ],
    );
    let stack = from_gguf("llama", "blk.11.ffn_down_exps.weight").unwrap();
    for number in [0, 7, u64::MAX] {
        let name = format!("{expert}.{number}.w2.weight");
        assert_eq!(stack.tensor_name(number), canonical_name(&name));
    }
    let plain = from_gguf("llama", "output.weight").unwrap();
    assert_eq!(plain.tensor_name(3), "lm_head.weight");
}

#[test]
fn qwen() {
    for architecture in ["qwen2", "qwen2moe", "qwen3", "qwen3moe"] {
        check(architecture, DECODER);
        check(architecture, VALUE);
        check(architecture, HALVES);
        check(architecture, TWO_NORMS);
    }
    check(
        "qwen2",
        &[
            ("blk.11.attn_q.bias", "model.layers.11.self_attn.q_proj.bias", Plain),
            ("blk.11.attn_k.bias", "model.layers.11.self_attn.k_proj.bias", Plain),
            ("blk.11.attn_v.bias", "model.layers.11.self_attn.v_proj.bias", Plain),
        ],
    );
    check("qwen2", MLP);
    check("qwen3", MLP);
    check("qwen3", HEAD_NORMS);
    check("qwen3moe", HEAD_NORMS);
    check("qwen3moe", QWEN_EXPERTS);
    check("qwen2moe", QWEN_EXPERTS);
    check(
        "qwen2moe",
        &[
            (
                "blk.11.ffn_gate_inp_shexp.weight",
                "model.layers.11.mlp.shared_expert_gate.weight",
                Plain,
            ),
            (
                "blk.11.ffn_gate_shexp.weight",
                "model.layers.11.mlp.shared_expert.gate_proj.weight",
                Plain,
            ),
            (
                "blk.11.ffn_up_shexp.weight",
                "model.layers.11.mlp.shared_expert.up_proj.weight",
                Plain,
            ),
            (
                "blk.11.ffn_down_shexp.weight",
                "model.layers.11.mlp.shared_expert.down_proj.weight",
                Plain,
            ),
        ],
    );
    assert_eq!(from_gguf("qwen2", "blk.0.ffn_gate_exps.weight"), None);
}

#[test]
fn gemma() {
    for (architecture, norms) in
        [("gemma", TWO_NORMS), ("gemma2", FOUR_NORMS), ("gemma3", FOUR_NORMS)]
    {
        check(architecture, DECODER);
        check(architecture, VALUE);
        check(architecture, MLP);
        check(architecture, HALVES);
        check(architecture, norms);
    }
    check("gemma3", HEAD_NORMS);
    // With images, the text model lies one level deeper.
    for prefix in ["language_model.model", "model.language_model"] {
        let name = format!("{prefix}.layers.2.mlp.up_proj.weight");
        let mapped = from_gguf("gemma3", "blk.2.ffn_up.weight").unwrap();
        assert_eq!(mapped.name, canonical_name(&name));
    }
}

#[test]
fn phi3() {
    check("phi3", DECODER);
    check("phi3", TWO_NORMS);
    check(
        "phi3",
        &[
            ("blk.11.attn_qkv.weight", "model.layers.11.self_attn.qkv_proj.weight", Plain),
            ("blk.11.ffn_up.weight", "model.layers.11.mlp.gate_up_proj.weight", Plain),
            ("blk.11.ffn_down.weight", "model.layers.11.mlp.down_proj.weight", Plain),
        ],
    );
    assert_eq!(from_gguf("phi3", "rope_factors_long.weight"), None);
}

#[test]
fn gpt2() {
    check(
        "gpt2",
        &[
            ("token_embd.weight", "transformer.wte.weight", Plain),
            ("position_embd.weight", "transformer.wpe.weight", Plain),
            ("output_norm.weight", "transformer.ln_f.weight", Plain),
            ("output_norm.bias", "transformer.ln_f.bias", Plain),
            ("output.weight", "lm_head.weight", Plain),
            ("blk.11.attn_norm.weight", "transformer.h.11.ln_1.weight", Plain),
            ("blk.11.attn_norm.bias", "h.11.ln_1.bias", Plain),
            ("blk.11.attn_qkv.weight", "h.11.attn.c_attn.weight", Transposed),
            ("blk.11.attn_qkv.bias", "h.11.attn.c_attn.bias", Plain),
            ("blk.11.attn_output.weight", "h.11.attn.c_proj.weight", Transposed),
            ("blk.11.attn_output.bias", "h.11.attn.c_proj.bias", Plain),
            ("blk.11.ffn_norm.weight", "h.11.ln_2.weight", Plain),
            ("blk.11.ffn_norm.bias", "h.11.ln_2.bias", Plain),
            ("blk.11.ffn_up.weight", "transformer.h.11.mlp.c_fc.weight", Transposed),
            ("blk.11.ffn_up.bias", "transformer.h.11.mlp.c_fc.bias", Plain),
            ("blk.11.ffn_down.weight", "transformer.h.11.mlp.c_proj.weight", Transposed),
            ("blk.11.ffn_down.bias", "transformer.h.11.mlp.c_proj.bias", Plain),
        ],
    );
}

#[test]
fn bert() {
    const TENSORS: &[(&str, &str)] = &[
        ("token_embd.weight", "embeddings.word_embeddings.weight"),
        ("position_embd.weight", "embeddings.position_embeddings.weight"),
        ("token_types.weight", "embeddings.token_type_embeddings.weight"),
        ("token_embd_norm.weight", "embeddings.LayerNorm.weight"),
        ("token_embd_norm.bias", "embeddings.LayerNorm.bias"),
        ("blk.11.attn_q.weight", "encoder.layer.11.attention.self.query.weight"),
        ("blk.11.attn_q.bias", "encoder.layer.11.attention.self.query.bias"),
        ("blk.11.attn_k.weight", "encoder.layer.11.attention.self.key.weight"),
        ("blk.11.attn_k.bias", "encoder.layer.11.attention.self.key.bias"),
        ("blk.11.attn_v.weight", "encoder.layer.11.attention.self.value.weight"),
        ("blk.11.attn_v.bias", "encoder.layer.11.attention.self.value.bias"),
        ("blk.11.attn_output.weight", "encoder.layer.11.attention.output.dense.weight"),
        ("blk.11.attn_output.bias", "encoder.layer.11.attention.output.dense.bias"),
        ("blk.11.attn_output_norm.weight", "encoder.layer.11.attention.output.LayerNorm.weight"),
        ("blk.11.attn_output_norm.bias", "encoder.layer.11.attention.output.LayerNorm.bias"),
        ("blk.11.ffn_up.weight", "encoder.layer.11.intermediate.dense.weight"),
        ("blk.11.ffn_up.bias", "encoder.layer.11.intermediate.dense.bias"),
        ("blk.11.ffn_down.weight", "encoder.layer.11.output.dense.weight"),
        ("blk.11.ffn_down.bias", "encoder.layer.11.output.dense.bias"),
        ("blk.11.layer_output_norm.weight", "encoder.layer.11.output.LayerNorm.weight"),
        ("blk.11.layer_output_norm.bias", "encoder.layer.11.output.LayerNorm.bias"),
    ];
    for prefix in ["", "bert.", "roberta."] {
        for (gguf, hugging_face) in TENSORS {
            let mapped = from_gguf("bert", gguf).unwrap();
            assert_eq!(mapped.name, canonical_name(&format!("{prefix}{hugging_face}")));
            assert_eq!(mapped.layout, Plain);
        }
    }
    assert_eq!(from_gguf("bert", "cls.output.weight"), None);
}

#[test]
fn every_row_leads_to_a_canonical_name_of_its_own() {
    for architecture in ARCHITECTURES {
        let mut seen = std::collections::HashSet::new();
        let globals = architecture.globals.iter().map(|row| row.gguf.to_owned());
        let layer = architecture.layer.iter().copied().flatten();
        let layer = layer.map(|row| format!("blk.0.{}", row.gguf));
        for stem in globals.chain(layer) {
            let mapped = from_gguf(architecture.name, &format!("{stem}.weight")).unwrap();
            assert_eq!(canonical_name(&mapped.name), mapped.name);
            assert_eq!(mapped.name.matches('*').count(), usize::from(mapped.layout == Experts));
            assert!(seen.insert(mapped.name), "{} {stem}", architecture.name);
        }
    }
}

#[test]
fn other_names_have_no_counterpart() {
    let long = "9".repeat(1 << 20);
    for name in [
        "",
        ".",
        "weight",
        ".weight",
        "blk",
        "blk.",
        "blk..weight",
        "blk.0.weight",
        "blk.0..weight",
        "blk.0.attn_q",
        "blk.0.attn_q.",
        "blk.0.attn_q.scale",
        "blk.0.attn_q.weight ",
        "blk.0.attn_q.WEIGHT",
        "blk.00.attn_q.weight",
        "blk.+1.attn_q.weight",
        "blk.-1.attn_q.weight",
        "blk.1_0.attn_q.weight",
        "blk.٣.attn_q.weight",
        "blk.4294967296.attn_q.weight",
        &format!("blk.{long}.attn_q.weight"),
        "blk.0.token_embd.weight",
        "attn_q.weight",
        "blk.0.ffn_gate_exps.bias",
        "blk.0.ffn_gate.01.weight",
        "blk.0.ffn_gate.0.0.weight",
        "blk.0.ffn_gate.*.weight",
        "blk.0.ffn_gate_exps.0.weight",
        "blk.0.attn_q.0.weight",
        "rope_freqs.weight",
    ] {
        assert_eq!(from_gguf("llama", name), None, "{name:.40}");
    }
    assert!(from_gguf("llama", "blk.4294967295.attn_q.weight").is_some());
    for architecture in ["", "LLAMA", "mamba", "llama "] {
        assert_eq!(from_gguf(architecture, "token_embd.weight"), None);
    }
}

const PARTS: &[&str] = &["blk", "attn_q", "ffn_gate", "ffn_up_exps", "weight", "bias"];

proptest! {
    #[test]
    fn any_text_is_answered(architecture in 0..ARCHITECTURES.len(), name in any::<String>()) {
        let _ = from_gguf(ARCHITECTURES[architecture].name, &name);
    }

    #[test]
    fn any_mixture_of_parts_is_answered(
        architecture in 0..ARCHITECTURES.len(),
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(PARTS).prop_map(str::to_owned),
                any::<u64>().prop_map(|number| number.to_string()),
                any::<String>(),
            ],
            0..6,
        ),
    ) {
        let name = parts.join(".");
        if let Some(mapped) = from_gguf(ARCHITECTURES[architecture].name, &name) {
            prop_assert_eq!(canonical_name(&mapped.name), mapped.name.as_str());
        }
    }
}
