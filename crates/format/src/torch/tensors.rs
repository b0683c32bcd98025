//! The tensors in what a pickle makes: named by the keys that lead to them.

use crate::pickle::{Fault, Node, Nodes, Unpickled, Value, View};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How deep dictionaries and lists may be nested.
const MAX_DEPTH: usize = 64;
/// How many values are looked at, one that is used again counted again.
const MAX_VALUES: usize = 4_000_000;
/// Most bytes of all names.
const MAX_NAMES: usize = 128 << 20;
/// Longest name; a longer one is no name.
const MAX_NAME: usize = 64 << 10;
/// Most faults that are kept.
const MAX_FAULTS: usize = 64;
/// A tensor takes at least as many bytes of the structure of its file, beyond the first few.
const LEAST_BYTES: u64 = 16;
const FEW: u64 = 4096;

/// The tensors of a pickle, in the order in which a reader meets them.
#[derive(Debug, Default)]
pub(super) struct CollectedTensors {
    pub views: Vec<(String, Arc<View>)>,
    /// Those that are not read, and what they are.
    pub unreadable: Vec<(String, Cow<'static, str>)>,
    pub faults: Vec<Fault>,
    pub too_deep: bool,
    /// Whether there are tensors that no name leads to.
    pub hidden: bool,
}

struct ObjectWalk<'a> {
    nodes: &'a Nodes,
    found: CollectedTensors,
    values: usize,
    names: usize,
    /// Most tensors there may be.
    most: usize,
    taken: HashSet<String>,
    path: String,
    /// By number of the node: what was found to hold no tensor.
    bare: Vec<bool>,
}

/// Collects the tensors of a pickle that takes as many bytes of its file.
pub(super) fn collect(unpickled: &Unpickled, stored: u64) -> CollectedTensors {
    let most = FEW.max(stored / LEAST_BYTES);
    let mut walk = ObjectWalk {
        nodes: &unpickled.nodes,
        found: CollectedTensors::default(),
        values: 0,
        names: 0,
        most: usize::try_from(most).unwrap_or(usize::MAX),
        taken: HashSet::new(),
        path: String::new(),
        bare: Vec::new(),
    };
    if let Some(value) = unpickled.value {
        walk.visit(value, 0);
        if unpickled.notes.iter().any(|note| walk.holds(*note)) {
            walk.odd("in the notes of a dictionary");
        }
    }
    walk.found
}

impl ObjectWalk<'_> {
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
                    self.found.views.push((name, Arc::clone(view)));
                }
            }
            Node::Unreadable(kind) => {
                if let Some(name) = self.name() {
                    self.found.unreadable.push((name, kind.clone()));
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
            Node::Mapping(entries) => self.mapping(value, entries, depth),
            Node::Set(_) if self.holds(value) => self.odd("in a set"),
            _ => {}
        }
    }

    fn mapping(&mut self, mapping: Value, entries: &[(Value, Value)], depth: usize) {
        // As in Python, the last of two with one key is the one that stays.
        let nodes = self.nodes;
        let mut last: HashMap<DictionaryKey<'_>, usize> = HashMap::new();
        let mut kept: Vec<(DictionaryKey<'_>, Value, bool)> = Vec::new();
        for (key, value) in entries {
            self.values += 1;
            if self.values > MAX_VALUES {
                self.found.too_deep = true;
                return;
            }
            let Some((key, plain)) = key_of(nodes, *key) else {
                self.odd_entry(mapping, *key, *value);
                continue;
            };
            match last.get(&key).and_then(|at| kept.get_mut(*at)) {
                Some((_, stays, is_plain)) => {
                    *stays = *value;
                    *is_plain &= plain;
                    self.fault(Fault::DuplicateKey { key: key.to_string() });
                }
                None => {
                    last.insert(key, kept.len());
                    kept.push((key, *value, plain));
                }
            }
        }
        for (key, value, plain) in kept {
            if !matches!(value, Value::Node(_)) {
                continue;
            }
            if plain {
                self.enter(&key.to_string(), value, depth);
            } else if self.holds(value) {
                self.odd(&format!("under a key that equals {key} and is no integer"));
            }
        }
    }

    /// An entry under another key: nothing may be found by it, nor overridden.
    fn odd_entry(&mut self, mapping: Value, key: Value, value: Value) {
        if self.found.faults.len() >= MAX_FAULTS {
            return;
        }
        if self.holds(key) {
            self.odd("in the key of a dictionary");
        } else if self.holds(value) {
            let what = match (key, self.nodes.get(key)) {
                (Value::None, _) => "None",
                (_, Some(Node::Sequence(_))) => "a tuple",
                _ => "something",
            };
            self.odd(&format!("under {what} as a key, which is no text or integer"));
        } else if matches!(self.nodes.get(key), Some(Node::Scalar)) && self.holds(mapping) {
            self.odd("beside a key that a call makes, which may equal any other,");
        }
    }

    fn odd(&mut self, what: &str) {
        self.found.hidden = true;
        self.fault(Fault::OddKey { what: what.to_owned() });
    }

    fn fault(&mut self, fault: Fault) {
        if self.found.faults.len() < MAX_FAULTS {
            self.found.faults.push(fault);
        }
    }

    /// Whether there is a tensor in a value.
    fn holds(&mut self, value: Value) -> bool {
        let Value::Node(first) = value else { return false };
        if self.bare.is_empty() {
            self.bare = vec![false; self.nodes.0.len()];
        }
        let (mut seen, mut waiting) = (Vec::new(), vec![first]);
        while let Some(at) = waiting.pop() {
            match self.bare.get_mut(at as usize) {
                Some(bare) if !*bare => *bare = true,
                _ => continue,
            }
            seen.push(at);
            let mut enter = |value: &Value| {
                if let Value::Node(at) = value {
                    waiting.push(*at);
                }
            };
            match self.nodes.0.get(at as usize) {
                Some(Node::Tensor(_) | Node::Unreadable(_)) => {
                    // What was passed on the way was not looked at in full.
                    for at in seen {
                        self.bare[at as usize] = false;
                    }
                    return true;
                }
                Some(Node::Sequence(items) | Node::Set(items)) => items.iter().for_each(enter),
                Some(Node::Mapping(entries)) => entries.iter().for_each(|(key, value)| {
                    enter(key);
                    enter(value);
                }),
                _ => {}
            }
        }
        false
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
        let tensors = self.found.views.len() + self.found.unreadable.len();
        if self.names > MAX_NAMES || tensors >= self.most {
            self.found.too_deep = true;
            return None;
        }
        let plain = plain.to_owned();
        if self.taken.insert(plain.clone()) {
            return Some(plain);
        }
        // Keys that hold dots, or two that are written alike.
        self.fault(Fault::AmbiguousName { name: plain.clone() });
        for number in 2..=100 {
            let name = format!("{plain}~{number}");
            if self.taken.insert(name.clone()) {
                return Some(name);
            }
        }
        self.found.too_deep = true;
        None
    }
}

