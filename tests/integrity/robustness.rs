//! What a hostile or unlucky file system does to a run: files that change under the reader, kills,
//! links, full disks. Nothing is lost, nothing crashes, nothing is half written.

use crate::common::oms::Fixtures;
use crate::common::*;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A model of one sparse tensor, large enough that a run can be caught in the middle of it. The first
/// weights are none of them zero, so that it can be marked.
fn sparse_model(directory: &Path, bytes: u64) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join("model.safetensors");
    let rows = bytes / 1024;
    let header =
        format!(r#"{{"w":{{"dtype":"BF16","shape":[{rows},512],"data_offsets":[0,{bytes}]}}}}"#);
    fs::write(&path, file_of(&header, &[])).unwrap();
    let start = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(start + bytes).unwrap();
    file.write_all_at(&vec![0x3C; WEIGHTS.min(bytes as usize)], start).unwrap();
    path
}

/// Starts the program and waits until the run is in the middle of its work.
fn caught(args: &[&str], in_the_middle: &dyn Fn(&Child) -> bool) -> Child {
    let child = program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !in_the_middle(&child) {
        assert!(started.elapsed() < Duration::from_secs(60), "{args:?} is never at work");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Starts to seal and waits until the model is mapped.
fn caught_sealing(model: &Path, seal: &Path) -> Child {
    let args = ["seal", arg(model), "-o", arg(seal), "--threads", "1", "--device", "cpu"];
    caught(&args, &|child| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap_or_default();
        maps.contains("model.safetensors")
    })
}

/// Starts to embed a mark in a sparse model of this length, and waits until the copy is being written.
/// Everything is in `directory`.
fn caught_embedding(directory: &Path, bytes: u64) -> Child {
    let model = sparse_model(&directory.join("model"), bytes);
    let key = directory.join("key");
    assert_eq!(run(&["watermark", "keygen", "-o", arg(&key)]).code, 0);
    let out = directory.join("out");
    let args = ["watermark", "embed", arg(model.parent().unwrap()), "--key", arg(&key)];
    let more = ["-o", arg(&out), "--threads", "1", "--device", "cpu"];
    caught(&[&args[..], &more].concat(), &|_| {
        let temporary = |name: &str| name.starts_with(".tensorseal-");
        fs::read_dir(directory)
            .unwrap()
            .any(|entry| temporary(entry.unwrap().file_name().to_str().unwrap()))
    })
}

fn nothing_left(directory: &Path, allowed: &[&str]) {
    let names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !allowed.contains(&name.as_str()))
        .collect();
    assert!(names.is_empty(), "left behind: {names:?}");
}

const LARGE: u64 = 3 << 30;
/// Of a model that is hashed by one thread.
const SIGNED: u64 = 1 << 30;
/// Bytes of a sparse model that are no hole.
const WEIGHTS: usize = 16 << 20;

#[test]
fn a_file_truncated_while_it_is_sealed_is_exit_3_with_its_name() {
    let dir = TempDir::new().unwrap();
    let model = sparse_model(dir.path(), LARGE);
    let seal = dir.path().join("seal.json");
    let child = caught_sealing(&model, &seal);
    File::options().write(true).open(&model).unwrap().set_len(1 << 20).unwrap();
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("model.safetensors changed while it was being read"),
        "{}",
        ran.stderr
    );
    nothing_left(dir.path(), &["model.safetensors"]);
}

#[test]
fn a_file_replaced_or_written_to_while_it_is_sealed_is_exit_3() {
    for replace in [true, false] {
        let dir = TempDir::new().unwrap();
        let model = sparse_model(dir.path(), LARGE);
        let seal = dir.path().join("seal.json");
        let child = caught_sealing(&model, &seal);
        if replace {
            let other = sparse_model(&dir.path().join("other"), 4096);
            fs::rename(other, &model).unwrap();
        } else {
            File::options().write(true).open(&model).unwrap().write_at(b"x", LARGE).unwrap();
        }
        let ran = finished(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("changed while it was being read"), "{}", ran.stderr);
        assert!(!seal.exists());
    }
}

