//! Writing WAV, at any of the depths that are read.
//!
//! Source: RIFF/WAVE as in `integrity/wav.rs`; float files carry the extended format chunk and
//! the `fact` chunk that the specification asks of every format but integer PCM.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{AudioBuffer, AudioError, PartFile};

/// How a sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleFormat {
    /// 8-bit integer (unsigned in the file, as WAV has it).
    U8,
    /// 16-bit integer.
    I16,
    /// 24-bit integer.
    I24,
    /// 32-bit integer.
    I32,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
}

impl SampleFormat {
    /// Bytes of one sample.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Whether samples are floating point, which neither rounds nor clips.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The narrowest integer format of at least `bits` bits.
    #[must_use]
    pub fn for_integer_bits(bits: u32) -> Option<Self> {
        match bits {
            1..=8 => Some(Self::U8),
            9..=16 => Some(Self::I16),
            17..=24 => Some(Self::I24),
            25..=32 => Some(Self::I32),
            _ => None,
        }
    }

    /// Appends one sample; `true` when it did not fit and was clipped.
    fn push(self, sample: f64, bytes: &mut Vec<u8>) -> bool {
        let (value, clipped) = match self {
            Self::F32 => {
                bytes.extend((sample as f32).to_le_bytes());
                return false;
            }
            Self::F64 => {
                bytes.extend(sample.to_le_bytes());
                return false;
            }
            Self::U8 => quantise(sample, 128.0),
            Self::I16 => quantise(sample, 32_768.0),
            Self::I24 => quantise(sample, 8_388_608.0),
            Self::I32 => quantise(sample, 2_147_483_648.0),
        };
        match self {
            Self::U8 => bytes.push((value + 128) as u8),
            Self::I16 => bytes.extend((value as i16).to_le_bytes()),
            Self::I24 => bytes.extend(&(value as i32).to_le_bytes()[..3]),
            _ => bytes.extend((value as i32).to_le_bytes()),
        }
        clipped
    }
}

/// The nearest of `2 * scale` steps, and whether the sample lay more than half a step outside.
fn quantise(sample: f64, scale: f64) -> (i64, bool) {
    let scaled = (sample * scale).round();
    let clamped = scaled.clamp(-scale, scale - 1.0);
    // +1.0 exactly is full scale, not an overshoot: integers have no +1.
    (clamped as i64, scaled > scale || scaled < -scale)
}

/// What a WAV file is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavSpec {
    /// Sample rate in Hz.
    pub sample_rate_hz: u32,
    /// Number of channels.
    pub channels: u16,
    /// How samples are stored.
    pub format: SampleFormat,
}

impl WavSpec {
    fn frame_bytes(&self) -> u64 {
        u64::from(self.channels) * self.format.bytes() as u64
    }

    /// The header for `frames` frames, or `None` when the sizes do not fit.
    fn header(&self, frames: u64) -> Option<Vec<u8>> {
        let data_bytes = u32::try_from(frames.checked_mul(self.frame_bytes())?).ok()?;
        let (tag, format_size): (u16, u32) = if self.format.is_float() {
            (3, 18)
        } else {
            (1, 16)
        };
        let fact_size = if self.format.is_float() { 12 } else { 0 };
        let riff_size =
            (4 + 8 + format_size + fact_size + 8 + (data_bytes & 1)).checked_add(data_bytes)?;
        let block_align = u16::try_from(self.frame_bytes()).ok()?;
        let bytes_per_sec = self.sample_rate_hz.checked_mul(u32::from(block_align))?;
        let mut header = b"RIFF".to_vec();
        header.extend(riff_size.to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(format_size.to_le_bytes());
        header.extend(tag.to_le_bytes());
        header.extend(self.channels.to_le_bytes());
        header.extend(self.sample_rate_hz.to_le_bytes());
        header.extend(bytes_per_sec.to_le_bytes());
        header.extend(block_align.to_le_bytes());
        header.extend((8 * self.format.bytes() as u16).to_le_bytes());
        if self.format.is_float() {
            header.extend(0_u16.to_le_bytes());
            header.extend(b"fact\x04\0\0\0");
            header.extend(u32::try_from(frames).ok()?.to_le_bytes());
        }
        header.extend(b"data");
        header.extend(data_bytes.to_le_bytes());
        Some(header)
    }
}

/// Writes a WAV stream whose length is known beforehand, so that nothing is patched afterwards.
#[derive(Debug)]
pub struct WavWriter<W: Write> {
    inner: W,
    spec: WavSpec,
    frames: u64,
    frames_written: u64,
    clipped_samples: u64,
    bytes: Vec<u8>,
}

impl<W: Write> WavWriter<W> {
    /// Writes the header for `frames` frames.
    pub fn new(mut inner: W, spec: WavSpec, frames: u64) -> Result<Self, WavWriteError> {
        let header = spec.header(frames).ok_or(WavWriteError::TooLong(frames))?;
        inner.write_all(&header)?;
        Ok(Self {
            inner,
            spec,
            frames,
            frames_written: 0,
            clipped_samples: 0,
            bytes: Vec::new(),
        })
    }

    /// Appends `[channels][frames]`.
    pub fn write(&mut self, planes: &[&[f64]]) -> io::Result<()> {
        let frames = planes.first().map_or(0, |plane| plane.len());
        self.bytes.clear();
        for frame in 0..frames {
            for plane in planes {
                self.clipped_samples +=
                    u64::from(self.spec.format.push(plane[frame], &mut self.bytes));
            }
        }
        self.frames_written += frames as u64;
        self.inner.write_all(&self.bytes)
    }

