//! Versions of an MLflow server: read as they are in a directory, and a server that answers otherwise than
//! it should. The real one is asked in `tests/python/services/mlflow_registry.py`.

use crate::common::server::{Answer, Request, Server};
use crate::common::{safetensors, small_tensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tensorseal_core::seal::build;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, Location};
use tensorseal_registry::source::mlflow::MlflowSource;
use tensorseal_registry::source::remote::RequestLimits;
use tensorseal_registry::source::{ChangeToken, ListedModel, Source, SourceError};

const API: &str = "/api/2.0/mlflow/model-versions/";
const ARTIFACTS: &str = "/api/2.0/mlflow-artifacts/artifacts";

/// What a server holds, and how it misbehaves.
#[derive(Debug, Clone)]
struct Store {
    /// Files of the one version, by paths.
    files: BTreeMap<String, Vec<u8>>,
    uri: &'static str,
    etag: &'static str,
    ignores_ranges: bool,
    /// Every directory has this entry, too.
    entry: Option<Value>,
    /// Every page of versions names this one as the next, and has versions.
    next: Option<(&'static str, usize)>,
}

struct Mlflow {
    store: Arc<Mutex<Store>>,
    server: Server,
    spool: TempDir,
}

impl Mlflow {
    fn new() -> Self {
        let weights = safetensors(&small_tensors(1));
        let files = [("MLmodel", b"flavors: {}\n".to_vec()), ("data/a b.safetensors", weights)];
        let store = Store {
            files: files.map(|(path, bytes)| (path.to_owned(), bytes)).into(),
            uri: "mlflow-artifacts:/0/models/m-1/artifacts",
            etag: "\"1\"",
            ignores_ranges: false,
            entry: None,
            next: None,
        };
        let store = Arc::new(Mutex::new(store));
        let held = Arc::clone(&store);
        let server = Server::start(move |request| answer(&held.lock().unwrap(), request));
        Self { store, server, spool: TempDir::new().unwrap() }
    }

    fn change(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.store.lock().unwrap());
    }

    fn source(&self, path: &str) -> MlflowSource {
        let limits = RequestLimits {
            attempts: 2,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
            idle: Duration::from_secs(5),
            ..RequestLimits::default()
        };
        let uri = format!("mlflow://{}{path}", self.server.address);
        MlflowSource::open(&uri, self.spool.path(), limits).unwrap()
    }

    fn list(&self, path: &str) -> Result<Vec<ListedModel>, SourceError> {
        crate::common::listed(&self.source(path))
    }

    fn root(&self, listed: &ListedModel) -> Result<String, String> {
        let source = self.source("");
        let opened = source.open(listed).map_err(|error| error.to_string())?;
        root(&opened.checkpoint)
    }
}

fn root(model: &Checkpoint) -> Result<String, String> {
    let measured = build::measure(model, true, &RunOptions::default(), &Progress::default());
    measured.map(|(seal, _)| seal.model.root).map_err(|error| error.to_string())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8()
        .unwrap()
        .into_owned()
}

fn answer(store: &Store, request: &Request) -> Answer {
    let version = json!({"name": "m", "version": "1", "status": "READY", "source": "models:/m-1"});
    let json = |value: Value| Answer::of(value.to_string());
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if let Some(question) = path.strip_prefix(API) {
        return match question {
            "search" => {
                let (next, count) = store.next.unwrap_or(("", 1));
                json(json!({"model_versions": vec![version; count], "next_page_token": next}))
            }
            "get" => json(json!({"model_version": version})),
            _ => json(json!({"artifact_uri": store.uri})),
        };
    }
    let root = "0/models/m-1/artifacts";
    if path == ARTIFACTS {
        let directory = decoded(query.strip_prefix("path=").unwrap());
        let within = directory.strip_prefix(root).unwrap().trim_start_matches('/').to_owned();
        return json(json!({"files": entries(store, &within)}));
    }
    let Some(file) = path.strip_prefix(&format!("{ARTIFACTS}/{root}/")) else {
        return Answer::status(404);
    };
    let Some(bytes) = store.files.get(&decoded(file)) else { return Answer::status(404) };
    let whole = Request { headers: BTreeMap::new(), ..request.clone() };
    Answer::part(if store.ignores_ranges { &whole } else { request }, bytes)
        .with("ETag", store.etag)
}

/// The entries of a directory, the length of an empty file left out as the real server does.
fn entries(store: &Store, within: &str) -> Vec<Value> {
    let mut entries: Vec<Value> = store.entry.iter().cloned().collect();
    let prefix = if within.is_empty() { String::new() } else { format!("{within}/") };
    for (path, bytes) in &store.files {
        let Some(rest) = path.strip_prefix(&prefix) else { continue };
        match rest.split_once('/') {
            Some((directory, _)) => entries.push(json!({"path": directory, "is_dir": true})),
            None if bytes.is_empty() => entries.push(json!({"path": rest, "is_dir": false})),
            None => entries
                .push(json!({"path": rest, "is_dir": false, "file_size": bytes.len().to_string()})),
        }
    }
    entries
}

