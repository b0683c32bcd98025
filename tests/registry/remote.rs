//! A model whose files are read by ranges from another machine is measured as the one in a directory is.

use crate::common::*;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tempfile::TempDir;
use tensorseal_core::examine::{self, ExamineError, Request};
use tensorseal_core::judge;
use tensorseal_core::seal::build::FILE_DIGESTS;
use tensorseal_core::seal::canonical;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_engine::stream::files::FileError;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions};
use tensorseal_format::{Checkpoint, Format, OpenError, OpenOptions, RemoteError, RemoteFile};
use tensorseal_registry::source::remote::{FetchRange, WindowCache, WindowedFile};

/// A file of this machine that plays one of another.
#[derive(Debug)]
struct Played {
    file: File,
    bytes: u64,
    fetched: Arc<AtomicU64>,
    /// Reads of this byte fail so.
    fails: Option<(u64, RemoteError)>,
}

impl Played {
    fn new(path: &Path, fetched: &Arc<AtomicU64>) -> Played {
        let file = File::open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        Played { file, bytes, fetched: Arc::clone(fetched), fails: None }
    }
}

impl FetchRange for Played {
    fn place(&self) -> String {
        "played://file".into()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        let mut bytes = vec![0; len];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl RemoteFile for Played {
    fn place(&self) -> String {
        FetchRange::place(self)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        match &self.fails {
            Some((at, error)) if (offset..offset + buffer.len() as u64).contains(at) => {
                Err(error.clone())
            }
            _ => {
                self.fetched.fetch_add(buffer.len() as u64, Relaxed);
                let read = self.file.read_exact_at(buffer, offset);
                read.map_err(|error| RemoteError::Unavailable(error.to_string()))
            }
        }
    }
}

/// The files below a directory, in no particular order.
fn files_below(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, path));
            }
        }
    }
    found
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::default();
    options.seals = vec!["tensorseal.seal.json".to_owned()];
    options.list_signed_only = true;
    options
}

fn cpu() -> RunOptions {
    RunOptions::new(DeviceChoice::Cpu)
}

/// Everything that is measured and found, as text.
fn measured(model: &Checkpoint) -> String {
    let request = Request {
        distributions: true,
        audit: true,
        file_hashing: FILE_DIGESTS.to_vec().into(),
        ..Request::default()
    };
    let found = examine::measure(model, &request, &cpu(), &Progress::default()).unwrap();
    let mut text = Vec::new();
    canonical::write(&found.seal, &mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    let findings = judge::audit::judge(model, found.audited.as_ref().unwrap());
    text += &serde_json::to_string_pretty(&findings).unwrap();
    text += &format!("{:?}", found.run.file_digests);
    text
}

/// Holds a directory against its own files, read by ranges in several ways.
fn is_the_same_from_elsewhere(root: &Path) -> Checkpoint {
    let here = Checkpoint::open(root, &options()).unwrap();
    let expected = measured(&here);
    let total: u64 = files_below(root).iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
    for window in [None, Some((100_003, 12)), Some((1 << 20, 16))] {
        let fetched = Arc::new(AtomicU64::new(0));
        let windows = window.map(|(window, count)| {
            Arc::new(WindowCache::new(window, count * (window as usize).max(64 << 10)))
        });
        let remote = |(name, path): (String, PathBuf)| -> (String, Arc<dyn RemoteFile>) {
            let played = Played::new(&path, &fetched);
            match &windows {
                None => (name, Arc::new(played)),
                Some(windows) => (name, Arc::new(WindowedFile::new(played, windows))),
            }
        };
        let files = files_below(root).into_iter().map(remote).collect();
        let there = Checkpoint::open_remote("elsewhere", files, &options()).unwrap();
        assert_eq!(there.tensors, here.tensors);
        assert_eq!(there.problems, here.problems);
        assert_eq!(there.remarks, here.remarks);
        assert_eq!(there.skipped, here.skipped);
        assert_eq!(there.format, here.format);
        assert_eq!(there.architectures.len(), here.architectures.len());
        let paths = |model: &Checkpoint| -> Vec<_> {
            model.files.iter().map(|f| (f.path.clone(), f.bytes, f.kind, f.signed_only)).collect()
        };
        assert_eq!(paths(&there), paths(&here));
        assert!(measured(&there) == expected, "{}: windows of {window:?}", root.display());
        if window == Some((1 << 20, 16)) {
            let fetched = fetched.load(Relaxed);
            assert!(fetched <= total + total / 20, "{fetched} of {total} bytes were fetched");
        }
    }
    here
}

#[test]
fn shards_of_safetensors() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let mut tensors = small_tensors(1);
    tensors.push(("wide.weight", "BF16", &[500, 1500], noise(9, 1_500_000)));
    write_shards(root, &tensors, 3);
    fs::write(root.join("config.json"), "{}").unwrap();
    fs::write(root.join("tensorseal.seal.json"), "{}").unwrap();
    fs::write(root.join(".gitattributes"), "x").unwrap();
    fs::write(root.join("none"), "").unwrap();
    fs::create_dir_all(root.join(".cache/huggingface")).unwrap();
    fs::write(root.join(".cache/huggingface/notes"), noise(5, 3000)).unwrap();
    fs::create_dir(root.join("1_Pooling")).unwrap();
    fs::write(root.join("1_Pooling/extra.safetensors"), safetensors(&small_tensors(7))).unwrap();
    let model = is_the_same_from_elsewhere(root);
    assert_eq!(model.format, Some(Format::Safetensors));
    assert!(model.problems.is_empty() && model.tensors.len() == 15, "{:?}", model.problems);
}

