//! What the program does, held to what it did: exit code, verdict, findings, model root, and digests of seals,
//! of reports and of what people read, for every fixture and for generated models, in
//! `testdata/golden-behaviour.json`.
//!
//! A change of that file is a change of behaviour: the commit that has one says why. To record it anew:
//! `TENSORSEAL_RECORD_GOLDEN=1 cargo test --test formats golden_behaviour`. To see what a digest stands for, run the test
//! before and after with `TENSORSEAL_KEEP_GOLDEN=DIR`, which writes the normalised text of each case there, and
//! compare the directories.
//!
//! Left to vary: the directory, the time of the run, the version, who measured how fast (`engine`), and digits of
//! numbers behind the twelfth. A finding is written as severity, rule, file and tensor.
//!
//! Not here: fixtures that are no models but numbers (`root/`, `distribution/`, `quantised/`, `chacha_chips.json`,
//! `codeword.json`, the chains and keys of `signing/made.json`), which tests of the library hold; attacks that hide
//! the running program, which is another in each build; the bytes of statements that are signed at the time of the
//! test; other devices, sources over the network, and the real checkpoint, which have tests of their own; parts of
//! a registry (`--read-subset`), which depend on its path; `keygen`, which draws lots.

use crate::common::archives::{Member, Zip, pickled, torch_zip};
use crate::common::attacks::victim::{Float, Victim};
use crate::common::attacks::{Attack, accidents, hidden, tampering};
use crate::common::keys::Npy;
use crate::common::sound_files::{sound_npy, sound_torch};
use crate::common::*;
use half::{bf16, f16};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use tempfile::TempDir;

// What is recorded.

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    exit: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// How two models are related, or which of the marks are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// Digest of the normalised standard output, unless that is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdout: String,
    /// What is said on standard error, or the digest of it where that is long.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
    /// Digests of what was written: of the bytes of seals, of the normalised text of reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    written: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    /// Rules of a policy that are not met, or by exception alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unmet: Vec<String>,
    /// States of the models of a registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Enough of a digest of a text to tell that it changed.
fn short_digest(text: &str) -> String {
    digest(text.as_bytes())[..16].to_owned()
}

/// A text without what legitimately varies: the directory, the time, the version, the engine.
fn normalised(text: &str, dir: &Path) -> String {
    let text = text.replace(arg(dir), "<here>").replace(env!("CARGO_PKG_VERSION"), "<version>");
    let mut text = without_ages(&text);
    for (start, end) in
        [(".tensorseal-", ".tmp"), (" time=\"", "\""), ("<dt>Measured</dt><dd>", "<")]
    {
        text = without_between(&text, start, end);
    }
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if line.starts_with("measured  ") {
            continue;
        }
        if line == "  \"engine\": {\n" {
            let last = lines.by_ref().find(|line| line.starts_with("  }"));
            out.push_str("  \"engine\": {");
            out.push_str(last.unwrap_or_default().trim_start());
            continue;
        }
        match line.split_once("\"seconds\": ") {
            Some((before, after)) if before.trim().is_empty() => {
                let end = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                out.push_str(&format!("{before}\"seconds\": 0{end}"));
            }
            _ => out.push_str(line),
        }
    }
    without_present_times(&with_twelve_digits(&out))
}

/// Numbers with no more than twelve digits. Whether the last one of a number that was read from a seal is exact
/// depends on a feature of the parser, which other packages of the same build turn on.
fn with_twelve_digits(text: &str) -> String {
    let is_of_number = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let (number, after) = tail.split_at(tail.find(|c| !is_of_number(c)).unwrap_or(tail.len()));
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.trim_start_matches(['0', '.']).replace('.', "").len();
        match number.parse::<f64>() {
            Ok(value) if digits > 12 && number.contains('.') => {
                out.push_str(&format!("{value:.11e}"));
            }
            _ => out.push_str(number),
        }
        rest = after;
    }
    out + rest
}

/// Without what stands between two words of a line: names drawn by lot, times that were measured.
fn without_between(text: &str, start: &str, end: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(start) {
        let (before, tail) = rest.split_at(at + start.len());
        out.push_str(before);
        let line = tail.find('\n').unwrap_or(tail.len());
        rest = &tail[tail[..line].find(end).unwrap_or(0)..];
    }
    out + rest
}

/// Tables of a registry without ages and durations, which columns are as wide as: they become one space.
fn without_ages(text: &str) -> String {
    if ![" s ago", " min ago", " deep check"].iter().any(|age| text.contains(age)) {
        return text.to_owned();
    }
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        for at in 1..words.len() {
            let is_unit = ["s", "min"].contains(&words[at].trim_end_matches([';', ',']));
            if is_unit && words[at - 1].parse::<f64>().is_ok() {
                (words[at - 1], words[at]) = ("<age>", "");
            }
        }
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Times of the day of the test become `<time>`: fixed ones stay.
fn without_present_times(text: &str) -> String {
    let now = Timestamp::now();
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices('T') {
        let Some(start) = at.checked_sub(10).filter(|start| *start >= done) else { continue };
        let mut near = text[at..].char_indices().take(32);
        let Some((length, _)) = near.find(|(_, c)| *c == 'Z') else { continue };
        let end = at + length + 1;
        let time = text.get(start..end).and_then(|time| time.parse::<Timestamp>().ok());
        if time.is_some_and(|time| time.duration_since(now).as_hours().abs() < 24) {
            out.push_str(&text[done..start]);
            out.push_str("<time>");
            done = end;
        }
    }
    out + &text[done..]
}

/// The findings of a report, or of a model in it.
fn told(report: &Value) -> Vec<String> {
    let none = Vec::new();
    let all = report["findings"].as_array().unwrap_or(&none).iter();
    all.map(|finding| {
        let parts = ["severity", "rule", "file", "tensor"].map(|key| finding[key].as_str());
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    })
    .collect()
}

/// What a report says, member by member; of a text, nothing.
fn of_report(report: &Value, outcome: &mut Outcome) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    outcome.verdict = text(&report["verdict"]);
    outcome.root = text(&report["model"]["root"]);
    outcome.findings = told(report);
    let mut results: Vec<String> = text(&report["comparison"]["relation"]).into_iter().collect();
    results.extend(text(&report["watermark"]["verdict"]));
    results.extend(list(&report["watermark"]).iter().filter_map(|mark| text(&mark["verdict"])));
    outcome.result = (!results.is_empty()).then(|| results.join(" "));
    for rule in list(&report["policy"]["rules"]) {
        let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        if word("outcome") != "pass" {
            let said = [word("outcome"), word("rule"), word("of")].join(" ");
            outcome.unmet.push(said.trim_end().to_owned());
        }
    }
    for model in list(&report["models"]) {
        let word = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
        outcome.models.push(format!("{} {} {}", word("name"), word("state"), word("root")));
        let found = told(&model).into_iter();
        outcome.findings.extend(found.map(|found| format!("{}: {found}", word("name"))));
    }
}

// What is run.

