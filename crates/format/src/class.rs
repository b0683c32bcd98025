//! Content classes of files, their roles in a model, and the container formats.

/// The role of a file in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    /// The file holds weights, or is loaded as if it did.
    Weights,
    /// The file accompanies the weights: configuration, text, tokenizers, images, data sets.
    Companion,
    /// The file is executable: a program or a library.
    Executable,
    /// The role of the file is unknown.
    Unknown,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $role:ident,)*) => {
        /// The content class of a file: what its bytes are, whatever the file is called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ContentClass {
            $($(#[$doc])* $variant,)*
        }

        impl ContentClass {
            /// All content classes.
            pub const ALL: &'static [ContentClass] = &[$(ContentClass::$variant,)*];

            /// The name of the class in reports.
            pub fn name(self) -> &'static str {
                match self { $(ContentClass::$variant => $name,)* }
            }

            /// The role of a file of this class, unless its contents or other files say otherwise.
            pub fn role(self) -> FileRole {
                match self { $(ContentClass::$variant => FileRole::$role,)* }
            }
        }
    };
}

classes! {
    /// Safetensors.
    Safetensors "safetensors" Weights,
    /// GGUF.
    Gguf "gguf" Weights,
    /// A ggml file in a format older than GGUF.
    Ggml "ggml" Weights,
    /// The zip archive of `torch.save`.
    TorchZip "torch-zip" Weights,
    /// The format of `torch.save` before PyTorch 1.6.
    TorchStream "torch-stream" Weights,
    /// The format of PyTorch before 0.1.10.
    TorchTar "torch-tar" Weights,
    /// A Python pickle.
    Pickle "pickle" Companion,
    /// A NumPy array.
    Npy "npy" Weights,
    /// An archive of NumPy arrays.
    Npz "npz" Weights,
    /// An ONNX model.
    Onnx "onnx" Weights,
    /// HDF5, used by Keras and others.
    Hdf5 "hdf5" Weights,
    /// The zip archive of Keras 3.
    Keras "keras" Weights,
    /// The zip archive of `torch.export`.
    TorchExport "torch-export" Weights,
    /// A TensorFlow Lite model.
    TfLite "tflite" Weights,
    /// MessagePack, used by Flax.
    Msgpack "msgpack" Weights,
    /// The table of tensors of a TensorFlow checkpoint.
    TensorflowBundle "tensorflow-bundle" Weights,
    /// A `saved_model.pb` or a frozen graph of TensorFlow.
    TensorflowGraph "tensorflow-graph" Weights,
    /// An ExecuTorch program.
    Executorch "executorch" Weights,
    /// A Core ML model.
    CoreMl "coreml" Weights,
    /// The network of an OpenVINO model.
    OpenVino "openvino" Weights,
    /// Raw weights that another file of the model describes.
    RawWeights "raw-weights" Weights,
    /// Any other zip archive.
    Zip "zip" Unknown,
    /// A tar archive.
    Tar "tar" Unknown,
    /// A 7z or RAR archive.
    SevenZip "7z" Unknown,
    /// A compressed stream: gzip, zlib, bzip2, xz, zstd, lz4.
    Compressed "compressed" Unknown,
    /// A Unix program or library (ELF).
    Elf "elf" Executable,
    /// A Windows program or library (PE).
    Pe "pe" Executable,
    /// A macOS program or library (Mach-O).
    MachO "mach-o" Executable,
    /// A script whose first line names an interpreter.
    Script "script" Executable,
    /// WebAssembly.
    Wasm "wasm" Executable,
    /// Java or Python bytecode, or an archive of it.
    Bytecode "bytecode" Executable,
    /// JSON.
    Json "json" Companion,
    /// HTML.
    Html "html" Companion,
    /// A git-lfs pointer to a file that was not fetched.
    LfsPointer "git-lfs-pointer" Companion,
    /// A link that was stored as a file: the text is a path.
    LinkText "link-text" Companion,
    /// Any other text.
    Text "text" Companion,
    /// An image.
    Image "image" Companion,
    /// An audio file.
    Audio "audio" Companion,
    /// A video.
    Video "video" Companion,
    /// PDF.
    Pdf "pdf" Companion,
    /// A font.
    Font "font" Companion,
    /// An office document or an e-book.
    Document "document" Companion,
    /// A table of data: Parquet, Arrow, Avro, ORC, SQLite.
    Table "table" Companion,
    /// A SentencePiece tokenizer.
    SentencePiece "sentencepiece" Companion,
    /// TensorBoard events.
    Events "tfevents" Companion,
    /// An empty file.
    Empty "empty" Companion,
    /// Nothing but zero bytes.
    Zeros "zeros" Unknown,
    /// None of the known classes.
    Unknown "unknown" Unknown,
}

