//! Music the project makes itself: a seeded composer and a renderer, without samples.
//!
//! [`compose`] writes a [`Score`] in one of several [`Style`]s; [`render`] turns it into two
//! channels of samples. The same style, seed and options always give the same samples. Everything
//! sounds by synthesis from first principles (plucked strings after Karplus and Strong, banks of
//! modes, frequency modulation, band-limited oscillators), so the recordings are free of anyone's
//! rights.
//!
//! Where to look: `composer` holds harmony, form and parts; `style` one file for each style;
//! `voice` the instruments; `effect` the effects; `render` puts them together and `mastering` brings
//! the sum to its loudness. Times are in
//! seconds or in beats (quarter notes) as names say, pitches are MIDI numbers, and signals are
//! `[frames]` per channel.
//!
//! ```
//! use corpus::{Options, Style, compose, render};
//!
//! let score = compose(Style::SoloGuitar, 7, &Options { duration_secs: 6.0 });
//! assert!(score.tags.contains(&"guitar"));
//! let piece = render(&score, 44_100);
//! assert_eq!(piece.left.len(), piece.right.len());
//! ```

mod composer;
mod dice;
mod dsp;
mod effect;
mod mastering;
mod render;
mod score;
mod style;
pub mod vocabulary;
mod voice;

pub use composer::key::{Key, Mode};
pub use mastering::{CEILING_DBTP, TARGET_LUFS};
pub use render::{Rendered, VERSION, render};
pub use score::{Drum, Note, Options, Score, Sound, Track};
pub use style::{Style, UnknownStyle, compose};
