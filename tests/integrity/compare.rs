//! Comparing two models, through the program: every difference is told once, by the weight it is in.

use crate::common::random::Random;
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Values that BF16 and F16 hold exactly.
fn exact(len: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 37) % 61) as f32 * 0.25 - 7.5).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn brain_floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect()
}

/// A matrix, a vector and a number.
fn tensors() -> Vec<Tensor<'static>> {
    vec![
        ("model.layers.0.weight", "F32", &[64, 32], floats(&exact(64 * 32))),
        ("model.layers.0.bias", "F32", &[64], floats(&exact(64))),
        ("steps", "I64", &[], 5i64.to_le_bytes().to_vec()),
    ]
}

/// A model, and beside it another with these tensors.
struct Pair {
    _directory: TempDir,
    first: PathBuf,
    second: PathBuf,
}

impl Pair {
    fn new(first: &[Tensor], second: &[Tensor]) -> Pair {
        let directory = TempDir::new().unwrap();
        let [first, second] = [("first", first), ("second", second)]
            .map(|(name, tensors)| write_model(&directory.path().join(name), tensors));
        Pair { _directory: directory, first, second }
    }

    fn changed(change: impl FnOnce(&mut Vec<Tensor<'static>>)) -> Pair {
        let mut second = tensors();
        change(&mut second);
        Pair::new(&tensors(), &second)
    }

    /// Exit code and report, which the schema has passed.
    fn compare(&self) -> (i32, Value) {
        report(&["compare", arg(&self.first), arg(&self.second)])
    }
}

/// The rules of a report with the places they point to, remarks aside; `code` is expected.
fn expect(pair: &Pair, code: i32, relation: &str, expected: &[(&str, &str)]) -> Value {
    let (got, report) = pair.compare();
    let expected: Vec<_> =
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(rules(&report), expected, "{report:#}");
    assert_eq!(report["comparison"]["relation"], relation, "{report:#}");
    assert_eq!(got, code, "{report:#}");
    assert_eq!(report["verdict"], if code == 0 { "pass" } else { "fail" });
    assert_eq!(report["comparison"]["other"]["path"], arg(&pair.second));
    report
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["comparison"]["weights"].as_array().unwrap();
    let mut found = rows.iter().filter(|row| row["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {report:#}"));
    assert!(found.next().is_none(), "{name} twice: {report:#}");
    first
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{value}, not {expected}");
}

#[test]
fn a_copy_is_identical() {
    let pair = Pair::changed(|_| ());
    let report = expect(&pair, 0, "identical", &[]);
    let comparison = &report["comparison"];
    assert_eq!(comparison["classes"], json!({"identical": 3}));
    assert_eq!((&comparison["relative"], &comparison["cosine"]), (&Value::Null, &Value::Null));
    assert_eq!(report["coverage"]["bytes_checked"], 2 * (64 * 32 * 4 + 64 * 4 + 8));
    let human = run(&["compare", arg(&pair.first), arg(&pair.second), "--device", "cpu"]);
    assert!(human.stdout.contains("the same weights, byte for byte"), "{}", human.stdout);
    assert!(human.stdout.contains("PASS"), "{}", human.stdout);
}

#[test]
fn containers_shards_and_wrappers_make_no_difference() {
    let pair = Pair::changed(|tensors| {
        tensors.reverse();
        tensors[2].0 = "module.layers.0.weight";
    });
    let report = expect(&pair, 0, "identical", &[]);
    let moved = row(&report, "layers.0.weight");
    assert_eq!(moved["tensors"], json!(["model.layers.0.weight", "module.layers.0.weight"]));
    fs::remove_file(pair.second.join("model.safetensors")).unwrap();
    write_shards(&pair.second, &tensors(), 2);
    expect(&pair, 0, "identical", &[]);
}

#[test]
fn a_changed_value_is_told_with_its_weight_and_its_size() {
    let mut values = exact(64 * 32);
    let before = values.clone();
    values[700] += 2.0;
    values[1000] -= 3.0;
    let pair = Pair::changed(|tensors| tensors[0].3 = floats(&values));
    let report =
        expect(&pair, 1, "related", &[("lineage/tensor-differs", "model.layers.0.weight")]);
    assert_eq!(report["comparison"]["classes"], json!({"identical": 2, "changed": 1}));
    let changed = row(&report, "layers.0.weight");
    let square = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let relative = (13.0 / square(&before)).sqrt();
    let dot: f64 = before.iter().zip(&values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    near(&changed["relative"], relative);
    near(&changed["cosine"], dot / (square(&before) * square(&values)).sqrt());
    near(&changed["changed_share"], 2.0 / 2048.0);
    assert_eq!((&changed["largest"], &changed["largest_at"]), (&json!(-3.0), &json!(1000)));
    assert_eq!(changed["elements"], 2048);
    near(&findings(&report)[0]["evidence"]["relative"], relative);
    let ran = run(&["compare", arg(&pair.first), arg(&pair.second), "--device", "cpu"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("layers.0.weight"), "{}", ran.stdout);
    let labels: Vec<&str> = ran.stdout.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(labels[..2], ["first", "second"], "{}", ran.stdout);
    let line = "medium    lineage/tensor-differs  1 weight differs";
    assert!(ran.stdout.lines().any(|l| l == line), "{}", ran.stdout);
    // What is not grave still makes two models differ.
    let lenient = ["--fail-on", "critical"];
    let mut args = vec!["compare", arg(&pair.first), arg(&pair.second), "--device", "cpu"];
    args.extend(lenient);
    assert_eq!(run(&args).code, 1);
}

#[test]
fn numbers_are_compared_as_numbers() {
    let pair = Pair::changed(|tensors| tensors[2].3 = 6i64.to_le_bytes().to_vec());
    let report = expect(&pair, 1, "related", &[("lineage/tensor-differs", "steps")]);
    near(&row(&report, "steps")["relative"], 0.2);
}

#[test]
fn weights_of_one_model_alone_are_told() {
    let pair = Pair::changed(|tensors| {
        tensors.remove(1);
        tensors.push(("extra", "F32", &[2], floats(&[1.0, 2.0])));
    });
    let expected =
        [("lineage/tensor-alone", "model.layers.0.bias"), ("lineage/tensor-alone", "extra")];
    let report = expect(&pair, 1, "related", &expected);
    let missing = row(&report, "layers.0.bias");
    assert_eq!(missing["class"], "only-first");
    assert_eq!(missing["tensors"], json!(["model.layers.0.bias", null]));
    assert_eq!(missing["shapes"], json!([[64], null]));
    let extra = row(&report, "extra");
    assert_eq!((&extra["class"], &extra["elements"]), (&json!("only-second"), &json!(2)));
    assert_eq!(extra["stored_as"], json!([null, "F32"]));
}

#[test]
fn a_name_that_is_tied_may_be_left_out() {
    let table = || floats(&exact(64 * 32));
    let norm = || floats(&[1.0; 64]);
    let both = vec![
        ("model.embed_tokens.weight", "F32", &[64, 32][..], table()),
        ("model.norm.weight", "F32", &[64][..], norm()),
        ("lm_head.weight", "F32", &[64, 32][..], table()),
    ];
    // Whichever of the names is kept, and on whichever side.
    for kept in [0, 2] {
        let left_out = [2, 0][kept / 2];
        let one = vec![both[kept].clone(), both[1].clone()];
        for (pair, side) in [(Pair::new(&both, &one), 0), (Pair::new(&one, &both), 1)] {
            let report = expect(&pair, 1, "same-values", &[("lineage/requantised", "")]);
            assert_eq!(report["comparison"]["classes"], json!({"identical": 2, "tied": 1}));
            let rows = report["comparison"]["weights"].as_array().unwrap();
            let tied = rows.iter().find(|row| row["class"] == "tied").unwrap();
            assert_eq!(tied["tensors"][side], both[left_out].0);
            assert_eq!(tied["tensors"][1 - side], both[kept].0);
            assert_eq!(tied["shapes"], json!([[64, 32], [64, 32]]));
            let human = run(&["compare", arg(&pair.first), arg(&pair.second), "--device", "cpu"]);
            let said = "the same weights, stored in another way";
            assert!(human.stdout.contains(said), "{}", human.stdout);
        }
    }
    // Other bytes are no tie.
    let mut other = both.clone();
    other[2].3[5] ^= 1;
    let pair = Pair::new(&other, &both[..2]);
    expect(&pair, 1, "related", &[("lineage/tensor-alone", "lm_head.weight")]);
    // Nor are vectors, or numbers that are all the same: every norm of ones is equal to every other.
    let mut norms = both[..2].to_vec();
    norms.push(("model.layers.0.norm.weight", "F32", &[64], norm()));
    norms.push(("model.layers.0.a.weight", "F32", &[64, 32], floats(&[0.0; 64 * 32])));
    norms.push(("model.layers.0.b.weight", "F32", &[64, 32], floats(&[0.0; 64 * 32])));
    let pair = Pair::new(&norms, &norms[..2]);
    let alone =
        ["model.layers.0.norm.weight", "model.layers.0.a.weight", "model.layers.0.b.weight"];
    expect(&pair, 1, "related", &alone.map(|name| ("lineage/tensor-alone", name)));
    let pair = Pair::new(&norms, &norms[..4]);
    expect(&pair, 1, "related", &[("lineage/tensor-alone", alone[2])]);
}

#[test]
fn other_dimensions_are_not_put_side_by_side() {
    let pair = Pair::changed(|tensors| tensors[0].2 = &[32, 64]);
    let expected = [("lineage/shape-differs", "model.layers.0.weight")];
    let report = expect(&pair, 1, "related", &expected);
    let reshaped = row(&report, "layers.0.weight");
    assert_eq!((&reshaped["class"], &reshaped["relative"]), (&json!("reshaped"), &Value::Null));
    assert_eq!(reshaped["shapes"], json!([[64, 32], [32, 64]]));
    // Dimensions of one do not count.
    let pair = Pair::changed(|tensors| tensors[1].2 = &[1, 64]);
    expect(&pair, 1, "same-values", &[("lineage/requantised", "")]);
}

#[test]
fn the_same_values_in_another_type_are_the_same() {
    let pair = Pair::changed(|tensors| {
        for (tensor, len) in tensors.iter_mut().zip([64 * 32, 64]) {
            (tensor.1, tensor.3) = ("BF16", brain_floats(&exact(len)));
        }
    });
    let report = expect(&pair, 1, "same-values", &[("lineage/requantised", "")]);
    assert_eq!(report["comparison"]["classes"], json!({"identical": 1, "same-values": 2}));
    assert_eq!(report["comparison"]["relative"], 0.0);
    let same = row(&report, "layers.0.weight");
    assert_eq!(same["stored_as"], json!(["F32", "BF16"]));
    assert_eq!((&same["relative"], &same["changed_share"]), (&json!(0.0), &json!(0.0)));
    assert_eq!(findings(&report)[0]["evidence"]["weights"], 2);
}

#[test]
fn rounding_to_another_type_is_told_from_a_change() {
    let fine: Vec<f32> = exact(64 * 32).iter().map(|value| value * 1.001 + 0.0007).collect();
    let with = |dtype: &'static str, bytes: Vec<u8>| -> Vec<Tensor<'static>> {
        vec![("x.weight", dtype, &[64, 32], bytes)]
    };
    let first = with("F32", floats(&fine));
    let rounded = Pair::new(&first, &with("BF16", brain_floats(&fine)));
    let report = expect(&rounded, 1, "requantised", &[("lineage/requantised", "")]);
    let relative = row(&report, "x.weight")["relative"].as_f64().unwrap();
    assert!(relative > 0.0 && relative < 0.004, "{relative}");
    // The same error without another type is a change.
    let back: Vec<f32> = fine.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
    let changed = Pair::new(&first, &with("F32", floats(&back)));
    expect(&changed, 1, "related", &[("lineage/tensor-differs", "x.weight")]);
    // And so is a larger one with another type.
    let scaled: Vec<f32> = fine.iter().map(|value| value * 1.02).collect();
    let changed = Pair::new(&first, &with("BF16", brain_floats(&scaled)));
    expect(&changed, 1, "related", &[("lineage/tensor-differs", "x.weight")]);
}

#[test]
fn models_with_nothing_in_common_are_unrelated() {
    let random = |seed: u64| {
        let mut random = Random(seed);
        let values: Vec<f32> = (0..1 << 16).map(|_| random.normal() as f32).collect();
        vec![("x.weight", "F32", &[256, 256][..], floats(&values))]
    };
    let pair = Pair::new(&random(3), &random(4));
    let report = expect(&pair, 1, "unrelated", &[("lineage/tensor-differs", "x.weight")]);
    assert!(report["comparison"]["cosine"].as_f64().unwrap().abs() < 0.02);
    // Names that do not meet leave nothing to compare.
    let pair = Pair::changed(|tensors| {
        tensors.truncate(1);
        tensors[0].0 = "other";
    });
    let (code, report) = pair.compare();
    assert_eq!((code, &report["comparison"]["relation"]), (1, &json!("unrelated")));
    assert_eq!(report["comparison"]["classes"], json!({"only-first": 3, "only-second": 1}));
}

#[test]
fn differences_too_small_to_square_are_differences() {
    let with = |value: f64| -> Vec<Tensor<'static>> {
        let bytes = [1.0, value].iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
        vec![("x", "F64", &[2], bytes)]
    };
    let pair = Pair::new(&with(0.0), &with(1e-200));
    expect(&pair, 1, "related", &[("lineage/tensor-differs", "x")]);
}

#[test]
fn what_is_not_there_cannot_be_compared() {
    let pair = Pair::changed(|_| ());
    let missing = pair.second.join("missing");
    for models in [[&pair.first, &missing], [&missing, &pair.first]] {
        let (code, report) = report(&["compare", arg(models[0]), arg(models[1])]);
        assert_eq!((code, &report["verdict"]), (3, &json!("incomplete")));
        assert!(report["error"].as_str().unwrap().contains("missing"), "{report:#}");
    }
    cut(&pair.second.join("model.safetensors"));
    assert_eq!(pair.compare().0, 3);
}

#[test]
fn a_model_without_tensors_is_nothing_to_compare() {
    let none = Pair::changed(Vec::clear);
    assert_eq!(none.compare().0, 4);
    let swapped = run(&["compare", arg(&none.second), arg(&none.first), "--device", "cpu"]);
    assert_eq!(swapped.code, 4);
    assert!(swapped.stderr.contains("no tensor that can be read"), "{}", swapped.stderr);
}

#[test]
fn reports_do_not_depend_on_threads() {
    let noise = |seed| small_tensors(seed);
    let pair = Pair::new(&noise(1), &noise(9));
    let with = |threads: &str| {
        let args = ["compare", arg(&pair.first), arg(&pair.second), "--threads", threads];
        let mut report = report(&args).1;
        report["engine"] = Value::Null;
        report
    };
    assert_eq!(with("1"), with("3"));
}

/// Takes the last bytes off.
fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 4]).unwrap();
}
