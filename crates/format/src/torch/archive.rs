//! Reads the zip archive of `torch.save` since PyTorch 1.6: `NAME/data.pkl` and one member for each storage.

use super::error::{TorchError, has_unread};
use super::tensors::{self, CollectedTensors};
use super::views::{self, StoragePlacement};
use super::weightless;
use crate::file::OpenedFile;
use crate::parsed_file::ParsedFile;
use crate::pickle::{self, Fault, MAX_PICKLE, PickleError, PickleLocation};
use crate::problem::{BoundedErrors, StructureError};
use crate::zip::{self, CompressionMethod, ZipArchive, ZipError, ZipMember};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

/// The name of the pickle of the saved object.
const OBJECT: &str = "data.pkl";
/// The largest number of pickles in an archive that are examined.
const MAX_PICKLES: usize = 64;

/// Parses an archive.
pub(super) fn parse(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let ZipArchive { members, readable, errors } = zip::read(opened)?;
    let mut reader = TorchArchiveReader {
        opened,
        zip: errors,
        pickles: BoundedErrors::default(),
        torch: BoundedErrors::default(),
        reported: HashSet::new(),
        has_arrays: false,
    };
    let archive = ZipArchive { members, readable, errors: BoundedErrors::default() };
    let mut parsed = ParsedFile { checksums: archive.checksums(), ..ParsedFile::default() };
    let has_no_checksums = archive.has_no_checksums();
    if readable {
        reader.read(path, &archive.members, &mut parsed)?;
    }
    parsed.remarks.extend(has_no_checksums.then(|| zip::NoChecksums.to_problem(path)));
    parsed.problems = reader.zip.problems(path);
    parsed.problems.extend(reader.pickles.problems(path));
    parsed.problems.extend(reader.torch.problems(path));
    Ok(parsed)
}

struct TorchArchiveReader<'a> {
    opened: &'a OpenedFile,
    zip: BoundedErrors<ZipError>,
    pickles: BoundedErrors<PickleError>,
    torch: BoundedErrors<TorchError>,
    /// The compressed members that were reported.
    reported: HashSet<String>,
    /// Whether a pickle holds NumPy arrays.
    has_arrays: bool,
}