    /// Samples that did not fit into the integer format so far.
    #[must_use]
    pub fn clipped_samples(&self) -> u64 {
        self.clipped_samples
    }

    /// Ends the stream and gives the inner writer back.
    pub fn finish(mut self) -> Result<W, WavWriteError> {
        if self.frames_written != self.frames {
            return Err(WavWriteError::FrameCount {
                expected: self.frames,
                actual: self.frames_written,
            });
        }
        if (self.frames * self.spec.frame_bytes()) & 1 == 1 {
            self.inner.write_all(&[0])?;
        }
        Ok(self.inner)
    }
}

/// What stops a [`WavWriter`].
#[derive(Debug, thiserror::Error)]
pub enum WavWriteError {
    /// The sizes do not fit.
    #[error("{0} frames are too many for one WAV file")]
    TooLong(u64),
    /// Another number of frames was written than announced.
    #[error("expected {expected} frames, got {actual}")]
    FrameCount {
        /// Frames announced.
        expected: u64,
        /// Frames written.
        actual: u64,
    },
    /// The writer below failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl WavWriteError {
    fn at(self, path: &Path) -> AudioError {
        match self {
            Self::TooLong(frames) => AudioError::TooLong { frames },
            Self::FrameCount { expected, actual } => AudioError::FrameCount { expected, actual },
            Self::Io(source) => AudioError::Write {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// A WAV file that appears under its name when it is complete.
#[derive(Debug)]
pub struct WavFile {
    path: PathBuf,
    writer: WavWriter<PartFile>,
}

impl WavFile {
    /// Starts a file of `frames` frames.
    pub fn create(path: &Path, spec: WavSpec, frames: u64) -> Result<Self, AudioError> {
        let part = PartFile::create(path).map_err(|error| WavWriteError::Io(error).at(path))?;
        let writer = WavWriter::new(part, spec, frames).map_err(|error| error.at(path))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
        })
    }

    /// Appends `[channels][frames]`.
    pub fn write(&mut self, planes: &[&[f64]]) -> Result<(), AudioError> {
        let outcome = self.writer.write(planes);
        outcome.map_err(|error| WavWriteError::Io(error).at(&self.path))
    }

    /// Completes the file; gives the number of clipped samples.
    pub fn commit(self) -> Result<u64, AudioError> {
        let clipped = self.writer.clipped_samples();
        let part = self.writer.finish().map_err(|error| error.at(&self.path))?;
        part.commit()
            .map_err(|error| WavWriteError::Io(error).at(&self.path))?;
        Ok(clipped)
    }
}

/// Writes a buffer as a WAV file: aside, to the disk, then renamed. Samples beyond full scale are
/// clipped in integer formats.
pub fn write_wav(
    path: &Path,
    buffer: &AudioBuffer,
    format: SampleFormat,
) -> Result<(), AudioError> {
    let spec = WavSpec {
        sample_rate_hz: buffer.sample_rate_hz,
        channels: u16::try_from(buffer.channels.len()).unwrap_or(u16::MAX),
        format,
    };
    let mut file = WavFile::create(path, spec, buffer.frames() as u64)?;
    const BLOCK_FRAMES: usize = 8192;
    for start in (0..buffer.frames()).step_by(BLOCK_FRAMES) {
        let end = (start + BLOCK_FRAMES).min(buffer.frames());
        let widen = |plane: &Vec<f32>| plane[start..end].iter().map(|&s| f64::from(s)).collect();
        let planes: Vec<Vec<f64>> = buffer.channels.iter().map(widen).collect();
        let slices: Vec<&[f64]> = planes.iter().map(Vec::as_slice).collect();
        file.write(&slices)?;
    }
    let clipped = file.commit()?;
    if clipped > 0 {
        tracing::warn!("{}: {clipped} samples were clipped", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_steps_survive_the_trip_through_floats() {
        for value in [i64::from(i32::MIN), -1, 0, 1, 7, i64::from(i32::MAX)] {
            assert_eq!(
                quantise(value as f64 / 2_147_483_648.0, 2_147_483_648.0),
                (value, false)
            );
        }
        for value in -128..128 {
            assert_eq!(quantise(value as f64 / 128.0, 128.0), (value, false));
        }
        assert_eq!(quantise(1.0, 128.0), (127, false));
        assert_eq!(quantise(1.01, 128.0), (127, true));
        assert_eq!(quantise(-1.01, 128.0), (-128, true));
    }

    #[test]
    fn an_announced_length_is_kept() {
        let spec = WavSpec {
            sample_rate_hz: 8_000,
            channels: 1,
            format: SampleFormat::U8,
        };
        let mut writer = WavWriter::new(Vec::new(), spec, 3).unwrap();
        writer.write(&[&[0.0, 0.5]]).unwrap();
        assert!(matches!(
            writer.finish(),
            Err(WavWriteError::FrameCount {
                expected: 3,
                actual: 2
            })
        ));
        assert!(matches!(
            WavWriter::new(Vec::new(), spec, 1 << 33),
            Err(WavWriteError::TooLong(_))
        ));
    }

    #[test]
    fn a_failing_writer_is_an_error_not_a_file() {
        /// A disk with room for `room` bytes.
        struct SmallDisk {
            room: usize,
        }
        impl Write for SmallDisk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(self.room);
                self.room -= taken;
                if taken == 0 && !bytes.is_empty() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let spec = WavSpec {
            sample_rate_hz: 8_000,
            channels: 2,
            format: SampleFormat::F32,
        };
        let mut writer = WavWriter::new(SmallDisk { room: 100 }, spec, 50).unwrap();
        let error = writer.write(&[&[0.0; 50], &[0.0; 50]]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
