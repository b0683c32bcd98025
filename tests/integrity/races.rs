//! Models that change while they are read, wherever it is: every verb ends with 3 and one clear line, and writes
//! nothing. What did not change is judged as ever.

use crate::common::oms::Fixtures;
use crate::common::{
    Ran, Tensor, arg, file_of, finished, noise, program, run, safetensors, write_key,
};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tensorseal_format::{Checkpoint, OpenOptions};

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

/// Bytes of the tensor in the second shard, nearly all of them a hole: a run can be stopped in it.
const LARGE: u64 = 192 << 20;

/// Writes a model of two shards and a few files, each of them of the same content every time.
fn write_model(model: &Path, large: u64) {
    fs::create_dir_all(model.join("notes")).unwrap();
    fs::create_dir(model.join("more")).unwrap();
    for (name, text) in [
        ("config.json", "{\"model_type\": \"test\"}\n"),
        ("more/c.json", "[3]\n"),
        ("notes/a.json", "[1]\n"),
        ("notes/b.json", "[2]\n"),
    ] {
        fs::write(model.join(name), text).unwrap();
    }
    let small = safetensors(&[("a.weight", "F32", &[64, 64], noise(1, 64 * 64 * 4))]);
    fs::write(model.join(FIRST), small).unwrap();
    let rows = large / 1024;
    let header = format!(
        r#"{{"b.weight":{{"dtype":"BF16","shape":[{rows},512],"data_offsets":[0,{large}]}}}}"#
    );
    let second = model.join(SECOND);
    fs::write(&second, file_of(&header, &[])).unwrap();
    let start = fs::metadata(&second).unwrap().len();
    let file = File::options().write(true).open(&second).unwrap();
    file.set_len(start + large).unwrap();
    // No weight of these is zero: it can be marked.
    file.write_all_at(&vec![0x3C; large.min(16 << 20) as usize], start).unwrap();
    let map = json!({"a.weight": FIRST, "b.weight": SECOND});
    let index = json!({"metadata": {"total_size": large + 64 * 64 * 4}, "weight_map": map});
    fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// Something that happens to a model, and what is said of it.
struct Change {
    name: &'static str,
    /// What must be there before.
    before: fn(&Path),
    happens: fn(&Path),
    /// The path that is named, and what of it.
    said: [&'static str; 2],
}

fn as_it_is(_: &Path) {}

fn write_over(path: &Path, bytes: &[u8]) {
    File::options().write(true).truncate(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}

fn replace(path: &Path) {
    let other = path.with_extension("other");
    fs::copy(path, &other).unwrap();
    fs::rename(other, path).unwrap();
}

fn link_to_a(model: &Path) {
    symlink("notes/a.json", model.join("link.json")).unwrap();
}

fn link_to_notes(model: &Path) {
    symlink("notes", model.join("way")).unwrap();
}

const CHANGES: [Change; 20] = [
    Change {
        name: "rewritten in place",
        before: as_it_is,
        happens: |model| write_over(&model.join("config.json"), b"{\"model_type\": \"else\"}\n"),
        said: ["config.json", "it was written to"],
    },
    Change {
        name: "rewritten, time set back",
        before: as_it_is,
        happens: |model| {
            let path = model.join("config.json");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            write_over(&path, b"{\"model_type\": \"else\"}\n");
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        },
        said: ["config.json", "its attributes changed"],
    },
    Change {
        name: "grown",
        before: as_it_is,
        happens: |model| write_over(&model.join("config.json"), b"{\"model_type\": \"longer\"}\n"),
        said: ["config.json", "its length changed"],
    },
    Change {
        name: "replaced",
        before: as_it_is,
        happens: |model| replace(&model.join("config.json")),
        said: ["config.json", "another file took its place"],
    },
    Change {
        name: "removed",
        before: as_it_is,
        happens: |model| fs::remove_file(model.join("config.json")).unwrap(),
        said: ["config.json", "it is gone"],
    },
    Change {
        name: "file added",
        before: as_it_is,
        happens: |model| fs::write(model.join("tokenizer.json"), "{}").unwrap(),
        said: ["tokenizer.json", "it was added"],
    },
    Change {
        name: "empty file added",
        before: as_it_is,
        happens: |model| fs::write(model.join("__init__.py"), "").unwrap(),
        said: ["__init__.py", "it was added"],
    },
    Change {
        name: "directory with a file added",
        before: as_it_is,
        happens: |model| {
            fs::create_dir(model.join("new")).unwrap();
            fs::write(model.join("new/a.py"), "a = 1\n").unwrap();
        },
        said: ["new/a.py", "it was added"],
    },
    Change {
        name: "empty directory added",
        before: as_it_is,
        happens: |model| fs::create_dir(model.join("new")).unwrap(),
        said: ["new", "a directory was added"],
    },
    Change {
        name: "directory renamed",
        before: as_it_is,
        happens: |model| fs::rename(model.join("notes"), model.join("notices")).unwrap(),
        said: ["notes/a.json", "it is gone"],
    },
    Change {
        name: "directories exchanged",
        before: as_it_is,
        happens: |model| {
            fs::write(model.join("more/a.json"), "[1]\n").unwrap();
            fs::write(model.join("more/b.json"), "[2]\n").unwrap();
            fs::remove_file(model.join("more/c.json")).unwrap();
            fs::rename(model.join("notes"), model.join("old")).unwrap();
            fs::rename(model.join("more"), model.join("notes")).unwrap();
            fs::rename(model.join("old"), model.join("more")).unwrap();
        },
        said: ["more/a.json", "it was added"],
    },
    Change {
        name: "link added",
        before: as_it_is,
        happens: link_to_a,
        said: ["link.json", "it was added"],
    },
    Change {
        name: "link retargeted",
        before: link_to_a,
        happens: |model| {
            fs::remove_file(model.join("link.json")).unwrap();
            symlink("notes/b.json", model.join("link.json")).unwrap();
        },
        said: ["link.json", "it leads elsewhere now"],
    },
    Change {
        name: "link to a directory added",
        before: as_it_is,
        happens: link_to_notes,
        said: ["way", "a link was added"],
    },
    Change {
        name: "link to a directory retargeted",
        before: link_to_notes,
        happens: |model| {
            fs::remove_file(model.join("way")).unwrap();
            symlink("more", model.join("way")).unwrap();
        },
        said: ["way", "it leads elsewhere now"],
    },
    Change {
        name: "file became a link to itself elsewhere",
        before: as_it_is,
        happens: |model| {
            fs::rename(model.join("config.json"), model.parent().unwrap().join("moved")).unwrap();
            symlink("../moved", model.join("config.json")).unwrap();
        },
        said: ["config.json", "it is gone"],
    },
    Change {
        name: "shard that was read written to",
        before: as_it_is,
        happens: |model| {
            let shard = File::options().write(true).open(model.join(FIRST)).unwrap();
            shard.write_all_at(b"x", shard.metadata().unwrap().len() - 1).unwrap();
        },
        said: [FIRST, "it was written to"],
    },
    Change {
        name: "shard that was read replaced",
        before: as_it_is,
        happens: |model| replace(&model.join(FIRST)),
        said: [FIRST, "another file took its place"],
    },
    Change {
        name: "permissions withdrawn",
        before: as_it_is,
        happens: |model| {
            let nothing = fs::Permissions::from_mode(0o000);
            fs::set_permissions(model.join("config.json"), nothing).unwrap();
        },
        said: ["config.json", "its attributes changed"],
    },
    Change {
        name: "pipe added",
        before: as_it_is,
        happens: |model| {
            let path = std::ffi::CString::new(arg(&model.join("pipe"))).unwrap();
            // SAFETY: the path is a string that ends with a zero.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        },
        said: ["pipe", "it was added"],
    },
];

fn change(name: &str) -> &'static Change {
    CHANGES.iter().find(|change| change.name == name).unwrap()
}

/// Times of files move by the clock of the kernel's ticks: a change in the same tick moves none.
fn tick() {
    std::thread::sleep(Duration::from_millis(12));
}

// In the library: every kind of change.

fn said(model: &Checkpoint) -> String {
    model.verify_unchanged(&[]).unwrap_err().to_string()
}

#[test]
fn every_change_of_a_directory_is_seen() {
    for Change { name, before, happens, said: expected } in &CHANGES {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("m");
        write_model(&path, 4096);
        before(&path);
        let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        tick();
        assert!(model.verify_unchanged(&[]).is_ok(), "{name}: before");
        happens(&path);
        let said = said(&model);
        let [place, what] = expected;
        let place = path.join(place);
        let expected =
            format!("{} changed while the model was being read ({what})", place.display());
        assert!(said.starts_with(&expected), "{name}: {said}");
    }
}

#[test]
fn what_is_no_part_of_a_model_may_change() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m");
    write_model(&path, 4096);
    let downloads = path.join(".cache/huggingface/download");
    fs::create_dir_all(&downloads).unwrap();
    fs::create_dir_all(path.join(".git")).unwrap();
    fs::write(path.join("tensorseal.seal.json"), "1").unwrap();
    fs::write(path.join("model.sig"), "1").unwrap();
    let options = |list_beside| {
        let mut options = OpenOptions::default();
        options.seals = vec!["tensorseal.seal.json".into()];
        options.exclude = vec!["model.sig".into()];
        options.list_signed_only = list_beside;
        options
    };
    let open = |list_beside| Checkpoint::open(&path, &options(list_beside)).unwrap();
    let [alone, listed] = [false, true].map(open);
    tick();
    fs::write(downloads.join("x.lock"), "").unwrap();
    fs::write(path.join(".git/HEAD"), "x").unwrap();
    fs::write(path.join("model.sig"), "2").unwrap();
    fs::write(path.join(".own.tmp"), "made by the run").unwrap();
    let own = [".own.tmp".to_owned()];
    for model in [&alone, &listed] {
        assert!(model.verify_unchanged(&own).is_ok());
        assert!(said(model).contains(".own.tmp"));
    }
    fs::write(path.join("tensorseal.seal.json"), "2").unwrap();
    assert!(alone.verify_unchanged(&own).is_ok());
    let said = listed.verify_unchanged(&own).unwrap_err().to_string();
    assert!(said.contains("tensorseal.seal.json"), "a signature covers it: {said}");
}

#[test]
fn a_file_by_itself_and_the_parts_of_a_model() {
    let dir = TempDir::new().unwrap();
    let open = |path: &Path| Checkpoint::open(path, &OpenOptions::default()).unwrap();
    let (one, other) = (dir.path().join("one.safetensors"), dir.path().join("other.safetensors"));
    let bytes = safetensors(&[("a", "F32", &[2], vec![0; 8])]);
    fs::write(&one, &bytes).unwrap();
    fs::write(&other, &bytes).unwrap();
    let link = dir.path().join("link.safetensors");
    symlink("one.safetensors", &link).unwrap();
    let [file, linked] = [&one, &link].map(|path| open(path));
    tick();
    fs::write(dir.path().join("new.safetensors"), "what lies beside it is no part of it").unwrap();
    assert!(file.verify_unchanged(&[]).is_ok() && linked.verify_unchanged(&[]).is_ok());
    fs::remove_file(&link).unwrap();
    symlink("other.safetensors", &link).unwrap();
    assert!(file.verify_unchanged(&[]).is_ok());
    assert!(said(&linked).contains("link.safetensors changed while the model was being read"));
    replace(&one);
    assert!(said(&file).contains("(another file took its place)"));
    fs::remove_file(&one).unwrap();
    assert!(file.verify_unchanged(&[]).is_err());

    let snapshot = dir.path().join("models--a--b/snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    let blobs = dir.path().join("models--a--b/blobs");
    fs::create_dir_all(&blobs).unwrap();
    for blob in ["x", "y"] {
        fs::write(blobs.join(blob), &bytes).unwrap();
    }
    let name = snapshot.join("model.safetensors");
    symlink("../../blobs/x", &name).unwrap();
    let model = open(&snapshot);
    tick();
    fs::write(blobs.join("z"), "another download").unwrap();
    assert!(model.verify_unchanged(&[]).is_ok());
    fs::remove_file(&name).unwrap();
    symlink("../../blobs/y", &name).unwrap();
    assert!(said(&model).contains("model.safetensors"));
}

// In the program: every verb, stopped while it reads the second shard.

/// A program that waits to be let go, and is not left behind.
struct Stopped(Option<Child>);

impl Stopped {
    /// Starts the program and stops it while the second shard is mapped.
    fn start(args: &[String]) -> Stopped {
        Self::start_when(args, &|child| {
            let maps = fs::read_to_string(format!("/proc/{}/maps", child.id()));
            maps.unwrap_or_default().contains(SECOND)
        })
    }

    fn start_when(args: &[String], reads: &dyn Fn(&Child) -> bool) -> Stopped {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = program(&args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stopped = Stopped(Some(child));
        let started = Instant::now();
        let child = stopped.0.as_mut().unwrap();
        while !reads(child) {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed().as_secs() < 60, "{args:?}: {ended:?}");
            std::thread::sleep(Duration::from_micros(500));
        }
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, libc::SIGSTOP) };
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        while !state().rsplit_once(") ").unwrap().1.starts_with('T') {
            std::thread::sleep(Duration::from_micros(500));
        }
        assert!(reads(child), "{args:?}: it was too fast");
        stopped
    }

    fn go_on(mut self) -> Ran {
        let child = self.0.take().unwrap();
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, libc::SIGCONT) };
        finished(child.wait_with_output().unwrap())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A model, what it is held to, and an empty directory for what is written.
struct Room(TempDir);

/// The seal and the signature of the model: the same for each, as its content is.
fn documents() -> &'static [(&'static str, Vec<u8>)] {
    static MADE: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = Room::bare();
        let names = ["seal.json", "model.sig"];
        for (verb, name) in ["seal", "sign"].into_iter().zip(names) {
            let mut args = room.command(verb);
            let at = args.iter().position(|arg| arg == "-o").unwrap() + 1;
            args[at] = arg(&room.path(name)).to_owned();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let ran = run(&args);
            assert_eq!(ran.code, 0, "{verb}: {}", ran.stderr);
        }
        names.map(|name| (name, fs::read(room.path(name)).unwrap())).into()
    })
}

