//! From a seed and a style to sound: flow sampling with guidance, then decoding.

pub mod bars;
mod crossfade;
mod kept;
mod looped;
mod windows;

use std::ops::Range;

use candle_core::{Device, Tensor};
use dit::flow;
use nn::Stream;
use vae::Tiling;

use crate::base::{BaseModel, Rhythm};
use crate::error::LoraError;
use crate::progress::Progress;
use crate::style::LaterStyle;

pub use kept::{Kept, SpanSecs};

/// Chunks in which the released models' own pipeline encodes and decodes (`encode_audio`, `decode_audio` in DiffRhythm's
/// `infer/infer_utils.py`), in latent frames.
pub const RELEASED_CHUNKS: Tiling = Tiling::Pasted {
    chunk: 128,
    overlap: 32,
};

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Length in seconds.
    pub seconds: f64,
    /// Steps from noise to data.
    pub steps: usize,
    /// Guidance: how far to go beyond the unstyled prediction; 0 turns it off.
    pub guidance: f64,
    /// Style vector `[condition width]`; zeros ask for nothing.
    pub style: Vec<f32>,
    /// Style to go away from, `[condition width]`; zeros if there is none.
    pub negative_style: Option<Vec<f32>>,
    /// One token a latent frame: a beat grid or phonemes; no token in frames beyond its end.
    pub tokens: Vec<u32>,
    /// Where there are no tokens: each clip has a beat grid whose tempo is drawn from here by its seed.
    pub rhythm: Option<Rhythm>,
    /// Sound that is kept, if this is an edit or a continuation.
    pub kept: Option<Kept>,
    /// How latents are decoded: `None` as if at once.
    pub decoding: Option<Tiling>,
}

impl Request {
    /// A clip of this style as the base makes it when nothing else is said: no words and no beat, nothing kept, decoded as if at once.
    pub fn plain(base: &BaseModel, style: Vec<f32>, seconds: f64) -> Self {
        Self {
            seconds,
            steps: base.default_steps(),
            guidance: base.default_guidance(),
            style,
            negative_style: None,
            tokens: Vec::new(),
            rhythm: None,
            kept: None,
            decoding: None,
        }
    }

    /// Latent frames of the clip, see [`frames`].
    pub fn frames(&self, base: &BaseModel) -> usize {
        frames(base, self.seconds)
    }

    /// Tokens of the clips with these seeds: a row for each, or one for all of them.
    fn token_rows(&self, base: &BaseModel, seeds: &[u64]) -> Vec<Vec<u32>> {
        let frames = self.frames(base);
        match &self.rhythm {
            Some(rhythm) if self.tokens.is_empty() => (seeds.iter())
                .map(|&seed| base.pulse_tokens(&rhythm.grid(seed), frames))
                .collect(),
            _ => vec![self.tokens.clone()],
        }
    }

    fn samples(&self, base: &BaseModel) -> usize {
        match base.songs() {
            Some(_) => self.frames(base) * base.hop(),
            None => exact_samples(base, self.seconds),
        }
    }
}

/// Latent frames of a clip of so many seconds. Songs have whole frames, as the reference makes them (`get_lrc_token` in its
/// `infer/infer_utils.py`); other clips begin a last one where they must.
pub fn frames(base: &BaseModel, seconds: f64) -> usize {
    let samples = exact_samples(base, seconds);
    let config = base.transformer_config();
    let is_full = seconds >= base.default_secs();
    let frames = match base.songs() {
        // Models of one length make all of it, and before version 1.2 all did.
        Some(songs) if is_full && (songs.causal || !config.has_duration()) => config.max_frames,
        Some(_) => samples / base.hop(),
        None => samples.div_ceil(base.hop()),
    };
    frames.max(1)
}

fn exact_samples(base: &BaseModel, seconds: f64) -> usize {
    (seconds * f64::from(base.sample_rate_hz())).round() as usize
}

/// The times of the flow at which the steps begin: those that limits of adapters are compared with.
pub fn step_times(steps: usize) -> Vec<f32> {
    let mut times = flow::time_grid(steps + 1, None);
    times.truncate(steps);
    times
}

