//! Quantised weights that libraries keep as codes and scales in tensors of their own: what most people
//! call "the 4-bit model". They are recognised by the names and shapes of their tensors; the
//! configuration beside them says what those leave open. What nothing here knows is not a weight of other
//! values: it is named in [`UnreadableWeight`], and no verdict is drawn from it.
//!
//! A scheme is a file and a row of [`SCHEMES`]. It says where codes, scales and zero points lie
//! ([`QuantisedWeight`]); how they are unpacked and multiplied stands once, in [`quantised`], [`codes`] and [`grid`].

mod awq;
mod bitnet;
mod bitsandbytes;
mod codes;
mod compressed_tensors;
mod config;
mod fit;
mod gpt_oss;
mod gptq;
mod grid;
mod hqq;
mod kernels;
mod mlx;
mod modelopt;
mod module;
mod quantised;
mod quanto;
mod scaled;
mod table;
mod torchao;
pub(super) mod unknown_codes;

pub use quantised::QuantisedWeight;

use super::companion_config::directory_of;
use super::{UnreadableWeight, Weight, WeightStorage, unqualified};
use config::QuantisationConfig;
use module::Module;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tensorseal_base::display::display_name;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::Checkpoint;
use tensorseal_format::canonical::canonical_name;

/// A way in which a library keeps codes.
struct QuantisationScheme {
    /// The ending of the names of its codes.
    codes: &'static str,
    /// What stands in the place of it in the name of the weight.
    weight: &'static str,
    /// The weight of these codes; `None`: they are kept in another way. An error: in this one, and something does not
    /// fit.
    recognise: fn(&Module<'_>, usize) -> Result<Option<RecognisedWeight>, String>,
}

/// Longest reason why a weight is not read, in characters.
const LONGEST_REASON: usize = 250;

/// Types of words.
const WORDS: &[Dtype] = &[Dtype::I32, Dtype::U32];

/// Every scheme. Of those with one ending the first that knows the codes has them.
const SCHEMES: &[QuantisationScheme] = &[
    QuantisationScheme { codes: ".qweight", weight: ".weight", recognise: awq::recognise },
    QuantisationScheme { codes: ".qweight", weight: ".weight", recognise: gptq::recognise },
    QuantisationScheme {
        codes: ".weight_packed",
        weight: ".weight",
        recognise: compressed_tensors::recognise,
    },
    QuantisationScheme { codes: ".W_q", weight: ".weight", recognise: hqq::recognise },
    QuantisationScheme {
        codes: ".weight._data._data",
        weight: ".weight",
        recognise: quanto::recognise_packed,
    },
    QuantisationScheme {
        codes: ".weight._data",
        weight: ".weight",
        recognise: quanto::recognise_per_row,
    },
    QuantisationScheme {
        codes: "._weight_qdata",
        weight: ".weight",
        recognise: torchao::recognise,
    },
    QuantisationScheme { codes: "_blocks", weight: "", recognise: gpt_oss::recognise },
    QuantisationScheme { codes: ".weight", weight: ".weight", recognise: bitsandbytes::recognise },
    QuantisationScheme { codes: ".weight", weight: ".weight", recognise: mlx::recognise },
    QuantisationScheme { codes: ".weight", weight: ".weight", recognise: modelopt::recognise },
    QuantisationScheme { codes: ".weight", weight: ".weight", recognise: bitnet::recognise },
    QuantisationScheme { codes: "", weight: "", recognise: scaled::recognise },
];

/// The place of a weight among the elements of a quantised one: all of them, or a matrix of several.
#[derive(Debug, Clone)]
pub struct QuantisedPart {
    /// What is put together.
    pub quantised: Arc<QuantisedWeight>,
    /// Its element that is the weight's first.
    pub(super) first: u64,
}

impl QuantisedPart {
    /// What lies so many elements behind its first.
    pub(super) fn starting_at(&self, first: u64) -> QuantisedPart {
        QuantisedPart {
            quantised: Arc::clone(&self.quantised),
            first: self.first.saturating_add(first),
        }
    }
}

/// Endings of names that only codes have.
const TELLING: &[&str] =
    &[".qweight", ".weight_packed", ".W_q", ".weight._data._data", "._weight_qdata"];

/// What was recognised.
#[derive(Default)]
pub(super) struct SchemeMatches {
    pub weights: Vec<Weight>,
    /// Tensors that belong to weights without being read for them: maps of codes, notes on shapes.
    pub parts: Vec<usize>,
    /// Weights whose layout is not known.
    pub unreadable: Vec<UnreadableWeight>,
}

/// A weight, and the tensors that are part of it beside those that are read.
struct RecognisedWeight {
    quantised: QuantisedWeight,
    shape: Vec<u64>,
    /// Whether the dimensions are not those of the weight: no tensor tells them.
    flattened: bool,
    parts: Vec<usize>,
}

impl RecognisedWeight {
    /// A weight of these dimensions.
    fn new(quantised: QuantisedWeight, shape: Vec<u64>, parts: Vec<usize>) -> Self {
        Self { quantised, shape, flattened: false, parts }
    }
}

/// The quantised weights of a model.
pub(super) fn find(model: &Checkpoint) -> SchemeMatches {
    let mut found = SchemeMatches::default();
    // A plain model has none, and needs no table of its names.
    if model.tensors.iter().any(|tensor| may_be_codes(tensor.dtype)) {
        add_recognised(model, &mut found);
    }
    unknown_codes::find(model, &mut found);
    add_missing_scales(model, &mut found);
    found
}

/// Adds the weights whose scheme is known, and those that are told to be quantised in another way.
fn add_recognised(model: &Checkpoint, found: &mut SchemeMatches) {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for index in 0..model.tensors.len() {
        by_name.entry(unqualified(model, index)).or_default().push(index);
    }
    let mut configs: BTreeMap<&str, QuantisationConfig> = BTreeMap::new();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        if !may_be_codes(tensor.dtype) || taken.contains(&index) {
            continue;
        }
        let directory = directory_of(&model.files[tensor.file].path);
        let config =
            configs.entry(directory).or_insert_with(|| QuantisationConfig::read(model, directory));
        match recognise(model, &by_name, config, index) {
            Ok(Some((weight, recognised))) => {
                let RecognisedWeight { quantised, shape, flattened, parts } = recognised;
                taken.extend(quantised.tensors());
                taken.extend(&parts);
                found.parts.extend(parts);
                found.weights.push(Weight {
                    canonical: canonical_name(&weight).into_owned(),
                    name: tensor.name.clone(),
                    shape,
                    flattened,
                    storage: WeightStorage::Quantised(QuantisedPart {
                        quantised: Arc::new(quantised),
                        first: 0,
                    }),
                });
            }
            Ok(None) => add_unknown(found, config, model, index),
            Err(reason) => {
                found.unreadable.push(UnreadableWeight { tensor: index, parts: Vec::new(), reason })
            }
        }
    }
}

