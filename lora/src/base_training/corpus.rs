//! The pieces that a base learns from: `corpus.jsonl`, one piece a line, beside the sounds it names. `cargo xtask corpus` writes such
//! folders; any other with the same fields does as well.

use std::path::{Path, PathBuf};

use nn::Stream;
use serde::Deserialize;

use crate::base::{MOST_BEATS_PER_BAR, TEMPO_RANGE_BPM, TagVocabulary};
use crate::error::LoraError;

/// The file that lists the pieces.
const INDEX: &str = "corpus.jsonl";
/// One piece in so many is never trained on.
const HELD_OUT_EVERY: usize = 40;
/// How far a tag may round a tempo.
const TAG_TEMPO_SHARE: f64 = 0.1;

/// A line of the index; fields that it does not know are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CorpusPiece {
    /// The sound, relative to the folder.
    pub path: PathBuf,
    /// Tags of the prompt vocabulary.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Beats a minute, where there is a steady grid.
    #[serde(default)]
    pub tempo_bpm: Option<f64>,
    /// Beats in a bar.
    #[serde(default = "four")]
    pub beats_per_bar: usize,
    /// When the first downbeat sounds, in seconds.
    #[serde(default)]
    pub first_beat_secs: f64,
}

fn four() -> usize {
    4
}

impl CorpusPiece {
    /// What of its beat a model cannot be told.
    pub(super) fn beat_problem(&self) -> Option<String> {
        let tempo_bpm = self.tempo_bpm?;
        let (slowest, fastest) = TEMPO_RANGE_BPM.into_inner();
        if !TEMPO_RANGE_BPM.contains(&tempo_bpm) {
            return Some(format!(
                "tempo_bpm {tempo_bpm} is not {slowest} to {fastest}; leave it out where there is no steady beat"
            ));
        }
        if !(1..=MOST_BEATS_PER_BAR).contains(&self.beats_per_bar) {
            return Some(format!(
                "beats_per_bar {} is not 1 to {MOST_BEATS_PER_BAR}, and models have no beat grid of other bars; leave tempo_bpm out, so that the piece is \
                 learned without one",
                self.beats_per_bar
            ));
        }
        let beats = self.beats_per_bar;
        let said = self
            .number_of_tag("metre:")
            .find(|said| *said != beats as f64)?;
        Some(format!(
            "it has the tag metre:{said} and beats_per_bar {beats}, and prompts would ask for the one and get the other; make them agree"
        ))
    }

    /// A tag that says another tempo than the piece has. Its own is the nearest of the vocabulary, however far that is.
    pub(super) fn tempo_problem(&self, vocabulary: &TagVocabulary) -> Option<String> {
        let tempo_bpm = self.tempo_bpm?;
        let own = format!("tempo:{tempo_bpm}");
        let (own, _) = vocabulary.known([own.as_str()]);
        let is_own = |said: f64| vocabulary.known([format!("tempo:{said}").as_str()]).0 == own;
        let is_other =
            |said: &f64| (said - tempo_bpm).abs() > TAG_TEMPO_SHARE * tempo_bpm && !is_own(*said);
        let said = self.number_of_tag("tempo:").find(is_other)?;
        Some(format!(
            "it has the tag tempo:{said} and tempo_bpm {tempo_bpm}, and prompts would ask for the one and get the other; make them agree"
        ))
    }

    /// What tags of this kind say.
    fn number_of_tag(&self, kind: &str) -> impl Iterator<Item = f64> {
        let values = self
            .tags
            .iter()
            .filter_map(move |tag| tag.strip_prefix(kind));
        values.filter_map(|value| value.parse().ok())
    }
}

/// A folder of pieces, parted into those to train on and those to validate with.
#[derive(Debug, Clone)]
pub struct Corpus {
    folder: PathBuf,
    /// Of the index and the sizes of its sounds, by which a resumed run knows its data.
    pub(super) sha256: String,
    /// Pieces to train on.
    pub training: Vec<CorpusPiece>,
    /// Pieces never trained on.
    pub validation: Vec<CorpusPiece>,
}

