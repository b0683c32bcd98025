//! Runs of the program, in sequences.

use super::normalising::normalised;
use super::outcome::{Outcome, digest, of_report, short_digest};
use crate::common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

type Build = Box<dyn Fn(&Path) -> PathBuf + Send + Sync>;
type Change = Box<dyn Fn(&Path, &Path) + Send + Sync>;

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
pub(super) struct Sequence {
    name: String,
    build: Build,
    steps: Vec<Step>,
}

impl Sequence {
    /// What is built is given the directory, and gives the path of the model in it.
    pub(super) fn new(
        name: impl Into<String>,
        build: impl Fn(&Path) -> PathBuf + Send + Sync + 'static,
    ) -> Sequence {
        Sequence { name: name.into(), build: Box::new(build), steps: Vec::new() }
    }

    /// Recorded as text: of what prints no report.
    pub(super) fn text(mut self, name: &str, args: &str) -> Self {
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
    pub(super) fn human(self, name: &str, args: &str) -> Self {
        let device = if args.starts_with("inspect") { "" } else { " --device cpu" };
        self.text(name, &format!("{args}{device}"))
    }

    /// What machines read.
    pub(super) fn json(self, name: &str, args: &str) -> Self {
        self.human(name, &format!("{args} --format json"))
    }

    /// The last run writes these files.
    pub(super) fn writing(mut self, files: &[&'static str]) -> Self {
        self.last().writes = files.to_vec();
        self
    }

    /// The last run signs something with the time of the day.
    pub(super) fn dated(mut self) -> Self {
        self.last().same_bytes = false;
        self
    }

    /// Run, and not recorded.
    pub(super) fn prepared(self, args: &str) -> Self {
        let mut all = self.human("prepared", args);
        all.last().recorded = false;
        all
    }

    /// Nothing but the runs of this name.
    pub(super) fn only(mut self, name: &str) -> Self {
        self.steps.retain(|step| matches!(step, Step::Run(case) if case.name.ends_with(name)));
        self
    }

    fn last(&mut self) -> &mut Case {
        match self.steps.last_mut() {
            Some(Step::Run(case)) => case,
            _ => panic!("{}: no run", self.name),
        }
    }

    pub(super) fn change(mut self, change: impl Fn(&Path, &Path) + Send + Sync + 'static) -> Self {
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
pub(super) fn run_all(sequences: &[Sequence], threads: Option<&str>) -> BTreeMap<String, Outcome> {
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
