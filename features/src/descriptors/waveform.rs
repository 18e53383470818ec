//! Descriptors read off the waveform: mean power and zero crossings of frames centred like those of the spectra.

/// Samples nearer to zero than this have no sign of their own (librosa's threshold).
const ZERO: f32 = 1e-10;

/// Mean square of each frame of `length` samples, `hop` apart, centred on multiples of `hop`; silence beyond the ends.
pub fn frame_powers(signal: &[f32], length: usize, hop: usize) -> Vec<f32> {
    let squares = signal
        .iter()
        .map(|&sample| f64::from(sample) * f64::from(sample));
    frame_sums(squares, signal.len(), length, hop, 0)
        .map(|sum| (sum / length as f64) as f32)
        .collect()
}

/// Share of samples whose sign differs from that of the sample before, for the same frames.
pub fn zero_crossing_rates(signal: &[f32], length: usize, hop: usize) -> Vec<f32> {
    let negative = |sample: f32| sample.abs() > ZERO && sample < 0.0;
    let before = signal.iter().take(1).chain(signal);
    let crossings = before
        .zip(signal)
        .map(|(&before, &now)| f64::from(u8::from(negative(before) != negative(now))));
    // A frame's first sample is compared with nothing.
    frame_sums(crossings, signal.len(), length, hop, 1)
        .map(|sum| (sum / length as f64) as f32)
        .collect()
}

/// Sums over frames by differences of a running sum; `skipped` samples at the start of each frame do not count.
fn frame_sums(
    values: impl Iterator<Item = f64>,
    samples: usize,
    length: usize,
    hop: usize,
    skipped: usize,
) -> impl Iterator<Item = f64> {
    let mut running = Vec::with_capacity(samples + 1);
    running.push(0.0);
    let mut sum = 0.0;
    running.extend(values.map(|value| {
        sum += value;
        sum
    }));
    let at = move |position: isize| running[position.clamp(0, samples as isize) as usize];
    (0..samples / hop.max(1) + 1).map(move |index| {
        let start = (index * hop) as isize - (length / 2) as isize;
        at(start + length as isize) - at(start + skipped as isize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_wave() {
        let signal: Vec<f32> = (0..1024)
            .map(|n| if n / 8 % 2 == 0 { 0.5 } else { -0.5 })
            .collect();
        let powers = frame_powers(&signal, 256, 128);
        assert_eq!(powers.len(), 9);
        assert_eq!((powers[0], powers[4]), (0.125, 0.25));
        let rates = zero_crossing_rates(&signal, 256, 128);
        assert!((rates[4] - 31.0 / 256.0).abs() < 1e-6, "{rates:?}");
    }

    #[test]
    fn silence_crosses_nothing() {
        assert!(
            zero_crossing_rates(&[0.0; 600], 256, 128)
                .iter()
                .all(|&rate| rate == 0.0)
        );
        assert!(
            frame_powers(&[], 256, 128)
                .iter()
                .all(|&power| power == 0.0)
        );
    }
}
