//! The latents of a loop, and its sound.
//!
//! Times are counted from the clip's beginning: latent frame `i` holds the samples from `i * hop` on. A clip is rarely a whole number of
//! frames, so its beginning, behind its end, lies between the frames; there its sound is encoded again, where the frames now are.

use std::ops::Range;

use candle_core::{Device, Tensor};
use dit::flow;
use vae::Tiling;

use super::bars::{Request, Variation};
use super::windows::{self, BEHIND, Limits, Windows, context_from};
use super::{Clip, Kept, Way, check_values, crossfade, integrate, noise};
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::progress::Progress;
use crate::style::LaterStyle;

/// Frames behind the end that are decoded: the seam is looked for in most of them.
const DECODED_BEHIND: usize = 28;
/// The farthest that the seam lies behind the beginning, in seconds.
const FARTHEST_SEAM_SECS: f64 = 1.0;
/// The length of the crossfade.
const FADE_SECS: f64 = 0.03;
/// Places for the seam that are compared, per second.
const PLACES_PER_SEC: f64 = 400.0;

pub(super) fn make(
    base: &BaseModel,
    request: &Request,
    later_styles: &[LaterStyle],
    seed: u64,
    progress: &mut dyn Progress,
) -> Result<Clip, LoraError> {
    let samples = request.length.samples(base.sample_rate_hz());
    let frames = samples.div_ceil(base.hop()).max(1);
    let limits = match base.songs() {
        Some(_) => Limits {
            longest: base.transformer_config().max_frames,
            ..windows::OWN
        },
        None => windows::OWN,
    };
    let windows = Windows::of(frames, limits);
    // One frame behind the end is made: it cannot be encoded without what is before it.
    let total = (frames + 1 + BEHIND).max(windows.first);
    let mut maker = Maker {
        base,
        later_styles,
        samples,
        tokens: tokens(base, request, total),
        noise: noise(base, total, &[seed])?,
        start: start(base, request, samples, total)?,
        request: plain(request),
        steps: request.steps,
        progress,
    };
    let latents = maker.latents(&windows)?;
    let values = latents.flatten_all()?.to_vec1::<f32>()?;
    check_values("latents", &values, request.guidance)?;
    base.rest();
    // Nobody knows how much of it is done.
    maker.progress.begin("decoding", 0);
    let decoded = decode(base, &latents)?;
    maker.progress.end();
    Ok(join(&decoded, samples, base.sample_rate_hz()))
}

/// One token a frame where the base knows beats.
fn tokens(base: &BaseModel, request: &Request, frames: usize) -> Vec<u32> {
    let grid = request.length.grid().filter(|_| base.songs().is_none());
    grid.map(|grid| base.pulse_tokens(&grid, frames))
        .unwrap_or_default()
}

/// What all windows are asked with.
fn plain(request: &Request) -> super::Request {
    super::Request {
        seconds: 0.0,
        steps: request.steps,
        guidance: request.guidance,
        style: request.style.clone(),
        negative_style: request.negative_style.clone(),
        tokens: Vec::new(),
        rhythm: None,
        kept: None,
        decoding: None,
    }
}

/// Sound that the way begins with.
struct Start {
    /// `[1, frames, channels]`
    latents: Tensor,
    amount: f32,
}

fn start(
    base: &BaseModel,
    request: &Request,
    samples: usize,
    frames: usize,
) -> Result<Option<Start>, LoraError> {
    let Some(Variation { sound, amount }) = &request.variation else {
        return Ok(None);
    };
    let sound = sound.to_stereo();
    let held = sound.frames();
    if held == 0 {
        return Err(LoraError::Setting {
            setting: "source",
            value: "an empty sound".to_owned(),
            expected: "there is nothing to vary in it; give a longer recording".to_owned(),
        });
    }
    // The clip is a loop, and what is shorter than it is repeated.
    let looped = |channel: &Vec<f32>| -> Vec<f32> {
        (0..frames * base.hop())
            .map(|sample| channel[sample % samples.max(1) % held])
            .collect()
    };
    let [left, right] = [looped(&sound.channels[0]), looped(&sound.channels[1])];
    let latents = encode(base, &left, &right)?;
    Ok(Some(Start {
        latents: latents.transpose(1, 2)?.contiguous()?,
        amount: *amount,
    }))
}

struct Maker<'a> {
    base: &'a BaseModel,
    request: super::Request,
    later_styles: &'a [LaterStyle],
    /// Length of the clip.
    samples: usize,
    tokens: Vec<u32>,
    /// `[1, frames, channels]`
    noise: Tensor,
    start: Option<Start>,
    steps: usize,
    progress: &'a mut dyn Progress,
}

