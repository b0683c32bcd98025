//! The names of tied weights, of which a checkpoint may store one and omit the others.
//!
//! `save_model` of safetensors records each omitted name in `__metadata__`, with the name that it kept. It keeps the
//! one that is first in the alphabet: if an output head is tied to the embedding table, this is the head. An omitted
//! name is only accepted if no other tensor can have it. A weight gets the name that ranks first, as if the table
//! had been kept, and no other name, so that no text in a header can pass one weight of a model off as another.

use super::companion_config::{CompanionConfig, directory_of};
use super::{Weight, unqualified};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::safetensors::metadata_if;
use tensorseal_format::{Checkpoint, Format};

/// The maximum length of an omitted name.
const MAX_NAME: usize = 1024;
/// The names of output heads.
const HEADS: &[&str] =
    &["lm_head.weight", "output.weight", "embed_out.weight", "cls.predictions.decoder.weight"];
/// The names of embedding tables in public architectures, without `.weight`.
const TABLES: &[&str] = &[
    "embed_tokens",
    "wte",
    "word_embeddings",
    "word_embedding",
    "embed_in",
    "tok_embeddings",
    "embeddings",
    "shared",
];
/// The table of encoder-decoder models, to which the tables of both sides are tied.
const SHARED: &str = "shared.weight";
const SIDE_TABLES: &[&str] = &["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// Returns the rank of a canonical name among those of tied weights: the shared table first, output heads last.
pub fn rank(canonical: &str) -> u8 {
    match canonical {
        SHARED => 0,
        name if HEADS.contains(&name) => 2,
        _ => 1,
    }
}

/// Returns the omitted canonical names of tensors, by index of the tensor. No tensor of the model has one of them.
pub fn names(model: &Checkpoint) -> BTreeMap<usize, Vec<String>> {
    let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let has_any = |file: &usize| model.files[*file].format == Some(Format::Safetensors);
    let mut canonical: Option<HashSet<String>> = None;
    for file in (0..model.files.len()).filter(has_any) {
        let directory = directory_of(&model.files[file].path);
        // The names as in the file, without the directory that may precede them.
        let mut in_file: HashMap<&str, usize> = HashMap::new();
        for (index, _) in model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.file == file)
        {
            let name = unqualified(model, index);
            in_file.insert(name.strip_prefix(directory).unwrap_or(name), index);
        }
        let is_alias = |omitted: &str, kept: &str| {
            omitted.len() <= MAX_NAME
                && in_file.contains_key(kept)
                && !in_file.contains_key(omitted)
        };
        let Ok(aliases) = metadata_if(&model.files[file], &is_alias) else { continue };
        if aliases.is_empty() {
            continue;
        }
        let canonical_names = canonical.get_or_insert_with(|| {
            let all = 0..model.tensors.len();
            all.map(|index| canonical_name(unqualified(model, index)).into_owned()).collect()
        });
        for (omitted, kept) in aliases {
            let index = in_file[kept.as_str()];
            let before = if unqualified(model, index).len() > kept.len() { directory } else { "" };
            let name = canonical_name(&format!("{before}{omitted}")).into_owned();
            if !canonical_names.contains(&name) {
                names.entry(index).or_default().push(name);
            }
        }
    }
    names
}

/// Gives tied weights the names that rank first.
pub(super) fn rename(model: &Checkpoint, weights: &mut [Weight]) {
    // A head is the table only if there is no table; otherwise it is another weight.
    let has_table = weights.iter().any(|weight| is_table(&weight.canonical));
    let is_head = |weight: &Weight| HEADS.contains(&weight.canonical.as_str());
    let is_side = |weight: &Weight| SIDE_TABLES.contains(&weight.canonical.as_str());
    if !weights.iter().any(|weight| is_head(weight) && !has_table || is_side(weight)) {
        return;
    }
    let others = names(model);
    let mut taken: BTreeSet<String> =
        weights.iter().map(|weight| weight.canonical.clone()).collect();
    let mut renamed: Vec<(usize, String)> = Vec::new();
    for (at, weight) in weights.iter().enumerate() {
        let tensors = weight.tensors();
        let mut others = tensors.iter().filter_map(|index| others.get(index)).flatten();
        let name = match () {
            () if is_side(weight) => others.find(|name| *name == SHARED).cloned(),
            () if is_head(weight) && !has_table => {
                let tables = others.filter(|name| is_table(name));
                let first = tables.min_by_key(|name| (rank(name), (*name).clone())).cloned();
                first.or_else(|| tied_by_config(model, weight, &taken))
            }
            () => None,
        };
        if let Some(name) = name.filter(|name| taken.insert(name.clone())) {
            renamed.push((at, name));
        }
    }
    for (at, name) in renamed {
        weights[at].canonical = name;
    }
}

/// Returns the name of the table that a head is tied to if the configuration says so, which depends on the layers
/// of the model.
fn tied_by_config(model: &Checkpoint, head: &Weight, names: &BTreeSet<String>) -> Option<String> {
    const BY_LAYER: &[(&str, &str)] = &[
        ("layers.0.self_attn.", "embed_tokens.weight"),
        ("h.0.attn.", "wte.weight"),
        ("layers.0.attention.", "embed_in.weight"),
    ];
    let has = |beginning: &str| {
        let mut following = names.range(beginning.to_owned()..);
        following.next().is_some_and(|name| name.starts_with(beginning))
    };
    let (_, table) = BY_LAYER.iter().find(|(layer, _)| has(layer))?;
    let file = model.tensors[*head.tensors().first()?].file;
    let directory = directory_of(&model.files[file].path);
    CompanionConfig::read(model, directory).is_tied.then(|| (*table).to_owned())
}

