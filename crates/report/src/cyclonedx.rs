//! CycloneDX 1.6: a bill of materials in which the model is a machine-learning component and each file is a component
//! with the digests that the run computed.
//!
//! Equal models give equal documents, except that a report of `gate` has a timestamp. The serial number is derived
//! from everything else.

use super::Report;
use super::inventory::InventoryFile;
use super::summary;
use serde_json::{Value, json};
use std::io::{self, Write};
use tensorseal_base::hashing::HashAlgorithm;

/// The version of the standard.
const VERSION: &str = "1.6";

/// The reference of the model inside the document.
const MODEL: &str = "model";

/// Writes the document.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    out.write_all(b"\n")
}

fn document(report: &Report) -> Value {
    let files: Vec<Value> = (1..).zip(&report.inventory).map(file).collect();
    let references: Vec<&Value> = files.iter().map(|file| &file["bom-ref"]).collect();
    let mut document = json!({
        "$schema": format!("http://cyclonedx.org/schema/bom-{VERSION}.schema.json"),
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application",
                "name": report.tool.name,
                "version": report.tool.version,
            }] },
            "component": model(report),
        },
        "dependencies": [{ "ref": MODEL, "dependsOn": references }],
        "components": files,
    });
    document["serialNumber"] = serial_number(&document).into();
    if let Some(policy) = &report.policy {
        document["metadata"]["timestamp"] = policy.time.to_string().into();
    }
    document
}

fn model(report: &Report) -> Value {
    let model = &report.model;
    let name = model.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = if matches!(name, "" | "." | "..") { MODEL } else { name };
    let mut facts = vec![("verdict", summary::verdict(report.verdict).to_owned())];
    facts.extend(model.root.clone().map(|root| ("root", root)));
    if let Some(signer) = report.signature.as_ref().and_then(|signature| signature.signer.as_ref())
    {
        facts.push(("signer", signer.to_string()));
    }
    if let Some(policy) = &report.policy {
        facts.push(("policy", format!("sha256:{}", policy.sha256)));
    }
    let card = [
        ("format", model.format.clone()),
        ("tensors", model.tensors.to_string()),
        ("elements", model.elements.to_string()),
        ("bytes", model.bytes.to_string()),
    ];
    json!({
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": name,
        "properties": properties(facts),
        "modelCard": { "properties": properties(card) },
    })
}

fn properties(facts: impl IntoIterator<Item = (&'static str, String)>) -> Vec<Value> {
    let property = |(name, value)| json!({ "name": format!("tensorseal:{name}"), "value": value });
    facts.into_iter().map(property).collect()
}

fn file((number, file): (usize, &InventoryFile)) -> Value {
    let hash = |(algorithm, digest): &(HashAlgorithm, String)| {
        let name = match algorithm {
            HashAlgorithm::Sha256 => "SHA-256",
            HashAlgorithm::Blake2b => "BLAKE2b-512",
            HashAlgorithm::Blake3 => "BLAKE3",
            // CycloneDX has no name for it.
            HashAlgorithm::GitBlob => return None,
        };
        Some(json!({ "alg": name, "content": digest }))
    };
    let mut component = json!({
        "type": "file",
        "bom-ref": format!("file-{number}"),
        "name": file.path,
        "properties": properties([("bytes", file.bytes.to_string())]),
    });
    if !file.digests.is_empty() {
        component["hashes"] = file.digests.iter().filter_map(hash).collect();
    }
    component
}

/// Derives a version 8 UUID (RFC 9562, section 5.8) from the document without its serial number.
fn serial_number(document: &Value) -> String {
    let mut hasher =
        blake3::Hasher::new_derive_key("tensorseal 2026-11-28 CycloneDX serial number v1");
    hasher.update(document.to_string().as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = tensorseal_base::hex::hex(&bytes);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("gate", "models/demo/");
        report.model.root = Some("blake3:ab".to_owned());
        report.inventory = vec![
            InventoryFile {
                path: "a.safetensors".to_owned(),
                bytes: 12,
                digests: vec![(HashAlgorithm::Sha256, "0".repeat(64))],
            },
            InventoryFile { path: "config.json".to_owned(), ..InventoryFile::default() },
        ];
        report
    }

    #[test]
    fn files_are_components_with_the_digests_that_there_are() {
        let document = document(&report());
        assert_eq!(document["metadata"]["component"]["name"], "demo");
        assert_eq!(document["components"][0]["hashes"][0]["alg"], "SHA-256");
        assert!(document["components"][1].get("hashes").is_none());
        assert_eq!(document["dependencies"][0]["dependsOn"], json!(["file-1", "file-2"]));
        assert!(document["metadata"].get("timestamp").is_none());
    }

    #[test]
    fn the_serial_number_is_that_of_the_content() {
        let serial =
            |report: &Report| document(report)["serialNumber"].as_str().unwrap().to_owned();
        let first = serial(&report());
        assert_eq!(first, serial(&report()));
        assert_eq!((first.len(), &first[23..24]), (45, "8"), "{first}");
        let mut other = report();
        other.inventory[0].digests[0].1 = "1".repeat(64);
        assert_ne!(first, serial(&other));
    }
}
