//! `config.json` of XLM-RoBERTa (transformers' `XLMRobertaConfig`).

use std::path::Path;

use serde::Deserialize;

use super::{Activation, check, check_sizes, parse, read};
use crate::EmbedError;

/// What matters of it here. Defaults are transformers'.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct XlmRobertaConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width of the feed-forward networks.
    pub intermediate_size: usize,
    /// Rows of the table of positions; the first ones, up to the padding's number, stand for no token.
    pub max_position_embeddings: usize,
    /// Rows of the table of segments, of which the first is used.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// The token that fills up shorter texts.
    #[serde(default = "default_pad")]
    pub pad_token_id: u32,
    /// Of every layer norm.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward networks.
    #[serde(default = "default_activation")]
    pub hidden_act: Activation,
    /// Absent or `absolute`; older files say it.
    #[serde(default)]
    pub position_embedding_type: Option<String>,
}

fn default_types() -> usize {
    2
}

fn default_pad() -> u32 {
    1
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> Activation {
    Activation::Gelu
}

impl XlmRobertaConfig {
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

    /// The configuration of a released model, for when its file is not at hand: xlm-roberta-base (Conneau et al. 2020).
    ///
    /// # Errors
    /// When no such model is known.
    pub fn released(name: &str) -> Result<Self, EmbedError> {
        if !matches!(name, "xlm-roberta-base" | "FacebookAI/xlm-roberta-base") {
            return Err(EmbedError::Config {
                origin: name.to_owned(),
                reason:
                    "only xlm-roberta-base is known by name; give the config.json of the text model"
                        .to_owned(),
            });
        }
        Ok(Self {
            vocab_size: 250_002,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            pad_token_id: 1,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::Gelu,
            position_embedding_type: None,
        })
    }

    /// Tokens of a text at most: positions are counted from the one after the padding's number.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.pad_token_id as usize - 1
    }

    fn validate(&self, origin: &str) -> Result<(), EmbedError> {
        check_sizes(
            origin,
            &[
                ("vocab_size", self.vocab_size),
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", self.num_attention_heads),
                ("intermediate_size", self.intermediate_size),
                ("type_vocab_size", self.type_vocab_size),
            ],
        )?;
        check(
            self.hidden_size.is_multiple_of(self.num_attention_heads),
            origin,
            || {
                format!(
                    "hidden_size is {}, expected a multiple of num_attention_heads, {}",
                    self.hidden_size, self.num_attention_heads
                )
            },
        )?;
        let (positions, pad) = (self.max_position_embeddings, self.pad_token_id as usize);
        check(positions > pad + 1 && self.vocab_size > pad, origin, || {
            format!(
                "max_position_embeddings is {positions} and vocab_size {}, expected more than pad_token_id, {pad}",
                self.vocab_size
            )
        })?;
        let epsilon = self.layer_norm_eps;
        check(epsilon.is_finite() && epsilon > 0.0, origin, || {
            format!("layer_norm_eps is {epsilon}, expected a finite one above 0")
        })?;
        let positions = self.position_embedding_type.as_deref();
        check(matches!(positions, None | Some("absolute")), origin, || {
            format!("position_embedding_type is {positions:?}, expected absolute")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 40, "max_position_embeddings": 34, "pad_token_id": 1, "model_type": "xlm-roberta"}"#;

    #[test]
    fn sizes_are_checked() {
        let config = XlmRobertaConfig::from_json(SMALL, "config.json").unwrap();
        assert_eq!((config.max_tokens(), config.type_vocab_size), (32, 2));
        assert_eq!(
            XlmRobertaConfig::released("xlm-roberta-base")
                .unwrap()
                .max_tokens(),
            512
        );
        assert!(XlmRobertaConfig::released("xlm-roberta-large").is_err());
        let error = |from: &str, to: &str| {
            assert!(SMALL.contains(from), "{from}");
            XlmRobertaConfig::from_json(&SMALL.replace(from, to), "text.json")
                .unwrap_err()
                .to_string()
        };
        assert!(error("34", "2").contains("max_position_embeddings is 2"));
        assert!(error("24", "25").contains("multiple"));
        assert!(error("vocab_size", "vocabulary").starts_with("text.json: "));
        assert!(error("model_type", "position_embedding_type").contains("expected absolute"));
    }
}
