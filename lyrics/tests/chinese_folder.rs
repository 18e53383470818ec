//! The folder of the Chinese data: a polyphone model in ONNX against onnxruntime, and what is said when files are missing.
#![cfg(feature = "polyphones-onnx")]
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use lyrics::phonemes::chinese::{BertPolyphones, Chinese, Polyphones};
use lyrics::{LyricsError, Tokenizer, TokenizerSettings};
use serde_json::Value;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sources")
}

fn copy_of_sources() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("g2p_chinese_model")).unwrap();
    for name in [
        "chinese_lexicon.txt",
        "g2p_chinese_model/poly_bert_model.onnx",
        "g2p_chinese_model/polychar.txt",
        "g2p_chinese_model/polydict.json",
        "g2p_chinese_model/vocab.txt",
    ] {
        fs::copy(sources().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn tokens(folder: &Path, text: &str) -> Result<Vec<u16>, LyricsError> {
    let settings = TokenizerSettings {
        espeak: None,
        chinese_folder: Some(folder.to_owned()),
    };
    Tokenizer::new(settings).tokens(text)
}

#[test]
fn the_model_answers_as_under_onnxruntime() {
    let answers: Value =
        serde_json::from_str(&fs::read_to_string(sources().join("answers.json")).unwrap()).unwrap();
    let mut polyphones = BertPolyphones::open(&sources().join("g2p_chinese_model")).unwrap();
    assert!(polyphones.is_polyphone('的') && !polyphones.is_polyphone('我'));
    for (sentence, readings) in answers.as_object().unwrap() {
        let sentence: Vec<char> = sentence.chars().collect();
        for (index, reading) in readings.as_array().unwrap().iter().enumerate() {
            assert_eq!(
                polyphones.reading(&sentence, index).unwrap(),
                reading.as_str().unwrap()
            );
        }
        assert!(polyphones.reading(&sentence, sentence.len()).is_err());
    }
    // Longer than the model's positions.
    let long = vec!['的'; 2_000];
    for index in [0, 300, 1_000, 1_999] {
        polyphones.reading(&long, index).unwrap();
    }
}

#[test]
fn lyrics_need_the_folder_alone() {
    let line = tokens(&sources(), "让我掉下眼泪的").unwrap();
    // The lexicon's words; the random model reads the last character in its own way.
    assert_eq!(line[..10], [88, 260, 179, 78, 160, 40, 150, 114, 51, 236]);
    assert!(line.len() > 10);
}

#[test]
fn a_missing_file_is_named_with_where_it_comes_from() {
    let unset = Tokenizer::new(TokenizerSettings::default())
        .tokens("你好")
        .unwrap_err()
        .to_string();
    assert!(
        unset.contains("14.8 MB") && unset.contains("76.6 MB") && unset.contains("DiffRhythm"),
        "{unset}"
    );
    for name in [
        "chinese_lexicon.txt",
        "g2p_chinese_model/poly_bert_model.onnx",
        "g2p_chinese_model/vocab.txt",
    ] {
        let copy = copy_of_sources();
        let path = copy.path().join(name);
        fs::remove_file(&path).unwrap();
        let error = tokens(copy.path(), "你好").unwrap_err().to_string();
        assert!(
            error.contains(&path.display().to_string()) && error.contains("76.6 MB"),
            "{error}"
        );
    }
}

#[test]
fn damaged_files_are_told() {
    for (name, bytes, said) in [
        (
            "g2p_chinese_model/poly_bert_model.onnx",
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "Git LFS",
        ),
        (
            "g2p_chinese_model/poly_bert_model.onnx",
            b"not a model",
            "is no ONNX model",
        ),
        (
            "g2p_chinese_model/polydict.json",
            b"{\"1\": \"x\"}",
            "has the entry",
        ),
        (
            "g2p_chinese_model/polydict.json",
            b"[",
            "no table of readings",
        ),
        (
            "g2p_chinese_model/vocab.txt",
            b"[CLS]\n",
            "lacks the token [UNK]",
        ),
        ("chinese_lexicon.txt", b"\xff", "not UTF-8 at byte 0"),
        ("chinese_lexicon.txt", b"one two", "line 1"),
    ] {
        let copy = copy_of_sources();
        fs::write(copy.path().join(name), bytes).unwrap();
        let error = tokens(copy.path(), "你好").unwrap_err().to_string();
        assert!(
            error.contains(name.rsplit('/').next().unwrap()) && error.contains(said),
            "{error}"
        );
    }
}

#[test]
fn a_truncated_model_is_an_error() {
    let copy = copy_of_sources();
    let path = copy.path().join("g2p_chinese_model/poly_bert_model.onnx");
    let whole = fs::read(&path).unwrap();
    for length in [1, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Chinese::open(copy.path()).is_err(), "{length}");
    }
}
