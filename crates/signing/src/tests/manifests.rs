//! Signed manifests with exactly one defect. The signature is valid, and each manifest is refused for its defect.

use super::fixtures::{now, oms, private, trust_key};
use crate::oms::NameError;
use crate::{
    Manifest, ManifestError, Resource, SignatureError, SigningMethod, Statement, StatementError,
    StrictJsonError, sign_statement, verify,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::num::NonZeroU64;
use tensorseal_base::hashing::{FileHashing, HashAlgorithm};

/// Returns the statement of a fixture bundle.
fn statement(bundle: &str) -> Value {
    let bundle = oms(&format!("bundles/{bundle}.sig"));
    let opened = verify(bundle, &trust_key("p256"), now()).unwrap();
    serde_json::from_slice(&opened.statement).unwrap()
}

/// Signs, verifies and parses a statement.
fn judge(statement: &[u8]) -> Result<Manifest, ManifestError> {
    let bundle = sign_statement(statement, &private("p256"), &SigningMethod::Key).unwrap();
    let opened = verify(&bundle, &trust_key("p256"), now()).expect("the signature is sound");
    assert_eq!(opened.statement, statement);
    let found = Manifest::parse(&opened.statement);
    if let Err(error) = &found {
        assert!(SignatureError::from(error.clone()).is_content_error());
        assert!(!error.to_string().contains('\n'));
    }
    found
}

/// Parses a statement after a change. The root is recomputed, so that the change is the only defect.
fn changed(bundle: &str, change: impl Fn(&mut Value)) -> Result<Manifest, ManifestError> {
    let mut statement = statement(bundle);
    change(&mut statement);
    if let Some(resources) = statement["predicate"]["resources"].as_array() {
        let mut hasher = Sha256::new();
        for digest in resources.iter().filter_map(|resource| resource["digest"].as_str()) {
            hasher.update(tensorseal_base::hex::unhex_any_case(digest).unwrap_or_default());
        }
        if let Some(root) = statement.pointer_mut("/subject/0/digest/sha256") {
            *root = json!(tensorseal_base::hex::hex(&hasher.finalize()));
        }
    }
    judge(statement.to_string().as_bytes())
}

fn set(bundle: &str, pointer: &str, value: Value) -> Result<Manifest, ManifestError> {
    changed(bundle, |statement| match statement.pointer_mut(pointer) {
        Some(member) => *member = value.clone(),
        None => {
            let (object, member) = pointer.rsplit_once('/').unwrap();
            statement.pointer_mut(object).unwrap()[member] = value.clone();
        }
    })
}

fn removed(bundle: &str, object: &str, member: &str) -> Result<Manifest, ManifestError> {
    changed(bundle, |statement| {
        let object = statement.pointer_mut(object).unwrap().as_object_mut().unwrap();
        object.remove(member).expect("it was there");
    })
}

const KEY: &str = "key-basic";
const SHARDS: &str = "api-shards-colon";

#[test]
fn an_unchanged_manifest_is_valid() {
    for bundle in [KEY, SHARDS, "api-blake2", "key-names", "key-single.safetensors"] {
        assert!(changed(bundle, |_| ()).is_ok(), "{bundle}");
    }
}

/// Step 6 of the verification: the statement.
#[test]
fn statements() {
    use StatementError::{Json, SubjectDigest, Subjects, Type};
    let is = |found: Result<Manifest, ManifestError>, expected: StatementError| {
        assert_eq!(found, Err(ManifestError::Statement(expected)));
    };
    let text = |text: &str| text.to_owned();
    is(
        set(KEY, "/_type", json!("https://in-toto.io/Statement/v0.1")),
        Type(text("https://in-toto.io/Statement/v0.1")),
    );
    is(set(KEY, "/subject", json!([])), Subjects(0));
    let two = statement(KEY)["subject"][0].clone();
    is(changed(KEY, |s| s["subject"].as_array_mut().unwrap().push(two.clone())), Subjects(2));
    is(removed(KEY, "/subject/0/digest", "sha256"), SubjectDigest);
    is(removed(KEY, "/subject/0", "digest"), SubjectDigest);
    for wrong in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66)] {
        let mut statement = statement(KEY);
        statement["subject"][0]["digest"]["sha256"] = json!(wrong);
        is(judge(statement.to_string().as_bytes()), SubjectDigest);
    }
    let shape = |found| {
        assert!(
            matches!(found, Err(ManifestError::Statement(Json(StrictJsonError::Shape(_))))),
            "{found:?}"
        );
    };
    shape(removed(KEY, "", "_type"));
    shape(removed(KEY, "", "predicateType"));
    shape(removed(KEY, "", "subject"));
    shape(set(KEY, "/subject", json!({})));
    shape(set(KEY, "/predicate", json!(null)));
    shape(set(KEY, "/predicate", json!([])));
    for wrong in ["", "null", "[]", "{}", "{\"a\":1,", "\u{feff}{}", "{} x"] {
        let found = judge(wrong.as_bytes());
        assert!(matches!(found, Err(ManifestError::Statement(Json(_)))), "{wrong:?}");
    }
    assert!(judge(b"\xff").is_err());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let found = judge(deep.as_bytes());
    assert!(matches!(found, Err(ManifestError::Statement(Json(StrictJsonError::Syntax(_))))));
    let twice = r#"{"a":{"b":1,"c":2,"b":1}}"#;
    is(judge(twice.as_bytes()), Json(StrictJsonError::DuplicateMember(text("b"))));
}

