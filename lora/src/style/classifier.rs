//! The style of a sound by the base itself: how well it predicts the sound under each of its style tags (the diffusion classifier, Li et al.
//! 2023, arXiv:2303.16203).

use audio::AudioBuffer;
use candle_core::{Device, Tensor};
use dit::diffrhythm::{Drops, Inputs};
use dit::flow;
use nn::{Mode, Stream};
use vae::Tiling;

use crate::base::BaseModel;
use crate::error::LoraError;
use crate::progress::Progress;

/// Times of the flow that are looked at: where the sound is half there, tags matter most.
const TIMES: [f32; 4] = [0.3, 0.45, 0.6, 0.75];
/// Latent frames that are listened to, from the middle: a crop as in training.
const FRAMES: usize = 130;
/// Loss per nat: how much worse a tag that weighs `1/e` as much predicts. Chosen by measurement, see docs/log.md of 2026-11-21.
const TEMPERATURE: f32 = 0.002;
/// Seed of the noise, the same for all tags.
const SEED: u64 = 0x5717e;
/// Tags that say numbers, keys and lengths, which a clip has of its own.
const NOT_STYLES: [&str; 4] = ["tempo:", "key:", "bars:", "metre:"];

/// A vector that asks for the style of this sound, the mean of the style tags' vectors weighted by how well they predict it.
///
/// # Errors
/// For a base without tags, and [`LoraError::Stopped`].
pub fn of_sound(
    base: &BaseModel,
    sound: &AudioBuffer,
    progress: &mut dyn Progress,
) -> Result<Vec<f32>, LoraError> {
    let weights = weights(base, sound, progress)?;
    let mut vector = vec![0.0f32; base.transformer_config().cond_dim];
    for (row, weight) in weights {
        for (total, value) in vector.iter_mut().zip(base.tag_sum(&[row])) {
            *total += weight * value;
        }
    }
    Ok(vector)
}

/// Rows of the tag table and their weights, which sum to 1.
///
/// # Errors
/// As [`of_sound`].
pub fn weights(
    base: &BaseModel,
    sound: &AudioBuffer,
    progress: &mut dyn Progress,
) -> Result<Vec<(usize, f32)>, LoraError> {
    let losses = losses(base, sound, progress)?;
    let least = losses
        .iter()
        .map(|(_, loss)| *loss)
        .fold(f32::INFINITY, f32::min);
    let weights = losses
        .iter()
        .map(|(row, loss)| (*row, ((least - loss) / TEMPERATURE).exp()));
    let weights: Vec<(usize, f32)> = weights.collect();
    let sum: f32 = weights.iter().map(|(_, weight)| weight).sum();
    Ok(weights
        .into_iter()
        .map(|(row, weight)| (row, weight / sum))
        .collect())
}

/// Rows of the style tags and the loss of the sound under each.
fn losses(
    base: &BaseModel,
    sound: &AudioBuffer,
    progress: &mut dyn Progress,
) -> Result<Vec<(usize, f32)>, LoraError> {
    let names = base.tags().names().iter().enumerate();
    let styles = names.filter(|(_, name)| !NOT_STYLES.iter().any(|kind| name.starts_with(kind)));
    let rows: Vec<usize> = styles.map(|(row, _)| row).collect();
    let data = latents(base, sound)?;
    let device = base.device();
    let data = data.to_device(device)?;
    progress.begin("listening", rows.len());
    let mut losses = Vec::with_capacity(rows.len());
    for row in rows {
        if progress.stop_requested() {
            return Err(LoraError::Stopped);
        }
        let loss = loss(base, &data, &base.tag_sum(&[row]))?;
        losses.push((row, loss));
        progress.advance();
    }
    progress.end();
    Ok(losses)
}

/// The middle of a sound, `[1, frames, channels]`; a short one is repeated.
fn latents(base: &BaseModel, sound: &AudioBuffer) -> Result<Tensor, LoraError> {
    let sound = sound.to_stereo();
    let (held, wanted) = (sound.frames(), FRAMES * base.hop());
    if held == 0 {
        return Err(LoraError::Setting {
            setting: "source",
            value: "an empty sound".to_owned(),
            expected: "there is nothing to hear in it; give a longer recording".to_owned(),
        });
    }
    let from = held.saturating_sub(wanted) / 2;
    let mut planar = Vec::with_capacity(2 * wanted);
    for channel in &sound.channels {
        planar.extend((0..wanted).map(|sample| channel[(from + sample) % held]));
    }
    let planar = Tensor::from_vec(planar, (1, 2, wanted), &Device::Cpu)?;
    let mean = base.encode(&planar, Tiling::EXACT)?.mean;
    Ok(mean.transpose(1, 2)?.contiguous()?)
}

/// Mean loss over the times, all in one batch.
fn loss(base: &BaseModel, data: &Tensor, style: &[f32]) -> Result<f32, LoraError> {
    let device = base.device();
    let (_, frames, channels) = data.dims3()?;
    let batch = TIMES.len();
    let noise = Stream::new(SEED).normal((batch, frames, channels), device)?;
    let time = Tensor::new(&TIMES, device)?;
    let data = data.broadcast_as((batch, frames, channels))?.contiguous()?;
    let x = flow::interpolate(&noise, &data, &time)?;
    let silence = x.zeros_like()?;
    let style = Tensor::from_slice(style, (1, style.len()), device)?;
    let inputs = Inputs {
        x: &x,
        audio_condition: &silence,
        text: &Tensor::zeros((batch, frames), candle_core::DType::U32, device)?,
        style: &style.broadcast_as((batch, style.dim(1)?))?.contiguous()?,
        time: &time,
        start_time: &Tensor::full(base.clip_position() as f32, batch, device)?,
        duration: None,
        drops: Drops::default(),
    };
    let mode = Mode::Sampling { time: 0.5 };
    let prediction = base.transformer.forward(&inputs, &mode)?;
    let loss = flow::masked_loss(&prediction, &flow::velocity(&noise, &data)?, None)?;
    Ok(loss.to_scalar::<f32>()?)
}
