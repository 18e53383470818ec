//! `config.json` of MuQ-MuLan (`MuQMuLanConfig` of `muq_mulan.py`).

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{check, check_sizes, parse, read};
use crate::EmbedError;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuLanConfig {
    /// What both towers share.
    pub mulan: MuLanSizes,
    /// The model below the audio tower.
    pub audio_model: TowerConfig,
    /// The model below the text tower.
    pub text_model: TowerConfig,
    /// The audio tower's own transformer.
    pub audio_transformer: HeadConfig,
    /// The text tower's own transformer.
    pub text_transformer: HeadConfig,
    #[serde(default, rename = "hf_hub_cache_dir")]
    _cache_folder: IgnoredAny,
}

/// What both towers share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuLanSizes {
    /// Sample rate in hertz.
    #[serde(rename = "sr", default = "default_rate")]
    pub sample_rate_hz: u32,
    /// Seconds that the audio tower takes at a time.
    #[serde(default = "default_clip")]
    pub clip_secs: f64,
    /// Width of the common space.
    #[serde(default = "default_latent")]
    pub dim_latent: usize,
    /// Whether the towers' inner layers were trained to agree too; it adds tensors that no embedding needs.
    #[serde(default)]
    pub hierarchical_contrastive_loss: bool,
    #[serde(default, rename = "hierarchical_contrastive_loss_layers")]
    _hierarchical_layers: IgnoredAny,
    #[serde(default, rename = "decoupled_contrastive_learning")]
    _decoupled: IgnoredAny,
    #[serde(default, rename = "sigmoid_contrastive_loss")]
    _sigmoid: IgnoredAny,
    #[serde(default, rename = "rank_contrast")]
    _rank: IgnoredAny,
}

/// The pretrained model below a tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerConfig {
    /// Its repository or name, which tells its kind.
    pub name: String,
    /// Its width; as wide as the tower when there is none.
    #[serde(default)]
    pub model_dim: Option<usize>,
    /// Which of its hidden states the tower sees: 0 enters the first layer, negative ones count from the last.
    #[serde(default = "default_layer")]
    pub use_layer_idx: isize,
}

/// A tower's own transformer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Width.
    #[serde(default = "default_dim")]
    pub dim: usize,
    /// Layers.
    #[serde(default = "default_depth", rename = "tf_depth")]
    pub depth: usize,
    /// Heads of each attention.
    #[serde(default = "default_heads")]
    pub heads: usize,
    /// Features of a head.
    #[serde(default = "default_dim_head")]
    pub dim_head: usize,
    /// Width of the feed-forward network, in units of 2/3 of `dim`.
    #[serde(default = "default_ff")]
    pub ff_mult: usize,
    #[serde(default, rename = "attn_dropout")]
    _attention_dropout: IgnoredAny,
    #[serde(default, rename = "ff_dropout")]
    _feed_forward_dropout: IgnoredAny,
    #[serde(default, rename = "max_seq_len")]
    _max_length: IgnoredAny,
}

fn default_rate() -> u32 {
    24_000
}

fn default_clip() -> f64 {
    10.0
}

fn default_latent() -> usize {
    512
}

fn default_layer() -> isize {
    -1
}

fn default_dim() -> usize {
    768
}

fn default_depth() -> usize {
    8
}

fn default_heads() -> usize {
    8
}

fn default_dim_head() -> usize {
    64
}

fn default_ff() -> usize {
    4
}

impl MuLanConfig {
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

    /// Samples of a clip.
    pub fn clip_samples(&self) -> usize {
        (self.mulan.clip_secs * f64::from(self.mulan.sample_rate_hz)).round() as usize
    }

    /// Whether a layer lies between XLM-RoBERTa and the text tower's transformer: only where the widths differ.
    pub(crate) fn has_text_projection(&self) -> bool {
        let width = self.text_model.model_dim;
        width.is_some_and(|width| width != self.text_transformer.dim)
    }

