//! `pages`: fingerprints of the 4 KiB pages of the file that a tensor covers.
//!
//! Storage writes whole pages, so torn, stale and duplicated writes begin and end at page bounds. Pages
//! are therefore aligned to the start of the *file*. For each page the kernel returns a fingerprint that
//! does not depend on its position (a BLAKE3 chaining value does), and whether it repeats one 32-bit word.
//!
//! The fingerprint is multilinear (Lemire and Kaser 2014, "Strongly universal string hashing is
//! fast"): the sum of `key[i] · word[i]` modulo 2^64 over the 1,024 words of a page, with fixed public
//! keys. It is additive, so the parts of a page that two tiles share merge exactly. Two different
//! pages have the same fingerprint with a probability of at most 2^-33 over the choice of keys, and of
//! 2^-64 unless all differences are even. The keys are public, so pages that look duplicated can be
//! forged, which only draws attention to them. Shader twin: `shaders/pages.wgsl`.

use super::isa::{self, VectorKernel};

/// The length of a page in bytes.
pub const PAGE_LEN: u64 = 4096;

/// The number of 32-bit words in a page.
pub const PAGE_WORDS: usize = 1024;

/// The keys of the fingerprint: splitmix64 (Steele, Lea and Flood 2014) of 1, 2, 3, …
pub static KEYS: [u64; PAGE_WORDS] = keys();

const fn keys() -> [u64; PAGE_WORDS] {
    let mut keys = [0; PAGE_WORDS];
    let (mut i, mut state) = (0, 0u64);
    while i < PAGE_WORDS {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        keys[i] = z ^ (z >> 31);
        i += 1;
    }
    keys
}

/// The measurement of a page, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// The sum of key · word over the measured words, modulo 2^64.
    pub fingerprint: u64,
    /// The repeated word, if the page is constant.
    pub word: u32,
    /// Whether the measured words are all the same.
    pub state: PageState,
}

/// Whether the words of a page are all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageState {
    /// No words were measured.
    #[default]
    Unseen,
    /// All measured words are [`Page::word`].
    Constant,
    /// The words differ; `word` is zero.
    Mixed,
}

impl Page {
    /// Adds another part of the same page.
    pub fn merge(&mut self, other: &Page) {
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        match (self.state, other.state) {
            (_, PageState::Unseen) => {}
            (PageState::Unseen, state) => (self.state, self.word) = (state, other.word),
            (PageState::Constant, PageState::Constant) if self.word == other.word => {}
            _ => (self.state, self.word) = (PageState::Mixed, 0),
        }
    }
}

/// Consecutive pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pages {
    /// The number of the first page, counted from the page in which the tensor begins.
    pub first: u64,
    /// The pages.
    pub pages: Vec<Page>,
}

/// Returns the position of the first byte of a tensor in its first page. Words are aligned to the tensor:
/// if it is not aligned to 4 bytes, its pages begin up to 3 bytes after those of the file.
pub fn phase(offset: u64) -> u32 {
    (offset % PAGE_LEN) as u32 & !3
}

impl Pages {
    /// Creates empty measurements of the pages that the bytes `start..start + len` of a tensor touch.
    pub fn for_range(phase: u32, start: u64, len: u64) -> Pages {
        let begin = u64::from(phase) + start;
        let first = begin / PAGE_LEN;
        // The last bytes of a tensor may be less than a word.
        let end = begin + (len & !3);
        let count = if end > begin { (end - 1) / PAGE_LEN + 1 - first } else { 0 };
        Pages { first, pages: vec![Page::default(); count as usize] }
    }

    /// Adds the measurement of a part of this range.
    pub fn merge(&mut self, part: &Pages) {
        let at = (part.first - self.first) as usize;
        for (page, more) in self.pages[at..].iter_mut().zip(&part.pages) {
            page.merge(more);
        }
    }

