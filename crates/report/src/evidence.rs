//! The evidence of a finding, prepared for people: numbers in words with their units, values before and after side by
//! side, and lists of records as tables. Ranges include their last number.

use super::safe_text;
use super::summary::inclusive;
use super::units::grouped;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Greatest length of a value, in characters.
const VALUE: usize = 240;

/// Largest number of items of a list that are shown. The rest is counted.
const ITEMS: usize = 32;

/// Largest number of columns of a table.
const COLUMNS: usize = 8;

/// Endings of keys whose values are shown side by side.
const PAIRS: [[&str; 2]; 3] = [["sealed", "found"], ["before", "after"], ["baseline", "now"]];

/// Columns that come first in a table, in this order. The others follow by name.
const FIRST: [&str; 4] = ["tensor", "element", "byte", "bits"];

/// Columns that come last in a table, in this order.
const LAST: [&str; 2] = ["sealed", "found"];

/// Keys of lists of two numbers that are the start and the end of a byte range.
const RANGES: [&str; 1] = ["same_as"];

/// Keys of values that are the first of a list under another key.
const FIRST_OF: [(&str, &str); 1] = [("index", "indices")];

/// Keys that are clearer in other words.
const LABELS: &[(&str, &str)] = &[
    ("binades", "difference"),
    ("changed_share", "elements changed"),
    ("crc32_stated", "stated CRC-32"),
    ("effect", "effect size"),
    ("index", "row or column"),
    ("indices", "rows or columns"),
    ("ks", "Kolmogorov-Smirnov distance"),
    ("largest_change_at", "element of the largest change"),
    ("log10_p", "probability by chance"),
    ("log10_p_corrected", "probability by chance, corrected"),
    ("nan", "NaN values"),
    ("infinite", "infinite values"),
    ("psi", "population stability index"),
    ("ratio_usual", "usual ratio"),
    ("ranges", "byte ranges"),
    ("ranges_total", "byte ranges in all"),
    ("relative", "relative difference"),
    ("relative_norm", "norm of the change"),
    ("snr_db", "signal-to-noise ratio"),
    ("threshold_psi", "threshold of the population stability index"),
    ("wasserstein_binades", "Wasserstein distance"),
    ("windows_total", "windows in all"),
    ("z", "z-score"),
    ("threshold_z", "threshold of the z-score"),
];

/// The evidence of a finding.
#[derive(Debug, Default)]
pub struct EvidenceTables {
    /// Tables: of values before and after, and of records.
    pub tables: Vec<Table>,
    /// Label and value of everything else.
    pub single: Vec<(String, String)>,
}

/// A table of evidence.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// What the rows are. A table of values before and after has no title.
    pub title: Option<String>,
    /// The column headings. The first column of a table without a title is the label of its row, and has none.
    pub columns: Vec<String>,
    /// The cells of each row, as many as there are columns.
    pub rows: Vec<Vec<String>>,
    /// Number of rows that were left out.
    pub more: usize,
}

impl EvidenceTables {
    /// Prepares the evidence of a finding.
    pub fn of(evidence: &BTreeMap<&'static str, Value>) -> Self {
        let mut prepared = Self::default();
        prepared.pairs(evidence);
        prepared.add(evidence.iter().map(|(key, value)| (*key, value)).collect());
        prepared
    }

    /// Adds a table for each kind of pair.
    fn pairs(&mut self, evidence: &BTreeMap<&'static str, Value>) {
        for columns @ [first, _] in PAIRS {
            let rows: Vec<Vec<String>> = evidence
                .iter()
                .filter_map(|(key, before)| {
                    let stem = stem(key, first)?;
                    let after = evidence.get(partner(key)?.as_str())?;
                    Some(vec![label(stem), with_unit(stem, before), with_unit(stem, after)])
                })
                .collect();
            if !rows.is_empty() {
                let columns = ["", columns[0], columns[1]].map(str::to_owned).to_vec();
                self.tables.push(Table { title: None, columns, rows, more: 0 });
            }
        }
    }

