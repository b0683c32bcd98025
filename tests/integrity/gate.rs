//! The gate, through the program: a sound model passes, each single violation fails as what it is, and what
//! could not be checked never passes.

use crate::common::oms::Fixtures;
use crate::common::random::Random;
use crate::common::*;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A model that was sealed, audited and signed, with a policy that it meets.
struct Release {
    fixtures: Fixtures,
    model: PathBuf,
}

/// Asks for everything that needs no mark.
const POLICY: &str = r#"schema = "tensorseal.policy/1"
name = "release"
[signature]
required = true
keys = ["keys/p384.pub.pem", "keys/p256.pub.pem"]
hash = ["sha256"]
[seal]
required = true
signed = true
[attestations]
required = ["seal", "audit"]
max_age = "1h"
[formats]
allowed = ["safetensors"]
[dtypes]
allowed = ["F32"]
[audit]
required = true
[severity]
format = "low"
integrity = "info"
signature = "low"
weights = "low"
payload = "low"
"#;

/// Weights as training makes them.
fn tensors() -> Vec<Tensor<'static>> {
    let mut random = Random(7);
    let mut normal = |len: usize| -> Vec<u8> {
        (0..len).flat_map(|_| (random.normal() as f32 * 0.02).to_le_bytes()).collect()
    };
    vec![
        ("model.layers.0.mlp.up_proj.weight", "F32", &[256, 256], normal(65_536)),
        ("model.layers.1.mlp.up_proj.weight", "F32", &[256, 256], normal(65_536)),
    ]
}

impl Release {
    fn new() -> Self {
        let fixtures = Fixtures::new();
        let model = write_model(&fixtures.path("release"), &tensors());
        let release = Self { fixtures, model };
        assert_eq!(run(&["seal", arg(&release.model), "--device", "cpu"]).code, 0);
        release.sign("p256", &[]);
        release
    }

    /// A copy of all of it.
    fn again(&self) -> Self {
        let fixtures = self.fixtures.again();
        let model = fixtures.path("release");
        Self { fixtures, model }
    }

