//! The zip archive of `torch.save`, from PyTorch 1.6 on: `NAME/data.pkl`, and a member for each storage.

use super::error::{TorchError, has_unread};
use super::tensors::{self, CollectedTensors};
use super::views::{self, StoragePlacement as StoragePlace};
use super::weightless;
use crate::file::OpenedFile;
use crate::parsed_file::ParsedFile;
use crate::pickle::{self, Fault, MAX_PICKLE, PickleError, PickleLocation};
use crate::problem::{BoundedErrors, StructureError};
use crate::zip::{self, CompressionMethod, ZipArchive, ZipError, ZipMember};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

/// The pickle of the object that was saved.
const OBJECT: &str = "data.pkl";
/// Most pickles of one archive that are read.
const MAX_PICKLES: usize = 64;

/// Reads an archive.
pub(super) fn contents(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let ZipArchive { members, readable, errors } = zip::read(opened)?;
    let mut reading = TorchArchiveReader {
        opened,
        zip: errors,
        pickles: BoundedErrors::default(),
        torch: BoundedErrors::default(),
        reported: HashSet::new(),
        arrays: false,
    };
    let archive = ZipArchive { members, readable, errors: BoundedErrors::default() };
    let mut contents = ParsedFile { checksums: archive.checksums(), ..ParsedFile::default() };
    let bare = archive.has_no_checksums();
    if readable {
        reading.read(path, &archive.members, &mut contents)?;
    }
    contents.remarks.extend(bare.then(|| zip::NoChecksums.to_problem(path)));
    contents.problems = reading.zip.problems(path);
    contents.problems.extend(reading.pickles.problems(path));
    contents.problems.extend(reading.torch.problems(path));
    Ok(contents)
}

struct TorchArchiveReader<'a> {
    opened: &'a OpenedFile,
    zip: BoundedErrors<ZipError>,
    pickles: BoundedErrors<PickleError>,
    torch: BoundedErrors<TorchError>,
    /// Compressed members that were told of.
    reported: HashSet<String>,
    /// Whether a pickle has arrays of NumPy in it.
    arrays: bool,
}