/// Step 6: which predicates are manifests.
#[test]
fn types_of_predicates() {
    for sound in ["v1.0", "v1.1", "v1.12"] {
        let name = format!("https://model_signing/signature/{sound}");
        assert!(set(KEY, "/predicateType", json!(name)).is_ok(), "{sound}");
    }
    for wrong in [
        "",
        "https://model_signing/signature/v1",
        "https://model_signing/signature/v1.",
        "https://model_signing/signature/v1.x",
        "https://model_signing/signature/v2.0",
        "https://model_signing/signature/v1.0/",
        "https://model_signing/Digests/v0.2",
        "https://slsa.dev/verification_summary/v1",
    ] {
        let found = set(KEY, "/predicateType", json!(wrong));
        assert_eq!(found, Err(ManifestError::PredicateType(wrong.to_owned())));
    }
    assert_eq!(removed(KEY, "/subject/0", "name"), Err(ManifestError::NoSubjectName));
    assert_eq!(set(KEY, "/subject/0/name", json!("")), Err(ManifestError::NoSubjectName));
}

/// Step 7: the root must match the digests in their order.
#[test]
fn roots() {
    let mut other = statement(KEY);
    other["subject"][0]["digest"]["sha256"] = json!("0".repeat(64));
    let found = judge(other.to_string().as_bytes());
    assert!(matches!(found, Err(ManifestError::Root { signed, .. }) if signed == [0; 32]));
    let mut reversed = statement(KEY);
    reversed["predicate"]["resources"].as_array_mut().unwrap().reverse();
    assert!(matches!(judge(reversed.to_string().as_bytes()), Err(ManifestError::Root { .. })));
    // Another order is valid if the root matches it.
    let unsorted = changed(KEY, |s| s["predicate"]["resources"].as_array_mut().unwrap().reverse());
    assert_eq!(unsorted.unwrap().resources[0].name, "tokenizer.json");
}

