//! Metrics for the textfile collector of the Prometheus node_exporter, in the text-based exposition format 0.0.4.
//!
//! No label holds the name of a model, because each name would create a permanent time series. An alert says that
//! something needs attention; the other reports name the model.
//!
//! The collector rejects two files with the same series. All series of a file therefore have the label `registry`,
//! which is the name of the file.

use super::Overview;
use jiff::Timestamp;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::path::Path;
use tensorseal_core::record::{ModelState, RunOutcome, RunRecord};

/// Returns the value of the label `registry` for a file: its name without directory and extension.
pub fn registry_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Writes the metrics, all with the label `registry`. A time that never occurred is 0, so that an alert on its age
/// fires. Unknown values are left out.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(overview: &Overview<'_>, registry: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut text = MetricsText { registry: escaped(registry), text: String::new() };
    text.gauge("build_info", "The version of tensorseal that wrote this file. Always 1.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    last_run(overview, &mut text);
    models(overview, &mut text);
    findings(overview, &mut text);
    out.write_all(text.text.as_bytes())
}

fn last_run(overview: &Overview<'_>, text: &mut MetricsText) {
    let summary = overview.summary;
    let run = summary.last_run.as_ref();
    text.single(
        "last_run_timestamp_seconds",
        "End of the last scan, or its start if it has not ended. 0 if there was none.",
        seconds(run.map(|run| run.ended.unwrap_or(run.started))),
    );
    text.single(
        "last_success_timestamp_seconds",
        "End of the last scan that checked everything due, whatever it found. 0 if there was none.",
        seconds(summary.last_complete),
    );
    text.gauge(
        "last_run_outcome",
        "Outcome of the last scan: 1 for the actual outcome, 0 for the others.",
    );
    for outcome in RunOutcome::ALL {
        let is = run.is_some_and(|run| run.outcome == outcome);
        text.sample("last_run_outcome", &[("outcome", outcome.name())], u8::from(is));
    }
    if let Some(duration) = run.and_then(RunRecord::seconds) {
        text.single("last_run_duration_seconds", "Duration of the last scan.", duration);
    }
    let of_run = |of: fn(&RunRecord) -> u64| run.map_or(0, of);
    text.single("last_run_models", "Models seen by the last scan.", of_run(|run| run.models));
    text.single(
        "last_run_deep_checked_models",
        "Models of which the last scan read every byte.",
        of_run(|run| run.deep_checked),
    );
    text.single(
        "last_run_errors",
        "Errors of the last scan: things that it could not check.",
        of_run(|run| run.errors.len() as u64),
    );
    text.head("bytes_read_total", "counter", "Bytes read by all scans.");
    text.sample("bytes_read_total", &[], summary.bytes_read);
}

fn models(overview: &Overview<'_>, text: &mut MetricsText) {
    let summary = overview.summary;
    text.gauge("models", "Models by state.");
    for state in ModelState::ALL {
        text.sample("models", &[("state", state.name())], summary.in_state(state));
    }
    if let Some(oldest) = summary.oldest_deep_check {
        text.single(
            "oldest_deep_check_timestamp_seconds",
            "Time of the deep check that is longest ago, over the last deep check of each model.",
            oldest.as_second(),
        );
    }
    text.single(
        "models_never_deep_checked",
        "Models that were never deep-checked.",
        summary.never_deep_checked,
    );
    text.single("models_unsigned", "Models without a signature.", summary.unsigned);
    text.single("models_unsealed", "Models without a seal.", summary.unsealed);
}

fn findings(overview: &Overview<'_>, text: &mut MetricsText) {
    text.gauge("findings", "Current findings by severity and rule.");
    for ((severity, rule), number) in &overview.summary.findings {
        text.sample("findings", &[("severity", severity.name()), ("rule", rule)], number);
    }
}

fn seconds(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::as_second)
}

/// The text written so far. Its size is bounded by the number of rules.
struct MetricsText {
    registry: String,
    text: String,
}

