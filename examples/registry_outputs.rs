//! Writes everything that is told of registries, of made-up ones, to look at it and to hold it to validators.
//!
//!     cargo run --example registry_outputs -- OUT [SYSLOG...]
//!
//! Each of `empty`, `few` (a model in each state), `five-hundred`, `five-thousand` and `hostile` (names that try
//! to be markup) becomes `OUT/NAME.html`, `.json`, `.csv`, `.prom`, `.ocsf.jsonl`, `.txt` and `.syslog`. The
//! messages of `few` and `hostile` are sent to each SYSLOG, such as `udp://127.0.0.1:5514`.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tensorseal_core::judge::{Finding, Verdict};
use tensorseal_core::record::{
    ModelRecord, ModelRecords, ModelState, RecordedFinding, RegistrySummary, RunOutcome, RunRecord,
    SkippedItems,
};
use tensorseal_report::human::{Options, Palette};
use tensorseal_report::registry::syslog::{self, Facility, Origin, Target};
use tensorseal_report::registry::{Overview, html, human, inventory, json, ocsf, prometheus};

/// 2026-12-01T08:00:00Z.
const NOW: i64 = 1_796_112_000;

const SOURCES: [&str; 3] =
    ["/srv/models/huggingface", "oci://registry.example.com/models", "s3://models/production"];

fn before(seconds: u64) -> Timestamp {
    let now = Timestamp::from_second(NOW).unwrap_or(Timestamp::UNIX_EPOCH);
    now - SignedDuration::from_secs(seconds as i64)
}

/// A made-up registry.
struct Made {
    name: &'static str,
    models: u64,
    /// Called with the number of a model.
    problems: fn(u64) -> Option<ModelState>,
}

impl Made {
    fn model(&self, index: u64) -> ModelRecord {
        let noise = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let state = (self.problems)(index).unwrap_or(ModelState::Ok);
        let source = SOURCES[(index * SOURCES.len() as u64 / self.models.max(1)) as usize];
        let mut model = ModelRecord {
            source: source.to_owned(),
            name: format!("organisation-{}/model-{index:04}-instruct", noise % 17),
            version: Some(format!(
                "{:032x}00c0ffee",
                (u128::from(noise) + 1).wrapping_mul(0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e1f3)
            )),
            state,
            detail: detail(state).to_owned(),
            files: 4 + noise % 9,
            bytes: 90_000_000 + noise * 40,
            root: Some(format!("blake3:{:064x}", noise)),
            signed: !noise.is_multiple_of(7),
            sealed: !noise.is_multiple_of(5),
            first_seen: before(180 * 86_400),
            last_seen: before(90),
            last_deep_check: Some(before(noise % (29 * 86_400))),
            findings: findings(state).iter().map(RecordedFinding::from).collect(),
        };
        if state == ModelState::Incomplete {
            model.last_deep_check = None;
            model.root = None;
        }
        if index % 50 == 9 {
            let finding = Finding::new("format/misaligned", "its data begins at an odd byte");
            model.findings.push(RecordedFinding::from(&finding));
        }
        model
    }
}

impl ModelRecords for Made {
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
        (0..self.models).try_for_each(|index| each(&self.model(index)))
    }
}

fn detail(state: ModelState) -> &'static str {
    match state {
        ModelState::Ok => "as accepted",
        ModelState::New => "seen for the first time",
        ModelState::Modified => {
            "model.safetensors was written on 2026-11-30 and has other content than was accepted"
        }
        ModelState::BitRot => {
            "model.safetensors has other content than was accepted, and nothing was written"
        }
        ModelState::Replaced => "version 41b2… was replaced by 9c07…, with other content",
        ModelState::Missing => "it was there on 2026-11-29 and is no longer listed",
        ModelState::Incomplete => "model-00002-of-00004.safetensors is not there",
    }
}

fn findings(state: ModelState) -> Vec<Finding> {
    match state {
        ModelState::Modified => vec![
            Finding::new(
                "integrity/tensor-changed",
                "1,048,576 of 33,554,432 bytes differ from what was accepted",
            )
            .in_file("model.safetensors")
            .in_tensor("model.layers.11.mlp.down_proj.weight")
            .with("blocks_changed", 1)
            .with("blocks", 32),
            Finding::new(
                "weights/exponent-outlier",
                "1 value has an exponent 125 above 99.99 % of the others",
            )
            .in_file("model.safetensors")
            .in_tensor("model.layers.11.mlp.down_proj.weight")
            .with("exponent_gap", 125),
        ],
        ModelState::BitRot => {
            let mut finding =
                Finding::new("integrity/tensor-changed", "2 bits differ from what was accepted")
                    .in_file("model.safetensors")
                    .in_tensor("model.embed_tokens.weight");
            finding.byte_range = Some([4_194_304, 4_194_306]);
            vec![finding]
        }
        ModelState::Replaced => {
            vec![Finding::new("integrity/other-model", "no tensor is the accepted one")]
        }
        ModelState::Ok | ModelState::New | ModelState::Missing | ModelState::Incomplete => {
            Vec::new()
        }
    }
}

