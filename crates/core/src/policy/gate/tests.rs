use super::*;
use crate::judge::Severity;
use crate::judge::watermark::{Detection, Presence};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_code::{CodeFile, CodeReport, RemoteCode};
use tensorseal_format::{ContentClass, FileContent, FileRole, SkipReason, SkippedPath};
use tensorseal_signing::attestation::AttestationKind;

const ROOT: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";
const OTHER: &str = "blake3:1111111111111111111111111111111111111111111111111111111111111111";

/// Everything that a policy can ask for.
const STRICT: &str = r#"
schema = "tensorseal.policy/1"
code = "pinned"
[signature]
required = true
roots = ["root.pem"]
identities = ["release@example.com"]
hash = ["sha256"]
allow_ignored_paths = ["docs/*"]
[seal]
required = true
signed = true
expect_root = ["blake3:0000000000000000000000000000000000000000000000000000000000000000"]
[attestations]
required = ["seal", "audit"]
max_age = "30d"
[files]
unknown = "pinned"
[formats]
allowed = ["safetensors"]
[dtypes]
allowed = ["F32", "BF16"]
[audit]
required = true
[severity]
format = "info"
integrity = "info"
signature = "info"
weights = "low"
payload = "none"
watermark = "low"
lineage = "medium"
content = "low"
[[watermark]]
key = "ours.key"
claim = "ours.claim"
expect = "present"
max_log10_p = -20.0
[[watermark]]
key = "theirs.key"
expect = "absent"
[[allow]]
rule = "weights/row-outlier"
tensor = "layers.*.mlp"
reason = "known"
expires = 2027-01-31
"#;

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn signer() -> SignerEvidence {
    SignerEvidence {
        name: "release".into(),
        identities: vec!["release@example.com".into(), "sha256:ab".into()],
    }
}

fn detection(verdict: Presence, log10_p: f64) -> Observation<Detection> {
    let base = crate::judge::watermark::judge("k", &[], &Default::default());
    Observation::Observed(Detection { verdict, log10_p: Some(log10_p), committed: true, ..base })
}

fn attestation(kind: AttestationKind, time: &str) -> AttestationEvidence {
    AttestationEvidence {
        kind,
        by: signer(),
        time: Some(time.parse().unwrap()),
        findings: Vec::new(),
    }
}

fn left_out(path: &str, kind: SkipReason) -> SkippedPath {
    SkippedPath { path: path.to_owned(), reason: "r".to_owned(), kind }
}

fn seen(path: &str, class: ContentClass, readable: bool) -> FileEvidence {
    let content = FileContent::new(class);
    let unreadable = !readable && content.role == FileRole::Weights;
    FileEvidence { path: path.to_owned(), bytes: 7, content, readable, unreadable }
}

fn code_file(path: &str) -> CodeFile {
    let what = "it is executed when the model is loaded".to_owned();
    CodeFile { path: path.to_owned(), what, blake3: None }
}

/// Pins for all files of [`sound`] evidence, with the given guarantor.
fn pins(by: PinnedBy) -> Observation<Vec<Pins>> {
    let files = ["model.safetensors", "config.json", "modeling.py", "lookup.dat"];
    Observation::Observed(vec![Pins { by, files: files.map(str::to_owned).into() }])
}

fn outlier() -> Finding {
    Finding::new("weights/row-outlier", "m").in_tensor("layers.3.mlp").in_file("a.safetensors")
}

/// A model that meets [`STRICT`], an allowed finding included.
fn sound() -> Evidence {
    Evidence {
        signature: Observation::Observed(SignatureState::Verified(SignatureEvidence {
            by: signer(),
            hash: HashAlgorithm::Sha256,
            files: 3,
            ignored: vec!["docs/a.md".into()],
            unsigned: Vec::new(),
            links: Vec::new(),
        })),
        seal: Observation::Observed(SealState::Compared {
            digest: ROOT.into(),
            signed_by: Some(signer()),
        }),
        root: Observation::Observed(ROOT.into()),
        coverage: Observation::Observed(CoverageEvidence {
            bytes_total: 10,
            bytes_checked: 10,
            left_out: vec![left_out(".git", SkipReason::Git), left_out("own", SkipReason::Seal)],
        }),
        files: Observation::Observed(vec![
            seen("model.safetensors", ContentClass::Safetensors, true),
            seen("config.json", ContentClass::Json, false),
            seen("modeling.py", ContentClass::Text, false),
            seen("lookup.dat", ContentClass::Unknown, false),
        ]),
        code: Observation::Observed(CodeReport {
            files: vec![code_file("modeling.py")],
            ..CodeReport::default()
        }),
        pins: pins(PinnedBy::Signature(signer())),
        dtypes: Observation::Observed([("F32".to_owned(), 5)].into()),
        audit: Observation::Observed(5),
        lineage: Observation::Observed(5),
        watermarks: vec![detection(Presence::Present, -50.0), detection(Presence::Absent, -0.5)],
        attestations: Observation::Observed(vec![
            attestation(AttestationKind::Seal, "2026-12-20T00:00:00Z"),
            attestation(AttestationKind::Audit, "2026-12-20T00:00:00Z"),
        ]),
        findings: vec![outlier(), Finding::new("weights/exponent-outlier", "m")],
        ..Evidence::empty(time("2027-01-01T12:00:00Z"))
    }
    .lowered()
}

