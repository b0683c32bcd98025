//! Detection Finding (2004): an event for one finding of a model.

use super::{ScanContext, metadata, severity};
use crate::registry::identity::{finding_uid, model_uid};
use serde_json::{Map, Value, json};
use tensorseal_core::judge::rules::{catalogue_of, find_rule, rules};
use tensorseal_core::record::{ModelRecord, RecordedFinding};

/// Greatest length of a text in characters. Receivers cut off or drop longer texts.
const TEXT: usize = 1000;

/// Greatest length of serialised evidence in bytes.
const EVIDENCE: usize = 16 << 10;

/// A finding of a model, clipped to the limits of an event.
struct BoundedFinding {
    /// The identifier of the finding, derived from the exact names.
    uid: String,
    model_uid: String,
    model: ModelRecord,
    finding: RecordedFinding,
    /// Whether something was clipped.
    truncated: bool,
}

impl BoundedFinding {
    /// Clips texts and evidence that are too long. Other names stay exact.
    fn of(model: &ModelRecord, finding: &RecordedFinding) -> BoundedFinding {
        let mut told = BoundedFinding {
            uid: finding_uid(model, finding),
            model_uid: model_uid(&model.source, &model.name),
            model: model.clone(),
            finding: finding.clone(),
            truncated: false,
        };
        let BoundedFinding { model, finding, truncated, .. } = &mut told;
        let texts = [&mut model.source, &mut model.name, &mut model.detail, &mut finding.message];
        let texts = texts.into_iter().chain(&mut model.version).chain(&mut finding.file);
        for text in texts.chain(&mut finding.tensor).chain(&mut finding.references) {
            if let Some((end, _)) = text.char_indices().nth(TEXT) {
                *text = format!("{}… ({} bytes)", &text[..end], text.len());
                *truncated = true;
            }
        }
        let bytes = json!(finding.evidence).to_string().len();
        if bytes > EVIDENCE {
            finding.evidence = [("left_out_bytes".to_owned(), bytes.into())].into();
            *truncated = true;
        }
        told
    }
}

