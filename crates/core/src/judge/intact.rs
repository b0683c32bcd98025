//! Determines which files match a seal byte for byte.

use crate::seal::{FileSeal, Seal};
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_engine::measure::digest::ChainingValue;

/// The digests of the ranges of a file.
type RangeDigests = BTreeMap<[u64; 2], ChainingValue>;

/// Returns the paths of the files whose bytes match the seal, by the digest of the whole file or by the digests of
/// all of its ranges. The ranges of a valid seal cover the file completely. A file without digests on both sides
/// does not count as intact.
pub fn files(sealed: &Seal, found: &Seal) -> BTreeSet<String> {
    let (before, now) = (range_digests(sealed), range_digests(found));
    let same = |file: &&FileSeal| {
        let path = file.path.as_str();
        found.file(path).is_some_and(|found| {
            file.bytes == found.bytes && is_same(file, found, before.get(path), now.get(path))
        })
    };
    sealed.files.iter().filter(same).map(|file| file.path.clone()).collect()
}

fn is_same(
    sealed: &FileSeal,
    found: &FileSeal,
    before: Option<&RangeDigests>,
    now: Option<&RangeDigests>,
) -> bool {
    let whole = sealed.blake3.zip(found.blake3).map(|(sealed, found)| sealed == found);
    let parts = (sealed.outside.is_some() && found.outside.is_some()).then(|| before == now);
    // Both must match where both are known: a seal that contradicts itself proves nothing.
    whole.or(parts).is_some() && whole != Some(false) && parts != Some(false)
}

/// Returns the digests of tensors and gaps by path, for files that are sealed in parts.
fn range_digests(seal: &Seal) -> BTreeMap<&str, RangeDigests> {
    let mut all: BTreeMap<&str, RangeDigests> = BTreeMap::new();
    for file in &seal.files {
        for gap in file.outside.iter().flatten() {
            all.entry(&file.path).or_default().insert(gap.range, gap.blake3);
        }
    }
    for tensor in &seal.tensors {
        // An empty tensor has no bytes.
        if tensor.bytes > 0 {
            let range = [tensor.offset, tensor.offset.saturating_add(tensor.bytes)];
            all.entry(&tensor.file).or_default().insert(range, tensor.blake3);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{GapSeal, ModelSeal, TensorSeal};
    use tensorseal_base::dtype::Dtype;

    fn seal() -> Seal {
        let file = |path: &str, blake3, outside| FileSeal {
            blake3,
            bytes: 8,
            outside,
            path: path.to_owned(),
            sha256: None,
        };
        let gaps = vec![GapSeal { blake3: [1; 32], range: [0, 4] }];
        let tensor = TensorSeal {
            blake3: [2; 32],
            blocks: Vec::new(),
            bytes: 4,
            distribution: None,
            dtype: Dtype::U8,
            file: "m".to_owned(),
            name: "t".to_owned(),
            offset: 4,
            shape: vec![4],
            strides: None,
            sketch: None,
        };
        let model = ModelSeal {
            bytes: 16,
            elements: 4,
            files: 2,
            format: String::new(),
            root: String::new(),
            tensors: 1,
        };
        Seal {
            files: vec![file("c", Some([3; 32]), None), file("m", None, Some(gaps))],
            links: Vec::new(),
            model,
            schema: String::new(),
            tensors: vec![tensor],
        }
    }

    #[test]
    fn a_file_is_the_sealed_one_when_every_byte_of_it_is() {
        let paths = |found: &Seal| files(&seal(), found).into_iter().collect::<Vec<_>>();
        assert_eq!(paths(&seal()), ["c", "m"]);
        type Change = fn(&mut Seal);
        let changes: [(Change, &str); 7] = [
            (|s| s.files[0].blake3 = Some([0; 32]), "m"),
            (|s| s.files[0].blake3 = None, "m"),
            (|s| s.files[0].bytes = 9, "m"),
            (|s| s.files[1].outside.as_mut().unwrap()[0].blake3 = [0; 32], "c"),
            (|s| s.tensors[0].blake3 = [0; 32], "c"),
            (|s| s.tensors[0].offset = 0, "c"),
            (|s| s.tensors.clear(), "c"),
        ];
        for (index, (change, intact)) in changes.into_iter().enumerate() {
            let mut found = seal();
            change(&mut found);
            assert_eq!(paths(&found), [intact], "{index}");
        }
    }

    #[test]
    fn where_the_whole_and_its_parts_disagree_nothing_is_known() {
        let (mut sealed, mut found) = (seal(), seal());
        sealed.files[1].blake3 = Some([4; 32]);
        found.files[1].blake3 = Some([5; 32]);
        assert!(!files(&sealed, &found).contains("m"));
        found.files[1].blake3 = Some([4; 32]);
        assert!(files(&sealed, &found).contains("m"));
    }
}
