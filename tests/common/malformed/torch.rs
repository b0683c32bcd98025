//! Malformed files of PyTorch and NumPy, made by code.

use crate::common::archives::{Member, Zip, pickled, torch_zip};
use crate::common::sound_files::{npy, sound_npy, sound_torch};

/// A malformed file.
pub(crate) struct Case {
    /// Unique, a file name.
    pub name: &'static str,
    /// The name of the file.
    pub file: &'static str,
    pub bytes: Vec<u8>,
    /// The rule that must be reported, and the only one.
    pub rule: &'static str,
}

/// An archive of PyTorch that was spoilt.
fn spoilt(name: &'static str, rule: &'static str, spoil: impl FnOnce(&mut Zip)) -> Case {
    let mut zip = sound_torch();
    spoil(&mut zip);
    Case { name, file: "model.pt", bytes: zip.bytes(), rule }
}

/// An archive whose pickle makes a dictionary with this tensor beside a storage of 16 bytes.
fn with_value(name: &'static str, rule: &'static str, value: Vec<u8>) -> Case {
    let pickle = pickled::whole(pickled::dict(&[("x", value)]));
    let zip = torch_zip(pickle, &[("0", vec![7; 16])]);
    Case { name, file: "model.pt", bytes: zip.bytes(), rule }
}

fn with_pickle(name: &'static str, rule: &'static str, pickle: Vec<u8>) -> Case {
    Case { name, file: "model.pt", bytes: torch_zip(pickle, &[]).bytes(), rule }
}

fn array(name: &'static str, rule: &'static str, bytes: Vec<u8>) -> Case {
    Case { name, file: "a.npy", bytes, rule }
}

/// An array whose header is this text, with 8 bytes of data.
fn header(name: &'static str, rule: &'static str, text: &str) -> Case {
    array(name, rule, npy(text, &[5; 8]))
}

fn arrays(name: &'static str, rule: &'static str, members: Vec<Member>) -> Case {
    Case { name, file: "a.npz", bytes: Zip::of(members).bytes(), rule }
}

/// All malformed files.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = end_cases();
    cases.extend(member_cases());
    cases.extend(torch_cases());
    cases.extend(pickle_cases());
    cases.extend(legacy_cases());
    cases.extend(numpy_cases());
    cases
}

/// What is wrong at the end of an archive, or between its parts.
fn end_cases() -> Vec<Case> {
    let cut = sound_torch().bytes();
    vec![
        Case {
            name: "cut-archive",
            file: "model.pt",
            bytes: cut[..cut.len() - 30].to_vec(),
            rule: "format/zip-no-end",
        },
        spoilt("bytes-behind", "format/zip-trailing-bytes", |z| z.trailing = vec![1; 9]),
        spoilt("comment", "format/zip-comment", |z| z.comment = b"hello".to_vec()),
        spoilt("disk-1", "format/zip-multi-disk", |z| z.disk = 1),
        spoilt("zip64-other-count", "format/zip-zip64", |z| z.zip64 = Some((1, 0))),
        spoilt("zip64-elsewhere", "format/zip-zip64", |z| z.zip64 = Some((0, 99))),
        spoilt("zip64-two-million", "format/zip-too-many-members", |z| {
            z.zip64 = Some((2_000_000, 0));
        }),
        spoilt("directory-past-end", "format/zip-directory-place", |z| z.directory_shift = 1 << 20),
        spoilt("directory-nowhere", "format/zip-directory-place", |z| z.directory_shift = -7),
        spoilt("one-member-more-stated", "format/zip-count", |z| z.more = 1),
        spoilt("one-member-fewer-stated", "format/zip-count", |z| z.more = -1),
        spoilt("polyglot", "format/zip-prefix", |z| {
            z.prefix = [b"\x7fELF".to_vec(), vec![0; 60]].concat();
            z.shifted = true;
        }),
        spoilt("polyglot-adjusted", "format/zip-prefix", |z| {
            z.prefix = b"#!/bin/sh\ntouch canary\nexit\n".to_vec();
        }),
        spoilt("gap-between", "format/zip-gap", |z| z.member("m/data/0").gap = vec![1; 40]),
        spoilt("gap-before-directory", "format/zip-gap", |z| z.gaps[0] = vec![1; 40]),
        spoilt("gap-behind-directory", "format/zip-gap", |z| z.gaps[1] = vec![1; 40]),
        {
            let mut bytes = sound_torch().bytes();
            let at = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
            let next = bytes[at + 4..].windows(4).position(|w| w == b"PK\x01\x02").unwrap();
            bytes[at + 4 + next] = b'Q';
            Case { name: "broken-directory", file: "model.pt", bytes, rule: "format/zip-directory" }
        },
    ]
}

