//! Chunk-digest sidecars from nobody in particular: refused, or values that count only if they merge.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_core::pinpoint::chunk_digests::ChunkDigests;
use tensorseal_core::pinpoint::{Subtree, chunk_values, explain};
use tensorseal_core::seal::document::root_text;
use tensorseal_core::seal::{ModelSeal, Seal, TensorSeal};
use tensorseal_engine::stream::source::{ByteSource, ReadError};

struct Memory(Vec<u8>);

impl ByteSource for Memory {
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let from = usize::try_from(offset).map_err(|_| ReadError::Shrunk)?;
        let to = from.checked_add(len).ok_or(ReadError::Shrunk)?;
        sink(self.0.get(from..to).ok_or(ReadError::Shrunk)?);
        Ok(())
    }
}

/// Tensors of no, one and three chunks.
fn seal() -> &'static Seal {
    static SEAL: OnceLock<Seal> = OnceLock::new();
    SEAL.get_or_init(|| {
        let tensor = |name: &str, bytes: u64| TensorSeal {
            blake3: *blake3::hash(&vec![0; bytes as usize]).as_bytes(),
            blocks: Vec::new(),
            bytes,
            distribution: None,
            sketch: None,
            dtype: Dtype::U8,
            file: "m".to_owned(),
            name: name.to_owned(),
            offset: 0,
            shape: vec![bytes],
            strides: None,
        };
        let mut seal = Seal {
            files: Vec::new(),
            links: Vec::new(),
            model: ModelSeal {
                bytes: 0,
                elements: 0,
                files: 0,
                format: String::new(),
                root: String::new(),
                tensors: 3,
            },
            schema: String::new(),
            tensors: vec![tensor("a", 0), tensor("b", 7), tensor("c", 3000)],
        };
        seal.model.root = root_text(&seal.root());
        seal
    })
}

fuzz_target!(|bytes: &[u8]| {
    let seal = seal();
    // Half of the inputs are taken past the root, which chance does not find.
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 56 && bytes[0] == b't' {
        bytes[24..56].copy_from_slice(&seal.root());
    }
    let len = bytes.len() as u64;
    let Ok(fine) = ChunkDigests::from_source(Box::new(Memory(bytes)), len, seal) else { return };
    let found = vec![0; 3000];
    for tensor in 0..4 {
        for offset in [0, BLOCK_LEN as u64, u64::MAX] {
            let Ok(values) = fine.values(tensor, offset) else { continue };
            let sealed = seal.tensors[2].blake3;
            let subtree = Subtree { bytes: &found, offset: 0, root: true, sealed };
            // Values are believed only if they are those of the sealed bytes.
            if let Some(changed) = explain::changed_chunks(&subtree, &values) {
                assert!(changed.is_empty() && values == chunk_values(&found, 0));
            }
        }
    }
});
