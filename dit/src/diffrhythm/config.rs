//! Sizes and flags of the transformer.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Frames at which the reference adds an embedding of the song's duration: its full-length model, and that one alone.
pub(crate) const DURATION_FRAMES: usize = 6144;
/// Groups of the positional convolution, fixed in the reference.
pub(crate) const POSITION_GROUPS: usize = 16;

/// Larger sizes overflow products of sizes, and no model comes near.
const LARGEST: usize = 1 << 20;
/// Numbers in the table of text positions, the only one that is made and not read from the file; the reference's has 3 million.
const LARGEST_TABLE: usize = 1 << 26;

/// Sizes and flags. Names follow the reference's configuration file where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Width of the transformer.
    pub dim: usize,
    /// Number of blocks; the text is fused into the first half of them.
    pub depth: usize,
    /// Read and ignored, as the reference does; see `attention_heads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Width of each block's MLP over `dim`.
    pub ff_mult: usize,
    /// Width of the text embedding; the reference's fusion layers need it equal to `cond_dim`.
    pub text_dim: usize,
    /// ConvNeXt blocks of the text embedding.
    pub conv_layers: usize,
    /// Latent channels.
    pub mel_dim: usize,
    /// Highest token; one more embedding is held for 0, "no token".
    pub text_num_embeds: usize,
    /// Longest sequence that text positions tell apart; 6144 also adds the duration embedding.
    #[serde(default = "default_max_frames")]
    pub max_frames: usize,
    /// Width of style vector and time embedding.
    #[serde(default = "default_cond_dim")]
    pub cond_dim: usize,
    /// Heads of self-attention: 32 in the reference whatever its file says.
    #[serde(default = "default_attention_heads")]
    pub attention_heads: usize,
    /// Whether frames see earlier frames only: true of the reference's version 1.0, false from 1.2 on.
    #[serde(default = "default_causal")]
    pub causal: bool,
}

fn default_max_frames() -> usize {
    2048
}

fn default_cond_dim() -> usize {
    512
}

fn default_attention_heads() -> usize {
    32
}

fn default_causal() -> bool {
    true
}

impl Config {
    /// Parses and validates.
    ///
    /// # Errors
    /// [`Error::Parse`] for unknown or missing keys, [`Error::Config`] for impossible sizes.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let config: Self = serde_json::from_str(text)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every size.
    ///
    /// # Errors
    /// [`Error::Config`] with the first that does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        let sizes = [
            ("dim", self.dim),
            ("depth", self.depth),
            ("ff_mult", self.ff_mult),
            ("text_dim", self.text_dim),
            ("mel_dim", self.mel_dim),
            ("text_num_embeds", self.text_num_embeds),
            ("max_frames", self.max_frames),
            ("cond_dim", self.cond_dim),
            ("attention_heads", self.attention_heads),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(Error::Config(format!("{name} is 0")));
        }
        let largest = sizes.into_iter().chain([("conv_layers", self.conv_layers)]);
        for (name, size) in largest {
            if size > LARGEST {
                return Err(Error::Config(format!(
                    "{name} is {size}, the largest is {LARGEST}"
                )));
            }
        }
        let rules = [
            (
                self.dim.is_multiple_of(2 * self.attention_heads),
                format!(
                    "dim {} is not twice a multiple of attention_heads {}",
                    self.dim, self.attention_heads
                ),
            ),
            (
                self.dim.is_multiple_of(POSITION_GROUPS),
                format!(
                    "dim {} is not a multiple of the {POSITION_GROUPS} groups of the positional convolution",
                    self.dim
                ),
            ),
            (
                self.text_dim == self.cond_dim,
                format!(
                    "text_dim {} differs from cond_dim {}",
                    self.text_dim, self.cond_dim
                ),
            ),
            (
                self.text_dim.is_multiple_of(2),
                format!("text_dim {} is odd", self.text_dim),
            ),
            (
                self.max_frames * self.text_dim <= LARGEST_TABLE,
                format!(
                    "max_frames {} by text_dim {} make a table of more than {LARGEST_TABLE} numbers",
                    self.max_frames, self.text_dim
                ),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(Error::Config(message)),
            None => Ok(()),
        }
    }

    /// Features of one attention head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.attention_heads
    }

    /// Whether the model embeds the song's duration.
    pub fn has_duration(&self) -> bool {
        self.max_frames == DURATION_FRAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#""dim": 64, "depth": 2, "ff_mult": 2, "text_dim": 32, "conv_layers": 1, "mel_dim": 8,
        "text_num_embeds": 40, "cond_dim": 32"#;

    fn parse(more: &str) -> Result<Config, Error> {
        Config::from_json(&format!("{{{SMALL}{more}}}"))
    }

    #[test]
    fn defaults_are_the_reference() {
        let config = parse("").unwrap();
        assert_eq!(
            (config.attention_heads, config.max_frames, config.causal),
            (32, 2048, true)
        );
        assert_eq!(config.head_dim(), 2);
        assert!(!config.has_duration());
        assert!(
            parse(r#", "max_frames": 6144, "heads": 5"#)
                .unwrap()
                .has_duration()
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (more, expected) in [
            (r#", "hidden": 3"#, "unknown field `hidden`"),
            (r#", "attention_heads": 0"#, "attention_heads is 0"),
            (
                r#", "attention_heads": 7"#,
                "dim 64 is not twice a multiple of attention_heads 7",
            ),
            (r#", "attention_heads": 64"#, "dim 64 is not twice"),
            (r#", "max_frames": -1"#, "invalid value"),
            (
                r#", "max_frames": 1048577"#,
                "max_frames is 1048577, the largest is 1048576",
            ),
            (
                r#", "attention_heads": 9223372036854775808"#,
                "attention_heads is 9223372036854775808",
            ),
        ] {
            let message = parse(more).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        // Products of sizes are bounded too, before anything is allocated.
        let config = Config {
            dim: 1 << 20,
            text_dim: 1 << 20,
            cond_dim: 1 << 20,
            max_frames: 1 << 20,
            ..parse("").unwrap()
        };
        let message = config.validate().unwrap_err().to_string();
        assert!(
            message.contains("max_frames 1048576 by text_dim"),
            "{message}"
        );
        let config = Config {
            conv_layers: usize::MAX,
            ..parse("").unwrap()
        };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("conv_layers"), "{message}");
        assert!(
            Config::from_json(&format!(
                "{{{}}}",
                SMALL.replace("\"cond_dim\": 32", "\"cond_dim\": 16")
            ))
            .is_err()
        );
        assert!(
            Config::from_json("{}")
                .unwrap_err()
                .to_string()
                .contains("missing field `dim`")
        );
    }

    #[test]
    fn a_written_configuration_reads_back() {
        let config = parse(r#", "causal": false"#).unwrap();
        assert_eq!(
            Config::from_json(&serde_json::to_string(&config).unwrap()).unwrap(),
            config
        );
    }
}
