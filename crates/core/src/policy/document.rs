//! The structure of a policy document, with the position of each value.

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

/// A list of texts with their positions.
pub(super) type SpannedTexts = Vec<Spanned<String>>;

/// A policy document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyDocument {
    pub schema: Spanned<String>,
    pub name: Option<Spanned<String>>,
    pub code: Option<Spanned<String>>,
    #[serde(default)]
    pub signature: SignatureTable,
    #[serde(default)]
    pub seal: SealTable,
    #[serde(default)]
    pub attestations: AttestationsTable,
    #[serde(default)]
    pub registry: RegistryTable,
    #[serde(default)]
    pub coverage: CoverageTable,
    #[serde(default)]
    pub files: FilesTable,
    #[serde(default)]
    pub formats: AllowedTable,
    #[serde(default)]
    pub dtypes: AllowedTable,
    #[serde(default)]
    pub audit: AuditTable,
    #[serde(default)]
    pub severity: SeverityTable,
    #[serde(default)]
    pub watermark: Vec<WatermarkTable>,
    #[serde(default)]
    pub allow: Vec<AllowTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureTable {
    pub required: Option<Spanned<bool>>,
    pub keys: Option<SpannedTexts>,
    pub roots: Option<SpannedTexts>,
    pub identities: Option<Spanned<SpannedTexts>>,
    pub keyless: Option<Spanned<KeylessTable>>,
    pub hash: Option<Spanned<SpannedTexts>>,
    pub allow_ignored_paths: Option<SpannedTexts>,
    #[serde(default)]
    pub allow_unsigned_files: bool,
    #[serde(default)]
    pub allow_symlinks: bool,
}

/// Parsed only to report that it is not supported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeylessTable {
    #[serde(rename = "identity")]
    pub _identity: Option<String>,
    #[serde(rename = "issuer")]
    pub _issuer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryTable {
    #[serde(default)]
    pub required: bool,
    pub max_age: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealTable {
    #[serde(default)]
    pub required: bool,
    pub signed: Option<Spanned<bool>>,
    pub expect_root: Option<Spanned<SpannedTexts>>,
    pub expect_digest: Option<Spanned<SpannedTexts>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttestationsTable {
    pub required: Option<Spanned<SpannedTexts>>,
    pub max_age: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoverageTable {
    pub allow: Option<SpannedTexts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesTable {
    pub unknown: Option<Spanned<String>>,
}

/// `[formats]` and `[dtypes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowedTable {
    pub allowed: Option<Spanned<SpannedTexts>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditTable {
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeverityTable {
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
pub(super) struct WatermarkTable {
    pub key: Spanned<String>,
    pub claim: Option<Spanned<String>>,
    pub expect: Spanned<String>,
    pub max_log10_p: Option<Spanned<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowTable {
    pub rule: Spanned<String>,
    pub file: Option<Spanned<String>>,
    pub tensor: Option<Spanned<String>>,
    pub digest: Option<Spanned<String>>,
    pub reason: Spanned<String>,
    pub expires: Spanned<Datetime>,
}
