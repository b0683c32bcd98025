//! The commands as others call them.

use super::{Error, ErrorKind, SealOptions, VerifyOptions, seal, verify};
use crate::judge::Verdict;
use std::fs;
use std::path::Path;

/// A model of one tensor of eight bytes.
fn write_model(path: &Path, last: u8) {
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0, 0, 128, 63, 0, 0, 0, last]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_model_is_sealed_and_held_to_its_seal() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.safetensors");
    write_model(&model, 64);
    let options = VerifyOptions::default();
    let unsealed = verify(&model, &options).unwrap_err();
    assert_eq!(unsealed.kind(), ErrorKind::Usage, "{unsealed}");

    let sealed = seal(&model, &SealOptions::default()).unwrap();
    assert_eq!((sealed.verdict, sealed.exit_code), (Verdict::Pass, 0));
    let same = verify(&model, &options).unwrap();
    assert_eq!((same.verdict, &same.model.root), (Verdict::Pass, &sealed.model.root));
    assert!(same.seal.unwrap().compared.is_some_and(|compared| compared.tensors == 1));

    write_model(&model, 65);
    let changed = verify(&model, &options).unwrap();
    assert_eq!((changed.verdict, changed.exit_code), (Verdict::Fail, 1));
    assert!(changed.findings.iter().any(|found| found.rule == "integrity/tensor-changed"));
}

#[test]
fn what_is_not_there_and_what_is_stopped_is_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.safetensors");
    let options = VerifyOptions { expect_root: Some([7; 32]), ..VerifyOptions::default() };
    let gone = verify(&model, &options).unwrap_err();
    assert!(matches!(gone, Error::NoModel(_)) && gone.kind() == ErrorKind::Incomplete, "{gone}");
    write_model(&model, 64);
    let other = verify(&model, &options).unwrap();
    assert_eq!(other.findings[0].rule, "integrity/other-model");
    options.progress.stop();
    let stopped = verify(&model, &options).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted, "{stopped}");
}

#[test]
fn a_cache_of_many_models_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("models--a--b/snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    write_model(&snapshot.join("model.safetensors"), 64);
    let cache = dir.path().join("models--a--b");
    for refused in [
        seal(&cache, &SealOptions::default()).unwrap_err(),
        verify(&cache, &VerifyOptions::default()).unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Cache { .. }), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Usage);
        assert!(refused.to_string().contains("snapshots/0123"), "{refused}");
    }
    assert_eq!(seal(&snapshot, &SealOptions::default()).unwrap().verdict, Verdict::Pass);
}
