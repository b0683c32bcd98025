//! Checks TensorFlow graphs for operations with side effects.

use super::file_name;
use super::findings::FileFindings;
use super::protobuf::{ByteReader, FieldSchema, MessageEvent, MessageSchema, walk};
use tensorseal_format::{ContentClass, ModelFile, OpenError};

/// The operations that read, write or list files, call Python, or load libraries.
const OPERATIONS: [&str; 24] = [
    "CaptureDataset",
    "DebugIdentity",
    "DebugIdentityV2",
    "DecodeProtoV2",
    "EagerPyFunc",
    "EncodeProto",
    "FixedLengthRecordDataset",
    "FixedLengthRecordDatasetV2",
    "ImmutableConst",
    "LoadLibrary",
    "MatchingFiles",
    "MatchingFilesDataset",
    "PrintV2",
    "PyFunc",
    "PyFuncStateless",
    "ReadFile",
    "RpcCall",
    "TFRecordDataset",
    "TFRecordDatasetV2",
    "TextLineDataset",
    "WholeFileReader",
    "WholeFileReaderV2",
    "WriteFile",
    "WriteGraphSummary",
];

/// Whether a file is a TensorFlow graph.
pub(super) fn is_graph(file: &ModelFile) -> bool {
    let name = file_name(&file.path);
    file.content.class == ContentClass::TensorflowGraph
        || (name.ends_with(".pb") && name != "keras_metadata.pb" && name != "fingerprint.pb")
}

/// A saved model has meta graphs in field 2, a meta graph has a graph in field 2, and a graph has nodes in field 1 and
/// a library of functions in field 2. One schema covers all of them; a wrong interpretation does not yield the name of
/// an operation.
static TOP: MessageSchema = MessageSchema {
    name: "top",
    fields: &[(1, FieldSchema::Message(&HOLDER)), (2, FieldSchema::Message(&SECOND))],
};
static SECOND: MessageSchema = MessageSchema {
    name: "top",
    fields: &[(1, FieldSchema::Message(&HOLDER)), (2, FieldSchema::Message(&THIRD))],
};
static THIRD: MessageSchema = MessageSchema {
    name: "top",
    fields: &[(1, FieldSchema::Message(&HOLDER)), (2, FieldSchema::Message(&LIBRARY))],
};
static LIBRARY: MessageSchema =
    MessageSchema { name: "top", fields: &[(1, FieldSchema::Message(&HOLDER))] };
/// A node with its operation in field 2, or a function with its nodes in field 3.
static HOLDER: MessageSchema = MessageSchema {
    name: "node",
    fields: &[(2, FieldSchema::Text), (3, FieldSchema::Message(&NODE))],
};
static NODE: MessageSchema = MessageSchema { name: "node", fields: &[(2, FieldSchema::Text)] };

/// Checks the operations of a graph.
pub(super) fn scan(bytes: &dyn ByteReader, findings: &mut FileFindings) -> Result<(), OpenError> {
    walk(bytes, &TOP, &mut |event| {
        if let MessageEvent::Text("node", 2, operation) = event
            && OPERATIONS.contains(&operation)
        {
            findings.code.push(format!("its graph uses the operation {operation}"));
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::tests::field;
    use super::*;

    fn of(bytes: &[u8]) -> Vec<String> {
        let mut findings = FileFindings::default();
        scan(&bytes, &mut findings).unwrap();
        findings.code.iter().map(str::to_owned).collect()
    }

    fn node(operation: &str) -> Vec<u8> {
        [
            field(1, b"name"),
            field(2, operation.as_bytes()),
            field(3, b"input:0"),
            field(5, &[0; 90]),
        ]
        .concat()
    }

    #[test]
    fn operations_are_found_in_every_form_of_a_graph() {
        let nodes = [field(1, &node("MatMul")), field(1, &node("ReadFile"))].concat();
        let function = [field(1, b"\x0a\x01f"), field(3, &node("WriteFile"))].concat();
        let graph = [nodes, field(2, &field(1, &function))].concat();
        let meta = [field(1, b"\x22\x05serve"), field(2, &graph)].concat();
        let saved = [vec![8, 1], field(2, &meta)].concat();
        for bytes in [graph, meta, saved] {
            let findings = of(&bytes);
            assert_eq!(findings.len(), 2, "{findings:?}");
            assert!(
                findings[0].contains("ReadFile") && findings[1].contains("WriteFile"),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn other_operations_are_quiet() {
        let nodes = [field(1, &node("MatMul")), field(1, &node("RestoreV2"))].concat();
        assert!(of(&nodes).is_empty() && of(b"ReadFile").is_empty());
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(OPERATIONS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
