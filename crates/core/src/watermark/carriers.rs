//! Which tensors of a model carry chips.
//!
//! Carriers are weights of real numbers: floating-point tensors of up to 32 bits an element, and
//! quantised ones, of two or more dimensions and at least [`MIN_ELEMENTS`] elements; position tables,
//! norms and biases are not. Tensors with the same bytes (tied weights) and weights with the same
//! canonical name count once: whatever one of them shows by chance, the other shows again.

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
    /// The tensor that holds its elements in their order: engines read it. `None`: they lie in another
    /// order, or in several tensors, and its values are put together first.
    pub tensor: Option<usize>,
    /// The weight.
    pub weight: Weight,
    /// The name its chips follow from.
    pub canonical: String,
    /// How its elements carry them.
    pub carrier: Carrier,
    /// Number of its elements, finite or not.
    pub elements: u64,
}

/// Where the blocks of a carrier are that can be marked: whole blocks of one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkableBlocks {
    /// The tensor.
    pub tensor: usize,
    /// Its first block that is one of the carrier, in blocks of the tensor.
    pub first: u64,
    /// How many follow, the last perhaps shorter.
    pub blocks: u64,
    /// How its elements carry chips.
    pub carrier: Carrier,
}

impl CarrierTensor {
    /// Whether it can be marked where it lies.
    pub fn is_markable(&self, model: &Checkpoint) -> bool {
        self.markable(model).is_some()
    }

    /// Where it can be marked; `None`: it lies in several tensors, or not in its order, or beside others in one
    /// block.
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
    /// Those that are correlated, each once, in order of their canonical names.
    pub tensors: Vec<CarrierTensor>,
    /// Tensors with the same bytes as a carrier, by index, and the index of the carrier in
    /// [`Carriers::tensors`]: they are marked like it and not counted.
    pub tied: Vec<(usize, usize)>,
    /// Digests of the carriers that were compared with others, by tensor.
    pub(super) compared: HashMap<usize, ChainingValue>,
    /// Weights that cannot be read: whether they carry is not known.
    pub unreadable: UnreadableWeights,
}

impl Carriers {
    /// The carriers of `model`. Tensors that may be equal to another are read to find out.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn find(
        model: &Checkpoint,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<Carriers, RunError> {
        let weights = Weights::from_checkpoint(model);
        let not_read = UnreadableWeights::from_model(model, &weights);
        let by_name = by_canonical(model, weights);
        let candidates: Vec<usize> = by_name.values().filter_map(Weight::whole_tensor).collect();
        let compared = digest_duplicates(model, &candidates, options, progress)?;
        let mut named: Vec<(String, Weight)> = by_name.into_iter().collect();
        // The first of equal ones is kept: the one a checkpoint keeps that leaves the others out.
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
            // What is put together is put together as binary32.
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
        Ok(Carriers { tensors, tied, compared, unreadable: not_read })
    }

    /// Whether nothing carries, and nothing is known to be a weight that might.
    pub fn has_no_candidates(&self) -> bool {
        self.tensors.is_empty() && self.unreadable.told == 0
    }

    /// Elements of all carriers.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(|carrier| carrier.elements).sum()
    }

    /// Carrier blocks of all carriers.
    pub fn blocks(&self) -> u64 {
        self.tensors.iter().map(|carrier| carrier.elements.div_ceil(CARRIER_LEN as u64)).sum()
    }

    /// Canonical names of the carriers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|carrier| carrier.canonical.as_str())
    }
}

/// The weights that carry chips, by canonical name; of several that share one, the first in the format
/// that loaders prefer, then in the order of their own names.
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

/// Whether a weight carries chips.
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

/// Components of the names of position tables, from public architectures.
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

/// Whether a model without this weight computes something else, and no conversion leaves it out: a matrix of real
/// numbers as large as those that carry. Unlike them it may be a table of places, if these were not computed.
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

/// The component of the names of tables that follow from the configuration.
const COMPUTED: &str = "rotary_emb";

/// Position tables, norms and biases: small parts that a model is sensitive to.
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
    fn what_cannot_be_read_carries_nothing_and_is_told() {
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
        let not_read = &carriers.unreadable;
        assert_eq!(not_read.tensors.len(), 2);
        assert_eq!(not_read.weights, 2);
        let bytes = (1 << 16) + (4 << 18) + (1 << 15) + (2 << 16);
        assert_eq!(not_read.bytes, bytes);
        let total: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
        assert_eq!(not_read.share, bytes as f64 / total as f64);
        assert!(
            not_read.summary().starts_with("2 weights are kept in a way"),
            "{}",
            not_read.summary()
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
