//! Hostile models and seals, through the program: one clear line, the documented exit code, bounded
//! memory, no panic.

use crate::common::malformed;
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use tempfile::TempDir;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, FileKind, OpenOptions};

/// Runs the program with at most 2 GiB of address space: an allocation by an untrusted number fails.
fn run_bounded(args: &[&str]) -> Ran {
    let mut command = program(args);
    // SAFETY: setrlimit is async-signal-safe and the closure touches nothing else.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 2 << 30, rlim_max: 2 << 30 };
            match libc::setrlimit(libc::RLIMIT_AS, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    finished(command.output().unwrap())
}

fn one_line(text: &str, context: &str) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{context}: {text}");
    assert!(!text.trim_end().chars().any(char::is_control), "{context}: {text:?}");
}

#[test]
fn malformed_models_are_refused_by_seal_and_found_by_verify_and_gate() {
    let dir = TempDir::new().unwrap();
    let policy = dir.path().join("policy.toml");
    fs::write(&policy, "schema = \"tensorseal.policy/1\"\n[audit]\nrequired = true\n").unwrap();
    let sound = write_model(&dir.path().join("sound"), &small_tensors(1));
    let seal = dir.path().join("sound.json");
    assert_eq!(run(&["seal", arg(&sound), "-o", arg(&seal), "--device", "cpu"]).code, 0);
    let mut checked = 0;
    for case in malformed::cases() {
        let place = dir.path().join(case.name);
        fs::create_dir(&place).unwrap();
        let model = (case.build)(&place);
        let opened = Checkpoint::open(&model, &OpenOptions::default()).unwrap();
        let grave = opened.problems.iter().any(|problem| problem.severity > Severity::Low);
        let target = dir.path().join("new.json");
        let sealed = run_bounded(&["seal", arg(&model), "-o", arg(&target), "--device", "cpu"]);
        assert_eq!(sealed.code, if grave { 3 } else { 0 }, "{}: {}", case.name, sealed.stderr);
        if grave {
            one_line(&sealed.stderr, case.name);
            assert!(!target.exists(), "{}: no seal of a malformed model", case.name);
        }
        fs::remove_file(&target).ok();
        let verified = run_bounded(&[
            "verify",
            arg(&model),
            "--seal",
            arg(&seal),
            "--format",
            "json",
            "--device",
            "cpu",
        ]);
        assert_eq!(verified.code, 1, "{}: {}", case.name, verified.stderr);
        let report: Value = serde_json::from_str(&verified.stdout).unwrap();
        validate("tensorseal.report.2", &report);
        let found = rules(&report);
        assert!(found.iter().any(|(rule, _)| rule == case.rule), "{}: {found:?}", case.name);
        let args = ["gate", arg(&model), "--policy", arg(&policy), "--device", "cpu", "--quiet"];
        let judged = run_bounded(&args);
        assert!(judged.code == 1 || !grave && judged.code == 0, "{}: {}", case.name, judged.stderr);
        checked += 1;
    }
    assert!(checked >= 60, "{checked} cases");
}

#[test]
fn legal_oddities_are_sealed_and_verified() {
    let dir = TempDir::new().unwrap();
    for case in malformed::legal() {
        let place = dir.path().join(case.name);
        fs::create_dir(&place).unwrap();
        let model = (case.build)(&place);
        let seal = dir.path().join("seal.json");
        let sealed = run_bounded(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]);
        let opened = Checkpoint::open(&model, &OpenOptions::default()).unwrap();
        if !opened.files.iter().any(|file| file.kind == FileKind::Tensors) {
            assert_eq!(sealed.code, 4, "{}: nothing to seal: {}", case.name, sealed.stderr);
            continue;
        }
        assert_eq!(sealed.code, 0, "{}: {}", case.name, sealed.stderr);
        let verified =
            run_bounded(&["verify", arg(&model), "--seal", arg(&seal), "--device", "cpu"]);
        assert_eq!(verified.code, 0, "{}: {}{}", case.name, verified.stdout, verified.stderr);
    }
}

/// A change to the text or the value of a seal that must make it invalid.
enum Spoil {
    Value(fn(&mut Value)),
    Text(fn(&str) -> Vec<u8>),
}

