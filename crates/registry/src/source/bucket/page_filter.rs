//! Removes keys that are not valid paths from one page of a listing: the client would refuse the whole page.

use object_store::path::Path;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// The elements of one entry in a listing of S3 and Google (ListObjectsV2) or Azure (List Blobs), and the elements in them
/// that contain the key.
const ITEMS: [(&str, &str); 4] =
    [("Contents", "Key"), ("CommonPrefixes", "Prefix"), ("Blob", "Name"), ("BlobPrefix", "Name")];

/// An entry that is being read.
struct Item {
    key_element: &'static str,
    depth: usize,
    start: usize,
    /// Whether the reader is inside of the key.
    inside: bool,
    /// The key so far.
    key: String,
}

/// Returns the page without invalid keys, and these keys; `None` if the page is not XML.
///
/// Keys of directories, which some programs create as empty objects, are removed without being reported.
pub(super) fn remove_invalid_keys(page: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let text = std::str::from_utf8(page).ok()?;
    let mut reader = Reader::from_str(text);
    let (mut kept, mut invalid) = (Vec::with_capacity(page.len()), Vec::new());
    let (mut depth, mut copied) = (0usize, 0usize);
    let mut item: Option<Item> = None;
    loop {
        let start = usize::try_from(reader.buffer_position()).ok()?;
        match reader.read_event().ok()? {
            Event::Eof if depth == 0 => break,
            Event::Eof => return None,
            Event::Start(tag) => {
                let name = tag.local_name();
                let name: &str = name.as_ref();
                match &mut item {
                    Some(item) => item.inside = depth == item.depth + 1 && name == item.key_element,
                    None => item = Item::of(name, depth, start),
                }
                depth += 1;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1)?;
                if let Some(ended) = item.take_if(|item| item.depth == depth) {
                    if !ended.is_valid() {
                        kept.extend_from_slice(&page[copied..ended.start]);
                        copied = usize::try_from(reader.buffer_position()).ok()?;
                        invalid.extend((!ended.is_directory()).then_some(ended.key));
                    }
                } else if let Some(item) = &mut item {
                    item.inside = false;
                }
            }
            Event::Text(text) => add(&mut item, &text.xml10_content()),
            Event::CData(text) => add(&mut item, &text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(char) => add(&mut item, char.encode_utf8(&mut [0; 4])),
                None => add(&mut item, resolve_predefined_entity(&reference)?),
            },
            Event::DocType(_) => return None,
            _ => {}
        }
    }
    kept.extend_from_slice(&page[copied..]);
    Some((kept, invalid))
}

fn add(item: &mut Option<Item>, text: &str) {
    if let Some(item) = item.as_mut().filter(|item| item.inside) {
        item.key.push_str(text);
    }
}

impl Item {
    fn of(name: &str, depth: usize, start: usize) -> Option<Item> {
        let (_, key_element) = ITEMS.into_iter().find(|(item, _)| *item == name)?;
        Some(Item { key_element, depth, start, inside: false, key: String::new() })
    }

    /// Returns whether the client accepts the key: a prefix ends with the delimiter, and an object does not.
    fn is_valid(&self) -> bool {
        match self.key_element {
            "Key" => is_path(&self.key),
            "Prefix" => self.key.strip_suffix('/').is_some_and(is_path),
            _ => is_path(self.key.strip_suffix('/').unwrap_or(&self.key)),
        }
    }

    fn is_directory(&self) -> bool {
        self.key_element == "Key" && self.key.strip_suffix('/').is_some_and(is_path)
    }
}

/// Returns whether a key is a path that the client does not change.
fn is_path(key: &str) -> bool {
    !key.is_empty() && Path::parse(key).is_ok_and(|path| path.as_ref() == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(items: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><ListBucketResult><Prefix>../</Prefix>{items}</ListBucketResult>"
        )
    }

    fn object(key: &str) -> String {
        format!("<Contents><Key>{key}</Key><Size>1</Size><Owner><Key>x//y</Key></Owner></Contents>")
    }

    #[test]
    fn keys_that_are_not_paths_are_removed() {
        let good = ["a/b.gguf", "a&amp;b", "<![CDATA[c<d]]>", "ü", "a b%20"].map(object).concat();
        let bad = ["../x", "/abs", "a//b", "a/./b", "a&#x7;b", ""];
        let prefixes = "<CommonPrefixes><Prefix>ok/</Prefix></CommonPrefixes>\
                        <CommonPrefixes><Prefix>../</Prefix></CommonPrefixes>";
        let directory = object("a/");
        let text = page(&format!("{}{good}{directory}{prefixes}", bad.map(object).concat()));
        let (kept, invalid) = remove_invalid_keys(text.as_bytes()).unwrap();
        let ok = "<CommonPrefixes><Prefix>ok/</Prefix></CommonPrefixes>";
        assert_eq!(String::from_utf8(kept).unwrap(), page(&format!("{good}{ok}")));
        assert_eq!(invalid, ["../x", "/abs", "a//b", "a/./b", "a\u{7}b", "", "../"]);
    }

    #[test]
    fn malformed_listings_are_refused() {
        for text in ["<a>", "<a></b>", "</a>", "<!DOCTYPE a><a/>", "<a>&unknown;</a>"] {
            assert!(remove_invalid_keys(text.as_bytes()).is_none(), "{text}");
        }
        assert!(remove_invalid_keys(b"\xff").is_none());
        // Deep nesting: the reader must not recurse.
        let deep = format!("{}{}", "<Contents>".repeat(100_000), "</Contents>".repeat(100_000));
        assert!(remove_invalid_keys(deep.as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(<|</|>|Contents|Key|&#x7;|&amp;|<!\\[CDATA\\[|\\]\\]>|[a./]){0,60}") {
            remove_invalid_keys(text.as_bytes());
        }

        #[test]
        fn valid_pages_are_not_changed(keys in prop::collection::vec("[a-z]{1,5}", 0..20)) {
            let text = page(&keys.iter().map(|key| object(key)).collect::<String>());
            prop_assert_eq!(remove_invalid_keys(text.as_bytes()), Some((text.into_bytes(), Vec::new())));
        }
    }
}
