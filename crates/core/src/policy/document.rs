//! The document as it is written: which keys there are, and where each value stands.

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

/// Texts, each with its place.
pub type Texts = Vec<Spanned<String>>;

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub schema: Spanned<String>,
    pub name: Option<Spanned<String>>,
    pub code: Option<Spanned<String>>,
    #[serde(default)]
    pub signature: Signature,
    #[serde(default)]
    pub seal: Seal,
    #[serde(default)]
    pub attestations: Attestations,
    #[serde(default)]
    pub registry: Registry,
    #[serde(default)]
    pub coverage: Coverage,
    #[serde(default)]
    pub files: Files,
    #[serde(default)]
    pub formats: Allowed,
    #[serde(default)]
    pub dtypes: Allowed,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub severity: Severity,
    #[serde(default)]
    pub watermark: Vec<Watermark>,
    #[serde(default)]
    pub allow: Vec<Allow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub required: Option<Spanned<bool>>,
    pub keys: Option<Texts>,
    pub roots: Option<Texts>,
    pub identities: Option<Spanned<Texts>>,
    pub keyless: Option<Spanned<Keyless>>,
    pub hash: Option<Spanned<Texts>>,
    pub allow_ignored_paths: Option<Texts>,
    #[serde(default)]
    pub allow_unsigned_files: bool,
    #[serde(default)]
    pub allow_symlinks: bool,
}

/// Known, so that it can be said that it is not built in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyless {
    #[serde(rename = "identity")]
    pub _identity: Option<String>,
    #[serde(rename = "issuer")]
    pub _issuer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    #[serde(default)]
    pub required: bool,
    pub max_age: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    #[serde(default)]
    pub required: bool,
    pub signed: Option<Spanned<bool>>,
    pub expect_root: Option<Spanned<Texts>>,
    pub expect_digest: Option<Spanned<Texts>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestations {
    pub required: Option<Spanned<Texts>>,
    pub max_age: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    pub allow: Option<Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub unknown: Option<Spanned<String>>,
}

/// `[formats]` and `[dtypes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    pub allowed: Option<Spanned<Texts>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Severity {
    pub format: Option<Spanned<String>>,
    pub integrity: Option<Spanned<String>>,
    pub signature: Option<Spanned<String>>,
    pub weights: Option<Spanned<String>>,
    pub payload: Option<Spanned<String>>,
    pub watermark: Option<Spanned<String>>,
    pub lineage: Option<Spanned<String>>,
    pub content: Option<Spanned<String>>,
    pub claims: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    pub key: Spanned<String>,
    pub claim: Option<Spanned<String>>,
    pub expect: Spanned<String>,
    pub max_log10_p: Option<Spanned<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    pub rule: Spanned<String>,
    pub file: Option<Spanned<String>>,
    pub tensor: Option<Spanned<String>>,
    pub digest: Option<Spanned<String>>,
    pub reason: Spanned<String>,
    pub expires: Spanned<Datetime>,
}
