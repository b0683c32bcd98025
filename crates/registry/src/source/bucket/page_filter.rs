//! One page of a list, without the keys that no path can be: the client would refuse the whole page.

use object_store::path::Path;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// What holds one key in a list of S3 and Google (ListObjectsV2) or Azure (List Blobs), and the element
/// in it that is the key.
const ITEMS: [(&str, &str); 4] =
    [("Contents", "Key"), ("CommonPrefixes", "Prefix"), ("Blob", "Name"), ("BlobPrefix", "Name")];

/// An element that holds a key, while it is being read.
struct Item {
    key_element: &'static str,
    depth: usize,
    start: usize,
    /// Whether its key is being read, and what of it was.
    inside: bool,
    key: String,
}

/// The page without them, and they; `None`: it is no XML.
///
/// Keys of directories, which some programs make as empty objects, are left out and not told of.
pub(super) fn remove_invalid_keys(page: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let text = std::str::from_utf8(page).ok()?;
    let mut reader = Reader::from_str(text);
    let (mut kept, mut refused) = (Vec::with_capacity(page.len()), Vec::new());
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
                    if !ended.is_good() {
                        kept.extend_from_slice(&page[copied..ended.start]);
                        copied = usize::try_from(reader.buffer_position()).ok()?;
                        refused.extend((!ended.is_directory()).then_some(ended.key));
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
    Some((kept, refused))
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

    /// Whether the client reads the key as it is: a prefix ends with the delimiter, an object does not.
    fn is_good(&self) -> bool {
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

/// Whether a key is a path to the client as it is to the store.
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
    fn keys_that_are_no_paths_are_taken_out() {
        let good = ["a/b.gguf", "a&amp;b", "<![CDATA[c<d]]>", "ü", "a b%20"].map(object).concat();
        let bad = ["../x", "/abs", "a//b", "a/./b", "a&#x7;b", ""];
        let prefixes = "<CommonPrefixes><Prefix>ok/</Prefix></CommonPrefixes>\
                        <CommonPrefixes><Prefix>../</Prefix></CommonPrefixes>";
        let directory = object("a/");
        let text = page(&format!("{}{good}{directory}{prefixes}", bad.map(object).concat()));
        let (kept, refused) = remove_invalid_keys(text.as_bytes()).unwrap();
        let ok = "<CommonPrefixes><Prefix>ok/</Prefix></CommonPrefixes>";
        assert_eq!(String::from_utf8(kept).unwrap(), page(&format!("{good}{ok}")));
        assert_eq!(refused, ["../x", "/abs", "a//b", "a/./b", "a\u{7}b", "", "../"]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["<a>", "<a></b>", "</a>", "<!DOCTYPE a><a/>", "<a>&unknown;</a>"] {
            assert!(remove_invalid_keys(text.as_bytes()).is_none(), "{text}");
        }
        assert!(remove_invalid_keys(b"\xff").is_none());
        // Nested without end: no recursion.
        let deep = format!("{}{}", "<Contents>".repeat(100_000), "</Contents>".repeat(100_000));
        assert!(remove_invalid_keys(deep.as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(<|</|>|Contents|Key|&#x7;|&amp;|<!\\[CDATA\\[|\\]\\]>|[a./]){0,60}") {
            remove_invalid_keys(text.as_bytes());
        }

        #[test]
        fn good_keys_stay_and_the_page_with_them(keys in prop::collection::vec("[a-z]{1,5}", 0..20)) {
            let text = page(&keys.iter().map(|key| object(key)).collect::<String>());
            prop_assert_eq!(remove_invalid_keys(text.as_bytes()), Some((text.into_bytes(), Vec::new())));
        }
    }
}
