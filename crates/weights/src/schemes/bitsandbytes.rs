//! bitsandbytes: two codes of 4 bits a byte into a table of 16 values, a scale for each block.

use super::{MAX_COLUMNS, Module, Recognised, Scheme};
use crate::stored::Stored;
use serde::Deserialize;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::Tensor;

/// Longest note on how a tensor was quantised.
const MAX_STATE: u64 = 64 << 10;

/// The note: JSON, in a tensor of bytes.
#[derive(Debug, Deserialize)]
struct State {
    blocksize: u64,
    shape: Vec<u64>,
    nested_blocksize: Option<u64>,
    nested_offset: Option<f64>,
}

#[derive(Debug)]
struct FourBits {
    name: &'static str,
    codes: usize,
    /// The value of each code.
    map: usize,
    scales: Scales,
    block: u64,
    columns: u64,
    elements: u64,
}

#[derive(Debug)]
enum Scales {
    Plain(usize),
    /// Codes of 8 bits into a table of 256 values, with scales of their own.
    Nested {
        codes: usize,
        map: usize,
        scales: usize,
        block: u64,
        offset: f64,
    },
}

/// By the tensors named after the weight.
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let kinds = [
        (".quant_state.bitsandbytes__nf4", "bitsandbytes nf4"),
        (".quant_state.bitsandbytes__fp4", "bitsandbytes fp4"),
    ];
    let found = kinds.iter().find_map(|(ending, name)| Some((module.under(ending)?, *name)));
    let Some((note, name)) = found.filter(|_| module.is(codes, &[Dtype::U8, Dtype::I8])) else {
        return Ok(None);
    };
    let state = read_state(module, note).ok_or("the note on its quantisation cannot be read")?;
    let (Some(scales), Some(map)) = (module.under(".absmax"), module.under(".quant_map")) else {
        return Err("scales or the map of codes are missing".to_owned());
    };
    let elements = state.shape.iter().try_fold(1u64, |product, len| product.checked_mul(*len));
    let elements = elements.filter(|elements| elements.div_ceil(2) == module.tensor(codes).bytes);
    let columns = state.shape.last().copied().unwrap_or(1);
    let is_map = |index: usize, len: u64| {
        module.is(index, &[Dtype::F32]) && module.tensor(index).shape == [len]
    };
    let (Some(elements), true) = (elements, (1..=MAX_COLUMNS).contains(&columns)) else {
        return Err("its shape does not fit its codes".to_owned());
    };
    if state.blocksize == 0 || !is_map(map, 16) {
        return Err("the map of codes does not fit".to_owned());
    }
    let blocks = elements.div_ceil(state.blocksize);
    let nested = state.nested_blocksize.zip(state.nested_offset);
    let scales = match nested {
        None if module.is(scales, &[Dtype::F32]) => Scales::Plain(scales),
        Some((block, offset)) if block > 0 && module.is(scales, &[Dtype::U8]) => {
            let outer = (module.under(".nested_quant_map"), module.under(".nested_absmax"));
            let (Some(map), Some(outer)) = outer else {
                return Err("the scales of the scales are missing".to_owned());
            };
            if !is_map(map, 256) || !is_map(outer, blocks.div_ceil(block)) {
                return Err("the scales of the scales do not fit".to_owned());
            }
            Scales::Nested { codes: scales, map, scales: outer, block, offset }
        }
        _ => return Err("the scales do not fit".to_owned()),
    };
    let (Scales::Plain(tensor) | Scales::Nested { codes: tensor, .. }) = scales;
    if module.tensor(tensor).shape != [blocks] {
        return Err("the scales are not as many as there are blocks".to_owned());
    }
    let block = state.blocksize;
    let scheme = FourBits { name, codes, map, scales, block, columns, elements };
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape: state.shape, parts: vec![note] }))
}

fn read_state(module: &Module<'_>, note: usize) -> Option<State> {
    let Tensor { file, offset, bytes, dtype, .. } = *module.tensor(note);
    if bytes > MAX_STATE || dtype != Dtype::U8 || module.tensor(note).strides.is_some() {
        return None;
    }
    let text = tensorseal_format::read_range(&module.model.files[file], offset, bytes)?;
    serde_json::from_slice(&text).ok()
}

impl Scales {
    /// Of blocks `first..first + count`.
    fn read(&self, stored: &Stored<'_>, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        match *self {
            Scales::Plain(tensor) => stored.values(tensor, first, count),
            Scales::Nested { codes, map, scales, block, offset } => {
                let map = stored.values(map, 0, 256)?;
                let from = first / block;
                let outer = (first + count as u64).div_ceil(block) - from;
                let outer = stored.values(scales, from, outer as usize)?;
                let value = |(at, code): (u64, u64)| {
                    map[code as usize & 0xFF] * outer[(at / block - from) as usize] + offset
                };
                let codes = stored.codes(codes, first, count)?;
                Ok((first..).zip(codes).map(value).collect())
            }
        }
    }
}

impl Scheme for FourBits {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tensors(&self) -> Vec<usize> {
        let scales = match self.scales {
            Scales::Plain(tensor) => vec![tensor],
            Scales::Nested { codes, map, scales, .. } => vec![codes, map, scales],
        };
        [self.codes, self.map].into_iter().chain(scales).collect()
    }

    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError> {
        let start = first * self.columns;
        let end = (start + count * self.columns).min(self.elements);
        if start >= end {
            return Ok(Vec::new());
        }
        let map = stored.values(self.map, 0, 16)?;
        let (from, to) = (start / 2, end.div_ceil(2));
        let bytes = stored.codes(self.codes, from, (to - from) as usize)?;
        let block = start / self.block;
        let blocks = end.div_ceil(self.block) - block;
        let scales = self.scales.read(stored, block, blocks as usize)?;
        let value = |at: u64| {
            let byte = bytes[(at / 2 - from) as usize];
            // The first of two codes is in the upper half.
            let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
            map[code as usize & 15] * scales[(at / self.block - block) as usize]
        };
        Ok((start..end).map(value).collect())
    }
}
