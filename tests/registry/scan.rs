//! Registries, scanned by the program as it is scheduled: what is remembered, and what is said of changes.

use crate::common::oms::Fixtures;
use crate::common::random::Random;
use crate::common::{Ran, Tensor, arg, finished, program, run, safetensors, validate, write_model};
use rusqlite::OpenFlags;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Weights that look like weights: nothing is said of them.
fn weights(seed: u64, elements: usize) -> Vec<u8> {
    let mut random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (0..elements).flat_map(|_| ((random.normal() * 0.02) as f32).to_le_bytes()).collect()
}

/// A registry of models in a directory, and its state.
struct Registry {
    dir: TempDir,
}

impl Registry {
    fn new(models: &[&str]) -> Registry {
        let registry = Registry { dir: tempfile::tempdir().unwrap() };
        for (index, name) in models.iter().enumerate() {
            registry.add(name, index as u64);
        }
        registry
    }

    fn add(&self, name: &str, seed: u64) {
        let tensors = [
            ("a.weight", "F32", &[200, 300][..], weights(2 * seed + 1, 60_000)),
            ("b.weight", "F32", &[300, 200][..], weights(2 * seed + 2, 60_000)),
        ];
        write_model(&self.models().join(name), &tensors);
    }

    fn models(&self) -> PathBuf {
        self.dir.path().join("models")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    fn args<'a>(&self, rest: &[&'a str]) -> Vec<String> {
        let mut args = vec!["registry".to_owned(), "scan".to_owned()];
        args.extend([self.models(), "--state".into(), self.state()].map(|p| arg(&p).to_owned()));
        args.extend(rest.iter().map(|arg: &&'a str| (*arg).to_owned()));
        args
    }

    fn scan(&self, rest: &[&str]) -> Ran {
        let args = self.args(rest);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A scan, and what it says of each model.
    fn states(&self, rest: &[&str]) -> (i32, BTreeMap<String, Model>, Value) {
        let mut all = rest.to_vec();
        all.extend(["--format", "json"]);
        let ran = self.scan(&all);
        let document: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr));
        validate("tensorseal.registry.1", &document);
        let models = document["models"].as_array().unwrap().iter().map(Model::of).collect();
        (ran.code, models, document["run"].clone())
    }

    fn verb(&self, args: &[&str]) -> Ran {
        let state = self.state();
        let mut all = vec!["registry"];
        all.extend(args);
        all.extend(["--state", arg(&state)]);
        run(&all)
    }

    /// Starts a scan.
    fn start(&self, rest: &[&str]) -> Child {
        let args = self.args(rest);
        let mut scan = program(&args.iter().map(String::as_str).collect::<Vec<_>>());
        scan.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// A number that a query gives; 0 as long as there is no state.
    fn count(&self, query: &str) -> u64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let ask = || {
            let database = rusqlite::Connection::open_with_flags(self.state(), flags)?;
            database.busy_timeout(Duration::from_secs(10))?;
            database.query_row(query, [], |row| row.get::<_, i64>(0))
        };
        ask().unwrap_or(0).cast_unsigned()
    }

    /// How many models were recorded that were read to their end.
    fn recorded(&self) -> u64 {
        self.count("SELECT count(*) FROM models WHERE last_deep_check IS NOT NULL")
    }

    /// How many bytes of the model that is at work need not be read again.
    fn kept(&self) -> u64 {
        self.count("SELECT coalesce(sum(bytes), 0) FROM journal_objects")
    }

    /// Changes a byte in the weights of a model.
    fn change(&self, name: &str) {
        let path = self.models().join(name).join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 5000;
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
    }
}

