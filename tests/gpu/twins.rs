//! Every shader and its CPU twin give the same integers, and these tests can fail.

use crate::common::device::{Feed, alone, edges, gpu, is_tried, twins};
use crate::common::{noise, real_model};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::gpu::pipelines::KERNELS;
use tensorseal_engine::gpu::{DeviceSelector, Gpu};
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::correlation::{Carrier, ElementFormat};
use tensorseal_engine::measure::{self, BLOCK_LEN, KernelSet, WordFormat};

fn kinds() -> impl Iterator<Item = KernelSet> {
    std::iter::once(KernelSet::DIGEST).chain(WordFormat::ALL.into_iter().map(KernelSet::from))
}

const CARRIER_DTYPES: [Dtype; 7] = [
    Dtype::F32,
    Dtype::F16,
    Dtype::BF16,
    Dtype::F8_E4M3,
    Dtype::F8_E5M2,
    Dtype::F8_E4M3FNUZ,
    Dtype::F8_E5M2FNUZ,
];

const NONCE: [u8; 12] = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 255, 254];

/// Every type that carries chips.
fn carriers() -> Vec<KernelSet> {
    CARRIER_DTYPES
        .into_iter()
        .filter_map(ElementFormat::from_dtype)
        .map(|elements| KernelSet {
            carrier: Some(Carrier { elements, nonce: NONCE, blocks: None }),
            ..KernelSet::DIGEST
        })
        .collect()
}

/// Keys whose words differ, and one that is all zeros.
fn keys() -> [ChipKey; 3] {
    [
        ChipKey(std::array::from_fn(|i| (i as u8).wrapping_mul(37))),
        ChipKey([0xFF; 32]),
        ChipKey([0; 32]),
    ]
}

#[test]
fn all_kernels_agree_with_their_twins() {
    let (gpu, _alone) = gpu();
    for (name, bytes) in [
        ("noise", noise(1, 2 * BLOCK_LEN)),
        ("zeros", vec![0; BLOCK_LEN]),
        ("ones", vec![0xFF; BLOCK_LEN]),
        ("edges", edges(2 * BLOCK_LEN)),
    ] {
        for words in kinds() {
            let expected = twins(&bytes, bytes.len(), 0, words, &[]);
            let measured = gpu.measure_tile(&bytes, 0, words, &[]).unwrap();
            assert!(measured == expected, "{name} {words:?}");
        }
    }
}

/// Elements whose blocks are all subnormal, all zero, all infinite or not a number, or have one
/// element far above the others, in a row.
fn odd_blocks(carrier: &Carrier, len: usize) -> Vec<u8> {
    let width = carrier.elements.width;
    let mut bytes = noise(6, len);
    let top_byte = width - 1;
    for (i, block) in bytes.chunks_mut(carrier.elements.block_bytes()).enumerate() {
        match i % 5 {
            // One infinity, or the first word that is not a number.
            0 => {
                let limit = carrier.elements.limit.to_le_bytes();
                block[width * (i % 512)..][..width].copy_from_slice(&limit[..width]);
            }
            // No exponent bits: subnormal.
            1 => {
                let kept = (1u32 << carrier.elements.mantissa_bits) - 1;
                for (at, element) in block.chunks_mut(width).enumerate() {
                    let word =
                        u32::from_le_bytes(std::array::from_fn(|j| *element.get(j).unwrap_or(&0)));
                    let kept = kept >> (at % 3 + i % 21).min(31);
                    let word = word & (kept | carrier.elements.sign());
                    element.copy_from_slice(&word.to_le_bytes()[..width]);
                }
            }
            2 => block.fill(0),
            3 => block.fill(0xFF),
            _ => block.chunks_mut(width).enumerate().for_each(|(at, element)| {
                element[top_byte] = if at == 77 { 0x6F } else { element[top_byte] & 0x8F | 0x10 };
            }),
        }
    }
    bytes
}

#[test]
fn correlations_agree_with_their_twin() {
    let (gpu, _alone) = gpu();
    let keys = keys();
    for wanted in carriers() {
        let carrier = wanted.carrier.unwrap();
        for (name, bytes) in [
            ("noise", noise(7, BLOCK_LEN)),
            ("edges", edges(BLOCK_LEN)),
            ("ones", vec![0xFF; BLOCK_LEN]),
            ("odd", odd_blocks(&carrier, BLOCK_LEN)),
        ] {
            for keys in [&keys[..], &keys[..1]] {
                let expected = twins(&bytes, bytes.len(), 0, wanted, keys);
                assert_eq!(expected.correlation.as_ref().unwrap().sums.len(), keys.len());
                let measured = gpu.measure_tile(&bytes, 0, wanted, keys).unwrap();
                assert!(measured == expected, "{name} {carrier:?}, {} keys", keys.len());
            }
        }
    }
}

