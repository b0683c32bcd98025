//! Chains of certificates, with the verdicts of OpenSSL beside those of this program.

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

/// What is refused, and in which words; everything else is accepted.
const REFUSED: [(&str, &str); 42] = [
    ("operator-gives-middle-only", "none of the trusted certificates is a root"),
    ("other-root", "no trusted certificate of the issuer CN=Root of CN=Middle"),
    ("same-name-other-root", "the certificate of CN=Middle is not signed by the key of CN=Root"),
    ("missing-middle", "no trusted certificate of the issuer CN=Middle of CN=signer p521"),
    ("no-root", "none of the trusted certificates is a root"),
    ("self-signed", "CN=Own is signed by itself and is not among the trusted roots"),
    ("leaf-no-usage", "may not sign"),
    ("leaf-server-auth-only", "may not sign"),
    ("leaf-encipherment", "may not sign"),
    ("leaf-encipherment-code-signing", "may not sign"),
    (
        "leaf-expired",
        "CN=leaf-expired expired at 2026-11-30T23:59:59Z; it was checked for 2026-12-01T00:00:00Z",
    ),
    ("leaf-future", "CN=leaf-future is valid from 2026-12-01T00:00:01Z on"),
    ("leaf-unknown-critical", "the critical extension 1.2.3.4, which is not supported"),
    ("leaf-twice", "a malformed extension 1.2.3.4"),
    ("leaf-rsa", "the key of CN=leaf-rsa is RSA, which is refused"),
    ("leaf-ed25519", "is Ed25519, which is refused"),
    ("leaf-secp256k1", "is secp256k1, which is refused"),
    ("leaf-fulcio", "expired at 2026-01-01T00:10:00Z"),
    ("two-algorithms", "names two signature algorithms"),
    ("bit-flipped", "the certificate of CN=bit-Flipped is not signed by the key of CN=Middle"),
    ("issuer-expired", "CN=issuer-expired Middle expired"),
    ("issuer-future", "CN=issuer-future Middle is valid from 2027-01-01T00:00:00Z on"),
    ("issuer-no-ca", "CN=issuer-no-ca Middle is no certificate authority"),
    ("issuer-no-constraints", "Middle is no certificate authority"),
    ("issuer-no-cert-sign", "Middle may not sign certificates"),
    ("issuer-unknown-critical", "Middle has the critical extension 1.2.3.4"),
    ("issuer-name-constraints", "the critical extension nameConstraints"),
    ("issuer-name-constraints-not-critical", "the critical extension nameConstraints"),
    ("root-path-length", "CN=Short allows 0 intermediate certificates below it; the chain has 1"),
    ("path-length", "CN=First allows 0 intermediate certificates below it; the chain has 1"),
    ("root-expired", "CN=Stale expired at 2026-02-01T00:00:00Z"),
    ("root-unknown-critical", "CN=Odd has the critical extension 1.2.3.4"),
    ("pss-other-mask", "RSA-PSS with other parameters than one SHA-2 hash, which is refused"),
    ("rsa-sha1", "is signed with SHA-1 with RSA, which is refused"),
    ("rsa-md5", "is signed with MD5 with RSA, which is refused"),
    ("ecdsa-sha224", "is signed with SHA-224 with ECDSA, which is refused"),
    ("rsa-1024", "the key of CN=rsa-1024 Root is RSA of 1024 bits (not 2048 to 8192)"),
    ("ed25519", "is signed with Ed25519, which is refused"),
    ("secp256k1", "the key of CN=secp256k1 Root is secp256k1, which is refused"),
    ("circle", "no trusted certificate of the issuer CN=A of CN=B"),
    ("too-deep", "the chain above CN=below 7 is longer than 8 certificates"),
    ("many-of-one-name", "the chain above CN=of many takes more than 64 signatures to find"),
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

/// Chains that OpenSSL refuses and this program does not: validity includes its last second (RFC 5280,
/// section 4.1.2.5), and of several issuers of the same name OpenSSL looks at one alone.
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
        ("leaf-critical-unknown-ext", "the critical extension"),
        ("leaf-expired", "expired at"),
        ("leaf-keyencipherment-only", "may not sign"),
        ("leaf-no-usage", "may not sign"),
        ("leaf-not-yet-valid", "is valid from 2040-01-01T00:00:00Z on"),
        ("leaf-signed-by-leaf", "CN=model signer is no certificate authority"),
        ("self-signed", "signed by itself"),
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
fn what_a_certificate_says() {
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
