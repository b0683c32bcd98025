//! What a pickle can make here: plain data, and tensors as places in storages. Nothing else exists.

use super::globals::{AllowedGlobal, StorageType};
use std::borrow::Cow;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;

/// A value on the stack. Larger ones are nodes, so that a value that is used twice is there once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// An index into [`Nodes`].
    Node(u32),
    /// Data that do not matter: bytes, long integers, text that is not UTF-8, results of what is not
    /// allowed.
    Opaque,
}

/// A larger value.
#[derive(Debug, Clone)]
pub enum Node {
    /// Text.
    Text(Box<str>),
    /// A list or a tuple.
    Sequence(Vec<Value>),
    /// A set: its items are in no order.
    Set(Vec<Value>),
    /// A dictionary, keys and values in order.
    Mapping(Vec<(Value, Value)>),
    /// An allowed name.
    Global(Box<(AllowedGlobal, String)>),
    /// A storage.
    Storage(Arc<Storage>),
    /// A tensor.
    Tensor(Arc<View>),
    /// A tensor that is not read, and what kind it is.
    Unreadable(Cow<'static, str>),
    /// An object of plain data that may get a state. It equals no text and no number.
    Object,
    /// An object of plain data that may equal any text or number.
    Scalar,
}

/// All larger values of a pickle.
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

    /// The text of a value, if it is some.
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

/// A stretch of bytes that tensors lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What it is called: the number of the member that holds it.
    pub key: String,
    /// Its elements.
    pub kind: StorageType,
    /// The name of its class.
    pub class: String,
    /// How many there are, as stated.
    pub elements: i64,
    /// The part of it that is meant, as the oldest files say: elements before it, and how many it has.
    pub view: Option<(i64, i64)>,
}

/// An element type of PyTorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementType {
    /// One that is read.
    Read(Dtype),
    /// One that is not, and its name.
    Named(String),
}

/// A tensor: a part of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The storage.
    pub storage: Arc<Storage>,
    /// The element type, where it is not that of the storage.
    pub dtype: Option<ElementType>,
    /// Elements before the first one.
    pub offset: i64,
    /// Dimensions.
    pub shape: Vec<i64>,
    /// By dimension: elements from one to the next.
    pub stride: Vec<i64>,
}
