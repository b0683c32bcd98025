//! Test data: files of `testdata/oms/fixtures.tar.gz` and of `testdata/signing`.

use crate::{Certificate, PrivateKey, PublicKey, TrustAnchors};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::LazyLock;

static OMS: LazyLock<BTreeMap<String, Vec<u8>>> =
    LazyLock::new(|| files(&tensorseal_testing::bytes("oms/fixtures.tar.gz")));

static MADE: LazyLock<Value> = LazyLock::new(|| tensorseal_testing::json("signing/made.json"));

/// Returns a time at which most certificates are valid.
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(MADE["time"].as_i64().unwrap()).unwrap()
}

/// A file of the fixtures.
pub(super) fn oms(path: &str) -> &'static [u8] {
    OMS.get(path).unwrap_or_else(|| panic!("no fixture {path}"))
}

/// The bundles, by path.
pub(super) fn bundles() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let bundle = |(path, bytes): (&'static String, &'static Vec<u8>)| {
        path.ends_with(".sig").then_some((path.as_str(), bytes.as_slice()))
    };
    OMS.iter().filter_map(bundle)
}

/// A member of `made.json`.
pub(super) fn made(member: &str) -> &'static Value {
    &MADE[member]
}

/// A key of `made.json`, in PEM.
pub(super) fn made_key(name: &str) -> &'static [u8] {
    MADE["keys"][name].as_str().unwrap_or_else(|| panic!("no key {name}")).as_bytes()
}

/// A certificate of `made.json`.
pub(super) fn certificate(label: &str) -> Certificate {
    let text = MADE["certificates"][label].as_str().unwrap_or_else(|| panic!("no {label}"));
    Certificate::from_der(&STANDARD.decode(text).unwrap()).unwrap()
}

/// A private key of the fixtures.
pub(super) fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(oms(&format!("keys/{name}.priv.pem")), None).unwrap()
}

/// Returns trust anchors with the public part of a fixture key.
pub(super) fn trust_key(name: &str) -> TrustAnchors {
    TrustAnchors::Key(PublicKey::from_pem(oms(&format!("keys/{name}.pub.pem"))).unwrap())
}

/// Returns trust anchors with a fixture root.
pub(super) fn trust_root(name: &str) -> TrustAnchors {
    TrustAnchors::Roots(Certificate::parse_all(oms(&format!("pki/{name}.crt.pem"))).unwrap())
}

/// Returns the regular files of a tar archive (POSIX ustar) by path. Extended headers are ignored.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(archive).read_to_end(&mut bytes).unwrap();
    let mut files = BTreeMap::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 512 && rest[0] != 0 {
        let (header, after) = rest.split_at(512);
        let text = |range: std::ops::Range<usize>| {
            let field = header[range].split(|&byte| byte == 0).next().unwrap();
            String::from_utf8_lossy(field).trim().to_owned()
        };
        let length = usize::from_str_radix(&text(124..136), 8).unwrap();
        if header[156] == b'0' {
            files.insert(text(0..100), after[..length].to_vec());
        }
        rest = &after[length.next_multiple_of(512)..];
    }
    files
}