/// Waits until something is so, or the program ends; gives whether it is still at work.
fn at_work_until(child: &mut Child, is_so: impl Fn(&Child) -> bool) -> bool {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if is_so(child) {
            return true;
        }
        // Rather than for ever.
        assert!(started.elapsed() < Duration::from_secs(120), "it does not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn kill(mut child: Child) {
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
}

#[derive(Debug, PartialEq)]
struct Model {
    state: String,
    detail: String,
    rules: Vec<String>,
    root: String,
}

impl Model {
    fn of(value: &Value) -> (String, Model) {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let rule = |finding: &Value| finding["rule"].as_str().unwrap().to_owned();
        let rules = value["findings"].as_array().unwrap().iter().map(rule).collect();
        let model =
            Model { state: text("state"), detail: text("detail"), rules, root: text("root") };
        (text("name"), model)
    }
}

#[test]
fn every_change_is_told_as_what_it_is() {
    let registry = Registry::new(&["changed", "gone", "reset", "same", "touched"]);
    let (code, models, run) = registry.states(&[]);
    assert_eq!(code, 0, "{models:#?}");
    assert!(
        models.values().all(|m| m.state == "new" && m.rules == ["registry/new"]),
        "{models:#?}"
    );
    assert_eq!(run["deep_checked"], 5);
    let (code, models, run) = registry.states(&[]);
    assert_eq!(code, 0);
    assert!(models.values().all(|m| m.state == "ok" && m.rules.is_empty()), "{models:#?}");
    assert_eq!((&run["deep_checked"], &run["bytes_read"]), (&0.into(), &0.into()));

    registry.change("changed");
    fs::remove_dir_all(registry.models().join("gone")).unwrap();
    let reset = registry.models().join("reset/model.safetensors");
    let time = fs::metadata(&reset).unwrap().modified().unwrap();
    registry.change("reset");
    fs::File::options().write(true).open(&reset).unwrap().set_modified(time).unwrap();
    let touched = registry.models().join("touched/config.json");
    fs::File::options().write(true).open(touched).unwrap().set_modified(time).unwrap();
    registry.add("fresh", 9);

    let (code, models, run) = registry.states(&[]);
    assert_eq!((code, &run["deep_checked"]), (1, &4.into()), "{models:#?}");
    let state = |name: &str| models[name].state.as_str();
    let states = ["changed", "fresh", "gone", "reset", "same", "touched"].map(state);
    assert_eq!(states, ["modified", "new", "missing", "modified", "ok", "ok"]);
    for name in ["changed", "reset"] {
        let rules = &models[name].rules;
        let expected = ["integrity/tensor-changed", "registry/modified"];
        assert!(expected.iter().all(|rule| rules.iter().any(|r| r == rule)), "{rules:?}");
    }
    assert!(models["reset"].detail.contains("timestamp reset"), "{:?}", models["reset"]);
    assert!(!models["changed"].detail.contains("timestamp reset"));

    // What stands is said again, although nothing is read.
    let (code, again, run) = registry.states(&[]);
    assert_eq!((code, &run["deep_checked"]), (1, &0.into()));
    assert_eq!(again["changed"], models["changed"]);
    let told = registry.verb(&["status"]);
    assert_eq!(told.code, 1);
    for text in ["modified", "missing", "single bit flip: ", "FAIL"] {
        assert!(told.stdout.contains(text), "{text}: {}", told.stdout);
    }
}

#[test]
fn what_was_accepted_is_what_counts() {
    let registry = Registry::new(&["one", "two"]);
    registry.scan(&[]);
    registry.change("one");
    fs::remove_dir_all(registry.models().join("two")).unwrap();
    assert_eq!(registry.scan(&[]).code, 1);

    let refused = registry.verb(&["accept", "one", "--reason", "  "]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(registry.verb(&["accept", "three", "--reason", "x"]).code, 4);
    let accepted = registry.verb(&["accept", "one", "--reason", "retrained", "--by", "Ada"]);
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    assert_eq!(registry.verb(&["accept", "one", "--reason", "again"]).code, 2);
    assert_eq!(registry.verb(&["accept", "two", "--reason", "retired"]).code, 0);
    let (code, models, _) = registry.states(&["--read-all"]);
    assert_eq!((code, models.len()), (0, 1), "{models:#?}");
    assert_eq!(models["one"].state, "ok");
    let history = registry.verb(&["history", "one"]).stdout;
    for text in ["new", "modified", "accepted by Ada: retrained", "first seen", "retrained"] {
        assert!(history.contains(text), "{text}: {history}");
    }
    assert!(registry.verb(&["history", "two"]).stdout.contains("removal accepted by "));
    let document = registry.verb(&["history", "one", "--format", "json"]).stdout;
    validate("tensorseal.registry-history.1", &serde_json::from_str(&document).unwrap());
    // One that comes back is new, whatever it was before.
    registry.add("two", 77);
    assert_eq!(registry.states(&[]).1["two"].state, "new");

    let database = rusqlite::Connection::open(registry.state()).unwrap();
    for sql in ["DELETE FROM baselines", "UPDATE baselines SET reason = 'none'"] {
        let error = database.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("an accepted baseline"), "{error}");
    }
}

#[test]
fn models_are_read_again_in_rotation_and_when_their_check_is_old() {
    let registry = Registry::new(&["a", "b", "c", "d"]);
    registry.scan(&[]);
    let deep = |args: &[&str]| registry.states(args).2["deep_checked"].as_u64().unwrap();
    assert_eq!(deep(&["--max-age", "1d"]), 0);
    let parts = [1, 2, 3].map(|part| deep(&["--read-subset", &format!("{part}/3")]));
    assert_eq!(parts.iter().sum::<u64>(), 4, "{parts:?}");
    let turns = [(); 3].map(|()| deep(&["--read-subset", "auto/3"]));
    assert_eq!(turns, parts, "the next part each time");
    let database = rusqlite::Connection::open(registry.state()).unwrap();
    let old = "UPDATE models SET last_deep_check = '2020-01-01T00:00:00Z' WHERE name IN ('a', 'c')";
    database.execute(old, []).unwrap();
    assert_eq!(deep(&["--max-age", "30d"]), 2);
    assert_eq!(deep(&["--max-age", "30d"]), 0);
    assert_eq!(deep(&["--read-all"]), 4);
}

#[test]
fn nothing_is_passed_that_could_not_be_checked() {
    let registry = Registry::new(&["a"]);
    registry.scan(&[]);
    fs::rename(registry.models(), registry.dir.path().join("elsewhere")).unwrap();
    let ran = registry.scan(&[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stdout.contains("no such file"), "{}", ran.stdout);
    let (_, models, _) = registry.states(&[]);
    assert_eq!(models["a"].state, "ok", "a source that is away does not make models missing");
    assert_eq!(registry.verb(&["status"]).code, 3);

    let state = registry.state();
    let scan = |source: &str| run(&["registry", "scan", source, "--state", arg(&state)]);
    assert_eq!(scan("ftp://host/models").code, 2);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(scan(arg(empty.path())).code, 4);
    let twice = run(&["registry", "scan", ".", ".", "--state", arg(&state)]);
    assert_eq!(twice.code, 2, "{}", twice.stderr);
}

#[test]
fn one_writes_at_a_time_and_others_read() {
    let registry = Registry::new(&["a"]);
    registry.scan(&[]);
    let lock =
        fs::File::options().write(true).open(registry.dir.path().join("state.db.lock")).unwrap();
    lock.lock().unwrap();
    let ran = registry.scan(&[]);
    assert_eq!(ran.code, 11, "{}", ran.stderr);
    assert!(ran.stderr.contains("--wait-lock"), "{}", ran.stderr);
    assert_eq!(registry.verb(&["accept", "a", "--reason", "x"]).code, 11);
    assert_eq!(registry.verb(&["status"]).code, 0);
    let mut child = registry.start(&["--wait-lock"]);
    // Lines of those that wait have an arrow; the process stands behind FLOCK, ADVISORY and WRITE.
    let waits = |child: &Child| {
        let (locks, process) = (fs::read_to_string("/proc/locks").unwrap(), child.id().to_string());
        let mut waiting = locks.lines().filter_map(|line| line.split_once("-> "));
        waiting.any(|(_, lock)| lock.split_whitespace().nth(3) == Some(&process))
    };
    assert!(at_work_until(&mut child, waits), "it does not wait");
    lock.unlock().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_damaged_state_is_refused_and_left_as_it_is() {
    let registry = Registry::new(&["a", "b"]);
    registry.scan(&[]);
    let sound = fs::read(registry.state()).unwrap();
    let mut torn = sound.clone();
    // Pages of tables: their headers, all of them.
    for page in 1..torn.len() / 4096 {
        torn[page * 4096..page * 4096 + 64].fill(0xA5);
    }
    let mut foreign = sound.clone();
    foreign[68..72].copy_from_slice(&[0; 4]);
    let mut newer = sound.clone();
    newer[60..64].copy_from_slice(&99u32.to_be_bytes());
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty", Vec::new(), "the file is empty"),
        ("text", b"not a database, but long enough to be one".to_vec(), "not an SQLite database"),
        ("cut", sound[..sound.len() / 2].to_vec(), "damaged"),
        ("torn", torn, "damaged"),
        ("foreign", foreign, "another program"),
        ("newer", newer, "format 99"),
    ];
    for (name, bytes, expected) in cases {
        for file in ["state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(registry.dir.path().join(file));
        }
        fs::write(registry.state(), &bytes).unwrap();
        for ran in [registry.scan(&[]), registry.verb(&["accept", "a", "--reason", "x"])] {
            assert_eq!(ran.code, 3, "{name}: {} {}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(expected), "{name}: {}", ran.stderr);
        }
        assert!(fs::read(registry.state()).unwrap() == bytes, "{name}: it is left as it is");
    }
    fs::remove_file(registry.state()).unwrap();
    assert_eq!(registry.verb(&["status"]).code, 2);
    assert!(!registry.state().exists(), "asking makes none");
}

/// Kills scans at twenty moments, each after more models were recorded than before; what comes of it is what an
/// undisturbed scan finds, and no model that was recorded is read again.
#[test]
fn a_scan_that_was_killed_goes_on() {
    let names: Vec<String> = (0..10).map(|index| format!("model-{index}")).collect();
    let registry = Registry::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let other = registry.dir.path().join("other.db");
    let begun = Instant::now();
    let undisturbed = finished(
        program(&["registry", "scan", arg(&registry.models()), "--state", arg(&other)])
            .args(["--format", "json"])
            .output()
            .unwrap(),
    );
    let of_a_model = begun.elapsed().as_secs_f64() / 10.0;
    let document: Value = serde_json::from_str(&undisturbed.stdout).unwrap();
    let fresh: BTreeMap<String, Model> =
        document["models"].as_array().unwrap().iter().map(Model::of).collect();

    let mut random = Random(7);
    for kills in 0..20 {
        let mut scan = registry.start(&[]);
        if at_work_until(&mut scan, |_| registry.recorded() >= kills / 2) {
            // Somewhere in the next one.
            std::thread::sleep(Duration::from_secs_f64(of_a_model * random.uniform()));
        }
        kill(scan);
    }
    let recorded = registry.recorded();
    assert!(recorded >= 9, "each scan went on: {recorded}");
    let (code, resumed, run) = registry.states(&[]);
    assert_eq!(code, undisturbed.code);
    let roots = |models: &BTreeMap<String, Model>| -> Vec<(String, String)> {
        models.iter().map(|(name, model)| (name.clone(), model.root.clone())).collect()
    };
    assert_eq!(roots(&resumed), roots(&fresh));
    assert!(resumed.values().all(|model| ["ok", "new"].contains(&model.state.as_str())));
    assert_eq!(run["deep_checked"], 10 - recorded, "what was done is not done again: {run}");
}

/// Within a model, too: what was measured before the kill is not read again, be it judged for the first time
/// or only digested.
#[test]
fn a_model_is_gone_on_with_where_it_was_left() {
    let registry = Registry::new(&[]);
    let tensors: Vec<(String, Vec<u8>)> =
        (0..24).map(|at| (format!("layer.{at:02}"), weights(at, 50_000))).collect();
    let tensors: Vec<Tensor> = tensors
        .iter()
        .map(|(name, bytes)| (name.as_str(), "F32", &[250, 200][..], bytes.clone()))
        .collect();
    write_model(&registry.models().join("large"), &tensors);
    let files = fs::read_dir(registry.models().join("large")).unwrap();
    let whole: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    for state in ["new", "ok"] {
        // It takes long for all, and is killed as soon as something of it is kept.
        let mut scan = registry.start(&["--read-all", "--limit-rate", "200K", "--threads", "1"]);
        assert!(at_work_until(&mut scan, |_| registry.kept() > 0), "it ended before it was killed");
        kill(scan);
        let kept = registry.kept();
        let status = registry.verb(&["status"]);
        assert_eq!(status.code, 3, "nothing passes after a scan that did not end");
        let (code, models, rest) = registry.states(&["--read-all"]);
        assert_eq!((code, models["large"].state.as_str()), (0, state));
        assert!(kept < whole);
        assert_eq!(rest["bytes_read"], whole - kept, "{state}: what was kept is not read again");
    }
}

#[test]
fn everyone_is_told() {
    let registry = Registry::new(&["a", "b"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/key", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        [(); 4].map(|()| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let len = stream.read(&mut request).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK")
                .unwrap();
            let text = String::from_utf8_lossy(&request[..len]).into_owned();
            text.split(' ').nth(1).unwrap().to_owned()
        })
    });
    let [metrics, events, pages, note] =
        ["m.prom", "events.jsonl", "reports", "note"].map(|name| registry.dir.path().join(name));
    let command = format!("cat > {}.json; echo \"$TENSORSEAL_VERDICT\" > {0}", arg(&note));
    let telling = [
        "--prometheus",
        arg(&metrics),
        "--ocsf",
        arg(&events),
        "--reports",
        arg(&pages),
        "--notify",
        &command,
        "--ping",
        &url,
        "--quiet",
    ];
    let ran = registry.scan(&telling);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(!note.exists(), "nobody is disturbed when all is well");
    registry.change("a");
    let ran = registry.scan(&telling);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("modified"), "{}", ran.stdout);
    assert_eq!(asked.join().unwrap(), ["/key/start", "/key", "/key/start", "/key/fail"]);
    assert_eq!(fs::read_to_string(&note).unwrap(), "fail\n");
    let document: Value =
        serde_json::from_str(&fs::read_to_string(note.with_extension("json")).unwrap()).unwrap();
    validate("tensorseal.registry.1", &document);
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(
        metrics.contains("state=\"modified\"") && metrics.contains("rule=\"registry/modified\"")
    );
    assert!(fs::read_to_string(events).unwrap().lines().count() >= 4);
    let index = fs::read_to_string(pages.join("index.html")).unwrap();
    let link = index.split("href=\"./models/").nth(1).and_then(|rest| rest.split('"').next());
    let page = pages.join("models").join(link.expect("a link to the report of the model"));
    assert!(fs::read_to_string(&page).unwrap().contains("tensor-changed"));
    let document = fs::read_to_string(page.with_extension("json")).unwrap();
    validate("tensorseal.report.2", &serde_json::from_str(&document).unwrap());
    let failed = registry.scan(&["--notify", "exit 3"]);
    assert_eq!(failed.code, 1, "the finding comes first");
    assert!(failed.stderr.contains("--notify failed"), "{}", failed.stderr);
}

