//! Keys that OpenSSL wrote.

use super::fixtures::{made, made_key, oms, private};
use crate::{Curve, KeyError, PrivateKey, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn public(name: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_pem(oms(&format!("keys/{name}.pub.pem")))
}

#[test]
fn fingerprints_are_those_of_the_python_client() {
    let expected = made("fingerprints").as_object().unwrap();
    assert_eq!(expected.len(), 7);
    for (file, expected) in expected {
        let key = PublicKey::from_pem(oms(&format!("keys/{file}"))).unwrap();
        assert_eq!(key.hint(), expected.as_str().unwrap(), "{file}");
    }
    assert_eq!(
        public("p256").unwrap().hint(),
        "7bd8297d82c257afc518944b7758d322c89b3fdf264f06553656b1b14708c19f"
    );
    // Line ends and the form of the point make no difference.
    assert_eq!(public("p256-crlf"), public("p256"));
    assert_eq!(PublicKey::from_pem(made_key("compressed.pub")), public("p256"));
    assert_ne!(public("p256-other"), public("p256"));
}

#[test]
fn private_keys_know_their_public_keys() {
    for (name, curve) in [
        ("p256", Curve::P256),
        ("p256-sec1", Curve::P256),
        ("p384", Curve::P384),
        ("p521", Curve::P521),
    ] {
        let key = private(name);
        assert_eq!(key.public(), public(name).unwrap(), "{name}");
        assert_eq!((key.curve(), key.public().curve()), (curve, curve));
    }
}

#[test]
fn keys_in_many_wrappings() {
    let p256 = public("p256").unwrap();
    let crlf = String::from_utf8_lossy(made_key("sec1")).replace('\n', "\r\n");
    for text in [made_key("sec1"), crlf.as_bytes()] {
        assert!(!PrivateKey::is_encrypted(text));
        assert_eq!(PrivateKey::from_pem(text, None).unwrap().public(), p256);
    }
    let with_parameters = PrivateKey::from_pem(made_key("ecparam"), None).unwrap();
    assert_eq!(with_parameters.curve(), Curve::P256);
    for name in ["scrypt", "pbkdf2-sha512"] {
        let text = made_key(name);
        assert!(PrivateKey::is_encrypted(text), "{name}");
        assert_eq!(PrivateKey::from_pem(text, Some(b"hunter2")).unwrap().public(), p256, "{name}");
        let error = |passphrase| PrivateKey::from_pem(text, passphrase).unwrap_err();
        assert_eq!(error(None), KeyError::Encrypted);
        assert_eq!(error(Some(b"hunter3")), KeyError::WrongPassphrase);
        assert_eq!(error(Some(b"")), KeyError::WrongPassphrase);
    }
    let encrypted = oms("keys/p256-encrypted.priv.pem");
    let key = PrivateKey::from_pem(encrypted, Some(b"hunter2")).unwrap();
    assert_eq!(Ok(key.public()), public("p256-encrypted"));
}

#[test]
fn keys_of_other_types_are_named() {
    let unsupported = |name: &str| Err(KeyError::UnsupportedType(name.to_owned()));
    for (text, name) in [
        (oms("keys/ed25519.priv.pem"), "Ed25519"),
        (oms("keys/rsa2048.priv.pem"), "RSA"),
        (oms("keys/secp256k1.priv.pem"), "secp256k1"),
        (made_key("rsa-pkcs1"), "RSA"),
        (made_key("dsa"), "DSA"),
        (made_key("x25519"), "X25519"),
        (made_key("p224"), "P-224"),
    ] {
        assert_eq!(PrivateKey::from_pem(text, None).map(|key| key.public()), unsupported(name));
    }
    for (name, key_type) in [("ed25519", "Ed25519"), ("rsa2048", "RSA"), ("secp256k1", "secp256k1")]
    {
        assert_eq!(public(name), unsupported(key_type));
    }
    let explicit = "elliptic curve with explicit parameters";
    assert_eq!(PublicKey::from_pem(made_key("explicit.pub")), unsupported(explicit));
    assert!(PrivateKey::from_pem(made_key("ecparam-explicit"), None).is_err());
}

#[test]
fn the_wrong_kind_of_file_has_an_error_of_its_own() {
    let (private, public) = (oms("keys/p256.priv.pem"), oms("keys/p256.pub.pem"));
    let certificate = oms("pki/leaf.crt.pem");
    let private_error = |text: &[u8]| PrivateKey::from_pem(text, None).unwrap_err();
    let public_error = |text: &[u8]| PublicKey::from_pem(text).unwrap_err();
    assert_eq!(private_error(public), KeyError::PublicKey);
    assert_eq!(private_error(certificate), KeyError::Certificate);
    assert_eq!(public_error(private), KeyError::PrivateKey);
    assert_eq!(public_error(made_key("scrypt")), KeyError::PrivateKey);
    assert_eq!(public_error(certificate), KeyError::Certificate);
    assert_eq!(private_error(&[private, private].concat()), KeyError::SeveralKeys);
    assert_eq!(private_error(&[private, certificate].concat()), KeyError::SeveralKeys);
    assert_eq!(public_error(&[public, public].concat()), KeyError::SeveralKeys);
    assert_eq!(private_error(&[private, b"x"].concat()), KeyError::TrailingText);
    assert_eq!(public_error(&[public, b"x"].concat()), KeyError::TrailingText);
    let other = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    assert!(matches!(private_error(other), KeyError::Label { expected: "private", .. }));
    assert!(matches!(public_error(other), KeyError::Label { expected: "public", .. }));
    assert!(matches!(private_error(b"garbage"), KeyError::Pem(_)));
    assert!(matches!(public_error(&public[..100]), KeyError::Pem(_)));
    let odd = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(private_error(odd), KeyError::Malformed(_)));
    // Text before the key is allowed (RFC 7468, section 2).
    assert!(PrivateKey::from_pem(&[b"Bag Attributes\n", private].concat(), None).is_ok());
}