fn spoils() -> Vec<(&'static str, Spoil)> {
    use Spoil::{Text, Value as V};
    vec![
        ("empty", Text(|_| Vec::new())),
        ("not json", Text(|_| b"hello".to_vec())),
        ("truncated", Text(|text| text.as_bytes()[..text.len() / 2].to_vec())),
        ("junk behind", Text(|text| format!("{text}x").into_bytes())),
        ("not utf-8", Text(|text| [&text.as_bytes()[..20], b"\xff\xfe"].concat())),
        ("byte-order mark", Text(|text| format!("\u{feff}{text}").into_bytes())),
        ("an array", Text(|_| b"[]".to_vec())),
        ("deep", Text(|_| vec![b'['; 1_000_000])),
        (
            "duplicate member",
            Text(|text| text.replacen("{\"files\":", "{\"files\":[],\"files\":", 1).into_bytes()),
        ),
        (
            "duplicate digest",
            Text(|text| {
                text.replacen(
                    "\"blake3\":",
                    &format!("\"blake3\":\"{}\",\"blake3\":", "0".repeat(64)),
                    1,
                )
                .into_bytes()
            }),
        ),
        (
            "number over 2^64",
            Text(|text| {
                text.replacen("\"elements\":", "\"elements\":99999999999999999999", 1).into_bytes()
            }),
        ),
        ("no schema", V(|seal| drop(seal.as_object_mut().unwrap().remove("schema")))),
        ("no files", V(|seal| drop(seal.as_object_mut().unwrap().remove("files")))),
        ("no tensors", V(|seal| drop(seal.as_object_mut().unwrap().remove("tensors")))),
        ("no model", V(|seal| drop(seal.as_object_mut().unwrap().remove("model")))),
        ("another schema", V(|seal| seal["schema"] = json!("tensorseal.seal/2"))),
        ("schema of another type", V(|seal| seal["schema"] = json!(1))),
        ("unknown member", V(|seal| seal["extra"] = json!(1))),
        (
            "root of nothing",
            V(|seal| seal["model"]["root"] = json!(format!("blake3:{}", "0".repeat(64)))),
        ),
        ("root of wrong length", V(|seal| seal["model"]["root"] = json!("blake3:00"))),
        ("totals", V(|seal| seal["model"]["bytes"] = json!(1))),
        ("too many tensors counted", V(|seal| seal["model"]["tensors"] = json!(9))),
        ("negative bytes", V(|seal| seal["files"][0]["bytes"] = json!(-1))),
        ("bytes as text", V(|seal| seal["files"][0]["bytes"] = json!("1"))),
        ("bytes over 2^53", V(|seal| seal["files"][0]["bytes"] = json!((1u64 << 53) + 1))),
        ("path out", V(|seal| seal["files"][0]["path"] = json!("../config.json"))),
        ("absolute path", V(|seal| seal["files"][0]["path"] = json!("/etc/passwd"))),
        ("empty path", V(|seal| seal["files"][0]["path"] = json!(""))),
        ("path with NUL", V(|seal| seal["files"][0]["path"] = json!("a\u{0}b"))),
        ("files out of order", V(|seal| seal["files"].as_array_mut().unwrap().reverse())),
        (
            "file twice",
            V(|seal| {
                let again = seal["files"][0].clone();
                seal["files"].as_array_mut().unwrap().insert(0, again);
            }),
        ),
        (
            "file without digest",
            V(|seal| drop(seal["files"][0].as_object_mut().unwrap().remove("blake3"))),
        ),
        ("digest too short", V(|seal| seal["files"][0]["blake3"] = json!("00"))),
        ("digest in capitals", V(|seal| seal["tensors"][0]["blake3"] = json!("A".repeat(64)))),
        (
            "digest of another tensor",
            V(|seal| seal["tensors"][0]["blake3"] = seal["tensors"][1]["blake3"].clone()),
        ),
        (
            "blocks that do not merge",
            V(|seal| {
                let tensor = block_tensor(seal);
                let blocks = tensor["blocks"].as_str().unwrap().to_owned();
                let first = if blocks.starts_with('A') { 'B' } else { 'A' };
                tensor["blocks"] = json!(format!("{first}{}", &blocks[1..]));
            }),
        ),
        ("blocks cut", V(|seal| block_tensor(seal)["blocks"] = json!("AAAA"))),
        (
            "blocks missing",
            V(|seal| drop(block_tensor(seal).as_object_mut().unwrap().remove("blocks"))),
        ),
        ("blocks not base64", V(|seal| block_tensor(seal)["blocks"] = json!("!!!!"))),
        ("unknown dtype", V(|seal| seal["tensors"][0]["dtype"] = json!("F7"))),
        ("shape against bytes", V(|seal| seal["tensors"][0]["shape"] = json!([3]))),
        (
            "shape that overflows",
            V(|seal| {
                seal["tensors"][0]["shape"] = json!([4294967296u64, 4294967296u64, 4294967296u64])
            }),
        ),
        ("negative dimension", V(|seal| seal["tensors"][0]["shape"] = json!([-1]))),
        ("offset over the file", V(|seal| seal["tensors"][0]["offset"] = json!(1u64 << 40))),
        (
            "tensors overlap",
            V(|seal| seal["tensors"][0]["offset"] = seal["tensors"][1]["offset"].clone()),
        ),
        ("tensor in no file", V(|seal| seal["tensors"][0]["file"] = json!("other.safetensors"))),
        (
            "tensor in a file without tensors",
            V(|seal| seal["tensors"][0]["file"] = json!("config.json")),
        ),
        ("tensors out of order", V(|seal| seal["tensors"].as_array_mut().unwrap().reverse())),
        ("a tensor left out", V(|seal| drop(seal["tensors"].as_array_mut().unwrap().remove(0)))),
        ("outside with a gap", V(|seal| file_with_tensors(seal)["outside"] = json!([]))),
        (
            "outside reversed",
            V(|seal| {
                let file = file_with_tensors(seal);
                let range = file["outside"][0]["range"].clone();
                file["outside"][0]["range"] = json!([range[1], range[0]]);
            }),
        ),
        (
            "range of three",
            V(|seal| file_with_tensors(seal)["outside"][0]["range"] = json!([0, 1, 2])),
        ),
        ("distribution of another type", V(|seal| seal["tensors"][0]["distribution"] = json!([]))),
        (
            "distribution without mean",
            V(|seal| {
                drop(seal["tensors"][0]["distribution"].as_object_mut().unwrap().remove("mean"))
            }),
        ),
    ]
}

