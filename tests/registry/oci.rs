//! Models of an OCI registry: read as they are in a directory, and a registry that answers otherwise than
//! it should.

use crate::common::server::{Answer, Request, Server};
use crate::common::{safetensors, small_tensors};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tensorseal_core::seal::build;
use tensorseal_core::seal::canonical::hex;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, OpenOptions};
use tensorseal_registry::source::oci::OciSource;
use tensorseal_registry::source::remote::RequestLimits;
use tensorseal_registry::source::{ListedModel, OpenedModel, Source, SourceError};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";
const PACKED: &str = "application/vnd.cncf.model.weight.config.v1.tar+gzip";

/// How a registry misbehaves.
#[derive(Debug, Clone, Copy, Default)]
struct Quirks {
    /// It gives whole blobs to whoever asks for a part.
    ignores_ranges: bool,
    /// It says that manifests have this digest.
    states: Option<&'static str>,
    /// Its connections break in the middle of so many answers.
    breaks: usize,
    /// It wants a token, of which each is good for so many requests.
    token_uses: Option<usize>,
    /// Blobs come with so many bytes more, or fewer.
    longer: isize,
    /// Where the next page of tags is.
    next: Option<&'static str>,
    /// It answers this, whatever is asked for.
    status: Option<u16>,
}

/// What a registry holds.
#[derive(Debug, Default)]
struct Store {
    /// Manifests by tag and by digest.
    manifests: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    referrers: BTreeMap<String, Vec<u8>>,
    quirks: Quirks,
    /// How often each token was used.
    tokens: BTreeMap<String, usize>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// A registry with one repository, `models/m`.
struct Registry {
    store: Arc<Mutex<Store>>,
    server: Server,
    spool: TempDir,
}

impl Registry {
    fn new() -> Self {
        let store: Arc<Mutex<Store>> = Arc::default();
        let held = Arc::clone(&store);
        let server = Server::start(move |request| answer(&mut held.lock().unwrap(), request));
        Self { store, server, spool: TempDir::new().unwrap() }
    }

    fn quirks(&self, quirks: Quirks) {
        self.store.lock().unwrap().quirks = quirks;
    }

    fn blob(&self, media_type: &str, path: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.store.lock().unwrap().blobs.insert(digest.clone(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size,
            "annotations": {"org.cncf.model.filepath": path}})
    }

    fn push(&self, tag: &str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let digest = digest(&bytes);
        let manifests = &mut self.store.lock().unwrap().manifests;
        manifests.insert(tag.to_owned(), bytes.clone());
        manifests.insert(digest.clone(), bytes);
        digest
    }

    fn push_layers(&self, tag: &str, layers: &[Value]) -> String {
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": digest(b"{}")});
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.push(tag, &manifest)
    }

    fn source(&self, reference: &str) -> OciSource {
        let limits = RequestLimits {
            attempts: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
            idle: Duration::from_secs(5),
            ..RequestLimits::default()
        };
        let uri = format!("oci://{}/models/m{reference}", self.server.address);
        OciSource::open(&uri, self.spool.path(), limits).unwrap()
    }

    fn listed(&self, reference: &str) -> Vec<ListedModel> {
        crate::common::listed(&self.source(reference)).unwrap()
    }

    fn opened(&self, tag: &str) -> Result<OpenedModel, SourceError> {
        let source = self.source(&format!(":{tag}"));
        source.open(&self.listed(&format!(":{tag}"))[0])
    }

