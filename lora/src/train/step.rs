//! One adapter in training: its variables on the model, the loss of a batch, a gradient step.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use dit::diffrhythm::{Drops, Inputs};
use dit::flow;
use nn::{Checkpoints, Mode, Stream, gradients_in_shares};

use super::batch::Batch;
use super::config::TrainConfig;
use crate::adapter::{AdaptedLayers, Adapter, AdapterDescription, neutral_trigger};
use crate::base::BaseModel;
use crate::error::LoraError;

/// A base with fresh trainable factors on it.
pub struct TrainableAdapter {
    base: BaseModel,
    layers: AdaptedLayers,
    /// The style vector that is learned with the factors; none where an encoder gives every piece its own.
    trigger: Option<Var>,
    dropout: Stream,
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
            &config.targets,
            config.rank,
            config.alpha,
            config.executed_dropout(),
            &random.named("initial factors"),
            device,
        )?;
        let width = base.transformer_config().cond_dim;
        let trigger = learns_trigger.then(|| neutral_trigger(width, device));
        let trigger = trigger.transpose()?;
        Ok(Self {
            base,
            layers,
            trigger,
            dropout: random.named("dropout"),
        })
    }

    /// The base underneath.
    pub fn base(&self) -> &BaseModel {
        &self.base
    }

    /// Everything that is trained, by name.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let mut variables = self.layers.variables();
        let trigger = self.trigger.iter().cloned();
        variables.extend(trigger.map(|trigger| ("trigger".to_owned(), trigger)));
        variables
    }

    /// Flow-matching loss of training step `step`, dropout at work, and its gradients. With checkpoints a block keeps only
    /// what enters it, and the gradients are the same to the last bit.
    pub fn gradients(
        &self,
        batch: &Batch,
        step: usize,
        checkpointed: bool,
    ) -> Result<(f64, Option<GradStore>), LoraError> {
        let dropout = self.dropout.at(step as u64);
        let frames: usize = batch.valid_frames.iter().sum();
        gradients_in_shares(batch.styles.len(), batch.data.device(), |number, items| {
            let share = batch.items(items)?;
            let share_frames: usize = share.valid_frames.iter().sum();
            let checkpoints = Checkpoints::default();
            let mode = Mode::Training {
                dropout: dropout.at(number as u64),
                checkpoints: checkpointed.then(|| checkpoints.clone()),
            };
            let loss = (self.loss(&share, &mode)? * (share_frames as f64 / frames as f64))?;
            let value = f64::from(loss.to_scalar::<f32>()?);
            Ok((value, checkpoints.backward(&loss)?))
        })
    }

    /// The same loss without dropout.
    pub fn validation_loss(&self, batch: &Batch) -> Result<f64, LoraError> {
        Ok(f64::from(
            self.loss(batch, &Mode::Inference)?.to_scalar::<f32>()?,
        ))
    }

    fn loss(&self, batch: &Batch, mode: &Mode) -> Result<Tensor, LoraError> {
        let (items, frames, channels) = batch.data.dims3()?;
        let device = batch.data.device();
        let noised = flow::interpolate(&batch.noise, &batch.data, &batch.time)?;
        let inputs = Inputs {
            x: &noised,
            audio_condition: &Tensor::zeros((items, frames, channels), DType::F32, device)?,
            text: &batch.text,
            style: &self.style(batch)?,
            time: &batch.time,
            start_time: &batch.start_time,
            duration: Some(&batch.duration),
            drops: Drops::default(),
        };
        let predicted = self.base.transformer.forward(&inputs, mode)?;
        let target = flow::velocity(&batch.noise, &batch.data)?;
        Ok(flow::masked_loss(
            &predicted,
            &target,
            Some(&batch.valid_frames),
        )?)
    }

    /// Mean of the trigger and the tags' vectors for each item, or for a song model the sum of the trigger and the encoder's vector,
    /// `[batch, condition width]`; zeros where the style is dropped.
    fn style(&self, batch: &Batch) -> Result<Tensor, LoraError> {
        let width = self.base.transformer_config().cond_dim;
        let items = batch.styles.len();
        let (mut share, mut rest) = (Vec::with_capacity(items), Vec::with_capacity(items * width));
        for item in &batch.styles {
            let weight = if item.dropped {
                0.0
            } else {
                1.0 / (1 + item.tags.len()) as f32
            };
            share.push(weight);
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
            Some(trigger) => Ok((share.matmul(&trigger.reshape((1, width))?)? + rest)?),
            None => Ok(rest),
        }
    }

    /// The adapter as it is now.
    pub fn adapter(&self, description: AdapterDescription) -> Result<Adapter, LoraError> {
        let copy = |trigger: &Var| Ok::<_, LoraError>(trigger.as_tensor().copy()?.detach());
        let trigger = self.trigger.as_ref().map(copy).transpose()?;
        let layers = self.layers.factors()?;
        Ok(Adapter::trained(description, layers, trigger))
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
