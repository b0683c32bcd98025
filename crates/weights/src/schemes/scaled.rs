//! Weights of 8 bits with scales beside them: FP8 by block, row or tensor, and INT8.

use super::{MAX_COLUMNS, Module, Recognised, Scheme};
use crate::stored::Stored;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;

const SCALES: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16];
const FP8: &[Dtype] = &[Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::F8_E4M3FNUZ, Dtype::F8_E5M2FNUZ];

/// Rows and columns that share a scale where the configuration does not say (DeepSeek-V3).
const BLOCK: [u64; 2] = [128, 128];

/// A matrix of elements, and a smaller one of their scales.
#[derive(Debug)]
struct Scaled {
    name: &'static str,
    codes: usize,
    scales: usize,
    zeros: Option<usize>,
    columns: u64,
    /// Scales of a row of blocks.
    scale_columns: u64,
    /// Rows and columns of a block.
    block: [u64; 2],
    /// What a scale is divided by.
    divisor: f64,
}

/// By the tensors beside the codes.
pub(super) fn recognise(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let Some([rows, columns]) = module.matrix(codes) else { return Ok(None) };
    let fp8 = module.is(codes, FP8);
    if !fp8 && !module.is(codes, &[Dtype::I8]) {
        return Ok(None);
    }
    let by_block = module.beside("weight_scale_inv").filter(|_| fp8);
    let absmax = module.beside("SCB").filter(|_| !fp8);
    let plain = module.beside("weight_scale");
    let Some(scales) = by_block.or(absmax).or(plain).filter(|s| module.is(*s, SCALES)) else {
        return Ok(None);
    };
    if !(1..=MAX_COLUMNS).contains(&columns) || rows == 0 {
        return Ok(None);
    }
    let shape = &module.tensor(scales).shape[..];
    let [scale_rows, scale_columns] = match *shape {
        [] | [1] => [1, 1],
        [one] if one == rows => [rows, 1],
        [scale_rows, scale_columns] => [scale_rows, scale_columns],
        _ => return Err("the shape of the scales does not fit".to_owned()),
    };
    if scale_rows == 0 || scale_columns == 0 {
        return Err("there are no scales".to_owned());
    }
    let block = match by_block {
        Some(_) => module.config.block.unwrap_or(BLOCK),
        None => [rows.div_ceil(scale_rows), columns.div_ceil(scale_columns)],
    };
    if block.contains(&0)
        || [rows.div_ceil(block[0]), columns.div_ceil(block[1])] != [scale_rows, scale_columns]
    {
        return Err("the scales are not as many as there are blocks".to_owned());
    }
    let zeros = module.beside("weight_zero_point").filter(|_| !fp8);
    let zeros = zeros.filter(|zeros| module.is(*zeros, &[Dtype::I8]));
    if zeros.is_some_and(|zeros| module.tensor(zeros).shape != shape) {
        return Err("the shape of the zero points does not fit".to_owned());
    }
    let (name, divisor) = match absmax {
        // The largest magnitude of a row is stored, which is the code 127.
        Some(_) => ("bitsandbytes int8", 127.0),
        None if fp8 => ("fp8 with scales", 1.0),
        None => ("int8 with scales", 1.0),
    };
    let scheme = Scaled { name, codes, scales, zeros, columns, scale_columns, block, divisor };
    let parts = ["weight_format", "input_scale", "weight_shape"];
    let parts = parts.into_iter().filter_map(|part| module.beside(part)).collect();
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape: vec![rows, columns], parts }))
}

impl Scheme for Scaled {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tensors(&self) -> Vec<usize> {
        [self.codes, self.scales].into_iter().chain(self.zeros).collect()
    }

    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError> {
        let mut values =
            stored.values(self.codes, first * self.columns, (count * self.columns) as usize)?;
        let len = self.scale_columns as usize;
        let (mut of_row, mut scales, mut zeros) = (None, Vec::new(), None);
        for (row, values) in (first..).zip(values.chunks_mut(self.columns as usize)) {
            let block = row / self.block[0];
            if of_row != Some(block) {
                scales = stored.values(self.scales, block * self.scale_columns, len)?;
                let read = |zeros| stored.values(zeros, block * self.scale_columns, len);
                zeros = self.zeros.map(read).transpose()?;
                of_row = Some(block);
            }
            for (at, group) in values.chunks_mut(self.block[1] as usize).enumerate() {
                let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[at]);
                let scale = scales[at] / self.divisor;
                group.iter_mut().for_each(|value| *value = (*value - zero) * scale);
            }
        }
        Ok(values)
    }
}
