//! The pickle machine: a stack, a memo and nodes for larger values. It creates data and executes nothing.

use super::error::{Fault, MAX_OPERATIONS};
use super::globals::StorageType;
use super::globals::{AllowedGlobal, DictionaryClass, Rebuild, allowed_global, refused_type};
use super::operation::{Operation, Reader};
use super::value::{ElementType, Node, Nodes, Storage, Value, View};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;

/// The largest number of forbidden names that are reported separately.
const MAX_GLOBALS: usize = 256;
/// The largest number of other faults.
const MAX_FAULTS: usize = 64;
/// The largest number of dimensions of a tensor in PyTorch.
const MAX_DIMENSIONS: usize = 64;

/// The longest key of a storage in bytes. Keys are numbers.
const MAX_KEY: usize = 256;

/// The result of reading a pickle.
#[derive(Debug)]
pub struct Unpickled {
    /// The value of the pickle, or `None` if it is incomplete.
    pub value: Option<Value>,
    /// The nodes for larger values.
    pub nodes: Nodes,
    /// The faults with their byte ranges in the pickle.
    pub faults: Vec<(Fault, [usize; 2])>,
    /// The end of the pickle, after its last operation.
    pub end: usize,
    /// The storages with contradictory descriptions. A loader uses the first description.
    pub conflicts: BTreeSet<String>,
    /// The values of attributes that dictionaries have in addition to their entries.
    pub notes: Vec<Value>,
}

impl Unpickled {
    /// Whether the pickle creates NumPy arrays, whose values are in the pickle itself.
    pub fn makes_arrays(&self) -> bool {
        self.nodes.0.iter().any(|node| match node {
            Node::Global(global) => {
                let name = global.1.strip_prefix("numpy.").unwrap_or_default();
                name.ends_with("multiarray._reconstruct") || name.ends_with("numeric._frombuffer")
            }
            _ => false,
        })
    }
}

/// Reads the pickle at the start of `bytes`.
pub fn unpickle(bytes: &[u8]) -> Unpickled {
    let mut machine = Machine::default();
    let mut reader = Reader { bytes, at: 0 };
    let mut value = None;
    for operations in 0.. {
        let at = reader.at;
        if operations == MAX_OPERATIONS {
            machine.fault(Fault::TooLarge { what: format!("{MAX_OPERATIONS} operations") });
        } else {
            match reader.next().and_then(|operation| machine.perform(operation)) {
                Ok(Step::On) => {}
                Ok(Step::Done(result)) => value = Some(result),
                Err(fault) => machine.faults.push(fault),
            }
        }
        // Some faults end the pickle; the others are reported and skipped.
        let place = [at, reader.at.max(at + 1).min(bytes.len())];
        for fault in machine.faults.drain(..) {
            let ends = matches!(
                fault,
                Fault::Truncated
                    | Fault::Operation { .. }
                    | Fault::Protocol { .. }
                    | Fault::Malformed { .. }
                    | Fault::TooLarge { .. }
            );
            machine.ended |= ends;
            if ends || machine.reported.len() < MAX_FAULTS + MAX_GLOBALS {
                machine.reported.push((fault, place));
            }
        }
        if value.is_some() || machine.ended {
            break;
        }
    }
    let value = value.filter(|_| !machine.ended);
    let Machine { nodes, reported: faults, conflicts, notes, .. } = machine;
    Unpickled { value, nodes, faults, end: reader.at, conflicts, notes }
}

enum Step {
    On,
    Done(Value),
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    /// The heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    nodes: Nodes,
    /// The faults of the current operation.
    faults: Vec<Fault>,
    reported: Vec<(Fault, [usize; 2])>,
    /// The forbidden names that were reported.
    globals: HashSet<(String, String)>,
    /// The number of items that were copied from other containers.
    copies: usize,
    /// The first description of each storage: element type and number of elements.
    storages: HashMap<String, (StorageType, i64)>,
    /// The first description of each part of a storage: storage, element type, offset and number of elements.
    views: HashMap<String, (String, StorageType, i64, i64)>,
    conflicts: BTreeSet<String>,
    notes: Vec<Value>,
    ended: bool,
}

