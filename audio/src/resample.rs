//! Sample-rate conversion, streaming and in one go.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::{AudioBuffer, AudioError};

/// Least frames of one FFT block at the input.
const LEAST_BLOCK_FRAMES: u32 = 2048;

/// Converts planar blocks from one rate to another.
///
/// A band-limited conversion in the frequency domain (`rubato`'s synchronous FFT resampler with a
/// Blackman-Harris window). Its delay is taken out, and the output of `n` input frames has
/// exactly `round(n * to / from)` frames.
pub struct Resampler {
    fft: Fft<f64>,
    from_hz: u32,
    to_hz: u32,
    pending: Vec<Vec<f64>>,
    scratch: Vec<Vec<f64>>,
    /// Output frames still to drop at the start: the filter's delay.
    delay_left: usize,
    frames_in: u64,
    frames_out: u64,
}

impl Resampler {
    /// A converter for `channels` channels.
    pub fn new(from_hz: u32, to_hz: u32, channels: usize) -> Result<Self, AudioError> {
        AudioError::check_rate(from_hz)?;
        AudioError::check_rate(to_hz)?;
        let fft = Fft::new_custom(
            from_hz as usize,
            to_hz as usize,
            block_frames(from_hz, to_hz),
            1,
            channels,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| AudioError::Resample {
            from_hz,
            to_hz,
            reason: error.to_string(),
        })?;
        Ok(Self {
            delay_left: fft.output_delay(),
            scratch: vec![vec![0.0; fft.output_frames_max()]; channels],
            pending: vec![Vec::new(); channels],
            fft,
            from_hz,
            to_hz,
            frames_in: 0,
            frames_out: 0,
        })
    }

    /// Takes `[channels][frames]` and appends what is ready to `out`.
    pub fn push(&mut self, planes: &[Vec<f64>], out: &mut [Vec<f64>]) -> Result<(), AudioError> {
        for (pending, plane) in self.pending.iter_mut().zip(planes) {
            pending.extend_from_slice(plane);
        }
        self.frames_in += planes.first().map_or(0, Vec::len) as u64;
        self.drain(out, u64::MAX)
    }

    /// Appends the rest to `out`; the converter is spent afterwards.
    pub fn finish(&mut self, out: &mut [Vec<f64>]) -> Result<(), AudioError> {
        let total = resampled_frames(self.frames_in, self.from_hz, self.to_hz);
        while self.frames_out < total {
            let block = self.fft.input_frames_next();
            for pending in &mut self.pending {
                let padded = pending.len().max(1).next_multiple_of(block);
                pending.resize(padded, 0.0);
            }
            self.drain(out, total)?;
        }
        Ok(())
    }

    /// Converts whole blocks while the output is shorter than `limit` frames.
    fn drain(&mut self, out: &mut [Vec<f64>], limit: u64) -> Result<(), AudioError> {
        let block = self.fft.input_frames_next();
        let available = self.pending.first().map_or(0, Vec::len) / block;
        for index in 0..available {
            let produced = self
                .convert(index * block)
                .map_err(|reason| AudioError::Resample {
                    from_hz: self.from_hz,
                    to_hz: self.to_hz,
                    reason,
                })?;
            let skip = self.delay_left.min(produced);
            self.delay_left -= skip;
            let room = usize::try_from(limit - self.frames_out).unwrap_or(usize::MAX);
            let end = produced.min(skip.saturating_add(room));
            for (out, scratch) in out.iter_mut().zip(&self.scratch) {
                out.extend_from_slice(&scratch[skip..end]);
            }
            self.frames_out += (end - skip) as u64;
        }
        for pending in &mut self.pending {
            pending.drain(..available * block);
        }
        Ok(())
    }

    fn convert(&mut self, offset: usize) -> Result<usize, String> {
        let channels = self.pending.len();
        let frames = self.pending.first().map_or(0, Vec::len);
        let input = SequentialSliceOfVecs::new(&self.pending, channels, frames)
            .map_err(|error| error.to_string())?;
        let room = self.scratch.first().map_or(0, Vec::len);
        let mut output = SequentialSliceOfVecs::new_mut(&mut self.scratch, channels, room)
            .map_err(|error| error.to_string())?;
        let indexing = rubato::Indexing::new().input_offset(offset);
        self.fft
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .map(|(_, produced)| produced)
            .map_err(|error| error.to_string())
    }
}