impl Evidence {
    /// The second finding is within the limit.
    fn lowered(mut self) -> Self {
        self.findings[1].severity = Severity::Low;
        self
    }

    fn signed(&mut self) -> &mut SignatureEvidence {
        match &mut self.signature {
            Observation::Observed(SignatureState::Verified(signed)) => signed,
            _ => unreachable!(),
        }
    }

    fn files(&mut self) -> &mut Vec<FileEvidence> {
        match &mut self.files {
            Observation::Observed(files) => files,
            Observation::NotObserved(_) => unreachable!(),
        }
    }

    fn code(&mut self) -> &mut CodeReport {
        match &mut self.code {
            Observation::Observed(code) => code,
            Observation::NotObserved(_) => unreachable!(),
        }
    }

    fn attested(&mut self) -> &mut Vec<AttestationEvidence> {
        match &mut self.attestations {
            Observation::Observed(all) => all,
            Observation::NotObserved(_) => unreachable!(),
        }
    }
}

fn failing(judgement: &Judgement) -> Vec<String> {
    judgement.rules.iter().filter(|r| r.outcome.fails()).map(RuleOutcome::title).collect()
}

fn violating(judgement: &Judgement) -> Vec<&'static str> {
    let all = judgement.findings.iter().filter(|f| f.fails(Severity::Critical));
    all.map(|finding| finding.rule).collect()
}

#[test]
fn what_is_as_it_must_be_passes() {
    let judgement = judge(&policy(STRICT), &sound());
    assert_eq!(failing(&judgement), [""; 0]);
    assert_eq!(violating(&judgement), [""; 0]);
    assert!(judgement.passes());
    assert_eq!(judgement.exceptions[0].allowed, 1);
    let weights = judgement.rules.iter().find(|rule| rule.rule == "severity.weights").unwrap();
    assert_eq!(weights.outcome, RuleStatus::Allowed);
    let standing = |index: usize| judgement.findings[index].standing.clone().unwrap();
    assert!(matches!(standing(0), Disposition::Allowed { reason, .. } if reason == "known"));
    assert_eq!(standing(1), Disposition::Within { rule: "severity.weights" });
}

type Change = fn(&mut Evidence);

