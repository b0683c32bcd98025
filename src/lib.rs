//! Are these the weights you trust?
//!
//! `tensorseal` fingerprints every tensor of a model, writes a seal, and later says *which* tensor, rows and bits
//! changed. It checks signatures, audits weights without a seal, compares models, and judges a deployment by a policy.
//! The commands of the program are functions here: each takes a path and options, and returns a [`Report`]. A report
//! that failed is not an error; look at its [`verdict`](Report::verdict).
//!
//! # Seal a model, and verify it
//!
//! ```
//! # let temporary = tempfile::tempdir()?;
//! # let model = tensorseal_testing::small_model(temporary.path());
//! use tensorseal::{SealOptions, Verdict, VerifyOptions};
//!
//! tensorseal::seal(&model, &SealOptions::default())?; // writes tensorseal.seal.json into the model
//! let report = tensorseal::verify(&model, &VerifyOptions::default())?;
//! assert_eq!(report.verdict, Verdict::Pass);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # See what changed
//!
//! ```
//! # let temporary = tempfile::tempdir()?;
//! # let model = tensorseal_testing::small_model(temporary.path());
//! # use tensorseal::{SealOptions, Verdict, VerifyOptions};
//! # tensorseal::seal(&model, &SealOptions::default())?;
//! # let weights = model.join("model.safetensors");
//! # let mut bytes = std::fs::read(&weights)?;
//! # *bytes.last_mut().unwrap() ^= 0x40;
//! # std::fs::write(&weights, bytes)?;
//! let report = tensorseal::verify(&model, &VerifyOptions::default())?;
//! assert_eq!(report.verdict, Verdict::Fail);
//! let finding = &report.findings[0];
//! assert_eq!(finding.rule, "integrity/tensor-changed");
//! assert_eq!(finding.tensor.as_deref(), Some("layer.weight"));
//! println!("{}", finding.message); // single bit flip: element 1023, bit 30, ...
//! # assert!(finding.message.contains("single bit flip: element 1023, bit 30"), "{}", finding.message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Verify a signature
//!
//! An unsigned seal proves nothing against someone who can write both the model and the seal. A signature by a key that
//! you trust does.
//!
//! ```no_run
//! use tensorseal::{SignatureOptions, VerifyOptions, signing};
//!
//! let trusted = signing::read_key("signer.pub".as_ref())?;
//! let mut options = VerifyOptions::default();
//! options.signature = Some(SignatureOptions::new("model/model.sig", trusted));
//! let report = tensorseal::verify("model".as_ref(), &options)?;
//! println!("signed by {}", report.signature.unwrap().signer.unwrap());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Judge a deployment
//!
//! ```
//! # let temporary = tempfile::tempdir()?;
//! # let model = tensorseal_testing::small_model(temporary.path());
//! # let path = temporary.path().join("policy.toml");
//! # std::fs::write(&path, "schema = \"tensorseal.policy/1\"\n[formats]\nallowed = [\"safetensors\"]\n")?;
//! use tensorseal::{GateOptions, Verdict, policy::PolicyFile};
//!
//! let policy = PolicyFile::read(&path)?;
//! let result = tensorseal::gate(&model, &policy, &GateOptions::default())?;
//! assert_eq!(result.report.verdict, Verdict::Pass);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Audit a model, and compare two
//!
//! ```
//! # let temporary = tempfile::tempdir()?;
//! # let model = tensorseal_testing::small_model(temporary.path());
//! # let other = model.clone();
//! use tensorseal::{AuditOptions, CompareOptions, Severity, Verdict};
//!
//! let report = tensorseal::audit(&model, &AuditOptions::default())?;
//! assert!(report.findings.iter().all(|finding| finding.severity < Severity::Medium));
//!
//! let report = tensorseal::compare(&model, &other, &CompareOptions::default())?;
//! assert_eq!(report.verdict, Verdict::Pass); // the same weights
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In a process of your own
//!
//! - A model of 1 GiB or more may be measured on a GPU; [`RunOptions::device`] chooses.
//! - One [`Progress`] may be shared by several runs: it adds up, and stays stopped once it was stopped.
//! - Files are memory-mapped. A handler of SIGBUS turns a file that shrinks during a run into an error. It passes other
//!   signals on, and expects the same of handlers that are installed after it.
//! - Sources on a network block until they have an answer: scan them on a thread that drives no asynchronous tasks.
//!
//! # Features
//!
//! All are on by default; a library needs at most some. `cli` is the program. `gpu` measures on GPUs, too. `registry`
//! scans directories and caches of Hugging Face; `s3`, `oci` and `mlflow` are its sources on a network, and `remote` what
//! they share. Seals and verdicts do not depend on features.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use tensorseal_base::severity::Severity;
pub use tensorseal_core::document::Report;
pub use tensorseal_core::judge::{Finding, Verdict};
pub use tensorseal_core::verbs::{
    AuditOptions, CompareOptions, Error, ErrorKind, GateOptions, GateResult, InspectOptions,
    ModelScope, RepairOptions, SealOptions, SignOptions, SignatureOptions, VerifyOptions,
};
// One by one: each verb is a module, too.
pub use tensorseal_core::verbs::audit::audit;
pub use tensorseal_core::verbs::compare::compare;
pub use tensorseal_core::verbs::gate::gate;
pub use tensorseal_core::verbs::inspect::inspect;
pub use tensorseal_core::verbs::repair::repair;
pub use tensorseal_core::verbs::seal::seal;
pub use tensorseal_core::verbs::sign::sign;
pub use tensorseal_core::verbs::verify::verify;
pub use tensorseal_engine::device::DeviceChoice;
pub use tensorseal_engine::stream::progress::Progress;
pub use tensorseal_engine::stream::rate_limiter::RateLimiter;
pub use tensorseal_engine::{RunOptions, Threads};

