//! The CPU kernels on bytes in the cache, beside the copy that feeds them, and whole files through their
//! digests.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fs;
use std::hint::black_box;
use std::num::NonZeroU64;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{self, ScaleEncoding};
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::codes::CodeCounts;
use tensorseal_engine::measure::correlation::{Carrier, Correlation, ElementFormat};
use tensorseal_engine::measure::dequantise::dequantise;
use tensorseal_engine::measure::histogram::{CounterTable, Histogram};
use tensorseal_engine::measure::structure::{Structure, StructureLayout};
use tensorseal_engine::measure::summary::WordSummary;
use tensorseal_engine::measure::windows::CLASSES;
use tensorseal_engine::measure::{WordFormat, digest};
use tensorseal_engine::stream::hashing::{FileHashing, HashAlgorithm};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::stream::source::PIECE_LEN;
use tensorseal_engine::{self as engine, RunOptions};
use tensorseal_format::{Checkpoint, OpenOptions};

const LEN: usize = 1 << 20;

/// Words whose high halves are spread as those of weights are.
fn weights(width: usize) -> Vec<u8> {
    let mut random = vec![0u8; 4 * LEN];
    blake3::Hasher::new().update(b"bench").finalize_xof().fill(&mut random);
    let values = random.as_chunks::<4>().0.iter().map(|r| {
        let sum: i32 = r.iter().map(|byte| i32::from(*byte) - 128).sum();
        (sum as f32 + f32::from(r[0]) / 256.0) * 1e-4
    });
    let bytes: Vec<u8> = match width {
        2 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        4 => values.flat_map(f32::to_le_bytes).collect(),
        8 => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
        _ => random.clone(),
    };
    bytes[..LEN].to_vec()
}

/// Blocks whose codes are spread evenly and whose scales are as those of weights.
fn blocks(dtype: Dtype) -> Vec<u8> {
    let mut bytes = weights(1);
    let size = dtype.granule().0 as usize;
    let at = match quantised::block_format(dtype).map(|format| format.scale) {
        Some(ScaleEncoding::F16(at)) => at,
        _ => 0,
    };
    for block in bytes.chunks_exact_mut(size) {
        // Between 2^-13 and 2^-9.
        block[at + 1] = 0x08 | block[at + 1] & 0x0F;
    }
    bytes.truncate(LEN / size * size);
    bytes
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cpu");
    group.throughput(Throughput::Bytes(LEN as u64));
    let bytes = weights(2);
    let mut copy = vec![0; LEN];
    group.bench_function("copy", |bench| bench.iter(|| copy.copy_from_slice(black_box(&bytes))));
    group.bench_function("digest", |bench| {
        bench.iter(|| {
            let mut values = Vec::new();
            digest::chaining_values(black_box(&bytes), 0, &mut values);
            values
        });
    });
    for (name, words) in [
        ("histogram 8 bit", WordFormat::Bits8),
        ("histogram 16 bit", WordFormat::Bits16),
        ("histogram 32 bit", WordFormat::F32),
        ("histogram 64 bit", WordFormat::F64),
    ] {
        let bytes = weights(words.width());
        let mut table = CounterTable::new();
        let mut sum = Histogram::new(words);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                table.count(words, black_box(&bytes));
                table.drain_into(words, &mut sum);
            });
        });
    }
    for (name, words) in [("summary 32 bit", WordFormat::F32), ("summary 64 bit", WordFormat::F64)]
    {
        let bytes = weights(words.width());
        let mut summary = WordSummary::new(words);
        group.bench_function(name, |bench| bench.iter(|| summary.add(black_box(&bytes))));
    }
    for (name, dtype, keys) in [
        ("correlation F8, 1 key", Dtype::F8_E4M3, 1),
        ("correlation BF16, 1 key", Dtype::BF16, 1),
        ("correlation BF16, 8 keys", Dtype::BF16, 8),
        ("correlation F32, 1 key", Dtype::F32, 1),
    ] {
        let bytes = weights(dtype.bits() as usize / 8);
        let carrier = Carrier::from_dtype(dtype, [1; 12]).expect("a type that carries");
        let keys: Vec<ChipKey> = (0..keys).map(|i| ChipKey([i; 32])).collect();
        let mut sums = Correlation::new(keys.len());
        group.bench_function(name, |bench| {
            bench.iter(|| {
                sums.clear();
                sums.add(&carrier, &keys, 0, black_box(&bytes));
            });
        });
    }
    for dtype in [Dtype::Q4_0, Dtype::Q8_0, Dtype::Q4_K, Dtype::Q6_K, Dtype::IQ2_XS, Dtype::TQ1_0] {
        let bytes = blocks(dtype);
        let mut codes = CodeCounts::new(dtype);
        group.bench_function(format!("codes {dtype}"), |bench| {
            bench.iter(|| bytes.chunks(PIECE_LEN).for_each(|piece| codes.add(black_box(piece))));
        });
        let mut values = Vec::new();
        group.bench_function(format!("dequantise {dtype}"), |bench| {
            let piece = &bytes[..bytes.len().min(16 << 10)];
            bench.iter(|| {
                bytes.chunks(piece.len()).for_each(|piece| {
                    dequantise(dtype, black_box(piece), &mut values);
                });
            });
        });
    }
    for dtype in [Dtype::BF16, Dtype::F32] {
        let bytes = weights(dtype.bits() as usize / 8);
        let elements = ElementFormat::from_dtype(dtype).expect("a floating-point type");
        let all = StructureLayout { phase: 64, elements: Some(elements), columns: 1024 };
        let whole = Structure::for_range(&all, 0, LEN as u64);
        let mut only = |name: &str, mut part: Structure| {
            group.bench_function(format!("{name} {dtype}"), |bench| {
                bench.iter(|| {
                    for (piece, start) in
                        black_box(&bytes).chunks(PIECE_LEN).zip((0..).step_by(PIECE_LEN))
                    {
                        part.add(&all, start, piece);
                    }
                    // Counters of a window and of a row are for one pass.
                    part.windows.iter_mut().for_each(|w| w.windows.fill([0; CLASSES]));
                    part.magnitudes.iter_mut().for_each(|m| {
                        m.rows.fill(0);
                        m.columns.fill(0);
                    });
                    part.low_bits.iter_mut().for_each(|bits| bits.blocks.fill(Default::default()));
                });
            });
        };
        let pages = Structure { windows: None, low_bits: None, magnitudes: None, ..whole.clone() };
        let Structure { windows, low_bits, magnitudes, .. } = whole;
        only("pages", pages.clone());
        only("pages and windows", Structure { windows, ..pages.clone() });
        only("pages and low bits", Structure { low_bits, ..pages.clone() });
        only("pages and magnitudes", Structure { magnitudes, ..pages });
    }
    group.finish();
}

