//! Where the files of a report are, as URIs.

use crate::{Report, summary};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Everything but the unreserved characters of RFC 3986 and the slash.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What the paths of the model's files are relative to.
const MODEL: &str = "MODEL";

/// What a relative path of the model is relative to.
const WORKING_DIRECTORY: &str = "WORKING_DIRECTORY";

/// The files that findings are about.
pub(super) struct ArtifactUris {
    /// By path relative to the model: URI and index.
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

    /// The location of a file, as results give it.
    pub(super) fn artifact(&self, path: &str) -> Option<Value> {
        let (uri, index) = self.files.get(path)?;
        Some(json!({ "uri": uri, "uriBaseId": MODEL, "index": index }))
    }

    /// All files, in the order of their indexes.
    pub(super) fn artifacts(&self) -> Vec<Value> {
        let location = |uri| {
            let location = json!({ "uri": uri, "uriBaseId": MODEL });
            json!({ "location": location, "roles": ["analysisTarget"] })
        };
        self.files.values().map(|(uri, _)| location(uri)).collect()
    }

    /// What the files are relative to.
    pub(super) fn bases(&self) -> Value {
        let mut bases = Map::new();
        if self.base.starts_with("file:") {
            bases.insert(MODEL.to_owned(), json!({ "uri": self.base }));
        } else {
            let model = json!({ "uri": self.base, "uriBaseId": WORKING_DIRECTORY });
            bases.insert(MODEL.to_owned(), model);
            let text = "Where the command was started.";
            bases.insert(WORKING_DIRECTORY.to_owned(), json!({ "description": { "text": text } }));
        }
        bases.into()
    }
}

/// The directory of the model, with a slash at its end.
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

/// A path as a URI: bytes that are not unreserved are percent-encoded.
fn encoded(path: &str) -> String {
    percent_encode(path.as_bytes(), ENCODED).to_string()
}
