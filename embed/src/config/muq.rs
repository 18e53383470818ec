//! `config.json` of MuQ (`MuQConfig` of `muq.py`).

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Activation, check, check_sizes, parse, read};
use crate::EmbedError;
use crate::mel::{BANDS, HOP};

/// Mel frames a second.
const MEL_RATE: usize = 100;
/// The model that MuQ-MuLan-large listens with.
const RELEASED: &str = "OpenMuQ/MuQ-large-msd-iter";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuQConfig {
    /// Features a second: 25 or 50.
    #[serde(default = "default_label_rate")]
    pub label_rate: usize,
    /// Samples from one mel frame to the next.
    #[serde(default = "default_hop")]
    pub hop_length: usize,
    /// Mel bands.
    #[serde(default = "default_bands")]
    pub n_mels: usize,
    /// Channels of the convolutions.
    #[serde(default = "default_conv")]
    pub conv_dim: usize,
    /// Width of the conformer.
    #[serde(default = "default_width")]
    pub encoder_dim: usize,
    /// Layers of the conformer.
    #[serde(default = "default_depth")]
    pub encoder_depth: usize,
    /// What mel levels are normalised with.
    pub stat: MelStatistics,
    /// The conformer.
    #[serde(rename = "w2v2_config")]
    pub conformer: ConformerConfig,
    // What follows matters in training alone.
    #[serde(default, rename = "num_codebooks")]
    _num_codebooks: IgnoredAny,
    #[serde(default, rename = "codebook_dim")]
    _codebook_dim: IgnoredAny,
    #[serde(default, rename = "codebook_size")]
    _codebook_size: IgnoredAny,
    #[serde(default, rename = "features")]
    _features: IgnoredAny,
    #[serde(default, rename = "mask_hop")]
    _mask_hop: IgnoredAny,
    #[serde(default, rename = "mask_prob")]
    _mask_prob: IgnoredAny,
    /// Another implementation of the same conformer.
    #[serde(default, rename = "is_flash")]
    _is_flash: IgnoredAny,
    #[serde(default, rename = "use_rvq_target")]
    _use_rvq_target: IgnoredAny,
    #[serde(default, rename = "use_vq_target")]
    _use_vq_target: IgnoredAny,
    #[serde(default, rename = "use_encodec_target")]
    _use_encodec_target: IgnoredAny,
    #[serde(default, rename = "rvq_ckpt_path")]
    _rvq_ckpt_path: IgnoredAny,
    #[serde(default, rename = "recon_loss_ratio")]
    _recon_loss_ratio: IgnoredAny,
    #[serde(default, rename = "resume_checkpoint")]
    _resume_checkpoint: IgnoredAny,
    #[serde(default, rename = "rvq_n_codebooks")]
    _rvq_n_codebooks: IgnoredAny,
    #[serde(default, rename = "rvq_multi_layer_num")]
    _rvq_multi_layer_num: IgnoredAny,
}

/// Mean and deviation of the training set's mel levels, in decibels. The released file has those of other features too.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MelStatistics {
    /// Mean.
    #[serde(rename = "melspec_2048_mean")]
    pub mean_db: f64,
    /// Standard deviation.
    #[serde(rename = "melspec_2048_std")]
    pub deviation_db: f64,
}

/// What matters here of transformers' `Wav2Vec2ConformerConfig`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConformerConfig {
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width of the feed-forward networks.
    pub intermediate_size: usize,
    /// Activation of feed-forward networks and convolutions.
    #[serde(default = "default_activation")]
    pub hidden_act: Activation,
    /// Of the last layer norm; the others always have 1e-5.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// `rotary` for MuQ.
    pub position_embeddings_type: Option<String>,
    /// Base of the rotary angles.
    #[serde(default = "default_base")]
    pub rotary_embedding_base: f64,
    /// Frames that a depthwise convolution spans.
    #[serde(default = "default_kernel")]
    pub conv_depthwise_kernel_size: usize,
}

fn default_label_rate() -> usize {
    25
}

fn default_hop() -> usize {
    HOP
}

fn default_bands() -> usize {
    BANDS
}

fn default_conv() -> usize {
    512
}

fn default_width() -> usize {
    1024
}

fn default_depth() -> usize {
    12
}

fn default_activation() -> Activation {
    Activation::Gelu
}

fn default_epsilon() -> f64 {
    1e-5
}

fn default_base() -> f64 {
    10_000.0
}

fn default_kernel() -> usize {
    31
}

impl MuQConfig {
    /// From `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, or describes another model.
    pub fn read(path: &Path) -> Result<Self, EmbedError> {
        let config: Self = read(path)?;
        config.validate(&path.display().to_string())?;
        Ok(config)
    }

