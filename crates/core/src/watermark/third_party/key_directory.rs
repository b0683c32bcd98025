//! Finds, checks and hashes the arrays of a key in its directory.
//!
//! A name must be a plain file name, and the file must be in the directory after all links are resolved. Every array is
//! read once with the key, to check and hash its elements, and again in pieces when a model is measured.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use tensorseal_base::display::display_name;
use tensorseal_base::regular_file::open_regular;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::numpy::npy;
use tensorseal_format::{
    Checkpoint, FileContent, FileIdentity, FileKind, ModelFile, OpenOptions, Tensor,
};
use tensorseal_weights::values::{Decoder, PIECE_LEN, TensorValues};

/// The separator between file and tensor in the name of an array.
const SEPARATOR: char = '#';

/// Called with the bytes and the values of an array, in pieces, while it is checked.
pub(super) type ElementVisitor<'a> = &'a mut dyn FnMut(&[u8], &[f64]);

/// The position of an array: the index of its file, and the offset in it.
type ArrayPosition = (usize, u64);

/// The directory of a key, with the arrays that were read from it.
pub(super) struct KeyDirectory<'a> {
    /// The path of the directory with all links resolved.
    directory: PathBuf,
    /// The files with arrays.
    pub files: Vec<ModelFile>,
    /// The indices of files by name, and by device and inode, because links can give a file several names.
    names: BTreeMap<String, usize>,
    inodes: BTreeMap<(u64, u64), usize>,
    /// The safetensors file that was opened last, because arrays of one file usually follow one another.
    last: Option<(usize, Vec<Tensor>)>,
    /// The checked arrays by position and role.
    checked: BTreeMap<(ArrayPosition, ArrayRole), Array>,
    /// The positions and the digests of the arrays that no two parts may share.
    exclusive_positions: BTreeSet<ArrayPosition>,
    exclusive_digests: BTreeSet<[u8; 32]>,
    progress: &'a Progress,
}

impl<'a> KeyDirectory<'a> {
    /// Opens the directory of a descriptor.
    ///
    /// # Errors
    /// Returns an error if the directory does not exist.
    pub(super) fn new(directory: &Path, progress: &'a Progress) -> io::Result<Self> {
        Ok(Self {
            directory: directory.canonicalize()?,
            files: Vec::new(),
            names: BTreeMap::new(),
            inodes: BTreeMap::new(),
            last: None,
            checked: BTreeMap::new(),
            exclusive_positions: BTreeSet::new(),
            exclusive_digests: BTreeSet::new(),
            progress,
        })
    }

    /// Returns the array of this name with its elements checked. An array that several parts name is read once.
    pub(super) fn array(&mut self, name: &str, role: ArrayRole) -> Result<Array, NamedArrayError> {
        let tensor = self.locate(name).map_err(|error| error.with_name(name))?;
        let position = ((tensor.file, tensor.offset), role);
        if let Some(array) = self.checked.get(&position) {
            return Ok(Array { name: name.to_owned(), ..array.clone() });
        }
        let array = self.check(name, tensor, role, &mut |_, _| ());
        let array = array.map_err(|error| error.with_name(name))?;
        self.checked.insert(position, array.clone());
        Ok(array)
    }

    /// Returns the array of this name, which no other part of the key may use, so that bits are independent.
    pub(super) fn exclusive_array(
        &mut self,
        name: &str,
        role: ArrayRole,
        visit: ElementVisitor<'_>,
    ) -> Result<Array, NamedArrayError> {
        let tensor = self.locate(name).map_err(|error| error.with_name(name))?;
        self.exclusive_at(name, tensor, role, visit)
    }

    /// Returns the names of the tensors of a safetensors file, in order.
    pub(super) fn names(&mut self, name: &str) -> Result<Vec<String>, NamedArrayError> {
        let tensors = match name.ends_with(".safetensors") {
            true => self.tensors(name).map(|(_, tensors)| tensors),
            false => Err(ArrayError::Container),
        };
        let tensors = tensors.map_err(|error| error.with_name(name))?;
        let mut names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        names.sort();
        Ok(names)
    }