/// What is changed in sound evidence, the rules that fail for it, and the findings.
const VIOLATIONS: &[(&str, Change, &[&str], &[&str])] = &[
    (
        "no signature",
        |e| e.signature = Observation::Observed(SignatureState::Absent),
        &["signature.required"],
        &["policy/not-signed"],
    ),
    (
        "a signature that fails",
        |e| {
            e.signature = Observation::Observed(SignatureState::Failed);
            e.findings.push(Finding::new("integrity/tensor-moved", "m"));
            e.findings.last_mut().unwrap().severity = Severity::Info;
        },
        &["signature.required"],
        &["policy/not-signed"],
    ),
    (
        "another signer",
        |e| e.signed().by.identities = vec!["sha256:ab".into(), "release@example.com.evil".into()],
        &["signature.identities"],
        &["policy/signer-not-allowed"],
    ),
    (
        "another hash",
        |e| e.signed().hash = HashAlgorithm::Blake3,
        &["signature.hash"],
        &["policy/hash-not-allowed"],
    ),
    (
        "an ignored path",
        |e| e.signed().ignored.push("loader.py".into()),
        &["signature.allow_ignored_paths"],
        &["policy/outside-signature"],
    ),
    (
        "an unsigned file",
        |e| e.signed().unsigned.push("loader.py".into()),
        &["signature.allow_unsigned_files"],
        &["policy/outside-signature"],
    ),
    (
        "a link",
        |e| e.signed().links.push("weights".into()),
        &["signature.allow_symlinks"],
        &["policy/outside-signature"],
    ),
    (
        "no seal",
        |e| e.seal = Observation::Observed(SealState::Absent),
        &["seal.required", "severity.integrity"],
        &["policy/seal-missing", "policy/not-checked"],
    ),
    (
        "an unsigned seal",
        |e| {
            e.seal =
                Observation::Observed(SealState::Compared { digest: ROOT.into(), signed_by: None })
        },
        &["seal.signed"],
        &["policy/seal-not-signed"],
    ),
    (
        "a seal that somebody else signed",
        |e| {
            let by =
                SignerEvidence { name: "n".into(), identities: vec!["other@example.com".into()] };
            e.seal = Observation::Observed(SealState::Compared {
                digest: ROOT.into(),
                signed_by: Some(by),
            });
        },
        &["seal.signed"],
        &["policy/seal-not-signed"],
    ),
    (
        "another root",
        |e| e.root = Observation::Observed(OTHER.into()),
        &["seal.expect_root"],
        &["policy/other-root"],
    ),
    (
        "no attestation",
        |e| _ = e.attested().remove(0),
        &["attestations.required (seal)"],
        &["policy/attestation-missing"],
    ),
    (
        "an attestation by somebody else",
        |e| e.attested()[1].by.identities.clear(),
        &["attestations.required (audit)"],
        &["policy/attestation-missing"],
    ),
    (
        "an attestation that is too old",
        |e| e.attested()[0].time = Some(time("2026-12-02T11:59:59Z")),
        &["attestations.max_age (seal)"],
        &["policy/attestation-age"],
    ),
    (
        "an attestation of tomorrow",
        |e| e.attested()[0].time = Some(time("2027-01-01T12:06:00Z")),
        &["attestations.max_age (seal)"],
        &["policy/attestation-age"],
    ),
    (
        "an attestation without a time",
        |e| e.attested()[0].time = None,
        &["attestations.max_age (seal)"],
        &["policy/attestation-age"],
    ),
    (
        "an attested audit with findings",
        |e| {
            let rule = "payload/low-bits".to_owned();
            e.attested()[1].findings.push(AttestedFinding {
                rule,
                severity: Severity::Info,
                count: 1,
            });
        },
        &["attestations.required (audit)"],
        &["policy/attestation-unfavourable"],
    ),
    (
        "a path that was not measured",
        |e| {
            let left = left_out(".github/x", SkipReason::Git);
            e.coverage = Observation::Observed(CoverageEvidence {
                left_out: vec![left],
                ..CoverageEvidence::default()
            });
        },
        &["coverage.allow"],
        &["policy/not-measured"],
    ),
    (
        "bytes that were not measured",
        |e| {
            e.coverage = Observation::Observed(CoverageEvidence {
                bytes_total: 10,
                bytes_checked: 9,
                ..CoverageEvidence::default()
            })
        },
        &["coverage.allow"],
        &["policy/not-checked"],
    ),
    (
        "a format",
        |e| e.files().push(seen("model.pt", ContentClass::TorchZip, true)),
        &["formats.allowed"],
        &["policy/format-not-allowed"],
    ),
    (
        "a file that is of two formats",
        |e| e.files()[0].content.also = Some(ContentClass::TorchZip),
        &["formats.allowed"],
        &["policy/format-not-allowed"],
    ),
    (
        "weights that are not read",
        |e| e.files().push(seen("model.onnx", ContentClass::Onnx, false)),
        &["formats.allowed", "coverage.allow (weights)"],
        &["policy/format-not-allowed", "policy/weights-not-audited"],
    ),
    (
        "weights that are damaged, which is said and let through",
        |e| {
            e.files().push(seen("more.safetensors", ContentClass::Safetensors, false));
            let finding = Finding::new("format/truncated", "m").in_file("more.safetensors");
            e.findings.push(finding);
        },
        &["coverage.allow (weights)", "severity.format"],
        &["format/truncated"],
    ),
    (
        "a file that nobody knows",
        |e| e.files().push(seen("other.dat", ContentClass::Unknown, false)),
        &["files.unknown"],
        &["policy/file-not-understood"],
    ),
    (
        "a program",
        |e| e.files().push(seen("ops.so", ContentClass::Elf, false)),
        &["files.unknown"],
        &["policy/executable"],
    ),
    (
        "code that nobody vouches for",
        |e| e.code().files.push(code_file("other.py")),
        &["code"],
        &["policy/code-not-pinned"],
    ),
    (
        "code from elsewhere",
        |e| {
            let path = "config.json".to_owned();
            e.code().remote.push(RemoteCode { path, what: "other/repository".to_owned() });
        },
        &["code"],
        &["policy/code-not-pinned"],
    ),
    (
        "code from elsewhere, of which a finding tells that is within its limit",
        |e| {
            let path = "config.json".to_owned();
            e.code().remote.push(RemoteCode { path, what: "other/repository".to_owned() });
            let finding = Finding { rule: "content/remote-code", ..outlier() };
            e.findings.push(finding.in_file("config.json"));
            e.findings.last_mut().unwrap().severity = Severity::Info;
        },
        &["code", "severity.content"],
        &["content/remote-code"],
    ),
    (
        "a seal that nobody signed vouches for nothing",
        |e| {
            let (digest, signed_by) = (ROOT.to_owned(), None);
            e.pins = pins(PinnedBy::Seal { digest, signed_by, outside: false });
        },
        &["code", "files.unknown"],
        &["policy/code-not-pinned", "policy/file-not-understood"],
    ),
    (
        "somebody vouches who may not",
        |e| {
            let by =
                SignerEvidence { name: "n".into(), identities: vec!["other@example.com".into()] };
            let seal = PinnedBy::Seal {
                digest: ROOT.to_owned(),
                signed_by: Some(by.clone()),
                outside: false,
            };
            let of = |by| match pins(by) {
                Observation::Observed(pins) => pins,
                Observation::NotObserved(_) => unreachable!(),
            };
            e.pins = Observation::Observed([of(PinnedBy::Signature(by)), of(seal)].concat());
        },
        &["code", "files.unknown"],
        &["policy/code-not-pinned", "policy/file-not-understood"],
    ),
    (
        "an exception's rule that stands for others",
        |e| {
            e.findings.push(outlier());
            e.findings.last_mut().unwrap().stands_for_others = true;
        },
        &["severity.weights"],
        &["weights/row-outlier"],
    ),
    (
        "an exception's rule that is critical",
        |e| {
            e.findings.push(outlier());
            e.findings.last_mut().unwrap().severity = Severity::Critical;
        },
        &["severity.weights"],
        &["weights/row-outlier"],
    ),
    (
        "a type",
        |e| e.dtypes = Observation::Observed([("F32".to_owned(), 1), ("F64".to_owned(), 2)].into()),
        &["dtypes.allowed"],
        &["policy/dtype-not-allowed"],
    ),
    (
        "a finding above its limit",
        |e| e.findings.push(Finding::new("format/overlap", "m")),
        &["severity.format"],
        &["format/overlap"],
    ),
    (
        "a remark where there may be none",
        |e| {
            e.findings.push(Finding::new("payload/low-bits", "m"));
            e.findings.last_mut().unwrap().severity = Severity::Info;
        },
        &["severity.payload"],
        &["payload/low-bits"],
    ),
    (
        "a change",
        |e| e.findings.push(Finding::new("integrity/tensor-changed", "m")),
        &["severity.integrity"],
        &["integrity/tensor-changed"],
    ),
    (
        "an exception's rule elsewhere",
        |e| e.findings.push(outlier().in_tensor("layers.3.attention")),
        &["severity.weights"],
        &["weights/row-outlier"],
    ),
    (
        "a mark that is not there",
        |e| e.watermarks[0] = detection(Presence::Absent, -0.1),
        &["watermark.expect (ours.key)"],
        &["policy/watermark"],
    ),
    (
        "a mark that is not sure enough",
        |e| e.watermarks[0] = detection(Presence::Present, -19.0),
        &["watermark.expect (ours.key)"],
        &["policy/watermark"],
    ),
    (
        "a mark whose key does not open the claim",
        |e| {
            let Observation::Observed(found) = &mut e.watermarks[0] else { unreachable!() };
            found.committed = false;
        },
        &["watermark.expect (ours.key)"],
        &["policy/watermark"],
    ),
    (
        "a mark of somebody else",
        |e| e.watermarks[1] = detection(Presence::Present, -30.0),
        &["watermark.expect (theirs.key)"],
        &["policy/watermark"],
    ),
    (
        "a mark of which nothing can be said",
        |e| e.watermarks[1] = detection(Presence::Inconclusive, -2.0),
        &["watermark.expect (theirs.key)"],
        &["policy/watermark"],
    ),
    (
        "an exception that is over, and what it allowed",
        |e| e.now = time("2027-02-01T00:00:00Z"),
        &[
            "attestations.max_age (seal)",
            "attestations.max_age (audit)",
            "severity.weights",
            "allow.expires (weights/row-outlier)",
        ],
        &[
            "policy/attestation-age",
            "policy/attestation-age",
            "weights/row-outlier",
            "policy/exception-expired",
        ],
    ),
    (
        "a finding of an area that is not known",
        |e| e.findings.push(Finding { rule: "elsewhere/other", ..outlier() }),
        &["severity"],
        &["elsewhere/other"],
    ),
];

