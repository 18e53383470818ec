//! From recordings to training pieces: the `cut-music` command as a library.
//!
//! ```text
//! sources::find -> hash -> earlier::sort_out (what earlier runs cut already)
//!                       -> song::analyse (pass 1: analysis::*)  -> boundaries / silence
//!                       -> song::measure (pass 2, with a loudness target)
//!                       -> song::write   (last pass: pieces)     -> output (manifest, record)
//! ```
//!
//! A recording is decoded once for each pass and never held in memory, so that neither the
//! length of a file nor the number of files decides how much is needed. Nothing is written for a
//! recording before it has been decoded to its end without fault.
//!
//! Sound is planar, `[channels][frames]`; positions are in frames at the output rate.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! # fn main() -> Result<(), preprocess::CutError> {
//! let request = preprocess::Request::new("recordings".into(), "segments".into());
//! let report = preprocess::cut(&request, &preprocess::Silent, &AtomicBool::new(false))?;
//! println!("{} pieces, {} files skipped", report.pieces_written, report.skipped.len());
//! # Ok(())
//! # }
//! ```

mod analysis;
mod boundaries;
#[cfg(feature = "cli")]
pub mod cli;
mod cut;
mod earlier;
mod error;
mod names;
mod output;
mod progress;
mod settings;
mod silence;
mod song;
mod sources;
mod tags;

pub use cut::{Report, Request, cut};
pub use error::{CutError, SkipReason, Skipped};
pub use progress::{Phase, Progress, Silent};
pub use settings::{BitDepth, Settings};
