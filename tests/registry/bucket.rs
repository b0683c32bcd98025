//! Models in buckets: listed, opened and measured like those of a directory, by a store that behaves well
//! and by one that does not.

use crate::common::store::{Object, Store};
use crate::common::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tensorseal_core::seal::{build, canonical};
use tensorseal_engine::RunOptions;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::stream::hashing::HashAlgorithm;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, Location, OpenOptions};
use tensorseal_registry::source::remote::RequestLimits;
use tensorseal_registry::source::{
    ChangeToken, ListedDigest, ListedModel, OpenedModel, Source, SourceError, bucket,
};

fn quick() -> RequestLimits {
    RequestLimits {
        connect: Duration::from_secs(2),
        idle: Duration::from_secs(5),
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(10),
        ..RequestLimits::default()
    }
}

fn source(store: &Store, uri: &str) -> Box<dyn Source> {
    bucket::open_with(uri, store.settings(), quick()).unwrap()
}

fn listed(source: &dyn Source) -> Vec<ListedModel> {
    crate::common::listed(source).unwrap()
}

fn names(source: &dyn Source) -> Vec<String> {
    listed(source).into_iter().map(|model| model.name).collect()
}

/// The text of a seal.
fn sealed(model: &Checkpoint) -> Result<String, String> {
    let options = RunOptions::new(DeviceChoice::Cpu);
    let measured = build::measure(model, false, &options, &Progress::default());
    let (seal, _) = measured.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    canonical::write(&seal, &mut text).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

fn measured(source: &dyn Source, listed: &ListedModel) -> Result<String, String> {
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
fn bucket_of_one() -> (Store, Box<dyn Source>, ListedModel, String) {
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
    let ChangeToken::Object { etag: Some(etag), modified, .. } = &listed.files[0].change_token
    else {
        panic!()
    };
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

/// What a store says of the SHA-256 of some bytes.
fn checksum(bytes: &[u8], kind: &str) -> String {
    let digest = STANDARD.encode(Sha256::digest(bytes));
    format!("x-amz-checksum-sha256: {digest}\r\nx-amz-checksum-type: {kind}\r\n")
}

/// The claims of each file of a model that has some.
fn claims(opened: &OpenedModel) -> Vec<(String, ListedDigest)> {
    let files = opened.files.iter().flatten();
    let claims =
        files.flat_map(|file| file.digests.iter().map(|claim| (file.path.clone(), claim.clone())));
    claims.collect()
}

#[test]
fn a_checksum_that_the_store_keeps_is_a_claim() {
    let (store, source, listed, _) = bucket_of_one();
    let key = "teams/a/model/README.md";
    store.change(|objects| {
        for object in objects.values_mut() {
            object.checksum = checksum(&object.bytes, "FULL_OBJECT");
        }
        // Of an object in parts.
        let parts = objects.get_mut(key).unwrap();
        parts.checksum = checksum(b"digests", "COMPOSITE").replace("=\r\n", "=-3\r\n");
    });
    store.asked();
    let opened = source.open(&listed).unwrap();
    let found = claims(&opened);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    let expected = listed.files.iter().map(|file| file.path.as_str());
    assert_eq!(paths, expected.filter(|path| *path != "README.md").collect::<Vec<_>>());
    let expected = ListedDigest {
        algorithm: HashAlgorithm::Sha256,
        digest: Sha256::digest(b"{}").to_vec(),
        origin: "its checksum in the store",
        remedy: "upload it again from its origin",
    };
    assert_eq!(found[0], ("1_Pooling/config.json".to_owned(), expected));
    let heads = store.asked().into_iter().filter(|line| line.starts_with("HEAD "));
    assert_eq!(heads.count(), listed.files.len(), "each is asked once");
    // Nothing is asked of an object for a list.
    crate::common::listed(source.as_ref()).unwrap();
    assert!(store.asked().iter().all(|line| line.starts_with("GET ")));
    // Without credentials there is no signature that could cover the header.
    let settings = store.settings().into_iter().skip(2);
    let settings = settings.chain([("AWS_SKIP_SIGNATURE".to_owned(), "true".to_owned())]);
    let unsigned = bucket::open_with("s3://models/teams", settings, quick()).unwrap();
    assert_eq!(unsigned.open(&listed).map(|opened| claims(&opened).len()).unwrap(), 4);
}

#[test]
fn a_store_without_checksums_claims_nothing() {
    let (store, source, listed, seal) = bucket_of_one();
    let none = |what: &str| {
        let opened = source.open(&listed).unwrap();
        assert_eq!(claims(&opened), [], "{what}");
        assert_eq!(sealed(&opened.checkpoint).unwrap(), seal, "{what}");
    };
    none("a store that has none");
    let good = checksum(b"{}", "FULL_OBJECT");
    for nonsense in [
        "x-amz-checksum-sha256: \r\n".to_owned(),
        "x-amz-checksum-sha256: AAAA\r\n".to_owned(),
        "x-amz-checksum-sha256: \u{fc}\r\n".to_owned(),
        good.replace("sha256: ", "sha256: ="),
        good.replace("=\r\n", "==\r\n"),
        good.replace("FULL_OBJECT", "WHATEVER"),
        format!("x-amz-checksum-sha256: {}\r\n", "A".repeat(8000)),
    ] {
        store.change(|objects| {
            objects.values_mut().for_each(|object| object.checksum.clone_from(&nonsense));
        });
        none(&nonsense);
    }
    // One that does not answer such a question is read all the same.
    store.change(|objects| {
        objects.values_mut().for_each(|object| object.checksum.clone_from(&good));
    });
    for status in ["400 Bad Request", "403 Forbidden", "405 Not Allowed", "501 Not Implemented"] {
        store.behave(|behaviour| behaviour.refuses_head = Some(status));
        none(status);
    }
    // But a busy one is asked again, and at last given up.
    store.behave(|behaviour| behaviour.refuses_head = Some("503 Slow Down"));
    let error = source.open(&listed).unwrap_err().to_string();
    assert!(error.starts_with("s3://models/teams/a/model/"), "{error}");
    assert!(error.ends_with("the store returned 503 (6 attempts)"), "{error}");
}

/// What a first scan says of the only model, and of files that are not what the store says they are.
fn first_scan(store: &Store) -> (Value, Vec<Value>) {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state.db");
    let args =
        ["registry", "scan", "s3://models/teams", "--format", "json", "--state", arg(&state)];
    let ran = finished(program(&args).envs(store.settings()).output().unwrap());
    let mut report: Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    let mut model = report["models"][0].take();
    let mut findings = match model["findings"].take() {
        Value::Array(findings) => findings,
        other => panic!("{other}"),
    };
    findings.retain(|finding| finding["rule"] == "registry/blob-differs");
    (model["state"].take(), findings)
}

#[test]
fn a_flipped_bit_is_found_in_the_first_scan() {
    let (store, _, _, _) = bucket_of_one();
    let key = store.key_of("safetensors");
    store.change(|objects| {
        let object = objects.get_mut(&key).unwrap();
        object.checksum = checksum(&object.bytes, "FULL_OBJECT");
    });
    assert_eq!(first_scan(&store), ("new".into(), vec![]));
    store.change(|objects| {
        let bytes = &mut objects.get_mut(&key).unwrap().bytes;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let (state, found) = first_scan(&store);
    assert_eq!((state.as_str(), found.len()), (Some("modified"), 1));
    let message = found[0]["message"].as_str().unwrap();
    assert!(
        message.contains("does not match its checksum in the store (SHA-256 now "),
        "{message}"
    );
}

#[test]
fn one_object_is_no_source() {
    let (store, _, _, _) = bucket_of_one();
    let key = store.key_of("safetensors");
    let source = source(&store, &format!("s3://models/{key}"));
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("s3://models/{key}: the address is that of a single object")),
        "{error}"
    );
    assert!(error.ends_with("use s3://models/teams/a/model"), "{error}");
    // What begins alike is no such object.
    let begun = key.strip_suffix("safetensors").unwrap();
    let none = self::source(&store, &format!("s3://models/{begun}"));
    assert_eq!(names(none.as_ref()), [""; 0]);
    let top = Store::new([("m.gguf".to_owned(), vec![1])]);
    let error = self::source(&top, "s3://models/m.gguf").list(&mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().ends_with("use s3://models"));
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
    assert!(error.contains("bytes instead of") && error.contains("6 attempts"), "{error}");
    store.behave(|behaviour| (behaviour.too_short, behaviour.busy) = (0, u32::MAX));
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("503 (6 attempts)") && !error.contains("hunter2"), "{error}");
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert_eq!(error, "s3://models/teams: the store returned 503 (6 attempts)");
}

#[test]
fn wrong_bytes_are_never_taken() {
    let (store, source, listed, _) = bucket_of_one();
    store.behave(|behaviour| behaviour.too_long = 10);
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("the response is longer than requested"), "{error}");
    store.behave(|behaviour| (behaviour.too_long, behaviour.ignores_range) = (0, true));
    let error = measured(source.as_ref(), &listed).unwrap_err();
    assert!(error.contains("does not support range requests"), "{error}");
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
    let limits = RequestLimits {
        connect: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        attempts: 2,
        ..quick()
    };
    let source = bucket::open_with("s3://models/teams", store.settings(), limits).unwrap();
    let began = Instant::now();
    let error = source.open(&listed).unwrap_err().to_string();
    assert!(error.contains("no response") && error.contains("(2 attempts)"), "{error}");
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
        assert_eq!(error, "s3://models: the listing does not end");
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
    assert_eq!(error, "s3://models: the response is too long");
    // An object of another length than was listed.
    list(page(&item("m.gguf", u64::MAX), ""));
    store.change(|objects| {
        objects.insert("m.gguf".to_owned(), Object::new(vec![0; 5000]));
    });
    let model = listed(source.as_ref()).remove(0);
    assert!(source.open(&model).is_err());
}

#[test]
fn what_is_not_there_is_said() {
    let store = Store::new([]);
    let source = source(&store, "s3://other");
    let error = source.list(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert_eq!(error, "s3://other: the bucket does not exist");
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
    let error = tensorseal_core::seal::read::read_remote(file.as_ref()).unwrap_err();
    assert!(!error.is_content() && error.to_string().contains("the file has changed"), "{error}");
}

#[test]
fn a_model_is_listed_again_when_it_was_read() {
    let still = |change: &dyn Fn(&Store)| {
        let (store, source, listed, _) = bucket_of_one();
        source.open(&listed).unwrap();
        change(&store);
        source.ensure_unchanged(&listed).map_err(|error| error.to_string())
    };
    assert_eq!(still(&|_| {}), Ok(()));
    let key = "teams/a/model/README.md";
    let elsewhere = "teams/a/other/model.safetensors";
    assert_eq!(still(&|store| put(store, elsewhere)), Ok(()), "another model");
    type Case<'c> = (&'c dyn Fn(&Store), &'c str);
    let cases: [Case<'_>; 3] = [
        (&|store| put(store, key), "README.md"),
        (&|store| put(store, "teams/a/model/new.py"), "its list of files changed"),
        (&|store| store.change(|objects| drop(objects.remove(key))), "its list of files changed"),
    ];
    for (change, said) in cases {
        let error = still(change).unwrap_err();
        assert!(error.contains("changed while it was being read"), "{error}");
        assert!(error.contains(said), "{error}");
    }
}

fn put(store: &Store, key: &str) {
    store.change(|objects| {
        objects.insert(key.to_owned(), Object::new(b"what it is now".to_vec()));
    });
}

#[test]
fn arrays_alone_are_no_model_of_a_bucket() {
    let objects = ["a/m/x.safetensors", "a/m/x.npy", "b/train.npy", "b/c/d.onnx", "b/test.npz"];
    let store = Store::new(objects.map(|key| (key.to_owned(), vec![1])));
    let listed = listed(source(&store, "s3://models").as_ref());
    let found: Vec<_> =
        listed.iter().map(|model| (model.name.as_str(), model.not_a_model.as_deref())).collect();
    let arrays = Some("2 arrays, but no model file");
    assert_eq!(found, [("a/m", None), ("b", arrays), ("b/c", None)]);
}
