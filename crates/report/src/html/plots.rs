//! Plots as inline SVG. Their lines and colours are defined in the style sheet.

use crate::profile::{LowBitCounts, Profile};
use crate::units::{bytes, count, grouped};
use std::cmp::Reverse;
use std::fmt::Write as _;

/// Size of a plot and position of its axes, in SVG units.
pub(super) const WIDTH: f64 = 460.0;
pub(super) const HEIGHT: f64 = 178.0;
const LEFT: f64 = 52.0;
pub(super) const RIGHT: f64 = 442.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 142.0;

/// Largest number of bars in an exponent plot.
const BARS: i64 = 144;

/// Number of consecutive empty exponents that separates a bar from the others.
const APART: i64 = 8;

/// Largest number of low-bit streams that are plotted for one tensor.
const STREAMS: usize = 8;

/// A plot.
pub(super) struct Plot {
    /// SVG elements.
    pub drawing: String,
    /// Title of the horizontal axis.
    pub axis: &'static str,
    /// What the plot shows, in words.
    pub caption: String,
    /// CSS class and name of each kind of line or bar.
    pub keys: &'static [(&'static str, &'static str)],
}

/// Draws all plots of a tensor.
pub(super) fn all(profile: &Profile) -> Vec<Plot> {
    let exponents = exponents(&profile.exponents, &profile.exponents_before);
    let low_bits = profile.low_bits.iter().take(STREAMS).filter_map(low_bits);
    exponents.into_iter().chain(low_bits).collect()
}