#[test]
fn a_killed_run_leaves_no_partial_seal() {
    let dir = TempDir::new().unwrap();
    let model = sparse_model(dir.path(), LARGE);
    let seal = dir.path().join("seal.json");
    let mut child = caught_sealing(&model, &seal);
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_left(dir.path(), &["model.safetensors"]);
}

#[test]
fn an_interrupted_run_ends_with_130_and_leaves_nothing() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let dir = TempDir::new().unwrap();
        let model = sparse_model(dir.path(), LARGE);
        let child = caught_sealing(&model, &dir.path().join("seal.json"));
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, signal) };
        let ran = finished(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 130, "{}", ran.stderr);
        nothing_left(dir.path(), &["model.safetensors"]);
    }
}

#[test]
fn an_embedding_that_does_not_end_well_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let child = caught_embedding(dir.path(), LARGE);
    // SAFETY: a signal to our own child.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    nothing_left(dir.path(), &["model", "key"]);

    let dir = TempDir::new().unwrap();
    let child = caught_embedding(dir.path(), LARGE);
    let model = dir.path().join("model/model.safetensors");
    File::options().write(true).open(&model).unwrap().set_len(32 << 20).unwrap();
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("changed while it was being read"), "{}", ran.stderr);
    nothing_left(dir.path(), &["model", "key"]);
}

/// Starts to sign, or to verify against this signature, and waits until the model is mapped.
fn caught_at_signatures(fixtures: &Fixtures, model: &Path, bundle: Option<&Path>) -> Child {
    let (key, public) = (fixtures.path("keys/p256.priv.pem"), fixtures.path("keys/p256.pub.pem"));
    let out = fixtures.path("new.sig");
    let args = match bundle {
        None => vec!["sign", arg(model), "--key", arg(&key), "-o", arg(&out)],
        Some(bundle) => {
            vec!["verify", arg(model), "--signature", arg(bundle), "--public-key", arg(&public)]
        }
    };
    caught(&args, &|child| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap_or_default();
        maps.contains("model.safetensors")
    })
}

#[test]
fn a_model_that_changes_under_its_signature_is_neither_signed_nor_verified() {
    let fixtures = Fixtures::new();
    let model = sparse_model(&fixtures.path("sparse"), SIGNED);
    let child = caught_at_signatures(&fixtures, &model, None);
    File::options().write(true).open(&model).unwrap().set_len(1 << 20).unwrap();
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("changed while it was being read"), "{}", ran.stderr);
    assert!(!fixtures.path("new.sig").exists());

    let model = sparse_model(&fixtures.path("sparse"), SIGNED);
    let child = caught_at_signatures(&fixtures, &model, None);
    assert_eq!(finished(child.wait_with_output().unwrap()).code, 0);
    let bundle = fixtures.path("new.sig");
    let child = caught_at_signatures(&fixtures, &model, Some(&bundle));
    // Written to and put back: the bytes are as they were signed, and nobody can know what was read.
    let file = File::options().write(true).open(&model).unwrap();
    for byte in [b"x", b"\0"] {
        file.write_all_at(byte, SIGNED - 1).unwrap();
    }
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let child = caught_at_signatures(&fixtures, &model, Some(&bundle));
    // SAFETY: a signal to our own child.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(finished(child.wait_with_output().unwrap()).code, 130);
    stays_small(caught_at_signatures(&fixtures, &model, Some(&bundle)));
}

#[test]
fn a_gate_that_cannot_read_to_the_end_gives_no_verdict() {
    let dir = TempDir::new().unwrap();
    let model = sparse_model(dir.path(), SIGNED / 4);
    let policy = dir.path().join("policy.toml");
    fs::write(&policy, "schema = \"tensorseal.policy/1\"\n[audit]\nrequired = true\n").unwrap();
    let args = ["gate", arg(&model), "--policy", arg(&policy), "--fail-on", "critical"];
    let child = caught(&args, &|child| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap_or_default();
        maps.contains("model.safetensors")
    });
    File::options().write(true).open(&model).unwrap().set_len(1 << 20).unwrap();
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("model.safetensors changed while"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("PASS"), "{}", ran.stdout);
}

