//! The per-frame features from which clip vectors are pooled.
//!
//! All are chosen so that key, loudness and length of a clip matter little and style matters much. Their names, in
//! order, are [`clip_vector_names`]; a change of meaning or order needs new statistics with a new version.

use std::ops::Range;

use spectrum::SpectrumError;

use crate::descriptors::cepstrum::Cepstrum;
use crate::descriptors::chroma::{CLASSES, Chroma, entropy, strongest, to_shares};
use crate::descriptors::contrast::{self, Contrast};
use crate::descriptors::onset::onset_strength;
use crate::descriptors::rhythm::{LAG_BANDS, rhythm};
use crate::descriptors::shape::{Shape, shape};
use crate::descriptors::waveform::{frame_powers, zero_crossing_rates};
use crate::log_mel::{LogMel, LogMelSpectrogram, MelParameters, decibels};
use crate::pooling::mean_and_deviation;
use crate::{FFT_SIZE, HOP, SAMPLE_RATE_HZ};

/// Cepstral coefficients that are kept (the zeroth, the level, is left out).
const CEPSTRUM: usize = 20;
/// Coefficients whose motion is measured.
const MOTION: usize = 12;
/// Low, middle and high range: borders in hertz.
const RANGE_BORDERS_HZ: [f64; 2] = [250.0, 4000.0];
const RANGES: usize = RANGE_BORDERS_HZ.len() + 1;
/// Frames quieter than this (37 to 57 dB below a clip at −23 LUFS) are left out.
const GATE_DB: f32 = -80.0;
/// Limits of side over mid power, in decibels: what lies outside is heard as mono, or as no middle at all.
const WIDTH_LIMITS_DB: (f32, f32) = (-40.0, 10.0);
/// Limit of left over right power, in decibels.
const BALANCE_LIMIT_DB: f32 = 20.0;
/// Powers are raised to this before division.
const SMALLEST_POWER: f32 = 1e-12;
/// Frequencies are raised to this before the logarithm, in hertz.
const LOWEST_HZ: f32 = 20.0;

/// What is planned once and used for every window.
#[derive(Debug, Clone)]
pub(crate) struct Extractor {
    mel: LogMel,
    cepstrum: Cepstrum,
    contrast: Contrast,
    chroma: Chroma,
    mel_ranges: [Range<usize>; RANGES],
    bin_ranges: [Range<usize>; RANGES],
}

/// One window of a clip, described.
#[derive(Debug, Clone)]
pub(crate) struct WindowFeatures {
    /// Mean of all per-frame features, their deviation, mean rhythm; `None` where nothing in the window passes the gate.
    pub(crate) vector: Option<Vec<f64>>,
    /// Log-mel levels of the frames that pass the gate.
    pub(crate) levels: LogMelSpectrogram,
}

/// The spectra of a window, from which everything else follows.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// Power of the middle, and of the sides, `[frames, bins]`.
    mid_power: Vec<f32>,
    side_power: Vec<f32>,
    /// Power of each channel, by frame.
    left_power: Vec<f32>,
    right_power: Vec<f32>,
    /// Zero crossings of the middle, by frame.
    crossings: Vec<f32>,
}

impl Analysis {
    fn amplify(&mut self, gain: f32) {
        let factor = gain * gain;
        for powers in [
            &mut self.mid_power,
            &mut self.side_power,
            &mut self.left_power,
            &mut self.right_power,
        ] {
            powers.iter_mut().for_each(|power| *power *= factor);
        }
    }
}

/// Names of a clip vector's values, in order.
pub fn clip_vector_names() -> Vec<String> {
    let frame = frame_names();
    let named = |pooling: &'static str| frame.iter().map(move |name| format!("{name} {pooling}"));
    // Rhythm is a description of seconds already: too few rows of it fit into a clip for a deviation.
    let rhythm = (0..LAG_BANDS).map(|band| format!("rhythm-{band:02} mean"));
    named("mean").chain(named("std")).chain(rhythm).collect()
}

