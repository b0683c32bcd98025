//! Marks of other schemes: golden values from NumPy, wrong keys, and every refusal, through the library.

use crate::common::keys::*;
use crate::common::{noise, safetensors};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use tensorseal_core::judge::third_party::{ThirdPartyContext, intervals, judge};
use tensorseal_core::judge::watermark::{Detection, DetectionMode, Presence};
use tensorseal_core::watermark::key::WatermarkKey;
use tensorseal_core::watermark::third_party::{ThirdPartyKey, interval, measure};
use tensorseal_engine::Threads;
use tensorseal_engine::stream::progress::Progress;

fn golden(path: &str) -> Value {
    tensorseal_testing::json(&format!("watermark/{path}"))
}

fn count(found: &Detection, name: &str) -> u64 {
    found.evidence[name].as_u64().unwrap()
}

/// Fair signs.
fn random_signs(seed: u64, len: usize) -> Vec<i8> {
    noise(seed, len).iter().map(|byte| if byte & 1 == 0 { 1 } else { -1 }).collect()
}

/// Numbers of mean 0 and standard deviation 1, near enough to normal: sums of 12 bytes.
fn random_numbers(seed: u64, len: usize) -> Vec<f32> {
    let centred = |twelve: &[u8]| {
        let sum: f32 = twelve.iter().map(|byte| f32::from(*byte) - 127.5).sum();
        sum / (12.0f32 * (256.0 * 256.0 - 1.0) / 12.0).sqrt()
    };
    noise(seed, 12 * len).chunks_exact(12).map(centred).collect()
}

fn uchida_model(shape: &[u64], weights: &[f32]) -> Model {
    Model::new(&[Npy::floats(shape, weights).tensor("conv2.weight")])
}

fn uchida_parts(axis: u64) -> Value {
    json!([{ "tensor": "conv2.weight", "axis": axis, "projection": "X.npy", "bits": "b.npy" }])
}

fn uchida_key(scheme: &str, axis: u64, projection: &Npy) -> KeyFiles {
    let bits = Npy::golden("third_party/uchida_b.npy");
    KeyFiles::new(scheme, uchida_parts(axis), &[("X.npy", projection), ("b.npy", &bits)])
}

#[test]
fn uchida_is_read_as_numpy_reads_it() {
    let weights = Npy::golden("third_party/uchida_W_hwio.npy");
    let projection = Npy::golden("third_party/uchida_X.npy");
    let expected = &golden("third_party/golden.json")["uchida"];
    let flat = weights.as_floats();
    // The output channels last (HWIO), in a dense layer (in, out), and first.
    let rows = 576;
    let first: Vec<f32> =
        (0..64).flat_map(|out| (0..rows).map(move |row| row * 64 + out)).map(|i| flat[i]).collect();
    for (shape, weights, axis) in [
        (&[3, 3, 64, 64][..], &flat, 3),
        (&[576, 64], &flat, 1),
        (&[64, 3, 3, 64], &first, 0),
        (&[64, 576], &first, 0),
    ] {
        let model = uchida_model(shape, weights);
        for scheme in ["uchida", "deepmarks"] {
            let found = model.judge(&uchida_key(scheme, axis, &projection).read());
            assert_eq!((found.scheme, found.verdict), (scheme, Presence::Present));
            assert_eq!((count(&found, "matching"), count(&found, "bits")), (256, 256));
            let p = expected["p_exact_binomial_if_X_committed"].as_f64().unwrap();
            assert!((found.log10_p.unwrap() - p.log10()).abs() < 1e-9);
            let read = found.evidence["projections"].as_array().unwrap();
            let golden = expected["proj_first8"].as_array().unwrap();
            assert_eq!(read.len(), 8);
            for (read, golden) in read.iter().zip(golden) {
                let (read, golden) = (read.as_f64().unwrap(), golden.as_f64().unwrap());
                assert!((read - golden).abs() < 1e-5, "{read} is not {golden}");
            }
            assert_eq!(found.elements, 3 * 3 * 64 * 64);
            assert_eq!((found.z, found.mode, found.committed), (None, DetectionMode::Blind, false));
        }
    }
}

#[test]
fn another_matrix_reads_nothing_from_a_marked_layer() {
    let weights = Npy::golden("third_party/uchida_W_hwio.npy").as_floats();
    let model = uchida_model(&[3, 3, 64, 64], &weights);
    for seed in 0..20 {
        let other = Npy::floats(&[576, 256], &random_numbers(seed, 576 * 256));
        let found = model.judge(&uchida_key("uchida", 3, &other).read());
        assert_eq!(found.verdict, Presence::Absent, "seed {seed}");
        let matching = count(&found, "matching");
        assert!((128 - 48..=128 + 48).contains(&matching), "seed {seed}: {matching}");
    }
}

/// The original code draws keys of ones only: a layer of zeros, whose projections are all 0 and by
/// definition all 1, must not match them.
#[test]
fn a_layer_of_zeros_matches_nothing() {
    let ones = Npy::bytes(&[1; 64]);
    let projection = Npy::floats(&[12, 64], &random_numbers(1, 12 * 64));
    let arrays = [("X.npy", &projection), ("b.npy", &ones)];
    let files = KeyFiles::new("uchida", uchida_parts(0), &arrays);
    let key = files.read();
    let found = uchida_model(&[5, 12], &[0.0; 60]).judge(&key);
    assert_eq!((count(&found, "matching"), count(&found, "undecided")), (0, 64));
    assert_eq!((found.verdict, found.elements), (Presence::Absent, 0));
    // Weights that are not finite are zeros.
    let found = uchida_model(&[5, 12], &[f32::NAN; 60]).judge(&key);
    assert_eq!(count(&found, "undecided"), 64);
}