    /// From JSON; `origin` names it in errors.
    ///
    /// # Errors
    /// When it describes another model.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, EmbedError> {
        let config: Self = parse(text, origin)?;
        config.validate(origin)?;
        Ok(config)
    }

    /// The configuration of a released model, for when its file is not at hand. Sizes are the package's defaults and
    /// those of facebook/wav2vec2-conformer-rope-large-960h-ft; mean and deviation are those of the Million Song
    /// Dataset, as published with MusicFM (`msd_stats.json`).
    ///
    /// # Errors
    /// When no such model is known.
    pub fn released(name: &str) -> Result<Self, EmbedError> {
        if name != RELEASED {
            return Err(EmbedError::Config {
                origin: name.to_owned(),
                reason: format!(
                    "only {RELEASED} is known by name; give the config.json of the audio model"
                ),
            });
        }
        let text = r#"{"stat": {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623},
            "w2v2_config": {"num_attention_heads": 16, "intermediate_size": 4096, "hidden_act": "swish",
            "position_embeddings_type": "rotary"}}"#;
        Self::from_json(text, name)
    }

    /// Mel frames that become one feature.
    pub(crate) fn fold(&self) -> usize {
        MEL_RATE / self.label_rate
    }

    /// Time strides of the two convolution modules.
    pub(crate) fn time_strides(&self) -> [usize; 2] {
        if self.fold() == 4 { [2, 2] } else { [2, 1] }
    }

    fn validate(&self, origin: &str) -> Result<(), EmbedError> {
        let conformer = &self.conformer;
        check_sizes(
            origin,
            &[
                ("label_rate", self.label_rate),
                ("conv_dim", self.conv_dim),
                ("encoder_dim", self.encoder_dim),
                ("num_attention_heads", conformer.num_attention_heads),
                ("intermediate_size", conformer.intermediate_size),
            ],
        )?;
        check(matches!(self.fold(), 2 | 4), origin, || {
            format!("label_rate is {}, expected 25 or 50", self.label_rate)
        })?;
        for (name, actual, expected) in [
            ("hop_length", self.hop_length, HOP),
            ("n_mels", self.n_mels, BANDS),
        ] {
            check(actual == expected, origin, || {
                format!("{name} is {actual}, expected {expected}")
            })?;
        }
        let MelStatistics {
            mean_db,
            deviation_db,
        } = self.stat;
        check(
            mean_db.is_finite() && deviation_db.is_finite() && deviation_db > 0.0,
            origin,
            || {
                format!(
                    "stat has mean {mean_db} and deviation {deviation_db}, expected finite ones, the second above 0"
                )
            },
        )?;
        conformer.validate(self.encoder_dim, origin)
    }
}

impl ConformerConfig {
    fn validate(&self, width: usize, origin: &str) -> Result<(), EmbedError> {
        let positions = self.position_embeddings_type.as_deref();
        check(positions == Some("rotary"), origin, || {
            format!("position_embeddings_type is {positions:?}, expected rotary")
        })?;
        let heads = self.num_attention_heads;
        check(width.is_multiple_of(2 * heads), origin, || {
            format!(
                "encoder_dim is {width}, expected a multiple of twice num_attention_heads, {}",
                2 * heads
            )
        })?;
        let kernel = self.conv_depthwise_kernel_size;
        check(kernel % 2 == 1, origin, || {
            format!("conv_depthwise_kernel_size is {kernel}, expected an odd number")
        })?;
        let (base, epsilon) = (self.rotary_embedding_base, self.layer_norm_eps);
        check(
            base.is_finite() && base > 0.0 && epsilon.is_finite() && epsilon > 0.0,
            origin,
            || {
                format!(
                    "rotary_embedding_base is {base} and layer_norm_eps {epsilon}, expected finite ones above 0"
                )
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"label_rate": 25, "is_flash": false, "encoder_dim": 32, "rvq_n_codebooks": 8,
        "stat": {"melspec_2048_mean": 6.7, "melspec_2048_std": 18.4, "chromagram_mean": 0.4},
        "w2v2_config": {"architectures": ["Any"], "num_attention_heads": 4, "intermediate_size": 48,
        "hidden_act": "swish", "position_embeddings_type": "rotary", "layerdrop": 0.1}}"#;

    #[test]
    fn known_and_released() {
        let config = MuQConfig::from_json(SMALL, "config.json").unwrap();
        assert_eq!(config.conformer.hidden_act, Activation::Silu);
        assert_eq!(config.conformer.conv_depthwise_kernel_size, 31);
        assert_eq!(config.time_strides(), [2, 2]);
        let released = MuQConfig::released(RELEASED).unwrap();
        assert_eq!(
            (
                released.encoder_dim,
                released.encoder_depth,
                released.conv_dim
            ),
            (1024, 12, 512)
        );
        let unknown = MuQConfig::released("someone/MuQ").unwrap_err().to_string();
        assert!(
            unknown.contains("config.json of the audio model"),
            "{unknown}"
        );
    }

    #[test]
    fn what_would_change_the_result_is_refused() {
        let error = |from: &str, to: &str| {
            assert!(SMALL.contains(from), "{from}");
            MuQConfig::from_json(&SMALL.replace(from, to), "muq.json")
                .unwrap_err()
                .to_string()
        };
        assert!(error("rotary", "relative").contains("expected rotary"));
        assert!(error("swish", "mish").contains("mish"));
        assert!(error("\"label_rate\": 25", "\"label_rate\": 100").contains("25 or 50"));
        assert!(error("is_flash", "is_flush").contains("is_flush"));
        assert!(error("melspec_2048_std", "std").contains("melspec_2048_std"));
        assert!(error("18.4", "0").contains("deviation 0"));
        assert!(error("\"encoder_dim\": 32", "\"encoder_dim\": 33").contains("multiple"));
        assert!(
            error("\"encoder_dim\"", "\"hop_length\": 160, \"encoder_dim\"")
                .contains("hop_length is 160")
        );
    }
}
