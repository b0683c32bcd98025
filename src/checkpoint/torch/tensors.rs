//! The tensors in what a pickle makes: named by the keys that lead to them.

use crate::checkpoint::pickle::{Fault, Node, Nodes, Unpickled, Value, View};
use std::collections::HashSet;

/// How deep dictionaries and lists may be nested.
const MAX_DEPTH: usize = 64;
/// How many values are looked at, one that is used again counted again.
const MAX_VALUES: usize = 4_000_000;
/// Most bytes of all names.
const MAX_NAMES: usize = 128 << 20;
/// Longest name; a longer one is no name.
const MAX_NAME: usize = 64 << 10;

/// The tensors of a pickle, in the order in which a reader meets them.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub views: Vec<(String, View)>,
    /// Those that are not read, and what they are.
    pub unreadable: Vec<(String, &'static str)>,
    pub faults: Vec<Fault>,
    pub too_deep: bool,
}

struct Walk<'a> {
    nodes: &'a Nodes,
    found: Tensors,
    values: usize,
    names: usize,
    /// Dictionaries and keys that were told of.
    taken: HashSet<String>,
    path: String,
}

/// Collects the tensors of a pickle.
pub(super) fn collect(unpickled: &Unpickled) -> Tensors {
    let mut walk = Walk {
        nodes: &unpickled.nodes,
        found: Tensors::default(),
        values: 0,
        names: 0,
        taken: HashSet::new(),
        path: String::new(),
    };
    if let Some(value) = unpickled.value {
        walk.visit(value, 0);
    }
    walk.found
}

impl Walk<'_> {
    fn visit(&mut self, value: Value, depth: usize) {
        let Some(node) = self.nodes.get(value) else { return };
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES || self.path.len() > MAX_NAME {
            self.found.too_deep = true;
            return;
        }
        match node {
            Node::Tensor(view) => {
                if let Some(name) = self.name() {
                    self.found.views.push((name, (**view).clone()));
                }
            }
            Node::Unreadable(kind) => {
                if let Some(name) = self.name() {
                    self.found.unreadable.push((name, kind));
                }
            }
            Node::Sequence(items) => {
                // A long list that is used again and again must cost something, too.
                self.values += items.len() / 16;
                for (at, item) in items.iter().enumerate() {
                    // Long lists of numbers: nothing is in them.
                    if matches!(item, Value::Node(_)) {
                        self.enter(&at.to_string(), *item, depth);
                    }
                }
            }
            Node::Mapping(entries) => self.mapping(entries, depth),
            _ => {}
        }
    }

    fn mapping(&mut self, entries: &[(Value, Value)], depth: usize) {
        let mut last: HashSet<Key<'_>> = HashSet::new();
        // As in Python, the last of two with one key is the one that stays.
        let mut kept: Vec<(String, Value)> = Vec::new();
        for (key, value) in entries.iter().rev() {
            let key = match (*key, self.nodes.text(*key)) {
                (_, Some(text)) => Key::Text(text),
                (Value::Int(int), _) => Key::Int(int),
                _ => continue,
            };
            if !last.insert(key) {
                let key = key.to_string();
                if self.found.faults.len() < 64 {
                    self.found.faults.push(Fault::DuplicateKey { key });
                }
                continue;
            }
            if matches!(value, Value::Node(_)) {
                kept.push((key.to_string(), *value));
            }
            self.values += 1;
            if self.values > MAX_VALUES {
                self.found.too_deep = true;
                return;
            }
        }
        for (key, value) in kept.into_iter().rev() {
            self.enter(&key, value, depth);
        }
    }

    fn enter(&mut self, key: &str, value: Value, depth: usize) {
        if self.found.too_deep {
            return;
        }
        let before = self.path.len();
        if depth > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.visit(value, depth + 1);
        self.path.truncate(before);
    }

    /// A name of its own for the tensor at hand.
    fn name(&mut self) -> Option<String> {
        let plain = if self.path.is_empty() { "tensor" } else { &self.path };
        self.names += plain.len();
        if self.names > MAX_NAMES {
            self.found.too_deep = true;
            return None;
        }
        let mut name = plain.to_owned();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            // Keys that hold dots, or several tensors behind one name: a few at most.
            if number > 100 {
                self.found.too_deep = true;
                return None;
            }
            name = format!("{plain}~{number}");
        }
        Some(name)
    }
}

/// A key that tensors may be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Text(&'a str),
    Int(i64),
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Text(text) => f.write_str(text),
            Key::Int(int) => int.fmt(f),
        }
    }
}