fn frame_names() -> Vec<String> {
    let numbered =
        |name: &'static str, numbers: Range<usize>| numbers.map(move |n| format!("{name}-{n:02}"));
    let plain = |names: &'static [&'static str]| names.iter().map(|&name| name.to_owned());
    numbered("cepstrum", 1..CEPSTRUM + 1)
        .chain(numbered("motion", 1..MOTION + 1))
        .chain(plain(&[
            "centroid",
            "bandwidth",
            "rolloff",
            "flatness",
            "zero-crossings",
        ]))
        .chain(numbered("contrast", 0..contrast::BANDS))
        .chain(plain(&["onset-low", "onset-middle", "onset-high", "level"]))
        .chain(numbered("chroma", 0..CLASSES))
        .chain(plain(&["chroma-entropy", "chroma-change"]))
        .chain(plain(&[
            "width-low",
            "width-middle",
            "width-high",
            "balance",
        ]))
        .collect()
}

impl Extractor {
    pub(crate) fn new() -> Result<Self, SpectrumError> {
        let parameters = MelParameters::measuring();
        let cepstrum = Cepstrum::new(parameters.bands, CEPSTRUM + 1);
        let mel = LogMel::new(parameters)?;
        let bin_hz = f64::from(SAMPLE_RATE_HZ) / FFT_SIZE as f64;
        let bands = mel.parameters().bands;
        let mel_edge = |hz: f64| (0..bands).filter(|&band| mel.centre_hz(band) < hz).count();
        let bin_edge = |hz: f64| (hz / bin_hz).ceil() as usize;
        Ok(Self {
            mel_ranges: ranges(mel_edge, bands),
            bin_ranges: ranges(bin_edge, mel.bins()),
            contrast: Contrast::new(mel.bins(), bin_hz),
            chroma: Chroma::new(SAMPLE_RATE_HZ, FFT_SIZE),
            cepstrum,
            mel,
        })
    }

    pub(crate) fn mel(&self) -> &LogMel {
        &self.mel
    }

    /// The spectra of a window of two channels of equal length.
    pub(crate) fn analyse(&self, left: &[f32], right: &[f32]) -> Result<Analysis, SpectrumError> {
        let half = |combine: fn(f32, f32) -> f32| -> Vec<f32> {
            left.iter()
                .zip(right)
                .map(|(&l, &r)| 0.5 * combine(l, r))
                .collect()
        };
        let (mid, side) = (half(|l, r| l + r), half(|l, r| l - r));
        Ok(Analysis {
            mid_power: self.mel.power(&mid)?,
            side_power: self.mel.power(&side)?,
            left_power: frame_powers(left, FFT_SIZE, HOP),
            right_power: frame_powers(right, FFT_SIZE, HOP),
            crossings: zero_crossing_rates(&mid, FFT_SIZE, HOP),
        })
    }

    /// Describes a window; `gain` brings its clip to the loudness at which things are compared.
    pub(crate) fn describe(
        &self,
        mut analysis: Analysis,
        gain: f32,
    ) -> Result<WindowFeatures, SpectrumError> {
        analysis.amplify(gain);
        let Analysis {
            mid_power,
            side_power,
            left_power,
            right_power,
            crossings,
        } = analysis;
        let levels = self.mel.of_power(&mid_power)?;
        let loud = |(l, r): (&f32, &f32)| decibels((l + r) / 2.0) > GATE_DB;
        let active: Vec<bool> = left_power.iter().zip(&right_power).map(loud).collect();
        let columns = [
            self.timbre(&levels),
            self.shape(&mid_power, &crossings),
            self.onsets(&levels),
            level(&left_power, &right_power),
            self.harmony(&mid_power, &active),
            self.stereo(&mid_power, &side_power),
            balance(&left_power, &right_power),
        ];
        let (rows, width) = active_rows(&columns, &active);
        let onsets = onset_strength(&levels.values, levels.bands, 0..levels.bands);
        let rhythm = rhythm(&onsets, f64::from(SAMPLE_RATE_HZ) / HOP as f64).concat();
        let vector = (!rows.is_empty()).then(|| {
            let (mean, deviation) = mean_and_deviation(&rows, width);
            [mean, deviation, mean_and_deviation(&rhythm, LAG_BANDS).0].concat()
        });
        let (values, bands) = active_rows(
            &[Columns {
                width: levels.bands,
                values: levels.values,
            }],
            &active,
        );
        Ok(WindowFeatures {
            vector,
            levels: LogMelSpectrogram { bands, values },
        })
    }