/// A cache as the client of the hub lays it out: links into blobs that are named by what they hold.
fn cache(root: &Path) -> PathBuf {
    let repository = root.join("hub/models--org--net");
    let commit = "1".repeat(40);
    let snapshot = repository.join("snapshots").join(&commit);
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repository.join("refs/main"), &commit).unwrap();
    let model = safetensors(&[("w", "F32", &[200, 300], weights(3, 60_000))]);
    let files: [(&str, Vec<u8>); 2] =
        [("model.safetensors", model), ("config.json", b"{}\n".to_vec())];
    for (name, bytes) in files {
        let blob = match name {
            "config.json" => "0967ef424bce6791893e9a57bb952f80fd536e93".to_owned(),
            _ => sha256(&bytes),
        };
        fs::write(repository.join("blobs").join(&blob), bytes).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
    }
    repository
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn blobs_of_a_cache_are_held_to_their_names() {
    let registry = Registry::new(&[]);
    let repository = cache(&registry.models());
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["org/net"].state.as_str()), (0, "new"), "{models:#?}");
    let blobs = repository.join("blobs");
    let large = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().len() == 64)
        .unwrap();
    let sound = fs::read(&large).unwrap();
    let mut damaged = sound.clone();
    damaged[10_000] ^= 0x01;
    fs::write(&large, &damaged).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["org/net"].state.as_str()), (1, "modified"));
    assert!(models["org/net"].rules.contains(&"registry/blob-differs".to_owned()), "{models:#?}");
    let refused = registry.verb(&["accept", "org/net", "--reason", "it is fine"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    // Without any memory as well.
    fs::remove_file(registry.state()).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["org/net"].state.as_str()), (1, "modified"));
    fs::write(&large, &sound).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!(code, 0, "{models:#?}");
    fs::remove_file(blobs.join("0967ef424bce6791893e9a57bb952f80fd536e93")).unwrap();
    let (_, models, _) = registry.states(&[]);
    assert_eq!(models["org/net"].state, "incomplete", "{models:#?}");
}

