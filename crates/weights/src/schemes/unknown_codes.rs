//! Codes that nobody here can read: they are told from the weights of a model by what lies beside them.
//!
//! Whatever the library, a module has a tensor of codes and tensors of what these are multiplied with, or
//! looked up in: `scales`, `absmax`, `codebook`. Names tell, never values. What is found is no weight, and
//! neither are its parts, however large: numbers that are multiplied with codes say nothing by themselves.
//!
//! A plain model has none of it. Its integers are tables of positions, masks and identifiers, and what it calls
//! a scale lies beside real numbers, or has another name (`logit_scale`).

use super::SchemeMatches;
use crate::{UnreadableWeight, Weight, unqualified};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::dtype::Dtype;
use tensorseal_format::{Checkpoint, Format, Tensor};

/// Why codes that no recogniser knows are not read.
const REASON: &str = "codes beside scales in no layout that is known here";

/// Words for what codes are multiplied with, moved by, or looked up in. Numbers behind them do not count.
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

/// Words beside them that say nothing of another kind of tensor. A norm's or a gate's scale has another.
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

/// Words of scales that belong to what goes through a layer: they say nothing of its weights.
const ACTIVATIONS: &[&str] = &["input", "output", "act", "activation", "in", "out", "pre"];

/// Words in names of integers that are places or masks.
const PLACES: &[&str] = &["mask", "masks", "bias", "ids", "position", "positions", "relative"];

/// Words in names of integers that are numbers of something, where nothing else tells.
const NUMBERS: &[&str] = &[
    "index", "indexes", "indices", "idx", "id", "perm", "map", "table", "token", "tokens", "vocab",
    "counts", "lengths", "offsets", "labels", "hash", "hashes",
];

/// Words in names of small tables of integers that are no weights of any layer.
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

/// Components that wrap the tensor of a module: `q_proj.weight._data`.
const WRAPPERS: &[&str] = &["weight", "data", "qdata", "packed"];

/// Components of a name, from its end, that are looked at.
const DEPTH: usize = 4;

/// The longest end of a name that is taken for that of a part.
const MAX_ENDING: usize = 256;

/// Elements from which on codes may lie in one dimension.
const FLAT: u64 = 1 << 16;

/// Adds the codes of `model` that are not in `found`, and gives all unread ones their parts.
pub(super) fn find(model: &Checkpoint, found: &mut SchemeMatches) {
    let taken: BTreeSet<usize> =
        found.weights.iter().flat_map(Weight::tensors).chain(found.parts.iter().copied()).collect();
    let unread = std::mem::take(&mut found.unreadable);
    // A scale is no code, whatever a configuration says of the model.
    let known: BTreeMap<usize, String> = unread
        .into_iter()
        .filter(|unread| !taken.contains(&unread.tensor))
        .filter(|unread| !is_scale(unqualified(model, unread.tensor)))
        .map(|unread| (unread.tensor, unread.reason))
        .collect();
    let others = (0..model.tensors.len()).filter(|index| {
        !taken.contains(index) && !known.contains_key(index) && !is_gguf(model, *index)
    });
    let mut modules = UnknownModules::default();
    let mut left = Vec::new();
    for index in others {
        match may_be_codes(&model.tensors[index], unqualified(model, index)) {
            true => modules.add(model, index, None),
            false => left.push(index),
        }
    }
    known.into_iter().for_each(|(index, reason)| modules.add(model, index, Some(reason)));
    if modules.codes.is_empty() {
        return;
    }
    modules.sort();
    left.iter().for_each(|index| modules.assign_part(model, *index));
    found.unreadable = modules.finish(model, &left);
}

/// Codes that nobody knows, unless nothing beside them says that they are some.
struct UnknownCodes<'m> {
    index: usize,
    name: &'m str,
    module: &'m str,
    /// Why they are not read, as far as known; else whatever lies beside them must tell.
    reason: Option<String>,
    is_confirmed: bool,
    parts: Vec<usize>,
}

/// Codes by what they belong to.
#[derive(Default)]
struct UnknownModules<'m> {
    codes: Vec<UnknownCodes<'m>>,
    by_name: HashMap<&'m str, usize>,
    /// In order of the names.
    by_module: HashMap<&'m str, Vec<usize>>,
    /// Modules with scales that go with whatever codes are there.
    scaled: HashSet<&'m str>,
}

impl<'m> UnknownModules<'m> {
    fn add(&mut self, model: &'m Checkpoint, index: usize, reason: Option<String>) {
        let name = unqualified(model, index);
        let module = module_of(name);
        let place = self.codes.len();
        self.by_name.insert(name, place);
        self.by_module.entry(module).or_default().push(place);
        let is_told = reason.is_some();
        self.codes.push(UnknownCodes {
            index,
            name,
            module,
            reason,
            is_confirmed: is_told,
            parts: Vec::new(),
        });
    }

    fn sort(&mut self) {
        for places in self.by_module.values_mut() {
            places.sort_by_key(|place| (self.codes[*place].name, self.codes[*place].index));
        }
    }

    /// Gives a tensor to the codes that it is a part of, if there are such.
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

