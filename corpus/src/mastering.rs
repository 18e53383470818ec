//! The last step of a piece: the loudness and the peaks that every piece has.

use ebur128::{EbuR128, Mode};

use crate::dsp::filter::OnePole;
use crate::effect::limiter;
use crate::render::Rendered;

/// Integrated loudness of a finished piece by EBU R 128, in LUFS.
pub const TARGET_LUFS: f64 = -16.0;
/// No finished piece has a higher true peak (fourfold oversampled), in decibels of full scale.
pub const CEILING_DBTP: f64 = -1.0;
/// The limiter never takes more than this off the loudest peak: a piece that would need it stays
/// softer than the target instead.
const MOST_REDUCTION_DB: f64 = 9.0;
/// Distortion leaves an offset, which takes room and says nothing; all that is heard is above this.
const LOWEST_HZ: f32 = 12.0;
/// What limiting takes from the loudness is made up for in so many passes at most.
const PASSES: usize = 4;
/// How near to the target a piece must come, in loudness units: the tolerance of EBU R 128 s2.
const TOLERANCE_LU: f64 = 0.1;

/// What a meter says about two channels.
#[derive(Clone, Copy, Debug)]
struct Reading {
    loudness_lufs: f64,
    true_peak: f64,
}

/// Brings a piece to [`TARGET_LUFS`] with true peaks at most [`CEILING_DBTP`].
///
/// What has no loudness (silence, less than one gating block of 0.4 s) keeps its level.
pub(crate) fn master(piece: &mut Rendered, sample_rate_hz: u32) {
    for channel in [&mut piece.left, &mut piece.right] {
        let mut offset = OnePole::new(LOWEST_HZ, sample_rate_hz as f32);
        for sample in channel {
            *sample = offset.high(*sample);
        }
    }
    let Some(raw) = read(piece, sample_rate_hz) else {
        return;
    };
    let ceiling = ratio(CEILING_DBTP);
    let most_gain = ceiling * ratio(MOST_REDUCTION_DB) / raw.true_peak;
    let mut gain = ratio(TARGET_LUFS - raw.loudness_lufs).min(most_gain);
    // A limiter of samples lets peaks between them through: its own ceiling is lowered until none is too high.
    let mut sample_ceiling = ceiling;
    for pass in 0..PASSES {
        let mut trial = piece.clone();
        scale(&mut trial, gain);
        limiter::limit(
            &mut trial.left,
            &mut trial.right,
            sample_ceiling as f32,
            sample_rate_hz as f32,
        );
        let Some(reading) = read(&trial, sample_rate_hz) else {
            return;
        };
        let missing_lu = TARGET_LUFS - reading.loudness_lufs;
        let over = reading.true_peak / ceiling;
        let settled = over <= 1.0 && (missing_lu.abs() <= TOLERANCE_LU || gain >= most_gain);
        if settled || pass + 1 == PASSES {
            if over > 1.0 {
                scale(&mut trial, 1.0 / over);
            }
            *piece = trial;
            return;
        }
        gain = (gain * ratio(missing_lu)).min(most_gain);
        if over > 1.0 {
            // A little more than measured, so that the next pass settles.
            sample_ceiling *= 0.995 / over;
        }
    }
}

/// Loudness and true peak; none for what has no loudness.
fn read(piece: &Rendered, sample_rate_hz: u32) -> Option<Reading> {
    let mut meter = EbuR128::new(2, sample_rate_hz, Mode::I | Mode::TRUE_PEAK).ok()?;
    meter
        .add_frames_planar_f32(&[&piece.left, &piece.right])
        .ok()?;
    let loudness_lufs = meter.loudness_global().ok()?;
    let true_peak = meter.true_peak(0).ok()?.max(meter.true_peak(1).ok()?);
    loudness_lufs.is_finite().then_some(Reading {
        loudness_lufs,
        true_peak,
    })
}

fn scale(piece: &mut Rendered, gain: f64) {
    let gain = gain as f32;
    for sample in piece.left.iter_mut().chain(&mut piece.right) {
        *sample *= gain;
    }
}

/// Decibels to a ratio of amplitudes.
fn ratio(db: f64) -> f64 {
    10.0_f64.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_HZ: u32 = 44_100;

    /// A quiet tone with a click every half second: little loudness under high peaks.
    fn clicks() -> Rendered {
        let left: Vec<f32> = (0..4 * RATE_HZ as usize)
            .map(|i| {
                let tone = 0.05 * (i as f32 * 0.0627).sin();
                tone + if i % 22_050 < 12 { 0.4 } else { 0.0 }
            })
            .collect();
        Rendered {
            right: left.clone(),
            left,
        }
    }

    #[test]
    fn a_piece_reaches_the_target_under_the_ceiling() {
        let mut piece = clicks();
        scale(&mut piece, 0.3);
        piece.left.iter_mut().for_each(|sample| *sample += 0.05);
        master(&mut piece, RATE_HZ);
        let offset = piece.left.iter().sum::<f32>() / piece.left.len() as f32;
        assert!(offset.abs() < 0.005, "{offset}");
        let reading = read(&piece, RATE_HZ).unwrap();
        assert!(reading.true_peak <= ratio(CEILING_DBTP) + 1e-6);
        assert!(
            (reading.loudness_lufs - TARGET_LUFS).abs() < 0.3,
            "{reading:?}"
        );
    }

    #[test]
    fn silence_and_what_is_too_short_stay_as_they_are() {
        for frames in [0, 1000, 44_100] {
            let mut piece = Rendered {
                left: vec![0.0; frames],
                right: vec![0.0; frames],
            };
            let before = piece.clone();
            master(&mut piece, RATE_HZ);
            assert_eq!(piece, before);
        }
    }
}