    /// Adds everything that is not one of a pair.
    fn add(&mut self, entries: BTreeMap<&str, &Value>) {
        for (key, value) in &entries {
            if partner(key).is_some_and(|partner| entries.contains_key(partner.as_str())) {
                continue;
            }
            // The total of a list says nothing new if all of the list is shown.
            let list = |key: &str| entries.get(key).and_then(|value| value.as_array());
            let listed = key.strip_suffix("_total").and_then(list).map(Vec::len);
            if listed.is_some_and(|listed| listed <= ITEMS && value.as_u64() == Some(listed as u64))
            {
                continue;
            }
            let whole = FIRST_OF.iter().find(|(first, _)| first == key).map(|(_, all)| *all);
            if whole.and_then(list).is_some_and(|list| list.contains(value)) {
                continue;
            }
            match value {
                Value::Array(items) if items.is_empty() => {}
                Value::Array(items) => match table(key, items) {
                    Some(table) => self.tables.push(table),
                    None if RANGES.contains(key) => {
                        self.single
                            .push((label(key), safe_text::clipped(&range_or_list(value), VALUE)));
                    }
                    None => self.single.push((label(key), shown_value(value))),
                },
                Value::Object(fields) => {
                    self.add(fields.iter().map(|(key, value)| (key.as_str(), value)).collect());
                }
                _ => self.single.push((label(key), with_unit(key, value))),
            }
        }
    }
}

/// Returns a key without an ending.
fn stem<'a>(key: &'a str, ending: &str) -> Option<&'a str> {
    key.strip_suffix(ending)?.strip_suffix('_')
}

/// Returns the key of the value that belongs next to the one of `key`.
fn partner(key: &str) -> Option<String> {
    PAIRS.iter().find_map(|[first, second]| {
        let other = |from, to| stem(key, from).map(|stem| format!("{stem}_{to}"));
        other(first, second).or_else(|| other(second, first))
    })
}

/// Returns a list of records as a table, or `None` if its items are no records.
fn table(key: &str, items: &[Value]) -> Option<Table> {
    let records: Vec<&Map<String, Value>> =
        items.iter().map(Value::as_object).collect::<Option<_>>()?;
    let mut keys: Vec<&str> = Vec::new();
    for key in records.iter().take(ITEMS).flat_map(|record| record.keys()) {
        if !keys.contains(&key.as_str()) && keys.len() < COLUMNS {
            keys.push(key);
        }
    }
    let rank = |key: &str| {
        let first = FIRST.iter().position(|first| *first == key);
        let last = LAST.iter().position(|last| *last == key).map(|at| FIRST.len() + 1 + at);
        first.or(last).unwrap_or(FIRST.len())
    };
    keys.sort_by_key(|key| (rank(key), *key));
    let cell = |record: &Map<String, Value>, key: &str| {
        record.get(key).map_or_else(String::new, |value| with_unit(key, value))
    };
    let rows = records.iter().take(ITEMS);
    Some(Table {
        title: Some(label(key)),
        columns: keys.iter().map(|key| label(key)).collect(),
        rows: rows.map(|record| keys.iter().map(|key| cell(record, key)).collect()).collect(),
        more: records.len().saturating_sub(ITEMS),
    })
}

/// Returns a key in words, without its unit.
fn label(key: &str) -> String {
    if let Some((_, words)) = LABELS.iter().find(|(known, _)| *known == key) {
        return (*words).to_owned();
    }
    let key = key.strip_suffix("_binades").unwrap_or(key);
    let words: Vec<&str> =
        key.split('_').map(|word| if word == "nan" { "NaN" } else { word }).collect();
    safe_text::clipped(&words.join(" "), VALUE)
}

/// Returns a value as people read it, with the unit that its key implies.
fn with_unit(key: &str, value: &Value) -> String {
    let number = value.as_f64();
    let ends_with = |ending: &str| key == ending || key.ends_with(&format!("_{ending}"));
    match number {
        Some(1.0) if ends_with("binades") => "1 binade".to_owned(),
        Some(_) if ends_with("binades") => format!("{} binades", shown_value(value)),
        Some(number) if ends_with("share") && (0.0..=1.0).contains(&number) => {
            format!("{} %", real_number(number * 100.0))
        }
        Some(_) if ends_with("db") => format!("{} dB", shown_value(value)),
        Some(_) if key == "seconds" => format!("{} s", shown_value(value)),
        Some(number) if key.starts_with("log10_p") => format!("10^{}", real_number(number)),
        _ => shown_value(value),
    }
}

/// Returns a value as people read it.
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
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_array) => {
            safe_text::clipped(&joined(items, "; ", range_or_list), VALUE)
        }
        Value::Array(items) => safe_text::clipped(&joined(items, ", ", shown_value), VALUE),
        Value::Object(fields) => {
            let parts = fields.iter().take(ITEMS);
            let parts: Vec<String> = parts
                .map(|(key, value)| format!("{} {}", label(key), shown_value(value)))
                .collect();
            safe_text::clipped(&parts.join(", "), VALUE)
        }
    }
}

