//! A conformer layer (Gulati et al. 2020; transformers' `Wav2Vec2ConformerEncoderLayer`): half a feed-forward network,
//! attention, convolution, the other half.

use candle_core::{D, Tensor};
use nn::ops::{Conv1dOptions, FrozenConv1d, Fused, RotaryTable, gelu_erf, silu};
use nn::{Linear, Scope};

use super::attention::RotaryAttention;
use crate::EmbedError;
use crate::config::{Activation, MuQConfig};
use crate::layers::{FoldedNorm, LayerNorm, NORM_EPSILON, linear};

/// `[batch, frames, encoder_dim]` to the same.
#[derive(Debug)]
pub(super) struct ConformerLayer {
    first: FeedForward,
    attention_norm: LayerNorm,
    attention: RotaryAttention,
    convolution: ConvolutionModule,
    second: FeedForward,
    norm: LayerNorm,
}

impl ConformerLayer {
    pub(super) fn load(config: &MuQConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let (width, heads) = (config.encoder_dim, config.conformer.num_attention_heads);
        let norm = |name: &str| LayerNorm::load(&scope.pp(name), width, NORM_EPSILON);
        Ok(Self {
            first: FeedForward::load(config, scope, "ffn1")?,
            attention_norm: norm("self_attn_layer_norm")?,
            attention: RotaryAttention::load(&scope.pp("self_attn"), width, heads)?,
            convolution: ConvolutionModule::load(config, &scope.pp("conv_module"))?,
            second: FeedForward::load(config, scope, "ffn2")?,
            norm: norm("final_layer_norm")?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, table: &RotaryTable) -> Result<Tensor, EmbedError> {
        let x = (x + self.first.forward(x)?)?;
        let x = (&x
            + self
                .attention
                .forward(&self.attention_norm.forward(&x)?, table)?)?;
        let x = (&x + self.convolution.forward(&x)?)?;
        let x = (&x + self.second.forward(&x)?)?;
        self.norm.forward(&x)
    }
}

fn activate(activation: Activation, x: &Tensor) -> Result<Tensor, EmbedError> {
    Ok(match activation {
        Activation::Silu => silu(x)?,
        Activation::Gelu => gelu_erf(x)?,
    })
}

/// A norm and a two-layer network, half of whose result is added.
#[derive(Debug)]
struct FeedForward {
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    activation: Activation,
}

impl FeedForward {
    fn load(config: &MuQConfig, scope: &Scope, name: &str) -> Result<Self, EmbedError> {
        let (width, hidden) = (config.encoder_dim, config.conformer.intermediate_size);
        let network = scope.pp(name);
        Ok(Self {
            norm: LayerNorm::load(&scope.pp(format!("{name}_layer_norm")), width, NORM_EPSILON)?,
            expand: Linear::load(&network.pp("intermediate_dense"), width, hidden, true)?,
            contract: Linear::load(&network.pp("output_dense"), hidden, width, true)?,
            activation: config.conformer.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        let hidden = linear(&self.expand, &self.norm.forward(x)?)?;
        let y = linear(&self.contract, &activate(self.activation, &hidden)?)?;
        Ok((y * 0.5)?)
    }
}

/// A gated projection, a depthwise convolution over time with its batch norm, and a projection back.
#[derive(Debug)]
struct ConvolutionModule {
    norm: LayerNorm,
    gated: Linear,
    depthwise: FrozenConv1d,
    output: Linear,
    activation: Activation,
}

impl ConvolutionModule {
    fn load(config: &MuQConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let (width, taps) = (
            config.encoder_dim,
            config.conformer.conv_depthwise_kernel_size,
        );
        let weight = scope
            .pp("depthwise_conv")
            .get("weight", &[width, 1, taps])?;
        let (weight, bias) =
            FoldedNorm::load(&scope.pp("batch_norm"), width)?.fold(&weight, None)?;
        let options = Conv1dOptions {
            padding: taps / 2,
            groups: width,
            ..Conv1dOptions::default()
        };
        Ok(Self {
            norm: LayerNorm::load(&scope.pp("layer_norm"), width, NORM_EPSILON)?,
            gated: pointwise(&scope.pp("pointwise_conv1"), width, 2 * width)?,
            depthwise: FrozenConv1d::new(&weight, Some(&bias), options)?,
            output: pointwise(&scope.pp("pointwise_conv2"), width, width)?,
            activation: config.conformer.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        let gated = linear(&self.gated, &self.norm.forward(x)?)?;
        let width = gated.dim(D::Minus1)? / 2;
        let (value, gate) = (
            gated.narrow(D::Minus1, 0, width)?,
            gated.narrow(D::Minus1, width, width)?,
        );
        let share = (gate.neg()?.exp()? + 1.0)?.recip()?;
        let channels_first = (value * share)?.transpose(1, 2)?.contiguous()?;
        let mixed = self.depthwise.forward(&channels_first, Fused::default())?;
        let mixed = activate(self.activation, &mixed.transpose(1, 2)?.contiguous()?)?;
        linear(&self.output, &mixed)
    }
}

/// A convolution of one tap, which is a linear layer on each frame.
fn pointwise(scope: &Scope, inputs: usize, outputs: usize) -> Result<Linear, EmbedError> {
    let weight = scope.get("weight", &[outputs, inputs, 1])?.squeeze(2)?;
    let mut layer = Linear::new(scope.path(), weight, None)?;
    layer.store(scope.weights().precision())?;
    Ok(layer)
}