    fn timbre(&self, levels: &LogMelSpectrogram) -> Columns {
        let frames: Vec<Vec<f32>> = levels
            .iter()
            .map(|frame| self.cepstrum.of_frame(frame).collect())
            .collect();
        let mut columns = Columns::new(CEPSTRUM + MOTION);
        for (index, frame) in frames.iter().enumerate() {
            let (before, after) = (
                &frames[index.saturating_sub(1)],
                &frames[(index + 1).min(frames.len() - 1)],
            );
            let motion = after[1..]
                .iter()
                .zip(&before[1..])
                .map(|(after, before)| (after - before).abs() / 2.0);
            columns.values.extend_from_slice(&frame[1..]);
            columns.values.extend(motion.take(MOTION));
        }
        columns
    }

    fn shape(&self, power: &[f32], crossings: &[f32]) -> Columns {
        let bins = self.mel.bins();
        let bin_hz = f64::from(SAMPLE_RATE_HZ) / FFT_SIZE as f64;
        let mut columns = Columns::new(5 + contrast::BANDS);
        let (mut magnitudes, mut scratch) = (vec![0.0; bins], Vec::with_capacity(bins));
        for (frame, &crossings) in power.chunks_exact(bins).zip(crossings) {
            magnitudes
                .iter_mut()
                .zip(frame)
                .for_each(|(magnitude, power)| *magnitude = power.sqrt());
            let Shape {
                centroid_hz,
                bandwidth_hz,
                rolloff_hz,
                flatness,
            } = shape(&magnitudes, frame, bin_hz);
            columns
                .values
                .extend([centroid_hz, bandwidth_hz, rolloff_hz].map(octaves));
            columns
                .values
                .extend([decibels(flatness.max(SMALLEST_POWER)), crossings]);
            columns.values.extend(
                self.contrast
                    .of_frame(&magnitudes, &mut scratch)
                    .contrast_db(),
            );
        }
        columns
    }

    fn onsets(&self, levels: &LogMelSpectrogram) -> Columns {
        let strengths = self
            .mel_ranges
            .clone()
            .map(|range| onset_strength(&levels.values, levels.bands, range));
        let mut columns = Columns::new(RANGES);
        for frame in 0..levels.frames() {
            columns
                .values
                .extend(strengths.iter().map(|strength| strength[frame]));
        }
        columns
    }

    /// Pitch classes counted upwards from the window's strongest, so that a transposed clip looks the same.
    fn harmony(&self, power: &[f32], active: &[bool]) -> Columns {
        let frames: Vec<[f32; CLASSES]> = power
            .chunks_exact(self.mel.bins())
            .map(|frame| to_shares(self.chroma.of_frame(frame)))
            .collect();
        let mut total = [0.0; CLASSES];
        for (shares, _) in frames.iter().zip(active).filter(|(_, active)| **active) {
            total
                .iter_mut()
                .zip(shares)
                .for_each(|(sum, share)| *sum += share);
        }
        let root = strongest(&total);
        let mut columns = Columns::new(CLASSES + 2);
        for (index, shares) in frames.iter().enumerate() {
            let before = &frames[index.saturating_sub(1)];
            let change: f32 = shares
                .iter()
                .zip(before)
                .map(|(now, before)| (now - before).abs())
                .sum();
            columns
                .values
                .extend((0..CLASSES).map(|class| shares[(class + root) % CLASSES]));
            columns.values.extend([entropy(shares), change]);
        }
        columns
    }

    fn stereo(&self, mid: &[f32], side: &[f32]) -> Columns {
        let bins = self.mel.bins();
        let mut columns = Columns::new(RANGES);
        for (mid, side) in mid.chunks_exact(bins).zip(side.chunks_exact(bins)) {
            columns.values.extend(self.bin_ranges.iter().map(|range| {
                let [mid, side] = [mid, side].map(|power| power[range.clone()].iter().sum::<f32>());
                decibels((side + SMALLEST_POWER) / (mid + SMALLEST_POWER))
                    .clamp(WIDTH_LIMITS_DB.0, WIDTH_LIMITS_DB.1)
            }));
        }
        columns
    }
}

/// Some features of every frame: `[frames, width]`.
struct Columns {
    width: usize,
    values: Vec<f32>,
}

impl Columns {
    fn new(width: usize) -> Self {
        Self {
            width,
            values: Vec::new(),
        }
    }
}

/// The frames that pass the gate, all columns side by side, and the total width.
fn active_rows(columns: &[Columns], active: &[bool]) -> (Vec<f32>, usize) {
    let width = columns.iter().map(|column| column.width).sum();
    let frames = (0..active.len()).filter(|&frame| active[frame]);
    let row = |frame: usize| {
        columns.iter().flat_map(move |column| {
            &column.values[frame * column.width..(frame + 1) * column.width]
        })
    };
    (frames.flat_map(row).copied().collect(), width)
}

