//! Writes reports of made-up audits in every format, to look at them and to hold them to validators.
//!
//!     cargo run --example report_pages -- OUT
//!
//! Each of `clean`, `small` (6 layers), `large` (300 tensors), `huge` (30,000 tensors), `hostile`
//! (names that try to be markup), `gate-passed` and `gate-failed` becomes `OUT/NAME.html`, `.sarif`, `.xml`,
//! `.md`, `.txt`, `.json`, `.github` and `.cdx.json`; the last two also `.vsa.json` and `.svr.json`.

use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tensorseal::checkpoint::{ContentClass, FileContent};
use tensorseal::code::CodeReport;
use tensorseal::engine::EngineUse;
use tensorseal::judge::watermark::{Detection, Presence, judge as judge_mark};
use tensorseal::judge::{Finding, Severity};
use tensorseal::policy::PolicyFile;
use tensorseal::policy::gate::{
    CoverageEvidence, Evidence, FileEvidence, Observation, SignatureEvidence, SignatureState,
    SignerEvidence, judge,
};
use tensorseal::report::human::Palette;
use tensorseal::report::inventory::InventoryFile;
use tensorseal::report::profile::{LowBitCounts, Profile};
use tensorseal::report::statement::{StatementContext, StatementInput, VerdictStatementError};
use tensorseal::report::{ModelSummary, PolicyUsed, Report, SealUsed};
use tensorseal::report::{cyclonedx, github, html, human, json, junit, markdown, sarif, svr, vsa};
use tensorseal::signing::Statement;
use tensorseal::stream::hashing::HashAlgorithm;

const ROLES: [&str; 9] = [
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "mlp.gate",
    "mlp.up",
    "mlp.down",
    "norm.attention",
    "norm.mlp",
];