/// Step 8: hash functions and methods.
#[test]
fn hashes_and_methods() {
    let serialization =
        |member: &str, value: Value| set(KEY, &format!("/predicate/serialization/{member}"), value);
    assert_eq!(
        serialization("hash_type", json!("md5")),
        Err(ManifestError::HashType("md5".into()))
    );
    assert_eq!(
        serialization("hash_type", json!("SHA256")),
        Err(ManifestError::HashType("SHA256".into()))
    );
    assert_eq!(serialization("method", json!("file")), Err(ManifestError::Method("file".into())));
    // The digests of another hash function of the same length.
    let found = serialization("hash_type", json!("blake3"));
    assert!(
        matches!(found, Err(ManifestError::Algorithm { expected, .. }) if expected == "blake3")
    );
    let resource =
        |member: &str, value: Value| set(KEY, &format!("/predicate/resources/1/{member}"), value);
    for wrong in ["", "md5", "SHA256", "sha256-sharded-1000"] {
        let found = resource("algorithm", json!(wrong));
        assert!(
            matches!(found, Err(ManifestError::Algorithm { name, .. }) if name == "model.safetensors")
        );
    }
    for wrong in ["z".repeat(64), "0".repeat(63)] {
        let name = "model.safetensors".to_owned();
        assert_eq!(resource("digest", json!(wrong)), Err(ManifestError::Digest(name)));
    }
    for (wrong, bytes) in [("", 0), ("00", 1), (&*"0".repeat(128), 64)] {
        let found = resource("digest", json!(wrong));
        let name = "model.safetensors".to_owned();
        assert_eq!(found, Err(ManifestError::DigestLength { name, found: bytes, expected: 32 }));
    }
    for missing in ["name", "algorithm", "digest"] {
        assert!(removed(KEY, "/predicate/resources/0", missing).is_err());
    }
    for missing in ["method", "hash_type"] {
        assert!(removed(KEY, "/predicate/serialization", missing).is_err());
    }
    for missing in ["serialization", "resources"] {
        assert!(removed(KEY, "/predicate", missing).is_err());
    }
    assert!(!removed(KEY, "/predicate/serialization", "allow_symlinks").unwrap().allow_symlinks);
    assert!(serialization("allow_symlinks", json!("false")).is_err());
    assert_eq!(set(KEY, "/predicate/resources", json!([])), Err(ManifestError::NoResources));
}

/// Step 8: names.
#[test]
fn names() {
    let named = |name: &str| set(KEY, "/predicate/resources/1/name", json!(name));
    for (name, reason) in [
        ("", NameError::Empty),
        ("/etc/passwd", NameError::Absolute),
        ("../x", NameError::Parent),
        ("a/../../x", NameError::Parent),
        ("./x", NameError::Current),
        (".", NameError::Current),
        ("a//x", NameError::EmptyComponent),
        ("a/", NameError::EmptyComponent),
        ("a\0", NameError::Nul),
    ] {
        let name = name.to_owned();
        assert_eq!(named(&name), Err(ManifestError::Name { name, reason }));
    }
    assert_eq!(named("config.json"), Err(ManifestError::Duplicate("config.json".into())));
    assert!(named("a\\..\\b:1:2").is_ok());
    let single = "key-single.safetensors";
    assert!(changed(single, |_| ()).unwrap().is_one_file());
    assert!(!set(single, "/predicate/resources/0/name", json!("a.bin")).unwrap().is_one_file());
}

#[test]
fn ignored_paths() {
    let ignoring =
        |path: &str| set(KEY, "/predicate/serialization/ignore_paths", json!([".git", path]));
    for by in ["config.json", "./config.json", ".", ""] {
        let name = "config.json".to_owned();
        let found = ignoring(by);
        assert_eq!(found, Err(ManifestError::ListedAndIgnored { name, by: by.to_owned() }));
    }
    for other in ["config", "/config.json", "../config.json", "a/config.json"] {
        assert_eq!(ignoring(other).unwrap().ignore_paths, [".git", other]);
    }
    assert_eq!(
        removed(KEY, "/predicate/serialization", "ignore_paths").unwrap().ignore_paths,
        [""; 0]
    );
}

