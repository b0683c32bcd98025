//! Quantised weights that libraries keep as codes and scales in tensors of their own: what most people
//! call "the 4-bit model". They are recognised by the names and shapes of their tensors; the
//! configuration beside them says what those leave open.

mod bitsandbytes;
mod config;
mod fp4;
mod packed;
mod scaled;
pub(super) mod unread;
mod words;

use super::stored::Stored;
use super::{Form, Unread, Weight, unqualified};
use config::Config;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::{Checkpoint, Tensor};

/// How the values of one weight are put together from its tensors.
pub trait Scheme: Debug + Send + Sync {
    /// The name of the quantisation: `gptq`, `bitsandbytes nf4`.
    fn name(&self) -> &'static str;

    /// The tensors that are read; the first holds the codes.
    fn tensors(&self) -> Vec<usize>;

    /// The values of rows `first..first + count` of the weight, row-major.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError>;

    /// Elements that are best read at once, a multiple of 512: more where rows are columns of what is
    /// stored.
    fn piece(&self) -> u64 {
        1 << 16
    }
}

/// Longest row that is put together.
const MAX_COLUMNS: u64 = 1 << 22;

/// What was recognised.
#[derive(Default)]
pub(super) struct Found {
    pub weights: Vec<Weight>,
    /// Tensors that belong to weights without being read for them: maps of codes, notes on shapes.
    pub parts: Vec<usize>,
    /// Weights whose layout is not known.
    pub unread: Vec<Unread>,
}

/// The tensors of a module: those whose names differ in the last parts only.
pub(super) struct Module<'m> {
    model: &'m Checkpoint,
    by_name: &'m HashMap<&'m str, usize>,
    /// The name of its weight.
    weight: String,
    config: &'m Config,
}

impl Module<'_> {
    /// The tensor of another name than the weight's own, which ends `ending` in place of `weight`.
    fn beside(&self, ending: &str) -> Option<usize> {
        let stem = self.weight.strip_suffix("weight")?;
        self.by_name.get(format!("{stem}{ending}").as_str()).copied()
    }

    /// The tensor whose name is the weight's and `ending`.
    fn under(&self, ending: &str) -> Option<usize> {
        self.by_name.get(format!("{}{ending}", self.weight).as_str()).copied()
    }

    fn tensor(&self, index: usize) -> &Tensor {
        &self.model.tensors[index]
    }

    /// Rows and columns of a matrix.
    fn matrix(&self, index: usize) -> Option<[u64; 2]> {
        self.tensor(index).shape[..].try_into().ok()
    }

    fn is(&self, index: usize, dtypes: &[Dtype]) -> bool {
        dtypes.contains(&self.tensor(index).dtype)
    }
}

/// Endings of the tensors that hold codes, what stands in their place in the name of the weight, and who
/// knows them.
type Reads = fn(&Module<'_>, usize) -> Result<Option<Recognised>, String>;
const CODES: &[(&str, &str, Reads)] = &[
    (".qweight", ".weight", packed::gptq_or_awq),
    (".weight_packed", ".weight", packed::compressed_or_nvfp4),
    ("_blocks", "", fp4::mxfp4),
    (".weight", ".weight", one_beside),
];

/// A weight, and the tensors that are part of it beside those that are read.
pub(super) struct Recognised {
    scheme: Arc<dyn Scheme>,
    shape: Vec<u64>,
    parts: Vec<usize>,
}

/// Codes that keep the name of the weight: what lies beside them tells.
fn one_beside(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    match bitsandbytes::recognise(module, codes)? {
        Some(found) => Ok(Some(found)),
        None => scaled::recognise(module, codes),
    }
}

/// The quantised weights of a model.
pub(super) fn find(model: &Checkpoint) -> Found {
    let mut found = Found::default();
    let names = (0..model.tensors.len()).map(|index| (unqualified(model, index), index));
    let by_name: HashMap<&str, usize> = names.collect();
    let mut configs: BTreeMap<&str, Config> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        if !may_be_codes(tensor.dtype) {
            continue;
        }
        let name = unqualified(model, index);
        let path = &model.files[tensor.file].path;
        let directory = path.rfind('/').map_or("", |end| &path[..=end]);
        let config = configs.entry(directory).or_insert_with(|| Config::read(model, directory));
        let reads = CODES.iter().find_map(|(ending, weight, read)| {
            Some((format!("{}{weight}", name.strip_suffix(ending)?), read))
        });
        let Some((weight, read)) = reads else {
            note_unknown(&mut found, config, model, index);
            continue;
        };
        let module = Module { model, by_name: &by_name, weight, config };
        match read(&module, index) {
            Ok(Some(recognised)) => {
                found.parts.extend(recognised.parts);
                found.weights.push(Weight {
                    canonical: canonical_name(&module.weight).into_owned(),
                    name: tensor.name.clone(),
                    shape: recognised.shape,
                    form: Form::Scheme(recognised.scheme),
                });
            }
            Ok(None) => note_unknown(&mut found, config, model, index),
            Err(reason) => found.unread.push(Unread { tensor: index, parts: Vec::new(), reason }),
        }
    }
    unread::find(model, &mut found);
    found
}

/// Tensors of integers of a model that says it is quantised, and that nothing here knows.
fn note_unknown(found: &mut Found, config: &Config, model: &Checkpoint, index: usize) {
    let tensor = &model.tensors[index];
    let Some(method) = config.method.as_deref() else { return };
    let large = tensor.shape.len() > 1 && tensor.bytes >= 4096;
    if large && !tensor.dtype.is_float() && !config.is_known() {
        let reason = format!("the layout of {method} is not known");
        found.unread.push(Unread { tensor: index, parts: Vec::new(), reason });
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
            | Dtype::F8_E4M3
            | Dtype::F8_E5M2
            | Dtype::F8_E4M3FNUZ
            | Dtype::F8_E5M2FNUZ
    )
}

#[cfg(test)]
mod tests;
