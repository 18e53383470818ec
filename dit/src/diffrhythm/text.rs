//! The text embedding: one token per latent frame, positions, ConvNeXt V2 blocks (Woo et al. 2023).

use super::config::Config;
use candle_core::{Result, Tensor, bail};
use nn::ops::{Conv1dOptions, conv1d, gelu_erf, grn, layer_norm};
use nn::{Linear, Mode, Scope, VisitLinears};

/// Taps of a block's depthwise convolution.
const TAPS: usize = 7;
/// Width of a block's inner layer over its outer.
const EXPANSION: usize = 2;
const NORM_EPSILON: f64 = 1e-6;
/// Lowest frequency of the positions is one over this.
const PERIOD: f32 = 10_000.0;

/// Tokens to vectors that know their neighbours.
pub(crate) struct TextEmbedding {
    table: Tensor,
    /// `[max_frames, text_dim]`; none without blocks, as in the reference.
    positions: Option<Tensor>,
    blocks: Vec<ConvNext>,
}

impl TextEmbedding {
    pub(crate) fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, crate::Error> {
        let table = scope
            .pp("text_embed")
            .get("weight", &[config.text_num_embeds + 1, config.text_dim])?;
        let blocks = (0..config.conv_layers)
            .map(|number| {
                ConvNext::load(
                    &scope.pp("text_blocks").pp(number.to_string()),
                    config.text_dim,
                )
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let positions = match blocks.is_empty() {
            true => None,
            false => Some(positions(
                config.max_frames,
                config.text_dim,
                table.device(),
            )?),
        };
        Ok(Self {
            table,
            positions,
            blocks,
        })
    }

    /// `[batch, frames]` tokens (u32) to `[batch, frames, text_dim]`.
    pub(crate) fn forward(&self, tokens: &Tensor, mode: &Mode) -> Result<Tensor> {
        let (batch, frames) = tokens.dims2()?;
        let (known, width) = self.table.dims2()?;
        let tokens = tokens.flatten_all()?;
        if let Some(unknown) = tokens
            .to_vec1::<u32>()?
            .into_iter()
            .find(|&token| token as usize >= known)
        {
            bail!("text: token {unknown}, the model knows 0 to {}", known - 1);
        }
        let mut x = self
            .table
            .index_select(&tokens, 0)?
            .reshape((batch, frames, width))?;
        if let Some(positions) = &self.positions {
            x = x.broadcast_add(&clamped_rows(positions, frames)?)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(x)
    }
}

/// The first `frames` rows of a table; past its end, its last row again.
fn clamped_rows(table: &Tensor, frames: usize) -> Result<Tensor> {
    let rows = table.dim(0)?;
    if frames <= rows {
        return table.narrow(0, 0, frames);
    }
    let last = table
        .narrow(0, rows - 1, 1)?
        .broadcast_as((frames - rows, table.dim(1)?))?;
    Tensor::cat(&[table, &last.contiguous()?], 0)
}

/// Cosines, then sines of `position / 10000^(2 i / width)`.
fn positions(frames: usize, width: usize, device: &candle_core::Device) -> Result<Tensor> {
    let frequencies: Vec<f32> = (0..width / 2)
        .map(|index| 1.0 / PERIOD.powf((2 * index) as f32 / width as f32))
        .collect();
    let values: Vec<f32> = (0..frames)
        .flat_map(|frame| {
            let angles = frequencies
                .iter()
                .map(move |frequency| frame as f32 * frequency);
            angles.clone().map(f32::cos).chain(angles.map(f32::sin))
        })
        .collect();
    Tensor::from_vec(values, (frames, width), device)
}

impl TextEmbedding {
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.blocks
            .iter()
            .flat_map(|block| [&block.pwconv1, &block.pwconv2])
    }
}

impl VisitLinears for TextEmbedding {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        for block in &mut self.blocks {
            visit(&mut block.pwconv1);
            visit(&mut block.pwconv2);
        }
    }
}

struct ConvNext {
    dwconv: (Tensor, Tensor),
    norm: (Tensor, Tensor),
    pwconv1: Linear,
    grn: (Tensor, Tensor),
    pwconv2: Linear,
}

impl ConvNext {
    fn load(scope: &Scope, width: usize) -> std::result::Result<Self, crate::Error> {
        let inner = EXPANSION * width;
        let (dwconv, norm, response) = (scope.pp("dwconv"), scope.pp("norm"), scope.pp("grn"));
        Ok(Self {
            dwconv: (
                dwconv.get("weight", &[width, 1, TAPS])?,
                dwconv.get("bias", &[width])?,
            ),
            norm: (norm.get("weight", &[width])?, norm.get("bias", &[width])?),
            pwconv1: Linear::load(&scope.pp("pwconv1"), width, inner, true)?,
            grn: (
                response.get("gamma", &[1, 1, inner])?.flatten_all()?,
                response.get("beta", &[1, 1, inner])?.flatten_all()?,
            ),
            pwconv2: Linear::load(&scope.pp("pwconv2"), inner, width, true)?,
        })
    }

    /// `[batch, frames, width]` to the same.
    fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let options = Conv1dOptions {
            padding: TAPS / 2,
            groups: x.dim(2)?,
            ..Conv1dOptions::default()
        };
        let (weight, bias) = &self.dwconv;
        let mixed = conv1d(&x.transpose(1, 2)?, weight, Some(bias), &options)?.transpose(1, 2)?;
        let normal = layer_norm(&mixed, Some((&self.norm.0, &self.norm.1)), NORM_EPSILON)?;
        let wide = gelu_erf(&self.pwconv1.forward(&normal, mode)?)?;
        let wide = grn(&wide, &self.grn.0, &self.grn.1)?;
        x + self.pwconv2.forward(&wide, mode)?
    }
}