fn malformed(what: &'static str) -> Fault {
    Fault::Malformed { what }
}

impl Machine {
    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    fn node(&mut self, node: Node) -> Value {
        let at = self.nodes.0.len() as u32;
        self.nodes.0.push(node);
        Value::Node(at)
    }

    fn push_node(&mut self, node: Node) {
        let value = self.node(node);
        self.stack.push(value);
    }

    /// Pops the top of the stack, which must not be below a mark.
    fn pop(&mut self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(malformed("it takes a value from the empty stack"));
        }
        self.stack.pop().ok_or(malformed("it takes a value from the empty stack"))
    }

    fn top(&self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or(malformed("it takes a value from the empty stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or(malformed("it uses a mark that does not exist"))?;
        Ok(self.stack.split_off(mark))
    }

    fn perform(&mut self, operation: Operation<'_>) -> Result<Step, Fault> {
        match operation {
            Operation::Nothing => {}
            Operation::Stop => return Ok(Step::Done(self.pop()?)),
            Operation::Mark => self.marks.push(self.stack.len()),
            Operation::Pop => {
                // A mark counts as a value on the stack.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Operation::PopMark => drop(self.pop_to_mark()?),
            Operation::Dup => {
                let top = self.top()?;
                self.stack.push(top);
            }
            Operation::Push(value) => self.stack.push(value),
            Operation::Text(text) => self.push_node(Node::Text(text.into())),
            Operation::EmptyList | Operation::EmptyTuple => {
                self.push_node(Node::Sequence(Vec::new()));
            }
            Operation::EmptySet => self.push_node(Node::Set(Vec::new())),
            Operation::EmptyDict => self.push_node(Node::Mapping(Vec::new())),
            Operation::TupleOf(count) => {
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push_node(Node::Sequence(items));
            }
            Operation::Tuple | Operation::List => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Sequence(items));
            }
            Operation::FrozenSet => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Set(items));
            }
            Operation::Dict => {
                let items = self.pop_to_mark()?;
                let pairs = pairs(&items)?;
                self.push_node(Node::Mapping(pairs));
            }
            Operation::Append => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            Operation::Appends => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
            }
            Operation::AddItems => {
                let items = self.pop_to_mark()?;
                self.add(items)?;
            }
            Operation::SetItem => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![(key, value)])?;
            }
            Operation::SetItems => {
                let items = self.pop_to_mark()?;
                self.set(pairs(&items)?)?;
            }
            Operation::Global { module, name } => {
                let value = self.global(module, name);
                self.stack.push(value);
            }
            Operation::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = self.nodes.text(module).zip(self.nodes.text(name));
                let texts = texts.map(|(module, name)| (module.to_owned(), name.to_owned()));
                let value = match texts {
                    Some((module, name)) => self.global(&module, &name),
                    None => {
                        self.fault(Fault::ComputedGlobal);
                        Value::Opaque
                    }
                };
                self.stack.push(value);
            }
            Operation::Instance { module, name } => {
                let arguments = self.pop_to_mark()?;
                let class = self.global(module, name);
                let made = self.call(class, &arguments, false);
                self.stack.push(made);
            }
            Operation::Object => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err(malformed("it creates an object without a class"));
                }
                let class = arguments.remove(0);
                let made = self.call(class, &arguments, false);
                self.stack.push(made);
            }
            Operation::NewObjectEx => {
                let (named, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let is_named =
                    !matches!(self.nodes.get(named), Some(Node::Mapping(n)) if n.is_empty());
                let is_plain = match self.nodes.get(class) {
                    Some(Node::Global(global)) => {
                        matches!(global.0, AllowedGlobal::Plain | AllowedGlobal::Scalar)
                    }
                    _ => class == Value::Opaque,
                };
                if is_named && !is_plain {
                    self.fault(Fault::Call { what: "a class with named arguments".to_owned() });
                }
                let made = self.apply(class, arguments, true);
                self.stack.push(made);
            }
            Operation::Reduce => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = self.apply(function, arguments, false);
                self.stack.push(made);
            }
            Operation::NewObject => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let made = self.apply(class, arguments, true);
                self.stack.push(made);
            }
            Operation::Build => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state);
            }
            Operation::PersistentText => {
                self.fault(Fault::PersistentId);
                self.stack.push(Value::Opaque);
            }
            Operation::Persistent => {
                let id = self.pop()?;
                let storage = match self.storage(id) {
                    Some(storage) => {
                        self.compare(&storage);
                        self.node(Node::Storage(Arc::new(storage.storage)))
                    }
                    None => {
                        self.fault(Fault::PersistentId);
                        Value::Opaque
                    }
                };
                self.stack.push(storage);
            }
            Operation::Extension(code) => {
                self.fault(Fault::Extension { code });
                self.stack.push(Value::Opaque);
            }
            Operation::Get(at) => {
                let value = self.memo.get(&at).copied();
                let value = value.ok_or(malformed("it reads a missing entry of the memo"))?;
                self.stack.push(value);
            }
            Operation::Put(at) => {
                let top = self.top()?;
                self.memo.insert(at, top);
            }
            Operation::Memoize => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u32, top);
            }
        }
        Ok(Step::On)
    }

    /// Adds items to the list at the top.
    fn extend(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let list = self.top()?;
        match list {
            Value::Node(at) => match self.nodes.0.get_mut(at as usize) {
                Some(Node::Sequence(all)) => all.extend(items),
                Some(Node::Object | Node::Scalar) => {}
                _ => return Err(malformed("it adds items to a value that is not a list")),
            },
            Value::Opaque => {}
            _ => return Err(malformed("it adds items to a value that is not a list")),
        }
        Ok(())
    }

    /// Adds items to the set at the top.
    fn add(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let set = self.top()?;
        match set {
            Value::Node(at) => match self.nodes.0.get_mut(at as usize) {
                Some(Node::Set(all)) => all.extend(items),
                Some(Node::Object | Node::Scalar) => {}
                _ => return Err(malformed("it adds items to a value that is not a set")),
            },
            Value::Opaque => {}
            _ => return Err(malformed("it adds items to a value that is not a set")),
        }
        Ok(())
    }

    /// Adds entries to the dictionary at the top.
    fn set(&mut self, entries: Vec<(Value, Value)>) -> Result<(), Fault> {
        let dict = self.top()?;
        match dict {
            Value::Node(at) => match self.nodes.0.get_mut(at as usize) {
                Some(Node::Mapping(all)) => all.extend(entries),
                Some(Node::Object | Node::Scalar) => {}
                _ => return Err(malformed("it adds entries to a value that is not a dictionary")),
            },
            Value::Opaque => {}
            _ => return Err(malformed("it adds entries to a value that is not a dictionary")),
        }
        Ok(())
    }

    /// Resolves a name. A forbidden name is reported once.
    fn global(&mut self, module: &str, name: &str) -> Value {
        if let Some(known) = allowed_global(module, name) {
            return self.node(Node::Global(Box::new((known, format!("{module}.{name}")))));
        }
        if self.globals.len() < MAX_GLOBALS {
            let (module, name) = (clipped(module), clipped(name));
            if self.globals.insert((module.clone(), name.clone())) {
                self.fault(Fault::Global { module, name });
            }
        }
        Value::Opaque
    }

    /// Calls a function or class with the arguments in a tuple. With `new` it creates an instance without
    /// initialising it.
    fn apply(&mut self, callee: Value, arguments: Value, new: bool) -> Value {
        // No allowed function uses more arguments.
        const MAX_ARGUMENTS: usize = 9;
        match self.nodes.items(arguments) {
            Some(items) => {
                let items: Vec<Value> = items.iter().take(MAX_ARGUMENTS).copied().collect();
                self.call(callee, &items, new)
            }
            None if callee == Value::Opaque => Value::Opaque,
            // Allowed functions always get their arguments in a tuple.
            None => {
                self.fault(Fault::Call {
                    what: "a function with arguments not in a tuple".to_owned(),
                });
                Value::Opaque
            }
        }
    }

    fn call(&mut self, callee: Value, arguments: &[Value], new: bool) -> Value {
        if callee == Value::Opaque {
            // Forbidden names were reported, and their results are unknown.
            return Value::Opaque;
        }
        let global = match self.nodes.get(callee) {
            Some(Node::Global(global)) => (**global).clone(),
            _ => {
                self.fault(Fault::Call { what: "a value".to_owned() });
                return Value::Opaque;
            }
        };
        let (known, name) = global;
        let made = match known {
            AllowedGlobal::Rebuild(how) if !new => self.rebuild(how, arguments, 0),
            AllowedGlobal::Unreadable(kind) if !new => {
                Some(Node::Unreadable(self.kind(kind, arguments.first().copied())))
            }
            AllowedGlobal::TensorClass { wraps } => {
                match arguments.first().map(|first| self.tensor(*first)) {
                    Some(Some(tensor)) if wraps => Some(tensor),
                    _ => Some(Node::Unreadable(CUSTOM_CLASS.into())),
                }
            }
            AllowedGlobal::Mapping(_) if new => Some(Node::Mapping(Vec::new())),
            AllowedGlobal::Mapping(of) => self.entries(of, arguments).map(Node::Mapping),
            AllowedGlobal::Sequence { complete: false } if new => Some(Node::Sequence(Vec::new())),
            AllowedGlobal::Set { complete: false } if new => Some(Node::Set(Vec::new())),
            AllowedGlobal::Sequence { .. } => self.called_items(arguments).map(Node::Sequence),
            AllowedGlobal::Set { .. } => self.called_items(arguments).map(Node::Set),
            AllowedGlobal::Plain => Some(Node::Object),
            AllowedGlobal::Scalar => Some(Node::Scalar),
            AllowedGlobal::Complex => match arguments {
                // The complex number equals its real part.
                [Value::Float(real), Value::Float(0.0)] => return Value::Float(*real),
                [Value::Float(_), Value::Float(_)] => Some(Node::Object),
                _ => Some(Node::Scalar),
            },
            AllowedGlobal::Encode => match arguments {
                [_, codec] if self.nodes.text(*codec) == Some("latin1") => Some(Node::Object),
                // Other codecs may return text.
                _ => Some(Node::Scalar),
            },
            AllowedGlobal::Rebuild(_)
            | AllowedGlobal::Unreadable(_)
            | AllowedGlobal::Storage(_)
            | AllowedGlobal::Dtype(_) => {
                self.fault(Fault::Call { what: name });
                return Value::Opaque;
            }
        };
        match made {
            Some(node) => {
                match &node {
                    Node::Mapping(entries) => self.copied(entries.len()),
                    Node::Sequence(items) | Node::Set(items) => self.copied(items.len()),
                    _ => {}
                }
                self.node(node)
            }
            None => {
                self.fault(Fault::Call { what: format!("{name} with other arguments") });
                Value::Opaque
            }
        }
    }

    /// Returns a value that is a tensor, supported or not.
    fn tensor(&self, value: Value) -> Option<Node> {
        match self.nodes.get(value)? {
            tensor @ (Node::Tensor(_) | Node::Unreadable(_)) => Some(tensor.clone()),
            _ => None,
        }
    }

    /// The items of a list, tuple or set that a call of its class creates.
    fn called_items(&self, arguments: &[Value]) -> Option<Vec<Value>> {
        match arguments {
            [] => Some(Vec::new()),
            [items] => match self.nodes.get(*items)? {
                Node::Sequence(items) | Node::Set(items) => Some(items.clone()),
                // Characters or keys, which hold no tensors.
                _ => None,
            },
            _ => None,
        }
    }

    /// The entries of a dictionary that a call of its class creates.
    fn entries(&self, of: DictionaryClass, arguments: &[Value]) -> Option<Vec<(Value, Value)>> {
        let arguments = match (of, arguments) {
            (DictionaryClass::Defaults, [_, rest @ ..]) => rest,
            _ => arguments,
        };
        let [list] = arguments else { return arguments.is_empty().then(Vec::new) };
        if let Some(Node::Mapping(pairs)) = self.nodes.get(*list) {
            return Some(pairs.clone());
        }
        let pair = |pair: &Value| match self.nodes.items(*pair) {
            Some([key, value]) => Some((*key, *value)),
            _ => None,
        };
        match of {
            DictionaryClass::Counts => None,
            _ => self.nodes.items(*list)?.iter().map(pair).collect(),
        }
    }

    /// Counts copied items, so that a short pickle cannot create many long containers.
    fn copied(&mut self, items: usize) {
        self.copies += items;
        if self.copies > MAX_OPERATIONS {
            self.fault(Fault::TooLarge { what: format!("{MAX_OPERATIONS} items copied") });
        }
    }

    /// Creates a tensor, or returns `None` if the arguments are wrong. Arguments that would modify the tensor are
    /// reported and ignored.
    fn rebuild(&mut self, how: Rebuild, arguments: &[Value], depth: usize) -> Option<Node> {
        match (how, arguments) {
            (Rebuild::Bare, [_, _, _, _]) => self.view(arguments, None),
            (Rebuild::Tensor, [.., hooks]) if arguments.len() == 6 => {
                self.report_state(&[(*hooks, "it has hooks")]);
                self.view(arguments, None)
            }
            (Rebuild::Tensor, [.., hooks, notes]) if arguments.len() == 7 => {
                self.report_state(&[(*hooks, "it has hooks"), (*notes, METADATA)]);
                self.view(arguments, None)
            }
            (Rebuild::TypedTensor, [.., hooks, dtype]) if arguments.len() == 7 => {
                self.report_state(&[(*hooks, "it has hooks")]);
                let dtype = self.dtype(*dtype)?;
                self.view(arguments, Some(dtype))
            }
            (Rebuild::TypedTensor, [.., hooks, dtype, notes]) if arguments.len() == 8 => {
                self.report_state(&[(*hooks, "it has hooks"), (*notes, METADATA)]);
                let dtype = self.dtype(*dtype)?;
                self.view(arguments, Some(dtype))
            }
            (Rebuild::Parameter, [tensor, _, hooks]) => {
                self.report_state(&[(*hooks, "it has hooks")]);
                self.tensor(*tensor)
            }
            (Rebuild::ParameterWithState, [tensor, _, hooks, state]) => {
                self.report_state(&[(*hooks, "it has hooks"), (*state, STATE)]);
                self.tensor(*tensor)
            }
            (Rebuild::Converted, [tensor, dtype, _, _]) => {
                let dtype = self.dtype(*dtype)?;
                let tensor = self.tensor(*tensor)?;
                Some(match &tensor {
                    Node::Tensor(view) if view.element_type() != dtype => {
                        Node::Unreadable("a tensor with a conversion to another type".into())
                    }
                    _ => tensor,
                })
            }
            (Rebuild::ByType, [function, class, inner, state]) => {
                let Node::Global(function) = self.nodes.get(*function)? else { return None };
                let function = function.0;
                match self.nodes.get(*class) {
                    Some(Node::Global(class))
                        if matches!(class.0, AllowedGlobal::TensorClass { .. }) => {}
                    // A forbidden class was reported.
                    None if *class == Value::Opaque => {}
                    _ => return None,
                }
                // A state does not matter for an unsupported tensor.
                if !matches!(function, AllowedGlobal::Unreadable(_)) {
                    self.report_state(&[(*state, STATE)]);
                }
                match function {
                    // These functions are never nested.
                    AllowedGlobal::Rebuild(how) if depth == 0 => {
                        let inner: Vec<Value> =
                            self.nodes.items(*inner)?.iter().take(9).copied().collect();
                        self.rebuild(how, &inner, depth + 1)
                    }
                    AllowedGlobal::Unreadable(kind) => {
                        Some(Node::Unreadable(self.kind(kind, Some(*class))))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Describes an unsupported tensor, with its class if it is known.
    fn kind(&self, kind: &'static str, class: Option<Value>) -> Cow<'static, str> {
        match class.and_then(|class| self.nodes.get(class)) {
            Some(Node::Global(class)) if matches!(class.0, AllowedGlobal::TensorClass { .. }) => {
                format!("{kind}, {}", class.1).into()
            }
            _ => kind.into(),
        }
    }

    /// Reports the arguments that are not empty and would modify a tensor.
    fn report_state(&mut self, parts: &[(Value, &'static str)]) {
        for (part, what) in parts {
            if !self.is_empty(*part) {
                self.fault(Fault::TensorState { what });
            }
        }
    }

    /// Whether a state is empty: `None`, an empty dictionary, or a pair of these.
    fn is_empty(&self, state: Value) -> bool {
        let is_nothing = |value: &Value| match self.nodes.get(*value) {
            Some(Node::Mapping(entries)) => entries.is_empty(),
            Some(_) => false,
            None => *value == Value::None,
        };
        match self.nodes.items(state) {
            Some(parts @ [_, _]) => parts.iter().all(is_nothing),
            Some(_) => false,
            None => is_nothing(&state),
        }
    }

    fn dtype(&self, value: Value) -> Option<ElementType> {
        match self.nodes.get(value)? {
            Node::Global(global) => match global.0 {
                AllowedGlobal::Dtype(Some(dtype)) => Some(ElementType::Read(dtype)),
                AllowedGlobal::Dtype(None) => Some(ElementType::Named(global.1.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    /// Creates a tensor that is a view of a storage.
    fn view(&self, arguments: &[Value], dtype: Option<ElementType>) -> Option<Node> {
        let [storage, offset, shape, stride, ..] = arguments else { return None };
        let Node::Storage(storage) = self.nodes.get(*storage)? else { return None };
        let Value::Int(offset) = *offset else { return None };
        let dimensions = self.nodes.items(*shape)?.len();
        if dimensions > MAX_DIMENSIONS || self.nodes.items(*stride)?.len() != dimensions {
            return None;
        }
        let (shape, stride) = (self.nodes.integers(*shape)?, self.nodes.integers(*stride)?);
        let storage = Arc::clone(storage);
        Some(Node::Tensor(Arc::new(View { storage, dtype, offset, shape, stride })))
    }

    /// Sets the state of an object. This is harmless for plain data and sets the attributes of dictionaries.
    fn build(&mut self, object: Value, state: Value) {
        let what = match self.nodes.get(object) {
            None if object == Value::Opaque => return,
            Some(Node::Object | Node::Scalar) => return,
            Some(Node::Mapping(_)) => match self.nodes.get(state) {
                Some(Node::Mapping(notes)) if self.are_notes(notes) => {
                    self.notes.extend(notes.iter().map(|(_, note)| *note));
                    return;
                }
                _ => "a dictionary to something other than attributes".to_owned(),
            },
            Some(Node::Tensor(_) | Node::Unreadable(_)) => {
                return self.fault(Fault::TensorState { what: "it sets its state" });
            }
            Some(Node::Global(global)) => format!("{}, a function or class", global.1),
            Some(Node::Storage(_)) => "a storage".to_owned(),
            _ => "a plain value".to_owned(),
        };
        self.fault(Fault::Build { what });
    }

    /// Whether these attributes of a dictionary do not replace its methods.
    fn are_notes(&self, notes: &[(Value, Value)]) -> bool {
        /// The methods of `OrderedDict` and `Counter`.
        const METHODS: &[&str] = &[
            "clear",
            "copy",
            "elements",
            "fromkeys",
            "get",
            "items",
            "keys",
            "most_common",
            "move_to_end",
            "pop",
            "popitem",
            "setdefault",
            "subtract",
            "total",
            "update",
            "values",
        ];
        notes.iter().all(|(name, _)| {
            self.nodes
                .text(*name)
                .is_some_and(|name| !name.starts_with("__") && !METHODS.contains(&name))
        })
    }

    /// Parses the storage that a persistent id refers to.
    fn storage(&self, id: Value) -> Option<StorageReference> {
        let [kind, class, key, location, elements, rest @ ..] = self.nodes.items(id)? else {
            return None;
        };
        if self.nodes.text(*kind)? != "storage" {
            return None;
        }
        // Storages on the device `meta` have no data.
        if self.nodes.text(*location)? == "meta" {
            return None;
        }
        let Node::Global(global) = self.nodes.get(*class)? else { return None };
        let AllowedGlobal::Storage(kind) = global.0 else { return None };
        let Value::Int(elements) = *elements else { return None };
        let name = |value| self.nodes.text(value).filter(|key| key.len() <= MAX_KEY);
        let key = name(*key)?.to_owned();
        let (part, view) = match rest {
            [] | [Value::None] => (None, None),
            // The key of the view, its offset and its number of elements.
            [view] => match self.nodes.items(*view)? {
                [part, Value::Int(offset), Value::Int(count)] => {
                    (Some(name(*part)?.to_owned()), Some((*offset, *count)))
                }
                _ => return None,
            },
            _ => return None,
        };
        let class = global.1.clone();
        Some(StorageReference { storage: Storage { key, kind, class, elements, view }, part })
    }

    /// Compares a description of a storage with the first one, which a loader keeps.
    fn compare(&mut self, referred: &StorageReference) {
        let Storage { key, kind, elements, view, .. } = &referred.storage;
        let first = self.storages.entry(key.clone()).or_insert((*kind, *elements));
        if *first != (*kind, *elements) {
            self.conflicts.insert(key.clone());
        }
        let mut conflict = self.views.contains_key(key).then(|| key.clone());
        if let (Some(part), Some((offset, count))) = (&referred.part, view) {
            let described = (key.clone(), *kind, *offset, *count);
            let first = self.views.entry(part.clone()).or_insert_with(|| described.clone());
            if *first != described || self.storages.contains_key(part) {
                conflict = Some(part.clone());
            }
        }
        if let Some(key) = conflict {
            self.fault(Fault::ViewKey { key });
        }
    }
}

/// A storage, and the key of the part that is used, if any.
struct StorageReference {
    storage: Storage,
    part: Option<String>,
}

/// The kind of a tensor that a custom class creates.
const CUSTOM_CLASS: &str = "a tensor that a custom class creates";
/// Metadata can conjugate or negate a tensor.
const METADATA: &str = "it has metadata, which changes its values";
/// A state sets attributes, which include the data.
const STATE: &str = "it has a state, which may replace its data";

/// Cuts a name for messages.
fn clipped(name: &str) -> String {
    const MAX_CHARS: usize = 256;
    name.chars().take(MAX_CHARS).collect()
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Fault> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(malformed("a key has no value")),
    }
}

impl View {
    /// The element type of the tensor.
    pub fn element_type(&self) -> ElementType {
        match (&self.dtype, self.storage.kind) {
            (Some(dtype), _) => dtype.clone(),
            (None, StorageType::Typed(dtype)) => ElementType::Read(dtype),
            // Loaders treat an untyped storage as bytes.
            (None, StorageType::Untyped) => ElementType::Read(Dtype::U8),
            (None, StorageType::Refused(_)) => {
                let class = &self.storage.class;
                ElementType::Named(refused_type(class).unwrap_or(class).to_owned())
            }
        }
    }
}