/// Frames of one FFT block at the input: a multiple of the smallest block that both rates hold
/// wholly, and an even one, because the filter delays by half a block and half a frame of delay
/// could not be taken out.
fn block_frames(from_hz: u32, to_hz: u32) -> usize {
    let unit = from_hz / greatest_common_divisor(from_hz, to_hz);
    (LEAST_BLOCK_FRAMES.div_ceil(unit).next_multiple_of(2) * unit) as usize
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Frames after conversion, rounded to the nearest.
fn resampled_frames(frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let (from, to) = (u128::from(from_hz), u128::from(to_hz));
    u64::try_from((u128::from(frames) * to + from / 2) / from).unwrap_or(u64::MAX)
}

/// A whole buffer at another rate.
pub fn resample(buffer: &AudioBuffer, target_hz: u32) -> Result<AudioBuffer, AudioError> {
    if buffer.sample_rate_hz == target_hz {
        return Ok(buffer.clone());
    }
    let channels = buffer.channels.len();
    let mut resampler = Resampler::new(buffer.sample_rate_hz, target_hz, channels)?;
    let planes: Vec<Vec<f64>> = buffer
        .channels
        .iter()
        .map(|plane| plane.iter().map(|&sample| f64::from(sample)).collect())
        .collect();
    let mut out = vec![Vec::new(); channels];
    resampler.push(&planes, &mut out)?;
    resampler.finish(&mut out)?;
    let narrow = |plane: Vec<f64>| plane.into_iter().map(|sample| sample as f32).collect();
    AudioBuffer::new(target_hz, out.into_iter().map(narrow).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate_hz: u32, frequency_hz: f64, frames: usize) -> Vec<f64> {
        let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
        (0..frames).map(|n| 0.5 * (step * n as f64).sin()).collect()
    }

    /// Pushes in uneven blocks, as a decoder would.
    fn convert(from: u32, to: u32, planes: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut resampler = Resampler::new(from, to, planes.len()).unwrap();
        let mut out = vec![Vec::new(); planes.len()];
        let (mut at, mut size) = (0, 1);
        while at < planes[0].len() {
            let end = (at + size).min(planes[0].len());
            let block: Vec<_> = planes.iter().map(|plane| plane[at..end].to_vec()).collect();
            resampler.push(&block, &mut out).unwrap();
            (at, size) = (end, size * 3 % 5000 + 1);
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn tones_keep_pitch_place_and_level_at_any_pair_of_rates() {
        for (from, to) in [
            (48_000, 44_100),
            (44_100, 48_000),
            (22_050, 44_100),
            (96_000, 44_100),
            (8_000, 44_100),
            (44_101, 44_100),
            (192_000, 22_050),
        ] {
            let frames = from as usize;
            let planes = [tone(from, 440.0, frames), tone(from, 1000.0, frames)];
            let out = convert(from, to, &planes);
            for (plane, frequency) in out.iter().zip([440.0, 1000.0]) {
                assert_eq!(plane.len(), to as usize, "{from} -> {to}");
                let expected = tone(to, frequency, to as usize);
                let edge = to as usize / 8;
                let error = plane[edge..plane.len() - edge]
                    .iter()
                    .zip(&expected[edge..])
                    .fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs()));
                assert!(error < 1e-4, "{from} -> {to}, {frequency} Hz: {error}");
            }
        }
    }

    #[test]
    fn what_the_target_cannot_hold_is_removed() {
        let out = convert(96_000, 44_100, &[tone(96_000, 30_000.0, 96_000)]);
        let edge = 4000;
        let peak = out[0][edge..44_100 - edge]
            .iter()
            .fold(0.0_f64, |peak, v| peak.max(v.abs()));
        assert!(peak < 1e-4, "alias at {peak}");
    }

    #[test]
    fn lengths_are_exact_for_tiny_inputs() {
        for frames in [1, 2, 159, 160, 161, 5000] {
            let out = convert(48_000, 44_100, &[vec![0.1; frames]]);
            assert_eq!(
                out[0].len() as u64,
                resampled_frames(frames as u64, 48_000, 44_100)
            );
        }
        assert!(Resampler::new(0, 44_100, 2).is_err());
    }
}