#[test]
fn each_violation_is_its_rule_and_its_finding() {
    let policy = policy(STRICT);
    for (name, change, rules, findings) in VIOLATIONS {
        let mut evidence = sound();
        change(&mut evidence);
        let judgement = judge(&policy, &evidence);
        assert!(!judgement.passes(), "{name}");
        assert_eq!(failing(&judgement), *rules, "{name}");
        assert_eq!(violating(&judgement), *findings, "{name}");
        assert!(judgement.findings.iter().all(|finding| finding.standing.is_some()), "{name}");
    }
}

/// The observations, one by one.
const LOOKS: [(&str, Change, usize); 11] = [
    ("signature", |e| e.signature = Observation::not_examined(), 2),
    ("seal", |e| e.seal = Observation::not_examined(), 3),
    ("root", |e| e.root = Observation::not_examined(), 1),
    ("coverage", |e| e.coverage = Observation::not_examined(), 1),
    ("files", |e| e.files = Observation::not_examined(), 4),
    ("code", |e| e.code = Observation::not_examined(), 2),
    ("pins", |e| e.pins = Observation::not_examined(), 2),
    ("dtypes", |e| e.dtypes = Observation::not_examined(), 1),
    ("lineage", |e| e.lineage = Observation::not_examined(), 1),
    ("watermarks", |e| e.watermarks.truncate(1), 1),
    ("attestations", |e| e.attestations = Observation::not_examined(), 4),
];

