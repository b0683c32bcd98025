//! Models in buckets: listed, opened and measured like those of a directory, by a store that behaves well
//! and by one that does not.

mod common;
#[path = "common/store.rs"]
mod store;

use common::*;
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use store::Store;
use tempfile::TempDir;
use tensorseal::checkpoint::{Checkpoint, Location, OpenOptions};
use tensorseal::engine::RunOptions;
use tensorseal::engine::device::DeviceChoice;
use tensorseal::registry::source::remote::Limits;
use tensorseal::registry::source::{Listed, Mark, Source, SourceError, bucket};
use tensorseal::seal::{build, canonical};
use tensorseal::stream::progress::Progress;

fn quick() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        idle: Duration::from_secs(5),
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(10),
        ..Limits::default()
    }
}

fn source(store: &Store, uri: &str) -> Box<dyn Source> {
    bucket::open_with(uri, store.settings(), quick()).unwrap()
}

fn listed(source: &dyn Source) -> Vec<Listed> {
    common::listed(source).unwrap()
}

fn names(source: &dyn Source) -> Vec<String> {
    listed(source).into_iter().map(|model| model.name).collect()
}

/// The text of a seal.
fn sealed(model: &Checkpoint) -> Result<String, String> {
    let options = RunOptions { device: DeviceChoice::Cpu, ..RunOptions::default() };
    let measured = build::measure(model, false, &options, &Progress::default());
    let (seal, _) = measured.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    canonical::write(&seal, &mut text).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

fn measured(source: &dyn Source, listed: &Listed) -> Result<String, String> {
    let opened = source.open(listed).map_err(|error| error.to_string())?;
    sealed(&opened.checkpoint)
}

/// A model in a directory, and the seal of it.
fn example() -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    write_shards(dir.path(), &small_tensors(1), 2);
    fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    fs::write(dir.path().join("1_Pooling/config.json"), "{}").unwrap();
    fs::write(dir.path().join("README.md"), "read me").unwrap();
    let seal = sealed(&Checkpoint::open(dir.path(), &OpenOptions::default()).unwrap()).unwrap();
    (dir, seal)
}

/// A bucket with that model in it, the model as it is listed, and its seal.
fn bucket_of_one() -> (Store, Box<dyn Source>, Listed, String) {
    let (dir, seal) = example();
    let store = Store::of_directory(dir.path(), "teams/a/model/");
    let source = source(&store, "s3://models/teams");
    let mut all = listed(source.as_ref());
    assert_eq!(all.len(), 1);
    (store, source, all.remove(0), seal)
}

#[test]
fn a_model_is_what_it_is_in_a_directory() {
    let (store, source, listed, seal) = bucket_of_one();
    assert_eq!((source.name(), listed.name.as_str()), ("s3://models/teams", "a/model"));
    let paths: Vec<_> = listed.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths[..2], ["1_Pooling/config.json", "README.md"]);
    assert!(listed.incomplete.is_empty() && paths.len() == 5);
    let Mark::Object { etag: Some(etag), modified, .. } = &listed.files[0].mark else { panic!() };
    assert!(etag.len() == 34 && modified.starts_with("2026-01-02T03:04:05"), "{etag} {modified}");
    store.asked();
    assert_eq!(measured(source.as_ref(), &listed).unwrap(), seal);
    // Every range of an object is asked for once.
    let mut asked = store.asked();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), all, "{asked:#?}");
    // The model itself as a source, and one object below it.
    let same = self::source(&store, "s3://models/teams/a/model/");
    let own = self::listed(same.as_ref()).remove(0);
    assert_eq!((own.name.as_str(), &own.files), (".", &listed.files));
    assert_eq!(measured(same.as_ref(), &own).unwrap(), seal);
}

#[test]
fn models_are_the_topmost_prefixes_with_a_file_of_one() {
    let keys = [
        "README.md",
        "a/1/model.safetensors",
        "a/1/onnx/weights.bin",
        "a/2/model_index.json",
        "a/2/unet/weights.safetensors",
        "a/datasets/x.csv",
        "a/model.txt",
        "b.gguf/deep/er/q4.gguf",
        "empty/",
    ];
    let mut objects: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), vec![1])).collect();
    objects.extend((0..130).map(|i| (format!("many/{i:05}.txt"), Vec::new())));
    objects.extend((0..20).map(|i| (format!("many/below-{i:02}/m.gguf"), Vec::new())));
    objects.push(("wide/zzz.gguf".to_owned(), vec![1]));
    objects.extend((0..120).map(|i| (format!("wide/{i:05}.txt"), vec![2])));
    let store = Store::new(objects);
    let expected = ["a/1", "a/2", "b.gguf/deep/er"].map(str::to_owned).into_iter();
    let expected = expected.chain((0..20).map(|i| format!("many/below-{i:02}")));
    let expected: Vec<_> = expected.chain(["wide".to_owned()]).collect();
    for page in [None, Some(37)] {
        store.behave(|behaviour| behaviour.page = page);
        let source = source(&store, "s3://models");
        assert_eq!(names(source.as_ref()), expected);
        let wide = listed(source.as_ref()).pop().unwrap();
        assert_eq!(wide.files.len(), 121);
        // It can be stopped.
        let mut seen = 0;
        let mut stop = |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        source.list(&mut stop).unwrap();
        assert_eq!(seen, 2);
    }
}