#[test]
fn a_key_of_ids_and_containers() {
    let projection = Npy::golden("third_party/uchida_X.npy");
    let bits = Npy::golden("third_party/uchida_b.npy");
    let base = uchida_key("uchida", 3, &projection);
    let id = base.read().id().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
    assert_eq!(base.read().scheme().name(), "uchida");
    // Neither names of files, nor the container, nor the note.
    let mut same = KeyFiles::new("uchida", uchida_parts(3), &[("b.npy", &bits)]);
    let file = safetensors(&[projection.tensor("a/b"), bits.tensor("bits")]);
    fs::write(same.dir.path().join("all.safetensors"), file).unwrap();
    same.descriptor["parts"][0]["projection"] = "all.safetensors#a/b".into();
    same.descriptor["note"] = "another".into();
    assert_eq!(same.read().id(), id);
    same.descriptor["parts"][0]["bits"] = "all.safetensors#bits".into();
    let key = same.read();
    assert_eq!(key.id(), id);
    let weights = Npy::golden("third_party/uchida_W_hwio.npy").as_floats();
    let found = uchida_model(&[3, 3, 64, 64], &weights).judge(&key);
    assert_eq!((count(&found, "matching"), found.key_id), (256, id.clone()));
    // But everything else.
    let mut others =
        vec![uchida_key("deepmarks", 3, &projection), uchida_key("uchida", 2, &projection)];
    let mut renamed = uchida_key("uchida", 3, &projection);
    renamed.descriptor["parts"][0]["tensor"] = "conv3.weight".into();
    others.push(renamed);
    let mut flipped = projection.clone();
    flipped.bytes[70_000] ^= 1;
    others.push(uchida_key("uchida", 3, &flipped));
    let mut other_bits = bits.clone();
    other_bits.bytes[255] ^= 1;
    let arrays = [("X.npy", &projection), ("b.npy", &other_bits)];
    others.push(KeyFiles::new("uchida", uchida_parts(3), &arrays));
    let mut ids: Vec<String> = others.iter().map(|key| key.read().id().to_owned()).collect();
    ids.push(id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

fn emmark_parts() -> Value {
    json!([{ "tensor": "q", "original": "q.npy", "positions": "pos.npy", "signs": "keys.npy" }])
}

fn emmark_key(parts: Value, original: &Npy, signs: &Npy) -> KeyFiles {
    let positions = Npy::golden("third_party/emmark_pos.npy");
    let arrays = [("q.npy", original), ("pos.npy", &positions), ("keys.npy", signs)];
    KeyFiles::new("emmark", parts, &arrays)
}

/// Eight codes of four bits in each word, the first in the lowest bits.
fn packed(codes: &Npy) -> Npy {
    let words = codes
        .bytes
        .chunks_exact(8)
        .map(|codes| codes.iter().rev().fold(0u32, |word, code| word << 4 | u32::from(*code)));
    let bytes = words.flat_map(u32::to_le_bytes).collect();
    Npy::new("<i4", &[codes.shape[0], codes.shape[1] / 8], bytes)
}

#[test]
fn emmark_is_read_from_codes_and_from_nibbles() {
    let marked = Npy::golden("third_party/emmark_q4_wm.npy");
    let original = Npy::golden("third_party/emmark_q4_orig.npy");
    let signs = Npy::golden("third_party/emmark_keys.npy");
    let expected = &golden("third_party/golden.json")["emmark_int4"];
    let nibbles = {
        let mut parts = emmark_parts();
        parts[0]["packing"] = "nibbles".into();
        parts
    };
    let models = [
        (Model::new(&[marked.tensor("q")]), emmark_parts(), vec![original.clone()]),
        // The original packed likewise, or one code an element.
        (Model::new(&[packed(&marked).tensor("q")]), nibbles, vec![packed(&original), original]),
    ];
    for (model, parts, originals) in models {
        for original in originals {
            let found = model.judge(&emmark_key(parts.clone(), &original, &signs).read());
            assert_eq!((found.verdict, found.mode), (Presence::Present, DetectionMode::Informed));
            assert_eq!((count(&found, "matching"), count(&found, "bits")), (100, 100));
            let p = expected["p_per_layer_100bits_binomial_half"].as_f64().unwrap();
            assert!((found.log10_p.unwrap() - p.log10()).abs() < 1e-9);
            assert!(!found.evidence.contains_key("projections"));
            // Other signs match half of the changes.
            for seed in 0..20 {
                let other = Npy::signs(&random_signs(seed, 100));
                let found = model.judge(&emmark_key(parts.clone(), &original, &other).read());
                assert_eq!(found.verdict, Presence::Absent, "seed {seed}");
            }
        }
    }
}

#[test]
fn an_unmarked_copy_of_the_original_has_no_changes() {
    let original = Npy::golden("third_party/emmark_q4_orig.npy");
    let signs = Npy::golden("third_party/emmark_keys.npy");
    let found = Model::new(&[original.tensor("q")])
        .judge(&emmark_key(emmark_parts(), &original, &signs).read());
    assert_eq!((count(&found, "matching"), found.log10_p), (0, Some(0.0)));
    assert_eq!(found.verdict, Presence::Absent);
}

/// Codes of any integer type, and changes that would wrap around.
#[test]
fn codes_have_the_sign_of_their_type() {
    let signs = Npy::signs(&[1, -1, 1, -1]);
    let places = Npy::integers(&[3, 1, 0, 2]);
    let judged = |descr: &str, marked: &[u8], original: &[u8]| {
        let width = descr[2..].parse::<usize>().unwrap();
        let shape = [(marked.len() / width) as u64];
        let model = Model::new(&[Npy::new(descr, &shape, marked.to_vec()).tensor("q")]);
        let original = Npy::new(descr, &shape, original.to_vec());
        let arrays = [("q.npy", &original), ("pos.npy", &places), ("keys.npy", &signs)];
        count(&model.judge(&KeyFiles::new("emmark", emmark_parts(), &arrays).read()), "matching")
    };
    // Place 3 must rise, 1 fall, 0 rise, 2 fall.
    assert_eq!(judged("|i1", &[0, 0xFF, 0x7E, 1], &[0xFF, 0, 0x7F, 0]), 4);
    // From 127 to -128 is no step of one, nor is it from 255 to 0.
    assert_eq!(judged("|i1", &[0x80, 0, 0, 0], &[0x7F, 0, 0, 0]), 0);
    assert_eq!(judged("|u1", &[0, 0, 0, 0], &[0xFF, 1, 1, 0]), 2);
    let words = |words: [i64; 4]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let (ours, theirs) = (words([i64::MIN, -1, 6, 1]), words([i64::MAX, 0, 7, 0]));
    assert_eq!(judged("<i8", &ours, &theirs), 3);
}

fn neuralmark_key(rounds: u64, key: &Npy) -> KeyFiles {
    let parts = json!([{ "tensor": "layer", "key": "K.npy", "rounds": rounds }]);
    KeyFiles::new("neuralmark", parts, &[("K.npy", key)])
}

#[test]
fn neuralmark_is_read_as_numpy_reads_it() {
    let expected = golden("neuralmark/golden.json");
    let key = Npy::golden("neuralmark/key.npy");
    let weights = Npy::golden("neuralmark/weight.npy");
    let model = Model::new(&[weights.tensor("layer")]);
    let mut files = neuralmark_key(2, &key);
    let found = model.judge(&files.read());
    assert_eq!(found.verdict, Presence::Present);
    assert_eq!(count(&found, "matching"), expected["matching"].as_u64().unwrap());
    assert_eq!((count(&found, "bits"), found.elements), (64, expected["kept"].as_u64().unwrap()));
    let read = found.evidence["projections"].as_array().unwrap();
    for (read, golden) in read.iter().zip(expected["projections"].as_array().unwrap()) {
        assert!((read.as_f64().unwrap() - golden.as_f64().unwrap()).abs() < 1e-9);
    }
    // The bits may be stated, but only the right ones; they are no part of what is committed to.
    let id = files.read().id().to_owned();
    let mut bits = Npy::golden("neuralmark/bits.npy");
    files.descriptor["parts"][0]["bits"] = "b.npy".into();
    fs::write(files.dir.path().join("b.npy"), bits.file()).unwrap();
    assert_eq!(files.read().id(), id);
    bits.bytes[17] ^= 1;
    fs::write(files.dir.path().join("b.npy"), bits.file()).unwrap();
    assert!(files.refusal().contains("b.npy is not the SHAKE-256 hash of K.npy"));
    // Another key reads noise, and so does another filter.
    let absent = |files: KeyFiles| {
        let found = model.judge(&files.read());
        assert_eq!(found.verdict, Presence::Absent, "{}", files.descriptor);
    };
    (0..20).for_each(|seed| {
        absent(neuralmark_key(2, &Npy::floats(&[64, 64], &random_numbers(seed, 64 * 64))));
    });
    absent(neuralmark_key(1, &key));
    absent(neuralmark_key(0, &key));
}

fn correlation_model(weights: &str) -> Model {
    Model::new(&[Npy::golden(weights).tensor("model.layers.0.mlp.weight")])
}

#[test]
fn normal_numbers_are_found_as_numpy_finds_them() {
    let expected = golden("correlations/golden.json");
    let xi = Npy::golden("correlations/xi.npy");
    let part = json!([{ "tensor": "layers.0.mlp.weight", "xi": "xi.npy" }]);
    let mut files = KeyFiles::new("gaussian", part, &[("xi.npy", &xi)]);
    files.descriptor["sigma"] = expected["sigma"].clone();
    let model = correlation_model("correlations/weight_normal.npy");
    let found = model.judge(&files.read());
    let z = expected["z_normal"].as_f64().unwrap();
    // Less what rounding xi to F32 can have added.
    assert!(found.z.unwrap() <= z && found.z.unwrap() > z - 1e-5, "{:?}", found.z);
    assert_eq!((found.verdict, found.groups.len(), found.elements), (Presence::Present, 1, 4096));
    let exact = tensorseal_core::judge::bounds::normal_tail_log10(z);
    assert!((found.log10_p.unwrap() - exact).abs() < 1e-3);
    // All tensors of a file, by their canonical names.
    let whole = safetensors(&[xi.tensor("layers.0.mlp.weight")]);
    fs::write(files.dir.path().join("xi.safetensors"), whole).unwrap();
    let id = files.read().id().to_owned();
    files.descriptor["parts"] = json!([{ "xi": "xi.safetensors" }]);
    let again = files.read();
    assert_eq!((again.id(), model.judge(&again).z), (&*id, found.z));
    // Other numbers.
    for seed in 0..20 {
        let other = Npy::floats(&[64, 64], &random_numbers(seed, 4096));
        let part = json!([{ "tensor": "layers.0.mlp.weight", "xi": "xi.npy" }]);
        let other = KeyFiles::new("gaussian", part, &[("xi.npy", &other)]);
        let found = model.judge(&other.read());
        // 4,096 elements: the strongest mark that is looked for would not show.
        assert!(found.z.unwrap().abs() < 5.0 && found.verdict == Presence::Inconclusive);
    }
}

/// 300 x 300 elements, where the strongest mark that is looked for would show.
#[test]
fn normal_numbers_of_another_key_are_absent() {
    let weights = Npy::floats(&[300, 300], &random_numbers(1, 90_000));
    let model = Model::new(&[weights.tensor("w")]);
    for seed in 2..12 {
        let xi = Npy::floats(&[300, 300], &random_numbers(seed, 90_000));
        let part = json!([{ "tensor": "w", "xi": "xi.npy" }]);
        let found = model.judge(&KeyFiles::new("gaussian", part, &[("xi.npy", &xi)]).read());
        assert_eq!(found.verdict, Presence::Absent, "seed {seed}");
        assert!(found.z.unwrap().abs() < 5.0);
    }
    // Shifted by one row they are independent of themselves.
    let mut shifted = random_numbers(1, 90_000);
    shifted.rotate_left(300);
    let xi = Npy::floats(&[300, 300], &shifted);
    let part = json!([{ "tensor": "w", "xi": "xi.npy" }]);
    let found = model.judge(&KeyFiles::new("gaussian", part, &[("xi.npy", &xi)]).read());
    assert_eq!(found.verdict, Presence::Absent);
}

#[test]
fn signs_are_found_as_numpy_finds_them() {
    let expected = golden("correlations/golden.json");
    let chips = Npy::golden("correlations/chips.npy");
    let some = Npy::golden("correlations/chips_at_positions.npy");
    let positions = Npy::golden("correlations/positions.npy");
    let name = "model.layers.0.mlp.weight";
    let arrays = [("c.npy", &chips), ("some.npy", &some), ("p.npy", &positions)];
    let all = KeyFiles::new("signs", json!([{ "tensor": name, "chips": "c.npy" }]), &arrays);
    let part = json!([{ "tensor": name, "chips": "some.npy", "positions": "p.npy" }]);
    let at_places = KeyFiles::new("signs", part, &arrays);
    let marked = correlation_model("correlations/weight_signs.npy");
    let unmarked = correlation_model("correlations/weight_normal.npy");
    for (files, model, z, elements) in [
        (&all, &marked, "z_signs", 4096),
        (&at_places, &marked, "z_signs_at_positions", 3000),
        (&all, &unmarked, "z_unmarked", 4096),
    ] {
        let found = model.judge(&files.read());
        let expected = expected[z].as_f64().unwrap();
        assert!((found.z.unwrap() - expected).abs() < 1e-9, "{z}: {:?}", found.z);
        assert_eq!(
            (found.elements, found.verdict == Presence::Present),
            (elements, expected > 6.5)
        );
        let bound = tensorseal_core::judge::bounds::signs_tail_log10(expected);
        assert!((found.log10_p.unwrap() - bound).abs() < 1e-6);
    }
}

/// 17 million elements in more pieces than are summed up together: every number of threads gives the
/// same bits, a mark shows, and the signs of another key do not.
#[test]
fn large_tensors_do_not_depend_on_threads() {
    let len = (256 * (1 << 16)) + 100_000;
    let chips = noise(7, len);
    let signs: Vec<i8> = chips.iter().map(|byte| if byte & 1 == 0 { 1 } else { -1 }).collect();
    // A byte of noise between -128 and 127, and a mark of 1 on it, in bfloat16: exact.
    let bytes = noise(8, len);
    let weights = bytes.iter().zip(&signs).flat_map(|(byte, sign)| {
        let weight = f32::from(*byte as i8) + f32::from(*sign);
        half::bf16::from_f32(weight).to_le_bytes()
    });
    let model = Model::new(&[("w", "BF16", &[len as u64], weights.collect())]);
    let key = |signs: &[i8]| {
        let part = json!([{ "tensor": "w", "chips": "c.npy" }]);
        KeyFiles::new("signs", part, &[("c.npy", &Npy::signs(signs))])
    };
    let files = key(&signs);
    let marked = files.read();
    let found: Vec<Detection> = [1, 2, 5]
        .iter()
        .map(|threads| {
            let progress = Progress::default();
            let measured =
                measure(&model.checkpoint, &marked, &Threads::new(*threads), &progress).unwrap();
            let (done, expected) = progress.position();
            assert_eq!(done, expected);
            judge("k", &measured, &ThirdPartyContext { keys: 1, committed: true })
        })
        .collect();
    assert_eq!((&found[0], &found[0]), (&found[1], &found[2]));
    let (sum, squares) = bytes.iter().zip(&signs).fold((0i64, 0i64), |(sum, squares), (b, s)| {
        let weight = i64::from(*b as i8) + i64::from(*s);
        (sum + weight * i64::from(*s), squares + weight * weight)
    });
    let z = sum as f64 / (squares as f64).sqrt();
    assert!((found[0].z.unwrap() - z).abs() < 1e-6 && z > 40.0, "{z}");
    assert_eq!((found[0].verdict, found[0].committed), (Presence::Present, true));
    let other = model.judge(&key(&random_signs(9, len)).read());
    assert_eq!(other.verdict, Presence::Absent);
    assert!(other.z.unwrap().abs() < 5.0);
}

/// Places in any order, in a tensor of many windows: the sum over all of them is that of the whole.
#[test]
fn places_may_come_in_any_order() {
    let len = 200_000;
    let weights = Npy::floats(&[len], &random_numbers(1, len as usize));
    let model = Model::new(&[weights.tensor("w"), Npy::integers(&vec![7; 20_000]).tensor("q")]);
    let signs = random_signs(2, len as usize);
    // 77,777 has no factor in common with 200,000.
    let places: Vec<i64> = (0..len as i64).map(|i| i * 77_777 % len as i64).collect();
    let turned: Vec<i8> = places.iter().map(|place| signs[*place as usize]).collect();
    let (whole, turned) = (Npy::signs(&signs), Npy::signs(&turned));
    let places = Npy::integers(&places);
    let arrays = [("all.npy", &whole), ("c.npy", &turned), ("p.npy", &places)];
    let judged = |part: Value| model.judge(&KeyFiles::new("signs", json!([part]), &arrays).read());
    let by_place = judged(json!({ "tensor": "w", "chips": "c.npy", "positions": "p.npy" }));
    let whole = judged(json!({ "tensor": "w", "chips": "all.npy" }));
    assert!((by_place.z.unwrap() - whole.z.unwrap()).abs() < 1e-9);
    assert_eq!(by_place.elements, whole.elements);
    // Codes of eight bytes, the original with some of them one lower or higher.
    let places: Vec<i64> = (0..1000).map(|i| i * 7777 % 20_000).collect();
    let mut original = vec![7; 20_000];
    for (place, sign) in places.iter().zip(&signs) {
        original[*place as usize] -= i64::from(*sign) * (place % 3);
    }
    let expected = places.iter().filter(|place| *place % 3 == 1).count() as u64;
    let (original, places) = (Npy::integers(&original), Npy::integers(&places));
    let signs = Npy::signs(&signs[..1000]);
    let arrays = [("q.npy", &original), ("pos.npy", &places), ("keys.npy", &signs)];
    let found = model.judge(&KeyFiles::new("emmark", emmark_parts(), &arrays).read());
    assert_eq!((count(&found, "matching"), count(&found, "bits")), (expected, 1000));
}

/// A model of one tensor of these rows.
fn rows(name: &str, columns: u64, values: &[f32]) -> Model {
    let shape = [values.len() as u64 / columns, columns];
    Model::new(&[Npy::floats(&shape, values).tensor(name)])
}

/// Weights, and the same moved by up to a third of a step: within their intervals, or anywhere.
fn moved(len: usize, columns: usize, within: bool) -> (Vec<f32>, Vec<f32>) {
    let mut base = random_numbers(1, len);
    // The largest of each row comes first: in a long row, in another piece than the last.
    base.iter_mut().step_by(columns).for_each(|first| *first = 6.0);
    let noise = random_numbers(2, len);
    let mut ours = base.clone();
    for (base, (ours, noise)) in
        base.chunks(columns).zip(ours.chunks_mut(columns).zip(noise.chunks(columns)))
    {
        let largest = base.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let step = f64::from(largest) / 127.0;
        for ((ours, base), noise) in ours.iter_mut().zip(base).zip(noise) {
            let place = f64::from(*base) / step;
            let to = place + 0.3 * f64::from(noise.clamp(-1.0, 1.0));
            // What has the largest code stays, and with it the step.
            if place.abs() < 126.5 && !(within && (to - place.round()).abs() > 0.45) {
                *ours = (to * step) as f32;
            }
        }
    }
    (base, ours)
}

#[test]
fn weights_that_stay_in_their_intervals_are_a_warning() {
    // Many short rows, and two that are longer than a piece.
    for columns in [100, 150_000] {
        let (base, inside) = moved(300_000, columns as usize, true);
        let (_, anywhere) = moved(300_000, columns as usize, false);
        let base = rows("model.layers.0.weight", columns, &base);
        let compare = |ours: &[f32], threads| {
            let ours = rows("layers.0.weight", columns, ours);
            let progress = Progress::default();
            let found = interval::measure(
                &ours.checkpoint,
                &base.checkpoint,
                &Threads::new(threads),
                &progress,
            )
            .unwrap();
            let (done, expected) = progress.position();
            assert_eq!(done, expected);
            found
        };
        let found = compare(&inside, 2);
        assert_eq!(found, compare(&inside, 1));
        let (detection, findings) = intervals(&found, "blake3:root");
        assert_eq!((detection.verdict, detection.log10_p), (Presence::Inconclusive, None));
        assert_eq!((detection.scheme, &*detection.key_id), ("interval", "blake3:root"));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].rule, "watermark/inside-intervals");
        assert_eq!(findings[0].tensor.as_deref(), Some("layers.0.weight"));
        assert_eq!(findings[0].evidence["codes_changed"], 0);
        let expected = findings[0].evidence["codes_expected_to_change"].as_f64().unwrap();
        assert!(expected > 20_000.0, "{expected}");
        let (detection, findings) = intervals(&compare(&anywhere, 2), "blake3:root");
        assert_eq!((detection.verdict, findings.len()), (Presence::Absent, 0));
        // About as many codes changed as were expected to.
        let changed = count(&detection, "codes_changed") as f64;
        let expected = detection.evidence["codes_expected_to_change"].as_f64().unwrap();
        assert!((changed / expected - 1.0).abs() < 0.05, "{changed} of {expected}");
    }
}

