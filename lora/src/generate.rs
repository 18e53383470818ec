//! From a seed and a style to sound: flow sampling with guidance, then decoding.

use candle_core::{Device, Tensor};
use dit::flow;
use nn::Stream;

use crate::base::{BaseModel, CLIP_POSITION, PulseGrid};
use crate::error::LoraError;
use crate::progress::Progress;

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Length in seconds.
    pub seconds: f64,
    /// Euler steps from noise to data.
    pub steps: usize,
    /// Guidance: how far to go beyond the unstyled prediction; 0 turns it off.
    pub guidance: f64,
    /// Seed of the starting noise.
    pub seed: u64,
    /// Style vector `[condition width]`; zeros ask for nothing.
    pub style: Vec<f32>,
    /// Beat grid, if a tempo was asked for.
    pub pulse: Option<PulseGrid>,
}

/// The style vector `[condition width]` of these tags and adapters.
///
/// Tags alone give the mean of their vectors, or zero, which asks for nothing. An adapter was trained with the mean of the tags and its
/// own trigger; it moves the style from the one towards the other by its strength, so that 0 is the base and 1 is as trained. The moves
/// of several adapters add up.
pub fn style_vector(
    base: &BaseModel,
    tags: &[usize],
    triggers: &[(&Tensor, f64)],
) -> Result<Vec<f32>, LoraError> {
    let sum = base.tag_sum(tags);
    let mean = |sum: f32, count: usize| f64::from(sum / count.max(1) as f32);
    let total_strength: f64 = triggers.iter().map(|(_, strength)| strength).sum();
    // Weights instead of differences: strengths 0 and 1 are then exact to the bit.
    let mut style: Vec<f64> = sum
        .iter()
        .map(|tags_sum| mean(*tags_sum, tags.len()) * (1.0 - total_strength))
        .collect();
    for (trigger, strength) in triggers {
        let trigger = trigger.to_vec1::<f32>()?;
        if trigger.len() != sum.len() {
            let problem = format!(
                "a trigger vector of {} numbers where the base has {}",
                trigger.len(),
                sum.len()
            );
            return Err(candle_core::Error::Msg(problem).into());
        }
        for ((value, tags_sum), own) in style.iter_mut().zip(&sum).zip(trigger) {
            *value += strength * mean(tags_sum + own, tags.len() + 1);
        }
    }
    Ok(style.into_iter().map(|value| value as f32).collect())
}

/// Planar stereo `[left, right]` at the base's rate. The same request gives the same samples.
///
/// # Errors
/// [`LoraError::NoSound`] when latents or samples are not finite, as adapters at too high a strength make them;
/// [`LoraError::Stopped`] when `progress` asks for it; tensor errors.
pub fn generate(
    base: &BaseModel,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<[Vec<f32>; 2], LoraError> {
    let device = base.device().clone();
    let samples = (request.seconds * f64::from(base.sample_rate_hz())).round() as usize;
    let frames = samples.div_ceil(base.hop()).max(1);
    let noise = Stream::new(request.seed)
        .named("generation")
        .normal((1, frames, base.latent_channels()), &device)?;
    let tokens = request.pulse.map_or_else(
        || vec![0; frames],
        |pulse| pulse.tokens(frames, base.frame_secs()),
    );
    let style = Tensor::from_slice(&request.style, (1, request.style.len()), &device)?;
    let whole = 0..frames;
    let asked = flow::Request {
        noise: &noise,
        audio_condition: &noise.zeros_like()?,
        spans: std::slice::from_ref(&whole),
        text: &Tensor::from_vec(tokens, (1, frames), &device)?,
        style: &style,
        negative_style: &style.zeros_like()?,
        start_time: &Tensor::full(CLIP_POSITION as f32, 1, &device)?,
        duration: None,
    };
    let sampling = flow::Sampling {
        points: request.steps + 1,
        sway: None,
        guidance: request.guidance,
    };
    progress.begin("generating", request.steps);
    let mut stopped = false;
    let sampled = flow::sample(&base.transformer, &asked, &sampling, &mut |done, _, _| {
        if done > 0 {
            progress.advance();
        }
        stopped = progress.stop_requested();
        if stopped {
            Err(candle_core::Error::Msg("stopped".to_owned()))
        } else {
            Ok(())
        }
    });
    if stopped {
        return Err(LoraError::Stopped);
    }
    let latents = sampled?.latents.to_device(&Device::Cpu)?;
    progress.end();
    check_finite(
        "latents",
        &latents.flatten_all()?.to_vec1::<f32>()?,
        request.guidance,
    )?;
    let audio = base.decode(&latents.transpose(1, 2)?.contiguous()?)?;
    let mut channels = audio.squeeze(0)?.to_vec2::<f32>()?.into_iter();
    let (Some(mut left), Some(mut right)) = (channels.next(), channels.next()) else {
        return Err(
            candle_core::Error::Msg("the autoencoder did not decode to stereo".to_owned()).into(),
        );
    };
    left.truncate(samples);
    right.truncate(samples);
    for channel in [&left, &right] {
        check_finite("samples", channel, request.guidance)?;
    }
    finish(&mut left, &mut right, base.sample_rate_hz());
    Ok([left, right])
}

fn check_finite(what: &'static str, values: &[f32], guidance: f64) -> Result<(), LoraError> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(LoraError::NoSound {
            what,
            value,
            guidance,
        }),
        None => Ok(()),
    }
}

/// Short fades against clicks at the cut ends, and a level that does not clip.
fn finish(left: &mut [f32], right: &mut [f32], sample_rate_hz: u32) {
    const FADE_SECS: f64 = 0.005;
    const CEILING: f32 = 0.97;
    let fade = ((FADE_SECS * f64::from(sample_rate_hz)) as usize).min(left.len() / 2);
    for channel in [&mut *left, &mut *right] {
        let last = channel.len().saturating_sub(1);
        for index in 0..fade {
            let gain = index as f32 / fade as f32;
            channel[index] *= gain;
            channel[last - index] *= gain;
        }
    }
    let peak = left
        .iter()
        .chain(right.iter())
        .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    if peak > CEILING {
        for sample in left.iter_mut().chain(right.iter_mut()) {
            *sample *= CEILING / peak;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::finish;

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
}
