//! Reports: the same facts for machines ([`json`], [`sarif`], [`junit`], [`github`], [`cyclonedx`]) and for
//! people ([`human`], [`html`], [`markdown`]), and as statements to be signed ([`vsa`], [`svr`]). All are written
//! from one [document](tensorseal_core::document).

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

pub use tensorseal_core::document::coverage::{self, Coverage, NotUnderstood};
pub use tensorseal_core::document::policy::PolicyUsed;
pub use tensorseal_core::document::signature::{self, SignatureUsed};
pub use tensorseal_core::document::{
    Compared, Model, Report, SCHEMA, SealUsed, Tool, Watermark, inventory, profile, shown, units,
};
