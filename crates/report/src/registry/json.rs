//! The JSON document for scripts. Its schema, [`SCHEMA`], is published in `docs/schema/`.
//!
//! Each model has a line of its own, so that a reader does not need to hold all of them in memory. The verdict comes
//! last: a document without it is truncated.

use super::Overview;
use crate::Tool;
use serde::Serialize;
use serde::ser::SerializeSeq;
use serde_json::{Value, json};
use std::io::{self, Write};
use tensorseal_core::record::RegistrySummary;

/// The schema name of the document.
pub const SCHEMA: &str = "tensorseal.registry/1";

/// The summary of a registry.
#[derive(Serialize)]
struct RegistryTotals<'a> {
    models: Vec<Value>,
    #[serde(serialize_with = "findings")]
    findings: &'a RegistrySummary,
    last_complete: Option<jiff::Timestamp>,
    oldest_deep_check: Option<jiff::Timestamp>,
    never_deep_checked: u64,
    unsigned: u64,
    unsealed: u64,
    bytes_read: u64,
}

impl<'a> RegistryTotals<'a> {
    fn of(summary: &'a RegistrySummary) -> RegistryTotals<'a> {
        let of_state = |(state, count)| json!({"state": state, "count": count});
        RegistryTotals {
            models: summary.models.iter().map(of_state).collect(),
            findings: summary,
            last_complete: summary.last_complete,
            oldest_deep_check: summary.oldest_deep_check,
            never_deep_checked: summary.never_deep_checked,
            unsigned: summary.unsigned,
            unsealed: summary.unsealed,
            bytes_read: summary.bytes_read,
        }
    }
}

/// Serialises the number of findings by severity and rule, most severe first.
fn findings<S: serde::Serializer>(
    summary: &RegistrySummary,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(summary.findings.len()))?;
    for ((severity, rule), count) in summary.findings.iter().rev() {
        list.serialize_element(&json!({"severity": severity, "rule": rule, "count": count}))?;
    }
    list.end()
}

/// Writes the document.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
pub fn write(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let tool = Tool { name: "tensorseal", version: env!("CARGO_PKG_VERSION") };
    writeln!(out, "{{\n\"schema\": {},", text(&SCHEMA)?)?;
    writeln!(out, "\"tool\": {},", text(&tool)?)?;
    writeln!(out, "\"command\": {},", text(&overview.command)?)?;
    writeln!(out, "\"run\": {},", text(&overview.summary.last_run)?)?;
    writeln!(out, "\"summary\": {},", text(&RegistryTotals::of(overview.summary))?)?;
    if let Some(passed_over) = overview.passed_over {
        writeln!(out, "\"passed_over_count\": {},", passed_over.count)?;
        writeln!(out, "\"passed_over\": {},", text(&passed_over.first)?)?;
    }
    write!(out, "\"models\": [")?;
    let mut gap = "\n";
    overview.records.each(&mut |model| {
        write!(out, "{gap}")?;
        gap = ",\n";
        Ok(serde_json::to_writer(&mut *out, model)?)
    })?;
    writeln!(out, "\n],\n\"verdict\": {}\n}}", text(&overview.verdict)?)
}

fn text(part: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(part)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use tensorseal_core::judge::Verdict;
    use tensorseal_core::record::{ModelRecord, ModelRecords, SkippedItems};

    fn errors(document: &Value) -> Vec<String> {
        let options = jsonschema::options().should_validate_formats(true);
        let schema = tensorseal_testing::schema("tensorseal.registry.1");
        let validator = options.build(&schema).unwrap();
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    #[test]
    fn the_document_holds_to_its_schema() {
        let text =
            sample_registry::written("<c>\"\n\u{202e}", |overview, out| write(overview, out));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(errors(&document), Vec::<String>::new());
        assert_eq!(document["schema"], SCHEMA);
        assert_eq!(document["models"].as_array().unwrap().len(), 6);
        assert_eq!(document["models"][2]["name"], "<c>\"\n\u{202e}", "names are exact");
        let critical =
            json!({"severity": "critical", "rule": "integrity/tensor-changed", "count": 2});
        assert_eq!(document["summary"]["findings"][0], critical);
        assert_eq!(document["verdict"], "fail");
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"source\"")).count(), 6);
        for (at, wrong) in [
            ("/verdict", json!("good")),
            ("/models/0/state", json!("fine")),
            ("/run/started", json!("yesterday")),
            ("/summary/unsigned", json!(-1)),
        ] {
            let mut broken = document.clone();
            *broken.pointer_mut(at).unwrap() = wrong;
            assert!(!errors(&broken).is_empty(), "{at}");
        }
    }

    #[test]
    fn a_registry_without_models_or_runs_is_a_document_as_well() {
        let (summary, models) = (RegistrySummary::empty(), Vec::new());
        let mut out = Vec::new();
        let overview =
            Overview { verdict: Verdict::Pass, ..sample_registry::overview(&summary, &models) };
        write(&overview, &mut out).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(errors(&document), Vec::<String>::new());
        assert!(document["run"].is_null() && document["models"] == json!([]));
    }

    #[test]
    fn what_was_passed_over_is_in_it() {
        let (summary, models) = (RegistrySummary::empty(), Vec::new());
        let mut passed_over = SkippedItems::default();
        for at in 0..SkippedItems::MAX_LISTED + 5 {
            passed_over.add("/models", format!("link {at}"), "a link".to_owned());
        }
        let passed_over = Some(&passed_over);
        let overview = Overview { passed_over, ..sample_registry::overview(&summary, &models) };
        let mut out = Vec::new();
        write(&overview, &mut out).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(errors(&document), Vec::<String>::new());
        assert_eq!(document["passed_over_count"], SkippedItems::MAX_LISTED + 5);
        assert_eq!(document["passed_over"].as_array().unwrap().len(), SkippedItems::MAX_LISTED);
        let expected = json!({"source": "/models", "path": "link 0", "reason": "a link"});
        assert_eq!(document["passed_over"][0], expected);
    }

    /// Models that cannot be read to the end.
    struct Broken;

    impl ModelRecords for Broken {
        fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
            each(&sample_registry::models("c")[0])?;
            Err(io::Error::other("the database is damaged"))
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_document() {
        let (summary, models) = (RegistrySummary::empty(), Vec::new());
        let mut out = Vec::new();
        let overview =
            Overview { records: &Broken, ..sample_registry::overview(&summary, &models) };
        let error = write(&overview, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "the database is damaged");
        assert!(serde_json::from_slice::<Value>(&out).is_err());
    }
}
