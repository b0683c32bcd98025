//! Weights: the matrices of a model as the network uses them, independent of container and quantisation.
//!
//! A [`Weight`] has the [canonical](tensorseal_format::canonical) name, the shape and the order of elements of the
//! Hugging Face checkpoint. It may be stored as one tensor, perhaps with its rows in another order or stacked with
//! other weights ([`tensor_view`], `fused`), in parts that several ranks wrote ([`joined`]), or as codes and scales
//! in separate tensors ([`schemes`]). Tied weights have one name ([`aliases`]). [`reader`] reads the values of a
//! weight, however it is stored; [`values`] reads those of a single tensor.

pub mod aliases;
mod companion_config;
mod element_reader;
mod fused;
pub mod joined;
pub mod reader;
pub mod schemes;
pub mod tensor_view;
#[cfg(test)]
mod testing;
pub mod values;

use joined::JoinedWeight;
use schemes::QuantisedPart;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tensor_view::TensorView;
use tensorseal_format::Checkpoint;
use tensorseal_format::canonical::canonical_name;

/// A matrix, or another tensor, as the network uses it.
#[derive(Debug, Clone)]
pub struct Weight {
    /// The canonical name.
    pub canonical: String,
    /// The name of the (first) tensor that stores it.
    pub name: String,
    /// The dimensions, row-major.
    pub shape: Vec<u64>,
    /// Whether only the number of elements is known. [`Weight::shape`] then has other dimensions with the same number and
    /// order of elements, because no tensor states the real ones.
    pub flattened: bool,
    /// How the weight is stored.
    pub storage: WeightStorage,
}

/// How a weight is stored.
#[derive(Debug, Clone)]
pub enum WeightStorage {
    /// In one tensor, as numbers.
    View(TensorView),
    /// In several tensors, each with a part of the elements.
    Joined(JoinedWeight),
    /// As codes and scales in several tensors.
    Quantised(QuantisedPart),
}

impl Weight {
    /// Returns the number of elements; `None` if it does not fit 64 bits.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, len| product.checked_mul(*len))
    }

    /// Returns the tensor that stores exactly these elements, row-major; `None` if there is none.
    pub fn row_major_tensor(&self) -> Option<usize> {
        match &self.storage {
            WeightStorage::View(view) => view.is_row_major_tensor().then_some(view.tensor),
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// Returns the tensor that stores exactly these elements, row-major or with strides; `None` if there is none.
    pub fn whole_tensor(&self) -> Option<usize> {
        match &self.storage {
            WeightStorage::View(view) => view.is_whole_tensor().then_some(view.tensor),
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// Returns the tensor that stores the elements contiguously, perhaps with those of other weights, and the position of
    /// the first element in it; `None` if there is none.
    pub fn contiguous_start(&self) -> Option<(usize, u64)> {
        match &self.storage {
            WeightStorage::View(view) => Some((view.tensor, view.contiguous_start()?)),
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// Returns all tensors that the weight is read from; the first one stores the codes of a quantised weight.
    pub fn tensors(&self) -> Vec<usize> {
        match &self.storage {
            WeightStorage::View(view) => vec![view.tensor],
            WeightStorage::Joined(joined) => joined.tensors(),
            WeightStorage::Quantised(part) => part.quantised.tensors(),
        }
    }

    /// Returns whether the weight is a matrix of integers that, judging by its name, may be codes of an unknown
    /// quantisation. The integers can be compared, but the values of the weight are unknown.
    pub fn may_be_codes(&self, model: &Checkpoint) -> bool {
        match &self.storage {
            WeightStorage::View(view) => {
                schemes::unknown_codes::may_be_integer_codes(model, view.tensor)
            }
            WeightStorage::Joined(joined) => {
                let first = joined.tensors().first().copied();
                first
                    .is_some_and(|first| schemes::unknown_codes::may_be_integer_codes(model, first))
            }
            WeightStorage::Quantised(_) => false,
        }
    }

    /// Returns how the weight is stored: the name of its type, or of its quantisation.
    pub fn stored_as<'m>(&'m self, model: &'m Checkpoint) -> Cow<'m, str> {
        match &self.storage {
            WeightStorage::View(view) => model.tensors[view.tensor].dtype.name().into(),
            WeightStorage::Joined(joined) => joined.dtype().name().into(),
            WeightStorage::Quantised(part) => part.quantised.name().into(),
        }
    }
}

/// A weight that cannot be read: codes of a quantisation whose layout is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableWeight {
    /// The index of the tensor with the codes.
    pub tensor: usize,
    /// The indices of the other tensors of the weight: scales, zero points, tables.
    pub parts: Vec<usize>,
    /// Why the weight cannot be read, as text for people.
    pub reason: String,
}

impl UnreadableWeight {
    /// Returns all tensors of the weight: the codes first, then the other parts.
    pub fn tensors(&self) -> impl Iterator<Item = usize> + '_ {
        [self.tensor].into_iter().chain(self.parts.iter().copied())
    }

    /// Returns the canonical names that the weight may have in a model that is not quantised, the name of the codes first.
    pub fn canonical_names(&self, model: &Checkpoint) -> Vec<String> {
        let names = schemes::unknown_codes::weight_names(unqualified(model, self.tensor));
        names.iter().map(|name| canonical_name(name).into_owned()).collect()
    }
}

/// The weights of a model, in the order of their tensors.
#[derive(Debug, Default)]
pub struct Weights {
    /// The weights that can be read. Several may have the same canonical name.
    pub readable: Vec<Weight>,
    /// The weights that cannot be read, because their quantisation is unknown.
    pub unreadable: Vec<UnreadableWeight>,
}

impl Weights {
    /// Finds the weights of a model. Configurations and short tensors are read, but not the weights. Tensors of
    /// unreadable weights are not readable weights themselves: without their layout, codes and scales have no meaning.
    pub fn from_checkpoint(model: &Checkpoint) -> Weights {
        let mut matches = schemes::find(model);
        let parts = joined::find(model).merge_into(&mut matches);
        let unreadable = matches.unreadable.iter().flat_map(UnreadableWeight::tensors);
        let taken: BTreeSet<usize> = matches
            .weights
            .iter()
            .flat_map(Weight::tensors)
            .chain(matches.parts)
            .chain(parts)
            .chain(unreadable)
            .collect();
        let mut weights = matches.weights;
        for index in 0..model.tensors.len() {
            if !taken.contains(&index) {
                tensor_view::add_weights(model, index, &mut weights);
            }
        }
        fused::split(model, &mut weights);
        aliases::rename(model, &mut weights);
        weights.sort_by_key(|weight| weight.tensors().first().copied());
        Weights { readable: weights, unreadable: matches.unreadable }
    }
}

/// Returns the name of a tensor without the file name that qualifies it if two files of a directory have tensors of
/// the same name.
pub(crate) fn unqualified(model: &Checkpoint, index: usize) -> &str {
    let tensor = &model.tensors[index];
    let file = &model.files[tensor.file].path;
    let rest = tensor.name.strip_prefix(file.as_str()).and_then(|rest| rest.strip_prefix(':'));
    rest.unwrap_or(&tensor.name)
}
