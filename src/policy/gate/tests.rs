use super::*;
use crate::checkpoint::{LeftOut, NotCovered};
use crate::judge::Severity;
use crate::judge::watermark::{Detection, Presence};
use crate::signing::attestation::Kind;
use crate::stream::hashing::HashAlgorithm;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const ROOT: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";
const OTHER: &str = "blake3:1111111111111111111111111111111111111111111111111111111111111111";

/// Everything that a policy can ask for.
const STRICT: &str = r#"
schema = "tensorseal.policy/1"
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

fn signer() -> Signer {
    Signer {
        name: "release".into(),
        identities: vec!["release@example.com".into(), "sha256:ab".into()],
    }
}

fn detection(verdict: Presence, log10_p: f64) -> Looked<Detection> {
    let base = crate::judge::watermark::judge("k", &[], &Default::default());
    Looked::At(Detection { verdict, log10_p: Some(log10_p), committed: true, ..base })
}

fn attestation(kind: Kind, time: &str) -> Attestation {
    Attestation { kind, by: signer(), time: Some(time.parse().unwrap()), findings: Vec::new() }
}

fn left_out(path: &str, kind: LeftOut) -> NotCovered {
    NotCovered { path: path.to_owned(), reason: "r".to_owned(), kind }
}

fn outlier() -> Finding {
    Finding::new("weights/row-outlier", "m").in_tensor("layers.3.mlp").in_file("a.safetensors")
}

/// A model that meets [`STRICT`], an allowed finding included.
fn sound() -> Evidence {
    Evidence {
        signature: Looked::At(SignatureState::Verified(Signed {
            by: signer(),
            hash: HashAlgorithm::Sha256,
            files: 3,
            ignored: vec!["docs/a.md".into()],
            unsigned: Vec::new(),
            links: Vec::new(),
        })),
        seal: Looked::At(SealState::Compared { digest: ROOT.into(), signed_by: Some(signer()) }),
        root: Looked::At(ROOT.into()),
        coverage: Looked::At(Measured {
            bytes_total: 10,
            bytes_checked: 10,
            left_out: vec![left_out(".git", LeftOut::Git), left_out("own", LeftOut::Seal)],
        }),
        formats: Looked::At([("safetensors".to_owned(), 1)].into()),
        dtypes: Looked::At([("F32".to_owned(), 5)].into()),
        audit: Looked::At(5),
        lineage: Looked::At(5),
        watermarks: vec![detection(Presence::Present, -50.0), detection(Presence::Absent, -0.5)],
        attestations: Looked::At(vec![
            attestation(Kind::Seal, "2026-12-20T00:00:00Z"),
            attestation(Kind::Audit, "2026-12-20T00:00:00Z"),
        ]),
        findings: vec![outlier(), Finding::new("weights/exponent-outlier", "m")],
        ..Evidence::nothing(time("2027-01-01T12:00:00Z"))
    }
    .lowered()
}

impl Evidence {
    /// The second finding is within the limit.
    fn lowered(mut self) -> Self {
        self.findings[1].severity = Severity::Low;
        self
    }

    fn signed(&mut self) -> &mut Signed {
        match &mut self.signature {
            Looked::At(SignatureState::Verified(signed)) => signed,
            _ => unreachable!(),
        }
    }

