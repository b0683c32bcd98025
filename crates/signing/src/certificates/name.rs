//! Displays and compares distinguished names.

use tensorseal_base::display::display_name;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Encode, Tag, Tagged};
use x509_cert::name::Name;

/// Returns a name in the notation of RFC 4514, escaped for display. An empty name gets a placeholder.
pub(super) fn display(name: &Name) -> String {
    if name.is_empty() {
        return "(a certificate without a name)".to_owned();
    }
    display_name(&name.to_string())
}

/// Returns whether two names match (RFC 5280, section 7.1). Text is compared regardless of encoding, case and the
/// amount of white space; everything else is compared byte by byte. Only a signature proves that one certificate
/// issued another.
pub(super) fn names_match(a: &Name, b: &Name) -> bool {
    a.len() == b.len()
        && a.iter_rdn().zip(b.iter_rdn()).all(|(a, b)| {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_attribute(a, b))
        })
}

fn same_attribute(a: &AttributeTypeAndValue, b: &AttributeTypeAndValue) -> bool {
    a.oid == b.oid
        && match (folded(a), folded(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => a.value.to_der().ok() == b.value.to_der().ok(),
            _ => false,
        }
}

/// Returns the text of an attribute in the form that is compared.
fn folded(attribute: &AttributeTypeAndValue) -> Option<String> {
    let textual =
        matches!(attribute.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    let text = textual.then(|| std::str::from_utf8(attribute.value.value()).ok())??;
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Some(words.join(" "))
}
