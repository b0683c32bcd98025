use super::*;
use proptest::prelude::*;

fn rules(bytes: &[u8]) -> Vec<(&'static str, Severity)> {
    let mut errors = BoundedErrors::default();
    read_only(bytes, PickleLocation { member: "", start: Some(0) }, &mut errors);
    errors.iter().map(StructureError::rule).collect()
}

fn says(bytes: &[u8], text: &str) {
    let mut errors = BoundedErrors::default();
    read_only(bytes, PickleLocation { member: "", start: Some(0) }, &mut errors);
    let messages: Vec<String> = errors.iter().map(|error| error.to_string()).collect();
    assert!(messages.iter().any(|line| line.contains(text)), "{text}: {messages:?}");
}

#[test]
fn dangerous_names_are_found_however_they_are_asked_for() {
    let critical = ("format/pickle-global", Severity::Critical);
    for bytes in [
        &b"cos\nsystem\n(S'id'\ntR."[..],
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"\x80\x02cposix\nsystem\nU\x02id\x85R.",
        b"\x80\x04\x95\x17\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940\x30h\x00h\x01\x93\x8c\x02id\x85R.",
        b"\x80\x04Vo\\u0073\n\x8c\x06system\x93\x8c\x02id\x85R.",
        b"\x80\x02c__builtin__\neval\nU\x01x\x85R.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02}q\0U\x01acos\nsystem\n)Rs.",
        b"N0cos\nsystem\n0N.",
    ] {
        assert_eq!(rules(bytes), [critical], "{:?}", String::from_utf8_lossy(bytes));
    }
    // The severity that the rule has by itself is another one.
    let rule = "format/pickle-global";
    let high = (rule, Severity::High);
    assert_eq!(rules(b"cmy.module\nThing\n)\x81}b."), [high]);
    says(b"cos\nsystem\n(S'id'\ntR.", "os.system");
}

#[test]
fn other_ways_to_reach_out_are_found() {
    for (bytes, rule) in [
        (&b"\x80\x04K\x01K\x02\x93."[..], "format/pickle-computed-global"),
        (b"\x80\x02\x82\x01.", "format/pickle-extension"),
        (b"\x80\x02\x84\x01\0\0\0.", "format/pickle-extension"),
        (b"Pmodule\n.", "format/pickle-persistent-id"),
        (b"\x80\x02K\x01Q.", "format/pickle-persistent-id"),
        (b"\x80\x02K\x01)R.", "format/pickle-call"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "format/pickle-call"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "format/pickle-call"),
        (b"\x80\x02ctorch\nTensor\n}b.", "format/pickle-build"),
        (b"\x80\x02K\x01}b.", "format/pickle-build"),
        (b"N.N.", "format/pickle-trailing"),
        (b"N.\0\0", "format/pickle-trailing"),
        (b"\x80\x02N", "format/pickle-truncated"),
        (b"\x80\x02X\xff\xff\xff\xffa.", "format/pickle-truncated"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "format/pickle-truncated"),
        (b"\x80\x02\xfe.", "format/pickle-operation"),
        (b"\x80\x06N.", "format/pickle-protocol"),
        (b".", "format/pickle-malformed"),
        (b"N(.", "format/pickle-malformed"),
        (b"h\x07.", "format/pickle-malformed"),
        (b"t.", "format/pickle-malformed"),
        (b"(Nd.", "format/pickle-malformed"),
        (b"NNa.", "format/pickle-malformed"),
        (b"NNNs.", "format/pickle-malformed"),
        (b"Ix\n.", "format/pickle-malformed"),
        (b"Sx\n.", "format/pickle-malformed"),
    ] {
        let found: Vec<_> = rules(bytes).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(found, [rule], "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_second_pickle_is_examined() {
    let found = rules(b"\x80\x02N.\x80\x02cos\nsystem\n)R.");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&("format/pickle-global", Severity::Critical)));
    assert!(found.contains(&("format/pickle-trailing", Severity::High)));
    // The second of which is broken.
    assert_eq!(rules(b"N.cos\nsystem\n)R\xff").len(), 2);
}

#[test]
fn many_names_are_bounded_and_the_worst_are_kept() {
    let mut bytes = Vec::new();
    for n in 0..100_000 {
        bytes.extend_from_slice(format!("cm{n}\nx\n0").as_bytes());
        if n == 200 {
            bytes.extend_from_slice(b"cos\nsystem\n0");
        }
    }
    bytes.extend_from_slice(b"N.");
    let found = rules(&bytes);
    assert_eq!(found.len(), 16);
    assert_eq!(found[0].1, Severity::Critical);
}

#[test]
fn a_state_dictionary_is_read() {
    let bytes = b"\x80\x02}q\0X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage\
        ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\
        \x89ccollections\nOrderedDict\n)RtRs.";
    assert_eq!(rules(bytes), []);
    let found = unpickle(bytes);
    let Some(Node::Mapping(entries)) = found.nodes.get(found.value.unwrap()) else { panic!() };
    let Some(Node::Tensor(view)) = found.nodes.get(entries[0].1) else { panic!("{entries:?}") };
    assert_eq!((&view.shape[..], &view.stride[..], view.offset), (&[2, 3][..], &[3, 1][..], 0));
    assert_eq!((&*view.storage.key, view.storage.elements), ("0", 6));
}

#[test]
fn a_pickle_of_very_many_operations_ends() {
    assert_eq!(rules(&vec![b'N'; 9_000_000]), [("format/pickle-too-large", Severity::High)]);
    assert_eq!(rules(&vec![b'('; 9_000_000]), [("format/pickle-too-large", Severity::High)]);
}

/// Operations that fit each other now and then.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"\x80\x02",
        b"(",
        b")",
        b"N",
        b"K\x01",
        b"\x85",
        b"\x86",
        b"t",
        b"]",
        b"}",
        b"a",
        b"e",
        b"s",
        b"u",
        b"cos\nsystem\n",
        b"ccollections\nOrderedDict\n",
        b"R",
        b"b",
        b"q\0",
        b"h\0",
        b"Q",
        b"\x81",
        b"\x93",
        b"\x94",
        b"0",
        b"1",
        b"2",
        b"X\x01\0\0\0a",
        b"ctorch\nFloatStorage\n",
        b".",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"X\x07\0\0\0storage",
        b"\x8a\x01\xff",
    ];
    prop::collection::vec(proptest::sample::select(pieces), 0..60).prop_map(|list| list.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        rules(&bytes);
    }

    #[test]
    fn arbitrary_operations_do_not_panic(bytes in soup()) {
        rules(&bytes);
    }

    /// Whatever stands around it, a name that is pushed is found.
    #[test]
    fn a_dangerous_name_is_never_lost(before in 0usize..40, after in soup()) {
        let mut bytes = b"\x80\x02".to_vec();
        bytes.extend(vec![b'N'; before]);
        bytes.extend_from_slice(b"cos\nsystem\n");
        bytes.extend(after);
        prop_assert!(rules(&bytes).contains(&("format/pickle-global", Severity::Critical)));
    }
}
