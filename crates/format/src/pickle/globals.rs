//! The names that a pickle may import, and the names that are known from attacks.
//!
//! The allow-list contains the names that PyTorch accepts with `weights_only=True`, as far as they create plain data.

use super::torchao::{self, Torchao};
use tensorseal_base::dtype::Dtype;

/// The element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageType {
    /// A supported element type.
    Typed(Dtype),
    /// Untyped bytes.
    Untyped,
    /// An unsupported element type, with the bytes per element if known.
    Refused(Option<u32>),
}

impl StorageType {
    /// The element type, if it is supported.
    pub fn dtype(self) -> Option<Dtype> {
        match self {
            StorageType::Typed(dtype) => Some(dtype),
            _ => None,
        }
    }

    /// The number of bytes per element, if known.
    pub fn width(self) -> Option<u64> {
        match self {
            StorageType::Typed(dtype) => Some(u64::from(dtype.bits() / 8)),
            StorageType::Untyped => Some(1),
            StorageType::Refused(width) => width.map(u64::from),
        }
    }
}

/// The meaning of an allowed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedGlobal {
    /// A function that creates a tensor from a storage.
    Rebuild(Rebuild),
    /// A function that creates a tensor of an unsupported kind.
    Unreadable(&'static str),
    /// A class of storages.
    Storage(StorageType),
    /// An element type, or `None` for an unsupported one.
    Dtype(Option<Dtype>),
    /// A tensor class.
    TensorClass {
        /// Whether a call with a tensor returns that tensor.
        wraps: bool,
    },
    /// A dictionary class.
    Mapping(DictionaryClass),
    /// A list or tuple class.
    Sequence {
        /// Whether new instances are complete, as tuples are.
        complete: bool,
    },
    /// A set class.
    Set {
        /// Whether new instances are complete, as frozen sets are.
        complete: bool,
    },
    /// A function or class whose results are plain data without tensors, but neither text nor numbers.
    Plain,
    /// A function or class whose results are text or numbers.
    Scalar,
    /// The class of complex numbers, which equal real numbers if the imaginary part is zero.
    Complex,
    /// The function that encodes text as bytes.
    Encode,
}

/// How a function creates a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// From a storage, an offset, a shape and strides. The element type is that of the storage.
    Bare,
    /// Like [`Rebuild::Bare`], followed by the gradient flag, hooks, and optional metadata that changes values.
    Tensor,
    /// Like [`Rebuild::Tensor`], with an element type before the metadata.
    TypedTensor,
    /// From a tensor, followed by the gradient flag and hooks.
    Parameter,
    /// Like [`Rebuild::Parameter`], followed by a state.
    ParameterWithState,
    /// From a tensor and the element type to convert it to.
    Converted,
    /// With another of these functions (the first argument) and its arguments (the third). The second argument is a
    /// class, the fourth a state.
    ByType,
}

/// What a dictionary class takes when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DictionaryClass {
    /// A dictionary or pairs.
    Pairs,
    /// A function, followed by a dictionary or pairs.
    Defaults,
    /// A dictionary.
    Counts,
}

