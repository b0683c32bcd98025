//! Reads and writes in-toto Statements v1: a predicate about a subject that is identified by its digest.

use super::json::{self, StrictJsonError};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;
use tensorseal_base::hex::{hex, unhex_any_case};

/// The `_type` member of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement about one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The name of the subject; empty if it has none.
    pub subject: String,
    /// The SHA-256 of the subject.
    pub sha256: [u8; 32],
    /// The type of the predicate, a URI.
    pub predicate_type: String,
    /// The predicate: what the statement says about the subject.
    pub predicate: Value,
}

/// An error in a signed statement.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The text is not the JSON of a statement.
    #[error("the signed statement is malformed: {0}")]
    Json(#[from] StrictJsonError),
    /// The text is not a Statement v1.
    #[error("the signed statement is not an in-toto Statement v1: its type is '{}'", display_name(.0))]
    Type(String),
    /// The statement does not have exactly one subject.
    #[error("the signed statement has {0} subjects, not exactly one")]
    Subjects(usize),
    /// The subject has no SHA-256 digest.
    #[error("the subject of the signed statement has no sha256 digest of 64 hexadecimal digits")]
    SubjectDigest,
}

/// The JSON form of a statement, with a predicate of any type.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenStatement<P> {
    #[serde(rename = "_type")]
    pub statement_type: String,
    pub subject: Vec<WrittenSubject>,
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    pub predicate: P,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenSubject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
    /// Annotations, which only manifests of `model_signing` 0.2 have.
    #[serde(default, skip_serializing)]
    pub annotations: Option<BTreeMap<String, Value>>,
}

/// A statement without its predicate: of that, only the member names are kept.
pub(super) struct StatementHeader {
    pub subject: Vec<WrittenSubject>,
    pub predicate_type: String,
    pub members: Vec<String>,
}

impl StatementHeader {
    /// Reads the headerer of a statement, and [checks](json::check) the whole text.
    pub(crate) fn read(text: &[u8]) -> Result<Self, StatementError> {
        json::check(text)?;
        let written: WrittenStatement<Option<PredicateMembers>> = json::shape(text)?;
        if written.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type(written.statement_type));
        }
        let members = written.predicate.unwrap_or_default().0.into_keys().collect();
        Ok(Self { subject: written.subject, predicate_type: written.predicate_type, members })
    }

    /// Returns the name and the SHA-256 of the only subject.
    pub(crate) fn one_subject(self) -> Result<(Option<String>, [u8; 32]), StatementError> {
        let count = self.subject.len();
        let mut subjects = self.subject.into_iter();
        let (Some(subject), 1) = (subjects.next(), count) else {
            return Err(StatementError::Subjects(count));
        };
        let digest = subject.digest.get("sha256").and_then(|text| unhex_any_case(text));
        let digest = digest.and_then(|bytes| bytes.try_into().ok());
        Ok((subject.name, digest.ok_or(StatementError::SubjectDigest)?))
    }
}

#[derive(Default, Deserialize)]
struct PredicateMembers(BTreeMap<String, IgnoredAny>);

impl Statement {
    /// Parses a statement about exactly one subject.
    ///
    /// # Errors
    /// Returns a [`StatementError`] if the text is not the strict JSON of a Statement v1, does not have exactly one
    /// subject, or if the subject has no SHA-256 digest.
    pub fn parse(text: &[u8]) -> Result<Self, StatementError> {
        let header = StatementHeader::read(text)?;
        let predicate_type = header.predicate_type.clone();
        let (name, sha256) = header.one_subject()?;
        let written: WrittenStatement<Value> = json::shape(text)?;
        let (subject, predicate) = (name.unwrap_or_default(), written.predicate);
        Ok(Self { subject, sha256, predicate_type, predicate })
    }

    /// Returns the JSON text of the statement, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        write(&self.subject, &self.sha256, &self.predicate_type, &self.predicate)
    }
}

/// Returns the JSON text of a statement about one subject.
pub(super) fn write<P: Serialize>(
    subject: &str,
    sha256: &[u8; 32],
    predicate_type: &str,
    predicate: P,
) -> Vec<u8> {
    let subject = WrittenSubject {
        name: (!subject.is_empty()).then(|| subject.to_owned()),
        digest: BTreeMap::from([("sha256".to_owned(), hex(sha256))]),
        annotations: None,
    };
    let written = WrittenStatement {
        statement_type: STATEMENT_TYPE.to_owned(),
        subject: vec![subject],
        predicate_type: predicate_type.to_owned(),
        predicate,
    };
    serde_json::to_vec(&written).expect("all map keys are strings")
}
