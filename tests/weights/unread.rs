//! Quantised in ways that nobody here knows: nothing is said of what is not read, and what is proven stays so.
//!
//! Two schemes are invented for these tests. *Folded* keeps codes of 4 bits, the first half of a row in the high
//! nibbles and the second in the low ones, in another order than any library, with a scale for each 8 weights:
//! matrices as large as those of weights. *Rooted* keeps the signed root of a weight in 8 bits, over the largest of
//! its row.

use crate::common::marked::{PAYLOAD, World, f32s, world};
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: [&str; 2] = ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"];
const SIDE: u64 = 1024;
const TABLE: [u64; 2] = [1024, 512];

/// The model before it is quantised: a table of words, two matrices, a norm.
fn tensors() -> Vec<Tensor<'static>> {
    vec![
        ("model.embed_tokens.weight", "F32", &TABLE, f32s(11, 1024 * 512)),
        ("model.layers.0.mlp.up_proj.weight", "F32", &[SIDE, SIDE], f32s(12, 1 << 20)),
        ("model.layers.1.mlp.up_proj.weight", "F32", &[SIDE, SIDE], f32s(13, 1 << 20)),
        ("model.norm.weight", "F32", &[SIDE], 1f32.to_le_bytes().repeat(SIDE as usize)),
    ]
}

/// Unmarked and marked.
struct Models {
    world: World,
    plain: PathBuf,
    marked: PathBuf,
}

impl Models {
    fn new() -> Models {
        let world = world();
        let plain = write_model(&world.path("plain"), &tensors());
        let (code, embedded) = world.embed(&plain, "marked", &["--payload", PAYLOAD, "--force"]);
        assert_eq!(code, 0, "{embedded:#}");
        let marked = world.path("marked");
        Models { world, plain, marked }
    }

    fn detect(&self, model: &Path, extra: &[&str]) -> (i32, Value) {
        let mut args = vec!["watermark", "detect", arg(model), "--key", arg(&self.world.key)];
        args.extend(extra);
        report(&args)
    }

    /// A copy in a scheme, of the matrices alone or of the table, too.
    fn quantised(&self, model: &Path, scheme: Scheme, with_table: bool) -> PathBuf {
        let name = model.file_name().unwrap().to_str().unwrap();
        let out = self.world.path(&format!("{name}-{scheme:?}-{with_table}"));
        let bytes = fs::read(model.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let data = file.tensor(name).unwrap().data();
            data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let mut all: Vec<(String, &str, Vec<u64>, Vec<u8>)> = Vec::new();
        for (name, dtype, shape, _) in tensors() {
            let is_table = name.contains("embed");
            let is_quantised = name.contains("up_proj") || is_table && with_table;
            if !is_quantised {
                let data = file.tensor(name).unwrap().data().to_vec();
                all.push((name.to_owned(), dtype, shape.to_vec(), data));
                continue;
            }
            let module = name.strip_suffix(".weight").unwrap();
            let [codes, scales] = scheme.of(&floats(name), shape);
            for (ending, (dtype, shape, data)) in scheme.endings().into_iter().zip([codes, scales])
            {
                all.push((format!("{module}.{ending}"), dtype, shape, data));
            }
        }
        let all: Vec<Tensor> = all
            .iter()
            .map(|(name, dtype, shape, data)| {
                (name.as_str(), *dtype, shape.as_slice(), data.clone())
            })
            .collect();
        write_model(&out, &all)
    }

    /// What a gate says that expects something of the mark, and of nothing else.
    fn gate(&self, model: &Path, expect: &str) -> (i32, Value) {
        let policy = format!(
            "schema = \"tensorseal.policy/1\"\n[[watermark]]\nkey = \"{}\"\nexpect = \"{expect}\"\n",
            arg(&self.world.key)
        );
        let path = self.world.path("policy.toml");
        fs::write(&path, policy).unwrap();
        report(&["gate", arg(model), "--policy", arg(&path)])
    }
}

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Folded,
    Rooted,
}

const SCHEMES: [Scheme; 2] = [Scheme::Folded, Scheme::Rooted];