type Build = Box<dyn Fn(&Path) -> PathBuf + Send + Sync>;
type Change = Box<dyn Fn(&Path, &Path) + Send + Sync>;
/// Paths below a model, and bytes.
type Files = Vec<(&'static str, Vec<u8>)>;

/// A run of the program.
struct Case {
    name: String,
    /// Separated by spaces; `{m}` is the model.
    args: String,
    /// Files whose digests are recorded.
    writes: Vec<&'static str>,
    /// Whether digests are recorded: not where something is signed at the time of the test.
    same_bytes: bool,
    /// Whether anything is.
    recorded: bool,
}

enum Step {
    Run(Case),
    /// Is given the directory and the model.
    Change(Change),
}

/// Runs in a directory of their own, one after the other.
struct Sequence {
    name: String,
    build: Build,
    steps: Vec<Step>,
}

impl Sequence {
    /// What is built is given the directory, and gives the path of the model in it.
    fn new(
        name: impl Into<String>,
        build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static,
    ) -> Sequence {
        Sequence { name: name.into(), build: Box::new(build), steps: Vec::new() }
    }

    /// Recorded as text: of what prints no report.
    fn text(mut self, name: &str, args: &str) -> Self {
        self.steps.push(Step::Run(Case {
            name: format!("{}: {name}", self.name),
            args: args.to_owned(),
            writes: Vec::new(),
            same_bytes: true,
            recorded: true,
        }));
        self
    }

    /// What people read.
    fn human(self, name: &str, args: &str) -> Self {
        let device = if args.starts_with("inspect") { "" } else { " --device cpu" };
        self.text(name, &format!("{args}{device}"))
    }

    /// What machines read.
    fn json(self, name: &str, args: &str) -> Self {
        self.human(name, &format!("{args} --format json"))
    }

    /// The last run writes these files.
    fn writing(mut self, files: &[&'static str]) -> Self {
        self.last().writes = files.to_vec();
        self
    }

    /// The last run signs something with the time of the day.
    fn dated(mut self) -> Self {
        self.last().same_bytes = false;
        self
    }

    /// Run, and not recorded.
    fn prepared(self, args: &str) -> Self {
        let mut all = self.human("prepared", args);
        all.last().recorded = false;
        all
    }

    fn last(&mut self) -> &mut Case {
        match self.steps.last_mut() {
            Some(Step::Run(case)) => case,
            _ => panic!("{}: no run", self.name),
        }
    }

    fn change(mut self, change: impl Fn(&Path, &Path) + Send + Sync + 'static) -> Self {
        self.steps.push(Step::Change(Box::new(change)));
        self
    }

    /// Runs all of it; gives what came of it, and the normalised texts.
    fn run(&self, dir: &Path, threads: Option<&str>) -> Vec<(String, Outcome, String)> {
        fs::create_dir(dir).unwrap();
        let model = (self.build)(dir);
        let shown = model.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        let mut all = Vec::new();
        for step in &self.steps {
            match step {
                Step::Change(change) => change(dir, &model),
                Step::Run(case) => {
                    let (outcome, text) = case.run(dir, &shown, threads);
                    if case.recorded {
                        all.push((case.name.clone(), outcome, text));
                    }
                }
            }
        }
        // Some are large.
        fs::remove_dir_all(dir).unwrap();
        all
    }
}

impl Case {
    fn run(&self, dir: &Path, model: &str, threads: Option<&str>) -> (Outcome, String) {
        let args: Vec<String> =
            self.args.split_whitespace().map(|arg| arg.replace("{m}", model)).collect();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        if args.contains(&"--device") {
            args.extend(threads.iter().flat_map(|threads| ["--threads", threads]));
        }
        let mut command = program(&args);
        command.current_dir(dir).env("COLUMNS", "100").env("HOME", dir);
        for variable in ["GITHUB_ACTIONS", "STATE_DIRECTORY", "XDG_STATE_HOME", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        let ran = finished(command.output().expect("the program starts"));
        let (stdout, stderr) = (normalised(&ran.stdout, dir), normalised(&ran.stderr, dir));
        let mut outcome = Outcome {
            exit: ran.code,
            verdict: None,
            root: None,
            result: None,
            stdout: if stdout.is_empty() { String::new() } else { short_digest(&stdout) },
            stderr: stderr.trim_end().to_owned(),
            written: BTreeMap::new(),
            findings: Vec::new(),
            unmet: Vec::new(),
            models: Vec::new(),
        };
        if stderr.len() > 400 {
            outcome.stderr = short_digest(&stderr);
        }
        if let Ok(report) = serde_json::from_str::<Value>(&ran.stdout) {
            of_report(&report, &mut outcome);
        }
        let mut texts = format!("{}\n\n{stdout}\n\n{stderr}", args.join(" "));
        for file in &self.writes {
            let digest = match fs::read(dir.join(file)) {
                Err(error) => error.kind().to_string(),
                Ok(bytes) if !file.starts_with("out.") => digest(&bytes),
                Ok(bytes) => {
                    let text = normalised(&String::from_utf8(bytes).unwrap(), dir);
                    texts.push_str(&format!("\n\n{file}\n\n{text}"));
                    short_digest(&text)
                }
            };
            outcome.written.insert((*file).to_owned(), digest);
        }
        if !self.same_bytes {
            outcome.stdout.clear();
            outcome.written.clear();
        }
        (outcome, texts)
    }
}

/// Runs sequences, as many at a time as there are processors.
fn run_all(sequences: &[Sequence], threads: Option<&str>) -> BTreeMap<String, Outcome> {
    let root = TempDir::new().unwrap();
    let kept = std::env::var_os("TENSORSEAL_KEEP_GOLDEN").map(PathBuf::from);
    if let Some(kept) = &kept {
        fs::create_dir_all(kept).unwrap();
    }
    let (next, all) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let worker = || {
        while let Some((at, sequence)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            sequences.get(at).map(|sequence| (at, sequence))
        } {
            for (name, outcome, text) in sequence.run(&root.path().join(at.to_string()), threads) {
                if let Some(kept) = &kept {
                    fs::write(kept.join(name.replace(['/', ':', ' '], "-")), text).unwrap();
                }
                let twice = all.lock().unwrap().insert(name.clone(), outcome);
                assert!(twice.is_none(), "{name} twice");
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(worker)));
    });
    all.into_inner().unwrap()
}

// Models.

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// The names in a directory of fixtures that have one of these endings; the empty one is that of directories.
fn fixtures(directory: &str, endings: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(testdata(directory)).unwrap().map(|entry| entry.unwrap());
    let fits = |entry: &fs::DirEntry| {
        let path = entry.path();
        let ending = path.extension().map_or("", |ending| ending.to_str().unwrap());
        endings.contains(&ending) && (path.is_dir() || !ending.is_empty())
    };
    let mut names: Vec<String> =
        entries.filter(fits).map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty(), "{directory}");
    names
}

/// Copies fixtures into a directory, which is made.
fn copy(dir: &Path, files: &[String]) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    for file in files {
        let from = testdata(file);
        fs::write(dir.join(from.file_name().unwrap()), fs::read(&from).unwrap()).unwrap();
    }
    dir.to_owned()
}

/// A model of one fixture, given as a file.
fn fixture(file: String) -> impl Fn(&Path) -> PathBuf + Send + Sync + 'static {
    move |dir| {
        let name = file.rsplit('/').next().unwrap();
        copy(&dir.join("model"), std::slice::from_ref(&file)).join(name)
    }
}

/// Values of the shape of weights, by sums of integers: no function whose last bit the platform chooses.
fn bell(seed: u64, len: usize) -> Vec<f32> {
    let value = |drawn: &[u8; 16]| {
        let sum: i64 =
            drawn.as_chunks().0.iter().map(|four| i64::from(u32::from_le_bytes(*four))).sum();
        (sum - (1 << 33)) as f32 * (0.02 / (1u64 << 32) as f32)
    };
    noise(seed, 16 * len).as_chunks().0.iter().map(value).collect()
}

fn encoded(values: &[f32], float: Float) -> Vec<u8> {
    match float {
        Float::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Float::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Float::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
    }
}

/// The tensor that is attacked, and another of its kind.
const UP: [&str; 2] = ["model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"];

/// The tensors of a small decoder, 800,000 weights.
fn decoder(float: Float) -> Vec<Tensor<'static>> {
    static MADE: [OnceLock<Vec<Tensor<'static>>>; 3] = [const { OnceLock::new() }; 3];
    MADE[float as usize].get_or_init(|| made_decoder(float)).clone()
}

fn made_decoder(float: Float) -> Vec<Tensor<'static>> {
    const NAMES: [[&str; 2]; 4] = [
        ["model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"],
        ["model.layers.1.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight"],
        [UP[0], "model.layers.2.self_attn.q_proj.weight"],
        [UP[1], "model.layers.3.self_attn.q_proj.weight"],
    ];
    let mut tensors: Vec<Tensor> = vec![(
        "model.embed_tokens.weight",
        float.name(),
        &[512, 256],
        encoded(&bell(1, 512 * 256), float),
    )];
    for (layer, [up, q]) in NAMES.into_iter().enumerate() {
        let seed = 10 * layer as u64;
        tensors.push((up, float.name(), &[512, 256], encoded(&bell(seed + 2, 512 * 256), float)));
        tensors.push((q, float.name(), &[128, 256], encoded(&bell(seed + 3, 128 * 256), float)));
    }
    tensors
}

/// Two matrices that nothing is said of.
fn sound() -> Vec<Tensor<'static>> {
    vec![
        (
            "model.layers.0.mlp.up_proj.weight",
            "F32",
            &[128, 256],
            encoded(&bell(5, 32_768), Float::F32),
        ),
        (
            "model.layers.1.mlp.up_proj.weight",
            "F32",
            &[128, 256],
            encoded(&bell(6, 32_768), Float::F32),
        ),
    ]
}