/// Everything that comes from a registry tries to be something else.
fn hostile() -> Vec<ModelRecord> {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "=HYPERLINK(\"http://example.com\",\"click\")",
        "a\nb\r\nc\u{1b}[31mred",
        "\u{202e}txt.exe\u{2066}",
        "] [evil@1 a=\"b\"] \\",
        "tensorseal_models{state=\"ok\"} 0\n",
        "nul\0 and \u{feff}mark",
    ];
    let long = "n".repeat(70_000);
    let names = names.into_iter().chain([long.as_str(), ""]);
    let made = Made { name: "hostile", models: 10, problems: |_| Some(ModelState::Modified) };
    let hostile = |(index, name): (usize, &str)| {
        let mut model = made.model(index as u64);
        model.name = name.to_owned();
        model.version = Some(name.to_owned());
        model.detail = name.to_owned();
        for finding in &mut model.findings {
            finding.file = Some(name.to_owned());
            finding.tensor = Some(name.to_owned());
            finding.message = if name.is_empty() { "-" } else { name }.to_owned();
            finding.evidence = BTreeMap::from([(name.to_owned(), name.into())]);
            finding.references.push(name.to_owned());
        }
        model
    };
    names.enumerate().map(hostile).collect()
}

fn summary(records: &dyn ModelRecords, run: Option<RunRecord>) -> io::Result<RegistrySummary> {
    let known = RegistrySummary {
        last_complete: run.as_ref().map(|_| before(86_400)),
        bytes_read: 40_000_000_000_000,
        last_run: run,
        ..RegistrySummary::empty()
    };
    known.count(records)
}

fn run(models: u64, errors: &[&str]) -> RunRecord {
    RunRecord {
        id: 214,
        sources: SOURCES.map(str::to_owned).into(),
        started: before(740),
        ended: Some(before(95)),
        outcome: if errors.is_empty() { RunOutcome::Fail } else { RunOutcome::Incomplete },
        models,
        deep_checked: models / 7,
        bytes_read: 34_100_000_000,
        errors: errors.iter().map(|error| (*error).to_owned()).collect(),
    }
}

/// The registry as the terminal shows it.
fn terminal(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let palette = Palette::default();
    human::table(overview, human::Models::All, palette, out)?;
    human::findings(overview, Options::default(), palette, out)?;
    human::ending(overview, palette, out)
}

/// The messages of syslog, one a line.
fn messages(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let facility = Facility::default();
    let origin = Origin { host: "node-1".to_owned(), process: 1, facility };
    syslog::messages(overview, &origin, &mut |message| {
        out.write_all(message)?;
        out.write_all(b"\n")
    })
}

fn write_all(name: &str, overview: &Overview<'_>, out: &Path) -> io::Result<()> {
    type Writer<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;
    let write = |ending: &str, writer: Writer<'_>| {
        let mut file = BufWriter::new(File::create(out.join(format!("{name}.{ending}")))?);
        writer(&mut file)?;
        file.flush()
    };
    let report = |model: &ModelRecord| match model.state {
        ModelState::Modified | ModelState::BitRot | ModelState::Replaced => {
            Some(format!("reports/{}.html", model.name.chars().take(40).collect::<String>()))
        }
        _ => None,
    };
    write("html", &|out| html::write(overview, Some(&report), out))?;
    write("json", &|out| json::write(overview, out))?;
    write("csv", &|out| inventory::write(overview, out))?;
    write("prom", &|out| prometheus::write(overview, name, out))?;
    write("ocsf.jsonl", &|out| ocsf::write(overview, out))?;
    write("txt", &|out| terminal(overview, out))?;
    write("syslog", &|out| messages(overview, out))
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let out = PathBuf::from(args.next().unwrap_or_else(|| {
        eprintln!("usage: registry_outputs OUT [SYSLOG...]");
        std::process::exit(2)
    }));
    let targets: Result<Vec<Target>, String> = args.map(|target| target.parse()).collect();
    let targets = targets.map_err(io::Error::other)?;
    fs::create_dir_all(&out)?;
    let some = |index: u64| match index % 500 {
        81 => Some(ModelState::Modified),
        222 => Some(ModelState::BitRot),
        301 => Some(ModelState::New),
        444 => Some(ModelState::Incomplete),
        _ => None,
    };
    let registries = [
        Made { name: "empty", models: 0, problems: |_| None },
        Made {
            name: "few",
            models: 7,
            problems: |index| ModelState::ALL.get(index as usize).copied(),
        },
        Made { name: "five-hundred", models: 500, problems: some },
        Made { name: "five-thousand", models: 5000, problems: some },
    ];
    for made in &registries {
        let run = (made.models > 0).then(|| match made.name {
            "few" => {
                run(made.models, &["s3://models/production/model-0006: timed out, asked 5 times"])
            }
            _ => run(made.models, &[]),
        });
        let verdict = match made.name {
            "empty" => Verdict::Pass,
            _ => Verdict::Fail,
        };
        tell(made.name, verdict, made, run, &out, &targets)?;
    }
    tell(
        "hostile",
        Verdict::Incomplete,
        &hostile(),
        Some(run(10, &["a\n\u{1b}[2Jb<b>"])),
        &out,
        &targets,
    )
}

fn tell(
    name: &str,
    verdict: Verdict,
    records: &dyn ModelRecords,
    run: Option<RunRecord>,
    out: &Path,
    targets: &[Target],
) -> io::Result<()> {
    let summary = summary(records, run)?;
    let command = if summary.last_run.is_some() { "registry scan" } else { "registry status" };
    let mut passed_over = SkippedItems::default();
    passed_over.add("/srv/models", "datasets--org--name".to_owned(), "a data set".to_owned());
    let passed_over = summary.last_run.is_some().then_some(&passed_over);
    let now = before(0);
    let overview = Overview { command, verdict, now, summary: &summary, passed_over, records };
    write_all(name, &overview, out)?;
    if ["few", "hostile"].contains(&name) {
        for target in targets {
            let sent = syslog::send(&overview, target).map_err(io::Error::other)?;
            println!("{name}: {sent} messages to {}", target.transport);
        }
    }
    println!("{name}: {} models", summary.total());
    Ok(())
}
