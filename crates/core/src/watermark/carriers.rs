//! Finds the carriers of a model: the weights that carry chips.
//!
//! Carriers are weights of real numbers: floating-point tensors of up to 32 bits for each element, and quantised
//! weights, with two or more dimensions and at least [`MIN_ELEMENTS`] elements. Position tables, norms and biases are
//! not carriers. Tensors with the same bytes (tied weights) and weights with the same canonical name count once,
//! because their correlations are not independent.

use super::key::chip_nonce;
use super::unreadable::{MIN_ELEMENTS, UnreadableWeights};
use crate::compare::duplicates::{TensorLayoutKey, digest_duplicates, layout_key};
use std::collections::{BTreeMap, HashMap};
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::measure::chips::MAX_BLOCKS;
use tensorseal_engine::measure::correlation::{CARRIER_LEN, Carrier, ElementFormat};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions};
use tensorseal_format::Checkpoint;
use tensorseal_weights::aliases::rank;
use tensorseal_weights::values::Decoder;
use tensorseal_weights::{Weight, WeightStorage, Weights};

/// A weight that carries chips.
#[derive(Debug, Clone)]
pub struct CarrierTensor {
    /// The tensor that contains its elements in order, so that engines can read it. `None` if the elements are in
    /// another order or in several tensors, and must be assembled first.
    pub tensor: Option<usize>,
    /// The weight.
    pub weight: Weight,
    /// The canonical name, from which the chips are derived.
    pub canonical: String,
    /// How its elements carry chips.
    pub carrier: Carrier,
    /// The number of elements, finite or not.
    pub elements: u64,
}

/// The blocks of a carrier that can be marked: whole blocks of one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkableBlocks {
    /// The tensor.
    pub tensor: usize,
    /// The first block of the carrier, counted in blocks of the tensor.
    pub first: u64,
    /// The number of blocks. The last may be shorter.
    pub blocks: u64,
    /// How its elements carry chips.
    pub carrier: Carrier,
}

impl CarrierTensor {
    /// Returns whether the carrier can be marked in place.
    pub fn is_markable(&self, model: &Checkpoint) -> bool {
        self.markable(model).is_some()
    }

    /// Returns the blocks that can be marked; `None` if the carrier is in several tensors or in another order, or
    /// shares a block with other weights.
    pub(super) fn markable(&self, model: &Checkpoint) -> Option<MarkableBlocks> {
        const LEN: u64 = CARRIER_LEN as u64;
        let blocks = self.elements.div_ceil(LEN);
        if let Some(tensor) = self.tensor {
            return Some(MarkableBlocks { tensor, first: 0, blocks, carrier: self.carrier });
        }
        let (tensor, first) = self.weight.contiguous_start()?;
        let fits = first.is_multiple_of(LEN) && self.elements.is_multiple_of(LEN);
        let carrier = Carrier::from_dtype(model.tensors[tensor].dtype, self.carrier.nonce)?;
        fits.then_some(MarkableBlocks { tensor, first: first / LEN, blocks, carrier })
    }
}

/// The carriers of a model.
#[derive(Debug, Clone, Default)]
pub struct Carriers {
    /// The carriers that are correlated, each once, in order of their canonical names.
    pub tensors: Vec<CarrierTensor>,
    /// The tensors with the same bytes as a carrier, with the index of that carrier in [`Carriers::tensors`]. They are
    /// marked like it, but do not count.
    pub tied: Vec<(usize, usize)>,
    /// The digests of the carriers that were compared with others, by tensor.
    pub(super) compared: HashMap<usize, ChainingValue>,
    /// The weights that cannot be read, which may be carriers.
    pub unreadable: UnreadableWeights,
}