#[test]
fn correlations_and_counts_share_a_tile_of_any_length_anywhere() {
    let (gpu, _alone) = gpu();
    let (bytes, keys) = (noise(8, 32 * BLOCK_LEN), keys());
    for mut wanted in carriers() {
        let block_bytes = wanted.carrier.unwrap().elements.block_bytes() as u64;
        wanted.words = Some(WordFormat::Bits16);
        // Nearly to the end of the counter of chips.
        for (blocks, offset) in [(32, 0), (3, 5 << 20), (2, (block_bytes << 32) - (3 << 20))] {
            let tile = &bytes[..blocks * BLOCK_LEN];
            let expected = twins(tile, tile.len(), offset, wanted, &keys);
            let measured = gpu.measure_tile(tile, offset, wanted, &keys).unwrap();
            assert!(measured == expected, "{blocks} blocks at {offset} as {wanted:?}");
        }
    }
}

/// All bytes of the real model, whatever they mean, as each type that carries chips.
#[test]
fn correlations_of_real_weights_agree() {
    let (gpu, _alone) = gpu();
    let model = fs::read(real_model().join("model.safetensors")).unwrap();
    let keys = keys();
    for wanted in carriers() {
        for tile in [8, 40, 60] {
            let tile = &model[tile * BLOCK_LEN..(tile + 2) * BLOCK_LEN];
            let expected = twins(tile, tile.len(), 0, wanted, &keys);
            assert!(gpu.measure_tile(tile, 0, wanted, &keys).unwrap() == expected, "{wanted:?}");
        }
    }
}

