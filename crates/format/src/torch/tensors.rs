//! Collects the tensors in an unpickled object and names them by the keys that lead to them.

use crate::pickle::{Fault, Node, Nodes, Unpickled, Value, View};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The deepest nesting of dictionaries and lists.
const MAX_DEPTH: usize = 64;
/// The largest number of values that are visited. A value that is used several times counts several times.
const MAX_VALUES: usize = 4_000_000;
/// The largest total size of all names in bytes.
const MAX_NAMES: usize = 128 << 20;
/// The longest name in bytes.
const MAX_NAME: usize = 64 << 10;
/// The largest number of faults that are kept.
const MAX_FAULTS: usize = 64;
/// The smallest number of bytes that a tensor takes in the pickle, if there are more than [`MIN_ALLOWED`] tensors.
const MIN_TENSOR_BYTES: u64 = 16;
/// The number of tensors that are always allowed.
const MIN_ALLOWED: u64 = 4096;

/// The tensors of a pickle in the order of the object.
#[derive(Debug, Default)]
pub(super) struct CollectedTensors {
    pub views: Vec<(String, Arc<View>)>,
    /// The tensors that are not read, with their kinds.
    pub unreadable: Vec<(String, Cow<'static, str>)>,
    pub faults: Vec<Fault>,
    pub too_deep: bool,
    /// Whether there are tensors that have no name.
    pub hidden: bool,
}

struct ObjectWalk<'a> {
    nodes: &'a Nodes,
    collected: CollectedTensors,
    values: usize,
    names: usize,
    /// The largest number of tensors.
    max_tensors: usize,
    taken: HashSet<String>,
    path: String,
    /// Whether a node is known to hold no tensor, by number of the node.
    tensorless: Vec<bool>,
}

/// Collects the tensors of a pickle that takes `stored` bytes of its file.
pub(super) fn collect(unpickled: &Unpickled, stored: u64) -> CollectedTensors {
    let max_tensors = MIN_ALLOWED.max(stored / MIN_TENSOR_BYTES);
    let mut walk = ObjectWalk {
        nodes: &unpickled.nodes,
        collected: CollectedTensors::default(),
        values: 0,
        names: 0,
        max_tensors: usize::try_from(max_tensors).unwrap_or(usize::MAX),
        taken: HashSet::new(),
        path: String::new(),
        tensorless: Vec::new(),
    };
    if let Some(value) = unpickled.value {
        walk.visit(value, 0);
        if unpickled.notes.iter().any(|note| walk.holds(*note)) {
            walk.report_hidden("in the attributes of a dictionary");
        }
    }
    walk.collected
}