/// Joins the first items of a list, and says how many there are in all if some are left out.
fn joined(items: &[Value], separator: &str, shown: fn(&Value) -> String) -> String {
    let mut text = items.iter().take(ITEMS).map(shown).collect::<Vec<_>>().join(separator);
    if items.len() > ITEMS {
        text += &format!("{separator}… ({} in all)", grouped(items.len() as u64));
    }
    text
}

/// Returns two integers as a range, whose last number belongs to it, and everything else as a list.
fn range_or_list(item: &Value) -> String {
    let ends = match item.as_array().map(Vec::as_slice) {
        Some([start, end]) => start.as_u64().zip(end.as_u64()),
        _ => None,
    };
    ends.map_or_else(|| shown_value(item), |(start, end)| inclusive([start, end]))
}

/// Returns a number with six significant digits.
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
        let EvidenceTables { tables, single } = EvidenceTables::of(&evidence);
        assert_eq!(tables.len(), 1);
        assert_eq!((&tables[0].title, tables[0].more), (&None, 0));
        assert_eq!(tables[0].columns, ["", "sealed", "found"]);
        assert_eq!(tables[0].rows, [["mean", "-1.5e-7", "0.25"]]);
        let expected =
            [("blocks", "12,345"), ("NaN found", "3"), ("byte ranges", "0 to 1,048,575; 4")];
        assert_eq!(single, expected.map(|(label, value)| (label.into(), value.into())));
    }

    #[test]
    fn a_pinpointed_change_is_a_table() {
        let change = json!({"bits": [30], "byte": 207_659, "element": 51_914, "found": 2.381_557e36, "sealed": 0.007});
        let evidence = BTreeMap::from([
            (
                "pinpointed",
                json!({
                    "bits_flipped": 1, "changes": [change], "changes_total": 1, "explained": 1,
                    "not_searched": [], "not_searched_total": 0,
                    "unexplained": [[0, 1024], [2048, 3072]], "unexplained_total": 90,
                }),
            ),
            ("same_as", json!([4096, 8192])),
        ]);
        let EvidenceTables { tables, single } = EvidenceTables::of(&evidence);
        let [changes] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!((changes.title.as_deref(), changes.more), (Some("changes"), 0));
        assert_eq!(changes.columns, ["element", "byte", "bits", "sealed", "found"]);
        assert_eq!(changes.rows, [["51,914", "207,659", "30", "0.007", "2.38156e36"]]);
        let expected = [
            ("bits flipped", "1"),
            ("explained", "1"),
            ("unexplained", "0 to 1,023; 2,048 to 3,071"),
            ("unexplained total", "90"),
            ("same as", "4,096 to 8,191"),
        ];
        assert_eq!(single, expected.map(|(label, value)| (label.into(), value.into())));
    }

    #[test]
    fn numbers_have_units_and_are_listed_once() {
        let evidence = BTreeMap::from([
            ("changed_share", json!(0.25)),
            ("index", json!(319)),
            ("indices", json!([319, 4])),
            ("log10_p", json!(-12.5)),
            ("threshold_binades", json!(1)),
            ("share", json!(7)),
        ]);
        let expected = [
            ("elements changed", "25 %"),
            ("rows or columns", "319, 4"),
            ("probability by chance", "10^-12.5"),
            ("share", "7"),
            ("threshold", "1 binade"),
        ];
        let single = EvidenceTables::of(&evidence).single;
        assert_eq!(single, expected.map(|(label, value)| (label.into(), value.into())));
        let alone = BTreeMap::from([("index", json!(3))]);
        assert_eq!(EvidenceTables::of(&alone).single, [("row or column".into(), "3".into())]);
    }

    #[test]
    fn no_value_is_shown_as_json() {
        let nested = json!({"a_b": [1, [2, {"c": null}], "text"], "d": {}});
        assert_eq!(shown_value(&nested), "a b 1, 2, c –, text, d none");
        let (record, odd) = (json!({"x": 1}), json!([{"x": 1}, 2]));
        let many = Value::Array(vec![record; ITEMS + 5]);
        let evidence = BTreeMap::from([("many", many), ("odd", odd), ("none", json!([]))]);
        let EvidenceTables { tables, single } = EvidenceTables::of(&evidence);
        assert_eq!((tables.len(), tables[0].rows.len(), tables[0].more), (1, ITEMS, 5));
        assert_eq!(single, [("odd".to_owned(), "x 1, 2".to_owned())]);
        let long = Value::Array(vec![json!(7); 1000]);
        assert!(shown_value(&long).ends_with("7, … (1,000 in all)"));
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
