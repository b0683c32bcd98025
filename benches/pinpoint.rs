//! The longest searches: a block and a chunk that no small change explains, on one thread and on two.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tensorseal_core::pinpoint::{CHUNK_LEN, Subtree, explain};
use tensorseal_engine::measure::BLOCK_LEN;

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn searches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pinpoint");
    group.sample_size(10);
    let bytes = noise(BLOCK_LEN);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for (name, len) in [("bits of 1 MiB", BLOCK_LEN), ("all of 1 KiB", CHUNK_LEN)] {
            let subtree = Subtree { bytes: &bytes[..len], offset: 0, root: false, sealed: [0; 32] };
            group.bench_function(format!("{name}, {threads} threads"), |bencher| {
                bencher.iter(|| pool.install(|| explain::block(black_box(&subtree), &|| false)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, searches);
criterion_main!(benches);