impl Carriers {
    /// Finds the carriers of `model`. Tensors that may be equal to others are read to compare them.
    ///
    /// # Errors
    /// Returns a [`RunError`] if a tensor cannot be read, or if the run is interrupted.
    pub fn find(
        model: &Checkpoint,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<Carriers, RunError> {
        let weights = Weights::from_checkpoint(model);
        let unreadable = UnreadableWeights::from_model(model, &weights);
        let by_name = by_canonical(model, weights);
        let candidates: Vec<usize> = by_name.values().filter_map(Weight::whole_tensor).collect();
        let compared = digest_duplicates(model, &candidates, options, progress)?;
        let mut named: Vec<(String, Weight)> = by_name.into_iter().collect();
        // Of equal weights the first is kept: the one that a checkpoint without duplicates stores.
        named.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
        let mut kept: HashMap<(TensorLayoutKey<'_>, ChainingValue), usize> = HashMap::new();
        let (mut tensors, mut ties) = (Vec::new(), Vec::new());
        for (canonical, weight) in named {
            let index = weight.row_major_tensor();
            if let Some((index, digest)) =
                weight.whole_tensor().and_then(|at| Some((at, compared.get(&at)?)))
            {
                let tensor = &model.tensors[index];
                let key = (layout_key(tensor), *digest);
                if let Some(first) = kept.get(&key) {
                    ties.push((index, *first));
                    continue;
                }
                kept.insert(key, index);
            }
            // Assembled weights are binary32.
            let dtype = index.map_or(Dtype::F32, |index| model.tensors[index].dtype);
            let carrier = Carrier::from_dtype(dtype, chip_nonce(&canonical));
            if let (Some(carrier), Some(elements)) = (carrier, weight.elements()) {
                tensors.push(CarrierTensor { tensor: index, weight, canonical, carrier, elements });
            }
        }
        tensors.sort_by(|a, b| a.canonical.cmp(&b.canonical));
        let places: HashMap<usize, usize> =
            (0..).zip(&tensors).filter_map(|(place, c)| Some((c.tensor?, place))).collect();
        let tied = ties
            .into_iter()
            .filter_map(|(index, first)| Some((index, *places.get(&first)?)))
            .collect();
        Ok(Carriers { tensors, tied, compared, unreadable })
    }

    /// Returns whether there are no carriers, and no unreadable weights that may be carriers.
    pub fn has_no_candidates(&self) -> bool {
        self.tensors.is_empty() && self.unreadable.certain == 0
    }

    /// Returns the number of elements of all carriers.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(|carrier| carrier.elements).sum()
    }

    /// Returns the number of carrier blocks of all carriers.
    pub fn blocks(&self) -> u64 {
        self.tensors.iter().map(|carrier| carrier.elements.div_ceil(CARRIER_LEN as u64)).sum()
    }

    /// Returns the canonical names of the carriers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|carrier| carrier.canonical.as_str())
    }
}

/// Returns the carriers by canonical name. If several share a name, the one in the format that loaders prefer counts,
/// then the first in the order of their stored names.
fn by_canonical(model: &Checkpoint, weights: Weights) -> BTreeMap<String, Weight> {
    let mut by_name: BTreeMap<String, Weight> = BTreeMap::new();
    let rank = |weight: &Weight| {
        let tensor = weight.tensors().first().copied();
        let file = tensor.map(|index| model.tensors[index].file);
        (file.and_then(|file| model.files[file].format), weight.name.clone())
    };
    for weight in weights.readable {
        if !is_carrier(model, &weight) {
            continue;
        }
        match by_name.get_mut(&weight.canonical) {
            Some(first) if rank(&weight) < rank(first) => *first = weight,
            Some(_) => {}
            None => {
                by_name.insert(weight.canonical.clone(), weight);
            }
        }
    }
    by_name
}

/// Returns whether a weight carries chips.
fn is_carrier(model: &Checkpoint, weight: &Weight) -> bool {
    let is_real = match &weight.storage {
        WeightStorage::View(arranged) => {
            let dtype = model.tensors[arranged.tensor].dtype;
            dtype.is_block_quantised() || ElementFormat::from_dtype(dtype).is_some()
        }
        WeightStorage::Joined(joined) => ElementFormat::from_dtype(joined.dtype()).is_some(),
        WeightStorage::Quantised(_) => true,
    };
    let Some(elements) = weight.elements() else { return false };
    is_real
        && weight.shape.len() >= 2
        && (MIN_ELEMENTS..=MAX_BLOCKS * CARRIER_LEN as u64).contains(&elements)
        && !is_excluded(&weight.canonical)
}

