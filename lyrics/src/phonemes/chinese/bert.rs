//! The reference's polyphone model: a small BERT in ONNX that names a reading for each character of a sentence
//! (`g2p/g2p/chinese_model_g2p.py`).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rten::{Model, ValueView};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use super::polyphones::Polyphones;
use super::{read_bytes, read_data};
use crate::LyricsError;

/// The model's name in its folder.
const MODEL_FILE: &str = "poly_bert_model.onnx";
const INPUT: &str = "input_ids";
const OUTPUT: &str = "outputs";
const CLASSIFIER: &str = "[CLS]";
const UNKNOWN: &str = "[UNK]";
/// BERT has 512 positions, and the first one is the classifier's.
const MAX_CHARACTERS: usize = 511;

/// The polyphone model with its tables.
pub struct BertPolyphones {
    model: Model,
    /// Numbers of characters, a line each in `vocab.txt`.
    tokens: HashMap<String, i32>,
    /// Reading of class `n`, `char{pinyin}` in `polydict.json` under `n + 1`.
    readings: HashMap<usize, String>,
    polyphones: HashSet<char>,
    /// The sentence that was asked about last, and the class of each of its characters.
    last: Option<(Vec<char>, Vec<usize>)>,
}

impl BertPolyphones {
    /// Reads the model and its tables from the reference's folder `g2p_chinese_model`.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub fn open(folder: &Path) -> Result<Self, LyricsError> {
        let tokens_path = folder.join("vocab.txt");
        let tokens: HashMap<String, i32> = read_data(&tokens_path)?
            .lines()
            .zip(0..)
            .map(|(token, number)| (token.to_owned(), number))
            .collect();
        for token in [CLASSIFIER, UNKNOWN] {
            if !tokens.contains_key(token) {
                return Err(wrong(&tokens_path, format!("lacks the token {token}")));
            }
        }
        let characters = read_data(&folder.join("polychar.txt"))?;
        Ok(Self {
            model: open_model(&folder.join(MODEL_FILE))?,
            tokens,
            readings: open_readings(&folder.join("polydict.json"))?,
            polyphones: characters
                .lines()
                .filter_map(|line| line.chars().next())
                .collect(),
            last: None,
        })
    }

    /// The most likely class of each character.
    fn classes(&self, sentence: &[char]) -> Result<Vec<usize>, String> {
        let number = |token: &str| {
            self.tokens
                .get(token)
                .or_else(|| self.tokens.get(UNKNOWN))
                .copied()
                .unwrap_or_default()
        };
        let mut name = [0; 4];
        let numbers: Vec<i32> = std::iter::once(number(CLASSIFIER))
            .chain(
                sentence
                    .iter()
                    .map(|character| number(character.encode_utf8(&mut name))),
            )
            .collect();
        let input = NdTensor::from_data([1, numbers.len()], numbers);
        let (input_id, output_id) = ends(&self.model)?;
        let outputs = self
            .model
            .run(
                vec![(input_id, ValueView::from(input.view()).into())],
                &[output_id],
                None,
            )
            .map_err(|error| error.to_string())?;
        let output = outputs
            .into_iter()
            .next()
            .ok_or("the model gave no output")?;
        let scores: NdTensor<f32, 3> = output
            .try_into()
            .map_err(|_| "the output is not [1, characters, classes]")?;
        if scores.size(0) != 1 || scores.size(1) != sentence.len() {
            return Err(format!(
                "the output is {:?} for {} characters",
                scores.shape(),
                sentence.len()
            ));
        }
        let row = |index| {
            scores
                .slice((0, index))
                .iter()
                .copied()
                .collect::<Vec<f32>>()
        };
        Ok((0..sentence.len())
            .map(|index| first_maximum(&row(index)))
            .collect())
    }

    fn class_at(&mut self, sentence: &[char], index: usize) -> Result<usize, String> {
        if !matches!(&self.last, Some((last, _)) if last == sentence) {
            self.last = Some((sentence.to_owned(), self.classes(sentence)?));
        }
        let class = self
            .last
            .as_ref()
            .and_then(|(_, classes)| classes.get(index))
            .copied();
        class.ok_or_else(|| format!("the sentence has no character {index}"))
    }
}

impl Polyphones for BertPolyphones {
    fn is_polyphone(&self, character: char) -> bool {
        self.polyphones.contains(&character)
    }

    fn reading(&mut self, sentence: &[char], index: usize) -> Result<String, LyricsError> {
        // Lines are shorter than this; of longer ones the model sees what is around the character.
        let begin = index
            .saturating_sub(MAX_CHARACTERS / 2)
            .min(sentence.len().saturating_sub(MAX_CHARACTERS));
        let window = &sentence[begin..sentence.len().min(begin + MAX_CHARACTERS)];
        let class = self.class_at(window, index - begin);
        let reading = class.and_then(|class| {
            let reading = self
                .readings
                .get(&class)
                .ok_or_else(|| format!("class {class} has no reading"))?;
            Ok(reading.clone())
        });
        reading.map_err(|detail| LyricsError::Polyphone {
            character: sentence.get(index).copied().unwrap_or_default(),
            sentence: sentence.iter().collect(),
            detail,
        })
    }
}

fn wrong(path: &Path, detail: String) -> LyricsError {
    LyricsError::ChineseData {
        path: path.to_owned(),
        detail,
    }
}

/// From the file's bytes alone: a model that names other files for its weights is refused.
fn open_model(path: &Path) -> Result<Model, LyricsError> {
    let model = Model::load(read_bytes(path)?)
        .map_err(|error| wrong(path, format!("is no ONNX model: {error}")))?;
    ends(&model).map_err(|detail| wrong(path, detail))?;
    Ok(model)
}

fn ends(model: &Model) -> Result<(rten::NodeId, rten::NodeId), String> {
    let node = |name| {
        model
            .find_node(name)
            .ok_or_else(|| format!("is not the polyphone model: it has no {name:?}"))
    };
    Ok((node(INPUT)?, node(OUTPUT)?))
}

fn open_readings(path: &Path) -> Result<HashMap<usize, String>, LyricsError> {
    let table: HashMap<String, String> = serde_json::from_str(&read_data(path)?)
        .map_err(|error| wrong(path, format!("is no table of readings: {error}")))?;
    table
        .into_iter()
        .map(|(number, reading)| {
            let class = number
                .parse::<usize>()
                .ok()
                .and_then(|number| number.checked_sub(1));
            let pinyin = reading
                .split_once('{')
                .and_then(|(_, pinyin)| pinyin.strip_suffix('}'))
                .map(str::to_owned);
            class
                .zip(pinyin)
                .ok_or_else(|| wrong(path, format!("has the entry {number:?}: {reading:?}")))
        })
        .collect()
}

fn first_maximum(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}
