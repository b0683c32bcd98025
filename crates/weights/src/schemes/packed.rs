//! GPTQ, AWQ and compressed-tensors: codes packed into words, scales and zero points by group.

use super::words::Words;
use super::{MAX_COLUMNS, Module, Recognised, Scheme, fp4};
use crate::stored::Stored;
use std::collections::HashMap;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;

/// Where the codes of a word belong among eight neighbouring outputs (AutoAWQ's GEMM layout, made for the
/// order in which tensor cores take them).
const AWQ_ORDER: [u64; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// Scales as they are kept.
const SCALES: &[Dtype] = &[Dtype::F16, Dtype::BF16, Dtype::F32];
const WORDS: &[Dtype] = &[Dtype::I32, Dtype::U32];

/// A weight [outputs, inputs] that is stored as [inputs, outputs].
#[derive(Debug)]
struct ByInput {
    name: &'static str,
    codes: Words,
    zeros: Option<Words>,
    scales: usize,
    /// Of each input its group; else they follow one another.
    groups: Option<usize>,
    inputs: u64,
    outputs: u64,
    group_len: u64,
    number_of_groups: u64,
    packing: Packing,
}

/// What a word of codes holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Packing {
    /// Inputs that follow one another (GPTQ). What is added to stored zero points.
    Inputs { zero: u64 },
    /// Eight outputs, in [`AWQ_ORDER`].
    Outputs,
}

/// GPTQ packs along the inputs, AWQ along the outputs: the shape tells.
pub(super) fn gptq_or_awq(module: &Module<'_>, codes: usize) -> Result<Option<Recognised>, String> {
    let (Some(scales), true) = (module.beside("scales"), module.is(codes, WORDS)) else {
        return Ok(None);
    };
    let (Some([rows, columns]), Some([groups, outputs])) =
        (module.matrix(codes), module.matrix(scales))
    else {
        return Ok(None);
    };
    if !module.is(scales, SCALES) || outputs == 0 || groups == 0 || columns == 0 {
        return Ok(None);
    }
    let zeros = module.beside("qzeros");
    let group_index = module.beside("g_idx").filter(|index| module.is(*index, WORDS));
    let of_zeros = zeros.and_then(|zeros| module.matrix(zeros)).map(|[_, columns]| columns);
    let is_awq = columns != outputs;
    let bits = match (is_awq, of_zeros) {
        (true, _) => columns.checked_mul(32).map(|bits| bits / outputs),
        (false, Some(packed)) => packed.checked_mul(32).map(|bits| bits / outputs),
        (false, None) => module.config.bits,
    };
    let bits = bits.unwrap_or(0);
    if !matches!(bits, 2 | 4 | 8) || is_awq && bits != 4 {
        return Err(format!("codes of {bits} bits are not known"));
    }
    let inputs = if is_awq { Some(rows) } else { rows.checked_mul(32 / bits) };
    let Some(inputs) = inputs.filter(|inputs| (1..=MAX_COLUMNS).contains(inputs)) else {
        return Err("rows are too long".to_owned());
    };
    let fits = match zeros {
        Some(zeros) => {
            module.is(zeros, WORDS)
                && module.matrix(zeros) == Some([groups, outputs.saturating_mul(bits).div_ceil(32)])
        }
        None => true,
    };
    let indexed = group_index.is_none_or(|index| module.tensor(index).shape == [inputs]);
    if !fits || !indexed || is_awq && columns.saturating_mul(8) != outputs {
        return Err("the shapes of codes, scales and zero points do not fit".to_owned());
    }
    let zero = u64::from(!module.config.gptq_v2);
    let scheme = ByInput {
        name: if is_awq { "awq" } else { "gptq" },
        codes: Words { tensor: codes, columns, bits },
        zeros: zeros.map(|tensor| Words { tensor, columns: outputs * bits / 32, bits }),
        scales,
        groups: group_index.filter(|_| !is_awq),
        inputs,
        outputs,
        group_len: inputs.div_ceil(groups),
        number_of_groups: groups,
        packing: if is_awq { Packing::Outputs } else { Packing::Inputs { zero } },
    };
    let parts = group_index.into_iter().collect();
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape: vec![outputs, inputs], parts }))
}