impl MetricsText {
    /// Writes a metric with a single sample.
    fn single(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, "gauge", help);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ =
            writeln!(self.text, "# HELP tensorseal_{name} {help}\n# TYPE tensorseal_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut all = format!("registry=\"{}\"", self.registry);
        for (label, value) in labels {
            all += &format!(",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, "tensorseal_{name}{{{all}}} {value}");
    }
}

/// Escapes backslashes, quotes and line feeds in the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use proptest::prelude::*;
    use tensorseal_base::severity::Severity;
    use tensorseal_core::record::RegistrySummary;

    #[test]
    fn everything_that_is_watched_is_there() {
        let text = sample_registry::written("c", |overview, out| write(overview, "hub", out));
        for line in [
            "last_run_timestamp_seconds{registry=\"hub\"} 1796111980",
            "last_success_timestamp_seconds{registry=\"hub\"} 1796025600",
            "last_run_duration_seconds{registry=\"hub\"} 40",
            "last_run_outcome{registry=\"hub\",outcome=\"fail\"} 1",
            "last_run_outcome{registry=\"hub\",outcome=\"pass\"} 0",
            "last_run_errors{registry=\"hub\"} 1",
            "bytes_read_total{registry=\"hub\"} 134100000000",
            "models{registry=\"hub\",state=\"bit-rot\"} 1",
            "models{registry=\"hub\",state=\"replaced\"} 0",
            "oldest_deep_check_timestamp_seconds{registry=\"hub\"} 1793606400",
            "models_never_deep_checked{registry=\"hub\"} 1",
            "models_unsigned{registry=\"hub\"} 1",
            "models_unsealed{registry=\"hub\"} 2",
            "findings{registry=\"hub\",severity=\"critical\",rule=\"integrity/tensor-changed\"} 2",
        ] {
            let line = format!("tensorseal_{line}");
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Each metric is described once, before its samples.
        let mut heads: Vec<&str> =
            text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        for sample in samples {
            let name = sample.split(['{', ' ']).next().unwrap();
            assert!(heads.contains(&name), "{name}");
        }
        let all = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), all);
    }

    #[test]
    fn what_never_was_is_long_ago_and_what_is_not_known_is_left_out() {
        let models = Vec::new();
        let summary = RegistrySummary::empty();
        let mut out = Vec::new();
        write(&sample_registry::overview(&summary, &models), "hub", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("\ntensorseal_last_success_timestamp_seconds{registry=\"hub\"} 0\n"),
            "{text}"
        );
        assert!(!text.contains("oldest_deep_check") && !text.contains("duration"), "{text}");
        assert_eq!(
            text.matches("tensorseal_models{registry=\"hub\",state=").count(),
            ModelState::ALL.len()
        );
    }

    #[test]
    fn a_registry_is_what_its_file_is_called() {
        assert_eq!(registry_of(Path::new("/var/lib/node-exporter/hub.prom")), "hub");
        assert_eq!(registry_of(Path::new("..")), "");
    }

    /// Reads a label as the format says it is escaped.
    fn read(label: &str) -> Option<String> {
        let mut out = String::new();
        let mut chars = label.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => return chars.next().is_none().then_some(out),
                '\\' => out.push(match chars.next()? {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                '\n' => return None,
                c => out.push(c),
            }
        }
    }

    proptest! {
        #[test]
        fn a_label_is_read_as_it_was(rule in any::<String>(), evil in "[\\\\\"\\n{},= ]{0,12}") {
            let rule = format!("{evil}{rule}");
            let mut summary = RegistrySummary::empty();
            summary.findings.insert((Severity::High, rule.clone()), 3);
            let mut out = Vec::new();
            write(&sample_registry::overview(&summary, &Vec::new()), "hub", &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let start = "tensorseal_findings{registry=\"hub\",severity=\"high\",rule=";
            let line = text.split('\n').find_map(|line| line.strip_prefix(start)).unwrap();
            prop_assert_eq!(read(line.strip_suffix("} 3").unwrap()), Some(rule));
        }
    }
}