/// What is wrong with a member.
fn member_cases() -> Vec<Case> {
    fn named(name: &'static str, rule: &'static str, member: &[u8]) -> Case {
        let member = Member::new(member, "x");
        spoilt(name, rule, |z| z.members.push(member))
    }
    fn local(name: &'static str, rule: &'static str, spoil: fn(&mut Member)) -> Case {
        spoilt(name, rule, |z| spoil(z.member("m/data/0")))
    }
    vec![
        named("name-up", "format/zip-name", b"m/../../x"),
        named("name-absolute", "format/zip-name", b"/etc/passwd"),
        named("name-nul", "format/zip-name", b"m/data.pkl\0.txt"),
        named("name-backslash", "format/zip-name", b"m\\data"),
        named("name-empty", "format/zip-name", b""),
        named("name-not-utf8", "format/zip-name", b"m/\xff"),
        named("duplicate", "format/zip-duplicate-member", b"m/version"),
        named("duplicate-in-other-case", "format/zip-duplicate-member", b"m/.DATA/../x")
            .rename("m/VERSION"),
        local("encrypted", "format/zip-encrypted", |m| m.both(|h| h.flags = 1)),
        local("encrypted-in-one-header", "format/zip-encrypted", |m| m.local.flags = 1),
        local("method-12", "format/zip-method", |m| m.both(|h| h.method = 12)),
        local("stored-of-two-sizes", "format/zip-stored-size", |m| m.both(|h| h.bytes = 99)),
        local("broken-extra", "format/zip-extra", |m| m.central.extra = vec![1, 0, 99, 0, 1]),
        local("extra-twice", "format/zip-extra", |m| {
            m.local.extra = [&[1u8, 0, 0, 0][..]; 2].concat();
        }),
        local("zip64-size-missing", "format/zip-zip64", |m| m.local.stored = u32::MAX),
        local("zip64-size-contradicts", "format/zip-zip64", |m| {
            m.central.extra = [&[1u8, 0, 16, 0][..], &[3; 16]].concat();
        }),
        local("no-local-header", "format/zip-no-local-header", |m| m.shift = 1),
        local("header-past-end", "format/zip-no-local-header", |m| m.shift = 1 << 30),
        local("other-local-name", "format/zip-local-name", |m| {
            m.central.name = b"m/data/0".to_vec();
            m.local.name = b"m/data/1".to_vec();
        }),
        local("longer-local-name", "format/zip-local-name", |m| {
            m.local.name = b"m/data/0.more".to_vec();
        }),
        local("other-unicode-name", "format/zip-local-name", |m| {
            m.central.extra = [&b"\x75\x70\x06\0\x01\0\0\0\0"[..], b"x"].concat();
        }),
        local("other-local-method", "format/zip-local-method", |m| m.local.method = 8),
        local("other-local-size", "format/zip-local-size", |m| m.local.bytes = 99),
        local("other-local-checksum", "format/zip-local-checksum", |m| m.local.crc32 ^= 1),
        local("other-local-flags", "format/zip-local-flags", |m| m.local.flags = 1 << 11),
        local("descriptor-contradicts", "format/zip-local-size", |m| {
            m.both(|h| h.flags = 8);
            m.behind = vec![9; 16];
        }),
        spoilt("overlap", "format/zip-overlap", |z| {
            let inside = Member::new("m/version", "3\n");
            let length = 30 + 9 + 2 + 10;
            let at = z.members.iter().position(|m| m.local.name == b"m/version").unwrap();
            z.members[at] = inside;
            z.members.insert(at, Member::new("m/.data/x", vec![0; 10]));
            z.members[at].both(|h| {
                h.stored = length;
                h.bytes = length;
            });
        }),
        spoilt("member-past-end", "format/zip-past-end", |z| {
            let mut member = Member::new("m/.data/x", "x");
            member.both(|h| {
                h.stored = 1 << 30;
                h.bytes = 1 << 30;
            });
            z.members.push(member);
        }),
        spoilt("deflated-storage", "format/zip-compressed", |z| {
            let at = z.members.iter().position(|m| m.local.name == b"m/data/0").unwrap();
            z.members[at] = Member::deflated("m/data/0", &[7; 16]);
        }),
        spoilt("deflated-pickle-is-longer", "format/zip-bomb", |z| {
            let data = z.members[0].data.clone();
            z.members[0] = Member::deflated("m/data.pkl", &[data, vec![b'N'; 1 << 20]].concat());
            z.members[0].both(|h| h.bytes = 100);
        }),
        spoilt("deflated-pickle-is-huge", "format/zip-bomb", |z| {
            z.members[0] = Member::deflated("m/data.pkl", &vec![b'N'; 1 << 20]);
            z.members[0].both(|h| h.bytes = 1 << 30);
        }),
        spoilt("deflated-pickle-is-broken", "format/zip-damaged-member", |z| {
            z.members[0] = Member::deflated("m/data.pkl", &[b'N'; 1000]);
            z.members[0].data.fill(0xFF);
        }),
    ]
}

