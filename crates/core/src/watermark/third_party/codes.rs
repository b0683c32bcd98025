//! EmMark: signs added to the codes of a quantised model at secret positions.
//!
//! Source: R. Zhang and F. Koushanfar, "EmMark: Robust Watermarks for IP Protection of Embedded Quantized
//! Large Language Models", DAC 2024. With q' the codes of the model and q those of the original, the
//! statistic is the number of positions where q' - q is the sign of the key. The positions were chosen by scores of the
//! original model; the key contains them explicitly, because scores are not reproducible.
//!
//! Codes are the elements of an integer tensor, or groups of four bits of its words, the lowest first: nibble k of
//! element i is code (bits / 4) i + k.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use super::key_directory::KeyDirectory;
use super::key_id::KeyIdHasher;
use super::measurement::{BitMatches, PartMeasurement, Statistic};
use super::signed_positions::{ElementWindow, SignedPositions};
use super::{KeyPart, MeasurementContext, ThirdPartyError};
use serde::Deserialize;
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_format::Tensor;
use tensorseal_weights::values::integer;

/// How codes are packed in the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CodeWidth {
    /// One code for each element.
    #[default]
    Codes,
    /// Unsigned codes of four bits each.
    Nibbles,
}

/// A part of a key in its descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodesDescriptor {
    tensor: String,
    #[serde(default)]
    packing: CodeWidth,
    original: String,
    positions: String,
    signs: String,
}

/// A part of an EmMark key.
pub(super) struct CodesPart {
    tensor: String,
    packing: CodeWidth,
    /// The codes of the original: packed like the tensor, or one for each element.
    original: Array,
    positions: Array,
    signs: Array,
    /// The largest position.
    largest: u64,
}

impl CodesPart {
    /// Reads the arrays of a part.
    pub(super) fn read(
        part: CodesDescriptor,
        directory: &mut KeyDirectory<'_>,
    ) -> Result<Self, NamedArrayError> {
        let signs = directory.exclusive_array(&part.signs, ArrayRole::Signs, &mut |_, _| ())?;
        let (positions, largest) = SignedPositions::check(directory, &part.positions, &signs)?;
        let original = directory.array(&part.original, ArrayRole::Codes)?;
        let max_codes =
            original.len().saturating_mul(codes_per_element(&original.tensor, part.packing));
        if largest >= max_codes {
            let what = format!(
                "contains the position {largest}, but the original has at most {max_codes} codes"
            );
            return Err(ArrayError::Unfit(what).with_name(&positions.name));
        }
        let CodesDescriptor { tensor, packing, .. } = part;
        Ok(Self { tensor, packing, original, positions, signs, largest })
    }
}

fn codes_per_element(tensor: &Tensor, packing: CodeWidth) -> u64 {
    match packing {
        CodeWidth::Codes => 1,
        CodeWidth::Nibbles => u64::from(tensor.dtype.bits() / 4),
    }
}

/// Reads single codes in ascending order.
struct CodeReader<'a> {
    window: ElementWindow<'a>,
    dtype: Dtype,
    /// The number of codes in an element.
    per_element: u64,
}

impl<'a> CodeReader<'a> {
    fn new(window: ElementWindow<'a>, tensor: &Tensor, packing: CodeWidth) -> Self {
        let per_element = codes_per_element(tensor, packing);
        Self { window, dtype: tensor.dtype, per_element }
    }

    fn at(&mut self, position: u64) -> Result<i128, ThirdPartyError> {
        let bits = self.window.code(position / self.per_element)?;
        Ok(match self.per_element {
            1 => integer(self.dtype, bits),
            per_element => i128::from(bits >> (4 * (position % per_element)) & 15),
        })
    }
}

impl KeyPart for CodesPart {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        vec![&self.signs, &self.positions, &self.original]
    }

    fn commit(&self, id: &mut KeyIdHasher) {
        id.text(&self.tensor);
        id.number(match self.packing {
            CodeWidth::Codes => 0,
            CodeWidth::Nibbles => 1,
        });
        id.array(&self.original);
        id.array(&self.positions);
        id.array(&self.signs);
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        let is_integer =
            matches!(tensor.dtype.number_format(), NumberFormat::Signed | NumberFormat::Unsigned);
        if !is_integer || tensor.dtype == Dtype::BOOL {
            return Err(ThirdPartyError::dtype(tensor, "integers: the codes of a quantised model"));
        }
        let elements: u64 = tensor.shape.iter().product();
        let codes = elements.checked_mul(codes_per_element(tensor, self.packing));
        let codes = codes.ok_or_else(|| ThirdPartyError::shape(tensor, "it is too large"))?;
        // The codes of the original are packed like those of the tensor, or one for each element.
        let original = &self.original.tensor;
        let is_alike = original.dtype.bits() == tensor.dtype.bits();
        if self.original.len() != codes && !(self.original.len() == elements && is_alike) {
            let what = format!(
                "it has {codes} codes in {elements} elements, but the original {} has {} elements of {}",
                self.original.name,
                self.original.len(),
                original.dtype
            );
            return Err(ThirdPartyError::shape(tensor, what));
        }
        if self.largest >= codes {
            let what = format!("it has {codes} codes, but the key names code {}", self.largest);
            return Err(ThirdPartyError::shape(tensor, what));
        }
        Ok(())
    }

    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError> {
        let positions = SignedPositions::read(&run.key, &self.positions, &self.signs)?;
        let elements: u64 = tensor.shape.iter().product();
        // As checked: if elements are codes, both packings are the same.
        let original_packing =
            if self.original.len() == elements { self.packing } else { CodeWidth::Codes };
        let mut ours =
            CodeReader::new(ElementWindow::new(run, &run.model, tensor), tensor, self.packing);
        let original = &self.original.tensor;
        let mut theirs = CodeReader::new(
            ElementWindow::new(run, &run.key, original),
            original,
            original_packing,
        );
        let mut hits = 0;
        for (position, negative) in positions.iter() {
            let difference = ours.at(position)? - theirs.at(position)?;
            hits += u64::from(difference == if negative { -1 } else { 1 });
        }
        // Windows without positions are not read.
        run.progress.add(tensor.bytes + self.arrays().iter().map(|a| a.tensor.bytes).sum::<u64>());
        let trials = positions.len() as u64;
        Ok(PartMeasurement {
            tensor: tensor.name.clone(),
            elements: trials,
            statistic: Statistic::Bits(BitMatches { trials, hits, ..BitMatches::default() }),
        })
    }
}
