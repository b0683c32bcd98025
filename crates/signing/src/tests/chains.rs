//! Chains of certificates, compared with the verdicts of OpenSSL.

use super::fixtures::{certificate, made, now, oms};
use crate::certificates::verify_chain;
use crate::{Certificate, CertificateError};
use jiff::Timestamp;
use serde_json::Value;

struct Case {
    name: &'static str,
    leaf: Certificate,
    others: Vec<Certificate>,
    trusted: Vec<Certificate>,
    openssl: bool,
}

fn cases() -> Vec<Case> {
    let labels = |value: &Value| -> Vec<Certificate> {
        value.as_array().unwrap().iter().map(|label| certificate(label.as_str().unwrap())).collect()
    };
    let case = |case: &'static Value| Case {
        name: case["case"].as_str().unwrap(),
        leaf: certificate(case["leaf"].as_str().unwrap()),
        others: labels(&case["others"]),
        trusted: labels(&case["trusted"]),
        openssl: case["openssl"].as_bool().unwrap(),
    };
    made("chains").as_array().unwrap().iter().map(case).collect()
}

/// The cases that are refused, and a part of the error message. All other cases are accepted.
const REFUSED: [(&str, &str); 42] = [
    ("operator-gives-middle-only", "none of the trusted certificates is a root"),
    ("other-root", "found no trusted certificate of CN=Root, the issuer of CN=Middle"),
    ("same-name-other-root", "the certificate of CN=Middle is not signed by the key of CN=Root"),
    ("missing-middle", "found no trusted certificate of CN=Middle, the issuer of CN=signer p521"),
    ("no-root", "none of the trusted certificates is a root"),
    ("self-signed", "the certificate of CN=Own is self-signed and is not a trusted root"),
    ("leaf-no-usage", "may not sign"),
    ("leaf-server-auth-only", "may not sign"),
    ("leaf-encipherment", "may not sign"),
    ("leaf-encipherment-code-signing", "may not sign"),
    (
        "leaf-expired",
        "CN=leaf-expired expired at 2026-11-30T23:59:59Z (time of the check: 2026-12-01T00:00:00Z)",
    ),
    ("leaf-future", "CN=leaf-future is not valid before 2026-12-01T00:00:01Z"),
    ("leaf-unknown-critical", "the unsupported critical extension 1.2.3.4"),
    ("leaf-twice", "a malformed or duplicate extension 1.2.3.4"),
    ("leaf-rsa", "the key of CN=leaf-rsa is RSA, which is not accepted"),
    ("leaf-ed25519", "is Ed25519, which is not accepted"),
    ("leaf-secp256k1", "is secp256k1, which is not accepted"),
    ("leaf-fulcio", "expired at 2026-01-01T00:10:00Z"),
    ("two-algorithms", "names two signature algorithms"),
    ("bit-flipped", "the certificate of CN=bit-Flipped is not signed by the key of CN=Middle"),
    ("issuer-expired", "CN=issuer-expired Middle expired"),
    ("issuer-future", "CN=issuer-future Middle is not valid before 2027-01-01T00:00:00Z"),
    ("issuer-no-ca", "CN=issuer-no-ca Middle issued a certificate of the chain, but is not"),
    (
        "issuer-no-constraints",
        "Middle issued a certificate of the chain, but is not a certificate authority",
    ),
    ("issuer-no-cert-sign", "Middle may not sign certificates"),
    ("issuer-unknown-critical", "Middle has the unsupported critical extension 1.2.3.4"),
    ("issuer-name-constraints", "the unsupported critical extension nameConstraints"),
    ("issuer-name-constraints-not-critical", "the unsupported critical extension nameConstraints"),
    (
        "root-path-length",
        "CN=Short allows 0 intermediate certificates below it, but the chain has 1",
    ),
    ("path-length", "CN=First allows 0 intermediate certificates below it, but the chain has 1"),
    ("root-expired", "CN=Stale expired at 2026-02-01T00:00:00Z"),
    ("root-unknown-critical", "CN=Odd has the unsupported critical extension 1.2.3.4"),
    ("pss-other-mask", "RSA-PSS with unsupported parameters"),
    ("rsa-sha1", "is signed with SHA-1 with RSA, which is not accepted"),
    ("rsa-md5", "is signed with MD5 with RSA, which is not accepted"),
    ("ecdsa-sha224", "is signed with SHA-224 with ECDSA, which is not accepted"),
    ("rsa-1024", "the key of CN=rsa-1024 Root is RSA with 1024 bits (expected 2048 to 8192)"),
    ("ed25519", "is signed with Ed25519, which is not accepted"),
    ("secp256k1", "the key of CN=secp256k1 Root is secp256k1, which is not accepted"),
    ("circle", "found no trusted certificate of CN=A, the issuer of CN=B"),
    ("too-deep", "the chain above CN=below 7 is longer than 8 certificates"),
    ("many-of-one-name", "finding a chain for CN=of many needs more than 64 signature checks"),
];

