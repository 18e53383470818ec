//! One adapter in training: its variables on the model, the loss of a batch, a gradient step.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use dit::diffrhythm::{Drops, Inputs};
use dit::flow;
use nn::{Checkpoints, Mode, Stream, gradients_in_shares};

use super::batch::Batch;
use super::config::TrainConfig;
use super::objective::TimeWeights;
use crate::adapter::{AdaptedLayers, Adapter, AdapterDescription, neutral_trigger};
use crate::base::BaseModel;
use crate::error::LoraError;

/// How a step's gradients are computed.
#[derive(Debug, Clone, Copy)]
pub struct Computation {
    /// Crops in one forward pass.
    pub items_at_once: usize,
    /// Blocks that run as gradient checkpoints, from the first on.
    pub checkpointed_blocks: usize,
    /// What the loss is multiplied with.
    pub weight: f64,
}

/// What a training step found.
pub struct StepGradients {
    /// Mean over all frames.
    pub loss: f64,
    /// Mean over the frames of each item.
    pub item_losses: Vec<f64>,
    /// Of every variable.
    pub gradients: GradStore,
}

/// A base with fresh trainable factors on it.
pub struct TrainableAdapter {
    base: BaseModel,
    layers: AdaptedLayers,
    /// The style vector that is learned with the factors; none where an encoder gives every piece its own.
    trigger: Option<Var>,
    initial: BTreeMap<String, Tensor>,
    dropout: Stream,
    weights: TimeWeights,
}

impl TrainableAdapter {
    /// Puts factors on the base's target layers. At this point the base's output is unchanged.
    pub fn initialise(
        mut base: BaseModel,
        config: &TrainConfig,
        learns_trigger: bool,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let random = Stream::new(config.seed);
        let layers = AdaptedLayers::initialise(
            &mut base.transformer,
            &config.targets(),
            |layer| config.layer_options(layer),
            &random.named("initial factors"),
        )?;
        let width = base.transformer_config().cond_dim;
        let trigger = learns_trigger.then(|| neutral_trigger(width, device));
        let trigger = trigger.transpose()?;
        let mut adapter = Self {
            base,
            layers,
            trigger,
            initial: BTreeMap::new(),
            dropout: random.named("dropout"),
            weights: TimeWeights::of(config),
        };
        adapter.initial = adapter.values()?;
        Ok(adapter)
    }

