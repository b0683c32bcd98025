//! The tensors with findings: their properties and plots.

use super::{Flag, Flagged, anchor, card, escape, plots, sign};
use crate::profile::Profile;
use crate::units::{bytes, count, grouped};
use std::io::{self, Write};

/// Largest number of tensors that are plotted. The rest is counted.
pub const DRAWN: usize = 40;

/// Largest number of findings that are named with a tensor. The rest is counted.
const NAMED: usize = 8;

/// Largest number of low-bit streams that are plotted for one tensor.
const STREAMS: usize = 8;

pub fn write(flagged: &Flagged<'_>, out: &mut dyn Write) -> io::Result<()> {
    if flagged.drawn.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section aria-labelledby=\"tensors\">\n<h2 id=\"tensors\">Tensors with findings</h2>"
    )?;
    for (index, profile) in flagged.drawn.iter().enumerate() {
        if let Some(flag) = flagged.get(&profile.tensor) {
            write_card(index + 1, profile, flag, out)?;
        }
    }
    if flagged.not_drawn > 0 {
        let more = count(flagged.not_drawn as u64, "more tensor");
        writeln!(out, "<p class=\"more\">… and {more} with findings, not plotted</p>")?;
    }
    writeln!(out, "</section>")
}

fn write_card(
    number: usize,
    profile: &Profile,
    flag: &Flag,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut facts = vec![
        format!("{} {}", escape::text(&profile.dtype), shape(&profile.shape)),
        bytes(profile.bytes),
        format!("at byte {} of {}", grouped(profile.offset), escape::name(&profile.file)),
    ];
    if !profile.role.is_empty() {
        facts.push(escape::name(&profile.role));
    }
    if let Some(depth) = profile.depth {
        facts.push(format!("layer {depth}"));
    }
    writeln!(
        out,
        "<article class=\"tensor\" id=\"{}\">\n<h3>{}</h3>\n<p class=\"where\">{}</p>\n<ul class=\"of\">",
        card(number),
        escape::name(&profile.tensor),
        facts.join(" · ")
    )?;
    for (number, rule, severity) in flag.listed.iter().take(NAMED) {
        writeln!(
            out,
            "<li><a href=\"#{}\"><span aria-hidden=\"true\">{}</span> {number} <code>{rule}</code></a> {}</li>",
            anchor(*number),
            sign(*severity),
            severity.name()
        )?;
    }
    let unnamed = flag.findings.saturating_sub(flag.listed.len().min(NAMED) as u64);
    if unnamed > 0 {
        writeln!(out, "<li>{}</li>", count(unnamed, "more finding"))?;
    }
    writeln!(out, "</ul>\n<div class=\"plots\">")?;
    plots::exponents(&profile.exponents, &profile.exponents_before, out)?;
    for stream in profile.low_bits.iter().take(STREAMS) {
        plots::low_bits(stream, out)?;
    }
    writeln!(out, "</div>\n</article>")
}

/// Returns the shape of a tensor. A hostile file may state any number of dimensions, so the list is bounded.
fn shape(shape: &[u64]) -> String {
    let listed: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    let more = if shape.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", listed.join(", "))
}