fn keys() -> &'static Fixtures {
    static FIXTURES: OnceLock<Fixtures> = OnceLock::new();
    FIXTURES.get_or_init(Fixtures::new)
}

impl Room {
    fn bare() -> Room {
        let room = Room(TempDir::new().unwrap());
        write_model(&room.model(), LARGE);
        fs::create_dir(room.path("out")).unwrap();
        room
    }

    fn new() -> Room {
        let room = Room::bare();
        for (name, bytes) in documents() {
            fs::write(room.path(name), bytes).unwrap();
        }
        write_key(&room.path("key"), "races");
        write_model(&room.path("other"), LARGE);
        let public = keys().path("keys/p256.pub.pem");
        let policy = format!(
            "schema = \"tensorseal.policy/1\"\n[signature]\nrequired = true\nkeys = [\"{}\"]\n[seal]\nrequired = true\n",
            public.display()
        );
        fs::write(room.path("policy.toml"), policy).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("models/m")
    }

    /// The arguments of a verb, as it is used.
    fn command(&self, verb: &str) -> Vec<String> {
        let place = |name: &str| arg(&self.path(name)).to_owned();
        let model = place("models/m");
        let key = |name: &str| arg(&keys().path("keys").join(name)).to_owned();
        let signature = ["--signature".to_owned(), place("model.sig")];
        let mut args: Vec<String> = verb.split(' ').map(str::to_owned).collect();
        let rest: Vec<String> = match verb {
            "seal" => vec![model, "-o".into(), place("out/seal.json")],
            "verify" => vec![model, "--seal".into(), place("seal.json")],
            "verify signed" => {
                args.pop();
                let key = ["--public-key".to_owned(), key("p256.pub.pem")];
                [&[model][..], &signature, &key].concat()
            }
            "sign" => {
                vec![model, "--key".into(), key("p256.priv.pem"), "-o".into(), place("out/m.sig")]
            }
            "gate" => {
                let more = ["--policy".to_owned(), place("policy.toml"), "--seal".to_owned()];
                let states = [place("seal.json"), "--statement".to_owned()];
                let to = [format!("vsa={}", place("out/vsa.json"))];
                [&[model][..], &signature, &more, &states, &to].concat()
            }
            "audit" => vec![model, "--extract".into(), place("out/streams")],
            "compare" => vec![model, place("other")],
            "repair" => {
                vec![model, "--seal".into(), place("seal.json"), "-o".into(), place("out/copy")]
            }
            "watermark detect" => vec![model, "--key".into(), place("key")],
            "watermark claim" | "watermark embed" => {
                vec![model, "--key".into(), place("key"), "-o".into(), place("out/made")]
            }
            "registry scan" => vec![place("models"), "--state".into(), place("state.db")],
            other => panic!("{other}"),
        };
        args.extend(rest);
        args.extend(["--device", "cpu", "--threads", "1"].map(str::to_owned));
        args
    }