#[test]
fn unsupported_encryption_is_named() {
    let error = |name: &str| PrivateKey::from_pem(made_key(name), Some(b"hunter2")).unwrap_err();
    for (name, scheme) in [
        ("pbkdf2-sha1", "PBKDF2 over SHA-1"),
        ("3des", "triple DES"),
        ("pbes1", "PKCS#12 (SHA-1 and triple DES)"),
    ] {
        assert_eq!(error(name), KeyError::UnsupportedEncryption(scheme.to_owned()), "{name}");
        assert!(PrivateKey::is_encrypted(made_key(name)), "{name}");
    }
    // A passphrase would not help, so none is asked for.
    let (old, scheme) = ("sec1-encrypted", "the old PEM format (Proc-Type header)");
    assert_eq!(error(old), KeyError::UnsupportedEncryption(scheme.to_owned()));
    assert!(!PrivateKey::is_encrypted(made_key(old)));
}

/// The public part of a key by `ssh-keygen`, which states the type, and the start of a private part.
fn openssh(key_type: &str) -> Vec<u8> {
    let mut key = b"openssh-key-v1\0".to_vec();
    let string = |text: &[u8]| [&(text.len() as u32).to_be_bytes()[..], text].concat();
    for text in ["aes256-ctr", "bcrypt", "salt and rounds"] {
        key.extend(string(text.as_bytes()));
    }
    key.extend(1u32.to_be_bytes());
    key.extend(string(&[string(key_type.as_bytes()), string(b"public")].concat()));
    key.extend(string(b"private"));
    key
}

