//! Quantised weights that libraries store as codes and scales in separate tensors, such as 4-bit models.
//!
//! They are recognised by the names and shapes of tensors; the configuration decides what those leave open. If the
//! quantisation is unknown, the weight is an [`UnreadableWeight`], and no verdict is made from it.
//!
//! Each scheme has a module and a row in `SCHEMES`. It determines where codes, scales and zero points are
//! ([`QuantisedWeight`]). The code that unpacks and multiplies them is shared: `quantised`, `codes` and `grid`.

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

/// A quantisation scheme: how a library stores codes and scales as tensors.
struct QuantisationScheme {
    /// The suffix of the names of tensors with codes.
    codes: &'static str,
    /// The suffix of the name of the weight in place of it.
    weight: &'static str,
    /// Returns the weight of these codes, or `None` if they belong to another scheme. Returns an error, the reason, if
    /// they belong to this scheme but cannot be read.
    recognise: fn(&Module<'_>, usize) -> Result<Option<RecognisedWeight>, String>,
}

/// The maximum length of the reason why a weight cannot be read, in characters.
const MAX_REASON: usize = 250;

/// The types of words that hold several codes.
const WORDS: &[Dtype] = &[Dtype::I32, Dtype::U32];

/// All schemes. If several have the same suffix, the first one that recognises the codes is used.
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

/// A weight in a quantised tensor: all of its elements, or one of several matrices.
#[derive(Debug, Clone)]
pub struct QuantisedPart {
    /// The quantised tensor.
    pub quantised: Arc<QuantisedWeight>,
    /// The position of the first element of the weight.
    pub(super) first: u64,
}

impl QuantisedPart {
    /// Returns the part that begins `first` elements after the start of this one.
    pub(super) fn starting_at(&self, first: u64) -> QuantisedPart {
        QuantisedPart {
            quantised: Arc::clone(&self.quantised),
            first: self.first.saturating_add(first),
        }
    }
}

/// Suffixes of names that only tensors with codes have.
const UNAMBIGUOUS_SUFFIXES: &[&str] =
    &[".qweight", ".weight_packed", ".W_q", ".weight._data._data", "._weight_qdata"];

/// The quantised weights of a model.
#[derive(Default)]
pub(super) struct SchemeMatches {
    pub weights: Vec<Weight>,
    /// Tensors that belong to weights but are not needed for their values: maps of codes, shapes.
    pub parts: Vec<usize>,
    /// The weights whose layout is unknown.
    pub unreadable: Vec<UnreadableWeight>,
}

/// A weight that a scheme recognised.
struct RecognisedWeight {
    quantised: QuantisedWeight,
    shape: Vec<u64>,
    /// Whether the dimensions differ from those of the weight, because no tensor states them.
    flattened: bool,
    /// Tensors that belong to the weight but are not needed for its values.
    parts: Vec<usize>,
}

impl RecognisedWeight {
    /// Creates a weight of these dimensions.
    fn new(quantised: QuantisedWeight, shape: Vec<u64>, parts: Vec<usize>) -> Self {
        Self { quantised, shape, flattened: false, parts }
    }
}

/// Finds the quantised weights of a model.
pub(super) fn find(model: &Checkpoint) -> SchemeMatches {
    let mut matches = SchemeMatches::default();
    // A model that is not quantised needs no table of names.
    if model.tensors.iter().any(|tensor| may_be_codes(tensor.dtype)) {
        add_recognised(model, &mut matches);
    }
    unknown_codes::find(model, &mut matches);
    add_missing_scales(model, &mut matches);
    matches
}

/// Adds the weights of known schemes, and those that the configuration declares to be quantised in another way.
fn add_recognised(model: &Checkpoint, matches: &mut SchemeMatches) {
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
                matches.parts.extend(parts);
                matches.weights.push(Weight {
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
            Ok(None) => add_unknown(matches, config, model, index),
            Err(reason) => matches.unreadable.push(UnreadableWeight {
                tensor: index,
                parts: Vec::new(),
                reason,
            }),
        }
    }
}

/// Adds 8-bit floats without a scale if others of their type have one, because their scales must be missing.
fn add_missing_scales(model: &Checkpoint, matches: &mut SchemeMatches) {
    let scaled: BTreeSet<Dtype> = matches
        .weights
        .iter()
        .filter_map(|weight| weight.tensors().first().map(|index| model.tensors[*index].dtype))
        .filter(|dtype| dtype.is_float() && dtype.bits() == 8)
        .collect();
    if scaled.is_empty() {
        return;
    }
    let taken: BTreeSet<usize> = matches
        .weights
        .iter()
        .flat_map(Weight::tensors)
        .chain(matches.parts.iter().copied())
        .chain(matches.unreadable.iter().flat_map(UnreadableWeight::tensors))
        .collect();
    for (index, tensor) in model.tensors.iter().enumerate() {
        if !taken.contains(&index) && tensor.shape.len() > 1 && scaled.contains(&tensor.dtype) {
            let reason = "its scales are missing; other tensors of its type have some".to_owned();
            matches.unreadable.push(UnreadableWeight { tensor: index, parts: Vec::new(), reason });
        }
    }
}

/// Returns the weight of these codes by the first scheme that recognises them.
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
        let recognised = (scheme.recognise)(&module, index);
        let check =
            |weight: &RecognisedWeight| fit::check(&module, &weight.quantised, &weight.shape);
        match recognised {
            Ok(None) => {}
            Ok(Some(weight)) => match check(&weight) {
                Ok(()) => return Ok(Some((module.weight, weight))),
                Err(why) => misfit = misfit.or(Some(why)),
            },
            Err(why) => misfit = misfit.or(Some(why)),
        }
    }
    // Unambiguous names are those of codes even without scales, for example in a single shard.
    let is_unambiguous = || UNAMBIGUOUS_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    let reason = || "its scales are missing, or its layout is unknown".to_owned();
    let misfit = misfit.or_else(|| is_unambiguous().then(reason));
    misfit.map_or(Ok(None), |why| Err(clip(why)))
}

/// Shortens a reason, which may contain a long shape.
fn clip(why: String) -> String {
    match why.char_indices().nth(MAX_REASON) {
        None => why,
        Some((end, _)) => format!("{}…", &why[..end]),
    }
}

/// Adds a matrix of integers if the configuration of the model states an unknown quantisation method.
fn add_unknown(
    matches: &mut SchemeMatches,
    config: &QuantisationConfig,
    model: &Checkpoint,
    index: usize,
) {
    let tensor = &model.tensors[index];
    let Some(method) = config.method.as_deref() else { return };
    let large = tensor.shape.len() > 1 && tensor.bytes >= 4096;
    if large && !tensor.dtype.is_float() && !config.is_supported_method() {
        let reason = format!("the quantisation method {} is not supported", display_name(method));
        matches.unreadable.push(UnreadableWeight { tensor: index, parts: Vec::new(), reason });
    }
}

/// Returns whether codes are stored in tensors of this type.
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