/// A commit that changes no file of the model is what it was; what is changed under it later has no other
/// version to explain it.
#[test]
fn a_version_of_the_same_content_is_the_accepted_one() {
    let registry = Registry::new(&[]);
    let repository = cache(&registry.models());
    assert_eq!(registry.states(&[]).0, 0);
    let snapshots = repository.join("snapshots");
    let [first, second] = ["1", "2"].map(|digit| digit.repeat(40));
    fs::rename(snapshots.join(first), snapshots.join(&second)).unwrap();
    fs::write(repository.join("refs/main"), &second).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["org/net"].state.as_str()), (0, "ok"), "{models:#?}");
    let history = registry.verb(&["history", "org/net"]).stdout;
    assert!(history.contains("another version with the accepted content"), "{history}");
    // `printf '{"a": 1}\n' | git hash-object --stdin`.
    let other = "cb5b2f69babc53f9145b45ad20b9a075d48717ef";
    let config = snapshots.join(&second).join("config.json");
    fs::write(repository.join("blobs").join(other), "{\"a\": 1}\n").unwrap();
    fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink(format!("../../blobs/{other}"), &config).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["org/net"].state.as_str()), (1, "modified"), "{models:#?}");
}

/// What the last scan passed over: path and reason.
fn passed_over(registry: &Registry, more: &[&str]) -> Vec<(String, String)> {
    let ran = registry.scan(&[&["--format", "json"], more].concat());
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    validate("tensorseal.registry.1", &document);
    let passed = document["passed_over"].as_array().unwrap();
    assert_eq!(document["passed_over_count"], passed.len());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    passed.iter().map(|entry| (text(&entry["path"]), text(&entry["reason"]))).collect()
}

