//! The convolutions over bands and time that quarter both (`Conv2dSubsampling` of `conv.py`).

use candle_core::Tensor;
use nn::{Linear, Scope};

use super::convolution::{Convolution, Rows};
use crate::EmbedError;
use crate::config::MuQConfig;
use crate::layers::linear;
use crate::mel::BANDS;

/// Bands that two strides of two leave.
const BANDS_LEFT: usize = BANDS / 4;

/// Mel levels `[batch, bands, mel_frames]` to features `[batch, frames, encoder_dim]`.
#[derive(Debug)]
pub(super) struct Subsampling {
    blocks: [ResidualBlock; 2],
    projection: Linear,
    channels: usize,
}

impl Subsampling {
    pub(super) fn load(config: &MuQConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let channels = config.conv_dim;
        let [first, second] = config.time_strides();
        let block = |name: &str, inputs, stride| {
            ResidualBlock::load(&scope.pp("conv").pp(name), inputs, channels, stride)
        };
        Ok(Self {
            blocks: [block("0", 1, first)?, block("1", channels, second)?],
            projection: Linear::load(
                &scope.pp("linear"),
                channels * BANDS_LEFT,
                config.encoder_dim,
                true,
            )?,
            channels,
        })
    }

    pub(super) fn forward(&self, mel: &Tensor) -> Result<Tensor, EmbedError> {
        let (batch, bands, _) = mel.dims3()?;
        if bands != BANDS {
            let message = format!("mel levels of {bands} bands, expected {BANDS}");
            return Err(candle_core::Error::Msg(message).into());
        }
        let items = (0..batch).map(|item| {
            let mut rows = Rows::new(mel.get(item)?.unsqueeze(1)?)?;
            for block in &self.blocks {
                rows = block.forward(&rows)?;
            }
            let frames = rows.frames()?;
            // Channel by channel, in each the bands: that is how the projection was trained.
            Ok(rows
                .into_tensor()
                .permute((2, 1, 0))?
                .reshape((frames, self.channels * BANDS_LEFT))?)
        });
        let items = items.collect::<Result<Vec<Tensor>, EmbedError>>()?;
        linear(&self.projection, &Tensor::stack(&items, 0)?)
    }
}

/// Two convolutions with batch norms around a third that halves bands and, with `time_stride` 2, time (`Res2dModule`).
#[derive(Debug)]
struct ResidualBlock {
    /// The first convolution and the one on the skip, which see the same: `[2 * channels]` results.
    halving: Convolution,
    second: Convolution,
    channels: usize,
}

impl ResidualBlock {
    fn load(
        scope: &Scope,
        inputs: usize,
        channels: usize,
        time_stride: usize,
    ) -> Result<Self, EmbedError> {
        let part = |convolution: &str, norm: &str, inputs| {
            Convolution::folded(&scope.pp(convolution), &scope.pp(norm), inputs, channels)
        };
        let (weight, bias) = part("conv1", "bn1", inputs)?;
        let (skip_weight, skip_bias) = part("conv3", "bn3", inputs)?;
        let (second_weight, second_bias) = part("conv2", "bn2", channels)?;
        let weight = Tensor::cat(&[weight, skip_weight], 0)?;
        let bias = Tensor::cat(&[bias, skip_bias], 0)?;
        Ok(Self {
            halving: Convolution::new(&weight, &bias, [2, time_stride])?,
            second: Convolution::new(&second_weight, &second_bias, [1, 1])?,
            channels,
        })
    }

    fn forward(&self, x: &Rows) -> Result<Rows, EmbedError> {
        let both = self.halving.forward(x, None)?.into_tensor();
        let hidden = Rows::new(both.narrow(1, 0, self.channels)?.relu()?)?;
        let skip = both.narrow(1, self.channels, self.channels)?;
        drop(both);
        Rows::new(
            self.second
                .forward(&hidden, Some(&skip))?
                .into_tensor()
                .relu()?,
        )
    }
}
