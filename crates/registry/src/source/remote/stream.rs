//! Answers that are read once, in order, as they come.

use super::http::{Http, describe_error};
use super::runtime::NetworkRuntime;
use reqwest::Response;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::time::Instant;

/// Bytes that are read at once where nobody says how many.
const PIECE: usize = 128 << 10;

/// The body of an answer. Not to be read by a task of the runtime.
#[derive(Debug)]
pub struct ResponseBody {
    response: Response,
    piece: Vec<u8>,
    taken: usize,
    until: Instant,
    runtime: NetworkRuntime,
}

impl ResponseBody {
    /// Of an answer to `http` that is expected to have about so many bytes.
    pub fn new(response: Response, bytes: u64, http: &Http) -> Self {
        let until = Instant::now() + http.limits().total_timeout(bytes);
        let waiting = http.runtime().clone();
        Self { response, piece: Vec::new(), taken: 0, until, runtime: waiting }
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            if Instant::now() > self.until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer comes too slowly"));
            }
            let next = self.runtime.block_on(self.response.chunk());
            let next = next.map_err(io::Error::other)?;
            let Some(next) = next.map_err(|error| io::Error::other(describe_error(error)))? else {
                return Ok(0);
            };
            self.piece.clear();
            self.piece.extend_from_slice(&next);
            self.taken = 0;
        }
        let left = &self.piece[self.taken..];
        let got = left.len().min(buffer.len());
        buffer[..got].copy_from_slice(&left[..got]);
        self.taken += got;
        Ok(got)
    }
}

/// What flows through is counted and hashed. It ends after as many bytes as were promised, and says whether
/// there were more.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    promised: u64,
    read: u64,
    hasher: Sha256,
    failed: Option<String>,
}

/// What flowed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSummary {
    /// Number of bytes, up to those promised.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// Whether there were more.
    pub longer: bool,
}

impl<R: Read> HashingReader<R> {
    /// Of something that is said to have `promised` bytes.
    pub fn new(inner: R, promised: u64) -> Self {
        Self { inner, promised, read: 0, hasher: Sha256::new(), failed: None }
    }

    /// Reads what was not read yet, and sums up.
    ///
    /// # Errors
    /// In words, when something could not be read, now or before.
    pub fn finish(mut self) -> Result<StreamSummary, String> {
        let mut rest = vec![0; PIECE];
        let mut more = [0; 1];
        let longer = loop {
            match self.read(&mut rest) {
                Ok(0) => break self.fill(&mut more).map(|got| got > 0),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        if let Some(why) = self.failed {
            return Err(why);
        }
        let longer = longer.map_err(|error| error.to_string())?;
        Ok(StreamSummary { bytes: self.read, sha256: self.hasher.finalize().into(), longer })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed.get_or_insert_with(|| error.to_string());
                    return Err(error);
                }
                got => return got,
            }
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.failed {
            return Err(io::Error::other(why.clone()));
        }
        let left = usize::try_from(self.promised - self.read).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let got = self.fill(&mut buffer[..len])?;
        self.hasher.update(&buffer[..got]);
        self.read += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::hex::hex;

    /// Of `abc`: FIPS 180-4.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_flows_is_counted_and_hashed() {
        for (bytes, promised, expected) in
            [(&b"abc"[..], 3, (3, false)), (b"abcd", 3, (3, true)), (b"abc", 4, (3, false))]
        {
            for taken in 0..=3 {
                let mut checked = HashingReader::new(bytes, promised);
                checked.read_exact(&mut vec![0; taken]).unwrap();
                let flowed = checked.finish().unwrap();
                assert_eq!((flowed.bytes, flowed.longer), expected);
                assert_eq!(hex(&flowed.sha256), ABC);
            }
        }
    }

    #[test]
    fn a_failure_is_not_an_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("it broke"))
            }
        }
        let mut checked = HashingReader::new(b"ab".chain(Broken), 9);
        assert!(checked.read_to_end(&mut Vec::new()).is_err());
        // Whoever reads on does not get past it, either.
        assert!(checked.read(&mut [0; 4]).is_err());
        assert_eq!(checked.finish(), Err("it broke".to_owned()));
    }
}
