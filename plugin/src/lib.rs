//! Lorelei as a plugin: loops in a style it was taught, in the host's tempo.
//!
//! - [`instrument`], [`effect`]: what hosts see; `instance` is what both have in common.
//! - [`parameters`], [`project`]: what is saved.
//! - [`playback`]: the audio thread.
//! - [`session`]: between the musician, the engine and the audio thread.
//! - [`editor`]: the window.
//! - [`standalone`]: what the program without a DAW is started with.

pub mod editor;
pub mod effect;
mod instance;
pub mod instrument;
pub mod parameters;
pub mod playback;
pub mod project;
pub mod session;
pub mod standalone;

use effect::LoreleiEffect;
use instrument::Lorelei;

nice_plug::nice_export_clap!(Lorelei, LoreleiEffect);
nice_plug::nice_export_vst3!(Lorelei, LoreleiEffect);

/// Tests of the audio thread's work abort where it allocates.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
