//! Every attack of the catalogue against models that were sound before: is it found, as what, and where?
//!
//! `TENSORSEAL_CATCH_TABLE=FILE` writes the table as Markdown; `--nocapture` shows it. Of the attacks on
//! each model every eighth is tried, with `TENSORSEAL_EVERY_ATTACK=1` (in `scripts/test-slow`) all.

use crate::common::attacks::victim::{Float, Victim};
use crate::common::attacks::{Attack, Done, accidents, hidden, tampering};
use crate::common::random::Random;
use crate::common::weights::{Weights, read, write_as};
use crate::common::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// A sound model and what is done to it: attacks, on a tensor, with another one of its kind.
struct Trial {
    model: String,
    path: PathBuf,
    plan: Vec<(Vec<Attack>, &'static str, &'static str)>,
}

/// A line of the table.
struct Row {
    attack: String,
    model: String,
    tensor: String,
    required: bool,
    /// Rule and severity, or what was said instead.
    outcome: Result<(String, String), String>,
}

fn severity(finding: &Value) -> usize {
    SEVERITIES.iter().position(|name| finding["severity"] == *name).expect("a severity")
}

fn range(value: &Value) -> Option<(u64, u64)> {
    Some((value.get(0)?.as_u64()?, value.get(1)?.as_u64()?))
}

/// Audits a model; the exit code must be that of the gravest finding.
fn audit(path: &Path) -> Result<Vec<Value>, String> {
    let (code, report) = report(&["audit", arg(path)]);
    let findings = report["findings"].as_array().unwrap().clone();
    let expected = i32::from(findings.iter().any(|finding| severity(finding) >= 2));
    if code == expected { Ok(findings) } else { Err(format!("exit code {code}: {report:#}")) }
}

/// Whether a finding is about these bytes of the tensor.
fn is_there(finding: &Value, done: &Done, row_bytes: u64) -> bool {
    let attacked = (done.range.start as u64, done.range.end as u64);
    let said = range(&finding["byte_range"]).or_else(|| {
        range(&finding["row_range"]).map(|(from, to)| (from * row_bytes, to * row_bytes))
    });
    said.is_some_and(|(from, to)| from < attacked.1 && attacked.0 < to)
}

