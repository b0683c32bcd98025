//! Checks chat templates: Jinja programs that loaders run in a sandbox for every conversation. Access to names that
//! begin with an underscore is an attempt to escape the sandbox.

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

/// The longest template in bytes that is checked. Published templates have a few KiB.
const MAX_BYTES: usize = 4 << 20;

/// Whether a file is a template.
pub(super) fn is_template(path: &str) -> bool {
    [".jinja", ".jinja2", ".j2"].iter().any(|suffix| path.ends_with(suffix))
}

/// Checks a template file.
pub(super) fn scan_file(
    source: &LazyFile<'_>,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    match source.whole()? {
        Some(bytes) => scan_template("the template", &String::from_utf8_lossy(bytes), findings),
        None => too_long("the template", source.file.bytes, findings),
    }
    Ok(())
}

/// Checks a string of a configuration that is a chat template or one of several.
pub(super) fn scan_member(steps: &[PathStep<'_>], text: &str, findings: &mut FileFindings) {
    if !through(steps, "chat_template") {
        return;
    }
    match steps {
        // The name of one of several templates, `{"name": …, "template": …}`.
        [.., PathStep::Element(_), PathStep::Member(name)] if name == "name" => {}
        [.., PathStep::Element(at), PathStep::Member(_)] => {
            scan_template(&format!("chat template {}", at.saturating_add(1)), text, findings)
        }
        [.., PathStep::Member(name)] if name != "chat_template" => {
            scan_template(&format!("the chat template {}", quoted(name)), text, findings);
        }
        _ => scan_template("the chat template", text, findings),
    }
}

/// Checks the templates in the metadata of a file, which `texts` reads.
pub(super) fn scan_metadata(
    source: &LazyFile<'_>,
    texts: ReadMetadataTexts,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    let is_template = |key: &str| key.starts_with("tokenizer.chat_template");
    let texts = texts(source.opened()?, &is_template, MAX_BYTES as u64);
    for text in texts.map_err(|error| source.failed(error))? {
        let label = format!("the metadata {}", quoted(&text.key));
        match text.value {
            Some(bytes) => scan_template(&label, &String::from_utf8_lossy(&bytes), findings),
            None => too_long(&label, text.bytes, findings),
        }
    }
    Ok(())
}

/// Checks a template. `label` is its name in messages.
fn scan_template(label: &str, text: &str, findings: &mut FileFindings) {
    if text.len() > MAX_BYTES {
        return too_long(label, text.len() as u64, findings);
    }
    scan::scan(label, text, findings);
}

/// Reports a template that is too long. A program that was not checked counts as code.
fn too_long(label: &str, bytes: u64, findings: &mut FileFindings) {
    let reason = format!("{label} has {bytes} bytes; the limit is {MAX_BYTES} bytes");
    findings.code.push(reason.clone());
    findings.not_examined(reason);
}
