//! FP4 with scales: NVIDIA's (compressed-tensors) and the OCP's (gpt-oss).

use super::{MAX_COLUMNS, Module, Recognised, Scheme};
use crate::stored::Stored;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;

/// The magnitudes of E2M1 (OCP Microscaling Formats 1.0, section 5.3.3).
pub(super) const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Two codes a byte, the lower four bits first.
#[derive(Debug)]
struct Fp4 {
    name: &'static str,
    codes: usize,
    scales: usize,
    /// One number that all values are divided by.
    global: Option<usize>,
    columns: u64,
    group_len: u64,
}

/// The value of a code of four bits.
fn value(code: u64) -> f64 {
    let magnitude = E2M1[(code & 7) as usize];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// `nvfp4-pack-quantized`: a scale of type E4M3 for each 16 codes, and one for all.
pub(super) fn nvfp4(
    module: &Module<'_>,
    codes: usize,
    scales: usize,
) -> Result<Option<Recognised>, String> {
    let ([rows, columns], [scaled, groups]) = match (module.matrix(codes), module.matrix(scales)) {
        (Some(codes), Some(scales)) => (codes, scales),
        _ => return Ok(None),
    };
    let Some(columns) = columns.checked_mul(2).filter(|n| (1..=MAX_COLUMNS).contains(n)) else {
        return Err("rows are too long".to_owned());
    };
    let global = module.beside("weight_global_scale");
    let of_one = |index: usize| {
        module.is(index, &[Dtype::F32]) && module.tensor(index).shape.iter().all(|len| *len == 1)
    };
    let fits = module.is(scales, &[Dtype::F8_E4M3])
        && scaled == rows
        && groups.checked_mul(16) == Some(columns)
        && global.is_some_and(of_one);
    if !fits {
        return Err("the scales do not fit".to_owned());
    }
    let scheme = Fp4 { name: "nvfp4", codes, scales, global, columns, group_len: 16 };
    let parts = module.beside("input_global_scale").into_iter().collect();
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape: vec![rows, columns], parts }))
}

/// `…_blocks` [experts, rows, groups, 16] and `…_scales` [experts, rows, groups] of type E8M0.
pub(super) fn mxfp4(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let Some(scales) = module.under("_scales") else { return Ok(None) };
    let (blocks, scaled) = (&module.tensor(codes).shape, &module.tensor(scales).shape);
    let [outer @ .., groups, 16] = &blocks[..] else { return Ok(None) };
    let is_scaled = scaled.split_last() == Some((groups, outer));
    if !is_scaled || ![codes, scales].iter().all(|part| module.is(*part, &[Dtype::U8])) {
        return Ok(None);
    }
    let Some(columns) = groups.checked_mul(32).filter(|n| (1..=MAX_COLUMNS).contains(n)) else {
        return Err("rows are too long".to_owned());
    };
    let scheme = Fp4 { name: "mxfp4", codes, scales, global: None, columns, group_len: 32 };
    let shape = outer.iter().copied().chain([columns]).collect();
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape, parts: Vec::new() }))
}

impl Scheme for Fp4 {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tensors(&self) -> Vec<usize> {
        [self.codes, self.scales].into_iter().chain(self.global).collect()
    }

    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError> {
        let bytes = self.columns / 2;
        let codes = stored.codes(self.codes, first * bytes, (count * bytes) as usize)?;
        let groups = self.columns / self.group_len;
        let (at, len) = (first * groups, (count * groups) as usize);
        let scales: Vec<f64> = match self.global {
            Some(global) => {
                let global = stored.values(global, 0, 1)?[0];
                let scales = stored.values(self.scales, at, len)?;
                let divided = |scale: f64| if global == 0.0 { 0.0 } else { scale / global };
                scales.into_iter().map(divided).collect()
            }
            // Powers of two; the code of what is not a number is no scale.
            None => {
                let power = |code: u64| match code {
                    0xFF => 0.0,
                    code => libm::ldexp(1.0, code as i32 - 127),
                };
                stored.codes(self.scales, at, len)?.into_iter().map(power).collect()
            }
        };
        let values = codes.into_iter().flat_map(|byte| [value(byte & 15), value(byte >> 4)]);
        let group_len = self.group_len as usize;
        Ok(values.enumerate().map(|(at, value)| value * scales[at / group_len]).collect())
    }
}
