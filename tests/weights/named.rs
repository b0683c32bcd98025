//! Tensors that a file of PyTorch names and nobody here reads: types that are known by name, weights in classes of
//! torchao. They are weights, and what is not read of them decides nothing.

use crate::common::archives::{pickled, torch_zip};
use crate::common::marked::{PAYLOAD, World, f32s, world};
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Tensors of the files that PyTorch and torchao wrote which are not read.
const WRITTEN: [(&str, &str, usize); 3] = [
    ("torchao.pt", "int8.0.weight", 3),
    ("types.pt", "quint4x2", 10),
    ("legacy_types.pt", "quint8", 2),
];

const TABLE: [u64; 2] = [1024, 1024];
const ELEMENTS: usize = 1 << 20;
const READ: &str = "model.embed_tokens.weight";
const NAMED: [&str; 2] = ["model.layers.0.up_proj.weight", "model.layers.1.up_proj.weight"];

fn written(name: &str) -> PathBuf {
    tensorseal_testing::testdata(&format!("torch/{name}"))
}

fn detect(world: &World, model: &Path, extra: &[&str]) -> (i32, Value) {
    let mut args = vec!["watermark", "detect", arg(model), "--key", arg(&world.key)];
    args.extend(extra);
    report(&args)
}

fn compare(one: &Path, other: &Path) -> (i32, Value) {
    report(&["compare", arg(one), arg(other)])
}

fn ended((code, report): &(i32, Value)) -> (i32, &str) {
    (*code, report["comparison"]["relation"].as_str().unwrap())
}

/// A file of PyTorch with a table that can be read, if there is one, and two matrices of complex128.
fn torch(path: &Path, table: Option<&[u8]>, seed: u64) -> PathBuf {
    const COMPLEX: usize = 64;
    let shape = [8, 8];
    let complex = |key: &str| {
        let storage = pickled::storage("ComplexDoubleStorage", key, COMPLEX as i64);
        pickled::view(storage, 0, &shape, &[8, 1])
    };
    let mut entries = vec![(NAMED[0], complex("0")), (NAMED[1], complex("1"))];
    let mut storages = vec![("0", noise(seed, COMPLEX * 16)), ("1", noise(seed + 1, COMPLEX * 16))];
    if let Some(table) = table {
        let storage = pickled::storage("FloatStorage", "2", ELEMENTS as i64);
        entries.push((READ, pickled::view(storage, 0, &[1024, 1024], &[1024, 1])));
        storages.push(("2", table.to_vec()));
    }
    let zip = torch_zip(pickled::whole(pickled::dict(&entries)), &storages);
    fs::write(path, zip.bytes()).unwrap();
    path.to_owned()
}

