//! Names that a tensor stands for: of weights that a model shares, a checkpoint may keep one and leave the others
//! out.
//!
//! `save_model` of safetensors writes the names that it left out in `__metadata__`, each with the one that it kept,
//! and it keeps the one that comes first in the alphabet: of an output head that is the table of the embeddings, the
//! head. What is left out is believed where it can be no other tensor. A weight is called by the name that ranks
//! first, as if the table had been kept; it takes no other name, so that no text in a header makes one weight of a
//! model pass for another.

use super::companion_config::{CompanionConfig, directory_of};
use super::{Weight, unqualified};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::safetensors::metadata_if;
use tensorseal_format::{Checkpoint, Format};

/// Longest name that may be another's.
const MAX_NAME: usize = 1024;
/// Output heads.
const HEADS: &[&str] =
    &["lm_head.weight", "output.weight", "embed_out.weight", "cls.predictions.decoder.weight"];
/// What tables of embeddings are called in public architectures, before `.weight`.
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
/// The table of models with an encoder and a decoder, which have tables of their own that are tied to it.
const SHARED: &str = "shared.weight";
const OF_SIDES: &[&str] = &["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// What a tied pair is kept as: tables that others are tied to first, output heads last.
pub fn rank(canonical: &str) -> u8 {
    match canonical {
        SHARED => 0,
        name if HEADS.contains(&name) => 2,
        _ => 1,
    }
}

/// Other names of tensors, canonical, by index: those that were left out, of which no tensor of the model has one.
pub fn names(model: &Checkpoint) -> BTreeMap<usize, Vec<String>> {
    let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let has_any = |file: &usize| model.files[*file].format == Some(Format::Safetensors);
    let mut canonical: Option<HashSet<String>> = None;
    for file in (0..model.files.len()).filter(has_any) {
        let directory = directory_of(&model.files[file].path);
        // As the file has them: what stands before them is the directory, or nothing.
        let mut own: HashMap<&str, usize> = HashMap::new();
        for (index, _) in model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.file == file)
        {
            let name = unqualified(model, index);
            own.insert(name.strip_prefix(directory).unwrap_or(name), index);
        }
        let is_one = |out: &str, kept: &str| {
            out.len() <= MAX_NAME && own.contains_key(kept) && !own.contains_key(out)
        };
        let Ok(left_out) = metadata_if(&model.files[file], &is_one) else { continue };
        if left_out.is_empty() {
            continue;
        }
        let there = canonical.get_or_insert_with(|| {
            let all = 0..model.tensors.len();
            all.map(|index| canonical_name(unqualified(model, index)).into_owned()).collect()
        });
        for (out, kept) in left_out {
            let index = own[kept.as_str()];
            let before = if unqualified(model, index).len() > kept.len() { directory } else { "" };
            let name = canonical_name(&format!("{before}{out}")).into_owned();
            if !there.contains(&name) {
                names.entry(index).or_default().push(name);
            }
        }
    }
    names
}

