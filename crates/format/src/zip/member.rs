//! Reads the data of small members.

use super::{CompressionMethod, ZipError, ZipMember};
use crate::file::{self, OpenedFile};
use flate2::{Decompress, FlushDecompress, Status};
use std::io;

impl ZipMember {
    /// Reads and, if necessary, unpacks the data of the member. No memory is reserved for a length that is only
    /// stated.
    ///
    /// # Errors
    /// The outer error is an I/O error. The inner error is a [`ZipError`] if the member is damaged or longer than
    /// `max` bytes.
    pub fn read(&self, opened: &OpenedFile, max: u64) -> io::Result<Result<Vec<u8>, ZipError>> {
        let [start, end] = self.range;
        let stored = end - start;
        let bomb = || ZipError::Bomb {
            member: self.name.clone(),
            stored,
            bytes: self.bytes.max(max),
            range: self.range,
        };
        if self.bytes > max || stored > max {
            return Ok(Err(bomb()));
        }
        let bytes = file::read_at(&opened.file, start, stored as usize)?;
        if self.method == CompressionMethod::Stored {
            return Ok(Ok(bytes));
        }
        Ok(match inflate(&bytes, self.bytes as usize) {
            Inflated::Whole(data)
                if self.crc32.is_none_or(|crc32| crc32fast::hash(&data) == crc32) =>
            {
                Ok(data)
            }
            Inflated::TooLong => Err(bomb()),
            Inflated::Whole(_) | Inflated::Damaged => {
                Err(ZipError::Damaged { member: self.name.clone(), range: self.range })
            }
        })
    }

    /// Reads the first bytes, at max `max`, of a member that is stored uncompressed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn start(&self, opened: &OpenedFile, max: usize) -> io::Result<Vec<u8>> {
        let [start, end] = self.range;
        file::read_at(&opened.file, start, (end - start).min(max as u64) as usize)
    }

    /// The error for a member that cannot be read in place because it is compressed: [`ZipError::Bomb`] if it
    /// unpacks to very many bytes, and otherwise [`ZipError::Compressed`].
    pub fn compressed(&self) -> ZipError {
        // DEFLATE compresses by a factor of 1,032 at most, weights by less than 2, and masks of zeros are small.
        const LARGE: u64 = 64 << 20;
        let (member, range) = (self.name.clone(), self.range);
        let stored = range[1] - range[0];
        match self.bytes > LARGE && self.bytes / 100 > stored {
            true => ZipError::Bomb { member, stored, bytes: self.bytes, range },
            false => ZipError::Compressed { member, range },
        }
    }
}

enum Inflated {
    Whole(Vec<u8>),
    TooLong,
    Damaged,
}

/// Unpacks exactly `expected` bytes.
fn inflate(packed: &[u8], expected: usize) -> Inflated {
    const STEP: usize = 64 << 10;
    let mut decoder = Decompress::new(false);
    let mut data = Vec::new();
    let mut piece = vec![0; STEP];
    loop {
        let (taken, made) = (decoder.total_in() as usize, decoder.total_out());
        let rest = packed.get(taken..).unwrap_or_default();
        let status = decoder.decompress(rest, &mut piece, FlushDecompress::None);
        let new = (decoder.total_out() - made) as usize;
        data.extend_from_slice(&piece[..new]);
        if data.len() > expected {
            return Inflated::TooLong;
        }
        match status {
            Ok(Status::StreamEnd) => {
                let all = decoder.total_in() as usize == packed.len();
                return match all && data.len() == expected {
                    true => Inflated::Whole(data),
                    false => Inflated::Damaged,
                };
            }
            Ok(_) if new > 0 || decoder.total_in() as usize > taken => {}
            _ => return Inflated::Damaged,
        }
    }
}