/// The name components of position tables in public architectures.
const POSITIONS: &[&str] = &[
    "wpe",
    "pos_embed",
    "pos_embedding",
    "position_embedding",
    "position_embeddings",
    "positional_embedding",
    "embed_positions",
    "relative_attention_bias",
    "rel_pos_bias",
    "relative_position_bias_table",
    COMPUTED,
];

/// Returns whether a model needs this weight, so that no conversion drops it: a matrix of real numbers as large as
/// carriers. Unlike carriers it may be a position table that is not computed from the configuration.
pub(crate) fn is_essential(model: &Checkpoint, weight: &Weight) -> bool {
    let is_real = match &weight.storage {
        WeightStorage::View(arranged) => {
            let dtype = model.tensors[arranged.tensor].dtype;
            dtype.is_block_quantised() || Decoder::for_weights(dtype).is_some()
        }
        WeightStorage::Joined(joined) => Decoder::for_weights(joined.dtype()).is_some(),
        WeightStorage::Quantised(_) => true,
    };
    is_real
        && weight.shape.iter().filter(|len| **len > 1).count() >= 2
        && weight.elements().is_none_or(|elements| elements >= MIN_ELEMENTS)
        && !is_norm_or_bias(&weight.canonical)
        && !weight.canonical.split('.').any(|part| part == COMPUTED)
}

/// The name component of tables that are computed from the configuration.
const COMPUTED: &str = "rotary_emb";

/// Returns whether a name is that of a position table, norm or bias, to which a model is sensitive.
fn is_excluded(canonical: &str) -> bool {
    is_norm_or_bias(canonical) || canonical.split('.').any(|part| POSITIONS.contains(&part))
}

fn is_norm_or_bias(canonical: &str) -> bool {
    let mut components = canonical.rsplit('.');
    let last = components.next().unwrap_or_default();
    // The last component is the parameter, the one before it the layer.
    let layer = components.next().unwrap_or_default();
    last == "bias" || last.ends_with("_bias") || [last, layer].iter().any(|part| is_norm(part))
}