#[test]
fn what_is_passed_over_is_named_and_a_model_that_was_known_stays_one() {
    let registry = Registry::new(&["a", "tmp/b"]);
    let models = registry.models();
    let outside = registry.dir.path().join("elsewhere");
    write_model(&outside, &[("w", "F32", &[2], vec![0; 8])]);
    std::os::unix::fs::symlink(&outside, models.join("out")).unwrap();
    std::os::unix::fs::symlink("nowhere", models.join("gone")).unwrap();
    std::os::unix::fs::symlink("a", models.join("same")).unwrap();
    fs::create_dir_all(models.join("arrays/below")).unwrap();
    fs::write(models.join("arrays/x.npy"), "x").unwrap();
    fs::write(models.join("arrays/below/m.onnx"), "x").unwrap();
    fs::create_dir_all(models.join("spaces--org--x/snapshots")).unwrap();
    fs::write(models.join("spaces--org--x/snapshots/m.onnx"), "x").unwrap();
    let place = outside.canonicalize().unwrap();
    let out = format!(
        "a link to '{}', outside of the source: scan that directory as a separate source",
        place.display()
    );
    let expected = [
        ("arrays", "one array, but no model file"),
        ("gone", "a broken link"),
        ("out", &out),
        ("spaces--org--x", "a space, not a model"),
    ];
    let mut passed = passed_over(&registry, &[]);
    passed.sort();
    assert_eq!(passed, expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())));
    let (code, found, _) = registry.states(&[]);
    assert_eq!(code, 0);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "arrays/below", "tmp/b"]);
    let said = registry.scan(&[]).stdout;
    assert!(said.contains("skipped  ") && said.contains("arrays (one array"), "{said}");

    // Nobody looks whether what is excluded is there; a model that a link took the place of is gone.
    fs::rename(models.join("tmp"), registry.dir.path().join("moved")).unwrap();
    fs::rename(models.join("a"), registry.dir.path().join("a")).unwrap();
    std::os::unix::fs::symlink(registry.dir.path().join("a"), models.join("a")).unwrap();
    let (code, found, _) = registry.states(&["--exclude", "tmp/*"]);
    assert_eq!((code, found["tmp/b"].state.as_str()), (1, "ok"), "{found:#?}");
    assert_eq!(found["a"].state, "missing");
    assert_eq!(registry.states(&[]).1["tmp/b"].state, "missing");
    fs::rename(registry.dir.path().join("moved"), models.join("tmp")).unwrap();
    let passed = passed_over(&registry, &["--exclude", "nothing", "--exclude", "tmp/*"]);
    assert!(passed.contains(&("tmp/b".to_owned(), "excluded by tmp/*".to_owned())), "{passed:#?}");

    // Its weights went, and arrays are left: it is read, as the model that it was.
    let below = models.join("arrays/below");
    fs::rename(below.join("m.onnx"), below.join("m.npy")).unwrap();
    let (code, found, _) = registry.states(&["--exclude", "tmp/*"]);
    assert_eq!((code, found["arrays/below"].state.as_str()), (1, "modified"), "{found:#?}");
    assert_eq!(registry.scan(&["--exclude", ""]).code, 2);
}

