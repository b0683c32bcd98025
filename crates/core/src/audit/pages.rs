//! Constant pages, and pages that occur more than once.
//!
//! The fingerprint of each whole page is kept, which takes 1/512 of the size of the model. In models larger than
//! [`EXACT_BYTES`] only fingerprints with enough leading zeros are kept. Equal pages have equal fingerprints, so
//! duplicates are found at the same rate at which pages are kept.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tensorseal_engine::measure::pages::{PAGE_LEN, PageState, Pages};

/// The size of a model in bytes up to which every duplicate page is found.
pub const EXACT_BYTES: u64 = 64 << 30;

/// The number of runs of constant pages that are kept one by one for each tensor.
const MAX_KEPT_RUNS: usize = 1024;

/// The number of duplicated fingerprints that are examined.
const MAX_DUPLICATES: usize = 1 << 20;

/// The number of parts in which fingerprints are sorted, so that the sorted copy stays small.
const PARTS: u64 = 16;

/// Consecutive pages that repeat one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstantPages {
    /// The number of the first page, as in [`Pages`].
    pub page: u64,
    /// The number of pages.
    pub pages: u64,
    /// The repeated 32-bit word.
    pub word: u32,
}

/// Facts about the pages that lie wholly inside a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageFacts {
    /// The number of pages.
    pub pages: u64,
    /// The number of pages that repeat one word.
    pub constant: u64,
    /// The first runs of constant pages.
    pub runs: Vec<ConstantPages>,
}

/// The fingerprints of a tensor's pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFingerprints {
    /// The numbers of the pages; empty if `prints` has all pages from `first` on.
    numbers: Vec<u32>,
    first: u64,
    prints: Vec<u64>,
}

/// Returns the number of leading zero bits that a fingerprint must have to be kept, for a model of `bytes` bytes.
pub fn sampling(bytes: u64) -> u32 {
    let share = bytes.div_ceil(EXACT_BYTES).max(1);
    share.next_power_of_two().trailing_zeros()
}

impl PageFacts {
    /// Derives the facts from all pages that a tensor of `bytes` bytes touches. `phase` is the position of the tensor in its
    /// first page, and `zeros` the number of leading zero bits from [`sampling`].
    pub fn new(pages: &Pages, phase: u32, bytes: u64, zeros: u32) -> (PageFacts, PageFingerprints) {
        let phase = u64::from(phase);
        let first = phase.div_ceil(PAGE_LEN);
        let end = ((phase + bytes) / PAGE_LEN).max(first);
        let whole_pages = pages.pages.get(first as usize..end as usize).unwrap_or_default();
        let mut facts = PageFacts { pages: whole_pages.len() as u64, ..PageFacts::default() };
        let mut prints = PageFingerprints { first, ..PageFingerprints::default() };
        for (page, number) in whole_pages.iter().zip(first..) {
            let constant = page.state == PageState::Constant;
            if constant {
                facts.add_constant(number, page.word);
            }
            // A constant page gets no fingerprint: that it occurs again means nothing.
            let print = if constant { 0 } else { page.fingerprint };
            match zeros {
                0 => prints.prints.push(print),
                _ if print != 0 && print.leading_zeros() >= zeros => {
                    prints.prints.push(print);
                    prints.numbers.push(number as u32);
                }
                _ => {}
            }
        }
        (facts, prints)
    }

    fn add_constant(&mut self, page: u64, word: u32) {
        self.constant += 1;
        let has_room = self.runs.len() < MAX_KEPT_RUNS;
        match self.runs.last_mut() {
            Some(run) if run.page + run.pages == page && run.word == word => run.pages += 1,
            _ if has_room => self.runs.push(ConstantPages { page, pages: 1, word }),
            _ => {}
        }
    }
}

impl PageFingerprints {
    fn pages(&self) -> impl Iterator<Item = (u64, u64)> {
        self.prints.iter().enumerate().map(|(index, print)| {
            let number = self.numbers.get(index).map(|number| u64::from(*number));
            (number.unwrap_or(self.first + index as u64), *print)
        })
    }
}

/// Consecutive pages that occur again elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatePages {
    /// The index of the tensor in the searched list, and the page in it, of the first occurrence.
    pub here: (usize, u64),
    /// The tensor and the page of the later occurrence.
    pub there: (usize, u64),
    /// The number of consecutive pages.
    pub pages: u64,
    /// The total number of occurrences of the first page.
    pub times: u64,
}

