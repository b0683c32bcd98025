//! The names of the tensors of each architecture in llama.cpp and in Hugging Face.
//!
//! Sources in llama.cpp: `gguf-py/gguf/tensor_mapping.py` and `constants.py` for the names, and the classes of
//! `convert_hf_to_gguf.py` (now in `conversion/`) for the layouts.

use super::layout::{Projection, WeightLayout};

/// The names of a tensor in both containers, without `.weight` or `.bias`.
pub(super) struct TensorMapping {
    /// The name in GGUF within a layer.
    pub gguf: &'static str,
    /// The canonical Hugging Face name within a layer. `*` stands for the number of an expert.
    pub hugging_face: &'static str,
    /// How the elements of the weight are arranged.
    pub layout: WeightLayout,
}

/// The tensors of an architecture.
pub(super) struct ArchitectureMapping {
    /// The value of `general.architecture` in the GGUF metadata.
    pub name: &'static str,
    /// The Hugging Face name of the list of layers.
    pub layers: &'static str,
    /// The tensors outside of layers.
    pub globals: &'static [TensorMapping],
    /// The tensors of each layer, in groups that architectures share.
    pub layer: &'static [&'static [TensorMapping]],
}

const fn plain(gguf: &'static str, hugging_face: &'static str) -> TensorMapping {
    TensorMapping { gguf, hugging_face, layout: WeightLayout::Plain }
}

const fn rotary(gguf: &'static str, hugging_face: &'static str, of: Projection) -> TensorMapping {
    TensorMapping { gguf, hugging_face, layout: WeightLayout::RotaryRows(of) }
}

const fn transposed(gguf: &'static str, hugging_face: &'static str) -> TensorMapping {
    TensorMapping { gguf, hugging_face, layout: WeightLayout::Transposed }
}

const fn experts(gguf: &'static str, hugging_face: &'static str) -> TensorMapping {
    TensorMapping { gguf, hugging_face, layout: WeightLayout::Experts }
}

const DECODER: &[TensorMapping] = &[
    plain("token_embd", "embed_tokens"),
    plain("output_norm", "norm"),
    plain("output", "lm_head"),
];

const NORMS: &[TensorMapping] =
    &[plain("attn_norm", "input_layernorm"), plain("ffn_norm", "post_attention_layernorm")];

/// Gemma 2 and later have norms before and after each block, and `ffn_norm` is a different one.
const FOUR_NORMS: &[TensorMapping] = &[
    plain("attn_norm", "input_layernorm"),
    plain("post_attention_norm", "post_attention_layernorm"),
    plain("ffn_norm", "pre_feedforward_layernorm"),
    plain("post_ffw_norm", "post_feedforward_layernorm"),
];

const ATTENTION: &[TensorMapping] = &[
    plain("attn_q", "self_attn.q_proj"),
    plain("attn_k", "self_attn.k_proj"),
    plain("attn_v", "self_attn.v_proj"),
    plain("attn_output", "self_attn.o_proj"),
];

/// Only files of the architecture `llama` use rotary embedding on neighbouring pairs; the other architectures keep
/// the halves of Hugging Face.
const ROTARY_ATTENTION: &[TensorMapping] = &[
    rotary("attn_q", "self_attn.q_proj", Projection::Query),
    rotary("attn_k", "self_attn.k_proj", Projection::Key),
    plain("attn_v", "self_attn.v_proj"),
    plain("attn_output", "self_attn.o_proj"),
];

const HEAD_NORMS: &[TensorMapping] =
    &[plain("attn_q_norm", "self_attn.q_norm"), plain("attn_k_norm", "self_attn.k_norm")];

const MLP: &[TensorMapping] = &[
    plain("ffn_gate", "mlp.gate_proj"),
    plain("ffn_up", "mlp.up_proj"),
    plain("ffn_down", "mlp.down_proj"),
];

const MIXTRAL: &[TensorMapping] = &[
    plain("ffn_gate_inp", "block_sparse_moe.gate"),
    experts("ffn_gate_exps", "block_sparse_moe.experts.*.w1"),
    experts("ffn_down_exps", "block_sparse_moe.experts.*.w2"),
    experts("ffn_up_exps", "block_sparse_moe.experts.*.w3"),
];

