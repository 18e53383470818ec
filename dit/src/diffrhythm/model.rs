//! The whole network: noisy latents and conditions in, velocity out.

use super::block::Block;
use super::config::Config;
use super::embedding::{InputEmbedding, Joined, TimeEmbedding};
use super::text::TextEmbedding;
use crate::error::Error;
use candle_core::{DType, Result, Tensor, bail};
use nn::ops::{RotaryTable, layer_norm, silu};
use nn::{Linear, Mode, Scope, VisitLinears};

/// Base of the rotary angles; the reference's Llama configuration leaves it at its default.
const ROTARY_THETA: f64 = 1e4;
const NORM_EPSILON: f64 = 1e-6;

/// Called with the name of each intermediate and its value; tests compare them with goldens.
pub(crate) type Trace<'a> = &'a mut dyn FnMut(&str, &Tensor);

/// Which items of a batch a condition is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Every item sees the condition.
    #[default]
    Kept,
    /// No item sees it.
    Dropped,
    /// Items marked true do not see it.
    DroppedFor(Vec<bool>),
}

/// Conditions that are dropped: at random in training so that guidance has something to compare with, all in its null
/// branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// The audio condition becomes silence (zeros).
    pub audio: Presence,
    /// Every token becomes 0; the text embedding still runs.
    pub text: Presence,
    /// The style vector becomes zeros.
    pub style: Presence,
}

/// One call's arguments.
#[derive(Clone)]
pub struct Inputs<'a> {
    /// Noisy latents, `[batch, frames, mel_dim]`.
    pub x: &'a Tensor,
    /// Latents to keep, zero where there are none, `[batch, frames, mel_dim]`.
    pub audio_condition: &'a Tensor,
    /// Tokens, `[batch, frames]`, u32; 0 where there is none.
    pub text: &'a Tensor,
    /// Style vector, `[batch, cond_dim]`.
    pub style: &'a Tensor,
    /// Flow time in `[0, 1]`, `[batch]`.
    pub time: &'a Tensor,
    /// Where in its song the excerpt starts, in `[0, 1]`, `[batch]`.
    pub start_time: &'a Tensor,
    /// The song's duration over the longest, `[batch]`; needed by models with a duration embedding, ignored by others.
    pub duration: Option<&'a Tensor>,
    /// Conditions to drop.
    pub drops: Drops,
}

/// What the transformer makes of tokens, whatever the time and the latents: computed once for all steps of a clip.
#[derive(Clone)]
pub struct EncodedText {
    /// `[batch, frames, text_dim]`
    text: Tensor,
    /// What is added after each of the first half of the blocks, `[batch, frames, dim]`.
    fused: Vec<Tensor>,
}

/// The diffusion transformer.
pub struct DiffusionTransformer {
    config: Config,
    time: TimeEmbedding,
    start_time: TimeEmbedding,
    duration: Option<TimeEmbedding>,
    text: TextEmbedding,
    input: InputEmbedding,
    blocks: Vec<Block>,
    fusions: Vec<Linear>,
    norm: Linear,
    output: Linear,
}

impl DiffusionTransformer {
    /// Loads the tensors of a scope; the reference's files hold them below `transformer`.
    ///
    /// # Errors
    /// When the configuration is invalid or a tensor is missing or does not fit.
    pub fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, Error> {
        config.validate()?;
        let Config {
            dim,
            depth,
            cond_dim,
            ..
        } = *config;
        let time = |name: &str| TimeEmbedding::load(&scope.pp(name), cond_dim);
        let blocks = scope.pp("transformer_blocks");
        let fusions = scope.pp("text_fusion_linears");
        Ok(Self {
            time: time("time_embed")?,
            start_time: time("start_time_embed")?,
            duration: match config.has_duration() {
                true => Some(time("duration_time_embed")?),
                false => None,
            },
            text: TextEmbedding::load(config, &scope.pp("text_embed"))?,
            input: InputEmbedding::load(config, &scope.pp("input_embed"))?,
            blocks: (0..depth)
                .map(|number| Block::load(config, &blocks.pp(number.to_string())))
                .collect::<std::result::Result<_, _>>()?,
            fusions: (0..depth / 2)
                .map(|number| {
                    Linear::load(&fusions.pp(number.to_string()).pp("0"), cond_dim, dim, true)
                })
                .collect::<std::result::Result<_, _>>()?,
            norm: Linear::load(&scope.pp("norm_out.linear"), cond_dim, 2 * dim, true)?,
            output: Linear::load(&scope.pp("proj_out"), dim, config.mel_dim, true)?,
            config: config.clone(),
        })
    }

