//! Digests of whole files, or of fixed-size shards of a file, as signatures and registries state them.
//! Unlike the digests of tensors they are computed over the bytes of a file in order.

use blake2::Blake2b512;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::num::NonZeroU64;
use std::slice::ChunksExact;

/// A hash function for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// SHA-256 (FIPS 180-4), 32 bytes.
    Sha256,
    /// BLAKE2b (RFC 7693) with its full 64 bytes, without a key.
    Blake2b,
    /// BLAKE3, 32 bytes.
    Blake3,
    /// The id that git gives a file, 20 bytes: SHA-1 of `blob`, a space, the length in decimal digits, a zero
    /// byte, and the bytes. It only names files in caches: SHA-1 does not protect against someone who makes two
    /// files with the same digest.
    #[serde(rename = "git-blob")]
    GitBlob,
}

impl HashAlgorithm {
    /// The algorithms that signatures may use.
    pub const ALL: [HashAlgorithm; 3] = [Self::Sha256, Self::Blake2b, Self::Blake3];

    /// The name of the algorithm in signatures and reports: `sha256`, `blake2b`, `blake3` or `git-blob`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
            Self::GitBlob => "git-blob",
        }
    }

    /// Returns the signature algorithm with this name, or `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Blake2b => 64,
            Self::Sha256 | Self::Blake3 => 32,
            Self::GitBlob => 20,
        }
    }
}

/// How a file is hashed: as a whole, or in shards of a fixed size, of which the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileHashing {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The size of a shard in bytes, or `None` if the file is hashed as a whole.
    pub shard: Option<NonZeroU64>,
}

impl FileHashing {
    /// Hashes whole files with `algorithm`.
    pub fn whole(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, shard: None }
    }

    /// The number of digests of a file of `bytes` bytes. An empty file has one digest when it is hashed as a
    /// whole, and none when it is hashed in shards.
    pub fn digest_count(&self, bytes: u64) -> u64 {
        self.shard.map_or(1, |shard| bytes.div_ceil(shard.get()))
    }
}

/// How the files of a model are hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashingPlan {
    /// Every file is hashed in the same ways, signed-only files included.
    Uniform(Vec<FileHashing>),
    /// The hashings of each file, by index of the file.
    PerFile(Vec<Vec<FileHashing>>),
}

impl Default for HashingPlan {
    /// No file is hashed.
    fn default() -> Self {
        Self::Uniform(Vec::new())
    }
}

impl From<Vec<FileHashing>> for HashingPlan {
    fn from(hashings: Vec<FileHashing>) -> Self {
        Self::Uniform(hashings)
    }
}

impl HashingPlan {
    /// The hashings of the file with index `file`.
    pub fn for_file(&self, file: usize) -> &[FileHashing] {
        match self {
            Self::Uniform(hashings) => hashings,
            Self::PerFile(hashings) => hashings.get(file).map_or(&[], Vec::as_slice),
        }
    }

    /// Whether no file is hashed.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Uniform(hashings) => hashings.is_empty(),
            Self::PerFile(hashings) => hashings.iter().all(Vec::is_empty),
        }
    }
}

/// The state of a hash function.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// BLAKE2b.
    Blake2b(Box<Blake2b512>),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
    /// SHA-1, as git uses it for the ids of files.
    GitBlob(Sha1),
}

impl Hasher {
    /// Starts a hash over `bytes` bytes. Only [`HashAlgorithm::GitBlob`] needs the length.
    pub fn new(algorithm: HashAlgorithm, bytes: u64) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::default()),
            HashAlgorithm::Blake2b => Self::Blake2b(Box::default()),
            HashAlgorithm::Blake3 => Self::Blake3(Box::default()),
            HashAlgorithm::GitBlob => {
                Self::GitBlob(Sha1::new_with_prefix(format!("blob {bytes}\0")))
            }
        }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Blake2b(hasher) => hasher.finalize().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            Self::GitBlob(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// The digests of one file: for each requested hashing, the digests of the shards in order. The size grows
/// with the number of shards: a caller that takes the shard size from an untrusted document must limit
/// [`FileHashing::digest_count`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileDigests(Vec<(FileHashing, Vec<u8>)>);

impl FileDigests {
    /// The digests for this hashing in the order of the shards, or `None` if it was not requested.
    pub fn shard_digests(&self, hashing: FileHashing) -> Option<ChunksExact<'_, u8>> {
        let (_, digests) = self.0.iter().find(|(requested, _)| *requested == hashing)?;
        Some(digests.chunks_exact(hashing.algorithm.digest_len()))
    }

    /// The digest of the whole file, or `None` if this algorithm was not requested for the whole file.
    pub fn whole(&self, algorithm: HashAlgorithm) -> Option<&[u8]> {
        self.shard_digests(FileHashing::whole(algorithm))?.next()
    }

    /// Whether these are the digests of a file of `bytes` bytes for all `hashings`.
    pub fn matches(&self, hashings: &[FileHashing], bytes: u64) -> bool {
        let has = |hashing: &FileHashing| {
            self.shard_digests(*hashing).is_some_and(|digests| {
                digests.remainder().is_empty()
                    && digests.len() as u64 == hashing.digest_count(bytes)
            })
        };
        hashings.iter().all(has)
    }

    /// Creates the digests of a file that has a single digest.
    pub fn from_single(hashing: FileHashing, digest: Vec<u8>) -> Self {
        Self(vec![(hashing, digest)])
    }

    /// Appends the digests of a later part of the file. The parts before it must end at the end of a shard.
    pub fn append(&mut self, later: FileDigests) {
        if self.0.is_empty() {
            self.0 = later.0;
            return;
        }
        for ((_, digests), (_, more)) in self.0.iter_mut().zip(later.0) {
            digests.extend(more);
        }
    }
}