#[test]
fn a_cache_tells_what_of_it_is_no_model() {
    let registry = Registry::new(&[]);
    let repository = cache(&registry.models());
    let hub = repository.parent().unwrap();
    fs::create_dir_all(hub.join("datasets--org--d/snapshots/1")).unwrap();
    fs::create_dir_all(hub.join("models--org--none/refs")).unwrap();
    fs::create_dir_all(hub.join(".locks")).unwrap();
    write_model(&hub.join("mine"), &[("w", "F32", &[2], vec![0; 8])]);
    let tokenizer = hub.join("models--org--tokens");
    let snapshot = tokenizer.join("snapshots").join("3".repeat(40));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(tokenizer.join("blobs")).unwrap();
    fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
    fs::write(repository.join("blobs").join("cb5b2f69babc53f9145b45ad20b9a075d48717ef"), "x")
        .unwrap();
    let paths = |passed: Vec<(String, String)>| -> Vec<String> {
        let mut paths: Vec<String> = passed.into_iter().map(|(path, _)| path).collect();
        paths.sort();
        paths
    };
    let tokens = format!("org/tokens@{}", "3".repeat(40));
    let left = "org/net#unreferenced-blobs";
    let expected = ["datasets--org--d", "mine", "models--org--none", left, &tokens];
    assert_eq!(paths(passed_over(&registry, &[])), expected);
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models.len(), models["org/net"].state.as_str()), (0, 1, "ok"), "{models:#?}");
    // The weights are on their way.
    fs::write(tokenizer.join("blobs/x.incomplete"), "x").unwrap();
    let (_, models, _) = registry.states(&[]);
    assert_eq!(models[&tokens].state, "incomplete", "{models:#?}");
    assert_eq!(models.len(), 2, "it is told once: {models:#?}");
}