    /// Rules and files of what is found when it is opened.
    fn found(&self, tag: &str) -> Vec<(&'static str, String)> {
        let findings = self.opened(tag).unwrap().findings;
        findings.into_iter().map(|f| (f.rule, f.file.unwrap_or_default())).collect()
    }
}

fn answer(store: &mut Store, request: &Request) -> Answer {
    let quirks = store.quirks;
    if let Some(status) = quirks.status {
        return Answer::status(status);
    }
    if request.target.starts_with("/token") {
        assert!(
            request.target.contains("scope=repository%3Amodels%2Fm%3Apull"),
            "{}",
            request.target
        );
        let token = format!("t{}", store.tokens.len());
        store.tokens.insert(format!("Bearer {token}"), 0);
        return Answer::of(json!({"token": token}).to_string());
    }
    if let Some(uses) = quirks.token_uses {
        let token = request.headers.get("authorization").and_then(|t| store.tokens.get_mut(t));
        if token.is_none_or(|used| std::mem::replace(used, *used + 1) >= uses) {
            let realm = format!("http://{}/token", request.headers["host"]);
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
            return Answer::status(401).with("WWW-Authenticate", challenge);
        }
    }
    let path = request.target.strip_prefix("/v2/models/m/").unwrap_or_default();
    let (kind, name) = path.split_once('/').unwrap_or_default();
    let mut answer = match kind {
        "tags" => tags(store),
        "manifests" => match store.manifests.get(name) {
            Some(bytes) => {
                let stated = quirks.states.map_or_else(|| digest(bytes), str::to_owned);
                Answer::of(bytes.as_slice()).with("Docker-Content-Digest", stated)
            }
            None => Answer::status(404),
        },
        "referrers" => match store.referrers.get(name) {
            Some(bytes) => Answer::of(bytes.as_slice()),
            None => Answer::status(404),
        },
        "blobs" => match store.blobs.get(name) {
            Some(bytes) => {
                let mut bytes = bytes.clone();
                bytes.resize(bytes.len().saturating_add_signed(quirks.longer), 0);
                let whole = Request { headers: BTreeMap::new(), ..request.clone() };
                Answer::part(if quirks.ignores_ranges { &whole } else { request }, &bytes)
            }
            None => Answer::status(404),
        },
        _ => Answer::status(404),
    };
    if quirks.breaks > 0 && answer.body.len() > 1000 {
        store.quirks.breaks -= 1;
        answer.told = Some(answer.body.len());
        answer.body.truncate(answer.body.len() / 2);
    }
    answer
}

fn tags(store: &Store) -> Answer {
    let tags: Vec<&String> = store.manifests.keys().filter(|name| !name.contains(':')).collect();
    let answer = Answer::of(json!({"name": "models/m", "tags": tags}).to_string());
    match store.quirks.next {
        Some(next) => answer.with("Link", format!("<{next}>; rel=\"next\"")),
        None => answer,
    }
}

fn tar_gz(members: &[(tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, bytes) in members {
        let mut header = tar::Header::new_gnu();
        // The library itself writes no path that leads out.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&builder.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

/// A model of a file that is read by ranges and one that is packed.
fn usual(registry: &Registry) -> Vec<u8> {
    let weights = safetensors(&small_tensors(1));
    let config = tar_gz(&[(tar::EntryType::Regular, "config.json", b"{}\n")]);
    let layers = [
        registry.blob(WEIGHT, "model.safetensors", weights.clone()),
        registry.blob(PACKED, "config.json", config),
    ];
    registry.push_layers("latest", &layers);
    weights
}

fn root(model: &Checkpoint) -> String {
    let (seal, _) =
        build::measure(model, true, &RunOptions::default(), &Progress::default()).unwrap();
    seal.model.root
}

#[test]
fn a_model_is_what_it_is_in_a_directory() {
    let registry = Registry::new();
    let weights = usual(&registry);
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("model.safetensors"), &weights).unwrap();
    std::fs::write(directory.path().join("config.json"), "{}\n").unwrap();
    let local = Checkpoint::open(directory.path(), &OpenOptions::default()).unwrap();

    let listed = registry.listed("").remove(0);
    assert_eq!((listed.name.as_str(), listed.signed), ("models/m:latest", false));
    assert!(listed.version.as_ref().unwrap().starts_with("sha256:"));
    assert_eq!((listed.files.len(), listed.incomplete.len()), (2, 0));
    assert_eq!(listed.files[1].path, "model.safetensors");
    assert_eq!(listed.files[1].digests[0].digest, Sha256::digest(&weights).to_vec());

    registry.server.asked();
    let opened = registry.source("").open(&listed).unwrap();
    assert_eq!(opened.findings, []);
    let paths = |model: &Checkpoint| -> Vec<(String, u64)> {
        model.files.iter().map(|file| (file.path.clone(), file.bytes)).collect()
    };
    assert_eq!(paths(&opened.checkpoint), paths(&local));
    let files = opened.files.as_ref().unwrap();
    assert_eq!(files.len(), 2, "the member of the archive, and not the archive");
    assert_eq!(files[0].path, "config.json");
    assert_eq!(root(&opened.checkpoint), root(&local));
    // Nothing is fetched twice, and nothing is left.
    let fetched: usize = registry.server.asked().iter().map(|(_, bytes)| bytes).sum();
    assert!(fetched < weights.len() + weights.len() / 10, "{fetched} of {}", weights.len());
    assert_eq!(std::fs::read_dir(registry.spool.path()).unwrap().count(), 0);
}

#[test]
fn a_registry_without_ranges_and_with_broken_connections() {
    let registry = Registry::new();
    let weights = usual(&registry);
    let whole = root(&registry.opened("latest").unwrap().checkpoint);
    registry.quirks(Quirks { ignores_ranges: true, ..Quirks::default() });
    registry.server.asked();
    let opened = registry.opened("latest").unwrap();
    assert_eq!((root(&opened.checkpoint), opened.findings), (whole.clone(), Vec::new()));
    let fetched: usize = registry.server.asked().iter().map(|(_, bytes)| bytes).sum();
    assert!(fetched < weights.len() + weights.len() / 10, "{fetched} of {}", weights.len());

    registry.quirks(Quirks { breaks: 2, ..Quirks::default() });
    assert_eq!(root(&registry.opened("latest").unwrap().checkpoint), whole);
    // What comes once, and breaks off, is no shorter file.
    registry.quirks(Quirks { ignores_ranges: true, breaks: usize::MAX, ..Quirks::default() });
    assert!(matches!(registry.opened("latest"), Err(SourceError::Unreachable { .. })));
}

#[test]
fn tokens_are_asked_for_again_when_they_are_used_up() {
    let registry = Registry::new();
    usual(&registry);
    registry.quirks(Quirks { token_uses: Some(4), ..Quirks::default() });
    let opened = registry.opened("latest").unwrap();
    root(&opened.checkpoint);
    assert!(registry.store.lock().unwrap().tokens.len() >= 3);
    registry.quirks(Quirks { token_uses: Some(0), ..Quirks::default() });
    let listed = registry.listed(":latest").remove(0);
    assert!(listed.unreadable.is_some_and(|why| why.contains("401")));
}

#[test]
fn a_blob_that_is_another() {
    let registry = Registry::new();
    usual(&registry);
    // Of the raw layer, the scan checks the digest.
    let blobs = |change: &dyn Fn(&mut Vec<u8>)| {
        registry.store.lock().unwrap().blobs.values_mut().for_each(change);
    };
    blobs(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    let packed = registry.listed(":latest")[0].files[0].path.clone();
    assert_eq!(registry.found("latest"), [("registry/blob-differs", packed.clone())]);
    registry.quirks(Quirks { ignores_ranges: true, ..Quirks::default() });
    let both = [packed, "model.safetensors".to_owned()].map(|file| ("registry/blob-differs", file));
    assert_eq!(registry.found("latest"), both);
    blobs(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    for (longer, ignores_ranges) in [(1, false), (1, true), (-1, false), (-1, true)] {
        registry.quirks(Quirks { longer, ignores_ranges, ..Quirks::default() });
        assert_eq!(registry.found("latest"), both, "{longer} {ignores_ranges}");
    }
    // A blob that is not there is no finding, and no model.
    registry.quirks(Quirks::default());
    registry.store.lock().unwrap().blobs.clear();
    assert!(matches!(registry.opened("latest"), Err(SourceError::Unreachable { .. })));
}

#[test]
fn a_manifest_that_is_another() {
    let registry = Registry::new();
    usual(&registry);
    let other = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    registry.quirks(Quirks { states: Some(other), ..Quirks::default() });
    let listed = registry.listed("").remove(0);
    assert!(listed.unreadable.as_ref().is_some_and(|why| why.contains(other)), "{listed:?}");

    registry.quirks(Quirks::default());
    let listed = registry.listed(":latest").remove(0);
    let asked = listed.version.clone().unwrap();
    registry.store.lock().unwrap().manifests.insert(asked.clone(), b"{}".to_vec());
    assert!(registry.listed(&format!("@{asked}"))[0].unreadable.is_some());
    let error = registry.source(":latest").open(&listed).unwrap_err().to_string();
    assert!(error.contains("the manifest has another digest"), "{error}");
    registry.store.lock().unwrap().manifests.remove(&asked);
    let gone = registry.source(":latest").open(&listed);
    assert!(matches!(gone, Err(SourceError::Changed { .. })));
    let long = vec![b' '; (4 << 20) + 1];
    registry.store.lock().unwrap().manifests.insert("latest".to_owned(), long);
    assert!(registry.listed("")[0].unreadable.as_ref().is_some_and(|why| why.contains("longer")));
}

#[test]
fn an_archive_that_leads_out_writes_nowhere() {
    let registry = Registry::new();
    let file = tar::EntryType::Regular;
    let bytes = tar_gz(&[
        (file, "../escaped", b"x"),
        (file, "/escaped", b"x"),
        (tar::EntryType::Symlink, "link", b""),
        (file, "same", b"1"),
        (file, "same", b"2"),
        (file, "config.json", b"{}"),
    ]);
    let layer = registry.blob(PACKED, "config", bytes);
    registry.push_layers("latest", &[layer]);
    let opened = registry.opened("latest").unwrap();
    let found: Vec<&str> = opened.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(found, ["registry/archive-refused"]);
    let model = &opened.checkpoint;
    let problems: Vec<&str> = model.problems.iter().map(|problem| problem.rule).collect();
    assert_eq!(problems, ["format/unsafe-path", "format/unsafe-path", "format/listed-twice"]);
    let paths: Vec<&str> = model.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "same"]);
    assert_eq!(opened.files.unwrap().len(), 2);
    assert!(!registry.spool.path().parent().unwrap().join("escaped").exists());
    assert_eq!(std::fs::read_dir(registry.spool.path()).unwrap().count(), 0);
}

#[test]
fn a_list_of_tags_that_does_not_end() {
    let registry = Registry::new();
    let all = |registry: &Registry| {
        let source = registry.source("");
        source.list(&mut |_| ControlFlow::Continue(()))
    };
    assert!(all(&registry).is_ok(), "no tags");
    for next in [
        "/v2/models/m/tags/list?n=100&last=x",
        "/v2/models/m/tags/list?n=100",
        "http://elsewhere.invalid/",
        "/v2/_catalog",
        "::",
    ] {
        registry.quirks(Quirks { next: Some(next), ..Quirks::default() });
        registry.server.asked();
        assert!(matches!(all(&registry), Err(SourceError::Unreachable { .. })), "{next}");
        assert!(registry.server.asked().len() <= 2, "{next}");
    }
    usual(&registry);
    registry.quirks(Quirks { status: Some(503), ..Quirks::default() });
    assert!(all(&registry).is_err());
    assert_eq!(registry.server.asked().len(), 3, "a bounded number of attempts");
}

#[test]
fn an_index_is_several_models_and_signatures_are_noticed() {
    let registry = Registry::new();
    let manifests: Vec<Value> = ["q4", "q8"]
        .iter()
        .map(|variant| {
            let layer = registry.blob(
                "application/vnd.docker.ai.gguf.v3",
                "m.gguf",
                variant.as_bytes().to_vec(),
            );
            let digest = registry.push_layers(variant, &[layer]);
            json!({"mediaType": MANIFEST, "digest": digest, "size": 1,
                "platform": {"os": "linux", "architecture": "amd64", "variant": variant}})
        })
        .collect();
    let signed = manifests[1]["digest"].as_str().unwrap().to_owned();
    registry.store.lock().unwrap().manifests.retain(|name, _| name.contains(':'));
    registry.push("all", &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}));
    let bundle = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST,
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json", "digest": signed, "size": 1}]});
    let by_tag = registry.listed("");
    assert_eq!(
        by_tag.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["models/m:all[linux/amd64/q4]", "models/m:all[linux/amd64/q8]"]
    );
    assert!(by_tag.iter().all(|model| model.unreadable.is_none() && !model.signed));
    registry
        .store
        .lock()
        .unwrap()
        .referrers
        .insert(signed.clone(), bundle.to_string().into_bytes());
    let signed_now = |registry: &Registry| -> Vec<bool> {
        registry.listed("").iter().map(|model| model.signed).collect()
    };
    assert_eq!(signed_now(&registry), [false, true]);
    // An old registry: the tag that stands for referrers, which is no model.
    registry.store.lock().unwrap().referrers.clear();
    registry.push(&signed.replace(':', "-"), &bundle);
    assert_eq!(signed_now(&registry), [false, true]);
}

#[test]
fn a_tag_is_asked_for_again_when_its_model_was_read() {
    let registry = Registry::new();
    usual(&registry);
    let listed = registry.listed("").remove(0);
    let still = |listed: &ListedModel| registry.source("").ensure_unchanged(listed);
    assert!(still(&listed).is_ok());
    let digest = listed.version.clone().unwrap();
    let pinned = ListedModel { name: format!("models/m@{digest}"), ..listed.clone() };
    registry.push_layers("latest", &[registry.blob(WEIGHT, "model.safetensors", vec![0])]);
    let moved = still(&listed).unwrap_err().to_string();
    assert!(
        moved.contains("changed while it was being read (the tag refers to another manifest)"),
        "{moved}"
    );
    assert!(still(&pinned).is_ok(), "a digest leads to the same for ever");
}