#[test]
fn other_reasons_for_equal_codes_are_no_warning() {
    let (base, _) = moved(300_000, 100, true);
    let model = rows("w", 100, &base);
    let compare = |ours: &Model| {
        let progress = Progress::default();
        let found =
            interval::measure(&ours.checkpoint, &model.checkpoint, &2.into(), &progress).unwrap();
        intervals(&found, "root")
    };
    // The same model: nothing can be said, and that is said.
    let (detection, findings) = compare(&rows("w", 100, &base));
    let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(
        (detection.verdict, rules),
        (Presence::Inconclusive, vec!["watermark/inconclusive"])
    );
    // Quantised and scaled back.
    let back: Vec<f32> = base
        .chunks(100)
        .flat_map(|row| {
            let step = row.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0;
            row.iter().map(move |w| (w / step).round() * step).collect::<Vec<f32>>()
        })
        .collect();
    let (detection, findings) = compare(&rows("w", 100, &back));
    assert_eq!((detection.verdict, findings.len()), (Presence::Absent, 0));
    assert_eq!(count(&detection, "tensors_quantised_and_scaled_back"), 1);
    // Cast to bfloat16: codes change as often as expected.
    let cast = base.iter().flat_map(|w| half::bf16::from_f32(*w).to_le_bytes()).collect();
    let (detection, findings) = compare(&Model::new(&[("w", "BF16", &[3000, 100], cast)]));
    assert_eq!((detection.verdict, findings.len()), (Presence::Absent, 0));
    // No tensor in common: another shape, integers, one dimension.
    let others =
        [Npy::floats(&[100, 3000], &base), Npy::floats(&[300_000], &base), Npy::bytes(&[1; 100])];
    let others: Vec<_> =
        others.iter().zip(["w", "v", "u"]).map(|(array, name)| array.tensor(name)).collect();
    let (detection, _) = compare(&Model::new(&others));
    assert_eq!((count(&detection, "tensors"), detection.elements), (0, 0));
}