#[test]
fn what_nobody_looked_at_fails_and_is_one_finding() {
    let policy = policy(STRICT);
    for (name, change, count) in LOOKS {
        let mut evidence = sound();
        change(&mut evidence);
        let judgement = judge(&policy, &evidence);
        let not_checked = |rule: &&RuleOutcome| rule.outcome == RuleStatus::NotChecked;
        assert_eq!(judgement.rules.iter().filter(not_checked).count(), count, "{name}");
        assert_eq!(failing(&judgement).len(), count, "{name}");
        assert_eq!(violating(&judgement), ["policy/not-checked"], "{name}");
    }
    let nothing = judge(&policy, &Evidence::empty(time("2027-01-01T00:00:00Z")));
    assert!(
        nothing.rules.iter().all(|rule| rule.outcome == RuleStatus::NotChecked),
        "{:#?}",
        nothing.rules
    );
    // Two reasons: nothing was examined, and no mark was searched for.
    assert!(
        nothing.rules.len() > 20 && violating(&nothing).len() <= 3,
        "{:?}",
        violating(&nothing)
    );
    assert!(!nothing.passes());
}

#[test]
fn a_policy_that_asks_for_nothing_still_asks_to_have_measured_everything() {
    let empty = policy("schema = \"tensorseal.policy/1\"");
    let mut evidence = Evidence::empty(time("2027-01-01T00:00:00Z"));
    assert_eq!(failing(&judge(&empty, &evidence)), ["coverage.allow"]);
    evidence.coverage = Observation::Observed(CoverageEvidence::default());
    assert!(judge(&empty, &evidence).passes());
    evidence.findings.push(Finding::new("weights/not-finite", "m"));
    assert_eq!(failing(&judge(&empty, &evidence)), ["severity.weights"]);
}

#[test]
fn what_pins_a_file_is_who_vouches_for_it() {
    let text = STRICT.replace("signed = true", "");
    let other = "blake3:2222222222222222222222222222222222222222222222222222222222222222";
    let seal = |digest: &str, signed_by: Option<SignerEvidence>, outside| PinnedBy::Seal {
        digest: digest.to_owned(),
        signed_by,
        outside,
    };
    let named = format!("signed = true\nexpect_digest = [\"{ROOT}\"]");
    let named = policy(&STRICT.replace("signed = true", &named));
    let passes = |policy: &Policy, by: PinnedBy| {
        let judgement = judge(policy, &Evidence { pins: pins(by), ..sound() });
        let failing = failing(&judgement);
        assert_eq!(
            failing.contains(&"code".to_owned()),
            failing.contains(&"files.unknown".to_owned())
        );
        !failing.contains(&"code".to_owned())
    };
    let plain = policy(&text);
    assert!(passes(&plain, PinnedBy::Registry));
    assert!(passes(&plain, PinnedBy::Signature(signer())));
    assert!(passes(&plain, seal(ROOT, Some(signer()), false)));
    assert!(passes(&plain, seal(ROOT, None, true)), "given from elsewhere");
    assert!(!passes(&plain, seal(ROOT, None, false)), "beside the model");
    assert!(passes(&named, seal(ROOT, None, false)), "the policy names it");
    assert!(!passes(&named, seal(other, None, false)), "the policy names another");
    // A root pins no code, and is met all the same.
    let judgement = judge(&plain, &Evidence { pins: Observation::Observed(Vec::new()), ..sound() });
    assert_eq!(failing(&judgement), ["code", "files.unknown"]);
}