/// Files that are in memory already, of a quarter of a GiB each: beside them, `openssl dgst -sha256 FILE`.
fn file_hashing(criterion: &mut Criterion) {
    const FILE_LEN: usize = 256 << 20;
    let mut group = criterion.benchmark_group("file_hashing");
    group.sample_size(10);
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["a", "b"] {
        let bytes = weights(2).repeat(FILE_LEN / LEN);
        fs::write(directory.path().join(name), bytes).expect("room for the files");
    }
    let model = Checkpoint::open(directory.path(), &OpenOptions::default()).expect("two files");
    let whole = FileHashing::whole;
    let sharded = FileHashing { shard: NonZeroU64::new(1 << 20), ..whole(HashAlgorithm::Sha256) };
    for (name, hashings, files, threads) in [
        ("sha256, 1 file, 1 thread", &[whole(HashAlgorithm::Sha256)][..], 1, 1),
        ("sha256, 1 file, 2 threads", &[whole(HashAlgorithm::Sha256)], 1, 2),
        ("sha256, 2 files, 2 threads", &[whole(HashAlgorithm::Sha256)], 2, 2),
        ("sha256 of shards, 1 file, 2 threads", &[sharded], 1, 2),
        ("blake2b, 1 file, 1 thread", &[whole(HashAlgorithm::Blake2b)], 1, 1),
        ("blake3, 1 file, 1 thread", &[whole(HashAlgorithm::Blake3)], 1, 1),
        ("blake3, 1 file, 2 threads", &[whole(HashAlgorithm::Blake3)], 1, 2),
        (
            "sha256 and blake3, 2 files, 2 threads",
            &[whole(HashAlgorithm::Sha256), whole(HashAlgorithm::Blake3)],
            2,
            2,
        ),
    ] {
        let mut options = RunOptions::default();
        options.device = DeviceChoice::Cpu;
        options.threads = threads.into();
        group.throughput(Throughput::Bytes((files * FILE_LEN) as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let files = &model.files[..files];
                engine::hash_files(files, hashings, &options, &Progress::default())
                    .expect("the files are at rest")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, file_hashing);
criterion_main!(benches);