/// Draws a histogram of exponents, now and in the baseline, with counts on a logarithmic scale.
fn exponents(values: &[(i32, u64)], before: &[(i32, u64)]) -> Option<Plot> {
    let all = values.iter().chain(before).filter(|(_, count)| *count > 0);
    let range = all.clone().fold(None, |range: Option<(i64, i64)>, (exponent, _)| {
        let at = i64::from(*exponent);
        Some(range.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
    });
    let (Some((low, high)), Some(most)) = (range, all.map(|(_, count)| *count).max()) else {
        return None;
    };
    // Leave a margin on both sides, and keep bars narrow if there are few exponents.
    let low = low - 1;
    let span = (high - low + 2).max(24);
    let wide = (span + BARS - 1) / BARS;
    let bars = ((span + wide - 1) / wide) as usize;
    let step = (RIGHT - LEFT) / bars as f64;
    let x = |bin: usize| LEFT + bin as f64 * step;
    let bin_of = |exponent: i32| ((i64::from(exponent) - low) / wide) as usize;
    let binned = |counts: &[(i32, u64)]| {
        let mut bins = vec![0u64; bars];
        for (exponent, count) in counts {
            if let Some(bin) = bins.get_mut(bin_of(*exponent)) {
                *bin = bin.saturating_add(*count);
            }
        }
        bins
    };
    let (now, before) = (binned(values), binned(before));
    let most = now.iter().chain(&before).copied().max().unwrap_or(most);
    let height = |count: u64| scale(count, most);

    let mut svg = frame(most);
    let apart = apart(&now, APART / wide);
    let (mut body, mut far) = (String::new(), String::new());
    for (bin, count) in now.iter().enumerate().filter(|(_, count)| **count > 0) {
        let path = if apart.contains(&bin) { &mut far } else { &mut body };
        let (x, wide) = (x(bin) + 0.1 * step, 0.8 * step.max(1.0));
        let top = BOTTOM - height(*count);
        let _ = write!(path, "M{x:.1} {BOTTOM}V{top:.1}h{wide:.1}V{BOTTOM}z");
    }
    for (class, path) in [("bars", body), ("far", far)] {
        if !path.is_empty() {
            let _ = write!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    if before.iter().any(|count| *count > 0) {
        let mut line = format!("M{LEFT} {BOTTOM}");
        for (bin, count) in before.iter().enumerate() {
            let _ = write!(line, "V{:.1}H{:.1}", BOTTOM - height(*count), x(bin + 1));
        }
        let _ = write!(svg, "<path class=\"before\" d=\"{line}V{BOTTOM}\"/>");
    }
    let exponent = |bin: usize| low + bin as i64 * wide;
    // A bar may stand for several exponents. Name the highest one that has values.
    let highest = |bin: usize| {
        let of_bin = values.iter().filter(|(at, n)| *n > 0 && bin_of(*at) == bin);
        of_bin.map(|(at, _)| i64::from(*at)).max().unwrap_or_else(|| exponent(bin))
    };
    // Label only the outermost bars, because labels of more would overlap.
    for bin in apart.iter().rev().take(2) {
        let anchor = if x(*bin) > (LEFT + RIGHT) / 2.0 { "end" } else { "start" };
        let _ = write!(
            svg,
            "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} at 2<tspan dy=\"-4\">{}</tspan></text>",
            x(*bin) + step,
            BOTTOM - height(now[*bin]) - 6.0,
            count(now[*bin], "value"),
            highest(*bin)
        );
    }
    let tick = tick_step(span);
    let mut at = low.div_euclid(tick) * tick;
    while at <= low + span {
        let bin = (at - low) as f64 / wide as f64;
        let middle = LEFT + (bin + 0.5) * step;
        if at >= low && middle <= RIGHT {
            let _ = write!(
                svg,
                "<path class=\"axis\" d=\"M{middle:.1} {BOTTOM}v3\"/><text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{at}</text>",
                BOTTOM + 15.0
            );
        }
        at += tick;
    }
    let total: u64 = now.iter().fold(0, |all, count| all.saturating_add(*count));
    let mode = now.iter().enumerate().max_by_key(|(bin, count)| (**count, Reverse(*bin)));
    let mut told = match mode.filter(|(_, count)| **count > 0) {
        None => "No finite non-zero values.".to_owned(),
        Some((bin, _)) => format!(
            "Exponents of {}: most frequent {}, range {} to {high}.",
            count(total, "value"),
            exponent(bin),
            now.iter().position(|count| *count > 0).map_or(low, exponent),
        ),
    };
    let keys: &[_] = match before.iter().any(|count| *count > 0) {
        true => &[("now", "now"), ("then", "baseline")],
        false => &[],
    };
    if let Some(last) = apart.last() {
        let _ = write!(told, " Outliers: {} at {}.", count(now[*last], "value"), highest(*last));
    }
    Some(Plot { drawing: svg, axis: "exponent, base 2", caption: told, keys })
}

/// Draws the byte frequencies of a low-bit stream on a linear scale, and the level of a uniform distribution.
fn low_bits(stream: &LowBitCounts) -> Option<Plot> {
    let counts: Vec<u64> = stream.bytes.iter().take(256).copied().collect();
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    let ranked = counts.iter().enumerate().max_by_key(|(at, n)| (**n, Reverse(*at)));
    let (byte, most) = ranked.filter(|(_, most)| **most > 0)?;
    let even = total / 256.0;
    let top = (*most as f64).max(1.6 * even);
    let step = (RIGHT - LEFT) / 256.0;
    let mut path = String::new();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = *count as f64 / top * (BOTTOM - TOP);
        let _ = write!(path, "M{:.1} {BOTTOM}v-{height:.1}", LEFT + (at as f64 + 0.5) * step);
    }
    let level = BOTTOM - even / top * (BOTTOM - TOP);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/><path class=\"stems\" d=\"{path}\"/>\
         <path class=\"even\" d=\"M{LEFT} {level:.1}H{RIGHT}\"/>"
    );
    for at in [0usize, 64, 128, 192, 255] {
        let x = LEFT + (at as f64 + 0.5) * step;
        let _ = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">0x{at:02x}</text>",
            BOTTOM + 15.0
        );
    }
    for share in [0.0, top / total] {
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            BOTTOM - share * total / top * (BOTTOM - TOP) + 4.0,
            percent(share)
        );
    }
    let chi: f64 = counts.iter().map(|n| (*n as f64 - even) * (*n as f64 - even) / even).sum();
    let told = format!(
        "Lowest {} of each value, {}: byte 0x{byte:02x} has {}, uniform would be {}; chi-square {} with 255 degrees of freedom.",
        count(u64::from(stream.bits), "bit"),
        bytes(total as u64),
        percent(*most as f64 / total),
        percent(1.0 / 256.0),
        if chi < 1e15 { grouped(chi as u64) } else { format!("{chi:.1e}") },
    );
    let keys = &[("stem", "count"), ("even", "uniform")];
    Some(Plot { drawing: svg, axis: "byte", caption: told, keys })
}