    /// Returns one tensor of a safetensors file, like [`KeyDirectory::exclusive_array`].
    pub(super) fn exclusive_tensor(
        &mut self,
        file: &str,
        tensor: &str,
        role: ArrayRole,
        visit: ElementVisitor<'_>,
    ) -> Result<Array, NamedArrayError> {
        let name = format!("{file}{SEPARATOR}{tensor}");
        let found = self.tensor(file, tensor).map_err(|error| error.with_name(&name))?;
        self.exclusive_at(&name, found, role, visit)
    }

    fn exclusive_at(
        &mut self,
        name: &str,
        tensor: Tensor,
        role: ArrayRole,
        visit: ElementVisitor<'_>,
    ) -> Result<Array, NamedArrayError> {
        // Check this before reading: a key of thousands of parts could name one large array in each.
        if !self.exclusive_positions.insert((tensor.file, tensor.offset)) {
            return Err(ArrayError::Shared.with_name(name));
        }
        let array = self.check(name, tensor, role, visit).map_err(|error| error.with_name(name))?;
        match self.exclusive_digests.insert(array.digest) {
            true => Ok(array),
            false => Err(ArrayError::Shared.with_name(name)),
        }
    }

    /// Runs `work` on the files of these arrays.
    pub(super) fn with_files<T>(
        &self,
        arrays: &[&Array],
        work: impl FnOnce(&FileSet<'_>) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let plan = Plan::from_tensors(arrays.iter().map(|array| (0, &array.tensor)));
        let files = FileSet::new(&self.files, &plan);
        let result = work(&files)?;
        for array in arrays {
            files.object_done(array.tensor.file)?;
        }
        Ok(result)
    }

    fn locate(&mut self, name: &str) -> Result<Tensor, ArrayError> {
        if let Some((file, tensor)) = name.split_once(SEPARATOR) {
            return self.tensor(file, tensor);
        }
        if !name.ends_with(".npy") {
            return Err(ArrayError::Container);
        }
        let file = self.file(name)?;
        let location = self.files[file].location.local().map_err(ArrayError::Open)?;
        let mut start = Vec::with_capacity(npy::START_LEN);
        let opened = open_regular(location).map_err(ArrayError::Open)?;
        let now = FileIdentity::of(&opened.metadata().map_err(ArrayError::Open)?);
        self.check_unchanged(file, &now)?;
        opened.take(npy::START_LEN as u64).read_to_end(&mut start).map_err(ArrayError::Open)?;
        let header = npy::parse(&start, self.files[file].bytes)?;
        Ok(Tensor {
            name: name.to_owned(),
            dtype: header.dtype,
            shape: header.shape,
            strides: None,
            file,
            offset: header.offset,
            bytes: header.bytes,
        })
    }

    fn tensor(&mut self, file: &str, tensor: &str) -> Result<Tensor, ArrayError> {
        if !file.ends_with(".safetensors") {
            return Err(ArrayError::Container);
        }
        let (index, tensors) = self.tensors(file)?;
        let found = tensors.iter().find(|found| found.name == tensor);
        let found = found.ok_or(ArrayError::NoTensor)?;
        Ok(Tensor { file: index, ..found.clone() })
    }

    /// Returns the index of a safetensors file and its tensors.
    fn tensors(&mut self, name: &str) -> Result<(usize, &[Tensor]), ArrayError> {
        let index = self.file(name)?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            self.last = Some((index, self.header(index)?));
        }
        let tensors = self.last.as_ref().map_or(&[][..], |(_, tensors)| tensors);
        Ok((index, tensors))
    }

    fn header(&self, index: usize) -> Result<Vec<Tensor>, ArrayError> {
        let file = &self.files[index];
        let location = file.location.local().map_err(ArrayError::Open)?;
        let opened = Checkpoint::open(location, &OpenOptions::default());
        let opened = opened.map_err(|error| ArrayError::Safetensors(error.to_string()))?;
        if let Some(problem) = opened.problems.first() {
            return Err(ArrayError::Safetensors(problem.message.clone()));
        }
        let entry = opened.files.first().ok_or(ArrayError::NoTensor)?;
        self.check_unchanged(index, &entry.identity)?;
        Ok(opened.tensors)
    }