/// Floats of 8 bits that have no scale, where others of their type have one: a part of them is not there.
fn add_missing_scales(model: &Checkpoint, found: &mut SchemeMatches) {
    let scaled: BTreeSet<Dtype> = found
        .weights
        .iter()
        .filter_map(|weight| weight.tensors().first().map(|index| model.tensors[*index].dtype))
        .filter(|dtype| dtype.is_float() && dtype.bits() == 8)
        .collect();
    if scaled.is_empty() {
        return;
    }
    let taken: BTreeSet<usize> = found
        .weights
        .iter()
        .flat_map(Weight::tensors)
        .chain(found.parts.iter().copied())
        .chain(found.unreadable.iter().flat_map(UnreadableWeight::tensors))
        .collect();
    for (index, tensor) in model.tensors.iter().enumerate() {
        if !taken.contains(&index) && tensor.shape.len() > 1 && scaled.contains(&tensor.dtype) {
            let reason = "others of its type have scales, and it has none".to_owned();
            found.unreadable.push(UnreadableWeight { tensor: index, parts: Vec::new(), reason });
        }
    }
}

/// The weight of these codes by the first scheme that knows them.
fn recognise(
    model: &Checkpoint,
    by_name: &HashMap<&str, Vec<usize>>,
    config: &QuantisationConfig,
    index: usize,
) -> Result<Option<(String, RecognisedWeight)>, String> {
    let name = unqualified(model, index);
    let mut misfit = None;
    for scheme in SCHEMES {
        let Some(stem) = name.strip_suffix(scheme.codes) else { continue };
        let weight = format!("{stem}{}", scheme.weight);
        let module = Module { model, by_name, file: model.tensors[index].file, weight, config };
        let found = (scheme.recognise)(&module, index);
        let fits = |found: &RecognisedWeight| fit::check(&module, &found.quantised, &found.shape);
        match found {
            Ok(None) => {}
            Ok(Some(found)) => match fits(&found) {
                Ok(()) => return Ok(Some((module.weight, found))),
                Err(why) => misfit = misfit.or(Some(why)),
            },
            Err(why) => misfit = misfit.or(Some(why)),
        }
    }
    // Names that nothing else has tell by themselves: in a shard without its scales, say.
    let is_told = || TELLING.iter().any(|ending| name.ends_with(ending));
    let alone =
        || "its scales are not there, or it is in a layout that is not known here".to_owned();
    let misfit = misfit.or_else(|| is_told().then(alone));
    misfit.map_or(Ok(None), |why| Err(clipped(why)))
}

/// A reason that is short, however long the shape is that it tells.
fn clipped(why: String) -> String {
    match why.char_indices().nth(LONGEST_REASON) {
        None => why,
        Some((end, _)) => format!("{}…", &why[..end]),
    }
}

/// Tensors of integers of a model that says it is quantised, and that nothing here knows.
fn add_unknown(
    found: &mut SchemeMatches,
    config: &QuantisationConfig,
    model: &Checkpoint,
    index: usize,
) {
    let tensor = &model.tensors[index];
    let Some(method) = config.method.as_deref() else { return };
    let large = tensor.shape.len() > 1 && tensor.bytes >= 4096;
    if large && !tensor.dtype.is_float() && !config.is_known_method() {
        let reason = format!("the layout of {} is not known", display_name(method));
        found.unreadable.push(UnreadableWeight { tensor: index, parts: Vec::new(), reason });
    }
}

/// Types that codes are kept in.
fn may_be_codes(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::I8
            | Dtype::U8
            | Dtype::I16
            | Dtype::I32
            | Dtype::U32
            | Dtype::F4
            | Dtype::F8_E4M3
            | Dtype::F8_E5M2
            | Dtype::F8_E4M3FNUZ
            | Dtype::F8_E5M2FNUZ
    )
}

#[cfg(test)]
mod tests;