    /// Runs `work` with the adapter as it began, when it changed nothing: the base alone.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn without_change<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LoraError>,
    ) -> Result<T, LoraError> {
        self.with_values(&self.initial, work)
    }

    /// The base underneath.
    pub fn base(&self) -> &BaseModel {
        &self.base
    }

    /// The style vector that is learned, if one is.
    pub fn trigger(&self) -> Result<Option<Tensor>, LoraError> {
        let copy = |trigger: &Var| Ok(trigger.as_tensor().copy()?.detach());
        self.trigger.as_ref().map(copy).transpose()
    }

    /// Everything that is trained, by name.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let mut variables = self.layers.variables();
        let trigger = self.trigger.iter().cloned();
        variables.extend(trigger.map(|trigger| ("trigger".to_owned(), trigger)));
        variables
    }

    /// Flow-matching loss of training step `step`, dropout at work, and its gradients, added up over parts of the batch. With checkpoints
    /// a block keeps only what enters it, and the gradients are the same to the last bit.
    pub fn gradients(
        &self,
        batch: &Batch,
        step: usize,
        computation: Computation,
    ) -> Result<StepGradients, LoraError> {
        let all = 0..batch.styles.len();
        self.gradients_of_items(batch, all, step, computation)
    }

    /// What some of the items add to loss and gradients, if `chosen` begins where a part does; the others' losses are 0.
    pub(super) fn gradients_of_items(
        &self,
        batch: &Batch,
        chosen: Range<usize>,
        step: usize,
        computation: Computation,
    ) -> Result<StepGradients, LoraError> {
        let items = batch.styles.len();
        let item_losses = Mutex::new(vec![0.0; items]);
        let mut sum = None;
        let mut loss = 0.0;
        let at_once = computation.items_at_once.max(1);
        let items = chosen.end.min(items);
        for first in (chosen.start..items).step_by(at_once) {
            let part = first..(first + at_once).min(items);
            let (value, gradients) =
                self.gradients_of_part(batch, part, step, computation, &item_losses)?;
            loss += value;
            match (&mut sum, gradients) {
                (None, gradients) => sum = gradients,
                (Some(sum), Some(gradients)) => sum.extend(gradients)?,
                (Some(_), None) => {}
            }
        }
        let gradients = sum
            .ok_or_else(|| candle_core::Error::Msg("a training step without a crop".to_owned()))?;
        let item_losses = item_losses
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(StepGradients {
            loss,
            item_losses,
            gradients,
        })
    }

    /// Items `part` of the batch, whose loss is their share of the whole batch's.
    fn gradients_of_part(
        &self,
        batch: &Batch,
        part: Range<usize>,
        step: usize,
        computation: Computation,
        item_losses: &Mutex<Vec<f64>>,
    ) -> Result<(f64, Option<GradStore>), LoraError> {
        let dropout = self.dropout.at(step as u64);
        let dropout = match part.start {
            0 => dropout,
            first => dropout.named("part").at(first as u64),
        };
        let frames: usize = batch.valid_frames.iter().sum();
        gradients_in_shares(part.len(), batch.data.device(), |number, items| {
            let items = part.start + items.start..part.start + items.end;
            let share = batch.items(items.clone())?;
            let share_frames: usize = share.valid_frames.iter().sum();
            let checkpoints = Checkpoints::of_blocks(computation.checkpointed_blocks);
            let mode = Mode::Training {
                dropout: dropout.at(number as u64),
                checkpoints: (computation.checkpointed_blocks > 0).then(|| checkpoints.clone()),
            };
            let (loss, of_items) = self.loss(&share, &mode, self.weights)?;
            let share = computation.weight * share_frames as f64 / frames as f64;
            let loss = (loss * share)?;
            item_losses.lock().unwrap_or_else(PoisonError::into_inner)[items]
                .copy_from_slice(&of_items);
            let value = f64::from(loss.to_scalar::<f32>()?);
            Ok((value, checkpoints.backward(&loss)?))
        })
    }

    /// The same loss without dropout, and that of each item. Nothing is kept for a backward pass.
    pub fn validation_loss(&self, batch: &Batch) -> Result<(f64, Vec<f64>), LoraError> {
        let (loss, of_items) = self.loss(batch, &Mode::Inference, TimeWeights::Even)?;
        Ok((f64::from(loss.to_scalar::<f32>()?), of_items))
    }

    /// The loss with weights, and that of each item without.
    fn loss(
        &self,
        batch: &Batch,
        mode: &Mode,
        weights: TimeWeights,
    ) -> Result<(Tensor, Vec<f64>), LoraError> {
        let (items, frames, channels) = batch.data.dims3()?;
        let device = batch.data.device();
        let noised = flow::interpolate(&batch.noise, &batch.data, &batch.time)?;
        let inputs = Inputs {
            x: &noised,
            audio_condition: &Tensor::zeros((items, frames, channels), DType::F32, device)?,
            text: &batch.text,
            style: &self.style(batch, mode)?,
            time: &batch.time,
            start_time: &batch.start_time,
            duration: Some(&batch.duration),
            drops: Drops::default(),
        };
        let predicted = self.base.transformer.forward(&inputs, mode)?;
        let target = flow::velocity(&batch.noise, &batch.data)?;
        let of_items = losses_of_items(&predicted.detach(), &target, &batch.valid_frames)?;
        let (predicted, target) = match weights.roots(&batch.time.to_vec1()?) {
            None => (predicted, target),
            Some(roots) => {
                let roots = Tensor::from_vec(roots, (items, 1, 1), device)?;
                (
                    predicted.broadcast_mul(&roots)?,
                    target.broadcast_mul(&roots)?,
                )
            }
        };
        let loss = flow::masked_loss(&predicted, &target, Some(&batch.valid_frames))?;
        Ok((loss, of_items))
    }

    /// Mean of the trigger and the tags' vectors for each item, or for a song model the sum of the trigger and the encoder's vector,
    /// `[batch, condition width]`; zeros where the style is dropped.
    fn style(&self, batch: &Batch, mode: &Mode) -> Result<Tensor, LoraError> {
        let width = self.base.transformer_config().cond_dim;
        let items = batch.styles.len();
        let (mut share, mut rest) = (Vec::with_capacity(items), Vec::with_capacity(items * width));
        for item in &batch.styles {
            let parts = item.tags.len() + usize::from(item.has_trigger);
            let weight = match item.dropped {
                true => 0.0,
                false => 1.0 / parts.max(1) as f32,
            };
            share.push(if item.has_trigger { weight } else { 0.0 });
            let known = match &item.vector {
                Some(vector) => vector.clone(),
                None => self.base.tag_sum(&item.tags),
            };
            rest.extend(known.into_iter().map(|value| value * weight));
        }
        let device = batch.data.device();
        let share = Tensor::from_vec(share, (items, 1), device)?;
        let rest = Tensor::from_vec(rest, (items, width), device)?;
        match &self.trigger {
            Some(trigger) => {
                let trigger = mode.of_variable(trigger).reshape((1, width))?;
                Ok((share.matmul(&trigger)? + rest)?)
            }
            None => Ok(rest),
        }
    }

    /// The adapter as it is now.
    pub fn adapter(&self, description: AdapterDescription) -> Result<Adapter, LoraError> {
        let layers = self.layers.factors()?;
        Ok(Adapter::trained(description, layers, self.trigger()?))
    }

    /// Runs `work` with other values in the variables, then puts the own ones back.
    ///
    /// # Errors
    /// As [`restore`](Self::restore), and what `work` returns.
    pub fn with_values<T>(
        &self,
        values: &BTreeMap<String, Tensor>,
        work: impl FnOnce(&Self) -> Result<T, LoraError>,
    ) -> Result<T, LoraError> {
        let own = self.values()?;
        self.restore(values)?;
        let result = work(self);
        self.restore(&own)?;
        result
    }

    /// A copy of every variable.
    pub fn values(&self) -> Result<BTreeMap<String, Tensor>, LoraError> {
        copies(self.variables())
    }

    /// Sets every variable from a checkpoint.
    ///
    /// # Errors
    /// When a variable is missing or has another shape.
    pub fn restore(&self, values: &BTreeMap<String, Tensor>) -> candle_core::Result<()> {
        for (name, variable) in self.variables() {
            let value = values
                .get(&name)
                .ok_or_else(|| candle_core::Error::Msg(format!("checkpoint without {name}")))?;
            variable.set(value)?;
        }
        Ok(())
    }
}

