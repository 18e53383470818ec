//! What a clip is asked to sound like: one vector `[condition width]`, of tags, adapters' triggers, or an encoder of sound and words.

mod classifier;
mod encoder;

use candle_core::Tensor;
use half::f16;
use nn::TimeInterval;

use crate::base::BaseModel;
use crate::error::LoraError;

pub use classifier::{of_sound, weights as weights_of_sound};
pub use encoder::StyleEncoder;

/// The time of the flow from which on a style is asked for, and the style.
pub type LaterStyle = (f32, Vec<f32>);

/// The vector that an adapter brings.
#[derive(Debug, Clone, Copy)]
pub struct Trigger<'a> {
    /// `[condition width]`
    pub vector: &'a Tensor,
    /// The adapter's.
    pub strength: f64,
    /// When the adapter acts.
    pub times: TimeInterval,
}

/// The style of a clip's beginning, and those that take its place from a time on, where adapters begin or end to act; `style` makes one of
/// the triggers at work.
///
/// # Errors
/// Those of `style`.
pub fn over_time<E>(
    triggers: &[Trigger<'_>],
    style: impl Fn(&[(&Tensor, f64)]) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<LaterStyle>), E> {
    let at = |time: f32| {
        let acting = triggers
            .iter()
            .filter(|trigger| trigger.times.contains(time));
        let acting: Vec<_> = acting
            .map(|trigger| (trigger.vector, trigger.strength))
            .collect();
        style(&acting)
    };
    let bounds = triggers
        .iter()
        .flat_map(|trigger| [trigger.times.from(), trigger.times.to()]);
    let is_within = |time: &f32| *time > 0.0 && *time < 1.0;
    let mut bounds: Vec<f32> = bounds.filter(is_within).collect();
    bounds.sort_by(f32::total_cmp);
    bounds.dedup();
    let later = bounds
        .into_iter()
        .map(|time| at(time).map(|style| (time, style)));
    Ok((at(0.0)?, later.collect::<Result<_, E>>()?))
}

/// The style of these tags and adapters, for a base that is asked with tags.
///
/// Tags alone give the mean of their vectors, or zero, which asks for nothing. An adapter was trained with the mean of the tags and its
/// own trigger; it moves the style from the one towards the other by its strength, so that 0 is the base and 1 is as trained. The moves
/// of several adapters add up.
pub fn of_tags(
    base: &BaseModel,
    tags: &[usize],
    triggers: &[(&Tensor, f64)],
) -> Result<Vec<f32>, LoraError> {
    of_tags_and(base, tags, None, triggers)
}

/// The same with a vector that counts as one more tag, such as that of a sound ([`of_sound`]).
///
/// # Errors
/// As [`of_tags`].
pub fn of_tags_and(
    base: &BaseModel,
    tags: &[usize],
    vector: Option<&[f32]>,
    triggers: &[(&Tensor, f64)],
) -> Result<Vec<f32>, LoraError> {
    let mut sum = base.tag_sum(tags);
    for (total, value) in sum.iter_mut().zip(vector.unwrap_or_default()) {
        *total += value;
    }
    let count = tags.len() + usize::from(vector.is_some());
    let mean = |sum: f32, count: usize| f64::from(sum / count.max(1) as f32);
    let total_strength: f64 = triggers.iter().map(|(_, strength)| strength).sum();
    // Weights instead of differences: strengths 0 and 1 are then exact to the bit.
    let mut style: Vec<f64> = sum
        .iter()
        .map(|tags_sum| mean(*tags_sum, count) * (1.0 - total_strength))
        .collect();
    for (trigger, strength) in triggers {
        let trigger = checked_trigger(trigger, sum.len())?;
        for ((value, tags_sum), own) in style.iter_mut().zip(&sum).zip(trigger) {
            *value += strength * mean(tags_sum + own, count + 1);
        }
    }
    Ok(style.into_iter().map(|value| value as f32).collect())
}

/// The style of an encoder's vector and adapters, for a song model: the vector rounded to 16 bits, as the reference's pipeline has it, and
/// the triggers of adapters that were trained without an encoder's vectors.
pub fn of_vector(
    base: &BaseModel,
    vector: Option<&[f32]>,
    triggers: &[(&Tensor, f64)],
) -> Result<Vec<f32>, LoraError> {
    let width = base.transformer_config().cond_dim;
    let mut style = match vector {
        Some(vector) => rounded(vector),
        None => vec![0.0; width],
    };
    for (trigger, strength) in triggers {
        for (value, own) in style.iter_mut().zip(checked_trigger(trigger, width)?) {
            *value += (strength * f64::from(own)) as f32;
        }
    }
    Ok(style)
}

/// Values as f16 keeps them.
pub fn rounded(vector: &[f32]) -> Vec<f32> {
    let round = |&value: &f32| f16::from_f32(value).to_f32();
    vector.iter().map(round).collect()
}

fn checked_trigger(trigger: &Tensor, width: usize) -> Result<Vec<f32>, LoraError> {
    let trigger = trigger.to_vec1::<f32>()?;
    if trigger.len() == width {
        return Ok(trigger);
    }
    let problem = format!(
        "a trigger vector of {} numbers where the base has {width}",
        trigger.len()
    );
    Err(candle_core::Error::Msg(problem).into())
}
