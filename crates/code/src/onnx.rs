//! Checks ONNX models for operators from custom libraries, and for weights outside of the model.

use super::error::CodeError;
use super::findings::FileFindings;
use super::protobuf::{ByteReader, FieldSchema, MessageEvent, MessageSchema, walk};
use std::collections::BTreeSet;
use tensorseal_base::display::display_name;
use tensorseal_format::{ContentClass, ModelFile, OpenError};

/// Whether a file is an ONNX model.
pub(super) fn is_onnx(file: &ModelFile) -> bool {
    file.content.class == ContentClass::Onnx
        || file.path.ends_with(".onnx")
        || file.path.ends_with(".ort")
}

use FieldSchema::{Message as Sub, Text};

static MODEL: MessageSchema = MessageSchema {
    name: "model",
    fields: &[(7, Sub(&GRAPH)), (20, Sub(&TRAINING)), (25, Sub(&FUNCTION))],
};
static TRAINING: MessageSchema =
    MessageSchema { name: "training", fields: &[(1, Sub(&GRAPH)), (2, Sub(&GRAPH))] };
static GRAPH: MessageSchema = MessageSchema {
    name: "graph",
    fields: &[(1, Sub(&NODE)), (5, Sub(&TENSOR)), (15, Sub(&SPARSE))],
};
static NODE: MessageSchema =
    MessageSchema { name: "node", fields: &[(4, Text), (5, Sub(&ATTRIBUTE)), (7, Text)] };
static ATTRIBUTE: MessageSchema = MessageSchema {
    name: "attribute",
    fields: &[
        (5, Sub(&TENSOR)),
        (6, Sub(&GRAPH)),
        (10, Sub(&TENSOR)),
        (11, Sub(&GRAPH)),
        (22, Sub(&SPARSE)),
        (23, Sub(&SPARSE)),
    ],
};
static SPARSE: MessageSchema =
    MessageSchema { name: "sparse", fields: &[(1, Sub(&TENSOR)), (2, Sub(&TENSOR))] };
static TENSOR: MessageSchema = MessageSchema { name: "tensor", fields: &[(13, Sub(&ENTRY))] };
static ENTRY: MessageSchema = MessageSchema { name: "entry", fields: &[(1, Text), (2, Text)] };
static FUNCTION: MessageSchema = MessageSchema {
    name: "function",
    fields: &[(1, Text), (7, Sub(&NODE)), (10, Text), (11, Sub(&ATTRIBUTE))],
};

