//! Sound that is kept while a part of it is made anew: edits and continuations (DiffRhythm 1.2, `get_reference_latent` in
//! `infer/infer_utils.py`).

use std::ops::Range;
use std::path::Path;

use candle_core::{Device, Tensor};
use nn::Stream;
use vae::Tiling;

use crate::base::BaseModel;
use crate::error::LoraError;
use crate::generate::RELEASED_CHUNKS;

/// The level that the reference brings known sound to before it encodes it, in dB below full scale.
const PEAK_DB: f32 = -6.0;

/// Known sound, and the parts of it that are made anew.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Latents of the known sound, `[1, channels, frames]`; zeros are put behind it where it is too short.
    pub latents: Tensor,
    /// Latent frames to make.
    pub spans: Vec<Range<usize>>,
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
        let latents = encode(base, path, seed)?;
        let known = latents.dim(2)?;
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
        let spans = made;
        Ok(Self { latents, spans })
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
}

fn text(secs: Option<f64>) -> String {
    secs.map_or_else(String::new, |secs| secs.to_string())
}

/// Latents of a recording, `[1, channels, frames]`; for a song model at the reference's level, and drawn from their distribution.
fn encode(base: &BaseModel, path: &Path, seed: u64) -> Result<Tensor, LoraError> {
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
        return Ok(posterior.mean);
    }
    let noise = Stream::new(seed)
        .named("known sound")
        .normal(posterior.mean.shape(), &Device::Cpu)?;
    Ok((posterior.mean + (posterior.std * noise)?)?)
}
