//! Longer or shorter at the same pitch, higher or lower at the same length.

use timestretch::{
    Backend, DurationRatio, Parameters, PitchRatio, RatioConstraint, SessionConfig, SessionError,
};

use crate::{AudioBuffer, AudioError};

mod closing;

/// Frames of silence behind a sound, so that rounding in the stretcher never leaves the result
/// a frame short.
const SILENCE_BEHIND_FRAMES: usize = 64;
/// Rate at which sounds of other rates than [`OWN_RATES_HZ`] are stretched.
const WORKING_RATE_HZ: u32 = 48_000;
/// Rates that the stretcher works at without converting.
const OWN_RATES_HZ: [u32; 3] = [44_100, 48_000, 96_000];
/// The stretcher cuts ratio times pitch down to multiples of 1 / 512 (coarser ones above 2.2), and
/// gives up pitch to keep the length.
const PRODUCT_STEPS: f64 = 512.0;
/// Added to a multiple, so that rounding to `f32` does not fall to the one below.
const PRODUCT_STEP_MARGIN: f64 = 0.25;
/// What of a loop is heard before it begins and after it ends, for the stretcher to have settled.
const LOOP_LEAD_SECS: f64 = 0.5;
/// Length of the blend where a stretched loop is closed.
const LOOP_BLEND_SECS: f64 = 0.03;

/// By how much a sound is stretched and shifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    ratio: f64,
    semitones: f64,
}

impl Stretch {
    /// Shortest result, as a share of the input's length.
    pub const MIN_RATIO: f64 = 0.5;
    /// Longest result, as a multiple of the input's length.
    pub const MAX_RATIO: f64 = 2.0;
    /// Largest shift up or down.
    pub const MAX_SEMITONES: f64 = 12.0;

    /// `ratio` is length after by length before (2 is half as fast), `semitones` the shift of pitch.
    ///
    /// # Errors
    /// When one of them is out of range.
    pub fn new(ratio: f64, semitones: f64) -> Result<Self, AudioError> {
        if (Self::MIN_RATIO..=Self::MAX_RATIO).contains(&ratio)
            && semitones.abs() <= Self::MAX_SEMITONES
        {
            Ok(Self { ratio, semitones })
        } else {
            Err(AudioError::StretchRange { ratio, semitones })
        }
    }

    /// Length after by length before.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.ratio
    }

    /// Shift of pitch.
    #[must_use]
    pub fn semitones(self) -> f64 {
        self.semitones
    }

    /// Frames that `frames` become, rounded to the nearest.
    #[must_use]
    pub fn frames_after(self, frames: usize) -> usize {
        (frames as f64 * self.ratio).round() as usize
    }

    fn changes_nothing(self) -> bool {
        self.ratio == 1.0 && self.semitones == 0.0
    }

    /// The pitch to ask for, so that what is cut down to a step is the step nearest to the one
    /// wanted: at most 4 cents off, 7 where ratio times pitch is 1/4.
    fn parameters(self) -> Result<Parameters, SessionError> {
        let product = self.ratio * (self.semitones / 12.0).exp2();
        let steps = (product * PRODUCT_STEPS).round() + PRODUCT_STEP_MARGIN;
        Ok(Parameters {
            tempo: DurationRatio::new(self.ratio)?.tempo(),
            pitch: PitchRatio::new(steps / PRODUCT_STEPS / self.ratio)?,
            constraint: RatioConstraint::PreserveDuration,
        })
    }
}

impl AudioBuffer {
    /// The sound stretched in time and shifted in pitch: exactly [`Stretch::frames_after`] frames,
    /// with both channels stretched alike, so that their relation is kept. Peaks may come out
    /// higher than they went in, and what is shifted beyond half the sample rate is removed.
    ///
    /// # Errors
    /// [`AudioError::Stretch`] for more than two channels and for samples that are no numbers.
    pub fn stretched(&self, stretch: Stretch) -> Result<Self, AudioError> {
        if stretch.changes_nothing() || self.frames() == 0 {
            return Ok(self.clone());
        }
        let working_hz = working_rate_hz(self.sample_rate_hz);
        let mut sound = self.resampled(working_hz)?;
        let frames = stretch.frames_after(sound.frames());
        for channel in &mut sound.channels {
            channel.resize(channel.len() + SILENCE_BEHIND_FRAMES, 0.0);
        }
        let mut out = rendered(&sound, stretch)?;
        out.fit(frames);
        let mut out = out.resampled(self.sample_rate_hz)?;
        out.fit(stretch.frames_after(self.frames()));
        Ok(out)
    }

