//! What a gate lets through, by what the policy says of formats, unknown files, code and exceptions.

use super::files::calling;
use super::table::*;
use crate::common::contents::*;
use crate::common::oms::Fixtures;
use crate::common::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A model, the keys of its signer, and what is done with it before the gate.
struct Gate {
    fixtures: Fixtures,
    laid: Laid,
}

impl Gate {
    fn new(files: Files) -> Gate {
        Gate { fixtures: Fixtures::new(), laid: Laid::new(&files) }
    }

    fn model(&self) -> PathBuf {
        self.laid.model()
    }

    fn run(&self, verb: &str, more: &[&str]) {
        let model = self.model();
        let ran = run(&[&[verb, arg(&model), "--device", "cpu"][..], more].concat());
        assert_eq!(ran.code, 0, "{verb}: {}{}", ran.stdout, ran.stderr);
    }

    fn signed(self) -> Gate {
        let key = self.fixtures.path("keys/p256.priv.pem");
        self.run("sign", &["--key", arg(&key)]);
        self
    }

    fn sealed(self) -> Gate {
        self.run("seal", &[]);
        self
    }

    fn sealed_elsewhere(self) -> (Gate, PathBuf) {
        let seal = self.laid.outer().join("seal.json");
        self.run("seal", &["-o", arg(&seal)]);
        (self, seal)
    }

    /// Exit code and report, by a policy of these lines.
    fn judged(&self, policy: &str, more: &[&str]) -> (i32, Value) {
        let path = self.laid.outer().join("policy.toml");
        let key = self.fixtures.path("keys/p256.pub.pem");
        let policy = policy.replace("{key}", arg(&key));
        fs::write(&path, format!("schema = \"tensorseal.policy/1\"\n{policy}")).unwrap();
        let model = self.model();
        let ran =
            run(&[
                &[
                    "gate",
                    arg(&model),
                    "--policy",
                    arg(&path),
                    "--device",
                    "cpu",
                    "--format",
                    "json",
                ][..],
                more,
            ]
            .concat());
        let report = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr));
        validate("tensorseal.report.2", &report);
        (ran.code, report)
    }

    /// Holds the verdict, and the rule of the policy that it is because of.
    fn hold(&self, name: &str, policy: &str, code: i32, rule: &str) {
        self.hold_with(name, policy, &[], code, rule);
    }

    fn hold_with(&self, name: &str, policy: &str, more: &[&str], code: i32, rule: &str) {
        let (found, report) = self.judged(policy, more);
        assert_eq!(found, code, "{name}: {report:#}");
        if rule.is_empty() {
            return;
        }
        let rules = report["policy"]["rules"].as_array().unwrap();
        let failing: Vec<&str> = rules
            .iter()
            .filter(|outcome| matches!(outcome["outcome"].as_str(), Some("fail" | "not_checked")))
            .filter_map(|outcome| outcome["rule"].as_str())
            .collect();
        assert!(failing.contains(&rule), "{name}: {failing:?}: {report:#}");
    }
}

const SIGNATURE: &str = "[signature]\nrequired = true\nkeys = [\"{key}\"]\n";

#[test]
fn formats_are_those_of_all_files_of_weights() {
    let only = "[formats]\nallowed = [\"safetensors\"]\n";
    let rule = "formats.allowed";
    let with = |path, bytes: Vec<u8>| Gate::new(beside(vec![file(path, bytes)]));
    Gate::new(beside(Vec::new())).hold("alone", only, 0, "");
    with("model.onnx", onnx("", None)).hold("ONNX", only, 1, rule);
    with("data.0", onnx("", None)).hold("ONNX of another name", only, 1, rule);
    with("tf_model.h5", hdf5("")).hold("HDF5", only, 1, rule);
    with("flax_model.msgpack", flax()).hold("MessagePack", only, 1, rule);
    with("model.onnx", onnx("", None)).hold(
        "ONNX allowed",
        "[formats]\nallowed = [\"safetensors\", \"onnx\"]\n",
        0,
        "",
    );
    with("tf_model.h5", hdf5("")).hold(
        "exempt",
        "[coverage]\nallow = [\"tf_model.h5\"]\n[formats]\nallowed = [\"safetensors\"]\n",
        0,
        "",
    );
}

