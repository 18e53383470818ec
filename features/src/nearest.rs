//! Is an output a copy of a training piece? The most similar stretch of three seconds.
//!
//! A [`Fingerprint`] is the level of the middle channel in 84 semitone bands from 110 Hz to 14 kHz. A stretch of an
//! output is compared with every position of every training piece: in both stretches the mean of each band over time
//! is taken away, so that the balance of a mix, which a whole style shares, does not count and only what happens when
//! does; then similarity is the normalised correlation of the two patches, 1 for a copy at any gain and equalisation,
//! about 0 for unrelated music. A value means little by itself: set it beside that of real pieces of the same style.

use audio::AudioBuffer;
use rayon::prelude::*;
use spectrum::{FilterBank, SpectrumError, Stft};

use crate::error::FeatureError;
use crate::log_mel::decibels;
use crate::measure::prepared;
use crate::{FFT_SIZE, HOP, SAMPLE_RATE_HZ};

/// Length of the stretches that are compared, in seconds.
pub const STRETCH_SECS: f64 = 3.0;

/// Below this similarity a stretch is no copy, however unlike each other the real pieces are.
pub const COPY_SIMILARITY: f64 = 0.9;

const LOWEST_HZ: f64 = 110.0;
const BANDS: usize = 84;
const FLOOR_DB: f32 = -60.0;
/// Outputs are looked at every fourth frame, training pieces at every frame: a copy may start anywhere.
const STEP: usize = 4;
/// Patches whose levels vary less than this (mean square, in dB²) hold no event to recognise.
const SMALLEST_VARIANCE: f32 = 0.25;
/// Numbers that are summed side by side, so that the compiler can use vector instructions.
const LANES: usize = 12;

/// Levels over time and pitch, `[frames, bands]`, 43 frames a second.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    levels: Vec<f32>,
}

/// The training stretch that is most like a stretch of an output.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Nearest {
    /// Index of the training piece.
    pub piece: usize,
    /// Normalised correlation, at most 1.
    pub similarity: f64,
    /// Where the stretch starts in the training piece.
    pub training_secs: f64,
    /// Where the stretch starts in the output.
    pub output_secs: f64,
}

impl Nearest {
    /// `1 - similarity`.
    pub fn distance(&self) -> f64 {
        1.0 - self.similarity
    }
}

impl Fingerprint {
    /// Takes the fingerprint of a clip of one or two channels at 44.1 kHz.
    ///
    /// # Errors
    /// For the reasons of [`crate::measure()`].
    pub fn of(clip: &AudioBuffer) -> Result<Self, FeatureError> {
        let (_, [left, right]) = prepared(clip)?;
        let mid: Vec<f32> = left
            .iter()
            .zip(&right)
            .map(|(l, r)| 0.5 * (l + r))
            .collect();
        let full_scale = (FFT_SIZE as f32 / 4.0).powi(2);
        let power: Vec<f32> = Stft::new(FFT_SIZE, HOP)?
            .forward(&mid)?
            .values()
            .iter()
            .map(|bin| bin.norm_sqr() / full_scale)
            .collect();
        let mut levels = semitone_bank()?.apply(&power)?;
        let smallest = 10f32.powf(FLOOR_DB / 10.0);
        levels
            .iter_mut()
            .for_each(|level| *level = decibels(level.max(smallest)));
        Ok(Self { levels })
    }

    fn frames(&self) -> usize {
        self.levels.len() / BANDS
    }

    fn frame(&self, index: usize) -> &[f32] {
        &self.levels[index * BANDS..(index + 1) * BANDS]
    }
}

/// The stretch of any training piece that is most like a stretch of the output.
///
/// `None` where there is no training piece, or nothing happens in the output or in any of them. Pieces shorter than a
/// stretch are compared over their own length, at least a second.
pub fn nearest(training: &[Fingerprint], output: &Fingerprint) -> Option<Nearest> {
    let best = training
        .par_iter()
        .enumerate()
        .filter_map(|(piece, training)| {
            let (similarity, training_frame, output_frame) = most_similar(training, output)?;
            let secs = |frame: usize| (frame * HOP) as f64 / f64::from(SAMPLE_RATE_HZ);
            let similarity = f64::from(similarity);
            Some(Nearest {
                piece,
                similarity,
                training_secs: secs(training_frame),
                output_secs: secs(output_frame),
            })
        });
    // The first of equals, so that the answer does not depend on the number of threads.
    best.max_by(|a, b| {
        a.similarity
            .total_cmp(&b.similarity)
            .then(b.piece.cmp(&a.piece))
    })
}

