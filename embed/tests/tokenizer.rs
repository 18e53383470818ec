//! A tokenizer in xlm-roberta-base's layout against sentencepiece; `fixtures/tokenizer/make.py` made both.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::path::{Path, PathBuf};

use embed::{MuLanConfig, TextEncoder, Tokenizer, XlmRobertaConfig};
use nn::Weights;
use serde_json::Value;
use testing::pseudo_random;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizer")
        .join(name)
}

fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("golden.json")).unwrap()).unwrap()
}

#[test]
fn tokens_are_sentencepiece_s() {
    let golden = golden();
    let vocabulary = golden["vocabulary"].as_u64().unwrap() as usize;
    let tokenizer = Tokenizer::load(&fixture("tokenizer.json"), vocabulary).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
        assert_eq!(tokenizer.tokens(text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn another_model_s_tokenizer_is_refused() {
    let message = |error: embed::EmbedError| error.to_string();
    let small = message(Tokenizer::load(&fixture("tokenizer.json"), 60).unwrap_err());
    assert!(
        small.contains("largest token is 167, the text model has 60")
            && small.contains("tokenizer.json")
    );
    let other = message(Tokenizer::load(&fixture("golden.json"), 168).unwrap_err());
    assert!(
        other.contains("golden.json") && other.contains("use the tokenizer.json"),
        "{other}"
    );
    let absent = message(Tokenizer::load(&fixture("absent.json"), 168).unwrap_err());
    assert!(absent.contains("absent.json: cannot be read"), "{absent}");
}

fn small_encoder(tokenizer: Option<&Path>) -> TextEncoder {
    let mulan = r#"{"mulan": {"dim_latent": 8}, "audio_model": {"name": "muq"},
        "text_model": {"name": "xlm-roberta-tiny", "model_dim": 16}, "audio_transformer": {},
        "text_transformer": {"dim": 12, "tf_depth": 1, "heads": 2, "dim_head": 4}}"#;
    let roberta = r#"{"vocab_size": 168, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 34, "type_vocab_size": 1, "layer_norm_eps": 1e-5}"#;
    let weights = Weights::made_up(|name, shape| Ok(pseudo_random(shape, name.len() as u64)));
    TextEncoder::load(
        &MuLanConfig::from_json(mulan, "mulan").unwrap(),
        &XlmRobertaConfig::from_json(roberta, "roberta").unwrap(),
        &weights,
        tokenizer,
    )
    .unwrap()
}

#[test]
fn texts_go_through_the_tokenizer() {
    let encoder = small_encoder(Some(&fixture("tokenizer.json")));
    for case in golden()["cases"].as_array().unwrap().iter().take(5) {
        let tokens: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let vector = encoder.embed(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(vector, encoder.embed_tokens(&tokens).unwrap());
        assert_eq!(vector.len(), encoder.width());
        assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn what_a_text_encoder_cannot_take() {
    let long = "la ".repeat(100);
    let message = small_encoder(Some(&fixture("tokenizer.json")))
        .embed(&long)
        .unwrap_err()
        .to_string();
    assert!(message.contains("at most 32; shorten it"), "{message}");
    let message = small_encoder(None).embed("la").unwrap_err().to_string();
    assert!(message.contains("without a tokenizer"), "{message}");
    assert!(small_encoder(None).embed_tokens(&[]).is_err());
    assert!(small_encoder(None).embed_tokens(&[0, 168, 2]).is_err());
}