#[test]
fn what_is_not_understood_is_judged_as_the_policy_says() {
    let rule = "files.unknown";
    let unknown = || Gate::new(beside(vec![file("blob.xyz", unknown(700))]));
    let of = |value: &str| format!("[files]\nunknown = \"{value}\"\n");
    unknown().hold("not said", "[formats]\nallowed = [\"safetensors\"]\n", 0, "");
    unknown().hold("listed", &of("list"), 0, "");
    unknown().hold("fails", &of("fail"), 1, rule);
    unknown().hold("pinned by nobody", &of("pinned"), 1, rule);
    unknown().sealed().hold("an unsigned seal beside it pins nothing", &of("pinned"), 1, rule);
    unknown().signed().hold("signed", &format!("{SIGNATURE}{}", of("pinned")), 0, "");
    unknown().hold("exempt", &format!("[coverage]\nallow = [\"blob.*\"]\n{}", of("fail")), 0, "");
    Gate::new(beside(vec![file("libx.so", elf())])).hold("a library", &of("fail"), 1, rule);
    let (gate, seal) = unknown().sealed_elsewhere();
    gate.hold_with("a seal from elsewhere", &of("pinned"), &["--seal", arg(&seal)], 0, "");
}

#[test]
fn weights_that_were_not_audited_fail_unless_they_are_exempt() {
    let audit = "[audit]\nrequired = true\n";
    let with = || Gate::new(beside(vec![file("model.onnx", onnx("", None))]));
    with().hold("not audited", audit, 1, "coverage.allow");
    with().hold("exempt", &format!("[coverage]\nallow = [\"model.onnx\"]\n{audit}"), 0, "");
    with().hold("weights are not asked for", "[files]\nunknown = \"list\"\n", 0, "");
}

#[test]
fn a_gate_that_asks_for_weights_ends_with_4_without_them() {
    let card = || Gate::new(vec![file("README.md", "# Card\n"), file("tokenizer.json", "{}")]);
    assert_eq!(card().judged("[audit]\nrequired = true\n", &[]).0, 4);
    let onnx = Gate::new(vec![file("model.onnx", onnx("", None))]);
    let (code, report) = onnx.judged("[audit]\nrequired = true\n", &[]);
    assert!(matches!(code, 1 | 4), "{report:#}");
    card().signed().hold("a signature is asked for", SIGNATURE, 0, "");
    card().hold("and is not there", SIGNATURE, 1, "signature.required");
    // A violation stands before that there is nothing.
    let both = format!("{SIGNATURE}[audit]\nrequired = true\n");
    assert_eq!(card().judged(&both, &[]).0, 1);
}

#[test]
fn code_is_pinned_by_who_is_trusted() {
    let rule = "code";
    let script = || Gate::new(beside(vec![file("tool.py", "print(1)\n")]));
    let of = |value: &str, rest: &str| format!("code = \"{value}\"\n{rest}");
    script().hold("any", &of("any", ""), 0, "");
    script().hold("not said", "[files]\nunknown = \"list\"\n", 0, "");
    script().hold("none", &of("none", ""), 1, rule);
    script().hold("pinned by nobody", &of("pinned", ""), 1, rule);
    script().sealed().hold("an unsigned seal beside it", &of("pinned", ""), 1, rule);
    let asked = of("pinned", "[seal]\nrequired = true\n");
    script().sealed().hold("the same, and the model is compared with it", &asked, 1, rule);
    script().signed().hold("signed", &of("pinned", SIGNATURE), 0, "");
    script().sealed().signed().hold(
        "sealed and signed",
        &of("pinned", &format!("{SIGNATURE}[seal]\nrequired = true\nsigned = true\n")),
        0,
        "",
    );
    let (gate, seal) = script().sealed_elsewhere();
    gate.hold_with("a seal from elsewhere", &of("pinned", ""), &["--seal", arg(&seal)], 0, "");
    let expect = |root: &str| of("pinned", &format!("[seal]\nexpect_root = [\"{root}\"]\n"));
    let root = gate.judged("", &[]).1["model"]["root"].as_str().unwrap().to_owned();
    gate.hold("a root pins no code", &expect(&root), 1, rule);
    Gate::new(beside(Vec::new())).hold("no code", &of("none", ""), 0, "");
    // What is fetched is pinned by nothing.
    let remote = "{\"auto_map\": {\"AutoModel\": \"org/repo--modeling_x.X\"}}";
    let files = vec![file("config.json", remote), file("model.safetensors", weights())];
    let high = "[severity]\ncontent = \"high\"\n";
    Gate::new(files).signed().hold("remote", &of("pinned", &format!("{SIGNATURE}{high}")), 1, rule);
}