/// A table, and the same with a mark.
fn tables(world: &World) -> [Vec<u8>; 2] {
    let plain = f32s(21, ELEMENTS);
    let model = write_model(&world.path("table"), &[(READ, "F32", &TABLE, plain.clone())]);
    let (code, embedded) = world.embed(&model, "marked", &["--payload", PAYLOAD, "--force"]);
    assert_eq!(code, 0, "{embedded:#}");
    let bytes = fs::read(world.path("marked").join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    [plain, file.tensor(READ).unwrap().data().to_vec()]
}

#[test]
fn a_mark_in_what_has_a_name_alone_is_neither_there_nor_absent() {
    let world = world();
    for (name, tensor, count) in WRITTEN {
        let (code, report) = detect(&world, &written(name), &["--expect", "absent"]);
        let found = &report["watermark"];
        assert_eq!((code, &found["verdict"]), (1, &json!("inconclusive")), "{report:#}");
        assert_eq!(found["reason"], "unread-scheme", "{report:#}");
        let not_read = &found["not_read"];
        assert_eq!(not_read["weights"], count, "{report:#}");
        assert!(not_read["tensors"].as_array().unwrap().contains(&tensor.into()), "{not_read}");
        let share = not_read["share"].as_f64().unwrap();
        assert!(share > 0.5 && share < 1.0, "{not_read}");
    }
    // Where a mark would have shown, had it been in what is read.
    let tables = tables(&world);
    let plain = torch(&world.path("plain.pt"), Some(&tables[0]), 1);
    let (code, report) = detect(&world, &plain, &["--expect", "absent"]);
    let found = &report["watermark"];
    assert_eq!((code, &found["verdict"]), (1, &json!("inconclusive")), "{report:#}");
    assert_eq!((&found["reason"], &found["elements"]), (&json!("unread-scheme"), &json!(1 << 20)));
    assert_eq!(found["not_read"]["tensors"], json!(NAMED));
    let human = world.try_detect(&plain, &["--device", "cpu"]).stdout;
    assert!(human.contains("INCONCLUSIVE") && human.contains(NAMED[0]), "{human}");
    // A mark that shows is there all the same.
    let marked = torch(&world.path("marked.pt"), Some(&tables[1]), 1);
    let (code, report) = detect(&world, &marked, &[]);
    assert_eq!((code, &report["watermark"]["verdict"]), (0, &json!("present")), "{report:#}");
    assert_eq!(report["watermark"]["not_read"]["weights"], 2);
    // Of nothing else, nothing is said either, and nothing is embedded.
    let only = torch(&world.path("only.pt"), None, 1);
    let (code, report) = detect(&world, &only, &[]);
    let found = &report["watermark"];
    assert_eq!((code, &found["verdict"]), (1, &json!("inconclusive")), "{report:#}");
    assert_eq!((&found["reason"], &found["blocks"]), (&json!("unread-scheme"), &json!(0)));
    assert_eq!(found["not_read"]["share"], 1.0);
    let out = world.path("never");
    let args = ["watermark", "embed", arg(&only), "--key", arg(&world.key), "-o", arg(&out)];
    assert!(run(&args).code >= 2 && !out.exists());
}

#[test]
fn a_gate_opens_for_no_mark_in_what_has_a_name_alone() {
    let world = world();
    let plain = torch(&world.path("plain.pt"), Some(&f32s(21, ELEMENTS)), 1);
    let only = torch(&world.path("only.pt"), None, 1);
    let policy = world.path("policy.toml");
    for expect in ["present", "absent"] {
        let text = format!(
            "schema = \"tensorseal.policy/1\"\n[[watermark]]\nkey = \"{}\"\nexpect = \"{expect}\"\n",
            arg(&world.key)
        );
        fs::write(&policy, text).unwrap();
        for model in [&plain, &only] {
            let (code, report) = report(&["gate", arg(model), "--policy", arg(&policy)]);
            let rules = report["policy"]["rules"].as_array().unwrap();
            let of_mark = rules.iter().find(|rule| rule["rule"] == "watermark.expect").unwrap();
            assert_eq!((code, &of_mark["outcome"]), (1, &json!("not_checked")), "{report:#}");
            assert!(of_mark["evidence"].as_str().unwrap().contains(NAMED[0]), "{of_mark:#}");
        }
    }
}

#[test]
fn models_are_not_comparable_by_names() {
    let world = world();
    let tables = tables(&world);
    let [table, other] = tables.each_ref().map(|table| Some(&table[..]));
    let one = torch(&world.path("one.pt"), table, 1);
    // The same file is the same, wherever it lies, and whatever is in it.
    let again = torch(&world.path("again.pt"), table, 1);
    let same = compare(&one, &again);
    assert_eq!(ended(&same), (0, "identical"), "{:#}", same.1);
    assert_eq!(same.1["comparison"]["classes"], json!({"identical": 3}));
    for (name, _, _) in WRITTEN {
        let same = compare(&written(name), &written(name));
        assert_eq!(ended(&same), (0, "identical"), "{:#}", same.1);
    }
    // Other bytes where nothing is read, and all that is read is the same.
    let differs = torch(&world.path("differs.pt"), table, 9);
    let found = compare(&one, &differs);
    assert_eq!(ended(&found), (1, "not-comparable"), "{:#}", found.1);
    assert_eq!(found.1["comparison"]["classes"], json!({"identical": 1, "not-read": 2}));
    let human = run(&["compare", arg(&one), arg(&differs), "--device", "cpu"]).stdout;
    let said = "not comparable: 2 weights have an unsupported layout, and the other is the same";
    assert!(human.contains(said), "{human}");
    // What is read and moved a little proves it.
    let moved = compare(&one, &torch(&world.path("moved.pt"), other, 9));
    assert_eq!(ended(&moved), (1, "related"), "{:#}", moved.1);
    // Each stands beside the weight that it may be, which is not missing.
    let matrix = |seed| f32s(seed, ELEMENTS);
    let original = [
        (READ, "F32", &TABLE[..], tables[0].clone()),
        (NAMED[0], "F32", &TABLE[..], matrix(1)),
        ("layers.1.up_proj.weight", "F32", &TABLE[..], matrix(2)),
    ];
    let original = write_model(&world.path("original"), &original);
    for (first, second) in [(&original, &one), (&one, &original)] {
        let found = compare(first, second);
        assert_eq!(ended(&found), (1, "not-comparable"), "{:#}", found.1);
        assert_eq!(found.1["comparison"]["classes"], json!({"identical": 1, "not-read": 2}));
        let rows = found.1["comparison"]["weights"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "layers.1.up_proj.weight").unwrap();
        assert!(row["tensors"].as_array().unwrap().iter().all(Value::is_string), "{row:#}");
    }
    // Nothing else is there, on one side or on both.
    let only = torch(&world.path("only.pt"), None, 1);
    for (first, second) in [(&only, &original), (&original, &only)] {
        let found = compare(first, second);
        assert_eq!(ended(&found), (1, "not-comparable"), "{:#}", found.1);
    }
    let all = compare(&only, &torch(&world.path("other.pt"), None, 5));
    assert_eq!(ended(&all), (1, "not-comparable"), "{:#}", all.1);
    assert_eq!(ended(&compare(&only, &only)), (0, "identical"));
}