#[test]
fn a_cache_given_as_a_model_names_its_snapshots() {
    let registry = Registry::new(&[]);
    let repository = cache(&registry.models());
    let hub = repository.parent().unwrap();
    let model = registry.dir.path().join("model");
    write_model(&model, &[("w", "F32", &[2], vec![0; 8])]);
    let out = registry.dir.path().join("out");
    for place in [&registry.models(), hub, &repository] {
        let (place, model, out) = (arg(place), arg(&model), arg(&out));
        for args in [
            vec!["seal", place],
            vec!["verify", place],
            vec!["sign", place, "--key", "none.pem"],
            vec!["gate", place, "--policy", "none.toml"],
            vec!["audit", place],
            vec!["audit", model, "--baseline", place],
            vec!["inspect", place],
            vec!["compare", place, model],
            vec!["compare", model, place],
            vec!["repair", place, "-o", out],
            vec!["watermark", "detect", place, "--key", "none.key"],
            vec!["watermark", "claim", place, "--key", "none.key"],
            vec!["watermark", "embed", place, "--key", "none.key", "-o", out],
        ] {
            let ran = run(&args);
            assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
            let expected = format!("hub/models--org--net/snapshots/{}", "1".repeat(40));
            assert!(ran.stderr.contains("give one of its snapshots: "), "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(&expected), "{args:?}: {}", ran.stderr);
        }
    }
    let snapshot = repository.join("snapshots").join("1".repeat(40));
    assert_eq!(run(&["inspect", arg(&snapshot)]).code, 0);
}

/// Notes as `hf download --local-dir` leaves them, of all files of a model.
fn write_notes(model: &Path, second: u64) {
    use sha1::Digest;
    let folder = model.join(".cache/huggingface/download");
    fs::create_dir_all(&folder).unwrap();
    for name in ["config.json", "empty.txt", "model.safetensors"] {
        let bytes = fs::read(model.join(name)).unwrap();
        let blob = [format!("blob {}\0", bytes.len()).as_bytes(), &bytes].concat();
        let tag = match name {
            "model.safetensors" => sha256(&bytes),
            _ => sha1::Sha1::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let note = format!("{}\n{tag}\n{second}.25\n", "1".repeat(40));
        fs::write(folder.join(format!("{name}.metadata")), note).unwrap();
    }
}

#[test]
fn files_of_a_download_are_held_to_its_notes() {
    let registry = Registry::new(&["a"]);
    let model = registry.models().join("a");
    let notes = model.join(".cache/huggingface/download");
    write_notes(&model, 1_712_656_091);
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["a"].state.as_str()), (0, "new"), "{models:#?}");
    // A look at the hub that found nothing new writes them again.
    write_notes(&model, 1_712_656_092);
    let (code, models, run) = registry.states(&[]);
    assert_eq!((code, models["a"].state.as_str(), &run["deep_checked"]), (0, "ok", &0.into()));
    let sound = fs::read(model.join("model.safetensors")).unwrap();
    registry.change("a");
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["a"].state.as_str()), (1, "modified"));
    for rule in ["registry/blob-differs", "integrity/tensor-changed"] {
        assert!(models["a"].rules.iter().any(|found| found == rule), "{rule}: {models:#?}");
    }
    let refused = registry.verb(&["accept", "a", "--reason", "it is fine"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("remove its metadata below .cache"), "{}", refused.stderr);
    // Without any memory as well; and one that was meant, once its note is removed.
    fs::remove_file(registry.state()).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["a"].state.as_str()), (1, "modified"));
    assert_eq!(models["a"].rules, ["registry/blob-differs"]);
    let note = notes.join("model.safetensors.metadata");
    let kept = fs::read(&note).unwrap();
    fs::remove_file(&note).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["a"].state.as_str()), (0, "new"), "{models:#?}");
    // A note that was there is one again: the content is no longer what it was.
    fs::write(&note, &kept).unwrap();
    // Nor is it in a scan that has nothing new to say.
    for rest in [&[][..], &["--read-all"]] {
        let (code, models, _) = registry.states(rest);
        assert_eq!((code, models["a"].state.as_str()), (1, "modified"));
        assert_eq!(models["a"].rules, ["registry/blob-differs"]);
    }
    fs::write(model.join("model.safetensors"), sound).unwrap();
    let (_, models, _) = registry.states(&[]);
    assert!(!models["a"].rules.contains(&"registry/blob-differs".to_owned()), "{models:#?}");
    // What is no note claims nothing.
    fs::write(&note, [&kept[..40], b"\n"].concat()).unwrap();
    fs::remove_file(registry.state()).unwrap();
    assert_eq!(registry.states(&[]).0, 0);
}