    /// CPU kernel: adds the words of `bytes`, which begin `start` bytes into the tensor and lie in these
    /// pages. `start` is a multiple of 4. Trailing bytes short of a word are not counted.
    pub fn add(&mut self, phase: u32, start: u64, bytes: &[u8]) {
        let words = bytes.as_chunks::<4>().0;
        let begin = u64::from(phase) + start;
        let mut at = (begin / PAGE_LEN - self.first) as usize;
        let head = (begin % PAGE_LEN / 4) as usize;
        let (partial, whole) = words.split_at(words.len().min((PAGE_WORDS - head) % PAGE_WORDS));
        if !partial.is_empty() {
            self.pages[at]
                .merge(&isa::vectorised(PageFingerprint { keys: &KEYS[head..], words: partial }));
            at += 1;
        }
        for words in whole.chunks(PAGE_WORDS) {
            self.pages[at].merge(&isa::vectorised(PageFingerprint { keys: &KEYS, words }));
            at += 1;
        }
    }
}

/// The words of a page, or of a part of it.
struct PageFingerprint<'a> {
    keys: &'a [u64],
    words: &'a [[u8; 4]],
}

impl VectorKernel for PageFingerprint<'_> {
    type Output = Page;

    #[inline(always)]
    fn run(self) -> Page {
        page(self.keys, self.words)
    }
}

#[inline(always)]
fn page(keys: &[u64], words: &[[u8; 4]]) -> Page {
    let word = u32::from_le_bytes(words[0]);
    let (mut fingerprint, mut differ) = (0u64, 0u32);
    for (key, bytes) in keys.iter().zip(words) {
        let next = u32::from_le_bytes(*bytes);
        fingerprint = fingerprint.wrapping_add(key.wrapping_mul(u64::from(next)));
        differ |= next ^ word;
    }
    match differ {
        0 => Page { fingerprint, word, state: PageState::Constant },
        _ => Page { fingerprint, word: 0, state: PageState::Mixed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(phase: u32, bytes: &[u8]) -> Pages {
        let mut pages = Pages::for_range(phase, 0, bytes.len() as u64);
        pages.add(phase, 0, bytes);
        pages
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            phase in 0u32..1024,
            words in prop::collection::vec(0u32..3, 0..5000),
            tail in 0usize..4,
            cut in 0usize..5000,
        ) {
            let phase = 4 * phase;
            let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            bytes.resize(bytes.len() + tail, 7);
            let cut = 4 * cut.min(words.len());
            let (a, b) = bytes.split_at(cut);
            let mut sum = Pages::for_range(phase, 0, bytes.len() as u64);
            let mut right = Pages::for_range(phase, cut as u64, b.len() as u64);
            right.add(phase, cut as u64, b);
            let mut left = Pages::for_range(phase, 0, a.len() as u64);
            left.add(phase, 0, a);
            sum.merge(&right);
            sum.merge(&left);
            prop_assert_eq!(sum, whole(phase, &bytes));
        }

        #[test]
        fn one_changed_word_changes_the_print(at in 0usize..1024, flip in 1u32..) {
            let mut words = [0x3F80_0000u32; 1024];
            let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
            let before = whole(0, &bytes(&words));
            words[at] ^= flip;
            let after = whole(0, &bytes(&words));
            prop_assert_ne!(before.pages[0].fingerprint, after.pages[0].fingerprint);
            prop_assert_eq!(before.pages[0].state, PageState::Constant);
            prop_assert_eq!(after.pages[0].state, PageState::Mixed);
        }
    }

    #[test]
    fn prints_do_not_depend_on_the_place_and_keys_differ() {
        let page: Vec<u8> = (0..4096u32).map(|i| (i * 7 % 251) as u8).collect();
        let twice = whole(0, &[page.clone(), page].concat());
        assert_eq!(twice.pages[0], twice.pages[1]);
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), PAGE_WORDS);
        // splitmix64 from seed 0, as published with the generator.
        assert_eq!(KEYS[0], 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn a_tensor_of_no_word_touches_no_page() {
        assert!(Pages::for_range(8, 0, 3).pages.is_empty());
        assert_eq!(Pages::for_range(4092, 0, 8).pages.len(), 2);
        assert_eq!(Pages::for_range(4092, 4, 4).first, 1);
        assert_eq!(phase(4096 + 13), 12);
    }
}
