//! What the tests share: small models made by code, and the program run as a user runs it.

#![allow(dead_code)] // each test file uses its part

pub mod attacks;
pub mod device;
pub mod keys;
pub mod oms;
pub mod watched;
pub mod weights;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use tensorseal::registry::source::{Listed, Source, SourceError};
use tensorseal::watermark::key::WatermarkKey;

/// A tensor to be written: name, dtype, shape, bytes.
pub type Tensor<'a> = (&'a str, &'a str, &'a [u64], Vec<u8>);

/// The directory of the real model: `scripts/test` fetches it; `TENSORSEAL_TESTDATA` says where to.
pub fn real_model() -> PathBuf {
    let data = std::env::var_os("TENSORSEAL_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".testdata"), PathBuf::from);
    let model = data.join("all-MiniLM-L6-v2");
    assert!(model.is_dir(), "{} is not there: run scripts/fetch-testdata", model.display());
    model
}

/// Bytes that look like nothing in particular, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The text of a header, with the tensors laid out in the order given.
pub fn header(tensors: &[Tensor], metadata: Option<Value>) -> String {
    let mut members = Vec::new();
    if let Some(metadata) = metadata {
        members.push(format!("\"__metadata__\":{metadata}"));
    }
    let mut offset = 0;
    for (name, dtype, shape, bytes) in tensors {
        let end = offset + bytes.len();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        members.push(format!("{}:{entry}", Value::from(*name)));
        offset = end;
    }
    let mut text = format!("{{{}}}", members.join(","));
    // Eight spaces at least, so that tests have padding to damage.
    text.push_str(&" ".repeat(8 + (8 - text.len() % 8) % 8));
    text
}

/// A safetensors file with this header text and this data.
pub fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A safetensors file.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.3.clone()).collect();
    file_of(&header(tensors, Some(json!({"format": "pt"}))), &data)
}

/// A small model of several dtypes, with one tensor of more than two blocks.
pub fn small_tensors(seed: u64) -> Vec<Tensor<'static>> {
    vec![
        ("embed.weight", "BF16", &[700, 1000], noise(seed, 1_400_000)),
        ("layers.0.weight", "F32", &[300, 1000], noise(seed + 1, 1_200_000)),
        ("layers.0.bias", "F32", &[1000], noise(seed + 2, 4000)),
        ("layers.1.weight", "F32", &[300, 1000], noise(seed + 3, 1_200_000)),
        ("layers.1.bias", "F32", &[1000], noise(seed + 4, 4000)),
        ("steps", "I64", &[], noise(seed + 5, 8)),
        ("empty", "F16", &[0, 4], Vec::new()),
    ]
}

/// A model directory: `model.safetensors`, `config.json` and an empty file.
pub fn write_model(directory: &Path, tensors: &[Tensor]) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), "{\"model_type\": \"test\"}\n").unwrap();
    fs::write(directory.join("empty.txt"), "").unwrap();
    fs::write(directory.join("model.safetensors"), safetensors(tensors)).unwrap();
    directory.to_owned()
}

/// Writes tensors as shards with an index.
pub fn write_shards(directory: &Path, tensors: &[Tensor], shards: usize) {
    let mut map = Map::new();
    let mut total = 0;
    for shard in 0..shards {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let part: Vec<Tensor> = tensors.iter().skip(shard).step_by(shards).cloned().collect();
        for tensor in &part {
            map.insert(tensor.0.to_owned(), name.clone().into());
            total += tensor.3.len();
        }
        fs::write(directory.join(&name), safetensors(&part)).unwrap();
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// The program with these arguments, not started.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tensorseal"));
    command.args(args).env("NO_COLOR", "1");
    command
}

/// A finished run of the program.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program.
pub fn run(args: &[&str]) -> Ran {
    finished(program(args).output().expect("the program starts"))
}

/// What a finished process said. A panic of the program is never an outcome.
pub fn finished(output: Output) -> Ran {
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(ran.code >= 0, "killed by a signal: {}", ran.stderr);
    ran
}

/// Runs a verb with `--format json` and gives the exit code and the report, checked against the
/// published schema.
pub fn report(args: &[&str]) -> (i32, Value) {
    let mut all = args.to_vec();
    all.extend(["--format", "json", "--device", "cpu"]);
    if args[0] == "inspect" {
        all.truncate(all.len() - 2);
    }
    let ran = run(&all);
    let report: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {} {}", ran.stdout, ran.stderr));
    validate("tensorseal.report.2", &report);
    assert_eq!(report["exit_code"], ran.code, "{args:?}: {report:#}");
    (ran.code, report)
}

/// Holds a document to its published schema.
pub fn validate(schema: &str, document: &Value) {
    // Compiling a schema takes longer than most runs of the program.
    static COMPILED: Mutex<BTreeMap<String, Arc<jsonschema::Validator>>> =
        Mutex::new(BTreeMap::new());
    let validator = {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let path = format!("{}/docs/schema/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        };
        compiled.entry(schema.to_owned()).or_insert_with(compile).clone()
    };
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// The findings of a report that are more than remarks.
pub fn findings(report: &Value) -> Vec<&Value> {
    let all = report["findings"].as_array().unwrap();
    all.iter().filter(|finding| finding["severity"] != "info").collect()
}

/// Rule and place (tensor, else file) of each finding.
pub fn rules(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings(report)
        .into_iter()
        .map(|finding| {
            let place =
                if finding["tensor"].is_null() { &finding["file"] } else { &finding["tensor"] };
            (text(&finding["rule"]), text(place))
        })
        .collect()
}

/// Writes the watermark key of this name: always the same, so that tests do not depend on chance.
pub fn write_key(path: &Path, name: &str) {
    let secret = blake3::derive_key("tensorseal 2026-11-24 keys of tests v1", name.as_bytes());
    WatermarkKey::from_secret(&secret).write_new(path, "for the tests").unwrap();
}

/// The models of a source, as it lists them.
pub fn listed(source: &dyn Source) -> Result<Vec<Listed>, SourceError> {
    let mut all = Vec::new();
    source.list(&mut |model| {
        all.push(model);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
