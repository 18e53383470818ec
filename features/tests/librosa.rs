//! Descriptors against librosa 0.11 on six short signals at 22.05 kHz (see `fixtures/librosa.json`).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use features::descriptors::cepstrum::Cepstrum;
use features::descriptors::chroma::Chroma;
use features::descriptors::contrast::Contrast;
use features::descriptors::onset::onset_strength;
use features::descriptors::shape::shape;
use features::descriptors::waveform::{frame_powers, zero_crossing_rates};
use features::log_mel::{LogMel, LogMelSpectrogram, MelParameters};
use safetensors::SafeTensors;

const SIGNALS: [&str; 6] = ["sweep", "noise", "chord", "click120", "click90", "silence"];
const FFT_SIZE: usize = 2048;
const HOP: usize = 512;
/// librosa limits levels to 80 dB below the largest.
const TOP_DB: f32 = 80.0;

/// Single-precision FFTs of librosa (NumPy, double inside) and ours differ by about 1e-7 of the frame's largest bin.
/// 80 dB down, where power is 1e-8 of the largest, that is up to some hundredths of a decibel.
const DB_TOLERANCE: f32 = 0.05;

struct Case {
    signal: Vec<f32>,
    sample_rate_hz: u32,
    power: Vec<f32>,
    levels: LogMelSpectrogram,
}

impl Case {
    fn new(name: &str) -> Self {
        let clip = audio::read(&fixtures().join("wav").join(format!("{name}.wav"))).unwrap();
        let mel = LogMel::new(MelParameters::librosa(clip.sample_rate_hz)).unwrap();
        let power = mel.power(&clip.channels[0]).unwrap();
        let levels = mel.of_power(&power).unwrap().limited(TOP_DB);
        Self {
            signal: clip.channels[0].clone(),
            sample_rate_hz: clip.sample_rate_hz,
            power,
            levels,
        }
    }

    fn bins(&self) -> usize {
        FFT_SIZE / 2 + 1
    }

    fn bin_hz(&self) -> f64 {
        f64::from(self.sample_rate_hz) / FFT_SIZE as f64
    }

