//! Reports in every format and `explain`, through the program: what a person or a CI system gets, read
//! again by parsers that are not ours.

use crate::common::*;
use roxmltree::{Document, ParsingOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const HOSTILE: &str = "<script>x</script>|`\"'&]]>\u{202e}[a](b)";

/// Names of the written reports.
const FORMATS: [&str; 8] =
    ["json", "human", "html", "sarif", "junit", "markdown", "github", "cyclonedx"];

/// A sealed model with a hostile name in it, damaged in a known byte of the tensor of that name, and in
/// another file.
fn damaged() -> (TempDir, PathBuf, u64) {
    let dir = TempDir::new().unwrap();
    let values: Vec<u8> =
        (0..40_000u32).flat_map(|i| ((i as f32 * 0.37).sin() * 0.1).to_le_bytes()).collect();
    let tensors: Vec<Tensor> = vec![
        ("layers.0.weight", "F32", &[100, 400], noise(1, 160_000)),
        (HOSTILE, "F32", &[100, 400], values),
    ];
    let model = write_model(&dir.path().join("a model"), &tensors);
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 160_000;
    // The highest exponent bit of the value at element 10,000.
    bytes[start as usize + 40_003] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    (dir, model, start)
}

/// Runs a command with all reports; gives what was written.
fn written(args: &[&str], out: &Path) -> (i32, BTreeMap<&'static str, String>) {
    let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    for format in FORMATS {
        all.extend(["--report".to_owned(), format!("{format}={}", out.join(format).display())]);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let ran = run(&all);
    let text = |format: &&'static str| {
        let path = out.join(format);
        let text = fs::read_to_string(&path);
        (*format, text.unwrap_or_else(|error| panic!("{format}: {error}: {}", ran.stderr)))
    };
    (ran.code, FORMATS.iter().map(text).collect())
}

fn page(text: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    Document::parse_with_options(text, options).unwrap()
}

/// The platform of this machine: crates of others may not be here.
fn platform() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let said = Command::new(compiler).arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// The schema of the standard, as a crate ships it.
fn sarif_schema() -> Value {
    let metadata = |offline: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
        command.args([&platform(), "--manifest-path"]);
        command.arg(tensorseal_testing::workspace().join("Cargo.toml"));
        command.args(offline).output().unwrap()
    };
    // Crates of other platforms may be asked for, and not be here yet.
    let offline = metadata(&["--offline"]);
    let metadata = if offline.status.success() { offline } else { metadata(&[]) };
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let text = fs::read_to_string(manifest.with_file_name("src").join("schema.json")).unwrap();
    // The published pattern of languages has a bracket that closes nothing: no regular expression to
    // a strict reader.
    let text = text.replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}?$");
    serde_json::from_str(&text).unwrap()
}

fn holds_to_the_standard(log: &str) -> Value {
    let log: Value = serde_json::from_str(log).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&sarif_schema()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let typed: serde_sarif::sarif::Sarif = serde_json::from_value(log.clone()).unwrap();
    assert_eq!(typed.runs.len(), 1);
    // A log that is not valid is not taken for one.
    let mut broken = log.clone();
    broken["runs"][0]["results"][0]["level"] = "terrible".into();
    assert!(!validator.is_valid(&broken));
    log
}

#[test]
fn a_damaged_model_is_told_in_every_format() {
    let (dir, model, start) = damaged();
    let (code, reports) = written(&["verify", arg(&model), "--device", "cpu"], dir.path());
    assert_eq!(code, 1);

    let json: Value = serde_json::from_str(&reports["json"]).unwrap();
    validate("tensorseal.report.2", &json);
    assert_eq!(findings(&json).len(), 2);
    assert_eq!(json["findings"].as_array().unwrap().len(), 3, "and an info finding on the name");

    let log = holds_to_the_standard(&reports["sarif"]);
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[2]["kind"], "informational");
    assert_eq!(results[0]["ruleId"], "integrity/tensor-changed");
    let physical = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(physical["artifactLocation"]["uri"], "model.safetensors");
    assert_eq!(physical["region"]["byteOffset"], start + 40_003, "the byte of the flipped bit");
    assert_eq!(physical["region"]["byteLength"], 1);
    assert_eq!(log["runs"][0]["invocations"][0]["exitCode"], 1);

    let junit = Document::parse(&reports["junit"]).unwrap();
    assert_eq!(junit.root_element().attribute("failures"), Some("2"));
    let name =
        junit.descendants().filter_map(|n| n.attribute("name")).find(|n| n.contains("script"));
    assert_eq!(name, Some("<script>x</script>|`\"'&]]>\\u{202e}[a](b)"));

    let document = page(&reports["html"]);
    assert!(document.descendants().all(|node| !node.has_tag_name("script")));
    let title = document.descendants().find(|node| node.has_tag_name("title")).unwrap();
    assert!(title.text().unwrap().starts_with("FAIL: "));
    assert!(document.descendants().any(|node| node.attribute("class") == Some("before")));
    let far = document.descendants().find(|node| node.attribute("class") == Some("far"));
    assert!(far.is_some(), "the flipped value stands apart in the plot");
    assert!(!document.descendants().any(|node| node.attribute("id") == Some("map")));

    let rows = reports["markdown"].lines().filter(|line| line.starts_with("| **")).count();
    assert_eq!(rows, 2, "{}", reports["markdown"]);
    assert!(reports["human"].contains("FAIL  2 findings at or above medium"));
    // Every report for people words the place in the same way.
    let place = "tensor byte 40,003, element 10,000, row 25";
    for format in ["human", "html", "junit", "markdown", "github"] {
        assert!(reports[format].contains(place), "{format}: {}", reports[format]);
    }
    assert!(reports["human"].starts_with("model     "), "{}", reports["human"]);
    // The verdict and two errors; what runs the command reads one annotation from each line.
    assert_eq!(reports["github"].lines().filter(|line| line.starts_with("::error ")).count(), 3);
    let bill: Value = serde_json::from_str(&reports["cyclonedx"]).unwrap();
    assert_eq!(bill["metadata"]["component"]["name"], "a model");
    assert_eq!(bill["components"].as_array().unwrap().len(), 3);
}

