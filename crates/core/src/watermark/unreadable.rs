//! Weights that cannot be searched for marks, because their layout is unsupported.

use serde::Serialize;
use std::collections::BTreeSet;
use tensorseal_base::display::display_name;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{UnreadableWeight, Weights};

/// The minimum number of elements of a carrier, and of a matrix of integers that may be codes.
pub const MIN_ELEMENTS: u64 = 1 << 16;

/// The maximum number of names that are listed.
const MAX_LISTED: usize = 16;

/// The maximum number of names in a sentence.
const MAX_SHOWN: usize = 3;

/// Weights that cannot be read: codes of an unsupported quantisation, matrices of integers that may be codes, and
/// tensors of unsupported types and classes that a file names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UnreadableWeights {
    /// The number of weights.
    pub weights: u64,
    /// The bytes of their tensors, including scales. If only the name of a tensor is known, all bytes of its file that
    /// belong to no other tensor count.
    pub bytes: u64,
    /// The share of the bytes of all tensors of the model, from 0 to 1.
    pub share: f64,
    /// The number of them that are certainly weights, because of their scales or because their file says so.
    #[serde(skip)]
    pub certain: u64,
    /// The names of the first tensors with codes, in the order of the model, then of tensors of which only the name is
    /// known.
    pub tensors: Vec<String>,
}

impl UnreadableWeights {
    /// Collects the unreadable weights of a model.
    pub fn from_model(model: &Checkpoint, weights: &Weights) -> Self {
        Self::with(model, weights, model.unread_tensors().collect())
    }

    /// Collects the unreadable ones among these weights, ignoring everything else in the files of the model.
    pub fn from_weights(model: &Checkpoint, weights: &Weights) -> Self {
        Self::with(model, weights, Vec::new())
    }

    /// Collects the unreadable weights. `named` has the tensors of which only the name is known, with their files.
    fn with(model: &Checkpoint, weights: &Weights, named: Vec<(usize, &str)>) -> Self {
        let large = weights.readable.iter().filter(|weight| {
            weight.may_be_codes(model) && weight.elements().is_none_or(|len| len >= MIN_ELEMENTS)
        });
        let mut codes: Vec<usize> =
            large.filter_map(|weight| weight.tensors().first().copied()).collect();
        let mut all = codes.clone();
        codes.extend(weights.unreadable.iter().map(|weight| weight.tensor));
        all.extend(weights.unreadable.iter().flat_map(UnreadableWeight::tensors));
        for indexes in [&mut codes, &mut all] {
            indexes.sort_unstable();
            indexes.dedup();
        }
        let len = |index: usize| model.tensors[index].bytes;
        let files: BTreeSet<usize> = named.iter().map(|(file, _)| *file).collect();
        let named_bytes: u64 = files.into_iter().map(|file| model.unread_bytes(file)).sum();
        let bytes = all.iter().fold(named_bytes, |sum, index| sum.saturating_add(len(*index)));
        let total =
            (0..model.tensors.len()).fold(named_bytes, |sum, index| sum.saturating_add(len(index)));
        let names = codes.iter().map(|index| model.tensors[*index].name.as_str());
        let names = names.chain(named.iter().map(|(_, name)| *name)).take(MAX_LISTED);
        Self {
            weights: (codes.len() + named.len()) as u64,
            certain: (weights.unreadable.len() + named.len()) as u64,
            bytes,
            share: if total == 0 { 0.0 } else { bytes as f64 / total as f64 },
            tensors: names.map(str::to_owned).collect(),
        }
    }

    /// Returns whether all weights can be read.
    pub fn is_empty(&self) -> bool {
        self.weights == 0
    }

    /// Returns a summary for a sentence.
    pub fn summary(&self) -> String {
        let shown: Vec<String> =
            self.tensors.iter().take(MAX_SHOWN).map(|name| display_name(name)).collect();
        let more = match self.weights - shown.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let weights = if self.weights == 1 {
            "1 weight has"
        } else {
            &format!("{} weights have", self.weights)
        };
        format!(
            "{weights} an unsupported layout, {:.1} % of the bytes of all tensors ({}{more})",
            100.0 * self.share,
            shown.join(", ")
        )
    }
}
