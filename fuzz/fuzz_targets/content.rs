//! What a file is: no panic, bounded, and a pickle that is whole is never taken for text. The first byte says
//! what the file is called.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::ContentClass;
use tensorseal_format::content::{classify_bytes, examine_bytes};

const NAMES: [&str; 8] =
    ["model", "a.bin", "a.pt", "a.msgpack", "a.mlmodel", "a.json", "d/a.tar.gz", "a.safetensors"];

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let name = NAMES[usize::from(*kind) % NAMES.len()];
    let (content, problems) = examine_bytes(name, bytes);
    assert_eq!(content.class, classify_bytes(name, bytes).class);
    for problem in &problems {
        assert!(problem.companion && problem.rule.starts_with("format/pickle-"));
        assert!(!problem.message.contains('\n'));
    }
    let pickle = [b"N0ccollections\nOrderedDict\n)R", bytes].concat();
    let found = classify_bytes(name, &pickle);
    let is_pickle = |class| class == ContentClass::Pickle;
    assert!(
        is_pickle(found.class) || found.also.is_some_and(is_pickle) || found.class.is_loadable()
    );
});
