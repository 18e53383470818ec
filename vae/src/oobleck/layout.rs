//! The two naming schemes under which the same tensors are published.

use crate::identity::Source;

/// Who named the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `encoder.block.0.res_unit1.snake1.alpha [1, channels, 1]`
    Diffusers,
    /// `encoder.layers.1.layers.0.layers.0.alpha [channels]`, as in Stable Audio and DiffRhythm.
    StableAudioTools,
}

impl Layout {
    /// Recognised by the decoder's first layer.
    pub(crate) fn detect(source: &Source) -> Self {
        if source.contains("decoder.layers.0.bias") {
            Self::StableAudioTools
        } else {
            Self::Diffusers
        }
    }

    pub(crate) fn snake_shape(self, channels: usize) -> Vec<usize> {
        match self {
            Self::Diffusers => vec![1, channels, 1],
            Self::StableAudioTools => vec![channels],
        }
    }

    pub(crate) fn first_convolution(self) -> &'static str {
        self.choose("conv1", "layers.0")
    }

    pub(crate) fn block(self, index: usize) -> String {
        match self {
            Self::Diffusers => format!("block.{index}"),
            Self::StableAudioTools => format!("layers.{}", index + 1),
        }
    }

    pub(crate) fn last_snake(self, blocks: usize) -> String {
        match self {
            Self::Diffusers => "snake1".to_owned(),
            Self::StableAudioTools => format!("layers.{}", blocks + 1),
        }
    }

    pub(crate) fn last_convolution(self, blocks: usize) -> String {
        match self {
            Self::Diffusers => "conv2".to_owned(),
            Self::StableAudioTools => format!("layers.{}", blocks + 2),
        }
    }

    /// Of an encoder block: its residual units, its snake, its strided convolution.
    pub(crate) fn down(self) -> ([&'static str; 3], &'static str, &'static str) {
        match self {
            Self::Diffusers => (["res_unit1", "res_unit2", "res_unit3"], "snake1", "conv1"),
            Self::StableAudioTools => {
                (["layers.0", "layers.1", "layers.2"], "layers.3", "layers.4")
            }
        }
    }

    /// Of a decoder block: its snake, its transposed convolution, its residual units.
    pub(crate) fn up(self) -> (&'static str, &'static str, [&'static str; 3]) {
        match self {
            Self::Diffusers => ("snake1", "conv_t1", ["res_unit1", "res_unit2", "res_unit3"]),
            Self::StableAudioTools => {
                ("layers.0", "layers.1", ["layers.2", "layers.3", "layers.4"])
            }
        }
    }

    /// Of a residual unit: snake, dilated convolution, snake, pointwise convolution.
    pub(crate) fn residual(self) -> [&'static str; 4] {
        match self {
            Self::Diffusers => ["snake1", "conv1", "snake2", "conv2"],
            Self::StableAudioTools => ["layers.0", "layers.1", "layers.2", "layers.3"],
        }
    }

    fn choose(self, diffusers: &'static str, stable_audio_tools: &'static str) -> &'static str {
        match self {
            Self::Diffusers => diffusers,
            Self::StableAudioTools => stable_audio_tools,
        }
    }
}
