//! The locations of model files as URIs.

use crate::{Report, summary};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// All characters except the unreserved ones of RFC 3986 and the slash.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The base id of model files.
const MODEL: &str = "MODEL";

/// The base id of a relative model path.
const WORKING_DIRECTORY: &str = "WORKING_DIRECTORY";

/// The files that have findings.
pub(super) struct ArtifactUris {
    /// URI and index by path relative to the model.
    files: BTreeMap<String, (String, usize)>,
    base: String,
}

impl ArtifactUris {
    pub(super) fn of(report: &Report) -> Self {
        let by_tensor: std::collections::HashMap<&str, &str> =
            report.profiles.iter().map(|p| (p.tensor.as_str(), p.file.as_str())).collect();
        let named = report.findings.iter().filter_map(|finding| {
            let tensor = finding.tensor.as_deref();
            finding.file.as_deref().or(tensor.and_then(|tensor| by_tensor.get(tensor).copied()))
        });
        let mut files: BTreeMap<String, (String, usize)> =
            named.map(|path| (path.to_owned(), (encoded(path), 0))).collect();
        for (index, (_, place)) in files.values_mut().enumerate() {
            *place = index;
        }
        Self { files, base: base(report) }
    }

    /// Returns the artifact location of a file, for results.
    pub(super) fn artifact(&self, path: &str) -> Option<Value> {
        let (uri, index) = self.files.get(path)?;
        Some(json!({ "uri": uri, "uriBaseId": MODEL, "index": index }))
    }

    /// Returns all files in the order of their indexes.
    pub(super) fn artifacts(&self) -> Vec<Value> {
        let location = |uri| {
            let location = json!({ "uri": uri, "uriBaseId": MODEL });
            json!({ "location": location, "roles": ["analysisTarget"] })
        };
        self.files.values().map(|(uri, _)| location(uri)).collect()
    }

    /// Returns the base URIs.
    pub(super) fn bases(&self) -> Value {
        let mut bases = Map::new();
        if self.base.starts_with("file:") {
            bases.insert(MODEL.to_owned(), json!({ "uri": self.base }));
        } else {
            let model = json!({ "uri": self.base, "uriBaseId": WORKING_DIRECTORY });
            bases.insert(MODEL.to_owned(), model);
            let text = "The working directory of the command.";
            bases.insert(WORKING_DIRECTORY.to_owned(), json!({ "description": { "text": text } }));
        }
        bases.into()
    }
}

/// Returns the URI of the model directory, with a trailing slash.
fn base(report: &Report) -> String {
    let path = report.model.path.as_str();
    let directory = summary::directory_of_model(report);
    match directory {
        "" if path.starts_with('/') => "file:///".to_owned(),
        "" | "." => "./".to_owned(),
        directory if directory.starts_with('/') => format!("file://{}/", encoded(directory)),
        directory => format!("{}/", encoded(directory)),
    }
}

/// Percent-encodes a path.
fn encoded(path: &str) -> String {
    percent_encode(path.as_bytes(), ENCODED).to_string()
}