/// The arguments that a tensor of four elements of a storage is made of.
fn rebuilt(storage: Vec<u8>) -> Vec<Vec<u8>> {
    use pickled::{call, int, tuple};
    let hooks = call("collections", "OrderedDict", &[]);
    let (shape, strides) = (tuple(&[int(4)]), tuple(&[int(1)]));
    vec![storage, int(0), shape, strides, b"\x89".to_vec(), hooks]
}

/// What is wrong with the tensors of an archive.
fn torch_cases() -> Vec<Case> {
    use pickled::{call, dict, storage, tensor, view, whole};
    let float = |elements| storage("FloatStorage", "0", elements);
    let of = |offset, shape: &[i64], stride: &[i64]| view(float(4), offset, shape, stride);
    let mut deep = tensor("0", 4);
    for _ in 0..100 {
        deep = dict(&[("x", deep)]);
    }
    let many: Vec<(String, Vec<u8>)> =
        (0..9).map(|n| (format!("t{n}"), tensor("0", 1 << 18))).collect();
    let many: Vec<(&str, Vec<u8>)> = many.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
    vec![
        spoilt("no-data-pkl", "format/torch-no-pickle", |z| {
            z.member("m/data.pkl").both(|h| h.name = b"m/other.pkl".to_vec());
        }),
        spoilt("torchscript", "format/torchscript", |z| {
            z.members.push(Member::new("m/code/__torch__.py", "class X: pass"));
        }),
        spoilt("second-data-pkl", "format/torch-second-pickle", |z| {
            z.members.push(Member::new("n/data.pkl", b"\x80\x02N."));
        }),
        spoilt("byte-order-middle", "format/torch-byte-order", |z| {
            let at = z.members.iter().position(|m| m.local.name == b"m/byteorder").unwrap();
            z.members[at] = Member::new("m/byteorder", "middle");
        }),
        with_value("storage-missing", "format/torch-storage-missing", {
            let both = [tensor("0", 4), tensor("9", 4)];
            [b"(".to_vec(), both.concat(), b"t".to_vec()].concat()
        }),
        with_value("storage-short", "format/torch-storage-size", tensor("0", 5)),
        with_value("storage-long", "format/torch-storage-size", tensor("0", 3)),
        with_value("storage-conflict", "format/torch-storage-conflict", {
            let both = [tensor("0", 4), view(storage("IntStorage", "0", 4), 0, &[4], &[1])];
            [b"(".to_vec(), both.concat(), b"t".to_vec()].concat()
        }),
        with_value("storage-negative", "format/torch-storage-overflow", {
            view(float(-4), 0, &[4], &[1])
        }),
        with_value("storage-huge", "format/torch-storage-overflow", {
            view(float(i64::MAX), 0, &[4], &[1])
        }),
        with_value("negative-dimension", "format/torch-bad-view", of(0, &[-4], &[1])),
        with_value("negative-stride", "format/torch-bad-view", of(3, &[4], &[-1])),
        with_value("negative-offset", "format/torch-bad-view", of(-1, &[4], &[1])),
        with_value("product-overflows", "format/torch-bad-view", of(0, &[1 << 62, 4], &[4, 1])),
        with_value("strides-overflow", "format/torch-bad-view", of(0, &[3, 3], &[i64::MAX, 1])),
        with_value("view-past-end", "format/torch-view-past-end", of(1, &[4], &[1])),
        with_value("strided-past-end", "format/torch-view-past-end", of(0, &[2], &[4])),
        with_value("quantised-storage", "format/torch-dtype", {
            view(storage("QInt8Storage", "0", 16), 0, &[16], &[1])
        }),
        with_value("sparse", "format/torch-tensor-kind", {
            call("torch._utils", "_rebuild_sparse_tensor", &[tensor("0", 4)])
        }),
        with_value("too-deep", "format/torch-too-deep", deep),
        Case {
            name: "views-many-times-the-file",
            file: "model.pt",
            bytes: torch_zip(whole(dict(&many)), &[("0", vec![1; 1 << 20])]).bytes(),
            rule: "format/torch-shared-bytes",
        },
        spoilt("unreferenced-storage", "format/torch-unreferenced", |z| {
            z.members.push(Member::new("m/data/7", "hidden"));
        }),
        spoilt("unknown-member", "format/torch-unknown-member", |z| {
            z.members.push(Member::new("m/payload.sh", "#!/bin/sh"));
        }),
        with_value("metadata", "format/torch-tensor-state", {
            let mut arguments = rebuilt(float(4));
            arguments.push(dict(&[("neg", b"\x88".to_vec())]));
            call("torch._utils", "_rebuild_tensor_v2", &arguments)
        }),
        with_value("metadata-of-a-typed-tensor", "format/torch-tensor-state", {
            let mut arguments = rebuilt(float(4));
            arguments.push(pickled::global("torch", "float32"));
            arguments.push(dict(&[("conj", b"\x88".to_vec())]));
            call("torch._utils", "_rebuild_tensor_v3", &arguments)
        }),
        with_value("hooks", "format/torch-tensor-state", {
            let mut arguments = rebuilt(float(4));
            arguments[5] = dict(&[("a", b"N".to_vec())]);
            call("torch._utils", "_rebuild_tensor_v2", &arguments)
        }),
        with_value("state-of-a-tensor", "format/torch-tensor-state", {
            let state = pickled::tuple(&rebuilt(float(4))[..4]);
            [tensor("0", 4), state, b"b".to_vec()].concat()
        }),
        with_value("state-of-a-parameter", "format/torch-tensor-state", {
            let state = dict(&[("note", b"N".to_vec())]);
            let arguments = [tensor("0", 4), b"\x89".to_vec(), b"N".to_vec(), state];
            call("torch._utils", "_rebuild_parameter_with_state", &arguments)
        }),
        with_value("state-by-type", "format/torch-tensor-state", {
            let state = pickled::tuple(&[b"N".to_vec(), dict(&[("note", b"N".to_vec())])]);
            let function = pickled::global("torch._utils", "_rebuild_tensor_v2");
            let class = pickled::global("torch.nn.parameter", "Parameter");
            let arguments = [function, class, pickled::tuple(&rebuilt(float(4))), state];
            call("torch._tensor", "_rebuild_from_type_v2", &arguments)
        }),
        with_value("tensor-of-its-class", "format/torch-tensor-kind", {
            call("torch", "Tensor", &[tensor("0", 4)])
        }),
        with_value("converted", "format/torch-tensor-kind", {
            let double = pickled::global("torch", "float64");
            let arguments = [tensor("0", 4), double, pickled::text("cpu"), b"\x89".to_vec()];
            call("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", &arguments)
        }),
        with_value("under-no-key", "format/torch-odd-key", {
            [b"}N".to_vec(), tensor("0", 4), b"s".to_vec()].concat()
        }),
        with_value("under-true", "format/torch-odd-key", {
            [b"}\x88".to_vec(), tensor("0", 4), b"s".to_vec()].concat()
        }),
        with_value("in-a-set", "format/torch-odd-key", {
            let list = [b"]".to_vec(), tensor("0", 4), b"a".to_vec()].concat();
            call("__builtin__", "set", &[list])
        }),
        with_value("in-notes", "format/torch-odd-key", {
            let notes = dict(&[("_metadata", tensor("0", 4))]);
            [call("collections", "OrderedDict", &[]), notes, b"b".to_vec()].concat()
        }),
        with_value("names-that-join", "format/ambiguous-name", {
            dict(&[("a", dict(&[("b", tensor("0", 4))])), ("a.b", tensor("0", 4))])
        }),
        with_value("text-and-integer", "format/ambiguous-name", {
            let tensor = tensor("0", 4);
            [b"}(K\x01".to_vec(), tensor.clone(), pickled::text("1"), tensor, b"u".to_vec()]
                .concat()
        }),
        with_value("a-dictionary-of-letters", "format/pickle-call", {
            let made = call("collections", "OrderedDict", &[pickled::text("ab")]);
            pickled::tuple(&[made, tensor("0", 4)])
        }),
        with_value("storage-of-no-data", "format/pickle-persistent-id", {
            let parts = [
                pickled::text("storage"),
                pickled::global("torch", "FloatStorage"),
                pickled::text("0"),
                pickled::text("meta"),
                pickled::int(4),
            ];
            pickled::tuple(&[tensor("0", 4), [pickled::tuple(&parts), b"Q".to_vec()].concat()])
        }),
        with_value("repeated-without-end", "format/torch-shared-bytes", {
            pickled::tuple(&[tensor("0", 4), of(0, &[1 << 40], &[0])])
        }),
        with_pickle("key-twice", "format/pickle-duplicate-key", {
            whole(dict(&[("a", b"N".to_vec()), ("a", b"K\x01".to_vec())]))
        }),
    ]
}