/// Returns all duplicate pages of the tensors with these fingerprints, ordered by the later occurrence.
pub fn find_duplicates(prints: &[&PageFingerprints]) -> Vec<DuplicatePages> {
    let duplicated = duplicate_fingerprints(prints);
    let mut occurrences: HashMap<u64, Vec<(usize, u64)>> =
        duplicated.into_iter().map(|print| (print, Vec::new())).collect();
    for (tensor, prints) in prints.iter().enumerate() {
        for (page, print) in prints.pages() {
            if let Some(occurrences) = occurrences.get_mut(&print) {
                occurrences.push((tensor, page));
            }
        }
    }
    let mut pairs: Vec<DuplicatePages> = occurrences
        .into_values()
        .flat_map(|occurrences| {
            let (here, times) = (occurrences[0], occurrences.len() as u64);
            let pair = move |there| DuplicatePages { here, there, pages: 1, times };
            occurrences.into_iter().skip(1).map(pair)
        })
        .collect();
    pairs.sort_unstable_by_key(|pair| (pair.there, pair.here));
    let mut runs: Vec<DuplicatePages> = Vec::new();
    for pair in pairs {
        let follows = |run: &DuplicatePages| {
            let after = |(tensor, page): (usize, u64)| (tensor, page + run.pages);
            after(run.here) == pair.here && after(run.there) == pair.there
        };
        match runs.last_mut() {
            Some(run) if follows(run) => run.pages += 1,
            _ => runs.push(pair),
        }
    }
    runs
}

/// Returns the fingerprints that occur more than once, at most [`MAX_DUPLICATES`] of them.
fn duplicate_fingerprints(prints: &[&PageFingerprints]) -> Vec<u64> {
    let mut duplicated = Vec::new();
    let mut part = Vec::new();
    for index in 0..PARTS {
        part.clear();
        for prints in prints {
            // The leading bits of a sampled model's fingerprints are zeros, so the low bits select the part.
            let selected = prints.prints.iter().filter(|p| **p != 0 && **p % PARTS == index);
            part.extend(selected.copied());
        }
        part.sort_unstable();
        let pairs = part.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let before = duplicated.len();
        duplicated.extend(pairs);
        duplicated[before..].sort_unstable();
        duplicated.dedup();
        if duplicated.len() > MAX_DUPLICATES {
            duplicated.truncate(MAX_DUPLICATES);
            break;
        }
    }
    duplicated
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_engine::measure::pages::Pages;

    fn facts(phase: u32, bytes: &[u8], zeros: u32) -> (PageFacts, PageFingerprints) {
        let mut pages = Pages::for_range(phase, 0, bytes.len() as u64);
        pages.add(phase, 0, bytes);
        PageFacts::new(&pages, phase, bytes.len() as u64, zeros)
    }

    fn page(seed: u8) -> Vec<u8> {
        let mut page = vec![0; PAGE_LEN as usize];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut page);
        page
    }

    #[test]
    fn a_repeated_run_is_reported_once() {
        let a = [page(1), page(2), page(3), page(4)].concat();
        let b = [page(9), page(2), page(3), vec![0; 8192], page(1)].concat();
        let (facts_a, a) = facts(0, &a, 0);
        let (facts_b, b) = facts(0, &b, 0);
        assert_eq!((facts_a.constant, facts_b.constant), (0, 2));
        assert_eq!(facts_b.runs, [ConstantPages { page: 3, pages: 2, word: 0 }]);
        let found = find_duplicates(&[&a, &b]);
        let run = DuplicatePages { here: (0, 1), there: (1, 1), pages: 2, times: 2 };
        let single = DuplicatePages { here: (0, 0), there: (1, 5), pages: 1, times: 2 };
        assert_eq!(found, [run, single]);
    }

    #[test]
    fn only_whole_pages_count_and_the_phase_is_relative_to_the_file() {
        let bytes = [page(1)[2048..].to_vec(), page(2), page(2), page(1)[..100].to_vec()].concat();
        let (facts, prints) = facts(2048, &bytes, 0);
        assert_eq!(facts.pages, 2);
        let pair = DuplicatePages { here: (0, 1), there: (0, 2), pages: 1, times: 2 };
        assert_eq!(find_duplicates(&[&prints]), [pair]);
    }

    #[test]
    fn a_tensor_within_a_page_has_no_whole_page() {
        for (phase, len) in [(8, 100), (4, 0), (0, 4095), (4092, 4100)] {
            let (facts, prints) = facts(phase, &vec![7; len], 0);
            assert_eq!(
                (facts.pages, prints.prints.len()),
                (u64::from(len == 4100), usize::from(len == 4100))
            );
        }
    }

    #[test]
    fn a_share_of_the_duplicates_of_a_sampled_model_is_found() {
        assert_eq!(sampling(EXACT_BYTES), 0);
        assert_eq!(sampling(EXACT_BYTES + 1), 1);
        assert_eq!(sampling(1 << 40), 4);
        let bytes: Vec<u8> = (0..=255).flat_map(page).collect();
        let (facts, kept) = facts(0, &[bytes.clone(), bytes].concat(), 2);
        assert_eq!(facts.pages, 512);
        assert!((64..192).contains(&kept.prints.len()), "{}", kept.prints.len());
        let found: u64 = find_duplicates(&[&kept]).iter().map(|run| run.pages).sum();
        assert_eq!(found, kept.prints.len() as u64 / 2);
    }
}
