//! The log, as far as its structure goes; `tests/python/reports.py` holds it to the standard's schema.

use super::*;
use proptest::prelude::*;

fn report() -> Report {
    let mut report = Report::new("verify", "models/demo 1");
    let mut changed = Finding::new("integrity/tensor-changed", "bytes differ from the seal")
        .in_file("a dir/model#1.safetensors")
        .in_tensor("layers.0.weight");
    changed.byte_range = Some([1024, 2048]);
    let mut header =
        Finding::new("integrity/header-changed", "text").in_file("a dir/model#1.safetensors");
    header.byte_range = Some([8, 100]);
    let unplaced = Finding::new("weights/not-finite", "3 NaN").in_tensor("layers.1.weight");
    report.findings = vec![changed.clone(), header, unplaced, changed];
    report.profiles = vec![Profile {
        tensor: "layers.0.weight".to_owned(),
        file: "a dir/model#1.safetensors".to_owned(),
        offset: 10_000,
        bytes: 4096,
        ..Profile::default()
    }];
    report.judge(Severity::Medium);
    report
}

fn results(log: &Value) -> &Vec<Value> {
    log["runs"][0]["results"].as_array().unwrap()
}

#[test]
fn regions_count_from_the_start_of_the_file() {
    let log = log(&report());
    let region = |index: usize| {
        let result = &results(&log)[index];
        result["locations"][0]["physicalLocation"]["region"].clone()
    };
    assert_eq!(region(0), json!({ "byteOffset": 11_024, "byteLength": 1024 }));
    assert_eq!(region(2), Value::Null, "the place of the tensor is not known");
    assert_eq!(region(3), json!({ "byteOffset": 8, "byteLength": 92 }));
    let artifact = &results(&log)[0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(
        *artifact,
        json!({ "uri": "a%20dir/model%231.safetensors", "uriBaseId": "MODEL", "index": 0 })
    );
    assert_eq!(log["runs"][0]["originalUriBaseIds"]["MODEL"]["uri"], "models/demo%201/");
    assert_eq!(log["runs"][0]["invocations"][0]["exitCode"], 1);
}

#[test]
fn indexes_point_to_what_they_name() {
    let log = log(&report());
    let run = &log["runs"][0];
    for result in results(&log) {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        for relationship in rule["relationships"].as_array().unwrap() {
            let target = &relationship["target"];
            let component = target["toolComponent"]["index"].as_u64().unwrap() as usize;
            let taxonomy = &run["taxonomies"][component];
            assert_eq!(taxonomy["name"], target["toolComponent"]["name"]);
            assert_eq!(
                taxonomy["taxa"][target["index"].as_u64().unwrap() as usize]["id"],
                target["id"]
            );
        }
    }
}

#[test]
fn fingerprints_are_stable_and_tell_findings_apart() {
    let (first, again) = (log(&report()), log(&report()));
    assert_eq!(first, again);
    let prints: BTreeSet<&str> = results(&first)
        .iter()
        .map(|result| result["partialFingerprints"][FINGERPRINT].as_str().unwrap())
        .collect();
    assert_eq!(prints.len(), 4, "two alike findings are told apart");
    let mut other = report();
    other.findings[0].message = "another message".to_owned();
    other.findings[0].byte_range = Some([0, 1]);
    let print = |log: &Value| results(log)[0]["partialFingerprints"][FINGERPRINT].clone();
    assert_eq!(print(&log(&other)), print(&first), "neither message nor range is part of it");
}

#[test]
fn a_model_of_one_file_and_an_absolute_path_have_their_base() {
    for (path, file, base) in [
        ("model.safetensors", "model.safetensors", "./"),
        ("x/model.safetensors", "model.safetensors", "x/"),
        ("/data/m", "model.safetensors", "file:///data/m/"),
        ("/model.safetensors", "model.safetensors", "file:///"),
        ("./m/", "model.safetensors", "m/"),
        (".", "model.safetensors", "./"),
    ] {
        let mut report = Report::new("verify", path);
        report.findings.push(Finding::new("integrity/file-changed", "m").in_file(file));
        assert_eq!(log(&report)["runs"][0]["originalUriBaseIds"]["MODEL"]["uri"], base, "{path}");
    }
}

#[test]
fn what_was_not_completed_says_so() {
    let mut report = Report::new("verify", "model");
    report.error = Some("model: no such file".to_owned());
    report.exit_code = 130;
    let log = log(&report);
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["exitCode"], 130);
    assert_eq!(
        invocation["toolExecutionNotifications"][0]["message"]["text"],
        "model: no such file"
    );
}

#[test]
fn what_a_policy_says_of_findings_is_kept() {
    let log = log(&crate::policy::tests::report("n"));
    let found = |rule: &str| results(&log).iter().find(|result| result["ruleId"] == rule).unwrap();
    let violating = found("payload/low-bits");
    assert_eq!((&violating["kind"], &violating["level"]), (&json!("fail"), &json!("note")));
    assert!(violating.get("suppressions").is_none());
    let allowed = &found("weights/row-outlier")["suppressions"];
    assert_eq!(
        *allowed,
        json!([{ "kind": "external", "status": "accepted", "justification": "n" }])
    );
    assert_eq!(log["runs"][0]["properties"]["policy"]["rules"][2]["outcome"], "not_checked");
}

proptest! {
    #[test]
    fn a_hostile_name_is_no_link_and_no_other_path(name in any::<String>(), evil in "[\\[\\]()/.:?#%<>\\x00-\\x1f ]{0,12}") {
        let name = format!("{evil}{name}");
        let mut report = report();
        report.findings[0].file = Some(name.clone());
        report.findings[0].message = name;
        let log = log(&report);
        let result = &results(&log)[0];
        prop_assert!(!result["message"]["text"].as_str().unwrap().contains("]("));
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        prop_assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)), "{}", uri);
    }
}