fn block_tensor(seal: &mut Value) -> &mut Value {
    seal["tensors"].as_array_mut().unwrap().iter_mut().find(|t| t.get("blocks").is_some()).unwrap()
}

fn file_with_tensors(seal: &mut Value) -> &mut Value {
    seal["files"].as_array_mut().unwrap().iter_mut().find(|f| f.get("outside").is_some()).unwrap()
}

#[test]
fn malformed_seals_are_one_finding() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let good = dir.path().join("good.json");
    assert_eq!(run(&["seal", arg(&model), "-o", arg(&good), "--device", "cpu"]).code, 0);
    let text = fs::read_to_string(&good).unwrap();
    let bad = dir.path().join("bad.json");
    let cases = spoils();
    assert!(cases.len() >= 50);
    for (name, spoil) in cases {
        let bytes = match spoil {
            Spoil::Text(change) => change(&text),
            Spoil::Value(change) => {
                let mut seal: Value = serde_json::from_str(&text).unwrap();
                change(&mut seal);
                seal.to_string().into_bytes()
            }
        };
        assert_ne!(bytes, text.as_bytes(), "{name} changes the seal");
        expect_invalid(&model, &bad, &bytes, name);
    }
    // Any byte changed: refused, or still about the same model (a statistic, say).
    for at in (0..text.len()).step_by(211) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(&bad, &bytes).unwrap();
        let ran = run_bounded(&["verify", arg(&model), "--seal", arg(&bad), "--device", "cpu"]);
        assert!(ran.code == 1 || ran.code == 0, "byte {at}: {}", ran.stderr);
    }
}

fn expect_invalid(model: &Path, bad: &Path, bytes: &[u8], name: &str) {
    fs::write(bad, bytes).unwrap();
    let ran = run_bounded(&[
        "verify",
        arg(model),
        "--seal",
        arg(bad),
        "--format",
        "json",
        "--device",
        "cpu",
    ]);
    assert_eq!(ran.code, 1, "{name}: {}{}", ran.stdout, ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    validate("tensorseal.report.2", &report);
    assert_eq!(rules(&report), [("integrity/seal-invalid".into(), "bad.json".into())], "{name}");
    one_line(report["findings"][0]["message"].as_str().unwrap(), name);
}

#[test]
fn a_seal_that_is_no_file_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    let fifo = dir.path().join("fifo");
    malformed::fifo(&fifo);
    let ran = run_bounded(&["verify", arg(&model), "--seal", arg(&fifo)]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let ran = run_bounded(&["verify", arg(&model), "--seal", arg(dir.path())]);
    assert_eq!(ran.code, 1, "a directory: {}", ran.stderr);
}

#[test]
fn a_malformed_model_is_a_finding_and_an_unreadable_one_is_not() {
    let dir = TempDir::new().unwrap();
    let mut checked = 0;
    for case in malformed::cases() {
        let place = dir.path().join(case.name);
        fs::create_dir(&place).unwrap();
        let model = (case.build)(&place);
        let (code, report) = report(&["audit", arg(&model)]);
        let found = report["findings"].as_array().unwrap();
        assert!(found.iter().any(|f| f["rule"] == case.rule), "{}: {found:#?}", case.name);
        let grave = found.iter().any(|f| f["severity"] != "info" && f["severity"] != "low");
        assert_eq!(code, i32::from(grave), "{}: {found:#?}", case.name);
        checked += 1;
    }
    assert!(checked > 50);
    let nothing = run(&["audit", arg(&dir.path().join("nothing")), "--device", "cpu"]);
    assert_eq!(nothing.code, 3);
    let device = run(&["audit", arg(dir.path()), "--device", "no such adapter"]);
    assert_eq!(device.code, 2, "{}", device.stderr);
}