impl TorchArchiveReader<'_> {
    fn read(
        &mut self,
        path: &str,
        members: &[ZipMember],
        parsed: &mut ParsedFile,
    ) -> io::Result<()> {
        self.check_same_names(members);
        let is_script = |member: &ZipMember| {
            let (_, inner) = split(&member.name);
            let inner = inner.to_ascii_lowercase();
            inner == "constants.pkl" || inner.starts_with("code/")
        };
        let script = members.iter().any(is_script);
        if script {
            self.torch.push(TorchError::TorchScript);
        }
        // PyTorch uses the directory of the first member for all members.
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
            parsed.unreadable = Vec::new();
            return Ok(());
        }
        if !members.iter().any(|m| is_at(m, directory, OBJECT)) {
            // Encrypted members and unknown compression methods were reported.
            if self.zip.is_empty() {
                self.torch.push(TorchError::NoPickle);
            }
            return Ok(());
        }
        let Some(object) = object else { return Ok(()) };
        parsed.readable = true;
        // Storages in any directory count: a tensor that was not recognised may use them.
        let is_storage = |member: &ZipMember| {
            storage_key(member, split(&member.name).0).is_some() && member.bytes > 0
        };
        let (tensors, _) = &object;
        let is_weightless = !tensors.too_deep
            && !tensors.hidden
            && tensors.views.is_empty()
            && tensors.unreadable.is_empty()
            && !members.iter().any(is_storage);
        if is_weightless {
            parsed.weightless = weightless(self.has_arrays, self.opened.identity.bytes);
        }
        self.place_tensors(path, directory, members, object, parsed)
    }

    /// Reports members whose names differ only in case, because PyTorch ignores the case.
    fn check_same_names(&mut self, members: &[ZipMember]) {
        let mut seen = HashSet::new();
        for member in members {
            if !seen.insert(member.name.to_ascii_lowercase()) {
                self.zip.push(ZipError::Duplicate { member: member.name.clone() });
            }
        }
    }

    /// Reads a pickle and returns its tensors.
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
        let mut errors = BoundedErrors::default();
        let unpickled = match script {
            // The classes and functions of the script itself are not Python names.
            true => {
                let mut unpickled = pickle::unpickle(&bytes);
                let faults = std::mem::take(&mut unpickled.faults);
                let faults = faults.into_iter().filter(|(fault, _)| !is_of_script(fault)).collect();
                pickle::gather(faults, place, &mut errors);
                unpickled
            }
            false => pickle::read_only(&bytes, place, &mut errors),
        };
        for error in errors.iter() {
            self.pickles.push(error.clone());
        }
        self.has_arrays |= unpickled.makes_arrays();
        let stored = member.range[1].saturating_sub(member.range[0]);
        let mut tensors = tensors::collect(&unpickled, stored);
        for fault in tensors.faults.drain(..) {
            let member = member.name.clone();
            self.pickles.push(PickleError { member, fault, range: None });
        }
        Ok(unpickled.value.is_some().then_some((tensors, unpickled.conflicts)))
    }

    fn place_tensors(
        &mut self,
        path: &str,
        directory: &str,
        members: &[ZipMember],
        (collected, conflicts): PickledObject,
        parsed: &mut ParsedFile,
    ) -> io::Result<()> {
        if collected.too_deep {
            self.torch.push(TorchError::TooDeep);
        }
        for (name, kind) in collected.unreadable {
            self.torch.push(TorchError::Kind { tensor: name.clone(), kind });
            parsed.unreadable.push(name);
        }
        let mut storages: HashMap<String, &ZipMember> = HashMap::new();
        for member in members {
            if let Some(key) = storage_key(member, directory) {
                storages.entry(key).or_insert(member);
            }
        }
        let used: BTreeSet<String> =
            collected.views.iter().map(|(_, view)| view.storage.key.to_ascii_lowercase()).collect();
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
                // The storages of unread tensors are unknown.
                Some(_)
                    if collected.too_deep || collected.hidden || !parsed.unreadable.is_empty() => {}
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
                StoragePlacement::Range(member.range)
            }
            Some(_) => StoragePlacement::Unreadable,
            // Unreadable members were reported.
            None if !self.zip.is_empty() => StoragePlacement::Unreadable,
            None => StoragePlacement::Missing,
        };
        let bytes = self.opened.identity.bytes;
        let placed = views::place_views(
            collected.views,
            &conflicts,
            bytes,
            is_big_endian,
            place,
            &mut self.torch,
        );
        parsed.tensors = placed.tensors;
        parsed.unreadable.extend(placed.unreadable);
        parsed.has_unread = has_unread(&self.torch);
        parsed.big_endian = placed.big_endian;
        parsed.remarks = placed.remarks.iter().map(|remark| remark.to_problem(path)).collect();
        Ok(())
    }

    /// Whether the storages are big-endian, by the member `byteorder`. Without it they are little-endian.
    fn byte_order(&mut self, directory: &str, members: &[ZipMember]) -> io::Result<bool> {
        /// Longer than any valid byte order.
        const MAX_LEN: u64 = 64;
        let is_byte_order = |member: &&ZipMember| is_at(member, directory, "byteorder");
        let Some(member) = members.iter().find(is_byte_order) else { return Ok(false) };
        let text = match member.read(self.opened, MAX_LEN)? {
            Ok(bytes) => bytes,
            Err(_) => b"(too long)".to_vec(),
        };
        match &text[..] {
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

/// The tensors of an object, and the storages with contradictory descriptions.
type PickledObject = (CollectedTensors, BTreeSet<String>);

/// Whether PyTorch finds a member under this path. PyTorch ignores the case.
fn is_at(member: &ZipMember, directory: &str, path: &str) -> bool {
    let (of, inner) = split(&member.name);
    of.eq_ignore_ascii_case(directory) && inner.eq_ignore_ascii_case(path)
}

/// The key of the storage that a member holds, in lower case.
fn storage_key(member: &ZipMember, directory: &str) -> Option<String> {
    let (of, inner) = split(&member.name);
    let inner = inner.to_ascii_lowercase();
    let key = inner.strip_prefix("data/").filter(|_| of.eq_ignore_ascii_case(directory));
    key.map(str::to_owned)
}

/// Splits a name into the directory and the path in it.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// Whether the name of a member is that of a pickle. PyTorch ignores the case.
fn is_pickle(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".pkl")
}

/// Whether `torch.save` writes such a member besides the storages.
fn is_known(inner: &str) -> bool {
    matches!(inner, OBJECT | "version" | "byteorder") || inner.starts_with('.')
}

fn is_of_script(fault: &Fault) -> bool {
    match fault {
        Fault::Global { module, .. } => {
            let top = module.split('.').next();
            top == Some("__torch__") || module == "torch.jit._pickle"
        }
        // The C++ pickler omits some of what the Python pickler writes.
        Fault::Call { .. } | Fault::Build { .. } => true,
        _ => false,
    }
}
