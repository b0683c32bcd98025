//! Pages of one word, and pages that occur twice.
//!
//! Of each whole page its fingerprint is kept, 1/512 of the model. Beyond [`EXACT_BYTES`] only pages
//! whose fingerprint begins with enough zeros are: equal pages have equal fingerprints, so that a share
//! of the *doubled* pages is found, at the same rate.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tensorseal_engine::measure::pages::{PAGE_LEN, PageState, Pages};

/// Up to this size of a model every doubled page is found.
pub const EXACT_BYTES: u64 = 64 << 30;

/// Runs of constant pages kept one by one, for each tensor.
const KEPT_RUNS: usize = 1024;

/// Doubled pages that are looked at one by one.
const MOST_DOUBLED: usize = 1 << 20;

/// Parts in which fingerprints are sorted, so that the copy that is sorted stays small.
const PARTS: u64 = 16;

/// Consecutive pages of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstantPages {
    /// First page, as in [`Pages`].
    pub page: u64,
    /// How many.
    pub pages: u64,
    /// The word.
    pub word: u32,
}

/// The pages that lie wholly inside a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageFacts {
    /// How many.
    pub pages: u64,
    /// How many of them repeat one word.
    pub constant: u64,
    /// Where those are, the first ones.
    pub runs: Vec<ConstantPages>,
}

/// The fingerprints of a tensor's pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFingerprints {
    /// Numbers of the pages; empty when the prints are those of all pages from `first` on.
    numbers: Vec<u32>,
    first: u64,
    prints: Vec<u64>,
}

/// How many leading zeros a fingerprint must have to be kept, for a model of so many bytes.
pub fn sampling(bytes: u64) -> u32 {
    let share = bytes.div_ceil(EXACT_BYTES).max(1);
    share.next_power_of_two().trailing_zeros()
}

impl PageFacts {
    /// From all pages that a tensor of `bytes` bytes touches. `zeros`: see [`sampling`].
    pub fn new(pages: &Pages, phase: u32, bytes: u64, zeros: u32) -> (PageFacts, PageFingerprints) {
        let phase = u64::from(phase);
        let first = phase.div_ceil(PAGE_LEN);
        let end = ((phase + bytes) / PAGE_LEN).max(first);
        let whole = pages.pages.get(first as usize..end as usize).unwrap_or_default();
        let mut facts = PageFacts { pages: whole.len() as u64, ..PageFacts::default() };
        let mut prints = PageFingerprints { first, ..PageFingerprints::default() };
        for (page, number) in whole.iter().zip(first..) {
            let constant = page.state == PageState::Constant;
            if constant {
                facts.add_constant(number, page.word);
            }
            // A constant page has no print: it is no news that it occurs again.
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
        let room = self.runs.len() < KEPT_RUNS;
        match self.runs.last_mut() {
            Some(run) if run.page + run.pages == page && run.word == word => run.pages += 1,
            _ if room => self.runs.push(ConstantPages { page, pages: 1, word }),
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

/// Consecutive pages that occur a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatePages {
    /// Index of the tensor in the list that was searched, and page in it.
    pub here: (usize, u64),
    /// The same of the place that has the same bytes; it comes after `here`.
    pub there: (usize, u64),
    /// How many pages in a row.
    pub pages: u64,
    /// How often the first of them occurs in all.
    pub times: u64,
}

/// All doubled pages of the tensors `prints`, in order of the second place.
pub fn find_duplicates(prints: &[&PageFingerprints]) -> Vec<DuplicatePages> {
    let twice = duplicate_fingerprints(prints);
    let mut places: HashMap<u64, Vec<(usize, u64)>> =
        twice.into_iter().map(|print| (print, Vec::new())).collect();
    for (tensor, prints) in prints.iter().enumerate() {
        for (page, print) in prints.pages() {
            if let Some(places) = places.get_mut(&print) {
                places.push((tensor, page));
            }
        }
    }
    let mut pairs: Vec<DuplicatePages> = places
        .into_values()
        .flat_map(|places| {
            let (here, times) = (places[0], places.len() as u64);
            let pair = move |there| DuplicatePages { here, there, pages: 1, times };
            places.into_iter().skip(1).map(pair)
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

/// The fingerprints that occur more than once, at most [`MOST_DOUBLED`] of them.
fn duplicate_fingerprints(prints: &[&PageFingerprints]) -> Vec<u64> {
    let mut twice = Vec::new();
    let mut part = Vec::new();
    for index in 0..PARTS {
        part.clear();
        for prints in prints {
            // Kept prints of a sampled model begin with zeros: their low bits are as good.
            let here = prints.prints.iter().filter(|p| **p != 0 && **p % PARTS == index);
            part.extend(here.copied());
        }
        part.sort_unstable();
        let pairs = part.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let before = twice.len();
        twice.extend(pairs);
        twice[before..].sort_unstable();
        twice.dedup();
        if twice.len() > MOST_DOUBLED {
            twice.truncate(MOST_DOUBLED);
            break;
        }
    }
    twice
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
    fn a_run_that_occurs_again_is_one() {
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
    fn only_whole_pages_count_and_the_phase_is_that_of_the_file() {
        let bytes = [page(1)[2048..].to_vec(), page(2), page(2), page(1)[..100].to_vec()].concat();
        let (facts, prints) = facts(2048, &bytes, 0);
        assert_eq!(facts.pages, 2);
        let pair = DuplicatePages { here: (0, 1), there: (0, 2), pages: 1, times: 2 };
        assert_eq!(find_duplicates(&[&prints]), [pair]);
    }

    #[test]
    fn a_tensor_within_a_page_has_none() {
        for (phase, len) in [(8, 100), (4, 0), (0, 4095), (4092, 4100)] {
            let (facts, prints) = facts(phase, &vec![7; len], 0);
            assert_eq!(
                (facts.pages, prints.prints.len()),
                (u64::from(len == 4100), usize::from(len == 4100))
            );
        }
    }

    #[test]
    fn of_a_sampled_model_a_share_of_the_pages_is_found() {
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