/// What is wrong with a pickle.
fn pickle_cases() -> Vec<Case> {
    let plain = |name, file, rule, bytes: &[u8]| Case { name, file, bytes: bytes.to_vec(), rule };
    vec![
        with_pickle("os-system", "format/pickle-global", b"cos\nsystem\n(S'id'\ntR.".to_vec()),
        with_pickle("computed-name", "format/pickle-computed-global", b"\x80\x04NN\x93.".to_vec()),
        with_pickle("extension", "format/pickle-extension", b"\x80\x02\x82\x05.".to_vec()),
        with_pickle("persistent-text", "format/pickle-persistent-id", b"Pbin\n.".to_vec()),
        with_pickle("second-pickle-behind", "format/pickle-trailing", b"\x80\x02N.N.".to_vec()),
        with_pickle("calls-a-number", "format/pickle-call", b"\x80\x02K\x01)R.".to_vec()),
        with_pickle("state-of-a-type", "format/pickle-build", b"ctorch\nTensor\n}b.".to_vec()),
        with_pickle("cut-pickle", "format/pickle-truncated", b"\x80\x02}X\x09\0\0\0a".to_vec()),
        with_pickle("unknown-operation", "format/pickle-operation", b"\x80\x02N\xfe.".to_vec()),
        with_pickle("protocol-9", "format/pickle-protocol", b"\x80\x09N.".to_vec()),
        with_pickle("empty-stack", "format/pickle-malformed", b"\x80\x020.".to_vec()),
        with_pickle("no-bytes", "format/pickle-truncated", Vec::new()),
        plain("plain-pickle", "x.pkl", "format/pickle-global", b"cos\nsystem\n(S'id'\ntR."),
        plain(
            "plain-as-bin",
            "x.bin",
            "format/pickle-global",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        ),
        plain("old-as-bin", "x.bin", "format/pickle-global", b"cbuiltins\neval\n(S'1'\ntR."),
        plain("old-list", "x.ckpt", "format/pickle-global", b"(lp0\ncos\nsystem\n(S'id'\ntRa."),
    ]
}

