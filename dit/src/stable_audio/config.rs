//! Sizes of the transformer, as diffusers' `config.json` has them.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;

const CLASS_NAME: &str = "StableAudioDiTModel";

/// Sizes. Names and defaults are those of diffusers' `StableAudioDiTModel`: the defaults are Stable Audio Open 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Latent frames the model was trained on; it takes any number.
    pub sample_size: usize,
    /// Latent channels that enter.
    pub in_channels: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads of self-attention, and of the queries of cross-attention.
    pub num_attention_heads: usize,
    /// Written by diffusers and not read: the heads of keys in cross-attention follow from `cross_attention_dim`.
    pub num_key_value_attention_heads: usize,
    /// Latent channels that leave.
    pub out_channels: usize,
    /// Width of the prompt inside of the blocks.
    pub cross_attention_dim: usize,
    /// Features of a time before its MLP, half of them sines.
    pub time_proj_dim: usize,
    /// Width of the global conditions.
    pub global_states_input_dim: usize,
    /// Width of the prompt as it enters.
    pub cross_attention_input_dim: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sample_size: 1024,
            in_channels: 64,
            num_layers: 24,
            attention_head_dim: 64,
            num_attention_heads: 24,
            num_key_value_attention_heads: 12,
            out_channels: 64,
            cross_attention_dim: 768,
            time_proj_dim: 256,
            global_states_input_dim: 1536,
            cross_attention_input_dim: 768,
        }
    }
}

impl Config {
    /// Reads and validates `config.json`'s text.
    ///
    /// # Errors
    /// When it does not parse, a key is unknown, or a size is impossible.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        if let Some(name) = entries.get("_class_name")
            && name != CLASS_NAME
        {
            return Err(Error::Config(format!(
                "it belongs to a {name}, expected a {CLASS_NAME}"
            )));
        }
        // Diffusers' notes on itself.
        entries.retain(|name, _| !name.starts_with('_'));
        let config: Self = serde_json::from_value(entries.into())?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be read, [`Error::File`] with what [`from_json`](Self::from_json) says of its text.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_json(&text).map_err(|error| Error::File {
            path: path.to_path_buf(),
            source: Box::new(error),
        })
    }

    /// Width of the transformer.
    pub fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Heads of keys and values in cross-attention.
    pub fn cross_heads(&self) -> usize {
        self.cross_attention_dim / self.attention_head_dim
    }

    /// Features of a head that are rotated: half of them, as the pipeline does.
    pub fn rotated(&self) -> usize {
        self.attention_head_dim / 2
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let sizes = [
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("out_channels", self.out_channels),
            ("cross_attention_dim", self.cross_attention_dim),
            ("time_proj_dim", self.time_proj_dim),
            ("global_states_input_dim", self.global_states_input_dim),
            ("cross_attention_input_dim", self.cross_attention_input_dim),
        ];
        /// Larger sizes overflow products of sizes, and no model comes near.
        const LARGEST: usize = 1 << 20;
        for (name, size) in sizes {
            if size == 0 || size > LARGEST {
                return Err(Error::Config(format!("{name} is {size}")));
            }
        }
        let fits = self.attention_head_dim.is_multiple_of(4)
            && self
                .cross_attention_dim
                .is_multiple_of(self.attention_head_dim)
            && self.num_attention_heads.is_multiple_of(self.cross_heads());
        if !fits {
            return Err(Error::Config(format!(
                "{} heads of {} features (a multiple of 4) cannot share a prompt of {} features",
                self.num_attention_heads, self.attention_head_dim, self.cross_attention_dim
            )));
        }
        if self.in_channels != self.out_channels || !self.time_proj_dim.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "in_channels {} must equal out_channels {}, and time_proj_dim {} be even",
                self.in_channels, self.out_channels, self.time_proj_dim
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, expected) in [
            (r#"{ "hidden": 3 }"#, "unknown field `hidden`"),
            (r#"{ "num_layers": 0 }"#, "num_layers is 0"),
            (r#"{ "time_proj_dim": 1e99 }"#, "invalid type"),
            (r#"{ "in_channels": 99999999 }"#, "in_channels is 99999999"),
            (r#"{ "attention_head_dim": 6 }"#, "cannot share"),
            (r#"{ "cross_attention_dim": 320 }"#, "cannot share"),
            (r#"{ "out_channels": 32 }"#, "must equal out_channels 32"),
            (r#"{ "_class_name": "UNet" }"#, "belongs to a \"UNet\""),
        ] {
            let message = Config::from_json(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_file_that_holds_none_is_named_and_its_fault_told_once() {
        let chain = |path: &Path| {
            let error = Config::from_file(path).unwrap_err();
            let mut told = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(cause) = next {
                told = format!("{told}: {cause}");
                next = cause.source();
            }
            told
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let missing = chain(&path);
        assert_eq!(missing.matches("No such file").count(), 1, "{missing}");
        for (text, fault) in [
            ("{", "EOF while parsing"),
            (r#"{ "hidden": 3 }"#, "unknown field `hidden`"),
            (r#"{ "num_layers": 0 }"#, "num_layers is 0"),
        ] {
            std::fs::write(&path, text).unwrap();
            let told = chain(&path);
            assert!(told.contains("config.json"), "{told}");
            assert_eq!(told.matches(fault).count(), 1, "{told}");
        }
    }

    #[test]
    fn the_defaults_are_stable_audio_open() {
        let config = Config::from_json("{}").unwrap();
        assert_eq!(
            (config.dim(), config.cross_heads(), config.rotated()),
            (1536, 12, 32)
        );
    }
}