#[test]
fn chains() {
    let cases = cases();
    for Case { name, leaf, others, trusted, .. } in &cases {
        let found = verify_chain(leaf, others, trusted, now());
        match REFUSED.iter().find(|(refused, _)| refused == name) {
            Some((_, words)) => {
                let message = found.expect_err(name).to_string();
                assert!(message.contains(words), "{name}: {message}");
            }
            None => assert_eq!(found, Ok(()), "{name}"),
        }
    }
    for (name, _) in REFUSED {
        assert!(cases.iter().any(|case| case.name == name), "{name}");
    }
}

/// Chains that OpenSSL refuses and this program accepts. The validity of a certificate includes its last second (RFC
/// 5280, section 4.1.2.5), and OpenSSL considers only one of several issuers with the same name.
const OPENSSL_REFUSES: [&str; 4] =
    ["leaf-last-second", "two-roots-of-one-name", "first-of-many", "self-issued-does-not-count"];

#[test]
fn nothing_is_accepted_that_openssl_refuses() {
    for Case { name, leaf, others, trusted, openssl } in cases() {
        let accepted = verify_chain(&leaf, &others, &trusted, now()).is_ok();
        let excepted = OPENSSL_REFUSES.contains(&name);
        assert!(!accepted || openssl != excepted, "{name}");
    }
}

/// The certificates of the fixtures of OMS.
#[test]
fn certificates_of_the_fixtures() {
    let read = |name: &str| {
        let mut all = Certificate::parse_all(oms(&format!("pki/{name}.crt.pem"))).unwrap();
        all.remove(0)
    };
    let (root, middle) = (read("root"), read("intermediate"));
    let found = |leaf: &str| {
        let others = [middle.clone(), read("leaf")];
        verify_chain(&read(leaf), &others, std::slice::from_ref(&root), now())
            .map_err(|e| e.to_string())
    };
    for leaf in ["leaf", "leaf-p256", "leaf-eku-only", "leaf-ds-serverauth"] {
        assert_eq!(found(leaf), Ok(()), "{leaf}");
    }
    for (leaf, words) in [
        ("leaf-critical-unknown-ext", "the unsupported critical extension"),
        ("leaf-expired", "expired at"),
        ("leaf-keyencipherment-only", "may not sign"),
        ("leaf-no-usage", "may not sign"),
        ("leaf-not-yet-valid", "is not valid before 2040-01-01T00:00:00Z"),
        ("leaf-signed-by-leaf", "CN=model signer issued a certificate of the chain"),
        ("self-signed", "self-signed"),
    ] {
        let message = found(leaf).unwrap_err();
        assert!(message.contains(words), "{leaf}: {message}");
    }
    let future: Timestamp = "2050-01-01T00:00:00Z".parse().unwrap();
    let late = verify_chain(
        &read("leaf"),
        std::slice::from_ref(&middle),
        std::slice::from_ref(&root),
        future,
    );
    assert!(matches!(late, Err(CertificateError::Expired { .. })));
}

#[test]
fn members_of_a_certificate() {
    let leaf = certificate("leaf-p256");
    assert_eq!((leaf.subject().as_str(), leaf.issuer().as_str()), ("CN=signer p256", "CN=Middle"));
    assert_eq!(
        leaf.names(),
        ["email:signer@example.com", "URI:https://example.com/signer", "DNS:example.com"]
    );
    assert_eq!(certificate("leaf-no-expiry").not_after(), Timestamp::MAX);
    assert_eq!(certificate("root").serial(), "01");
}

#[test]
fn files_of_certificates() {
    let text = oms("pki/root.crt.pem");
    let many = [b"some words\n", text, b"between\n", oms("pki/leaf.crt.pem"), b"after"].concat();
    let all = Certificate::parse_all(&many).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(Certificate::parse_all(all[1].der()).unwrap(), all[1..]);
    let error = |bytes: &[u8]| Certificate::parse_all(bytes).unwrap_err();
    assert!(matches!(error(b""), CertificateError::Pem(_)));
    assert!(matches!(error(oms("keys/p256.pub.pem")), CertificateError::Label(_)));
    assert!(matches!(error(&all[0].der()[1..]), CertificateError::Pem(_)));
    assert!(matches!(error(&all[0].der()[..200]), CertificateError::Malformed(_)));
    assert!(matches!(error(&[all[0].der(), b"x"].concat()), CertificateError::Malformed(_)));
    let long = [b"\x30\x84".as_slice(), &vec![0; 1 << 17]].concat();
    assert!(matches!(error(&long), CertificateError::TooLong(_)));
    assert!(matches!(error(&text.repeat(501)), CertificateError::TooMany(501)));
}
