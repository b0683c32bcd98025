//! The machine: a stack, a memo and the larger values. It makes data and executes nothing.

use super::error::{Fault, MAX_OPERATIONS};
use super::globals::{Known, Rebuild, known};
use super::operation::{Operation, Reader};
use super::value::{Node, Nodes, Storage, StorageType, Value, View};
use std::collections::{HashMap, HashSet};

/// Most names that are not allowed of which each is told.
const MAX_GLOBALS: usize = 256;
/// Most faults besides names.
const MAX_FAULTS: usize = 64;
/// Most dimensions of a tensor; PyTorch has 64.
const MAX_DIMENSIONS: usize = 64;

/// Longest name of a storage; they are numbers.
const LONGEST_KEY: usize = 256;

/// What a pickle was found to be.
#[derive(Debug)]
pub struct Unpickled {
    /// The value it makes; `None`: it is no whole pickle.
    pub value: Option<Value>,
    /// Larger values.
    pub nodes: Nodes,
    /// What is wrong, with the bytes of the pickle that say so.
    pub faults: Vec<(Fault, [usize; 2])>,
    /// Where it ends: behind its last operation.
    pub end: usize,
}

/// Reads the pickle that `bytes` begin with.
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
        // Faults that end it are the last ones; the others are told and passed over.
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
            if ends || machine.told.len() < MAX_FAULTS + MAX_GLOBALS {
                machine.told.push((fault, place));
            }
        }
        if value.is_some() || machine.ended {
            break;
        }
    }
    let value = value.filter(|_| !machine.ended);
    Unpickled { value, nodes: machine.nodes, faults: machine.told, end: reader.at }
}

enum Step {
    On,
    Done(Value),
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    nodes: Nodes,
    /// Of the operation at hand.
    faults: Vec<Fault>,
    told: Vec<(Fault, [usize; 2])>,
    /// Names that are not allowed and were told of.
    globals: HashSet<(String, String)>,
    /// Items of containers that were made of other containers.
    copies: usize,
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

