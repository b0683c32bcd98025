//! Values of arguments: rates, parts, reasons.

use tensorseal_registry::scan::RotationPart;

/// Which part of all models is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// A fixed part.
    Part(RotationPart),
    /// The next of this many parts.
    Next(u32),
}

/// Bytes a second: a number, with k, M, G or T for powers of 1000, with or without B.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number of bytes per second, such as 200M, 1.5G or 500k".to_owned();
    let digits = text.trim_end_matches('B');
    let (digits, factor) = match digits.chars().next_back() {
        Some('k' | 'K') => (&digits[..digits.len() - 1], 1e3),
        Some('M') => (&digits[..digits.len() - 1], 1e6),
        Some('G') => (&digits[..digits.len() - 1], 1e9),
        Some('T') => (&digits[..digits.len() - 1], 1e12),
        _ => (digits, 1.0),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * factor;
    match plain && (1.0..1e18).contains(&bytes) {
        true => Ok(bytes as u64),
        false => Err(wrong()),
    }
}

/// `K/N`, from 1/N to N/N, or `auto/N`.
pub(super) fn rotation(text: &str) -> Result<Rotation, String> {
    let wrong = || "expected K/N with K from 1 to N, such as 1/7, or auto/N".to_owned();
    let (part, of) = text.split_once('/').ok_or_else(wrong)?;
    let of: u32 = of.parse().ok().filter(|of| *of > 0).ok_or_else(wrong)?;
    if part == "auto" {
        return Ok(Rotation::Next(of));
    }
    let part: u32 = part.parse().map_err(|_| wrong())?;
    match (1..=of).contains(&part) {
        true => Ok(Rotation::Part(RotationPart { index: part - 1, count: of })),
        false => Err(wrong()),
    }
}

/// A reason that is not empty.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the reason is empty; say why the model is accepted".to_owned()),
        text if text.len() > 2000 => Err("the reason is longer than 2,000 bytes".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// A URL to request.
pub(super) fn ping(text: &str) -> Result<String, String> {
    if cfg!(not(feature = "remote")) {
        return Err(
            "not supported by this build; build tensorseal with the feature `remote`".to_owned()
        );
    }
    match text.starts_with("https://") || text.starts_with("http://") {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("expected a URL that begins with https:// or http://".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(
            ["200M", "200MB", "1.5G", "512", "3k"].map(|text| rate(text).unwrap()),
            [200_000_000, 200_000_000, 1_500_000_000, 512, 3000]
        );
        for text in ["", "M", "0", "-1M", "nan", "inf", "1e3", "0.5", "1é"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts() {
        assert_eq!(rotation("1/7").unwrap(), Rotation::Part(RotationPart { index: 0, count: 7 }));
        assert_eq!(rotation("auto/7").unwrap(), Rotation::Next(7));
        for text in ["", "0/7", "8/7", "1/0", "1", "a/7", "auto/0", "-1/7"] {
            assert!(rotation(text).is_err(), "{text}");
        }
    }
}