/// A stream of the form before PyTorch 1.6, with one storage of four F32.
pub(crate) fn legacy(storage: &[u8]) -> Vec<u8> {
    legacy_of(pickled::dict(&[("a", legacy_part(b"N".to_vec(), 4))]), storage)
}

/// A tensor of a part of the storage of such a stream, with as many elements.
fn legacy_part(part: Vec<u8>, elements: i64) -> Vec<u8> {
    let mut id = vec![pickled::text("storage"), pickled::global("torch", "FloatStorage")];
    id.extend([pickled::text("77"), pickled::text("cpu"), pickled::int(4), part]);
    let storage = [pickled::tuple(&id), b"Q".to_vec()].concat();
    pickled::view(storage, 0, &[elements], &[1])
}

/// A stream with this object.
fn legacy_of(object: Vec<u8>, storage: &[u8]) -> Vec<u8> {
    let object = pickled::whole(object);
    let system = pickled::whole(pickled::dict(&[("little_endian", b"\x88".to_vec())]));
    let keys = [b"\x80\x02](".to_vec(), pickled::text("77"), b"e.".to_vec()].concat();
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    let count = 4u64.to_le_bytes().to_vec();
    let parts = [magic, b"\x80\x02M\xe9\x03.".to_vec(), system, object, keys, count];
    [parts.concat(), storage.to_vec()].concat()
}

