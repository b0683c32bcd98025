//! Canonical names of tensors in GGUF files.

use super::architectures::{ARCHITECTURES, TensorMapping};
use super::layout::WeightLayout;
use std::borrow::Cow;

/// The tensor of a Hugging Face checkpoint that a GGUF tensor corresponds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedTensor {
    /// The canonical name. For [`WeightLayout::Experts`] it is the pattern of the names of several tensors, with
    /// `*` for the number of the expert; [`MappedTensor::tensor_name`] returns the name of each.
    pub name: String,
    /// How the elements are arranged.
    pub layout: WeightLayout,
}

impl MappedTensor {
    /// The canonical name of the tensor that an element belongs to
    /// ([`Element::expert`](super::layout::Element)).
    pub fn tensor_name(&self, expert: u64) -> Cow<'_, str> {
        match self.layout {
            WeightLayout::Experts => Cow::Owned(self.name.replacen('*', &expert.to_string(), 1)),
            WeightLayout::Plain | WeightLayout::RotaryRows(_) | WeightLayout::Transposed => {
                Cow::Borrowed(&self.name)
            }
        }
    }
}

/// Returns the canonical name and the layout of a GGUF tensor, by the architecture in the metadata
/// (`general.architecture`) and the name of the tensor.
///
/// Returns `None` if the architecture is unknown or the tensor has no known counterpart, for example because the
/// converter computes it (`rope_freqs.weight`).
///
/// DistilBERT is `bert` in GGUF and gets the names of BERT, which its Hugging Face checkpoint does not have.
///
/// ```
/// # use tensorseal_format::canonical::gguf::from_gguf;
/// let mapped = from_gguf("llama", "blk.0.attn_q.weight").unwrap();
/// assert_eq!(mapped.name, "layers.0.self_attn.q_proj.weight");
/// ```
pub fn from_gguf(architecture: &str, name: &str) -> Option<MappedTensor> {
    let architecture = ARCHITECTURES.iter().find(|known| known.name == architecture)?;
    let (stem, parameter) = name.rsplit_once('.')?;
    let parameter = Parameter::parse(parameter)?;
    let Some(within) = stem.strip_prefix("blk.") else {
        let row = architecture.globals.iter().find(|row| row.gguf == stem)?;
        return mapped("", row, parameter);
    };
    let (layer, tensor) = within.split_once('.')?;
    let layer = format!("{}.{}.", architecture.layers, number(layer)?);
    let row =
        |gguf: &str| architecture.layer.iter().copied().flatten().find(|row| row.gguf == gguf);
    match tensor.split_once('.') {
        None => mapped(&layer, row(tensor)?, parameter),
        // In older files each expert has its own tensor: `ffn_gate.0` and so on.
        Some((tensor, expert)) => {
            let expert = number(expert)?;
            let stack = row(&format!("{tensor}_exps"))?;
            let stack = mapped(&layer, stack, parameter)?;
            let name = stack.tensor_name(expert.into()).into_owned();
            Some(MappedTensor { name, layout: WeightLayout::Plain })
        }
    }
}

/// The parameter of a module that a tensor holds. Both containers use the same names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Weight,
    Bias,
}

impl Parameter {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "weight" => Some(Parameter::Weight),
            "bias" => Some(Parameter::Bias),
            _ => None,
        }
    }
}

fn mapped(layer: &str, row: &TensorMapping, parameter: Parameter) -> Option<MappedTensor> {
    let hugging_face = row.hugging_face;
    let (suffix, layout) = match (parameter, row.layout) {
        (Parameter::Weight, layout) => ("weight", layout),
        // The rows of a bias are permuted with those of its weight; a vector has no transpose.
        (Parameter::Bias, WeightLayout::RotaryRows(of)) => ("bias", WeightLayout::RotaryRows(of)),
        (Parameter::Bias, WeightLayout::Plain | WeightLayout::Transposed) => {
            ("bias", WeightLayout::Plain)
        }
        (Parameter::Bias, WeightLayout::Experts) => return None,
    };
    Some(MappedTensor { name: format!("{layer}{hugging_face}.{suffix}"), layout })
}

/// Parses a number without leading zeros, so that two names never mean the same layer.
fn number(digits: &str) -> Option<u32> {
    let canonical = digits == "0" || digits.starts_with(|first| matches!(first, '1'..='9'));
    // After a first digit, `parse` accepts only digits and refuses an overflow.
    canonical.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