fn is_norm(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    part.ends_with("norm") || part.starts_with("ln_") || part == "layer_norm"
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    use tensorseal_format::OpenOptions;

    fn find(tensors: &[(&str, Dtype, &[usize], u8)]) -> (tempfile::TempDir, Checkpoint, Carriers) {
        let dir = tempfile::tempdir().unwrap();
        let data: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, dtype, shape, seed)| {
                let mut bytes = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
                blake3::Hasher::new().update(&[*seed]).finalize_xof().fill(&mut bytes);
                bytes
            })
            .collect();
        let views = tensors.iter().zip(&data).map(|((name, dtype, shape, _), data)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap())
        });
        let path = dir.path().join("model.safetensors");
        serialize_to_file(views, None, &path).unwrap();
        let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        let carriers =
            Carriers::find(&model, &RunOptions::default(), &Progress::default()).unwrap();
        (dir, model, carriers)
    }

    const LARGE: &[usize] = &[256, 256];

    #[test]
    fn large_float_matrices_carry_and_nothing_else() {
        let (_dir, _, carriers) = find(&[
            ("layers.0.q_proj.weight", Dtype::F32, LARGE, 1),
            ("layers.0.k_proj.weight", Dtype::BF16, LARGE, 2),
            ("layers.0.v_proj.weight", Dtype::F16, LARGE, 3),
            ("layers.0.o_proj.weight", Dtype::F8_E4M3, LARGE, 4),
            ("layers.0.small.weight", Dtype::F32, &[255, 257], 5),
            ("layers.0.flat.weight", Dtype::F32, &[1 << 16], 6),
            ("layers.0.codes.weight", Dtype::I32, LARGE, 7),
            ("layers.0.double.weight", Dtype::F64, LARGE, 8),
            ("layers.0.input_layernorm.weight", Dtype::F32, LARGE, 9),
            ("layers.0.ln_1.weight", Dtype::F32, LARGE, 10),
            ("layers.0.proj.bias", Dtype::F32, LARGE, 11),
            ("embeddings.position_embeddings.weight", Dtype::F32, LARGE, 12),
            ("wpe.weight", Dtype::F32, LARGE, 13),
        ]);
        let names: Vec<&str> = carriers.names().collect();
        let projections = ["k_proj", "o_proj", "q_proj", "v_proj"];
        assert_eq!(names, projections.map(|name| format!("layers.0.{name}.weight")));
        assert_eq!(carriers.elements(), 4 << 16);
        assert_eq!(carriers.blocks(), 512);
        assert!(carriers.tied.is_empty());
        // Integers of that size may be codes.
        assert_eq!(carriers.unreadable.tensors, ["layers.0.codes.weight"]);
    }

    #[test]
    fn unreadable_weights_are_reported_and_carry_nothing() {
        let (_dir, model, carriers) = find(&[
            ("layers.0.q_proj.weight", Dtype::F8_E4M3, LARGE, 1),
            ("layers.0.q_proj.scale", Dtype::F32, &[2, 2, 256, 256], 2),
            ("layers.0.k_proj.codes", Dtype::U8, &[256, 128], 3),
            ("layers.0.k_proj.scales", Dtype::F16, LARGE, 4),
            ("layers.0.v_proj.weight", Dtype::F16, LARGE, 5),
            ("layers.0.mask", Dtype::U8, LARGE, 6),
            ("layers.0.ids.weight", Dtype::I64, LARGE, 7),
        ]);
        assert_eq!(carriers.names().collect::<Vec<_>>(), ["layers.0.v_proj.weight"]);
        let unreadable = &carriers.unreadable;
        assert_eq!(unreadable.tensors.len(), 2);
        assert_eq!(unreadable.weights, 2);
        let bytes = (1 << 16) + (4 << 18) + (1 << 15) + (2 << 16);
        assert_eq!(unreadable.bytes, bytes);
        let total: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
        assert_eq!(unreadable.share, bytes as f64 / total as f64);
        assert!(
            unreadable.summary().starts_with("2 weights have an unsupported layout"),
            "{}",
            unreadable.summary()
        );
        let (_dir, _, plain) = find(&[("x.weight", Dtype::F16, LARGE, 1)]);
        assert!(plain.unreadable.is_empty());
    }

    #[test]
    fn equal_tensors_count_once_as_the_one_that_is_kept() {
        let (_dir, model, carriers) = find(&[
            ("lm_head.weight", Dtype::F32, LARGE, 1),
            ("model.embed_tokens.weight", Dtype::F32, LARGE, 1),
            ("other.weight", Dtype::F32, LARGE, 2),
            // The same bytes in another shape are another tensor.
            ("turned.weight", Dtype::F32, &[128, 512], 1),
        ]);
        let names: Vec<&str> = carriers.names().collect();
        assert_eq!(names, ["embed_tokens.weight", "other.weight", "turned.weight"]);
        let (tied, first) = carriers.tied[0];
        assert_eq!(model.tensors[tied].name, "lm_head.weight");
        assert_eq!(carriers.tensors[first].canonical, "embed_tokens.weight");
    }

    #[test]
    fn a_canonical_name_counts_once() {
        let (_dir, _, carriers) = find(&[
            ("module.x.weight", Dtype::F32, LARGE, 1),
            ("model.x.weight", Dtype::F32, LARGE, 2),
            ("x.weight", Dtype::F32, LARGE, 3),
        ]);
        assert_eq!(carriers.tensors.len(), 1);
        assert_eq!(carriers.tensors[0].weight.name, "model.x.weight");
    }
}
