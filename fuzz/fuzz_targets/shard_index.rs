//! The index of a sharded checkpoint: no panic, and no listed path leads out of its directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::{Component, Path};
use tensorseal_format::shard_index::parse_index;

fuzz_target!(|text: &[u8]| {
    for shard in parse_index(text).weight_map.values() {
        let inside = |part| matches!(part, Component::Normal(_));
        assert!(!shard.is_empty() && Path::new(shard).components().all(inside), "{shard:?}");
    }
});
