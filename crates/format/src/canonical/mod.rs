//! Canonical names and layouts of tensors, so that a mark survives the conversion of a checkpoint.
//!
//! The chips of a tensor follow from its canonical name and from the index of the element in the Hugging Face
//! tensor. [`canonical_name`] removes what wrappers add to a name, [`gguf::from_gguf`] translates names from GGUF,
//! and [`layout`] maps the positions of the elements.
//!
//! A canonical name is not unique: `model.x` and `module.x` have the same one. Tensors with the same canonical name
//! have the same chips, so a correlation must count each canonical name of a model only **once**. Otherwise a model
//! that holds a tensor many times under wrapped names would multiply a correlation that is due to chance, and the
//! bound on the statistic would not hold.

mod architectures;
pub mod gguf;
pub mod layout;

use std::borrow::Cow;

/// Components that wrappers insert anywhere in a name. They are private attributes of the wrapping class (FSDP,
/// activation checkpointing and `torch.compile` in PyTorch; DeepSpeed and Lightning Fabric), and no model uses them
/// as names of its modules.
const INSERTED: &[&str] =
    &["_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "_forward_module"];

/// The name that tuner layers of PEFT give to the wrapped layer. It is removed only before the last component,
/// where it always is.
const BASE_LAYER: &str = "base_layer";

/// Leading components that say which class a model was saved from, not which tensor it is:
/// `module` of data parallelism, `pretrained_model` of TRL's value-head models, `language_model`
/// and `llm` of models with several modalities, and the `base_model_prefix` of classes in
/// transformers, which is there with a head (`BertForMaskedLM`) and missing without
/// (`BertModel`).
///
/// `encoder` and `decoder` (T5, BART), `text_model` and `vision_model` (CLIP), `vision_tower` and
/// the like are not wrappers: both sides of such a pair hold the same names behind them.
/// `backbone` is not here either: detectors have other parts with the same names.
const LEADING: &[&str] = &[
    "module",
    "model",
    "pretrained_model",
    "language_model",
    "llm",
    "transformer",
    "gpt_neox",
    "bert",
    "roberta",
    "distilbert",
    "albert",
    "electra",
    "deberta",
    "mpnet",
    "longformer",
];

/// The model of PEFT and the tuner in it. `base_model` alone is not removed.
const PEFT: &str = "base_model.model.";

/// Returns the name of a tensor without the components that wrappers add.
///
/// Any text is allowed. The function is idempotent, and a name that consists only of wrapper components keeps its
/// last one, so that only the empty name has an empty result.
///
/// ```
/// # use tensorseal_format::canonical::canonical_name;
/// let wrapped = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight";
/// assert_eq!(canonical_name(wrapped), "layers.0.self_attn.q_proj.weight");
/// ```
pub fn canonical_name(name: &str) -> Cow<'_, str> {
    // Inserted components are removed first, because they may be between the parts of a prefix.
    match without_inserted(name) {
        None => Cow::Borrowed(without_leading(name)),
        Some(name) => Cow::Owned(without_leading(&name).to_owned()),
    }
}

/// Returns the name without inserted components, or `None` if it has none or if nothing would remain.
fn without_inserted(name: &str) -> Option<String> {
    let (path, last) = name.rsplit_once('.')?;
    let path: Vec<&str> = path.split('.').collect();
    let mut kept: Vec<&str> =
        path.iter().copied().filter(|component| !INSERTED.contains(component)).collect();
    while kept.last() == Some(&BASE_LAYER) {
        kept.pop();
    }
    if kept.len() == path.len() || (kept.is_empty() && last.is_empty()) {
        return None;
    }
    kept.push(last);
    Some(kept.join("."))
}

fn without_leading(mut name: &str) -> &str {
    while let Some(rest) = without_one_leading(name).filter(|rest| !rest.is_empty()) {
        name = rest;
    }
    name
}