    /// A seamless loop, stretched and shifted to another one: exactly [`Stretch::frames_after`]
    /// frames, its beginning at the beginning, its end leading into its beginning as it did before.
    ///
    /// The loop is stretched as it sounds when it goes round, and the circle is closed by a short
    /// blend where one round differs least from the next.
    ///
    /// # Errors
    /// As for [`AudioBuffer::stretched`].
    pub fn stretched_loop(&self, stretch: Stretch) -> Result<Self, AudioError> {
        let frames_after = stretch.frames_after(self.frames());
        if stretch.changes_nothing() || frames_after == 0 {
            return Ok(self.clone());
        }
        // A round is stretched to whole frames, or every round would begin later than the last.
        let exact = Stretch {
            ratio: frames_after as f64 / self.frames() as f64,
            ..stretch
        };
        let lead = (LOOP_LEAD_SECS * f64::from(self.sample_rate_hz)) as usize;
        let blend = (LOOP_BLEND_SECS * f64::from(self.sample_rate_hz)) as usize;
        let rounds = self.two_rounds(lead).stretched(exact)?;
        Ok(closing::closed(
            &rounds,
            exact.frames_after(lead),
            frames_after,
            blend.min(frames_after / 2),
        ))
    }

    /// A loop going round twice, and `lead` frames more on either side.
    fn two_rounds(&self, lead: usize) -> Self {
        let frames = self.frames();
        let first = frames - lead % frames;
        let turned = |channel: &Vec<f32>| {
            let around = channel.iter().cycle().skip(first);
            around.take(2 * (lead + frames)).copied().collect()
        };
        Self {
            sample_rate_hz: self.sample_rate_hz,
            channels: self.channels.iter().map(turned).collect(),
        }
    }

    /// Cut, or lengthened with silence, to `frames`.
    fn fit(&mut self, frames: usize) {
        for channel in &mut self.channels {
            channel.resize(frames, 0.0);
        }
    }
}

/// The rate to stretch at.
fn working_rate_hz(sample_rate_hz: u32) -> u32 {
    if OWN_RATES_HZ.contains(&sample_rate_hz) {
        sample_rate_hz
    } else {
        WORKING_RATE_HZ
    }
}

/// What the stretcher makes of a sound at one of its own rates.
fn rendered(sound: &AudioBuffer, stretch: Stretch) -> Result<AudioBuffer, AudioError> {
    let channels = sound.channels.len();
    let interleaved: Vec<f32> = (0..sound.frames())
        .flat_map(|frame| sound.channels.iter().map(move |channel| channel[frame]))
        .collect();
    let samples = session(sound, stretch)
        .and_then(|config| timestretch::render(&interleaved, config))
        .map_err(|error| refusal(sound, error))?
        .samples;
    let plane = |channel| samples.iter().skip(channel).step_by(channels).copied();
    AudioBuffer::new(
        sound.sample_rate_hz,
        (0..channels).map(|it| plane(it).collect()).collect(),
    )
}

fn session(sound: &AudioBuffer, stretch: Stretch) -> Result<SessionConfig, SessionError> {
    Ok(SessionConfig {
        source_sample_rate: sound.sample_rate_hz,
        output_sample_rate: sound.sample_rate_hz,
        channels: sound.channels.len(),
        // One implementation on every system, so that results do not differ by it.
        backend: Backend::Portable,
        parameters: stretch.parameters()?,
        ..SessionConfig::default()
    })
}

fn refusal(sound: &AudioBuffer, error: SessionError) -> AudioError {
    AudioError::Stretch {
        channels: sound.channels.len(),
        sample_rate_hz: sound.sample_rate_hz,
        reason: error.to_string(),
    }
}