/// The meaning of a name, or `None` if it is not allowed.
pub(super) fn allowed_global(module: &str, name: &str) -> Option<AllowedGlobal> {
    use AllowedGlobal::*;
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor") => Rebuild(self::Rebuild::Bare),
        ("torch._utils", "_rebuild_tensor_v2") => Rebuild(self::Rebuild::Tensor),
        ("torch._utils", "_rebuild_tensor_v3") => Rebuild(self::Rebuild::TypedTensor),
        ("torch._utils", "_rebuild_parameter") => Rebuild(self::Rebuild::Parameter),
        ("torch._utils", "_rebuild_parameter_with_state") => {
            Rebuild(self::Rebuild::ParameterWithState)
        }
        ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor") => {
            Rebuild(self::Rebuild::Converted)
        }
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => {
            Rebuild(self::Rebuild::ByType)
        }
        ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
            Unreadable("a sparse tensor")
        }
        ("torch._utils", "_rebuild_qtensor") => Unreadable("a quantised tensor"),
        ("torch._utils", "_rebuild_nested_tensor") => Unreadable("a nested tensor"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => Unreadable("a tensor without data"),
        ("torch._utils", "_rebuild_wrapper_subclass") => Unreadable("a tensor of a custom class"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor") => {
            Unreadable("a tensor stored as a NumPy array")
        }
        ("torch.storage" | "torch", "UntypedStorage" | "_UntypedStorage") => {
            Storage(StorageType::Untyped)
        }
        ("torch.storage" | "torch", "TypedStorage" | "_TypedStorage") => {
            Storage(StorageType::Refused(None))
        }
        ("torch" | "torch.cuda", name) if storage(name).is_some() => Storage(storage(name)?),
        ("torch", name) if dtype(name).is_some() => Dtype(dtype(name)?),
        ("torch", "Size") => Sequence { complete: true },
        ("torch", "Tensor") => TensorClass { wraps: false },
        ("torch.nn.parameter", "UninitializedParameter") => TensorClass { wraps: false },
        ("torch.nn.parameter", "Parameter" | "Buffer") => TensorClass { wraps: true },
        (
            "torch",
            "device" | "strided" | "per_tensor_affine" | "per_channel_affine" | "preserve_format"
            | "contiguous_format" | "channels_last" | "channels_last_3d",
        )
        | ("torch.serialization", "_get_layout")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Plain,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Scalar,
        ("_codecs", "encode") => Encode,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Plain,
        ("numpy.dtypes", name) if name.ends_with("DType") && !name.contains('.') => Plain,
        ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => {
            Mapping(self::DictionaryClass::Pairs)
        }
        ("collections", "defaultdict") => Mapping(self::DictionaryClass::Defaults),
        ("collections", "Counter") => Mapping(self::DictionaryClass::Counts),
        ("builtins" | "__builtin__", "list") => Sequence { complete: false },
        ("builtins" | "__builtin__", "tuple") => Sequence { complete: true },
        ("builtins" | "__builtin__", "set") => Set { complete: false },
        ("builtins" | "__builtin__", "frozenset") => Set { complete: true },
        ("builtins" | "__builtin__", "complex") => Complex,
        ("builtins" | "__builtin__", "int" | "long" | "float" | "bool" | "str" | "unicode") => {
            Scalar
        }
        // `bytes` is text in Python 2.
        ("__builtin__", "bytes") => Scalar,
        ("builtins" | "__builtin__", "bytes" | "bytearray" | "slice" | "range" | "xrange") => Plain,
        _ => match torchao::known(module, name)? {
            Torchao::Tensor => TensorClass { wraps: false },
            // Some of them are text.
            Torchao::Setting => Scalar,
        },
    })
}

/// The storage classes with an element type.
fn storage(name: &str) -> Option<StorageType> {
    use StorageType::{Refused, Typed};
    Some(match name.strip_suffix("Storage")? {
        "Float" => Typed(Dtype::F32),
        "Double" => Typed(Dtype::F64),
        "Half" => Typed(Dtype::F16),
        "BFloat16" => Typed(Dtype::BF16),
        "Long" => Typed(Dtype::I64),
        "Int" => Typed(Dtype::I32),
        "Short" => Typed(Dtype::I16),
        "Char" => Typed(Dtype::I8),
        "Byte" => Typed(Dtype::U8),
        "Bool" => Typed(Dtype::BOOL),
        "ComplexFloat" => Typed(Dtype::C64),
        "ComplexDouble" => Refused(Some(16)),
        "QInt32" => Refused(Some(4)),
        "QUInt8" | "QInt8" | "QUInt4x2" | "QUInt2x4" => Refused(Some(1)),
        _ => return None,
    })
}

/// The PyTorch name of the element type of an unsupported storage class.
pub(super) fn refused_type(class: &str) -> Option<&'static str> {
    let name = class.rsplit('.').next()?;
    Some(match name.strip_suffix("Storage")? {
        "ComplexDouble" => "torch.complex128",
        "QUInt8" => "torch.quint8",
        "QInt8" => "torch.qint8",
        "QInt32" => "torch.qint32",
        "QUInt4x2" => "torch.quint4x2",
        "QUInt2x4" => "torch.quint2x4",
        _ => return None,
    })
}

/// The element type with this name in `torch`. The inner `None` means that it is unsupported.
fn dtype(name: &str) -> Option<Option<Dtype>> {
    Some(Some(match name {
        "float32" | "float" => Dtype::F32,
        "float64" | "double" => Dtype::F64,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "bool" => Dtype::BOOL,
        "complex64" | "cfloat" => Dtype::C64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        "float8_e4m3fnuz" => Dtype::F8_E4M3FNUZ,
        "float8_e5m2fnuz" => Dtype::F8_E5M2FNUZ,
        "float8_e8m0fnu" => Dtype::F8_E8M0,
        // The dimensions and strides of such a tensor count pairs of elements.
        "float4_e2m1fn_x2" => Dtype::F4,
        "complex128" | "cdouble" | "complex32" | "chalf" | "quint8" | "qint8" | "qint32"
        | "quint4x2" | "quint2x4" | "bits8" | "bits16" | "bits1x8" | "bits2x4" | "bits4x2"
        | "uint1" | "uint2" | "uint3" | "uint4" | "uint5" | "uint6" | "uint7" | "int1" | "int2"
        | "int3" | "int4" | "int5" | "int6" | "int7" => return Some(None),
        _ => return None,
    }))
}

