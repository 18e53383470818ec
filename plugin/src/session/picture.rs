//! A clip as the editor draws it.

use audio::AudioBuffer;
use spectrum::{Spectrogram, Stft, mel};

use super::view::ClipPicture;

/// Columns of the waveform.
const WAVEFORM_COLUMNS: usize = 1024;
/// Columns of the spectrogram.
const SPECTROGRAM_COLUMNS: usize = 512;
const BANDS: usize = 96;
const FFT_SIZE: usize = 2048;
const LOWEST_HZ: f64 = 30.0;
const HIGHEST_HZ: f64 = 18_000.0;
const FLOOR_DB: f32 = -100.0;

/// Draws a clip of two channels. What cannot be measured (too short a clip) stays empty.
pub(crate) fn picture_of(sound: &AudioBuffer) -> ClipPicture {
    let [left, right] = &sound.channels[..] else {
        return ClipPicture::default();
    };
    ClipPicture {
        waveform: waveform([left, right]),
        spectrogram: spectrogram([left, right], sound.sample_rate_hz).unwrap_or_default(),
        secs: sound.duration_secs(),
        peak: sound.peak(),
    }
}

fn waveform(channels: [&Vec<f32>; 2]) -> Vec<[[f32; 2]; 2]> {
    let frames = channels[0].len();
    let columns = WAVEFORM_COLUMNS.min(frames);
    let bounds = |samples: &[f32]| {
        let low = samples.iter().copied().fold(f32::INFINITY, f32::min);
        let high = samples.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        [low, high]
    };
    (0..columns)
        .map(|column| {
            let range = column * frames / columns..(column + 1) * frames / columns;
            channels.map(|samples| bounds(&samples[range.clone()]))
        })
        .collect()
}

fn spectrogram(
    channels: [&Vec<f32>; 2],
    sample_rate_hz: u32,
) -> Result<Vec<Vec<f32>>, spectrum::SpectrumError> {
    let middle: Vec<f32> = channels[0]
        .iter()
        .zip(channels[1])
        .map(|(left, right)| (left + right) / 2.0)
        .collect();
    let hop = middle.len().div_ceil(SPECTROGRAM_COLUMNS).max(FFT_SIZE / 8);
    let stft = Stft::new(FFT_SIZE, hop.min(FFT_SIZE / 2))?;
    let highest_hz = HIGHEST_HZ.min(f64::from(sample_rate_hz) / 2.0);
    let bank = mel::filter_bank(
        sample_rate_hz,
        FFT_SIZE,
        BANDS,
        (LOWEST_HZ, highest_hz),
        mel::MelScale::Slaney,
        mel::MelNorm::Peak,
    )?;
    let spectrum: Spectrogram = stft.forward(&middle)?;
    let reference = (FFT_SIZE as f32 / 4.0).powi(2);
    let power = spectrum.power();
    let frames = spectrum.frames();
    let mut bands = vec![0.0; BANDS];
    let columns = SPECTROGRAM_COLUMNS.min(frames);
    Ok((0..columns)
        .map(|column| {
            let frame = column * frames / columns.max(1);
            bank.apply_frame(
                &power[frame * spectrum.bins()..][..spectrum.bins()],
                &mut bands,
            );
            bands
                .iter()
                .map(|power| (10.0 * (power / reference).log10()).max(FLOOR_DB))
                .collect()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_on_the_left_is_seen_where_it_is() {
        let rate_hz = 44_100;
        let tone: Vec<f32> = (0..2 * rate_hz)
            .map(|n| 0.5 * (n as f32 * 1000.0 * std::f32::consts::TAU / rate_hz as f32).sin())
            .collect();
        let silence = vec![0.0; tone.len()];
        let sound = AudioBuffer::new(rate_hz as u32, vec![tone, silence]).unwrap();
        let picture = picture_of(&sound);
        assert_eq!(picture.waveform.len(), WAVEFORM_COLUMNS);
        for [left, right] in &picture.waveform {
            assert!(left[0] < -0.45 && left[1] > 0.45 && *right == [0.0, 0.0]);
        }
        let column = &picture.spectrogram[picture.spectrogram.len() / 2];
        let loudest = (0..BANDS).max_by(|a, b| column[*a].total_cmp(&column[*b]));
        // 1 kHz lies at 15 of Slaney's mels, of 0.45 to 57.
        assert!((22..28).contains(&loudest.unwrap()), "{loudest:?}");
        assert!(column[BANDS - 1] < -70.0);
    }
}
