//! Rows, and how each is held.

use crate::common::random::Random;
use crate::common::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Paths below the model's directory, and bytes. A path that begins with `../` lies beside it.
pub(super) type Files = Vec<(&'static str, Vec<u8>)>;

/// A directory, a command, and what comes of it.
pub(super) struct Row {
    /// What it is, for whoever reads that it failed.
    pub name: &'static str,
    /// What is in it.
    pub files: Files,
    /// The command; `{m}` is the model's directory, `{o}` the one that it lies in.
    pub command: &'static str,
    /// Its exit code.
    pub code: i32,
    /// A rule that is among its findings; empty: with exit code 0, there is none but remarks.
    pub rule: &'static str,
    /// A part of what people read.
    pub says: &'static str,
}

/// A row.
pub(super) fn row(
    name: &'static str,
    files: Files,
    command: &'static str,
    code: i32,
    rule: &'static str,
    says: &'static str,
) -> Row {
    Row { name, files, command, code, rule, says }
}

/// Weights as training makes them.
pub(super) fn weights() -> Vec<u8> {
    let mut random = Random(11);
    let mut normal = |len: usize| -> Vec<u8> {
        (0..len).flat_map(|_| (random.normal() as f32 * 0.02).to_le_bytes()).collect()
    };
    safetensors(&[
        ("model.layers.0.mlp.up_proj.weight", "F32", &[64, 64], normal(4096)),
        ("model.layers.1.mlp.up_proj.weight", "F32", &[64, 64], normal(4096)),
    ])
}

/// A file.
pub(super) fn file(path: &'static str, bytes: impl AsRef<[u8]>) -> (&'static str, Vec<u8>) {
    (path, bytes.as_ref().to_vec())
}

/// A sound model, and these files beside it.
pub(super) fn beside(files: Files) -> Files {
    let sound = [
        file("config.json", "{\"model_type\": \"llama\"}\n"),
        file("model.safetensors", weights()),
    ];
    sound.into_iter().chain(files).collect()
}

/// A directory with files, and the model in it.
pub(super) struct Laid {
    dir: TempDir,
}

impl Laid {
    pub(super) fn new(files: &[(&'static str, Vec<u8>)]) -> Laid {
        let laid = Laid { dir: TempDir::new().unwrap() };
        fs::create_dir(laid.model()).unwrap();
        for (path, bytes) in files {
            let place = laid.model().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        laid
    }

    pub(super) fn outer(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn model(&self) -> PathBuf {
        self.dir.path().join("model")
    }

    pub(super) fn command(&self, text: &str) -> Vec<String> {
        let place =
            |word: &str| word.replace("{m}", arg(&self.model())).replace("{o}", arg(self.outer()));
        text.split(' ').map(place).collect()
    }
}

/// Holds every row to what it says.
pub(super) fn hold(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for row in &rows {
        let laid = Laid::new(&row.files);
        wrong.extend(differs(row, &laid).map(|what| format!("{}: {what}", row.name)));
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn differs(row: &Row, laid: &Laid) -> Option<String> {
    let command = laid.command(row.command);
    let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
    if !matches!(args[0], "inspect" | "registry") {
        args.extend(["--device", "cpu"]);
    }
    let read = run(&args);
    let text = format!("{}{}", read.stdout, read.stderr);
    if read.code != row.code || !text.contains(row.says) {
        return Some(format!("exit code {}, not {}, {:?}:\n{text}", read.code, row.code, row.says));
    }
    if args[0] == "registry" {
        return None;
    }
    // A seal that the first run wrote is in the way of none.
    args.extend(["--format", "json"]);
    let read = run(&args);
    let Ok(report) = serde_json::from_str::<Value>(&read.stdout) else {
        return Some(format!("no report: {}{}", read.stdout, read.stderr));
    };
    validate("tensorseal.report.2", &report);
    if (read.code, &report["exit_code"]) != (row.code, &Value::from(row.code)) {
        return Some(format!("with JSON, exit code {}: {report:#}", read.code));
    }
    let said = || report["findings"].as_array().into_iter().flatten();
    let is_there = match row.rule {
        "" => row.code != 0 || said().all(|finding| finding["severity"] == "info"),
        rule => said().any(|finding| finding["rule"] == rule),
    };
    (!is_there).then(|| format!("the rule {:?}: {:#}", row.rule, report["findings"]))
}
