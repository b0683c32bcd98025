//! Bundles with exactly one defect (steps 1 to 5 of the verification).

use super::fixtures::{certificate, now, oms, private, trust_key, trust_root};
use crate::dsse::EnvelopeError;
use crate::{
    BundleError, CertificateError, SignatureError, Signer, SigningMethod, StrictJsonError,
    TrustAnchors, UntrustedError, bundle, sign_statement, verify,
};
use serde_json::{Value, json};

fn key_bundle() -> Value {
    serde_json::from_slice(oms("bundles/key-basic.sig")).unwrap()
}

fn certificate_bundle() -> Value {
    serde_json::from_slice(oms("bundles/cert-basic.sig")).unwrap()
}

fn judge(bundle: &Value, trust: &TrustAnchors) -> Result<Signer, SignatureError> {
    verify(bundle.to_string().as_bytes(), trust, now()).map(|verified| verified.signer)
}

/// Returns the error of a bundle signed with a key after a change.
fn changed(change: impl Fn(&mut Value)) -> BundleError {
    let mut bundle = key_bundle();
    change(&mut bundle);
    match judge(&bundle, &trust_key("p256")) {
        Err(SignatureError::Bundle(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_a_bundle() {
    let error = |text: &[u8]| match verify(text, &trust_key("p256"), now()) {
        Err(SignatureError::Bundle(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(b""), BundleError::Empty);
    assert_eq!(error(b" \n"), BundleError::Empty);
    assert!(matches!(error(b"\xff"), BundleError::Json(StrictJsonError::Syntax(_))));
    assert!(matches!(error(b"null"), BundleError::Json(StrictJsonError::Shape(_))));
    assert!(matches!(error(b"{}"), BundleError::Json(StrictJsonError::Shape(_))));
    let whole = oms("bundles/key-basic.sig");
    assert!(matches!(
        error(&whole[..whole.len() - 1]),
        BundleError::Json(StrictJsonError::Syntax(_))
    ));
    assert!(matches!(
        error(&[whole, b"x"].concat()),
        BundleError::Json(StrictJsonError::Syntax(_))
    ));
    let twice = String::from_utf8_lossy(whole).replacen(
        r#""tlogEntries":[]"#,
        r#""tlogEntries":[],"tlogEntries":[]"#,
        1,
    );
    let name = "tlogEntries".to_owned();
    assert_eq!(error(twice.as_bytes()), BundleError::Json(StrictJsonError::DuplicateMember(name)));
    let long = vec![b' '; bundle::MAX_LEN + 1];
    assert_eq!(error(&long), BundleError::TooLong(long.len()));
}

#[test]
fn media_types() {
    let of = |media_type: &str| {
        let mut bundle = key_bundle();
        bundle["mediaType"] = json!(media_type);
        judge(&bundle, &trust_key("p256"))
    };
    assert!(of("application/vnd.dev.sigstore.bundle.v0.3+json").is_ok());
    assert!(of("application/vnd.dev.sigstore.bundle+json;version=0.3").is_ok());
    for wrong in [
        "",
        "application/json",
        "application/vnd.dev.sigstore.bundle.v0.2+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle.v0.4+json",
    ] {
        let error = BundleError::MediaType(wrong.to_owned());
        assert_eq!(of(wrong), Err(SignatureError::Bundle(error)));
    }
}

#[test]
fn envelopes() {
    use EnvelopeError::{Base64, NoSignature, PayloadType, SeveralSignatures};
    let envelope =
        |member: &str, value: Value| changed(|b| b["dsseEnvelope"][member] = value.clone());
    let is = |found: BundleError, expected| assert_eq!(found, BundleError::Envelope(expected));
    is(envelope("payloadType", json!("text/plain")), PayloadType("text/plain".into()));
    is(envelope("signatures", json!([])), NoSignature);
    let signature = key_bundle()["dsseEnvelope"]["signatures"][0].clone();
    is(envelope("signatures", json!([signature, signature])), SeveralSignatures(2));
    for wrong in ["A", "AAA", "AA-_", " AAAA", "AAAA\n", "AR==", "AAAA===="] {
        is(envelope("payload", json!(wrong)), Base64("payload"));
        is(envelope("signatures", json!([{"sig": wrong}])), Base64("signature"));
    }
    assert_eq!(changed(|b| b["dsseEnvelope"] = json!(null)), BundleError::NoEnvelope);
    let message = |b: &mut Value| {
        b.as_object_mut().unwrap().remove("dsseEnvelope");
        b["messageSignature"] = json!({});
    };
    assert_eq!(changed(message), BundleError::NoEnvelope);
    for missing in ["payload", "payloadType", "signatures"] {
        let error = changed(|b| {
            b["dsseEnvelope"].as_object_mut().unwrap().remove(missing);
        });
        assert!(matches!(error, BundleError::Json(StrictJsonError::Shape(_))), "{missing}");
    }
}

#[test]
fn methods() {
    let material = |value: Value| changed(|b| b["verificationMaterial"] = value.clone());
    assert_eq!(material(json!({})), BundleError::NoMethod);
    assert_eq!(material(json!({"publicKey": null})), BundleError::NoMethod);
    let certificate = json!({"rawBytes": "AAAA"});
    let chain = json!({"certificates": [certificate]});
    for several in [
        json!({"publicKey": {}, "x509CertificateChain": chain}),
        json!({"publicKey": {}, "certificate": certificate}),
        json!({"certificate": certificate, "x509CertificateChain": chain}),
    ] {
        assert_eq!(material(several), BundleError::SeveralMethods);
    }
    for wrong in [json!({"certificates": []}), json!({"certificates": [{"rawBytes": "x"}]})] {
        assert_eq!(material(json!({"x509CertificateChain": wrong})), BundleError::Certificates);
    }
    // Every shape of key identifier that the clients write.
    for valid in [
        json!({"publicKey": {}}),
        json!({"publicKey": {"hint": null}, "tlogEntries": null}),
        json!({"publicKey": {"hint": ""}}),
        json!({"publicKey": {"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}}),
    ] {
        let mut bundle = key_bundle();
        bundle["verificationMaterial"] = valid;
        assert!(judge(&bundle, &trust_key("p256")).is_ok());
    }
}

/// Step 2: a bundle of one method is never accepted as one of the other method.
#[test]
fn methods_are_not_mixed() {
    let other = |found, expected| Err(UntrustedError::OtherMethod { found, expected }.into());
    let (key, certificate) = ("key", "certificate");
    assert_eq!(judge(&key_bundle(), &trust_root("root")), other(key, certificate));
    assert_eq!(judge(&certificate_bundle(), &trust_key("p384")), other(certificate, key));
    // The key of the leaf itself is trusted, and that is not enough.
    let leaf = certificate_of(&certificate_bundle());
    let key_of_leaf = TrustAnchors::Key(leaf.public_key().unwrap());
    assert_eq!(judge(&certificate_bundle(), &key_of_leaf), other(certificate, key));
}

fn certificate_of(bundle: &Value) -> crate::Certificate {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text =
        &bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][0]["rawBytes"];
    let der = STANDARD.decode(text.as_str().unwrap()).unwrap();
    crate::Certificate::from_der(&der).unwrap()
}

/// Steps 3 and 5: signatures with other keys and over other payloads.
#[test]
fn signatures() {
    let untrusted = |bundle: &Value, trust: &TrustAnchors| match judge(bundle, trust) {
        Err(SignatureError::Untrusted(error)) => error,
        other => panic!("{other:?}"),
    };
    let found = untrusted(&key_bundle(), &trust_key("p256-other"));
    assert!(
        matches!(found, UntrustedError::OtherKey { named, .. } if named.starts_with("7bd8297d"))
    );
    let mut unnamed = key_bundle();
    unnamed["verificationMaterial"] = json!({"publicKey": {}});
    for other in ["p256-other", "p384", "p521"] {
        let found = untrusted(&unnamed, &trust_key(other));
        assert!(matches!(found, UntrustedError::Signature { .. }), "{found}");
    }
    // The signature of another statement by the same key; of a statement that was changed afterwards.
    let other: Value = serde_json::from_slice(oms("bundles/key-nested.sig")).unwrap();
    for member in ["payload", "signatures"] {
        for (mut bundle, other, trust) in [
            (key_bundle(), &other, trust_key("p256")),
            (certificate_bundle(), &key_bundle(), trust_root("root")),
        ] {
            // The payloads of the two bundles of `basic` differ in the order of members.
            bundle["dsseEnvelope"][member] = other["dsseEnvelope"][member].clone();
            let found = untrusted(&bundle, &trust);
            assert!(matches!(found, UntrustedError::Signature { .. }), "{found}");
        }
    }
}

#[test]
fn certificates_in_bundles() {
    let trust = TrustAnchors::Roots(vec![certificate("root")]);
    let leaf = certificate("leaf-p256");
    let method = |leaf, chain| SigningMethod::Certificate { leaf, chain };
    let signed = |method: &SigningMethod| sign_statement(b"{}", &private("p256"), method).unwrap();
    let whole = signed(&method(leaf.clone(), vec![certificate("middle")]));
    assert!(verify(&whole, &trust, now()).is_ok());
    let bare = signed(&method(leaf.clone(), Vec::new()));
    let error = |bundle: &[u8], trust: &TrustAnchors| match verify(bundle, trust, now()) {
        Err(SignatureError::Untrusted(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        error(&bare, &trust),
        UntrustedError::Certificate(CertificateError::NoIssuer { .. })
    ));
    // The user may supply certificates that the bundle lacks.
    let both = TrustAnchors::Roots(vec![certificate("middle"), certificate("root")]);
    assert!(verify(&bare, &both, now()).is_ok());
    // The older form with one certificate.
    let mut single: Value = serde_json::from_slice(&bare).unwrap();
    let first = single["verificationMaterial"]["x509CertificateChain"]["certificates"][0].clone();
    single["verificationMaterial"] = json!({"certificate": first});
    assert!(verify(single.to_string().as_bytes(), &both, now()).is_ok());
    // Bytes that are not a certificate, and too many certificates.
    let chain = |certificates: Vec<Value>| {
        let mut bundle: Value = serde_json::from_slice(&whole).unwrap();
        bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] =
            json!(certificates);
        error(bundle.to_string().as_bytes(), &trust)
    };
    assert!(matches!(
        chain(vec![json!({"rawBytes": "AAAA"})]),
        UntrustedError::Certificate(CertificateError::Malformed(_))
    ));
    assert!(matches!(
        chain(vec![first; 501]),
        UntrustedError::Certificate(CertificateError::TooMany(501))
    ));
}

/// Keyless bundles of Sigstore have short-lived certificates and transparency log entries.
#[test]
fn keyless_bundles_have_an_error_of_their_own() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut bundle = certificate_bundle();
    let fulcio = STANDARD.encode(certificate("leaf-fulcio").der());
    bundle["verificationMaterial"] = json!({
        "certificate": {"rawBytes": fulcio},
        "tlogEntries": [{"logIndex": "1", "canonicalizedBody": "AAAA"}],
    });
    let found = judge(&bundle, &TrustAnchors::Roots(vec![certificate("root")]));
    let Err(SignatureError::Untrusted(error @ UntrustedError::Keyless { .. })) = found else {
        panic!("{found:?}")
    };
    assert!(error.to_string().contains("keyless verification is not supported"), "{error}");
}