    fn nothing_was_written(&self, case: &str) {
        let left: Vec<_> = fs::read_dir(self.path("out")).unwrap().map(|e| e.unwrap()).collect();
        assert!(left.is_empty(), "{case}: {left:?}");
    }
}

/// The verb is stopped, this happens, and it goes on: it tells of this file and says nothing else.
fn refused(verb: &str, what: &str, before: fn(&Path), happens: &dyn Fn(&Room), said: &str) {
    let case = format!("{verb}, {what}");
    let room = Room::new();
    before(&room.model());
    let mut args = room.command(verb);
    let scans = verb == "registry scan";
    let reports = !matches!(verb, "registry scan" | "watermark claim");
    let report = room.path("report.json");
    if reports {
        args.extend(["--report".to_owned(), format!("json={}", report.display())]);
    }
    let stopped = Stopped::start(&args);
    tick();
    happens(&room);
    let ran = stopped.go_on();
    assert_eq!(ran.code, 3, "{case}: {}{}", ran.stdout, ran.stderr);
    let told = if scans { &ran.stdout } else { &ran.stderr };
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("being read")).collect();
    assert_eq!(lines.len(), 1, "{case}: {}{}", ran.stdout, ran.stderr);
    assert!(lines[0].contains(said), "{case}: {}", lines[0]);
    assert!(!ran.stdout.contains("PASS"), "{case}: {}", ran.stdout);
    room.nothing_was_written(&case);
    if reports {
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report["verdict"], "incomplete", "{case}");
        assert!(report["error"].as_str().unwrap().contains(said), "{case}: {report}");
    }
}

