//! Makes text safe for HTML.

use crate::safe_text;
use askama::filters::{Escaper, Safe};
use quick_xml::escape::escape;
use std::fmt;

/// Greatest length of a text in characters. It is longer than any text of the program itself.
const TEXT: usize = 2000;

/// The escaper of all templates: text is clipped, hidden characters are written out, and markup is escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page;

impl Escaper for Page {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        dest.write_str(&escape(safe_text::clipped(text, TEXT)))
    }
}

/// Returns a name from a model as markup. It is isolated, so that its writing direction does not affect the text around
/// it.
pub(crate) fn name(name: impl AsRef<str>) -> Safe<String> {
    Safe(format!("<bdi>{}</bdi>", escape(safe_text::name(name.as_ref()))))
}

/// Returns a name from a model as markup for an attribute or a title, which cannot be isolated.
pub(crate) fn plain_name(name: &str) -> Safe<String> {
    Safe(escape(safe_text::name(name)).into_owned())
}

/// Returns text as markup.
pub(crate) fn text(text: &str) -> String {
    escape(safe_text::clipped(text, TEXT)).into_owned()
}