#[test]
fn a_busy_store_and_cut_connections_lose_nothing() {
    let (store, source, listed, seal) = bucket_of_one();
    store.behave(|behaviour| behaviour.busy = 4);
    assert_eq!(names(source.as_ref()), ["a/model"]);
    store.behave(|behaviour| (behaviour.busy, behaviour.cuts) = (3, 2));
    assert_eq!(measured(source.as_ref(), &listed).unwrap(), seal);
    store.behave(|behaviour| behaviour.too_short = 3);
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("bytes came instead of") && error.contains("asked 6 times"), "{error}");
    store.behave(|behaviour| (behaviour.too_short, behaviour.busy) = (0, u32::MAX));
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("503 (asked 6 times)") && !error.contains("hunter2"), "{error}");
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert_eq!(error, "s3://models/teams: the store answers 503 (asked 6 times)");
}

#[test]
fn wrong_bytes_are_never_taken() {
    let (store, source, listed, _) = bucket_of_one();
    store.behave(|behaviour| behaviour.too_long = 10);
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("more bytes came than were asked for"), "{error}");
    store.behave(|behaviour| (behaviour.too_long, behaviour.ignores_range) = (0, true));
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("does not give ranges"), "{error}");
}

#[test]
fn an_object_that_was_overwritten_is_a_change_and_no_finding() {
    for (ignores_if_match, no_tags_in_lists) in [(false, false), (true, false), (true, true)] {
        let (store, source, _, seal) = bucket_of_one();
        store.behave(|behaviour| {
            (behaviour.ignores_if_match, behaviour.no_tags_in_lists) =
                (ignores_if_match, no_tags_in_lists);
        });
        let listed = listed(source.as_ref()).remove(0);
        assert_eq!(measured(source.as_ref(), &listed).unwrap(), seal);
        // While it is read, after its header was.
        store.behave(|behaviour| {
            behaviour.changes_after = Some(behaviour.reads + 5);
        });
        let error = measured(source.as_ref(), &listed).unwrap_err();
        assert!(error.contains("changed while it was being read"), "{error}");
        // Between the list and the read.
        store.change(|objects| {
            for (_, object) in objects.iter_mut().filter(|(key, _)| key.ends_with(".safetensors")) {
                object.bytes.push(0);
            }
        });
        let changed = source.open(&listed);
        assert!(matches!(changed, Err(SourceError::Changed { .. })), "{changed:?}");
        store.change(|objects| objects.clear());
        assert!(matches!(source.open(&listed), Err(SourceError::Changed { .. })));
    }
}

#[test]
fn nobody_waits_for_a_store_that_hangs() {
    let (store, _, listed, _) = bucket_of_one();
    store.behave(|behaviour| behaviour.hangs = true);
    let limits = Limits {
        connect: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        attempts: 2,
        ..quick()
    };
    let source = bucket::open_with("s3://models/teams", store.settings(), limits).unwrap();
    let began = Instant::now();
    let error = source.open(&listed).unwrap_err().to_string();
    assert!(error.contains("no answer") && error.contains("(asked 2 times)"), "{error}");
    assert!(source.list(&mut |_| ControlFlow::Continue(())).is_err());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // And one that is not there.
    let mut settings = store.settings();
    settings[2].1 = "http://127.0.0.1:1".to_owned();
    let source = bucket::open_with("s3://models/teams", settings, quick()).unwrap();
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("127.0.0.1"), "{error}");
}

fn page(items: &str, token: &str) -> String {
    format!("<ListBucketResult>{token}{items}</ListBucketResult>")
}

fn item(key: &str, bytes: u64) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05Z</LastModified>\
         <ETag>x</ETag><Size>{bytes}</Size></Contents>"
    )
}

