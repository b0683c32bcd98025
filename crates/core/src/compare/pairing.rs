//! Pairs the weights of two models by their names.

use std::collections::{BTreeSet, HashMap};
use tensorseal_weights::{Weight, Weights};

/// A pair of weights, one of each model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightPair {
    /// The index of the first model's weight in [`Weights::readable`].
    pub first: usize,
    /// The index of the second model's weight in [`Weights::readable`].
    pub second: usize,
    /// Whether both weights have the same dimensions.
    pub same_shape: bool,
}

impl WeightPair {
    /// Returns the two weights.
    pub fn weights<'w>(&self, weights: &'w [Weights; 2]) -> [&'w Weight; 2] {
        [&weights[0].readable[self.first], &weights[1].readable[self.second]]
    }
}

/// The paired and the unpaired weights of two models. All numbers are indices into [`Weights::readable`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// The pairs, in the order of the first model.
    pub pairs: Vec<WeightPair>,
    /// The weights without a partner, for each model.
    pub unpaired: [Vec<usize>; 2],
}

impl Pairing {
    /// Pairs weights of the same name, and then those of the same canonical name. If several weights of a model share a
    /// name, as in a model in two formats, the first of each model are paired and the others stay unpaired.
    pub fn new(weights: &[Weights; 2]) -> Pairing {
        let mut first_remaining: BTreeSet<usize> = (0..weights[0].readable.len()).collect();
        let mut second_remaining: BTreeSet<usize> = (0..weights[1].readable.len()).collect();
        let mut pairs = Vec::new();
        // The weights of a stack of experts share one name. Their canonical names differ.
        type Key = fn(&Weight) -> (&str, &str);
        let keys: [Key; 2] =
            [|weight| (&weight.name, &weight.canonical), |weight| (&weight.canonical, "")];
        for key in keys {
            let mut by_key: HashMap<(&str, &str), usize> = HashMap::new();
            for index in second_remaining.iter().rev() {
                by_key.insert(key(&weights[1].readable[*index]), *index);
            }
            for first in first_remaining.clone() {
                let weight = &weights[0].readable[first];
                let Some(second) = by_key.remove(&key(weight)) else { continue };
                let same_shape = same_shape(weight, &weights[1].readable[second]);
                pairs.push(WeightPair { first, second, same_shape });
                first_remaining.remove(&first);
                second_remaining.remove(&second);
            }
        }
        pairs.sort_by_key(|pair| pair.first);
        Pairing {
            pairs,
            unpaired: [
                first_remaining.into_iter().collect(),
                second_remaining.into_iter().collect(),
            ],
        }
    }

    /// Returns the unpaired weights of one model by canonical name. Of several weights of one name the first is returned.
    pub(super) fn unpaired_by_name<'w>(
        &self,
        weights: &'w [Weights; 2],
        side: usize,
    ) -> HashMap<&'w str, usize> {
        let named = |index: &usize| (weights[side].readable[*index].canonical.as_str(), *index);
        self.unpaired[side].iter().rev().map(named).collect()
    }
}

/// Returns whether two weights have the same shape. Dimensions of length 1 are ignored, since containers add and drop
/// them. If a weight is flattened, only the numbers of elements are compared.
pub(super) fn same_shape(one: &Weight, other: &Weight) -> bool {
    let sizes = |weight: &Weight| -> Vec<u64> {
        weight.shape.iter().copied().filter(|len| *len != 1).collect()
    };
    let counts = one.elements().zip(other.elements()).map(|(one, other)| one == other);
    match one.flattened || other.flattened {
        true => counts == Some(true),
        false => sizes(one) == sizes(other) && counts.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{TensorView, serialize_to_file};
    use tensorseal_base::dtype::Dtype;
    use tensorseal_format::{Checkpoint, OpenOptions};

    fn weights(names: &[(&str, &[usize])]) -> Weights {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let zeros = [0; 64];
        let views = names.iter().map(|(name, shape)| {
            let bytes = shape.iter().product::<usize>();
            let dtype = safetensors::Dtype::U8;
            (*name, TensorView::new(dtype, shape.to_vec(), &zeros[..bytes]).unwrap())
        });
        serialize_to_file(views, None, &path).unwrap();
        let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        assert!(model.tensors.iter().all(|tensor| tensor.dtype == Dtype::U8));
        Weights::from_checkpoint(&model)
    }

    #[test]
    fn names_match_before_canonical_names() {
        let one = weights(&[
            ("model.x.weight", &[2, 3]),
            ("x.weight", &[2, 3]),
            ("model.y.weight", &[4]),
            ("z.weight", &[4]),
        ]);
        let other =
            weights(&[("module.y.weight", &[1, 4]), ("x.weight", &[3, 2]), ("w.weight", &[4])]);
        let both = [one, other];
        let pairing = Pairing::new(&both);
        let named: Vec<_> = pairing
            .pairs
            .iter()
            .map(|pair| (pair.weights(&both).map(|weight| &weight.name[..]), pair.same_shape))
            .collect();
        assert!(named.contains(&(["x.weight", "x.weight"], false)), "{named:?}");
        assert!(named.contains(&(["model.y.weight", "module.y.weight"], true)), "{named:?}");
        assert_eq!(named.len(), 2);
        let unpaired = |side: usize| -> Vec<&str> {
            pairing.unpaired[side].iter().map(|at| &both[side].readable[*at].name[..]).collect()
        };
        assert_eq!(unpaired(0), ["model.x.weight", "z.weight"]);
        assert_eq!(unpaired(1), ["w.weight"]);
    }
}
