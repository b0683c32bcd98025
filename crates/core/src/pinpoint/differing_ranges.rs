//! Lists the byte ranges where a model differs from its seal, as far as both have values of the same bytes.

use crate::seal::{FileSeal, Seal, TensorSeal};
use std::collections::HashMap;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::ChainingValue;

/// What a byte range belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeSubject<'a> {
    /// The sealed tensor with this index.
    Tensor(usize),
    /// A gap between tensors in the file with this path.
    Gap(&'a str),
    /// The whole file with this path.
    File(&'a str),
}

/// Bytes whose value differs from the sealed one: a block (1 MiB) of a tensor, or an object of at most that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DifferingRange<'a> {
    /// What the bytes belong to.
    pub subject: RangeSubject<'a>,
    /// The path of the file that holds the bytes.
    pub file: &'a str,
    /// The position of the object in the file.
    pub object: u64,
    /// The position of the bytes in the object, a multiple of [`BLOCK_LEN`].
    pub offset: u64,
    /// The number of bytes, at most [`BLOCK_LEN`].
    pub len: usize,
    /// Whether the bytes are the whole object.
    pub root: bool,
    /// The sealed value of the bytes: a chaining value, or the digest of a whole object.
    pub sealed: ChainingValue,
}

/// Returns all differing ranges, in the order of the tensor names, then in that of the files.
///
/// Tensors that were added, are missing or changed their type or shape have no ranges. Neither have gaps and files of more
/// than [`BLOCK_LEN`] bytes, of which a seal only has a single digest.
pub fn differing_ranges<'a>(sealed: &'a Seal, found: &'a Seal) -> Vec<DifferingRange<'a>> {
    let by_name: HashMap<&str, &TensorSeal> =
        found.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut ranges = Vec::new();
    for (index, tensor) in sealed.tensors.iter().enumerate() {
        let Some(now) = by_name.get(tensor.name.as_str()) else { continue };
        let same_layout = now.is_laid_out_as(tensor) || tensor.is_outdated_for(now);
        if now.dtype == tensor.dtype && same_layout && now.blake3 != tensor.blake3 {
            blocks(index, tensor, now, &mut ranges);
        }
    }
    let by_path: HashMap<&str, &FileSeal> =
        found.files.iter().map(|file| (file.path.as_str(), file)).collect();
    for file in &sealed.files {
        let path = file.path.as_str();
        let whole = |subject, [start, end]: [u64; 2], sealed| DifferingRange {
            subject,
            file: path,
            object: start,
            offset: 0,
            len: (end - start) as usize,
            root: true,
            sealed,
        };
        match (by_path.get(path), &file.outside) {
            (Some(now), Some(outside)) => {
                let after = |range: [u64; 2]| {
                    now.outside.iter().flatten().find(|other| other.range == range)
                };
                let differ = outside.iter().filter(|before| {
                    after(before.range).is_some_and(|after| after.blake3 != before.blake3)
                });
                ranges.extend(differ.map(|o| whole(RangeSubject::Gap(path), o.range, o.blake3)));
            }
            (Some(now), None) if now.outside.is_none() && now.bytes == file.bytes => {
                let digest = file.blake3.filter(|digest| now.blake3 != Some(*digest));
                ranges.extend(digest.map(|d| whole(RangeSubject::File(path), [0, file.bytes], d)));
            }
            _ => {}
        }
    }
    ranges.retain(|range| (1..=BLOCK_LEN).contains(&range.len));
    ranges
}

fn blocks<'a>(
    index: usize,
    sealed: &'a TensorSeal,
    found: &'a TensorSeal,
    ranges: &mut Vec<DifferingRange<'a>>,
) {
    let range = |offset: u64, root, sealed: ChainingValue| DifferingRange {
        subject: RangeSubject::Tensor(index),
        file: &found.file,
        object: found.offset,
        offset,
        len: (found.bytes - offset).min(BLOCK_LEN as u64) as usize,
        root,
        sealed,
    };
    if sealed.blocks.is_empty() {
        ranges.push(range(0, true, sealed.blake3));
    } else {
        let pairs = (0..).step_by(BLOCK_LEN).zip(sealed.blocks.iter().zip(&found.blocks));
        let differ = pairs.filter(|(_, (before, after))| before != after);
        ranges.extend(differ.map(|(offset, (before, _))| range(offset, false, *before)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{GapSeal, ModelSeal};
    use tensorseal_base::dtype::Dtype;

    fn seal() -> Seal {
        let bytes = 2 * BLOCK_LEN as u64 + 8;
        let large = TensorSeal {
            blake3: [1; 32],
            blocks: vec![[2; 32], [3; 32], [4; 32]],
            bytes,
            distribution: None,
            sketch: None,
            dtype: Dtype::F32,
            file: "m".to_owned(),
            name: "a".to_owned(),
            offset: 100,
            shape: vec![bytes / 4],
            strides: None,
        };
        let small = TensorSeal {
            blocks: Vec::new(),
            bytes: 8,
            name: "b".to_owned(),
            offset: 100 + bytes,
            shape: vec![2],
            ..large.clone()
        };
        let outside = vec![GapSeal { blake3: [5; 32], range: [0, 100] }];
        let file = |path: &str, outside, bytes| FileSeal {
            blake3: Some([6; 32]),
            bytes,
            outside,
            path: path.to_owned(),
            sha256: None,
        };
        Seal {
            files: vec![file("c", None, 7), file("m", Some(outside), 108 + bytes)],
            model: ModelSeal {
                bytes: 0,
                elements: 0,
                files: 2,
                format: String::new(),
                root: String::new(),
                tensors: 2,
            },
            links: Vec::new(),
            schema: String::new(),
            tensors: vec![large, small],
        }
    }

    #[test]
    fn every_difference_is_a_range() {
        let sealed = seal();
        assert_eq!(differing_ranges(&sealed, &seal()), []);
        let mut found = seal();
        found.tensors[0].blake3 = [0; 32];
        found.tensors[0].blocks[2] = [0; 32];
        found.tensors[1].blake3 = [0; 32];
        found.tensors[1].offset += 4;
        found.files[0].blake3 = Some([0; 32]);
        found.files[1].outside.as_mut().unwrap()[0].blake3 = [0; 32];
        let actual = differing_ranges(&sealed, &found);
        let range = |subject, file, object, offset, len, root, sealed| DifferingRange {
            subject,
            file,
            object,
            offset,
            len,
            root,
            sealed,
        };
        let end = 2 * BLOCK_LEN as u64;
        let expected = [
            range(RangeSubject::Tensor(0), "m", 100, end, 8, false, [4; 32]),
            range(RangeSubject::Tensor(1), "m", 112 + end, 0, 8, true, [1; 32]),
            range(RangeSubject::File("c"), "c", 0, 0, 7, true, [6; 32]),
            range(RangeSubject::Gap("m"), "m", 0, 0, 100, true, [5; 32]),
        ];
        assert_eq!(actual, expected);
    }

    #[test]
    fn changed_shapes_and_lengths_have_no_ranges() {
        let sealed = seal();
        let mut found = seal();
        found.tensors[0].blake3 = [0; 32];
        found.tensors[0].shape = vec![1];
        found.tensors.pop();
        found.files[0].bytes = 8;
        found.files[0].blake3 = Some([0; 32]);
        let outside = &mut found.files[1].outside.as_mut().unwrap()[0];
        (outside.blake3, outside.range) = ([0; 32], [0, 99]);
        assert_eq!(differing_ranges(&sealed, &found), []);
    }
}
