use super::super::media::Compression;
use super::*;
use crate::source::spool::SpooledBytes;
use proptest::prelude::*;
use tar::{Builder, Header};

const TAR: LayerPacking = LayerPacking { archive: true, compression: None };

/// What unpacking gives: contents, the spool, and how it ended.
fn unpacked(
    bytes: &[u8],
    packing: LayerPacking,
    most: u64,
) -> (UnpackedLayer, SpooledBytes, Result<(), UnpackError>) {
    let mut spool = Spool::new(&std::env::temp_dir(), most).unwrap();
    let mut contents = UnpackedLayer::default();
    let ended = unpack(bytes, packing, "model.gguf", &mut spool, &mut contents);
    (contents, spool.into_bytes(), ended)
}

fn header(kind: EntryType, path: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// An archive of members with these types, names and bytes.
fn archive(members: &[(EntryType, &[u8], &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, bytes) in members {
        builder.append(&header(*kind, path, bytes.len() as u64), *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn paths(contents: &UnpackedLayer) -> Vec<&str> {
    contents.members.iter().map(|member| member.path.as_str()).collect()
}

#[test]
fn members_lie_one_behind_the_other() {
    let file = EntryType::Regular;
    let bytes = archive(&[
        (EntryType::Directory, b"./", b""),
        (file, b"./a", b"first"),
        (EntryType::Directory, b"d/", b""),
        (file, b"d/b", b"second one"),
        (file, b"empty", b""),
    ]);
    let (contents, spooled, ended) = unpacked(&bytes, TAR, 1000);
    ended.unwrap();
    assert_eq!(paths(&contents), ["a", "d/b", "empty"]);
    assert_eq!(contents.refusals, 0);
    let second = &contents.members[1];
    let second = spooled.file(second.start, second.bytes, String::new()).unwrap();
    let mut read = vec![0; 10];
    second.read_at(0, &mut read).unwrap();
    assert_eq!(read, b"second one");
}

#[test]
fn long_names_of_either_kind() {
    let long = "d/".repeat(70) + "name";
    let mut gnu = Builder::new(Vec::new());
    let mut header = header(EntryType::Regular, b"", 1);
    gnu.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    pax.append(&header, &b"x"[..]).unwrap();
    for bytes in [gnu.into_inner().unwrap(), pax.into_inner().unwrap()] {
        let (contents, _, ended) = unpacked(&bytes, TAR, 1000);
        ended.unwrap();
        assert_eq!(paths(&contents), [&long]);
    }
}

#[test]
fn what_is_no_file_is_refused_and_the_rest_is_read() {
    let bytes = archive(&[
        (EntryType::Symlink, b"link", b""),
        (EntryType::Link, b"hard", b""),
        (EntryType::Fifo, b"pipe", b""),
        (EntryType::Char, b"tty", b""),
        (EntryType::Block, b"disk", b""),
        (EntryType::new(b'Q'), b"odd", b"skipped"),
        (EntryType::Regular, b"not \xff utf-8", b"skipped"),
        (EntryType::Regular, b"kept", b"kept"),
    ]);
    let (contents, _, ended) = unpacked(&bytes, TAR, 1000);
    ended.unwrap();
    assert_eq!(paths(&contents), ["kept"]);
    assert_eq!(contents.refusals, 7);
    let told = contents.refused.join(", ");
    for what in
        ["'link' is a symbolic link", "'hard' is a hard link", "'disk' is a device", "UTF-8"]
    {
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn a_sparse_file_is_refused() {
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
    pax.append(&header(EntryType::Regular, b"sparse", 3), &b"map"[..]).unwrap();
    let (contents, _, ended) = unpacked(&pax.into_inner().unwrap(), TAR, 1000);
    ended.unwrap();
    assert_eq!((contents.members.len(), contents.refusals), (0, 1));
}

#[test]
fn what_is_told_of_refusals_is_bounded() {
    let names: Vec<String> = (0..500).map(|i| format!("link{i}")).collect();
    let members: Vec<_> =
        names.iter().map(|name| (EntryType::Symlink, name.as_bytes(), &b""[..])).collect();
    let (contents, _, ended) = unpacked(&archive(&members), TAR, 1000);
    ended.unwrap();
    assert_eq!((contents.refusals, contents.refused.len()), (500, MAX_REPORTED));
}

#[test]
fn more_than_there_is_room_for() {
    let bytes =
        archive(&[(EntryType::Regular, b"a", &[1; 600]), (EntryType::Regular, b"b", &[2; 600])]);
    let (contents, _, ended) = unpacked(&bytes, TAR, 1000);
    assert!(matches!(ended, Err(UnpackError::TooLarge(1000))));
    assert_eq!(paths(&contents), ["a"]);
    // A member that is refused counts as well: it has to be read.
    let bytes = archive(&[(EntryType::new(b'Q'), b"a", &[1; 1200])]);
    assert!(matches!(unpacked(&bytes, TAR, 1000).2, Err(UnpackError::TooLarge(1000))));
    // A file that says how long it is, and is not there.
    let mut bytes = header(EntryType::Regular, b"a", 1 << 40).as_bytes().to_vec();
    bytes.extend([0; 1024]);
    assert!(matches!(unpacked(&bytes, TAR, 1000).2, Err(UnpackError::TooLarge(1000))));
}

#[test]
fn a_compressed_file_and_a_bomb() {
    use flate2::{Compression as Level, write::GzEncoder};
    use std::io::Write;
    let compressed = |len: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Level::best());
        encoder.write_all(&vec![0; len]).unwrap();
        encoder.finish().unwrap()
    };
    let packing = LayerPacking { archive: false, compression: Some(Compression::Gzip) };
    let (contents, _, ended) = unpacked(&compressed(5000), packing, 10_000);
    ended.unwrap();
    assert_eq!(
        contents.members,
        [UnpackedMember { path: "model.gguf".to_owned(), start: 0, bytes: 5000 }]
    );
    let bomb = compressed(20 << 20);
    assert!(bomb.len() < 30_000);
    let (contents, spooled, ended) = unpacked(&bomb, packing, 1 << 20);
    assert!(matches!(ended, Err(UnpackError::TooLarge(_))));
    assert!(contents.members.is_empty() && spooled.file(0, (1 << 20) + 1, String::new()).is_none());
}

/// A name of gigabytes does not get into memory.
#[test]
fn headers_are_bounded() {
    let mut bytes = header(EntryType::GNULongName, b"././@LongLink", 1 << 33).as_bytes().to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 2 << 20));
    let (contents, _, ended) = unpacked(&bytes, TAR, 1 << 40);
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("a header is too long"), "{error}");
    assert!(contents.members.is_empty());
}

#[test]
fn an_archive_that_is_cut_off() {
    let bytes = archive(&[(EntryType::Regular, b"a", &[1; 5000])]);
    for len in [100, 512, 513, 4000] {
        let (contents, _, ended) = unpacked(&bytes[..len], TAR, 1 << 20);
        assert!(matches!(ended, Err(UnpackError::Damaged(_))), "{len}");
        assert!(contents.members.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged archive is unpacked, or not; what comes of it lies in the spool.
    #[test]
    fn any_damage_is_survived(at in 0usize..2048, byte: u8, cut in 0usize..4096) {
        let mut bytes = archive(&[
            (EntryType::Regular, b"a", b"first"),
            (EntryType::Symlink, b"l", b""),
            (EntryType::Regular, b"b", &[7; 700]),
        ]);
        bytes[at] = byte;
        bytes.truncate(cut);
        let (contents, spooled, _) = unpacked(&bytes, TAR, 10_000);
        for member in &contents.members {
            prop_assert!(spooled.file(member.start, member.bytes, String::new()).is_some());
        }
    }
}
