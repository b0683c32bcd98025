//! The values that the pickle machine can create: plain data, and tensors as views of storages.

use super::globals::{AllowedGlobal, StorageType};
use std::borrow::Cow;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;

/// A value on the stack. Larger values are nodes, so that a value that is used twice is stored once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A Boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// An index into [`Nodes`].
    Node(u32),
    /// Data that does not matter: bytes, long integers, text that is not UTF-8, and results of forbidden names.
    Opaque,
}

/// A larger value.
#[derive(Debug, Clone)]
pub enum Node {
    /// Text.
    Text(Box<str>),
    /// A list or a tuple.
    Sequence(Vec<Value>),
    /// A set, whose items are unordered.
    Set(Vec<Value>),
    /// A dictionary with its keys and values in order.
    Mapping(Vec<(Value, Value)>),
    /// An allowed name.
    Global(Box<(AllowedGlobal, String)>),
    /// A storage.
    Storage(Arc<Storage>),
    /// A tensor.
    Tensor(Arc<View>),
    /// An unsupported tensor, with its kind.
    Unreadable(Cow<'static, str>),
    /// A plain object that may get a state. It does not equal any text or number.
    Object,
    /// A plain object that may equal any text or number.
    Scalar,
}

/// All nodes of a pickle.
#[derive(Debug, Default)]
pub struct Nodes(pub Vec<Node>);

impl Nodes {
    /// The node of a value, if it is one.
    pub fn get(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.0.get(at as usize),
            _ => None,
        }
    }

    /// The text of a value, if it is text.
    pub fn text(&self, value: Value) -> Option<&str> {
        match self.get(value) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.get(value) {
            Some(Node::Sequence(items)) => Some(items),
            _ => None,
        }
    }

    /// The items of a list or tuple of integers.
    pub fn integers(&self, value: Value) -> Option<Vec<i64>> {
        let integer = |value: &Value| match value {
            Value::Int(int) => Some(*int),
            Value::Bool(bool) => Some((*bool).into()),
            _ => None,
        };
        self.items(value)?.iter().map(integer).collect()
    }
}

/// A storage: the bytes that tensors are views of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The key: the number of the archive member that holds the storage.
    pub key: String,
    /// The element type.
    pub kind: StorageType,
    /// The name of the class.
    pub class: String,
    /// The stated number of elements.
    pub elements: i64,
    /// The part of the storage that is used, in the oldest files: offset and number of elements.
    pub view: Option<(i64, i64)>,
}

/// An element type of PyTorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementType {
    /// A supported type.
    Read(Dtype),
    /// An unsupported type, with its name.
    Named(String),
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The storage.
    pub storage: Arc<Storage>,
    /// The element type, if it is not that of the storage.
    pub dtype: Option<ElementType>,
    /// The offset in elements.
    pub offset: i64,
    /// The dimensions.
    pub shape: Vec<i64>,
    /// The number of elements between consecutive indexes of each dimension.
    pub stride: Vec<i64>,
}
