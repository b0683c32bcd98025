//! Tests what receivers of the events rely on. A Python check validates the events against the published schema.

use super::*;
use crate::registry::sample_registry;
use std::collections::BTreeSet;
use tensorseal_core::record::RegistrySummary;

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_scan_is_its_beginning_its_findings_and_its_end() {
    let text = sample_registry::written("c", |overview, out| write(overview, out));
    let events = events(&text);
    let types: Vec<u64> = events.iter().map(|event| event["type_uid"].as_u64().unwrap()).collect();
    assert_eq!(types, [600_701, 200_401, 200_401, 200_401, 600_702]);
    let correlated: BTreeSet<Option<&str>> =
        events.iter().map(|event| event["metadata"]["correlation_uid"].as_str()).collect();
    assert!(!correlated.contains(&None));
    assert_eq!(correlated.len(), 1);
    for event in &events {
        let (class, activity) = (event["class_uid"].as_u64(), event["activity_id"].as_u64());
        assert_eq!(event["type_uid"].as_u64(), Some(class.unwrap() * 100 + activity.unwrap()));
    }
    assert_eq!(events[0]["time"], sample_registry::time(60).as_millisecond());
    let end = &events[4];
    assert_eq!(end["duration"], 40_000);
    assert_eq!(end["num_detections"], 3);
    assert_eq!(end["severity_id"], 5);
    assert_eq!(end["status_detail"], "s3://bucket/models/f: timed out");
}

#[test]
fn a_finding_names_rule_model_place_and_technique() {
    let text = sample_registry::written("c", |overview, out| write(overview, out));
    let event = &events(&text)[1];
    assert_eq!(event["finding_info"]["analytic"]["uid"], "integrity/tensor-changed");
    assert_eq!(event["resources"][0]["name"], "b");
    assert_eq!(event["resources"][0]["data"]["state"], "bit-rot");
    let evidence = &event["evidences"][0];
    assert_eq!(evidence["file"]["name"], "model.safetensors");
    assert_eq!(evidence["data"]["byte_range"], json!([16, 18]));
    assert_eq!(evidence["data"]["numbers"]["blocks_changed"], 1);
    let attack = &event["finding_info"]["attacks"][0];
    assert_eq!(attack["technique"]["uid"], "AML.T0018");
    assert_eq!(attack["sub_technique"]["uid"], "AML.T0018.000");
    assert_eq!(event["finding_info"]["attacks"].as_array().unwrap().len(), 1, "others are tags");
    // A finding of the model as a whole shows its root.
    let root = &events(&text)[2]["evidences"][0]["file"]["hashes"][0];
    assert_eq!(
        (root["algorithm_id"].as_u64(), root["value"].as_str().map(str::len)),
        (Some(99), Some(64))
    );
}

#[test]
fn a_digest_that_was_made_is_one_that_receivers_look_for() {
    let mut models = sample_registry::models("c");
    let mut event = |algorithm: &str, found: &str| {
        let finding = &mut models[1].findings[0];
        finding.evidence.insert("algorithm".to_owned(), algorithm.into());
        finding.evidence.insert("found".to_owned(), found.into());
        let (summary, mut out) = (sample_registry::summary(&models), Vec::new());
        write(&sample_registry::overview(&summary, &models), &mut out).unwrap();
        let event = &events(std::str::from_utf8(&out).unwrap())[1];
        event["evidences"][0]["file"].clone()
    };
    let digest = "cd".repeat(32);
    let sha256 = json!([{"algorithm_id": 3, "algorithm": "SHA-256", "value": digest}]);
    assert_eq!(event("sha256", &digest)["hashes"], sha256);
    assert_eq!(event("git-blob", &digest[..40])["hashes"][0]["algorithm_id"], 99);
    assert_eq!(event("sha256", "not measured").get("hashes"), None);
}

#[test]
fn uids_are_the_same_in_the_next_scan() {
    let mut models = sample_registry::models("c");
    let mut summary = sample_registry::summary(&models);
    let uids = |summary: &RegistrySummary, models: &Vec<_>| {
        let mut out = Vec::new();
        write(&sample_registry::overview(summary, models), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let of = |event: &Value| event["finding_info"]["uid"].as_str().map(str::to_owned);
        events(&text).iter().filter_map(of).collect::<Vec<_>>()
    };
    let first = uids(&summary, &models);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3);
    if let Some(run) = &mut summary.last_run {
        run.id += 1;
        run.started = sample_registry::time(5);
    }
    models[1].last_seen = sample_registry::time(4);
    assert_eq!(uids(&summary, &models), first);
}

#[test]
fn what_was_not_completed_is_no_success() {
    let models = sample_registry::models("c");
    for (outcome, activity) in [(RunOutcome::Incomplete, 6), (RunOutcome::Interrupted, 3)] {
        let mut summary = sample_registry::summary(&models);
        summary.findings.clear();
        if let Some(run) = &mut summary.last_run {
            run.outcome = outcome;
            run.errors = vec!["no".to_owned(); LISTED + 5];
        }
        let mut out = Vec::new();
        write(&sample_registry::overview(&summary, &models), &mut out).unwrap();
        let events = events(std::str::from_utf8(&out).unwrap());
        let end = events.last().unwrap();
        assert_eq!(end["activity_id"], activity);
        assert_eq!((end["status_id"].as_u64(), end["severity_id"].as_u64()), (Some(2), Some(3)));
        assert!(end["status_detail"].as_str().unwrap().ends_with("no; … and 5 more"));
    }
}

#[test]
fn a_scan_at_work_has_no_end() {
    let models = sample_registry::models("c");
    let mut summary = sample_registry::summary(&models);
    if let Some(run) = &mut summary.last_run {
        run.outcome = RunOutcome::Running;
        run.ended = None;
    }
    let mut out = Vec::new();
    write(&sample_registry::overview(&summary, &models), &mut out).unwrap();
    let events = events(std::str::from_utf8(&out).unwrap());
    assert_eq!(events.last().unwrap()["class_uid"], 2004);
}

#[test]
fn a_hostile_name_is_a_line_and_exact() {
    let name = "a\n\"}\u{202e}\0";
    let text = sample_registry::written(name, |overview, out| write(overview, out));
    assert_eq!(text.lines().count(), 5);
    assert_eq!(events(&text)[3]["resources"][0]["name"], name);
}

#[test]
fn what_no_receiver_would_keep_is_clipped_and_said_so() {
    let (short, long) = ("n".repeat(1000), "n".repeat(70_000));
    for (name, truncated) in [(short, false), (long, true)] {
        let text = sample_registry::written(&name, |overview, out| write(overview, out));
        let event = &events(&text)[3];
        assert_eq!(event["metadata"].get("is_truncated").is_some(), truncated);
        let shown = event["resources"][0]["name"].as_str().unwrap();
        assert_eq!((shown == name, shown.ends_with("… (70000 bytes)")), (!truncated, truncated));
        assert!(text.lines().all(|line| line.len() < 20_000));
    }
}
