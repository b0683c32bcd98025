//! Digests of whole files, or of shards of a file, that others ask for: unlike those of tensors they
//! follow the bytes of a file in order.

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
    /// byte, and the bytes. It names files in caches; SHA-1 proves nothing against whoever made two files
    /// that have one.
    #[serde(rename = "git-blob")]
    GitBlob,
}

impl HashAlgorithm {
    /// Those that signatures may be made with.
    pub const ALL: [HashAlgorithm; 3] = [Self::Sha256, Self::Blake2b, Self::Blake3];

    /// Its name in signatures and reports: `sha256`, `blake2b`, `blake3`, `git-blob`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
            Self::GitBlob => "git-blob",
        }
    }

    /// The one of this name in signatures.
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

/// How a file is hashed: whole, or in shards of so many bytes, the last one shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileHashing {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// Bytes of a shard; `None`: the file is one.
    pub shard: Option<NonZeroU64>,
}

impl FileHashing {
    /// Of whole files.
    pub fn whole(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, shard: None }
    }

    /// How many digests a file of so many bytes has. An empty file is one shard when hashed whole and
    /// none when it is cut.
    pub fn digest_count(&self, bytes: u64) -> u64 {
        self.shard.map_or(1, |shard| bytes.div_ceil(shard.get()))
    }
}

/// How the files of a model are hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashingPlan {
    /// All alike, also those beside the model.
    Uniform(Vec<FileHashing>),
    /// Each in its own way, by index of the file.
    PerFile(Vec<Vec<FileHashing>>),
}

impl Default for HashingPlan {
    /// None is.
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
    /// Those of a file.
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

/// A hash function at work.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// BLAKE2b.
    Blake2b(Box<Blake2b512>),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
    /// The id of a file in git.
    GitBlob(Sha1),
}

impl Hasher {
    /// Nothing hashed yet of `bytes` bytes.
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

    /// Adds bytes.
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

    /// The digest.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Blake2b(hasher) => hasher.finalize().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            Self::GitBlob(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// The digests of one file: for each hashing that was asked for, those of its shards in order. What is
/// kept grows with the number of shards: whoever takes that from a file of others bounds it
/// ([`FileHashing::digest_count`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileDigests(Vec<(FileHashing, Vec<u8>)>);

impl FileDigests {
    /// The digests by this hashing, in the order of the shards; `None`: it was not asked for.
    pub fn shard_digests(&self, hashing: FileHashing) -> Option<ChunksExact<'_, u8>> {
        let (_, digests) = self.0.iter().find(|(asked, _)| *asked == hashing)?;
        Some(digests.chunks_exact(hashing.algorithm.digest_len()))
    }

    /// The digest of the whole file by this function; `None`: it was not asked for.
    pub fn whole(&self, algorithm: HashAlgorithm) -> Option<&[u8]> {
        self.shard_digests(FileHashing::whole(algorithm))?.next()
    }

    /// Whether these are digests of a file of `bytes` bytes by all `hashings`.
    pub fn matches(&self, hashings: &[FileHashing], bytes: u64) -> bool {
        let has = |hashing: &FileHashing| {
            self.shard_digests(*hashing).is_some_and(|found| {
                found.remainder().is_empty() && found.len() as u64 == hashing.digest_count(bytes)
            })
        };
        hashings.iter().all(has)
    }

    /// One digest of a whole file.
    pub fn from_single(hashing: FileHashing, digest: Vec<u8>) -> Self {
        Self(vec![(hashing, digest)])
    }

    /// Adds the digests of a later part of the file, which ends at the end of a shard.
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

/// The bytes of a file, in order, through all hashings that were asked for.
#[derive(Debug, Clone)]
pub struct FileHasher {
    parts: Vec<ShardHasher>,
}

/// One of them.
#[derive(Debug, Clone)]
struct ShardHasher {
    hashing: FileHashing,
    hasher: Hasher,
    /// Length of the file.
    bytes: u64,
    /// Bytes that the shard at hand has got.
    position: u64,
    digests: Vec<u8>,
}

impl FileHasher {
    /// At the start of a file of `bytes` bytes, or of a shard of all `hashings`.
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

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.parts.iter_mut().for_each(|part| part.update(bytes));
    }

    /// The digests.
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

    /// Of `abc`: FIPS 180-4 example, RFC 7693 appendix A, and b3sum.
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

    /// `printf abc | git hash-object --stdin`, and the empty file, which every repository knows.
    #[test]
    fn ids_of_git() {
        let id = |bytes: &[u8]| {
            let mut hasher = Hasher::new(HashAlgorithm::GitBlob, bytes.len() as u64);
            hasher.update(bytes);
            hex(&hasher.finish())
        };
        assert_eq!(id(b"abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
        assert_eq!(id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(HashAlgorithm::from_name("git-blob"), None, "no signature is made with it");
    }

    /// Whatever pieces the bytes come in, each digest is that of its shard alone.
    #[test]
    fn digests_are_those_of_the_shards() {
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
    fn shards_of_files() {
        let cut = |shard| FileHashing {
            shard: NonZeroU64::new(shard),
            ..FileHashing::whole(HashAlgorithm::Sha256)
        };
        assert_eq!([0, 1, 10, 11].map(|bytes| cut(10).digest_count(bytes)), [0, 1, 1, 2]);
        assert_eq!([0, 7].map(|bytes| cut(0).digest_count(bytes)), [1, 1]);
    }
}
