//! Audits beside a baseline: what differs, how far, and whether the change looks like more than training.

use crate::common::random::Random;
use crate::common::transforms::noisy;
use crate::common::weights::{Weights, read, write_as};
use crate::common::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DENSE: &str = "encoder.layer.2.intermediate.dense.weight";
const OUTPUT: &str = "encoder.layer.2.output.dense.weight";
const QUERY: &str = "encoder.layer.2.attention.self.query.weight";
const KEY: &str = "encoder.layer.2.attention.self.key.weight";
const WORDS: &str = "embeddings.word_embeddings.weight";

/// Two layers of the real model, and some of its words.
fn real() -> Vec<Weights> {
    let mut all = read(&real_model().join("model.safetensors"));
    all.retain(|w| w.name.contains("layer.2.") || w.name.contains("layer.3.") || w.name == WORDS);
    let words = all.iter_mut().find(|w| w.name == WORDS).expect("an embedding");
    words.shape[0] = 2048;
    words.values.truncate(2048 * words.shape[1]);
    assert_eq!(all.len(), 33);
    all
}

fn of<'a>(weights: &'a mut [Weights], name: &str) -> &'a mut Weights {
    weights.iter_mut().find(|w| w.name == name).expect("a tensor of this name")
}

/// A baseline and what became of it.
struct Pair {
    directory: TempDir,
    baseline: PathBuf,
    model: PathBuf,
}

impl Pair {
    fn new(before: &[Weights], after: &[Weights], dtype: Dtype) -> Pair {
        let directory = tempfile::tempdir().unwrap();
        let [baseline, model] =
            ["before", "after"].map(|name| directory.path().join(format!("{name}.safetensors")));
        write_as(&baseline, before, dtype);
        write_as(&model, after, dtype);
        Pair { directory, baseline, model }
    }

    /// The real weights, and these after a change.
    fn changed(dtype: Dtype, change: impl FnOnce(&mut Vec<Weights>)) -> Pair {
        let before = real();
        let mut after = before.clone();
        change(&mut after);
        Pair::new(&before, &after, dtype)
    }