#[test]
fn gguf_torch_and_numpy() {
    let dir = TempDir::new().unwrap();
    for (part, count) in [("gguf", 8), ("torch", 14)] {
        let root = dir.path().join(part);
        fs::create_dir(&root).unwrap();
        let mut copied = 0;
        for entry in fs::read_dir(tensorseal_testing::testdata(part)).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("gguf" | "pt" | "npy" | "npz")) {
                fs::copy(&path, root.join(path.file_name().unwrap())).unwrap();
                copied += 1;
            }
        }
        assert!(copied >= count - 1, "{copied} files of {part}");
        is_the_same_from_elsewhere(&root);
    }
}

/// A model of one file that fails so when this byte of it is read.
fn failing(from: u64, error: RemoteError) -> (TempDir, Result<Checkpoint, OpenError>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, safetensors(&small_tensors(1))).unwrap();
    let played = Played { fails: Some((from, error)), ..Played::new(&path, &Arc::default()) };
    let files: Vec<(String, Arc<dyn RemoteFile>)> =
        vec![("model.safetensors".into(), Arc::new(played))];
    (dir, Checkpoint::open_remote("elsewhere", files, &options()))
}

fn run_error(model: &Checkpoint) -> FileError {
    match examine::measure(model, &Request::default(), &cpu(), &Progress::default()) {
        Err(ExamineError::Run(RunError::File(error))) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was measured"),
    }
}

#[test]
fn what_changed_is_no_finding_and_what_is_gone_is_no_change() {
    let changed = || RemoteError::Changed("its tag is another".into());
    let gone = || RemoteError::Unavailable("503 (asked 6 times)".into());

    let (_dir, opened) = failing(4, changed());
    let error = opened.unwrap_err();
    assert!(
        matches!(&error, OpenError::ChangedSinceListing { path } if path == Path::new("played://file"))
    );
    let (_dir, opened) = failing(4, gone());
    assert_eq!(opened.unwrap_err().to_string(), "played://file: 503 (asked 6 times)");

    let (_dir, opened) = failing(1_000_000, changed());
    let error = run_error(&opened.unwrap());
    assert!(matches!(&error, FileError::Changed { what, .. } if what == "its tag is another"));
    let (_dir, opened) = failing(1_000_000, gone());
    let error = run_error(&opened.unwrap()).to_string();
    assert_eq!(error, "model.safetensors: cannot be read: 503 (asked 6 times)");
}

#[test]
fn a_hostile_list_is_told_of_and_nothing_of_this_machine_is_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, safetensors(&small_tensors(1))).unwrap();
    let file = || -> Arc<dyn RemoteFile> { Arc::new(Played::new(&path, &Arc::default())) };
    let names = ["../../etc/passwd", "/etc/passwd", "a/../b.gguf", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), file())).collect();
    let model = Checkpoint::open_remote("elsewhere", files, &options()).unwrap();
    assert_eq!((model.files.len(), model.tensors.len()), (1, 7));
    let rules: Vec<_> = model.problems.iter().map(|problem| problem.rule).collect();
    assert_eq!(rules, ["format/unsafe-path"; 3]);

    let same = file();
    let files = (0..100_001).map(|i| (format!("{i}"), Arc::clone(&same))).collect();
    let opened = Checkpoint::open_remote("elsewhere", files, &options());
    assert!(matches!(opened, Err(OpenError::TooManyFiles { files: 100_001, .. })));
}
