//! The facts of a run: the model, its signature and seal, the measurement, and what was skipped.

use super::escape;
use crate::units::{bytes, count, grouped};
use crate::{Report, SignatureUsed, Watermark};
use std::io::{self, Write};
use tensorseal_core::judge::watermark::Detection;

/// Largest number of paths in one list. The rest is counted.
const LISTED: usize = 100;

pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section aria-labelledby=\"facts\">\n<h2 id=\"facts\">Model</h2>\n<dl class=\"facts\">"
    )?;
    let mut fact =
        |name: &str, value: String| writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    let model = &report.model;
    if model.files > 0 {
        let format = escape::text(&model.format);
        fact("Content", format!("{} ({format})", model.content()))?;
    }
    if let Some(compared) = &report.comparison {
        let other = &compared.other;
        let (path, format) = (escape::name(&other.path), escape::text(&other.format));
        fact("Compared with", format!("{path}<br/>{} ({format})", other.content()))?;
        fact("Relation", escape::text(&compared.comparison.words()))?;
    }
    if let Some(root) = &model.root {
        fact("Root", format!("<code>{}</code>", escape::text(root)))?;
    }
    if let Some(signature) = &report.signature {
        fact("Signature", signed(signature))?;
    }
    if let Some(seal) = &report.seal {
        let mut text = escape::name(&seal.source);
        if let Some(digest) = &seal.digest {
            text += &format!("<br/><code>{}</code>", escape::text(digest));
        }
        text += &match &seal.signed_by {
            Some(signer) => format!("<br/>signed by {}", escape::name(signer)),
            None => "<br/>unsigned: anyone who can write the model can also replace this seal"
                .to_owned(),
        };
        fact("Seal", text)?;
    }
    if let Some(engine) = &report.engine {
        let rate = engine.bytes_read as f64 / 1e9 / engine.seconds.max(1e-9);
        let adapter = engine.adapter.as_deref().map(|a| format!(" ({})", escape::name(a)));
        let mut text = format!(
            "{} in {:.2} s, {rate:.2} GB/s, {}{}, {}",
            bytes(engine.bytes_read),
            engine.seconds,
            escape::text(&engine.device),
            adapter.unwrap_or_default(),
            count(engine.threads as u64, "thread"),
        );
        if let Some(fallback) = &engine.fallback {
            text += &format!("<br/>GPU failed, continued on the CPU: {}", escape::text(fallback));
        }
        if engine.cross_checked > 0 {
            let tiles = count(engine.cross_checked, "tile");
            text += &format!("<br/>{tiles} measured on both engines, with equal results");
        }
        fact("Measured", text)?;
        let coverage = &report.coverage;
        // Some bytes are read a second time, to describe a change.
        let checked = coverage.bytes_checked.min(coverage.bytes_total);
        let percent = match coverage.bytes_total {
            0 => 100.0,
            total => checked as f64 / total as f64 * 100.0,
        };
        let total = bytes(coverage.bytes_total);
        fact("Covered", format!("{} of {total} ({percent:.1} %)", bytes(checked)))?;
    }
    let coverage = &report.coverage;
    if let Some(words) = coverage.not_audited() {
        fact("Weights", escape::text(&words))?;
    }
    let unknown = coverage.not_understood.iter();
    if let Some(list) = list(unknown.map(|file| {
        let (class, bytes) = (escape::text(file.class), bytes(file.bytes));
        format!("{} ({class}, {bytes})", escape::name(&file.path))
    })) {
        fact("Not understood", list)?;
    }
    let skipped = coverage.not_covered.iter().map(|skipped| {
        format!("{} ({})", escape::name(&skipped.path), escape::text(&skipped.reason))
    });
    let mut skipped: Vec<String> = skipped.collect();
    // Both models of a comparison may have the same path.
    skipped.dedup();
    if let Some(list) = list(skipped.into_iter()) {
        fact("Skipped", list)?;
    }
    writeln!(out, "</dl>\n</section>")?;
    match &report.watermark {
        Some(Watermark::Detected(one)) => marks(std::slice::from_ref(one), out),
        Some(Watermark::AllDetected(all)) => marks(all, out),
        Some(Watermark::Embedded(_)) | None => Ok(()),
    }
}

/// Returns the first entries as a list that ends with the number of the others, or `None` if there are no entries.
fn list(entries: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let more = entries.len().saturating_sub(LISTED);
    let mut text: String = entries.take(LISTED).map(|entry| format!("<li>{entry}</li>")).collect();
    if more > 0 {
        text += &format!("<li>… and {} more</li>", grouped(more as u64));
    }
    (!text.is_empty()).then(|| format!("<ul>{text}</ul>"))
}

/// Writes the outcome for each watermark key that was tested.
fn marks(detections: &[Detection], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section aria-labelledby=\"watermarks\">\n<h2 id=\"watermarks\">Watermarks</h2>\n<div class=\"scroll\" \
         role=\"region\" aria-labelledby=\"watermarks\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">Key</th>\
         <th scope=\"col\">Scheme</th><th scope=\"col\">Watermark</th><th scope=\"col\">False-positive probability (upper bound)</th>\
         <th scope=\"col\">z</th><th scope=\"col\">Payload</th></tr></thead>\n<tbody>"
    )?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for one in detections.iter().take(LISTED) {
        writeln!(
            out,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape::name(&one.key_id),
            escape::text(one.scheme),
            one.verdict.name(),
            or_dash(one.log10_p.map(|p| format!("10<sup>{p:.1}</sup>"))),
            or_dash(one.z.map(|z| format!("{z:.2}"))),
            or_dash(one.payload.as_deref().map(escape::name)),
        )?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>")?;
    // The weights that could not be read are the same for every key.
    if let Some(not_read) = detections.iter().find_map(|one| one.not_read.as_ref()) {
        writeln!(out, "<p>Weights not read: {}.</p>", escape::text(&not_read.shown()))?;
    }
    if detections.len() > LISTED {
        let more = grouped((detections.len() - LISTED) as u64);
        writeln!(out, "<p class=\"more\">… and {more} more keys (see the JSON report)</p>")?;
    }
    writeln!(out, "</section>")
}

/// Returns the signer and what the signature covers.
fn signed(signature: &SignatureUsed) -> String {
    let mut text = escape::name(&signature.source);
    match &signature.signer {
        Some(signer) => text += &format!("<br/>signed by {}", escape::name(&signer.to_string())),
        None => text += "<br/>no trusted signer",
    }
    if let Some(signed) = &signature.signed {
        let listed = if signed.shard_size.is_some() { "shard" } else { "file" };
        text += &format!("<br/>{}, {}", count(signed.resources, listed), signed.hash);
    }
    for attestation in &signature.attestations {
        let (kind, at) = (attestation.kind.name(), attestation.signed_at);
        text += &format!("<br/>attestation: {kind}, signed at {at} (signer's clock)");
    }
    text
}
