//! What all pages have in common: the policy that allows one style sheet and nothing else, and the ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use tensorseal_core::judge::Verdict;

pub(crate) const STYLE: &str = include_str!("style.css");

/// Everything before the content; `title` is escaped.
pub(crate) fn open(title: &str, out: &mut dyn Write) -> io::Result<()> {
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

/// Everything behind it.
pub(crate) fn close(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<footer><p>tensorseal {} · rules of {} · this page loads nothing and runs nothing</p></footer>\n\
         </main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION"),
        tensorseal_core::judge::rules::rules().version
    )
}

/// The class of a verdict, and its sign.
pub(crate) fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "✔"),
        Verdict::Fail => ("fail", "✖"),
        Verdict::Incomplete => ("incomplete", "!"),
    }
}
