//! Weights: what the tensors of a model stand for, whatever container and quantisation they are in.
//!
//! A [`Weight`] is a tensor as its Hugging Face checkpoint has it: its [canonical](tensorseal_format::canonical)
//! name, its shape, and the order of its elements. It may be stored as it is, with its rows in another order, beside
//! others in one stack ([`tensor_view`], [`fused`]), in parts that several ranks wrote ([`joined`]), or as codes and
//! scales in tensors of their own ([`schemes`]). Of tied weights one name stands for all ([`aliases`]). [`reader`] gives
//! its values in any case; [`values`] are those of a single tensor.

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

/// A tensor as its Hugging Face checkpoint has it.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Its canonical name.
    pub canonical: String,
    /// The name of the (first) tensor it is in.
    pub name: String,
    /// Dimensions, row-major.
    pub shape: Vec<u64>,
    /// Whether only their product is known: no tensor tells the dimensions, and [`Weight::shape`] are others of as many
    /// elements in the same order.
    pub flattened: bool,
    /// How it is stored.
    pub storage: WeightStorage,
}

/// How a weight is stored.
#[derive(Debug, Clone)]
pub enum WeightStorage {
    /// In one tensor, element by element.
    View(TensorView),
    /// In parts, each in a tensor of its own.
    Joined(JoinedWeight),
    /// As codes and scales in several tensors.
    Quantised(QuantisedPart),
}

impl Weight {
    /// Number of its elements; `None` if there are too many to count.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, len| product.checked_mul(*len))
    }

    /// The tensor that holds exactly its elements, in their order.
    pub fn row_major_tensor(&self) -> Option<usize> {
        match &self.storage {
            WeightStorage::View(arranged) => {
                arranged.is_row_major_tensor().then_some(arranged.tensor)
            }
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// The tensor that holds exactly its elements, in their order or with strides.
    pub fn whole_tensor(&self) -> Option<usize> {
        match &self.storage {
            WeightStorage::View(arranged) => arranged.is_whole_tensor().then_some(arranged.tensor),
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// The tensor that holds its elements in their order, perhaps among those of other weights, and how many stand
    /// before its first.
    pub fn contiguous_start(&self) -> Option<(usize, u64)> {
        match &self.storage {
            WeightStorage::View(arranged) => Some((arranged.tensor, arranged.contiguous_start()?)),
            WeightStorage::Joined(_) | WeightStorage::Quantised(_) => None,
        }
    }

    /// All tensors it is read from; the first holds the codes.
    pub fn tensors(&self) -> Vec<usize> {
        match &self.storage {
            WeightStorage::View(arranged) => vec![arranged.tensor],
            WeightStorage::Joined(joined) => joined.tensors(),
            WeightStorage::Quantised(part) => part.quantised.tensors(),
        }
    }

    /// Whether it is a matrix of integers that may be codes of an unknown quantisation, for all that its name
    /// says: as integers its values are what is stored, and as weights nobody can say.
    pub fn may_be_codes(&self, model: &Checkpoint) -> bool {
        match &self.storage {
            WeightStorage::View(arranged) => {
                schemes::unknown_codes::may_be_integer_codes(model, arranged.tensor)
            }
            WeightStorage::Joined(joined) => {
                let first = joined.tensors().first().copied();
                first
                    .is_some_and(|first| schemes::unknown_codes::may_be_integer_codes(model, first))
            }
            WeightStorage::Quantised(_) => false,
        }
    }

    /// What it is stored as: the name of its type, or of its quantisation.
    pub fn stored_as<'m>(&'m self, model: &'m Checkpoint) -> Cow<'m, str> {
        match &self.storage {
            WeightStorage::View(arranged) => model.tensors[arranged.tensor].dtype.name().into(),
            WeightStorage::Joined(joined) => joined.dtype().name().into(),
            WeightStorage::Quantised(part) => part.quantised.name().into(),
        }
    }
}

/// A weight that cannot be read: codes of a quantisation whose layout is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableWeight {
    /// The tensor of the codes.
    pub tensor: usize,
    /// What belongs to it: scales, zero points, tables.
    pub parts: Vec<usize>,
    /// Why it is not read.
    pub reason: String,
}

impl UnreadableWeight {
    /// The tensors that it is kept in: the codes, then what belongs to them.
    pub fn tensors(&self) -> impl Iterator<Item = usize> + '_ {
        [self.tensor].into_iter().chain(self.parts.iter().copied())
    }

    /// Canonical names that the weight may have in a model that keeps it as it is: that of the codes first.
    pub fn canonical_names(&self, model: &Checkpoint) -> Vec<String> {
        let names = schemes::unknown_codes::weight_names(unqualified(model, self.tensor));
        names.iter().map(|name| canonical_name(name).into_owned()).collect()
    }
}

/// The weights of a model, in the order of the tensors they are in.
#[derive(Debug, Default)]
pub struct Weights {
    /// Those that can be read. Several may have one canonical name.
    pub readable: Vec<Weight>,
    /// Weights that cannot be read, as nothing here knows how they are quantised.
    pub unreadable: Vec<UnreadableWeight>,
}

impl Weights {
    /// Of a model. Its configuration is read, no tensor is. What belongs to weights that cannot be read is not
    /// among those that can: codes and scales of an unknown layout stand for nothing.
    pub fn from_checkpoint(model: &Checkpoint) -> Weights {
        let mut found = schemes::find(model);
        let parts = joined::find(model).merge_into(&mut found);
        let unread = found.unreadable.iter().flat_map(UnreadableWeight::tensors);
        let taken: BTreeSet<usize> = found
            .weights
            .iter()
            .flat_map(Weight::tensors)
            .chain(found.parts)
            .chain(parts)
            .chain(unread)
            .collect();
        let mut weights = found.weights;
        for index in 0..model.tensors.len() {
            if !taken.contains(&index) {
                tensor_view::add_weights(model, index, &mut weights);
            }
        }
        fused::split(model, &mut weights);
        aliases::rename(model, &mut weights);
        weights.sort_by_key(|weight| weight.tensors().first().copied());
        Weights { readable: weights, unreadable: found.unreadable }
    }
}

/// The name of a tensor without the file that qualifies it, where two files of a directory have
/// tensors of one name.
pub(crate) fn unqualified(model: &Checkpoint, index: usize) -> &str {
    let tensor = &model.tensors[index];
    let file = &model.files[tensor.file].path;
    let rest = tensor.name.strip_prefix(file.as_str()).and_then(|rest| rest.strip_prefix(':'));
    rest.unwrap_or(&tensor.name)
}