fn level(left: &[f32], right: &[f32]) -> Columns {
    let level = |(l, r): (&f32, &f32)| decibels((l + r) / 2.0).max(GATE_DB);
    Columns {
        width: 1,
        values: left.iter().zip(right).map(level).collect(),
    }
}

fn balance(left: &[f32], right: &[f32]) -> Columns {
    let tilt = |(l, r): (&f32, &f32)| decibels((l + SMALLEST_POWER) / (r + SMALLEST_POWER));
    // Which side is the louder says nothing about style; how lopsided a mix is does.
    let values = left
        .iter()
        .zip(right)
        .map(tilt)
        .map(|tilt| tilt.abs().min(BALANCE_LIMIT_DB))
        .collect();
    Columns { width: 1, values }
}

fn ranges(edge: impl Fn(f64) -> usize, end: usize) -> [Range<usize>; RANGES] {
    let [first, second] = RANGE_BORDERS_HZ.map(|hz| edge(hz).min(end));
    [0..first, first..second, second..end]
}

/// Octaves above 1 kHz.
fn octaves(frequency_hz: f32) -> f32 {
    (frequency_hz.max(LOWEST_HZ) / 1000.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency_hz: f64) -> Vec<f32> {
        let radians = std::f64::consts::TAU * frequency_hz / f64::from(SAMPLE_RATE_HZ);
        // Two partials and a slow tremolo.
        let sample = |n: f64| (radians * n).sin() + 0.5 * (2.0 * radians * n).sin();
        (0..132_300)
            .map(|n| (0.1 * sample(f64::from(n)) * (1.2 + (f64::from(n) * 3e-4).sin())) as f32)
            .collect()
    }

    fn described(extractor: &Extractor, left: &[f32], right: &[f32]) -> WindowFeatures {
        let analysis = extractor.analyse(left, right).unwrap();
        extractor.describe(analysis, 1.0).unwrap()
    }

    fn value(vector: &[f64], name: &str) -> f64 {
        vector[clip_vector_names()
            .iter()
            .position(|other| other == name)
            .unwrap()]
    }

    #[test]
    fn names_are_unique_and_cover_the_vector() {
        let names = clip_vector_names();
        let extractor = Extractor::new().unwrap();
        let vector = described(&extractor, &tone(440.0), &tone(440.0))
            .vector
            .unwrap();
        assert_eq!(vector.len(), names.len());
        assert_eq!(
            names.iter().collect::<std::collections::HashSet<_>>().len(),
            names.len()
        );
        assert!(vector.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn transposition_moves_the_centroid_but_not_the_chroma() {
        let extractor = Extractor::new().unwrap();
        let [low, high] = [440.0, 440.0 * 2f64.powf(5.0 / 12.0)]
            .map(|hz| described(&extractor, &tone(hz), &tone(hz)).vector.unwrap());
        assert!((value(&low, "chroma-00 mean") - value(&high, "chroma-00 mean")).abs() < 0.05);
        assert!(value(&high, "centroid mean") > value(&low, "centroid mean") + 0.2);
    }

    #[test]
    fn width_and_balance_tell_the_channels_apart() {
        let extractor = Extractor::new().unwrap();
        let (one, other) = (tone(440.0), tone(550.0));
        let quiet: Vec<f32> = one.iter().map(|sample| sample * 0.25).collect();
        let describe =
            |left: &[f32], right: &[f32]| described(&extractor, left, right).vector.unwrap();
        assert_eq!(
            value(&describe(&one, &one), "width-middle mean"),
            f64::from(WIDTH_LIMITS_DB.0)
        );
        assert!(value(&describe(&one, &other), "width-middle mean") > -3.0);
        for vector in [describe(&one, &quiet), describe(&quiet, &one)] {
            assert!((value(&vector, "balance mean") - 12.04).abs() < 0.05);
        }
    }

    #[test]
    fn silence_has_no_vector() {
        let extractor = Extractor::new().unwrap();
        let features = described(&extractor, &[0.0; 44_100], &[0.0; 44_100]);
        assert!(features.vector.is_none());
        assert_eq!(features.levels.frames(), 0);
    }
}