    /// The top of the stack, which may not lie below a mark.
    fn pop(&mut self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(malformed("it takes more from the stack than is there"));
        }
        self.stack.pop().ok_or(malformed("it takes more from the stack than is there"))
    }

    fn top(&self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or(malformed("it takes more from the stack than is there"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or(malformed("it goes back to a mark that is not there"))?;
        Ok(self.stack.split_off(mark))
    }

    fn perform(&mut self, operation: Operation<'_>) -> Result<Step, Fault> {
        match operation {
            Operation::Nothing => {}
            Operation::Stop => return Ok(Step::Done(self.pop()?)),
            Operation::Mark => self.marks.push(self.stack.len()),
            Operation::Pop => {
                // A mark is on the stack, too.
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
            Operation::EmptyList | Operation::EmptyTuple | Operation::EmptySet => {
                self.push_node(Node::Sequence(Vec::new()));
            }
            Operation::EmptyDict => self.push_node(Node::Mapping(Vec::new())),
            Operation::TupleOf(count) => {
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push_node(Node::Sequence(items));
            }
            Operation::Tuple | Operation::List | Operation::FrozenSet => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Sequence(items));
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
            Operation::Appends | Operation::AddItems => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
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
                let made = self.call(class, &arguments);
                self.stack.push(made);
            }
            Operation::Object => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err(malformed("it makes an object of no class"));
                }
                let class = arguments.remove(0);
                let made = self.call(class, &arguments);
                self.stack.push(made);
            }
            Operation::NewObjectEx => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = self.apply(class, arguments);
                self.stack.push(made);
            }
            Operation::Reduce | Operation::NewObject => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let made = self.apply(class, arguments);
                self.stack.push(made);
            }
            Operation::Build => {
                self.pop()?;
                let object = self.top()?;
                self.build(object);
            }
            Operation::PersistentText => {
                self.fault(Fault::PersistentId);
                self.stack.push(Value::Opaque);
            }
            Operation::Persistent => {
                let id = self.pop()?;
                let storage = match self.storage(id) {
                    Some(storage) => self.node(Node::Storage(Box::new(storage))),
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
                let value =
                    value.ok_or(malformed("it takes something from the memo that is not there"))?;
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

    /// Adds items to the list or set at the top.
    fn extend(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let list = self.top()?;
        match list {
            Value::Node(at) => match self.nodes.0.get_mut(at as usize) {
                Some(Node::Sequence(all)) => all.extend(items),
                Some(Node::Object) => {}
                _ => return Err(malformed("it adds items to what is no list")),
            },
            Value::Opaque => {}
            _ => return Err(malformed("it adds items to what is no list")),
        }
        Ok(())
    }

    /// Adds entries to the dictionary at the top.
    fn set(&mut self, entries: Vec<(Value, Value)>) -> Result<(), Fault> {
        let dict = self.top()?;
        match dict {
            Value::Node(at) => match self.nodes.0.get_mut(at as usize) {
                Some(Node::Mapping(all)) => all.extend(entries),
                Some(Node::Object) => {}
                _ => return Err(malformed("it adds entries to what is no dictionary")),
            },
            Value::Opaque => {}
            _ => return Err(malformed("it adds entries to what is no dictionary")),
        }
        Ok(())
    }

    /// What a name stands for; one that is not allowed is told of once.
    fn global(&mut self, module: &str, name: &str) -> Value {
        if let Some(known) = known(module, name) {
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

    /// Calls something with the arguments in a tuple.
    fn apply(&mut self, callee: Value, arguments: Value) -> Value {
        // No function that is allowed looks at more of them.
        const LOOKED_AT: usize = 8;
        match self.nodes.items(arguments) {
            Some(items) => {
                let items: Vec<Value> = items.iter().take(LOOKED_AT).copied().collect();
                self.call(callee, &items)
            }
            // Nothing that is allowed gets its arguments from elsewhere.
            None => self.call(callee, &[]),
        }
    }

    fn call(&mut self, callee: Value, arguments: &[Value]) -> Value {
        if callee == Value::Opaque {
            // What is not allowed was told of; what comes of it is not known.
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
        match known {
            Known::Rebuild(how) => match self.rebuild(how, arguments, 0) {
                Some(node) => self.node(node),
                None => {
                    self.fault(Fault::Call { what: format!("{name} with other arguments") });
                    Value::Opaque
                }
            },
            Known::Unreadable(kind) => self.node(Node::Unreadable(kind)),
            Known::Mapping => {
                let pairs = arguments.first().and_then(|first| self.listed_pairs(*first));
                let pairs = pairs.unwrap_or_default();
                self.copied(pairs.len());
                self.node(Node::Mapping(pairs))
            }
            Known::Sequence => {
                let items = arguments.first().and_then(|first| self.nodes.items(*first));
                let items = items.map(<[Value]>::to_vec).unwrap_or_default();
                self.copied(items.len());
                self.node(Node::Sequence(items))
            }
            Known::Plain => self.node(Node::Object),
            Known::Storage(_) | Known::Dtype(_) => {
                self.fault(Fault::Call { what: name });
                Value::Opaque
            }
        }
    }

    /// Containers made of others are copies: a short pickle must not make many long ones.
    fn copied(&mut self, items: usize) {
        self.copies += items;
        if self.copies > MAX_OPERATIONS {
            self.fault(Fault::TooLarge { what: format!("{MAX_OPERATIONS} items copied") });
        }
    }

    /// The entries of a dictionary that are given as a list of pairs.
    fn listed_pairs(&self, list: Value) -> Option<Vec<(Value, Value)>> {
        if let Some(Node::Mapping(pairs)) = self.nodes.get(list) {
            return Some(pairs.clone());
        }
        let pair = |pair: &Value| match self.nodes.items(*pair) {
            Some([key, value]) => Some((*key, *value)),
            _ => None,
        };
        self.nodes.items(list)?.iter().map(pair).collect()
    }

    /// Puts a tensor together.
    fn rebuild(&self, how: Rebuild, arguments: &[Value], depth: usize) -> Option<Node> {
        match how {
            Rebuild::Tensor | Rebuild::TypedTensor => {
                let [storage, offset, shape, stride, ..] = arguments else { return None };
                let Node::Storage(storage) = self.nodes.get(*storage)? else { return None };
                let Value::Int(offset) = *offset else { return None };
                let dimensions = self.nodes.items(*shape)?.len();
                if dimensions > MAX_DIMENSIONS || self.nodes.items(*stride)?.len() != dimensions {
                    return None;
                }
                let (shape, stride) = (self.nodes.integers(*shape)?, self.nodes.integers(*stride)?);
                let dtype = match how {
                    Rebuild::TypedTensor => match self.nodes.get(*arguments.get(6)?)? {
                        Node::Global(global) => match global.0 {
                            Known::Dtype(dtype) => Some(dtype),
                            _ => return None,
                        },
                        _ => return None,
                    },
                    _ => None,
                };
                let storage = (**storage).clone();
                Some(Node::Tensor(Box::new(View { storage, dtype, offset, shape, stride })))
            }
            Rebuild::Wrapped => match self.nodes.get(*arguments.first()?)? {
                tensor @ (Node::Tensor(_) | Node::Unreadable(_)) => Some(tensor.clone()),
                _ => None,
            },
            Rebuild::ByType => {
                let [function, _, inner, ..] = arguments else { return None };
                let Node::Global(function) = self.nodes.get(*function)? else { return None };
                match function.0 {
                    // No function of these is written around itself.
                    Known::Rebuild(how) if depth == 0 => {
                        self.rebuild(how, self.nodes.items(*inner)?, depth + 1)
                    }
                    Known::Unreadable(kind) => Some(Node::Unreadable(kind)),
                    _ => None,
                }
            }
        }
    }

    /// Sets the state of an object: harmless for plain data and for dictionaries, whose state is notes.
    fn build(&mut self, object: Value) {
        let what = match self.nodes.get(object) {
            None if object == Value::Opaque => return,
            Some(Node::Mapping(_) | Node::Tensor(_) | Node::Object) => return,
            Some(Node::Unreadable(_)) => return,
            Some(Node::Global(global)) => format!("{}, a function or class", global.1),
            Some(Node::Storage(_)) => "a storage".to_owned(),
            _ => "a plain value".to_owned(),
        };
        self.fault(Fault::Build { what });
    }

    /// The storage that a persistent id stands for.
    fn storage(&self, id: Value) -> Option<Storage> {
        let [kind, class, key, _location, elements, rest @ ..] = self.nodes.items(id)? else {
            return None;
        };
        if self.nodes.text(*kind)? != "storage" {
            return None;
        }
        let Node::Global(global) = self.nodes.get(*class)? else { return None };
        let Known::Storage(kind) = global.0 else { return None };
        let Value::Int(elements) = *elements else { return None };
        let key = match *key {
            Value::Int(key) => key.to_string(),
            key => self.nodes.text(key).filter(|key| key.len() <= LONGEST_KEY)?.to_owned(),
        };
        let view = match rest {
            [] | [Value::None] => None,
            // The key of the view, where it begins and how many elements it has.
            [view] => match self.nodes.items(*view)? {
                [_, Value::Int(offset), Value::Int(count)] => Some((*offset, *count)),
                _ => return None,
            },
            _ => return None,
        };
        let class = global.1.clone();
        Some(Storage { key, kind, class, elements, view })
    }
}

/// Names are told of; a very long one is no name.
fn clipped(name: &str) -> String {
    const LONGEST: usize = 256;
    name.chars().take(LONGEST).collect()
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Fault> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(malformed("a key has no value")),
    }
}

impl StorageType {
    /// The element type, if it has one that is read.
    pub fn dtype(self) -> Option<crate::dtype::Dtype> {
        match self {
            StorageType::Typed(dtype) => Some(dtype),
            _ => None,
        }
    }
}
