//! Text for a page.

use crate::safe_text;
use quick_xml::escape::escape;

/// Longest text that is shown, in characters: longer than every text of our own.
const TEXT: usize = 2000;

/// Text for content and attributes: may hold names, is clipped.
pub(crate) fn text(text: &str) -> String {
    escape(safe_text::clipped(text, TEXT)).into_owned()
}

/// A name from a model, set apart so that its direction of writing stays inside.
pub(crate) fn name(name: &str) -> String {
    format!("<bdi>{}</bdi>", plain_name(name))
}

/// A name from a model for an attribute.
pub(crate) fn plain_name(name: &str) -> String {
    escape(safe_text::name(name)).into_owned()
}
