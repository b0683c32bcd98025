use super::*;
use crate::pinpoint::differing_ranges::RangeSubject;

fn tensor(dtype: Dtype, shape: &[u64]) -> TensorSeal {
    TensorSeal {
        blake3: [0; 32],
        blocks: vec![],
        bytes: 0,
        distribution: None,
        sketch: None,
        dtype,
        file: String::new(),
        name: String::new(),
        offset: 0,
        shape: shape.to_vec(),
        strides: None,
    }
}

fn difference(offset: u64, sealed: u64, found: u64) -> ByteDifference {
    ByteDifference { offset, len: 8, sealed: sealed.to_le_bytes(), found: found.to_le_bytes() }
}

fn pinpointed(
    explanations: Vec<Explanation>,
    not_searched: Vec<[u64; 2]>,
    object: u64,
) -> PinpointedRange<'static> {
    let place = DifferingRange {
        subject: RangeSubject::Tensor(0),
        file: "m",
        object,
        offset: 0,
        len: 1 << 20,
        root: true,
        sealed: [0; 32],
    };
    PinpointedRange { range: place, explanations, not_searched }
}

#[test]
fn elements_bits_and_values_are_those_of_the_type() {
    let one = |dtype, offset, sealed, found| {
        let [ref changed] = elements(dtype, &difference(offset, sealed, found))[..] else {
            panic!("not one element of {dtype}")
        };
        changed.text()
    };
    let f32s = u64::from(1f32.to_bits()) << 32;
    assert_eq!(one(Dtype::F32, 16, f32s, f32s ^ 1 << 62), "element 5, bit 30, 1.0 -> Infinity");
    assert_eq!(
        one(Dtype::BF16, 8, 0x3F80 << 16, 0xBF81 << 16),
        "element 5, bits 0 and 15, 1.0 -> -1.0078125"
    );
    let double = one(Dtype::F64, 8, 1.5f64.to_bits(), 0.1f64.to_bits() ^ 1);
    assert!(double.ends_with(", 1.5 -> 0.10000000000000002"), "{double}");
    assert_eq!(one(Dtype::I8, 0, 0x7F, 0xFF), "element 0, bit 7, 127 -> -1");
    let unsigned = one(Dtype::U64, 8, 0, 1 << 63);
    assert_eq!(unsigned, "element 1, bit 63, 0 -> 9223372036854775808");
    assert_eq!(one(Dtype::F4, 8, 0x10, 0x90), "element 17, bit 3, 0.5 -> -0.5");
    let complex = one(Dtype::C64, 8, f32s, f32s ^ 1 << 63);
    assert_eq!(complex, "element 1, bit 63, 0.0 + 1.0i -> 0.0 + -1.0i");
    // Bits 4 to 9 of three bytes that begin two bytes into the difference: of element 1 after it.
    let packed = elements(Dtype::F6_E2M3, &difference(24, 0, 1 << 7));
    assert_eq!((packed[0].element, &packed[0].bits[..], packed[0].byte), (Some(33), &[1][..], 24));
    assert!(packed[0].sealed.json.is_null());
    let two = elements(Dtype::F16, &difference(0, 0, 1 | 1 << 63));
    assert_eq!((two[0].element, two[1].element, two[1].byte), (Some(0), Some(3), 7));
}

#[test]
fn an_explained_change_is_one_element() {
    let sealed = u64::from(1f32.to_bits());
    let explanation = Explanation {
        range: [0, 1 << 20],
        searched: SearchScope::Bits,
        differences: vec![difference(4096, sealed, sealed ^ 1 << 31)],
    };
    let place = pinpointed(vec![explanation], vec![], 100);
    let mut finding = Finding::new("integrity/tensor-changed", "it changed");
    describe_tensor(&mut finding, &tensor(Dtype::F32, &[100, 100]), &[&place]);
    assert_eq!(finding.message, "it changed; single bit flip: element 1024, bit 31, 1.0 -> -1.0");
    assert_eq!(finding.byte_range, Some([4099, 4100]));
    assert_eq!((finding.element_range, finding.row_range), (Some([1024, 1025]), Some([10, 11])));
    let change = json!({"byte": 4099, "element": 1024, "bits": [31], "sealed": 1.0, "found": -1.0});
    let pinpointed = &finding.evidence["pinpointed"];
    assert_eq!(pinpointed["changes"], json!([change]));
    assert_eq!((&pinpointed["bits_flipped"], &pinpointed["explained"]), (&json!(1), &json!(1)));
}

#[test]
fn what_is_not_explained_is_said() {
    let failed = |searched, range| Explanation { range, searched, differences: vec![] };
    let place = pinpointed(
        vec![failed(SearchScope::Chunk, [1024, 2048]), failed(SearchScope::Chunk, [4096, 5120])],
        vec![[8192, 9216]],
        0,
    );
    let mut finding = Finding::new("integrity/tensor-changed", "it changed");
    describe_tensor(&mut finding, &tensor(Dtype::U8, &[1 << 20]), &[&place]);
    assert_eq!(
        finding.message,
        "it changed; no one or two bit flips, no changed byte and no changed aligned 16-bit word explains bytes 1,024..2,048 or 1 more range; bytes 8,192..9,216 were not searched for bit flips"
    );
    assert_eq!(finding.byte_range, Some([1024, 9216]));
    let evidence = &finding.evidence["pinpointed"];
    assert_eq!(evidence["unexplained"], json!([[1024, 2048], [4096, 5120]]));
    assert_eq!(evidence["not_searched"], json!([[8192, 9216]]));
    assert_eq!(finding.evidence["ranges"], json!([[1024, 2048], [4096, 5120], [8192, 9216]]));

    let place = pinpointed(vec![failed(SearchScope::Bits, [0, 1000])], vec![], 50);
    let mut finding = Finding::new("integrity/header-changed", "it changed");
    describe_bytes(&mut finding, &[&place]);
    let message = "it changed; no single bit flip explains bytes 50..1,050";
    assert_eq!((&finding.message[..], finding.byte_range), (message, Some([50, 1050])));
}

#[test]
fn bytes_outside_tensors_have_their_place_in_the_file() {
    let explanation = Explanation {
        range: [0, 1000],
        searched: SearchScope::Bits,
        differences: vec![difference(8, 0x7B, 0x7A)],
    };
    let place = pinpointed(vec![explanation], vec![], 50);
    let mut finding = Finding::new("integrity/header-changed", "it changed");
    describe_bytes(&mut finding, &[&place]);
    let text = "it changed; single bit flip: byte 58, bit 0, 0x7b -> 0x7a";
    assert_eq!((&finding.message[..], finding.byte_range), (text, Some([58, 59])));
}