#[test]
fn an_intact_model_and_a_broken_run_are_told_as_what_they_are() {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &small_tensors(1));
    assert_eq!(run(&["seal", arg(&model), "--device", "cpu"]).code, 0);
    let (code, reports) = written(&["verify", arg(&model), "--device", "cpu"], dir.path());
    assert_eq!(code, 0);
    assert!(reports["html"].contains("The model matches its seal."));
    assert!(reports["markdown"].starts_with("## ✅ tensorseal verify: PASS"));
    let junit = Document::parse(&reports["junit"]).unwrap();
    assert_eq!(junit.root_element().attribute("tests"), Some("1"), "silence is no success");

    fs::remove_file(model.join("tensorseal.seal.json")).unwrap();
    let (code, reports) = written(&["verify", arg(&model), "--device", "cpu"], dir.path());
    assert_eq!(code, 2);
    let junit = Document::parse(&reports["junit"]).unwrap();
    assert_eq!(junit.root_element().attribute("errors"), Some("1"));
    let log: Value = serde_json::from_str(&reports["sarif"]).unwrap();
    assert_eq!(log["runs"][0]["invocations"][0]["exitCode"], 2);
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
    assert!(reports["html"].contains("INCOMPLETE"));
    page(&reports["html"]);
}

#[test]
fn reports_do_not_depend_on_the_run() {
    let (dir, model, _) = damaged();
    let once = |name: &str| {
        let out = dir.path().join(name);
        fs::create_dir(&out).unwrap();
        written(&["verify", arg(&model), "--device", "cpu"], &out).1
    };
    let (first, again) = (once("first"), once("again"));
    // Those that tell the time it took are not held to it.
    for format in ["sarif", "markdown"] {
        assert_eq!(first[format], again[format], "{format}");
    }
}

#[test]
fn rules_are_explained() {
    let all = run(&["explain"]);
    assert_eq!(all.code, 0);
    assert!(all.stdout.lines().count() > 110, "{}", all.stdout);
    let one = run(&["explain", "integrity/tensor-changed"]);
    assert_eq!(one.code, 0);
    for heading in ["What it means", "What it does not mean", "False alarms", "MITRE ATLAS"] {
        assert!(one.stdout.contains(heading), "{}", one.stdout);
    }
    assert!(one.stdout.lines().all(|line| line.chars().count() <= 120), "{}", one.stdout);
    let area = run(&["explain", "watermark"]);
    assert!(area.stdout.lines().all(|line| line.contains("  watermark/")), "{}", area.stdout);

    for args in [&["explain"][..], &["explain", "payload"], &["explain", "format/overlap"]] {
        let ran = run(&[args, &["--format", "json"]].concat());
        assert_eq!(ran.code, 0);
        validate("tensorseal.rules.1", &serde_json::from_str(&ran.stdout).unwrap());
    }
}

#[test]
fn a_rule_that_does_not_exist_is_told_with_its_neighbours() {
    let ran = run(&["explain", "integrity/tensor-chnged"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("integrity/tensor-changed"), "{}", ran.stderr);
    let (dir, model, _) = damaged();
    let target = format!("pdf={}", dir.path().join("x").display());
    let ran = run(&["verify", arg(&model), "--report", &target]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("sarif"), "{}", ran.stderr);
}