    fn attested(&mut self) -> &mut Vec<Attestation> {
        match &mut self.attestations {
            Looked::At(all) => all,
            Looked::Not(_) => unreachable!(),
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
    assert_eq!(weights.outcome, Outcome::Allowed);
    let standing = |index: usize| judgement.findings[index].standing.clone().unwrap();
    assert!(matches!(standing(0), Standing::Allowed { reason, .. } if reason == "known"));
    assert_eq!(standing(1), Standing::Within { rule: "severity.weights" });
}

type Change = fn(&mut Evidence);

/// What is changed in sound evidence, the rules that fail for it, and the findings.
const VIOLATIONS: &[(&str, Change, &[&str], &[&str])] = &[
    (
        "no signature",
        |e| e.signature = Looked::At(SignatureState::Absent),
        &["signature.required"],
        &["policy/not-signed"],
    ),
    (
        "a signature that fails",
        |e| {
            e.signature = Looked::At(SignatureState::Failed);
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
        |e| e.seal = Looked::At(SealState::Absent),
        &["seal.required", "severity.integrity"],
        &["policy/seal-missing", "policy/not-checked"],
    ),
    (
        "an unsigned seal",
        |e| e.seal = Looked::At(SealState::Compared { digest: ROOT.into(), signed_by: None }),
        &["seal.signed"],
        &["policy/seal-not-signed"],
    ),
    (
        "a seal that somebody else signed",
        |e| {
            let by = Signer { name: "n".into(), identities: vec!["other@example.com".into()] };
            e.seal = Looked::At(SealState::Compared { digest: ROOT.into(), signed_by: Some(by) });
        },
        &["seal.signed"],
        &["policy/seal-not-signed"],
    ),
    (
        "another root",
        |e| e.root = Looked::At(OTHER.into()),
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
            let left = left_out(".github/x", LeftOut::Git);
            e.coverage = Looked::At(Measured { left_out: vec![left], ..Measured::default() });
        },
        &["coverage.allow"],
        &["policy/not-measured"],
    ),
    (
        "bytes that were not measured",
        |e| {
            e.coverage =
                Looked::At(Measured { bytes_total: 10, bytes_checked: 9, ..Measured::default() })
        },
        &["coverage.allow"],
        &["policy/not-checked"],
    ),
    (
        "a format",
        |e| e.formats = Looked::At([("safetensors".to_owned(), 1), ("torch".to_owned(), 2)].into()),
        &["formats.allowed"],
        &["policy/format-not-allowed"],
    ),
    (
        "a type",
        |e| e.dtypes = Looked::At([("F32".to_owned(), 1), ("F64".to_owned(), 2)].into()),
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
            let Looked::At(found) = &mut e.watermarks[0] else { unreachable!() };
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

/// What was looked at, one by one.
const LOOKS: [(&str, Change, usize); 9] = [
    ("signature", |e| e.signature = Looked::never(), 2),
    ("seal", |e| e.seal = Looked::never(), 3),
    ("root", |e| e.root = Looked::never(), 1),
    ("coverage", |e| e.coverage = Looked::never(), 1),
    ("formats", |e| e.formats = Looked::never(), 2),
    ("dtypes", |e| e.dtypes = Looked::never(), 1),
    ("lineage", |e| e.lineage = Looked::never(), 1),
    ("watermarks", |e| e.watermarks.truncate(1), 1),
    ("attestations", |e| e.attestations = Looked::never(), 4),
];

#[test]
fn what_nobody_looked_at_fails_and_is_one_finding() {
    let policy = policy(STRICT);
    for (name, change, count) in LOOKS {
        let mut evidence = sound();
        change(&mut evidence);
        let judgement = judge(&policy, &evidence);
        let not_checked = |rule: &&RuleOutcome| rule.outcome == Outcome::NotChecked;
        assert_eq!(judgement.rules.iter().filter(not_checked).count(), count, "{name}");
        assert_eq!(failing(&judgement).len(), count, "{name}");
        assert_eq!(violating(&judgement), ["policy/not-checked"], "{name}");
    }
    let nothing = judge(&policy, &Evidence::nothing(time("2027-01-01T00:00:00Z")));
    assert!(
        nothing.rules.iter().all(|rule| rule.outcome == Outcome::NotChecked),
        "{:#?}",
        nothing.rules
    );
    // Two reasons: nobody looked, and no mark was looked for.
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
    let mut evidence = Evidence::nothing(time("2027-01-01T00:00:00Z"));
    assert_eq!(failing(&judge(&empty, &evidence)), ["coverage.allow"]);
    evidence.coverage = Looked::At(Measured::default());
    assert!(judge(&empty, &evidence).passes());
    evidence.findings.push(Finding::new("weights/not-finite", "m"));
    assert_eq!(failing(&judge(&empty, &evidence)), ["severity.weights"]);
}

#[test]
fn a_signature_that_is_there_must_verify_and_one_that_fails_cannot_be_let_through() {
    let text = "schema = \"tensorseal.policy/1\"\n[signature]\nkeys = [\"k\"]\n[severity]\nsignature = \"critical\"";
    let policy = policy(&text.replace("[severity]\nsignature = \"critical\"", ""));
    let mut evidence = sound();
    evidence.findings.clear();
    evidence.signature = Looked::At(SignatureState::Absent);
    assert!(judge(&policy, &evidence).passes());
    let lenient = super::tests::policy(text);
    evidence.signature = Looked::At(SignatureState::Failed);
    // Rules of signatures are described where signatures are checked.
    evidence.findings.push(Finding { rule: "signature/not-trusted", ..outlier() });
    let judgement = judge(&lenient, &evidence);
    assert!(failing(&judgement).contains(&"signature.required".to_owned()));
    assert_eq!(violating(&judgement), ["signature/not-trusted"]);
    evidence.signature = Looked::Not("unreadable".into());
    assert!(violating(&judge(&policy, &evidence)).contains(&"policy/not-checked"));
}

#[test]
fn a_worse_audit_since_is_not_hidden_by_who_may_sign() {
    let policy = policy(STRICT);
    let mut evidence = sound();
    let mut other = attestation(Kind::Audit, "2026-12-21T00:00:00Z");
    other.by.identities = vec!["second@example.com".into()];
    let rule = "weights/not-finite".to_owned();
    other.findings.push(AttestedFinding { rule, severity: Severity::High, count: 1 });
    evidence.attested().push(other);
    assert_eq!(violating(&judge(&policy, &evidence)), ["policy/attestation-unfavourable"]);
    evidence.attested()[2].time = Some(time("2026-12-19T00:00:00Z"));
    assert!(judge(&policy, &evidence).passes(), "a newer one says better");
}

/// Requirements that can be added to a policy that knows whom to trust.
const REQUIREMENTS: [&str; 16] = [
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
        formats,
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
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_requirement_more_never_turns_a_failure_into_a_pass(
        evidence in evidence(),
        picked in subsequence(REQUIREMENTS.to_vec(), 0..16),
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
    ) {
        let line = |key: &str, value: Option<&str>| value.map_or(String::new(), |v| format!("{key} = \"{v}\"\n"));
        let text = format!(
            "schema = \"tensorseal.policy/1\"\n[[allow]]\nrule = \"{rule}\"\nreason = \"r\"\nexpires = 2027-01-01\n{}{}",
            line("file", file), line("tensor", tensor)
        );
        let mut evidence = Evidence::nothing(time(if late { "2027-01-02T00:00:00Z" } else { "2027-01-01T23:59:59Z" }));
        evidence.coverage = Looked::At(Measured::default());
        for (rule, file, tensor) in &found {
            let mut finding = Finding::new(rule, "m");
            finding.severity = Severity::High;
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
            let named = *of == rule && matches(file, *f) && matches(tensor, *t) && !late;
            let allowed = matches!(finding.standing, Some(Standing::Allowed { .. }));
            prop_assert_eq!(named, allowed, "{:?}", finding);
            prop_assert_eq!(finding.fails(Severity::Critical), !named);
        }
        if found.iter().any(|(of, ..)| *of != rule) || late {
            prop_assert!(!judgement.passes());
        }
    }
}