#[test]
fn several_parts_are_one_key() {
    let names = ["a.weight", "b.weight"];
    let signs = [random_signs(1, 5000), random_signs(2, 5000)];
    let marked: Vec<Npy> = signs
        .iter()
        .zip(3..)
        .map(|(signs, seed)| {
            let noise = random_numbers(seed, 5000);
            let weights: Vec<f32> =
                noise.iter().zip(signs).map(|(w, s)| w + 0.1 * f32::from(*s)).collect();
            Npy::floats(&[50, 100], &weights)
        })
        .collect();
    let model = Model::new(&[marked[0].tensor(names[0]), marked[1].tensor(names[1])]);
    let part = |i: usize| json!({ "tensor": names[i], "chips": format!("c{i}.npy") });
    let arrays = signs.map(|signs| Npy::signs(&signs));
    let arrays = [("c0.npy", &arrays[0]), ("c1.npy", &arrays[1])];
    let judged = |parts: Value| model.judge(&KeyFiles::new("signs", parts, &arrays).read());
    let both = judged(json!([part(0), part(1)]));
    let one = judged(json!([part(0)]));
    assert_eq!((both.groups.len(), both.elements), (2, 10_000));
    assert_eq!(both.groups[0].z, one.groups[0].z);
    let (first, second) = (both.groups[0].z.unwrap(), both.groups[1].z.unwrap());
    // The two norms are about the same.
    assert!((both.z.unwrap() - (first + second) / 2f64.sqrt()).abs() < 0.1);
    assert!(both.log10_p < one.log10_p && both.verdict == Presence::Present);
}

