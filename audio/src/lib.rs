//! Sound in and out: decoding, channel layout, resampling, stretching, WAV writing, loudness.
//!
//! | what | where |
//! |---|---|
//! | any supported file, block by block, exact samples | [`Decoder`] |
//! | the same as stereo at a chosen rate | [`StereoStream`] |
//! | a whole file in memory | [`read`], [`read_at`] |
//! | sample-rate conversion | [`resample()`], [`Resampler`] |
//! | longer, shorter, higher, lower; loops stay loops | [`AudioBuffer::stretched`], [`AudioBuffer::stretched_loop`] |
//! | WAV pieces, never half written | [`write_wav`], [`WavFile`], [`WavWriter`] |
//! | EBU R 128 loudness, peaks, peak-safe gain | [`loudness`] |
//!
//! Formats: WAV (8/16/24/32-bit integer, 32/64-bit float, A-law, mu-law), FLAC, MP3, Ogg/Vorbis,
//! M4A and ADTS with AAC-LC. Opus, HE-AAC and others are refused by name. Broken files are
//! errors, never shorter sounds: see [`AudioError`].
//!
//! Shapes: sound is planar, `[channels][frames]`. A *sample* is one number, a *frame* one sample
//! of each channel. Full scale is +-1.0. The streaming types carry `f64`, because it holds every
//! integer sample of up to 32 bits and both float widths exactly; [`AudioBuffer`] carries the
//! `f32` of the models.
//!
//! ```
//! # fn main() -> Result<(), audio::AudioError> {
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("tone.wav");
//! let tone = audio::AudioBuffer::new(44_100, vec![vec![0.25; 44_100]; 2])?;
//! audio::write_wav(&path, &tone, audio::SampleFormat::I16)?;
//! assert_eq!(audio::read(&path)?, tone);
//! # Ok(())
//! # }
//! ```

mod aac;
mod buffer;
mod decode;
mod downmix;
mod error;
mod integrity;
pub mod loudness;
mod part_file;
mod resample;
mod section;
mod sniff;
mod stereo;
mod stretch;
mod tags;
mod wav;

pub use buffer::{AudioBuffer, read, read_at};
pub use decode::{Decoder, Source, SourceFormat, SourceInfo};
pub use downmix::StereoGains;
pub use error::AudioError;
pub use part_file::PartFile;
pub use resample::{Resampler, resample};
pub use stereo::StereoStream;
pub use stretch::Stretch;
pub use wav::{SampleFormat, WavFile, WavSpec, WavWriteError, WavWriter, write_wav};
