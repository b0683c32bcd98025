//! Chat templates: programs in Jinja that loaders run on every conversation, in a sandbox. What reaches for
//! names that begin with an underscore tries to leave it.

mod fold;
mod lexer;
mod names;
mod plain;
mod scan;

use super::found::Found;
use super::json::{Step, through};
use super::read::Source;
use tensorseal_base::display::quoted;
use tensorseal_format::{OpenError, Texts};

/// Longest template that is looked through; published ones have a few KiB.
const MOST: usize = 4 << 20;

/// Whether a file is a template by itself.
pub(super) fn is_template(path: &str) -> bool {
    [".jinja", ".jinja2", ".j2"].iter().any(|ending| path.ends_with(ending))
}

/// Looks through a template that is a file.
pub(super) fn look_into_file(source: &Source<'_>, found: &mut Found) -> Result<(), OpenError> {
    match source.whole()? {
        Some(bytes) => look("the template", &String::from_utf8_lossy(bytes), found),
        None => too_long("the template", source.file.bytes, found),
    }
    Ok(())
}

/// Looks at a string of a configuration: the chat template, or one of several.
pub(super) fn member(way: &[Step<'_>], text: &str, found: &mut Found) {
    if !through(way, "chat_template") {
        return;
    }
    match way {
        // The name of one of several, `{"name": …, "template": …}`.
        [.., Step::Element(_), Step::Member(name)] if name == "name" => {}
        [.., Step::Element(at), Step::Member(_)] => {
            look(&format!("chat template {}", at.saturating_add(1)), text, found)
        }
        [.., Step::Member(name)] if name != "chat_template" => {
            look(&format!("the chat template {}", quoted(name)), text, found);
        }
        _ => look("the chat template", text, found),
    }
}

/// Looks through the templates in the metadata of a file, whose format gives them by `texts`.
pub(super) fn look_into_metadata(
    source: &Source<'_>,
    texts: Texts,
    found: &mut Found,
) -> Result<(), OpenError> {
    let is_template = |key: &str| key.starts_with("tokenizer.chat_template");
    let texts = texts(source.opened()?, &is_template, MOST as u64);
    for text in texts.map_err(|error| source.failed(error))? {
        let label = format!("the metadata {}", quoted(&text.key));
        match text.value {
            Some(bytes) => look(&label, &String::from_utf8_lossy(&bytes), found),
            None => too_long(&label, text.bytes, found),
        }
    }
    Ok(())
}

/// Looks through a template; `label` is what messages call it.
fn look(label: &str, text: &str, found: &mut Found) {
    if text.len() > MOST {
        return too_long(label, text.len() as u64, found);
    }
    scan::scan(label, text, found);
}

/// A program that nobody looked through is code.
fn too_long(label: &str, bytes: u64, found: &mut Found) {
    let reason = format!("{label} has {bytes} bytes, more than are looked through");
    found.code.push(reason.clone());
    found.not_examined(reason);
}