/// Whether a domain of operators is part of ONNX or of ONNX Runtime.
fn is_known(domain: &str) -> bool {
    const KNOWN: [&str; 6] = [
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
    ];
    let vendor = |vendor: &str| {
        domain.strip_prefix(vendor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    KNOWN.contains(&domain) || vendor("com.microsoft") || vendor("com.ms.internal")
}

/// The largest number of operators and functions that are kept.
const MAX_KEPT: usize = 16_384;

#[derive(Default)]
struct GraphScan {
    /// The operators and domains of the current nodes.
    nodes: Vec<[String; 2]>,
    /// The key and the value of the current entry.
    entry: [String; 2],
    /// The operators of other domains.
    custom: BTreeSet<[String; 2]>,
    /// The name and the domain of the current function.
    function: [String; 2],
    /// The names and domains of the functions that the model defines.
    defined: BTreeSet<[String; 2]>,
    /// Whether the limit was exceeded.
    has_more: bool,
}

/// Checks the operators and the locations of external data.
pub(super) fn scan(bytes: &dyn ByteReader, findings: &mut FileFindings) -> Result<(), OpenError> {
    let mut scan = GraphScan::default();
    let fault = walk(bytes, &MODEL, &mut |event| scan.event(event, findings))?;
    for [operator, domain] in scan.custom.difference(&scan.defined) {
        let (operator, domain) = (display_name(operator), display_name(domain));
        findings.code.push(format!("needs a library for the operator {operator} of {domain}"));
    }
    if scan.has_more {
        findings
            .not_examined(format!("it has more than {MAX_KEPT} custom operators and functions"));
    }
    if let Some(at) = fault {
        findings.not_examined(format!("it is not a valid ONNX model from byte {at} on"));
    }
    Ok(())
}

impl GraphScan {
    fn event(&mut self, event: MessageEvent<'_>, findings: &mut FileFindings) {
        match event {
            MessageEvent::Start("node") => self.nodes.push(Default::default()),
            MessageEvent::Text("node", field, text) => {
                if let Some([operator, domain]) = self.nodes.last_mut() {
                    *(if field == 7 { domain } else { operator }) = text.to_owned();
                }
            }
            MessageEvent::End("node") => {
                let node = self.nodes.pop().unwrap_or_default();
                if !is_known(&node[1]) {
                    self.has_more |= !keep(&mut self.custom, node);
                }
            }
            MessageEvent::Start("function") => self.function = Default::default(),
            MessageEvent::Text("function", field, text) => {
                let [name, domain] = &mut self.function;
                *(if field == 1 { name } else { domain }) = text.to_owned();
            }
            MessageEvent::End("function") => {
                let function = std::mem::take(&mut self.function);
                self.has_more |= !keep(&mut self.defined, function);
            }
            MessageEvent::Start("entry") => self.entry = Default::default(),
            MessageEvent::Text("entry", field, text) => {
                let [key, value] = &mut self.entry;
                *(if field == 1 { key } else { value }) = text.to_owned();
            }
            MessageEvent::End("entry") => {
                let [key, location] = std::mem::take(&mut self.entry);
                if key == "location" && leads_out(&location) {
                    findings.other.push(CodeError::ExternalPath { location });
                }
            }
            _ => {}
        }
    }
}

/// Adds an item. Returns `false` if the limit is exceeded.
fn keep(kept: &mut BTreeSet<[String; 2]>, item: [String; 2]) -> bool {
    let fits = kept.len() < MAX_KEPT || kept.contains(&item);
    if fits {
        kept.insert(item);
    }
    fits
}

/// Whether a relative path leads out of its directory on any system.
fn leads_out(path: &str) -> bool {
    let is_drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let is_separator = |c| matches!(c, '/' | '\\');
    is_drive || path.starts_with(is_separator) || path.split(is_separator).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::tests::field;
    use super::*;
    use tensorseal_format::StructureError;

    fn of(bytes: &[u8]) -> (Vec<String>, Vec<&'static str>) {
        let mut findings = FileFindings::default();
        scan(&bytes, &mut findings).unwrap();
        let other = findings.other.iter().map(|error| error.rule().0).collect();
        (findings.code.iter().map(str::to_owned).collect(), other)
    }

    fn node(operator: &str, domain: &str, rest: &[u8]) -> Vec<u8> {
        let domain = field(7, domain.as_bytes());
        field(1, &[field(4, operator.as_bytes()), rest.to_vec(), domain].concat())
    }

    fn tensor(location: &str) -> Vec<u8> {
        let entry = |key: &str, value: &str| {
            field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
        };
        [entry("location", location), entry("offset", "../0"), field(9, &[0; 64])].concat()
    }

    #[test]
    fn operators_of_other_domains_are_told() {
        let known = [node("MatMul", "", &[]), node("Attention", "com.microsoft", &[])].concat();
        assert_eq!(of(&field(7, &known)), Default::default());
        let deep = field(5, &field(6, &node("Own", "my.domain", &[])));
        let nested = field(7, &node("If", "", &deep));
        let (code, _) = of(&nested);
        assert!(code.len() == 1 && code[0].contains("Own of my.domain"), "{code:?}");
        // A function of the model itself needs no library; another operator of its domain does.
        let function =
            |name: &str| field(25, &[field(1, name.as_bytes()), field(10, b"my.domain")].concat());
        assert_eq!(of(&[nested.clone(), function("Own")].concat()), Default::default());
        assert_eq!(of(&[nested, function("Other")].concat()).0.len(), 1);
        assert!(!is_known("com.microsoftx") && is_known("com.microsoft.nchwc"));
    }

    #[test]
    fn weights_outside_of_the_model_are_high() {
        for location in ["../w.bin", "/w.bin", "a/../../w.bin", "..\\w.bin", "C:\\w.bin", "a/.."] {
            let (_, rules) = of(&field(7, &field(5, &tensor(location))));
            assert_eq!(rules, ["content/external-path"], "{location}");
        }
        for location in ["w.bin", "a/w.bin", "a/..b", "model.onnx.data"] {
            assert_eq!(
                of(&field(7, &field(5, &tensor(location)))),
                Default::default(),
                "{location}"
            );
        }
        let attribute = field(11, &field(5, &tensor("../w")));
        assert_eq!(of(&field(25, &attribute)).1, ["content/external-path"]);
        let constant = field(7, &node("Constant", "", &field(5, &field(5, &tensor("../w")))));
        assert_eq!(of(&constant).1, ["content/external-path"]);
    }

    #[test]
    fn what_is_no_model_is_said() {
        assert_eq!(of(&[0xff; 40]).1, ["content/not-examined"]);
    }
}
