use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::time::Instant;
use tensorseal_base::dtype::Dtype;

/// A file to be written.
#[derive(Debug, Clone)]
struct GgufBuilder {
    version: u32,
    big_endian: bool,
    alignment: u64,
    entries: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<u64>, i32, u64)>,
    data: usize,
}

impl GgufBuilder {
    fn new(version: u32, big_endian: bool) -> GgufBuilder {
        let (entries, tensors) = (Vec::new(), Vec::new());
        GgufBuilder { version, big_endian, alignment: 32, entries, tensors, data: 0 }
    }

    fn n32(&self, number: u32) -> [u8; 4] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn n64(&self, number: u64) -> [u8; 8] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn length(&self, number: u64) -> Vec<u8> {
        match self.version {
            1 => self.n32(number as u32).to_vec(),
            _ => self.n64(number).to_vec(),
        }
    }

    fn string(&self, text: &str) -> Vec<u8> {
        [self.length(text.len() as u64), text.as_bytes().to_vec()].concat()
    }

    fn entry(mut self, key: &str, kind: u32, value: Vec<u8>) -> GgufBuilder {
        self.entries.push([self.string(key), self.n32(kind).to_vec(), value].concat());
        self
    }

    fn text(self, key: &str, text: &str) -> GgufBuilder {
        let value = self.string(text);
        self.entry(key, 8, value)
    }

    fn numbers(self, key: &str, numbers: &[u32]) -> GgufBuilder {
        let mut value = [self.n32(4).to_vec(), self.length(numbers.len() as u64)].concat();
        value.extend(numbers.iter().flat_map(|&number| self.n32(number)));
        self.entry(key, 9, value)
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = [MAGIC, self.n32(self.version)].concat();
        bytes.extend(self.length(self.tensors.len() as u64));
        bytes.extend(self.length(self.entries.len() as u64));
        bytes.extend(self.entries.concat());
        for (name, dimensions, kind, offset) in &self.tensors {
            bytes.extend(self.string(name));
            bytes.extend(self.n32(dimensions.len() as u32));
            bytes.extend(dimensions.iter().flat_map(|&n| self.length(n)));
            bytes.extend(self.n32(*kind as u32));
            bytes.extend(self.n64(*offset));
        }
        bytes
    }

    /// The header, and how long the file is.
    fn whole(&self) -> (Vec<u8>, u64) {
        let header = self.header();
        let bytes = (header.len() as u64).next_multiple_of(self.alignment) + self.data as u64;
        (header, bytes)
    }

    fn check(&self) -> GgufReport {
        let (header, bytes) = self.whole();
        check_bytes(&header, bytes)
    }
}

/// What holds of any report.
fn is_sound(report: &GgufReport, file_bytes: u64) -> Result<(), TestCaseError> {
    let mut cursor = 0;
    for tensor in &report.tensors {
        prop_assert!(tensor.offset >= cursor, "tensors share bytes");
        cursor = tensor.offset + tensor.bytes;
        prop_assert!(cursor <= file_bytes, "a tensor leaves the file");
        let elements = tensor.shape.iter().product();
        prop_assert_eq!(tensor.dtype.byte_len(elements), Some(tensor.bytes));
    }
    prop_assert!(report.readable || report.tensors.is_empty());
    prop_assert!(report.errors.is_empty() || report.errors().count() < 200);
    prop_assert!(report.readable || !report.errors.is_empty());
    for error in report.errors() {
        prop_assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }
    Ok(())
}

