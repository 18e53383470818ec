//! Mel spectra against librosa 0.11 (`melspectrogram` with n_fft 2048, hop 512, 128 bands; `power_to_db`).
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use safetensors::SafeTensors;
use spectrum::mel::{MelNorm, MelScale, filter_bank};
use spectrum::{Edge, Stft};

const FIXTURE: &[u8] = include_bytes!("fixtures/librosa_mel.safetensors");
/// The default of `librosa.power_to_db`.
const SMALLEST_POWER: f32 = 1e-10;
/// Values further under the loudest are the rounding of single precision, in librosa as here.
const RANGE_DB: f32 = 80.0;

fn pcm16(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data();
    bytes
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
        .collect()
}

fn floats(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data();
    bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// `[frames, bands]` in decibels over one.
fn mel_db(signal: &[f32]) -> Vec<f32> {
    let stft = Stft::new(2048, 512).unwrap().with_edge(Edge::Zeros);
    let bank = filter_bank(
        22_050,
        2048,
        128,
        (0.0, 11_025.0),
        MelScale::Slaney,
        MelNorm::Area,
    )
    .unwrap();
    let power = stft.forward(signal).unwrap().power();
    bank.apply(&power)
        .unwrap()
        .iter()
        .map(|&value| 10.0 * value.max(SMALLEST_POWER).log10())
        .collect()
}

fn check(name: &str, golden: &str, over_loudest: bool) {
    let tensors = SafeTensors::deserialize(FIXTURE).unwrap();
    let ours = mel_db(&pcm16(&tensors, &format!("{name}.pcm16")));
    let theirs = floats(&tensors, &format!("{name}.{golden}"));
    assert_eq!(ours.len(), theirs.len());
    let loudest = ours.iter().copied().fold(f32::MIN, f32::max);
    let reference = if over_loudest { loudest } else { 0.0 };
    let frames = ours.len() / 128;
    for frame in 0..frames {
        for band in 0..128 {
            let value = ours[frame * 128 + band].max(loudest - RANGE_DB) - reference;
            let golden = theirs[band * frames + frame].max(loudest - RANGE_DB - reference);
            assert!(
                (value - golden).abs() < 1e-3,
                "{name}, frame {frame}, band {band}: {value} {golden}"
            );
        }
    }
}

#[test]
fn tonal_signal() {
    check("chord", "mel_db_ref1", false);
}

#[test]
fn noise() {
    check("noise", "mel_db_refmax", true);
}