/// Stereo, a vector a channel: left, right.
pub type Clip = [Vec<f32>; 2];

/// A clip for each seed, planar stereo at the base's rate, made in one batch. The same request and seed give the same samples, whatever
/// other seeds are in the batch, up to rounding.
///
/// # Errors
/// [`LoraError::NoSound`] when latents or samples are not finite, as adapters at too high a strength make them;
/// [`LoraError::Stopped`] when `progress` asks for it; tensor errors.
pub fn generate(
    base: &BaseModel,
    request: &Request,
    seeds: &[u64],
    progress: &mut dyn Progress,
) -> Result<Vec<Clip>, LoraError> {
    generate_over_time(base, request, &[], seeds, progress)
}

/// The same with styles that take the place of the request's from a time of the flow on (see [`crate::style::over_time`]), in the order of
/// their times.
///
/// # Errors
/// As [`generate`].
pub fn generate_over_time(
    base: &BaseModel,
    request: &Request,
    later_styles: &[LaterStyle],
    seeds: &[u64],
    progress: &mut dyn Progress,
) -> Result<Vec<Clip>, LoraError> {
    let latents = sample(base, request, later_styles, seeds, progress)?;
    check_finite(
        "latents",
        &latents.flatten_all()?.to_vec1::<f32>()?,
        request,
    )?;
    // Nothing more is asked of the transformer: its file's pages may go before the decoder comes.
    base.rest();
    let latents = latents.transpose(1, 2)?.contiguous()?;
    let clips = (0..seeds.len()).map(|item| decode(base, request, &latents.narrow(0, item, 1)?));
    clips.collect()
}

/// The latents of such clips before they are decoded, `[batch, frames, channels]` on the CPU.
///
/// # Errors
/// As [`generate`].
pub fn latents(
    base: &BaseModel,
    request: &Request,
    seeds: &[u64],
    progress: &mut dyn Progress,
) -> Result<Tensor, LoraError> {
    sample(base, request, &[], seeds, progress)
}

fn sample(
    base: &BaseModel,
    request: &Request,
    later_styles: &[LaterStyle],
    seeds: &[u64],
    progress: &mut dyn Progress,
) -> Result<Tensor, LoraError> {
    let noise = noise(base, request.frames(base), seeds)?;
    progress.begin("generating", request.steps);
    let way = Way {
        noise: &noise,
        tokens: &request.token_rows(base, seeds),
        from: 0.0,
        as_trained: false,
        steps: request.steps,
    };
    let sampled = integrate(base, request, later_styles, &way, progress)?;
    progress.end();
    Ok(sampled)
}

/// Where the ways of these seeds begin, `[batch, frames, channels]`.
fn noise(base: &BaseModel, frames: usize, seeds: &[u64]) -> Result<Tensor, LoraError> {
    let (shape, device) = ((1, frames, base.latent_channels()), base.device());
    let noise = seeds
        .iter()
        .map(|&seed| Stream::new(seed).named("generation").normal(shape, device));
    Ok(Tensor::cat(
        &noise.collect::<candle_core::Result<Vec<_>>>()?,
        0,
    )?)
}

/// The way from noise to data, or the rest of it.
struct Way<'a> {
    /// Where it begins, `[batch, frames, channels]`; a point of the way where it begins later than at 0.
    noise: &'a Tensor,
    /// A row for each item, or one for all; no token in frames beyond its end.
    tokens: &'a [Vec<u32>],
    /// The time at which it begins.
    from: f32,
    /// See [`flow::Course::null_knows`] and [`flow::Course::holds_known`].
    as_trained: bool,
    /// Steps.
    steps: usize,
}

