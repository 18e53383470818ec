//! Sound that is kept while a part of it is made anew: edits and continuations (DiffRhythm 1.2, `get_reference_latent` in
//! `infer/infer_utils.py`).

use std::ops::Range;
use std::path::Path;

use candle_core::{Device, Tensor};
use nn::Stream;
use vae::Tiling;

use super::{CEILING, Clip, RELEASED_CHUNKS, crossfade, fade_out};
use crate::base::BaseModel;
use crate::error::LoraError;

/// The level that the reference brings known sound to before it encodes it, in dB below full scale.
const PEAK_DB: f32 = -6.0;
/// How long the known sound and what is made go over into each other.
const FADE_SECS: f64 = 0.02;
/// How far the level of what is made is moved to that of the known sound.
const MOST_LEVELLED_DB: f64 = 6.0;
/// Mean square below which the known sound says nothing about a level: -60 dBFS.
const LEAST_SQUARE: f64 = 1e-6;

/// Known sound, and the parts of it that are made anew.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Latents of the known sound, `[1, channels, frames]`; zeros are put behind it where it is too short.
    pub latents: Tensor,
    /// Latent frames to make.
    pub spans: Vec<Range<usize>>,
    /// The known sound itself, at the base's rate, which the clip has sample by sample where nothing is made; where there is none the clip has it as
    /// the autoencoder gives it back, as songs of the reference do.
    pub sound: Option<Clip>,
}

/// A stretch of a clip in seconds; open ends are the clip's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanSecs {
    /// Where it begins.
    pub from: Option<f64>,
    /// Where it ends.
    pub to: Option<f64>,
}

impl Kept {
    /// A recording of which some stretches are made anew in a clip of `frames` latent frames; what is behind its end is made too.
    ///
    /// # Errors
    /// When the file cannot be read or holds less than a latent frame, or a stretch is none.
    pub fn edit(
        base: &BaseModel,
        path: &Path,
        spans: &[SpanSecs],
        frames: usize,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let (latents, sound) = encode(base, path, seed)?;
        let begun = latents.dim(2)?;
        let known = match &sound {
            // What goes on behind the recording begins in the frame that it ends in.
            Some([left, _]) if begun < frames => left.len() / base.hop(),
            _ => begun,
        };
        // In the reference's order of operations.
        let frame =
            |secs: f64| (secs * f64::from(base.sample_rate_hz()) / base.hop() as f64) as usize;
        let mut made: Vec<Range<usize>> = Vec::new();
        for span in spans {
            let range = span.from.map_or(0, frame)..span.to.map_or(frames, frame).min(frames);
            if range.is_empty() {
                return Err(LoraError::Setting {
                    setting: "spans",
                    value: format!("{}-{}", text(span.from), text(span.to)),
                    expected: format!(
                        "spans nothing of a clip of {:.1} s",
                        frames as f64 * base.frame_secs()
                    ),
                });
            }
            made.push(range);
        }
        if known < frames {
            made.push(known..frames);
        }
        if (0..frames).all(|frame| made.iter().any(|range| range.contains(&frame))) {
            let all: Vec<String> = spans
                .iter()
                .map(|span| format!("{}-{}", text(span.from), text(span.to)))
                .collect();
            return Err(LoraError::Setting {
                setting: "spans",
                value: all.join(","),
                expected: format!(
                    "keeps nothing of {}; leave a part of it out, or make a new clip without --edit",
                    path.display()
                ),
            });
        }
        Ok(Self {
            latents,
            spans: made,
            sound,
        })
    }

    /// A recording that goes on: all behind its end is made.
    ///
    /// # Errors
    /// As [`Kept::edit`], and when the recording fills the clip already.
    pub fn continuation(
        base: &BaseModel,
        path: &Path,
        frames: usize,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let kept = Self::edit(base, path, &[], frames, seed)?;
        if kept.spans.is_empty() {
            let secs = frames as f64 * base.frame_secs();
            return Err(LoraError::BadFile {
                path: path.to_owned(),
                problem: format!(
                    "it fills the clip of {secs:.1} s, so that nothing is left to make; ask for a longer one (--seconds) or give a shorter beginning"
                ),
            });
        }
        Ok(kept)
    }

    /// Puts the known sound itself in the place of what the autoencoder gave back of it, in a decoded clip. What is made is brought to the known
    /// sound's level first, by as much as the autoencoder changed that.
    pub(super) fn put_back(&self, clip: &mut Clip, hop: usize, sample_rate_hz: u32) {
        let Some(sound) = &self.sound else {
            return;
        };
        let samples = clip[0].len().min(clip[1].len());
        let runs = self.known_samples(sound[0].len().min(sound[1].len()), samples, hop);
        level(clip, sound, &runs);
        let fade = (FADE_SECS * f64::from(sample_rate_hz)) as usize;
        for run in runs {
            let fade = fade.min(run.len() / 2);
            let from = if run.start > 0 { fade } else { 0 };
            let to = if run.end < samples { fade } else { 0 };
            mix(clip, sound, run.start..run.start + from, |share| share);
            mix(clip, sound, run.end - to..run.end, |share| 1.0 - share);
            for (made, known) in clip.iter_mut().zip(sound) {
                let whole = run.start + from..run.end - to;
                made[whole.clone()].copy_from_slice(&known[whole]);
            }
        }
        if sound[0].len() > samples {
            // The clip cuts the recording off.
            fade_out(clip, sample_rate_hz);
        }
    }