/// Whether a name is known from attacks because it can run, import, load or reach other code. Dots in either part
/// lead to members, so every component counts.
pub(super) fn is_dangerous(module: &str, name: &str) -> bool {
    const MODULES: &[&str] = &[
        "os",
        "posix",
        "nt",
        "posixpath",
        "ntpath",
        "subprocess",
        "commands",
        "popen2",
        "sys",
        "socket",
        "shutil",
        "runpy",
        "pty",
        "importlib",
        "imp",
        "pkgutil",
        "zipimport",
        "operator",
        "_operator",
        "functools",
        "_functools",
        "webbrowser",
        "ctypes",
        "_ctypes",
        "cffi",
        "pickle",
        "_pickle",
        "cPickle",
        "marshal",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "code",
        "codeop",
        "timeit",
        "trace",
        "profile",
        "cProfile",
        "pdb",
        "bdb",
        "doctest",
        "asyncio",
        "multiprocessing",
        "_posixsubprocess",
        "_winapi",
        "concurrent",
        "threading",
        "_thread",
        "signal",
        "types",
        "inspect",
        "gc",
        "platform",
        "tempfile",
        "pathlib",
        "io",
        "_io",
        "glob",
        "fileinput",
        "urllib",
        "urllib2",
        "http",
        "httplib",
        "requests",
        "aiohttp",
        "ftplib",
        "smtplib",
        "telnetlib",
        "xmlrpc",
        "ssl",
        "paramiko",
        "pip",
        "setuptools",
        "distutils",
        "venv",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "test",
        "builtins",
        "__builtin__",
        "__main__",
        "copyreg",
        "copy_reg",
        "site",
        "atexit",
        "logging",
        "unittest",
        "pydoc",
        "sqlite3",
        "bs4",
    ];
    const NAMES: &[&str] = &[
        "eval",
        "exec",
        "execfile",
        "compile",
        "getattr",
        "setattr",
        "delattr",
        "__import__",
        "open",
        "system",
        "popen",
        "exec_command",
        "runstring",
        "load_module",
        "import_module",
        "__globals__",
        "__builtins__",
        "__subclasses__",
        "__getattribute__",
        "__reduce__",
        "_load_dll",
        "load_library",
        "run_code",
    ];
    // The parts of legitimate libraries that load or run code.
    const INSIDE: &[&str] = &[
        "torch.hub",
        "torch.jit",
        "torch.serialization",
        "torch.load",
        "torch.utils.cpp_extension",
        "torch.ops",
        "torch.classes",
        "torch.package",
        "torch._inductor",
        "torch._dynamo",
        "torch.fx",
        "torch.distributed",
        "torch.multiprocessing",
        "torch.storage._load_from_bytes",
        "torch.utils.collect_env",
        "torch.utils.bottleneck",
        "numpy.testing",
        "numpy.f2py",
        "numpy.load",
        "numpy.fromfile",
        "numpy.distutils",
        "numpy.ctypeslib",
        "pandas.read_pickle",
        "pandas.eval",
        "pandas.io",
        "transformers.dynamic_module_utils",
        "keras.models",
        "tensorflow.io",
    ];
    let top = module.split('.').next().unwrap_or_default();
    let whole = format!("{module}.{name}");
    let inside = |path: &str| {
        whole.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    // A name with a dot looks up a member of a member. No pickler of weights writes such a name, and `os` or `sys`
    // can be reached from any module.
    let member = name.split('.').count() > 1;
    MODULES.contains(&top)
        || INSIDE.iter().any(|path| inside(path))
        || name.split('.').any(|part| NAMES.contains(&part))
        || member && name.split('.').any(|part| MODULES.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attacks_use_is_dangerous_and_what_weights_need_is_allowed() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("__builtin__", "getattr"),
            ("torch.hub", "load"),
            ("torch", "hub.load"),
            ("torch", "serialization.os.system"),
            ("torch", "load"),
            ("numpy.testing._private.utils", "runstring"),
            ("numpy.testing", "exec_command"),
            ("torch.serialization", "load"),
            ("anything", "sub.os.system"),
        ] {
            assert!(is_dangerous(module, name), "{module}.{name}");
            assert_eq!(allowed_global(module, name), None);
        }
        for (module, name) in [("argparse", "Namespace"), ("my_model", "Config")] {
            assert!(!is_dangerous(module, name) && allowed_global(module, name).is_none());
        }
        for (module, name) in [
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "BFloat16Storage"),
            ("torch", "float8_e4m3fn"),
            ("collections", "OrderedDict"),
        ] {
            assert!(allowed_global(module, name).is_some(), "{module}.{name}");
        }
        assert_eq!(allowed_global("torch", "float8_e4m3fn.x"), None);
        assert_eq!(allowed_global("torch ", "float32"), None);
    }
}
