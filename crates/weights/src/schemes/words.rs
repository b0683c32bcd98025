//! Codes of a few bits, packed into words of 32 from the lowest bits up.

use crate::stored::Stored;
use tensorseal_engine::stream::files::FileError;

/// A row-major matrix of words that hold codes along its rows or along its columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// The tensor.
    pub tensor: usize,
    /// Words of a row.
    pub columns: u64,
    /// Bits of a code: divides 32.
    pub bits: u64,
}

impl Words {
    /// Codes of a word.
    pub fn per_word(&self) -> u64 {
        32 / self.bits
    }

    /// Code number `at` of a word.
    pub fn code(&self, word: u64, at: u64) -> u64 {
        word >> (at * self.bits) & ((1 << self.bits) - 1)
    }

    /// Codes `first..first + count` of row `row`, packed along it.
    pub fn along(
        &self,
        stored: &Stored<'_>,
        row: u64,
        first: u64,
        count: u64,
    ) -> Result<Vec<u64>, FileError> {
        let per_word = self.per_word();
        let (from, to) = (first / per_word, (first + count).div_ceil(per_word));
        let words = stored.codes(self.tensor, row * self.columns + from, (to - from) as usize)?;
        let code = |at: u64| self.code(words[(at / per_word - from) as usize], at % per_word);
        Ok((first..first + count).map(code).collect())
    }
}