/// What two parts share would be counted twice.
#[test]
fn parts_share_nothing_that_must_be_independent() {
    let signs = Npy::signs(&random_signs(1, 100));
    let other = Npy::signs(&random_signs(2, 100));
    let part = |chips: &str| json!({ "tensor": "w", "chips": chips });
    let arrays = [("a.npy", &signs), ("copy.npy", &signs), ("b.npy", &other)];
    let refusal = |second: &str, scheme: &str| {
        let files = KeyFiles::new(scheme, json!([part("a.npy"), part(second)]), &arrays);
        symlink("a.npy", files.dir.path().join("link.npy")).unwrap();
        files.try_read().err().map(|error| error.to_string())
    };
    assert_eq!(refusal("b.npy", "signs"), None);
    for second in ["a.npy", "copy.npy", "link.npy"] {
        let said = refusal(second, "signs").unwrap();
        assert!(said.contains(second) && said.contains("also used by another part"), "{said}");
    }
    // What is seen to be the same is not read again, by whatever names: a key could have thousands.
    let files = KeyFiles::new("signs", json!([part("a.npy"), part("link.npy")]), &arrays);
    symlink("a.npy", files.dir.path().join("link.npy")).unwrap();
    assert!(files.try_read().is_err());
    let progress = Progress::default();
    assert!(ThirdPartyKey::read_watched(&files.path(), &progress).is_err());
    assert_eq!(progress.position(), (100, 100));
}