    fn frames(&self) -> impl Iterator<Item = &[f32]> {
        self.power.chunks_exact(self.bins())
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A golden `[rows, frames]`, turned to `[frames, rows]`.
fn golden(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixtures().join("librosa.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values: Vec<f32> = tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let frames = *tensor.shape().last().unwrap();
    (0..frames)
        .flat_map(|frame| values[frame..].iter().step_by(frames).copied())
        .collect()
}

#[track_caller]
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let difference = |index: usize| (actual[index] - expected[index]).abs();
    let worst = (0..actual.len())
        .max_by(|&a, &b| difference(a).total_cmp(&difference(b)))
        .unwrap();
    let (actual, expected) = (actual[worst], expected[worst]);
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: value {worst} is {actual}, expected {expected}"
    );
}

#[test]
fn log_mel() {
    for name in SIGNALS {
        let case = Case::new(name);
        let maximum = case.levels.maximum_db();
        let relative: Vec<f32> = case
            .levels
            .values
            .iter()
            .map(|level| level - maximum)
            .collect();
        assert_close(
            name,
            &relative,
            &golden(&format!("{name}.mel_db_refmax")),
            DB_TOLERANCE,
        );
    }
}

#[test]
fn log_mel_in_absolute_levels() {
    for name in ["sweep", "chord"] {
        // These goldens are not limited; far below the largest level they hold rounding errors only.
        let values = golden(&format!("{name}.mel_db_ref1"));
        let expected = LogMelSpectrogram { bands: 128, values }.limited(TOP_DB);
        assert_close(
            name,
            &Case::new(name).levels.values,
            &expected.values,
            DB_TOLERANCE,
        );
    }
}

#[test]
fn mean_squared_errors_of_log_mel() {
    let text = std::fs::read_to_string(fixtures().join("librosa.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let relative = |name: &str| {
        let mut levels = Case::new(name).levels;
        let maximum = levels.maximum_db();
        levels.values.iter_mut().for_each(|level| *level -= maximum);
        levels
    };
    for (pair, expected) in json["mel_mse"].as_object().unwrap() {
        let (one, other) = pair.split_once('|').unwrap();
        let (actual, expected) = (
            relative(one).mean_squared_error(&relative(other)),
            expected.as_f64().unwrap(),
        );
        assert!(
            (actual / expected - 1.0).abs() < 1e-3,
            "{pair}: {actual}, expected {expected}"
        );
    }
}

#[test]
fn cepstrum() {
    for name in SIGNALS {
        let case = Case::new(name);
        let cepstrum = Cepstrum::new(128, 20);
        let actual: Vec<f32> = case
            .levels
            .iter()
            .flat_map(|frame| cepstrum.of_frame(frame))
            .collect();
        assert_close(name, &actual, &golden(&format!("{name}.mfcc20")), 0.1);
    }
}

#[test]
fn spectral_shape() {
    for name in SIGNALS {
        let case = Case::new(name);
        let shapes: Vec<_> = case
            .frames()
            .map(|frame| {
                let magnitudes: Vec<f32> = frame.iter().map(|power| power.sqrt()).collect();
                shape(&magnitudes, frame, case.bin_hz())
            })
            .collect();
        let column = |of: fn(&features::descriptors::shape::Shape) -> f32| {
            shapes.iter().map(of).collect::<Vec<_>>()
        };
        let golden = |what: &str| golden(&format!("{name}.{what}"));
        let half_bin = case.bin_hz() as f32 / 2.0;
        assert_close(
            name,
            &column(|shape| shape.centroid_hz),
            &golden("centroid"),
            1.0,
        );
        assert_close(
            name,
            &column(|shape| shape.bandwidth_hz),
            &golden("bandwidth"),
            1.0,
        );
        assert_close(
            name,
            &column(|shape| shape.rolloff_hz),
            &golden("rolloff85"),
            half_bin,
        );
        assert_close(
            name,
            &column(|shape| shape.flatness),
            &golden("flatness"),
            1e-4,
        );
    }
}

#[test]
fn spectral_contrast() {
    let mut compared = 0;
    for name in SIGNALS {
        let case = Case::new(name);
        let contrast = Contrast::new(case.bins(), case.bin_hz());
        let mut scratch = Vec::new();
        let of_frame = |frame: &[f32]| {
            let magnitudes: Vec<f32> = frame.iter().map(|power| power.sqrt()).collect();
            contrast.of_frame(&magnitudes, &mut scratch)
        };
        let frames: Vec<_> = case.frames().map(of_frame).collect();
        let peak = frames
            .iter()
            .flat_map(|frame| frame.peaks_db)
            .fold(f32::MIN, f32::max);
        let valley = frames
            .iter()
            .flat_map(|frame| frame.valleys_db)
            .fold(f32::MIN, f32::max);
        let limited = |level: f32, largest: f32| level.max(largest - TOP_DB);
        let golden = golden(&format!("{name}.contrast"));
        for (frame, expected) in frames.iter().zip(golden.chunks_exact(7)) {
            let largest = frame.peaks_db.into_iter().fold(f32::MIN, f32::max);
            for (band, &expected) in expected.iter().enumerate() {
                let (high, low) = (frame.peaks_db[band], frame.valleys_db[band]);
                // Magnitudes below 1e-5 of the frame's largest are rounding errors of the single-precision FFT.
                if low > largest - 50.0 {
                    let actual = limited(high, peak) - limited(low, valley);
                    assert!(
                        (actual - expected).abs() < 0.02,
                        "{name}, band {band}: {actual}, expected {expected}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 3000, "{compared} values");
}

#[test]
fn waveform() {
    for name in SIGNALS {
        let case = Case::new(name);
        let rms: Vec<f32> = frame_powers(&case.signal, FFT_SIZE, HOP)
            .iter()
            .map(|power| power.sqrt())
            .collect();
        assert_close(name, &rms, &golden(&format!("{name}.rms")), 1e-6);
        let rates = zero_crossing_rates(&case.signal, FFT_SIZE, HOP);
        assert_close(name, &rates, &golden(&format!("{name}.zcr")), 1e-6);
    }
}

#[test]
fn onsets() {
    /// librosa shifts the curve by half a frame, so that a rise counts where the frame's centre is.
    const SHIFT: usize = FFT_SIZE / (2 * HOP);
    for name in SIGNALS {
        let case = Case::new(name);
        let mut actual = vec![0.0; SHIFT];
        actual.extend(onset_strength(&case.levels.values, 128, 0..128));
        actual.truncate(case.levels.frames());
        assert_close(
            name,
            &actual,
            &golden(&format!("{name}.onset_env")),
            DB_TOLERANCE,
        );
    }
}

#[test]
fn chroma() {
    for name in SIGNALS {
        let case = Case::new(name);
        let chroma = Chroma::new(case.sample_rate_hz, FFT_SIZE);
        let relative = |frame: &[f32]| {
            let classes = chroma.of_frame(frame);
            let largest = classes.into_iter().fold(0.0, f32::max);
            classes.map(|class| if largest > 0.0 { class / largest } else { 0.0 })
        };
        let actual: Vec<f32> = case.frames().flat_map(relative).collect();
        assert_close(
            name,
            &actual,
            &golden(&format!("{name}.chroma_stft_tuning0")),
            1e-3,
        );
    }
}

#[test]
fn chroma_filters() {
    let chroma = Chroma::new(22_050, FFT_SIZE);
    let mut actual = Vec::new();
    for bin in 0..FFT_SIZE / 2 + 1 {
        let mut power = vec![0.0; FFT_SIZE / 2 + 1];
        power[bin] = 1.0;
        actual.extend(chroma.of_frame(&power));
    }
    assert_close("filters", &actual, &golden("chroma_filterbank"), 1e-6);
}
