//! Finds codes of unknown quantisations by the other tensors of their modules.
//!
//! In every library, a module has a tensor of codes and tensors with scales or lookup tables: `scales`, `absmax`,
//! `codebook`. Only names are examined, not values. Neither the codes nor the other parts are weights: scales have no
//! meaning without the codes.
//!
//! Models that are not quantised have no such modules. Their integers are tables of positions, masks and identifiers,
//! and tensors that they call scales belong to real numbers or have other names (`logit_scale`).

use super::SchemeMatches;
use crate::{UnreadableWeight, Weight, unqualified};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::dtype::Dtype;
use tensorseal_format::{Checkpoint, Format, Tensor};

/// Why codes of an unknown quantisation cannot be read.
const REASON: &str = "its codes and scales have an unknown layout";

/// Words for scales, zero points and lookup tables. Numbers at their ends are ignored.
const SCALES: &[&str] = &[
    "scale",
    "scales",
    "qscale",
    "qscales",
    "wscale",
    "wscales",
    "scb",
    "absmax",
    "amax",
    "zero",
    "zeros",
    "qzero",
    "qzeros",
    "zp",
    "zps",
    "zeropoint",
    "zeropoints",
    "biases",
    "codebook",
    "codebooks",
    "centroid",
    "centroids",
    "lut",
    "luts",
    "tlut",
    "shift",
    "shifts",
    "su",
    "sv",
    "suh",
    "svh",
    "scaling",
    "factor",
    "centers",
    "centres",
    "compressed",
    "s",
];

/// Words that may accompany them. The scale of a norm or a gate has other words in its name.
const FILLERS: &[&str] = &[
    "weight",
    "weights",
    "w",
    "q",
    "qw",
    "qweight",
    "kernel",
    "global",
    "per",
    "tensor",
    "channel",
    "group",
    "groups",
    "block",
    "blocks",
    "row",
    "rows",
    "col",
    "column",
    "columns",
    "max",
    "min",
    "state",
    "point",
    "points",
    "map",
    "data",
    "qdata",
    "packed",
    "code",
    "codes",
    "quant",
    "quantized",
    "quantised",
    "dequant",
    "shape",
    "bits",
    "nbits",
    "size",
    "inv",
    "inverse",
    "double",
    "nested",
    "super",
    "second",
    "first",
    "local",
    "outer",
    "inner",
    "residual",
    "res",
    "fp",
    "int",
    "nf",
    "mx",
    "value",
    "values",
    "param",
    "params",
    "and",
    "s",
    "z",
];

/// Words for scales of activations, which do not show that weights are quantised.
const ACTIVATIONS: &[&str] = &["input", "output", "act", "activation", "in", "out", "pre"];

/// Words in names of integers that are positions or masks.
const PLACES: &[&str] = &["mask", "masks", "bias", "ids", "position", "positions", "relative"];

/// Words in names of integers that are indices or counts.
const NUMBERS: &[&str] = &[
    "index", "indexes", "indices", "idx", "id", "perm", "map", "table", "token", "tokens", "vocab",
    "counts", "lengths", "offsets", "labels", "hash", "hashes",
];

/// Words in names of small tables of integers that are not weights.
const TABLES: &[&str] = &[
    "anchors",
    "bucket",
    "buckets",
    "counts",
    "grid",
    "map",
    "neighbors",
    "token",
    "tokens",
    "tril",
];

/// Components of names that wrap the tensor of a module, as in `q_proj.weight._data`.
const WRAPPERS: &[&str] = &["weight", "data", "qdata", "packed"];

/// The number of components of a name that are examined, from its end.
const DEPTH: usize = 4;

/// The maximum length of the end of a name that is taken for that of a part.
const MAX_ENDING: usize = 256;

/// The minimum number of elements of codes in one dimension.
const MIN_FLAT: u64 = 1 << 16;