/// Returns whether a name is that of an embedding table.
fn is_table(canonical: &str) -> bool {
    let module = canonical.strip_suffix(".weight").and_then(|stem| stem.rsplit('.').next());
    module.is_some_and(|module| TABLES.contains(&module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;
    use crate::testing::{TestModel, numbers};

    /// Returns the canonical names of the weights of a model with these tensors and this `__metadata__`.
    fn names_of(tensors: &[&str], metadata: &[(&str, &str)], config: &str) -> Vec<String> {
        let test_model = TestModel::new();
        let tensors: Vec<_> = tensors.iter().map(|name| (*name, vec![2, 3], numbers(6))).collect();
        test_model.file("model.safetensors", &tensors, metadata);
        test_model.text("config.json", config);
        Weights::from_checkpoint(&test_model.open())
            .readable
            .into_iter()
            .map(|weight| weight.canonical)
            .collect()
    }

    #[test]
    fn a_head_that_was_kept_is_the_table() {
        let tied = [("format", "pt"), ("model.embed_tokens.weight", "lm_head.weight")];
        assert_eq!(names_of(&["lm_head.weight"], &tied, ""), ["embed_tokens.weight"]);
        let tied = [("transformer.wte.weight", "lm_head.weight")];
        assert_eq!(names_of(&["lm_head.weight", "transformer.h.0.x"], &tied, "")[0], "wte.weight");
        // The program that tied them kept the table.
        let tied = [("lm_head.weight", "model.embed_tokens.weight")];
        assert_eq!(names_of(&["model.embed_tokens.weight"], &tied, ""), ["embed_tokens.weight"]);
    }

    #[test]
    fn tables_of_two_sides_are_the_one_they_share() {
        let kept = "decoder.embed_tokens.weight";
        let omitted = ["encoder.embed_tokens.weight", "lm_head.weight", "shared.weight"];
        let tied = omitted.map(|name| (name, kept));
        assert_eq!(names_of(&[kept], &tied, ""), ["shared.weight"]);
        let test_model = TestModel::new();
        test_model.file("model.safetensors", &[(kept, vec![2, 3], numbers(6))], &tied);
        assert_eq!(names(&test_model.open())[&0], omitted);
    }

    #[test]
    fn a_configuration_can_state_that_weights_are_tied() {
        let tensors = ["lm_head.weight", "model.layers.0.self_attn.q_proj.weight"];
        let tied = r#"{"tie_word_embeddings": true}"#;
        assert_eq!(names_of(&tensors, &[], tied)[0], "embed_tokens.weight");
        assert_eq!(
            names_of(&tensors, &[], r#"{"tie_word_embeddings": false}"#)[0],
            "lm_head.weight"
        );
        assert_eq!(names_of(&["lm_head.weight", "z.b"], &[], tied)[0], "lm_head.weight");
        let both = [tensors[0], tensors[1], "model.embed_tokens.weight"];
        assert_eq!(names_of(&both, &[], tied)[0], "lm_head.weight");
    }

    #[test]
    fn a_text_in_a_header_makes_no_weight_pass_for_another() {
        let plain = ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.x.weight"];
        let unchanged = ["lm_head.weight", "embed_tokens.weight", "layers.0.x.weight"];
        for metadata in [
            // A missing tensor, a cycle, and a name that a tensor has.
            &[("model.wte.weight", "nothing.weight")][..],
            &[("a.weight", "b.weight"), ("b.weight", "a.weight")],
            &[("model.embed_tokens.weight", "lm_head.weight")],
            &[("lm_head.weight", "model.layers.0.x.weight")],
            // The same table under another spelling.
            &[("embed_tokens.weight", "lm_head.weight")],
            &[("module.model.embed_tokens.weight", "lm_head.weight")],
            // A name that is no table, or a second table.
            &[("a.weight", "lm_head.weight")],
            &[("transformer.wte.weight", "lm_head.weight")],
            &[("shared.weight", "model.embed_tokens.weight")],
            &[("aaa.embed_tokens.weight", "model.layers.0.x.weight")],
        ] {
            assert_eq!(names_of(&plain, metadata, ""), unchanged, "{metadata:?}");
        }
        let chain = [("wte.weight", "a.weight"), ("a.weight", "lm_head.weight")];
        assert_eq!(names_of(&["lm_head.weight"], &chain, ""), ["lm_head.weight"]);
        let two = [("wte.weight", "lm_head.weight"), ("embed_in.weight", "output.weight")];
        let heads = names_of(&["lm_head.weight", "output.weight"], &two, "");
        assert_eq!(heads, ["wte.weight", "embed_in.weight"]);
        let long = format!("{}.wte.weight", "x".repeat(MAX_NAME));
        assert_eq!(
            names_of(&["lm_head.weight"], &[(&long, "lm_head.weight")], ""),
            ["lm_head.weight"]
        );
    }

    #[test]
    fn names_in_a_directory_have_it() {
        let test_model = TestModel::new();
        let tied = [("wte.weight", "lm_head.weight")];
        test_model.file(
            "part/model.safetensors",
            &[("lm_head.weight", vec![2, 3], numbers(6))],
            &tied,
        );
        assert_eq!(names(&test_model.open())[&0], ["part/wte.weight"]);
    }
}