    /// The codes whose name this one extends, and by what.
    fn codes_extended_by(&self, name: &'m str) -> Option<(usize, &'m str)> {
        let ends = name.char_indices().rev().filter(|(_, c)| matches!(c, '.' | '_'));
        let mut found = ends
            .take(2 * DEPTH)
            .filter_map(|(end, _)| Some((*self.by_name.get(&name[..end])?, &name[end..])));
        found.next()
    }

    /// The codes of a module whose name has most in common with this one, those of the same file first.
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

    /// The codes that are some, each with its parts.
    fn finish(self, model: &Checkpoint, left: &[usize]) -> Vec<UnreadableWeight> {
        let is_told = |codes: &UnknownCodes<'_>| {
            // At the root of a file there is more than one layer.
            let of_root = || words(codes.name).all(|word| is_one_of(word, FILLERS));
            let scaled = self.scaled.contains(codes.module);
            codes.is_confirmed || scaled && (!codes.module.is_empty() || of_root())
        };
        let told: Vec<bool> = self.codes.iter().map(is_told).collect();
        let mut firsts: HashMap<&str, usize> = HashMap::new();
        for (place, codes) in self.codes.iter().enumerate().filter(|(place, _)| told[*place]) {
            firsts.entry(codes.module).or_insert(place);
        }
        let placed: HashSet<usize> =
            self.codes.iter().flat_map(|codes| codes.parts.iter().copied()).collect();
        // Numbers of bits, shapes, orders of columns.
        let mut notes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in left {
            let tensor = &model.tensors[*index];
            let module = unqualified(model, *index).rsplit_once('.').map(|(module, _)| module);
            let first = module.and_then(|module| firsts.get(module));
            if let Some(first) =
                first.filter(|_| !tensor.dtype.is_float() && !placed.contains(index))
            {
                notes.entry(*first).or_default().push(*index);
            }
        }
        let mut unread: Vec<UnreadableWeight> = Vec::new();
        for (place, codes) in self.codes.into_iter().enumerate().filter(|(place, _)| told[*place]) {
            let mut parts = codes.parts;
            parts.extend(notes.remove(&place).unwrap_or_default());
            parts.sort_unstable();
            let reason = codes.reason.unwrap_or_else(|| REASON.to_owned());
            unread.push(UnreadableWeight { tensor: codes.index, parts, reason });
        }
        unread.sort_by_key(|unread| unread.tensor);
        unread
    }
}

/// Whether a matrix of integers may be one of codes, though nothing beside it says so: it is named neither like
/// places and masks nor like tables and numbers of something.
pub(crate) fn may_be_integer_codes(model: &Checkpoint, index: usize) -> bool {
    let tensor = &model.tensors[index];
    let integers = [Dtype::U8, Dtype::I8, Dtype::U16, Dtype::I16, Dtype::U32, Dtype::I32];
    let last = unqualified(model, index).rsplit('.').next().unwrap_or_default();
    let of_something = |word: &str| is_one_of(word, PLACES) || is_one_of(word, NUMBERS);
    integers.contains(&tensor.dtype)
        && tensor.shape.iter().filter(|len| **len > 1).count() >= 2
        && !words(last).any(of_something)
        && !is_gguf(model, index)
}

/// Whether a tensor may hold codes, by its type, dimensions and name.
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
    let flat = !wide && elements.is_some_and(|elements| elements >= FLAT);
    let last = name.rsplit('.').next().unwrap_or_default();
    let named = |list: &[&str]| words(last).any(|word| is_one_of(word, list));
    // Tables of a few numbers are no weights, whatever lies beside them.
    let small = elements.is_some_and(|elements| elements < FLAT);
    (tensor.shape.len() >= 2 || flat && tensor.shape.len() == 1)
        && !is_scale(name)
        && !named(PLACES)
        && !(wide && named(NUMBERS))
        && !(small && !is_float && named(TABLES))
}

/// Whether a name is that of scales, or of what is like them.
fn is_scale(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let filler = |word: &str| is_one_of(word, FILLERS) || is_one_of(word, ACTIVATIONS);
    let ends_inverse = |word: &&str| is_one_of(word, &["inv", "inverse"]);
    words(last).any(is_scale_word)
        && (words(last).filter(|word| !ends_inverse(word)).last().is_some_and(is_scale_word)
            || words(last).all(|word| is_scale_word(word) || filler(word)))
}

/// Types of GGUF say how they are quantised, and nothing lies beside them.
fn is_gguf(model: &Checkpoint, index: usize) -> bool {
    model.files[model.tensors[index].file].format == Some(Format::Gguf)
}

/// The module of a tensor: its name without the last component, and without those that wrap it.
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

/// The modules that a name may belong to, from the nearest up, and what is left of it.
fn modules_above(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let inner = name.char_indices().rev().filter(|(_, c)| *c == '.');
    let inner = inner.map(|(end, _)| (&name[..end], &name[end + 1..]));
    inner.chain([("", name)]).take(DEPTH).take_while(|(_, ending)| ending.len() <= MAX_ENDING)
}

/// Names that the weight of codes of this name may have where it is kept as it is, likely ones first.
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

/// The words of a name: what lies between its dots and strokes, without numbers at their ends.
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