#[test]
fn the_policy_names_its_seal() {
    let text = format!("schema = \"tensorseal.policy/1\"\n[seal]\nexpect_digest = [\"{ROOT}\"]\n");
    let of = |seal: SealState, required: &str| {
        let evidence = Evidence { seal: Observation::Observed(seal), ..sound() };
        let judgement = judge(&policy(&format!("{text}{required}")), &evidence);
        let mut found = violating(&judgement);
        found.retain(|rule| rule.starts_with("policy/"));
        (failing(&judgement), found)
    };
    let compared =
        |digest: &str| SealState::Compared { digest: digest.to_owned(), signed_by: None };
    assert_eq!(of(compared(ROOT), "").1, [""; 0]);
    assert_eq!(of(compared(OTHER), "").1, ["policy/other-seal"]);
    assert_eq!(of(SealState::Absent, "").1, ["policy/seal-missing"]);
    assert_eq!(of(SealState::Absent, "required = true").1, ["policy/seal-missing"], "said once");
    assert!(of(SealState::Invalid, "").0.contains(&"seal.expect_digest".to_owned()));
}

#[test]
fn paths_that_nobody_needs_to_understand_are_exempt_and_listed() {
    let text = format!("{STRICT}[coverage]\nallow = [\".git\", \"extra/*\"]\n");
    let mut evidence = sound();
    evidence.files().extend([
        seen("extra/model.onnx", ContentClass::Onnx, false),
        seen("extra/a.so", ContentClass::Elf, false),
        seen("extra/b.dat", ContentClass::Unknown, false),
    ]);
    let judgement = judge(&policy(&text), &evidence);
    assert_eq!(failing(&judgement), [""; 0], "{:#?}", judgement.rules);
    let evidence_of = |title: &str| {
        let rule = judgement.rules.iter().find(|rule| rule.title() == title).unwrap();
        rule.evidence.clone()
    };
    assert!(evidence_of("coverage.allow (weights)").contains("extra/model.onnx (7 B)"));
    assert!(
        evidence_of("files.unknown").contains("exempt by coverage.allow: extra/a.so, extra/b.dat")
    );
    assert!(evidence_of("formats.allowed").contains("exempt by coverage.allow: extra/model.onnx"));
    // Code is judged wherever it lies.
    evidence.code().files.push(code_file("extra/x.py"));
    assert_eq!(failing(&judge(&policy(&text), &evidence)), ["code"]);
}

#[test]
fn where_there_is_nothing_to_judge_nothing_passes() {
    let head = "schema = \"tensorseal.policy/1\"\n";
    let nothing = |text: &str, files: Vec<FileEvidence>| {
        let evidence = Evidence {
            coverage: Observation::Observed(CoverageEvidence::default()),
            files: Observation::Observed(files),
            audit: Observation::Observed(0),
            dtypes: Observation::Observed(Default::default()),
            ..Evidence::empty(time("2027-01-01T00:00:00Z"))
        };
        let judgement = judge(&policy(&format!("{head}{text}")), &evidence);
        assert_eq!(judgement.passes(), judgement.nothing.is_none(), "{judgement:#?}");
        assert!(!judgement.fails(), "{judgement:#?}");
        judgement.nothing
    };
    let card = || vec![seen("README.md", ContentClass::Text, false)];
    let onnx = || [card(), vec![seen("m.onnx", ContentClass::Onnx, false)]].concat();
    let mut empty = seen("m.safetensors", ContentClass::Safetensors, false);
    empty.unreadable = false;
    assert_eq!(nothing("", card()), None);
    assert_eq!(nothing("", onnx()), None);
    assert!(nothing("", Vec::new()).unwrap().contains("no files"));
    for text in
        ["audit.required = true", "severity.weights = \"low\"", "dtypes.allowed = [\"F32\"]"]
    {
        assert!(nothing(text, card()).unwrap().contains("found, only README.md"), "{text}");
        assert!(nothing(text, onnx()).unwrap().contains("found, only onnx (m.onnx)"), "{text}");
        assert!(nothing(text, vec![empty.clone()]).is_some(), "{text}");
        let weights = seen("w.safetensors", ContentClass::Safetensors, true);
        assert_eq!(nothing(text, vec![weights, empty.clone()]), None, "{text}");
    }
}