/// Step 8: shards.
#[test]
fn shards() {
    let size = |value: Value| set(SHARDS, "/predicate/serialization/shard_size", value);
    for wrong in [json!(0), json!(-1000), json!(1000.5), json!(1e300), json!(null)] {
        assert_eq!(size(wrong), Err(ManifestError::ShardSize));
    }
    assert!(size(json!("1000")).is_err());
    assert_eq!(
        removed(SHARDS, "/predicate/serialization", "shard_size"),
        Err(ManifestError::ShardSize)
    );
    for sound in [json!(1000), json!(1000.0), json!(1e3)] {
        assert_eq!(size(sound).unwrap().hashing.shard, NonZeroU64::new(1000));
    }
    let named = |at: usize, name: &str| {
        set(SHARDS, &format!("/predicate/resources/{at}/name"), json!(name))
    };
    for wrong in ["co:lon.bin", "co:lon.bin:0", "co:lon.bin:1000:", "co:lon.bin:01000:1500"] {
        assert_eq!(named(1, wrong), Err(ManifestError::ShardName(wrong.to_owned())));
    }
    let name = || "co:lon.bin".to_owned();
    assert_eq!(
        named(0, "co:lon.bin:1:1000"),
        Err(ManifestError::ShardGap { name: name(), expected: 0, found: 1 })
    );
    assert_eq!(
        named(1, "co:lon.bin:1001:1500"),
        Err(ManifestError::ShardGap { name: name(), expected: 1000, found: 1001 })
    );
    assert_eq!(
        named(1, "co:lon.bin:1000:2001"),
        Err(ManifestError::ShardLength { name: name(), found: 1001, size: 1000 })
    );
    assert_eq!(
        named(1, "co:lon.bin:1000:1000"),
        Err(ManifestError::ShardLength { name: name(), found: 0, size: 1000 })
    );
    assert_eq!(named(1, "co:lon.bin:0:1000"), Err(ManifestError::Duplicate(name())));
    let (name, reason) = ("../x".to_owned(), NameError::Parent);
    assert_eq!(named(1, "../x:0:500"), Err(ManifestError::Name { name, reason }));
    // A shard whose name has no path.
    assert!(matches!(
        named(1, ":0:500"),
        Err(ManifestError::Name { reason: NameError::Empty, .. })
    ));
    // The names of whole files do not have the form of shard names.
    assert!(set(SHARDS, "/predicate/serialization/method", json!("files")).is_err());
    let found = set(
        KEY,
        "/predicate/serialization",
        json!({
            "method": "shards", "hash_type": "sha256", "shard_size": 10, "allow_symlinks": false
        }),
    );
    assert_eq!(found, Err(ManifestError::ShardName("config.json".into())));
}

/// The manifests of `model_signing` 0.2.
#[test]
fn subjects_as_resources() {
    let subject = |name: &str, algorithm: Option<&str>| match algorithm {
        None => json!({"name": name, "digest": {"sha256": "0".repeat(64)}}),
        Some(algorithm) => json!({
            "name": name,
            "digest": {"sha256": "0".repeat(64)},
            "annotations": {"actual_hash_algorithm": algorithm},
        }),
    };
    let judge = |subjects: Value| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://model_signing/Digests/v0.1",
            "predicate": {"unused": "x"},
        });
        judge(statement.to_string().as_bytes())
    };
    let sound = judge(json!([subject("a", None), subject("b", Some("file-sha256"))])).unwrap();
    assert_eq!(sound.hashing, FileHashing::whole(HashAlgorithm::Sha256));
    assert_eq!((sound.resources.len(), sound.subject.as_str()), (2, ""));
    let blake3 = judge(json!([subject("a", Some("file-blake3"))])).unwrap();
    assert_eq!(blake3.hashing.algorithm, HashAlgorithm::Blake3);
    assert!(matches!(
        judge(json!([subject("a", None), subject("b", Some("blake3"))])),
        Err(ManifestError::Algorithm { .. })
    ));
    assert!(matches!(judge(json!([subject("a", Some("md5"))])), Err(ManifestError::HashType(_))));
    assert!(matches!(judge(json!([subject("../a", None)])), Err(ManifestError::Name { .. })));
    let twice = json!([subject("a", None), subject("a", None)]);
    assert_eq!(judge(twice), Err(ManifestError::Duplicate("a".into())));
    assert_eq!(judge(json!([])), Err(ManifestError::NoResources));
    assert!(matches!(judge(json!([{"name": "a"}])), Err(ManifestError::Digest(_))));
}

