//! Checks that a file holds as much sound as it claims, made before anything is decoded.
//!
//! Decoders are lenient: they play what is there. For a training set that is the wrong habit,
//! because a file that was cut short by a failed copy would quietly become a shorter song.

pub(crate) mod mp4;
pub(crate) mod mpeg;
pub(crate) mod ogg;
pub(crate) mod wav;

/// What a check found wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file ends too early.
    Truncated { promised: String, found: String },
    /// Sizes contradict each other.
    Lie { promised: String, found: String },
    /// A structure that is no sound file's.
    Damaged(String),
}
