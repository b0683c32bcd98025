//! What of a model was not looked at for marks, because nobody here knows how its weights are kept.

use serde::Serialize;
use std::collections::BTreeSet;
use tensorseal_base::display::display_name;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{UnreadableWeight, Weights};

/// Smaller weights carry nothing, and smaller matrices of integers are not taken for codes.
pub const MIN_ELEMENTS: u64 = 1 << 16;

/// Names that are listed.
const LISTED: usize = 16;

/// Names in a sentence.
const SHOWN: usize = 3;

/// Weights that could not be read: codes of a quantisation that is not known here, matrices of integers that may be
/// such, and tensors of types and classes that a file names and nobody here reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UnreadableWeights {
    /// How many.
    pub weights: u64,
    /// Bytes of their tensors, scales and all; of those that only a name is known of, all bytes of their files that
    /// belong to no other tensor.
    pub bytes: u64,
    /// The share of the bytes of all tensors of the model, 0 to 1.
    pub share: f64,
    /// How many of them are said to be weights: by something beside them that makes them codes, or by their file.
    #[serde(skip)]
    pub told: u64,
    /// The tensors of their codes, in the order of the model, then those that only a name is known of; the first
    /// ones, if they are many.
    pub tensors: Vec<String>,
}

impl UnreadableWeights {
    /// Of a model with these weights.
    pub fn from_model(model: &Checkpoint, weights: &Weights) -> Self {
        Self::with(model, weights, model.unread_tensors().collect())
    }

    /// Of these weights alone, whatever else the files of the model hold.
    pub fn from_weights(model: &Checkpoint, weights: &Weights) -> Self {
        Self::with(model, weights, Vec::new())
    }

    /// `named`: tensors that are known by their names alone, and their files.
    fn with(model: &Checkpoint, weights: &Weights, named: Vec<(usize, &str)>) -> Self {
        let large = weights.readable.iter().filter(|weight| {
            weight.may_be_codes(model) && weight.elements().is_none_or(|len| len >= MIN_ELEMENTS)
        });
        let mut codes: Vec<usize> =
            large.filter_map(|weight| weight.tensors().first().copied()).collect();
        let mut all = codes.clone();
        codes.extend(weights.unreadable.iter().map(|unread| unread.tensor));
        all.extend(weights.unreadable.iter().flat_map(UnreadableWeight::tensors));
        for indexes in [&mut codes, &mut all] {
            indexes.sort_unstable();
            indexes.dedup();
        }
        let len = |index: usize| model.tensors[index].bytes;
        let files: BTreeSet<usize> = named.iter().map(|(file, _)| *file).collect();
        let of_named: u64 = files.into_iter().map(|file| model.unread_bytes(file)).sum();
        let bytes = all.iter().fold(of_named, |sum, index| sum.saturating_add(len(*index)));
        let total =
            (0..model.tensors.len()).fold(of_named, |sum, index| sum.saturating_add(len(index)));
        let names = codes.iter().map(|index| model.tensors[*index].name.as_str());
        let names = names.chain(named.iter().map(|(_, name)| *name)).take(LISTED);
        Self {
            weights: (codes.len() + named.len()) as u64,
            told: (weights.unreadable.len() + named.len()) as u64,
            bytes,
            share: if total == 0 { 0.0 } else { bytes as f64 / total as f64 },
            tensors: names.map(str::to_owned).collect(),
        }
    }

    /// Whether everything could be read.
    pub fn is_empty(&self) -> bool {
        self.weights == 0
    }

    /// What was not read, for a sentence.
    pub fn summary(&self) -> String {
        let shown: Vec<String> =
            self.tensors.iter().take(SHOWN).map(|name| display_name(name)).collect();
        let more = match self.weights - shown.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let weights = if self.weights == 1 {
            "1 weight is"
        } else {
            &format!("{} weights are", self.weights)
        };
        format!(
            "{weights} kept in a way that is not known here, {:.1} % of the bytes of all tensors ({}{more})",
            100.0 * self.share,
            shown.join(", ")
        )
    }
}