/// A key that tensors may be found by, and whether it is what it is compared as: in Python `True` and `1.0`
/// equal `1`.
fn key_of(nodes: &Nodes, value: Value) -> Option<(DictionaryKey<'_>, bool)> {
    match value {
        Value::Int(int) => Some((DictionaryKey::Int(int), true)),
        Value::Bool(bool) => Some((DictionaryKey::Int(bool.into()), false)),
        // Below 2^63, where what is lost is nothing.
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 9.2e18 => {
            Some((DictionaryKey::Int(float as i64), false))
        }
        other => nodes.text(other).map(|text| (DictionaryKey::Text(text), true)),
    }
}

/// A key that tensors may be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DictionaryKey<'a> {
    Text(&'a str),
    Int(i64),
}

impl std::fmt::Display for DictionaryKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DictionaryKey::Text(text) => f.write_str(text),
            DictionaryKey::Int(int) => int.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::unpickle;

    /// Operations that make one tensor and keep it in the memo, at 9.
    const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
        X\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\x00K\x06\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRq\t0";

    /// What is found of the value that these operations make; `T` stands for the tensor.
    fn found(operations: &[u8]) -> (Vec<String>, Vec<&'static str>) {
        let mut bytes = b"\x80\x02".to_vec();
        bytes.extend_from_slice(TENSOR);
        for byte in operations {
            match byte {
                b'T' => bytes.extend_from_slice(b"h\t"),
                byte => bytes.push(*byte),
            }
        }
        bytes.push(b'.');
        let unpickled = unpickle(&bytes);
        let faults = unpickled.faults.iter().map(|(fault, _)| fault);
        let tensors = collect(&unpickled, bytes.len() as u64);
        let rules = faults.chain(&tensors.faults).map(|fault| fault.rule().0).collect();
        (tensors.views.into_iter().map(|(name, _)| name).collect(), rules)
    }

    #[test]
    fn keys_are_those_of_python() {
        const TWICE: &str = "format/pickle-duplicate-key";
        const ODD: &str = "format/torch-odd-key";
        for (operations, names, rules) in [
            (&b"}(X\x01\0\0\0aTK\x07Tu"[..], &["a", "7"][..], &[][..]),
            // The last value of a key stays.
            (b"}(X\x01\0\0\0aTX\x01\0\0\0aNu", &[], &[TWICE]),
            (b"}(K\x01TK\x01Nu", &[], &[TWICE]),
            // 1, True and 1.0 are one key, whichever comes first.
            (b"}(K\x01T\x88Nu", &[], &[TWICE]),
            (b"}(K\x01TF1.0\nNu", &[], &[TWICE]),
            (b"}(\x88NK\x01Tu", &[], &[TWICE, ODD]),
            (b"}(G\x3f\xf0\0\0\0\0\0\0Tu", &[], &[ODD]),
            (b"}(F1.5\nTu", &[], &[ODD]),
            (b"}(NTu", &[], &[ODD]),
            (b"}(K\x01\x85Tu", &[], &[ODD]),
            (b"}(TNu", &[], &[ODD]),
            (b"}(NN\x88K\x05u", &[], &[]),
            // A key that a call makes may be one of the others.
            (b"}(X\x01\0\0\0aTc__builtin__\nstr\nX\x01\0\0\0a\x85RNu", &["a"], &[ODD]),
            (b"}(X\x01\0\0\0aNc__builtin__\nstr\nX\x01\0\0\0a\x85RNu", &[], &[]),
            (
                b"}(X\x01\0\0\0aTc_codecs\nencode\nX\x01\0\0\0nX\x05\0\0\0rot13\x86RNu",
                &["a"],
                &[ODD],
            ),
            // Bytes equal no text, complex numbers some others.
            (b"}(X\x01\0\0\0aTc_codecs\nencode\nX\x01\0\0\0aX\x06\0\0\0latin1\x86RNu", &["a"], &[]),
            (b"}(K\x01Tc__builtin__\ncomplex\nF1\nF2\n\x86RNu", &["1"], &[]),
            (b"}(K\x01Tc__builtin__\ncomplex\nF1\nF0\n\x86RNu", &[], &[TWICE]),
            // Surrogates by themselves are no text.
            (b"}(X\x03\0\0\0\xed\xa0\x80Tu", &[], &[ODD]),
            (b"c__builtin__\nset\n]Ta\x85R", &[], &[ODD]),
            (b"\x8f(T\x90", &[], &[ODD]),
        ] {
            let expected = (names.iter().map(|n| (*n).to_owned()).collect(), rules.to_vec());
            assert_eq!(found(operations), expected, "{:?}", String::from_utf8_lossy(operations));
        }
    }

    #[test]
    fn names_that_join_to_one_are_told_of() {
        let one = b"}(X\x01\0\0\0a}X\x01\0\0\0bTsX\x03\0\0\0a.bTu";
        assert_eq!(
            found(one),
            (vec!["a.b".to_owned(), "a.b~2".to_owned()], vec!["format/ambiguous-name"])
        );
        let two = b"}(K\x01TX\x01\0\0\x001Tu";
        assert_eq!(
            found(two),
            (vec!["1".to_owned(), "1~2".to_owned()], vec!["format/ambiguous-name"])
        );
    }

    #[test]
    fn dictionaries_are_made_as_python_makes_them() {
        let dict = b"ccollections\nOrderedDict\n";
        let of = |rest: &[u8]| found(&[&dict[..], rest].concat());
        assert_eq!(of(b"]X\x01\0\0\0aT\x86a\x85R").0, ["a"]);
        // An instance that is not set up has no entries.
        assert_eq!(of(b"]X\x01\0\0\0aT\x86a\x85\x81"), (vec![], vec![]));
        assert_eq!(of(b"X\x02\0\0\0ab\x85R").1, ["format/pickle-call"]);
        assert_eq!(of(b"K\x01\x85R").1, ["format/pickle-call"]);
        assert_eq!(of(b"}R").1, ["format/pickle-call"]);
        // What is done to the list later is not done to the dictionary.
        let later = b"]q\x01ccollections\nOrderedDict\nh\x01\x85Rh\x01X\x01\0\0\0aT\x86a0";
        assert_eq!(found(later), (vec![], vec![]));
        // Notes of a module, and what hides in some.
        assert_eq!(of(b")R}X\x09\0\0\0_metadata}sb"), (vec![], vec![]));
        assert_eq!(of(b")R}X\x09\0\0\0_metadataTsb").1, ["format/torch-odd-key"]);
        assert_eq!(of(b")R}X\x05\0\0\0items}sb").1, ["format/pickle-build"]);
        assert_eq!(of(b")RNb").1, ["format/pickle-build"]);
    }

    #[test]
    fn a_short_pickle_lists_no_end_of_tensors() {
        let operations = [b"\x80\x02", TENSOR, b"](", &b"h\t".repeat(5_000), b"e."].concat();
        let unpickled = unpickle(&operations);
        assert!(collect(&unpickled, 100).too_deep);
        assert_eq!(collect(&unpickled, 100_000).views.len(), 5_000);
    }
}