    /// Sizes and flags.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The velocity, `[batch, frames, mel_dim]`.
    ///
    /// # Errors
    /// When a shape does not fit, a token is unknown, or a duration is missing.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &Mode) -> Result<Tensor> {
        self.forward_traced(inputs, mode, &mut |_, _| {})
    }

    /// [`forward`](Self::forward) that shows its intermediates: `time_sinus`, `time_embed`, `start_time_embed`,
    /// `duration_time_embed`, `text_embed`, `input_proj`, `input_embed`, `block{i}.self_attn`, `block{i}`,
    /// `text_fusion{i}` and `norm_out`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_traced(
        &self,
        inputs: &Inputs<'_>,
        mode: &Mode,
        trace: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.check(inputs)?;
        let encoded = self.encode_text(inputs.text, &inputs.drops.text, mode)?;
        self.forward_encoded(inputs, &encoded, mode, trace)
    }

    /// What `forward` computes of `text` `[batch, frames]` alone.
    ///
    /// # Errors
    /// When a token is unknown.
    pub fn encode_text(
        &self,
        text: &Tensor,
        presence: &Presence,
        mode: &Mode,
    ) -> Result<EncodedText> {
        let text = self.text.forward(&dropped(text, presence)?, mode)?;
        let fused = self
            .fusions
            .iter()
            .map(|fusion| silu(&fusion.forward(&text, mode)?))
            .collect::<Result<_>>()?;
        Ok(EncodedText { text, fused })
    }

    /// Whether adapters that act at some times alone make of a text something else at one time than at the other.
    pub fn text_differs_between(&self, one: f32, other: f32) -> bool {
        let mut linears = self.text.linears().chain(&self.fusions);
        linears.any(|linear| linear.differs_between(one, other))
    }

    /// Whether adapters that act at some times alone make another model of this at one time than at the other.
    pub fn differs_between(&self, one: f32, other: f32) -> bool {
        let times = [&self.time, &self.start_time];
        let times = times.into_iter().chain(&self.duration);
        let mut linears = times
            .flat_map(TimeEmbedding::linears)
            .chain(self.blocks.iter().flat_map(Block::linears))
            .chain([self.input.linear(), &self.norm, &self.output]);
        linears.any(|linear| linear.differs_between(one, other))
            || self.text_differs_between(one, other)
    }

    /// [`forward_traced`](Self::forward_traced) with the text encoded before; `inputs.text` is not looked at.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_encoded(
        &self,
        inputs: &Inputs<'_>,
        encoded: &EncodedText,
        mode: &Mode,
        trace: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.check(inputs)?;
        let time = self.embed_times(inputs, mode, trace)?;
        trace("text_embed", &encoded.text);
        let joined = Joined {
            x: inputs.x,
            audio: &dropped(inputs.audio_condition, &inputs.drops.audio)?,
            text: &encoded.text,
            style: &dropped(inputs.style, &inputs.drops.style)?,
            time: &time,
        };
        let mut x = self.input.forward(&joined, mode, trace)?;
        let positions = RotaryTable::new(x.dim(1)?, self.config.head_dim(), ROTARY_THETA)?;
        for (number, block) in self.blocks.iter().enumerate() {
            let name = format!("block{number}");
            x = block.forward(&x, &positions, &mode.of_block(number), &name, trace)?;
            if let Some(fused) = encoded.fused.get(number) {
                trace(&format!("text_fusion{number}"), fused);
                x = (x + fused)?;
            }
        }
        let normal = self.normalize(&x, &time, mode)?;
        trace("norm_out", &normal);
        self.output.forward(&normal, mode)
    }

    /// The sum of all time embeddings, `[batch, cond_dim]`.
    fn embed_times(&self, inputs: &Inputs<'_>, mode: &Mode, trace: Trace<'_>) -> Result<Tensor> {
        let time = self.time.forward(inputs.time, mode, "time_embed", trace)?;
        let start = self
            .start_time
            .forward(inputs.start_time, mode, "start_time_embed", trace)?;
        let sum = (time + start)?;
        match (&self.duration, inputs.duration) {
            (None, _) => Ok(sum),
            (Some(embedding), Some(duration)) => {
                sum + embedding.forward(duration, mode, "duration_time_embed", trace)?
            }
            (Some(_), None) => bail!("transformer: this model needs a duration"),
        }
    }

    /// Layer norm whose scale and shift come from the time embedding (Peebles and Xie 2022, adaptive norm; scale comes
    /// first here).
    fn normalize(&self, x: &Tensor, time: &Tensor, mode: &Mode) -> Result<Tensor> {
        let modulation = self.norm.forward(&silu(time)?, mode)?.unsqueeze(1)?;
        let dim = self.config.dim;
        let (scale, shift) = (
            modulation.narrow(2, 0, dim)?,
            modulation.narrow(2, dim, dim)?,
        );
        layer_norm(x, None, NORM_EPSILON)?
            .broadcast_mul(&(scale + 1.0)?)?
            .broadcast_add(&shift)
    }

    fn check(&self, inputs: &Inputs<'_>) -> Result<()> {
        let (batch, frames, _) = inputs.x.dims3()?;
        let Config {
            mel_dim, cond_dim, ..
        } = self.config;
        let mut expected = vec![
            ("x", inputs.x, vec![batch, frames, mel_dim]),
            (
                "audio condition",
                inputs.audio_condition,
                vec![batch, frames, mel_dim],
            ),
            ("text", inputs.text, vec![batch, frames]),
            ("style", inputs.style, vec![batch, cond_dim]),
            ("time", inputs.time, vec![batch]),
            ("start time", inputs.start_time, vec![batch]),
        ];
        expected.extend(
            inputs
                .duration
                .map(|duration| ("duration", duration, vec![batch])),
        );
        for (name, tensor, shape) in expected {
            if tensor.dims() != shape {
                bail!(
                    "transformer: {name} has shape {:?}, expected {shape:?}",
                    tensor.shape()
                );
            }
        }
        if inputs.text.dtype() != DType::U32 {
            bail!(
                "transformer: text is {:?}, expected U32",
                inputs.text.dtype()
            );
        }
        Ok(())
    }
}