fn sound_model(dir: &Path) -> PathBuf {
    write_model(&dir.join("model"), &sound())
}

fn small_model(dir: &Path) -> PathBuf {
    write_model(&dir.join("model"), &small_tensors(1))
}

/// Files below `model`, beside sound weights.
fn beside(files: Files) -> impl Fn(&Path) -> PathBuf + Send + Sync + 'static {
    move |dir| {
        let model = write_model(&dir.join("model"), &sound());
        for (path, bytes) in &files {
            malformed::write(&model, path, bytes);
        }
        model
    }
}

/// The largest file of a model, links aside.
fn largest(model: &Path) -> PathBuf {
    if model.is_file() {
        return model.to_owned();
    }
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    let mut directories = vec![model.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                files.push((metadata.len(), entry.path()));
            }
        }
    }
    files.sort();
    files.pop().map_or_else(|| model.join("config.json"), |(_, path)| path)
}

/// Flips a bit three fifths into the largest file.
fn flip(model: &Path) {
    let path = largest(model);
    let mut bytes = fs::read(&path).unwrap_or_default();
    let at = bytes.len() * 3 / 5;
    match bytes.get_mut(at) {
        Some(byte) => *byte ^= 0x10,
        None => bytes.push(1),
    }
    fs::write(path, bytes).unwrap();
}

const AUDITED: &str = "schema = \"tensorseal.policy/1\"\n[audit]\nrequired = true\n";
const SEALED: &str = "schema = \"tensorseal.policy/1\"\ncode = \"pinned\"\n[seal]\nrequired = true\n[audit]\nrequired = true\n[files]\nunknown = \"pinned\"\n[severity]\nintegrity = \"info\"\n";

/// Everything that is done to a model of whatever kind: looked at, sealed, verified, judged, changed and
/// verified again.
fn examined(
    name: impl Into<String>,
    build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static,
) -> Sequence {
    let build = move |dir: &Path| {
        fs::write(dir.join("sealed.toml"), SEALED).unwrap();
        fs::write(dir.join("other.safetensors"), malformed::sound(&["a", "b"])).unwrap();
        build(dir)
    };
    Sequence::new(name, build)
        .json("inspect", "inspect {m} --full")
        .human("inspect, for people", "inspect {m}")
        .json("audit", "audit {m} --full")
        .human("audit, for people", "audit {m}")
        .json("seal", "seal {m} -o seal.json")
        .writing(&["seal.json"])
        .json("verify", "verify {m} --seal seal.json --full")
        .human("verify, for people", "verify {m} --seal seal.json")
        .json("gate", "gate {m} --seal seal.json --policy sealed.toml")
        .prepared("seal other.safetensors -o other.json")
        .json("verify, another's seal", "verify {m} --seal other.json")
        .change(|_, model| flip(model))
        .json("audit, changed", "audit {m}")
        .json("verify, changed", "verify {m} --seal seal.json")
        .human("verify, changed, for people", "verify {m} --seal seal.json")
        .json("gate, changed", "gate {m} --seal seal.json --policy sealed.toml")
}

/// Every fixture that is a model.
fn fixture_models() -> Vec<Sequence> {
    let mut all = Vec::new();
    for (directory, endings) in [
        ("gguf", &["gguf"][..]),
        ("torch", &["pt", "npy", "npz"]),
        ("watermark/third_party", &["npy"]),
        ("watermark/neuralmark", &["npy"]),
        ("watermark/correlations", &["npy"]),
    ] {
        for name in fixtures(directory, endings) {
            let file = format!("{directory}/{name}");
            all.push(examined(file.clone(), fixture(file)));
        }
    }
    all.push(examined("gguf/split", |dir| {
        let parts = [1, 2, 3].map(|part| format!("gguf/split-{part:05}-of-00003.gguf"));
        copy(&dir.join("model"), &parts)
    }));
    for name in fixtures("schemes", &[""]) {
        let file = |file: &str| format!("schemes/{name}/{file}");
        let stored = [file("config.json"), file("model.safetensors")];
        let values = [file("values.safetensors")];
        let build = move |dir: &Path| {
            copy(&dir.join("values"), &values);
            copy(&dir.join("model"), &stored)
        };
        let compared = "compare {m} values/values.safetensors";
        let sequence = examined(format!("schemes/{name}"), build)
            .json("compare, changed", &format!("{compared} --full"))
            .human("compare, changed, for people", compared);
        all.push(sequence);
    }
    let models = TempDir::new().unwrap();
    oms::unpack(models.path());
    for entry in fs::read_dir(models.path().join("models")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let build = {
            let name = name.clone();
            move |dir: &Path| {
                oms::unpack(dir);
                dir.join("models").join(&name)
            }
        };
        all.push(examined(format!("oms/{name}"), build));
    }
    all
}

/// Models made by code, that nothing is wrong with.
fn generated_models() -> Vec<Sequence> {
    let mut all = vec![
        examined("generated/small", small_model),
        examined("generated/file", |dir| sound_model(dir).join("model.safetensors")),
        examined("generated/shards", |dir| {
            let model = dir.join("model");
            fs::create_dir(&model).unwrap();
            write_shards(&model, &sound(), 2);
            model
        }),
        examined("generated/torch", |dir| {
            malformed::write(dir, "model/model.pt", sound_torch().bytes());
            dir.join("model")
        }),
        examined("generated/numpy", |dir| {
            malformed::write(dir, "model/a.npy", sound_npy());
            malformed::write(
                dir,
                "model/b.npz",
                Zip::of(vec![Member::new("b.npy", sound_npy())]).bytes(),
            );
            dir.join("model")
        }),
        examined("generated/legacy torch", |dir| {
            malformed::write(dir, "model/old.pth", malformed::torch::legacy(&[3; 16]));
            dir.join("model")
        }),
        examined("generated/several formats", |dir| {
            let model = sound_model(dir);
            fs::write(model.join("pytorch_model.bin"), sound_torch().bytes()).unwrap();
            fs::write(model.join("model.gguf"), malformed::gguf::sound(&["a", "b"]).bytes())
                .unwrap();
            model
        }),
    ];
    for float in [Float::F32, Float::F16, Float::BF16] {
        all.push(examined(format!("generated/decoder {}", float.name()), move |dir| {
            write_model(&dir.join("model"), &decoder(float))
        }));
    }
    for case in malformed::legal() {
        let sequence = Sequence::new(format!("legal/{}", case.name), move |dir| {
            fs::create_dir(dir.join("x")).unwrap();
            (case.build)(&dir.join("x"))
        });
        let sequence = sequence
            .json("inspect", "inspect {m}")
            .json("audit", "audit {m}")
            .json("seal", "seal {m} -o seal.json")
            .writing(&["seal.json"])
            .json("verify", "verify {m} --seal seal.json");
        all.push(sequence);
    }
    all
}

/// Models that are malformed, and what is malicious.
fn malformed_models() -> Vec<Sequence> {
    fn refused(name: String, build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static) -> Sequence {
        let build = move |dir: &Path| {
            fs::write(dir.join("audited.toml"), AUDITED).unwrap();
            fs::create_dir(dir.join("x")).unwrap();
            build(&dir.join("x"))
        };
        Sequence::new(name, build)
            .json("audit", "audit {m}")
            .json("seal", "seal {m} -o seal.json")
            .writing(&["seal.json"])
            .json("gate", "gate {m} --policy audited.toml")
    }
    let mut all = Vec::new();
    for case in malformed::cases() {
        // Names may be those of two formats.
        let kind = if case.file.ends_with(".gguf") { "gguf" } else { "safetensors" };
        all.push(refused(format!("malformed/{kind}/{}", case.name), case.build));
    }
    for case in malformed::torch::cases() {
        let (name, is_large) =
            (format!("malformed/torch/{}", case.name), case.bytes.len() > 1 << 19);
        let mut sequence = refused(name, move |dir| {
            malformed::write(dir, case.file, &case.bytes);
            dir.to_owned()
        });
        if is_large {
            // Audited, it takes as long as all the others.
            sequence
                .steps
                .retain(|step| matches!(step, Step::Run(case) if case.name.ends_with("seal")));
        }
        all.push(sequence);
    }
    let text = fs::read_to_string(testdata("torch/malicious.json")).unwrap();
    let pickles: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    for (name, hex) in pickles {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let sequence = Sequence::new(format!("malicious/{name}"), move |dir| {
            malformed::write(dir, "model/data.pkl", &bytes);
            malformed::write(dir, "model/model.pt", torch_zip(bytes.clone(), &[]).bytes());
            dir.join("model")
        });
        all.push(sequence.json("audit", "audit {m}"));
    }
    all
}