impl Maker<'_> {
    /// Of the clip and a little more, `[1, channels, frames]`.
    fn latents(&mut self, windows: &Windows) -> Result<Tensor, LoraError> {
        let steps = self.steps_of_window();
        self.progress.begin("generating", steps * windows.count());
        let frames = windows.closing.end;
        let first = 0..windows.first;
        let first = self.window(first.clone(), first, None)?;
        let mut made = first.narrow(2, 0, windows.kept)?;
        for range in &windows.further {
            let from = context_from(range.start);
            let known = made.narrow(2, from, range.start - from)?;
            let window = self.window(from..range.end, range.clone(), Some(known))?;
            let new = window.narrow(2, range.start - from, range.len())?;
            made = Tensor::cat(&[&made, &new], 2)?;
        }
        let behind = self.behind(&first, frames)?;
        let from = context_from(windows.closing.start);
        let before = made.narrow(2, from, windows.closing.start - from)?;
        let gap = frames + 1 - windows.closing.start;
        // The beginning is not known behind the end here: what was made next to it burst out, see docs/log.md of 2026-11-21.
        let window = self.window(
            from..frames + 1,
            windows.closing.start..frames + 1,
            Some(before),
        )?;
        self.progress.end();
        let new = window.narrow(2, windows.closing.start - from, gap)?;
        let decoded_behind = behind.dim(2)?.min(DECODED_BEHIND);
        let behind = behind.narrow(2, 0, decoded_behind)?;
        Ok(Tensor::cat(&[&made, &new, &behind], 2)?.contiguous()?)
    }

    /// The clip's beginning as the frames behind its end and one more have it.
    fn behind(&self, first: &Tensor, frames: usize) -> Result<Tensor, LoraError> {
        let hop = self.base.hop();
        // More than is used, so that the last of it is decoded with what follows it.
        let heard = first.dim(2)?.min(BEHIND + 6);
        let [left, right] = decode(self.base, &first.narrow(2, 0, heard)?.contiguous()?)?;
        let from = frames * hop - self.samples;
        let count = ((left.len() - from) / hop).min(BEHIND + 1);
        let part = from..from + count * hop;
        let encoded = encode(self.base, &left[part.clone()], &right[part])?;
        Ok(encoded.narrow(2, 1, count - 1)?)
    }

    fn steps_of_window(&self) -> usize {
        match &self.start {
            None => self.steps,
            Some(Start { amount, .. }) => (self.steps as f32 * amount).ceil() as usize,
        }
    }

    /// Latents of these frames, `[1, channels, frames]`, of which some are made and the others `known`.
    fn window(
        &mut self,
        frames: Range<usize>,
        made: Range<usize>,
        known: Option<Tensor>,
    ) -> Result<Tensor, LoraError> {
        let steps = self.steps_of_window();
        let of_window = |tensor: &Tensor| tensor.narrow(1, frames.start, frames.len());
        let mut noise = of_window(&self.noise)?;
        let mut from = 0.0;
        if let Some(Start { latents, amount }) = &self.start {
            let source = of_window(latents)?.contiguous()?;
            if steps == 0 {
                return Ok(source.transpose(1, 2)?.contiguous()?);
            }
            from = 1.0 - amount;
            let source = source.to_device(noise.device())?;
            let time = Tensor::full(from, 1, noise.device())?;
            noise = flow::interpolate(&noise, &source, &time)?;
        }
        let tokens = self.tokens.get(frames.clone()).unwrap_or_default();
        let request = super::Request {
            kept: known.map(|latents| {
                let spans = made.start - frames.start..made.end - frames.start;
                let spans = vec![spans];
                let sound = None;
                Kept {
                    latents,
                    spans,
                    sound,
                }
            }),
            ..self.request.clone()
        };
        let way = Way {
            noise: &noise.contiguous()?,
            tokens: &[tokens.to_vec()],
            from,
            // As in training; see docs/log.md of 2026-11-21.
            as_trained: true,
            steps,
        };
        let latents = integrate(self.base, &request, self.later_styles, &way, self.progress)?;
        Ok(latents.transpose(1, 2)?.contiguous()?)
    }
}

/// Whole frames of sound to latents, `[1, channels, frames]`.
fn encode(base: &BaseModel, left: &[f32], right: &[f32]) -> Result<Tensor, LoraError> {
    let planar = [left, right].concat();
    let planar = Tensor::from_vec(planar, (1, 2, left.len()), &Device::Cpu)?;
    Ok(base.encode(&planar, Tiling::EXACT)?.mean)
}

