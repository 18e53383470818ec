//! Rhythm: which intervals of time repeat, as the autocorrelation of onset strength.
//!
//! A tempogram (Grosche, Mueller, Kurth 2010) whose lags are pooled into bands of equal ratio, so that a slightly
//! different tempo moves a little weight into the next band instead of looking like another rhythm.

/// Number of lag bands.
pub const LAG_BANDS: usize = 16;
/// Shortest and longest lag in seconds.
const LAGS_SECS: (f64, f64) = (0.1, 2.0);
/// Length of the onset curve that is correlated with itself, in seconds.
const WINDOW_SECS: f64 = 4.0;
/// Frames from one window to the next.
const STRIDE: usize = 8;
/// Variance of onset strength below which nothing repeats, in dB².
const SMALLEST_VARIANCE: f32 = 1e-4;

/// Rows of [`LAG_BANDS`] correlations between −1 and 1, one for each window of four seconds.
///
/// A curve shorter than a window gives one row; lags longer than half of it stay zero.
pub fn rhythm(onsets: &[f32], frames_per_sec: f64) -> Vec<[f32; LAG_BANDS]> {
    if onsets.is_empty() {
        return Vec::new();
    }
    let window = ((WINDOW_SECS * frames_per_sec) as usize).clamp(1, onsets.len());
    let starts = (0..=onsets.len() - window).step_by(STRIDE);
    starts
        .map(|start| lag_bands(&onsets[start..start + window], frames_per_sec))
        .collect()
}

/// The edges of lag band `band`, in seconds.
pub fn lag_edges_secs(band: usize) -> (f64, f64) {
    let edge = |index: usize| {
        LAGS_SECS.0 * (LAGS_SECS.1 / LAGS_SECS.0).powf(index as f64 / LAG_BANDS as f64)
    };
    (edge(band), edge(band + 1))
}

fn lag_bands(onsets: &[f32], frames_per_sec: f64) -> [f32; LAG_BANDS] {
    let count = onsets.len() as f32;
    let mean = onsets.iter().sum::<f32>() / count;
    let centred: Vec<f32> = onsets.iter().map(|value| value - mean).collect();
    let variance = centred.iter().map(|value| value * value).sum::<f32>() / count;
    let correlation = |lag: usize| {
        let products = centred
            .iter()
            .zip(&centred[lag..])
            .map(|(now, later)| now * later);
        products.sum::<f32>() / (onsets.len() - lag) as f32 / variance
    };
    std::array::from_fn(|band| {
        let (low, high) = lag_edges_secs(band);
        let first = (low * frames_per_sec).round() as usize;
        let end = ((high * frames_per_sec).round() as usize).max(first + 1);
        let lags = first..end.min(onsets.len() / 2 + 1);
        if variance < SMALLEST_VARIANCE || lags.is_empty() {
            return 0.0;
        }
        lags.map(correlation).fold(-1.0, f32::max).min(1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_repeats_at_its_period_and_not_between() {
        let onsets: Vec<f32> = (0..430)
            .map(|n| if n % 20 == 0 { 5.0 } else { 0.0 })
            .collect();
        let rows = rhythm(&onsets, 43.0); // a pulse each 0.465 s
        let band_of = |secs: f64| {
            (0..LAG_BANDS).find(|&b| (lag_edges_secs(b).0..lag_edges_secs(b).1).contains(&secs))
        };
        for row in &rows {
            assert!(row[band_of(0.465).unwrap()] > 0.95, "{row:?}");
            assert!(row[band_of(0.3).unwrap()] < 0.1, "{row:?}");
        }
    }

    #[test]
    fn steady_and_empty_curves() {
        assert_eq!(rhythm(&[1.0; 300], 43.0)[0], [0.0; LAG_BANDS]);
        assert!(rhythm(&[], 43.0).is_empty());
        assert_eq!(rhythm(&[1.0], 43.0).len(), 1);
    }
}