fn legacy_cases() -> Vec<Case> {
    let case = |name, rule, bytes| Case { name, file: "old.pth", bytes, rule };
    let sound = legacy(&[3; 16]);
    let part = |name: &str, offset, elements| {
        let place = [pickled::text(name), pickled::int(offset), pickled::int(elements)];
        legacy_part(pickled::tuple(&place), 2)
    };
    let of = |entries: &[(&str, Vec<u8>)]| legacy_of(pickled::dict(entries), &[3; 16]);
    let mut tar = vec![0; 1024];
    tar[..6].copy_from_slice(b"pickle");
    tar[257..262].copy_from_slice(b"ustar");
    tar[124..135].copy_from_slice(b"00000000000");
    vec![
        case(
            "legacy-short-storage",
            "format/torch-storage-size",
            sound[..sound.len() - 1].to_vec(),
        ),
        case("legacy-trailing", "format/torch-trailing-bytes", [&sound[..], b"more"].concat()),
        case("legacy-no-storages", "format/torch-storage-missing", {
            sound[..sound.len() - 24].to_vec()
        }),
        case("legacy-other-version", "format/torch-legacy", {
            let at = sound.windows(2).position(|w| w == b"M\xe9").unwrap();
            let mut bytes = sound.clone();
            bytes[at + 1] = 0;
            bytes
        }),
        case(
            "legacy-part-with-two-places",
            "format/torch-view-key",
            of(&[("a", part("78", 0, 2)), ("b", part("78", 2, 2))]),
        ),
        case(
            "legacy-part-called-as-its-storage",
            "format/torch-view-key",
            of(&[("a", part("77", 0, 2))]),
        ),
        case("legacy-past-its-part", "format/torch-view-past-end", of(&[("a", part("78", 3, 1))])),
        case(
            "legacy-key-twice",
            "format/pickle-duplicate-key",
            of(&[("a", part("78", 2, 2)), ("a", part("78", 2, 2))]),
        ),
        case("legacy-cut-pickle", "format/pickle-truncated", sound[..60].to_vec()),
        case("tar", "format/torch-tar", tar),
    ]
}

