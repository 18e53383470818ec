//! Everything that makes a clip again: the same recipe and the same engine give the same bytes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ProtocolError;

/// Adapters that one clip may have.
pub const MOST_ADAPTERS: usize = 4;
/// Longest prompt in bytes.
pub const MOST_PROMPT_BYTES: usize = 2_000;
/// Bars that can be asked for.
pub const BARS: [u32; 5] = [1, 2, 4, 8, 16];
/// Slowest and fastest tempo of a clip in beats (quarter notes) a minute.
pub const TEMPO_BPM: std::ops::RangeInclusive<f64> = 30.0..=300.0;
/// Strengths of an adapter.
pub const STRENGTH: std::ops::RangeInclusive<f32> = -2.0..=2.0;
/// The base that is part of the engine.
pub const EMBEDDED: &str = "embedded";

/// What a clip is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The base model.
    pub base: BaseChoice,
    /// Up to [`MOST_ADAPTERS`] adapters.
    pub adapters: Vec<AdapterUse>,
    /// Tags separated by commas, or words for a base that has an encoder of words.
    pub prompt: String,
    /// One of [`BARS`].
    pub bars: u32,
    /// Length of a bar.
    pub metre: Metre,
    /// Quarter notes a minute.
    pub tempo_bpm: f64,
    /// A key of the base's vocabulary, such as `a-minor`.
    pub key: Option<String>,
    /// Seed of the noise.
    pub seed: u64,
    /// Steps from noise to sound; the base's own number where none is given.
    pub steps: Option<u16>,
    /// Guidance; the base's own where none is given.
    pub guidance: Option<f64>,
    /// Sound that the clip starts from or takes its style from.
    pub source: Option<Source>,
    /// Version of the engine that made the clip; empty in a request, filled in by the engine.
    #[serde(default)]
    pub engine: String,
}

/// A base model by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseChoice {
    /// [`EMBEDDED`], a released model's name, or a file's path.
    pub name: String,
    /// What identifies its weights; filled in by the engine, compared when a clip is made again.
    pub identity: Option<String>,
}

/// An adapter and how strongly it acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterUse {
    /// Its file.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the file in hexadecimal digits; filled in by the engine. A file of other content is refused when a clip is made again, and a
    /// missing file is looked for by it in the adapters' folder.
    pub sha256: Option<String>,
    /// 0: not at all, 1: as trained.
    pub strength: f32,
}

/// A time signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metre {
    /// Beats in a bar (the upper number), 1 to 32.
    pub beats: u32,
    /// The note that is a beat (the lower number): 1, 2, 4, 8, 16 or 32.
    pub unit: u32,
}

/// Sound that is brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// A sound file.
    pub path: PathBuf,
    /// SHA-256 of the file; filled in by the engine.
    pub sha256: Option<String>,
    /// What it is for.
    pub role: SourceRole,
}

/// What a source is for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceRole {
    /// The clip has its style.
    Style,
    /// The clip is a variation of it.
    Vary {
        /// 0: the source as it is, 1: nothing of it is left.
        amount: f32,
    },
}

impl Default for Metre {
    fn default() -> Self {
        Self { beats: 4, unit: 4 }
    }
}

impl Metre {
    /// Length of a bar in quarter notes.
    pub fn quarters(self) -> f64 {
        f64::from(self.beats) * 4.0 / f64::from(self.unit.max(1))
    }

    /// Of a host, which may say nothing or nonsense.
    pub fn of_host(beats: Option<i32>, unit: Option<i32>) -> Self {
        let beats = beats.and_then(|beats| u32::try_from(beats).ok());
        let unit = unit.and_then(|unit| u32::try_from(unit).ok());
        let metre = Self {
            beats: beats.unwrap_or(4),
            unit: unit.unwrap_or(4),
        };
        match metre.is_sensible() {
            true => metre,
            false => Self::default(),
        }
    }

    fn is_sensible(self) -> bool {
        (1..=32).contains(&self.beats) && [1, 2, 4, 8, 16, 32].contains(&self.unit)
    }
}

