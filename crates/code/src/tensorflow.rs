//! Graphs of TensorFlow: operations that reach out of the graph.

use super::file_name;
use super::findings::FileFindings;
use super::protobuf::{ByteReader, FieldSchema, MessageEvent, MessageSchema, walk};
use tensorseal_format::{ContentClass, ModelFile, OpenError};

/// Operations that read, write or list files, call Python, or load libraries.
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

/// Whether a file is a graph.
pub(super) fn is_graph(file: &ModelFile) -> bool {
    let name = file_name(&file.path);
    file.content.class == ContentClass::TensorflowGraph
        || (name.ends_with(".pb") && name != "keras_metadata.pb" && name != "fingerprint.pb")
}

/// A saved model has a meta graph in field 2, this a graph in 2, and a graph nodes in 1 and a library of
/// functions in 2. One message stands for all of them: what is taken for another is no operation by its name.
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
/// A node with its operation in field 2, or a function with nodes in 3.
static HOLDER: MessageSchema = MessageSchema {
    name: "node",
    fields: &[(2, FieldSchema::Text), (3, FieldSchema::Message(&NODE))],
};
static NODE: MessageSchema = MessageSchema { name: "node", fields: &[(2, FieldSchema::Text)] };

/// Looks for operations.
pub(super) fn scan(bytes: &dyn ByteReader, found: &mut FileFindings) -> Result<(), OpenError> {
    walk(bytes, &TOP, &mut |event| {
        if let MessageEvent::Text("node", 2, operation) = event
            && OPERATIONS.contains(&operation)
        {
            found.code.push(format!("its graph has the operation {operation}"));
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::tests::field;
    use super::*;

    fn of(bytes: &[u8]) -> Vec<String> {
        let mut found = FileFindings::default();
        scan(&bytes, &mut found).unwrap();
        found.code.iter().map(str::to_owned).collect()
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
            let found = of(&bytes);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(found[0].contains("ReadFile") && found[1].contains("WriteFile"), "{found:?}");
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
