//! What a statement about a judged model says besides the verdict.

/// Between whom and what a statement is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementContext {
    /// What the subject is called.
    pub subject: String,
    /// Digest of the subject: that of its OpenSSF Model Signing manifest.
    pub sha256: [u8; 32],
    /// URI of the model; `None`: its digest as a URI.
    pub resource_uri: Option<String>,
    /// URI of the policy; `None`: its digest as a URI.
    pub policy_uri: Option<String>,
    /// URI of whoever verified; `None`: this program and its version.
    pub verifier: Option<String>,
    /// The signature and the attestations that were read.
    pub inputs: Vec<StatementInput>,
}

/// A signed document that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementInput {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}
