//! The context of a statement about a judged model.

/// The subject, policy, verifier and inputs of a statement, besides the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementContext {
    /// The name of the subject.
    pub subject: String,
    /// The digest of the subject, which is that of its OpenSSF Model Signing manifest.
    pub sha256: [u8; 32],
    /// The URI of the model; `None` stands for its digest as a URI.
    pub resource_uri: Option<String>,
    /// The URI of the policy; `None` stands for its digest as a URI.
    pub policy_uri: Option<String>,
    /// The URI of the verifier; `None` stands for this program and its version.
    pub verifier: Option<String>,
    /// The signature and the attestations that the judgement used.
    pub inputs: Vec<StatementInput>,
}

/// A signed document that a judgement used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementInput {
    /// The name of the document.
    pub name: String,
    /// The SHA-256 of the document's bytes.
    pub sha256: [u8; 32],
}