/// Sound files of any version and order, and files that are nearly so: an offset may be moved by the
/// alignment, a name be there twice, a row not be whole blocks.
fn made() -> impl Strategy<Value = GgufBuilder> {
    let moved = prop_oneof![12 => Just(0i64), 1 => Just(-1), 1 => Just(1)];
    let tensor = ("[a-z]{1,2}", 0i32..42, prop::collection::vec(0u64..3, 0..5), moved);
    (1u32..4, any::<bool>(), 3u32..8, prop::collection::vec(tensor, 0..5), any::<bool>()).prop_map(
        |(version, big_endian, shift, tensors, padded)| {
            let mut made =
                GgufBuilder::new(version, big_endian).text("general.architecture", "bert");
            made.alignment = 1 << shift;
            let alignment = made.n32(1 << shift).to_vec();
            made = made.entry("general.alignment", 4, alignment);
            made = made.numbers("bert.attention.head_count", &[12, 12]);
            let mut offset = 0u64;
            for (name, kind, mut shape, moved) in tensors {
                let Some(dtype) = types::from_number(kind) else { continue };
                let (bytes, granule) = dtype.granule();
                if let Some(row) = shape.first_mut() {
                    *row *= granule;
                }
                offset = offset.saturating_add_signed(moved << shift);
                let elements: u64 = shape.iter().product();
                made.tensors.push((name, shape, kind, offset));
                made.data = (offset + elements / granule * bytes) as usize;
                offset = (made.data as u64).next_multiple_of(made.alignment);
            }
            if padded {
                made.data = offset as usize;
            }
            made
        },
    )
}

/// Whether the file is accepted. An accepted file is read as it was written.
fn accepted(made: &GgufBuilder) -> Result<bool, TestCaseError> {
    let report = made.check();
    is_sound(&report, made.whole().1)?;
    if !report.errors.is_empty() {
        return Ok(false);
    }
    prop_assert_eq!(report.big_endian, made.big_endian);
    let model = report.architecture.as_ref().unwrap();
    prop_assert_eq!((&*model.name, model.heads), ("bert", Some(12)));
    prop_assert_eq!(report.tensors.len(), made.tensors.len());
    let data = (made.header().len() as u64).next_multiple_of(made.alignment);
    for (name, dimensions, kind, offset) in &made.tensors {
        let tensor = report.tensors.iter().find(|tensor| tensor.name == *name).unwrap();
        let shape: Vec<u64> = dimensions.iter().rev().copied().collect();
        prop_assert_eq!(&tensor.shape, &shape);
        prop_assert_eq!(Some(tensor.dtype), types::from_number(*kind));
        prop_assert_eq!(tensor.offset, data + offset);
    }
    Ok(true)
}

#[test]
fn the_files_of_the_tests_are_accepted_often_and_refused_often() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let count = (0..1000)
        .filter(|_| accepted(&made().new_tree(&mut runner).unwrap().current()).unwrap())
        .count();
    assert!((200..900).contains(&count), "{count}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        file_bytes: u64,
        version in 0u32..5,
    ) {
        is_sound(&check_bytes(&bytes, file_bytes), file_bytes)?;
        let bytes = [&MAGIC[..], &version.to_le_bytes(), &bytes].concat();
        is_sound(&check_bytes(&bytes, bytes.len() as u64), bytes.len() as u64)?;
        is_sound(&check_bytes(&bytes, file_bytes), file_bytes)?;
    }

    #[test]
    fn what_is_accepted_is_read_as_it_was_written(made in made()) {
        accepted(&made)?;
    }

    #[test]
    fn mutated_files_do_not_panic(
        made in made(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
        change in -70i64..70,
    ) {
        let (mut bytes, length) = made.whole();
        for (at, byte, how) in mutations {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        let length = length.saturating_add_signed(change);
        is_sound(&check_bytes(&bytes, length), length)?;
    }
}

fn rules(report: &GgufReport) -> Vec<&'static str> {
    report.errors().map(|error| error.rule().0).collect()
}

#[test]
fn numbers_of_heads_are_one_number_or_unknown() {
    let heads = |made: GgufBuilder| {
        let model = made.text("general.architecture", "llama").check().architecture.unwrap();
        (model.heads, model.key_value_heads)
    };
    let made = || GgufBuilder::new(3, false);
    let number = |n: u32| n.to_le_bytes().to_vec();
    let (q, kv) = ("llama.attention.head_count", "llama.attention.head_count_kv");
    assert_eq!(heads(made()), (None, None));
    assert_eq!(heads(made().entry(q, 4, number(32)).numbers(kv, &[8, 8])), (Some(32), Some(8)));
    assert_eq!(heads(made().entry(q, 5, number(7)).numbers(kv, &[8, 0, 8])), (Some(7), None));
    assert_eq!(heads(made().entry(q, 5, number(u32::MAX)).numbers(kv, &[])), (None, None));
    assert_eq!(heads(made().text(q, "32").entry(kv, 6, number(0))), (None, None));
    assert_eq!(heads(made().entry("bert.attention.head_count", 4, number(1))), (None, None));
    assert_eq!(made().check().architecture, None);
}

