//! Bundles that this program signs verify.

use super::fixtures::{certificate, now, private, trust_key};
use crate::{
    Curve, SignError, Signer, SigningMethod, Statement, TrustAnchors, sign_statement, verify,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const STATEMENT: &[u8] = b"{ \"any\": \"bytes, kept as they are\" }\n";

const CURVES: [(&str, Curve); 3] =
    [("p256", Curve::P256), ("p384", Curve::P384), ("p521", Curve::P521)];

#[test]
fn keys() {
    for (name, curve) in CURVES {
        let key = private(name);
        let bundle = sign_statement(STATEMENT, &key, &SigningMethod::Key).unwrap();
        let again = sign_statement(STATEMENT, &key, &SigningMethod::Key).unwrap();
        assert_eq!(bundle, again, "signatures are deterministic");
        let verified = verify(&bundle, &trust_key(name), now()).unwrap();
        assert_eq!(verified.statement, STATEMENT);
        assert_eq!(verified.signer, Signer::Key { fingerprint: key.public().hint(), curve });
        assert_eq!(verified.warnings, []);
        assert!(verify(&bundle, &trust_key("p256-other"), now()).is_err());
    }
}

#[test]
fn certificates() {
    let roots = TrustAnchors::Roots(vec![certificate("root")]);
    for (name, _) in CURVES {
        let leaf = certificate(&format!("leaf-{name}"));
        let chain = vec![leaf.clone(), certificate("middle"), certificate("root")];
        let method = SigningMethod::Certificate { leaf: leaf.clone(), chain };
        let bundle = sign_statement(STATEMENT, &private(name), &method).unwrap();
        let verified = verify(&bundle, &roots, now()).unwrap();
        assert_eq!((verified.statement.as_slice(), verified.warnings), (STATEMENT, vec![]));
        let Signer::Certificate { subject, .. } = &verified.signer else { panic!() };
        assert_eq!(*subject, leaf.subject());
        let written: Value = serde_json::from_slice(&bundle).unwrap();
        let chain = &written["verificationMaterial"]["x509CertificateChain"]["certificates"];
        assert_eq!(chain.as_array().unwrap().len(), 3, "the leaf is there once");
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let leaf = certificate("leaf-p256");
    let method = SigningMethod::Certificate { leaf, chain: Vec::new() };
    for other in ["p256-other", "p384"] {
        let error = sign_statement(STATEMENT, &private(other), &method).unwrap_err();
        assert_eq!(error, SignError::OtherKey { subject: "CN=signer p256".into() });
    }
    let leaf = certificate("leaf-rsa");
    let method = SigningMethod::Certificate { leaf, chain: Vec::new() };
    assert!(sign_statement(STATEMENT, &private("p256"), &method).is_err());
}

/// A bundle has exactly these members and values.
#[test]
fn bundles_as_they_are_written() {
    let key = private("p256");
    let bundle = sign_statement(STATEMENT, &key, &SigningMethod::Key).unwrap();
    let written: Value = serde_json::from_slice(&bundle).unwrap();
    let signature = &written["dsseEnvelope"]["signatures"][0]["sig"];
    assert_eq!(
        written,
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": key.public().hint()}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": STANDARD.encode(STATEMENT),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": signature, "keyid": ""}],
            },
        })
    );
    let signature = STANDARD.decode(signature.as_str().unwrap()).unwrap();
    let pae = [b"DSSEv1 28 application/vnd.in-toto+json 37 ", STATEMENT].concat();
    assert_eq!(STATEMENT.len(), 37);
    assert!(key.public().verify(&pae, &signature));
}

#[test]
fn signers_as_json() {
    let signed = |method: &SigningMethod, trust: &TrustAnchors| {
        let bundle = sign_statement(STATEMENT, &private("p256"), method).unwrap();
        let signer = verify(&bundle, trust, now()).unwrap().signer;
        (serde_json::to_value(&signer).unwrap(), signer.to_string())
    };
    let (value, line) = signed(&SigningMethod::Key, &trust_key("p256"));
    let fingerprint = private("p256").public().hint();
    assert_eq!(value, json!({"method": "key", "fingerprint": fingerprint, "curve": "P-256"}));
    assert_eq!(line, format!("P-256 key {fingerprint}"));
    let leaf = certificate("leaf-p256");
    let (serial, fingerprint) = (leaf.serial(), tensorseal_base::hex::hex(&leaf.fingerprint()));
    let method = SigningMethod::Certificate { leaf, chain: vec![certificate("middle")] };
    let (value, line) = signed(&method, &TrustAnchors::Roots(vec![certificate("root")]));
    let names = ["email:signer@example.com", "URI:https://example.com/signer", "DNS:example.com"];
    assert_eq!(
        value,
        json!({
            "method": "certificate",
            "subject": "CN=signer p256",
            "names": names,
            "issuer": "CN=Middle",
            "serial": serial,
            "fingerprint": fingerprint,
            "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2046-01-01T00:00:00Z",
        })
    );
    assert_eq!(line, format!("CN=signer p256 ({}), certified by CN=Middle", names.join(", ")));
}

#[test]
fn statements() {
    let statement = Statement {
        subject: "model".into(),
        sha256: [1; 32],
        predicate_type: "https://example.com/claim/v1".into(),
        predicate: json!({"a": 1}),
    };
    let bundle =
        sign_statement(&statement.to_json(), &private("p521"), &SigningMethod::Key).unwrap();
    let verified = verify(&bundle, &trust_key("p521"), now()).unwrap();
    assert_eq!(Statement::parse(&verified.statement), Ok(statement));
}