#[test]
fn an_exception_hides_no_more_than_it_names() {
    let gate = || Gate::new(beside(vec![file("state.dat", calling())]));
    let limit = "[severity]\nformat = \"low\"\n";
    let allow = |more: &str| {
        format!(
            "{limit}[[allow]]\nrule = \"format/pickle-global\"\nfile = \"state.dat\"\nreason = \"looked at\"\nexpires = 2099-01-01\n{more}"
        )
    };
    let digest = blake3::hash(&calling()).to_hex().to_string();
    let named = |digest: &str| allow(&format!("digest = \"blake3:{digest}\"\n"));
    gate().hold("found", limit, 1, "severity.format");
    let (code, _) = refused(&gate(), &allow(""));
    assert_eq!(code, 2, "an exception for a pickle names the file by its digest");
    gate().hold("allowed", &named(&digest), 0, "");
    gate().hold("another file", &named(&"0".repeat(64)), 1, "severity.format");
}

/// Exit code and what is said, of a policy that is refused.
fn refused(gate: &Gate, policy: &str) -> (i32, String) {
    let path = gate.laid.outer().join("refused.toml");
    fs::write(&path, format!("schema = \"tensorseal.policy/1\"\n{policy}")).unwrap();
    let model = gate.model();
    let ran = run(&["gate", arg(&model), "--policy", arg(&path), "--device", "cpu"]);
    (ran.code, ran.stderr)
}

#[test]
fn a_link_to_a_directory_is_no_part_that_anybody_vouched_for() {
    let gate = Gate::new(beside(vec![file("sub/notes.txt", "notes\n")])).signed();
    let (model, key) = (gate.model(), gate.fixtures.path("keys/p256.pub.pem"));
    let signature = model.join("model.sig");
    let verify = |model: &Path| {
        report(&["verify", arg(model), "--signature", arg(&signature), "--public-key", arg(&key)])
    };
    assert_eq!(verify(&model).0, 0);
    std::os::unix::fs::symlink("sub", model.join("other")).unwrap();
    let (code, found) = verify(&model);
    assert_eq!(code, 1, "{found:#}");
    assert!(rules(&found).iter().any(|(rule, _)| rule == "signature/link"), "{found:#}");
    let sealed = Gate::new(beside(vec![file("sub/notes.txt", "notes\n")])).sealed();
    std::os::unix::fs::symlink("sub", sealed.model().join("other")).unwrap();
    let (code, found) = report(&["verify", arg(&sealed.model())]);
    assert_eq!(code, 1, "{found:#}");
    assert!(rules(&found).iter().any(|(rule, _)| rule == "integrity/file-added"), "{found:#}");
}

#[test]
fn what_a_scan_recorded_is_every_file() {
    let gate = Gate::new(beside(vec![file("tokenizer.json", "{}")]));
    let state = gate.laid.outer().join("state");
    let scan = || {
        run(&[
            "registry",
            "scan",
            arg(gate.laid.outer()),
            "--state",
            arg(&state),
            "--device",
            "cpu",
        ])
    };
    let scanned = scan();
    assert_eq!(scanned.code, 0, "{}{}", scanned.stdout, scanned.stderr);
    let policy = "[registry]\nrequired = true\n";
    gate.hold_with("as recorded", policy, &["--state", arg(&state)], 0, "");
    fs::write(gate.model().join("tokenizer.json"), "{ }").unwrap();
    gate.hold_with("another tokenizer", policy, &["--state", arg(&state)], 1, "registry.required");
    fs::write(gate.model().join("tokenizer.json"), "{}").unwrap();
    gate.hold_with("as it was", policy, &["--state", arg(&state)], 0, "");
    fs::write(gate.model().join("extra.txt"), "x").unwrap();
    gate.hold_with("a file more", policy, &["--state", arg(&state)], 1, "registry.required");
}
