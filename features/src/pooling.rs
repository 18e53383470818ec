//! Pooling over time: mean, deviation, quantiles.

/// Mean and (population) deviation of each of `width` values over the rows `[rows, width]`.
///
/// No rows give zeros.
pub(crate) fn mean_and_deviation(rows: &[f32], width: usize) -> (Vec<f64>, Vec<f64>) {
    let count = rows.len().checked_div(width).unwrap_or(0).max(1) as f64;
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width.max(1)) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, &value)| *sum += f64::from(value));
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    let mut deviation = vec![0.0; width];
    for row in rows.chunks_exact(width.max(1)) {
        let squares = row
            .iter()
            .zip(&mean)
            .map(|(&value, mean)| (f64::from(value) - mean).powi(2));
        deviation
            .iter_mut()
            .zip(squares)
            .for_each(|(sum, square)| *sum += square);
    }
    deviation
        .iter_mut()
        .for_each(|sum| *sum = (*sum / count).sqrt());
    (mean, deviation)
}

/// The quantile at `share` (0 to 1) of sorted values, interpolated linearly between neighbours (Hyndman and Fan's
/// type 7); NaN of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_by_column() {
        let (mean, deviation) = mean_and_deviation(&[1.0, 10.0, 3.0, 10.0], 2);
        assert_eq!((mean, deviation), (vec![2.0, 10.0], vec![1.0, 0.0]));
        assert_eq!(mean_and_deviation(&[], 2).0, [0.0, 0.0]);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[7.0], 0.1), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
