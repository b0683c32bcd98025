//! Texts without what legitimately varies.

use crate::common::arg;
use jiff::Timestamp;
use std::path::Path;

/// A text without what legitimately varies: the directory, the time, the version, the engine.
pub(super) fn normalised(text: &str, dir: &Path) -> String {
    let text = text.replace(arg(dir), "<here>").replace(env!("CARGO_PKG_VERSION"), "<version>");
    let mut text = without_ages(&text);
    for (start, end) in
        [(".tensorseal-", ".tmp"), (" time=\"", "\""), ("<dt>Measured</dt><dd>", "\n")]
    {
        text = without_between(&text, start, end);
    }
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if line.starts_with("measured  ") {
            continue;
        }
        if line == "  \"engine\": {\n" {
            let last = lines.by_ref().find(|line| line.starts_with("  }"));
            out.push_str("  \"engine\": {");
            out.push_str(last.unwrap_or_default().trim_start());
            continue;
        }
        match line.split_once("\"seconds\": ") {
            Some((before, after)) if before.trim().is_empty() => {
                let end = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                out.push_str(&format!("{before}\"seconds\": 0{end}"));
            }
            _ => out.push_str(line),
        }
    }
    without_present_times(&with_twelve_digits(&out))
}

/// Numbers with no more than twelve digits. Whether the last one of a number that was read from a seal is exact
/// depends on a feature of the parser, which other packages of the same build turn on.
fn with_twelve_digits(text: &str) -> String {
    let is_of_number = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let (number, after) = tail.split_at(tail.find(|c| !is_of_number(c)).unwrap_or(tail.len()));
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.trim_start_matches(['0', '.']).replace('.', "").len();
        match number.parse::<f64>() {
            Ok(value) if digits > 12 && number.contains('.') => {
                out.push_str(&format!("{value:.11e}"));
            }
            _ => out.push_str(number),
        }
        rest = after;
    }
    out + rest
}

/// Without what stands between two words of a line: names drawn by lot, times that were measured.
fn without_between(text: &str, start: &str, end: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(start) {
        let (before, tail) = rest.split_at(at + start.len());
        out.push_str(before);
        let line = tail.find('\n').unwrap_or(tail.len());
        let found = if end == "\n" { Some(line) } else { tail[..line].find(end) };
        rest = &tail[found.unwrap_or(0)..];
    }
    out + rest
}

/// Tables of a registry without ages and durations, which columns are as wide as: they become one space.
fn without_ages(text: &str) -> String {
    if ![" s ago", " min ago", " deep check"].iter().any(|age| text.contains(age)) {
        return text.to_owned();
    }
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        for at in 1..words.len() {
            let is_unit = ["s", "min"].contains(&words[at].trim_end_matches([';', ',']));
            if is_unit && words[at - 1].parse::<f64>().is_ok() {
                (words[at - 1], words[at]) = ("<age>", "");
            }
        }
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Times of the day of the test become `<time>`: fixed ones stay.
fn without_present_times(text: &str) -> String {
    let now = Timestamp::now();
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices('T') {
        let Some(start) = at.checked_sub(10).filter(|start| *start >= done) else { continue };
        let mut near = text[at..].char_indices().take(32);
        let Some((length, _)) = near.find(|(_, c)| *c == 'Z') else { continue };
        let end = at + length + 1;
        let time = text.get(start..end).and_then(|time| time.parse::<Timestamp>().ok());
        if time.is_some_and(|time| time.duration_since(now).as_hours().abs() < 24) {
            out.push_str(&text[done..start]);
            out.push_str("<time>");
            done = end;
        }
    }
    out + &text[done..]
}
