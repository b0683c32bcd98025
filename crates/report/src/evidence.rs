//! The evidence of a finding: numbers as people read them, before and after side by side.

use super::safe_text;
use super::units::grouped;
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest value that is shown, in characters.
const VALUE: usize = 240;

/// Endings of keys that belong side by side.
const PAIRS: [[&str; 2]; 3] = [["sealed", "found"], ["before", "after"], ["baseline", "now"]];

/// What a finding rests on.
#[derive(Debug, Default)]
pub struct EvidenceTables {
    /// Values that are there before and after.
    pub pairs: Vec<ComparisonTable>,
    /// Label and value of all others.
    pub single: Vec<(String, String)>,
}

/// A table of two columns.
#[derive(Debug)]
pub struct ComparisonTable {
    /// Its headings.
    pub columns: [&'static str; 2],
    /// Label and values.
    pub rows: Vec<(String, [String; 2])>,
}

impl EvidenceTables {
    /// Of the evidence of a finding.
    pub fn of(evidence: &BTreeMap<&'static str, Value>) -> Self {
        let mut pairs = PAIRS.map(|columns| ComparisonTable { columns, rows: Vec::new() });
        let mut single = Vec::new();
        for (key, value) in evidence {
            let paired = pairs.iter_mut().any(|table| {
                let [first, second] = table.columns;
                let partner = |from: &str, to: &str| {
                    let stem = key.strip_suffix(from)?.strip_suffix('_')?;
                    Some((stem, evidence.get(format!("{stem}_{to}").as_str())?))
                };
                if let Some((stem, after)) = partner(first, second) {
                    table.rows.push((label(stem), [shown_value(value), shown_value(after)]));
                    return true;
                }
                // Its partner says it.
                partner(second, first).is_some()
            });
            if !paired {
                single.push((label(key), shown_value(value)));
            }
        }
        let pairs = pairs.into_iter().filter(|table| !table.rows.is_empty()).collect();
        Self { pairs, single }
    }
}

fn label(key: &str) -> String {
    key.replace('_', " ")
}

/// A value as people read it.
fn shown_value(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => safe_text::clipped(text, VALUE),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(count), _) => grouped(count),
            (None, Some(real)) => real_number(real),
            (None, None) => number.to_string(),
        },
        Value::Array(items) if items.iter().all(|item| item.is_array()) && !items.is_empty() => {
            let parts: Vec<String> = items.iter().map(range_or_list).collect();
            safe_text::clipped(&parts.join("; "), VALUE)
        }
        other => safe_text::clipped(&other.to_string(), VALUE),
    }
}

/// Two integers as a range, all else as a list.
fn range_or_list(item: &Value) -> String {
    match item.as_array().map(Vec::as_slice) {
        Some([start, end]) if start.is_u64() && end.is_u64() => {
            format!("{}..{}", shown_value(start), shown_value(end))
        }
        _ => item.to_string(),
    }
}

/// Six digits that count.
fn real_number(real: f64) -> String {
    let size = real.abs();
    if real == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e7).contains(&size) {
        let digits = 5 - (libm::floor(libm::log10(size)) as i32);
        let text = format!("{real:.*}", digits.max(0) as usize);
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        let text = format!("{real:.5e}");
        match text.split_once('e') {
            Some((digits, exponent)) if digits.contains('.') => {
                format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let evidence = BTreeMap::from([
            ("blocks", json!(12_345)),
            ("mean_found", json!(0.25)),
            ("mean_sealed", json!(-1.5e-7)),
            ("nan_found", json!(3)),
            ("ranges", json!([[0, 1_048_576], [4, 5]])),
        ]);
        let EvidenceTables { pairs, single } = EvidenceTables::of(&evidence);
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].columns, ["sealed", "found"]);
        assert_eq!(pairs[0].rows, [("mean".into(), ["-1.5e-7".into(), "0.25".into()])]);
        let expected = [("blocks", "12,345"), ("nan found", "3"), ("ranges", "0..1,048,576; 4..5")];
        assert_eq!(single, expected.map(|(label, value)| (label.into(), value.into())));
    }

    #[test]
    fn numbers_keep_what_counts() {
        for (real, text) in [
            (0.329_312_3, "0.329312"),
            (2.3816e36, "2.3816e36"),
            (-0.0001, "-0.0001"),
            (123_456.78, "123457"),
            (0.0, "0"),
            (1e300, "1e300"),
        ] {
            assert_eq!(real_number(real), text);
        }
    }
}
