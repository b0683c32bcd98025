//! Reads the texts in `__metadata__` of a file on demand. They are not kept when a model is opened, because the
//! layout does not need them and some are long.

use super::header::{HeaderError, MAX_METADATA};
use super::{Header, read_header};
use crate::class::Format;
use crate::error::OpenError;
use crate::file;
use crate::model_file::ModelFile;
use serde::de::{Error as _, IgnoredAny, MapAccess};
use std::collections::{BTreeMap, HashSet};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::json::{self, JsonScalar, JsonSink, KeySink, ScalarSink, SinkSeed};

/// The largest total size in bytes of the keys and values that are returned for one file.
pub const MAX_TEXT: usize = 16 << 20;

/// The reason why the texts of a file cannot be returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The file cannot be read, or has changed since it was opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The header is damaged.
    #[error("{}: {error}", display_name(file))]
    Header {
        /// The path of the file in the model.
        file: String,
        /// The error in the header.
        error: HeaderError,
    },
    /// The requested texts are too long.
    #[error(
        "{}: '__metadata__' has more than {MAX_TEXT} bytes of requested text (at the key {})",
        display_name(file),
        quoted(key)
    )]
    TooLong {
        /// The path of the file in the model.
        file: String,
        /// The key whose text exceeds the limit.
        key: String,
    },
}

/// Returns the texts in `__metadata__` whose key `is_wanted` accepts, or nothing for files of other formats. The
/// header of the file limits the memory that this takes.
///
/// # Errors
/// Returns a [`MetadataError`] if the file has changed since it was opened, if the header is damaged or has any key
/// twice, and if the wanted texts take more than [`MAX_TEXT`] bytes together.
pub fn metadata(
    file: &ModelFile,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, MetadataError> {
    metadata_if(file, &|key, _| is_wanted(key))
}

/// Like [`metadata`], but `is_wanted` gets the key and the text.
///
/// # Errors
/// Returns the errors of [`metadata`].
pub fn metadata_if(
    file: &ModelFile,
    is_wanted: &dyn Fn(&str, &str) -> bool,
) -> Result<BTreeMap<String, String>, MetadataError> {
    if file.format != Some(Format::Safetensors) {
        return Ok(BTreeMap::new());
    }
    let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
    let header_error = |error| MetadataError::Header { file: file.path.clone(), error };
    let opened = file::open(&file.location)?;
    if opened.identity != file.identity {
        return Err(OpenError::ChangedSinceListing { path: file.location.display_path() }.into());
    }
    let text = match read_header(&opened).map_err(failed)? {
        Header::Text(text) => text,
        Header::Refused(error) => return Err(header_error(error)),
    };
    let mut reader = MetadataTexts { is_wanted, texts: BTreeMap::new(), bytes: 0, stopped: None };
    let outcome = json::parse(&text, Top(&mut reader));
    match (reader.stopped, outcome) {
        (Some(Stop::Wrong(error)), _) => Err(header_error(error)),
        (Some(Stop::TooLong(key)), _) => {
            Err(MetadataError::TooLong { file: file.path.clone(), key })
        }
        (None, Err(error)) => Err(header_error(error.into())),
        (None, Ok(())) => Ok(reader.texts),
    }
}

struct MetadataTexts<'w> {
    is_wanted: &'w dyn Fn(&str, &str) -> bool,
    texts: BTreeMap<String, String>,
    bytes: usize,
    stopped: Option<Stop>,
}

/// The reason why reading stopped.
enum Stop {
    Wrong(HeaderError),
    TooLong(String),
}

impl MetadataTexts<'_> {
    /// Stops the parser. Its error is not used.
    fn stop<E: serde::de::Error>(&mut self, reason: Stop) -> E {
        self.stopped = Some(reason);
        E::custom("stopped")
    }
}

/// Receives the whole header.
struct Top<'g, 'w>(&'g mut MetadataTexts<'w>);