/// Latents `[batch, frames, channels]` on the CPU. The length is that of the noise, the steps those of the way.
fn integrate(
    base: &BaseModel,
    request: &Request,
    later_styles: &[LaterStyle],
    way: &Way<'_>,
    progress: &mut dyn Progress,
) -> Result<Tensor, LoraError> {
    let device = base.device().clone();
    let frames = way.noise.dim(1)?;
    let shape = (1, frames, base.latent_channels());
    let vector = |values: &[f32]| Tensor::from_slice(values, (1, values.len()), &device);
    let style = vector(&request.style)?;
    let later_styles = later_styles
        .iter()
        .map(|(from, values)| Ok((*from, vector(values)?)))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let later_styles: Vec<(f32, &Tensor)> = later_styles
        .iter()
        .map(|(from, style)| (*from, style))
        .collect();
    let negative_style = match &request.negative_style {
        Some(values) => vector(values)?,
        None => style.zeros_like()?,
    };
    let tokens = way.tokens.iter().flat_map(|row| {
        let beyond = frames.saturating_sub(row.len());
        let row = row.iter().copied().take(frames);
        row.chain(std::iter::repeat_n(0, beyond))
    });
    let tokens = Tensor::from_iter(tokens, &device)?.reshape((way.tokens.len(), frames))?;
    let (known, spans) = known(request, shape, &device)?;
    let duration = base.transformer_config().has_duration();
    // In half precision, as the reference has it.
    let share = frames as f32 / base.transformer_config().max_frames as f32;
    let share = flow::half_precision_time(share);
    let duration = duration
        .then(|| Tensor::full(share, 1, &device))
        .transpose()?;
    let asked = flow::Request {
        noise: way.noise,
        audio_condition: &known,
        spans: &spans,
        text: &tokens,
        style: &style,
        later_styles: &later_styles,
        negative_style: &negative_style,
        start_time: &Tensor::full(base.clip_position() as f32, 1, &device)?,
        duration: duration.as_ref(),
    };
    let sampling = flow::Sampling {
        points: way.steps + 1,
        solver: base.solver(),
        sway: None,
        guidance: request.guidance,
        half_precision_times: base.songs().is_some(),
    };
    let mut stopped = false;
    let mut follow = |done: usize, _: usize, _: &Tensor| {
        if done > 0 {
            progress.advance();
        }
        stopped = progress.stop_requested();
        if stopped {
            Err(candle_core::Error::Msg("stopped".to_owned()))
        } else {
            Ok(())
        }
    };
    let transformer = &base.transformer;
    let course = flow::Course {
        from: way.from,
        null_knows: way.as_trained,
        holds_known: way.as_trained,
    };
    let sampled = flow::sample_on(transformer, &asked, &sampling, course, &mut follow);
    if stopped {
        return Err(LoraError::Stopped);
    }
    Ok(sampled?.latents.to_device(&Device::Cpu)?)
}

/// The latents to keep, zeros where there are none, and the frames to make: all of them if nothing is kept.
fn known(
    request: &Request,
    (batch, frames, channels): (usize, usize, usize),
    device: &Device,
) -> Result<(Tensor, Vec<Range<usize>>), LoraError> {
    let silence =
        |frames: usize| Tensor::zeros((batch, frames, channels), candle_core::DType::F32, device);
    let Some(kept) = &request.kept else {
        let all = 0..frames;
        return Ok((silence(frames)?, vec![all]));
    };
    let known = kept.latents.transpose(1, 2)?.to_device(device)?;
    let held = known.dim(1)?.min(frames);
    let known = known.narrow(1, 0, held)?;
    let known = match frames - held {
        0 => known.contiguous()?,
        missing => Tensor::cat(&[known, silence(missing)?], 1)?,
    };
    Ok((known, kept.spans.clone()))
}

fn decode(base: &BaseModel, request: &Request, latents: &Tensor) -> Result<Clip, LoraError> {
    let audio = base.decode(latents, request.decoding)?;
    let mut channels = audio.squeeze(0)?.to_vec2::<f32>()?.into_iter();
    let (Some(mut left), Some(mut right)) = (channels.next(), channels.next()) else {
        return Err(
            candle_core::Error::Msg("the autoencoder did not decode to stereo".to_owned()).into(),
        );
    };
    let samples = request.samples(base);
    left.truncate(samples);
    right.truncate(samples);
    for channel in [&left, &right] {
        check_finite("samples", channel, request)?;
    }
    match base.songs() {
        Some(_) => fill_range(&mut left, &mut right),
        None => finish(&mut left, &mut right, base.sample_rate_hz()),
    }
    let mut clip = [left, right];
    if let Some(kept) = &request.kept {
        kept.put_back(&mut clip, base.hop(), base.sample_rate_hz());
    }
    Ok(clip)
}