/// The gravest finding that counts, or what was found instead.
fn judge(
    attack: &Attack,
    done: &Done,
    victim: &Victim,
    clean: &[Value],
    found: &[Value],
) -> Result<(String, String), String> {
    let placed = victim.placed(&done.tensor);
    let row_bytes = (placed.range.len() / placed.shape[0]) as u64;
    let least = SEVERITIES.iter().position(|name| *name == attack.least).expect("a severity");
    let same = |a: &Value, b: &Value| {
        ["rule", "severity", "tensor", "byte_range"].iter().all(|key| a[key] == b[key])
    };
    let fresh: Vec<&Value> =
        found.iter().filter(|finding| !clean.iter().any(|old| same(old, finding))).collect();
    let counts = |finding: &&&Value| {
        let rule = finding["rule"].as_str().expect("a rule");
        // Of a pair of tensors, either may be named first.
        let other = finding["other_tensor"] == *done.tensor;
        let here = finding["tensor"] == *done.tensor
            && (!attack.local || is_there(finding, done, row_bytes));
        attack.rules.contains(&rule) && severity(finding) >= least && (here || other)
    };
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
    match fresh.iter().filter(counts).max_by_key(|finding| severity(finding)) {
        Some(finding) => Ok((text(finding, "rule"), text(finding, "severity"))),
        None => Err(fresh
            .iter()
            .map(|f| {
                let place = range(&f["byte_range"]).map_or(String::new(), |r| format!(" {r:?}"));
                format!("{} {} of {}{place}", f["severity"], f["rule"], f["tensor"])
            })
            .take(4)
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

/// Writes a tensor as it is in memory over the one in the file.
fn write_tensor(path: &Path, victim: &Victim, tensor: &str) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(victim.placed(tensor).range.start as u64)).unwrap();
    file.write_all(victim.data(tensor)).unwrap();
}

fn try_all(trial: &Trial) -> Vec<Row> {
    let mut victim = Victim::new(fs::read(&trial.path).unwrap());
    let row = |attack: String, tensor: &str, required, outcome| Row {
        attack,
        model: trial.model.clone(),
        tensor: tensor.to_owned(),
        required,
        outcome,
    };
    let clean = audit(&trial.path).and_then(|found| {
        match found.iter().find(|finding| severity(finding) >= 2) {
            Some(alarm) => Err(format!("a false alarm: {alarm:#}")),
            None => Ok(found),
        }
    });
    let clean = match clean {
        Ok(clean) => clean,
        Err(reason) => return vec![row("none".into(), "", true, Err(reason))],
    };
    let mut rows = Vec::new();
    let step = if std::env::var_os("TENSORSEAL_EVERY_ATTACK").is_some() { 1 } else { 8 };
    // Other ones of each model, so that every kind has its turn.
    let mut turn = trial.model.len();
    for (attacks, tensor, sibling) in &trial.plan {
        for attack in attacks {
            turn += 1;
            if !turn.is_multiple_of(step) {
                continue;
            }
            let done = attack.apply(&mut victim, tensor, sibling);
            if !done.range.is_empty() {
                write_tensor(&trial.path, &victim, tensor);
                let outcome = audit(&trial.path)
                    .and_then(|found| judge(attack, &done, &victim, &clean, &found));
                let name = format!("{}: {}", attack.name, attack.strength);
                rows.push(row(name, tensor, done.required, outcome));
            }
            done.undo(&mut victim);
            write_tensor(&trial.path, &victim, tensor);
        }
    }
    rows
}

/// All that is done to a model whatever its type, and what is done to that type.
fn plan(
    float: Float,
    matrix: [&'static str; 2],
    of_layers: [&'static str; 2],
) -> Vec<(Vec<Attack>, &'static str, &'static str)> {
    let [tensor, sibling] = matrix;
    let [layer, other] = of_layers;
    let mut plan = vec![
        (accidents::values(), tensor, sibling),
        (accidents::pages(), tensor, sibling),
        (accidents::foreign(), tensor, sibling),
        (hidden::in_the_clear(float), tensor, sibling),
        (tampering::lines(), tensor, sibling),
        (tampering::tensors(), layer, other),
    ];
    if float == Float::F32 {
        plan.push((tampering::precision(), tensor, sibling));
        plan.push((hidden::low_bytes(false), tensor, sibling));
    }
    plan
}

const WORDS: &str = "embeddings.word_embeddings.weight";
const DENSE: [&str; 2] =
    ["encoder.layer.2.intermediate.dense.weight", "encoder.layer.3.intermediate.dense.weight"];
const QUERY: [&str; 2] =
    ["encoder.layer.2.attention.self.query.weight", "encoder.layer.3.attention.self.query.weight"];
const UP: [&str; 2] = ["model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"];
const Q: [&str; 2] =
    ["model.layers.2.self_attn.q_proj.weight", "model.layers.3.self_attn.q_proj.weight"];
const EMBED: &str = "model.embed_tokens.weight";

/// The real model with its vocabulary cut short, so that an audit takes less; and all of it.
fn real() -> (Vec<Weights>, Vec<Weights>) {
    let whole = read(&real_model().join("model.safetensors"));
    let mut short = whole.clone();
    let words = short.iter_mut().find(|w| w.name == WORDS).expect("an embedding");
    words.shape[0] = 4096;
    words.values.truncate(4096 * words.shape[1]);
    (short, whole)
}

/// Normal weights with a log-normal scale for each row, under the names of a llama-like decoder.
fn generated(width: usize, hidden: usize, vocabulary: usize, parts: &[&str]) -> Vec<Weights> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut matrix = |name: String, rows: usize, columns: usize| {
        let mut values = Vec::with_capacity(rows * columns);
        for _ in 0..rows {
            let scale = 0.02 * (0.3 * random.normal()).exp();
            values.extend((0..columns).map(|_| (scale * random.normal()) as f32));
        }
        Weights { name, shape: vec![rows, columns], values }
    };
    let mut all = vec![matrix(EMBED.to_owned(), vocabulary, width)];
    for layer in 0..6 {
        for part in parts {
            let (rows, columns) = match *part {
                "mlp.gate_proj" | "mlp.up_proj" => (hidden, width),
                "mlp.down_proj" => (width, hidden),
                _ => (width, width),
            };
            all.push(matrix(format!("model.layers.{layer}.{part}.weight"), rows, columns));
        }
    }
    all
}

/// Rounded to bfloat16, in F32.
fn from_bf16(weights: &[Weights]) -> Vec<Weights> {
    let mut all = weights.to_vec();
    for value in all.iter_mut().flat_map(|w| &mut w.values) {
        *value = half::bf16::from_f32(*value).to_f32();
    }
    all
}

fn trials(dir: &Path) -> Vec<Trial> {
    let trial = |model: &str, weights: &[Weights], dtype, plan| {
        let path = dir.join(format!("{}.safetensors", model.replace(' ', "-")));
        write_as(&path, weights, dtype);
        Trial { model: model.to_owned(), path, plan }
    };
    let (short, whole) = real();
    let every = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let encrypted = |tensors: &[&'static str]| {
        tensors.iter().map(|tensor| (hidden::encrypted(), *tensor, *tensor)).collect::<Vec<_>>()
    };
    let small = generated(512, 1536, 4096, &every);
    let mut all = vec![
        trial("MiniLM F32", &short, Dtype::F32, plan(Float::F32, DENSE, QUERY)),
        trial("MiniLM BF16", &short, Dtype::BF16, plan(Float::BF16, DENSE, QUERY)),
        trial("MiniLM F16", &short, Dtype::F16, plan(Float::F16, DENSE, QUERY)),
        trial("generated BF16", &small, Dtype::BF16, plan(Float::BF16, UP, Q)),
        trial("MiniLM whole BF16", &whole, Dtype::BF16, encrypted(&[WORDS])),
        trial("MiniLM whole F16", &whole, Dtype::F16, encrypted(&[WORDS])),
    ];
    let low = vec![(hidden::low_bytes(true), DENSE[0], DENSE[1])];
    all.push(trial("MiniLM F32 from BF16", &from_bf16(&short), Dtype::F32, low));
    // 11.5 million weights in the embedding, 2.4 million in each other tensor.
    let large = generated(768, 3200, 15_008, &["mlp.up_proj"]);
    all.push(trial("generated large BF16", &large, Dtype::BF16, encrypted(&[EMBED, UP[0]])));
    all.push(trial("generated large F16", &large, Dtype::F16, encrypted(&[EMBED, UP[0]])));
    all
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| attack | model | tensor | asked for | caught by | severity |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let asked = if row.required { "yes" } else { "no" };
        let (rule, severity) = match &row.outcome {
            Ok((rule, severity)) => (rule.as_str(), severity.as_str()),
            Err(_) => ("**missed**", "-"),
        };
        text.push_str(&format!(
            "| {} | {} | `{}` | {asked} | {rule} | {severity} |\n",
            row.attack, row.model, row.tensor
        ));
    }
    text
}

#[test]
fn every_attack_is_found_as_what_it_is() {
    let dir = TempDir::new().unwrap();
    let trials = trials(dir.path());
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let running: Vec<_> =
            trials.iter().map(|trial| scope.spawn(move || try_all(trial))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let table = table(&rows);
    println!("{table}");
    if let Some(path) = std::env::var_os("TENSORSEAL_CATCH_TABLE") {
        fs::write(path, &table).unwrap();
    }
    let misses: Vec<String> = rows
        .iter()
        .filter(|row| row.required)
        .filter_map(|row| {
            let said = row.outcome.as_ref().err()?;
            let said = if said.is_empty() { "nothing" } else { said };
            Some(format!("{} ({}, {}): said {said}", row.attack, row.model, row.tensor))
        })
        .collect();
    let asked = rows.iter().filter(|row| row.required).count();
    println!("{} of {asked} attacks caught", asked - misses.len());
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
}
