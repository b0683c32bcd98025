//! How long ago every byte of the models was read: bars.

use super::counted::{AGES, ModelCounts};
use crate::units::grouped;
use std::io::{self, Write};

/// Height of a bar and its gap, where bars begin, and their longest, in units of the drawing.
const ROW: usize = 22;
const LEFT: usize = 150;
const LONGEST: u64 = 330;

pub(super) fn write(counted: &ModelCounts, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<(&str, u64, &str)> =
        AGES.iter().zip(counted.ages).map(|((name, _), number)| (*name, number, "bars")).collect();
    rows.push(("never", counted.never, "far"));
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "<section aria-labelledby=\"ages\">\n<h2 id=\"ages\">Deep checks</h2>\n<p>When every byte of the models \
         was last read and judged. Until then it is only known that nothing was seen to be written.</p>\n\
         <figure class=\"ages\">\n<svg viewBox=\"0 0 560 {}\" role=\"img\" aria-label=\"Models by their last deep \
         check: {}\">",
        rows.len() * ROW,
        rows.iter()
            .map(|(name, n, _)| format!("{} {name}", grouped(*n)))
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    for (index, (name, number, class)) in rows.iter().enumerate() {
        let top = index * ROW;
        // What is there is seen.
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