    fn seal(&self) -> PathBuf {
        let seal = self.directory.path().join("baseline.seal.json");
        if !seal.exists() {
            let ran = run(&["seal", arg(&self.baseline), "-o", arg(&seal), "--quiet"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        }
        seal
    }

    /// Exit code and lineage findings, beside the other model.
    fn beside_model(&self) -> (i32, Vec<Value>) {
        lineage(&self.model, &self.baseline)
    }

    /// The same beside its seal.
    fn beside_seal(&self) -> (i32, Vec<Value>) {
        lineage(&self.model, &self.seal())
    }
}

fn lineage(model: &Path, baseline: &Path) -> (i32, Vec<Value>) {
    let (code, report) = report(&["audit", arg(model), "--baseline", arg(baseline)]);
    let all = report["findings"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    let is_lineage = |f: &&Value| f["rule"].as_str().unwrap().starts_with("lineage/");
    (code, all.iter().filter(is_lineage).cloned().collect())
}

fn ids(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

fn the<'a>(findings: &'a [Value], rule: &str) -> &'a Value {
    let mut found = findings.iter().filter(|finding| finding["rule"] == rule);
    let first = found.next().unwrap_or_else(|| panic!("no {rule} in {findings:#?}"));
    assert!(found.next().is_none(), "{rule} twice: {findings:#?}");
    first
}

/// Adds a product of normal factors of this rank, with this norm relative to the tensor's.
fn add_low_rank(tensor: &mut Weights, rank: usize, relative: f64, seed: u64) {
    let mut random = Random(seed);
    let columns: usize = tensor.shape[1..].iter().product();
    let rows = tensor.shape[0];
    let mut factor = |len: usize| -> Vec<f64> { (0..len).map(|_| random.normal()).collect() };
    let (left, right) = (factor(rows * rank), factor(rank * columns));
    let mut added = vec![0.0; rows * columns];
    for (row, added) in added.chunks_mut(columns).enumerate() {
        for r in 0..rank {
            let scale = left[row * rank + r];
            let right = &right[r * columns..(r + 1) * columns];
            added.iter_mut().zip(right).for_each(|(sum, right)| *sum += scale * right);
        }
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let own = norm(&mut tensor.values.iter().map(|v| f64::from(*v)));
    let scale = relative * own / norm(&mut added.iter().copied());
    for (value, added) in tensor.values.iter_mut().zip(added) {
        *value += (scale * added) as f32;
    }
}

#[test]
fn the_same_model_has_no_lineage_finding() {
    let pair = Pair::changed(Dtype::F32, |_| ());
    for (code, found) in [pair.beside_model(), pair.beside_seal()] {
        assert_eq!((code, found.len()), (0, 0), "{found:#?}");
    }
    let ran = run(&["audit", arg(&pair.model), "--baseline", arg(&pair.baseline)]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stderr.contains("all 33 tensors match the baseline"), "{}", ran.stderr);
}

#[test]
fn fine_tuning_changes_and_nothing_more() {
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
        for share in [1e-3, 3e-2] {
            let pair = Pair::changed(dtype, |all| {
                for (tensor, seed) in all.iter_mut().zip(1..) {
                    noisy(&mut tensor.values, share, seed);
                }
            });
            for (code, found) in [pair.beside_model(), pair.beside_seal()] {
                assert_eq!((code, ids(&found)), (0, vec!["lineage/changed"]), "{dtype:?} {share}");
            }
            let (_, found) = pair.beside_model();
            let evidence = &found[0]["evidence"];
            if dtype == Dtype::F32 {
                let relative = evidence["relative_norm"].as_f64().unwrap();
                assert!((relative / share - 1.0).abs() < 0.05, "{relative} {share}");
                assert_eq!(evidence["tensors_changed"], 33);
            }
            assert_eq!(evidence["changed"].as_array().unwrap().len(), 16);
        }
    }
}

#[test]
fn low_ranks_are_found_with_their_number() {
    for (dtype, least) in [(Dtype::F32, 1e-4), (Dtype::BF16, 1e-2), (Dtype::F16, 1e-3)] {
        for relative in [least, 0.03, 0.3] {
            for rank in [1, 4] {
                let pair = Pair::changed(dtype, |all| {
                    add_low_rank(of(all, DENSE), rank, relative, 7);
                });
                let (code, found) = pair.beside_model();
                let case = format!("{dtype:?} {relative} {rank}: {found:#?}");
                assert_eq!(code, 1, "{case}");
                let finding = the(&found, "lineage/low-rank-change");
                assert_eq!(finding["evidence"]["rank"], rank, "{case}");
                assert_eq!(finding["severity"], "medium");
                assert_eq!(finding["tensor"], DENSE);
                assert_eq!(finding["evidence"]["rank_possible"], 384);
                assert_eq!(ids(&found).len(), 2, "{case}");
            }
        }
    }
}

#[test]
fn an_adapter_beside_fine_tuning_is_no_low_rank() {
    let pair = Pair::changed(Dtype::F32, |all| {
        let tensor = of(all, DENSE);
        add_low_rank(tensor, 2, 0.02, 7);
        noisy(&mut tensor.values, 0.01, 3);
    });
    assert_eq!(ids(&pair.beside_model().1), ["lineage/changed"]);
}

#[test]
fn few_rows_or_columns_are_no_low_rank() {
    let pair = Pair::changed(Dtype::F32, |all| {
        let dense = of(all, DENSE);
        dense.values[5 * 384..6 * 384].iter_mut().for_each(|v| *v *= 1.1);
        let words = of(all, WORDS);
        words.values.iter_mut().skip(17).step_by(384).for_each(|v| *v *= 1.1);
        of(all, QUERY).values[1000] += 0.01;
    });
    let (code, found) = pair.beside_model();
    assert_eq!((code, ids(&found)), (0, vec!["lineage/changed"]), "{found:#?}");
    assert_eq!(found[0]["evidence"]["tensors_changed"], 3);
}

#[test]
fn a_scaled_tensor_drifts_and_is_large() {
    for dtype in [Dtype::F32, Dtype::BF16] {
        let pair = Pair::changed(dtype, |all| {
            of(all, OUTPUT).values.iter_mut().for_each(|v| *v *= 2.0);
        });
        let (code, found) = pair.beside_model();
        assert_eq!(code, 1);
        let drift = the(&found, "lineage/drift");
        assert_eq!((&drift["severity"], &drift["tensor"]), (&"medium".into(), &OUTPUT.into()));
        let moved = drift["evidence"]["wasserstein_binades"].as_f64().unwrap();
        assert!((moved - 1.0).abs() < 1e-6, "{moved}");
        let large = the(&found, "lineage/large-change");
        let relative = large["evidence"]["relative_norm"].as_f64().unwrap();
        assert!((relative - 1.0).abs() < 1e-6, "{relative}");
        assert_eq!(large["row_range"], serde_json::json!([0, 384]));
        assert_eq!(found.len(), 3, "{found:#?}");
        let (code, found) = pair.beside_seal();
        assert_eq!((code, found.len()), (1, 2), "{found:#?}");
        assert_eq!(the(&found, "lineage/drift")["evidence"], drift["evidence"]);
    }
}

#[test]
fn a_vector_that_drifts_is_no_alarm() {
    let bias = "encoder.layer.2.intermediate.dense.bias";
    let pair = Pair::changed(Dtype::F32, |all| {
        of(all, bias).values.iter_mut().for_each(|v| *v *= 4.0);
    });
    for (code, found) in [pair.beside_model(), pair.beside_seal()] {
        let drift = the(&found, "lineage/drift");
        assert_eq!((code, &drift["severity"], &drift["tensor"]), (0, &"low".into(), &bias.into()));
    }
}

#[test]
fn swapped_renamed_missing_and_other_tensors_are_counted() {
    let pair = Pair::changed(Dtype::F32, |all| {
        let query = of(all, QUERY).values.clone();
        let key = std::mem::replace(&mut of(all, KEY).values, query);
        of(all, QUERY).values = key;
        of(all, DENSE).name = "another.weight".to_owned();
        of(all, OUTPUT).shape = vec![1536, 384];
        let last = all.iter().position(|w| w.name.ends_with("layer.3.output.dense.bias")).unwrap();
        all.remove(last);
    });
    for (_, found) in [pair.beside_model(), pair.beside_seal()] {
        let changed = the(&found, "lineage/changed");
        let evidence = &changed["evidence"];
        for (key, count) in [
            ("tensors_equal", 28),
            ("tensors_changed", 2),
            ("tensors_moved", 2),
            ("tensors_missing", 2),
            ("tensors_renamed", 1),
            ("tensors_added", 1),
            ("tensors_retyped", 1),
        ] {
            assert_eq!(evidence[key], count, "{key}: {changed:#}");
        }
        assert_eq!(evidence["added"], serde_json::json!(["another.weight"]));
        assert_eq!(evidence["retyped"], serde_json::json!([OUTPUT]));
    }
}

/// Moves every value that is not the largest of its block of 32 inside its cell.
fn stay_in_cells(tensor: &mut Weights, bits: u32) {
    let mut random = Random(11);
    let largest = f64::from((1u32 << (bits - 1)) - 1);
    for block in tensor.values.chunks_mut(32) {
        let most = block.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let scale = f64::from(most) / largest;
        for value in block.iter_mut().filter(|v| v.abs() < most) {
            let code = (f64::from(*value) / scale).round();
            let place = 0.45 * random.normal().clamp(-1.0, 1.0);
            // The largest stays the largest.
            *value = (((code + place) * scale) as f32).clamp(-0.999 * most, 0.999 * most);
        }
    }
}

#[test]
fn values_that_keep_their_codes_are_found() {
    for (bits, others) in [(8, 4), (4, 8)] {
        let pair = Pair::changed(Dtype::F32, |all| stay_in_cells(of(all, DENSE), bits));
        let (code, found) = pair.beside_model();
        assert_eq!(code, 1);
        let finding = the(&found, "lineage/same-codes");
        assert_eq!(finding["severity"], "high");
        assert_eq!(finding["evidence"]["bits"], serde_json::json!([bits]), "not {others} bits");
        assert!(finding["evidence"]["codes_expected_to_move"].as_f64().unwrap() > 1e4);
    }
    // Some codes do move: no longer inside.
    let pair = Pair::changed(Dtype::F32, |all| {
        let dense = of(all, DENSE);
        stay_in_cells(dense, 8);
        let block = &mut dense.values[64..96];
        let most = block.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let other = block.iter_mut().find(|v| v.abs() < most).unwrap();
        *other += most / 100.0 * -other.signum();
    });
    let (code, found) = pair.beside_model();
    assert_eq!((code, ids(&found)), (0, vec!["lineage/changed"]), "{found:#?}");
}

#[test]
fn what_cannot_be_a_baseline_is_said() {
    let pair = Pair::changed(Dtype::F32, |all| all.truncate(4));
    let path = |name: &str| pair.directory.path().join(name);
    let audit = |baseline: &Path| run(&["audit", arg(&pair.model), "--baseline", arg(baseline)]);
    let ran = audit(&path("nothing"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("no baseline at"), "{}", ran.stderr);
    fs::write(path("text"), "neither of the two").unwrap();
    assert_eq!(audit(&path("text")).code, 2);
    fs::create_dir(path("empty")).unwrap();
    let ran = audit(&path("empty"));
    assert!(matches!(ran.code, 2 | 3), "{}", ran.stderr);
    let mut cut = fs::read(&pair.baseline).unwrap();
    cut.truncate(100_000);
    fs::write(path("cut.safetensors"), cut).unwrap();
    assert_eq!(audit(&path("cut.safetensors")).code, 3);
    fs::write(path("broken.json"), "{\"files\":[").unwrap();
    let (code, report) =
        report(&["audit", arg(&pair.model), "--baseline", arg(&path("broken.json"))]);
    assert_eq!(code, 1);
    assert_eq!(report["findings"][0]["rule"], "integrity/seal-invalid");
    assert_eq!(lineage(&pair.model, &path("broken.json")).1.len(), 0);
}

#[test]
fn a_seal_without_statistics_still_tells_what_changed() {
    let pair = Pair::changed(Dtype::BF16, |all| {
        of(all, OUTPUT).values.iter_mut().for_each(|v| *v *= 2.0);
    });
    let seal = pair.directory.path().join("digests.json");
    let ran = run(&["seal", arg(&pair.baseline), "-o", arg(&seal), "--digest-only"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (code, found) = lineage(&pair.model, &seal);
    assert_eq!((code, ids(&found)), (0, vec!["lineage/changed"]), "{found:#?}");
}

#[test]
fn a_sketch_says_how_far_weights_moved() {
    for (dtype, share) in [(Dtype::F32, 1e-3), (Dtype::F32, 0.03), (Dtype::BF16, 0.1)] {
        let pair = Pair::changed(dtype, |all| {
            for (tensor, seed) in all.iter_mut().zip(1..) {
                noisy(&mut tensor.values, share, seed);
            }
            all.sort_by_key(|w| std::cmp::Reverse(w.values.len()));
        });
        let seal = pair.directory.path().join("sketched.json");
        let ran = run(&["seal", arg(&pair.baseline), "-o", arg(&seal), "--sketch"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let document: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
        validate("tensorseal.seal.1", &document);
        let sketches = document["tensors"].as_array().unwrap().iter();
        assert_eq!(sketches.filter(|tensor| tensor.get("sketch").is_some()).count(), 13);
        let bytes = fs::metadata(&pair.baseline).unwrap().len();
        assert!(fs::metadata(&seal).unwrap().len() <= bytes / 1000 + 33 * 2048);
        let (code, found) = lineage(&pair.model, &seal);
        assert_eq!((code, ids(&found)), (0, vec!["lineage/changed"]));
        let listed = found[0]["evidence"]["changed"].as_array().unwrap();
        let known = |c: &&Value| c.get("relative_norm_estimated").is_some();
        let sketched: Vec<&Value> = listed.iter().filter(known).collect();
        assert!(sketched.len() >= 6, "{listed:#?}");
        for tensor in sketched {
            // One in twenty may lie outside of its interval: twice as wide for all of them.
            let number = |value: &Value| value.as_f64().unwrap();
            let interval = &tensor["relative_norm_interval"];
            let (low, high) = (number(&interval[0]) / 2.0, number(&interval[1]) * 2.0);
            assert!(low < share && share < high, "{dtype:?} {share}: {tensor:#}");
        }
    }
}

#[test]
fn a_sketch_tells_a_large_change() {
    let pair = Pair::changed(Dtype::F32, |all| noisy(&mut of(all, DENSE).values, 3.0, 5));
    let seal = pair.directory.path().join("sketched.json");
    let ran = run(&["seal", arg(&pair.baseline), "-o", arg(&seal), "--sketch"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (_, found) = lineage(&pair.model, &seal);
    let large = the(&found, "lineage/large-change");
    assert_eq!(large["tensor"], DENSE);
    // Such noise leaves a cosine of 0.32, and normed vectors at a distance of 1.17.
    let estimated = large["evidence"]["relative_norm_estimated"].as_f64().unwrap();
    assert!((0.6..2.2).contains(&estimated), "{estimated}");
    let ran = run(&["seal", arg(&pair.baseline), "--sketch", "--digest-only"]);
    assert_eq!(ran.code, 2, "statistics are what an audit compares");
}

#[test]
fn reports_do_not_depend_on_the_threads() {
    let pair = Pair::changed(Dtype::F32, |all| {
        add_low_rank(of(all, DENSE), 3, 0.01, 5);
        noisy(&mut of(all, WORDS).values, 0.6, 4);
    });
    let findings = |threads: &str| {
        let args = ["audit", arg(&pair.model), "--baseline", arg(&pair.baseline)];
        let (code, report) = report(&[&args[..], &["--threads", threads]].concat());
        assert_eq!(code, 1);
        report["findings"].clone()
    };
    assert_eq!(findings("1"), findings("3"));
}