impl Corpus {
    /// Reads the index of a folder. Which pieces are held out depends on their names alone.
    ///
    /// # Errors
    /// When there is no index, a line of it cannot be read, or there are too few pieces.
    pub fn open(folder: &Path) -> Result<Self, LoraError> {
        let path = folder.join(INDEX);
        let text = std::fs::read_to_string(&path).map_err(LoraError::file(&path))?;
        let bad = |problem: String| LoraError::BadFile {
            path: path.clone(),
            problem,
        };
        let mut pieces = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let piece: CorpusPiece = serde_json::from_str(line)
                .map_err(|error| bad(format!("line {}: {error}", number + 1)))?;
            pieces.push(piece);
        }
        pieces.sort_by(|one, other| one.path.cmp(&other.path));
        if pieces.len() < 2 {
            return Err(bad(format!(
                "{} pieces are too few; `cargo xtask corpus FOLDER --hours 9` renders some",
                pieces.len()
            )));
        }
        let mut known_by = text;
        for piece in &pieces {
            let path = folder.join(&piece.path);
            let bytes = std::fs::metadata(&path)
                .map_err(LoraError::file(&path))?
                .len();
            known_by.push_str(&format!("{} {bytes}\n", piece.path.display()));
        }
        Stream::new(0).named("corpus order").shuffle(&mut pieces);
        let held_out = pieces.len().div_ceil(HELD_OUT_EVERY);
        let training = pieces.split_off(held_out);
        Ok(Self {
            folder: folder.to_owned(),
            sha256: crate::hexadecimal::sha256(known_by.as_bytes()),
            training,
            validation: pieces,
        })
    }

    /// Where a piece's sound lies.
    pub fn path(&self, piece: &CorpusPiece) -> PathBuf {
        self.folder.join(&piece.path)
    }

    /// Every tag of the pieces, sorted, once each.
    pub fn tags(&self) -> Vec<String> {
        let pieces = self.training.iter().chain(&self.validation);
        let mut tags: Vec<String> = pieces.flat_map(|piece| piece.tags.clone()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Left and right of a piece at a rate.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn sound(
        &self,
        piece: &CorpusPiece,
        sample_rate_hz: u32,
    ) -> Result<audio::AudioBuffer, LoraError> {
        let path = self.path(piece);
        let sound = audio::read_at(&path, sample_rate_hz).map_err(|error| LoraError::Data {
            path,
            problem: format!("{error}; render the corpus again, or take its line out of {INDEX}"),
        })?;
        Ok(sound.to_stereo())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(lines: usize) -> String {
        (0..lines)
            .map(|n| {
                format!(
                    "{{\"path\": \"{n}.wav\", \"tags\": [\"b\", \"a{}\"]}}\n",
                    n % 2
                )
            })
            .collect()
    }

    #[test]
    fn pieces_are_parted_by_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        std::fs::write(&path, index(81)).unwrap();
        let error = Corpus::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(".wav"), "{error}");
        for number in 0..81 {
            std::fs::write(folder.path().join(format!("{number}.wav")), "").unwrap();
        }
        let corpus = Corpus::open(folder.path()).unwrap();
        assert_eq!((corpus.training.len(), corpus.validation.len()), (78, 3));
        assert_eq!(corpus.tags(), ["a0", "a1", "b"]);
        assert!(
            corpus
                .training
                .iter()
                .all(|piece| !corpus.validation.contains(piece))
        );
        let reversed: String = index(81)
            .lines()
            .rev()
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&path, reversed).unwrap();
        let before = corpus.sha256.clone();
        std::fs::write(folder.path().join("7.wav"), "other").unwrap();
        assert_ne!(Corpus::open(folder.path()).unwrap().sha256, before);
        assert_eq!(
            Corpus::open(folder.path()).unwrap().validation,
            corpus.validation
        );
    }

    #[test]
    fn a_beat_that_cannot_be_learned_is_found() {
        let problem = |beat: &str| {
            let line = format!("{{\"path\": \"a.wav\"{beat}}}");
            serde_json::from_str::<CorpusPiece>(&line)
                .unwrap()
                .beat_problem()
        };
        for (beat, said) in [
            (", \"tempo_bpm\": 0", "30 to 300"),
            (", \"tempo_bpm\": -90.5", "leave it out"),
            (", \"tempo_bpm\": 90, \"beats_per_bar\": 7", "1 to 6"),
            (", \"tempo_bpm\": 90, \"beats_per_bar\": 0", "without one"),
            (
                ", \"tempo_bpm\": 120, \"tags\": [\"metre:3\"]",
                "beats_per_bar 4",
            ),
        ] {
            assert!(problem(beat).unwrap().contains(said), "{beat}");
        }
        // Without a steady beat bars do not count.
        let rounded =
            ", \"tempo_bpm\": 92.5, \"tags\": [\"tempo:90\", \"metre:4\", \"tempo:slow\"]";
        for beat in [
            "",
            ", \"beats_per_bar\": 7",
            ", \"tempo_bpm\": 92.5",
            rounded,
        ] {
            assert_eq!(problem(beat), None, "{beat}");
        }
    }

    #[test]
    fn a_tag_of_another_tempo_is_found() {
        let names = ["tempo:60", "tempo:90", "tempo:120", "tempo:180"].map(str::to_owned);
        let vocabulary = TagVocabulary::new(names.to_vec());
        let problem = |tempo_bpm: f64, tag: &str| {
            let line =
                format!("{{\"path\": \"a.wav\", \"tempo_bpm\": {tempo_bpm}, \"tags\": [{tag:?}]}}");
            let piece = serde_json::from_str::<CorpusPiece>(&line).unwrap();
            piece.tempo_problem(&vocabulary)
        };
        assert!(
            problem(120.0, "tempo:90")
                .unwrap()
                .contains("make them agree")
        );
        for (tempo_bpm, tag) in [
            (94.0, "tempo:90"),
            (210.0, "tempo:180"),
            (50.0, "tempo:60"),
            (120.0, "lofi"),
        ] {
            assert_eq!(problem(tempo_bpm, tag), None, "{tempo_bpm} {tag}");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INDEX), "{\"path\": \"a.wav\"}\n{}\n").unwrap();
        let error = Corpus::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("corpus.jsonl") && error.contains("line 2"),
            "{error}"
        );
        std::fs::write(folder.path().join(INDEX), "").unwrap();
        let error = Corpus::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("xtask corpus"), "{error}");
    }
}
