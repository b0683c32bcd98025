//! The parts that all pages share: the head with its content security policy, and the footer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use tensorseal_core::judge::Verdict;

pub const STYLE: &str = include_str!("style.css");

/// Writes everything before the content. `title` must already be escaped.
pub fn open(title: &str, out: &mut dyn Write) -> io::Result<()> {
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <meta name=\"referrer\" content=\"no-referrer\"/>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
    )
}

/// Writes everything after the content.
pub fn close(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<footer><p>tensorseal {} · rules {} · self-contained page without scripts</p></footer>\n\
         </main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION"),
        tensorseal_core::judge::rules::rules().version
    )
}

/// Returns the CSS class of a verdict and its sign.
pub fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "✔"),
        Verdict::Fail => ("fail", "✖"),
        Verdict::Incomplete => ("incomplete", "!"),
    }
}