/// Adds the unknown codes of `model` to `matches`, and assigns the parts of all unreadable weights.
pub(super) fn find(model: &Checkpoint, matches: &mut SchemeMatches) {
    let taken: BTreeSet<usize> = matches
        .weights
        .iter()
        .flat_map(Weight::tensors)
        .chain(matches.parts.iter().copied())
        .collect();
    let unreadable = std::mem::take(&mut matches.unreadable);
    // Scales are not codes, whatever the configuration states.
    let reasons: BTreeMap<usize, String> = unreadable
        .into_iter()
        .filter(|weight| !taken.contains(&weight.tensor))
        .filter(|weight| !is_scale(unqualified(model, weight.tensor)))
        .map(|weight| (weight.tensor, weight.reason))
        .collect();
    let others = (0..model.tensors.len()).filter(|index| {
        !taken.contains(index) && !reasons.contains_key(index) && !is_gguf(model, *index)
    });
    let mut modules = UnknownModules::default();
    let mut rest = Vec::new();
    for index in others {
        match may_be_codes(&model.tensors[index], unqualified(model, index)) {
            true => modules.add(model, index, None),
            false => rest.push(index),
        }
    }
    reasons.into_iter().for_each(|(index, reason)| modules.add(model, index, Some(reason)));
    if modules.codes.is_empty() {
        return;
    }
    modules.sort();
    rest.iter().for_each(|index| modules.assign_part(model, *index));
    matches.unreadable = modules.finish(model, &rest);
}

/// A tensor that may be codes of an unknown quantisation.
struct UnknownCodes<'m> {
    index: usize,
    name: &'m str,
    module: &'m str,
    /// Why the codes cannot be read, if a scheme stated a reason; otherwise other tensors must confirm them.
    reason: Option<String>,
    is_confirmed: bool,
    parts: Vec<usize>,
}

/// The modules of codes.
#[derive(Default)]
struct UnknownModules<'m> {
    codes: Vec<UnknownCodes<'m>>,
    by_name: HashMap<&'m str, usize>,
    /// The codes of each module, in order of their names.
    by_module: HashMap<&'m str, Vec<usize>>,
    /// Modules with scales that may belong to any codes of the module.
    scaled: HashSet<&'m str>,
}

impl<'m> UnknownModules<'m> {
    fn add(&mut self, model: &'m Checkpoint, index: usize, reason: Option<String>) {
        let name = unqualified(model, index);
        let module = module_of(name);
        let place = self.codes.len();
        self.by_name.insert(name, place);
        self.by_module.entry(module).or_default().push(place);
        let is_confirmed = reason.is_some();
        self.codes.push(UnknownCodes {
            index,
            name,
            module,
            reason,
            is_confirmed,
            parts: Vec::new(),
        });
    }

    fn sort(&mut self) {
        for places in self.by_module.values_mut() {
            places.sort_by_key(|place| (self.codes[*place].name, self.codes[*place].index));
        }
    }

    /// Assigns a tensor to the codes that it is a part of, if there are any.
    fn assign_part(&mut self, model: &'m Checkpoint, index: usize) {
        let name = unqualified(model, index);
        if let Some((place, ending)) = self.codes_extended_by(name) {
            if words(ending).last() != Some("bias") {
                self.codes[place].is_confirmed |=
                    words(ending).any(is_scale_word) && !is_activation_ending(ending);
                self.codes[place].parts.push(index);
            }
            return;
        }
        for (module, ending) in modules_above(name) {
            let Some(place) = self.nearest(model, module, name, index) else { continue };
            let codes = &mut self.codes[place];
            let own: Vec<&str> = words(&codes.name[module.len()..]).collect();
            let is_filler = |word: &str| is_one_of(word, FILLERS) || is_one_of(word, ACTIVATIONS);
            let mut all = words(ending).filter(|word| !is_scale_word(word) && !is_filler(word));
            let of_module = all.clone().next().is_none();
            if !words(ending).any(is_scale_word) || !all.all(|word| own.contains(&word)) {
                continue;
            }
            codes.parts.push(index);
            if is_activation_ending(ending) {
            } else if of_module {
                self.scaled.insert(module);
            } else {
                codes.is_confirmed = true;
            }
            return;
        }
    }

