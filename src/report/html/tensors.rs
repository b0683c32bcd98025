//! The tensors with findings: what they are and what was drawn of them.

use super::{Flag, Flagged, anchor, escape, plots, sign};
use crate::report::Report;
use crate::report::profile::Profile;
use crate::report::units::{bytes, count, grouped};
use std::cmp::Reverse;
use std::io::{self, Write};

/// Tensors that are drawn; the rest is counted.
const DRAWN: usize = 40;

/// Findings of one tensor that are named; the rest is counted.
const NAMED: usize = 8;

/// Streams of low bits that are drawn of one tensor.
const STREAMS: usize = 8;

pub fn write(report: &Report, flagged: &Flagged<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut shown: Vec<(&Profile, &Flag)> = report
        .profiles
        .iter()
        .filter_map(|profile| Some((profile, flagged.get(&profile.tensor)?)))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    shown.sort_by_key(|(_, flag)| {
        (Reverse(flag.worst), flag.listed.first().map_or(usize::MAX, |l| l.0))
    });
    let total = shown.len();
    writeln!(
        out,
        "<section aria-labelledby=\"tensors\">\n<h2 id=\"tensors\">Tensors with findings</h2>"
    )?;
    for (profile, flag) in shown.into_iter().take(DRAWN) {
        card(profile, flag, out)?;
    }
    if total > DRAWN {
        let more = count((total - DRAWN) as u64, "more tensor");
        writeln!(out, "<p class=\"more\">… and {more} with findings, not drawn</p>")?;
    }
    writeln!(out, "</section>")
}

fn card(profile: &Profile, flag: &Flag, out: &mut dyn Write) -> io::Result<()> {
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
        "<article class=\"tensor\">\n<h3>{}</h3>\n<p class=\"where\">{}</p>\n<ul class=\"of\">",
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

/// Dimensions, of which a hostile file may have many.
fn shape(shape: &[u64]) -> String {
    let listed: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    let more = if shape.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", listed.join(", "))
}