impl Recipe {
    /// Length of the clip in quarter notes.
    pub fn quarters(&self) -> f64 {
        f64::from(self.bars) * self.metre.quarters()
    }

    /// Length of the clip in seconds.
    pub fn secs(&self) -> f64 {
        self.quarters() * 60.0 / self.tempo_bpm
    }

    /// Frames of the clip at this rate: the whole loop, no more.
    pub fn frames(&self, sample_rate_hz: u32) -> u64 {
        (self.secs() * f64::from(sample_rate_hz)).round() as u64
    }

    /// Checks what can be checked without the base.
    ///
    /// # Errors
    /// [`ProtocolError::Recipe`] says what to change.
    pub fn validate(&self) -> Result<(), ProtocolError> {
        let refuse = |problem: String| Err(ProtocolError::Recipe(problem));
        if !BARS.contains(&self.bars) {
            return refuse(format!(
                "{} bars cannot be made; ask for 1, 2, 4, 8 or 16",
                self.bars
            ));
        }
        if !self.metre.is_sensible() {
            return refuse(format!(
                "a metre of {}/{} is none that clips are made in",
                self.metre.beats, self.metre.unit
            ));
        }
        if !TEMPO_BPM.contains(&self.tempo_bpm) {
            return refuse(format!(
                "a tempo of {} beats a minute is out of reach; clips are made at 30 to 300",
                short(self.tempo_bpm)
            ));
        }
        if self.prompt.len() > MOST_PROMPT_BYTES {
            return refuse(format!(
                "a prompt of {} bytes is too long; {MOST_PROMPT_BYTES} are the most",
                self.prompt.len()
            ));
        }
        if self.adapters.len() > MOST_ADAPTERS {
            return refuse(format!(
                "{} adapters are too many; {MOST_ADAPTERS} are the most",
                self.adapters.len()
            ));
        }
        for adapter in &self.adapters {
            if !STRENGTH.contains(&adapter.strength) {
                return refuse(format!(
                    "{}: a strength of {} is out of reach; it goes from -2 to 2",
                    adapter.name,
                    short(f64::from(adapter.strength))
                ));
            }
        }
        if let Some(SourceRole::Vary { amount }) = self.source.as_ref().map(|source| source.role)
            && !(0.0..=1.0).contains(&amount)
        {
            return refuse(format!(
                "an amount of variation of {} is out of reach; it goes from 0 to 1",
                short(f64::from(amount))
            ));
        }
        if self
            .guidance
            .is_some_and(|guidance| !(0.0..=100.0).contains(&guidance))
        {
            return refuse("guidance goes from 0 to 100".to_owned());
        }
        if self.steps.is_some_and(|steps| !(1..=1000).contains(&steps)) {
            return refuse("a clip takes 1 to 1000 steps".to_owned());
        }
        Ok(())
    }

    /// The clip's name in the cache, in hexadecimal digits. Files count by their content where it is known, not by their place.
    pub fn key(&self) -> String {
        let mut named = self.clone();
        for adapter in &mut named.adapters {
            if adapter.sha256.is_some() {
                adapter.path = PathBuf::new();
                adapter.name = String::new();
            }
        }
        if let Some(source) = named
            .source
            .as_mut()
            .filter(|source| source.sha256.is_some())
        {
            source.path = PathBuf::new();
        }
        // A recipe is plain data, which always has a text; an unreadable number would only give another name.
        let text = serde_json::to_string(&named).unwrap_or_default();
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A number that somebody gave, in few digits however large it is.
fn short(number: f64) -> String {
    match number.abs() {
        size if size == 0.0 || (1e-3..1e6).contains(&size) => format!("{number}"),
        _ => format!("{number:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_few_digits() {
        let told = [
            0.0,
            -3.5,
            1e300,
            -f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(short);
        assert_eq!(
            told,
            ["0", "-3.5", "1.000e300", "-2.225e-308", "inf", "NaN"]
        );
    }
}