#[test]
fn a_version_is_what_it_is_in_a_directory() {
    let mlflow = Mlflow::new();
    mlflow.change(|store| drop(store.files.insert("empty".to_owned(), Vec::new())));
    let listed = mlflow.list("").unwrap().remove(0);
    assert_eq!((listed.name.as_str(), listed.version.as_deref()), ("m/versions/1", Some("1")));
    assert_eq!((listed.incomplete.len(), &listed.unreadable), (0, &None));
    let files: Vec<_> =
        listed.files.iter().map(|file| (file.path.as_str(), &file.change_token)).collect();
    let none = &ChangeToken::None;
    assert_eq!(files, [("MLmodel", none), ("data/a b.safetensors", none), ("empty", none)]);

    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    for (path, bytes) in &mlflow.store.lock().unwrap().files {
        std::fs::write(directory.path().join(path), bytes).unwrap();
    }
    let local = Checkpoint::open(directory.path(), &Default::default()).unwrap();
    let expected = root(&local).unwrap();
    mlflow.server.asked();
    assert_eq!(mlflow.root(&listed).unwrap(), expected);
    let most = listed.files.iter().map(|file| file.bytes as usize).sum::<usize>() * 11 / 10;
    let fetched = |mlflow: &Mlflow| mlflow.server.asked().iter().map(|(_, n)| n).sum::<usize>();
    assert!(fetched(&mlflow) < most);
    // A server that passes on what lies in a bucket gives no ranges.
    mlflow.change(|store| store.ignores_ranges = true);
    assert_eq!(mlflow.root(&listed).unwrap(), expected);
    assert!(fetched(&mlflow) < most);
    assert_eq!(std::fs::read_dir(mlflow.spool.path()).unwrap().count(), 0);
    // One model, and one version.
    assert_eq!(mlflow.list("/m").unwrap(), mlflow.list("/m/1").unwrap());
    assert!(mlflow.list("/other").unwrap().is_empty(), "what was not asked for");
    assert!(mlflow.list("/m/2").is_err());
}

#[test]
fn the_seal_beside_a_version_is_no_part_of_it() {
    let mlflow = Mlflow::new();
    mlflow.change(|store| drop(store.files.insert("tensorseal.seal.json".into(), b"{}".to_vec())));
    let listed = mlflow.list("").unwrap().remove(0);
    assert!(listed.sealed && listed.files.len() == 3);
    let opened = mlflow.source("").open(&listed).unwrap();
    assert_eq!(opened.files.unwrap().len(), 2);
    let Some(Location::Remote(seal)) = opened.seal else { panic!("{:?}", opened.seal) };
    assert_eq!(seal.bytes(), 2);
}

#[test]
fn a_file_that_was_overwritten_meanwhile_is_a_change() {
    for ignores_ranges in [false, true] {
        let mlflow = Mlflow::new();
        mlflow.change(|store| store.ignores_ranges = ignores_ranges);
        let listed = mlflow.list("").unwrap().remove(0);
        mlflow.change(|store| store.files.get_mut("MLmodel").unwrap().push(b'\n'));
        let opened = mlflow.source("").open(&listed);
        assert!(matches!(opened, Err(SourceError::Changed { .. })), "{opened:?}");
        mlflow.change(|store| drop(store.files.remove("MLmodel")));
        let opened = mlflow.source("").open(&listed);
        assert!(matches!(opened, Err(SourceError::Changed { .. })), "{opened:?}");
    }
    let mlflow = Mlflow::new();
    let listed = mlflow.list("").unwrap().remove(0);
    let source = mlflow.source("");
    let opened = source.open(&listed).unwrap();
    mlflow.change(|store| store.etag = "\"2\"");
    let error = root(&opened.checkpoint).unwrap_err();
    assert!(error.contains("changed"), "{error}");
}

#[test]
fn lists_that_lead_nowhere() {
    let mlflow = Mlflow::new();
    for path in ["..", ".", "", "a/.."] {
        for is_dir in [false, true] {
            let entry = json!({"path": path, "is_dir": is_dir, "file_size": 7});
            mlflow.change(|store| store.entry = Some(entry));
            let listed = mlflow.list("").unwrap().remove(0);
            assert_eq!((listed.files.len(), listed.incomplete.len()), (2, 2), "{path} {listed:?}");
        }
    }
    // A directory in itself, for ever.
    mlflow.change(|store| store.entry = Some(json!({"path": "data", "is_dir": true})));
    mlflow.server.asked();
    let listed = mlflow.list("").unwrap().remove(0);
    assert!(!listed.incomplete.is_empty());
    assert!(mlflow.server.asked().len() < 300);

    mlflow.change(|store| store.entry = None);
    for uri in [
        "s3://bucket/m",
        "mlflow-artifacts://elsewhere/m",
        "mlflow-artifacts:/0/../../x",
        "file:///etc",
    ] {
        mlflow.change(|store| store.uri = uri);
        let listed = mlflow.list("").unwrap().remove(0);
        assert!(listed.unreadable.is_some(), "{uri}");
    }
}

#[test]
fn pages_that_do_not_end() {
    let mlflow = Mlflow::new();
    for (token, count) in [("again", 1), ("again", 0)] {
        mlflow.change(|store| store.next = Some((token, count)));
        mlflow.server.asked();
        assert!(matches!(mlflow.list(""), Err(SourceError::Unreachable { .. })));
        assert!(mlflow.server.asked().len() < 20);
    }
}

#[test]
fn a_version_is_listed_again_when_it_was_read() {
    let server = Mlflow::new();
    let listed = server.list("").unwrap().remove(0);
    let still = || server.source("").ensure_unchanged(&listed).map_err(|error| error.to_string());
    assert_eq!(still(), Ok(()));
    server.change(|store| drop(store.files.insert("MLmodel".into(), b"flavors: {x: 1}".to_vec())));
    assert!(still().unwrap_err().contains("MLmodel"));
    server.change(|store| drop(store.files.remove("MLmodel")));
    assert!(still().unwrap_err().contains("its list of files changed"));
}
