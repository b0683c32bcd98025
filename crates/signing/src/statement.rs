//! in-toto Statement v1: a predicate about a subject that is named by its digest.

use super::json::{self, StrictJsonError};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;
use tensorseal_base::hex::{hex, unhex_any_case};

/// What every statement says it is.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement about one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Name of the subject; empty when it has none.
    pub subject: String,
    /// SHA-256 of the subject.
    pub sha256: [u8; 32],
    /// What the predicate is, a URI.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// Why a signed text is no statement that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not the JSON of a statement.
    #[error("the signed statement is malformed: {0}")]
    Json(#[from] StrictJsonError),
    /// Something else than a Statement v1.
    #[error("the signed statement is not an in-toto Statement v1: its type is '{}'", display_name(.0))]
    Type(String),
    /// Not about one subject.
    #[error("the signed statement has {0} subjects, not exactly one")]
    Subjects(usize),
    /// The subject has no SHA-256.
    #[error("the subject of the signed statement has no sha256 digest of 64 hexadecimal digits")]
    SubjectDigest,
}

/// A statement as it is written, with a predicate of any type.
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
    /// Only in the manifests of `model_signing` 0.2.
    #[serde(default, skip_serializing)]
    pub annotations: Option<BTreeMap<String, Value>>,
}

/// The members of a statement but for its predicate, of which only the names of its own are kept.
pub(super) struct StatementHeader {
    pub subject: Vec<WrittenSubject>,
    pub predicate_type: String,
    pub members: Vec<String>,
}

impl StatementHeader {
    /// Reads them, from a text that is [checked](json::check) on the way.
    pub(crate) fn read(text: &[u8]) -> Result<Self, StatementError> {
        json::check(text)?;
        let written: WrittenStatement<Option<PredicateMembers>> = json::shape(text)?;
        if written.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type(written.statement_type));
        }
        let members = written.predicate.unwrap_or_default().0.into_keys().collect();
        Ok(Self { subject: written.subject, predicate_type: written.predicate_type, members })
    }

    /// The one subject: its name and its SHA-256.
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
    /// Reads a statement about exactly one subject.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn parse(text: &[u8]) -> Result<Self, StatementError> {
        let head = StatementHeader::read(text)?;
        let predicate_type = head.predicate_type.clone();
        let (name, sha256) = head.one_subject()?;
        let written: WrittenStatement<Value> = json::shape(text)?;
        let (subject, predicate) = (name.unwrap_or_default(), written.predicate);
        Ok(Self { subject, sha256, predicate_type, predicate })
    }

    /// Its text, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        write(&self.subject, &self.sha256, &self.predicate_type, &self.predicate)
    }
}

/// The text of a statement about one subject.
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
    serde_json::to_vec(&written).expect("values without maps of odd keys can be written")
}