#[test]
fn arrays_that_cannot_be_used_are_refused() {
    let projection = Npy::floats(&[4, 8], &[1.0; 32]);
    let bits = Npy::bytes(&[0, 1, 0, 1, 0, 1, 0, 1]);
    let sound = || {
        let arrays = [("X.npy", &projection), ("b.npy", &bits)];
        KeyFiles::new("uchida", uchida_parts(0), &arrays)
    };
    sound().read();
    let with = |change: &dyn Fn(&mut KeyFiles)| {
        let mut files = sound();
        change(&mut files);
        files.refusal()
    };
    let named =
        |name: &str| with(&|files| files.descriptor["parts"][0]["projection"] = name.into());
    let array = |array: Npy| {
        with(&|files| fs::write(files.dir.path().join("X.npy"), array.file()).unwrap())
    };
    let bit =
        |bits: Npy| with(&|files| fs::write(files.dir.path().join("b.npy"), bits.file()).unwrap());
    let nan = [1.0, f32::NAN];
    let mut not_finite = vec![1.0; 24];
    not_finite.extend(nan.repeat(4));
    for (said, expected) in [
        (named("../X.npy"), "not a plain file name"),
        (named("/etc/X.npy"), "not a plain file name"),
        (named("./X.npy"), "not a plain file name"),
        (named("sub/X.npy"), "not a plain file name"),
        (named("sub\\X.npy"), "not a plain file name"),
        (named("..npy/.npy"), "not a plain file name"),
        (named("X\0.npy"), "not a plain file name"),
        (named("missing.npy"), "cannot be read: No such file"),
        (named(""), "neither NAME.npy nor"),
        (named("X.txt"), "neither NAME.npy nor"),
        (named("../X.safetensors#x"), "not a plain file name"),
        (named("X.npy#x"), "neither NAME.npy nor"),
        (named("X.safetensors"), "neither NAME.npy nor"),
        (
            array(Npy::floats(&[32], &[1.0; 32])),
            "X.npy has the shape [32], but a matrix of at most",
        ),
        (array(Npy::floats(&[0, 8], &[])), "a non-empty array"),
        (array(Npy::new("<f4", &[1 << 24, 1 << 40], Vec::new())), "overflows"),
        (array(Npy::floats(&[4, 8], &not_finite)), "element 25 is not a finite number"),
        (array(Npy::new("<c8", &[4, 8], vec![0; 256])), "type C64; a number is needed"),
        (array(Npy::floats(&[4, 7], &[1.0; 28])), "one bit for each of the 7 columns"),
        (
            bit(Npy::bytes(&[0, 1, 2, 1, 0, 1, 0, 1])),
            "b.npy is invalid: element 2 is neither 0 nor 1",
        ),
        (bit(Npy::bytes(&[0, 1])), "has the shape [2], but one bit for each of the 8"),
        (
            bit(Npy::new("|u1", &[65_537, 1], vec![0; 65_537])),
            "at most 65536 elements are supported",
        ),
        (
            array(Npy::new("|u1", &[1, 65_537], vec![1; 65_537])),
            "a matrix of at most 16777216 x 65536",
        ),
        (
            array(Npy::new("|u1", &[(1 << 24) + 1, 1], vec![1; (1 << 24) + 1])),
            "a matrix of at most",
        ),
        (
            with(&|files| files.descriptor["parts"][0]["tensor"] = "x".repeat(70_000).into()),
            "longer than 65536 bytes",
        ),
        (with(&|files| fs::write(files.dir.path().join("X.npy"), "no").unwrap()), "not an .npy"),
        (
            with(&|files| {
                fs::write(files.dir.path().join("y.safetensors"), "no").unwrap();
                files.descriptor["parts"][0]["projection"] = "y.safetensors#x".into();
            }),
            "not a valid safetensors file",
        ),
        (
            with(&|files| {
                let file = safetensors(&[projection.tensor("y")]);
                fs::write(files.dir.path().join("y.safetensors"), file).unwrap();
                files.descriptor["parts"][0]["projection"] = "y.safetensors#x".into();
            }),
            "y.safetensors#x does not exist: the file has no tensor of this name",
        ),
    ] {
        assert!(said.contains(expected), "{said} is not {expected}");
        assert!(said.contains("key.json"), "{said}");
    }
}

#[test]
fn links_stay_in_the_directory_of_the_key() {
    let projection = Npy::floats(&[4, 8], &random_numbers(1, 32));
    let bits = Npy::bytes(&[0, 1, 0, 1, 0, 1, 0, 1]);
    let files = KeyFiles::new("uchida", uchida_parts(0), &[("b.npy", &bits)]);
    let outside = tempfile::tempdir().unwrap();
    let there = outside.path().join("X.npy");
    fs::write(&there, projection.file()).unwrap();
    let link = files.dir.path().join("X.npy");
    symlink(&there, &link).unwrap();
    assert!(files.refusal().contains("leads out of the directory of the key"));
    fs::remove_file(&link).unwrap();
    // Within it, and the key itself by a link.
    fs::write(files.dir.path().join("store.npy"), projection.file()).unwrap();
    symlink("store.npy", &link).unwrap();
    files.read();
    fs::remove_file(&link).unwrap();
    symlink(files.dir.path(), &link).unwrap();
    assert!(files.refusal().contains("not a regular file"));
    // A FIFO must not hang.
    fs::remove_file(&link).unwrap();
    let path = std::ffi::CString::new(link.to_str().unwrap()).unwrap();
    // SAFETY: a valid path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    assert!(files.refusal().contains("not a regular file"));
}

#[test]
fn every_scheme_refuses_what_does_not_fit_it() {
    let signs = Npy::signs(&random_signs(1, 4));
    let codes = Npy::bytes(&[0; 16]);
    let emmark = |places: &Npy, signs: &Npy, original: &Npy| {
        let arrays = [("q.npy", original), ("pos.npy", places), ("keys.npy", signs)];
        KeyFiles::new("emmark", emmark_parts(), &arrays).refusal()
    };
    let neural = |key: &Npy, rounds: u64| neuralmark_key(rounds, key).refusal();
    let gaussian = |xi: &Npy, sigma: f64| {
        let part = json!([{ "tensor": "w", "xi": "xi.npy" }]);
        let mut files = KeyFiles::new("gaussian", part, &[("xi.npy", xi)]);
        files.descriptor["sigma"] = sigma.into();
        files.refusal()
    };
    let numbers = random_numbers(1, 1000);
    let normal = Npy::floats(&[1000], &numbers);
    let large: Vec<f32> = numbers.iter().map(|x| x * 1.4).collect();
    let halves = Npy::new("<f2", &[1000], vec![0; 2000]);
    let infinite = Npy::floats(&[2], &[1.0, f32::INFINITY]);
    let square = Npy::floats(&[8, 8], &random_numbers(2, 64));
    for (said, expected) in [
        (
            emmark(&Npy::integers(&[0, 1, 2, 1]), &signs, &codes),
            "pos.npy contains the position 1 twice",
        ),
        (emmark(&Npy::integers(&[0, 1, 2, -1]), &signs, &codes), "element 3 is negative"),
        (
            emmark(&Npy::integers(&[0, 1, 2, 16]), &signs, &codes),
            "the position 16, but the original has at most 16",
        ),
        (
            emmark(&Npy::integers(&[0, 1, 2, i64::MAX]), &signs, &codes),
            "the original has at most 16",
        ),
        (
            emmark(&Npy::integers(&[0, 1, 2]), &signs, &codes),
            "one position for each of the 4 signs",
        ),
        (emmark(&normal, &signs, &codes), "an integer is needed"),
        (
            emmark(&Npy::integers(&[0, 1, 2, 3]), &Npy::bytes(&[0, 1, 1, 1]), &codes),
            "neither -1 nor 1",
        ),
        (emmark(&Npy::integers(&[0, 1, 2, 3]), &signs, &normal), "an integer is needed"),
        (neural(&Npy::new("<f8", &[8, 8], vec![0; 512]), 1), "F32 is needed"),
        (neural(&Npy::floats(&[8, 7], &[1.0; 56]), 1), "not a multiple of 8"),
        (neural(&square, 65), "more than 64 filter rounds"),
        (gaussian(&halves, 1.0), "F32 or F64 is needed"),
        (gaussian(&infinite, 1.0), "element 1 is not a finite number"),
        (gaussian(&normal, 2.0), "which does not fit normal numbers of sigma 2e0"),
        (gaussian(&Npy::floats(&[1000], &large), 1.0), "set the sigma that they were drawn with"),
        (gaussian(&Npy::floats(&[1000], &[0.0; 1000]), 1.0), "does not fit normal numbers"),
        (gaussian(&normal, 0.0), "sigma is not a positive number"),
        (gaussian(&normal, -1.0), "sigma is not a positive number"),
    ] {
        assert!(said.contains(expected), "{said} is not {expected}");
    }
    // Without a tensor, only a whole file will do.
    let files = KeyFiles::new("gaussian", json!([{ "xi": "xi.npy" }]), &[("xi.npy", &normal)]);
    assert!(files.refusal().contains("neither NAME.npy nor"));
}

