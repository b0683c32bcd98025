//! `tensorseal`: are these the weights you trust?
//!
//! A model is read, measured, judged and reported, and data flows that one way:
//!
//! - [`checkpoint`] reads: files and tensors, each a byte range ([`dtype`] knows the elements).
//! - [`stream`] cuts what is to be measured into tiles and hands out each byte once.
//! - [`measure`] defines the measurements: small exact integers that merge.
//! - [`engine`] makes them, on the CPU and on a GPU, with equal results.
//! - [`seal`] is the document of what a model is.
//! - [`examine`] makes a seal, an audit and a detection of marks of one pass.
//! - [`weights`] is what tensors stand for, in any container and quantisation.
//! - [`compare`] puts two models side by side.
//! - [`lineage`] compares a model with the one it is said to come from.
//! - [`pinpoint`] finds the flipped bits that explain a sealed value.
//! - [`judge`] compares and finds, without I/O.
//! - [`policy`] is what must be true of a model before it is deployed, and judging by it.
//! - [`repair`] puts pinpointed bits back, into a copy.
//! - [`registry`] finds the models of registries, remembers them, and tells what became of them.
//! - [`signing`] signs statements about models, and checks who signed them.
//! - [`report`] tells people and machines.
//! - [`system`] is what differs from one operating system to the next.
//!
//! ```no_run
//! use tensorseal::checkpoint::{Checkpoint, OpenOptions};
//! use tensorseal::engine::RunOptions;
//! use tensorseal::stream::progress::Progress;
//!
//! let model = Checkpoint::open("model".as_ref(), &OpenOptions::default())?;
//! assert!(model.problems.is_empty());
//! let (seal, _) =
//!     tensorseal::seal::build::measure(&model, true, &RunOptions::default(), &Progress::default())?;
//! println!("{}", seal.model.root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audit;
pub mod checkpoint;
pub mod code;
pub mod compare;
pub mod dtype;
pub mod engine;
pub mod examine;
pub mod judge;
pub mod lineage;
pub mod measure;
pub mod pinpoint;
pub mod policy;
pub mod quantised;
pub mod registry;
pub mod repair;
pub mod report;
pub mod seal;
pub mod severity;
pub mod signing;
pub mod stream;
pub mod system;
pub mod watermark;
pub mod weights;
