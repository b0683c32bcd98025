//! A pickle: no panic, bounded, and a name that is pushed at its start is never lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::pickle::{Fault, unpickle};

fuzz_target!(|input: &[u8]| {
    let found = unpickle(input);
    assert!(found.end <= input.len());
    for (_, [from, to]) in &found.faults {
        assert!(from <= to && *to <= input.len(), "a fault lies outside");
    }
    let hostile = [b"\x80\x02cos\nsystem\n0", input].concat();
    let is_told = |(fault, _): &(Fault, _)| matches!(fault, Fault::Global { module, name } if module == "os" && name == "system");
    assert!(unpickle(&hostile).faults.iter().any(is_told), "a name was lost");
});