#[test]
fn private_memory_does_not_grow_with_the_model() {
    let dir = TempDir::new().unwrap();
    let model = sparse_model(dir.path(), LARGE);
    stays_small(caught_sealing(&model, &dir.path().join("seal.json")));
    let dir = TempDir::new().unwrap();
    stays_small(caught_embedding(dir.path(), LARGE / 2));
}

/// Watches a run to its end.
fn stays_small(mut child: Child) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0u64;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0);
        peak = peak.max(kib);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(finished(child.wait_with_output().unwrap()).code, 0);
    assert!(peak > 0 && peak < 300 << 10, "{peak} KiB of private memory");
}

#[test]
fn a_hundred_thousand_tensors_are_sealed_and_verified() {
    let dir = TempDir::new().unwrap();
    let names: Vec<String> = (0..100_000).map(|i| format!("layers.{i}.weight")).collect();
    let tensors: Vec<Tensor> =
        names.iter().map(|name| (name.as_str(), "F16", &[8u64][..], vec![0x3C; 16])).collect();
    let model = write_model(&dir.path().join("many"), &tensors);
    let ran = run(&["seal", arg(&model), "--digest-only", "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(run(&["verify", arg(&model), "--device", "cpu"]).code, 0);
    let (code, report) = report(&["inspect", arg(&model)]);
    assert_eq!((code, report["model"]["tensors"].as_u64()), (0, Some(100_000)));
}

#[test]
fn links_are_followed_inside_a_hugging_face_cache_and_nowhere_else() {
    let dir = TempDir::new().unwrap();
    let repository = dir.path().join("models--org--name");
    let snapshot = repository.join("snapshots/0123abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::write(repository.join("blobs/aa11"), safetensors(&small_tensors(1))).unwrap();
    fs::write(repository.join("blobs/bb22"), "{}").unwrap();
    symlink("../../blobs/aa11", snapshot.join("model.safetensors")).unwrap();
    symlink("../../blobs/bb22", snapshot.join("config.json")).unwrap();
    let seal = dir.path().join("seal.json");
    let sealed = run(&["seal", arg(&snapshot), "-o", arg(&seal), "--device", "cpu"]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    assert_eq!(run(&["verify", arg(&snapshot), "--seal", arg(&seal)]).code, 0);
    // The same content without links has the same root.
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::copy(repository.join("blobs/aa11"), plain.join("model.safetensors")).unwrap();
    fs::copy(repository.join("blobs/bb22"), plain.join("config.json")).unwrap();
    assert_eq!(run(&["verify", arg(&plain), "--seal", arg(&seal)]).code, 0);
    // A link out of the repository.
    fs::write(dir.path().join("secret"), "{}").unwrap();
    fs::remove_file(snapshot.join("config.json")).unwrap();
    symlink("../../../secret", snapshot.join("config.json")).unwrap();
    assert_eq!(run(&["seal", arg(&snapshot), "-o", arg(&dir.path().join("s"))]).code, 3);
    assert_eq!(run(&["verify", arg(&snapshot), "--seal", arg(&seal)]).code, 1);
    let allowed = run(&["verify", arg(&snapshot), "--seal", arg(&seal), "--allow-symlinks"]);
    assert_eq!(allowed.code, 0, "{}", allowed.stdout);
}

#[test]
fn places_that_cannot_be_written_are_exit_3() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let ran = run(&["seal", arg(&model), "-o", "/proc/seal.json", "--device", "cpu"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("/proc/seal.json"), "{}", ran.stderr);
    // A full disk: the pseudo device that has no room. Its name cannot be replaced by a rename.
    let ran = run(&[
        "verify",
        arg(&model),
        "--expect-root",
        &format!("blake3:{}", "0".repeat(64)),
        "--report",
        "json=/dev/full/x.json",
        "--device",
        "cpu",
    ]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}

#[test]
fn an_unreadable_file_is_exit_3() {
    // Root reads everything: nothing to see then.
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    let config = model.join("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = run(&["verify", arg(&model), "--device", "cpu"]);
    assert_eq!(ran.code, if root { 0 } else { 3 }, "{}", ran.stderr);
    if !root {
        assert!(ran.stderr.contains("config.json"), "{}", ran.stderr);
    }
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let mut child = program(&["inspect", arg(&model), "--full"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
