//! A model whose files note which threads read them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tensorseal_format::{Checkpoint, OpenOptions, RemoteError, RemoteFile};

/// Threads that have read, with their names.
pub(crate) type Readers = Arc<Mutex<HashMap<ThreadId, Option<String>>>>;

#[derive(Debug)]
struct Watched {
    file: File,
    bytes: u64,
    readers: Readers,
}

impl RemoteFile for Watched {
    fn place(&self) -> String {
        "watched://file".into()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let reader = thread::current();
        self.readers.lock().unwrap().insert(reader.id(), reader.name().map(str::to_owned));
        // Long enough that another thread, if there is one, takes its part.
        thread::sleep(Duration::from_millis(1));
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| RemoteError::Unavailable(error.to_string()))
    }
}

/// The files of a directory as a model that is read from elsewhere.
pub(crate) fn watched(directory: &Path, readers: &Readers) -> Checkpoint {
    let file = |path: &Path| -> (String, Arc<dyn RemoteFile>) {
        let file = File::open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, Arc::new(Watched { file, bytes, readers: Arc::clone(readers) }))
    };
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file()).map(|path| file(&path)).collect();
    Checkpoint::open_remote("watched", files, &OpenOptions::default()).unwrap()
}

/// The names of those that have read, but for the thread of the caller, sorted.
pub(crate) fn others(readers: &Readers) -> Vec<Option<String>> {
    let readers = readers.lock().unwrap();
    let here = thread::current().id();
    let others = readers.iter().filter(|(id, _)| **id != here);
    let mut names: Vec<_> = others.map(|(_, name)| name.clone()).collect();
    names.sort();
    names
}