/// Returns the event.
pub(super) fn event(scan: &ScanContext, model: &ModelRecord, finding: &RecordedFinding) -> Value {
    let told = BoundedFinding::of(model, finding);
    let (severity_id, severity) = severity(finding.severity);
    let mut metadata = metadata(scan.uid.as_deref());
    if told.truncated {
        metadata["is_truncated"] = true.into();
    }
    json!({
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "activity_id": 1,
        "activity_name": "Create",
        "type_uid": 200_401,
        "type_name": "Detection Finding: Create",
        "time": scan.time.as_millisecond(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "message": told.finding.message,
        "finding_info": info(&told),
        "resources": [resource(&told)],
        "evidences": [evidence(&told.model, &told.finding)],
        "observables": observables(&told),
        "metadata": metadata,
    })
}

/// Returns the rule of the finding and its entries in public catalogues.
fn info(told: &BoundedFinding) -> Value {
    let BoundedFinding { model, finding, .. } = told;
    let rule = find_rule(&finding.rule);
    let area = finding.rule.split('/').next().unwrap_or(&finding.rule);
    let title = rule.map_or(finding.rule.as_str(), |rule| rule.title);
    let mut info = json!({
        "uid": told.uid,
        "title": title,
        "types": [area],
        "last_seen_time": model.last_seen.as_millisecond(),
        "data_sources": [model.source],
        "analytic": {
            "uid": finding.rule,
            "name": title,
            "type_id": 1,
            "type": "Rule",
            "category": area,
            "version": rules().version,
        },
    });
    if let Some(rule) = rule {
        info["desc"] = format!("{} {} {}", rule.meaning, rule.limits, rule.action).into();
    }
    let attacks: Vec<Value> = finding.references.iter().filter_map(|id| attack(id)).collect();
    if !attacks.is_empty() {
        info["attacks"] = attacks.into();
    }
    if !finding.references.is_empty() {
        info["tags"] = json!([{"name": "references", "values": finding.references}]);
    }
    info
}

/// Returns an id as a MITRE ATLAS technique (`AML.T0018`) or sub-technique (`AML.T0018.002`), or `None` if it is something
/// else, such as a mitigation.
fn attack(id: &str) -> Option<Value> {
    let (name, catalogue) = catalogue_of(id)?;
    let number = id.strip_prefix("AML.T").filter(|_| name == "atlas")?;
    let technique = number.split('.').next().unwrap_or(number);
    let mut attack =
        json!({"technique": {"uid": format!("AML.T{technique}")}, "version": catalogue.version});
    if technique != number {
        attack["sub_technique"] = json!({"uid": id});
    }
    Some(attack)
}

/// Returns the model as a resource.
fn resource(told: &BoundedFinding) -> Value {
    let model = &told.model;
    let mut resource = json!({
        "uid": told.model_uid,
        "name": model.name,
        "namespace": model.source,
        "type": "Machine learning model",
        "role_id": 3,
        "role": "Affected",
        "data": {
            "state": model.state,
            "detail": model.detail,
            "files": model.files,
            "bytes": model.bytes,
            "signed": model.signed,
            "sealed": model.sealed,
            "last_deep_check": model.last_deep_check,
        },
    });
    if let Some(version) = &model.version {
        resource["version"] = version.as_str().into();
    }
    resource
}

/// Returns the evidence of a finding, with its file, or with the model as a folder if the finding concerns no single file.
fn evidence(model: &ModelRecord, finding: &RecordedFinding) -> Value {
    let mut data = Map::new();
    if let Some(tensor) = &finding.tensor {
        data.insert("tensor".to_owned(), tensor.as_str().into());
    }
    if let Some(range) = finding.byte_range {
        data.insert("byte_range".to_owned(), json!(range));
    }
    data.insert("numbers".to_owned(), json!(finding.evidence));
    let file = match &finding.file {
        Some(path) => {
            let mut file = json!({
                "name": base_name(path),
                "path": path,
                "type_id": 1,
                "type": "Regular File",
            });
            if let Some(digest) = found_digest(finding) {
                file["hashes"] = json!([digest]);
            }
            file
        }
        None => {
            let mut folder = json!({"name": model.name, "type_id": 2, "type": "Folder"});
            if let Some(root) = &model.root {
                folder["hashes"] = json!([fingerprint(root)]);
            }
            folder
        }
    };
    json!({"file": file, "data": data})
}

/// Returns the model root as a hash.
fn fingerprint(root: &str) -> Value {
    json!({
        "algorithm_id": 99,
        "algorithm": "BLAKE3 (root of tensors)",
        "value": root.strip_prefix("blake3:").unwrap_or(root),
    })
}

/// Returns the digest of the file that was found, if it was computed.
fn found_digest(finding: &RecordedFinding) -> Option<Value> {
    let text = |key| finding.evidence.get(key).and_then(Value::as_str);
    let (algorithm, value) = (text("algorithm")?, text("found")?);
    let is_digest = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (id, name) = match algorithm {
        "sha256" => (3, "SHA-256"),
        // The digest of git also covers a header, so it is not the SHA-1 of the file.
        other => (99, other),
    };
    is_digest.then(|| json!({"algorithm_id": id, "algorithm": name, "value": value}))
}

/// Returns the values by which receivers correlate events: the model, its root and the file.
fn observables(told: &BoundedFinding) -> Vec<Value> {
    let BoundedFinding { model, finding, .. } = told;
    let observable = |name: &str, type_id: u64, kind: &str, value: &str| json!({"name": name, "type_id": type_id, "type": kind, "value": value});
    let mut all = vec![
        observable("resources[0].uid", 10, "Resource UID", &told.model_uid),
        observable("resources[0].name", 38, "Resource Details Object: name", &model.name),
    ];
    match (&finding.file, &model.root) {
        (Some(path), _) => {
            all.push(observable("evidences[0].file.name", 7, "File Name", base_name(path)));
            all.push(observable("evidences[0].file.path", 45, "File Path", path));
        }
        (None, Some(root)) => {
            let value = root.strip_prefix("blake3:").unwrap_or(root);
            all.push(observable("evidences[0].file.hashes[0].value", 8, "Hash", value));
        }
        (None, None) => {}
    }
    all
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}