/// Arrays of NumPy.
fn numpy_cases() -> Vec<Case> {
    const PLAIN: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
    let text = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
    };
    let many = text("'<f4'", &format!("({})", "1,".repeat(65)));
    let huge = text("'<f4'", "(4611686018427387904, 2)");
    let mut version = sound_npy();
    version[6] = 4;
    let mut long = b"\x93NUMPY\x02\0".to_vec();
    long.extend(20_000u32.to_le_bytes());
    long.extend(vec![b' '; 20_000]);
    let zeros = vec![0; 100 << 20];
    let mut bomb = Member::deflated("a.npy", &zeros);
    bomb.both(|h| h.bytes = 400 << 20);
    vec![
        array("npy-other-magic", "format/npy-magic", b"NUMPY and more".to_vec()),
        array("npy-empty", "format/npy-magic", Vec::new()),
        array("npy-version-4", "format/npy-version", version),
        array("npy-cut-header", "format/npy-short", sound_npy()[..30].to_vec()),
        array("npy-long-header", "format/npy-header-too-large", long),
        header("npy-no-dictionary", "format/npy-header", "[1, 2]"),
        header("npy-code", "format/npy-header", "{'descr': __import__('os')}"),
        header("npy-shape-twice", "format/npy-header", {
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (1,), }"
        }),
        header("npy-records", "format/npy-records", &text("[('a', '<f4')]", "(2,)")),
        header("npy-text", "format/npy-dtype", &text("'<U2'", "(1,)")),
        array("npy-objects", "format/npy-object", npy(&text("'|O'", "(1,)"), b"\x80\x02N.")),
        header("npy-65-dimensions", "format/npy-too-many-dimensions", &many),
        header("npy-shape-2-62", "format/npy-size-overflow", &huge),
        header("npy-too-short", "format/npy-size-mismatch", &text("'<f4'", "(3,)")),
        array("npy-trailing", "format/npy-size-mismatch", npy(PLAIN, &[5; 9])),
        arrays("npz-a-beside-a-npy", "format/npz-same-name", {
            vec![Member::new("a.npy", sound_npy()), Member::new("a", sound_npy())]
        }),
        arrays("npz-no-array", "format/npz-no-array", {
            vec![Member::new("a.npy", sound_npy()), Member::new("run.sh", "#!/bin/sh")]
        }),
        arrays("npz-compressed", "format/zip-compressed", {
            vec![Member::deflated("a.npy", &sound_npy())]
        }),
        arrays("npz-bomb", "format/zip-bomb", vec![bomb]),
        arrays("npz-duplicate", "format/zip-duplicate-member", {
            vec![Member::new("a.npy", sound_npy()), Member::new("a.npy", sound_npy())]
        }),
        arrays("npz-broken-array", "format/npy-size-mismatch", {
            vec![Member::new("a.npy", &sound_npy()[..70]), Member::new("b.npy", sound_npy())]
        }),
        Case {
            name: "npz-empty-file",
            file: "a.npz",
            bytes: Vec::new(),
            rule: "format/zip-no-end",
        },
    ]
}

impl Case {
    /// The same with another name for the member with this one.
    fn rename(self, to: &str) -> Case {
        let mut zip = sound_torch();
        zip.members.push(Member::new(to, "x"));
        Case { bytes: zip.bytes(), ..self }
    }
}
