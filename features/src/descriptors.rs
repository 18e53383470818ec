//! Descriptors of frames, one kind a file. All work on plain slices and hold no state but their filters.
//!
//! Those of librosa follow its version 0.11 and are tested against its values.

pub mod cepstrum;
pub mod chroma;
pub mod contrast;
pub mod onset;
pub mod rhythm;
pub mod shape;
pub mod waveform;
