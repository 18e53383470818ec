//! Embeddings of time, and of everything that enters the first block.

use super::config::{Config, POSITION_GROUPS};
use super::model::Trace;
use candle_core::{Result, Tensor};
use nn::ops::{Conv1dOptions, conv1d, mish, silu};
use nn::{Linear, Mode, Scope, VisitLinears, WeightsError};

/// Sinusoids of a time embedding.
const FREQUENCIES: usize = 256;
/// Times in `[0, 1]` are spread over this before the sinusoids.
pub(crate) const TIME_SCALE: f32 = 1000.0;
/// Lowest frequency is one over this.
const PERIOD: f32 = 10_000.0;
/// Taps of the positional convolutions.
const POSITION_TAPS: usize = 31;

/// `[batch]` times to `[batch, 256]`: sines, then cosines of `1000 t / 10000^(i / 127)`. In f32 and in the reference's
/// order of products: the angles reach 1000, where rounding shows.
fn sinusoids(time: &Tensor) -> Result<Tensor> {
    let times: Vec<f32> = time.to_vec1()?;
    let half = FREQUENCIES / 2;
    let exponent = PERIOD.ln() / (half - 1) as f32;
    let frequencies: Vec<f32> = (0..half)
        .map(|index| (index as f32 * -exponent).exp())
        .collect();
    let values: Vec<f32> = times
        .iter()
        .flat_map(|time| {
            let angles = frequencies
                .iter()
                .map(move |frequency| TIME_SCALE * time * frequency);
            angles.clone().map(f32::sin).chain(angles.map(f32::cos))
        })
        .collect();
    Tensor::from_vec(values, (times.len(), FREQUENCIES), time.device())
}

/// A number in `[0, 1]` per item: sinusoids and a two-layer MLP.
pub(crate) struct TimeEmbedding {
    first: Linear,
    second: Linear,
}

impl TimeEmbedding {
    pub(crate) fn load(scope: &Scope, dim: usize) -> std::result::Result<Self, WeightsError> {
        let mlp = scope.pp("time_mlp");
        Ok(Self {
            first: Linear::load(&mlp.pp("0"), FREQUENCIES, dim, true)?,
            second: Linear::load(&mlp.pp("2"), dim, dim, true)?,
        })
    }

    /// `[batch]` to `[batch, dim]`.
    pub(crate) fn forward(
        &self,
        time: &Tensor,
        mode: &Mode,
        name: &str,
        trace: Trace<'_>,
    ) -> Result<Tensor> {
        let waves = sinusoids(time)?;
        if name == "time_embed" {
            trace("time_sinus", &waves);
        }
        let hidden = silu(&self.first.forward(&waves, mode)?)?;
        let embedded = self.second.forward(&hidden, mode)?;
        trace(name, &embedded);
        Ok(embedded)
    }
}

impl TimeEmbedding {
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        [&self.first, &self.second].into_iter()
    }
}

impl VisitLinears for TimeEmbedding {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        visit(&mut self.first);
        visit(&mut self.second);
    }
}

/// Joins latents and conditions frame by frame, and adds positions by two grouped convolutions.
pub(crate) struct InputEmbedding {
    proj: Linear,
    convolutions: [(Tensor, Tensor); 2],
}

/// What enters the first block; all `[batch, frames, ..]` but style and time, which are `[batch, cond_dim]`.
pub(crate) struct Joined<'a> {
    pub(crate) x: &'a Tensor,
    pub(crate) audio: &'a Tensor,
    pub(crate) text: &'a Tensor,
    pub(crate) style: &'a Tensor,
    pub(crate) time: &'a Tensor,
}

impl InputEmbedding {
    pub(crate) fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, WeightsError> {
        let joined = 2 * config.mel_dim + config.text_dim + 2 * config.cond_dim;
        let convolution = |name: &str| {
            let scope = scope.pp("conv_pos_embed.conv1d").pp(name);
            let weight = scope.get(
                "weight",
                &[config.dim, config.dim / POSITION_GROUPS, POSITION_TAPS],
            )?;
            Ok::<_, WeightsError>((weight, scope.get("bias", &[config.dim])?))
        };
        Ok(Self {
            proj: Linear::load(&scope.pp("proj"), joined, config.dim, true)?,
            convolutions: [convolution("0")?, convolution("2")?],
        })
    }

    /// To `[batch, frames, dim]`.
    pub(crate) fn forward(
        &self,
        joined: &Joined<'_>,
        mode: &Mode,
        trace: Trace<'_>,
    ) -> Result<Tensor> {
        let (batch, frames, _) = joined.x.dims3()?;
        let every_frame = |vector: &Tensor| {
            let width = vector.dim(1)?;
            vector
                .unsqueeze(1)?
                .broadcast_as((batch, frames, width))?
                .contiguous()
        };
        let (style, time) = (every_frame(joined.style)?, every_frame(joined.time)?);
        let together = Tensor::cat(&[joined.x, joined.audio, joined.text, &style, &time], 2)?;
        let projected = self.proj.forward(&together, mode)?;
        trace("input_proj", &projected);
        let options = Conv1dOptions {
            padding: POSITION_TAPS / 2,
            groups: POSITION_GROUPS,
            ..Conv1dOptions::default()
        };
        let mut positions = projected.transpose(1, 2)?;
        for (weight, bias) in &self.convolutions {
            positions = mish(&conv1d(&positions, weight, Some(bias), &options)?)?;
        }
        let embedded = (positions.transpose(1, 2)?.contiguous()? + projected)?;
        trace("input_embed", &embedded);
        Ok(embedded)
    }
}

impl InputEmbedding {
    pub(crate) fn linear(&self) -> &Linear {
        &self.proj
    }
}

impl VisitLinears for InputEmbedding {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        visit(&mut self.proj);
    }
}