/// Hashes the bytes of a file in order, for all requested hashings at once.
#[derive(Debug, Clone)]
pub struct FileHasher {
    parts: Vec<ShardHasher>,
}

/// The state of one hashing of a file.
#[derive(Debug, Clone)]
struct ShardHasher {
    hashing: FileHashing,
    hasher: Hasher,
    /// Length of the file.
    bytes: u64,
    /// The number of bytes of the current shard that have been hashed.
    position: u64,
    digests: Vec<u8>,
}

impl FileHasher {
    /// Starts at the beginning of a file of `bytes` bytes, or at a shard boundary of all `hashings`.
    pub fn new(hashings: &[FileHashing], bytes: u64) -> Self {
        let part = |hashing: &FileHashing| ShardHasher {
            hashing: *hashing,
            hasher: Hasher::new(hashing.algorithm, bytes),
            bytes,
            position: 0,
            digests: Vec::new(),
        };
        Self { parts: hashings.iter().map(part).collect() }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.parts.iter_mut().for_each(|part| part.update(bytes));
    }

    /// Returns the digests.
    pub fn finish(self) -> FileDigests {
        FileDigests(self.parts.into_iter().map(ShardHasher::finish).collect())
    }
}

impl ShardHasher {
    fn update(&mut self, mut bytes: &[u8]) {
        let Some(shard) = self.hashing.shard else { return self.hasher.update(bytes) };
        while !bytes.is_empty() {
            let left = shard.get() - self.position;
            let (now, later) = bytes.split_at(left.min(bytes.len() as u64) as usize);
            self.hasher.update(now);
            self.position += now.len() as u64;
            if self.position == shard.get() {
                self.next_shard();
            }
            bytes = later;
        }
    }

    fn next_shard(&mut self) {
        let fresh = Hasher::new(self.hashing.algorithm, self.bytes);
        self.digests.extend(std::mem::replace(&mut self.hasher, fresh).finish());
        self.position = 0;
    }

    fn finish(mut self) -> (FileHashing, Vec<u8>) {
        if self.hashing.shard.is_none() || self.position > 0 {
            self.next_shard();
        }
        (self.hashing, self.digests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    /// The digests of `abc`: the FIPS 180-4 example, RFC 7693 appendix A, and b3sum.
    #[test]
    fn published_digests() {
        let expected = [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ];
        for (algorithm, expected) in HashAlgorithm::ALL.into_iter().zip(expected) {
            let mut hasher = Hasher::new(algorithm, 3);
            hasher.update(b"a");
            hasher.update(b"bc");
            let digest = hasher.finish();
            assert_eq!(digest.len(), algorithm.digest_len());
            assert_eq!(hex(&digest), expected, "{}", algorithm.name());
            assert_eq!(HashAlgorithm::from_name(algorithm.name()), Some(algorithm));
        }
    }

    /// `printf abc | git hash-object --stdin`, and the well-known id of the empty file.
    #[test]
    fn git_blob_ids() {
        let id = |bytes: &[u8]| {
            let mut hasher = Hasher::new(HashAlgorithm::GitBlob, bytes.len() as u64);
            hasher.update(bytes);
            hex(&hasher.finish())
        };
        assert_eq!(id(b"abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
        assert_eq!(id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(HashAlgorithm::from_name("git-blob"), None, "not a signature algorithm");
    }

    /// Each digest equals the digest of its shard alone, however the bytes are split into updates.
    #[test]
    fn digests_equal_those_of_single_shards() {
        let cut = |algorithm, bytes| FileHashing { algorithm, shard: NonZeroU64::new(bytes) };
        let hashings = [
            FileHashing::whole(HashAlgorithm::Sha256),
            cut(HashAlgorithm::Sha256, 10),
            cut(HashAlgorithm::Blake2b, 7),
            cut(HashAlgorithm::Blake3, 1000),
        ];
        let bytes: Vec<u8> = (0..105u8).collect();
        for (len, piece) in [(0, 1), (1, 1), (10, 3), (70, 70), (70, 1), (105, 33)] {
            let mut hasher = FileHasher::new(&hashings, len as u64);
            bytes[..len].chunks(piece).for_each(|piece| hasher.update(piece));
            let digests = hasher.finish();
            for hashing in hashings {
                let shard = hashing.shard.map_or(usize::MAX, |shard| shard.get() as usize);
                let mut expected: Vec<Vec<u8>> = Vec::new();
                for shard in bytes[..len].chunks(shard) {
                    let mut hasher = Hasher::new(hashing.algorithm, len as u64);
                    hasher.update(shard);
                    expected.push(hasher.finish());
                }
                if len == 0 && hashing.shard.is_none() {
                    expected.push(Hasher::new(hashing.algorithm, 0).finish());
                }
                let found = digests.shard_digests(hashing).unwrap();
                assert_eq!(found.len() as u64, hashing.digest_count(len as u64));
                assert!(found.eq(expected.iter().map(Vec::as_slice)), "{len} {hashing:?}");
            }
            assert_eq!(digests.whole(HashAlgorithm::Blake2b), None);
        }
    }

    #[test]
    fn digest_counts() {
        let cut = |shard| FileHashing {
            shard: NonZeroU64::new(shard),
            ..FileHashing::whole(HashAlgorithm::Sha256)
        };
        assert_eq!([0, 1, 10, 11].map(|bytes| cut(10).digest_count(bytes)), [0, 1, 1, 2]);
        assert_eq!([0, 7].map(|bytes| cut(0).digest_count(bytes)), [1, 1]);
    }
}
