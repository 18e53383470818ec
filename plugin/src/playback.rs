//! What the audio thread does. Nothing here allocates, locks, or asks the system for anything, save what says that it runs elsewhere.
//!
//! - [`player`]: the whole of it, block by block.
//! - `transport`: where the music is, with `bars`; `looper`: the loop at any tempo, of `slices`; `notes`: the sampler.
//! - `shelf`: the clips at hand; `voice`, `reader`, `kernel`: how they are read; `fade`, `gain`, [`limiter`]: levels.
//! - [`mod@exchange`]: clips on their way from and to the conductor. [`mod@capture`]: the input on its way to it. [`position`]: for the editor.
//! - [`clip`]: a clip made ready for the host's rate and tempo; [`ready`] makes it so, elsewhere.

mod bars;
pub mod capture;
pub mod clip;
mod denormals;
mod drift;
pub mod exchange;
mod fade;
mod gain;
mod kernel;
pub mod limiter;
mod looper;
mod notes;
pub mod player;
pub mod position;
mod reader;
pub mod ready;
mod shelf;
mod slices;
mod transport;
mod voice;

pub use bars::Bar;
pub use capture::{CaptureReceiver, CaptureSender, capture};
pub use clip::LoopClip;
pub use exchange::{ExchangeReceiver, ExchangeSender, exchange};
pub use player::{Block, NoteEvent, Player, Settings};
pub use position::PlayingPosition;
