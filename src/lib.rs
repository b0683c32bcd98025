//! `tensorseal`: are these the weights you trust?
//!
//! [`verify()`] compares a model with its seal and its signature, [`gate()`] judges it by a policy: each is one
//! call from options to a [`Report`], and holds every decision of security that the program of the same name makes.
//! A report that failed is no error: look at its [`verdict`](Report::verdict).
//!
//! By default a model of 1 GiB or more may be measured on a GPU of the host; `RunOptions::device` says otherwise. A
//! [`Progress`](stream::progress::Progress) that options share adds up, and one that was stopped stays so.
//! Maps of files need a handler of SIGBUS (`crates/engine/src/stream/sigbus.rs`): it hands on what is not its own, and expects the same
//! of those that are installed after it. Sources on a network wait for their answers: scan them on a thread that
//! drives no asynchronous tasks.
//!
//! Below them a model is read, measured, judged and reported, and data flows that one way:
//!
//! - [`checkpoint`] reads: files and tensors, each a byte range ([`dtype`] knows the elements).
//! - [`stream`] cuts what is to be measured into tiles and hands out each byte once.
//! - [`measure`] defines the measurements: small exact integers that merge.
//! - [`engine`] makes them, on the CPU and on a GPU, with equal results.
//! - [`seal`](mod@seal) is the document of what a model is.
//! - [`examine`] makes a seal, an audit and a detection of marks of one pass.
//! - [`weights`] is what tensors stand for, in any container and quantisation.
//! - [`compare`](mod@compare) puts two models side by side.
//! - [`lineage`] compares a model with the one it is said to come from.
//! - [`pinpoint`] finds the flipped bits that explain a sealed value.
//! - [`judge`] compares and finds, without I/O.
//! - [`policy`] is what must be true of a model before it is deployed, and judging by it.
//! - [`repair`](mod@repair) puts pinpointed bits back, into a copy.
//! - [`registry`] finds the models of registries, remembers them, and tells what became of them.
//! - [`signing`] signs statements about models, and checks who signed them.
//! - [`verbs`] are the commands, but for those of marks and registries, from options to the [`document`] of what was found.
//! - [`record`] is what scans of registries record of models.
//! - [`report`] tells people and machines.
//! - [`system`] is what differs from one operating system to the next.
//!
//! ```no_run
//! use tensorseal::judge::Verdict;
//! use tensorseal::verbs::trust;
//! use tensorseal::{SignatureOptions, VerifyOptions};
//!
//! let trusted = trust::read_key("signer.pub".as_ref())?;
//! let options = VerifyOptions {
//!     signature: Some(SignatureOptions::new("model/model.sig", trusted)),
//!     ..VerifyOptions::default()
//! };
//! let report = tensorseal::verify("model".as_ref(), &options)?;
//! assert_eq!(report.verdict, Verdict::Pass);
//! # Ok::<(), tensorseal::Error>(())
//! ```
//!
//! # Features
//!
//! All are on by default; a library needs at most some. `cli` is the program. `gpu` measures on devices, too.
//! `registry` scans directories and caches of Hugging Face; `s3`, `oci` and `mlflow` are its sources over the
//! network, and `remote` what they have in common. A seal and a verdict do not depend on any.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use tensorseal_base::{dtype, quantised, severity, system};
pub use tensorseal_code as code;
pub use tensorseal_core::{
    audit, compare, document, examine, judge, lineage, pinpoint, policy, record, repair, seal,
    verbs, watermark,
};
pub use tensorseal_engine as engine;
pub use tensorseal_engine::{measure, stream};
pub use tensorseal_format as checkpoint;
pub use tensorseal_report as report;
pub use tensorseal_signing as signing;

pub use tensorseal_core::verbs::audit::audit;
pub use tensorseal_core::verbs::compare::compare;
pub use tensorseal_core::verbs::repair::repair;
pub use tensorseal_core::verbs::seal::seal;
pub use tensorseal_core::verbs::{
    AuditOptions, CompareOptions, Error, ErrorKind, GateOptions, GateResult, InspectOptions,
    ModelScope, RepairOptions, Report, SealOptions, SignOptions, SignatureOptions, VerifyOptions,
    gate, inspect, sign, verify,
};

/// What tensors stand for, in any container and quantisation.
pub mod weights {
    pub use tensorseal_format::canonical;
    pub use tensorseal_weights::*;
}

/// Registries on a schedule.
#[cfg(feature = "registry")]
pub mod registry {
    pub use tensorseal_core::record;
    pub use tensorseal_registry::*;
}