/// Scales and zero points of one group for some outputs.
struct Group {
    scales: Vec<f64>,
    zeros: Vec<f64>,
}

impl ByInput {
    fn group(
        &self,
        stored: &Stored<'_>,
        group: u64,
        first: u64,
        count: u64,
    ) -> Result<Group, FileError> {
        let at = group * self.outputs + first;
        let scales = stored.values(self.scales, at, count as usize)?;
        let zeros = match (&self.zeros, self.packing) {
            (None, _) => vec![(1u64 << (self.codes.bits - 1)) as f64; count as usize],
            (Some(words), Packing::Inputs { zero }) => {
                let codes = words.along(stored, group, first, count)?;
                codes.into_iter().map(|code| (code + zero) as f64).collect()
            }
            (Some(words), Packing::Outputs) => {
                let codes = awq_codes(words, stored, group, first, count)?;
                codes.into_iter().map(|code| code as f64).collect()
            }
        };
        Ok(Group { scales, zeros })
    }

    /// The codes of inputs that share a word, by input, then by output from `first` on.
    fn codes(
        &self,
        stored: &Stored<'_>,
        row: u64,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<u64>>, FileError> {
        if self.packing == Packing::Outputs {
            return Ok(vec![awq_codes(&self.codes, stored, row, first, count)?]);
        }
        let words = stored.codes(self.codes.tensor, row * self.outputs + first, count as usize)?;
        let input = |at: u64| words.iter().map(|word| self.codes.code(*word, at)).collect();
        Ok((0..self.codes.per_word()).map(input).collect())
    }
}

/// Codes of outputs `first..first + count`, out of words of eight in [`AWQ_ORDER`].
fn awq_codes(
    words: &Words,
    stored: &Stored<'_>,
    row: u64,
    first: u64,
    count: u64,
) -> Result<Vec<u64>, FileError> {
    let (from, to) = (first / 8, (first + count).div_ceil(8));
    let packed = stored.codes(words.tensor, row * words.columns + from, (to - from) as usize)?;
    let mut codes = vec![0; packed.len() * 8];
    for (word, eight) in packed.iter().zip(codes.as_chunks_mut::<8>().0) {
        for (place, output) in (0..).zip(AWQ_ORDER) {
            eight[output as usize] = words.code(*word, place);
        }
    }
    let skip = (first - from * 8) as usize;
    Ok(codes.into_iter().skip(skip).take(count as usize).collect())
}

impl Scheme for ByInput {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tensors(&self) -> Vec<usize> {
        let zeros = self.zeros.map(|zeros| zeros.tensor);
        [self.codes.tensor, self.scales].into_iter().chain(zeros).chain(self.groups).collect()
    }

    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError> {
        let count = count.min(self.outputs.saturating_sub(first));
        let mut values = vec![0.0; (count * self.inputs) as usize];
        let index = self.groups.map(|tensor| stored.codes(tensor, 0, self.inputs as usize));
        let index = index.transpose()?;
        let mut groups: HashMap<u64, Group> = HashMap::new();
        let per_row = match self.packing {
            Packing::Inputs { .. } => self.codes.per_word(),
            Packing::Outputs => 1,
        };
        for row in 0..self.inputs / per_row {
            for (at, codes) in (0..).zip(self.codes(stored, row, first, count)?) {
                let input = row * per_row + at;
                let group = match &index {
                    Some(index) => index[input as usize],
                    None => input / self.group_len,
                };
                let group = group.min(self.number_of_groups - 1);
                if !groups.contains_key(&group) {
                    if index.is_none() {
                        groups.clear();
                    }
                    groups.insert(group, self.group(stored, group, first, count)?);
                }
                let Some(Group { scales, zeros }) = groups.get(&group) else { continue };
                for (output, code) in codes.into_iter().enumerate() {
                    let value = (code as f64 - zeros[output]) * scales[output];
                    values[output * self.inputs as usize + input as usize] = value;
                }
            }
        }
        Ok(values)
    }

