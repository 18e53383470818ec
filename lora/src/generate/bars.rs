//! Clips of whole bars: exactly as long as the tempo says, and a loop without a seam.
//!
//! A clip is made in windows of the lengths that the base was trained at: each keeps the end of what is there as known latents and makes what
//! follows. Then all of it is decoded at once, past its end into the beginning again, and the two forms of the beginning are joined where
//! they differ least.

use audio::AudioBuffer;

use super::{Clip, check_values, looped, peak};
use crate::base::{BaseModel, PulseGrid};
use crate::error::LoraError;
use crate::progress::Progress;
use crate::style::LaterStyle;

/// The highest peak of a clip, linear: 1 dB below full scale.
pub const CEILING: f32 = 0.891_250_9;
/// Lengths of clips in seconds.
pub const CLIP_SECS: std::ops::RangeInclusive<f64> = 0.25..=600.0;
/// Beats that a bar of a grid can have.
const MOST_BEATS: u32 = 6;
/// Tempos that a grid can have, in beats a minute.
const GRID_TEMPO_BPM: std::ops::RangeInclusive<f64> = 30.0..=300.0;

/// How long a clip is, in music.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Length {
    /// Bars.
    pub bars: u32,
    /// Beats in a bar: the upper number of the time signature.
    pub beats: u32,
    /// The note that is a beat: its lower number.
    pub unit: u32,
    /// Quarter notes a minute.
    pub tempo_bpm: f64,
}

impl Length {
    /// In seconds.
    pub fn secs(&self) -> f64 {
        // In the order in which the protocol's recipe computes it, so that both round alike.
        let quarters = f64::from(self.bars) * self.quarters_in_bar();
        quarters * 60.0 / self.tempo_bpm
    }

    /// In samples: the whole loop, no more.
    pub fn samples(&self, sample_rate_hz: u32) -> usize {
        (self.secs() * f64::from(sample_rate_hz)).round() as usize
    }

    fn quarters_in_bar(&self) -> f64 {
        f64::from(self.beats) * 4.0 / f64::from(self.unit.max(1))
    }

    /// The beat grid that says this metre best; none for a metre that none says, see [`note`](Self::note).
    pub fn grid(&self) -> Option<PulseGrid> {
        let quarters = self.quarters_in_bar();
        let grid = |beats: f64, tempo_bpm: f64| {
            let fits = beats.fract() == 0.0
                && (1.0..=f64::from(MOST_BEATS)).contains(&beats)
                && GRID_TEMPO_BPM.contains(&tempo_bpm);
            fits.then_some(PulseGrid {
                tempo_bpm,
                beats_per_bar: beats as usize,
            })
        };
        grid(quarters, self.tempo_bpm).or_else(|| grid(2.0 * quarters, 2.0 * self.tempo_bpm))
    }

    /// What is worth saying about the grid, in words.
    pub fn note(&self) -> Option<String> {
        let metre = format!("{}/{}", self.beats, self.unit);
        match self.grid() {
            None => Some(format!(
                "this base has no beat grid for {metre} at this tempo: the clip is as long as its bars, and where the beats fall is the base's choice"
            )),
            Some(grid) if grid.tempo_bpm != self.tempo_bpm => {
                Some(format!("this base counts {metre} in eighths"))
            }
            Some(_) => None,
        }
    }

    /// Checks the length alone.
    ///
    /// # Errors
    /// [`LoraError::Setting`] with what is possible.
    pub fn validate(&self) -> Result<(), LoraError> {
        let secs = self.secs();
        if CLIP_SECS.contains(&secs) {
            return Ok(());
        }
        Err(LoraError::Setting {
            setting: "bars",
            value: self.bars.to_string(),
            expected: format!(
                "{} bars of {}/{} at {} beats a minute take {secs:.2} s, and clips take {} to {} s",
                self.bars,
                self.beats,
                self.unit,
                self.tempo_bpm,
                CLIP_SECS.start(),
                CLIP_SECS.end()
            ),
        })
    }
}

/// What a clip of bars is asked with.
#[derive(Debug, Clone)]
pub struct Request {
    /// How long.
    pub length: Length,
    /// Steps from noise to data.
    pub steps: usize,
    /// Guidance; 0 turns it off.
    pub guidance: f64,
    /// Style vector `[condition width]`.
    pub style: Vec<f32>,
    /// Style to go away from.
    pub negative_style: Option<Vec<f32>>,
    /// Sound that the clip is a variation of.
    pub variation: Option<Variation>,
}