    /// The stretches of a clip in which nothing is made, in samples.
    fn known_samples(&self, held: usize, samples: usize, hop: usize) -> Vec<Range<usize>> {
        let end = held.min(samples);
        let is_made = |frame: usize| {
            // What goes on behind the recording begins in the frame that it ends in; the recording is heard to its end.
            let goes_on = held < samples && frame == held / hop;
            let mut spans = self.spans.iter();
            spans.any(|span| span.contains(&frame) && !(goes_on && span.start == frame))
        };
        let mut runs: Vec<Range<usize>> = Vec::new();
        for frame in (0..end.div_ceil(hop)).filter(|&frame| !is_made(frame)) {
            let (start, stop) = (frame * hop, ((frame + 1) * hop).min(end));
            match runs.last_mut().filter(|run| run.end == start) {
                Some(run) => run.end = stop,
                None => runs.push(start..stop),
            }
        }
        runs
    }
}

/// Moves the level of a clip to that of the known sound, and makes what lies outside of it no louder than the ceiling.
fn level(clip: &mut Clip, sound: &Clip, known: &[Range<usize>]) {
    let energy = |of: &Clip| -> f64 {
        let squares = samples_of(of, known).map(|sample| f64::from(sample).powi(2));
        squares.sum()
    };
    let (heard, given_back) = (energy(sound), energy(clip));
    let most = 10f64.powf(MOST_LEVELLED_DB / 20.0);
    let known_values = 2 * known.iter().map(Range::len).sum::<usize>();
    let least = LEAST_SQUARE * known_values as f64;
    let gain = match heard > least && given_back > 0.0 {
        true => (heard / given_back).sqrt().clamp(1.0 / most, most) as f32,
        false => 1.0,
    };
    let samples = clip[0].len();
    let starts = std::iter::once(0).chain(known.iter().map(|run| run.end));
    let ends = known.iter().map(|run| run.start).chain([samples]);
    let made: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| start..end).collect();
    let peak = samples_of(clip, &made).fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    let gain = gain.min(CEILING / peak.max(f32::MIN_POSITIVE));
    clip.iter_mut().flatten().for_each(|sample| *sample *= gain);
}

/// The samples of both channels in some runs of a clip.
fn samples_of(clip: &Clip, runs: &[Range<usize>]) -> impl Iterator<Item = f32> {
    let parts = clip
        .iter()
        .flat_map(|channel| runs.iter().map(|run| &channel[run.clone()]));
    parts.flatten().copied()
}

/// Goes over between a clip and the known sound; `share` tells how much of the way to the known sound is gone.
fn mix(clip: &mut Clip, sound: &Clip, range: Range<usize>, share: impl Fn(f64) -> f64) {
    let pairs = clip.iter().zip(sound).flat_map(|(made, known)| {
        let pair = |at| (made[at], known[at]);
        range.clone().map(pair)
    });
    let likeness = crossfade::likeness(pairs);
    for (made, known) in clip.iter_mut().zip(sound) {
        for (index, at) in range.clone().enumerate() {
            let share = share((index as f64 + 0.5) / range.len() as f64);
            let (out, into) = crossfade::gains(share, likeness);
            let mixed = (out * f64::from(made[at]) + into * f64::from(known[at])) as f32;
            let most = CEILING.max(known[at].abs());
            made[at] = mixed.clamp(-most, most);
        }
    }
}

fn text(secs: Option<f64>) -> String {
    secs.map_or_else(String::new, |secs| secs.to_string())
}