fn without_one_leading(name: &str) -> Option<&str> {
    if let Some(rest) = name.strip_prefix(PEFT) {
        return Some(rest);
    }
    let (first, rest) = name.split_once('.')?;
    LEADING.contains(&first).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wrappers_are_taken_off() {
        for (name, canonical) in [
            ("model.layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.weight"),
            ("model.model.embed_tokens.weight", "embed_tokens.weight"),
            ("module.lm_head.weight", "lm_head.weight"),
            ("_orig_mod.model.norm.weight", "norm.weight"),
            ("module._orig_mod.transformer.h.3.attn.c_attn.weight", "h.3.attn.c_attn.weight"),
            (
                "_fsdp_wrapped_module.model.layers.1._fsdp_wrapped_module.\
                 _checkpoint_wrapped_module.mlp.up_proj.weight",
                "layers.1.mlp.up_proj.weight",
            ),
            ("base_model.model.model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
            ("base_model._orig_mod.model.lm_head.weight", "lm_head.weight"),
            ("model.layers.0.self_attn.k_proj.base_layer.bias", "layers.0.self_attn.k_proj.bias"),
            ("h.0.mlp.c_fc.base_layer._orig_mod.base_layer.weight", "h.0.mlp.c_fc.weight"),
            ("pretrained_model.transformer.wte.weight", "wte.weight"),
            ("bert.encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.weight"),
            ("roberta.pooler.dense.bias", "pooler.dense.bias"),
            ("distilbert.transformer.layer.0.ffn.lin1.weight", "layer.0.ffn.lin1.weight"),
            ("gpt_neox.embed_in.weight", "embed_in.weight"),
            ("language_model.model.layers.7.mlp.down_proj.weight", "layers.7.mlp.down_proj.weight"),
            ("model.language_model.layers.7.mlp.down_proj.weight", "layers.7.mlp.down_proj.weight"),
            ("language_model.lm_head.weight", "lm_head.weight"),
        ] {
            assert_eq!(canonical_name(name), canonical);
        }
    }

    #[test]
    fn parts_of_models_stay() {
        for name in [
            "layers.0.self_attn.q_proj.weight",
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            "decoder.block.0.layer.1.EncDecAttention.k.weight",
            "shared.weight",
            "text_model.encoder.layers.0.self_attn.q_proj.weight",
            "vision_model.encoder.layers.0.self_attn.q_proj.weight",
            "vision_tower.vision_model.embeddings.patch_embedding.weight",
            "visual.transformer.resblocks.0.attn.in_proj_weight",
            "decoder.model.norm.weight",
            "base_model.layers.0.weight",
            "layers.0.base_layer.norm.weight",
            "layers.0.self_attn.q_proj.lora_A.weight",
            "models.x",
            "modelx.y",
        ] {
            assert!(matches!(canonical_name(name), Cow::Borrowed(same) if same == name), "{name}");
        }
        // One side of an encoder and decoder keeps its name behind a wrapper, too.
        assert_eq!(
            canonical_name("model.decoder.layers.0.fc1.weight"),
            "decoder.layers.0.fc1.weight"
        );
    }

    #[test]
    fn names_of_wrappers_alone_do_not_become_empty() {
        for (name, canonical) in [
            ("", ""),
            (".", "."),
            ("model", "model"),
            ("model.", "model."),
            ("module.model.", "model."),
            ("base_model.model.", "base_model.model."),
            ("module.base_model.model", "base_model.model"),
            ("_orig_mod", "_orig_mod"),
            ("_orig_mod.", "_orig_mod."),
            ("_orig_mod.base_layer.", "_orig_mod.base_layer."),
            ("model._orig_mod.", "model."),
            ("_orig_mod._fsdp_wrapped_module", "_fsdp_wrapped_module"),
            ("base_layer.weight", "weight"),
            ("model.base_layer", "base_layer"),
            (".model.x", ".model.x"),
        ] {
            assert_eq!(canonical_name(name), canonical, "{name:?}");
        }
    }

    #[test]
    fn long_names_take_linear_time() {
        let name = format!("{}weight", "module._orig_mod.".repeat(200_000));
        assert_eq!(canonical_name(&name), "weight");
        let name = "model.".repeat(500_000);
        assert_eq!(canonical_name(&name), "model.");
    }

    fn check(name: &str) {
        let once = canonical_name(name);
        assert_eq!(canonical_name(&once), once, "{name:?}");
        assert_eq!(once.is_empty(), name.is_empty(), "{name:?}");
    }

    const OTHERS: &[&str] = &["base_model", "base_layer", "", "0", "weight", "é"];

    proptest! {
        #[test]
        fn any_text_is_canonical_after_one_pass(name in any::<String>()) {
            check(&name);
        }

        #[test]
        fn any_mixture_of_components_is_canonical_after_one_pass(
            components in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(INSERTED),
                    prop::sample::select(LEADING),
                    prop::sample::select(OTHERS),
                ],
                0..9,
            ),
        ) {
            check(&components.join("."));
        }
    }
}