    /// Checks that a file is the one that was found first.
    fn check_unchanged(&self, index: usize, now: &FileIdentity) -> Result<(), FileError> {
        let file = &self.files[index];
        match file.identity.difference(now) {
            Some(what) => Err(FileError::Changed { path: file.path.clone(), what: what.into() }),
            None => Ok(()),
        }
    }

    /// Returns the index of a file in [`KeyDirectory::files`].
    fn file(&mut self, name: &str) -> Result<usize, ArrayError> {
        if let Some(index) = self.names.get(name) {
            return Ok(*index);
        }
        let file = self.find(name)?;
        let inode = (file.identity.device, file.identity.inode);
        let index = *self.inodes.entry(inode).or_insert(self.files.len());
        if index == self.files.len() {
            self.files.push(file);
        }
        self.names.insert(name.to_owned(), index);
        Ok(index)
    }

    fn find(&self, name: &str) -> Result<ModelFile, ArrayError> {
        let mut components = Path::new(name).components();
        let is_plain = matches!(components.next(), Some(Component::Normal(only)) if only == name);
        // Refuse the separators of all systems, and NUL.
        if !is_plain || name.contains(['/', '\\', '\0']) {
            return Err(ArrayError::Name);
        }
        let location = self.directory.join(name).canonicalize().map_err(ArrayError::Open)?;
        if !location.starts_with(&self.directory) {
            return Err(ArrayError::LinkOut);
        }
        let opened = open_regular(&location).map_err(ArrayError::Open)?;
        let identity = FileIdentity::of(&opened.metadata().map_err(ArrayError::Open)?);
        Ok(ModelFile {
            path: display_name(name),
            location: location.into(),
            bytes: identity.bytes,
            identity,
            kind: FileKind::Other,
            content: FileContent::default(),
            link: None,
            signed_only: None,
            format: None,
            unread: Vec::new(),
            checksums: Vec::new(),
            big_endian: Vec::new(),
        })
    }

    fn check(
        &self,
        name: &str,
        tensor: Tensor,
        role: ArrayRole,
        visit: ElementVisitor<'_>,
    ) -> Result<Array, ArrayError> {
        let dtype = tensor.dtype;
        let decoder = Decoder::for_numbers(dtype).filter(|_| role.accepts(dtype));
        let decoder =
            decoder.ok_or(ArrayError::Dtype { dtype, expected: role.expected_dtype() })?;
        if let Some(expected) = role.shape_error(&tensor.shape) {
            return Err(ArrayError::Shape { shape: tensor.shape, expected });
        }
        let mut hasher = blake3::Hasher::new();
        let plan = Plan::from_tensors([(0, &tensor)].into_iter());
        let files = FileSet::new(&self.files, &plan);
        let elements = TensorValues::new(&files, &tensor, decoder);
        self.progress.expect(tensor.bytes);
        for first in elements.starts() {
            if self.progress.stopped() {
                return Err(ArrayError::Interrupted);
            }
            let bytes = elements.bytes(first, PIECE_LEN)?;
            let values: Vec<f64> =
                bytes.chunks_exact(decoder.width()).map(|one| decoder.value(one)).collect();
            let faulty = |(at, value): (u64, &f64)| Some((at, role.element_error(*value)?));
            if let Some((at, fault)) = (first..).zip(&values).find_map(faulty) {
                return Err(ArrayError::Element { at, fault });
            }
            hasher.update(&bytes);
            visit(&bytes, &values);
            self.progress.add(bytes.len() as u64);
        }
        files.object_done(tensor.file)?;
        let digest = *hasher.finalize().as_bytes();
        Ok(Array { name: name.to_owned(), tensor, digest, decoder })
    }
}