/// Attacks on one tensor of the decoder; of each type of elements, every third.
fn attacks() -> Vec<Sequence> {
    let mut all = Vec::new();
    for (turn, float) in [Float::F32, Float::F16, Float::BF16].into_iter().enumerate() {
        let mut attacks: Vec<Attack> = [
            accidents::values(),
            accidents::pages(),
            accidents::foreign(),
            hidden::in_the_clear(float),
            hidden::encrypted(),
            tampering::lines(),
            tampering::tensors(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if float == Float::F32 {
            attacks.extend(tampering::precision());
            attacks.extend(hidden::low_bytes(false));
        }
        // The program that these hide is this test itself, which is another in each build.
        let of_this_build = |attack: &Attack| {
            let said = format!("{} {}", attack.name, attack.strength);
            said.contains("executable") || said.contains("code")
        };
        attacks.retain(|attack| !of_this_build(attack));
        for attack in attacks.into_iter().skip(turn).step_by(3) {
            let name = format!("attacks/{}, {}, {}", float.name(), attack.name, attack.strength);
            let sequence = Sequence::new(name, move |dir| {
                let mut victim = Victim::new(safetensors(&decoder(float)));
                attack.apply(&mut victim, UP[0], UP[1]);
                fs::write(dir.join("model.safetensors"), &victim.bytes).unwrap();
                dir.join("model.safetensors")
            });
            all.push(sequence.json("audit", "audit {m}"));
        }
    }
    all
}

/// Files of all kinds beside weights, and what a loader would execute.
fn companions() -> Vec<Sequence> {
    use contents::*;
    let call = || {
        let called = pickled::call("nonexistent_module", "call", &[pickled::text("x")]);
        pickled::whole(called)
    };
    let auto_map = |class: &str| format!("{{\"auto_map\": {{\"AutoModel\": \"{class}\"}}}}");
    let escape = "{{ ''.__class__.__mro__ }}{{ messages._private }}";
    let all: Vec<(&'static str, Files)> = vec![
        ("onnx", vec![("model.onnx", onnx("", None))]),
        ("onnx with an operator", vec![("model.onnx", onnx("com.example.ops", None))]),
        ("onnx with data outside", vec![("model.onnx", onnx("", Some("../../secret")))]),
        ("hdf5", vec![("tf_model.h5", hdf5(""))]),
        ("keras", vec![("model.keras", keras("Dense"))]),
        ("keras with a lambda", vec![("model.keras", keras("Lambda"))]),
        ("tflite", vec![("model.tflite", tflite())]),
        ("flax", vec![("flax_model.msgpack", flax())]),
        (
            "checkpoint of tensorflow",
            vec![
                ("tf/variables.index", bundle_index()),
                ("tf/variables.data-00000-of-00001", unknown(5000)),
            ],
        ),
        ("saved model", vec![("saved_model.pb", saved_model("MatMul"))]),
        ("saved model with python", vec![("saved_model.pb", saved_model("PyFunc"))]),
        ("executorch", vec![("model.pte", executorch())]),
        ("core ml", vec![("model.mlmodel", core_ml())]),
        ("open vino", vec![("m.xml", open_vino()), ("m.bin", unknown(800))]),
        (
            "archives",
            vec![
                ("x.7z", seven_zip()),
                ("bundle.tar", tar("inner", &call())),
                ("bundle.zip", Zip::of(vec![Member::new("inner.pkl", call())]).bytes()),
                ("packed.gz", gzip(&call())),
            ],
        ),
        (
            "programs",
            vec![
                ("lib/op.so", elf()),
                ("op.dll", portable_executable()),
                ("op.dylib", mach_o()),
                ("start.sh", SCRIPT.to_vec()),
                ("op.wasm", WASM.to_vec()),
                ("thing.whl", wheel()),
            ],
        ),
        (
            "pictures and texts",
            vec![
                ("image.png", png()),
                ("sound.wav", wav()),
                ("data.parquet", parquet()),
                ("spiece.model", sentence_piece()),
                ("events.out.tfevents.1", events()),
                ("labels.txt", b"cat\ndog\nIbex\nNewt\n".to_vec()),
                ("README.md", b"---\nlicense: apache-2.0\n---\n# Model\n".to_vec()),
            ],
        ),
        ("what nobody knows", vec![("blob.xyz", unknown(3000)), ("raw.bin", unknown(500))]),
        (
            "misnamed",
            vec![
                ("pytorch_model.bin", HTML.to_vec()),
                ("other.safetensors", elf()),
                ("pointer.gguf", LFS.to_vec()),
            ],
        ),
        ("a pickle", vec![("training_args.bin", call())]),
        (
            "two things at once",
            vec![("both.bin", [malformed::sound(&["z"]), sound_torch().bytes()].concat())],
        ),
        (
            "code beside",
            vec![
                ("config.json", auto_map("modeling_x.X").into_bytes()),
                ("modeling_x.py", b"class X:\n    pass\n".to_vec()),
                ("requirements.txt", b"torch==2.9.0\n".to_vec()),
            ],
        ),
        (
            "code from elsewhere",
            vec![("config.json", auto_map("some-org/some-model--modeling_x.X").into_bytes())],
        ),
        ("an escape of a template", vec![("chat_template.jinja", escape.as_bytes().to_vec())]),
        ("hydra", vec![("train.yaml", b"model:\n  _target_: my.module.Class\n".to_vec())]),
    ];
    all.into_iter()
        .map(|(name, files)| {
            let build = beside(files);
            let build = move |dir: &Path| {
                let policy = run(&["gate", "--print-policy"]).stdout;
                let policy =
                    policy.replace("required = true\n\n# Public", "required = false\n\n# Public");
                let policy = policy.replace("keys = [\"release.pub.pem\"]", "");
                fs::write(dir.join("default.toml"), policy).unwrap();
                fs::write(dir.join("no-code.toml"), format!("code = \"none\"\n{AUDITED}")).unwrap();
                build(dir)
            };
            Sequence::new(format!("companions/{name}"), build)
                .json("inspect", "inspect {m}")
                .json("audit", "audit {m}")
                .human("audit, for people", "audit {m}")
                .json("audit, all asked for", "audit {m} --require-all")
                .json("seal", "seal {m} -o seal.json")
                .writing(&["seal.json"])
                .json("gate", "gate {m} --policy default.toml")
                .json("gate, with a seal", "gate {m} --policy default.toml --seal seal.json")
                .json("gate, no code", "gate {m} --policy no-code.toml")
        })
        .collect()
}

// Verbs.

/// Two models: the first is `{m}`, the second `second`.
fn pair(
    name: &str,
    build: impl Fn(&Path) -> (Vec<Tensor<'static>>, Vec<Tensor<'static>>) + Send + Sync + 'static,
) -> Sequence {
    let build = move |dir: &Path| {
        let (first, second) = build(dir);
        write_model(&dir.join("second"), &second);
        write_model(&dir.join("first"), &first)
    };
    Sequence::new(format!("pairs/{name}"), build)
        .json("compare", "compare {m} second --full")
        .human("compare, for people", "compare {m} second")
        .json("audit, with a baseline", "audit {m} --baseline second")
        .prepared("seal second -o seal.json --sketch")
        .json("audit, with a seal", "audit {m} --baseline seal.json")
        .human("audit, with a seal, for people", "audit {m} --baseline seal.json")
        .json("verify", "verify {m} --seal seal.json")
        .json("verify, contents alone", "verify {m} --seal seal.json --content-only")
}

fn pairs() -> Vec<Sequence> {
    let changed = |change: fn(&mut Vec<Tensor<'static>>)| {
        move |_: &Path| {
            let mut other = sound();
            change(&mut other);
            (other, sound())
        }
    };
    let quantised = Sequence::new("pairs/quantised", |dir| {
        write_model(&dir.join("second"), &decoder(Float::F32));
        copy(&dir.join("model"), &["gguf/llama.gguf".to_owned()])
    });
    vec![
        pair("same", changed(|_| ())),
        pair("another order", changed(|tensors| tensors.reverse())),
        pair("renamed", changed(|tensors| tensors[0].0 = "module.layers.0.mlp.up_proj.weight")),
        pair("one missing", changed(|tensors| drop(tensors.pop()))),
        pair("one more", changed(|tensors| tensors.push(("new", "I64", &[], vec![1; 8])))),
        pair("another shape", changed(|tensors| tensors[0].2 = &[256, 128])),
        pair("a value", changed(|tensors| tensors[1].3[4003] ^= 0x40)),
        pair("a row", changed(|tensors| tensors[1].3[10_240..11_264].fill(0))),
        pair(
            "another model",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    tensor.3 = encoded(&bell(90 + at as u64, 32_768), Float::F32);
                }
            }),
        ),
        pair(
            "fine-tuned",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    let step = bell(70 + at as u64, 32_768);
                    let old = bell(5 + at as u64, 32_768);
                    let new: Vec<f32> = old.iter().zip(step).map(|(a, b)| a + 0.01 * b).collect();
                    tensor.3 = encoded(&new, Float::F32);
                }
            }),
        ),
        pair(
            "another type",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    tensor.1 = "BF16";
                    tensor.3 = encoded(&bell(5 + at as u64, 32_768), Float::BF16);
                }
            }),
        ),
        quantised.json("compare", "compare {m} second"),
        Sequence::new("pairs/byte orders", |dir| {
            copy(&dir.join("x"), &["gguf/little.gguf".to_owned(), "gguf/big.gguf".to_owned()])
        })
        .json("compare", "compare {m}/little.gguf {m}/big.gguf --full"),
    ]
}