/// Type, dimensions, bytes.
type Stored = (&'static str, Vec<u64>, Vec<u8>);

impl Scheme {
    fn endings(self) -> [&'static str; 2] {
        match self {
            Scheme::Folded => ["folded", "scales"],
            Scheme::Rooted => ["weight", "absmax"],
        }
    }

    /// Codes and scales.
    fn of(self, values: &[f32], shape: &[u64]) -> [Stored; 2] {
        let columns = shape[1] as usize;
        let largest = |values: &[f32]| values.iter().fold(1e-12f32, |most, v| most.max(v.abs()));
        match self {
            Scheme::Folded => {
                let scales: Vec<f32> = values.chunks(8).map(|group| largest(group) / 7.0).collect();
                let codes: Vec<u8> = values
                    .chunks(8)
                    .zip(&scales)
                    .flat_map(|(group, scale)| group.iter().map(move |v| (v / scale).round() as i8))
                    .map(|code| (code + 8) as u8)
                    .collect();
                let folded = codes.chunks(columns).flat_map(|row| {
                    let (first, second) = row.split_at(columns / 2);
                    first.iter().zip(second.iter().rev()).map(|(high, low)| high << 4 | low)
                });
                let scales = scales.iter().flat_map(|s| half::f16::from_f32(*s).to_le_bytes());
                [
                    ("U8", vec![shape[0], shape[1] / 2], folded.collect()),
                    ("F16", vec![shape[0], shape[1] / 8], scales.collect()),
                ]
            }
            Scheme::Rooted => {
                let most: Vec<f32> = values.chunks(columns).map(largest).collect();
                let code = |v: &f32, most: f32| {
                    ((v.abs() / most).sqrt() * 127.0 * v.signum()).round() as i8 as u8
                };
                let rows = values.chunks(columns).zip(&most);
                let codes = rows.flat_map(|(row, most)| row.iter().map(move |v| code(v, *most)));
                let scales = most.iter().flat_map(|most| most.to_le_bytes());
                [("I8", shape.to_vec(), codes.collect()), ("F32", vec![shape[0]], scales.collect())]
            }
        }
    }
}

fn verdict(report: &Value) -> &str {
    report["watermark"]["verdict"].as_str().unwrap()
}

fn remark(report: &Value) -> &Value {
    let all = report["findings"].as_array().unwrap();
    all.iter()
        .find(|finding| finding["rule"] == "format/unknown-quantisation")
        .unwrap_or_else(|| panic!("{report:#}"))
}

#[test]
fn a_mark_in_what_is_not_read_is_neither_there_nor_absent() {
    let models = Models::new();
    // As they are, both are told apart.
    assert_eq!(verdict(&models.detect(&models.marked, &[]).1), "present");
    assert_eq!(verdict(&models.detect(&models.plain, &[]).1), "absent");
    for scheme in SCHEMES {
        for model in [&models.marked, &models.plain] {
            let copy = models.quantised(model, scheme, true);
            let (code, report) = models.detect(&copy, &[]);
            let found = &report["watermark"];
            assert_eq!((code, verdict(&report)), (1, "inconclusive"), "{report:#}");
            assert_eq!(found["reason"], "unread-scheme", "{report:#}");
            assert_eq!((&found["elements"], &found["blocks"]), (&json!(0), &json!(0)));
            let not_read = &found["not_read"];
            assert_eq!(not_read["weights"], 3);
            assert!(not_read["share"].as_f64().unwrap() > 0.99, "{not_read}");
            let names = not_read["tensors"].as_array().unwrap();
            let first = format!("{}.{}", LAYERS[0], scheme.endings()[0]);
            assert!(names.contains(&first.as_str().into()), "{not_read}");
            // Neither expectation is met.
            let (code, absent) = models.detect(&copy, &["--expect", "absent"]);
            assert_eq!((code, verdict(&absent)), (1, "inconclusive"), "{absent:#}");
            assert!(rules(&absent).iter().any(|(rule, _)| rule == "watermark/inconclusive"));
            assert_eq!(remark(&report)["evidence"]["weights"], 3);
            let human = models.world.try_detect(&copy, &["--device", "cpu"]);
            assert!(human.stdout.contains("INCONCLUSIVE"), "{}", human.stdout);
            assert!(human.stdout.contains("an unsupported layout"), "{}", human.stdout);
        }
    }
}

#[test]
fn what_can_be_read_proves_a_mark_and_no_absence() {
    let models = Models::new();
    for scheme in SCHEMES {
        let copy = models.quantised(&models.marked, scheme, false);
        let (code, report) = models.detect(&copy, &[]);
        let found = &report["watermark"];
        assert_eq!((code, verdict(&report)), (0, "present"), "{report:#}");
        assert_eq!(found["elements"], 1024 * 512);
        assert_eq!((&found["reason"], &found["not_read"]["weights"]), (&Value::Null, &json!(2)));
        // The table of an unmarked one would show a mark, and says nothing of the rest.
        let copy = models.quantised(&models.plain, scheme, false);
        let (code, report) = models.detect(&copy, &["--expect", "absent"]);
        assert_eq!((code, verdict(&report)), (1, "inconclusive"), "{report:#}");
        assert_eq!(report["watermark"]["reason"], "unread-scheme");
        // Of an original that is read in part, this is said, and the rest of it is used.
        let original = models.quantised(&models.plain, scheme, false);
        let (code, report) = models.detect(&models.marked, &["--original", arg(&original)]);
        assert_eq!((code, verdict(&report)), (0, "present"), "{report:#}");
        let of_original = |report: &Value| {
            let all = report["findings"].as_array().unwrap();
            all.iter().find(|found| found["rule"] == "watermark/original-not-read").cloned()
        };
        let said = of_original(&report).unwrap_or_else(|| panic!("{report:#}"));
        assert_eq!(
            (&said["severity"], &said["evidence"]["weights_not_read"]),
            (&json!("info"), &json!(2))
        );
        let (_, report) = models.detect(&models.marked, &["--original", arg(&models.plain)]);
        assert_eq!(of_original(&report), None);
        // Beside the original it is no other.
        let original = ["--original", arg(&models.plain)];
        let (code, report) = models.detect(&copy, &original);
        assert_eq!((code, verdict(&report)), (1, "inconclusive"), "{report:#}");
    }
}

#[test]
fn a_gate_opens_for_no_mark_that_it_could_not_look_for() {
    let models = Models::new();
    let gate = |model: &Path, expect: &str| {
        let (code, report) = models.gate(model, expect);
        let rules = report["policy"]["rules"].as_array().unwrap();
        let of_mark = rules.iter().find(|rule| rule["rule"] == "watermark.expect").unwrap();
        let outcome = of_mark["outcome"].as_str().unwrap().to_owned();
        (code, outcome, of_mark["evidence"].as_str().unwrap().to_owned())
    };
    let ended = |(code, outcome, _): (i32, String, String)| (code, outcome);
    assert_eq!(ended(gate(&models.marked, "present")), (0, "pass".to_owned()));
    assert_eq!(ended(gate(&models.plain, "absent")), (0, "pass".to_owned()));
    for scheme in SCHEMES {
        for with_table in [true, false] {
            let copy = models.quantised(&models.plain, scheme, with_table);
            for expect in ["present", "absent"] {
                let (code, outcome, why) = gate(&copy, expect);
                assert_eq!((code, outcome.as_str()), (1, "not_checked"), "{why}");
                assert!(why.contains("unsupported layout"), "{why}");
            }
        }
        let copy = models.quantised(&models.marked, scheme, true);
        assert_eq!(ended(gate(&copy, "absent")), (1, "not_checked".to_owned()));
        let copy = models.quantised(&models.marked, scheme, false);
        assert_eq!(ended(gate(&copy, "present")), (0, "pass".to_owned()));
        assert_eq!(ended(gate(&copy, "absent")), (1, "fail".to_owned()));
    }
}

#[test]
fn models_are_not_comparable_by_what_is_not_read() {
    let models = Models::new();
    let compare = |one: &Path, other: &Path| report(&["compare", arg(one), arg(other)]);
    let relation = |report: &Value| report["comparison"]["relation"].as_str().unwrap().to_owned();
    for scheme in SCHEMES {
        for with_table in [true, false] {
            let copy = models.quantised(&models.marked, scheme, with_table);
            for (one, other) in [
                (&models.marked, &copy),
                (&copy, &models.marked),
                (&models.plain, &copy),
                (&copy, &models.quantised(&models.plain, scheme, true)),
            ] {
                let (code, report) = compare(one, other);
                // The table of the marked one is that of the plain one, moved a little: that proves it.
                let expected = match !with_table && one == &models.plain {
                    true => "related",
                    false => "not-comparable",
                };
                assert_eq!((code, relation(&report).as_str()), (1, expected), "{report:#}");
                let rows = report["comparison"]["weights"].as_array().unwrap();
                let not_read = rows.iter().filter(|row| row["class"] == "not-read").count();
                assert!(not_read >= 2, "{report:#}");
                let alone =
                    rows.iter().filter(|row| row["class"].as_str().unwrap().starts_with("only"));
                assert_eq!(alone.count(), 0, "{report:#}");
                assert!(remark(&report)["message"].as_str().unwrap().contains("cannot be read"));
            }
            // Each stands beside the weight that it may be.
            let (_, report) = compare(&models.marked, &copy);
            let rows = report["comparison"]["weights"].as_array().unwrap();
            let codes = format!("{}.{}", LAYERS[1], scheme.endings()[0]);
            let row = rows.iter().find(|row| row["tensors"][1] == codes.as_str()).unwrap();
            assert_eq!(row["tensors"][0], format!("{}.weight", LAYERS[1]));
            assert_eq!(row["name"], "layers.1.mlp.up_proj.weight");
            let human = run(&["compare", arg(&models.marked), arg(&copy), "--device", "cpu"]);
            let said = format!(
                "not comparable: {} weights have an unsupported layout",
                if with_table { 3 } else { 2 }
            );
            assert!(human.stdout.contains(&said), "{}", human.stdout);
            // The same bytes are the same, whatever they mean.
            let (code, report) = compare(&copy, &copy);
            assert_eq!((code, relation(&report).as_str()), (0, "identical"), "{report:#}");
        }
    }
}

#[test]
fn what_may_be_among_the_codes_is_not_said_to_be_missing() {
    let models = Models::new();
    let codes = [
        ("model.layers.0.mlp.fused.codes", "U8", &[SIDE, SIDE][..], noise(7, 1 << 20)),
        ("model.layers.0.mlp.fused.scales", "F32", &[512, 512], f32s(8, 1 << 18)),
    ];
    let stacked = write_model(&models.world.path("stacked"), &codes);
    for (one, other, has) in [
        (&models.plain, &stacked, "possibly in the second, where 1 "),
        (&stacked, &models.plain, "possibly in the first, where 1 "),
    ] {
        let (code, report) = report(&["compare", arg(one), arg(other)]);
        let comparison = &report["comparison"];
        assert_eq!((code, &comparison["relation"]), (1, &json!("not-comparable")), "{report:#}");
        assert_eq!(comparison["classes"]["not-read"], 1);
        let alone: Vec<&Value> =
            findings(&report).into_iter().filter(|f| f["rule"] == "lineage/tensor-alone").collect();
        assert_eq!(alone.len(), 4, "{report:#}");
        assert!(alone.iter().all(|f| f["message"].as_str().unwrap().contains(has)), "{report:#}");
    }
}

#[test]
fn codes_and_scales_that_differ_in_a_bit_are_not_the_same() {
    let models = Models::new();
    for scheme in SCHEMES {
        let copy = models.quantised(&models.plain, scheme, true);
        let original = fs::read(copy.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&original).unwrap();
        for ending in scheme.endings() {
            let data = file.tensor(&format!("{}.{ending}", LAYERS[0])).unwrap().data();
            let at = data.as_ptr() as usize - original.as_ptr() as usize + 100;
            let mut bytes = original.clone();
            bytes[at] ^= 1;
            let other = models.world.path(&format!("other-{scheme:?}-{ending}"));
            fs::create_dir_all(&other).unwrap();
            fs::write(other.join("model.safetensors"), bytes).unwrap();
            let (code, report) = report(&["compare", arg(&copy), arg(&other)]);
            let comparison = &report["comparison"];
            assert_eq!(
                (code, &comparison["relation"]),
                (1, &json!("not-comparable")),
                "{report:#}"
            );
            assert_eq!(comparison["classes"], json!({"identical": 3, "not-read": 1}));
        }
    }
}

#[test]
fn how_far_codes_moved_is_said_of_none() {
    let models = Models::new();
    for scheme in SCHEMES {
        let before = models.quantised(&models.plain, scheme, true);
        // The mark moves nearly every code.
        let after = models.quantised(&models.marked, scheme, true);
        let (_, audited) = report(&["audit", arg(&after), "--baseline", arg(&before)]);
        let of_lineage: Vec<String> = rules(&audited)
            .into_iter()
            .map(|(rule, _)| rule)
            .filter(|rule| rule.starts_with("lineage/"))
            .collect();
        assert_eq!(of_lineage, ["lineage/changed"], "{audited:#}");
        let all = audited["findings"].as_array().unwrap();
        let changed = all.iter().find(|finding| finding["rule"] == "lineage/changed").unwrap();
        assert!(
            changed["message"].as_str().unwrap().contains("distance is unknown"),
            "{changed:#}"
        );
        let policy = models.world.path("policy.toml");
        let limit = "schema = \"tensorseal.policy/1\"\n[severity]\nlineage = \"critical\"\n";
        fs::write(&policy, limit).unwrap();
        let gate = |model: &Path| {
            let (code, report) =
                report(&["gate", arg(model), "--policy", arg(&policy), "--baseline", arg(&before)]);
            let rules = report["policy"]["rules"].as_array().unwrap();
            let limit = rules.iter().find(|rule| rule["rule"] == "severity.lineage").unwrap();
            (code, limit["outcome"].as_str().unwrap().to_owned())
        };
        assert_eq!(gate(&before), (0, "pass".to_owned()));
        assert_eq!(gate(&after), (1, "not_checked".to_owned()));
    }
}

#[test]
fn inspect_and_audit_name_what_is_not_read() {
    let models = Models::new();
    for scheme in SCHEMES {
        let copy = models.quantised(&models.plain, scheme, true);
        for verb in ["inspect", "audit"] {
            let (code, report) = report(&[verb, arg(&copy)]);
            assert_eq!(code, 0, "{report:#}");
            let said = remark(&report);
            assert_eq!(said["severity"], "info");
            assert!(
                said["message"].as_str().unwrap().contains("3 quantised weights cannot be read")
            );
            let first = format!("{}.{}", LAYERS[0], scheme.endings()[0]);
            let names = said["evidence"]["tensors"].as_array().unwrap();
            assert!(names.contains(&first.as_str().into()), "{said:#}");
        }
    }
    // A plain model has no such remark.
    let (_, report) = report(&["inspect", arg(&models.plain)]);
    assert!(!report.to_string().contains("unknown-quantisation"), "{report:#}");
}

#[test]
fn a_form_of_a_model_that_is_not_read_is_not_said_to_be_another() {
    let dir = tempfile::TempDir::new().unwrap();
    let quantised = tensorseal_testing::testdata("gguf/llama.gguf");
    // Names and shapes of two of its matrices; their values are others.
    let names = ["model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"];
    let differs = |name: &str, tensors: &[Tensor]| {
        let both = write_model(&dir.path().join(name), tensors);
        fs::copy(&quantised, both.join("model-Q.gguf")).unwrap();
        let (_, audited) = report(&["audit", arg(&both)]);
        let unread = audited.to_string().contains("2 quantised weights cannot be read");
        (rules(&audited).iter().any(|(rule, _)| rule == "format/copies-differ"), unread)
    };
    let names = names.map(|name| [format!("{name}.weight"), format!("{name}.absmax")]);
    let shape = [256, 256];
    let values = || f32s(31, 1 << 16);
    // In a type that is read this is seen, codes as such among them.
    let plain = names.each_ref().map(|[name, _]| (name.as_str(), "F32", &shape[..], values()));
    assert_eq!(differs("plain", &plain), (true, false));
    let codes =
        names.each_ref().map(|[name, _]| (name.as_str(), "I8", &shape[..], noise(1, 1 << 16)));
    assert_eq!(differs("codes", &codes), (true, false));
    let quantised: Vec<Tensor> = names
        .iter()
        .flat_map(|[weight, most]| {
            let values: Vec<f32> =
                values().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let [(of_codes, _, codes), (of_scales, _, scales)] = Scheme::Rooted.of(&values, &shape);
            [
                (weight.as_str(), of_codes, &shape[..], codes),
                (most.as_str(), of_scales, &shape[..1], scales),
            ]
        })
        .collect();
    assert_eq!(differs("rooted", &quantised), (false, true));
}

#[test]
fn integers_that_nothing_lies_beside_decide_nothing_either() {
    let models = Models::new();
    let mut words = tensors();
    words[1] = ("model.layers.0.mlp.up_proj.codes", "I32", &[SIDE, SIDE / 8], noise(3, 1 << 19));
    let copy = write_model(&models.world.path("words"), &words);
    let (code, found) = models.detect(&copy, &["--expect", "absent"]);
    assert_eq!((code, verdict(&found)), (1, "inconclusive"), "{found:#}");
    assert_eq!(found["watermark"]["not_read"]["tensors"], json!([words[1].0]));
    // Masks and places are none.
    words[1] = ("model.layers.0.mlp.mask", "U8", &[SIDE, SIDE], noise(3, 1 << 20));
    words.push(("model.layers.0.relative_position_index", "I64", &[256, 256], noise(4, 1 << 19)));
    words.push(("model.layers.0.logit_scale", "F32", &[8, 1, 1], noise(5, 32)));
    let plain = write_model(&models.world.path("masked"), &words);
    let (code, found) = models.detect(&plain, &["--expect", "absent"]);
    assert_eq!((code, verdict(&found)), (0, "absent"), "{found:#}");
    // Of all codes and no weights, nothing is said.
    let only = [("a.codes", "I32", &[SIDE, SIDE][..], noise(6, 1 << 22))];
    let one = write_model(&models.world.path("one"), &only);
    let (code, compared) = report(&["compare", arg(&models.plain), arg(&one)]);
    assert_eq!((code, &compared["comparison"]["relation"]), (1, &json!("not-comparable")));
}
