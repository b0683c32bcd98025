//! Responses that are read once, in order.

use super::http::{Http, describe_error};
use super::runtime::NetworkRuntime;
use reqwest::Response;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::time::Instant;

/// The length of the buffer with which a stream is drained, in bytes.
const BUFFER: usize = 128 << 10;

/// The body of a response as a blocking reader. It must not be read from a task of the runtime.
#[derive(Debug)]
pub struct ResponseBody {
    response: Response,
    chunk: Vec<u8>,
    consumed: usize,
    deadline: Instant,
    runtime: NetworkRuntime,
}

impl ResponseBody {
    /// Reads the body of a response to `http` that is expected to have about `bytes` bytes.
    pub fn new(response: Response, bytes: u64, http: &Http) -> Self {
        let deadline = Instant::now() + http.limits().total_timeout(bytes);
        let runtime = http.runtime().clone();
        Self { response, chunk: Vec::new(), consumed: 0, deadline, runtime }
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.consumed == self.chunk.len() {
            if Instant::now() > self.deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the response is too slow"));
            }
            let next = self.runtime.block_on(self.response.chunk());
            let next = next.map_err(io::Error::other)?;
            let Some(next) = next.map_err(|error| io::Error::other(describe_error(error)))? else {
                return Ok(0);
            };
            self.chunk.clear();
            self.chunk.extend_from_slice(&next);
            self.consumed = 0;
        }
        let remaining = &self.chunk[self.consumed..];
        let count = remaining.len().min(buffer.len());
        buffer[..count].copy_from_slice(&remaining[..count]);
        self.consumed += count;
        Ok(count)
    }
}

/// A reader that counts and hashes the bytes. It ends after the promised number of bytes and detects whether there were
/// more.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    promised: u64,
    read: u64,
    hasher: Sha256,
    failed: Option<String>,
}

/// The length and digest of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSummary {
    /// The number of bytes, up to the promised number.
    pub bytes: u64,
    /// The SHA-256 of these bytes.
    pub sha256: [u8; 32],
    /// Whether the stream was longer than promised.
    pub longer: bool,
}

impl<R: Read> HashingReader<R> {
    /// Wraps a reader that should have `promised` bytes.
    pub fn new(inner: R, promised: u64) -> Self {
        Self { inner, promised, read: 0, hasher: Sha256::new(), failed: None }
    }

    /// Reads the rest of the stream and returns its summary.
    ///
    /// # Errors
    /// Returns the message of the first read error, now or before.
    pub fn finish(mut self) -> Result<StreamSummary, String> {
        let mut rest = vec![0; BUFFER];
        let mut more = [0; 1];
        let longer = loop {
            match self.read(&mut rest) {
                Ok(0) => break self.fill(&mut more).map(|count| count > 0),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        if let Some(reason) = self.failed {
            return Err(reason);
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
                count => return count,
            }
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(reason.clone()));
        }
        let remaining = usize::try_from(self.promised - self.read).unwrap_or(usize::MAX);
        let len = remaining.min(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let count = self.fill(&mut buffer[..len])?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::hex::hex;

    /// The SHA-256 of `abc` (FIPS 180-4).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_are_counted_and_hashed() {
        for (bytes, promised, expected) in
            [(&b"abc"[..], 3, (3, false)), (b"abcd", 3, (3, true)), (b"abc", 4, (3, false))]
        {
            for consumed in 0..=3 {
                let mut reader = HashingReader::new(bytes, promised);
                reader.read_exact(&mut vec![0; consumed]).unwrap();
                let summary = reader.finish().unwrap();
                assert_eq!((summary.bytes, summary.longer), expected);
                assert_eq!(hex(&summary.sha256), ABC);
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
        let mut reader = HashingReader::new(b"ab".chain(Broken), 9);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        // Further reads fail too.
        assert!(reader.read(&mut [0; 4]).is_err());
        assert_eq!(reader.finish(), Err("it broke".to_owned()));
    }
}
