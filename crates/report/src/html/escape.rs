//! Escapes text for HTML.

use crate::shown;
use quick_xml::escape::escape;

/// Greatest length of a text in characters. It is longer than any text of the program itself.
const TEXT: usize = 2000;

/// Escapes text for content and attributes. Long text is clipped.
pub fn text(text: &str) -> String {
    escape(shown::clipped(text, TEXT)).into_owned()
}

/// Escapes a name from a model and isolates it, so that its writing direction does not affect the text around it.
pub fn name(name: &str) -> String {
    format!("<bdi>{}</bdi>", plain_name(name))
}

/// Escapes a name from a model for use in an attribute.
pub fn plain_name(name: &str) -> String {
    escape(shown::name(name)).into_owned()
}

/// Escapes text that is safe to show, such as a clipped name, and keeps its line breaks.
pub fn lines(text: &str) -> String {
    escape(text).into_owned()
}
