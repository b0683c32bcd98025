//! A small registry for tests.

use super::Overview;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Verdict;
use tensorseal_core::record::{
    ModelRecord, ModelState, RecordedFinding, RegistrySummary, RunOutcome, RunRecord,
};

/// The time of all reports: 2026-12-01T08:00:00Z.
pub(super) const NOW: i64 = 1_796_112_000;

pub(super) fn time(before_now: i64) -> Timestamp {
    Timestamp::from_second(NOW - before_now).unwrap()
}

pub(super) fn model(source: &str, name: &str, state: ModelState) -> ModelRecord {
    ModelRecord {
        source: source.to_owned(),
        name: name.to_owned(),
        version: None,
        state,
        detail: format!("its detail is {}", state.name()),
        files: 3,
        bytes: 91_617_632,
        root: Some(format!("blake3:{}", "ab".repeat(32))),
        signed: true,
        sealed: true,
        first_seen: time(90 * 86_400),
        last_seen: time(40),
        last_deep_check: Some(time(3_600)),
        findings: Vec::new(),
    }
}

pub(super) fn finding(severity: Severity, rule: &str) -> RecordedFinding {
    RecordedFinding {
        rule: rule.to_owned(),
        severity,
        message: format!("what {rule} says"),
        file: None,
        tensor: None,
        byte_range: None,
        evidence: BTreeMap::new(),
        references: Vec::new(),
    }
}

pub(super) fn run() -> RunRecord {
    RunRecord {
        id: 7,
        sources: vec!["/models".to_owned(), "s3://bucket/models".to_owned()],
        started: time(60),
        ended: Some(time(20)),
        outcome: RunOutcome::Fail,
        models: 6,
        deep_checked: 2,
        bytes_read: 34_100_000_000,
        errors: vec!["s3://bucket/models/f: timed out".to_owned()],
    }
}

/// Six models of two sources, one of them named `name`, with findings that say `name` everywhere.
pub(super) fn models(name: &str) -> Vec<ModelRecord> {
    let mut models = vec![
        model("/models", "a", ModelState::Ok),
        model("/models", "b", ModelState::BitRot),
        model("/models", name, ModelState::Modified),
        model("s3://bucket/models", "d", ModelState::New),
        model("s3://bucket/models", "e", ModelState::Missing),
        model("s3://bucket/models", "f", ModelState::Incomplete),
    ];
    let changed = RecordedFinding {
        file: Some("model.safetensors".to_owned()),
        tensor: Some("layers.0.weight".to_owned()),
        byte_range: Some([16, 18]),
        evidence: BTreeMap::from([("blocks_changed".to_owned(), 1.into())]),
        references: vec!["AML.T0018.000".to_owned(), "LLM04".to_owned()],
        ..finding(Severity::Critical, "integrity/tensor-changed")
    };
    models[1].findings = vec![changed.clone(), finding(Severity::Info, "format/misaligned")];
    models[2].findings = vec![RecordedFinding {
        message: name.to_owned(),
        file: Some(name.to_owned()),
        tensor: Some(name.to_owned()),
        evidence: BTreeMap::from([(name.to_owned(), name.into())]),
        references: vec![name.to_owned()],
        ..changed
    }];
    models[2].version = Some(name.to_owned());
    models[2].detail = name.to_owned();
    models[3].signed = false;
    models[3].sealed = false;
    models[3].last_deep_check = Some(time(29 * 86_400));
    models[5].root = None;
    models[5].last_deep_check = None;
    models[5].sealed = false;
    models
}

pub(super) fn summary(models: &[ModelRecord]) -> RegistrySummary {
    let known = RegistrySummary {
        last_run: Some(run()),
        last_complete: Some(time(86_400)),
        bytes_read: 134_100_000_000,
        ..RegistrySummary::empty()
    };
    known.count(&models.to_vec()).unwrap()
}

pub(super) fn overview<'a>(
    summary: &'a RegistrySummary,
    models: &'a Vec<ModelRecord>,
) -> Overview<'a> {
    Overview {
        command: "registry scan",
        verdict: Verdict::Fail,
        now: time(0),
        summary,
        records: models,
        passed_over: None,
    }
}

/// What a writer writes of the registry in which a model is called `name`.
pub(super) fn written(
    name: &str,
    write: impl Fn(&Overview<'_>, &mut Vec<u8>) -> std::io::Result<()>,
) -> String {
    let models = models(name);
    let summary = summary(&models);
    let mut out = Vec::new();
    write(&overview(&summary, &models), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