/// Of `weights/row-outlier` in one content of a file.
#[test]
fn an_exception_with_a_digest_is_about_one_content() {
    let text = |digest: &str| {
        format!(
            "schema = \"tensorseal.policy/1\"\n[[allow]]\nrule = \"format/pickle-global\"\nfile = \"*.bin\"\n\
             digest = \"{digest}\"\nreason = \"seen\"\nexpires = 2027-01-31\n"
        )
    };
    let mut evidence = Evidence::empty(time("2027-01-01T00:00:00Z"));
    evidence.coverage = Observation::Observed(CoverageEvidence::default());
    evidence.digests = Observation::Observed([("a.bin".to_owned(), ROOT.to_owned())].into());
    evidence.findings.push(Finding::new("format/pickle-global", "m").in_file("a.bin"));
    for severity in [Severity::High, Severity::Critical] {
        evidence.findings[0].severity = severity;
        assert!(judge(&policy(&text(ROOT)), &evidence).passes(), "{severity:?}");
        let judgement = judge(&policy(&text(OTHER)), &evidence);
        assert_eq!(violating(&judgement), ["format/pickle-global"], "{severity:?}");
        let unused = judgement.findings.iter().find(|f| f.rule == "policy/exception-unused");
        assert!(
            unused.unwrap().message.contains("1 finding cannot be allowed by it"),
            "{unused:?}"
        );
    }
    let mut other = evidence.clone();
    other.findings[0].file = Some("b.bin".to_owned());
    assert!(!judge(&policy(&text(ROOT)), &other).passes(), "its content is not known");
    other = evidence.clone();
    other.digests = Observation::not_examined();
    assert!(!judge(&policy(&text(ROOT)), &other).passes());
    other = evidence.clone();
    other.findings[0].stands_for_others = true;
    assert!(!judge(&policy(&text(ROOT)), &other).passes());
}

#[test]
fn a_signature_that_is_there_must_verify_and_one_that_fails_cannot_be_let_through() {
    let text = "schema = \"tensorseal.policy/1\"\n[signature]\nkeys = [\"k\"]\n[severity]\nsignature = \"critical\"";
    let policy = policy(&text.replace("[severity]\nsignature = \"critical\"", ""));
    let mut evidence = sound();
    evidence.findings.clear();
    evidence.signature = Observation::Observed(SignatureState::Absent);
    assert!(judge(&policy, &evidence).passes());
    let lenient = super::tests::policy(text);
    evidence.signature = Observation::Observed(SignatureState::Failed);
    // Rules of signatures are described where signatures are checked.
    evidence.findings.push(Finding { rule: "signature/not-trusted", ..outlier() });
    let judgement = judge(&lenient, &evidence);
    assert!(failing(&judgement).contains(&"signature.required".to_owned()));
    assert_eq!(violating(&judgement), ["signature/not-trusted"]);
    evidence.signature = Observation::NotObserved("unreadable".into());
    assert!(violating(&judge(&policy, &evidence)).contains(&"policy/not-checked"));
}

#[test]
fn a_worse_audit_since_is_not_hidden_by_who_may_sign() {
    let policy = policy(STRICT);
    let mut evidence = sound();
    let mut other = attestation(AttestationKind::Audit, "2026-12-21T00:00:00Z");
    other.by.identities = vec!["second@example.com".into()];
    let rule = "weights/not-finite".to_owned();
    other.findings.push(AttestedFinding { rule, severity: Severity::High, count: 1 });
    evidence.attested().push(other);
    assert_eq!(violating(&judge(&policy, &evidence)), ["policy/attestation-unfavourable"]);
    evidence.attested()[2].time = Some(time("2026-12-19T00:00:00Z"));
    assert!(judge(&policy, &evidence).passes(), "a newer one says better");
}

/// Requirements that can be added to a policy that knows whom to trust.
const REQUIREMENTS: [&str; 24] = [
    "code = \"none\"",
    "code = \"pinned\"",
    "files.unknown = \"fail\"",
    "files.unknown = \"pinned\"",
    "files.unknown = \"list\"",
    "registry.required = true",
    "severity.content = \"none\"",
    "seal.expect_digest = [\"blake3:1111111111111111111111111111111111111111111111111111111111111111\"]",
    "signature.required = true",
    "signature.identities = [\"release@*\"]",
    "signature.identities = [\"other@*\"]",
    "signature.hash = [\"blake3\"]",
    "seal.required = true",
    "seal.expect_root = [\"blake3:0000000000000000000000000000000000000000000000000000000000000000\"]",
    "attestations.required = [\"seal\", \"audit\"]",
    "formats.allowed = [\"gguf\"]",
    "dtypes.allowed = [\"F32\"]",
    "audit.required = true",
    "severity.weights = \"info\"",
    "severity.format = \"none\"",
    "severity.lineage = \"info\"",
    "severity.signature = \"none\"",
    "coverage.allow = []",
    "watermark = [{ key = \"a\", expect = \"present\" }]",
];

/// A policy of some of them.
fn of_requirements(picked: &[&str]) -> Policy {
    let mut keys: Vec<&str> = picked.to_vec();
    keys.dedup_by_key(|line| line.split(" = ").next());
    let text = format!(
        "schema = \"tensorseal.policy/1\"\nsignature.roots = [\"r\"]\n{}\n",
        keys.join("\n")
    );
    policy(&text)
}