/// Counts of exponents as normal values with this spread have them.
fn exponents(spread: i32) -> Vec<(i32, u64)> {
    (spread - 24..=spread + 1)
        .map(|exponent| {
            let size = f64::from(exponent - spread).exp2();
            (exponent, (4e6 * size * (-size * size).exp()) as u64)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Bytes of low-bit streams: even, or those of a text.
fn low_bits(text: bool) -> Vec<LowBitCounts> {
    let bytes = |bits: u32| {
        (0..256u64)
            .map(|byte| match byte {
                b if text && (97..123).contains(&b) => 90_000 - 2_000 * ((b * 7) % 26),
                32 if text => 160_000,
                b => 4_000 + (b * 2_654_435_761) % 190 + u64::from(bits),
            })
            .collect()
    };
    [1, 2, 4].into_iter().map(|bits| LowBitCounts { bits, bytes: bytes(bits) }).collect()
}

fn report(path: &str, layers: u64, experts: u64, every: usize) -> Report {
    let mut report = Report::new("audit", path);
    for layer in 0..layers {
        for role in ROLES {
            for expert in 0..if role.starts_with("mlp") { experts } else { 1 } {
                let expert = if experts > 1 { format!(".experts.{expert}") } else { String::new() };
                report.profiles.push(Profile {
                    tensor: format!("model.layers.{layer}{expert}.{role}.weight"),
                    file: format!("model-{:05}-of-00004.safetensors", layer % 4 + 1),
                    dtype: "BF16".to_owned(),
                    shape: if role.starts_with("norm") { vec![4096] } else { vec![4096, 4096] },
                    offset: 4096 + layer * 33_554_432,
                    bytes: 33_554_432,
                    role: role.to_owned(),
                    depth: Some(layer),
                    ..Profile::default()
                });
            }
        }
    }
    for role in ["embedding", "head", "norm.final"] {
        report.profiles.push(Profile {
            tensor: format!("model.{role}.weight"),
            file: "model-00001-of-00004.safetensors".to_owned(),
            dtype: "BF16".to_owned(),
            shape: vec![32_000, 4096],
            bytes: 262_144_000,
            role: role.to_owned(),
            ..Profile::default()
        });
    }
    let tensors = report.profiles.len() as u64;
    report.model = ModelSummary {
        format: "safetensors".to_owned(),
        files: 12,
        tensors,
        elements: tensors * 16_777_216,
        bytes: tensors * 33_554_432,
        root: Some(format!("blake3:{}", "702a2ffbeee8b27c".repeat(4))),
        ..report.model
    };
    report.engine = Some(EngineUse {
        device: "cpu".to_owned(),
        threads: 8,
        bytes_read: report.model.bytes,
        seconds: 12.5,
        ..EngineUse::default()
    });
    report.coverage.bytes_total = report.model.bytes;
    report.coverage.bytes_checked = report.model.bytes;
    report.seal = Some(SealUsed {
        digest: Some(format!("blake3:{}", "4f0d3c6a9b8e7d21".repeat(4))),
        source: "baseline.seal.json".to_owned(),
        signed_by: None,
        compared: None,
    });
    let picked: Vec<usize> = (3..report.profiles.len()).step_by(every).collect();
    for (number, index) in picked.into_iter().enumerate() {
        let profile = &mut report.profiles[index];
        report.findings.push(finding(number, profile));
    }
    report
}

/// One of a few findings, and what is drawn of it.
fn finding(number: usize, profile: &mut Profile) -> Finding {
    profile.exponents = exponents(-5);
    profile.exponents_before = exponents(-5);
    let finding = match number % 5 {
        0 => {
            profile.exponents.push((120, 1));
            let mut finding = Finding::new(
                "weights/exponent-outlier",
                "1 value has an exponent 125 above 99.99 % of the others: 2.3816e36 at element 26,213",
            )
            .with("exponent_gap", 125)
            .with("largest_siblings", 0.3293)
            .with("largest", 2.3816e36);
            finding.element_range = Some([26_213, 26_214]);
            finding.byte_range = Some([52_426, 52_428]);
            finding
        }
        1 => {
            profile.low_bits = low_bits(true);
            Finding::new(
                "payload/low-bits",
                "the lowest 4 bits of 16,777,216 values are a text, not noise",
            )
            .with("bits", 4)
            .with("chi_square_z", 3232.4)
            .with("autocorrelation_z", 118.2)
        }
        2 => Finding::new("lineage/drift", "its values moved away from the baseline's")
            .with("mean_before", -0.000_012)
            .with("mean_after", 0.013_4)
            .with("standard_deviation_before", 0.0312)
            .with("standard_deviation_after", 0.0417)
            .with("psi", 0.41),
        3 => {
            Finding::new("weights/row-outlier", "row 77 is 265 robust deviations above the others")
                .with("row", 77)
                .with("z", 265.3)
        }
        _ => {
            let mut finding =
                Finding::new("payload/file-magic", "an ELF program begins in the lowest bits")
                    .with("signature", "7f 45 4c 46")
                    .with("bits", 8);
            profile.low_bits = low_bits(true);
            finding.byte_range = Some([0, 1_048_576]);
            finding
        }
    };
    finding.in_file(&profile.file).in_tensor(&profile.tensor)
}

/// Everything that comes from a model tries to be something else.
fn hostile() -> Report {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "]]>&amp;</style><style>*{display:none}</style>",
        "\u{202e}gpj.exe \u{7}\u{1b}[31m\0",
        "| a | `b` | [c](https://example.invalid) @everyone",
        "שכבה.משקל",
    ];
    let mut report = report(names[0], 2, 1, 1);
    report.model.root = Some(names[1].to_owned());
    let long = "n".repeat(65_536);
    for (index, name) in names.into_iter().chain([long.as_str()]).enumerate() {
        report.profiles[index + 3].tensor = name.to_owned();
        report.profiles[index + 3].role = name.to_owned();
        report.profiles[index + 3].file = name.to_owned();
        let finding = &mut report.findings[index];
        finding.tensor = Some(name.to_owned());
        finding.file = Some(name.to_owned());
        finding.message = format!("the tensor {name} is not what it was");
        finding.evidence.insert("name", name.into());
    }
    report
}

/// A gate, with a model that meets its policy or does not.
fn gate(passes: bool) -> io::Result<Report> {
    let text = r#"
schema = "tensorseal.policy/1"
name = "production <script>"
[signature]
required = true
keys = ["release.pub.pem"]
[formats]
allowed = ["safetensors"]
[audit]
required = true
[severity]
weights = "low"
[[watermark]]
key = "owner <b>.key"
expect = "absent"
[[allow]]
rule = "weights/row-outlier"
tensor = "model.layers.*"
reason = "looked at | on Monday <i>"
expires = 2027-01-31
"#;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("policy.toml");
    fs::write(&path, text)?;
    let mut file = PolicyFile::read(&path).map_err(io::Error::other)?;
    file.path = "policy.toml".into();
    let mut report = report("models/small", 6, 1, 11);
    report.command = "gate";
    report.findings.retain(|finding| !passes || finding.rule == "weights/row-outlier");
    let now: Timestamp = "2026-12-01T08:00:00Z".parse().map_err(io::Error::other)?;
    let signed = SignatureEvidence {
        by: SignerEvidence { name: "P-256 key 00".to_owned(), identities: Vec::new() },
        hash: HashAlgorithm::Sha256,
        files: 12,
        ignored: Vec::new(),
        unsigned: Vec::new(),
        links: Vec::new(),
    };
    let mut evidence = Evidence {
        coverage: Observation::Observed(CoverageEvidence::default()),
        files: Observation::Observed(vec![FileEvidence {
            path: "model-00001-of-00004.safetensors".to_owned(),
            bytes: 12,
            content: FileContent::new(ContentClass::Safetensors),
            readable: true,
            unreadable: false,
        }]),
        code: Observation::Observed(CodeReport::default()),
        audit: Observation::Observed(57),
        findings: report.findings.clone(),
        ..Evidence::empty(now)
    };
    if passes {
        evidence.signature = Observation::Observed(SignatureState::Verified(signed));
        evidence.watermarks = vec![Observation::Observed(Detection {
            verdict: Presence::Absent,
            ..judge_mark("key", &[], &Default::default())
        })];
    }
    let judgement = judge(&file.policy, &evidence);
    let used = PolicyUsed::new(&file, now, &judgement);
    report.judge_by(used, judgement.findings);
    let digests =
        vec![(HashAlgorithm::Sha256, "0".repeat(64)), (HashAlgorithm::Blake3, "1".repeat(64))];
    report.inventory = ["config.json", "model-00001-of-00004.safetensors"]
        .map(|path| InventoryFile { path: path.to_owned(), bytes: 12, digests: digests.clone() })
        .into();
    Ok(report)
}

/// Writes the statements of a gate.
fn statements(report: &Report, name: &str, out: &Path) -> io::Result<()> {
    let stated = StatementContext {
        subject: "small".to_owned(),
        sha256: [7; 32],
        resource_uri: None,
        policy_uri: None,
        verifier: None,
        inputs: vec![StatementInput { name: "model.sig".to_owned(), sha256: [9; 32] }],
    };
    let write = |ending: &str, statement: Result<Statement, VerdictStatementError>| {
        let text = statement.map_err(io::Error::other)?.to_json();
        fs::write(out.join(format!("{name}.{ending}.json")), text)
    };
    write("vsa", vsa::statement(report, &stated))?;
    write("svr", svr::statement(report, &stated))
}

/// The report as the terminal shows it.
fn terminal(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let palette = Palette::default();
    human::head(report, palette, out)?;
    human::rules(report, false, palette, out)?;
    human::findings(report, human::Options::default(), palette, out)
}

fn main() -> io::Result<()> {
    let out = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| {
        eprintln!("usage: report_pages OUT");
        std::process::exit(2)
    }));
    fs::create_dir_all(&out)?;
    let mut clean = report("models/clean", 32, 1, usize::MAX);
    clean.findings.clear();
    let gates = [("gate-passed", gate(true)?), ("gate-failed", gate(false)?)];
    let others = [
        ("clean", clean),
        ("small", report("models/small", 6, 1, 11)),
        ("large", report("models/large", 33, 1, 17)),
        ("huge", report("models/huge", 61, 163, 3)),
        ("hostile", hostile()),
    ];
    for (name, mut report) in others.into_iter().chain(gates) {
        match report.policy {
            Some(_) => statements(&report, name, &out)?,
            None => report.judge(Severity::Medium),
        }
        let write = |ending: &str, writer: fn(&Report, &mut dyn Write) -> io::Result<()>| {
            let mut file = BufWriter::new(File::create(out.join(format!("{name}.{ending}")))?);
            writer(&report, &mut file)?;
            file.flush()
        };
        write("html", html::write)?;
        write("sarif", sarif::write)?;
        write("xml", junit::write)?;
        write("md", markdown::write)?;
        write("txt", terminal)?;
        write("json", json::write)?;
        write("github", github::write)?;
        write("cdx.json", cyclonedx::write)?;
        println!("{name}: {} tensors, {} findings", report.profiles.len(), report.findings.len());
    }
    Ok(())
}
