//! The layers of `testdata/schemes`, which NumPy put together.

use super::*;
use crate::Weights;
use crate::reader::{self, Reader};
use std::path::{Path, PathBuf};
use tensorseal_engine::stream::files::FileSet;
use tensorseal_format::OpenOptions;

fn directory(name: &str) -> PathBuf {
    tensorseal_testing::testdata("schemes").join(name)
}

fn open(path: &Path) -> Checkpoint {
    let model = Checkpoint::open(path, &OpenOptions::default()).unwrap();
    assert_eq!(model.problems, []);
    model
}

/// A copy without the values, which are a model of their own.
fn layers(name: &str) -> (tempfile::TempDir, Checkpoint) {
    let copy = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "config.json"] {
        std::fs::copy(directory(name).join(file), copy.path().join(file)).unwrap();
    }
    let model = open(copy.path());
    (copy, model)
}

/// Every value of a weight, read `most` at a time.
fn values(model: &Checkpoint, weight: &Weight, most: usize) -> Vec<f64> {
    let plan = reader::plan(model, [weight].into_iter());
    let files = FileSet::new(&model.files, &plan);
    let reader = Reader::new(model, &files);
    let len = weight.elements().unwrap();
    let read = |first: u64| reader.read(weight, first, most.min((len - first) as usize)).unwrap();
    (0..len).step_by(most).flat_map(read).collect()
}

fn check(name: &str, kinds: &[&str]) {
    let (_copy, model) = layers(name);
    let weights = Weights::of(&model);
    assert!(weights.unread.is_empty(), "{name}: {:?}", weights.unread);
    let quantised: Vec<&Weight> =
        weights.weights.iter().filter(|weight| weight.tensor().is_none()).collect();
    let named: Vec<_> = quantised.iter().map(|weight| weight.stored_as(&model)).collect();
    assert_eq!(named, kinds, "{name}");
    let expected = open(&directory(name).join("values.safetensors"));
    let all = Weights::of(&expected);
    assert_eq!(all.weights.len(), quantised.len(), "{name}");
    for truth in &all.weights {
        let found = quantised.iter().find(|weight| weight.canonical == truth.name);
        let weight = found.unwrap_or_else(|| panic!("{name}: {} is not there", truth.name));
        assert_eq!(weight.shape, truth.shape, "{name}");
        let wanted = values(&expected, truth, 1 << 20);
        // Pieces that begin and end within rows.
        for most in [1 << 20, 512, 37] {
            let read = values(&model, weight, most);
            assert_eq!(read.len(), wanted.len());
            for (at, (read, wanted)) in read.iter().zip(&wanted).enumerate() {
                let near = (read - wanted).abs() <= 1e-6 * wanted.abs();
                assert!(near, "{name} {}, element {at}: {read}, not {wanted}", truth.name);
            }
        }
    }
}

#[test]
fn every_layout_stands_for_its_values() {
    check("gptq", &["gptq 4-bit"]);
    check("gptq-act-order", &["gptq 4-bit"]);
    check("gptq-8-bits", &["gptq 8-bit"]);
    check("awq", &["awq 4-bit"]);
    check("bitsandbytes-nf4", &["bitsandbytes nf4"]);
    check("bitsandbytes-nf4-nested", &["bitsandbytes nf4"]);
    check("bitsandbytes-fp4", &["bitsandbytes fp4"]);
    check("bitsandbytes-int8", &["bitsandbytes int8"]);
    check("fp8", &["fp8 with scales"; 3]);
    check("compressed-tensors", &["compressed-tensors 4-bit"]);
    check("compressed-tensors-asymmetric", &["compressed-tensors 4-bit"]);
    check("nvfp4", &["nvfp4"]);
    check("mxfp4", &["mxfp4"]);
}

#[test]
fn what_does_not_fit_is_taken_as_plain_integers() {
    use safetensors::tensor::{Dtype as Theirs, TensorView, serialize_to_file};
    let zeros = vec![0u8; 1 << 16];
    let unknown = |tensors: &[(&str, Theirs, &[usize])], config: &str| {
        let dir = tempfile::tempdir().unwrap();
        let views = tensors.iter().map(|(name, dtype, shape)| {
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (*name, TensorView::new(*dtype, shape.to_vec(), &zeros[..bytes]).unwrap())
        });
        serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let weights = Weights::of(&open(dir.path()));
        assert!(weights.weights.iter().all(|weight| weight.tensor().is_some()));
        weights.unread.into_iter().map(|unread| unread.reason).collect::<Vec<_>>()
    };
    let (words, halves) = (Theirs::I32, Theirs::F16);
    // Codes of three bits.
    let three = [
        ("a.qweight", words, &[12, 32][..]),
        ("a.scales", halves, &[2, 32]),
        ("a.qzeros", words, &[2, 3]),
    ];
    assert_eq!(unknown(&three, "{}"), ["codes of 3 bits are not known"]);
    let uneven = [
        ("a.qweight", words, &[8, 32][..]),
        ("a.scales", halves, &[2, 32]),
        ("a.qzeros", words, &[3, 4]),
    ];
    assert_eq!(unknown(&uneven, "{}"), ["the shapes of codes, scales and zero points do not fit"]);
    let other = [("a.codes", Theirs::U8, &[64, 128][..])];
    let config = r#"{"quantization_config": {"quant_method": "aqlm"}}"#;
    assert_eq!(unknown(&other, config), ["the layout of aqlm is not known"]);
    assert_eq!(unknown(&other, "{"), [""; 0]);
    let fp8 =
        [("a.weight", Theirs::F8_E4M3, &[8, 8][..]), ("a.weight_scale", Theirs::F32, &[3, 3, 3])];
    assert_eq!(unknown(&fp8, "{}"), ["the shape of the scales does not fit"]);
}
