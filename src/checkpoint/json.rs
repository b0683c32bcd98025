//! JSON objects as the hostile bytes they are: members in order, duplicates kept, values unparsed.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The members of an object: decoded keys and unparsed values, in the order of the text. Values are
/// skipped without recursion, so that no depth of nesting can exhaust the stack.
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// More members than any model has; refused before they are stored.
const MOST: usize = 1_000_000;

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Key>()? {
                    if members.len() == MOST {
                        return Err(A::Error::custom(format!("more than {MOST} members")));
                    }
                    members.push((key.0, map.next_value::<&RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

impl<'a> Members<'a> {
    /// Parses the text of an object.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The first key that stands twice, spelled with escapes or not.
    pub fn duplicate(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.0.len());
        self.0.iter().map(|(key, _)| &**key).find(|key| !seen.insert(*key))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|member| member.0 == key).map(|member| member.1)
    }

    /// All members as strings; `Err` names the first that is not one.
    pub fn strings(&self) -> Result<Vec<(&str, String)>, &str> {
        self.0
            .iter()
            .map(|(key, value)| match serde_json::from_str::<String>(value.get()) {
                Ok(text) => Ok((&**key, text)),
                Err(_) => Err(&**key),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_seen_through_escapes() {
        let members = Members::parse(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
        assert_eq!(members.duplicate(), Some("a"));
        assert_eq!(Members::parse(r#"{"a":1,"b":2}"#).unwrap().duplicate(), None);
    }

    #[test]
    fn deep_nesting_is_skipped_and_not_followed() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Members::parse(&text).unwrap().0.len(), 1);
        assert!(Members::parse("[1]").is_err());
        assert!(Members::parse("{} x").is_err());
    }
}