fn decode(base: &BaseModel, latents: &Tensor) -> Result<Clip, LoraError> {
    let audio = base.decode(latents, None)?.squeeze(0)?;
    let mut channels = audio.to_vec2::<f32>()?.into_iter();
    match (channels.next(), channels.next()) {
        (Some(left), Some(right)) => Ok([left, right]),
        _ => Err(
            candle_core::Error::Msg("the autoencoder did not decode to stereo".to_owned()).into(),
        ),
    }
}

/// The loop out of sound that goes on behind the clip's end with its beginning again. What is heard first is the beginning as it follows the
/// end; where both forms of it are most alike, it goes over into the other.
fn join(decoded: &Clip, samples: usize, sample_rate_hz: u32) -> Clip {
    let rate = f64::from(sample_rate_hz);
    let held = decoded[0].len().min(decoded[1].len());
    let fade = ((FADE_SECS * rate) as usize).min(samples / 8);
    // The last frame is decoded without what follows it.
    let farthest = (FARTHEST_SEAM_SECS * rate) as usize;
    let farthest = farthest.min(samples / 2).min((held - samples) * 7 / 8);
    let step = ((rate / PLACES_PER_SEC) as usize).max(1);
    let places = (fade..farthest.saturating_sub(fade)).step_by(step);
    let level = mean_square(decoded, 0..samples);
    let difference = |place: &usize| difference(decoded, samples, *place..*place + fade, level);
    let place = places.map(|place| (difference(&place), place));
    let place = place.min_by(|left, right| left.0.total_cmp(&right.0));
    let place = place.map_or(0, |(_, place)| place);
    let stretch = place..place + fade;
    let pairs = decoded.iter().flat_map(|channel| {
        let forms = |at| (channel[samples + at], channel[at]);
        stretch.clone().map(forms)
    });
    let likeness = crossfade::likeness(pairs);
    let loop_of = |channel: &Vec<f32>| -> Vec<f32> {
        let mut looped = channel[..samples].to_vec();
        looped[..place].copy_from_slice(&channel[samples..samples + place]);
        for index in 0..fade {
            let (out, into) = crossfade::gains((index as f64 + 0.5) / fade as f64, likeness);
            let at = place + index;
            let mixed = out * f64::from(channel[samples + at]) + into * f64::from(channel[at]);
            looped[at] = mixed as f32;
        }
        looped
    };
    [loop_of(&decoded[0]), loop_of(&decoded[1])]
}

/// Mean square of what both channels hold there.
fn mean_square(clip: &Clip, range: Range<usize>) -> f64 {
    let square = |sample: &f32| f64::from(sample * sample);
    let sum: f64 = clip
        .iter()
        .flat_map(|channel| channel[range.clone()].iter().map(square))
        .sum();
    sum / (2 * range.len().max(1)) as f64
}

/// How much the two forms of a stretch differ beside what is heard around it; what is far below the clip's level does not count.
fn difference(clip: &Clip, samples: usize, range: Range<usize>, level: f64) -> f64 {
    let pairs = clip.iter().flat_map(|channel| {
        range
            .clone()
            .map(move |at| f64::from(channel[samples + at] - channel[at]))
    });
    let squares: f64 = pairs.map(|difference| difference * difference).sum();
    let squares = squares / (2 * range.len().max(1)) as f64;
    squares / (mean_square(clip, range) + 0.1 * level + f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone whose phase behind the end is another: the loop has no jump, in both channels.
    #[test]
    fn two_forms_are_joined_without_a_jump() {
        let (samples, rate) = (20_000, 8_000);
        let tone = |phase: f32, frequency: f32| -> Vec<f32> {
            let wave = |index: i32| (index as f32 * frequency).sin() * 0.5;
            let turned = |index: i32| (index as f32 * frequency + phase).sin() * 0.5;
            let beginning = (0..samples as i32).map(|index| match index < samples as i32 / 2 {
                true => wave(index),
                false => turned(index - samples as i32),
            });
            beginning.chain((0..8_000).map(turned)).collect()
        };
        let decoded = [tone(1.0, 0.05), tone(2.0, 0.031)];
        let looped = join(&decoded, samples, rate);
        for (channel, frequency) in looped.iter().zip([0.05f32, 0.031]) {
            assert_eq!(channel.len(), samples);
            let wrap = (channel[0] - channel[samples - 1]).abs();
            assert!(wrap <= 0.5 * frequency * 1.01, "{wrap}");
            let jumps = channel[..8_000]
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).abs());
            let most = jumps.fold(0.0f32, f32::max);
            assert!(most < 0.05, "{most}");
        }
    }
}
