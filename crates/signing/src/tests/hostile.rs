//! No input causes a panic, and every error message stays on one line.

use super::fixtures::{bundles, certificate, made_key, now, oms, trust_key, trust_root};
use crate::certificates::verify_chain;
use crate::{Certificate, Manifest, PrivateKey, PublicKey, Statement, TrustAnchors, verify};
use proptest::prelude::*;
use std::sync::LazyLock;

/// A change of some bytes: the position, the new bytes, and the number of bytes that they replace.
type Change = (prop::sample::Index, Vec<u8>, usize);

fn change() -> impl Strategy<Value = Change> {
    let special = prop::sample::select(&b"\0\"\\{}[]:,0159.ae-\xff\x30\x82"[..]);
    let bytes = prop::collection::vec(prop_oneof![special, any::<u8>()], 0..4);
    (any::<prop::sample::Index>(), bytes, 0usize..4)
}

fn mutated(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, new, removed) in changes {
        let at = at.index(bytes.len() + 1);
        let end = (at + removed).min(bytes.len());
        bytes.splice(at..end, new.iter().copied());
    }
    bytes
}

static BUNDLES: LazyLock<Vec<&[u8]>> =
    LazyLock::new(|| bundles().map(|(_, bundle)| bundle).collect());

/// The statements of all valid bundles.
static STATEMENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let verified = |bundle: &&[u8]| verify(bundle, &trust_key("p256"), now()).ok();
    BUNDLES.iter().filter_map(verified).map(|verified| verified.statement).collect()
});

static TRUST: LazyLock<[TrustAnchors; 2]> =
    LazyLock::new(|| [trust_key("p256"), trust_root("root")]);

fn one_line<T, E: std::fmt::Display>(found: Result<T, E>) -> Option<T> {
    found.map_err(|error| assert!(!error.to_string().contains(['\n', '\u{1b}']), "{error}")).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bundles_that_were_altered(
        at: prop::sample::Index,
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let bundle = mutated(BUNDLES[at.index(BUNDLES.len())], &changes);
        for trust in &*TRUST {
            if let Some(verified) = one_line(verify(&bundle, trust, now())) {
                one_line(Manifest::parse(&verified.statement));
            }
        }
    }

    #[test]
    fn statements_that_were_altered(
        at: prop::sample::Index,
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let statement = mutated(&STATEMENTS[at.index(STATEMENTS.len())], &changes);
        one_line(Statement::parse(&statement));
        if let Some(manifest) = one_line(Manifest::parse(&statement)) {
            // A parsed manifest is written in such a way that it parses to the same manifest.
            let again = Manifest::parse(&manifest.to_statement_json());
            let expected = Manifest {
                predicate_type: crate::oms::PREDICATE_TYPE.to_owned(),
                unknown_members: Vec::new(),
                ..manifest
            };
            prop_assert_eq!(again, Ok(expected));
        }
    }

    #[test]
    fn keys_that_were_altered(which in 0usize..6, changes in prop::collection::vec(change(), 1..4)) {
        let text = [
            oms("keys/p256.priv.pem"),
            oms("keys/p521.pub.pem"),
            oms("keys/p256-sec1.priv.pem"),
            oms("keys/p384.pub.pem"),
            made_key("ecparam"),
            oms("pki/leaf.crt.pem"),
        ][which];
        let text = mutated(text, &changes);
        one_line(PublicKey::from_pem(&text));
        one_line(PrivateKey::from_pem(&text, None));
        one_line(Certificate::parse_all(&text));
        PrivateKey::is_encrypted(&text);
    }

    #[test]
    fn certificates_that_were_altered(leaf: bool, changes in prop::collection::vec(change(), 1..4)) {
        let (valid_leaf, middle, root) =
            (certificate("leaf-p256"), certificate("middle"), certificate("root"));
        let altered = mutated(if leaf { valid_leaf.der() } else { middle.der() }, &changes);
        if let Some(altered) = one_line(Certificate::from_der(&altered)) {
            let _ = (altered.names(), altered.subject(), altered.serial(), altered.not_after());
            let found = match leaf {
                true => verify_chain(&altered, std::slice::from_ref(&middle), std::slice::from_ref(&root), now()),
                false => verify_chain(&valid_leaf, std::slice::from_ref(&altered), std::slice::from_ref(&root), now()),
            };
            one_line(verify_chain(&valid_leaf, &[], std::slice::from_ref(&altered), now()));
            let unchanged = altered == if leaf { valid_leaf } else { middle };
            prop_assert_eq!(one_line(found).is_some(), unchanged);
        }
    }
}
