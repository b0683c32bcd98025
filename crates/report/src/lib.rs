//! Report formats of tensorseal: for people ([`human`], [`html`], [`markdown`]), for machines ([`json`], [`sarif`],
//! [`junit`], [`github`], [`cyclonedx`]), and as in-toto statements to be signed ([`vsa`], [`svr`]). All of them are
//! written from one [document](tensorseal_core::document). The reports of registry scans are in [`registry`].

pub mod cyclonedx;
pub mod evidence;
pub mod github;
pub mod html;
pub mod human;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod policy;
pub mod registry;
pub mod sarif;
pub mod statement;
pub mod summary;
pub mod svr;
pub mod table;
pub mod vsa;

pub use tensorseal_base::units;
pub use tensorseal_core::document::coverage::{self, Coverage, UnrecognisedFile};
pub use tensorseal_core::document::policy::PolicyUsed;
pub use tensorseal_core::document::signature::{self, SignatureUsed};
pub use tensorseal_core::document::{
    ComparisonUsed, ModelSummary, Report, SCHEMA, SealUsed, Tool, WatermarkReport, inventory,
    profile, safe_text,
};