impl TorchArchiveReader<'_> {
    fn read(
        &mut self,
        path: &str,
        members: &[ZipMember],
        contents: &mut ParsedFile,
    ) -> io::Result<()> {
        self.alike(members);
        let is_script = |member: &ZipMember| {
            let (_, inner) = split(&member.name);
            let inner = inner.to_ascii_lowercase();
            inner == "constants.pkl" || inner.starts_with("code/")
        };
        let script = members.iter().any(is_script);
        if script {
            self.torch.push(TorchError::TorchScript);
        }
        // The reader of PyTorch takes the directory of the first member for the one of all.
        let directory = members.first().map_or("", |first| split(&first.name).0);
        let mut object = None;
        let pickles = members.iter().filter(|m| is_pickle(&m.name)).take(MAX_PICKLES);
        for member in pickles {
            let (of, inner) = split(&member.name);
            let is_object = inner.eq_ignore_ascii_case(OBJECT);
            if is_object && of.eq_ignore_ascii_case(directory) {
                object = self.pickle(member, script)?;
            } else {
                if is_object || inner.to_ascii_lowercase().ends_with("/data.pkl") {
                    self.torch.push(TorchError::SecondPickle { member: member.name.clone() });
                }
                self.pickle(member, script)?;
            }
        }
        if script {
            contents.unreadable = Vec::new();
            return Ok(());
        }
        if !members.iter().any(|m| is_at(m, directory, OBJECT)) {
            // What is encrypted or of an unknown method was told of.
            if self.zip.is_empty() {
                self.torch.push(TorchError::NoPickle);
            }
            return Ok(());
        }
        let Some(found) = object else { return Ok(()) };
        contents.readable = true;
        // In whatever directory: bytes that no tensor is known to lie in may be those of one all the same.
        let is_storage = |member: &ZipMember| {
            storage_key(member, split(&member.name).0).is_some() && member.bytes > 0
        };
        let (tensors, _) = &found;
        let is_weightless = !tensors.too_deep
            && !tensors.hidden
            && tensors.views.is_empty()
            && tensors.unreadable.is_empty()
            && !members.iter().any(is_storage);
        if is_weightless {
            contents.weightless = weightless(self.arrays, self.opened.identity.bytes);
        }
        self.place(path, directory, members, found, contents)
    }

    /// PyTorch looks members up without regard to case.
    fn alike(&mut self, members: &[ZipMember]) {
        let mut seen = HashSet::new();
        for member in members {
            if !seen.insert(member.name.to_ascii_lowercase()) {
                self.zip.push(ZipError::Duplicate { member: member.name.clone() });
            }
        }
    }

    /// Reads a member that is a pickle, and gives its tensors.
    fn pickle(&mut self, member: &ZipMember, script: bool) -> io::Result<Option<PickledObject>> {
        let bytes = match member.read(self.opened, MAX_PICKLE)? {
            Ok(bytes) => bytes,
            Err(ZipError::Bomb { .. }) if member.method == CompressionMethod::Stored => {
                let what = format!("{MAX_PICKLE} bytes");
                let fault = Fault::TooLarge { what };
                self.pickles.push(PickleError {
                    member: member.name.clone(),
                    fault,
                    range: Some(member.range),
                });
                return Ok(None);
            }
            Err(error) => {
                self.zip.push(error);
                return Ok(None);
            }
        };
        let start = (member.method == CompressionMethod::Stored).then_some(member.range[0]);
        let place = PickleLocation { member: &member.name, start };
        let mut read = BoundedErrors::default();
        let unpickled = match script {
            // The classes and functions of the script itself are no names of Python.
            true => {
                let mut unpickled = pickle::unpickle(&bytes);
                let faults = std::mem::take(&mut unpickled.faults);
                let faults = faults.into_iter().filter(|(fault, _)| !is_of_script(fault)).collect();
                pickle::gather(faults, place, &mut read);
                unpickled
            }
            false => pickle::read_only(&bytes, place, &mut read),
        };
        for error in read.iter() {
            self.pickles.push(error.clone());
        }
        self.arrays |= unpickled.makes_arrays();
        let stored = member.range[1].saturating_sub(member.range[0]);
        let mut found = tensors::collect(&unpickled, stored);
        for fault in found.faults.drain(..) {
            let member = member.name.clone();
            self.pickles.push(PickleError { member, fault, range: None });
        }
        Ok(unpickled.value.is_some().then_some((found, unpickled.conflicts)))
    }

    fn place(
        &mut self,
        path: &str,
        directory: &str,
        members: &[ZipMember],
        (found, conflicts): PickledObject,
        contents: &mut ParsedFile,
    ) -> io::Result<()> {
        if found.too_deep {
            self.torch.push(TorchError::TooDeep);
        }
        for (name, kind) in found.unreadable {
            self.torch.push(TorchError::Kind { tensor: name.clone(), kind });
            contents.unreadable.push(name);
        }
        let mut storages: HashMap<String, &ZipMember> = HashMap::new();
        for member in members {
            if let Some(key) = storage_key(member, directory) {
                storages.entry(key).or_insert(member);
            }
        }
        let used: BTreeSet<String> =
            found.views.iter().map(|(_, view)| view.storage.key.to_ascii_lowercase()).collect();
        for member in members {
            let (of, inner) = split(&member.name);
            match storage_key(member, directory) {
                Some(key) if used.contains(&key) => {
                    if member.method != CompressionMethod::Stored
                        && self.reported.insert(member.name.clone())
                    {
                        self.zip.push(member.compressed());
                    }
                }
                // Storages of tensors that are not read are not known.
                Some(_) if found.too_deep || found.hidden || !contents.unreadable.is_empty() => {}
                Some(_) => self.torch.push(TorchError::Unreferenced {
                    member: member.name.clone(),
                    range: member.range,
                }),
                None if is_known(&inner.to_ascii_lowercase())
                    && of.eq_ignore_ascii_case(directory) => {}
                None if inner.to_ascii_lowercase().ends_with(OBJECT) => {}
                None => self.torch.push(TorchError::UnknownMember {
                    member: member.name.clone(),
                    range: member.range,
                }),
            }
        }
        let is_big_endian = self.byte_order(directory, members)?;
        let place = |key: &str| match storages.get(&key.to_ascii_lowercase()) {
            Some(member) if member.method == CompressionMethod::Stored => {
                StoragePlace::Range(member.range)
            }
            Some(_) => StoragePlace::Unreadable,
            // Members that cannot be read were told of.
            None if !self.zip.is_empty() => StoragePlace::Unreadable,
            None => StoragePlace::Missing,
        };
        let bytes = self.opened.identity.bytes;
        let placed = views::place_views(
            found.views,
            &conflicts,
            bytes,
            is_big_endian,
            place,
            &mut self.torch,
        );
        contents.tensors = placed.tensors;
        contents.unreadable.extend(placed.unreadable);
        contents.unread = has_unread(&self.torch);
        contents.big_endian = placed.big_endian;
        contents.remarks = placed.remarks.iter().map(|remark| remark.to_problem(path)).collect();
        Ok(())
    }

    /// Whether the storages are big-endian; without a note they are not.
    fn byte_order(&mut self, directory: &str, members: &[ZipMember]) -> io::Result<bool> {
        /// Longer than any byte order.
        const MOST: u64 = 64;
        let is_note = |member: &&ZipMember| is_at(member, directory, "byteorder");
        let Some(member) = members.iter().find(is_note) else { return Ok(false) };
        let found = match member.read(self.opened, MOST)? {
            Ok(bytes) => bytes,
            Err(_) => b"(too long)".to_vec(),
        };
        match &found[..] {
            b"little" => Ok(false),
            b"big" => Ok(true),
            other => {
                let found = String::from_utf8_lossy(other).into_owned();
                self.torch.push(TorchError::ByteOrder { found });
                Ok(false)
            }
        }
    }
}

/// The tensors of the object, and the storages that are described in two ways.
type PickledObject = (CollectedTensors, BTreeSet<String>);

/// Whether a member is the one that PyTorch finds under this path, which it looks up without regard to case.
fn is_at(member: &ZipMember, directory: &str, path: &str) -> bool {
    let (of, inner) = split(&member.name);
    of.eq_ignore_ascii_case(directory) && inner.eq_ignore_ascii_case(path)
}

/// The storage that a member is found as, in lower case.
fn storage_key(member: &ZipMember, directory: &str) -> Option<String> {
    let (of, inner) = split(&member.name);
    let inner = inner.to_ascii_lowercase();
    let key = inner.strip_prefix("data/").filter(|_| of.eq_ignore_ascii_case(directory));
    key.map(str::to_owned)
}

/// The directory of a member and its path in it.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// Whether a member is a pickle by its name. PyTorch looks members up without regard to case.
fn is_pickle(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".pkl")
}

/// Whether `torch.save` writes such a member beside the storages.
fn is_known(inner: &str) -> bool {
    matches!(inner, OBJECT | "version" | "byteorder") || inner.starts_with('.')
}

fn is_of_script(fault: &Fault) -> bool {
    match fault {
        Fault::Global { module, .. } => {
            let top = module.split('.').next();
            top == Some("__torch__") || module == "torch.jit._pickle"
        }
        // Of the pickler of C++, which leaves out what Python's writes.
        Fault::Call { .. } | Fault::Build { .. } => true,
        _ => false,
    }
}