#[test]
fn keys_of_openssh_have_a_remedy_if_their_type_is_supported() {
    let error = |key: &[u8]| {
        let pem = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            STANDARD.encode(key)
        );
        assert!(!PrivateKey::is_encrypted(pem.as_bytes()));
        PrivateKey::from_pem(pem.as_bytes(), None).unwrap_err()
    };
    for curve in ["256", "384", "521"] {
        assert_eq!(error(&openssh(&format!("ecdsa-sha2-nistp{curve}"))), KeyError::OpenSsh);
    }
    let sk = "sk-ssh-ed25519@openssh.com";
    for (key_type, name) in
        [("ssh-ed25519", "Ed25519"), ("ssh-rsa", "RSA"), ("ssh-dss", "DSA"), (sk, sk)]
    {
        assert_eq!(error(&openssh(key_type)), KeyError::UnsupportedType(name.to_owned()));
    }
    let whole = openssh("ecdsa-sha2-nistp256");
    let public_part = whole.len() - "private".len() - 4;
    for len in 1..public_part {
        assert!(matches!(error(&whole[..len]), KeyError::Malformed(_)), "{len}");
    }
}

/// An encrypted key states the cost of its decryption.
#[test]
fn costly_keys_are_refused_before_the_work() {
    let costly = |text: &[u8]| match PrivateKey::from_pem(text, Some(b"hunter2")).unwrap_err() {
        KeyError::TooCostly { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(costly(made_key("pbkdf2-costly")), "10000001 PBKDF2 iterations");
    // N = 16384, r = 8, p = 1, to which larger r and p are given.
    let with = |from: &[u8], to: &[u8]| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = std::str::from_utf8(made_key("scrypt")).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = STANDARD.decode(body).unwrap();
        let at = der.windows(from.len()).position(|window| window == from).expect("is in it");
        der[at..at + from.len()].copy_from_slice(to);
        let body = STANDARD.encode(der);
        format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )
    };
    let usual = b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x01";
    let large = with(usual, b"\x02\x02\x40\x00\x02\x01\x7f\x02\x01\x7f");
    assert_eq!(costly(large.as_bytes()), "scrypt with N·r·p = 16384·127·127");
    for odd in [
        b"\x02\x02\x40\x01\x02\x01\x08\x02\x01\x01",
        b"\x02\x02\x40\x00\x02\x01\x00\x02\x01\x01",
        b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x00",
    ] {
        let text = with(usual, odd);
        let error = PrivateKey::from_pem(text.as_bytes(), Some(b"hunter2")).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)), "{error}");
    }
}

/// The keys of RFC 6979, appendices A.2.5 to A.2.7, over `sample`, with the first digits of r and s printed there.
#[test]
fn signatures_have_the_nonces_of_rfc_6979() {
    let published = [("efd48b2a", "f7cb1c94"), ("94edbb92", "99ef4aeb"), ("c328fafc", "617cce7c")];
    for (case, (r, s)) in made("rfc6979").as_array().unwrap().iter().zip(published) {
        let text = |member: &str| case[member].as_str().unwrap();
        assert!(text("r").starts_with(r) && text("s").starts_with(s));
        let key = PrivateKey::from_pem(text("key").as_bytes(), None).unwrap();
        let signature = key.sign(b"sample");
        assert_eq!(tensorseal_base::hex::hex(&signature), text("der"), "{}", key.curve());
        assert!(key.public().verify(b"sample", &signature));
        assert!(!key.public().verify(b"Sample", &signature));
    }
}

#[test]
fn signatures_are_checked_strictly() {
    let key = private("p256");
    let signature = key.sign(b"x");
    let public = key.public();
    assert!(public.verify(b"x", &signature));
    assert!(!private("p256-other").public().verify(b"x", &signature));
    assert!(!private("p384").public().verify(b"x", &signature));
    for at in 0..signature.len() {
        let mut flipped = signature.clone();
        flipped[at] ^= 1;
        assert!(!public.verify(b"x", &flipped), "byte {at}");
        assert!(!public.verify(b"x", &signature[..at]));
    }
    assert!(!public.verify(b"x", &[&signature[..], b"\0"].concat()));
    // r = 0 and s = 0.
    assert!(!public.verify(b"x", b"\x30\x06\x02\x01\x00\x02\x01\x00"));
}

#[test]
fn secrets_are_not_shown() {
    let key = private("p256");
    assert_eq!(
        format!("{key:?}"),
        format!("PrivateKey(of PublicKey(P-256, {}))", key.public().hint())
    );
}
