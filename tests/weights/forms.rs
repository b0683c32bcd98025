//! The same weights in other forms, through the program: experts in one tensor, parts that ranks wrote, a tied table
//! under the name of the head. Marks are found in each, and models are the same.

use crate::common::marked::{PAYLOAD, World, f32s};
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const EXPERTS: usize = 3;
/// A matrix of so many rows and columns is large enough to carry a mark.
const SIDE: usize = 256;

/// BF16 numbers that look like weights.
fn weights(seed: u64, elements: usize) -> Vec<u8> {
    let noise = noise(seed, elements);
    let values = noise.iter().map(|byte| (f32::from(*byte) - 127.5) / 4096.0);
    values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect()
}

/// A tensor that has its name.
struct Made(String, Vec<u64>, Vec<u8>);

/// A layer of experts one by one, and a table.
fn one_by_one() -> Vec<Made> {
    let side = SIDE as u64;
    let table = weights(99, 2 * SIDE * SIDE);
    let mut tensors = vec![Made("model.embed_tokens.weight".into(), vec![2 * side, side], table)];
    for expert in 0..EXPERTS {
        for (number, name) in ["gate_proj", "up_proj", "down_proj"].into_iter().enumerate() {
            let name = format!("model.layers.0.mlp.experts.{expert}.{name}.weight");
            let data = weights((expert * 3 + number) as u64, SIDE * SIDE);
            tensors.push(Made(name, vec![side, side], data));
        }
    }
    tensors
}

/// The tensors of a file that this test wrote.
fn read(directory: &Path) -> Vec<Made> {
    let file = fs::read(directory.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let of = |(name, entry): (&String, &Value)| {
        let place = |at: usize| 8 + length + entry["data_offsets"][at].as_u64().unwrap() as usize;
        let shape = entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap());
        Made(name.clone(), shape.collect(), file[place(0)..place(1)].to_vec())
    };
    entries.map(of).collect()
}

/// The same with the experts in two stacks.
fn fused(tensors: &[Made]) -> Vec<Made> {
    let data = |expert: usize, name: &str| {
        let name = format!("model.layers.0.mlp.experts.{expert}.{name}.weight");
        tensors.iter().find(|made| made.0 == name).unwrap().2.clone()
    };
    let all = |names: &[&str]| -> Vec<u8> {
        let of = |expert| names.iter().map(move |name| data(expert, name));
        (0..EXPERTS).flat_map(of).flatten().collect()
    };
    let (experts, side) = (EXPERTS as u64, SIDE as u64);
    let both = all(&["gate_proj", "up_proj"]);
    let stack = |name: &str| format!("model.layers.0.mlp.experts.{name}");
    let mut fused = vec![
        Made(stack("gate_up_proj"), vec![experts, 2 * side, side], both),
        Made(stack("down_proj"), vec![experts, side, side], all(&["down_proj"])),
    ];
    let others = tensors.iter().filter(|made| !made.0.contains("experts"));
    fused.extend(others.map(|made| Made(made.0.clone(), made.1.clone(), made.2.clone())));
    fused
}

fn write(path: &Path, tensors: &[Made], metadata: Option<Value>) {
    let tensors: Vec<Tensor> =
        tensors.iter().map(|made| (&*made.0, "BF16", &made.1[..], made.2.clone())).collect();
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.3.clone()).collect();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, file_of(&header(&tensors, metadata), &data)).unwrap();
}

/// A model with experts one by one, its marked copy `out`, and the key.
fn marked() -> World {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    write(&model.join("model.safetensors"), &one_by_one(), None);
    let key = dir.path().join("key.json");
    write_key(&key, "key.json");
    let w = World { dir, model, key };
    let (code, report) = w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]);
    assert_eq!((code, &report["watermark"]["carriers"]), (0, &json!(3 * EXPERTS + 1)));
    w
}