const QWEN_EXPERTS: &[TensorMapping] = &[
    plain("ffn_gate_inp", "mlp.gate"),
    experts("ffn_gate_exps", "mlp.experts.*.gate_proj"),
    experts("ffn_up_exps", "mlp.experts.*.up_proj"),
    experts("ffn_down_exps", "mlp.experts.*.down_proj"),
];

const SHARED_EXPERT: &[TensorMapping] = &[
    plain("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
    plain("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
    plain("ffn_up_shexp", "mlp.shared_expert.up_proj"),
    plain("ffn_down_shexp", "mlp.shared_expert.down_proj"),
];

/// Query, key and value are one matrix, and so are gate and up, in both containers.
const PHI3: &[TensorMapping] = &[
    plain("attn_qkv", "self_attn.qkv_proj"),
    plain("attn_output", "self_attn.o_proj"),
    plain("ffn_up", "mlp.gate_up_proj"),
    plain("ffn_down", "mlp.down_proj"),
];

/// Files of older converters hold the token embedding a second time, as `output`.
const GPT2_GLOBALS: &[TensorMapping] = &[
    plain("token_embd", "wte"),
    plain("position_embd", "wpe"),
    plain("output_norm", "ln_f"),
    plain("output", "lm_head"),
];

const GPT2: &[TensorMapping] = &[
    plain("attn_norm", "ln_1"),
    transposed("attn_qkv", "attn.c_attn"),
    transposed("attn_output", "attn.c_proj"),
    plain("ffn_norm", "ln_2"),
    transposed("ffn_up", "mlp.c_fc"),
    transposed("ffn_down", "mlp.c_proj"),
];

/// The converter omits the pooler and the pre-training heads. The classifier (`cls`) is omitted here, because the
/// file does not tell which of several Hugging Face names it had.
const BERT_GLOBALS: &[TensorMapping] = &[
    plain("token_embd", "embeddings.word_embeddings"),
    plain("position_embd", "embeddings.position_embeddings"),
    plain("token_types", "embeddings.token_type_embeddings"),
    plain("token_embd_norm", "embeddings.LayerNorm"),
];

const BERT: &[TensorMapping] = &[
    plain("attn_q", "attention.self.query"),
    plain("attn_k", "attention.self.key"),
    plain("attn_v", "attention.self.value"),
    plain("attn_output", "attention.output.dense"),
    plain("attn_output_norm", "attention.output.LayerNorm"),
    plain("ffn_up", "intermediate.dense"),
    plain("ffn_down", "output.dense"),
    plain("layer_output_norm", "output.LayerNorm"),
];

const fn decoder(
    name: &'static str,
    layer: &'static [&'static [TensorMapping]],
) -> ArchitectureMapping {
    ArchitectureMapping { name, layers: "layers", globals: DECODER, layer }
}

/// The architectures with known names. Mistral and Mixtral are `llama` in GGUF.
pub(super) const ARCHITECTURES: &[ArchitectureMapping] = &[
    decoder("llama", &[NORMS, ROTARY_ATTENTION, MLP, MIXTRAL]),
    decoder("qwen2", &[NORMS, ATTENTION, MLP]),
    decoder("qwen2moe", &[NORMS, ATTENTION, QWEN_EXPERTS, SHARED_EXPERT]),
    decoder("qwen3", &[NORMS, ATTENTION, HEAD_NORMS, MLP]),
    decoder("qwen3moe", &[NORMS, ATTENTION, HEAD_NORMS, QWEN_EXPERTS]),
    decoder("gemma", &[NORMS, ATTENTION, MLP]),
    decoder("gemma2", &[FOUR_NORMS, ATTENTION, MLP]),
    decoder("gemma3", &[FOUR_NORMS, ATTENTION, HEAD_NORMS, MLP]),
    decoder("phi3", &[NORMS, PHI3]),
    ArchitectureMapping { name: "gpt2", layers: "h", globals: GPT2_GLOBALS, layer: &[GPT2] },
    ArchitectureMapping {
        name: "bert",
        layers: "encoder.layer",
        globals: BERT_GLOBALS,
        layer: &[BERT],
    },
];
