//! A whole sound in memory.

use std::path::Path;

use crate::{AudioError, Decoder, StereoStream, resample};

/// Planar sound, `[channels][frames]`, full scale +-1.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioBuffer {
    /// Sample rate in Hz.
    pub sample_rate_hz: u32,
    /// Channels of equal length.
    pub channels: Vec<Vec<f32>>,
}

impl AudioBuffer {
    /// A buffer, refused when its channels differ in length, are none, or the rate is absurd.
    pub fn new(sample_rate_hz: u32, channels: Vec<Vec<f32>>) -> Result<Self, AudioError> {
        AudioError::check_rate(sample_rate_hz)?;
        let lengths: Vec<usize> = channels.iter().map(Vec::len).collect();
        if lengths.is_empty() || lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(AudioError::Shape { lengths });
        }
        Ok(Self {
            sample_rate_hz,
            channels,
        })
    }

    /// Frames of each channel.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration_secs(&self) -> f64 {
        self.frames() as f64 / f64::from(self.sample_rate_hz)
    }

    /// Largest absolute sample.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.channels
            .iter()
            .flatten()
            .fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    /// Two channels: mono doubled, stereo as it is, more channels mixed equally to both sides
    /// (a buffer knows no speaker positions; [`StereoStream`] does).
    #[must_use]
    pub fn to_stereo(&self) -> Self {
        let channels = match self.channels.as_slice() {
            [mono] => vec![mono.clone(), mono.clone()],
            [left, right] => vec![left.clone(), right.clone()],
            many => {
                let scale = 1.0 / many.len().max(1) as f32;
                let mix: Vec<f32> = (0..self.frames())
                    .map(|frame| many.iter().map(|plane| plane[frame]).sum::<f32>() * scale)
                    .collect();
                vec![mix.clone(), mix]
            }
        };
        Self {
            sample_rate_hz: self.sample_rate_hz,
            channels,
        }
    }
}

/// Reads a whole file with its own rate and channels.
pub fn read(path: &Path) -> Result<AudioBuffer, AudioError> {
    let mut decoder = Decoder::open(path)?;
    let info = decoder.info();
    let (rate, count) = (info.sample_rate_hz, info.stereo_gains.channels());
    let mut channels = vec![Vec::new(); count];
    while let Some(planes) = decoder.next_block()? {
        for (channel, plane) in channels.iter_mut().zip(planes) {
            channel.extend(plane.iter().map(|&sample| sample as f32));
        }
    }
    AudioBuffer::new(rate, channels)
}

/// Reads a whole file as stereo at `sample_rate_hz`.
pub fn read_at(path: &Path, sample_rate_hz: u32) -> Result<AudioBuffer, AudioError> {
    let mut stream = StereoStream::open(path, sample_rate_hz)?;
    let mut channels = vec![Vec::new(); 2];
    while let Some(block) = stream.next_block()? {
        for (channel, plane) in channels.iter_mut().zip(block) {
            channel.extend(plane.iter().map(|&sample| sample as f32));
        }
    }
    AudioBuffer::new(sample_rate_hz, channels)
}

impl AudioBuffer {
    /// The same sound at another rate.
    pub fn resampled(&self, sample_rate_hz: u32) -> Result<Self, AudioError> {
        resample(self, sample_rate_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        assert!(AudioBuffer::new(44_100, vec![]).is_err());
        assert!(AudioBuffer::new(44_100, vec![vec![0.0], vec![]]).is_err());
        assert!(AudioBuffer::new(0, vec![vec![0.0]]).is_err());
    }

    #[test]
    fn stereo_from_any_count() {
        let buffer = AudioBuffer::new(8_000, vec![vec![0.9], vec![0.0], vec![-0.3]]).unwrap();
        let stereo = buffer.to_stereo();
        assert_eq!(stereo.channels.len(), 2);
        assert!((stereo.channels[0][0] - 0.2).abs() < 1e-6);
        assert_eq!(stereo.channels[0], stereo.channels[1]);
        assert_eq!(buffer.peak(), 0.9);
    }
}
