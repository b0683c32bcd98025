//! Distinguished names: shown on a line, and compared.

use tensorseal_base::display::display_name;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Encode, Tag, Tagged};
use x509_cert::name::Name;

/// A name as RFC 4514 writes it, safe to print; an empty one is told as such.
pub(super) fn display(name: &Name) -> String {
    if name.is_empty() {
        return "(a certificate without a name)".to_owned();
    }
    display_name(&name.to_string())
}

/// Whether two names are the same (RFC 5280, section 7.1): text is compared without regard to its
/// encoding, its case and the amount of white space, everything else byte by byte. That a certificate
/// is issued by the other is settled by its signature, not here.
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

/// The text of an attribute as it is compared.
fn folded(attribute: &AttributeTypeAndValue) -> Option<String> {
    let textual =
        matches!(attribute.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    let text = textual.then(|| std::str::from_utf8(attribute.value.value()).ok())??;
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Some(words.join(" "))
}