#[test]
fn tensors_beside_a_fault_are_read() {
    let mut made = GgufBuilder::new(3, false);
    made.tensors = vec![
        ("a".into(), vec![8], 0, 0),
        ("b".into(), vec![8], 99, 32),
        ("c".into(), vec![8], 0, 64),
        ("d".repeat(64), vec![8], 0, 96),
    ];
    made.data = 128;
    let report = made.check();
    assert_eq!(rules(&report), ["format/gguf-long-name", "format/unknown-dtype"]);
    let names: Vec<_> = report.tensors.iter().map(|tensor| &*tensor.name).collect();
    assert_eq!(
        (names.as_slice(), &*report.unreadable),
        (&["a", "c", &"d".repeat(64)][..], &["b".to_owned()][..])
    );
    assert_eq!(report.tensors[1].dtype, Dtype::F32);
}

#[test]
fn a_name_that_only_loaders_refuse_hides_nothing() {
    let mut made = GgufBuilder::new(3, false);
    made.tensors = vec![("d".repeat(64), vec![8], 0, 0)];
    made.data = 32 + 5;
    assert_eq!(rules(&made.check()), ["format/gguf-long-name", "format/trailing-bytes"]);
}

#[test]
fn a_cut_off_file_keeps_its_first_tensors() {
    let mut made = GgufBuilder::new(2, true);
    made.tensors = vec![("a".into(), vec![8], 0, 0), ("b".into(), vec![3, 2], 1, 32)];
    made.data = 32 + 7;
    let report = made.check();
    let error = report.errors().next().unwrap();
    assert_eq!(
        (error.rule().0, error.location().affected),
        ("format/truncated", &["b".to_owned()][..])
    );
    let end = made.whole().1;
    assert_eq!(error.location().bytes, Some([end, end + 5]));
    assert_eq!(report.tensors.len(), 1);
    assert_eq!(report.into_parsed_file("x").big_endian.len(), 1);
}

#[test]
fn a_long_array_is_not_read() {
    let value = [0u32.to_le_bytes().to_vec(), (1u64 << 40).to_le_bytes().to_vec()].concat();
    let start = GgufBuilder::new(3, false).entry("k", 9, value).header();
    let start_time = Instant::now();
    // 2^40 zeros, and padding behind them.
    let bytes = (start.len() as u64 + (1 << 40)).next_multiple_of(32);
    let report = check_bytes(&start, bytes);
    assert!(report.errors.is_empty() && report.readable, "{:?}", rules(&report));
    assert!(start_time.elapsed().as_secs() < 2);
}

#[test]
fn errors_of_one_kind_are_counted_beyond_a_few() {
    let mut made = GgufBuilder::new(3, false);
    made.tensors = (0..1000).map(|n| (n.to_string(), vec![8], 4, n * 32)).collect();
    made.data = 32_000;
    let problems = made.check().into_parsed_file("x").problems;
    assert_eq!(problems.len(), 17);
    assert!(
        problems[16].message.contains("984 more problems of the same kind"),
        "{}",
        problems[16].message
    );
}

#[test]
fn many_tensors_and_entries_are_read_quickly() {
    let mut made = GgufBuilder::new(3, false);
    made.entries = (0..1_000_000)
        .map(|n| {
            let key = made.string(&format!("key.number.{n}"));
            [key, made.n32(4).to_vec(), made.n32(n).to_vec()].concat()
        })
        .collect();
    made.tensors =
        (0..100_000).map(|n| (format!("blk.{n}.attn_q.weight"), vec![3], 0, n * 32)).collect();
    made.data = 3_200_000;
    let (header, bytes) = made.whole();
    let start = Instant::now();
    let report = check_bytes(&header, bytes);
    println!("{} MB of header: {:?}", header.len() >> 20, start.elapsed());
    assert_eq!((report.tensors.len(), report.errors().count()), (100_000, 0));
    assert!(start.elapsed().as_secs() < 10);
}