impl ObjectWalk<'_> {
    fn visit(&mut self, value: Value, depth: usize) {
        let Some(node) = self.nodes.get(value) else { return };
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES || self.path.len() > MAX_NAME {
            self.collected.too_deep = true;
            return;
        }
        match node {
            Node::Tensor(view) => {
                if let Some(name) = self.name() {
                    self.collected.views.push((name, Arc::clone(view)));
                }
            }
            Node::Unreadable(kind) => {
                if let Some(name) = self.name() {
                    self.collected.unreadable.push((name, kind.clone()));
                }
            }
            Node::Sequence(items) => {
                // A long list that is used many times must count as well.
                self.values += items.len() / 16;
                for (at, item) in items.iter().enumerate() {
                    // Skip the items of long lists of numbers.
                    if matches!(item, Value::Node(_)) {
                        self.enter(&at.to_string(), *item, depth);
                    }
                }
            }
            Node::Mapping(entries) => self.mapping(value, entries, depth),
            Node::Set(_) if self.holds(value) => self.report_hidden("in a set"),
            _ => {}
        }
    }

    fn mapping(&mut self, mapping: Value, entries: &[(Value, Value)], depth: usize) {
        // As in Python, the last of two entries with the same key wins.
        let nodes = self.nodes;
        let mut last: HashMap<DictionaryKey<'_>, usize> = HashMap::new();
        let mut kept: Vec<(DictionaryKey<'_>, Value, bool)> = Vec::new();
        for (key, value) in entries {
            self.values += 1;
            if self.values > MAX_VALUES {
                self.collected.too_deep = true;
                return;
            }
            let Some((key, plain)) = key_of(nodes, *key) else {
                self.odd_entry(mapping, *key, *value);
                continue;
            };
            match last.get(&key).and_then(|at| kept.get_mut(*at)) {
                Some((_, last_value, is_plain)) => {
                    *last_value = *value;
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
                self.report_hidden(&format!("under a key that equals {key} but is not an integer"));
            }
        }
    }

    /// Checks an entry whose key is neither a text nor a number: it may not hold tensors or override an entry.
    fn odd_entry(&mut self, mapping: Value, key: Value, value: Value) {
        if self.collected.faults.len() >= MAX_FAULTS {
            return;
        }
        if self.holds(key) {
            self.report_hidden("in the key of a dictionary");
        } else if self.holds(value) {
            let what = match (key, self.nodes.get(key)) {
                (Value::None, _) => "None",
                (_, Some(Node::Sequence(_))) => "a tuple",
                _ => "something",
            };
            self.report_hidden(&format!(
                "under {what} as a key, which is neither text nor an integer"
            ));
        } else if matches!(self.nodes.get(key), Some(Node::Scalar)) && self.holds(mapping) {
            self.report_hidden("next to a key from a call, which may equal any other key,");
        }
    }

    fn report_hidden(&mut self, what: &str) {
        self.collected.hidden = true;
        self.fault(Fault::OddKey { what: what.to_owned() });
    }

    fn fault(&mut self, fault: Fault) {
        if self.collected.faults.len() < MAX_FAULTS {
            self.collected.faults.push(fault);
        }
    }

    /// Whether a value holds a tensor.
    fn holds(&mut self, value: Value) -> bool {
        let Value::Node(first) = value else { return false };
        if self.tensorless.is_empty() {
            self.tensorless = vec![false; self.nodes.0.len()];
        }
        let (mut seen, mut pending) = (Vec::new(), vec![first]);
        while let Some(at) = pending.pop() {
            match self.tensorless.get_mut(at as usize) {
                Some(tensorless) if !*tensorless => *tensorless = true,
                _ => continue,
            }
            seen.push(at);
            let mut enter = |value: &Value| {
                if let Value::Node(at) = value {
                    pending.push(*at);
                }
            };
            match self.nodes.0.get(at as usize) {
                Some(Node::Tensor(_) | Node::Unreadable(_)) => {
                    // The nodes on the way were not searched completely.
                    for at in seen {
                        self.tensorless[at as usize] = false;
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
        if self.collected.too_deep {
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

    /// Makes a unique name for the current tensor.
    fn name(&mut self) -> Option<String> {
        let plain = if self.path.is_empty() { "tensor" } else { &self.path };
        self.names += plain.len();
        let tensors = self.collected.views.len() + self.collected.unreadable.len();
        if self.names > MAX_NAMES || tensors >= self.max_tensors {
            self.collected.too_deep = true;
            return None;
        }
        let plain = plain.to_owned();
        if self.taken.insert(plain.clone()) {
            return Some(plain);
        }
        // Keys with dots, or two keys with the same text.
        self.fault(Fault::AmbiguousName { name: plain.clone() });
        for number in 2..=100 {
            let name = format!("{plain}~{number}");
            if self.taken.insert(name.clone()) {
                return Some(name);
            }
        }
        self.collected.too_deep = true;
        None
    }
}

/// The key that a value is equal to in Python, and whether it has the same type: `True` and `1.0` equal `1`.
fn key_of(nodes: &Nodes, value: Value) -> Option<(DictionaryKey<'_>, bool)> {
    match value {
        Value::Int(int) => Some((DictionaryKey::Int(int), true)),
        Value::Bool(bool) => Some((DictionaryKey::Int(bool.into()), false)),
        // Below 2^63 the conversion is exact.
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 9.2e18 => {
            Some((DictionaryKey::Int(float as i64), false))
        }
        other => nodes.text(other).map(|text| (DictionaryKey::Text(text), true)),
    }
}

/// A key of a dictionary under which tensors are named.
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

    /// What is collected of the value that these operations make; `T` stands for the tensor.
    fn collected(operations: &[u8]) -> (Vec<String>, Vec<&'static str>) {
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
            assert_eq!(
                collected(operations),
                expected,
                "{:?}",
                String::from_utf8_lossy(operations)
            );
        }
    }

    #[test]
    fn names_that_join_to_one_are_told_of() {
        let one = b"}(X\x01\0\0\0a}X\x01\0\0\0bTsX\x03\0\0\0a.bTu";
        assert_eq!(
            collected(one),
            (vec!["a.b".to_owned(), "a.b~2".to_owned()], vec!["format/ambiguous-name"])
        );
        let two = b"}(K\x01TX\x01\0\0\x001Tu";
        assert_eq!(
            collected(two),
            (vec!["1".to_owned(), "1~2".to_owned()], vec!["format/ambiguous-name"])
        );
    }

    #[test]
    fn dictionaries_are_made_as_python_makes_them() {
        let dict = b"ccollections\nOrderedDict\n";
        let of = |rest: &[u8]| collected(&[&dict[..], rest].concat());
        assert_eq!(of(b"]X\x01\0\0\0aT\x86a\x85R").0, ["a"]);
        // An instance that is not set up has no entries.
        assert_eq!(of(b"]X\x01\0\0\0aT\x86a\x85\x81"), (vec![], vec![]));
        assert_eq!(of(b"X\x02\0\0\0ab\x85R").1, ["format/pickle-call"]);
        assert_eq!(of(b"K\x01\x85R").1, ["format/pickle-call"]);
        assert_eq!(of(b"}R").1, ["format/pickle-call"]);
        // What is done to the list later is not done to the dictionary.
        let later = b"]q\x01ccollections\nOrderedDict\nh\x01\x85Rh\x01X\x01\0\0\0aT\x86a0";
        assert_eq!(collected(later), (vec![], vec![]));
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
