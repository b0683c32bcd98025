//! Formats numbers, sizes and durations for people.

/// Formats a size with a binary unit: `86.7 MiB`. Decimal units would mislead next to block addresses in MiB.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Formats a number with thousands separators: `22,713,216`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun: `1 tensor`, `103 tensors`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Formats a share with three decimals: `0.125 %`; from 1000 % on in scientific notation: `4.059e29 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() < 1000.0 {
        true => format!("{percent:.3} %"),
        false => format!("{percent:.3e} %"),
    }
}

/// Formats a duration in the largest unit of which there are at least two: `40 s`, `90 min`, `36 h`, `29 days`.
pub fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    match seconds.max(0) {
        s if s < 2 * MINUTE => format!("{s} s"),
        s if s < 2 * HOUR => format!("{} min", s / MINUTE),
        s if s < 2 * DAY => format!("{} h", s / HOUR),
        s => format!("{} days", grouped((s / DAY) as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_separators() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(90_868_376), "86.7 MiB");
        assert_eq!(grouped(22_713_216), "22,713,216");
        assert_eq!(grouped(12), "12");
        assert_eq!(count(1, "tensor"), "1 tensor");
        assert_eq!(count(103, "tensor"), "103 tensors");
        assert_eq!(percent(0.00125), "0.125 %");
        assert_eq!(percent(9.999), "999.900 %");
        assert_eq!(percent(10.0), "1.000e3 %");
        assert_eq!(percent(f64::INFINITY), "inf %");
        assert_eq!(span(-5), "0 s");
        assert_eq!(span(119), "119 s");
        assert_eq!(span(120), "2 min");
        assert_eq!(span(47 * 3600), "47 h");
        assert_eq!(span(29 * 86_400 + 5), "29 days");
        assert_eq!(span(i64::MAX), "106,751,991,167,300 days");
    }
}