/// Models as files: opening them, their tensors, and what is wrong with their structure.
pub mod checkpoint {
    pub use tensorseal_base::dtype::Dtype;
    pub use tensorseal_format::{
        Checkpoint, ContentClass, FileContent, FileKind, FileRole, Format, Location, ModelFile,
        OpenError, OpenOptions, Problem, SkipReason, SkippedPath, Tensor,
    };
}

/// What a report consists of, and its renderers.
pub mod report {
    pub use tensorseal_core::document::coverage::{Coverage, UnrecognisedFile};
    pub use tensorseal_core::document::{
        AuditExtent, ComparisonUsed, ModelSummary, PolicyUsed, Report, SealUsed, SealedCounts,
        SignatureUsed, Tool, WatermarkReport,
    };
    pub use tensorseal_engine::EngineUse;
    pub use tensorseal_report::{cyclonedx, github, html, human, json, junit, markdown, sarif};
}

/// What each rule means, how it is measured, and what to do: the data behind `tensorseal explain`.
pub mod rules {
    pub use tensorseal_core::judge::rules::*;
}

/// Seals: documents of what a model is.
pub mod seal {
    pub use tensorseal_core::seal::read::{parse, read};
    pub use tensorseal_core::seal::{
        FILE_NAME, FileSeal, GapSeal, LinkSeal, ModelSeal, SCHEMA, Seal, SealError, TensorSeal,
    };
}

/// Keys, signatures, and who is trusted.
pub mod signing {
    pub use tensorseal_core::verbs::trust::{read_certificates, read_key, read_roots};
    pub use tensorseal_signing::attestation::AttestationKind;
    pub use tensorseal_signing::{
        Certificate, CertificateError, KeyError, Manifest, PrivateKey, PublicKey, SignError,
        SignatureError, Signer, SigningMethod, Statement, TrustAnchors, VerifiedBundle,
        parse_unverified, sign_statement, verify,
    };
}

/// Policies of deployment gates.
pub mod policy {
    pub use tensorseal_core::policy::{
        DEFAULT, Policy, PolicyError, PolicyFile, PolicyReadError, SCHEMA,
    };
    pub use tensorseal_core::verbs::gate::{NoRegistryLookup, RegistryLookup};
}

/// Repairing bit flips.
pub mod pinpoint {
    pub use tensorseal_core::pinpoint::search::SearchLimits;
}

/// Keyed marks in weights: keys, claims, embedding and detection.
pub mod watermark {
    pub use tensorseal_core::watermark::*;
}

/// Weights as a network uses them, whatever container and quantisation stores them.
pub mod weights {
    pub use tensorseal_format::canonical::canonical_name;
    pub use tensorseal_weights::*;
}

/// Registries of models: sources, scans, and the state between them.
#[cfg(feature = "registry")]
pub mod registry {
    pub use tensorseal_core::record;
    pub use tensorseal_registry::{scan, source, state};
}
