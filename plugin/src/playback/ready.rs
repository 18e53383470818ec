//! Makes a clip ready for the host's rate and tempo, off the audio thread.

use audio::{AudioBuffer, AudioError, Stretch};
use realfft::num_complex::Complex;
use realfft::{FftError, RealFftPlanner};

use super::LoopClip;

/// Seconds by which a clip's length may differ from what its tempo asks for, before its length is believed rather than its tempo: two frames
/// of the lowest rate.
const LENGTH_TOLERANCE_SECS: f64 = 2.0 / 8_000.0;
/// Share of the band over which the highest part is faded out when the rate falls, so that attacks do not ring.
const ROLL_OFF: f64 = 0.03;

/// A clip of `quarters` quarter notes at `tempo_bpm`, without bars, for a host of this rate and tempo. Without a tempo, and at one that is too far away to
/// be stretched to, the clip keeps its own.
///
/// # Errors
/// When it is no clip of two channels, or cannot be resampled.
pub fn loop_clip(
    sound: &AudioBuffer,
    number: u64,
    quarters: f64,
    tempo_bpm: f64,
    sample_rate_hz: f64,
    host_tempo_bpm: Option<f64>,
) -> Result<LoopClip, AudioError> {
    let at_host = at_tempo(sound, tempo_bpm, host_tempo_bpm)?;
    let (stretched, tempo_bpm) = match &at_host {
        Some((stretched, host)) => (stretched, *host),
        None => (sound, tempo_bpm),
    };
    let (secs, tempo_bpm) = length(stretched.duration_secs(), quarters, tempo_bpm);
    let frames = (secs * sample_rate_hz).round() as usize;
    let stereo = stretched.to_stereo();
    let mut channels = [vec![], vec![]];
    for (channel, own) in channels.iter_mut().zip(stereo.channels) {
        *channel = resampled_loop(own, frames).map_err(|error| AudioError::Resample {
            from_hz: sound.sample_rate_hz,
            to_hz: sample_rate_hz.round() as u32,
            reason: error.to_string(),
        })?;
    }
    Ok(LoopClip {
        number,
        channels,
        sample_rate_hz,
        tempo_bpm,
        quarters,
        ..LoopClip::default()
    })
}

/// A loop of one tempo stretched to another, with that one; none where it is the same or too far away, and the loop is to stay as it is.
///
/// # Errors
/// When it cannot be stretched.
pub fn at_tempo(
    sound: &AudioBuffer,
    tempo_bpm: f64,
    wanted_bpm: Option<f64>,
) -> Result<Option<(AudioBuffer, f64)>, AudioError> {
    let stretch = wanted_bpm
        .filter(|wanted| *wanted != tempo_bpm)
        .and_then(|wanted| Some((Stretch::new(tempo_bpm / wanted, 0.0).ok()?, wanted)));
    let stretched = stretch.map(|(stretch, wanted)| Ok((sound.stretched_loop(stretch)?, wanted)));
    stretched.transpose()
}

/// Length in seconds and tempo that agree: what the tempo asks for, or, where the sound's length says otherwise, the tempo that follows.
fn length(own_secs: f64, quarters: f64, tempo_bpm: f64) -> (f64, f64) {
    let wanted_secs = quarters * 60.0 / tempo_bpm;
    if (own_secs - wanted_secs).abs() <= LENGTH_TOLERANCE_SECS {
        (wanted_secs, tempo_bpm)
    } else {
        (own_secs, quarters * 60.0 / own_secs)
    }
}

/// A loop in another number of frames. It is taken as the period that it is, so that it goes on from its end at its beginning as before, and
/// its length is any number, which a conversion between two rates would not give.
fn resampled_loop(mut channel: Vec<f32>, frames: usize) -> Result<Vec<f32>, FftError> {
    // One number that is none would become the whole loop.
    channel
        .iter_mut()
        .filter(|sample| !sample.is_finite() || sample.is_subnormal())
        .for_each(|sample| *sample = 0.0);
    if channel.is_empty() || frames == 0 || channel.len() == frames {
        return Ok(channel);
    }
    let (from, to) = (channel.len(), frames);
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, inverse) = (planner.plan_fft_forward(from), planner.plan_fft_inverse(to));
    let mut samples: Vec<f64> = channel.iter().map(|sample| f64::from(*sample)).collect();
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut samples, &mut spectrum)?;
    // What lies at half of either rate has no sign of its own, and goes.
    let kept = (from.min(to) - 1) / 2 + 1;
    let mut kept_spectrum = inverse.make_input_vec();
    kept_spectrum[..kept].copy_from_slice(&spectrum[..kept]);
    if to < from {
        roll_off(&mut kept_spectrum[..kept]);
    }
    let mut output = inverse.make_output_vec();
    inverse.process(&mut kept_spectrum, &mut output)?;
    let scale = 1.0 / from as f64;
    Ok(output
        .iter()
        .map(|sample| (sample * scale) as f32)
        .collect())
}

fn roll_off(spectrum: &mut [Complex<f64>]) {
    let width = (spectrum.len() as f64 * ROLL_OFF) as usize;
    let top = spectrum.len() - width;
    for (at, value) in spectrum[top..].iter_mut().enumerate() {
        let share = (at as f64 + 1.0) / (width as f64 + 1.0);
        *value *= 0.5 + 0.5 * (std::f64::consts::PI * share).cos();
    }
}