    fn piece(&self) -> u64 {
        1 << 19
    }
}

/// compressed-tensors: codes along the inputs of each output, offset to be unsigned.
#[derive(Debug)]
struct ByOutput {
    codes: Words,
    zeros: Option<Words>,
    scales: usize,
    inputs: u64,
    groups: u64,
}

/// `pack-quantized` words, or bytes of two FP4 codes.
pub(super) fn compressed_or_nvfp4(
    module: &Module<'_>,
    codes: usize,
) -> Result<Option<Recognised>, String> {
    let Some(scales) = module.beside("weight_scale") else { return Ok(None) };
    if module.is(codes, &[Dtype::U8]) {
        return fp4::nvfp4(module, codes, scales);
    }
    let ([rows, columns], [scaled, groups]) = match (module.matrix(codes), module.matrix(scales)) {
        (Some(codes), Some(scales)) => (codes, scales),
        _ => return Ok(None),
    };
    if !module.is(codes, WORDS) || !module.is(scales, SCALES) || scaled != rows || groups == 0 {
        return Ok(None);
    }
    if module.beside("weight_g_idx").is_some() {
        return Err("groups in another order are not known".to_owned());
    }
    let bits = module.config.bits.unwrap_or(4);
    if !matches!(bits, 2 | 4 | 8) {
        return Err(format!("codes of {bits} bits are not known"));
    }
    let Some(inputs) = columns.checked_mul(32 / bits).filter(|n| (1..=MAX_COLUMNS).contains(n))
    else {
        return Err("rows are too long".to_owned());
    };
    let zeros = module.beside("weight_zero_point");
    let fits = zeros.is_none_or(|zeros| {
        module.is(zeros, WORDS)
            && module.matrix(zeros) == Some([rows.saturating_mul(bits).div_ceil(32), groups])
    });
    if !fits {
        return Err("the shape of the zero points does not fit".to_owned());
    }
    let scheme = ByOutput {
        codes: Words { tensor: codes, columns, bits },
        zeros: zeros.map(|tensor| Words { tensor, columns: groups, bits }),
        scales,
        inputs,
        groups,
    };
    let parts = module.beside("weight_shape").into_iter().collect();
    Ok(Some(Recognised { scheme: Arc::new(scheme), shape: vec![rows, inputs], parts }))
}

impl Scheme for ByOutput {
    fn name(&self) -> &'static str {
        "compressed-tensors"
    }

    fn tensors(&self) -> Vec<usize> {
        let zeros = self.zeros.map(|zeros| zeros.tensor);
        [self.codes.tensor, self.scales].into_iter().chain(zeros).collect()
    }

    fn rows(&self, stored: &Stored<'_>, first: u64, count: u64) -> Result<Vec<f64>, FileError> {
        let middle = (1u64 << (self.codes.bits - 1)) as f64;
        let group_len = self.inputs.div_ceil(self.groups).max(1);
        let mut values = Vec::with_capacity((count * self.inputs) as usize);
        for row in first..first + count {
            let codes = self.codes.along(stored, row, 0, self.inputs)?;
            let scales = stored.values(self.scales, row * self.groups, self.groups as usize)?;
            let zeros = match &self.zeros {
                None => vec![middle; self.groups as usize],
                Some(words) => {
                    // Packed down the outputs: a row of words holds several rows of zero points.
                    let (word, at) = (row / words.per_word(), row % words.per_word());
                    let packed =
                        stored.codes(words.tensor, word * self.groups, self.groups as usize)?;
                    packed.into_iter().map(|word| words.code(word, at) as f64).collect()
                }
            };
            for (input, code) in (0..).zip(codes) {
                let group = (input / group_len) as usize;
                values.push((code as f64 - zeros[group]) * scales[group]);
            }
        }
        Ok(values)
    }
}