    /// Returns the codes whose name this name extends, and the extension.
    fn codes_extended_by(&self, name: &'m str) -> Option<(usize, &'m str)> {
        let ends = name.char_indices().rev().filter(|(_, c)| matches!(c, '.' | '_'));
        let mut extended = ends
            .take(2 * DEPTH)
            .filter_map(|(end, _)| Some((*self.by_name.get(&name[..end])?, &name[end..])));
        extended.next()
    }

    /// Returns the codes of a module whose name shares the longest prefix with this name, preferring the same file.
    fn nearest(&self, model: &Checkpoint, module: &str, name: &str, index: usize) -> Option<usize> {
        let places = self.by_module.get(module)?;
        let at = places.partition_point(|place| self.codes[*place].name < name);
        let near = &places[at.saturating_sub(2)..(at + 2).min(places.len())];
        let file = model.tensors[index].file;
        let likeness = |place: &usize| {
            let codes = &self.codes[*place];
            let common = name.bytes().zip(codes.name.bytes()).take_while(|(a, b)| a == b).count();
            (common, model.tensors[codes.index].file == file)
        };
        near.iter().copied().max_by_key(likeness)
    }

    /// Returns the confirmed codes with their parts. `rest` are the tensors that are no codes.
    fn finish(self, model: &Checkpoint, rest: &[usize]) -> Vec<UnreadableWeight> {
        let is_confirmed = |codes: &UnknownCodes<'_>| {
            // The root of a file may have tensors of several layers.
            let of_root = || words(codes.name).all(|word| is_one_of(word, FILLERS));
            let scaled = self.scaled.contains(codes.module);
            codes.is_confirmed || scaled && (!codes.module.is_empty() || of_root())
        };
        let confirmed: Vec<bool> = self.codes.iter().map(is_confirmed).collect();
        let mut firsts: HashMap<&str, usize> = HashMap::new();
        for (place, codes) in self.codes.iter().enumerate().filter(|(place, _)| confirmed[*place]) {
            firsts.entry(codes.module).or_insert(place);
        }
        let placed: HashSet<usize> =
            self.codes.iter().flat_map(|codes| codes.parts.iter().copied()).collect();
        // Bit widths, shapes, orders of columns.
        let mut metadata: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in rest {
            let tensor = &model.tensors[*index];
            let module = unqualified(model, *index).rsplit_once('.').map(|(module, _)| module);
            let first = module.and_then(|module| firsts.get(module));
            if let Some(first) =
                first.filter(|_| !tensor.dtype.is_float() && !placed.contains(index))
            {
                metadata.entry(*first).or_default().push(*index);
            }
        }
        let mut unreadable: Vec<UnreadableWeight> = Vec::new();
        for (place, codes) in
            self.codes.into_iter().enumerate().filter(|(place, _)| confirmed[*place])
        {
            let mut parts = codes.parts;
            parts.extend(metadata.remove(&place).unwrap_or_default());
            parts.sort_unstable();
            let reason = codes.reason.unwrap_or_else(|| REASON.to_owned());
            unreadable.push(UnreadableWeight { tensor: codes.index, parts, reason });
        }
        unreadable.sort_by_key(|weight| weight.tensor);
        unreadable
    }
}

/// Returns whether a matrix of integers may be codes although no other tensor confirms it: its name has no word for
/// positions, masks, indices or counts.
pub(crate) fn may_be_integer_codes(model: &Checkpoint, index: usize) -> bool {
    let tensor = &model.tensors[index];
    let integers = [Dtype::U8, Dtype::I8, Dtype::U16, Dtype::I16, Dtype::U32, Dtype::I32];
    let last = unqualified(model, index).rsplit('.').next().unwrap_or_default();
    let is_index = |word: &str| is_one_of(word, PLACES) || is_one_of(word, NUMBERS);
    integers.contains(&tensor.dtype)
        && tensor.shape.iter().filter(|len| **len > 1).count() >= 2
        && !words(last).any(is_index)
        && !is_gguf(model, index)
}

