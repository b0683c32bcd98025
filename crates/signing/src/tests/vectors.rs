//! Bundles of the Python client, verified without the models.

use super::fixtures::{bundles, now, oms, trust_key, trust_root};
use crate::oms::{LEGACY_PREDICATE_TYPE, PREDICATE_TYPE};
use crate::{
    BundleWarning, Certificate, Manifest, PublicKey, SignatureError, Signer, TrustAnchors, verify,
};
use serde_json::Value;
use tensorseal_base::hashing::HashAlgorithm;

fn judge(bundle: &[u8], trust: &TrustAnchors) -> Result<Manifest, SignatureError> {
    let verified = verify(bundle, trust, now())?;
    Ok(Manifest::parse(&verified.statement)?)
}

/// Checks the verdicts of `expected.json` without the files of the models: each bundle to accept must be valid, and
/// each bundle to reject must be refused if no file is needed for that.
#[test]
fn verdicts_on_the_bundles_of_the_python_client() {
    let expected: Value = tensorseal_testing::json("oms/expected.json");
    let mut count = 0;
    for (name, case) in expected.as_object().unwrap() {
        let member = |member: &str| case[member].as_str().unwrap();
        let trusted = oms(member("trust"));
        let trust = match member("kind") {
            "key" => TrustAnchors::Key(PublicKey::from_pem(trusted).unwrap()),
            "certificate" => TrustAnchors::Roots(Certificate::parse_all(trusted).unwrap()),
            other => panic!("{other}"),
        };
        let found = judge(oms(member("bundle")), &trust);
        match member("verdict") {
            "accept" | "accept-and-report" => assert!(found.is_ok(), "{name}: {found:?}"),
            "reject" => assert!(found.is_err(), "{name}"),
            "either" => {}
            other => panic!("{other}"),
        }
        count += 1;
    }
    assert_eq!(count, 60);
}