/// Returns the height of a count on a logarithmic scale on which a single value is visible.
fn scale(count: u64, most: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let level = |n: u64| libm::log10(n as f64) + 0.5;
    level(count) / level(most.max(1)) * (BOTTOM - TOP)
}

/// Draws the axes, and grid lines at powers of ten.
fn frame(most: u64) -> String {
    let mut svg = String::new();
    let highest = most.max(1).ilog10();
    let step = highest.div_ceil(4).max(1);
    for power in (0..=highest).step_by(step as usize) {
        let y = BOTTOM - scale(10u64.pow(power), most);
        let label = match power {
            0..=3 => grouped(10u64.pow(power)),
            _ => format!("10<tspan dy=\"-4\">{power}</tspan>"),
        };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 5.0,
            y + 4.0
        );
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>");
    svg
}

/// Returns the bins above the fullest one that a gap separates from it.
fn apart(bins: &[u64], gap: i64) -> Vec<usize> {
    let Some((mode, _)) =
        bins.iter().enumerate().max_by_key(|(bin, count)| (**count, Reverse(*bin)))
    else {
        return Vec::new();
    };
    let (mut found, mut empty, mut cut) = (Vec::new(), 0, false);
    for (bin, count) in bins.iter().enumerate().skip(mode) {
        if *count == 0 {
            empty += 1;
            continue;
        }
        cut |= empty >= gap.max(2);
        empty = 0;
        if cut {
            found.push(bin);
        }
    }
    found
}

/// Returns the distance between axis labels: 1, 2 or 5 times a power of ten.
fn tick_step(span: i64) -> i64 {
    let wanted = (span / 9).max(1);
    let power = 10i64.pow(wanted.ilog10());
    [1, 2, 5, 10].into_iter().map(|n| n * power).find(|step| *step >= wanted).unwrap_or(wanted)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".to_owned(),
        high if high >= 10.0 => format!("{high:.0} %"),
        low => format!("{low:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(now: &[(i32, u64)], before: &[(i32, u64)]) -> String {
        exponents(now, before).map_or_else(String::new, |plot| plot.drawing + &plot.caption)
    }

    #[test]
    fn a_flipped_bit_stands_apart() {
        let clean: Vec<(i32, u64)> = (-24..=-2).map(|e| (e, 1000)).collect();
        assert!(!drawn(&clean, &clean).contains("class=\"far\""));
        let mut flipped = clean.clone();
        flipped.push((120, 1));
        let svg = drawn(&flipped, &clean);
        assert!(svg.contains("class=\"far\"") && svg.contains("class=\"before\""), "{svg}");
        assert!(svg.contains("Outliers: 1 value at 120."), "{svg}");
    }

    #[test]
    fn the_widest_range_is_still_a_few_bars() {
        let svg = drawn(&[(i32::MIN, u64::MAX), (0, 1), (i32::MAX, u64::MAX)], &[]);
        assert!(svg.len() < 20_000, "{}", svg.len());
        assert_eq!(drawn(&[], &[]), "");
        assert_eq!(drawn(&[(3, 0)], &[]), "");
    }

    #[test]
    fn one_byte_of_all_is_told() {
        let mut bytes = vec![10u64; 256];
        bytes[0x41] = 1000;
        let caption = low_bits(&LowBitCounts { bits: 4, bytes }).unwrap().caption;
        assert!(caption.contains("byte 0x41 has 28 %, uniform would be 0.39 %"), "{caption}");
        assert!(low_bits(&LowBitCounts { bits: 1, bytes: vec![] }).is_none());
        assert!(low_bits(&LowBitCounts { bits: 1, bytes: vec![0; 256] }).is_none());
        assert!(low_bits(&LowBitCounts { bits: 1, bytes: vec![u64::MAX; 999] }).is_some());
    }
}
