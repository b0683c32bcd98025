//! A bar chart of the ages of deep checks.

use super::counted::{AGES, Counted};
use crate::units::grouped;
use std::io::{self, Write};

/// Height of a bar with its gap, left edge of the bars and greatest length of a bar, in SVG units.
const ROW: usize = 22;
const LEFT: usize = 170;
const LONGEST: u64 = 330;

pub fn write(counted: &Counted, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<(&str, u64, &str)> =
        AGES.iter().zip(counted.ages).map(|((name, _), number)| (*name, number, "bars")).collect();
    rows.push(("never", counted.never, "far"));
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "<section aria-labelledby=\"ages\">\n<h2 id=\"ages\">Deep checks</h2>\n<p>A deep check \
         reads and judges every byte of a model. Other checks only look for signs that a file was written.</p>\n\
         <figure class=\"ages\">\n<svg viewBox=\"0 0 580 {}\" role=\"img\" aria-label=\"Models by their last deep \
         check: {}\">",
        rows.len() * ROW,
        rows.iter()
            .map(|(name, n, _)| format!("{} {name}", grouped(*n)))
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    for (index, (name, number, class)) in rows.iter().enumerate() {
        let top = index * ROW;
        // A bar that is not empty is visible.
        let width = match number {
            0 => 0,
            _ => (u128::from(*number) * u128::from(LONGEST) / u128::from(most)).max(2),
        };
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text><rect class=\"{class}\" x=\"{LEFT}\" \
             y=\"{}\" width=\"{width}\" height=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            LEFT - 8,
            top + 15,
            top + 4,
            ROW - 7,
            LEFT as u128 + width + 6,
            top + 15,
            grouped(*number)
        )?;
    }
    writeln!(out, "</svg>\n</figure>\n</section>")
}
