//! What the program says to do next: after damage, and after a mistake on the command line.

use crate::common::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A sealed model in a directory that holds nothing else.
fn sealed() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let tensor = ("weight", "F32", &[512u64, 256][..], noise(1, 4 * 512 * 256));
    let model = write_model(&dir.path().join("model"), &[tensor]);
    let ran = run(&["seal", arg(&model), "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (dir, model)
}

/// Flips bits of a byte of the weights.
fn flip(model: &Path, at_end: usize, mask: u8) {
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - at_end;
    bytes[at] ^= mask;
    fs::write(&path, bytes).unwrap();
}

/// The command after `next:`, without the name of the program.
fn next(ran: &Ran) -> Vec<String> {
    let line = ran.stderr.lines().find(|line| line.contains("next: "));
    let line = line.unwrap_or_else(|| panic!("{}", ran.stderr));
    let command = line.split('`').nth(1).unwrap_or_else(|| panic!("{line}"));
    let mut words = command.split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("tensorseal"), "{line}");
    words.collect()
}

#[test]
fn damage_is_repaired_and_verified_by_what_is_printed() {
    let (dir, model) = sealed();
    flip(&model, 5000, 0x10);
    let verified = run(&["verify", arg(&model), "--device", "cpu"]);
    assert_eq!(verified.code, 1);
    let out = dir.path().join("repaired");
    let repair: Vec<String> =
        next(&verified).iter().map(|word| word.replace("OUT", arg(&out))).collect();
    assert_eq!(repair, ["repair", arg(&model), "-o", arg(&out)]);
    let repaired = run(&repair.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    let verify = next(&repaired);
    let verified = run(&verify.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert!(verified.stdout.contains("intact"), "{}", verified.stdout);
    // A change that is not a flipped bit cannot be restored.
    let (_dir, model) = sealed();
    flip(&model, 5000, 0x10);
    flip(&model, 9000, 0x7f);
    let verified = run(&["verify", arg(&model), "--device", "cpu"]);
    assert_eq!(next(&verified), ["explain", "integrity/tensor-changed"]);
}

/// Small models are measured on the CPU, which the report says; the log repeats it.
#[test]
fn the_usual_device_is_no_message() {
    let (_dir, model) = sealed();
    let ran = run(&["verify", arg(&model), "--device", "auto"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("\nmeasured"), "{}", ran.stdout);
    let logged = run(&["verify", arg(&model), "--device", "auto", "-v"]);
    assert!(logged.stderr.contains("less than 1 GiB"), "{}", logged.stderr);
}

#[test]
fn what_does_not_exist_is_named_with_its_role() {
    let (dir, model) = sealed();
    let absent = dir.path().join("absent");
    let path = arg(&absent);
    for (args, words) in [
        (&["verify", arg(&model), "--seal", path][..], "no seal file "),
        (&["verify", arg(&model), "--public-key", path], "no public key file "),
        (&["sign", arg(&model), "--key", path], "no key file "),
        (&["gate", arg(&model), "--policy", path], "no policy file "),
        (&["verify", arg(&model), "--config", path], "no configuration file "),
        (&["watermark", "detect", arg(&model), "--key", path], "no watermark key file "),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        let line = format!("tensorseal: error: {words}{path}");
        assert!(ran.stderr.starts_with(&line), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_one_error() {
    let (dir, model) = sealed();
    let report = dir.path().join("absent/report.html");
    let target = format!("html={}", report.display());
    let ran = run(&["verify", arg(&model), "--device", "cpu", "--report", &target]);
    let line = format!(
        "tensorseal: error: cannot write {}: no such file or directory\n",
        report.display()
    );
    assert_eq!((ran.code, ran.stderr), (3, line));
}