#[test]
fn a_hostile_list_leads_nowhere() {
    let store = Store::new([]);
    let keys = ["../x.gguf", "/abs.gguf", "m//x", "m&#x1b;[31m.gguf", "a\\b", "m.gguf"];
    let items: String = keys.iter().map(|key| item(key, 7)).collect();
    let list = |page: String| store.behave(|behaviour| behaviour.list = Some(page));
    let source = source(&store, "s3://models");
    list(page(&items, ""));
    let model = listed(source.as_ref()).remove(0);
    assert_eq!((model.files.len(), model.incomplete.len()), (1, 5));
    assert!(model.incomplete.iter().all(|why| !why.contains('\u{1b}')), "{:?}", model.incomplete);

    // Not a model, but for keys that are none.
    list(page(&[item("x.txt", 1), item("../x.gguf", 1), item("a//b.txt", 1)].concat(), ""));
    let all = listed(source.as_ref());
    assert_eq!((all.len(), all[0].files.len()), (1, 0));
    assert!(all[0].unreadable.as_ref().is_some_and(|why| why.starts_with("../x.gguf: ")));

    // Always the same level below, and always another page.
    let below = "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>";
    list(page(below, ""));
    assert_eq!(listed(source.as_ref()), []);
    let token = "<NextContinuationToken>t</NextContinuationToken>";
    for page in [page("", token), page(below, token)] {
        list(page);
        let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert_eq!(error, "s3://models: its list has no end");
    }

    let bomb = format!("<!DOCTYPE a [<!ENTITY b \"{}\">]><a>&b;</a>", "c".repeat(100));
    for text in [
        "",
        "<ListBucketResult>",
        "hunter2 is no XML <",
        &bomb,
        &page(&item("a.gguf", 1).replace(">1<", ">-1<"), ""),
    ] {
        list(text.to_owned());
        let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.starts_with("s3://models: ") && !error.contains("hunter2"), "{error}");
    }
    list(page(&" ".repeat(9 << 20), ""));
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert_eq!(error, "s3://models: its answer is too long");
    // An object of another length than was listed.
    list(page(&item("m.gguf", u64::MAX), ""));
    store.change(|objects| {
        objects.insert("m.gguf".to_owned(), store::Object::new(vec![0; 5000]));
    });
    let model = listed(source.as_ref()).remove(0);
    assert!(source.open(&model).is_err());
}

#[test]
fn what_is_not_there_is_said() {
    let store = Store::new([]);
    let source = source(&store, "s3://other");
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert_eq!(error, "s3://other: there is no such bucket");
    assert!(listed(self::source(&store, "s3://models").as_ref()).is_empty());
}

/// What a scan by the program says.
fn scanned(store: &Store, state: &Path) -> Value {
    let args = ["registry", "scan", "s3://models", "--format", "json", "--state", arg(state)];
    let ran = finished(program(&args).envs(store.settings()).output().unwrap());
    serde_json::from_str(&ran.stdout).expect(&ran.stderr)
}

#[test]
fn a_model_is_held_to_the_seal_beside_it() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    write_model(&model, &small_tensors(1));
    let ran = run(&["seal", arg(&model)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let store = Store::of_directory(&model, "m/");
    // What is said of the seal, whatever is said of the weights.
    let rules = |name: &str| -> Vec<String> {
        let document = scanned(&store, &dir.path().join(name));
        let model = &document["models"][0];
        assert_eq!(model["sealed"], true);
        let found = model["findings"].as_array().unwrap().iter();
        let rules = found.map(|finding| finding["rule"].as_str().unwrap().to_owned());
        rules.filter(|rule| rule.starts_with("integrity/")).collect()
    };
    assert_eq!(rules("sound"), [""; 0]);
    let replaced = |by: &[u8]| {
        let mut before = Vec::new();
        store.change(|objects| {
            let object = objects.get_mut("m/tensorseal.seal.json").unwrap();
            before = std::mem::replace(&mut object.bytes, by.to_vec());
        });
        before
    };
    // Another seal is looked at although the model is as it was.
    let seal = replaced(b"{}");
    assert_eq!(rules("sound"), ["integrity/seal-invalid"]);
    replaced(&seal);
    assert_eq!(rules("sound"), [""; 0]);
    store.change(|objects| {
        let weights = &mut objects.get_mut("m/model.safetensors").unwrap().bytes;
        let last = weights.len() - 1;
        weights[last] ^= 0x04;
    });
    assert_eq!(rules("changed"), ["integrity/tensor-changed"]);

    // One that is written between the list and the read is for the next scan to look at.
    let source = source(&store, "s3://models");
    let listed = listed(source.as_ref()).remove(0);
    let opened = source.open(&listed).unwrap();
    replaced(b"{}");
    let Some(Location::Remote(file)) = opened.seal else { panic!("{opened:?}") };
    let error = tensorseal::seal::read::read_remote(file.as_ref()).unwrap_err();
    assert!(!error.is_content() && error.to_string().contains("it changed"), "{error}");
}
