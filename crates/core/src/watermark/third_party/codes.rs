//! EmMark: signs added to the codes of a quantised model at secret places.
//!
//! Source: R. Zhang and F. Koushanfar, "EmMark: Robust Watermarks for IP Protection of Embedded Quantized
//! Large Language Models", DAC 2024. With q' the codes of the model and q those of the original, the
//! statistic is the number of places where q' - q is the sign of the key there. The places were chosen by
//! scores of the original model; the key has them as they are, since scores are not reproducible.
//!
//! Codes are the elements of an integer tensor, or four bits each of its words, the lowest first: nibble
//! k of element i is code (bits / 4) i + k.

use super::arrays::{Array, ArrayError, NamedError, Role};
use super::commitment::Commitment;
use super::measured::{Coins, PartMeasured, Statistic};
use super::places::{Places, Window};
use super::shelf::Shelf;
use super::{Part, Run, ThirdPartyError};
use serde::Deserialize;
use tensorseal_base::dtype::{Dtype, Number};
use tensorseal_format::Tensor;
use tensorseal_weights::values::integer;

/// How codes lie in the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// One an element.
    #[default]
    Codes,
    /// Four bits each, unsigned.
    Nibbles,
}

/// A part as the descriptor has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    tensor: String,
    #[serde(default)]
    packing: Packing,
    original: String,
    positions: String,
    signs: String,
}

/// A part.
pub(super) struct Coded {
    tensor: String,
    packing: Packing,
    /// The codes of the original: packed as the tensor is, or one an element.
    original: Array,
    positions: Array,
    signs: Array,
    /// The largest place.
    largest: u64,
}

impl Coded {
    /// Reads the arrays of a part.
    pub(super) fn read(part: Described, shelf: &mut Shelf<'_>) -> Result<Self, NamedError> {
        let signs = shelf.keyed(&part.signs, Role::Signs, &mut |_, _| ())?;
        let (positions, largest) = Places::check(shelf, &part.positions, &signs)?;
        let original = shelf.array(&part.original, Role::Codes)?;
        let most = original.len().saturating_mul(codes_per_element(&original.tensor, part.packing));
        if largest >= most {
            let what = format!("has the place {largest}, the original at most {most} codes");
            return Err(ArrayError::Unfit(what).of(&positions.name));
        }
        let Described { tensor, packing, .. } = part;
        Ok(Self { tensor, packing, original, positions, signs, largest })
    }
}

fn codes_per_element(tensor: &Tensor, packing: Packing) -> u64 {
    match packing {
        Packing::Codes => 1,
        Packing::Nibbles => u64::from(tensor.dtype.bits() / 4),
    }
}

/// Single codes, in ascending order.
struct Codes<'a> {
    window: Window<'a>,
    dtype: Dtype,
    /// Codes of an element; 1: it is one.
    per_element: u64,
}

impl<'a> Codes<'a> {
    fn new(window: Window<'a>, tensor: &Tensor, packing: Packing) -> Self {
        let per_element = codes_per_element(tensor, packing);
        Self { window, dtype: tensor.dtype, per_element }
    }

    fn at(&mut self, place: u64) -> Result<i128, ThirdPartyError> {
        let bits = self.window.code(place / self.per_element)?;
        Ok(match self.per_element {
            1 => integer(self.dtype, bits),
            per_element => i128::from(bits >> (4 * (place % per_element)) & 15),
        })
    }
}

impl Part for Coded {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        vec![&self.signs, &self.positions, &self.original]
    }

    fn commit(&self, id: &mut Commitment) {
        id.text(&self.tensor);
        id.number(match self.packing {
            Packing::Codes => 0,
            Packing::Nibbles => 1,
        });
        id.array(&self.original);
        id.array(&self.positions);
        id.array(&self.signs);
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        let is_integer = matches!(tensor.dtype.number(), Number::Signed | Number::Unsigned);
        if !is_integer || tensor.dtype == Dtype::BOOL {
            return Err(ThirdPartyError::dtype(tensor, "integers: the codes of a quantised model"));
        }
        let elements: u64 = tensor.shape.iter().product();
        let codes = elements.checked_mul(codes_per_element(tensor, self.packing));
        let codes = codes.ok_or_else(|| ThirdPartyError::shape(tensor, "it is too large"))?;
        // The codes of the original lie as those of the tensor do, or one an element.
        let original = &self.original.tensor;
        let is_alike = original.dtype.bits() == tensor.dtype.bits();
        if self.original.len() != codes && !(self.original.len() == elements && is_alike) {
            let what = format!(
                "it has {codes} codes in {elements} elements, the original {} has {} elements of {}",
                self.original.name,
                self.original.len(),
                original.dtype
            );
            return Err(ThirdPartyError::shape(tensor, what));
        }
        if self.largest >= codes {
            let what = format!("it has {codes} codes, the key names code {}", self.largest);
            return Err(ThirdPartyError::shape(tensor, what));
        }
        Ok(())
    }

    fn measure(&self, tensor: &Tensor, run: &Run<'_>) -> Result<PartMeasured, ThirdPartyError> {
        let places = Places::read(&run.key, &self.positions, &self.signs)?;
        let elements: u64 = tensor.shape.iter().product();
        // As checked. Where elements are codes, the two are the same.
        let of_original =
            if self.original.len() == elements { self.packing } else { Packing::Codes };
        let mut ours = Codes::new(Window::new(run, &run.model, tensor), tensor, self.packing);
        let original = &self.original.tensor;
        let mut theirs = Codes::new(Window::new(run, &run.key, original), original, of_original);
        let mut hits = 0;
        for (place, negative) in places.iter() {
            let difference = ours.at(place)? - theirs.at(place)?;
            hits += u64::from(difference == if negative { -1 } else { 1 });
        }
        // Windows that no place is in are not read.
        run.progress.add(tensor.bytes + self.arrays().iter().map(|a| a.tensor.bytes).sum::<u64>());
        let trials = places.len() as u64;
        Ok(PartMeasured {
            tensor: tensor.name.clone(),
            elements: trials,
            statistic: Statistic::Coins(Coins { trials, hits, ..Coins::default() }),
        })
    }
}