fn most_similar(training: &Fingerprint, output: &Fingerprint) -> Option<(f32, usize, usize)> {
    let stretch = (STRETCH_SECS * f64::from(SAMPLE_RATE_HZ) / HOP as f64) as usize;
    let rows = stretch.min(training.frames()).min(output.frames()) / STEP;
    let span = (rows.checked_sub(1)?) * STEP + 1;
    let norms: Vec<f32> = (0..=training.frames() - span)
        .map(|start| centred_norm(training, start, rows))
        .collect();
    let floor = (SMALLEST_VARIANCE * (rows * BANDS) as f32).sqrt();
    let mut best: Option<(f32, usize, usize)> = None;
    for output_start in (0..=output.frames() - span).step_by((stretch / 2).max(1)) {
        let patch = centred_patch(output, output_start, rows);
        let patch_norm = dot(&patch, &patch).sqrt();
        if patch_norm < floor {
            continue;
        }
        for (start, &norm) in norms.iter().enumerate().filter(|(_, norm)| **norm >= floor) {
            // The patch has no mean left, so that of the training stretch falls out of the product.
            let product: f32 = patch
                .chunks_exact(BANDS)
                .enumerate()
                .map(|(row, bands)| dot(bands, training.frame(start + row * STEP)))
                .sum();
            let similarity = product / (norm * patch_norm);
            if best.is_none_or(|(most, ..)| similarity > most) {
                best = Some((similarity, start, output_start));
            }
        }
    }
    best
}

/// Every `STEP`-th frame from `start`, each band without its mean.
fn centred_patch(fingerprint: &Fingerprint, start: usize, rows: usize) -> Vec<f32> {
    let mut patch: Vec<f32> = (0..rows)
        .flat_map(|row| fingerprint.frame(start + row * STEP))
        .copied()
        .collect();
    for band in 0..BANDS {
        let mean = patch.iter().skip(band).step_by(BANDS).sum::<f32>() / rows as f32;
        patch
            .iter_mut()
            .skip(band)
            .step_by(BANDS)
            .for_each(|level| *level -= mean);
    }
    patch
}

fn centred_norm(fingerprint: &Fingerprint, start: usize, rows: usize) -> f32 {
    let patch = centred_patch(fingerprint, start, rows);
    dot(&patch, &patch).sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Triangles a semitone wide to each side, but no narrower than the distance of two bins.
fn semitone_bank() -> Result<FilterBank, SpectrumError> {
    let bins = FFT_SIZE / 2 + 1;
    let bin_hz = f64::from(SAMPLE_RATE_HZ) / FFT_SIZE as f64;
    let row = |band: usize| {
        let centre_hz = LOWEST_HZ * 2f64.powf(band as f64 / 12.0);
        let width_hz = (centre_hz * (2f64.powf(1.0 / 12.0) - 1.0)).max(bin_hz);
        let weight =
            |bin: usize| (1.0 - (bin as f64 * bin_hz - centre_hz).abs() / width_hz).max(0.0) as f32;
        (0..bins).map(weight).collect()
    };
    FilterBank::from_rows(bins, (0..BANDS).map(row))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Six seconds of short notes at random times and pitches of a pentatonic scale.
    fn melody(seed: u64) -> Vec<f32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let rate = f64::from(SAMPLE_RATE_HZ);
        let mut samples = vec![0.0f32; 6 * SAMPLE_RATE_HZ as usize];
        for step in 0..24 {
            let semitone = [0, 2, 4, 7, 9, 12, 14][generator.random_range(0..7)];
            let frequency_hz = 261.63 * 2f64.powf(f64::from(semitone) / 12.0);
            let start = step * samples.len() / 24 + generator.random_range(0..4000);
            for (n, sample) in samples[start..].iter_mut().take(20_000).enumerate() {
                let secs = n as f64 / rate;
                let phase = std::f64::consts::TAU * frequency_hz * secs;
                *sample +=
                    (0.2 * (phase.sin() + 0.4 * (3.0 * phase).sin()) * (-6.0 * secs).exp()) as f32;
            }
        }
        samples
    }

    fn fingerprint(samples: Vec<f32>) -> Fingerprint {
        Fingerprint::of(&AudioBuffer {
            sample_rate_hz: SAMPLE_RATE_HZ,
            channels: vec![samples; 2],
        })
        .unwrap()
    }

    #[test]
    fn a_shifted_quieter_copy_is_found_and_other_music_is_not() {
        let training: Vec<Fingerprint> = (0..4).map(|seed| fingerprint(melody(seed))).collect();
        let shift = 50_123;
        let copy: Vec<f32> = melody(2)[shift..]
            .iter()
            .map(|sample| sample * 0.3)
            .collect();
        let found = nearest(&training, &fingerprint(copy)).unwrap();
        assert_eq!(found.piece, 2);
        assert!(found.similarity > 0.95, "{found:?}");
        let expected_secs = shift as f64 / f64::from(SAMPLE_RATE_HZ);
        assert!(
            (found.training_secs - found.output_secs - expected_secs).abs() < 0.05,
            "{found:?}"
        );
        let other = nearest(&training, &fingerprint(melody(77))).unwrap();
        assert!(other.similarity < 0.7, "{other:?}");
    }

    #[test]
    fn short_and_missing_pieces() {
        let output = fingerprint(melody(1));
        assert!(nearest(&[], &output).is_none());
        let second = fingerprint(melody(1)[..66_150].to_vec());
        let found = nearest(&[second], &output).unwrap();
        assert!(found.similarity > 0.9, "{found:?}");
        assert!((found.distance() + found.similarity - 1.0).abs() < 1e-12);
    }
}