#[test]
fn tensors_that_do_not_fit_are_told_apart() {
    let projection = Npy::floats(&[12, 8], &random_numbers(1, 96));
    let bits = Npy::bytes(&[1; 8]);
    let said = |model: &Model, key: &KeyFiles| model.measure(&key.read()).unwrap_err().to_string();
    let uchida = |axis| {
        let arrays = [("X.npy", &projection), ("b.npy", &bits)];
        KeyFiles::new("uchida", uchida_parts(axis), &arrays)
    };
    let floats = |name, shape: &[u64]| {
        let len = shape.iter().product::<u64>() as usize;
        Model::new(&[Npy::floats(shape, &vec![1.0; len]).tensor(name)])
    };
    let layer = "conv2.weight";
    let integers = Model::new(&[Npy::bytes(&[1; 60]).tensor(layer)]);
    let signs = Npy::signs(&random_signs(1, 4));
    let emmark = |places: &[i64], original: &Npy, packing: &str| {
        let places = Npy::integers(places);
        let arrays = [("q.npy", original), ("pos.npy", &places), ("keys.npy", &signs)];
        let mut files = KeyFiles::new("emmark", emmark_parts(), &arrays);
        files.descriptor["parts"][0]["packing"] = packing.into();
        files
    };
    let words = Npy::new("<i4", &[4], vec![0; 16]);
    let codes = Npy::bytes(&[0; 4]);
    let coded = |array: &Npy| Model::new(&[array.tensor("q")]);
    let chips = |places: Option<&Npy>| {
        let mut part = json!([{ "tensor": layer, "chips": "c.npy" }]);
        let mut arrays = vec![("c.npy", &signs)];
        if let Some(places) = places {
            part[0]["positions"] = "p.npy".into();
            arrays.push(("p.npy", places));
        }
        KeyFiles::new("signs", part, &arrays)
    };
    let places = Npy::integers(&[0, 1, 2, 60]);
    let xi = Npy::floats(&[20, 50], &random_numbers(1, 1000));
    let part = json!([{ "tensor": layer, "xi": "xi.npy" }]);
    let normal = KeyFiles::new("gaussian", part, &[("xi.npy", &xi)]);
    let square = Npy::floats(&[64, 64], &random_numbers(2, 4096));
    let neural = |rounds| {
        let mut files = neuralmark_key(rounds, &square);
        files.descriptor["parts"][0]["tensor"] = layer.into();
        files
    };
    for (said, expected) in [
        (said(&floats("other", &[5, 12]), &uchida(0)), "no readable tensor 'conv2.weight'"),
        (said(&integers, &uchida(0)), "elements of type U8; the scheme marks floating-point"),
        (
            said(&floats(layer, &[5, 12]), &uchida(2)),
            "[5, 12] does not fit the key: it has no axis 2",
        ),
        (
            said(&floats(layer, &[5, 12]), &uchida(1)),
            "it has 5 elements, but the matrix X.npy has 12 rows",
        ),
        (said(&floats(layer, &[5, 12]), &uchida(u64::MAX)), "it has no axis"),
        (said(&floats("q", &[4]), &emmark(&[0, 1, 2, 3], &codes, "codes")), "marks integers"),
        (
            said(&coded(&words), &emmark(&[0, 1, 2, 3], &codes, "nibbles")),
            "it has 32 codes in 4 elements",
        ),
        (
            said(&coded(&Npy::bytes(&[0; 5])), &emmark(&[0, 1, 2, 3], &codes, "codes")),
            "it has 5 codes",
        ),
        (
            said(
                &coded(&words),
                &emmark(&[0, 1, 2, 32], &Npy::new("<i8", &[4], vec![0; 32]), "nibbles"),
            ),
            "it has 32 codes in 4 elements, but the original q.npy has 4 elements of I64",
        ),
        (said(&floats(layer, &[5, 12]), &chips(None)), "it has 60 elements, but c.npy has 4 signs"),
        (said(&floats(layer, &[5, 12]), &chips(Some(&places))), "the key names element 60"),
        (said(&floats(layer, &[50, 20]), &normal), "xi.npy has the shape [20, 50]"),
        (said(&floats(layer, &[63]), &neural(0)), "keep 63 of its 63 elements"),
        (said(&floats(layer, &[1000]), &neural(4)), "4 rounds of the filter keep"),
    ] {
        assert!(said.contains(expected), "{said} is not {expected}");
    }
}