/// Each altered bundle is refused for the expected reason.
#[test]
fn refusals_of_altered_bundles() {
    for (name, words) in [
        ("bad-dotdot-resource", "'../outside-target.bin', which has a '..' component"),
        ("bad-dup-resource-wrong-last", "lists 'config.json' twice"),
        ("bad-empty", "not a signature bundle: the file is empty"),
        ("bad-hashtype-unknown", "the unsupported hash 'md5'"),
        ("bad-hint", "signed with key '0000"),
        ("bad-method-unknown", "the unsupported method"),
        ("bad-payload-whitespace", "invalid signature: it was not made by P-256 key 7bd8297d"),
        ("bad-payloadtype-unsigned", "unsupported payload type"),
        ("bad-sig-bitflip", "invalid signature: it was not made by P-256 key"),
        ("bad-statement-type", "its type is 'https://in-toto.io/Statement/v0.1'"),
        ("key-emptymodel", "lists no files"),
        ("odd-dup-resource-same", "lists 'config.json' twice"),
        ("odd-double-slash-alias", "'.//config.json', which has a '.' component"),
        ("odd-dup-json-keys", "duplicate member 'predicateType'"),
        ("odd-hint-uppercase", "signed with key '7BD8297D"),
        ("odd-ignore-and-listed", "lists 'config.json', although it ignores 'config.json'"),
        ("odd-payload-b64-newlines", "the payload is not standard base64"),
    ] {
        let error = judge(oms(&format!("bundles/{name}.sig")), &trust_key("p256")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(words), "{name}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

/// Errors in the content of a valid signature are distinguished from errors of trust.
#[test]
fn content_errors_are_not_trust_errors() {
    let content = |name: &str| {
        let bundle = oms(&format!("bundles/{name}.sig"));
        judge(bundle, &trust_key("p256")).unwrap_err().is_content_error()
    };
    for name in ["bad-dotdot-resource", "bad-statement-type", "odd-dup-json-keys", "key-emptymodel"]
    {
        assert!(content(name), "{name}");
    }
    for name in ["bad-empty", "bad-hint", "bad-sig-bitflip", "bad-payloadtype-unsigned"] {
        assert!(!content(name), "{name}");
    }
}

#[test]
fn certificates_of_the_python_client() {
    for (name, root, words) in [
        ("cert-basic", "other-root", "found no trusted certificate of CN=Fixture Root CA"),
        ("cert-expired", "root", "CN=leaf expired expired at 2026-03-01T00:00:00Z"),
        ("cert-ke-only", "root", "CN=leaf ke only may not sign"),
        ("key-basic", "root", "signed with a key, but the trust anchor is a certificate"),
    ] {
        let bundle = oms(&format!("bundles/{name}.sig"));
        let message = verify(bundle, &trust_root(root), now()).unwrap_err().to_string();
        assert!(message.contains(words), "{name}: {message}");
    }
    let bundle = oms("bundles/cert-basic.sig");
    let message = verify(bundle, &trust_key("p384"), now()).unwrap_err().to_string();
    assert!(
        message.contains("signed with a certificate, but the trust anchor is a key"),
        "{message}"
    );
    let verified = verify(bundle, &trust_root("root"), now()).unwrap();
    let Signer::Certificate { subject, issuer, not_before, .. } = &verified.signer else {
        panic!()
    };
    assert_eq!(
        (subject.as_str(), issuer.as_str()),
        ("CN=model signer", "CN=Fixture Intermediate CA")
    );
    assert_eq!(not_before.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(verified.warnings, []);
    assert_eq!(
        verified.signer.to_string(),
        "CN=model signer, certified by CN=Fixture Intermediate CA"
    );
}

/// The members that the names of the bundles refer to.
#[test]
fn manifests_of_the_python_client() {
    let manifest = |name: &str| {
        judge(oms(&format!("bundles/{name}.sig")), &trust_key("p256"))
            .unwrap_or_else(|e| panic!("{e}"))
    };
    let basic = manifest("key-basic");
    assert_eq!(basic.subject, "basic");
    assert_eq!(basic.predicate_type, PREDICATE_TYPE);
    assert_eq!(basic.resources.len(), 3);
    assert!(!basic.allow_symlinks && !basic.is_one_file());
    assert_eq!(basic.ignored_paths().covering(".git/HEAD"), Some(".git"));
    assert_eq!(basic.ignored_paths().covering("sub/.git/HEAD"), None);

    assert_eq!(manifest("api-blake2").hashing.algorithm, HashAlgorithm::Blake2b);
    assert_eq!(manifest("api-blake3").hashing.algorithm, HashAlgorithm::Blake3);
    let shards = manifest("api-shards-colon");
    assert_eq!(shards.hashing.shard.unwrap().get(), 1000);
    let listed: Vec<_> = shards.resources.iter().map(|r| (r.name.as_str(), r.range)).collect();
    assert_eq!(listed, [("co:lon.bin", Some([0, 1000])), ("co:lon.bin", Some([1000, 1500]))]);
    assert!(manifest("key-single.safetensors").is_one_file());
    assert!(manifest("key-symlink-inside-allow").allow_symlinks);
    assert_eq!(manifest("odd-predicate-extra").unknown_members, ["modelCard"]);
    assert_eq!(
        manifest("odd-predicate-type-v1.1").predicate_type,
        "https://model_signing/signature/v1.1"
    );
    assert_eq!(manifest("odd-digest-uppercase").resources, basic.resources);
    assert_eq!(manifest("bad-ignore-hides-file").ignore_paths, ["model.safetensors"]);
}

#[test]
fn bundles_without_a_hint_have_a_warning() {
    let verified = verify(oms("bundles/odd-hint-missing.sig"), &trust_key("p256"), now()).unwrap();
    assert_eq!(verified.warnings, [BundleWarning::NoKeyHint]);
    for (path, bundle) in bundles() {
        if let Ok(verified) = verify(bundle, &trust_key("p256"), now()) {
            let expected = usize::from(path.contains("hint-missing"));
            assert_eq!(verified.warnings.len(), expected, "{path}");
        }
    }
}

/// Bundles of old versions of the Python client over the same model.
#[test]
fn bundles_of_old_versions() {
    let old = |name: &'static str| {
        (name, tensorseal_testing::bytes(&format!("signing/old/model_signing-{name}")))
    };
    let basic = judge(oms("bundles/key-basic.sig"), &trust_key("p256")).unwrap();
    let root = trust_root("root");
    for ((name, bundle), trust) in [
        (old("0.2.0-key-p256.sig"), trust_key("p256")),
        (old("0.2.0-key-p384.sig"), trust_key("p384")),
        (old("0.2.0-certificate.sig"), root.clone()),
        (old("0.3.1-key-p256.sig"), trust_key("p256")),
        (old("0.3.1-key-p384.sig"), trust_key("p384")),
        (old("1.0.0-key-p256.sig"), trust_key("p256")),
        (old("1.0.0-key-p384.sig"), trust_key("p384")),
        (old("1.0.0-certificate.sig"), root),
    ] {
        let verified = verify(&bundle, &trust, now()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let manifest =
            Manifest::parse(&verified.statement).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(manifest.resources, basic.resources, "{name}");
        assert_eq!(manifest.root, basic.root, "{name}");
        let legacy = name.starts_with("0.2");
        assert_eq!(manifest.predicate_type == LEGACY_PREDICATE_TYPE, legacy, "{name}");
        assert_eq!(verified.warnings.contains(&BundleWarning::LegacyEncoding), legacy, "{name}");
        assert_eq!(
            verified.warnings.contains(&BundleWarning::NoKeyHint),
            name.contains("key"),
            "{name}"
        );
        assert!(verify(&bundle, &trust_key("p256-other"), now()).is_err());
    }
}