/// A file that was changed under its signature is found out without its key, and without any memory.
#[test]
fn files_are_held_to_what_their_signature_states() {
    let registry = Registry::new(&["blake3", "sharded", "sha256", "torn"]);
    let fixtures = Fixtures::new();
    let key = fixtures.path("keys/p256.priv.pem");
    for (name, extra) in [
        ("blake3", &["--hash", "blake3"][..]),
        ("sha256", &[]),
        ("sharded", &["--shard-size", "100000"]),
        ("torn", &[]),
    ] {
        let model = registry.models().join(name);
        if name == "sharded" {
            // A signature of shards cannot list an empty file.
            fs::remove_file(model.join("empty.txt")).unwrap();
        }
        let mut args = vec!["sign", arg(&model), "--key", arg(&key)];
        args.extend(extra);
        let ran = run(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let (code, models, _) = registry.states(&[]);
    assert!(code == 0 && models.values().all(|model| model.state == "new"), "{models:#?}");
    fs::remove_file(registry.state()).unwrap();
    for name in ["blake3", "sha256", "sharded"] {
        registry.change(name);
    }
    let torn = registry.models().join("torn/model.sig");
    let text = fs::read(&torn).unwrap();
    fs::write(&torn, &text[..text.len() / 2]).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!(code, 1);
    for name in ["blake3", "sha256"] {
        let Model { state, rules, .. } = &models[name];
        assert_eq!(
            (state.as_str(), &rules[..]),
            ("modified", &["registry/blob-differs".to_owned()][..])
        );
    }
    assert_eq!(models["sharded"].state, "new", "digests of shards are for those who have the key");
    assert_eq!(models["torn"].rules, ["signature/bundle-invalid", "registry/new"]);
    let told = registry.verb(&["status"]).stdout;
    assert!(told.contains("does not match model.sig (BLAKE3 now "), "{told}");
}

/// A signature and attestations that were added after the seal are not changes. A file that changed afterwards is found,
/// and is not accepted until it is signed again.
#[test]
fn a_sealed_and_signed_model_passes_until_it_is_changed() {
    let registry = Registry::new(&["signed"]);
    let fixtures = Fixtures::new();
    let key = fixtures.path("keys/p256.priv.pem");
    let model = registry.models().join("signed");
    let sealed = run(&["seal", arg(&model), "--fine"]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    let signed = run(&["sign", arg(&model), "--key", arg(&key), "--attest", "seal"]);
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    assert!(model.join("model.sig.attestations.jsonl").exists());
    let scan = || -> (i32, Value) {
        let ran = registry.scan(&["--format", "json"]);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        (ran.code, document["models"][0].clone())
    };
    let (code, found) = scan();
    assert_eq!((code, &found["state"]), (0, &"new".into()), "{found:#}");
    let findings = found["findings"].as_array().unwrap();
    let added: Vec<&Value> =
        findings.iter().filter(|finding| finding["rule"] == "integrity/file-added").collect();
    let files: Vec<&str> = added.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["model.sig", "model.sig.attestations.jsonl"]);
    assert!(findings.iter().all(|finding| finding["severity"] == "info"), "{findings:#?}");
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["signed"].state.as_str()), (0, "ok"));

    // More than the search without chunk digests explains.
    let weights = model.join("model.safetensors");
    let sound = fs::read(&weights).unwrap();
    let mut bytes = sound.clone();
    let at = bytes.len() - 5000;
    bytes[at..at + 2].fill(0xA5);
    fs::write(&weights, &bytes).unwrap();
    let (code, found) = scan();
    assert_eq!((code, &found["state"]), (1, &"modified".into()), "{found:#}");
    let message = |rule: &str| {
        let findings = found["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["rule"] == rule);
        finding.unwrap_or_else(|| panic!("{rule}: {found:#}"))["message"].as_str().unwrap()
    };
    assert!(message("registry/blob-differs").starts_with("does not match model.sig (SHA-256 now "));
    let tensor = message("integrity/tensor-changed");
    let hint = "; not searched further: run `tensorseal verify`";
    assert!(
        tensor.contains("no single bit flip explains bytes ") && tensor.ends_with(hint),
        "{tensor}"
    );
    let refused = registry.verb(&["accept", "signed", "--reason", "it is fine"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let named = refused.stderr.matches("model.safetensors").count();
    assert_eq!(named, 1, "{}", refused.stderr);
    let text = "restore it, or sign the model again; it cannot be accepted until then";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);

    // Without earlier scans, the digests of the signature say it as well.
    fs::remove_file(registry.state()).unwrap();
    let (code, models, _) = registry.states(&[]);
    assert_eq!((code, models["signed"].state.as_str()), (1, "modified"));
    let detail = &models["signed"].detail;
    assert!(
        detail.starts_with("model.safetensors does not match model.sig (SHA-256 now "),
        "{detail}"
    );
    fs::write(&weights, sound).unwrap();
    assert_eq!(registry.states(&[]).0, 0);
}