impl<'a> JsonSink<'a> for Top<'_, '_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        let found = value.to_string();
        self.0.stopped = Some(Stop::Wrong(HeaderError::NotAnObject { found }));
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let texts = self.0;
        let mut is_seen = false;
        while let Some(name) = object.next_key_seed(SinkSeed(KeySink))? {
            if name != "__metadata__" {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            if std::mem::replace(&mut is_seen, true) {
                return Err(texts.stop(Stop::Wrong(HeaderError::DuplicateMetadata)));
            }
            object.next_value_seed(SinkSeed(Entries(texts)))?;
            if texts.stopped.is_some() {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Receives `__metadata__`. As in the reference reader, `null` means that there is none.
struct Entries<'g, 'w>(&'g mut MetadataTexts<'w>);

impl<'a> JsonSink<'a> for Entries<'_, '_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        if value != JsonScalar::Null {
            let found = value.to_string();
            self.0.stopped = Some(Stop::Wrong(HeaderError::MetadataNotAnObject { found }));
        }
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let texts = self.0;
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            if seen.len() == MAX_METADATA {
                return Err(texts.stop(Stop::Wrong(HeaderError::MetadataTooLarge)));
            }
            let text = match object.next_value_seed(SinkSeed(ScalarSink))? {
                JsonScalar::Text(text) => text,
                other => {
                    let (key, found) = (key.into_owned(), other.to_string());
                    let error = HeaderError::MetadataNotAString { key, found };
                    return Err(texts.stop(Stop::Wrong(error)));
                }
            };
            if (texts.is_wanted)(&key, &text) {
                texts.bytes = texts.bytes.saturating_add(key.len() + text.len());
                if texts.bytes > MAX_TEXT {
                    return Err(texts.stop(Stop::TooLong(key.into_owned())));
                }
                texts.texts.insert(key.to_string(), text.into_owned());
            }
            if let Some(key) = seen.replace(key) {
                let key = key.into_owned();
                return Err(texts.stop(Stop::Wrong(HeaderError::DuplicateMetadataKey { key })));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, OpenOptions};
    use proptest::prelude::*;
    use std::path::Path;

    /// A file with this header and no data, as it is opened.
    fn opened(dir: &Path, header: &str) -> ModelFile {
        let path = dir.join("model.safetensors");
        std::fs::write(
            &path,
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat(),
        )
        .unwrap();
        let mut model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        model.files.remove(0)
    }

    fn all(header: &str) -> Result<BTreeMap<String, String>, MetadataError> {
        let dir = tempfile::tempdir().unwrap();
        metadata(&opened(dir.path(), header), &|_| true)
    }

    fn refused(header: &str) -> String {
        all(header).unwrap_err().to_string()
    }

    const X: &str = r#""x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;

    #[test]
    fn wanted_texts_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let header = format!(r#"{{{X},"__metadata__":{{"a\u0062":"1\n","c":"2"}}}}"#);
        let file = opened(dir.path(), &header);
        assert_eq!(
            metadata(&file, &|key| key == "ab").unwrap(),
            [("ab".into(), "1\n".into())].into()
        );
        assert_eq!(metadata(&file, &|_| true).unwrap().len(), 2);
        assert_eq!(
            metadata_if(&file, &|_, text| text == "2").unwrap(),
            [("c".into(), "2".into())].into()
        );
        assert_eq!(all(&format!("{{{X}}}")).unwrap(), BTreeMap::new());
        assert_eq!(all(&format!(r#"{{"__metadata__":null,{X}}}"#)).unwrap(), BTreeMap::new());
    }

    #[test]
    fn long_texts_are_given_up_to_a_bound() {
        let long = "y".repeat(1_000_000);
        let texts = all(&format!(r#"{{"__metadata__":{{"long":"{long}"}},{X}}}"#)).unwrap();
        assert_eq!(texts["long"], long);
        let dir = tempfile::tempdir().unwrap();
        let many: Vec<_> = (0..17).map(|n| format!(r#""{n}":"{}""#, "y".repeat(1 << 20))).collect();
        let header = format!(r#"{{"__metadata__":{{{}}},{X}}}"#, many.join(","));
        let file = opened(dir.path(), &header);
        let error = metadata(&file, &|_| true).unwrap_err();
        assert!(matches!(&error, MetadataError::TooLong { key, .. } if key == "15"), "{error}");
        // Unwanted texts do not count towards the limit.
        assert_eq!(metadata(&file, &|key| key == "16").unwrap()["16"].len(), 1 << 20);
    }

    #[test]
    fn what_is_in_doubt_is_an_error() {
        for (texts, why) in [
            (r#"{"k":"1","k":"2"}"#, "'__metadata__' has the key 'k' twice"),
            (r#"{"k":"1","\u006b":"2"}"#, "'__metadata__' has the key 'k' twice"),
            (r#"{"k":1}"#, "'__metadata__' entry 'k' is 1, not a string"),
            ("[]", "'__metadata__' is an array, not an object of strings"),
            (r#"{"k":"1"},"__metadata__":{"k":"2"}"#, "header has '__metadata__' twice"),
            (r#"{"k":"1""#, "header is not JSON: EOF while parsing an object"),
        ] {
            let message = refused(&format!(r#"{{{X},"__metadata__":{texts}}}"#));
            assert!(message.starts_with(&format!("model.safetensors: {why}")), "{message}");
        }
    }

    #[test]
    fn a_file_that_changed_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = opened(dir.path(), &format!(r#"{{{X},"__metadata__":{{"k":"1"}}}}"#));
        opened(dir.path(), &format!(r#"{{{X},"__metadata__":{{"k":"longer"}}}}"#));
        let error = metadata(&file, &|_| true).unwrap_err();
        assert!(
            matches!(error, MetadataError::Open(OpenError::ChangedSinceListing { .. })),
            "{error}"
        );
        std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        let error = metadata(&file, &|_| true).unwrap_err();
        assert!(
            matches!(error, MetadataError::Open(OpenError::ChangedSinceListing { .. })),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn what_is_sound_is_given_as_it_was_written(
            texts in prop::collection::btree_map(".{0,8}", ".{0,20}", 0..5)
        ) {
            let header = format!(r#"{{"__metadata__":{},{X}}}"#, serde_json::to_string(&texts).unwrap());
            prop_assert_eq!(all(&header).unwrap(), texts);
        }
    }
}