/// Sound to begin with instead of noise (SDEdit, Meng et al. 2021, arXiv:2108.01073).
#[derive(Debug, Clone)]
pub struct Variation {
    /// At the base's rate, stereo; repeated or cut to the clip's length.
    pub sound: AudioBuffer,
    /// 0: the sound as the base's autoencoder gives it back, 1: nothing of it is left.
    pub amount: f32,
}

/// Rows of the tag table for a prompt in this length and key. What the prompt itself says of tempo, metre and bars is replaced by what holds,
/// and a key by `key` where one is given.
///
/// # Errors
/// When the vocabulary lacks a word of the prompt or the key.
pub fn tags(
    base: &BaseModel,
    prompt: &str,
    length: &Length,
    key: Option<&str>,
) -> Result<Vec<usize>, LoraError> {
    let vocabulary = base.tags();
    let replaced: &[&str] = match key {
        Some(_) => &["tempo:", "metre:", "bars:", "key:"],
        None => &["tempo:", "metre:", "bars:"],
    };
    let is_replaced = |row: &usize| {
        let name = vocabulary.names().get(*row).map_or("", String::as_str);
        replaced.iter().any(|kind| name.starts_with(kind))
    };
    // Word by word: of what is replaced a prompt may say two.
    let mut rows = Vec::new();
    for word in prompt.split(',') {
        rows.extend(vocabulary.parse(word)?.tags);
    }
    rows.retain(|row| !is_replaced(row));
    let mut said = vec![format!("tempo:{}", length.tempo_bpm)];
    if let Some(grid) = length.grid() {
        said.push(format!("metre:{}", grid.beats_per_bar));
    }
    // Words for numbers that the vocabulary does not have ask for nothing.
    let (known, _) = vocabulary.known(said.iter().map(String::as_str));
    rows.extend(known);
    rows.extend(vocabulary.position(&format!("bars:{}", length.bars)));
    if let Some(key) = key {
        rows.extend(vocabulary.parse(&format!("key:{key}"))?.tags);
    }
    // Sums of vectors depend on their order in the last bit.
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}

/// A clip, planar stereo at the base's rate: [`Length::samples`] of them, peaks at most at [`CEILING`]. The same request and seed give the
/// same samples.
///
/// # Errors
/// As [`generate`](super::generate()), and for a length that is out of reach.
pub fn make(
    base: &BaseModel,
    request: &Request,
    later_styles: &[LaterStyle],
    seed: u64,
    progress: &mut dyn Progress,
) -> Result<Clip, LoraError> {
    request.length.validate()?;
    let [mut left, mut right] = looped::make(base, request, later_styles, seed, progress)?;
    for channel in [&left, &right] {
        check_values("samples", channel, request.guidance)?;
    }
    let peak = peak(&left, &right);
    // Song models are trained on other levels than they are heard at.
    if peak > CEILING || (base.songs().is_some() && peak > 0.0) {
        for sample in left.iter_mut().chain(right.iter_mut()) {
            *sample *= CEILING / peak;
        }
    }
    Ok([left, right])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(beats: u32, unit: u32, tempo_bpm: f64) -> Length {
        Length {
            bars: 4,
            beats,
            unit,
            tempo_bpm,
        }
    }

    #[test]
    fn metres_find_their_grid() {
        let grid = |beats, unit, tempo| {
            let grid = length(beats, unit, tempo).grid();
            grid.map(|grid| (grid.beats_per_bar, grid.tempo_bpm))
        };
        assert_eq!(grid(4, 4, 120.0), Some((4, 120.0)));
        assert_eq!(grid(2, 2, 100.0), Some((4, 100.0)));
        assert_eq!(grid(6, 8, 100.0), Some((3, 100.0)));
        assert_eq!(grid(12, 8, 100.0), Some((6, 100.0)));
        assert_eq!(grid(5, 8, 120.0), Some((5, 240.0)));
        assert_eq!(grid(5, 8, 180.0), None);
        assert_eq!(grid(7, 8, 120.0), None);
        assert_eq!(grid(7, 4, 120.0), None);
        assert!(length(7, 8, 120.0).note().unwrap().contains("7/8"));
        assert!(length(5, 8, 120.0).note().unwrap().contains("eighths"));
        assert_eq!(length(3, 4, 90.0).note(), None);
    }

    #[test]
    fn lengths_are_exact_and_bounded() {
        assert_eq!(length(4, 4, 120.0).samples(44_100), 352_800);
        assert_eq!(length(7, 8, 97.3).samples(44_100), 380_719);
        assert!(length(4, 4, 120.0).validate().is_ok());
        let long = Length {
            bars: 64,
            ..length(32, 4, 30.0)
        };
        assert!(long.validate().unwrap_err().to_string().contains("600 s"));
    }
}
