//! `dr_lyrics`: LRC texts placed at frames, and English and Chinese as tokens. Everything here is whole numbers, and equal.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use candle_core::Tensor;
use lyrics::phonemes::chinese::{Chinese, Lexicon, Polyphones};
use lyrics::phonemes::english::{ESPEAK_VERSION, EspeakNg};
use lyrics::{
    Language, LyricsError, Placement, Reading, TimedTokens, Tokenizer, TokenizerSettings,
    parse_lrc, place, split_languages,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;

pub(super) const TOLERANCES: &[(&str, f64)] = &[("tokens, times, frames", 0.0)];

/// From here on every character stands for a syllable of its own; none of those that change with their neighbours is near.
const FIRST_SYLLABLE: u32 = 0x8000;

/// An LRC text, its lines and their tokens by the case's stand-in for a tokenizer, and figures by placement.
#[derive(Deserialize)]
struct Song {
    text: String,
    parsed: Vec<(f64, String)>,
    encoded: Vec<Vec<u16>>,
    #[serde(flatten)]
    placements: BTreeMap<String, Value>,
}

/// A line and its tokens, counted from 0.
#[derive(Deserialize)]
struct Line {
    text: String,
    tokens: Vec<u16>,
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let songs: BTreeMap<String, Song> = case.note("/lrc")?;
    for (name, song) in &songs {
        read_and_placed(case, report, name, song)?;
    }
    let english = Tokenizer::new(TokenizerSettings::default());
    lines(case, report, "g2p_en", english)?;
    let lexicon: HashMap<String, String> = case.note("/surrogate_lexicon")?;
    let answers: HashMap<String, String> = case.note("/surrogate_poly")?;
    let chinese = with_chinese(case, &lexicon, answers)?;
    lines(case, report, "g2p_zh_surrogate", chinese)?;
    syllables(case, report)?;
    refused(case, report)
}

fn read_and_placed(
    case: &Case,
    report: &mut Report<'_>,
    name: &str,
    song: &Song,
) -> Result<(), ParityError> {
    let read = parse_lrc(&song.text, Reading::Reference);
    let times: Vec<f64> = read.lines.iter().map(|line| line.time_secs).collect();
    let expected: Vec<f64> = song.parsed.iter().map(|(time, _)| *time).collect();
    report.figures(&format!("lrc.{name} times"), &times, &expected, 0.0);
    let texts = read.lines.iter().zip(&song.parsed);
    let equal = texts.filter(|(line, (_, text))| line.text == *text).count();
    let label = format!("lrc.{name} texts");
    report.figures(&label, &[equal as f64], &[song.parsed.len() as f64], 0.0);
    let lines: Vec<TimedTokens> = read
        .lines
        .iter()
        .zip(&song.encoded)
        .map(|(line, tokens)| TimedTokens {
            time_secs: line.time_secs,
            tokens: Some(tokens.clone()),
        })
        .collect();
    let prefix = format!("lrc.{name}.");
    for placement in case.names_after(&prefix) {
        let tokens = place(&lines, &placement_named(case, placement)?).tokens;
        let found = Tensor::new(tokens, case.device())?;
        report.compare(&format!("{prefix}{placement}"), &found, 0.0)?;
    }
    for (placement, figures) in &song.placements {
        let placed = place(&lines, &placement_named(case, placement)?);
        let sung = placed.tokens.iter().filter(|&&token| token != 0).count();
        for (key, found) in [
            ("end_frame", placed.end_frame() as f64),
            ("start", placed.start_time),
            ("song_duration_f16", placed.duration_f16().to_f64()),
            ("nonzero", sung as f64),
        ] {
            if let Some(expected) = figures[key].as_f64() {
                let label = format!("{prefix}{placement} {key}");
                report.figures(&label, &[found], &[expected], 0.0);
            }
        }
    }
    Ok(())
}

/// `asl.FRAMES.SECONDS` is v1.2, `zach.FRAMES` the LoRA project.
fn placement_named(case: &Case, name: &str) -> Result<Placement, ParityError> {
    let parts: Vec<&str> = name.split('.').collect();
    let placement = match parts[..] {
        ["asl", frames, seconds] => {
            frames
                .parse()
                .ok()
                .zip(seconds.parse().ok())
                .map(|(max_frames, max_secs)| Placement::V1_2 {
                    max_frames,
                    max_secs,
                })
        }
        ["zach", frames] => frames
            .parse()
            .ok()
            .map(|max_frames| Placement::V1_0 { max_frames }),
        _ => None,
    };
    placement.ok_or_else(|| case.unknown(format!("the placement {name}")))
}

/// English is spoken by espeak-ng, if it is installed, in the version that the reference's was: others speak otherwise.
fn voice() -> Result<EspeakNg, String> {
    let program = std::env::var_os("ESPEAK_NG").unwrap_or_else(|| "espeak-ng".into());
    let answer = Command::new(program).arg("--version").output();
    let answer = answer.map_err(|error| format!("espeak-ng does not start: {error}"))?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    match answer.contains(&format!(": {ESPEAK_VERSION} ")) {
        true => EspeakNg::find(None).map_err(|error| error.to_string()),
        false => Err(format!(
            "espeak-ng is not version {ESPEAK_VERSION}: {answer}"
        )),
    }
}

/// Tokens of every text below a key. Without a voice, texts with English in them are left out.
fn lines(
    case: &Case,
    report: &mut Report<'_>,
    key: &str,
    tokenizer: Tokenizer,
) -> Result<(), ParityError> {
    let (mut tokenizer, silence) = match voice() {
        Ok(voice) => (tokenizer.with_voice(Box::new(voice)), None),
        Err(reason) => (tokenizer, Some(reason)),
    };
    let lines: Vec<Line> = case.note(&format!("/{key}"))?;
    for line in &lines {
        let label = format!("{key} {}", line.text);
        let english = split_languages(&line.text)
            .iter()
            .any(|segment| segment.language == Some(Language::English));
        if let Some(reason) = silence.as_ref().filter(|_| english) {
            report.leave_out(&label, reason);
            continue;
        }
        let found = tokenizer.tokens(&line.text)?;
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let expected: Vec<f64> = line
            .tokens
            .iter()
            .map(|&token| f64::from(token) + 1.0)
            .collect();
        report.figures(&label, &found, &expected, 0.0);
    }
    Ok(())
}

/// What the polyphone model, or its stand-in, said when the case was made. Whatever it was asked about is a polyphone.
struct Recorded {
    characters: HashSet<char>,
    answers: HashMap<String, String>,
}

impl Polyphones for Recorded {
    fn is_polyphone(&self, character: char) -> bool {
        self.characters.contains(&character)
    }

    fn reading(&mut self, sentence: &[char], index: usize) -> Result<String, LyricsError> {
        let question = format!("{}#{index}", sentence.iter().collect::<String>());
        // An empty answer is no reading, and shows as a difference.
        Ok(self.answers.get(&question).cloned().unwrap_or_default())
    }
}

fn with_chinese(
    case: &Case,
    lexicon: &HashMap<String, String>,
    answers: HashMap<String, String>,
) -> Result<Tokenizer, ParityError> {
    let words: String = lexicon
        .iter()
        .map(|(word, pinyin)| format!("{word}\t{pinyin}\n"))
        .collect();
    let asked = answers.keys().filter_map(|question| {
        let (sentence, index) = question.rsplit_once('#')?;
        sentence.chars().nth(index.parse().ok()?)
    });
    let polyphones = Recorded {
        characters: asked.collect(),
        answers,
    };
    let lexicon = Lexicon::parse(words, &case.path("golden.json"))?;
    let chinese = Chinese::new(lexicon, Box::new(polyphones));
    Ok(Tokenizer::new(TokenizerSettings::default()).with_chinese(chinese))
}

/// Every syllable, as the reading of one character: pinyin to its tokens.
fn syllables(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let table: BTreeMap<String, (String, String, Vec<u16>)> = case.note("/pinyin_table")?;
    let characters = (FIRST_SYLLABLE..).filter_map(char::from_u32);
    let characters: Vec<String> = characters
        .take(table.len())
        .map(|character| character.to_string())
        .collect();
    let lexicon = characters.iter().cloned().zip(table.keys().cloned());
    let mut tokenizer = with_chinese(case, &lexicon.collect(), HashMap::new())?;
    let mut equal = 0;
    for (character, (_, _, tokens)) in characters.iter().zip(table.values()) {
        let found = tokenizer.tokens(character)?;
        let found = found.iter().map(|token| token - 1);
        equal += usize::from(found.eq(tokens.iter().copied()));
    }
    let expected = table.len() as f64;
    report.figures("pinyin_table", &[equal as f64], &[expected], 0.0);
    Ok(())
}

/// Texts at which the reference stops, without a letter in them.
fn refused(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let texts: Vec<Value> = case.note("/g2p_misc")?;
    let mut tokenizer = Tokenizer::new(TokenizerSettings::default());
    let texts = texts.iter().filter(|one| !one["error"].is_null());
    let texts: Vec<&str> = texts.filter_map(|one| one["text"].as_str()).collect();
    let errors = texts.iter().filter(|text| tokenizer.tokens(text).is_err());
    let found = errors.count() as f64;
    report.figures("g2p_misc refused", &[found], &[texts.len() as f64], 0.0);
    Ok(())
}