    /// Seals the model anew; what was signed before is no part of it.
    fn seal(&self) {
        self.unsign();
        let ran = run(&["seal", arg(&self.model), "--device", "cpu"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }

    fn unsign(&self) {
        for name in ["model.sig", "model.sig.attestations.jsonl"] {
            fs::remove_file(self.model.join(name)).unwrap();
        }
    }

    fn sign(&self, key: &str, extra: &[&str]) {
        let key = self.fixtures.path(&format!("keys/{key}.priv.pem"));
        let mut args = vec!["sign", arg(&self.model), "--key", arg(&key), "--device", "cpu"];
        args.extend(["--attest", "seal", "--attest", "audit"]);
        args.extend(extra);
        let ran = run(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }

    /// Writes a policy where its keys are.
    fn policy(&self, text: &str) -> PathBuf {
        let path = self.fixtures.path("policy.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn gate(&self, policy: &str, extra: &[&str]) -> (i32, Value) {
        let policy = self.policy(policy);
        report(&[&["gate", arg(&self.model), "--policy", arg(&policy)], extra].concat())
    }

    /// Changes a byte of the weights.
    fn damage(&self) {
        let path = self.model.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1000;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// `blake3:` and the digest of a file.
fn digest_of(path: &Path) -> String {
    format!("blake3:{}", blake3::hash(&fs::read(path).unwrap()).to_hex())
}

/// The rules of a report that are not met.
fn failing(report: &Value) -> Vec<String> {
    let rules = report["policy"]["rules"].as_array().unwrap().iter();
    let failing =
        rules.filter(|rule| ["fail", "not_checked"].contains(&rule["outcome"].as_str().unwrap()));
    failing.map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
}

/// The rules of the findings that keep the gate closed.
fn violating(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let violating = all.filter(|finding| finding["standing"]["policy"] == "violates");
    violating.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_sound_model_passes_and_each_single_violation_is_its_rule() {
    let release = Release::new();
    let (code, report) = release.gate(POLICY, &[]);
    assert_eq!((code, failing(&report), violating(&report)), (0, vec![], vec![]), "{report:#}");
    assert_eq!(report["verdict"], "pass");
    let signed_by = report["seal"]["signed_by"].as_str().unwrap();
    assert!(signed_by.starts_with("P-256 key"), "{signed_by}");

    let with = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        POLICY.replace(from, to)
    };
    let signature = "hash = [\"sha256\"]\n";
    let other = "0".repeat(64);
    let later = "[[allow]]\nrule = \"weights/row-outlier\"\nreason = \"r\"\nexpires = 2026-01-31\n";
    for (policy, rule, finding) in [
        (with(signature, "hash = [\"blake3\"]\n"), "signature.hash", "policy/hash-not-allowed"),
        (
            with(signature, &format!("identities = [\"sha256:{other}\"]\n")),
            "signature.identities seal.signed attestations.required attestations.required",
            "policy/signer-not-allowed",
        ),
        (
            with("signed = true", &format!("signed = true\nexpect_root = [\"blake3:{other}\"]")),
            "seal.expect_root",
            "policy/other-root",
        ),
        (
            with("[\"seal\", \"audit\"]", "[\"watermark-claim\"]"),
            "attestations.required",
            "policy/attestation-missing",
        ),
        (with("[\"safetensors\"]", "[\"gguf\"]"), "formats.allowed", "policy/format-not-allowed"),
        (with("[\"F32\"]", "[\"BF16\"]"), "dtypes.allowed", "policy/dtype-not-allowed"),
        (format!("{POLICY}{later}"), "allow.expires", "policy/exception-expired"),
        (format!("{POLICY}watermark = \"low\"\n"), "severity.watermark", "policy/not-checked"),
    ] {
        let (code, report) = release.gate(&policy, &["--fail-on", "critical"]);
        assert_eq!(code, 1, "{policy}\n{report:#}");
        assert_eq!(failing(&report).join(" "), rule, "{report:#}");
        let mut found = violating(&report);
        found.sort();
        let mut expected: Vec<&str> = finding.split(' ').collect();
        expected.sort();
        assert_eq!(found, expected, "{report:#}");
    }
}

#[test]
fn what_is_done_to_a_model_keeps_the_gate_closed() {
    type Change = fn(&Release);
    let changes: [(&str, Change, &str, &str); 5] = [
        (
            "a changed weight",
            Release::damage,
            "signature.required attestations.required attestations.max_age attestations.required attestations.max_age",
            "signature/file-changed",
        ),
        (
            "an unsigned file",
            |release| fs::write(release.model.join("loader.py"), "x").unwrap(),
            "signature.required",
            "signature/file-unsigned",
        ),
        (
            "another key",
            |release| release.sign("p521", &[]),
            "signature.required seal.signed",
            "signature/not-trusted",
        ),
        (
            "no signature",
            |release| fs::remove_file(release.model.join("model.sig")).unwrap(),
            "signature.required seal.signed",
            "policy/not-signed",
        ),
        (
            "git metadata",
            |release| fs::create_dir(release.model.join(".git")).unwrap(),
            "coverage.allow",
            "policy/not-measured",
        ),
    ];
    let policy = format!("{POLICY}[coverage]\nallow = []\n");
    let first = Release::new();
    for (name, change, rules, finding) in changes {
        let release = first.again();
        change(&release);
        let (code, report) = release.gate(&policy, &["--fail-on", "critical"]);
        assert_eq!((code, report["verdict"].as_str()), (1, Some("fail")), "{name}");
        let failing = failing(&report);
        for rule in rules.split(' ') {
            assert!(failing.iter().any(|failing| failing == rule), "{name}: {rule}: {report:#}");
        }
        assert!(violating(&report).iter().any(|found| found == finding), "{name}: {report:#}");
    }
}

#[test]
fn findings_are_limited_and_allowed_by_name() {
    let release = Release::new();
    let mut tensors = tensors();
    // One row of the first matrix, twenty times as large.
    for value in tensors[0].3[40 * 1024..41 * 1024].chunks_exact_mut(4) {
        let scaled = f32::from_le_bytes(value.try_into().unwrap()) * 20.0;
        value.copy_from_slice(&scaled.to_le_bytes());
    }
    fs::write(release.model.join("model.safetensors"), safetensors(&tensors)).unwrap();
    let audit = "schema = \"tensorseal.policy/1\"\n[audit]\nrequired = true\n";
    let (code, report) = release.gate(audit, &[]);
    assert_eq!((code, failing(&report)), (1, vec!["severity.weights".to_owned()]), "{report:#}");
    let found = violating(&report);
    let allow = |tensor: &str| {
        let rules: std::collections::BTreeSet<&String> = found.iter().collect();
        rules.iter().fold(audit.to_owned(), |text, rule| {
            text + &format!(
                "[[allow]]\nrule = \"{rule}\"\ntensor = \"{tensor}\"\nreason = \"seen\"\nexpires = 2999-01-31\n"
            )
        })
    };
    let (code, report) = release.gate(&allow("model.layers.0.*"), &[]);
    assert_eq!((code, violating(&report)), (0, vec![]), "{report:#}");
    assert_eq!(report["policy"]["exceptions"][0]["allowed"], 1);
    let (code, report) = release.gate(&allow("model.layers.1.*"), &[]);
    assert_eq!((code, failing(&report)), (1, vec!["severity.weights".to_owned()]));
    let (code, _) = release.gate(&format!("{audit}[severity]\nweights = \"critical\"\n"), &[]);
    assert_eq!(code, 0);

    // For one content of the file alone.
    let digest = digest_of(&release.model.join("model.safetensors"));
    let of_content = |digest: &str| {
        let named = format!("file = \"*.safetensors\"\ndigest = \"{digest}\"\nreason");
        allow("*").replace("reason", &named)
    };
    let (code, report) = release.gate(&of_content(&digest), &[]);
    assert_eq!((code, violating(&report)), (0, vec![]), "{report:#}");
    let other = format!("blake3:{}", "0".repeat(64));
    let (code, report) = release.gate(&of_content(&other), &[]);
    assert_eq!((code, failing(&report)), (1, vec!["severity.weights".to_owned()]));
}

#[test]
fn marks_are_looked_for_in_the_same_pass() {
    let release = Release::new();
    let key = release.fixtures.path("owner.key");
    write_key(&key, "owner");
    let text = |expect: &str| {
        format!(
            "schema = \"tensorseal.policy/1\"\n[[watermark]]\nkey = \"owner.key\"\nexpect = \"{expect}\"\n"
        )
    };
    let (code, report) = release.gate(&text("present"), &[]);
    assert_eq!((code, failing(&report)), (1, vec!["watermark.expect".to_owned()]), "{report:#}");
    assert_eq!(violating(&report), ["policy/watermark"]);
    assert!(report["watermark"]["verdict"].is_string());
}

#[test]
fn mistakes_in_the_policy_are_told_before_the_model_is_read() {
    let release = Release::new();
    for (policy, said) in [
        ("requierd = true", "line 2, column 1: requierd: unknown field"),
        ("[signature]\nrequired = true\nkeys = [\"none.pem\"]", "signature.keys[0]"),
        ("[signature.keyless]\nidentity = \"a\"\nissuer = \"b\"", "not built in"),
        ("[[watermark]]\nkey = \"none.key\"\nexpect = \"absent\"", "watermark[0].key"),
        (
            "[[allow]]\nrule = \"format/pickle-global\"\nfile = \"*\"\nreason = \"r\"\nexpires = 2999-01-31",
            "with `file` and `digest`",
        ),
        ("code = \"signed\"", "code: expected one of none, pinned, any"),
    ] {
        let path = release.policy(&format!("schema = \"tensorseal.policy/1\"\n{policy}\n"));
        let (code, report) = report(&["gate", arg(&release.model), "--policy", arg(&path)]);
        assert_eq!((code, report["verdict"].as_str()), (2, Some("incomplete")), "{policy}");
        let error = report["error"].as_str().unwrap();
        assert!(error.contains("policy.toml") && error.contains(said), "{error}");
    }
    for args in [&["gate"][..], &["gate", "model"], &["gate", "--print-policy", "model"]] {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let release = Release::new();
    let policy = release.policy(POLICY);
    let gone = release.fixtures.path("gone");
    let (code, report) = report(&["gate", arg(&gone), "--policy", arg(&policy)]);
    assert_eq!((code, report["verdict"].as_str()), (3, Some("incomplete")));
}

/// What is violated stands before that there is nothing to judge.
#[test]
fn nothing_to_judge_is_never_a_pass() {
    let mut release = Release::new();
    release.model = release.fixtures.path("empty");
    fs::create_dir(&release.model).unwrap();
    let head = "schema = \"tensorseal.policy/1\"\n";
    let audit = format!("{head}[audit]\nrequired = true\n");
    for policy in [head, &audit] {
        let (code, report) = release.gate(policy, &[]);
        assert_eq!((code, report["verdict"].as_str()), (4, Some("incomplete")), "{report:#}");
        assert_eq!((&report["exit_code"], &report["policy"]["passed"]), (&4.into(), &false.into()));
    }
    let (code, report) = release.gate(POLICY, &[]);
    assert_eq!(code, 1, "{report:#}");
    assert!(violating(&report).contains(&"policy/not-signed".to_owned()), "{report:#}");

    // A card and nothing else: it can be signed, and a gate that asks for no weights judges it.
    release.model = release.fixtures.path("card");
    fs::create_dir(&release.model).unwrap();
    fs::write(release.model.join("README.md"), "# A card\n").unwrap();
    fs::write(release.model.join("config.json"), "{}\n").unwrap();
    let (key, target) = (release.fixtures.path("keys/p256.priv.pem"), release.model.clone());
    assert_eq!(run(&["sign", arg(&target), "--key", arg(&key)]).code, 0);
    let signed = format!("{head}[signature]\nrequired = true\nkeys = [\"keys/p256.pub.pem\"]\n");
    let (code, report) = release.gate(&signed, &[]);
    assert_eq!((code, report["verdict"].as_str()), (0, Some("pass")), "{report:#}");
    let both = format!("{signed}[audit]\nrequired = true\n");
    let statement = release.fixtures.path("card.vsa");
    let (code, report) = release.gate(&both, &["--statement", &format!("vsa={}", arg(&statement))]);
    assert_eq!((code, failing(&report)), (4, vec![]), "{report:#}");
    let error = report["error"].as_str().unwrap();
    assert!(
        error.contains("no readable weights found, only") && error.contains("README.md"),
        "{error}"
    );
    let stated: Value = serde_json::from_slice(&fs::read(&statement).unwrap()).unwrap();
    assert_eq!(stated["predicate"]["verificationResult"], "FAILED");
    fs::write(release.model.join("README.md"), "# Another\n").unwrap();
    assert_eq!(release.gate(&both, &[]).0, 1);
}

/// Whatever is said of the damage: weights that nobody looked into are no pass.
#[test]
fn weights_that_cannot_be_read_fail_where_weights_are_asked_for() {
    let release = Release::new();
    let damaged = release.model.join("more.safetensors");
    let cut = safetensors(&[("more.weight", "F32", &[8, 8], noise(3, 256))])[..108].to_vec();
    fs::write(&damaged, cut).unwrap();
    let head = "schema = \"tensorseal.policy/1\"\n[severity]\nformat = \"critical\"\n";
    let weights = format!("{head}[audit]\nrequired = true\n");
    assert_eq!(release.gate(head, &[]).0, 0);
    let (code, report) = release.gate(&weights, &[]);
    assert_eq!((code, failing(&report)), (1, vec!["coverage.allow".to_owned()]), "{report:#}");
    let rules = report["policy"]["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["of"] == "weights").unwrap();
    assert!(rule["evidence"].as_str().unwrap().contains("more.safetensors (108 B)"), "{rule}");
    let exempt = format!("{weights}[coverage]\nallow = [\"more.*\"]\n");
    let (code, report) = release.gate(&exempt, &[]);
    assert_eq!((code, failing(&report)), (0, vec![]), "{report:#}");
}

#[test]
fn the_policy_names_the_digest_of_its_seal() {
    let release = Release::new();
    let policy = |digest: &str| {
        format!("schema = \"tensorseal.policy/1\"\n[seal]\nexpect_digest = [\"{digest}\"]\n")
    };
    let digest = digest_of(&release.model.join("tensorseal.seal.json"));
    let (code, report) = release.gate(&policy(&digest), &[]);
    assert_eq!((code, failing(&report)), (0, vec![]), "{report:#}");
    fs::write(release.model.join("config.json"), "{}").unwrap();
    assert_eq!(violating(&release.gate(&policy(&digest), &[]).1), ["integrity/file-changed"]);
    // Whoever can write the model can seal it again.
    release.seal();
    let (code, report) = release.gate(&policy(&digest), &[]);
    assert_eq!((code, violating(&report)), (1, vec!["policy/other-seal".to_owned()]));
    fs::remove_file(release.model.join("tensorseal.seal.json")).unwrap();
    let (code, report) = release.gate(&policy(&digest), &[]);
    assert_eq!((code, violating(&report)), (1, vec!["policy/seal-missing".to_owned()]));
}

#[test]
fn a_link_to_a_directory_keeps_the_gate_closed() {
    let release = Release::new();
    let sub = release.model.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("notes.txt"), "notes").unwrap();
    release.seal();
    release.sign("p256", &[]);
    let (code, report) = release.gate(POLICY, &[]);
    assert_eq!((code, violating(&report)), (0, vec![]), "{report:#}");
    symlink("sub", release.model.join("other")).unwrap();
    let (code, report) = release.gate(POLICY, &[]);
    let mut found = violating(&report);
    found.sort();
    assert_eq!(code, 1);
    assert!(found.contains(&"integrity/file-added".to_owned()), "{report:#}");
    assert!(found.contains(&"signature/link".to_owned()), "{report:#}");
}

/// The state of a scan that accepted the model, and a policy that holds it to that.
#[test]
fn a_record_of_a_registry_is_held_to_every_file() {
    let release = Release::new();
    let registry = release.fixtures.path("registry");
    fs::create_dir(&registry).unwrap();
    let model = registry.join("model");
    // What is written beside a model is compared by the scan itself: here, only the record is.
    fs::remove_file(release.model.join("tensorseal.seal.json")).unwrap();
    fs::rename(&release.model, &model).unwrap();
    let state = release.fixtures.path("state.db");
    let ran = run(&["registry", "scan", arg(&registry), "--state", arg(&state)]);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    let release = Release { model, ..release };
    let policy = "schema = \"tensorseal.policy/1\"\n[registry]\nrequired = true\n";
    let gate = || release.gate(policy, &["--state", arg(&state)]);
    let (code, report) = gate();
    assert_eq!((code, failing(&report)), (0, vec![]), "{report:#}");
    type Change = fn(&Path);
    let changes: [(Change, &str); 5] = [
        (|model| fs::write(model.join("config.json"), "{\"a\": 1}").unwrap(), "config.json: "),
        (|model| fs::write(model.join("new.py"), "x = 1").unwrap(), "new.py: "),
        (|model| fs::remove_file(model.join("empty.txt")).unwrap(), "empty.txt: "),
        (|model| fs::write(model.join("model.sig"), "{}").unwrap(), "model.sig: "),
        (
            |model| {
                fs::create_dir(model.join("sub")).unwrap();
                symlink("sub", model.join("link")).unwrap();
            },
            "link: ",
        ),
    ];
    for (change, said) in changes {
        let kept = release.fixtures.path("kept");
        let copied = Command::new("cp").args(["-a", arg(&release.model), arg(&kept)]).status();
        assert!(copied.unwrap().success());
        change(&release.model);
        let (code, report) = gate();
        assert_eq!((code, failing(&report)), (1, vec!["registry.required".to_owned()]), "{said}");
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|f| f["rule"] == "policy/registry-check").unwrap();
        assert!(finding["message"].as_str().unwrap().contains(said), "{said}: {finding}");
        fs::remove_dir_all(&release.model).unwrap();
        fs::rename(&kept, &release.model).unwrap();
    }
    assert_eq!(gate().0, 0);
}

#[test]
fn the_printed_policy_is_one() {
    let ran = run(&["gate", "--print-policy"]);
    assert_eq!(ran.code, 0);
    let policy = tensorseal_core::policy::Policy::parse(&ran.stdout).unwrap();
    assert!(policy.signature.required && policy.audit);
    assert_eq!(ran.stdout, tensorseal_core::policy::DEFAULT);
}

#[test]
fn the_verdict_is_stated_and_signed() {
    let release = Release::new();
    let (vsa, svr) = (release.fixtures.path("out.vsa"), release.fixtures.path("out.svr"));
    let bill = release.fixtures.path("bill.json");
    let (vsa_arg, svr_arg) = (format!("vsa={}", vsa.display()), format!("svr={}", svr.display()));
    let bill_arg = format!("cyclonedx={}", bill.display());
    let key = release.fixtures.path("keys/p256.priv.pem");
    let mut args = vec!["--statement", &vsa_arg, "--statement", &svr_arg, "--report", &bill_arg];
    args.extend(["--resource-uri", "pkg:huggingface/example/model@1"]);
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };

    let (code, report) = release.gate(POLICY, &args);
    assert_eq!(code, 0, "{report:#}");
    let statement = json(&vsa);
    assert_eq!(statement["predicate"]["verificationResult"], "PASSED");
    assert_eq!(statement["predicate"]["resourceUri"], "pkg:huggingface/example/model@1");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        report["signature"]["signed"]["sha256"]
    );
    assert_eq!(statement["predicate"]["inputAttestations"].as_array().unwrap().len(), 2);
    let file = |name: &str| {
        let bill = json(&bill);
        let files = bill["components"].as_array().unwrap();
        files.iter().find(|file| file["name"] == name).unwrap()["hashes"][0].clone()
    };
    let sum = Command::new("sha256sum").arg(release.model.join("config.json")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(file("config.json")["content"], sum.split(' ').next().unwrap());

    release.damage();
    args.extend(["--key", arg(&key)]);
    assert_eq!(release.gate(POLICY, &args).0, 1);
    let bundle = fs::read(&svr).unwrap();
    let public = fs::read(release.fixtures.path("keys/p256.pub.pem")).unwrap();
    let public = tensorseal_signing::PublicKey::from_pem(&public).unwrap();
    let trust = tensorseal_signing::TrustAnchors::Key(public);
    let opened = tensorseal_signing::verify(&bundle, &trust, jiff::Timestamp::now()).unwrap();
    let statement: Value = serde_json::from_slice(&opened.statement).unwrap();
    assert_eq!(statement["predicate"]["properties"], serde_json::json!([]));
    assert_ne!(
        statement["subject"][0]["digest"]["sha256"],
        report["signature"]["signed"]["sha256"]
    );
}

#[test]
fn the_shell_gate_opens_only_when_every_model_was_judged_and_meets_the_policy() {
    let release = Release::new();
    let policy = release.policy(POLICY);
    let damaged = release.again();
    damaged.damage();
    let (sound, damaged) = (arg(&release.model), arg(&damaged.model));
    let script = tensorseal_testing::workspace().join("contrib/shell/gate.sh");
    let gate = |policy: &Path, models: &[&str]| {
        let mut command = Command::new(&script);
        command.env("TENSORSEAL", env!("CARGO_BIN_EXE_tensorseal")).arg(policy).args(models);
        finished(command.output().unwrap())
    };
    let passed = gate(&policy, &[sound]);
    assert_eq!((passed.code, passed.stdout), (0, format!("gate: {sound}: passed\n")));
    for (models, code) in [
        (&[sound, damaged][..], 1),
        (&[damaged, sound], 1),
        (&[damaged, "no-such-model", sound], 3),
        (&["no-such-model", damaged], 3),
        (&[], 2),
    ] {
        let ran = gate(&policy, models);
        assert_eq!(ran.code, code, "{models:?}: {}", ran.stderr);
    }
    assert_eq!(gate(Path::new("no-such-policy"), &[sound]).code, 2);
}

#[test]
fn annotations_are_printed_for_github() {
    let release = Release::new();
    fs::write(release.model.join("loader.py"), "x").unwrap();
    let policy = release.policy(POLICY);
    let args = ["gate", arg(&release.model), "--policy", arg(&policy), "--format", "github"];
    let ran = run(&[&args[..], &["--device", "cpu"]].concat());
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.lines().all(|line| line.starts_with("::")), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("::error title=tensorseal gate%3A FAIL::"), "{}", ran.stdout);
}

/// A model whose configuration names a class in a file beside it, judged by `code` alone.
struct Coded {
    fixtures: Fixtures,
    model: PathBuf,
}

impl Coded {
    fn new(class: &str) -> Self {
        let fixtures = Fixtures::new();
        let model = write_model(&fixtures.path("coded"), &tensors());
        let config = format!("{{\"auto_map\": {{\"AutoModel\": \"{class}\"}}}}\n");
        fs::write(model.join("config.json"), config).unwrap();
        fs::write(model.join("modeling_x.py"), "class Model:\n    pass\n").unwrap();
        Self { fixtures, model }
    }

    fn did(&self, args: &[&str]) {
        let ran = run(&[args, &["--device", "cpu"]].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    }

    /// Exit code, and the files that keep the gate closed for the sake of `code`.
    fn judged(&self, policy: &str, extra: &[&str]) -> (i32, Vec<String>) {
        let path = self.fixtures.path("policy.toml");
        let limits = "[severity]\ncontent = \"medium\"\n";
        fs::write(&path, format!("schema = \"tensorseal.policy/1\"\n{policy}{limits}")).unwrap();
        let args = ["gate", arg(&self.model), "--policy", arg(&path)];
        let (code, report) = report(&[&args[..], extra].concat());
        let findings = report["findings"].as_array().unwrap().iter();
        let of_code = findings.filter(|finding| finding["standing"]["rule"] == "code");
        let files = of_code.map(|finding| finding["file"].as_str().unwrap().to_owned());
        (code, files.collect())
    }
}

#[test]
fn code_is_pinned_by_whole_files_that_somebody_who_is_trusted_vouches_for() {
    let coded = Coded::new("modeling_x.Model");
    let script = "modeling_x.py".to_owned();
    let (model, state) = (arg(&coded.model), coded.fixtures.path("state.db"));
    let pinned = "code = \"pinned\"\n";
    let is_open = |policy: &str, extra: &[&str]| {
        let (code, files) = coded.judged(policy, extra);
        assert_eq!(code == 1, files.contains(&script), "{policy} {extra:?}: {code} {files:?}");
        code == 1
    };
    assert!(!is_open("", &[]) && !is_open("code = \"any\"\n", &[]));
    assert!(is_open("code = \"none\"\n", &[]) && is_open(pinned, &[]));

    // Whoever writes the model writes a seal beside it, and its root.
    coded.did(&["seal", model]);
    let seal = coded.model.join("tensorseal.seal.json");
    let document: Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
    let root = document["model"]["root"].as_str().unwrap();
    let held = format!("{pinned}[seal]\nrequired = true\nexpect_root = [\"{root}\"]\n");
    assert!(is_open(pinned, &[]) && is_open(&held, &[]));
    assert!(is_open(pinned, &["--seal", arg(&seal)]), "named, and still beside the model");
    let named = format!("{pinned}[seal]\nexpect_digest = [\"{}\"]\n", digest_of(&seal));
    assert!(!is_open(&named, &[]), "the policy names it");
    let elsewhere = coded.fixtures.path("given.json");
    fs::copy(&seal, &elsewhere).unwrap();
    assert!(!is_open(pinned, &["--seal", arg(&elsewhere)]));
    let link = coded.fixtures.path("link.json");
    symlink(&seal, &link).unwrap();
    assert!(is_open(pinned, &["--seal", arg(&link)]), "a link into the model");

    // A seal vouches for no file that has changed since.
    let text = fs::read(coded.model.join("modeling_x.py")).unwrap();
    fs::write(coded.model.join("modeling_x.py"), "class Model:\n    x = 1\n").unwrap();
    assert!(is_open(pinned, &["--seal", arg(&elsewhere)]));
    fs::write(coded.model.join("modeling_x.py"), &text).unwrap();

    // Signed, by whoever is trusted and may sign.
    let (key, target) = (coded.fixtures.path("keys/p256.priv.pem"), coded.fixtures.path("out.sig"));
    coded.did(&["sign", model, "--key", arg(&key), "-o", arg(&target)]);
    let by = |key: &str, more: &str| {
        format!("{pinned}[signature]\nkeys = [\"keys/{key}.pub.pem\"]\n{more}")
    };
    let signature = ["--signature", arg(&target)];
    assert!(!is_open(&by("p256", ""), &signature));
    assert!(is_open(&by("p384", ""), &signature));
    let other = format!("identities = [\"sha256:{}\"]\n", "0".repeat(64));
    assert!(is_open(&by("p256", &other), &signature));
    assert!(is_open(pinned, &signature), "nobody is trusted");
    let none = by("p256", "").replace("pinned", "none");
    assert!(is_open(&none, &signature), "however it is signed");

    // Accepted by a scan, and the same bytes still.
    fs::remove_file(&seal).unwrap();
    let source = coded.model.parent().unwrap().join("scanned");
    fs::create_dir(&source).unwrap();
    let moved = Coded { model: source.join("model"), ..coded };
    fs::rename(source.parent().unwrap().join("coded"), &moved.model).unwrap();
    let scan = ["registry", "scan", arg(&source), "--state", arg(&state), "--fail-on", "critical"];
    moved.did(&scan);
    assert_eq!(moved.judged(pinned, &["--state", arg(&state)]), (0, vec![]));
    fs::write(moved.model.join("modeling_x.py"), "class Model:\n    x = 1\n").unwrap();
    assert_eq!(moved.judged(pinned, &["--state", arg(&state)]), (1, vec![script]));
}

#[test]
fn code_from_elsewhere_is_pinned_by_nothing() {
    let coded = Coded::new("some-org/some-model--modeling_x.Model");
    let key = coded.fixtures.path("keys/p256.priv.pem");
    coded.did(&["sign", arg(&coded.model), "--key", arg(&key)]);
    let policy = |code: &str| {
        format!("code = \"{code}\"\n[signature]\nrequired = true\nkeys = [\"keys/p256.pub.pem\"]\n")
    };
    assert_eq!(coded.judged(&policy("any"), &[]), (0, vec![]));
    assert_eq!(coded.judged(&policy("pinned"), &[]), (1, vec!["config.json".to_owned()]));
}