fn file(name: &str, byte: u8) -> Resource {
    Resource { name: name.to_owned(), range: None, digest: vec![byte; 32] }
}

/// The text of a manifest is that of the Python client: in the order of code points, and on one line.
#[test]
fn manifests_as_they_are_written() {
    let sha256 = FileHashing::whole(HashAlgorithm::Sha256);
    let files = vec![
        file("b/a", 1),
        file("b", 2),
        file("B", 3),
        file("b-a", 4),
        file("\u{10000}", 5),
        file("\u{ff5e}", 6),
    ];
    let manifest = Manifest::new("model", sha256, false, vec![".git".into()], files).unwrap();
    let names: Vec<_> = manifest.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["B", "b", "b-a", "b/a", "\u{ff5e}", "\u{10000}"]);
    let text = manifest.to_statement_json();
    assert_eq!(Manifest::parse(&text).as_ref(), Ok(&manifest));
    let root: [u8; 32] =
        Sha256::digest([[3; 32], [2; 32], [4; 32], [1; 32], [6; 32], [5; 32]].concat()).into();
    assert_eq!(manifest.root, root);
    let one = Manifest::new("m", sha256, false, Vec::new(), vec![file("a", 0)]).unwrap();
    let zeros = "00".repeat(32);
    let root = tensorseal_base::hex::hex(&one.root);
    assert_eq!(
        String::from_utf8(one.to_statement_json()).unwrap(),
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"m","digest":{{"sha256":"{root}"}}}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{{"serialization":{{"method":"files","hash_type":"sha256","allow_symlinks":false}},"resources":[{{"name":"a","algorithm":"sha256","digest":"{zeros}"}}]}}}}"#
        )
    );
}

#[test]
fn manifests_are_checked_before_they_are_written() {
    let sha256 = FileHashing::whole(HashAlgorithm::Sha256);
    let new = |subject: &str, files| Manifest::new(subject, sha256, false, Vec::new(), files);
    assert_eq!(new("", vec![file("a", 0)]), Err(ManifestError::NoSubjectName));
    assert_eq!(new("m", vec![]), Err(ManifestError::NoResources));
    assert!(matches!(new("m", vec![file("../a", 0)]), Err(ManifestError::Name { .. })));
    assert!(matches!(new("m", vec![file("a", 0), file("a", 1)]), Err(ManifestError::Duplicate(_))));
    let shard = Resource { range: Some([0, 1]), ..file("a", 0) };
    assert!(matches!(new("m", vec![shard.clone()]), Err(ManifestError::ShardName(_))));
    let sharded = FileHashing { shard: NonZeroU64::new(10), ..sha256 };
    let manifest = Manifest::new("m", sharded, true, Vec::new(), vec![shard]).unwrap();
    assert_eq!(Manifest::parse(&manifest.to_statement_json()), Ok(manifest));
}

#[test]
fn statements_of_other_types() {
    let statement = Statement {
        subject: "model".into(),
        sha256: [7; 32],
        predicate_type: "https://example.com/x/v1".into(),
        predicate: json!({"a": [1, 2.5, null], "b": {"c": "d"}}),
    };
    let text = statement.to_json();
    assert_eq!(Statement::parse(&text), Ok(statement.clone()));
    assert!(matches!(Manifest::parse(&text), Err(ManifestError::PredicateType(_))));
    let unnamed = Statement { subject: String::new(), ..statement };
    assert_eq!(Statement::parse(&unnamed.to_json()), Ok(unnamed));
    // A predicate that is present must be an object.
    for (predicate, sound) in [(json!(null), true), (json!([]), false), (json!("x"), false)] {
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        value["predicate"] = predicate;
        assert_eq!(Statement::parse(value.to_string().as_bytes()).is_ok(), sound);
    }
}
