//! What the bytes of a file are: classes of content, the part that each plays in a model, and the formats that are
//! read.

/// What part a file plays in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    /// It holds weights, or is loaded as if it did.
    Weights,
    /// It goes with weights: configuration, text, tokenizers, pictures, data sets.
    Companion,
    /// A machine runs it: programs and libraries.
    Executable,
    /// Nobody here knows what it is.
    Unknown,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $role:ident,)*) => {
        /// What the bytes of a file are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ContentClass {
            $($(#[$doc])* $variant,)*
        }

        impl ContentClass {
            /// All of them.
            pub const ALL: &'static [ContentClass] = &[$(ContentClass::$variant,)*];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(ContentClass::$variant => $name,)* }
            }

            /// The part that a file of this class plays, unless what lies beside it says otherwise.
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
    /// What ggml wrote before GGUF.
    Ggml "ggml" Weights,
    /// The zip archive of `torch.save`.
    TorchZip "torch-zip" Weights,
    /// What `torch.save` wrote before PyTorch 1.6.
    TorchStream "torch-stream" Weights,
    /// What PyTorch wrote before 0.1.10.
    TorchTar "torch-tar" Weights,
    /// A pickle of Python.
    Pickle "pickle" Companion,
    /// An array of NumPy.
    Npy "npy" Weights,
    /// An archive of arrays of NumPy.
    Npz "npz" Weights,
    /// An ONNX model.
    Onnx "onnx" Weights,
    /// HDF5, of Keras and others.
    Hdf5 "hdf5" Weights,
    /// The zip archive of Keras 3.
    Keras "keras" Weights,
    /// The zip archive of `torch.export`.
    TorchExport "torch-export" Weights,
    /// A model of TensorFlow Lite.
    TfLite "tflite" Weights,
    /// MessagePack, of Flax.
    Msgpack "msgpack" Weights,
    /// A table of tensors of a checkpoint of TensorFlow.
    TensorflowBundle "tensorflow-bundle" Weights,
    /// A `saved_model.pb` or frozen graph of TensorFlow.
    TensorflowGraph "tensorflow-graph" Weights,
    /// A program of ExecuTorch.
    Executorch "executorch" Weights,
    /// A model of Core ML.
    CoreMl "coreml" Weights,
    /// The network of an OpenVINO model.
    OpenVino "openvino" Weights,
    /// Raw weights that a file beside it names.
    RawWeights "raw-weights" Weights,
    /// A zip archive that is none of the above.
    Zip "zip" Unknown,
    /// A tar archive.
    Tar "tar" Unknown,
    /// A 7z or RAR archive.
    SevenZip "7z" Unknown,
    /// A compressed stream: gzip, zlib, bzip2, xz, zstd, lz4.
    Compressed "compressed" Unknown,
    /// A program or library of Unix.
    Elf "elf" Executable,
    /// A program or library of Windows.
    Pe "pe" Executable,
    /// A program or library of macOS.
    MachO "mach-o" Executable,
    /// A script that its first line names the interpreter of.
    Script "script" Executable,
    /// WebAssembly.
    Wasm "wasm" Executable,
    /// Compiled code of Java or Python, or an archive of it.
    Bytecode "bytecode" Executable,
    /// JSON.
    Json "json" Companion,
    /// HTML.
    Html "html" Companion,
    /// A pointer of git-lfs to a file that was not fetched.
    LfsPointer "git-lfs-pointer" Companion,
    /// A link that was stored as a file: text that is nothing but a path.
    LinkText "link-text" Companion,
    /// Any other text.
    Text "text" Companion,
    /// A picture.
    Image "image" Companion,
    /// Sound.
    Audio "audio" Companion,
    /// Moving pictures.
    Video "video" Companion,
    /// PDF.
    Pdf "pdf" Companion,
    /// A font.
    Font "font" Companion,
    /// A document of an office program, or a book.
    Document "document" Companion,
    /// A table of data: Parquet, Arrow, Avro, ORC, SQLite.
    Table "table" Companion,
    /// A tokenizer of SentencePiece.
    SentencePiece "sentencepiece" Companion,
    /// Events of TensorBoard.
    Events "tfevents" Companion,
    /// Nothing.
    Empty "empty" Companion,
    /// Only zeros.
    Zeros "zeros" Unknown,
    /// None of these.
    Unknown "unknown" Unknown,
}

impl ContentClass {
    /// What a file of this class is, in words.
    pub fn description(self) -> &'static str {
        use ContentClass::*;
        match self {
            Safetensors => "a safetensors file",
            Gguf => "a GGUF file",
            Ggml => "a file of ggml from before GGUF",
            TorchZip | TorchStream | TorchTar => "a file of PyTorch",
            Pickle => "a pickle",
            Npy => "an array of NumPy",
            Npz => "an archive of arrays of NumPy",
            Onnx => "an ONNX model",
            Hdf5 => "an HDF5 file",
            Keras => "a Keras archive",
            TorchExport => "a program of torch.export",
            TfLite => "a TensorFlow Lite model",
            Msgpack => "MessagePack",
            TensorflowBundle => "a table of a TensorFlow checkpoint",
            TensorflowGraph => "a TensorFlow graph",
            Executorch => "an ExecuTorch program",
            CoreMl => "a Core ML model",
            OpenVino => "an OpenVINO network",
            RawWeights => "raw weights that another file of the model describes",
            Zip => "a zip archive",
            Tar => "a tar archive",
            SevenZip => "a 7z or RAR archive",
            Compressed => "a compressed stream",
            Elf => "a program or library of Unix",
            Pe => "a program or library of Windows",
            MachO => "a program or library of macOS",
            Script => "a script",
            Wasm => "WebAssembly",
            Bytecode => "compiled code",
            Json => "JSON",
            Html => "an HTML page",
            LfsPointer => "a git-lfs pointer",
            LinkText => "a link stored as text",
            Text => "text",
            Image => "a picture",
            Audio => "sound",
            Video => "a video",
            Pdf => "a PDF document",
            Font => "a font",
            Document => "a document",
            Table => "a table of data",
            SentencePiece => "a SentencePiece tokenizer",
            Events => "events of TensorBoard",
            Empty => "empty",
            Zeros => "nothing but zeros",
            Unknown => "of no known kind",
        }
    }

    /// Whether a reader of weights takes a file of this class for its own, whatever it is called.
    pub fn is_loadable(self) -> bool {
        use ContentClass::*;
        self.role() == FileRole::Weights || matches!(self, Pickle | Zip | Tar)
    }
}

/// What a file was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileContent {
    /// What its bytes are.
    pub class: ContentClass,
    /// What else they are, of a file that two kinds of readers take for theirs.
    pub also: Option<ContentClass>,
    /// What part it plays in the model. That of its class, unless what is in it or beside it says otherwise.
    pub role: FileRole,
}

impl FileContent {
    /// Of a file that is this and nothing else.
    pub fn new(class: ContentClass) -> FileContent {
        FileContent { class, also: None, role: class.role() }
    }
}

impl Default for FileContent {
    fn default() -> Self {
        FileContent::new(ContentClass::Unknown)
    }
}

/// Container format of a file of tensors. In order of preference: where a directory holds the same
/// tensors in several formats, loaders take the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Safetensors.
    Safetensors,
    /// GGUF, of llama.cpp and its relatives.
    Gguf,
    /// The zip archive that `torch.save` writes, or an older form of it.
    Torch,
    /// NumPy's `.npy`, or `.npz`: a zip archive of them.
    Numpy,
}