/// Calls tied weights by the names that rank first.
pub(super) fn rename(model: &Checkpoint, weights: &mut [Weight]) {
    // A head stands for a table only where there is none: it is another weight else.
    let has_table = weights.iter().any(|weight| is_table(&weight.canonical));
    let is_head = |weight: &Weight| HEADS.contains(&weight.canonical.as_str());
    let is_side = |weight: &Weight| OF_SIDES.contains(&weight.canonical.as_str());
    if !weights.iter().any(|weight| is_head(weight) && !has_table || is_side(weight)) {
        return;
    }
    let others = names(model);
    let mut taken: BTreeSet<String> =
        weights.iter().map(|weight| weight.canonical.clone()).collect();
    let mut renamed: Vec<(usize, String)> = Vec::new();
    for (at, weight) in weights.iter().enumerate() {
        let of_tensors = weight.tensors();
        let mut others = of_tensors.iter().filter_map(|index| others.get(index)).flatten();
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

/// The table that a head is by the configuration beside it, by the layers that the model has.
fn tied_by_config(model: &Checkpoint, head: &Weight, names: &BTreeSet<String>) -> Option<String> {
    const BY_LAYER: &[(&str, &str)] = &[
        ("layers.0.self_attn.", "embed_tokens.weight"),
        ("h.0.attn.", "wte.weight"),
        ("layers.0.attention.", "embed_in.weight"),
    ];
    let has = |beginning: &str| {
        let mut behind = names.range(beginning.to_owned()..);
        behind.next().is_some_and(|name| name.starts_with(beginning))
    };
    let (_, table) = BY_LAYER.iter().find(|(layer, _)| has(layer))?;
    let file = model.tensors[*head.tensors().first()?].file;
    let directory = directory_of(&model.files[file].path);
    CompanionConfig::read(model, directory).is_tied.then(|| (*table).to_owned())
}

/// Whether a name is that of a table of embeddings.
fn is_table(canonical: &str) -> bool {
    let module = canonical.strip_suffix(".weight").and_then(|stem| stem.rsplit('.').next());
    module.is_some_and(|module| TABLES.contains(&module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;
    use crate::testing::{TestModel, numbers};

    /// The canonical names of the weights of a model with these tensors and this `__metadata__`.
    fn called(tensors: &[&str], metadata: &[(&str, &str)], config: &str) -> Vec<String> {
        let made = TestModel::new();
        let tensors: Vec<_> = tensors.iter().map(|name| (*name, vec![2, 3], numbers(6))).collect();
        made.file("model.safetensors", &tensors, metadata);
        made.text("config.json", config);
        Weights::from_checkpoint(&made.open())
            .readable
            .into_iter()
            .map(|weight| weight.canonical)
            .collect()
    }

    #[test]
    fn a_head_that_was_kept_is_the_table() {
        let tied = [("format", "pt"), ("model.embed_tokens.weight", "lm_head.weight")];
        assert_eq!(called(&["lm_head.weight"], &tied, ""), ["embed_tokens.weight"]);
        let tied = [("transformer.wte.weight", "lm_head.weight")];
        assert_eq!(called(&["lm_head.weight", "transformer.h.0.x"], &tied, "")[0], "wte.weight");
        // As the program that tied them kept the table.
        let tied = [("lm_head.weight", "model.embed_tokens.weight")];
        assert_eq!(called(&["model.embed_tokens.weight"], &tied, ""), ["embed_tokens.weight"]);
    }

    #[test]
    fn tables_of_two_sides_are_the_one_they_share() {
        let kept = "decoder.embed_tokens.weight";
        let out = ["encoder.embed_tokens.weight", "lm_head.weight", "shared.weight"];
        let tied = out.map(|name| (name, kept));
        assert_eq!(called(&[kept], &tied, ""), ["shared.weight"]);
        let made = TestModel::new();
        made.file("model.safetensors", &[(kept, vec![2, 3], numbers(6))], &tied);
        assert_eq!(names(&made.open())[&0], out);
    }

    #[test]
    fn a_configuration_that_ties_them_tells_it_too() {
        let tensors = ["lm_head.weight", "model.layers.0.self_attn.q_proj.weight"];
        let tied = r#"{"tie_word_embeddings": true}"#;
        assert_eq!(called(&tensors, &[], tied)[0], "embed_tokens.weight");
        assert_eq!(called(&tensors, &[], r#"{"tie_word_embeddings": false}"#)[0], "lm_head.weight");
        assert_eq!(called(&["lm_head.weight", "z.b"], &[], tied)[0], "lm_head.weight");
        let both = [tensors[0], tensors[1], "model.embed_tokens.weight"];
        assert_eq!(called(&both, &[], tied)[0], "lm_head.weight");
    }

    #[test]
    fn a_text_in_a_header_makes_no_weight_pass_for_another() {
        let plain = ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.x.weight"];
        let unchanged = ["lm_head.weight", "embed_tokens.weight", "layers.0.x.weight"];
        for claims in [
            // To nothing, in a circle, of a tensor that is there.
            &[("model.wte.weight", "nothing.weight")][..],
            &[("a.weight", "b.weight"), ("b.weight", "a.weight")],
            &[("model.embed_tokens.weight", "lm_head.weight")],
            &[("lm_head.weight", "model.layers.0.x.weight")],
            // Of one by another name.
            &[("embed_tokens.weight", "lm_head.weight")],
            &[("module.model.embed_tokens.weight", "lm_head.weight")],
            // That is no table, or beside one that is there.
            &[("a.weight", "lm_head.weight")],
            &[("transformer.wte.weight", "lm_head.weight")],
            &[("shared.weight", "model.embed_tokens.weight")],
            &[("aaa.embed_tokens.weight", "model.layers.0.x.weight")],
        ] {
            assert_eq!(called(&plain, claims, ""), unchanged, "{claims:?}");
        }
        let chain = [("wte.weight", "a.weight"), ("a.weight", "lm_head.weight")];
        assert_eq!(called(&["lm_head.weight"], &chain, ""), ["lm_head.weight"]);
        let two = [("wte.weight", "lm_head.weight"), ("embed_in.weight", "output.weight")];
        let heads = called(&["lm_head.weight", "output.weight"], &two, "");
        assert_eq!(heads, ["wte.weight", "embed_in.weight"]);
        let long = format!("{}.wte.weight", "x".repeat(MAX_NAME));
        assert_eq!(
            called(&["lm_head.weight"], &[(&long, "lm_head.weight")], ""),
            ["lm_head.weight"]
        );
    }

    #[test]
    fn names_in_a_directory_have_it() {
        let made = TestModel::new();
        let tied = [("wte.weight", "lm_head.weight")];
        made.file("part/model.safetensors", &[("lm_head.weight", vec![2, 3], numbers(6))], &tied);
        assert_eq!(names(&made.open())[&0], ["part/wte.weight"]);
    }
}
