//! Decompresses a stream with bounded memory.

use super::media::Compression;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

/// The length of the read buffer in bytes.
const BUFFER: usize = 128 << 10;

/// Returns a reader of the decompressed bytes.
pub(super) fn reader<'r>(
    compressed: impl Read + 'r,
    compression: Option<Compression>,
) -> Box<dyn Read + 'r> {
    match compression {
        None => Box::new(compressed),
        Some(Compression::Gzip) => {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, compressed)))
        }
        Some(Compression::Zstd) => Box::new(Zstd::new(compressed)),
    }
}

/// An empty Zstandard frame.
const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// A reader of consecutive Zstandard frames (RFC 8878, section 3). The library refuses windows of more than 100 MiB.
struct Zstd<R: Read> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: R) -> Self {
        let source = BufReader::with_capacity(BUFFER, source);
        let mut decoder = FrameDecoder::new();
        // The library checks the window of every frame but the first that a decoder sees.
        let begun = decoder.reset(EMPTY_FRAME.as_slice());
        debug_assert!(begun.is_ok());
        Self { source, decoder, in_frame: false }
    }

    /// Begins the next frame; returns `false` at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped =
                        io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, some).map_err(io::Error::other)?;
            }
            let got = self.decoder.read(buffer)?;
            if got > 0 {
                return Ok(got);
            }
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn all(compressed: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        reader(compressed, Some(compression)).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn sample() -> Vec<u8> {
        (0..300_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect()
    }

    #[test]
    fn gzip_of_several_members() {
        let plain = sample();
        let mut compressed = Vec::new();
        for part in plain.chunks(500_000) {
            let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(part).unwrap();
            compressed.extend(encoder.finish().unwrap());
        }
        assert_eq!(all(&compressed, Compression::Gzip).unwrap(), plain);
        assert!(all(&compressed[..compressed.len() - 9], Compression::Gzip).is_err());
        assert!(all(b"no gzip", Compression::Gzip).is_err());
    }

    #[test]
    fn zstd_of_several_frames_and_skipped_ones() {
        let plain = sample();
        let mut compressed = Vec::new();
        for part in plain.chunks(500_000) {
            // A skippable frame: its magic number, length and content.
            compressed.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
            compressed.extend(compress_to_vec(part, CompressionLevel::Fastest));
        }
        assert_eq!(all(&compressed, Compression::Zstd).unwrap(), plain);
        assert!(all(&compressed[..compressed.len() - 9], Compression::Zstd).is_err());
        assert!(all(b"no zstd", Compression::Zstd).is_err());
        assert!(all(&[0x50, 0x2a, 0x4d, 0x18, 255, 255, 255, 255], Compression::Zstd).is_err());
        assert_eq!(all(b"", Compression::Zstd).unwrap(), b"");
        assert_eq!(all(&EMPTY_FRAME, Compression::Zstd).unwrap(), b"");
    }

    /// A frame whose window is 1 GiB, also as the first one, takes no memory.
    #[test]
    fn a_zstd_window_is_bounded() {
        let error = all(&[0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0], Compression::Zstd);
        let error = error.unwrap_err().to_string();
        assert!(error.to_lowercase().contains("window"), "{error}");
    }
}
