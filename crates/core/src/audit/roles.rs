//! Derives the role of a tensor and the number of its layer from its name alone.
//!
//! Every family of models numbers its layers, and names the tensors of all layers alike:
//! `model.layers.7.mlp.up_proj.weight`, `h.7.mlp.c_fc.weight`, `encoder.layer.7.output.dense.weight`,
//! `blocks.7.attn.qkv.weight`, `layer2.1.conv1.weight`. The first number is the layer; the name
//! without it is the role. Further numbers (experts, sub-blocks) belong to the role.

/// The role and the layer of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorRole {
    /// The name with `*` in place of the layer number. Tensors of equal roles are siblings.
    pub role: String,
    /// The number of the layer, or `None` for a tensor outside the layers.
    pub depth: Option<u64>,
}

/// Returns the role and the layer of the tensor called `name`.
pub fn role(name: &str) -> TensorRole {
    let mut depth = None;
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('.') {
        let number = part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
        match number {
            Some(number) if depth.is_none() && !parts.is_empty() => {
                depth = Some(number);
                parts.push("*");
            }
            _ => parts.push(part),
        }
    }
    TensorRole { role: parts.join("."), depth }
}

/// Returns a short title for a role: the part after the layer number, without `.weight`.
pub fn title(role: &str) -> &str {
    let suffix = role.split_once("*.").map_or(role, |(_, suffix)| suffix);
    suffix.strip_suffix(".weight").unwrap_or(suffix)
}

/// Returns whether the name is that of a table that is looked up by row, such as an embedding. Some rows of such a table
/// may never have been trained.
pub fn is_table(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "embed",
        "embd",
        "emb.",
        "wte",
        "wpe",
        "token_types",
        "shared.",
        "lm_head",
        "vocab",
        "decoder.bias",
    ];
    // GGUF's `attn_output.weight` is not a table.
    const OUTPUT_HEAD: &str = "output.weight";
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
        || name == OUTPUT_HEAD
        || name.ends_with(".output.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_recognised_in_every_family() {
        for (name, expected, depth) in [
            ("model.layers.7.mlp.up_proj.weight", "model.layers.*.mlp.up_proj.weight", Some(7)),
            ("h.11.attn.c_attn.weight", "h.*.attn.c_attn.weight", Some(11)),
            ("encoder.layer.0.output.dense.bias", "encoder.layer.*.output.dense.bias", Some(0)),
            ("layer2.1.conv1.weight", "layer2.*.conv1.weight", Some(1)),
            ("model.layers.3.experts.5.w1.weight", "model.layers.*.experts.5.w1.weight", Some(3)),
            ("model.embed_tokens.weight", "model.embed_tokens.weight", None),
            ("0", "0", None),
        ] {
            assert_eq!(role(name), TensorRole { role: expected.into(), depth }, "{name}");
        }
        assert_eq!(title("model.layers.*.mlp.up_proj.weight"), "mlp.up_proj");
        assert_eq!(title("model.norm.weight"), "model.norm");
        assert!(is_table("model.embed_tokens.weight") && !is_table("h.*.mlp.c_fc.weight"));
        assert!(is_table("token_embd.weight") && is_table("output.weight"));
        assert!(is_table("model.output.weight") && !is_table("blk.0.attn_output.weight"));
    }
}