fn refuses(verb: &str, name: &str) {
    let Change { before, happens, said, .. } = change(name);
    refused(verb, name, *before, &|room| happens(&room.model()), said[0]);
}

#[test]
fn what_is_sealed_signed_or_marked_is_what_was_read() {
    refuses("seal", "rewritten in place");
    refuses("seal", "link retargeted");
    refuses("sign", "rewritten, time set back");
    refuses("sign", "file added");
    refuses("watermark claim", "shard that was read written to");
    refuses("watermark embed", "directory renamed");
}

#[test]
fn what_is_verified_is_what_is_there() {
    refuses("verify", "replaced");
    refuses("verify", "empty file added");
    refuses("verify", "link to a directory added");
    refuses("verify signed", "directory with a file added");
    refuses("verify signed", "permissions withdrawn");
    refuses("repair", "removed");
    let swapped = |name: &'static str| move |room: &Room| replace(&room.path(name));
    refused("verify", "seal", as_it_is, &swapped("seal.json"), "seal.json");
    refused("verify signed", "signature", as_it_is, &swapped("model.sig"), "model.sig");
    refused("gate", "signature", as_it_is, &swapped("model.sig"), "model.sig");
    refused("repair", "seal", as_it_is, &swapped("seal.json"), "seal.json");
}