    /// Width of the audio model; the reference's own default is MuQ's.
    pub(crate) fn audio_width(&self) -> usize {
        self.audio_model.model_dim.unwrap_or(1024)
    }

    fn validate(&self, origin: &str) -> Result<(), EmbedError> {
        let (audio, text) = (&self.audio_model.name, &self.text_model.name);
        check(audio.to_lowercase().contains("muq"), origin, || {
            format!("audio_model is {audio:?}, only MuQ is supported; use OpenMuQ/MuQ-MuLan-large")
        })?;
        check(text.contains("xlm-roberta"), origin, || {
            format!(
                "text_model is {text:?}, only XLM-RoBERTa is supported; use OpenMuQ/MuQ-MuLan-large"
            )
        })?;
        let rate = self.mulan.sample_rate_hz;
        check(rate == crate::mel::SAMPLE_RATE_HZ, origin, || {
            format!(
                "sr is {rate}, expected {} (MuQ's own rate)",
                crate::mel::SAMPLE_RATE_HZ
            )
        })?;
        let samples = self.mulan.clip_secs * f64::from(rate);
        check(
            samples >= 1.0 && samples.fract() == 0.0 && samples < f64::from(u32::MAX),
            origin,
            || {
                format!(
                    "clip_secs is {}, expected a length of whole samples above 0",
                    self.mulan.clip_secs
                )
            },
        )?;
        check_sizes(origin, &[("dim_latent", self.mulan.dim_latent)])?;
        self.audio_transformer.validate(origin)?;
        self.text_transformer.validate(origin)
    }
}

impl HeadConfig {
    /// Width of the feed-forward network behind its gate.
    pub(crate) fn hidden(&self) -> usize {
        self.dim * self.ff_mult * 2 / 3
    }

    fn validate(&self, origin: &str) -> Result<(), EmbedError> {
        check_sizes(
            origin,
            &[
                ("dim", self.dim),
                ("heads", self.heads),
                ("dim_head", self.dim_head),
                ("ff_mult", self.ff_mult),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED: &str = r#"{"mulan": {"sr": 24000, "clip_secs": 10, "dim_latent": 512, "rank_contrast": true},
        "audio_model": {"name": "OpenMuQ/MuQ-large-msd-iter", "model_dim": 1024, "use_layer_idx": -1},
        "text_model": {"name": "xlm-roberta-base", "model_dim": null},
        "audio_transformer": {"dim": 768, "attn_dropout": 0.0}, "text_transformer": {"max_seq_len": 1024}}"#;

    #[test]
    fn defaults_are_the_package_s() {
        let config = MuLanConfig::from_json(RELEASED, "config.json").unwrap();
        assert_eq!(config.clip_samples(), 240_000);
        assert_eq!(config.audio_transformer, config.text_transformer);
        assert_eq!(config.audio_transformer.hidden(), 2048);
        assert!(!config.has_text_projection());
    }

    #[test]
    fn other_models_are_named() {
        let error = |from: &str, to: &str| {
            assert!(RELEASED.contains(from), "{from}");
            MuLanConfig::from_json(&RELEASED.replace(from, to), "config.json")
                .unwrap_err()
                .to_string()
        };
        assert!(error("OpenMuQ/MuQ-large-msd-iter", "m-a-p/MERT-v1-330M").contains("MERT"));
        assert!(error("xlm-roberta-base", "Qwen/Qwen2").contains("XLM-RoBERTa"));
        assert!(error("24000", "44100").contains("expected 24000"));
        assert!(error(r#""clip_secs": 10"#, r#""clip_secs": 0"#).contains("clip_secs"));
        assert!(error(r#""clip_secs": 10"#, r#""clip_secs": 1e300"#).contains("clip_secs"));
        assert!(error("dim_latent", "dim_colour").contains("dim_colour"));
        assert!(error("512", "0").contains("dim_latent is 0"));
    }
}
