//! The inventory: all models as comma-separated values (RFC 4180), for spreadsheets.
//!
//! Spreadsheets evaluate a field as a formula if it begins with one of a few characters. Such a field is prefixed
//! with an apostrophe, which spreadsheets do not display. The JSON document has the exact names.

use super::Overview;
use crate::safe_text;
use std::io::{self, Write};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::ModelRecord;

/// The header record.
const HEADER: [&str; 16] = [
    "source",
    "model",
    "version",
    "state",
    "detail",
    "files",
    "bytes",
    "root",
    "signed",
    "sealed",
    "first_seen",
    "last_seen",
    "last_deep_check",
    "worst",
    "findings",
    "rules",
];

/// Writes the inventory: a header, and a record for each model. `findings` and `rules` cover the findings above info.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
pub fn write(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(HEADER)?;
    overview.records.each(&mut |model| Ok(csv.write_record(record(model))?))?;
    csv.flush()
}

fn record(model: &ModelRecord) -> [String; 16] {
    let said: Vec<_> = model.findings.iter().filter(|f| f.severity > Severity::Info).collect();
    let mut rules: Vec<&str> = said.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    [
        text(&model.source),
        text(&model.name),
        model.version.as_deref().map(text).unwrap_or_default(),
        model.state.name().to_owned(),
        text(&model.detail),
        model.files.to_string(),
        model.bytes.to_string(),
        model.root.as_deref().map(text).unwrap_or_default(),
        model.signed.to_string(),
        model.sealed.to_string(),
        model.first_seen.to_string(),
        model.last_seen.to_string(),
        model.last_deep_check.map(|time| time.to_string()).unwrap_or_default(),
        model.worst().map(|worst| worst.name().to_owned()).unwrap_or_default(),
        said.len().to_string(),
        text(&rules.join(" ")),
    ]
}

/// Escapes hidden characters, and text that a spreadsheet would evaluate as a formula.
fn text(text: &str) -> String {
    let mut shown = safe_text::clipped(text, usize::MAX);
    // Some spreadsheets treat the full-width forms like the ASCII characters.
    if shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        shown.insert(0, '\'');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let records = reader.records().map(|record| record.unwrap());
        records.map(|record| record.iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn every_model_is_a_record() {
        let text = sample_registry::written("a \"b\", c", |overview, out| write(overview, out));
        assert!(text.ends_with("\r\n") && text.matches('\n').count() == 7, "{text}");
        assert!(text.contains(",\"a \"\"b\"\", c\","), "{text}");
        let records = read(&text);
        assert_eq!(records[0], HEADER);
        assert_eq!(
            records[2],
            [
                "/models",
                "b",
                "",
                "bit-rot",
                "its detail is bit-rot",
                "3",
                "91617632",
                &format!("blake3:{}", "ab".repeat(32)),
                "true",
                "true",
                "2026-09-02T08:00:00Z",
                "2026-12-01T07:59:20Z",
                "2026-12-01T07:00:00Z",
                "critical",
                "1",
                "integrity/tensor-changed",
            ]
        );
        assert_eq!(records[6][12], "", "never deeply checked");
    }

    #[test]
    fn nothing_is_a_formula() {
        for name in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1"] {
            assert_eq!(text(name), format!("'{name}"));
        }
        assert_eq!(text("\t=1"), "\\t=1");
        assert_eq!(text("a=1"), "a=1");
    }

    proptest! {
        #[test]
        fn a_hostile_name_is_one_field(
            name in any::<String>(),
            evil in "[=+@\",;\\r\\n\\t'\u{ff1d}-]{0,8}",
        ) {
            let name = format!("{evil}{name}");
            let text = sample_registry::written(&name, |overview, out| write(overview, out));
            let records = read(&text);
            prop_assert_eq!(records.len(), 7);
            for record in &records {
                prop_assert_eq!(record.len(), HEADER.len());
                for field in record {
                    prop_assert!(!field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{}", field);
                }
            }
            let shown = safe_text::clipped(&name, usize::MAX);
            let field = records[3][1].as_str();
            prop_assert!(field == shown || field.strip_prefix('\'') == Some(&shown));
        }
    }
}