/// What is found in a copy: it must be the mark, as strong as in the model that was marked.
fn found(w: &World, copy: &Path) {
    let z = |path: &Path| {
        let args = ["watermark", "detect", arg(path), "--key", arg(&w.key)];
        let (code, report) = report(&args);
        let found = &report["watermark"];
        assert_eq!((code, &found["payload"]), (0, &PAYLOAD.into()), "{report:#}");
        (found["z"].as_f64().unwrap(), found["elements"].clone())
    };
    let (ours, theirs) = (z(&w.path("out")), z(copy));
    assert_eq!(ours.1, theirs.1);
    assert!((ours.0 - theirs.0).abs() < 0.1, "{} {}", ours.0, theirs.0);
}

/// Compares the marked model with a copy of it in another form: not one weight differs, or is on one side only.
fn same(w: &World, copy: &Path) {
    let (_, report) = report(&["compare", arg(&w.path("out")), arg(copy)]);
    let comparison = &report["comparison"];
    let relation = comparison["relation"].as_str().unwrap();
    assert!(["identical", "same-values"].contains(&relation), "{report:#}");
    let rows = comparison["weights"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * EXPERTS + 1, "{report:#}");
}

#[test]
fn experts_in_one_tensor_are_those_one_by_one() {
    let w = marked();
    let copy = w.path("fused");
    write(&copy.join("model.safetensors"), &fused(&read(&w.path("out"))), None);
    found(&w, &copy);
    same(&w, &copy);
    same(&w, &copy.join("model.safetensors"));
    // Marking them where they lie together is marking each.
    let whole = w.path("whole");
    write(&whole.join("model.safetensors"), &fused(&one_by_one()), None);
    let (code, report) = w.embed(&whole, "again", &["--payload", PAYLOAD, "--force"]);
    assert_eq!(
        (code, &report["watermark"]["carriers"]),
        (0, &json!(3 * EXPERTS + 1)),
        "{report:#}"
    );
    let sort = |mut tensors: Vec<Made>| {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    let (again, expected) = (sort(read(&w.path("again"))), sort(read(&copy)));
    assert_eq!(again.len(), expected.len());
    for (ours, theirs) in again.iter().zip(&expected) {
        assert!(ours.0 == theirs.0 && ours.2 == theirs.2, "{}", ours.0);
    }
}

#[test]
fn experts_that_share_a_block_are_not_marked_in_silence() {
    let w = marked();
    // Each projection is large enough to carry, and is no whole number of blocks.
    let (inner, hidden) = (257u64, 257u64);
    let stack = |name: &str, rows: u64, columns: u64| {
        let name = format!("model.layers.0.mlp.experts.{name}");
        Made(name, vec![2, rows, columns], weights(7, (2 * rows * columns) as usize))
    };
    let odd = w.path("odd");
    let stacks = [stack("gate_up_proj", 2 * inner, hidden), stack("down_proj", hidden, inner)];
    write(&odd.join("model.safetensors"), &stacks, None);
    let out = w.path("never");
    let ran =
        run(&["watermark", "embed", arg(&odd), "--key", arg(&w.key), "-o", arg(&out), "--force"]);
    assert_eq!((ran.code, out.exists()), (2, false), "{}", ran.stderr);
    assert!(ran.stderr.contains("experts."), "{}", ran.stderr);
}

#[test]
fn parts_that_ranks_wrote_are_the_whole() {
    let w = marked();
    let copy = w.path("ranks");
    let tensors = read(&w.path("out"));
    for rank in 0..2 {
        let half = |made: &Made| {
            let rows = made.1[0] / 2;
            let bytes = made.2.len() / 2;
            let data = made.2[rank * bytes..(rank + 1) * bytes].to_vec();
            Made(made.0.clone(), vec![rows, made.1[1]], data)
        };
        let halves: Vec<Made> = tensors.iter().map(half).collect();
        let places: serde_json::Map<String, Value> = halves
            .iter()
            .map(|made| (made.0.clone(), json!({"saved_offsets": [made.1[0] * rank as u64, 0]})))
            .collect();
        let told = json!({"DCP_SHARDING_INFO": json!(places).to_string(), "DCP_VERSION": "1.0"});
        let name = format!("shard-{:05}-model-00001-of-00001.safetensors", rank + 1);
        write(&copy.join(name), &halves, Some(told));
    }
    found(&w, &copy);
    same(&w, &copy);
    let out = w.path("never");
    let ran =
        run(&["watermark", "embed", arg(&copy), "--key", arg(&w.key), "-o", arg(&out), "--force"]);
    assert_eq!((ran.code, out.exists()), (2, false));
    assert!(ran.stderr.contains("several ranks"), "{}", ran.stderr);
    // Without one of them nothing is read, and nothing is said to be there or not.
    fs::remove_file(copy.join("shard-00001-model-00001-of-00001.safetensors")).unwrap();
    let (_, report) = report(&["compare", arg(&w.path("out")), arg(&copy)]);
    assert!(report.to_string().contains("several ranks wrote"), "{report:#}");
}

#[test]
fn a_model_without_a_large_weight_is_not_the_same_but_for_its_quantisation() {
    let dir = TempDir::new().unwrap();
    let large = [SIDE as u64; 2];
    let small = [SIDE as u64];
    let names =
        ["model.layers.0.up_proj.weight", "model.layers.0.down_proj.weight", "lm_head.weight"];
    // Of more bits than the copy has.
    let fine = |bytes: &[u8; 4]| (f32::from_le_bytes(*bytes) * 1.001).to_le_bytes();
    let matrices = [1, 2, 3].map(|seed| -> Vec<u8> {
        f32s(seed, SIDE * SIDE).as_chunks().0.iter().flat_map(fine).collect()
    });
    let model = |name: &str, tensors: &[Tensor]| write_model(&dir.path().join(name), tensors);
    let originals: Vec<Tensor> = names
        .into_iter()
        .zip(&matrices)
        .map(|(name, matrix)| (name, "F32", &large[..], matrix.clone()))
        .collect();
    let out = model("out", &originals);
    // A copy in which each value is rounded.
    let rounded = |matrix: &[u8]| -> Vec<u8> {
        let values = matrix.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect()
    };
    let copy = |file: &str, kept: usize, more: &[Tensor]| {
        let mut all: Vec<Tensor> = names
            .into_iter()
            .zip(&matrices)
            .take(kept)
            .map(|(name, matrix)| (name, "BF16", &large[..], rounded(matrix)))
            .collect();
        all.extend_from_slice(more);
        model(file, &all)
    };
    let relation = |one: &Path, other: &Path| {
        let (code, report) = report(&["compare", arg(one), arg(other)]);
        (code, report["comparison"]["relation"].as_str().unwrap().to_owned())
    };
    let requantised = (1, "requantised".to_owned());
    let related = (1, "related".to_owned());
    let whole = copy("whole", 3, &[]);
    assert_eq!(relation(&out, &whole), requantised);
    // A matrix that carries marks is missing, or is there besides.
    let less = copy("less", 2, &[]);
    let more = [("model.layers.1.up_proj.weight", "F32", &large[..], f32s(5, SIDE * SIDE))];
    let more = copy("more", 3, &more);
    let places = [("wpe.weight", "F32", &large[..], f32s(5, SIDE * SIDE))];
    let places = copy("places", 3, &places);
    let wide: Vec<u8> = f32s(5, 2 * SIDE * SIDE);
    let wide = copy("wide", 3, &[("model.layers.1.up_proj.weight", "F64", &large[..], wide)]);
    for other in [&less, &more, &places, &wide] {
        assert_eq!(relation(&out, other), related);
        assert_eq!(relation(other, &out), related);
    }
    let human = run(&["compare", arg(&out), arg(&less), "--device", "cpu"]).stdout;
    let said = "related: the shared weights are the same except for their quantisation, and 1 weight is in only one model";
    assert!(human.contains(said), "{human}");
    // Integers may stand for one.
    let codes = [("model.layers.1.up_proj.codes", "I32", &large[..], noise(6, 4 * SIDE * SIDE))];
    assert_eq!(relation(&out, &copy("codes", 3, &codes)), related);
    // What conversions add and drop is none: frequencies, norms, biases, masks, computed tables, small matrices, rows.
    let dropped = [
        ("rope_freqs.weight", "F32", &small[..], f32s(1, SIDE)),
        ("model.layers.0.extra_norm.weight", "F32", &small[..], f32s(2, SIDE)),
        ("model.layers.0.q_proj.bias", "F32", &small[..], f32s(3, SIDE)),
        ("model.layers.0.attn.bias", "F32", &large[..], f32s(4, SIDE * SIDE)),
        ("model.layers.0.attn.mask", "U8", &large[..], noise(5, SIDE * SIDE)),
        ("model.layers.0.self_attn.rotary_emb.cos_cached", "F32", &large[..], f32s(6, SIDE * SIDE)),
        ("model.row.weight", "F32", &[1, (SIDE * SIDE) as u64], f32s(8, SIDE * SIDE)),
        ("model.layers.0.conv.weight", "F32", &[SIDE as u64, 4], f32s(7, SIDE * 4)),
    ];
    let dropped = copy("dropped", 3, &dropped);
    assert_eq!(relation(&out, &dropped), requantised);
    assert_eq!(relation(&dropped, &out), requantised);
}

#[test]
fn integers_in_parts_are_those_of_the_whole() {
    let dir = TempDir::new().unwrap();
    let largest = (1i64 << 53) - 1;
    let whole = |first: i64| -> Vec<u8> {
        [first, -largest, 3, largest, 0, -7].iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let name = "model.table.ids";
    let model = |file: &str, first| {
        write_model(&dir.path().join(file), &[(name, "I64", &[6, 1], whole(first))])
    };
    let in_parts = |file: &str, first| {
        let copy = dir.path().join(file);
        fs::create_dir_all(&copy).unwrap();
        for (rank, data) in whole(first).chunks(24).enumerate() {
            let places = json!({name: {"saved_offsets": [3 * rank, 0]}});
            let told = json!({"DCP_SHARDING_INFO": places.to_string(), "DCP_VERSION": "1.0"});
            let tensors = [(name, "I64", &[3u64, 1][..], data.to_vec())];
            let name = format!("shard-{:05}-model-00001-of-00001.safetensors", rank + 1);
            fs::write(copy.join(name), file_of(&header(&tensors, Some(told)), data)).unwrap();
        }
        copy
    };
    let class = |one: &Path, other: &Path| {
        let (_, report) = report(&["compare", arg(one), arg(other)]);
        let rows = report["comparison"]["weights"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{report:#}");
        rows[0]["class"].as_str().unwrap().to_owned()
    };
    assert_eq!(class(&model("whole", 5), &in_parts("parts", 5)), "same-values");
    assert_eq!(class(&model("other", 6), &in_parts("others", 5)), "changed");
    // Values hold the one of these as they hold the other.
    let above = [largest + 1, largest + 2];
    assert_eq!(class(&model("one", above[0]), &in_parts("two", above[1])), "changed");
    assert_eq!(class(&model("three", above[0]), &in_parts("four", above[0])), "changed");
}

#[test]
fn a_table_that_was_kept_as_the_head_is_the_table() {
    let w = marked();
    let mut tensors = read(&w.path("out"));
    let table = tensors.iter_mut().find(|made| made.0.contains("embed_tokens")).unwrap();
    table.0 = "lm_head.weight".into();
    let copy = w.path("tied");
    let told = json!({"model.embed_tokens.weight": "lm_head.weight", "format": "pt"});
    write(&copy.join("model.safetensors"), &tensors, Some(told));
    found(&w, &copy);
    same(&w, &copy);
}