/// Sound evidence with some violations and with some looks that were not taken.
fn evidence() -> impl Strategy<Value = Evidence> {
    let changes: Vec<Change> =
        VIOLATIONS.iter().map(|v| v.1).chain(LOOKS.map(|look| look.1)).collect();
    subsequence((0..changes.len()).collect::<Vec<_>>(), 0..3).prop_map(move |picked| {
        // Each on its own: some take for granted what others take away.
        let mut evidence = sound();
        for index in picked {
            let mut changed = sound();
            changes[index](&mut changed);
            merge(&mut evidence, changed);
        }
        evidence
    })
}

/// Takes over what differs from sound evidence.
fn merge(into: &mut Evidence, changed: Evidence) {
    let plain = sound();
    macro_rules! take {
        ($($field:ident),*) => { $(if changed.$field != plain.$field { into.$field = changed.$field; })* };
    }
    take!(
        signature,
        seal,
        root,
        coverage,
        files,
        pins,
        registry,
        dtypes,
        audit,
        lineage,
        attestations,
        findings,
        now
    );
    if format!("{:?}", changed.watermarks) != format!("{:?}", plain.watermarks) {
        into.watermarks = changed.watermarks;
    }
    if format!("{:?}", changed.code) != format!("{:?}", plain.code) {
        into.code = changed.code;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_requirement_more_never_turns_a_failure_into_a_pass(
        evidence in evidence(),
        picked in subsequence(REQUIREMENTS.to_vec(), 0..24),
        more in select(REQUIREMENTS.to_vec()),
    ) {
        let before = judge(&of_requirements(&picked), &evidence);
        let same_key = |line: &&str| line.split(" = ").next() == more.split(" = ").next();
        prop_assume!(!picked.iter().any(same_key));
        let after = judge(&of_requirements(&[&picked[..], &[more]].concat()), &evidence);
        prop_assert!(before.passes() || !after.passes(), "{:?} + {}", picked, more);
    }

    #[test]
    fn an_exception_hides_nothing_that_it_does_not_name(
        rule in select(vec!["weights/row-outlier", "weights/column-outlier", "integrity/file-changed"]),
        file in prop::option::of(select(vec!["a.*", "*.md", "*"])),
        tensor in prop::option::of(select(vec!["layers.*", "head", "*"])),
        found in prop::collection::vec((
            select(vec!["weights/row-outlier", "weights/column-outlier", "integrity/file-changed", "payload/low-bits"]),
            prop::option::of(select(vec!["a.safetensors", "b.md"])),
            prop::option::of(select(vec!["layers.1", "head"])),
        ), 1..6),
        late in any::<bool>(),
        more in any::<bool>(),
        severity in select(vec![Severity::Medium, Severity::High, Severity::Critical]),
    ) {
        let line = |key: &str, value: Option<&str>| value.map_or(String::new(), |v| format!("{key} = \"{v}\"\n"));
        let text = format!(
            "schema = \"tensorseal.policy/1\"\n[[allow]]\nrule = \"{rule}\"\nreason = \"r\"\nexpires = 2027-01-01\n{}{}",
            line("file", file), line("tensor", tensor)
        );
        let mut evidence = Evidence::empty(time(if late { "2027-01-02T00:00:00Z" } else { "2027-01-01T23:59:59Z" }));
        evidence.coverage = Observation::Observed(CoverageEvidence::default());
        for (rule, file, tensor) in &found {
            let mut finding = Finding::new(rule, "m");
            finding.severity = severity;
            finding.stands_for_others = more;
            finding.file = file.map(str::to_owned);
            finding.tensor = tensor.map(str::to_owned);
            evidence.findings.push(finding);
        }
        let judgement = judge(&policy(&text), &evidence);
        let matches = |pattern: Option<&str>, place: Option<&str>| match pattern {
            None => true,
            Some(pattern) => place.is_some_and(|place| pattern.parse::<Pattern>().unwrap().matches(place)),
        };
        for ((of, f, t), finding) in found.iter().zip(&judgement.findings) {
            let seen = !late && !more && severity < Severity::Critical;
            let named = *of == rule && matches(file, *f) && matches(tensor, *t) && seen;
            let allowed = matches!(finding.standing, Some(Disposition::Allowed { .. }));
            prop_assert_eq!(named, allowed, "{:?}", finding);
            prop_assert_eq!(finding.fails(Severity::Critical), !named);
        }
        if found.iter().any(|(of, ..)| *of != rule) || late || more {
            prop_assert!(!judgement.passes());
        }
    }
}
