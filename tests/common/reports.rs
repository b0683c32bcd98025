//! What the program reports.

use super::program::run;
use super::schema::validate;
use serde_json::Value;

/// Runs a verb with `--format json` and gives the exit code and the report, checked against the
/// published schema.
pub(crate) fn report(args: &[&str]) -> (i32, Value) {
    let mut all = args.to_vec();
    all.extend(["--format", "json", "--device", "cpu"]);
    if args[0] == "inspect" {
        all.truncate(all.len() - 2);
    }
    let ran = run(&all);
    let report: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {} {}", ran.stdout, ran.stderr));
    validate("tensorseal.report.2", &report);
    assert_eq!(report["exit_code"], ran.code, "{args:?}: {report:#}");
    (ran.code, report)
}