fn check_finite(what: &'static str, values: &[f32], request: &Request) -> Result<(), LoraError> {
    check_values(what, values, request.guidance)
}

fn check_values(what: &'static str, values: &[f32], guidance: f64) -> Result<(), LoraError> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(LoraError::NoSound {
            what,
            value,
            guidance,
        }),
        None => Ok(()),
    }
}

/// To full scale, as DiffRhythm's own pipeline writes its songs (`infer/infer.py`).
fn fill_range(left: &mut [f32], right: &mut [f32]) {
    let peak = peak(left, right);
    if peak > 0.0 {
        for sample in left.iter_mut().chain(right.iter_mut()) {
            *sample /= peak;
        }
    }
}

/// The highest sample of what is made beside a recording that is kept, and of clips that are no loops (those: [`bars::CEILING`]).
const CEILING: f32 = 0.97;
/// How long a clip's cut ends are faded, against clicks.
const FADE_SECS: f64 = 0.005;

/// Short fades against clicks at the cut ends, and a level that does not clip.
fn finish(left: &mut [f32], right: &mut [f32], sample_rate_hz: u32) {
    for channel in [&mut *left, &mut *right] {
        fade(channel.iter_mut(), sample_rate_hz);
        fade(channel.iter_mut().rev(), sample_rate_hz);
    }
    let peak = peak(left, right);
    if peak > CEILING {
        for sample in left.iter_mut().chain(right.iter_mut()) {
            *sample *= CEILING / peak;
        }
    }
}

/// The fade at a clip's end alone.
fn fade_out(clip: &mut Clip, sample_rate_hz: u32) {
    for channel in clip {
        fade(channel.iter_mut().rev(), sample_rate_hz);
    }
}

/// From nothing to the full level.
fn fade<'a>(samples: impl ExactSizeIterator<Item = &'a mut f32>, sample_rate_hz: u32) {
    let fade = (FADE_SECS * f64::from(sample_rate_hz)) as usize;
    let fade = fade.min(samples.len() / 2);
    for (index, sample) in samples.take(fade).enumerate() {
        *sample *= index as f32 / fade as f32;
    }
}

fn peak(left: &[f32], right: &[f32]) -> f32 {
    let samples = left.iter().chain(right.iter());
    samples.fold(0.0f32, |peak, sample| peak.max(sample.abs()))
}

#[cfg(test)]
mod tests {
    use super::{fill_range, finish};

    #[test]
    fn ends_are_silent_and_peaks_stay_below_the_ceiling_in_both_channels() {
        let (mut left, mut right) = (vec![2.0f32; 1000], vec![-1.0f32; 1000]);
        finish(&mut left, &mut right, 44_100);
        assert_eq!(
            (left[0], left[999], right[0], right[999]),
            (0.0, 0.0, 0.0, 0.0)
        );
        assert!((left[500] - 0.97).abs() < 1e-6 && (right[500] + 0.485).abs() < 1e-6);
    }

    #[test]
    fn songs_fill_the_range_and_silence_stays_silent() {
        let (mut left, mut right) = (vec![0.5f32, 0.0], vec![-0.25f32, 0.0]);
        fill_range(&mut left, &mut right);
        assert_eq!((left, right), (vec![1.0, 0.0], vec![-0.5, 0.0]));
        let (mut left, mut right) = (vec![0.0f32; 2], vec![0.0f32; 2]);
        fill_range(&mut left, &mut right);
        assert_eq!((left, right), (vec![0.0; 2], vec![0.0; 2]));
    }
}
