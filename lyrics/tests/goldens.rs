//! Lyrics against the reference: placed tokens, English with recorded answers of espeak-ng 1.51, Chinese with a small lexicon
//! and recorded answers of the polyphone model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lyrics::phonemes::chinese::{Chinese, Lexicon, Polyphones};
use lyrics::phonemes::english::{EspeakNg, Voice};
use lyrics::{
    Language, LyricsError, Placement, Reading, TimedTokens, Tokenizer, TokenizerSettings,
    parse_lrc, place, split_languages,
};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn numbers<T: TryFrom<u64>>(value: &Value) -> Vec<T> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| T::try_from(number.as_u64().unwrap()).ok().unwrap())
        .collect()
}

fn strings(value: &Value) -> HashMap<String, String> {
    value
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()))
        .collect()
}

/// The stand-in of the golden's placement cases: code points of everything but spaces.
fn stub_tokens(text: &str) -> Vec<u16> {
    text.chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| (character as u32 % 40) as u16 + 1)
        .collect()
}

#[test]
fn lines_are_read_and_placed_as_by_the_reference() {
    let golden = json("golden.json");
    let bytes = std::fs::read(fixture("golden.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut checked = 0;
    for (name, case) in golden["lrc"].as_object().unwrap() {
        let lrc = parse_lrc(case["text"].as_str().unwrap(), Reading::Reference);
        let parsed: Vec<Value> = lrc
            .lines
            .iter()
            .map(|line| serde_json::json!([line.time_secs, line.text]))
            .collect();
        assert_eq!(Value::Array(parsed), case["parsed"], "{name}");
        let lines: Vec<TimedTokens> = lrc
            .lines
            .iter()
            .map(|line| TimedTokens {
                time_secs: line.time_secs,
                tokens: Some(stub_tokens(&line.text)),
            })
            .collect();
        for (line, encoded) in lines.iter().zip(case["encoded"].as_array().unwrap()) {
            assert_eq!(line.tokens, Some(numbers(encoded)), "{name}");
        }
        for tensor_name in tensors.names() {
            let Some(placement) = tensor_name.strip_prefix(&format!("lrc.{name}.")) else {
                continue;
            };
            let placed = place(&lines, &placement_named(placement));
            let expected: Vec<i64> = tensors
                .tensor(tensor_name)
                .unwrap()
                .data()
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&bytes| i64::from_le_bytes(bytes))
                .collect();
            assert_eq!(placed.tokens, expected, "{tensor_name}");
            checked += 1;
        }
        for (placement, expected) in case
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.starts_with("asl."))
        {
            let placed = place(&lines, &placement_named(placement));
            assert_eq!(
                placed.end_frame() as u64,
                expected["end_frame"].as_u64().unwrap(),
                "{name} {placement}"
            );
            assert_eq!(
                Some(placed.start_time),
                expected["start"].as_f64(),
                "{name} {placement}"
            );
            assert_eq!(
                Some(placed.duration_f16().to_f64()),
                expected["song_duration_f16"].as_f64(),
                "{name} {placement}"
            );
            let sung = placed.tokens.iter().filter(|&&token| token != 0).count();
            assert_eq!(
                sung as u64,
                expected["nonzero"].as_u64().unwrap(),
                "{name} {placement}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 27, "{checked}");
}

/// `asl.FRAMES.SECONDS` is v1.2, `zach.FRAMES` the LoRA project.
fn placement_named(name: &str) -> Placement {
    match name.split('.').collect::<Vec<_>>()[..] {
        ["asl", frames, secs] => Placement::V1_2 {
            max_frames: frames.parse().unwrap(),
            max_secs: secs.parse().unwrap(),
        },
        ["zach", frames] => Placement::V1_0 {
            max_frames: frames.parse().unwrap(),
        },
        _ => panic!("{name}"),
    }
}

/// What espeak-ng said when the fixture was made.
struct Recorded(HashMap<String, String>);

impl Voice for Recorded {
    fn speak(&mut self, chunks: &[String]) -> Result<Vec<String>, LyricsError> {
        Ok(chunks
            .iter()
            .map(|chunk| {
                self.0
                    .get(chunk)
                    .unwrap_or_else(|| panic!("{chunk:?} was not recorded"))
                    .clone()
            })
            .collect())
    }
}

/// What the polyphone model, or its surrogate, said when the fixture was made.
struct RecordedPolyphones {
    characters: String,
    answers: HashMap<String, String>,
}

impl Polyphones for RecordedPolyphones {
    fn is_polyphone(&self, character: char) -> bool {
        self.characters.contains(character)
    }

    fn reading(&mut self, sentence: &[char], index: usize) -> Result<String, LyricsError> {
        let question = format!("{}#{index}", sentence.iter().collect::<String>());
        Ok(self
            .answers
            .get(&question)
            .unwrap_or_else(|| panic!("{question} was not asked"))
            .clone())
    }
}

fn english() -> Tokenizer {
    let spoken = strings(&json("english.json")["spoken"]);
    Tokenizer::new(TokenizerSettings::default()).with_voice(Box::new(Recorded(spoken)))
}

fn chinese(lexicon: &Value, answers: &Value) -> Chinese {
    let words: String = strings(lexicon)
        .iter()
        .map(|(word, pinyin)| format!("{word}\t{pinyin}\n"))
        .collect();
    let lexicon = Lexicon::parse(words, Path::new("lexicon of the fixture")).unwrap();
    let characters = std::fs::read_to_string(fixture("polychar.txt"))
        .unwrap()
        .replace('\n', "");
    Chinese::new(
        lexicon,
        Box::new(RecordedPolyphones {
            characters,
            answers: strings(answers),
        }),
    )
}

fn check(tokenizer: &mut Tokenizer, cases: &Value) {
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let segments: Vec<Value> = split_languages(text)
            .into_iter()
            .map(|segment| {
                let language = if segment.language == Some(Language::Chinese) {
                    "zh"
                } else {
                    "en"
                };
                serde_json::json!([segment.text, language])
            })
            .collect();
        assert_eq!(Value::Array(segments), case["segments"], "{text}");
        assert_eq!(
            tokenizer.phonemes(text).unwrap(),
            case["phonemes"].as_str().unwrap(),
            "{text}"
        );
        let numbered: Vec<u16> = numbers::<u16>(&case["tokens"])
            .iter()
            .map(|number| number + 1)
            .collect();
        assert_eq!(tokenizer.tokens(text).unwrap(), numbered, "{text}");
        if let Some(encoded) = case.get("encoded") {
            assert_eq!(numbers::<u16>(encoded), numbered, "{text}");
        }
    }
}

#[test]
fn english_as_by_the_reference() {
    check(&mut english(), &json("golden.json")["g2p_en"]);
    check(&mut english(), &json("english.json")["cases"]);
}

#[test]
fn chinese_as_by_the_reference() {
    let golden = json("golden.json");
    let parts = || chinese(&golden["surrogate_lexicon"], &golden["surrogate_poly"]);
    check(
        &mut english().with_chinese(parts()),
        &golden["g2p_zh_surrogate"],
    );
    let segmenter = parts();
    for case in golden["g2p_zh_surrogate"].as_array().unwrap() {
        let words: Vec<String> = split_languages(case["text"].as_str().unwrap())
            .into_iter()
            .filter(|segment| segment.language == Some(Language::Chinese))
            .flat_map(|segment| segmenter.words(&segment.text))
            .collect();
        let expected: Vec<&str> = case["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert_eq!(words, expected);
    }
    let more = json("chinese.json");
    check(
        &mut english().with_chinese(chinese(&more["lexicon"], &more["polyphones"])),
        &more["cases"],
    );
}

#[test]
fn every_syllable_of_mandarin_as_by_the_reference() {
    let golden = json("golden.json");
    let table = golden["pinyin_table"].as_object().unwrap();
    // A lexicon in which each syllable has a character of its own.
    let polyphones = std::fs::read_to_string(fixture("polychar.txt")).unwrap();
    let characters = ('\u{8300}'..).filter(|character| !polyphones.contains(*character));
    let lexicon: serde_json::Map<String, Value> = characters
        .clone()
        .zip(table.keys())
        .map(|(character, syllable)| (character.to_string(), syllable.as_str().into()))
        .collect();
    let parts = chinese(&Value::Object(lexicon), &serde_json::json!({}));
    let mut tokenizer = Tokenizer::new(TokenizerSettings::default()).with_chinese(parts);
    for (character, (syllable, expected)) in characters.zip(table) {
        let phonemes = tokenizer.phonemes(&character.to_string()).unwrap();
        assert_eq!(
            phonemes.trim_end_matches('|'),
            expected[1].as_str().unwrap(),
            "{syllable}"
        );
        let numbered: Vec<u16> = tokenizer
            .tokens(&character.to_string())
            .unwrap()
            .iter()
            .map(|token| token - 1)
            .collect();
        assert_eq!(numbered, numbers::<u16>(&expected[2]), "{syllable}");
    }
}

#[test]
fn lines_without_letters_are_an_error_that_says_so() {
    for case in json("golden.json")["g2p_misc"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let error = english().tokens(text).unwrap_err();
        assert!(matches!(error, LyricsError::NoLetters { .. }), "{text}");
        assert!(error.to_string().contains("no English letter"), "{error}");
    }
}

#[test]
fn the_program_speaks_as_it_was_recorded() {
    let Ok(mut espeak) = EspeakNg::find(None) else {
        eprintln!("skipped: espeak-ng is not installed");
        return;
    };
    let (chunks, recorded): (Vec<String>, Vec<String>) =
        strings(&json("english.json")["spoken"]).into_iter().unzip();
    let spoken = espeak.speak(&chunks).unwrap();
    // Other versions speak otherwise; what is theirs is not tested.
    let canary = espeak.speak(&["hello world".to_owned()]).unwrap();
    assert_eq!(canary.len(), 1);
    assert_eq!(spoken.len(), recorded.len());
    if std::process::Command::new("espeak-ng")
        .arg("--version")
        .output()
        .is_ok_and(|answer| {
            String::from_utf8_lossy(&answer.stdout).contains(&format!(
                "text-to-speech: {}",
                lyrics::phonemes::english::ESPEAK_VERSION
            ))
        })
    {
        for ((chunk, spoken), recorded) in chunks.iter().zip(&spoken).zip(&recorded) {
            assert_eq!(spoken.trim(), recorded.trim(), "{chunk}");
        }
    } else {
        eprintln!("another version of espeak-ng: only its being there was tested");
    }
}

#[test]
fn many_chunks_at_once_are_spoken_as_each_alone() {
    let Ok(mut espeak) = EspeakNg::find(None) else {
        eprintln!("skipped: espeak-ng is not installed");
        return;
    };
    let long = "over the hills and far away ".repeat(60);
    let chunks = [
        "hello there",
        "b Contributor APIs",
        long.trim(),
        "to",
        "x_y  z",
        "Пушкин said",
    ]
    .map(str::to_owned);
    let together = espeak.speak(&chunks).unwrap();
    assert_eq!(together.len(), chunks.len());
    for (chunk, spoken) in chunks.iter().zip(&together) {
        let alone = espeak.speak(std::slice::from_ref(chunk)).unwrap();
        assert_eq!(&alone[0], spoken, "{chunk}");
    }
    assert_eq!(together[2].split_whitespace().count(), 6 * 60);
}