/// Returns whether a tensor may contain codes, judged by its type, dimensions and name.
fn may_be_codes(tensor: &Tensor, name: &str) -> bool {
    let wide = match tensor.dtype {
        Dtype::I64 | Dtype::U64 => true,
        Dtype::U8 | Dtype::I8 | Dtype::U16 | Dtype::I16 | Dtype::U32 | Dtype::I32 => false,
        Dtype::F4 | Dtype::F6_E2M3 | Dtype::F6_E3M2 => false,
        Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ => false,
        _ => return false,
    };
    let elements = tensor.shape.iter().try_fold(1u64, |product, len| product.checked_mul(*len));
    let is_float = tensor.dtype.is_float();
    let flat = !wide && elements.is_some_and(|elements| elements >= MIN_FLAT);
    let last = name.rsplit('.').next().unwrap_or_default();
    let named = |list: &[&str]| words(last).any(|word| is_one_of(word, list));
    // Small tables are not weights, even if there are scales.
    let small = elements.is_some_and(|elements| elements < MIN_FLAT);
    (tensor.shape.len() >= 2 || flat && tensor.shape.len() == 1)
        && !is_scale(name)
        && !named(PLACES)
        && !(wide && named(NUMBERS))
        && !(small && !is_float && named(TABLES))
}

/// Returns whether a name is that of scales, zero points or lookup tables.
fn is_scale(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let filler = |word: &str| is_one_of(word, FILLERS) || is_one_of(word, ACTIVATIONS);
    let ends_inverse = |word: &&str| is_one_of(word, &["inv", "inverse"]);
    words(last).any(is_scale_word)
        && (words(last).filter(|word| !ends_inverse(word)).last().is_some_and(is_scale_word)
            || words(last).all(|word| is_scale_word(word) || filler(word)))
}

/// Returns whether a tensor is in a GGUF file, where the type determines the quantisation.
fn is_gguf(model: &Checkpoint, index: usize) -> bool {
    model.files[model.tensors[index].file].format == Some(Format::Gguf)
}

/// Returns the module of a tensor: its name without the last component and those that wrap it.
fn module_of(name: &str) -> &str {
    let mut module = name.rsplit_once('.').map_or("", |(module, _)| module);
    for _ in 0..DEPTH {
        let (above, last) = module.rsplit_once('.').unwrap_or(("", module));
        if !(last.starts_with('_') || is_one_of(last, WRAPPERS)) {
            break;
        }
        module = above;
    }
    module
}

/// Returns the modules that a name may belong to, innermost first, each with the rest of the name.
fn modules_above(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let inner = name.char_indices().rev().filter(|(_, c)| *c == '.');
    let inner = inner.map(|(end, _)| (&name[..end], &name[end + 1..]));
    inner.chain([("", name)]).take(DEPTH).take_while(|(_, ending)| ending.len() <= MAX_ENDING)
}

/// Returns the names that the weight of these codes may have in a model that is not quantised, most likely first.
pub(crate) fn weight_names(name: &str) -> Vec<String> {
    let module = module_of(name);
    let of_module = match module {
        "" => "weight".to_owned(),
        module => format!("{module}.weight"),
    };
    let last = name.rfind('.').map_or(0, |end| end + 1);
    let ends = name[last..].char_indices().rev().filter(|(end, c)| *c == '_' && *end > 0);
    let stems = ends.take(DEPTH).map(|(end, _)| &name[..last + end]);
    let stems = stems.flat_map(|stem| [stem.to_owned(), format!("{stem}.weight")]);
    [name.to_owned(), of_module].into_iter().chain(stems).collect()
}

/// Returns the words of a name, which dots, underscores and hyphens separate, without trailing numbers.
fn words(name: &str) -> impl Iterator<Item = &str> + Clone {
    let words = name.split(['.', '_', '-']);
    words.map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).filter(|w| !w.is_empty())
}

fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.iter().any(|one| word.eq_ignore_ascii_case(one))
}

fn is_scale_word(word: &str) -> bool {
    is_one_of(word, SCALES)
}

fn is_activation_ending(ending: &str) -> bool {
    words(ending).any(|word| is_one_of(word, ACTIVATIONS))
}

#[cfg(test)]
mod tests;
