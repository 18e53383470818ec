//! The whole network: noisy latents and conditions in, the model's prediction out.

use super::block::{Block, Surroundings};
use super::config::Config;
use super::embedding::{FourierFeatures, Projection, ResidualPointwise};
use crate::error::Error;
use candle_core::{DType, Device, Result, Tensor, bail};
use nn::ops::{Mask, RotaryTable};
use nn::{Linear, Mode, Scope, VisitLinears, Weights};
use std::path::Path;

/// Base of the rotary angles.
const ROTARY_THETA: f64 = 1e4;

/// One call's arguments.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Noisy latents, `[batch, in_channels, frames]`.
    pub x: &'a Tensor,
    /// The model's time, `[batch]`.
    pub time: &'a Tensor,
    /// The prompt's embedding, `[batch, tokens, cross_attention_input_dim]`.
    pub prompt: &'a Tensor,
    /// Global conditions (start and length), `[batch, global_states_input_dim]`.
    pub global: &'a Tensor,
    /// 1 for frames that are not padding, `[batch, frames]`, u8; all of them without it.
    pub frame_mask: Option<&'a Tensor>,
    /// 1 for tokens that are not padding, `[batch, tokens]`, u8; all of them without it.
    pub prompt_mask: Option<&'a Tensor>,
}

/// The diffusion transformer of Stable Audio Open.
pub struct StableAudioTransformer {
    config: Config,
    time_features: FourierFeatures,
    time: Projection,
    global: Projection,
    prompt: Projection,
    before: ResidualPointwise,
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
    after: ResidualPointwise,
}

impl StableAudioTransformer {
    /// Loads a folder that diffusers saved: `config.json` and `diffusion_pytorch_model.safetensors`.
    ///
    /// # Errors
    /// When a file is missing or damaged, the configuration is invalid, or a tensor is missing, unused or does not fit.
    pub fn load_folder(folder: &Path, device: &Device) -> std::result::Result<Self, Error> {
        let config = Config::from_file(&folder.join("config.json"))?;
        let file = folder.join("diffusion_pytorch_model.safetensors");
        let weights = Weights::from_file(file, device)?;
        let model = Self::load(&config, &weights.root())?;
        weights.finish()?;
        Ok(model)
    }

    /// Loads the tensors of a scope.
    ///
    /// # Errors
    /// When the configuration is invalid or a tensor is missing or does not fit.
    pub fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, Error> {
        config.validate()?;
        let dim = config.dim();
        let projection =
            |name: &str, from, to, bias| Projection::load(&scope.pp(name), from, to, bias);
        let blocks = scope.pp("transformer_blocks");
        Ok(Self {
            time_features: FourierFeatures::load(&scope.pp("time_proj"), config.time_proj_dim)?,
            time: projection("timestep_proj", config.time_proj_dim, dim, true)?,
            global: projection("global_proj", config.global_states_input_dim, dim, false)?,
            prompt: projection(
                "cross_attention_proj",
                config.cross_attention_input_dim,
                config.cross_attention_dim,
                false,
            )?,
            before: ResidualPointwise::load(&scope.pp("preprocess_conv"), config.in_channels)?,
            input: Linear::load(&scope.pp("proj_in"), config.in_channels, dim, false)?,
            blocks: (0..config.num_layers)
                .map(|number| Block::load(config, &blocks.pp(number.to_string())))
                .collect::<std::result::Result<_, _>>()?,
            output: Linear::load(&scope.pp("proj_out"), dim, config.out_channels, false)?,
            after: ResidualPointwise::load(&scope.pp("postprocess_conv"), config.out_channels)?,
            config: config.clone(),
        })
    }

    /// Sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The prediction, `[batch, out_channels, frames]`.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &Mode) -> Result<Tensor> {
        self.forward_traced(inputs, mode, &mut |_, _| {})
    }

    /// [`forward`](Self::forward) that shows its intermediates: `time_proj`, `timestep_emb`, `global_emb`, `cross_emb`
    /// and `block{i}`.
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
        let waves = self.time_features.forward(inputs.time)?;
        trace("time_proj", &waves);
        let time = self.time.forward(&waves, mode)?;
        trace("timestep_emb", &time);
        let global = self.global.forward(inputs.global, mode)?;
        trace("global_emb", &global);
        let prompt = self.prompt.forward(inputs.prompt, mode)?;
        trace("cross_emb", &prompt);

        let latents = inputs.x.transpose(1, 2)?.contiguous()?;
        let latents = self
            .input
            .forward(&self.before.forward(&latents, mode)?, mode)?;
        let mut x = Tensor::cat(&[(global + time)?.unsqueeze(1)?, latents], 1)?;
        let around = self.surroundings(inputs)?;
        for (number, block) in self.blocks.iter().enumerate() {
            // A copy for each block: gradients for the prompt then add up in one order, with checkpoints and without.
            let prompt = prompt.copy()?;
            x = block.forward(&x, &prompt, &around, &mode.of_block(number))?;
            trace(&format!("block{number}"), &x);
        }
        let frames = inputs.x.dim(2)?;
        let latents = self.output.forward(&x.narrow(1, 1, frames)?, mode)?;
        self.after.forward(&latents, mode)?.transpose(1, 2)
    }

    fn surroundings(&self, inputs: &Inputs<'_>) -> Result<Surroundings> {
        let (batch, _, frames) = inputs.x.dims3()?;
        let seen = |mask: Option<Tensor>| mask.map_or(Mask::None, Mask::Keys);
        let frame_mask = match inputs.frame_mask {
            None => None,
            Some(mask) => {
                let global = Tensor::ones((batch, 1), DType::U8, mask.device())?;
                Some(Tensor::cat(&[&global, mask], 1)?)
            }
        };
        Ok(Surroundings {
            positions: RotaryTable::partial(
                frames + 1,
                self.config.attention_head_dim,
                self.config.rotated(),
                ROTARY_THETA,
            )?,
            frames: seen(frame_mask),
            tokens: seen(inputs.prompt_mask.cloned()),
        })
    }

    fn check(&self, inputs: &Inputs<'_>) -> Result<()> {
        let (batch, _, frames) = inputs.x.dims3()?;
        let (_, tokens, _) = inputs.prompt.dims3()?;
        let config = &self.config;
        let mut expected = vec![
            ("x", inputs.x, vec![batch, config.in_channels, frames]),
            ("time", inputs.time, vec![batch]),
            (
                "prompt",
                inputs.prompt,
                vec![batch, tokens, config.cross_attention_input_dim],
            ),
            (
                "global",
                inputs.global,
                vec![batch, config.global_states_input_dim],
            ),
        ];
        expected.extend(
            inputs
                .frame_mask
                .map(|mask| ("frame mask", mask, vec![batch, frames])),
        );
        expected.extend(
            inputs
                .prompt_mask
                .map(|mask| ("prompt mask", mask, vec![batch, tokens])),
        );
        for (name, tensor, shape) in expected {
            if tensor.dims() != shape {
                bail!(
                    "transformer: {name} has shape {:?}, expected {shape:?}",
                    tensor.shape()
                );
            }
        }
        Ok(())
    }
}

impl VisitLinears for StableAudioTransformer {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        self.time.visit_linears(visit);
        self.global.visit_linears(visit);
        self.prompt.visit_linears(visit);
        visit(&mut self.input);
        for block in &mut self.blocks {
            block.visit_linears(visit);
        }
        visit(&mut self.output);
    }
}