impl ContentClass {
    /// Describes a file of this class.
    pub fn description(self) -> &'static str {
        use ContentClass::*;
        match self {
            Safetensors => "a safetensors file",
            Gguf => "a GGUF file",
            Ggml => "a ggml file older than GGUF",
            TorchZip | TorchStream | TorchTar => "a PyTorch file",
            Pickle => "a pickle",
            Npy => "a NumPy array",
            Npz => "an archive of NumPy arrays",
            Onnx => "an ONNX model",
            Hdf5 => "an HDF5 file",
            Keras => "a Keras archive",
            TorchExport => "a torch.export program",
            TfLite => "a TensorFlow Lite model",
            Msgpack => "MessagePack",
            TensorflowBundle => "the table of a TensorFlow checkpoint",
            TensorflowGraph => "a TensorFlow graph",
            Executorch => "an ExecuTorch program",
            CoreMl => "a Core ML model",
            OpenVino => "an OpenVINO network",
            RawWeights => "raw weights that another file of the model describes",
            Zip => "a zip archive",
            Tar => "a tar archive",
            SevenZip => "a 7z or RAR archive",
            Compressed => "a compressed stream",
            Elf => "a Unix program or library",
            Pe => "a Windows program or library",
            MachO => "a macOS program or library",
            Script => "a script",
            Wasm => "WebAssembly",
            Bytecode => "compiled code",
            Json => "JSON",
            Html => "an HTML page",
            LfsPointer => "a git-lfs pointer",
            LinkText => "a link stored as text",
            Text => "text",
            Image => "an image",
            Audio => "an audio file",
            Video => "a video",
            Pdf => "a PDF document",
            Font => "a font",
            Document => "a document",
            Table => "a data table",
            SentencePiece => "a SentencePiece tokenizer",
            Events => "a TensorBoard event file",
            Empty => "empty",
            Zeros => "nothing but zeros",
            Unknown => "of an unknown type",
        }
    }

    /// Whether a loader of weights may accept a file of this class, whatever it is called.
    pub fn is_loadable(self) -> bool {
        use ContentClass::*;
        self.role() == FileRole::Weights || matches!(self, Pickle | Zip | Tar)
    }
}

/// The content class and the role of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileContent {
    /// The content class.
    pub class: ContentClass,
    /// A second content class, for a file that two kinds of readers accept.
    pub also: Option<ContentClass>,
    /// The role in the model: that of the class, unless the contents or other files say otherwise.
    pub role: FileRole,
}

impl FileContent {
    /// The content of a file that has only this class.
    pub fn new(class: ContentClass) -> FileContent {
        FileContent { class, also: None, role: class.role() }
    }
}

impl Default for FileContent {
    fn default() -> Self {
        FileContent::new(ContentClass::Unknown)
    }
}

/// A container format for tensors. The formats are in order of preference: if a directory holds the same tensors
/// in several formats, loaders take the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Safetensors.
    Safetensors,
    /// GGUF, used by llama.cpp and related programs.
    Gguf,
    /// The zip archive of `torch.save`, or one of its older formats.
    Torch,
    /// A NumPy `.npy` file, or `.npz`, a zip archive of them.
    Numpy,
}
