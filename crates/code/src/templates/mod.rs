//! Chat templates: programs in Jinja that loaders run on every conversation, in a sandbox. What reaches for
//! names that begin with an underscore tries to leave it.

mod fold;
mod lexer;
mod names;
mod nesting_limits;
mod scan;

use super::findings::FileFindings;
use super::json::{PathStep, through};
use super::lazy_file::LazyFile;
use tensorseal_base::display::quoted;
use tensorseal_format::{OpenError, ReadMetadataTexts};

/// Longest template that is looked through; published ones have a few KiB.
const MOST: usize = 4 << 20;

/// Whether a file is a template by itself.
pub(super) fn is_template(path: &str) -> bool {
    [".jinja", ".jinja2", ".j2"].iter().any(|ending| path.ends_with(ending))
}

/// Looks through a template that is a file.
pub(super) fn scan_file(source: &LazyFile<'_>, found: &mut FileFindings) -> Result<(), OpenError> {
    match source.whole()? {
        Some(bytes) => scan_template("the template", &String::from_utf8_lossy(bytes), found),
        None => too_long("the template", source.file.bytes, found),
    }
    Ok(())
}

/// Looks at a string of a configuration: the chat template, or one of several.
pub(super) fn scan_member(way: &[PathStep<'_>], text: &str, found: &mut FileFindings) {
    if !through(way, "chat_template") {
        return;
    }
    match way {
        // The name of one of several, `{"name": …, "template": …}`.
        [.., PathStep::Element(_), PathStep::Member(name)] if name == "name" => {}
        [.., PathStep::Element(at), PathStep::Member(_)] => {
            scan_template(&format!("chat template {}", at.saturating_add(1)), text, found)
        }
        [.., PathStep::Member(name)] if name != "chat_template" => {
            scan_template(&format!("the chat template {}", quoted(name)), text, found);
        }
        _ => scan_template("the chat template", text, found),
    }
}

/// Looks through the templates in the metadata of a file, whose format gives them by `texts`.
pub(super) fn scan_metadata(
    source: &LazyFile<'_>,
    texts: ReadMetadataTexts,
    found: &mut FileFindings,
) -> Result<(), OpenError> {
    let is_template = |key: &str| key.starts_with("tokenizer.chat_template");
    let texts = texts(source.opened()?, &is_template, MOST as u64);
    for text in texts.map_err(|error| source.failed(error))? {
        let label = format!("the metadata {}", quoted(&text.key));
        match text.value {
            Some(bytes) => scan_template(&label, &String::from_utf8_lossy(&bytes), found),
            None => too_long(&label, text.bytes, found),
        }
    }
    Ok(())
}

/// Looks through a template; `label` is what messages call it.
fn scan_template(label: &str, text: &str, found: &mut FileFindings) {
    if text.len() > MOST {
        return too_long(label, text.len() as u64, found);
    }
    scan::scan(label, text, found);
}

/// A program that nobody looked through is code.
fn too_long(label: &str, bytes: u64, found: &mut FileFindings) {
    let reason = format!("{label} has {bytes} bytes, more than are looked through");
    found.code.push(reason.clone());
    found.not_examined(reason);
}