/// A condition with zeros for the items that do not see it.
fn dropped(condition: &Tensor, presence: &Presence) -> Result<Tensor> {
    match presence {
        Presence::Kept => Ok(condition.clone()),
        Presence::Dropped => condition.zeros_like(),
        Presence::DroppedFor(items) => {
            let batch = condition.dim(0)?;
            if items.len() != batch {
                bail!("transformer: {} marks for a batch of {batch}", items.len());
            }
            let keep: Vec<u32> = items.iter().map(|&dropped| u32::from(!dropped)).collect();
            let mut shape = vec![1; condition.rank()];
            shape[0] = batch;
            let keep = Tensor::from_vec(keep, shape, condition.device())?;
            condition.broadcast_mul(&keep.to_dtype(condition.dtype())?)
        }
    }
}

impl VisitLinears for DiffusionTransformer {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        self.time.visit_linears(visit);
        self.start_time.visit_linears(visit);
        if let Some(duration) = &mut self.duration {
            duration.visit_linears(visit);
        }
        self.text.visit_linears(visit);
        self.input.visit_linears(visit);
        for block in &mut self.blocks {
            block.visit_linears(visit);
        }
        for fusion in &mut self.fusions {
            visit(fusion);
        }
        visit(&mut self.norm);
        visit(&mut self.output);
    }
}