/// `testdata/watermark/chacha_chips.json`, made with numpy: the chips come out of the shader and of the
/// CPU kernel, read from the correlations with powers of two.
#[test]
fn chips_are_the_golden_ones_on_every_engine() {
    let (gpu, _alone) = gpu();
    let path = format!("{}/testdata/watermark/chacha_chips.json", env!("CARGO_MANIFEST_DIR"));
    let golden: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let bytes = |name: &str| -> Vec<u8> {
        let text = golden[name].as_str().unwrap();
        let digits = text.as_bytes().as_chunks::<2>().0;
        digits
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let key = [ChipKey(bytes("key_hex").try_into().unwrap())];
    let carrier = Carrier::from_dtype(Dtype::F32, bytes("nonce_hex").try_into().unwrap()).unwrap();
    let wanted = KernelSet { carrier: Some(carrier), ..KernelSet::DIGEST };
    // What is kept of an element has 14 bits below the largest one: that many signs at a time.
    const AT_ONCE: usize = 14;
    let mut chips = [String::new(), String::new()];
    for first in (0..64).step_by(AT_ONCE) {
        let count = AT_ONCE.min(64 - first);
        let mut tile = vec![0; BLOCK_LEN];
        for block in tile.chunks_mut(carrier.elements.block_bytes()).take(2) {
            for place in 0..count {
                let weight = (-(place as f32)).exp2().to_le_bytes();
                block[4 * (first + place)..][..4].copy_from_slice(&weight);
            }
        }
        let measured = gpu.measure_tile(&tile, 0, wanted, &key).unwrap();
        assert!(measured == measure::measure_tile(&tile, 0, wanted, &key));
        for (chips, sum) in chips.iter_mut().zip(&measured.correlation.unwrap().sums[0]) {
            // Each power of two is larger than all that follow: the sign of what is left is its own.
            let mut left = *sum;
            for place in 0..count {
                let weight = 1 << (AT_ONCE - place);
                chips.push(if left > 0 { '+' } else { '-' });
                left -= if left > 0 { weight } else { -weight };
            }
            assert_eq!(left, 0);
        }
    }
    assert_eq!(chips[0], golden["first64_chips"]);
    assert_eq!(chips[1], golden["chips512_575"]);
}

#[test]
fn lengths_and_offsets_do_not_matter() {
    let (gpu, _alone) = gpu();
    let bytes = noise(2, 32 * BLOCK_LEN);
    for blocks in [1, 3, 32] {
        // Chunk counters below, across and beyond 32 bits.
        for offset in [0, (1u64 << 42) - BLOCK_LEN as u64, 1 << 50] {
            let tile = &bytes[..blocks * BLOCK_LEN];
            let expected = measure::measure_tile(tile, offset, KernelSet::DIGEST, &[]);
            assert!(
                gpu.measure_tile(tile, offset, KernelSet::DIGEST, &[]).unwrap() == expected,
                "{blocks} at {offset}"
            );
        }
    }
    let words = WordFormat::F32.into();
    let expected = measure::measure_tile(&bytes, 0, words, &[]);
    assert!(gpu.measure_tile(&bytes, 0, words, &[]).unwrap() == expected);
    for bad in [0, 1, BLOCK_LEN - 1, BLOCK_LEN + 4, 33 * BLOCK_LEN] {
        assert!(
            gpu.measure_tile(&noise(0, bad), 0, KernelSet::DIGEST, &[]).is_err(),
            "{bad} bytes are no tile"
        );
    }
}

#[test]
fn a_stream_measures_every_tile_once() {
    let (gpu, _alone) = gpu();
    let bytes = noise(3, 11 * BLOCK_LEN);
    let wanted = KernelSet { words: Some(WordFormat::Bits16), ..carriers()[0] };
    let feed = Feed {
        bytes: &bytes,
        next: Mutex::new(0),
        tiles: 11,
        wanted,
        keys: keys().to_vec(),
        done: Mutex::default(),
        before: &|_| {},
    };
    gpu.stream(&feed).map_err(|interrupted| interrupted.error).unwrap();
    let mut done = feed.done.into_inner().unwrap();
    done.sort_by_key(|(job, _)| *job);
    assert_eq!(done.len(), 11);
    for (job, measured) in done {
        let tile = &bytes[job * BLOCK_LEN..(job + 1) * BLOCK_LEN];
        let expected = measure::measure_tile(tile, (job * BLOCK_LEN) as u64, wanted, &keys());
        assert!(measured == expected, "tile {job}");
    }
}

#[test]
fn a_device_that_is_lost_gives_back_what_it_did_not_measure() {
    let _alone = alone();
    let gpu = Gpu::open(&DeviceSelector::Any).unwrap();
    let bytes = noise(4, 9 * BLOCK_LEN);
    let feed = Feed {
        bytes: &bytes,
        next: Mutex::new(0),
        tiles: 9,
        wanted: KernelSet::DIGEST,
        keys: Vec::new(),
        done: Mutex::default(),
        before: &|tile| {
            if tile == 5 {
                gpu.destroy();
            }
        },
    };
    let interrupted = gpu.stream(&feed).expect_err("the device is gone");
    let done = feed.done.into_inner().unwrap();
    let mut all: Vec<usize> = done.iter().map(|(job, _)| *job).chain(interrupted.jobs).collect();
    all.sort_unstable();
    let given = feed.next.into_inner().unwrap();
    assert_eq!(all, (0..given).collect::<Vec<_>>(), "each tile given out is done or given back");
    for (job, measured) in done {
        let tile = &bytes[job * BLOCK_LEN..(job + 1) * BLOCK_LEN];
        assert!(
            measured
                == measure::measure_tile(tile, (job * BLOCK_LEN) as u64, KernelSet::DIGEST, &[])
        );
    }
    // And a new device works.
    assert!(gpu.measure_tile(&bytes[..BLOCK_LEN], 0, KernelSet::DIGEST, &[]).is_err());
    assert!(Gpu::open(&DeviceSelector::Any).is_ok());
}

/// A change to a shader that must make it differ from its twin.
struct Mutation {
    kernel: usize,
    from: &'static str,
    to: &'static str,
    wanted: Measured,
}

/// What a mutated kernel is given to measure.
enum Measured {
    Words(WordFormat),
    Carrier(Dtype),
}

const MUTATIONS: &[Mutation] = &[
    // A wrong rotation.
    Mutation {
        kernel: 0,
        from: "*b ^ *c, 7u",
        to: "*b ^ *c, 8u",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // The chunk counter dropped, its carry dropped.
    Mutation {
        kernel: 0,
        from: "params.first_chunk.x + chunk",
        to: "params.first_chunk.x",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    Mutation {
        kernel: 0,
        from: "params.first_chunk.y + carry",
        to: "params.first_chunk.y",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // The last compression of a chunk not marked as the last.
    Mutation {
        kernel: 0,
        from: "i == 15u",
        to: "i == 16u",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // A tile that is one chunk too short: the poison shows.
    Mutation {
        kernel: 0,
        from: "chunk >= params.chunks",
        to: "chunk + 1u >= params.chunks",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // The order of children.
    Mutation {
        kernel: 0,
        from: "parent(level[2u * thread], level[2u * thread + 1u])",
        to: "parent(level[2u * thread + 1u], level[2u * thread])",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // The reduction without its last step, as a missing barrier would leave it.
    Mutation {
        kernel: 0,
        from: "width > 0u; width /= 2u",
        to: "width > 1u; width /= 2u",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // Counts: one unit left out, a half taken for the other, a replica forgotten, bytes misplaced.
    Mutation {
        kernel: 1,
        from: "params.chunks * UNITS_A_CHUNK;\n    for (var unit = group.x * THREADS + thread; unit < units; unit += groups.x * THREADS) {\n        let v = tile[unit];\n        if params.words",
        to: "params.chunks * UNITS_A_CHUNK - 1u;\n    for (var unit = group.x * THREADS + thread; unit < units; unit += groups.x * THREADS) {\n        let v = tile[unit];\n        if params.words",
        wanted: Measured::Words(WordFormat::Bits16),
    },
    Mutation {
        kernel: 1,
        from: "count_high(group.x, v[i] >> 16u);\n                count_low",
        to: "count_high(group.x, v[i] & 0xFFFFu);\n                count_low",
        wanted: Measured::Words(WordFormat::F32),
    },
    Mutation {
        kernel: 1,
        from: "var tables = HIGH_REPLICAS;",
        to: "var tables = HIGH_REPLICAS - 1u;",
        wanted: Measured::Words(WordFormat::Bits16),
    },
    Mutation {
        kernel: 1,
        from: "shift < 32u",
        to: "shift < 24u",
        wanted: Measured::Words(WordFormat::Bits8),
    },
    // Summary: the bound of a class, the carry of a sum, the order of keys, a row of one workgroup.
    Mutation {
        kernel: 2,
        from: "magnitude < exponent",
        to: "magnitude <= exponent",
        wanted: Measured::Words(WordFormat::F32),
    },
    Mutation {
        kernel: 2,
        from: "magnitude < exponent",
        to: "magnitude <= exponent",
        wanted: Measured::Words(WordFormat::F64),
    },
    Mutation {
        kernel: 2,
        from: "before + part < before",
        to: "before + part <= before",
        wanted: Measured::Words(WordFormat::F32),
    },
    Mutation {
        kernel: 2,
        from: "~word, sign == 1u",
        to: "word, sign == 1u",
        wanted: Measured::Words(WordFormat::F32),
    },
    Mutation {
        kernel: 2,
        from: "if thread < width {",
        to: "if thread + 1u < width {",
        wanted: Measured::Words(WordFormat::F64),
    },
    Mutation {
        kernel: 2,
        from: "low < a.x",
        to: "low > a.x",
        wanted: Measured::Words(WordFormat::I64),
    },
    Mutation {
        kernel: 2,
        from: "table < SUM_REPLICAS",
        to: "table < SUM_REPLICAS - 1u",
        wanted: Measured::Words(WordFormat::U32),
    },
    // Correlation: a wrong rotation, fewer rounds, the counter dropped, the nonce of another tensor,
    // the order of bits, of words and of keys.
    Mutation {
        kernel: 3,
        from: "*b ^ *c, 7u",
        to: "*b ^ *c, 6u",
        wanted: Measured::Carrier(Dtype::BF16),
    },
    Mutation { kernel: 3, from: "i < 10u", to: "i < 9u", wanted: Measured::Carrier(Dtype::BF16) },
    Mutation {
        kernel: 3,
        from: "params.first_block + first + thread",
        to: "first + thread",
        wanted: Measured::Carrier(Dtype::F16),
    },
    Mutation {
        kernel: 3,
        from: "counter, params.nonce",
        to: "counter, params.nonce.zyx",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "chips >>= 1u",
        to: "chips <<= 1u",
        wanted: Measured::Carrier(Dtype::BF16),
    },
    Mutation {
        kernel: 3,
        from: "part / 4u][part % 4u]",
        to: "part / 4u][3u - part % 4u]",
        wanted: Measured::Carrier(Dtype::BF16),
    },
    Mutation {
        kernel: 3,
        from: "keys[2u * group.y], keys",
        to: "keys[0], keys",
        wanted: Measured::Carrier(Dtype::BF16),
    },
    // What is finite, what is subnormal, how it is rounded, and where it saturates.
    Mutation {
        kernel: 3,
        from: "magnitude < params.limit",
        to: "magnitude <= params.limit",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "magnitude < params.limit",
        to: "magnitude <= params.limit",
        wanted: Measured::Carrier(Dtype::F8_E5M2),
    },
    Mutation {
        kernel: 3,
        from: "u32((top_magnitude >> mantissa_bits) != 0u)",
        to: "1u",
        wanted: Measured::Carrier(Dtype::F16),
    },
    Mutation {
        kernel: 3,
        from: "KEPT_BITS + 1u - leading, leading < KEPT_BITS + 1u",
        to: "0u, leading < KEPT_BITS + 1u",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "u32(exponent != 0u)",
        to: "1u",
        wanted: Measured::Carrier(Dtype::F16),
    },
    Mutation {
        kernel: 3,
        from: "(kept + 1u) >> 1u",
        to: "kept >> 1u",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "min((kept + 1u) >> 1u, SATURATED)",
        to: "((kept + 1u) >> 1u)",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation { kernel: 3, from: "down < 32u", to: "true", wanted: Measured::Carrier(Dtype::F32) },
    // The energy: its carry, its high word, the count beside it.
    Mutation {
        kernel: 3,
        from: "u32(word < low)",
        to: "0u",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "(high >> 16u) + carry",
        to: "carry",
        wanted: Measured::Carrier(Dtype::F32),
    },
    Mutation {
        kernel: 3,
        from: "u32(magnitude != 0u)",
        to: "1u",
        wanted: Measured::Carrier(Dtype::F16),
    },
    // The last block left out: the poison shows.
    Mutation {
        kernel: 3,
        from: "block < blocks",
        to: "block + 1u < blocks",
        wanted: Measured::Carrier(Dtype::BF16),
    },
];

#[test]
fn a_wrong_shader_is_seen() {
    let _alone = alone();
    // Noise has every bin; the chunk counter crosses 32 bits inside the tile.
    let mut bytes = edges(2 * BLOCK_LEN);
    bytes[BLOCK_LEN..].copy_from_slice(&noise(5, BLOCK_LEN));
    let offset = (1u64 << 42) - BLOCK_LEN as u64;
    for (index, mutation) in MUTATIONS.iter().enumerate() {
        let (keys, odd) = (keys(), &mut Vec::new());
        let (bytes, offset, wanted) = match mutation.wanted {
            Measured::Words(words) => (&bytes, offset, words.into()),
            Measured::Carrier(dtype) => {
                let elements = ElementFormat::from_dtype(dtype).unwrap();
                let carrier = Carrier { elements, nonce: NONCE, blocks: None };
                let wanted = KernelSet { carrier: Some(carrier), ..KernelSet::DIGEST };
                *odd = odd_blocks(&carrier, 2 * BLOCK_LEN);
                (&*odd, BLOCK_LEN as u64, wanted)
            }
        };
        let mut sources = KERNELS.map(|kernel| kernel.source());
        let source = &mut sources[mutation.kernel];
        assert!(source.contains(mutation.from), "{:?} is not in the shader", mutation.from);
        if !is_tried(index) {
            continue;
        }
        *source = source.replacen(mutation.from, mutation.to, 1);
        let gpu = Gpu::with_sources(&DeviceSelector::Any, &sources).unwrap();
        let measured = gpu.measure_tile(bytes, offset, wanted, &keys).unwrap();
        let expected = measure::measure_tile(bytes, offset, wanted, &keys);
        assert!(measured != expected, "{:?} -> {:?} goes unseen", mutation.from, mutation.to);
    }
}

#[test]
fn every_shader_is_valid_has_a_row_and_a_twin() {
    let root = env!("CARGO_MANIFEST_DIR");
    let files: BTreeSet<String> = fs::read_dir(format!("{root}/shaders"))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".wgsl")?.to_owned())
        })
        .collect();
    let rows: BTreeSet<String> = KERNELS.iter().map(|kernel| kernel.name.to_owned()).collect();
    assert_eq!(files, rows, "one row in the kernel table for each shader");
    for kernel in KERNELS {
        assert!(
            fs::exists(format!("{root}/crates/engine/src/measure/{}.rs", kernel.name)).unwrap(),
            "{}",
            kernel.name
        );
        let module = naga::front::wgsl::parse_str(&kernel.source()).unwrap_or_else(|error| {
            panic!("{}: {}", kernel.name, error.emit_to_string(&kernel.source()))
        });
        let entries: BTreeSet<&str> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(entries, kernel.entries.iter().copied().collect(), "{}", kernel.name);
        // No optional capability: what is valid here runs on every WebGPU device.
        naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::empty(),
        )
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {error:?}", kernel.name));
    }
}

#[test]
fn a_name_that_no_device_has_is_an_error_that_lists_them() {
    let _alone = alone();
    let error = Gpu::open(&DeviceSelector::Named("no such device".into())).err().unwrap();
    assert!(error.to_string().contains("no such device"), "{error}");
}