#[test]
fn what_changes_is_never_judged() {
    let projection = Npy::floats(&[12, 8], &random_numbers(1, 96));
    let bits = Npy::bytes(&[1; 8]);
    let files =
        KeyFiles::new("uchida", uchida_parts(0), &[("X.npy", &projection), ("b.npy", &bits)]);
    let model = uchida_model(&[5, 12], &random_numbers(2, 60));
    let key = files.read();
    model.measure(&key).unwrap();
    let stopped = Progress::default();
    stopped.stop();
    let said = measure(&model.checkpoint, &key, &1.into(), &stopped).unwrap_err().to_string();
    assert_eq!(said, "interrupted");
    let said = ThirdPartyKey::read_watched(&files.path(), &stopped).unwrap_err().to_string();
    assert_eq!(said, "interrupted");
    // An array of the key is replaced after it was read.
    let there = files.dir.path().join("X.npy");
    fs::remove_file(&there).unwrap();
    fs::write(&there, Npy::floats(&[12, 8], &random_numbers(3, 96)).file()).unwrap();
    let said = model.measure(&key).unwrap_err().to_string();
    assert!(said.contains("X.npy changed while it was being read"), "{said}");
    // And the model after it was opened.
    let key = files.read();
    let file = fs::read(model.path()).unwrap();
    fs::write(model.path(), [&file[..], b"more"].concat()).unwrap();
    let said = model.measure(&key).unwrap_err().to_string();
    assert!(said.contains("model.safetensors changed while it was being read"), "{said}");
}

#[test]
fn keys_are_told_apart_by_their_scheme() {
    // A native key where another was expected.
    let dir = tempfile::tempdir().unwrap();
    let native = dir.path().join("native.json");
    WatermarkKey::generate().unwrap().write_new(&native, "").unwrap();
    let said = ThirdPartyKey::read(&native).unwrap_err().to_string();
    assert!(said.contains("scheme ts-spread/1: give --scheme ts-spread/1"), "{said}");
    // And the other way round, also where others may read the key.
    let signs = Npy::signs(&random_signs(1, 4));
    let part = json!([{ "tensor": "w", "chips": "c.npy" }]);
    let mut files = KeyFiles::new("signs", part, &[("c.npy", &signs)]);
    files.read();
    let said = WatermarkKey::read(&files.path()).unwrap_err().to_string();
    assert!(said.contains("scheme \"signs\"") && said.contains("give --scheme signs"), "{said}");
    // What needs the model to be run, what is not known, and what has no key.
    for (scheme, expected) in [
        ("deepsigns", "cannot be checked from weights alone: its bits are in the mean activations"),
        ("gaussmark-text", "cannot be checked from weights alone"),
        ("elsewhere", "unknown scheme; supported schemes are uchida, deepmarks"),
        ("interval", "the scheme interval has no key"),
    ] {
        files.descriptor["scheme"] = scheme.into();
        let said = files.refusal();
        assert!(said.contains(expected), "{said} is not {expected}");
    }
}

/// A key of each scheme, and a model that it fits.
fn small_keys() -> (Model, Vec<KeyFiles>) {
    let layer = Npy::floats(&[10, 20], &random_numbers(1, 200));
    let codes = Npy::bytes(&[7; 40]);
    let model = Model::new(&[layer.tensor("w"), codes.tensor("q")]);
    let matrix = Npy::floats(&[20, 8], &random_numbers(2, 160));
    let bits = Npy::bytes(&[0, 1, 1, 0, 1, 0, 0, 1]);
    let xi = Npy::floats(&[10, 20], &random_numbers(3, 200));
    let chips = Npy::signs(&random_signs(4, 200));
    let some = Npy::signs(&random_signs(5, 3));
    let places = Npy::integers(&[5, 39, 17]);
    let part = |scheme: &str, part: Value, arrays: &[(&str, &Npy)]| {
        KeyFiles::new(scheme, json!([part]), arrays)
    };
    let keys = vec![
        part(
            "uchida",
            json!({ "tensor": "w", "axis": 0, "projection": "X.npy", "bits": "b.npy" }),
            &[("X.npy", &matrix), ("b.npy", &bits)],
        ),
        part(
            "emmark",
            json!({ "tensor": "q", "original": "q.npy", "positions": "p.npy", "signs": "s.npy" }),
            &[("q.npy", &codes), ("p.npy", &places), ("s.npy", &some)],
        ),
        part(
            "neuralmark",
            json!({ "tensor": "w", "key": "K.npy", "rounds": 1 }),
            &[("K.npy", &matrix)],
        ),
        part("gaussian", json!({ "tensor": "w", "xi": "xi.npy" }), &[("xi.npy", &xi)]),
        part("signs", json!({ "tensor": "w", "chips": "c.npy" }), &[("c.npy", &chips)]),
        part(
            "signs",
            json!({ "tensor": "w", "chips": "s.npy", "positions": "p.npy" }),
            &[("s.npy", &some), ("p.npy", &places)],
        ),
    ];
    (model, keys)
}

/// What is found with a key of any scheme is what the schema of reports says a detection is.
#[test]
fn detections_keep_to_the_published_schema() {
    let schema = tensorseal_testing::schema("tensorseal.report.2");
    let of_detections = json!({ "$defs": schema["$defs"], "$ref": "#/$defs/detection" });
    let validator = jsonschema::validator_for(&of_detections).unwrap();
    let (model, keys) = small_keys();
    let mut found: Vec<Detection> = keys.iter().map(|key| model.judge(&key.read())).collect();
    let progress = Progress::default();
    let same =
        interval::measure(&model.checkpoint, &model.checkpoint, &1.into(), &progress).unwrap();
    found.push(intervals(&same, &format!("blake3:{}", "5".repeat(64))).0);
    for found in found {
        let document = serde_json::to_value(&found).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{document}: {errors:?}");
    }
}

/// Every array of every scheme with some bytes changed, put in or taken out: the key is read or refused,
/// and what is read measures without a panic.
#[test]
fn hostile_arrays_never_panic() {
    let (model, keys) = small_keys();
    for files in &keys {
        model.judge(&files.read());
        let arrays: Vec<_> = fs::read_dir(files.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "npy"))
            .collect();
        let (mut read, mut refused) = (0, 0);
        for path in arrays {
            let sound = fs::read(&path).unwrap();
            for seed in 0..200 {
                let random = noise(seed, 8);
                let at = usize::from(u16::from_le_bytes([random[0], random[1]])) % sound.len();
                let cut = usize::from(random[2] % 4).min(sound.len() - at);
                let mut near = sound.clone();
                near.splice(
                    at..at + cut,
                    random[3..3 + usize::from(random[3] % 4)].iter().copied(),
                );
                fs::write(&path, near).unwrap();
                match files.try_read() {
                    Ok(key) => {
                        read += 1;
                        let _ = model.measure(&key).map(|found| {
                            judge(
                                key.id(),
                                &found,
                                &ThirdPartyContext { keys: 1, committed: false },
                            )
                        });
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().contains('\n'), "{error}");
                    }
                }
            }
            fs::write(&path, sound).unwrap();
        }
        assert!(refused > 100 && read > 0, "{read} read, {refused} refused");
    }
}