#[test]
fn what_is_judged_is_what_is_there() {
    refuses("gate", "shard that was read replaced");
    refuses("gate", "link added");
    refuses("audit", "grown");
    refuses("audit", "empty directory added");
    refuses("compare", "pipe added");
    let other = |room: &Room| fs::remove_file(room.path("other/config.json")).unwrap();
    refused("compare", "the other model", as_it_is, &other, "other/config.json");
    refuses("watermark detect", "link to a directory retargeted");
    refuses("registry scan", "file became a link to itself elsewhere");
}

#[test]
fn what_is_only_stopped_is_judged_as_ever() {
    for (verb, expected, made) in [
        ("seal", 0, &["seal.json"][..]),
        ("verify", 0, &[]),
        ("verify signed", 0, &[]),
        ("sign", 0, &["m.sig"]),
        ("gate", 0, &["vsa.json"]),
        ("repair", 0, &[]),
        ("registry scan", 0, &[]),
        ("watermark claim", 0, &["made"]),
    ] {
        let room = Room::new();
        let stopped = Stopped::start(&room.command(verb));
        tick();
        let ran = stopped.go_on();
        // Weights that are nearly all zeros are found; what matters is that there is a verdict.
        let is_judged = ran.code == expected || verb == "registry scan" && ran.code == 1;
        assert!(is_judged, "{verb}: {} {}{}", ran.code, ran.stdout, ran.stderr);
        for name in made {
            assert!(room.path("out").join(name).is_file(), "{verb}: {name}");
        }
    }
}

/// Headers are all that it reads: of many tensors, that takes long enough to be stopped in.
#[test]
fn what_is_inspected_is_what_is_there() {
    let inspected = |happens: &dyn Fn(&Path)| {
        let dir = TempDir::new().unwrap();
        let names: Vec<String> = (0..100_000).map(|i| format!("layers.{i}.weight")).collect();
        let tensors: Vec<Tensor> =
            names.iter().map(|name| (name.as_str(), "F16", &[1u64][..], vec![0, 0x3C])).collect();
        let model = crate::common::write_model(&dir.path().join("m"), &tensors);
        let args = ["inspect", arg(&model)].map(str::to_owned);
        let stopped = Stopped::start_when(&args, &|child| {
            let open = fs::read_dir(format!("/proc/{}/fd", child.id())).ok();
            let mut open = open.into_iter().flatten().flatten();
            open.any(|fd| {
                fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("model.safetensors"))
            })
        });
        tick();
        happens(&model);
        stopped.go_on()
    };
    assert_eq!(inspected(&|_| {}).code, 0);
    let ran = inspected(&|model| write_over(&model.join("config.json"), b"{}"));
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("config.json changed while the model was being read"));
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}