/// A copy of each variable.
pub(super) fn copies(variables: Vec<(String, Var)>) -> Result<BTreeMap<String, Tensor>, LoraError> {
    let copy = |(name, variable): (String, Var)| Ok((name, variable.as_tensor().copy()?.detach()));
    variables.into_iter().map(copy).collect()
}

/// Mean squared error of each item over its valid frames.
pub(super) fn losses_of_items(
    predicted: &Tensor,
    target: &Tensor,
    valid_frames: &[usize],
) -> candle_core::Result<Vec<f64>> {
    // Frames first, the mean over channels is one number each.
    let frames = (predicted - target)?.sqr()?.mean(2)?.to_vec2::<f32>()?;
    let mean = |(frames, &valid): (&Vec<f32>, &usize)| {
        let valid = &frames[..valid.min(frames.len())];
        let sum: f64 = valid.iter().map(|&value| f64::from(value)).sum();
        sum / valid.len().max(1) as f64
    };
    Ok(frames.iter().zip(valid_frames).map(mean).collect())
}

/// Mean over the frames of all items, of means over the frames of each.
pub(super) fn mean_of_items(of_items: &[f64], valid_frames: &[usize]) -> f64 {
    let sum: f64 = of_items
        .iter()
        .zip(valid_frames)
        .map(|(mean, &frames)| mean * frames as f64)
        .sum();
    sum / valid_frames.iter().sum::<usize>().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::batch::{BatchShape, training_batch};
    use crate::train::config::{BaseDefaults, TrainSettings};
    use crate::train::data::LatentPiece;
    use crate::train::objective::FlowTimes;

    /// A graph would take as much memory as a training step without checkpoints, whatever --memory and --checkpointing say.
    #[test]
    fn validation_keeps_no_graph() {
        let tiny = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/tiny-base.safetensors"
        );
        let base = BaseModel::open(tiny, &Device::Cpu).unwrap();
        let channels = base.latent_channels();
        let config = TrainSettings::default()
            .resolve(BaseDefaults::EMBEDDED)
            .unwrap();
        let adapter = TrainableAdapter::initialise(base, &config, true, &Device::Cpu).unwrap();
        let values = Stream::new(1).normal_vec(8 * channels);
        let pieces = [LatentPiece::new(values, channels, vec![0], String::new())];
        let shape = BatchShape {
            batch_size: 1,
            frames: 8,
            style_drop: 0.0,
            text_drop: 0.0,
            tag_drop: 0.0,
            times: FlowTimes::STANDARD,
            drops_together: false,
            position: None,
            max_frames: 2048,
            pads_to_model: false,
        };
        let random = Stream::new(2);
        let batch = training_batch(&pieces, &[0], shape, 0, &random, &Device::Cpu).unwrap();
        let tracked = |mode: &Mode| {
            let loss = adapter.loss(&batch, mode, TimeWeights::Even).unwrap().0;
            loss.track_op()
        };
        assert!(!tracked(&Mode::Inference));
        assert!(tracked(&Mode::Training {
            dropout: random,
            checkpoints: None
        }));
    }
}