/// Options of sealing and verifying, seals that are wrong, and bits put back.
fn seals() -> Vec<Sequence> {
    let sealed = |name: &str, options: &str| {
        Sequence::new(format!("seals/{name}"), sound_model)
            .json("seal", &format!("seal {{m}} -o seal.json {options}"))
            .writing(&["seal.json"])
    };
    let change = |sequence: Sequence| {
        sequence
            .change(|_, model| flip(model))
            .json("verify", "verify {m} --seal seal.json")
            .human("verify, for people", "verify {m} --seal seal.json")
            .json("verify, no search", "verify {m} --seal seal.json --no-pinpoint")
            .json("repair", "repair {m} --seal seal.json -o repaired")
            .writing(&["repaired/model.safetensors"])
            .json("verify, repaired", "verify repaired --seal seal.json")
            .human("repair again", "repair {m} --seal seal.json -o repaired")
    };
    let mut all = vec![
        change(sealed("plain", "")),
        change(sealed("fine", "--fine").writing(&["seal.json", "seal.json.fine"])),
        change(sealed("digests", "--digest-only")),
        change(sealed("sketch", "--sketch")),
        sealed("whole files", "--file-digests")
            .json("verify", "verify {m} --seal seal.json --file-digests")
            .change(|_, model| fs::write(model.join("config.json"), "{}").unwrap())
            .json("verify, changed", "verify {m} --seal seal.json --file-digests"),
        Sequence::new("seals/beside", small_model)
            .human("none yet", "verify {m}")
            .human("seal", "seal {m}")
            .writing(&["model/tensorseal.seal.json"])
            .human("verify", "verify {m}")
            .human("quiet", "verify {m} --quiet")
            .human("for github", "verify {m} --format github")
            .json(
                "expected root, another",
                &format!("verify {{m}} --expect-root blake3:{}", "0".repeat(64)),
            )
            .json("expected root, none", "verify {m} --expect-root 00")
            .human("sealed again", "seal {m}")
            .change(|_, model| {
                fs::remove_file(model.join("empty.txt")).unwrap();
                fs::write(model.join("new.txt"), "new").unwrap();
                fs::write(model.join("config.json"), "{}").unwrap();
            })
            .json("other files", "verify {m}")
            .json("other files, high alone", "verify {m} --fail-on critical")
            .change(|_, model| {
                fs::remove_file(model.join("model.safetensors")).unwrap();
                write_shards(model, &small_tensors(1), 2);
            })
            .json("in shards", "verify {m}")
            .json("in shards, contents alone", "verify {m} --content-only")
            .human("in shards, contents alone, for people", "verify {m} --content-only"),
    ];
    type Spoil = fn(&str) -> Vec<u8>;
    fn spoilt(text: &str, change: fn(&mut Value)) -> Vec<u8> {
        let mut seal: Value = serde_json::from_str(text).unwrap();
        change(&mut seal);
        seal.to_string().into_bytes()
    }
    let spoils: [(&str, Spoil); 11] = [
        ("empty", |_| Vec::new()),
        ("cut", |text| text.as_bytes()[..text.len() / 2].to_vec()),
        ("not utf-8", |text| [&text.as_bytes()[..20], b"\xff\xfe"].concat()),
        ("an array", |_| b"[]".to_vec()),
        ("twice", |text| text.replacen("{\"files\":", "{\"files\":[],\"files\":", 1).into_bytes()),
        ("another schema", |text| spoilt(text, |seal| seal["schema"] = json!("tensorseal.seal/2"))),
        ("unknown member", |text| spoilt(text, |seal| seal["extra"] = json!(1))),
        ("totals", |text| spoilt(text, |seal| seal["model"]["bytes"] = json!(1))),
        ("path out", |text| {
            spoilt(text, |seal| seal["files"][0]["path"] = json!("../config.json"))
        }),
        ("another digest", |text| {
            spoilt(text, |seal| seal["tensors"][0]["blake3"] = seal["tensors"][1]["blake3"].clone())
        }),
        ("another layout", |text| {
            spoilt(text, |seal| seal["tensors"][0]["offset"] = json!(1u64 << 40))
        }),
    ];
    for (name, spoil) in spoils {
        let sequence = Sequence::new(format!("seals/spoilt, {name}"), sound_model)
            .prepared("seal {m} -o seal.json")
            .change(move |dir, _| {
                let path = dir.join("seal.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, spoil(&text)).unwrap();
            })
            .json("verify", "verify {m} --seal seal.json");
        all.push(sequence);
    }
    all
}

/// Bundles that others signed, and our own.
fn signatures() -> Vec<Sequence> {
    let unpacked = |dir: &Path| {
        oms::unpack(dir);
        for name in fixtures("signing/old", &["sig"]) {
            copy(&dir.join("old"), &[format!("signing/old/{name}")]);
        }
        dir.join("models/basic")
    };
    let mut others = Sequence::new("signatures/others", unpacked);
    let text = fs::read_to_string(testdata("oms/expected.json")).unwrap();
    let expected: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    for (name, case) in expected {
        let word = |key: &str| case[key].as_str().unwrap();
        let option = if word("kind") == "key" { "--public-key" } else { "--ca" };
        let mut args = format!(
            "verify {} --signature {} {option} {}",
            word("model"),
            word("bundle"),
            word("trust")
        );
        if case["allow_symlinks"] == true {
            args.push_str(" --allow-symlinks");
        }
        if case["no_ignore_git_paths"] == true {
            args.push_str(" --no-ignore-git-paths");
        }
        if let Some(path) = case["ignore_path"].as_str() {
            args.push_str(&format!(" --ignore-path {}/{path}", word("model")));
        }
        others = others.json(&name, &args);
    }
    for name in fixtures("signing/old", &["sig"]) {
        let trust = match name.trim_end_matches(".sig").rsplit('-').next().unwrap() {
            "certificate" => "--ca pki/root.crt.pem".to_owned(),
            curve => format!("--public-key keys/{curve}.pub.pem"),
        };
        others = others.json(&name, &format!("verify {{m}} --signature old/{name} {trust}"));
    }
    let signed = "verify {m} --signature x.sig --public-key keys";
    let own = Sequence::new("signatures/own", unpacked)
        .json("sign", "sign {m} --key keys/p256.priv.pem -o x.sig")
        .writing(&["x.sig"])
        .human("verify, for people", &format!("{signed}/p256.pub.pem"))
        .json("another key", &format!("{signed}/p384.pub.pem"))
        .json("no key", "verify {m} --signature x.sig")
        .json("no bundle", "verify {m} --signature y.sig --public-key keys/p256.pub.pem")
        .json("facts asked for", &format!("{signed}/p256.pub.pem --require-attestation seal"))
        .json("a refused key", "sign {m} --key keys/rsa2048.priv.pem -o y.sig")
        .json("p-384, blake3", "sign {m} --key keys/p384.priv.pem --hash blake3 -o p384.sig")
        .writing(&["p384.sig"])
        .json("p-521, in shards", "sign {m} --key keys/p521.priv.pem --shard-size 1000 -o p521.sig")
        .writing(&["p521.sig"])
        .json(
            "by certificate",
            "sign {m} --key pki/leaf-p256.key.pem --cert pki/leaf-p256.crt.pem --chain pki/intermediate.crt.pem -o cert.sig",
        )
        .json("certificate", "verify {m} --signature cert.sig --ca pki/root.crt.pem")
        .json("another root", "verify {m} --signature cert.sig --ca pki/other-root.crt.pem")
        .change(|_, model| {
            flip(model);
            fs::write(model.join("loader.py"), "x = 1\n").unwrap();
        })
        .json("changed", &format!("{signed}/p256.pub.pem"))
        .json("changed, unsigned passes", &format!("{signed}/p256.pub.pem --ignore-unsigned-files"))
        .human("changed, for people", &format!("{signed}/p256.pub.pem"));
    vec![others, own]
}

/// Asks for everything that needs no mark.
const RELEASE: &str = r#"schema = "tensorseal.policy/1"
name = "release"
code = "pinned"
[signature]
required = true
keys = ["keys/p384.pub.pem", "keys/p256.pub.pem"]
hash = ["sha256"]
[seal]
required = true
signed = true
[attestations]
required = ["seal", "audit"]
max_age = "1h"
[coverage]
allow = []
[formats]
allowed = ["safetensors"]
[dtypes]
allowed = ["F32"]
[audit]
required = true
[severity]
format = "low"
integrity = "info"
signature = "low"
weights = "low"
payload = "low"
"#;

/// A sealed and signed model, judged by many policies and after many changes.
fn gates() -> Vec<Sequence> {
    let zero = "0".repeat(64);
    let with = |from: &str, to: &str| {
        assert!(RELEASE.contains(from), "{from}");
        RELEASE.replace(from, to)
    };
    let only = |text: &str| format!("schema = \"tensorseal.policy/1\"\n{text}\n");
    let policies: Vec<(&str, String)> = vec![
        ("release", RELEASE.to_owned()),
        ("nothing", only("")),
        ("audited", AUDITED.to_owned()),
        ("sealed", SEALED.to_owned()),
        ("another hash", with("[\"sha256\"]", "[\"blake3\"]")),
        (
            "another signer",
            with("hash = [\"sha256\"]\n", &format!("identities = [\"sha256:{zero}\"]\n")),
        ),
        (
            "another root",
            with("signed = true", &format!("signed = true\nexpect_root = [\"blake3:{zero}\"]")),
        ),
        ("another seal", only(&format!("[seal]\nexpect_digest = [\"blake3:{zero}\"]"))),
        ("other facts", with("[\"seal\", \"audit\"]", "[\"watermark-claim\"]")),
        ("another format", with("[\"safetensors\"]", "[\"gguf\"]")),
        ("another type", with("[\"F32\"]", "[\"BF16\"]")),
        ("no code", only("code = \"none\"")),
        ("any code", only("code = \"any\"")),
        ("an unmeasured area", format!("{RELEASE}watermark = \"low\"\n")),
        (
            "an expired exception",
            format!(
                "{RELEASE}[[allow]]\nrule = \"weights/row-outlier\"\nreason = \"r\"\nexpires = 2026-01-31\n"
            ),
        ),
        (
            "an exception",
            only(
                "[audit]\nrequired = true\n[[allow]]\nrule = \"weights/row-outlier\"\ntensor = \"model.layers.0.*\"\nreason = \"r\"\nexpires = 2999-01-31",
            ),
        ),
        ("a mark", only("[[watermark]]\nkey = \"owner.key\"\nexpect = \"present\"")),
        ("no mark", only("[[watermark]]\nkey = \"owner.key\"\nexpect = \"absent\"")),
        ("a registry", only("[registry]\nrequired = true")),
        ("a word too many", only("requierd = true")),
        ("no such key", only("[signature]\nrequired = true\nkeys = [\"none.pem\"]")),
        ("not built in", only("[signature.keyless]\nidentity = \"a\"\nissuer = \"b\"")),
        ("no schema", "[audit]\nrequired = true\n".to_owned()),
    ];
    let build = {
        let policies = policies.clone();
        move |dir: &Path| {
            oms::unpack(dir);
            write_key(&dir.join("owner.key"), "owner");
            for (name, text) in &policies {
                fs::write(dir.join(format!("{}.toml", name.replace(' ', "-"))), text).unwrap();
            }
            write_model(&dir.join("release"), &sound())
        }
    };
    let signing = "sign {m} --key keys/p256.priv.pem --attest seal --attest audit";
    let made = |name: &str| {
        Sequence::new(format!("gates/{name}"), build.clone()).prepared("seal {m}").prepared(signing)
    };
    let mut judged = made("policies");
    for (name, _) in &policies {
        let gate = format!("gate {{m}} --policy {}.toml", name.replace(' ', "-"));
        judged = judged.json(name, &gate);
    }
    judged = judged
        .human("for people", "gate {m} --policy another-type.toml")
        .human("for github", "gate {m} --policy another-type.toml --format github")
        .text("no policy", "gate {m}")
        .json("no such policy", "gate {m} --policy none.toml")
        .json("no such model", "gate none --policy release.toml")
        .text("no state", "gate {m} --policy a-registry.toml --state none.db --device cpu")
        .json("a baseline", "gate {m} --policy audited.toml --baseline {m}")
        .json(
            "stated",
            "gate {m} --policy release.toml --statement vsa=out.vsa --statement svr=out.svr",
        )
        .dated();
    let mut all = vec![judged];
    type Damage = fn(&Path);
    let changes: Vec<(&str, Damage)> = vec![
        ("a changed weight", flip),
        ("an unsigned file", |model| fs::write(model.join("loader.py"), "x").unwrap()),
        ("another configuration", |model| fs::write(model.join("config.json"), "{}").unwrap()),
        ("a file gone", |model| fs::remove_file(model.join("empty.txt")).unwrap()),
        ("no signature", |model| fs::remove_file(model.join("model.sig")).unwrap()),
        ("no facts", |model| {
            fs::remove_file(model.join("model.sig.attestations.jsonl")).unwrap();
        }),
        ("no seal", |model| fs::remove_file(model.join("tensorseal.seal.json")).unwrap()),
        ("a seal of another", |model| {
            fs::write(model.join("tensorseal.seal.json"), "{}").unwrap();
        }),
        ("of git", |model| fs::create_dir(model.join(".git")).unwrap()),
        ("a cut model", |model| {
            let path = model.join("model.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
        }),
        ("no model", |model| fs::remove_dir_all(model).unwrap()),
    ];
    for (name, change) in changes {
        all.push(
            made(name)
                .change(move |_, model| change(model))
                .json("release", "gate {m} --policy release.toml")
                .json("audited", "gate {m} --policy audited.toml")
                .json(
                    "signature",
                    "verify {m} --signature {m}/model.sig --public-key keys/p256.pub.pem",
                ),
        );
    }
    all
}

const PAYLOAD: &str = "00c0ffee00c0ffee";

/// The descriptor and the arrays of a key of another scheme.
fn write_third_party(dir: &Path, scheme: &str, parts: Value, arrays: &[(&str, &str)]) {
    for (name, golden) in arrays {
        fs::write(dir.join(name), Npy::golden(golden).file()).unwrap();
    }
    let mut key = json!({
        "schema": "tensorseal.watermark-key/1",
        "scheme": scheme,
        "note": "for the tests",
        "parts": parts,
    });
    if scheme == "gaussian" {
        key["sigma"] = json!(0.02);
    }
    fs::write(dir.join("key.json"), key.to_string()).unwrap();
}

/// Marks of our own and of other schemes.
fn marks() -> Vec<Sequence> {
    let build = |dir: &Path| {
        write_key(&dir.join("own.key"), "own");
        write_key(&dir.join("other.key"), "other");
        write_model(&dir.join("model"), &decoder(Float::F32))
    };
    let embed = format!("watermark embed {{m}} --key own.key --payload {PAYLOAD}");
    let detect = "watermark detect marked --key own.key";
    let own = Sequence::new("marks/own", build)
        .json("embed", &format!("{embed} --force --target-z 40 -o marked"))
        .writing(&["marked/model.safetensors"])
        .json("embed, too strong", &format!("{embed} --target-z 90 -o strong"))
        .json("detect", detect)
        .human("detect, for people", detect)
        .json("detect, none expected", &format!("{detect} --expect absent"))
        .json("detect, with the original", &format!("{detect} --original {{m}}"))
        .json("detect, two keys", &format!("{detect} --key other.key"))
        .json("detect, unmarked", "watermark detect {m} --key own.key")
        .json("detect, unmarked, none expected", "watermark detect {m} --key own.key --expect absent")
        .text("detect, no key", "watermark detect {m}")
        .human("detect, no such key", "watermark detect {m} --key none.key")
        .human("claim", &format!("watermark claim {{m}} --key own.key --payload {PAYLOAD} --target-z 20 -o claim.json"))
        .writing(&["claim.json"])
        .json("embed, claimed", "watermark embed {m} --key own.key --claim claim.json --force -o claimed")
        .writing(&["claimed/model.safetensors"])
        .json("detect, claimed", "watermark detect claimed --key own.key --claim claim.json")
        .json("detect, claimed by another", "watermark detect claimed --key other.key --claim claim.json")
        .json("embed, faint", "watermark embed {m} --key own.key --target-z 3 -o faint")
        .prepared(&format!("watermark claim {{m}} --key own.key --payload {} --target-z 20 -o else.json", "1".repeat(16)))
        .json("detect, claimed otherwise", "watermark detect claimed --key own.key --claim else.json")
        .change(|dir, _| fs::write(dir.join("else.json"), "{}").unwrap())
        .json("detect, no claim", "watermark detect claimed --key own.key --claim else.json")
        .json("detect, another original", &format!("{detect} --original {{m}} --original-root blake3:{}", "0".repeat(64)))
        .json("compare", "compare {m} marked")
        .json("audit", "audit marked --baseline {m}");
    let mut all = vec![own];
    let projected =
        || json!([{"tensor": "conv2.weight", "axis": 3, "projection": "X.npy", "bits": "b.npy"}]);
    let projection = [("X.npy", "third_party/uchida_X.npy"), ("b.npy", "third_party/uchida_b.npy")];
    let layer = "model.layers.0.mlp.weight";
    let told: Value = serde_json::from_str(
        &fs::read_to_string(testdata("watermark/neuralmark/golden.json")).unwrap(),
    )
    .unwrap();
    type Arrays = Vec<(&'static str, &'static str)>;
    let schemes: Vec<(&str, &str, &str, Value, Arrays)> = vec![
        (
            "uchida",
            "third_party/uchida_W_hwio.npy",
            "conv2.weight",
            projected(),
            projection.to_vec(),
        ),
        (
            "deepmarks",
            "third_party/uchida_W_hwio.npy",
            "conv2.weight",
            projected(),
            projection.to_vec(),
        ),
        (
            "emmark",
            "third_party/emmark_q4_wm.npy",
            "q",
            json!([{"tensor": "q", "original": "o.npy", "positions": "p.npy", "signs": "s.npy"}]),
            vec![
                ("o.npy", "third_party/emmark_q4_orig.npy"),
                ("p.npy", "third_party/emmark_pos.npy"),
                ("s.npy", "third_party/emmark_keys.npy"),
            ],
        ),
        (
            "neuralmark",
            "neuralmark/weight.npy",
            "layer.weight",
            json!([{"tensor": "layer.weight", "key": "K.npy", "rounds": told["rounds"]}]),
            vec![("K.npy", "neuralmark/key.npy")],
        ),
        (
            "gaussian",
            "correlations/weight_normal.npy",
            layer,
            json!([{"tensor": "layers.0.mlp.weight", "xi": "xi.npy"}]),
            vec![("xi.npy", "correlations/xi.npy")],
        ),
        (
            "signs",
            "correlations/weight_signs.npy",
            layer,
            json!([{"tensor": layer, "chips": "c.npy", "positions": "p.npy"}]),
            vec![
                ("c.npy", "correlations/chips_at_positions.npy"),
                ("p.npy", "correlations/positions.npy"),
            ],
        ),
    ];
    for (scheme, weights, tensor, parts, arrays) in schemes {
        let build = move |dir: &Path| {
            write_third_party(dir, scheme, parts.clone(), &arrays);
            let array = Npy::golden(weights);
            write_model(&dir.join("model"), &[array.tensor(tensor)])
        };
        let detect = format!("watermark detect {{m}} --scheme {scheme} --key key.json");
        all.push(
            Sequence::new(format!("marks/{scheme}"), build)
                .json("detect", &detect)
                .human("detect, for people", &detect)
                .json("detect, none expected", &format!("{detect} --expect absent"))
                .change(|_, model| {
                    let path = model.join("model.safetensors");
                    let mut bytes = fs::read(&path).unwrap();
                    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                    // Other weights, of whatever type.
                    bytes[start..].rotate_left(512);
                    fs::write(path, bytes).unwrap();
                })
                .json("detect, other weights", &detect)
                .human("another scheme", "watermark detect {m} --scheme deepsigns --key key.json"),
        );
    }
    all
}

/// A directory of models, scanned again and again while things happen to it.
fn registries() -> Vec<Sequence> {
    let build = |dir: &Path| {
        let models = dir.join("models");
        for name in ["changed", "gone", "same"] {
            write_model(&models.join(name), &sound());
        }
        malformed::write(&models, "broken/model.safetensors", b"\x08");
        malformed::write(&models, "notes/readme.txt", "no model");
        copy(&models.join("gguf"), &["gguf/little.gguf".to_owned()]);
        copy(&models.join("torch"), &["torch/state_dict.pt".to_owned()]);
        models
    };
    let scan = "registry scan {m} --state state.db";
    let known = |verb: &str| format!("registry {verb} --state state.db");
    let status = known("status --format json");
    let sequence = Sequence::new("registry", build)
        .json("first", scan)
        .json("second", scan)
        .human("third, for people", scan)
        .change(|_, models| {
            flip(&models.join("changed"));
            fs::remove_dir_all(models.join("gone")).unwrap();
            write_model(&models.join("new"), &small_tensors(4));
        })
        .json("changed", &format!("{scan} --read-all"))
        .human("changed, for people", scan)
        .human("changed, inventory", &format!("{scan} --format csv"))
        .text("status", &status)
        .text("status, for people", &known("status"))
        .text("problems", &known("status --problems"))
        .text("history", &known("history changed --format json"))
        .text("accept", &known("accept changed --reason seen --by tester"))
        .text("accept what is gone", &known("accept gone --reason seen --by tester"))
        .text("accept nothing", &known("accept nothing --reason seen --by tester"))
        .json("accepted", scan)
        .json("without some", &format!("{scan} --exclude n*"))
        .json("graver alone", &format!("{scan} --fail-on critical"))
        .json("no such source", "registry scan none --state state.db")
        .text("history, accepted", &known("history changed"))
        .change(|_, models| {
            write_model(&models.join("same"), &small_tensors(8));
            // What no writing left a trace of.
            let path = models.join("new/model.safetensors");
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            flip(&models.join("new"));
            fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        })
        .json("other bytes", &format!("{scan} --read-all"));
    let record = Sequence::new("registry/record", |dir| {
        let policy =
            "schema = \"tensorseal.policy/1\"\ncode = \"pinned\"\n[registry]\nrequired = true\n";
        fs::write(dir.join("registry.toml"), policy).unwrap();
        write_model(&dir.join("models/a"), &sound());
        dir.join("models/a")
    })
    .prepared("registry scan models --state state.db")
    .json("gate", "gate {m} --policy registry.toml --state state.db")
    .change(|_, model| fs::write(model.join("new.py"), "x = 1\n").unwrap())
    .json("gate, changed", "gate {m} --policy registry.toml --state state.db");
    vec![sequence, record]
}

/// Reports in every format.
fn written_reports() -> Vec<Sequence> {
    const FILES: [&str; 8] = [
        "out.json",
        "out.human",
        "out.html",
        "out.sarif",
        "out.junit",
        "out.markdown",
        "out.github",
        "out.cyclonedx",
    ];
    let formats = FILES.map(|file| format!("--report {}={file}", &file[4..])).join(" ");
    let build = |dir: &Path| {
        fs::write(dir.join("sealed.toml"), SEALED).unwrap();
        let mut tensors = small_tensors(1);
        tensors.push((
            "<script>x</script>|`\"'&]]>\u{202e}[a](b)",
            "F32",
            &[64, 64],
            noise(9, 16_384),
        ));
        write_model(&dir.join("a-model"), &tensors)
    };
    let all = |args: &str| format!("{args} {formats}");
    let sequence = Sequence::new("reports", build)
        .json("seal", &all("seal {m} -o seal.json"))
        .writing(&FILES)
        .json("verify", &all("verify {m} --seal seal.json"))
        .writing(&FILES)
        .change(|_, model| {
            flip(model);
            fs::write(model.join("config.json"), "{}").unwrap();
            fs::write(model.join("loader.py"), "x = 1\n").unwrap();
        })
        .json("verify, changed", &all("verify {m} --seal seal.json"))
        .writing(&FILES)
        .json("audit", &all("audit {m}"))
        .writing(&FILES)
        .json("gate", &all("gate {m} --seal seal.json --policy sealed.toml"))
        .writing(&FILES)
        .json("compare", &all("compare {m} {m}"))
        .writing(&FILES)
        .json("inspect", &all("inspect {m}"))
        .writing(&FILES)
        .json("nothing there", &all("audit none"))
        .writing(&FILES);
    vec![sequence]
}

/// Texts: help, explanations, completions, and what is said of mistakes.
fn texts() -> Vec<Sequence> {
    const VERBS: [&str; 20] = [
        "",
        "seal",
        "verify",
        "sign",
        "gate",
        "audit",
        "repair",
        "inspect",
        "compare",
        "watermark",
        "watermark keygen",
        "watermark claim",
        "watermark embed",
        "watermark detect",
        "registry",
        "registry scan",
        "registry status",
        "registry history",
        "registry accept",
        "devices",
    ];
    let empty = |dir: &Path| dir.to_owned();
    let mut help = Sequence::new("help", empty).text("version", "--version");
    for verb in VERBS.into_iter().chain(["explain", "completions"]) {
        help = help.text(&format!("{verb} --help"), &format!("{verb} --help"));
        help = help.text(&format!("{verb} -h"), &format!("{verb} -h"));
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        help = help.text(shell, &format!("completions {shell}"));
    }
    let mut explained = Sequence::new("explain", empty)
        .text("all", "explain")
        .text("all, for machines", "explain --format json")
        .text("no rule", "explain weights/row-outlie");
    let said = run(&["explain", "--format", "json"]).stdout;
    let document: Value = serde_json::from_str(&said).unwrap();
    let rules = document["rules"].as_array().unwrap();
    assert!(rules.len() > 200);
    let mut areas = std::collections::BTreeSet::new();
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        areas.insert(id.split_once('/').unwrap().0);
        explained = explained.text(id, &format!("explain {id}"));
    }
    for area in areas {
        explained = explained.text(area, &format!("explain {area}"));
    }
    let mistakes = Sequence::new("mistakes", small_model)
        .text("no verb", "")
        .text("no such verb", "frobnicate")
        .text("no model", "audit")
        .text("no such option", "audit {m} --frob")
        .text("no such severity", "audit {m} --fail-on grave")
        .text("no such format", "audit {m} --format xml")
        .text("no such report", "audit {m} --device cpu --report xml=out")
        .text("report nowhere", "audit {m} --device cpu --report json=no/such/directory/out")
        .text("seal nowhere", "seal {m} --device cpu -o no/such/directory/seal.json")
        .text("policy printed", "gate --print-policy")
        .text("policy printed and a model", "gate --print-policy {m}")
        .json("inspect nothing", "inspect none")
        .json("audit nothing", "audit none")
        .json("seal nothing", "seal none")
        .json("verify nothing", "verify none --seal none.json")
        .json("compare nothing", "compare {m} none")
        .json("no weights", "audit {m}/config.json")
        .human("no weights, for people", "seal {m}/config.json -o seal.json")
        .json("a seal that is a directory", "verify {m} --seal {m}");
    vec![help, explained, mistakes]
}

/// All of it; what takes long first.
fn sequences() -> Vec<Sequence> {
    [
        signatures(),
        marks(),
        texts(),
        registries(),
        gates(),
        written_reports(),
        generated_models(),
        attacks(),
        fixture_models(),
        malformed_models(),
        companions(),
        pairs(),
        seals(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

// The file.

fn file() -> PathBuf {
    testdata("golden-behaviour.json")
}

/// The file: a case on a line of its own, and each finding.
fn written(all: &BTreeMap<String, Outcome>) -> String {
    let entries: Vec<String> = all
        .iter()
        .map(|(name, outcome)| {
            let findings = std::mem::take(&mut outcome.clone().findings);
            let head = serde_json::to_string(&Outcome { findings: Vec::new(), ..outcome.clone() });
            let mut text = format!("{}: {}", json!(name), head.unwrap());
            if !findings.is_empty() {
                let lines: Vec<String> =
                    findings.iter().map(|finding| format!("  {}", json!(finding))).collect();
                text.truncate(text.len() - 1);
                text.push_str(&format!(",\"findings\":[\n{}\n]}}", lines.join(",\n")));
            }
            text
        })
        .collect();
    format!("{{\n{}\n}}\n", entries.join(",\n"))
}

/// What is in one list and not in the other, as often.
fn without<'a>(list: &'a [Value], other: &[Value]) -> Vec<&'a Value> {
    let mut other: Vec<&Value> = other.iter().collect();
    let mut left = Vec::new();
    for item in list {
        match other.iter().position(|found| *found == item) {
            Some(at) => drop(other.swap_remove(at)),
            None => left.push(item),
        }
    }
    left
}

/// What differs between two outcomes, member by member.
fn difference(old: &Outcome, new: &Outcome) -> String {
    let [old, new] = [old, new].map(|outcome| serde_json::to_value(outcome).unwrap());
    let mut members: Vec<&String> = old.as_object().unwrap().keys().collect();
    members.extend(new.as_object().unwrap().keys());
    members.sort();
    members.dedup();
    let mut said = String::new();
    for member in members.into_iter().filter(|member| old[*member] != new[*member]) {
        if old[member].is_array() || new[member].is_array() {
            let [old, new] =
                [&old, &new].map(|all| all[member].as_array().cloned().unwrap_or_default());
            let (gone, come) = (without(&old, &new), without(&new, &old));
            gone.iter().for_each(|item| said.push_str(&format!("    {member}: no more: {item}\n")));
            come.iter().for_each(|item| said.push_str(&format!("    {member}: now: {item}\n")));
            if gone.is_empty() && come.is_empty() {
                said.push_str(&format!("    {member}: in another order: {new:?}\n"));
            }
        } else {
            said.push_str(&format!("    {member}: was {}, is {}\n", old[member], new[member]));
        }
    }
    said
}

/// Holds outcomes to the file; `whole` when none may be missing.
fn hold(all: &BTreeMap<String, Outcome>, whole: bool) {
    let text = fs::read_to_string(file()).unwrap();
    let recorded: BTreeMap<String, Outcome> = serde_json::from_str(&text).unwrap();
    let mut said = Vec::new();
    for (name, new) in all {
        match recorded.get(name) {
            None => said.push(format!("{name}: not recorded\n")),
            Some(old) if old != new => said.push(format!("{name}:\n{}", difference(old, new))),
            Some(_) => (),
        }
    }
    if whole {
        let gone = recorded.keys().filter(|name| !all.contains_key(*name));
        said.extend(gone.map(|name| format!("{name}: recorded, and not run\n")));
    }
    assert!(
        said.is_empty(),
        "{} of {} cases are not as recorded in {}:\n{}",
        said.len(),
        all.len(),
        file().display(),
        said.concat()
    );
}

fn is_recording() -> bool {
    std::env::var_os("TENSORSEAL_RECORD_GOLDEN").is_some()
}

#[test]
fn behaviour_is_as_recorded() {
    let all = run_all(&sequences(), None);
    assert!(all.len() >= 1000, "{} cases", all.len());
    if is_recording() {
        fs::write(file(), written(&all)).unwrap();
    }
    hold(&all, true);
}

/// Every eighth sequence with one thread.
#[test]
fn threads_change_nothing() {
    if is_recording() {
        return;
    }
    let some: Vec<Sequence> = sequences().into_iter().skip(2).step_by(8).collect();
    hold(&run_all(&some, Some("1")), false);
}
