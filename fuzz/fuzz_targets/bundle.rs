//! Signature bundles and what is in them: refused or understood, errors stay on one line, and a manifest
//! that was understood is written so that it is understood again. The first byte chooses the reader.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::fmt::Display;
use tensorseal_signing::{Certificate, Manifest, PrivateKey, PublicKey, Statement, TrustAnchors, verify};

const KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0SRBY/nWV0jO99jCSTxGxwTMxSUO
htE6q3ZPzoGakml8sC7HBeMtwH7ZfKBtkEsLguzKVYtv0YzHkHnPp02gJA==
-----END PUBLIC KEY-----
";

fn one_line<T, E: Display>(found: Result<T, E>) -> Option<T> {
    found.map_err(|error| assert!(!error.to_string().contains('\n'))).ok()
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else { return };
    let now = Timestamp::UNIX_EPOCH;
    match kind % 4 {
        0 => {
            let key = PublicKey::from_pem(KEY).expect("it is a point of P-256");
            one_line(verify(text, &TrustAnchors::Key(key), now));
            one_line(verify(text, &TrustAnchors::Roots(Vec::new()), now));
        }
        1 => {
            one_line(Statement::parse(text));
            // Those of model_signing 0.2 name no subject and are never written.
            let manifest = one_line(Manifest::parse(text));
            if let Some(manifest) = manifest.filter(|manifest| !manifest.subject.is_empty()) {
                let again =
                    Manifest::parse(&manifest.to_statement_json()).expect("it was understood");
                assert_eq!((again.root, again.resources), (manifest.root, manifest.resources));
            }
        }
        2 => {
            one_line(PublicKey::from_pem(text));
            one_line(PrivateKey::from_pem(text, None));
        }
        _ => {
            for certificate in one_line(Certificate::parse_all(text)).unwrap_or_default() {
                let _ = (certificate.names(), certificate.not_after());
                let itself = std::slice::from_ref(&certificate);
                one_line(tensorseal_signing::certificates::verify_chain(
                    &certificate,
                    itself,
                    itself,
                    now,
                ));
            }
        }
    }
});