/// Latents of a recording, `[1, channels, frames]`, and its sound; for a song model the latents at the reference's level, and drawn from their
/// distribution, and no sound.
fn encode(base: &BaseModel, path: &Path, seed: u64) -> Result<(Tensor, Option<Clip>), LoraError> {
    let sound = audio::read_at(path, base.sample_rate_hz())?.to_stereo();
    if sound.frames() < base.hop() {
        return Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: format!(
                "{} samples are shorter than one latent frame of {}; give a longer recording",
                sound.frames(),
                base.hop()
            ),
        });
    }
    // A last frame that is begun is known too.
    let samples = sound.frames().next_multiple_of(base.hop());
    let mut planar: Vec<f32> = Vec::with_capacity(2 * samples);
    for (number, channel) in sound.channels.iter().enumerate() {
        planar.extend_from_slice(channel);
        planar.resize((number + 1) * samples, 0.0);
    }
    if base.songs().is_some() {
        let peak = planar
            .iter()
            .fold(0f32, |peak, sample| peak.max(sample.abs()));
        let gain = 10f32.powf(PEAK_DB / 20.0) / peak.max(f32::MIN_POSITIVE);
        planar.iter_mut().for_each(|sample| *sample *= gain);
    }
    let tiling = match base.songs() {
        Some(_) => RELEASED_CHUNKS,
        None => Tiling::EXACT,
    };
    let planar = Tensor::from_vec(planar, (1, 2, samples), &Device::Cpu)?;
    let posterior = base.encode(&planar, tiling)?;
    if base.songs().is_none() {
        let two = |channels: Vec<Vec<f32>>| LoraError::BadFile {
            path: path.to_owned(),
            problem: format!("{} channels where two were expected", channels.len()),
        };
        let sound: Clip = sound.channels.try_into().map_err(two)?;
        return Ok((posterior.mean, Some(sound)));
    }
    let noise = Stream::new(seed)
        .named("known sound")
        .normal(posterior.mean.shape(), &Device::Cpu)?;
    Ok(((posterior.mean + (posterior.std * noise)?)?, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: usize = 100;
    const RATE_HZ: u32 = 10_000;

    fn tones(samples: usize, level: f32) -> Clip {
        let tone = |frequency: f32| {
            let sample = |at: usize| level * (at as f32 * frequency).sin();
            (0..samples).map(sample).collect()
        };
        [tone(0.05), tone(0.031)]
    }

    fn kept(made: &[(usize, usize)], sound: Clip) -> Kept {
        let latents = Tensor::zeros((1, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        Kept {
            latents,
            spans: made.iter().map(|(from, to)| *from..*to).collect(),
            sound: Some(sound),
        }
    }

    #[test]
    fn what_is_kept_is_the_recordings_samples() {
        // The autoencoder gives everything back 4.7 dB too quiet.
        let (sound, mut clip) = (tones(4_050, 0.6), tones(8_000, 0.35));
        let kept = kept(&[(10, 20), (40, 80)], sound.clone());
        kept.put_back(&mut clip, HOP, RATE_HZ);
        let fade = (FADE_SECS * f64::from(RATE_HZ)) as usize;
        for (made, known) in clip.iter().zip(&sound) {
            assert!(made[..1_000 - fade] == known[..1_000 - fade]);
            assert!(made[2_000 + fade..4_050 - fade] == known[2_000 + fade..4_050 - fade]);
            // The same tone at the recording's level goes on through the seams, and behind its end.
            for (at, pair) in made.windows(2).enumerate() {
                assert!((pair[1] - pair[0]).abs() < 0.6 * 0.052, "{at}: {pair:?}");
            }
            let loudest = made[5_000..]
                .iter()
                .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            assert!((loudest - 0.6).abs() < 1e-3, "{loudest}");
        }
    }

    #[test]
    fn what_is_made_beside_a_loud_recording_does_not_clip() {
        let (sound, mut clip) = (tones(2_000, 1.0), tones(4_000, 0.7));
        clip.iter_mut().for_each(|channel| channel[3_000] = 0.9);
        kept(&[(20, 40)], sound.clone()).put_back(&mut clip, HOP, RATE_HZ);
        for (made, known) in clip.iter().zip(&sound) {
            assert!(made[..1_500] == known[..1_500]);
            let loudest = made[2_000..]
                .iter()
                .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            assert!((loudest - CEILING).abs() < 1e-3, "{loudest}");
        }
    }

    #[test]
    fn the_last_frame_may_be_begun() {
        // As long as the clip, and no whole number of frames: its end is kept, or made.
        let ranges = |made: &[(usize, usize)], held: usize, samples: usize| {
            let runs = kept(made, tones(held, 0.5)).known_samples(held, samples, HOP);
            let ends = runs.into_iter().map(|run| (run.start, run.end));
            ends.collect::<Vec<_>>()
        };
        assert_eq!(
            ranges(&[(10, 20)], 2_050, 2_050),
            [(0, 1_000), (2_000, 2_050)]
        );
        assert_eq!(ranges(&[(20, 21)], 2_050, 2_050), [(0, 2_000)]);
        // A continuation: the recording is heard to its end.
        assert_eq!(ranges(&[(20, 40)], 2_050, 4_000), [(0, 2_050)]);
        assert_eq!(
            ranges(&[(3, 5), (15, 40)], 2_050, 4_000),
            [(0, 300), (500, 1_500)]
        );
        // A longer recording than the clip.
        assert_eq!(ranges(&[(0, 5)], 9_000, 2_050), [(500, 2_050)]);
    }

    #[test]
    fn silence_that_is_kept_says_nothing_about_the_level() {
        let (sound, mut clip) = (tones(2_000, 1e-4), tones(4_000, 0.5));
        kept(&[(20, 40)], sound).put_back(&mut clip, HOP, RATE_HZ);
        assert!(clip[1][..1_500].iter().all(|sample| sample.abs() <= 1e-4));
        assert!(clip[1][2_000..].iter().any(|sample| *sample > 0.49));
    }
}
